/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * When control has to look at which peer: a binary heap by scheduled_ns.
 *
 * A peer's true deadlines move under its own lock all the time; the heap holds a time that is never later than the
 * earliest of them, and is corrected when it comes up. One thread.
 */
#ifndef WG_XDP_TIMER_QUEUE_H
#define WG_XDP_TIMER_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

struct peer;

struct timer_queue {
	struct peer **heap;
	uint32_t n_peers, capacity;
};

#define TIMER_QUEUE_NOT_QUEUED UINT32_MAX

/* Makes room for n peers, so that scheduling cannot fail. Returns 0 or -ENOMEM. */
int timer_queue_reserve(struct timer_queue *queue, uint32_t n);
void timer_queue_deinit(struct timer_queue *queue);

/* Inserts or moves; TIMERS_NEVER removes. */
void timer_queue_schedule(struct timer_queue *queue, struct peer *peer, uint64_t when_ns);
/* TIMERS_NEVER when empty. */
uint64_t timer_queue_next(const struct timer_queue *queue);
/* Takes out the first peer, if its time has come; else NULL. */
struct peer *timer_queue_pop(struct timer_queue *queue, uint64_t now_ns);

#endif
