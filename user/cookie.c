// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A cookie is a MAC of its owner's address and port under a secret that lives for two minutes: nothing is kept for the
 * sender of a message until it has shown that it receives what is sent to it.
 */
#include "cookie.h"

#include <endian.h>
#include <sodium.h>
#include <string.h>

#include "blake2s.h"
#include "crypto/secret.h"
#include "timers.h"

#define LABEL_LEN 8
#define MACS_LEN (2 * MAC_LEN)

static const uint8_t mac1_label[LABEL_LEN] = { 'm', 'a', 'c', '1', '-', '-', '-', '-' };
static const uint8_t cookie_label[LABEL_LEN] = { 'c', 'o', 'o', 'k', 'i', 'e', '-', '-' };

static void derive_key(uint8_t key[static NOISE_SYMMETRIC_KEY_LEN], const uint8_t label[static LABEL_LEN],
		       const uint8_t public_key[static NOISE_PUBLIC_KEY_LEN])
{
	struct blake2s_state state;

	blake2s_init(&state, NOISE_SYMMETRIC_KEY_LEN);
	blake2s_update(&state, label, LABEL_LEN);
	blake2s_update(&state, public_key, NOISE_PUBLIC_KEY_LEN);
	blake2s_final(&state, key);
}

/* mac1 covers all before it, mac2 all before it and mac1. */
static void compute_mac1(uint8_t mac1[static MAC_LEN], const void *msg, size_t len,
			 const uint8_t key[static NOISE_SYMMETRIC_KEY_LEN])
{
	blake2s(mac1, MAC_LEN, msg, len - MACS_LEN, key, NOISE_SYMMETRIC_KEY_LEN);
}

static void compute_mac2(uint8_t mac2[static MAC_LEN], const void *msg, size_t len,
			 const uint8_t cookie[static COOKIE_LEN])
{
	blake2s(mac2, MAC_LEN, msg, len - MAC_LEN, cookie, COOKIE_LEN);
}

void cookie_checker_set_key(struct cookie_checker *checker, const uint8_t *public_key)
{
	checker->has_key = public_key;
	if (public_key) {
		derive_key(checker->cookie_encryption_key, cookie_label, public_key);
		derive_key(checker->message_mac1_key, mac1_label, public_key);
	} else {
		secret_wipe(checker->cookie_encryption_key, sizeof(checker->cookie_encryption_key));
		secret_wipe(checker->message_mac1_key, sizeof(checker->message_mac1_key));
	}
}

void cookie_init(struct cookie *cookie, const uint8_t public_key[static NOISE_PUBLIC_KEY_LEN])
{
	memset(cookie, 0, sizeof(*cookie));
	derive_key(cookie->cookie_decryption_key, cookie_label, public_key);
	derive_key(cookie->message_mac1_key, mac1_label, public_key);
}

/* The cookie that source has to show now. */
static void make_cookie(struct cookie_checker *checker, uint8_t cookie[static COOKIE_LEN],
			const struct cookie_source *source, uint64_t now_ns, const uint8_t *random_secret)
{
	if (!checker->has_secret ||
	    timers_has_expired(checker->secret_birthdate_ns, COOKIE_SECRET_MAX_AGE, now_ns)) {
		memcpy(checker->secret, random_secret, sizeof(checker->secret));
		checker->secret_birthdate_ns = now_ns;
		checker->has_secret = true;
	}
	blake2s(cookie, COOKIE_LEN, source->bytes, source->len, checker->secret, sizeof(checker->secret));
}

enum cookie_mac_state cookie_validate_packet(struct cookie_checker *checker, const void *msg, size_t len,
					     const struct cookie_source *source, bool check_cookie, uint64_t now_ns,
					     const uint8_t *random_secret)
{
	const uint8_t *mac1 = (const uint8_t *)msg + len - MACS_LEN, *mac2 = mac1 + MAC_LEN;
	uint8_t expected[MAC_LEN], cookie[COOKIE_LEN];

	if (!checker->has_key)
		return INVALID_MAC;
	compute_mac1(expected, msg, len, checker->message_mac1_key);
	if (!secret_equal(expected, mac1, MAC_LEN))
		return INVALID_MAC;
	if (!check_cookie)
		return VALID_MAC_BUT_NO_COOKIE;

	make_cookie(checker, cookie, source, now_ns, random_secret);
	compute_mac2(expected, msg, len, cookie);
	secret_wipe(cookie, sizeof(cookie));
	return secret_equal(expected, mac2, MAC_LEN) ? VALID_MAC_WITH_COOKIE : VALID_MAC_BUT_NO_COOKIE;
}

/* A cookie is used for a little less than the secret behind it may live: the message has to get there. */
static bool is_usable(const struct cookie *cookie, uint64_t now_ns)
{
	return cookie->is_valid &&
	       !timers_has_expired(cookie->birthdate_ns, COOKIE_SECRET_MAX_AGE - COOKIE_SECRET_LATENCY, now_ns);
}

void cookie_add_mac_to_packet(struct cookie *cookie, void *msg, size_t len, uint64_t now_ns)
{
	uint8_t *mac1 = (uint8_t *)msg + len - MACS_LEN, *mac2 = mac1 + MAC_LEN;

	compute_mac1(mac1, msg, len, cookie->message_mac1_key);
	memcpy(cookie->last_mac1_sent, mac1, MAC_LEN);
	cookie->have_sent_mac1 = true;

	if (is_usable(cookie, now_ns))
		compute_mac2(mac2, msg, len, cookie->cookie);
	else
		memset(mac2, 0, MAC_LEN);
}

void cookie_message_create(struct cookie_checker *checker, struct message_handshake_cookie *reply,
			   const void *offending_msg, size_t offending_len, __le32 receiver_index,
			   const struct cookie_source *source, const uint8_t nonce[static COOKIE_NONCE_LEN],
			   uint64_t now_ns, const uint8_t random_secret[static NOISE_HASH_LEN])
{
	const uint8_t *mac1 = (const uint8_t *)offending_msg + offending_len - MACS_LEN;
	uint8_t cookie[COOKIE_LEN];

	reply->type = htole32(MESSAGE_HANDSHAKE_COOKIE);
	reply->receiver_index = receiver_index;
	memcpy(reply->nonce, nonce, COOKIE_NONCE_LEN);
	make_cookie(checker, cookie, source, now_ns, random_secret);
	crypto_aead_xchacha20poly1305_ietf_encrypt(reply->encrypted_cookie, NULL, cookie, COOKIE_LEN, mac1, MAC_LEN,
						   NULL, reply->nonce, checker->cookie_encryption_key);
	secret_wipe(cookie, sizeof(cookie));
}

bool cookie_message_consume(struct cookie *cookie, const struct message_handshake_cookie *reply, uint64_t now_ns)
{
	uint8_t opened[COOKIE_LEN];

	if (!cookie->have_sent_mac1)
		return false;
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(opened, NULL, NULL, reply->encrypted_cookie,
						       sizeof(reply->encrypted_cookie), cookie->last_mac1_sent,
						       MAC_LEN, reply->nonce, cookie->cookie_decryption_key))
		return false;

	memcpy(cookie->cookie, opened, COOKIE_LEN);
	secret_wipe(opened, sizeof(opened));
	cookie->birthdate_ns = now_ns;
	cookie->is_valid = true;
	cookie->have_sent_mac1 = false;
	return true;
}
