// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "../../user/timer_queue.c"

#include <stdbool.h>

#define N_PEERS 200
#define SEED 20260101

static uint64_t seed;

static uint32_t random32(void)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(seed >> 33);
}

static struct peer *create_peers(unsigned int n)
{
	struct peer *peers = calloc(n, sizeof(*peers));

	assert_non_null(peers);
	for (unsigned int i = 0; i < n; i++) {
		peers[i].timer_position = TIMER_QUEUE_NOT_QUEUED;
		peers[i].scheduled_ns = TIMERS_NEVER;
	}
	return peers;
}

static uint64_t model_next(const uint64_t *when_ns)
{
	uint64_t next_ns = TIMERS_NEVER;

	for (unsigned int i = 0; i < N_PEERS; i++)
		next_ns = when_ns[i] < next_ns ? when_ns[i] : next_ns;
	return next_ns;
}

static void check_heap(const struct timer_queue *queue, const struct peer *peers, const uint64_t *when_ns)
{
	unsigned int n_queued = 0;

	for (unsigned int i = 0; i < N_PEERS; i++) {
		assert_true(peers[i].scheduled_ns == when_ns[i]);
		assert_int_equal(peers[i].timer_position != TIMER_QUEUE_NOT_QUEUED, when_ns[i] != TIMERS_NEVER);
		if (when_ns[i] == TIMERS_NEVER)
			continue;
		n_queued++;
		assert_true(peers[i].timer_position < queue->n_peers);
		assert_ptr_equal(queue->heap[peers[i].timer_position], &peers[i]);
	}
	assert_int_equal(queue->n_peers, n_queued);
	for (uint32_t i = 1; i < queue->n_peers; i++)
		assert_true(queue->heap[(i - 1) / 2]->scheduled_ns <= queue->heap[i]->scheduled_ns);
}

/* Few distinct times, so that equal ones are frequent. */
static void test_like_a_list(void **state)
{
	struct peer *peers = create_peers(N_PEERS);
	struct timer_queue queue = { 0 };
	uint64_t when_ns[N_PEERS];

	(void)state;
	seed = SEED;
	print_message("seed %u\n", SEED);
	assert_int_equal(timer_queue_reserve(&queue, N_PEERS), 0);
	for (unsigned int i = 0; i < N_PEERS; i++)
		when_ns[i] = TIMERS_NEVER;
	for (unsigned int step = 0; step < 60000; step++) {
		unsigned int i = random32() % N_PEERS;
		uint64_t now_ns = random32() % 500;

		if (random32() % 4) {
			when_ns[i] = random32() % 5 ? random32() % 500 : TIMERS_NEVER;
			timer_queue_schedule(&queue, &peers[i], when_ns[i]);
		} else {
			struct peer *popped = timer_queue_pop(&queue, now_ns);

			if (model_next(when_ns) > now_ns) {
				assert_null(popped);
			} else {
				assert_non_null(popped);
				assert_true(when_ns[popped - peers] == model_next(when_ns));
				when_ns[popped - peers] = TIMERS_NEVER;
			}
		}
		assert_true(timer_queue_next(&queue) == model_next(when_ns));
		if (step % 64 == 0)
			check_heap(&queue, peers, when_ns);
	}
	timer_queue_deinit(&queue);
	free(peers);
}

static void test_comes_out_in_order(void **state)
{
	struct peer *peers = create_peers(5000);
	struct timer_queue queue = { 0 };
	uint64_t last_ns = 0;
	unsigned int n = 0;
	struct peer *peer;

	(void)state;
	seed = SEED;
	assert_int_equal(timer_queue_reserve(&queue, 5000), 0);
	for (unsigned int i = 0; i < 5000; i++)
		timer_queue_schedule(&queue, &peers[i], random32());
	while ((peer = timer_queue_pop(&queue, TIMERS_NEVER - 1))) {
		n++;
		assert_int_equal(peer->timer_position, TIMER_QUEUE_NOT_QUEUED);
	}
	assert_int_equal(n, 5000);
	for (unsigned int i = 0; i < 5000; i++)
		timer_queue_schedule(&queue, &peers[i], random32());
	for (; queue.n_peers; last_ns = timer_queue_next(&queue), timer_queue_pop(&queue, last_ns))
		assert_true(timer_queue_next(&queue) >= last_ns);
	timer_queue_deinit(&queue);
	free(peers);
}

static void test_reserve_keeps_what_is_in(void **state)
{
	struct peer *peers = create_peers(1000);
	struct timer_queue queue = { 0 };

	(void)state;
	assert_true(timer_queue_next(&queue) == TIMERS_NEVER);
	assert_null(timer_queue_pop(&queue, TIMERS_NEVER - 1));
	for (unsigned int i = 0; i < 1000; i++) {
		assert_int_equal(timer_queue_reserve(&queue, i + 1), 0);
		assert_true(queue.capacity > i);
		timer_queue_schedule(&queue, &peers[i], 1000 - i);
		assert_true(timer_queue_next(&queue) == 1000 - i);
	}
	/* Less than there is is no reason to shrink. */
	assert_int_equal(timer_queue_reserve(&queue, 1), 0);
	assert_true(queue.capacity >= 1000);
	timer_queue_schedule(&queue, &peers[999], TIMERS_NEVER);
	assert_true(timer_queue_next(&queue) == 2);
	timer_queue_schedule(&queue, &peers[999], TIMERS_NEVER);
	assert_int_equal(queue.n_peers, 999);
	timer_queue_deinit(&queue);
	free(peers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_like_a_list),
		cmocka_unit_test(test_comes_out_in_order),
		cmocka_unit_test(test_reserve_keeps_what_is_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
