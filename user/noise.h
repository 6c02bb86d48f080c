/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The handshake, Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s (paper 5.4; Noise specification rev. 34).
 *
 * Pure: randomness, time and index come in as arguments. The caller serialises access to a handshake and to the
 * identity. Nothing here looks up peers: consuming an initiation is two calls, with the look-up between them.
 *
 * Prologue and payloads are parameters of the core below, so that foreign test vectors run through the same code.
 */
#ifndef WG_XDP_NOISE_H
#define WG_XDP_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "drop_reason.h"
#include "messages.h"

struct noise_static_identity {
	bool has_identity;
	uint8_t public_key[NOISE_PUBLIC_KEY_LEN];
	uint8_t private_key[NOISE_PUBLIC_KEY_LEN];
};

enum noise_handshake_state {
	HANDSHAKE_ZEROED,
	HANDSHAKE_CREATED_INITIATION,
	HANDSHAKE_CONSUMED_INITIATION,
	HANDSHAKE_CREATED_RESPONSE,
	HANDSHAKE_CONSUMED_RESPONSE,
};

struct noise_symmetric {
	uint8_t hash[NOISE_HASH_LEN];
	uint8_t chaining_key[NOISE_HASH_LEN];
};

struct noise_handshake {
	enum noise_handshake_state state;
	struct noise_symmetric symmetric;
	uint8_t ephemeral_private[NOISE_PUBLIC_KEY_LEN];
	uint8_t remote_ephemeral[NOISE_PUBLIC_KEY_LEN];
	uint8_t remote_static[NOISE_PUBLIC_KEY_LEN];
	uint8_t preshared_key[NOISE_SYMMETRIC_KEY_LEN]; /* all zero: none; mixed all the same */
	/* DH(our static, remote_static), computed when first needed; all zero once computed: unusable. */
	uint8_t static_static[NOISE_PUBLIC_KEY_LEN];
	bool has_static_static;
	uint8_t latest_timestamp[NOISE_TIMESTAMP_LEN]; /* survives noise_handshake_clear() */
	uint64_t last_initiation_consumption_ns;
	uint32_t local_index, remote_index; /* host order */
};

/* What a finished handshake leaves: keys in our own directions. */
struct noise_session {
	bool i_am_the_initiator;
	uint32_t local_index, remote_index;
	uint8_t sending_key[NOISE_SYMMETRIC_KEY_LEN];
	uint8_t receiving_key[NOISE_SYMMETRIC_KEY_LEN];
};

/* An initiation between its two halves. Holds secrets: wipe it, whatever comes of it. */
struct noise_initiation {
	struct noise_symmetric symmetric;
	uint8_t remote_static[NOISE_PUBLIC_KEY_LEN];
	uint8_t remote_ephemeral[NOISE_PUBLIC_KEY_LEN];
	uint8_t encrypted_timestamp[NOISE_TIMESTAMP_LEN + NOISE_AUTHTAG_LEN];
	uint32_t remote_index;
};

/* Clamps the private key and derives the public one; the all-zero private key clears the identity. */
void noise_identity_set(struct noise_static_identity *identity, const uint8_t private_key[static NOISE_PUBLIC_KEY_LEN]);

/* For a new peer. Called again, by the next one, when the identity has changed. */
void noise_handshake_init(struct noise_handshake *hs, const uint8_t remote_static[static NOISE_PUBLIC_KEY_LEN]);
void noise_handshake_identity_changed(struct noise_handshake *hs);

/* Forgets ephemeral state, keeps remote_static, preshared_key, static_static and latest_timestamp. */
void noise_handshake_clear(struct noise_handshake *hs);

/*
 * TAI64N label with the base 2^62 + 10 and its nanoseconds rounded down to a multiple of 2^24 (paper 5.1; the
 * rounding hides our exact clock).
 */
void noise_tai64n(uint8_t out[static NOISE_TIMESTAMP_LEN], uint64_t realtime_ns);

/*
 * The messages. ephemeral_private is 32 random bytes (clamped here). local_index is what the message announces. mac1
 * and mac2 are the caller's (cookie.h). create_ returns false without identity or on a zero Diffie-Hellman result;
 * failed input leaves the handshake as it was.
 */
bool noise_handshake_create_initiation(struct message_handshake_initiation *msg, struct noise_handshake *hs,
				       const struct noise_static_identity *identity,
				       const uint8_t ephemeral_private[static NOISE_PUBLIC_KEY_LEN],
				       const uint8_t timestamp[static NOISE_TIMESTAMP_LEN], uint32_t local_index);

/* First half: learns who sent it. DROP_NONE, or DROP_HANDSHAKE_INVALID. */
enum drop_reason noise_handshake_consume_initiation(struct noise_initiation *initiation,
						    const struct message_handshake_initiation *msg,
						    const struct noise_static_identity *identity);

/*
 * Second half, with the handshake of the peer that initiation->remote_static names: timestamp must be newer than the
 * latest (else DROP_HANDSHAKE_REPLAYED), the last one 1/INITIATIONS_PER_SECOND ago (else DROP_HANDSHAKE_FLOOD).
 * Overwrites an initiation of our own that waits for its response: the later consumed one wins.
 */
enum drop_reason noise_handshake_accept_initiation(struct noise_handshake *hs,
						   const struct noise_initiation *initiation,
						   const struct noise_static_identity *identity, uint64_t now_ns);

bool noise_handshake_create_response(struct message_handshake_response *msg, struct noise_handshake *hs,
				     const uint8_t ephemeral_private[static NOISE_PUBLIC_KEY_LEN],
				     uint32_t local_index);

/* The handshake is the one that msg->receiver_index names. DROP_NONE or DROP_HANDSHAKE_INVALID. */
enum drop_reason noise_handshake_consume_response(struct noise_handshake *hs,
						  const struct message_handshake_response *msg,
						  const struct noise_static_identity *identity);

/*
 * From CREATED_RESPONSE or CONSUMED_RESPONSE: derives the session's keys and zeroes the handshake. False in any
 * other state.
 */
bool noise_handshake_begin_session(struct noise_session *session, struct noise_handshake *hs);

/* ------ The core, for the functions above and for vectors from elsewhere ------ */

struct noise_core_peer {
	struct noise_symmetric symmetric;
	uint8_t static_private[NOISE_PUBLIC_KEY_LEN], static_public[NOISE_PUBLIC_KEY_LEN];
	uint8_t ephemeral_private[NOISE_PUBLIC_KEY_LEN], ephemeral_public[NOISE_PUBLIC_KEY_LEN];
	uint8_t remote_static[NOISE_PUBLIC_KEY_LEN], remote_ephemeral[NOISE_PUBLIC_KEY_LEN];
	uint8_t preshared_key[NOISE_SYMMETRIC_KEY_LEN];
};

/* h and ck after the prologue and the responder's static key (Noise 5.3 and 7). */
void noise_core_init(struct noise_symmetric *s, const void *prologue, size_t prologue_len,
		     const uint8_t responder_static[static NOISE_PUBLIC_KEY_LEN]);

/*
 * The four message halves: write lays out e, encrypted s, encrypted payload (message 1) or e, encrypted payload
 * (message 2) at out and returns true; read takes them back and gives the payload. Lengths are of the payload, in
 * bytes, at most 256.
 */
bool noise_core_write_1(struct noise_core_peer *p, uint8_t *out, const uint8_t *payload, size_t payload_len);
bool noise_core_read_1(struct noise_core_peer *p, uint8_t *payload, const uint8_t *msg, size_t payload_len);
bool noise_core_write_2(struct noise_core_peer *p, uint8_t *out, const uint8_t *payload, size_t payload_len);
bool noise_core_read_2(struct noise_core_peer *p, uint8_t *payload, const uint8_t *msg, size_t payload_len);

/* The initiator's sending key, then the responder's (Noise Split()). */
void noise_core_split(const struct noise_symmetric *s, uint8_t key1[static NOISE_SYMMETRIC_KEY_LEN],
		      uint8_t key2[static NOISE_SYMMETRIC_KEY_LEN]);

#endif
