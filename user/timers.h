/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A peer's timers (paper 6): events in, deadlines and actions out. No clock: each event brings the time.
 *
 * Ages and deadlines are nanoseconds of CLOCK_BOOTTIME. Jitter is uniform in [0, 1/3 s), from the random word that the
 * event brings. The caller serialises access.
 */
#ifndef WG_XDP_TIMERS_H
#define WG_XDP_TIMERS_H

#include <stdbool.h>
#include <stdint.h>

#include "messages.h"

#define NS_PER_SECOND 1000000000ULL
#define TIMERS_NEVER UINT64_MAX

enum timer {
	TIMER_RETRANSMIT_HANDSHAKE,
	TIMER_SEND_KEEPALIVE,
	TIMER_NEW_HANDSHAKE,
	TIMER_ZERO_KEY_MATERIAL,
	TIMER_PERSISTENT_KEEPALIVE,
	TIMER_COUNT
};

/* What expired timers ask for; a mask, to be carried out from the highest bit down. */
enum timer_action {
	TIMER_ACTION_SEND_INITIATION = 1 << 0,  /* a new attempt: the first of its series */
	TIMER_ACTION_RETRY_INITIATION = 1 << 1, /* a further attempt of the series */
	TIMER_ACTION_CLEAR_SRC = 1 << 2,        /* forget the endpoint's source address */
	TIMER_ACTION_SEND_KEEPALIVE = 1 << 3,
	TIMER_ACTION_PURGE_STAGED = 1 << 4,
	TIMER_ACTION_ZERO_KEY_MATERIAL = 1 << 5,
};

struct timers {
	uint64_t deadline_ns[TIMER_COUNT]; /* TIMERS_NEVER: not pending */
	uint64_t last_sent_handshake_ns;   /* initiation or response */
	uint64_t last_handshake_realtime_ns; /* for people; 0: never */
	unsigned int handshake_attempts;
	uint16_t persistent_keepalive_interval_s; /* 0: off */
	bool need_another_keepalive;
	bool sent_lastminute_handshake;
	bool is_running; /* interface up and peer alive: else no timer is armed */
};

/* Not running; last_sent_handshake_ns is set so that a handshake may start at once. */
void timers_init(struct timers *timers, uint64_t now_ns);
void timers_start(struct timers *timers);
/* Cancels all; used when the interface goes down or the peer is removed. */
void timers_stop(struct timers *timers, uint64_t now_ns);

/* Called after non-empty data packets have been sent. */
void timers_data_sent(struct timers *timers, uint64_t now_ns, uint32_t random);
/* Called after a non-empty data packet has been authenticated. */
void timers_data_received(struct timers *timers, uint64_t now_ns);
/* Called before any authenticated packet is sent: data, keepalive, initiation, response. */
void timers_any_authenticated_packet_sent(struct timers *timers);
/* Called after any authenticated packet has been received; a cookie reply is none. */
void timers_any_authenticated_packet_received(struct timers *timers);
/* Called after any authenticated packet is sent or received. */
void timers_any_authenticated_packet_traversal(struct timers *timers, uint64_t now_ns);
/* Called after an initiation has been sent. */
void timers_handshake_initiated(struct timers *timers, uint64_t now_ns, uint32_t random);
/* Called after an initiation or response has been sent: spaces our initiations by REKEY_TIMEOUT. */
void timers_handshake_sent(struct timers *timers, uint64_t now_ns);
/* Called after a response has been consumed (initiator), or the first data with a new key (responder). */
void timers_handshake_complete(struct timers *timers, uint64_t realtime_ns);
/* Called when a retry is due sooner than REKEY_TIMEOUT allows, as we have responded: it is put off, not forgotten. */
void timers_initiation_postponed(struct timers *timers, uint32_t random);
/* Called after session keys have been derived. */
void timers_session_derived(struct timers *timers, uint64_t now_ns);
/* Called when the interval is configured. */
void timers_set_persistent_keepalive(struct timers *timers, uint16_t interval_s);

/* May an initiation go out now: is the last handshake message REKEY_TIMEOUT old? */
bool timers_may_initiate(const struct timers *timers, uint64_t now_ns);
/* A new series of attempts: called before the first initiation that is not a retry. */
void timers_reset_attempts(struct timers *timers);
/* As after a key change: a handshake may start at once. */
void timers_reset_last_sent_handshake(struct timers *timers, uint64_t now_ns);

/* Earliest deadline, TIMERS_NEVER if none. */
uint64_t timers_next_deadline(const struct timers *timers);

/* Fires what is due; returns the actions it asks for. */
unsigned int timers_expire(struct timers *timers, uint64_t now_ns);

/* birthdate + seconds has passed? Signed comparison, as the kernel's. */
static inline bool timers_has_expired(uint64_t birthdate_ns, uint64_t seconds, uint64_t now_ns)
{
	return (int64_t)(birthdate_ns + seconds * NS_PER_SECOND) <= (int64_t)now_ns;
}

#endif
