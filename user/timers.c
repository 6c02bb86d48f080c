// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Five deadlines for each peer, moved by events and looked at by timers_expire().
 *
 * The property: a silent peer is tried for about 90 s and then left alone, an answer is owed only for data (never for a
 * keepalive), and whatever the clock does, each timer fires at most once per call.
 */
#include "timers.h"

#include <string.h>

static bool is_pending(const struct timers *timers, enum timer timer)
{
	return timers->deadline_ns[timer] != TIMERS_NEVER;
}

static void cancel(struct timers *timers, enum timer timer)
{
	timers->deadline_ns[timer] = TIMERS_NEVER;
}

/* Arms or moves. A clock near its end must not wrap a deadline into the past, nor make it TIMERS_NEVER. */
static void arm(struct timers *timers, enum timer timer, uint64_t now_ns, uint64_t delay_ns)
{
	if (!timers->is_running)
		return;
	timers->deadline_ns[timer] = now_ns < TIMERS_NEVER - 1 - delay_ns ? now_ns + delay_ns : TIMERS_NEVER - 1;
}

static void arm_unless_pending(struct timers *timers, enum timer timer, uint64_t now_ns, uint64_t delay_ns)
{
	if (!is_pending(timers, timer))
		arm(timers, timer, now_ns, delay_ns);
}

/* Keeps two peers that start at the same time from overwriting each other's initiations for ever. */
static uint64_t jitter_ns(uint32_t random)
{
	return ((uint64_t)random * (NS_PER_SECOND / 3)) >> 32;
}

static void cancel_all(struct timers *timers)
{
	for (int timer = 0; timer < TIMER_COUNT; timer++)
		cancel(timers, timer);
}

void timers_init(struct timers *timers, uint64_t now_ns)
{
	memset(timers, 0, sizeof(*timers));
	cancel_all(timers);
	timers_reset_last_sent_handshake(timers, now_ns);
}

void timers_start(struct timers *timers)
{
	timers->is_running = true;
}

void timers_stop(struct timers *timers, uint64_t now_ns)
{
	cancel_all(timers);
	timers->is_running = false;
	timers->handshake_attempts = 0;
	timers->need_another_keepalive = false;
	timers->sent_lastminute_handshake = false;
	timers_reset_last_sent_handshake(timers, now_ns);
}

void timers_data_sent(struct timers *timers, uint64_t now_ns, uint32_t random)
{
	arm_unless_pending(timers, TIMER_NEW_HANDSHAKE, now_ns,
			   (KEEPALIVE_TIMEOUT + REKEY_TIMEOUT) * NS_PER_SECOND + jitter_ns(random));
}

void timers_data_received(struct timers *timers, uint64_t now_ns)
{
	if (!timers->is_running)
		return;
	if (is_pending(timers, TIMER_SEND_KEEPALIVE))
		timers->need_another_keepalive = true;
	else
		arm(timers, TIMER_SEND_KEEPALIVE, now_ns, KEEPALIVE_TIMEOUT * NS_PER_SECOND);
}

void timers_any_authenticated_packet_sent(struct timers *timers)
{
	cancel(timers, TIMER_SEND_KEEPALIVE);
}

void timers_any_authenticated_packet_received(struct timers *timers)
{
	cancel(timers, TIMER_NEW_HANDSHAKE);
}

void timers_any_authenticated_packet_traversal(struct timers *timers, uint64_t now_ns)
{
	if (timers->persistent_keepalive_interval_s)
		arm(timers, TIMER_PERSISTENT_KEEPALIVE, now_ns,
		    timers->persistent_keepalive_interval_s * NS_PER_SECOND);
}

void timers_handshake_initiated(struct timers *timers, uint64_t now_ns, uint32_t random)
{
	arm(timers, TIMER_RETRANSMIT_HANDSHAKE, now_ns, REKEY_TIMEOUT * NS_PER_SECOND + jitter_ns(random));
}

void timers_initiation_postponed(struct timers *timers, uint32_t random)
{
	arm_unless_pending(timers, TIMER_RETRANSMIT_HANDSHAKE, timers->last_sent_handshake_ns,
			   REKEY_TIMEOUT * NS_PER_SECOND + jitter_ns(random));
}

void timers_handshake_sent(struct timers *timers, uint64_t now_ns)
{
	timers->last_sent_handshake_ns = now_ns;
}

void timers_handshake_complete(struct timers *timers, uint64_t realtime_ns)
{
	cancel(timers, TIMER_RETRANSMIT_HANDSHAKE);
	timers->handshake_attempts = 0;
	timers->sent_lastminute_handshake = false;
	timers->last_handshake_realtime_ns = realtime_ns;
}

void timers_session_derived(struct timers *timers, uint64_t now_ns)
{
	arm(timers, TIMER_ZERO_KEY_MATERIAL, now_ns, 3 * REJECT_AFTER_TIME * NS_PER_SECOND);
}

void timers_set_persistent_keepalive(struct timers *timers, uint16_t interval_s)
{
	timers->persistent_keepalive_interval_s = interval_s;
	if (!interval_s)
		cancel(timers, TIMER_PERSISTENT_KEEPALIVE);
}

bool timers_may_initiate(const struct timers *timers, uint64_t now_ns)
{
	return timers_has_expired(timers->last_sent_handshake_ns, REKEY_TIMEOUT, now_ns);
}

void timers_reset_attempts(struct timers *timers)
{
	timers->handshake_attempts = 0;
}

/* Shortly after boot this wraps below zero, which timers_has_expired() expects. */
void timers_reset_last_sent_handshake(struct timers *timers, uint64_t now_ns)
{
	timers->last_sent_handshake_ns = now_ns - (REKEY_TIMEOUT + 1) * NS_PER_SECOND;
}

uint64_t timers_next_deadline(const struct timers *timers)
{
	uint64_t earliest_ns = TIMERS_NEVER;

	for (int timer = 0; timer < TIMER_COUNT; timer++)
		if (timers->deadline_ns[timer] < earliest_ns)
			earliest_ns = timers->deadline_ns[timer];
	return earliest_ns;
}

/* Twenty initiations in all: the first, and one for each value of handshake_attempts up to MAX_TIMER_HANDSHAKES. */
static unsigned int expired_retransmit_handshake(struct timers *timers, uint64_t now_ns)
{
	if (timers->handshake_attempts <= MAX_TIMER_HANDSHAKES) {
		timers->handshake_attempts++;
		return TIMER_ACTION_CLEAR_SRC | TIMER_ACTION_RETRY_INITIATION;
	}
	/* Giving up: nothing is owed to a peer that does not answer, and its old keys are forgotten in time. */
	cancel(timers, TIMER_SEND_KEEPALIVE);
	arm_unless_pending(timers, TIMER_ZERO_KEY_MATERIAL, now_ns, 3 * REJECT_AFTER_TIME * NS_PER_SECOND);
	return TIMER_ACTION_PURGE_STAGED;
}

/* The keepalive about to be sent cancels the deadline armed here, unless it could not be sent. */
static unsigned int expired_send_keepalive(struct timers *timers, uint64_t now_ns)
{
	if (timers->need_another_keepalive) {
		timers->need_another_keepalive = false;
		arm(timers, TIMER_SEND_KEEPALIVE, now_ns, KEEPALIVE_TIMEOUT * NS_PER_SECOND);
	}
	return TIMER_ACTION_SEND_KEEPALIVE;
}

static unsigned int expired_new_handshake(struct timers *timers)
{
	timers->handshake_attempts = 0;
	return TIMER_ACTION_CLEAR_SRC | TIMER_ACTION_SEND_INITIATION;
}

/* Armed again at once: a keepalive that cannot leave now must not be the last one. Traversal moves the deadline. */
static unsigned int expired_persistent_keepalive(struct timers *timers, uint64_t now_ns)
{
	timers_any_authenticated_packet_traversal(timers, now_ns);
	return TIMER_ACTION_SEND_KEEPALIVE;
}

static unsigned int expired(struct timers *timers, enum timer timer, uint64_t now_ns)
{
	switch (timer) {
	case TIMER_RETRANSMIT_HANDSHAKE:
		return expired_retransmit_handshake(timers, now_ns);
	case TIMER_SEND_KEEPALIVE:
		return expired_send_keepalive(timers, now_ns);
	case TIMER_NEW_HANDSHAKE:
		return expired_new_handshake(timers);
	case TIMER_ZERO_KEY_MATERIAL:
		return TIMER_ACTION_ZERO_KEY_MATERIAL;
	case TIMER_PERSISTENT_KEEPALIVE:
		return expired_persistent_keepalive(timers, now_ns);
	default:
		return 0;
	}
}

unsigned int timers_expire(struct timers *timers, uint64_t now_ns)
{
	unsigned int actions = 0;

	for (int timer = 0; timer < TIMER_COUNT; timer++) {
		if (!is_pending(timers, timer) || timers->deadline_ns[timer] > now_ns)
			continue;
		cancel(timers, timer);
		actions |= expired(timers, timer, now_ns);
	}
	/* One initiation serves both: the new series. */
	if (actions & TIMER_ACTION_SEND_INITIATION)
		actions &= ~TIMER_ACTION_RETRY_INITIATION;
	return actions;
}
