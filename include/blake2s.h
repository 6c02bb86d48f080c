/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * BLAKE2s (RFC 7693), shared by BPF programs and user space.
 *
 * The compression function is one straight line of code with constant indices: the verifier sees no loop, and its
 * time does not depend on what is hashed. BPF gets that function alone; hashing of any length is for user space.
 */
#ifndef WG_XDP_BLAKE2S_H
#define WG_XDP_BLAKE2S_H

#include "types.h"

#ifndef __bpf__
#include <stddef.h>
#include <string.h>
#endif

#define BLAKE2S_BLOCK_LEN 64
#define BLAKE2S_HASH_LEN 32
#define BLAKE2S_KEY_LEN 32

#ifdef __bpf__
#define BLAKE2S_INLINE static inline __attribute__((__always_inline__))
#else
#define BLAKE2S_INLINE static inline
#endif

#define BLAKE2S_IV_0 0x6A09E667U
#define BLAKE2S_IV_1 0xBB67AE85U
#define BLAKE2S_IV_2 0x3C6EF372U
#define BLAKE2S_IV_3 0xA54FF53AU
#define BLAKE2S_IV_4 0x510E527FU
#define BLAKE2S_IV_5 0x9B05688CU
#define BLAKE2S_IV_6 0x1F83D9ABU
#define BLAKE2S_IV_7 0x5BE0CD19U

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BLAKE2S_LE32(x) (x)
#else
#define BLAKE2S_LE32(x) __builtin_bswap32(x)
#endif

typedef __u32 __attribute__((__may_alias__)) blake2s_word;

#define BLAKE2S_ROTR(x, n) (((x) >> (n)) | ((x) << (32 - (n))))

/* The mixing function G of RFC 7693 section 3.1. */
#define BLAKE2S_G(a, b, c, d, x, y)        \
	do {                               \
		a += b + (x);              \
		d = BLAKE2S_ROTR(d ^ a, 16); \
		c += d;                    \
		b = BLAKE2S_ROTR(b ^ c, 12); \
		a += b + (y);              \
		d = BLAKE2S_ROTR(d ^ a, 8); \
		c += d;                    \
		b = BLAKE2S_ROTR(b ^ c, 7); \
	} while (0)

/* One round; the arguments are a row of SIGMA, RFC 7693 section 2.7. */
#define BLAKE2S_ROUND(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15) \
	do {                                                                        \
		BLAKE2S_G(v0, v4, v8, v12, m[s0], m[s1]);                           \
		BLAKE2S_G(v1, v5, v9, v13, m[s2], m[s3]);                           \
		BLAKE2S_G(v2, v6, v10, v14, m[s4], m[s5]);                          \
		BLAKE2S_G(v3, v7, v11, v15, m[s6], m[s7]);                          \
		BLAKE2S_G(v0, v5, v10, v15, m[s8], m[s9]);                          \
		BLAKE2S_G(v1, v6, v11, v12, m[s10], m[s11]);                        \
		BLAKE2S_G(v2, v7, v8, v13, m[s12], m[s13]);                         \
		BLAKE2S_G(v3, v4, v9, v14, m[s14], m[s15]);                         \
	} while (0)

/*
 * BPF reads words: the verifier's stack must be read aligned, and byte loads would be four times the code. There,
 * block is 4-byte aligned, or lies in the packet where the kernel allows for it.
 */
BLAKE2S_INLINE void blake2s_load_block(__u32 m[16], const __u8 *block)
{
#ifdef __bpf__
#pragma unroll
	for (int i = 0; i < 16; i++)
		m[i] = BLAKE2S_LE32(((const blake2s_word *)block)[i]);
#else
	for (int i = 0; i < 16; i++) {
		__u32 word;

		memcpy(&word, block + 4 * i, sizeof(word));
		m[i] = BLAKE2S_LE32(word);
	}
#endif
}

/*
 * RFC 7693 section 3.2. h is the chain value; t counts all bytes hashed so far, this block's and a key block's
 * included but no padding; final is not 0 for the last block.
 */
BLAKE2S_INLINE void blake2s_compress(__u32 h[8], const __u8 *block, __u64 t, int final)
{
	__u32 v0 = h[0], v1 = h[1], v2 = h[2], v3 = h[3], v4 = h[4], v5 = h[5], v6 = h[6], v7 = h[7];
	__u32 v8 = BLAKE2S_IV_0, v9 = BLAKE2S_IV_1, v10 = BLAKE2S_IV_2, v11 = BLAKE2S_IV_3;
	__u32 v12 = BLAKE2S_IV_4 ^ (__u32)t, v13 = BLAKE2S_IV_5 ^ (__u32)(t >> 32);
	__u32 v14 = final ? ~BLAKE2S_IV_6 : BLAKE2S_IV_6, v15 = BLAKE2S_IV_7;
	__u32 m[16];

	blake2s_load_block(m, block);
	BLAKE2S_ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	BLAKE2S_ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);
	BLAKE2S_ROUND(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4);
	BLAKE2S_ROUND(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8);
	BLAKE2S_ROUND(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13);
	BLAKE2S_ROUND(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9);
	BLAKE2S_ROUND(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11);
	BLAKE2S_ROUND(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10);
	BLAKE2S_ROUND(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5);
	BLAKE2S_ROUND(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0);

	h[0] ^= v0 ^ v8;
	h[1] ^= v1 ^ v9;
	h[2] ^= v2 ^ v10;
	h[3] ^= v3 ^ v11;
	h[4] ^= v4 ^ v12;
	h[5] ^= v5 ^ v13;
	h[6] ^= v6 ^ v14;
	h[7] ^= v7 ^ v15;
}

#undef BLAKE2S_ROUND
#undef BLAKE2S_G
#undef BLAKE2S_ROTR

#ifndef __bpf__

struct blake2s_state {
	__u32 h[8];
	__u32 t[2]; /* bytes compressed so far, low word first */
	__u32 f[2]; /* finalisation flags of RFC 7693; f[1] belongs to tree hashing, which nobody here uses */
	__u8 buf[BLAKE2S_BLOCK_LEN];
	__u32 buflen;
	__u32 outlen;
};

/* outlen is 1 to 32 bytes, here and below. */
static inline void blake2s_init_h(__u32 h[8], size_t outlen, size_t keylen)
{
	h[0] = BLAKE2S_IV_0 ^ 0x01010000U ^ ((__u32)keylen << 8) ^ (__u32)outlen;
	h[1] = BLAKE2S_IV_1;
	h[2] = BLAKE2S_IV_2;
	h[3] = BLAKE2S_IV_3;
	h[4] = BLAKE2S_IV_4;
	h[5] = BLAKE2S_IV_5;
	h[6] = BLAKE2S_IV_6;
	h[7] = BLAKE2S_IV_7;
}

static inline void blake2s_init(struct blake2s_state *state, size_t outlen)
{
	memset(state, 0, sizeof(*state));
	blake2s_init_h(state->h, outlen, 0);
	state->outlen = (__u32)outlen;
}

/* keylen is at most 32; 0 hashes without a key. */
static inline void blake2s_init_key(struct blake2s_state *state, size_t outlen, const void *key, size_t keylen)
{
	blake2s_init(state, outlen);
	if (!keylen)
		return;
	blake2s_init_h(state->h, outlen, keylen);
	memcpy(state->buf, key, keylen);
	state->buflen = BLAKE2S_BLOCK_LEN;
}

/*
 * The chain value after the key block, for messages of at least one byte: their blocks follow by blake2s_compress(),
 * the first with t = 64 + its own bytes.
 */
static inline void blake2s_keyed_h(__u32 h[8], size_t outlen, const void *key, size_t keylen)
{
	__u8 block[BLAKE2S_BLOCK_LEN] = { 0 };

	blake2s_init_h(h, outlen, keylen);
	memcpy(block, key, keylen);
	blake2s_compress(h, block, BLAKE2S_BLOCK_LEN, 0);
	explicit_bzero(block, sizeof(block));
}

static inline void blake2s_step(struct blake2s_state *state, const __u8 *block, size_t len)
{
	__u64 t = ((__u64)state->t[1] << 32 | state->t[0]) + len;

	state->t[0] = (__u32)t;
	state->t[1] = (__u32)(t >> 32);
	blake2s_compress(state->h, block, t, state->f[0] != 0);
}

/* A full buffer stays uncompressed until more comes: the last block is compressed differently. */
static inline void blake2s_update(struct blake2s_state *state, const void *data, size_t len)
{
	const __u8 *in = (const __u8 *)data;
	size_t room = BLAKE2S_BLOCK_LEN - state->buflen;

	if (!len)
		return;
	if (len > room) {
		memcpy(state->buf + state->buflen, in, room);
		blake2s_step(state, state->buf, BLAKE2S_BLOCK_LEN);
		state->buflen = 0;
		in += room;
		len -= room;
		for (; len > BLAKE2S_BLOCK_LEN; in += BLAKE2S_BLOCK_LEN, len -= BLAKE2S_BLOCK_LEN)
			blake2s_step(state, in, BLAKE2S_BLOCK_LEN);
	}
	memcpy(state->buf + state->buflen, in, len);
	state->buflen += (__u32)len;
}

/* Writes outlen bytes and wipes the state. */
static inline void blake2s_final(struct blake2s_state *state, void *out)
{
	__u32 words[8];

	state->f[0] = ~0U;
	memset(state->buf + state->buflen, 0, BLAKE2S_BLOCK_LEN - state->buflen);
	blake2s_step(state, state->buf, state->buflen);
	for (int i = 0; i < 8; i++)
		words[i] = BLAKE2S_LE32(state->h[i]);
	memcpy(out, words, state->outlen);
	explicit_bzero(words, sizeof(words));
	explicit_bzero(state, sizeof(*state));
}

/* key may be NULL with keylen 0. */
static inline void blake2s(void *out, size_t outlen, const void *data, size_t datalen, const void *key, size_t keylen)
{
	struct blake2s_state state;

	blake2s_init_key(&state, outlen, key, keylen);
	blake2s_update(&state, data, datalen);
	blake2s_final(&state, out);
}

#endif /* __bpf__ */

#endif
