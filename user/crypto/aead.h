/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ChaCha20-Poly1305 (RFC 8439) in bursts, behind one interface with several back ends.
 *
 * Nonces are WireGuard's: four zero bytes and the 64-bit counter, little endian (paper 5.4.6). There is no
 * additional data.
 */
#ifndef WG_XDP_AEAD_H
#define WG_XDP_AEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "messages.h"

enum aead_backend {
	AEAD_BACKEND_SODIUM,
	AEAD_BACKEND_IPSECMB,
	AEAD_BACKEND_COUNT
};

/*
 * One packet of a burst. Plaintext is len bytes, ciphertext len + NOISE_AUTHTAG_LEN: sealing reads len bytes at src
 * and writes len + 16 at dst; opening reads len + 16 at src and writes len at dst. src and dst are the same pointer
 * or do not overlap. len may be 0.
 */
struct aead_op {
	const uint8_t *src;
	uint8_t *dst;
	uint32_t len;
	bool ok; /* set by opening: the tag was right. If it was not, the contents of dst mean nothing. */
	uint64_t counter;
	const uint8_t *key; /* NOISE_SYMMETRIC_KEY_LEN bytes */
};

/* A back end's state; belongs to one thread. */
struct aead;

/* Returns NULL when this machine or build lacks the back end, or memory is short. Free with aead_free(). */
struct aead *aead_create(enum aead_backend backend);
void aead_free(struct aead *aead);

void aead_seal_burst(struct aead *aead, struct aead_op *ops, unsigned int n);
void aead_open_burst(struct aead *aead, struct aead_op *ops, unsigned int n);

/* "libsodium", "libipsec-mb AVX512": with the instruction set, where the back end tells. Static storage. */
const char *aead_name(const struct aead *aead);

/* The word that forces a back end: "sodium", "ipsec-mb". */
const char *aead_backend_word(enum aead_backend backend);

struct aead_choice {
	enum aead_backend backend;
	uint32_t ns_1420[AEAD_BACKEND_COUNT]; /* measured time to seal 1420 bytes; 0: not usable here */
};

/*
 * Tests every back end against RFC 8439 and against each other, measures those that pass, and chooses the fastest,
 * or the one forced names ("auto" or NULL: the fastest). Takes some milliseconds. Returns 0, -EINVAL for an unknown
 * word, -ENOTSUP when the forced one cannot be used here, -EIO when no back end passes.
 */
int aead_choose(const char *forced, struct aead_choice *choice);

#endif
