// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Binary heap of peers. */
#include "timer_queue.h"

#include <errno.h>
#include <stdlib.h>

#include "peer.h"

int timer_queue_reserve(struct timer_queue *queue, uint32_t n)
{
	struct peer **heap;
	uint32_t capacity = queue->capacity ? queue->capacity : 16;

	while (capacity < n)
		capacity *= 2;
	if (capacity == queue->capacity)
		return 0;
	heap = realloc(queue->heap, capacity * sizeof(*heap));
	if (!heap)
		return -ENOMEM;
	queue->heap = heap;
	queue->capacity = capacity;
	return 0;
}

void timer_queue_deinit(struct timer_queue *queue)
{
	free(queue->heap);
	*queue = (struct timer_queue){ 0 };
}

static void place(struct timer_queue *queue, uint32_t i, struct peer *peer)
{
	queue->heap[i] = peer;
	peer->timer_position = i;
}

static uint32_t sift_up(struct timer_queue *queue, uint32_t i, struct peer *peer)
{
	while (i) {
		uint32_t parent = (i - 1) / 2;

		if (queue->heap[parent]->scheduled_ns <= peer->scheduled_ns)
			break;
		place(queue, i, queue->heap[parent]);
		i = parent;
	}
	return i;
}

static uint32_t sift_down(struct timer_queue *queue, uint32_t i, struct peer *peer)
{
	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= queue->n_peers)
			break;
		if (child + 1 < queue->n_peers &&
		    queue->heap[child + 1]->scheduled_ns < queue->heap[child]->scheduled_ns)
			child++;
		if (peer->scheduled_ns <= queue->heap[child]->scheduled_ns)
			break;
		place(queue, i, queue->heap[child]);
		i = child;
	}
	return i;
}

static void remove_at(struct timer_queue *queue, uint32_t i)
{
	struct peer *gone = queue->heap[i], *last = queue->heap[--queue->n_peers];

	gone->timer_position = TIMER_QUEUE_NOT_QUEUED;
	if (gone == last)
		return;
	i = sift_down(queue, i, last);
	place(queue, sift_up(queue, i, last), last);
}

void timer_queue_schedule(struct timer_queue *queue, struct peer *peer, uint64_t when_ns)
{
	uint32_t i = peer->timer_position;

	if (i != TIMER_QUEUE_NOT_QUEUED)
		remove_at(queue, i);
	atomic_store_explicit(&peer->scheduled_ns, when_ns, memory_order_relaxed);
	if (when_ns == TIMERS_NEVER)
		return;
	i = queue->n_peers++;
	place(queue, sift_up(queue, i, peer), peer);
}

uint64_t timer_queue_next(const struct timer_queue *queue)
{
	return queue->n_peers ? queue->heap[0]->scheduled_ns : TIMERS_NEVER;
}

struct peer *timer_queue_pop(struct timer_queue *queue, uint64_t now_ns)
{
	struct peer *peer;

	if (timer_queue_next(queue) > now_ns)
		return NULL;
	peer = queue->heap[0];
	remove_at(queue, 0);
	atomic_store_explicit(&peer->scheduled_ns, TIMERS_NEVER, memory_order_relaxed);
	return peer;
}
