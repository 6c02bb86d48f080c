/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * mac1, mac2 and cookies: proof of the recipient's public key and, under load, of the sender's address (paper 5.4.4,
 * 5.4.7, 5.3).
 *
 * The checker is the receiving side's, one for the device. The maker is the sending side's, one for each peer. Pure;
 * the caller serialises access.
 */
#ifndef WG_XDP_COOKIE_H
#define WG_XDP_COOKIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "messages.h"

/* An address and port as a cookie binds them: 4 or 16 bytes of address, then the port in network order. */
struct cookie_source {
	uint8_t bytes[18];
	uint8_t len; /* 6 or 18 */
};

/* All zero to begin with. */
struct cookie_checker {
	bool has_key;
	uint8_t secret[NOISE_HASH_LEN];
	uint64_t secret_birthdate_ns;
	bool has_secret;
	uint8_t cookie_encryption_key[NOISE_SYMMETRIC_KEY_LEN];
	uint8_t message_mac1_key[NOISE_SYMMETRIC_KEY_LEN];
};

struct cookie {
	uint64_t birthdate_ns;
	bool is_valid;
	uint8_t cookie[COOKIE_LEN];
	bool have_sent_mac1;
	uint8_t last_mac1_sent[MAC_LEN];
	uint8_t cookie_decryption_key[NOISE_SYMMETRIC_KEY_LEN];
	uint8_t message_mac1_key[NOISE_SYMMETRIC_KEY_LEN];
};

enum cookie_mac_state {
	INVALID_MAC,
	VALID_MAC_BUT_NO_COOKIE,
	VALID_MAC_WITH_COOKIE,
};

/* Called when the device's public key is set or changed; NULL: none, and then every mac is invalid. */
void cookie_checker_set_key(struct cookie_checker *checker, const uint8_t *public_key);

/* For a new peer, by its public key. */
void cookie_init(struct cookie *cookie, const uint8_t public_key[static NOISE_PUBLIC_KEY_LEN]);

/*
 * Checks the macs at the end of msg, an initiation or a response of len bytes. mac2 is looked at only when check_cookie
 * (under load). random_secret is 32 fresh random bytes, taken when the cookie secret is older than
 * COOKIE_SECRET_MAX_AGE; may be NULL when not check_cookie.
 */
enum cookie_mac_state cookie_validate_packet(struct cookie_checker *checker, const void *msg, size_t len,
					     const struct cookie_source *source, bool check_cookie, uint64_t now_ns,
					     const uint8_t *random_secret);

/* Writes mac1, and mac2 where a cookie younger than 115 s is known (else zeroes), at the end of msg. */
void cookie_add_mac_to_packet(struct cookie *cookie, void *msg, size_t len, uint64_t now_ns);

/* The answer to a message whose mac1 was valid: receiver_index is the offender's sender index, as on the wire. */
void cookie_message_create(struct cookie_checker *checker, struct message_handshake_cookie *reply,
			   const void *offending_msg, size_t offending_len, __le32 receiver_index,
			   const struct cookie_source *source, const uint8_t nonce[static COOKIE_NONCE_LEN],
			   uint64_t now_ns, const uint8_t random_secret[static NOISE_HASH_LEN]);

/* False when no mac1 waits for a cookie, or the reply does not authenticate; one cookie per message sent. */
bool cookie_message_consume(struct cookie *cookie, const struct message_handshake_cookie *reply, uint64_t now_ns);

#endif
