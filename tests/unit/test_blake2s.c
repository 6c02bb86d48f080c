// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* BLAKE2s against RFC 7693, the authors' known answers, and a second implementation with loops and tables. */
#include "blake2s.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include <cmocka.h>

#include "vectors.c"

#define SEED 0x5eed0001ULL

static void test_abc(void **state)
{
	uint8_t out[32];

	(void)state;
	blake2s(out, sizeof(out), "abc", 3, NULL, 0);
	vectors_assert_hex(out, sizeof(out), "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
}

/* RFC 7693, appendix E: its own generator of inputs. */
static void selftest_seq(uint8_t *out, size_t len, uint32_t seed)
{
	uint32_t a = 0xDEAD4BAD * seed, b = 1;

	for (size_t i = 0; i < len; i++) {
		uint32_t t = a + b;

		a = b;
		b = t;
		out[i] = (uint8_t)(t >> 24);
	}
}

static void test_rfc_self_test(void **state)
{
	static const uint32_t out_lens[] = { 16, 20, 28, 32 }, in_lens[] = { 0, 3, 64, 65, 255, 1024 };
	uint8_t in[1024], key[32], out[32];
	struct blake2s_state all;

	(void)state;
	blake2s_init(&all, 32);
	for (unsigned int i = 0; i < 4; i++) {
		for (unsigned int j = 0; j < 6; j++) {
			selftest_seq(in, in_lens[j], in_lens[j]);
			blake2s(out, out_lens[i], in, in_lens[j], NULL, 0);
			blake2s_update(&all, out, out_lens[i]);
			selftest_seq(key, out_lens[i], out_lens[i]);
			blake2s(out, out_lens[i], in, in_lens[j], key, out_lens[i]);
			blake2s_update(&all, out, out_lens[i]);
		}
	}
	blake2s_final(&all, out);
	vectors_assert_hex(out, 32, "6a411f08ce25adcdfb02aba641451cec53c598b24f4fc787fbdc88797f4c1dfe");
}

/* One known answer, in one go, byte by byte, and in two parts split everywhere. */
static void check_kat(const uint8_t *in, size_t len, const uint8_t *key, size_t key_len, const uint8_t want[32])
{
	struct blake2s_state s;
	uint8_t out[32];

	blake2s(out, 32, in, len, key, key_len);
	assert_memory_equal(out, want, 32);

	blake2s_init_key(&s, 32, key, key_len);
	for (size_t i = 0; i < len; i++)
		blake2s_update(&s, in + i, 1);
	blake2s_final(&s, out);
	assert_memory_equal(out, want, 32);

	for (size_t split = 0; split <= len; split++) {
		blake2s_init_key(&s, 32, key, key_len);
		blake2s_update(&s, in, split);
		blake2s_update(&s, in + split, len - split);
		blake2s_final(&s, out);
		assert_memory_equal(out, want, 32);
	}
}

static void test_known_answers(void **state)
{
	struct json_object *all = vectors_load("blake2s_kat.json");
	size_t n = json_object_array_length(all);

	(void)state;
	for (size_t i = 0; i < n; i++) {
		struct json_object *kat = json_object_array_get_idx(all, i);
		uint8_t in[256], key[32], want[32];
		size_t len = vectors_bytes(in, sizeof(in), kat, "in");
		size_t key_len = vectors_bytes(key, sizeof(key), kat, "key");

		assert_int_equal(vectors_bytes(want, sizeof(want), kat, "out"), 32);
		check_kat(in, len, key, key_len, want);
	}
	json_object_put(all);
	assert_int_equal(n, 512);
}

/* ------ The second implementation ------ */

static const uint8_t naive_sigma[10][16] = {
	{ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 },
	{ 14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3 },
	{ 11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4 },
	{ 7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8 },
	{ 9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13 },
	{ 2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9 },
	{ 12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11 },
	{ 13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10 },
	{ 6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5 },
	{ 10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0 },
};
static const uint32_t naive_iv[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
				      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };

static uint32_t naive_rotate(uint32_t x, unsigned int n)
{
	return x >> n | x << (32 - n);
}

static void naive_compress(uint32_t h[8], const uint8_t *block, uint64_t t, bool final)
{
	static const uint8_t rotations[4] = { 16, 12, 8, 7 };
	uint32_t v[16], m[16] = { 0 };

	memcpy(v, h, 32);
	memcpy(v + 8, naive_iv, 32);
	v[12] ^= (uint32_t)t;
	v[13] ^= (uint32_t)(t >> 32);
	v[14] ^= final ? 0xffffffff : 0;
	for (int i = 0; i < 64; i++)
		m[i / 4] |= (uint32_t)block[i] << (i % 4 * 8);
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < 8; i++) {
			int shift = i / 4, a = i % 4, b = 4 + (i + shift) % 4, c = 8 + (i + 2 * shift) % 4,
			    d = 12 + (i + 3 * shift) % 4;

			for (int half = 0; half < 2; half++) {
				v[a] += v[b] + m[naive_sigma[round][2 * i + half]];
				v[d] = naive_rotate(v[d] ^ v[a], rotations[2 * half]);
				v[c] += v[d];
				v[b] = naive_rotate(v[b] ^ v[c], rotations[2 * half + 1]);
			}
		}
	}
	for (int i = 0; i < 8; i++)
		h[i] ^= v[i] ^ v[i + 8];
}

static void test_compress_against_naive(void **state)
{
	uint64_t seed = SEED;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		uint64_t t = vectors_random(&seed) >> (vectors_random(&seed) % 64);
		bool final = vectors_random(&seed) & 1;
		uint8_t bytes[80], *block = bytes + vectors_random(&seed) % 16; /* any alignment */
		uint32_t want[8], got[8];

		vectors_random_bytes(bytes, sizeof(bytes), &seed);
		vectors_random_bytes(want, sizeof(want), &seed);
		memcpy(got, want, sizeof(got));
		naive_compress(want, block, t, final);
		blake2s_compress(got, block, t, final);
		assert_memory_equal(got, want, sizeof(got));
	}
}

/* The count of bytes must carry into its upper word; nobody hashes 4 GiB to see it. */
static void test_count_carries(void **state)
{
	uint8_t block[64] = { 1, 2, 3 }, out[32];
	struct blake2s_state s;
	uint32_t h[8];

	(void)state;
	blake2s_init(&s, 32);
	memcpy(h, s.h, sizeof(h));
	s.t[0] = 0xffffffc0;
	blake2s_update(&s, block, 64);
	blake2s_update(&s, block, 5);
	assert_int_equal(s.t[0], 0);
	assert_int_equal(s.t[1], 1);
	blake2s_final(&s, out);

	naive_compress(h, block, 0x100000000ULL, false);
	memset(block + 5, 0, sizeof(block) - 5);
	naive_compress(h, block, 0x100000005ULL, true);
	assert_memory_equal(out, h, sizeof(h));
}

/* A mac as a BPF program works it out: the state after the key block, then the blocks one by one. */
static void test_keyed_state(void **state)
{
	uint64_t seed = SEED;
	uint8_t key[32], msg[192] = { 0 }, want[16];

	(void)state;
	vectors_random_bytes(key, sizeof(key), &seed);
	vectors_random_bytes(msg, sizeof(msg), &seed);
	for (size_t len = 1; len <= 128; len++) {
		uint8_t padded[128] = { 0 };
		uint32_t h[8];

		memcpy(padded, msg, len);
		blake2s_keyed_h(h, 16, key, sizeof(key));
		if (len > 64)
			blake2s_compress(h, padded, 128, 0);
		blake2s_compress(h, padded + (len > 64 ? 64 : 0), 64 + len, 1);
		blake2s(want, 16, msg, len, key, sizeof(key));
		assert_memory_equal(h, want, sizeof(want));
	}
}

static void test_final_wipes(void **state)
{
	static const struct blake2s_state zero;
	struct blake2s_state s;
	uint8_t out[32];

	(void)state;
	blake2s_init_key(&s, 32, "secret", 6);
	blake2s_update(&s, "more", 4);
	blake2s_final(&s, out);
	assert_memory_equal(&s, &zero, sizeof(s));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_abc),
		cmocka_unit_test(test_rfc_self_test),
		cmocka_unit_test(test_known_answers),
		cmocka_unit_test(test_compress_against_naive),
		cmocka_unit_test(test_count_carries),
		cmocka_unit_test(test_keyed_state),
		cmocka_unit_test(test_final_wipes),
	};

	print_message("seed %#llx\n", SEED);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
