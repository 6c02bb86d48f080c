// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The portable back end: libsodium, which runs on every machine and is what the others are compared with.
 */
#include "crypto/aead_backend.h"

#include <endian.h>
#include <sodium.h>
#include <string.h>

_Static_assert(crypto_aead_chacha20poly1305_ietf_NPUBBYTES == AEAD_NONCE_LEN, "length of a nonce");
_Static_assert(crypto_aead_chacha20poly1305_ietf_ABYTES == NOISE_AUTHTAG_LEN, "length of a tag");

/* libsodium keeps no state, so there is one for everybody. */
static struct aead sodium_aead = { .ops = &aead_sodium_ops, .name = "libsodium" };

static struct aead *sodium_create(void)
{
	return sodium_init() < 0 ? NULL : &sodium_aead;
}

static void sodium_free_nothing(struct aead *aead)
{
	(void)aead;
}

static void sodium_seal(struct aead *aead, const struct aead_message *m)
{
	(void)aead;
	crypto_aead_chacha20poly1305_ietf_encrypt(m->dst, NULL, m->src, m->len, m->aad, m->aad_len, NULL, m->nonce,
						  m->key);
}

static bool sodium_open(struct aead *aead, const struct aead_message *m)
{
	(void)aead;
	return !crypto_aead_chacha20poly1305_ietf_decrypt(m->dst, NULL, NULL, m->src,
							  (uint64_t)m->len + NOISE_AUTHTAG_LEN, m->aad, m->aad_len,
							  m->nonce, m->key);
}

static void message_of_op(struct aead_message *m, uint8_t nonce[static AEAD_NONCE_LEN], const struct aead_op *op)
{
	uint64_t counter = htole64(op->counter);

	memset(nonce, 0, AEAD_NONCE_LEN);
	memcpy(nonce + AEAD_NONCE_LEN - sizeof(counter), &counter, sizeof(counter));
	*m = (struct aead_message){ .src = op->src, .dst = op->dst, .len = op->len, .key = op->key, .nonce = nonce };
}

static void sodium_seal_burst(struct aead *aead, struct aead_op *ops, unsigned int n)
{
	uint8_t nonce[AEAD_NONCE_LEN];
	struct aead_message m;

	for (unsigned int i = 0; i < n; i++) {
		message_of_op(&m, nonce, &ops[i]);
		sodium_seal(aead, &m);
	}
}

static void sodium_open_burst(struct aead *aead, struct aead_op *ops, unsigned int n)
{
	uint8_t nonce[AEAD_NONCE_LEN];
	struct aead_message m;

	for (unsigned int i = 0; i < n; i++) {
		message_of_op(&m, nonce, &ops[i]);
		ops[i].ok = sodium_open(aead, &m);
	}
}

const struct aead_backend_ops aead_sodium_ops = {
	.create = sodium_create,
	.free = sodium_free_nothing,
	.seal_burst = sodium_seal_burst,
	.open_burst = sodium_open_burst,
	.seal = sodium_seal,
	.open = sodium_open,
};
