// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* HMAC and HKDF against answers worked out with another library, and against the definitions written down plainly. */
#include "../../user/crypto/hash.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "vectors.c"

#define SEED 0x5eed0002ULL

/* 0, 1, 2, ... */
static const uint8_t *counting(void)
{
	static uint8_t bytes[256];

	for (int i = 0; i < 256; i++)
		bytes[i] = (uint8_t)i;
	return bytes;
}

static void test_hmac_answers(void **state)
{
	const struct {
		const void *key;
		size_t key_len;
		const void *data;
		size_t len;
		const char *want;
	} cases[] = {
		{ "", 0, "", 0, "eaf4bb25938f4d20e72656bbbc7a9bf63c0c18537333c35bdb67db1402661acd" },
		{ "key", 3, "The quick brown fox", 19,
		  "8717096fc5e7ac53d11d990acd4380c9ddd7bd8da5d8b5bc29855e6c98a866a4" },
		{ counting(), 64, counting(), 200, "690ee478866a3698f0ed2e87e8b25fcb63e56f6c2e6baa69acec75b6d645d1ae" },
		{ counting(), 65, "x", 1, "c20a573abd7a49781d032eb36aa7ff10dfd52796daebd11c1f5a3452273532b9" },
		{ counting(), 131, counting(), 64, "09e1d747ee8d4419f7ffd4690096b484d3482eff111f8bf2ff3f3e08eb2ca376" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t out[NOISE_HASH_LEN];

		hash_hmac(out, cases[i].data, cases[i].len, cases[i].key, cases[i].key_len);
		vectors_assert_hex(out, sizeof(out), cases[i].want);
	}
}

static void test_kdf_answers(void **state)
{
	static const uint8_t zeros[32];
	uint8_t ones[32];
	const struct {
		const uint8_t *chaining_key;
		const void *data;
		size_t len;
		const char *want[3];
	} cases[] = {
		{ zeros, NULL, 0,
		  { "8387b46bf43eccfcf349552a095d8315c4055beb90208fb1be23b894bc2ed5d0",
		    "58a0e5f6faefccf4807bff1f05fa8a9217945762040bcec2f4b4a62bdfe0e86e",
		    "0ce6ea98ec548f8e281e93e32db65621c45eb18dc6f0a7ad94178610a2f7338e" } },
		{ counting(), counting(), 32,
		  { "1fcf29000a27f12dc0691acf0f15bf4c55199f925d65441a3c08b566fce08d13",
		    "704818f0cdc896cc3d7fe77c61f24e33db30aa69ef63758d5cfce8d6335c1b46",
		    "7c46c5eddb1418694b9a599d7d5842039b4fbbf946e376bf59d19847342fee80" } },
		{ ones, "WireGuard", 9,
		  { "c896a8aca5ec04bcfb40f46acf27ca1b329f4857f6d479fbdd1592702b1b85ce",
		    "31f233a19b775e261be7d2e1cc66e03e0fb28138cc2247a028550f791ac1a7c8",
		    "3737a1683dd38ae0b701bead3d663edac3da76a03a767726a03216545af7cfc5" } },
		{ counting(), counting(), 100,
		  { "90d0e91cdaea20e41b7e43ef99a35292921d3d49c1d86f48ddf62dbc1cc1bb01",
		    "8814819cb396ee544e3a8314285739d6527a8d87cf930252e61501140ddbba51",
		    "2d4748e29b90d92057489d6aaa0ee0d2a135113b4baaefb8d82fb54bffe16496" } },
	};

	(void)state;
	memset(ones, 0xff, sizeof(ones));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t out[3][NOISE_HASH_LEN];

		hash_kdf(out[0], out[1], out[2], cases[i].data, cases[i].len, cases[i].chaining_key);
		for (int j = 0; j < 3; j++)
			vectors_assert_hex(out[j], NOISE_HASH_LEN, cases[i].want[j]);
	}
}

/* RFC 2104, "H(K XOR opad, H(K XOR ipad, text))", over buffers joined by hand. */
static void naive_hmac(uint8_t out[32], const uint8_t *data, size_t len, const uint8_t *key, size_t key_len)
{
	uint8_t *text = calloc(1, 64 + len), outer[64 + 32] = { 0 }, short_key[64] = { 0 };

	assert_non_null(text);
	if (key_len <= 64)
		memcpy(short_key, key, key_len);
	else
		blake2s(short_key, 32, key, key_len, NULL, 0);
	for (int i = 0; i < 64; i++) {
		text[i] = short_key[i] ^ 0x36;
		outer[i] = short_key[i] ^ 0x5c;
	}
	memcpy(text + 64, data, len);
	blake2s(outer + 64, 32, text, 64 + len, NULL, 0);
	blake2s(out, 32, outer, sizeof(outer), NULL, 0);
	free(text);
}

/* RFC 5869: T(n) = HMAC(PRK, T(n-1) | info | n), without info. */
static void naive_kdf(uint8_t out[3][32], const uint8_t *data, size_t len, const uint8_t chaining_key[32])
{
	uint8_t prk[32], block[33];

	naive_hmac(prk, data, len, chaining_key, 32);
	for (int n = 1; n <= 3; n++) {
		if (n > 1)
			memcpy(block, out[n - 2], 32);
		block[n > 1 ? 32 : 0] = (uint8_t)n;
		naive_hmac(out[n - 1], block, n > 1 ? 33 : 1, prk, 32);
	}
}

static void test_against_naive(void **state)
{
	uint8_t data[300], key[200], want[3][32], got[3][32];
	uint64_t seed = SEED;

	(void)state;
	for (int i = 0; i < 2000; i++) {
		size_t len = vectors_random(&seed) % (sizeof(data) + 1);
		size_t key_len = vectors_random(&seed) % (sizeof(key) + 1);

		vectors_random_bytes(data, sizeof(data), &seed);
		vectors_random_bytes(key, sizeof(key), &seed);
		naive_hmac(want[0], data, len, key, key_len);
		hash_hmac(got[0], data, len, key, key_len);
		assert_memory_equal(got[0], want[0], 32);
		naive_kdf(want, data, len, key);
		hash_kdf(got[0], got[1], got[2], data, len, key);
		assert_memory_equal(got, want, sizeof(want));
	}
}

/* Fewer outputs are a prefix, nothing is written past them, and the first may replace the chaining key. */
static void test_kdf_outputs(void **state)
{
	uint8_t want[3][32], got[3][32], chaining_key[32] = { 7 };

	(void)state;
	naive_kdf(want, (const uint8_t *)"data", 4, chaining_key);
	memset(got, 0xaa, sizeof(got));
	hash_kdf(got[0], NULL, NULL, "data", 4, chaining_key);
	assert_memory_equal(got[0], want[0], 32);
	hash_kdf(got[0], got[1], NULL, "data", 4, chaining_key);
	assert_memory_equal(got, want, 64);
	for (int i = 0; i < 32; i++)
		assert_int_equal(got[2][i], 0xaa);
	hash_kdf(chaining_key, got[1], got[2], "data", 4, chaining_key);
	assert_memory_equal(chaining_key, want[0], 32);
	assert_memory_equal(got[1], want[1], 64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hmac_answers),
		cmocka_unit_test(test_kdf_answers),
		cmocka_unit_test(test_against_naive),
		cmocka_unit_test(test_kdf_outputs),
	};

	print_message("seed %#llx\n", SEED);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
