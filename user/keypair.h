/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A session's keys, and the three slots in which a peer holds them (paper 6.3; kernel's rules for their succession).
 *
 * Slots are changed under the peer's lock. A keypair found by its index outside that lock stays in memory until a grace
 * period has passed; whether it still counts is decided under the lock.
 */
#ifndef WG_XDP_KEYPAIR_H
#define WG_XDP_KEYPAIR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "index_table.h"
#include "messages.h"
#include "noise.h"
#include "replay.h"

struct peer;

struct keypair {
	struct index_entry index;
	struct peer *peer;
	struct keypair *next_dropped; /* on its way out */
	uint64_t birthdate_ns;
	uint32_t remote_index; /* host order */
	bool i_am_the_initiator;
	atomic_bool sending_is_valid, receiving_is_valid;
	uint64_t sending_counter; /* next nonce; under the peer's lock */
	struct replay replay;     /* under the peer's lock */
	uint8_t sending_key[NOISE_SYMMETRIC_KEY_LEN];
	uint8_t receiving_key[NOISE_SYMMETRIC_KEY_LEN];
};

struct keypairs {
	struct keypair *current, *previous, *next;
};

/* Takes the session's keys. In the arena of secrets; NULL when it is full. Free, after a grace period, with keypair_free(). */
struct keypair *keypair_create(const struct noise_session *session, struct peer *peer, uint64_t now_ns);
void keypair_free(struct keypair *keypair);

/*
 * The new keypair enters: as current when we are the initiator, else as next. What falls out of its slot is pushed on
 * *dropped.
 */
void keypairs_add_new(struct keypairs *keypairs, struct keypair *keypair, struct keypair **dropped);

/*
 * Called after a data packet has authenticated with keypair. True when it was next and is current now: the responder's
 * session is confirmed.
 */
bool keypairs_received_with(struct keypairs *keypairs, struct keypair *keypair, struct keypair **dropped);

/* Empties all slots. */
void keypairs_clear(struct keypairs *keypairs, struct keypair **dropped);

/* After a key change: nothing more is sent with next and current, what is under way may still be received. */
void keypairs_expire_current(struct keypairs *keypairs);

/* May a packet with this keypair be opened? Cheap; outside the lock. */
bool keypair_can_receive(struct keypair *keypair, uint64_t now_ns);

/*
 * Reserves n consecutive counters, from *first. False when the keypair may not send (expired, invalid, or a counter would
 * reach REJECT_AFTER_MESSAGES: then it never may again). keypair may be NULL.
 */
bool keypair_nonce_next(struct keypair *keypair, uint64_t n, uint64_t now_ns, uint64_t *first);

/* Should a sender start a handshake: REKEY_AFTER_MESSAGES, or as initiator REKEY_AFTER_TIME? */
bool keypair_sender_wants_rekey(const struct keypair *keypair, uint64_t now_ns);
/* Should a receiver, as initiator, because the keypair is about to end? */
bool keypair_receiver_wants_rekey(const struct keypair *keypair, uint64_t now_ns);

#endif
