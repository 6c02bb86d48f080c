/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What an AEAD back end provides; for the files of crypto/ and their tests.
 *
 * Below WireGuard's nonces: a message has the full 96-bit nonce and additional data, so that foreign test vectors run
 * through the same code as packets do.
 */
#ifndef WG_XDP_AEAD_BACKEND_H
#define WG_XDP_AEAD_BACKEND_H

#include "crypto/aead.h"

#define AEAD_NONCE_LEN 12

struct aead_message {
	const uint8_t *src;
	uint8_t *dst;
	uint32_t len; /* of the plaintext, as in struct aead_op */
	const uint8_t *key, *nonce;
	const uint8_t *aad;
	uint32_t aad_len;
};

struct aead_backend_ops {
	struct aead *(*create)(void);
	void (*free)(struct aead *aead);
	void (*seal_burst)(struct aead *aead, struct aead_op *ops, unsigned int n);
	void (*open_burst)(struct aead *aead, struct aead_op *ops, unsigned int n);
	void (*seal)(struct aead *aead, const struct aead_message *message);
	bool (*open)(struct aead *aead, const struct aead_message *message);
};

/* A back end puts its own state behind this. */
struct aead {
	const struct aead_backend_ops *ops;
	const char *name;
};

extern const struct aead_backend_ops aead_sodium_ops;
extern const struct aead_backend_ops aead_ipsecmb_ops;

#endif
