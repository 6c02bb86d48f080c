// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The handshake, Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s.
 *
 * Every message is worked out on a copy of the state, which replaces the handshake only once the whole message has
 * proved good: what a stranger sends can neither change a handshake nor break one that is under way.
 */
#include "noise.h"

#include <endian.h>
#include <sodium.h>
#include <string.h>

#include "blake2s.h"
#include "crypto/hash.h"
#include "crypto/secret.h"
#include "crypto/x25519.h"

#define NSEC_PER_SEC 1000000000ULL

#define TAI64_BASE ((1ULL << 62) + 10) /* TAI was ten seconds ahead in 1970; leap seconds are left out */
#define TAI64N_ROUNDING (1U << 24)     /* the power of two below NSEC_PER_SEC / INITIATIONS_PER_SECOND */

#define INITIATION_GAP_NS (NSEC_PER_SEC / INITIATIONS_PER_SECOND)

static const char construction[] = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
static const char wireguard_prologue[] = "WireGuard v1 zx2c4 Jason@zx2c4.com";

/* Each key of the handshake encrypts one thing, so the nonce never leaves zero. */
static const uint8_t zero_nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];

/* ------ Symmetric state: Noise specification, section 5.2 ------ */

static void mix_hash(struct noise_symmetric *s, const void *data, size_t len)
{
	struct blake2s_state state;

	blake2s_init(&state, NOISE_HASH_LEN);
	blake2s_update(&state, s->hash, NOISE_HASH_LEN);
	blake2s_update(&state, data, len);
	blake2s_final(&state, s->hash);
}

static void mix_key(struct noise_symmetric *s, uint8_t key[static NOISE_SYMMETRIC_KEY_LEN],
		    const uint8_t data[static NOISE_PUBLIC_KEY_LEN])
{
	hash_kdf(s->chaining_key, key, NULL, data, NOISE_PUBLIC_KEY_LEN, s->chaining_key);
}

static bool mix_dh(struct noise_symmetric *s, uint8_t key[static NOISE_SYMMETRIC_KEY_LEN],
		   const uint8_t private_key[static NOISE_PUBLIC_KEY_LEN],
		   const uint8_t public_key[static NOISE_PUBLIC_KEY_LEN])
{
	uint8_t secret[NOISE_PUBLIC_KEY_LEN];
	bool ok = x25519_shared(secret, private_key, public_key);

	if (ok)
		mix_key(s, key, secret);
	secret_wipe(secret, sizeof(secret));
	return ok;
}

static void mix_psk(struct noise_symmetric *s, uint8_t key[static NOISE_SYMMETRIC_KEY_LEN],
		    const uint8_t psk[static NOISE_SYMMETRIC_KEY_LEN])
{
	uint8_t temp[NOISE_HASH_LEN];

	hash_kdf(s->chaining_key, temp, key, psk, NOISE_SYMMETRIC_KEY_LEN, s->chaining_key);
	mix_hash(s, temp, sizeof(temp));
	secret_wipe(temp, sizeof(temp));
}

/* An ephemeral key goes into the chaining key as well: that is what the modifier psk adds (section 9.2). */
static void mix_ephemeral(struct noise_symmetric *s, const uint8_t ephemeral[static NOISE_PUBLIC_KEY_LEN])
{
	mix_hash(s, ephemeral, NOISE_PUBLIC_KEY_LEN);
	hash_kdf(s->chaining_key, NULL, NULL, ephemeral, NOISE_PUBLIC_KEY_LEN, s->chaining_key);
}

static void encrypt_and_hash(struct noise_symmetric *s, const uint8_t key[static NOISE_SYMMETRIC_KEY_LEN], uint8_t *out,
			     const uint8_t *plaintext, size_t len)
{
	crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, plaintext, len, s->hash, NOISE_HASH_LEN, NULL, zero_nonce,
						  key);
	mix_hash(s, out, len + NOISE_AUTHTAG_LEN);
}

static bool decrypt_and_hash(struct noise_symmetric *s, const uint8_t key[static NOISE_SYMMETRIC_KEY_LEN], uint8_t *out,
			     const uint8_t *ciphertext, size_t len)
{
	if (crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, ciphertext, len + NOISE_AUTHTAG_LEN, s->hash,
						      NOISE_HASH_LEN, zero_nonce, key))
		return false;
	mix_hash(s, ciphertext, len + NOISE_AUTHTAG_LEN);
	return true;
}

/* ------ Messages: the tokens of the pattern, one after the other ------ */

void noise_core_init(struct noise_symmetric *s, const void *prologue, size_t prologue_len,
		     const uint8_t responder_static[static NOISE_PUBLIC_KEY_LEN])
{
	blake2s(s->hash, NOISE_HASH_LEN, construction, sizeof(construction) - 1, NULL, 0);
	memcpy(s->chaining_key, s->hash, NOISE_HASH_LEN);
	mix_hash(s, prologue, prologue_len);
	mix_hash(s, responder_static, NOISE_PUBLIC_KEY_LEN);
}

static bool write_ephemeral(struct noise_core_peer *p, uint8_t *out)
{
	if (!x25519_public(p->ephemeral_public, p->ephemeral_private))
		return false;
	memcpy(out, p->ephemeral_public, NOISE_PUBLIC_KEY_LEN);
	mix_ephemeral(&p->symmetric, p->ephemeral_public);
	return true;
}

static void read_ephemeral(struct noise_core_peer *p, const uint8_t *msg)
{
	memcpy(p->remote_ephemeral, msg, NOISE_PUBLIC_KEY_LEN);
	mix_ephemeral(&p->symmetric, p->remote_ephemeral);
}

static bool write_1(struct noise_core_peer *p, const uint8_t static_static[static NOISE_PUBLIC_KEY_LEN], uint8_t *out,
		    const uint8_t *payload, size_t payload_len)
{
	uint8_t key[NOISE_SYMMETRIC_KEY_LEN];
	bool ok = false;

	/* e */
	if (!write_ephemeral(p, out))
		goto out;
	out += NOISE_PUBLIC_KEY_LEN;
	/* es */
	if (!mix_dh(&p->symmetric, key, p->ephemeral_private, p->remote_static))
		goto out;
	/* s */
	encrypt_and_hash(&p->symmetric, key, out, p->static_public, NOISE_PUBLIC_KEY_LEN);
	out += NOISE_PUBLIC_KEY_LEN + NOISE_AUTHTAG_LEN;
	/* ss */
	mix_key(&p->symmetric, key, static_static);
	/* {t} */
	encrypt_and_hash(&p->symmetric, key, out, payload, payload_len);
	ok = true;
out:
	secret_wipe(key, sizeof(key));
	return ok;
}

/* As far as the initiator's static key: what follows needs to know whose it is. */
static bool read_1_static(struct noise_core_peer *p, const uint8_t *msg)
{
	uint8_t key[NOISE_SYMMETRIC_KEY_LEN];
	bool ok;

	/* e */
	read_ephemeral(p, msg);
	/* es, s */
	ok = mix_dh(&p->symmetric, key, p->static_private, p->remote_ephemeral) &&
	     decrypt_and_hash(&p->symmetric, key, p->remote_static, msg + NOISE_PUBLIC_KEY_LEN, NOISE_PUBLIC_KEY_LEN);
	secret_wipe(key, sizeof(key));
	return ok;
}

static bool read_1_payload(struct noise_symmetric *s, const uint8_t static_static[static NOISE_PUBLIC_KEY_LEN],
			   uint8_t *payload, const uint8_t *ciphertext, size_t payload_len)
{
	uint8_t key[NOISE_SYMMETRIC_KEY_LEN];
	bool ok;

	/* ss */
	mix_key(s, key, static_static);
	/* {t} */
	ok = decrypt_and_hash(s, key, payload, ciphertext, payload_len);
	secret_wipe(key, sizeof(key));
	return ok;
}

bool noise_core_write_1(struct noise_core_peer *p, uint8_t *out, const uint8_t *payload, size_t payload_len)
{
	uint8_t static_static[NOISE_PUBLIC_KEY_LEN];
	bool ok = x25519_shared(static_static, p->static_private, p->remote_static) &&
		  write_1(p, static_static, out, payload, payload_len);

	secret_wipe(static_static, sizeof(static_static));
	return ok;
}

bool noise_core_read_1(struct noise_core_peer *p, uint8_t *payload, const uint8_t *msg, size_t payload_len)
{
	const uint8_t *ciphertext = msg + NOISE_PUBLIC_KEY_LEN + NOISE_PUBLIC_KEY_LEN + NOISE_AUTHTAG_LEN;
	uint8_t static_static[NOISE_PUBLIC_KEY_LEN];
	bool ok = read_1_static(p, msg) && x25519_shared(static_static, p->static_private, p->remote_static) &&
		  read_1_payload(&p->symmetric, static_static, payload, ciphertext, payload_len);

	secret_wipe(static_static, sizeof(static_static));
	return ok;
}

bool noise_core_write_2(struct noise_core_peer *p, uint8_t *out, const uint8_t *payload, size_t payload_len)
{
	uint8_t key[NOISE_SYMMETRIC_KEY_LEN];
	bool ok = false;

	/* e */
	if (!write_ephemeral(p, out))
		goto out;
	/* ee, se */
	if (!mix_dh(&p->symmetric, key, p->ephemeral_private, p->remote_ephemeral) ||
	    !mix_dh(&p->symmetric, key, p->ephemeral_private, p->remote_static))
		goto out;
	/* psk */
	mix_psk(&p->symmetric, key, p->preshared_key);
	/* {} */
	encrypt_and_hash(&p->symmetric, key, out + NOISE_PUBLIC_KEY_LEN, payload, payload_len);
	ok = true;
out:
	secret_wipe(key, sizeof(key));
	return ok;
}

bool noise_core_read_2(struct noise_core_peer *p, uint8_t *payload, const uint8_t *msg, size_t payload_len)
{
	uint8_t key[NOISE_SYMMETRIC_KEY_LEN];
	bool ok = false;

	/* e */
	read_ephemeral(p, msg);
	/* ee, se */
	if (!mix_dh(&p->symmetric, key, p->ephemeral_private, p->remote_ephemeral) ||
	    !mix_dh(&p->symmetric, key, p->static_private, p->remote_ephemeral))
		goto out;
	/* psk */
	mix_psk(&p->symmetric, key, p->preshared_key);
	/* {} */
	ok = decrypt_and_hash(&p->symmetric, key, payload, msg + NOISE_PUBLIC_KEY_LEN, payload_len);
out:
	secret_wipe(key, sizeof(key));
	return ok;
}

void noise_core_split(const struct noise_symmetric *s, uint8_t key1[static NOISE_SYMMETRIC_KEY_LEN],
		      uint8_t key2[static NOISE_SYMMETRIC_KEY_LEN])
{
	hash_kdf(key1, key2, NULL, NULL, 0, s->chaining_key);
}

/* ------ Identity and handshake ------ */

void noise_identity_set(struct noise_static_identity *identity, const uint8_t private_key[static NOISE_PUBLIC_KEY_LEN])
{
	bool has_identity = !secret_is_zero(private_key, NOISE_PUBLIC_KEY_LEN);

	memcpy(identity->private_key, private_key, NOISE_PUBLIC_KEY_LEN);
	if (has_identity) {
		x25519_clamp(identity->private_key);
		has_identity = x25519_public(identity->public_key, identity->private_key);
	}
	identity->has_identity = has_identity;
	if (!has_identity)
		secret_wipe(identity, sizeof(*identity));
}

void noise_handshake_init(struct noise_handshake *hs, const uint8_t remote_static[static NOISE_PUBLIC_KEY_LEN])
{
	memset(hs, 0, sizeof(*hs));
	memcpy(hs->remote_static, remote_static, NOISE_PUBLIC_KEY_LEN);
}

/* A handshake begun with the old identity cannot be finished with the new one. */
void noise_handshake_identity_changed(struct noise_handshake *hs)
{
	noise_handshake_clear(hs);
	secret_wipe(hs->static_static, sizeof(hs->static_static));
	hs->has_static_static = false;
}

void noise_handshake_clear(struct noise_handshake *hs)
{
	hs->state = HANDSHAKE_ZEROED;
	secret_wipe(&hs->symmetric, sizeof(hs->symmetric));
	secret_wipe(hs->ephemeral_private, sizeof(hs->ephemeral_private));
	secret_wipe(hs->remote_ephemeral, sizeof(hs->remote_ephemeral));
	hs->local_index = 0;
	hs->remote_index = 0;
}

/* Remembers the result, a zero one too: it depends on nothing that a message says. */
static bool handshake_static_static(struct noise_handshake *hs, const struct noise_static_identity *identity)
{
	if (!hs->has_static_static) {
		if (!x25519_shared(hs->static_static, identity->private_key, hs->remote_static))
			memset(hs->static_static, 0, sizeof(hs->static_static));
		hs->has_static_static = true;
	}
	return !secret_is_zero(hs->static_static, sizeof(hs->static_static));
}

void noise_tai64n(uint8_t out[static NOISE_TIMESTAMP_LEN], uint64_t realtime_ns)
{
	uint64_t seconds = htobe64(TAI64_BASE + realtime_ns / NSEC_PER_SEC);
	uint32_t nanoseconds = realtime_ns % NSEC_PER_SEC;

	nanoseconds = htobe32(nanoseconds / TAI64N_ROUNDING * TAI64N_ROUNDING);
	memcpy(out, &seconds, sizeof(seconds));
	memcpy(out + sizeof(seconds), &nanoseconds, sizeof(nanoseconds));
}

bool noise_handshake_create_initiation(struct message_handshake_initiation *msg, struct noise_handshake *hs,
				       const struct noise_static_identity *identity,
				       const uint8_t ephemeral_private[static NOISE_PUBLIC_KEY_LEN],
				       const uint8_t timestamp[static NOISE_TIMESTAMP_LEN], uint32_t local_index)
{
	uint8_t *out = (uint8_t *)msg + offsetof(struct message_handshake_initiation, ephemeral);
	struct noise_core_peer p = { 0 };
	bool ok = false;

	if (!identity->has_identity || !handshake_static_static(hs, identity))
		return false;

	noise_core_init(&p.symmetric, wireguard_prologue, sizeof(wireguard_prologue) - 1, hs->remote_static);
	memcpy(p.static_public, identity->public_key, NOISE_PUBLIC_KEY_LEN);
	memcpy(p.remote_static, hs->remote_static, NOISE_PUBLIC_KEY_LEN);
	memcpy(p.ephemeral_private, ephemeral_private, NOISE_PUBLIC_KEY_LEN);
	x25519_clamp(p.ephemeral_private);
	if (!write_1(&p, hs->static_static, out, timestamp, NOISE_TIMESTAMP_LEN))
		goto out;
	msg->type = htole32(MESSAGE_HANDSHAKE_INITIATION);
	msg->sender_index = htole32(local_index);

	noise_handshake_clear(hs);
	hs->symmetric = p.symmetric;
	memcpy(hs->ephemeral_private, p.ephemeral_private, NOISE_PUBLIC_KEY_LEN);
	hs->local_index = local_index;
	hs->state = HANDSHAKE_CREATED_INITIATION;
	ok = true;
out:
	secret_wipe(&p, sizeof(p));
	return ok;
}

enum drop_reason noise_handshake_consume_initiation(struct noise_initiation *initiation,
						    const struct message_handshake_initiation *msg,
						    const struct noise_static_identity *identity)
{
	const uint8_t *in = (const uint8_t *)msg + offsetof(struct message_handshake_initiation, ephemeral);
	enum drop_reason why = DROP_HANDSHAKE_INVALID;
	struct noise_core_peer p = { 0 };

	if (!identity->has_identity)
		return why;

	noise_core_init(&p.symmetric, wireguard_prologue, sizeof(wireguard_prologue) - 1, identity->public_key);
	memcpy(p.static_private, identity->private_key, NOISE_PUBLIC_KEY_LEN);
	if (!read_1_static(&p, in))
		goto out;

	initiation->symmetric = p.symmetric;
	memcpy(initiation->remote_static, p.remote_static, NOISE_PUBLIC_KEY_LEN);
	memcpy(initiation->remote_ephemeral, p.remote_ephemeral, NOISE_PUBLIC_KEY_LEN);
	memcpy(initiation->encrypted_timestamp, msg->encrypted_timestamp, sizeof(initiation->encrypted_timestamp));
	initiation->remote_index = le32toh(msg->sender_index);
	why = DROP_NONE;
out:
	secret_wipe(&p, sizeof(p));
	return why;
}

/* Zero stands for "none yet", so that a clock which has just started does not look like a flood. */
static bool is_flood(const struct noise_handshake *hs, uint64_t now_ns)
{
	return hs->last_initiation_consumption_ns && hs->last_initiation_consumption_ns + INITIATION_GAP_NS > now_ns;
}

enum drop_reason noise_handshake_accept_initiation(struct noise_handshake *hs,
						   const struct noise_initiation *initiation,
						   const struct noise_static_identity *identity, uint64_t now_ns)
{
	enum drop_reason why = DROP_HANDSHAKE_INVALID;
	struct noise_symmetric s = initiation->symmetric;
	uint8_t timestamp[NOISE_TIMESTAMP_LEN];

	if (!identity->has_identity || memcmp(hs->remote_static, initiation->remote_static, NOISE_PUBLIC_KEY_LEN) != 0)
		goto out;
	if (!handshake_static_static(hs, identity))
		goto out;
	if (!read_1_payload(&s, hs->static_static, timestamp, initiation->encrypted_timestamp, NOISE_TIMESTAMP_LEN))
		goto out;
	why = DROP_HANDSHAKE_REPLAYED;
	if (memcmp(timestamp, hs->latest_timestamp, NOISE_TIMESTAMP_LEN) <= 0)
		goto out;
	why = DROP_HANDSHAKE_FLOOD;
	if (is_flood(hs, now_ns))
		goto out;

	/* local_index stays: the caller has it in its table until the response brings a new one. */
	hs->symmetric = s;
	secret_wipe(hs->ephemeral_private, sizeof(hs->ephemeral_private));
	memcpy(hs->remote_ephemeral, initiation->remote_ephemeral, NOISE_PUBLIC_KEY_LEN);
	memcpy(hs->latest_timestamp, timestamp, NOISE_TIMESTAMP_LEN);
	hs->last_initiation_consumption_ns = now_ns;
	hs->remote_index = initiation->remote_index;
	hs->state = HANDSHAKE_CONSUMED_INITIATION;
	why = DROP_NONE;
out:
	secret_wipe(&s, sizeof(s));
	return why;
}

bool noise_handshake_create_response(struct message_handshake_response *msg, struct noise_handshake *hs,
				     const uint8_t ephemeral_private[static NOISE_PUBLIC_KEY_LEN],
				     uint32_t local_index)
{
	uint8_t *out = (uint8_t *)msg + offsetof(struct message_handshake_response, ephemeral);
	struct noise_core_peer p = { 0 };
	bool ok = false;

	if (hs->state != HANDSHAKE_CONSUMED_INITIATION)
		return false;

	p.symmetric = hs->symmetric;
	memcpy(p.remote_static, hs->remote_static, NOISE_PUBLIC_KEY_LEN);
	memcpy(p.remote_ephemeral, hs->remote_ephemeral, NOISE_PUBLIC_KEY_LEN);
	memcpy(p.preshared_key, hs->preshared_key, NOISE_SYMMETRIC_KEY_LEN);
	memcpy(p.ephemeral_private, ephemeral_private, NOISE_PUBLIC_KEY_LEN);
	x25519_clamp(p.ephemeral_private);
	if (!noise_core_write_2(&p, out, NULL, 0))
		goto out;
	msg->type = htole32(MESSAGE_HANDSHAKE_RESPONSE);
	msg->sender_index = htole32(local_index);
	msg->receiver_index = htole32(hs->remote_index);

	/* The session needs the chaining key alone: the ephemeral private key ends here. */
	hs->symmetric = p.symmetric;
	hs->local_index = local_index;
	hs->state = HANDSHAKE_CREATED_RESPONSE;
	ok = true;
out:
	secret_wipe(&p, sizeof(p));
	return ok;
}

enum drop_reason noise_handshake_consume_response(struct noise_handshake *hs,
						  const struct message_handshake_response *msg,
						  const struct noise_static_identity *identity)
{
	const uint8_t *in = (const uint8_t *)msg + offsetof(struct message_handshake_response, ephemeral);
	enum drop_reason why = DROP_HANDSHAKE_INVALID;
	struct noise_core_peer p = { 0 };
	uint8_t nothing[1];

	if (!identity->has_identity || hs->state != HANDSHAKE_CREATED_INITIATION ||
	    le32toh(msg->receiver_index) != hs->local_index)
		return why;

	p.symmetric = hs->symmetric;
	memcpy(p.static_private, identity->private_key, NOISE_PUBLIC_KEY_LEN);
	memcpy(p.ephemeral_private, hs->ephemeral_private, NOISE_PUBLIC_KEY_LEN);
	memcpy(p.preshared_key, hs->preshared_key, NOISE_SYMMETRIC_KEY_LEN);
	if (!noise_core_read_2(&p, nothing, in, 0))
		goto out;

	hs->symmetric = p.symmetric;
	memcpy(hs->remote_ephemeral, p.remote_ephemeral, NOISE_PUBLIC_KEY_LEN);
	secret_wipe(hs->ephemeral_private, sizeof(hs->ephemeral_private));
	hs->remote_index = le32toh(msg->sender_index);
	hs->state = HANDSHAKE_CONSUMED_RESPONSE;
	why = DROP_NONE;
out:
	secret_wipe(&p, sizeof(p));
	return why;
}

bool noise_handshake_begin_session(struct noise_session *session, struct noise_handshake *hs)
{
	if (hs->state != HANDSHAKE_CREATED_RESPONSE && hs->state != HANDSHAKE_CONSUMED_RESPONSE)
		return false;

	session->i_am_the_initiator = hs->state == HANDSHAKE_CONSUMED_RESPONSE;
	session->local_index = hs->local_index;
	session->remote_index = hs->remote_index;
	if (session->i_am_the_initiator)
		noise_core_split(&hs->symmetric, session->sending_key, session->receiving_key);
	else
		noise_core_split(&hs->symmetric, session->receiving_key, session->sending_key);
	noise_handshake_clear(hs);
	return true;
}
