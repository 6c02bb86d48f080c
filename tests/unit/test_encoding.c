// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Keys as text against a naive reference that searches an alphabet; under valgrind also that no branch sees a key. */
#include "../../user/encoding.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#else
#define RUNNING_ON_VALGRIND 0
#define VALGRIND_COUNT_ERRORS 0
#define VALGRIND_MAKE_MEM_UNDEFINED(ptr, len) (void)(ptr)
#define VALGRIND_MAKE_MEM_DEFINED(ptr, len) (void)(ptr)
#endif

#include "vectors.c"

#define SEED 0x5eed0003ULL

static const char base64_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* ------ The reference ------ */

static void naive_to_base64(char out[45], const uint8_t key[32])
{
	for (int i = 0; i < 43; i++) {
		int value = 0;

		for (int bit = 6 * i; bit < 6 * i + 6; bit++)
			value = value * 2 + (bit < 256 ? key[bit / 8] >> (7 - bit % 8) & 1 : 0);
		out[i] = base64_alphabet[value];
	}
	strcpy(out + 43, "=");
}

static bool naive_from_base64(uint8_t key[32], const char *text)
{
	if (strlen(text) != 44 || text[43] != '=')
		return false;
	memset(key, 0, 32);
	for (int i = 0; i < 43; i++) {
		const char *found = strchr(base64_alphabet, text[i]);
		int value = found ? (int)(found - base64_alphabet) : -1;

		if (value < 0)
			return false;
		for (int j = 0; j < 6; j++) {
			int bit = 6 * i + j;

			if (!(value >> (5 - j) & 1))
				continue;
			if (bit >= 256)
				return false;
			key[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
		}
	}
	return true;
}

static bool naive_from_hex(uint8_t key[32], const char *text)
{
	if (strlen(text) != 64 || strspn(text, "0123456789abcdefABCDEF") != 64)
		return false;
	return vectors_from_hex(key, 32, text) == 32;
}

/* ------ Tests ------ */

static void test_known(void **state)
{
	uint8_t key[32];
	char text[KEY_HEX_SIZE];

	(void)state;
	for (int i = 0; i < 32; i++)
		key[i] = (uint8_t)i;
	encoding_key_to_base64(text, key);
	assert_string_equal(text, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
	encoding_key_to_hex(text, key);
	assert_string_equal(text, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
	memset(key, 0xff, 32);
	encoding_key_to_base64(text, key);
	assert_string_equal(text, "//////////////////////////////////////////8=");
	memset(key, 0, 32);
	encoding_key_to_base64(text, key);
	assert_string_equal(text, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
}

static void test_round_trips(void **state)
{
	uint64_t seed = SEED;

	(void)state;
	for (int i = 0; i < 5000; i++) {
		char base64[KEY_BASE64_SIZE], hex[KEY_HEX_SIZE], want[KEY_HEX_SIZE];
		uint8_t key[32], back[32];

		vectors_random_bytes(key, 32, &seed);
		encoding_key_to_base64(base64, key);
		naive_to_base64(want, key);
		assert_string_equal(base64, want);
		assert_true(encoding_key_from_base64(back, base64));
		assert_memory_equal(back, key, 32);

		encoding_key_to_hex(hex, key);
		vectors_assert_hex(key, 32, hex);
		assert_true(encoding_key_from_hex(back, hex));
		assert_memory_equal(back, key, 32);
		for (int j = 0; j < 64; j += 3)
			hex[j] = hex[j] >= 'a' ? (char)(hex[j] - 'a' + 'A') : hex[j];
		assert_true(encoding_key_from_hex(back, hex));
		assert_memory_equal(back, key, 32);
	}
}

typedef bool (*decoder)(uint8_t key[static 32], const char *text);

/* Every text that differs from a good one in one byte, NUL included. */
static void check_corruptions(const char *good, decoder decode, bool (*naive)(uint8_t *, const char *))
{
	size_t len = strlen(good);
	unsigned int refused = 0;
	char text[KEY_HEX_SIZE];

	for (size_t i = 0; i < len; i++) {
		for (int byte = 0; byte < 256; byte++) {
			uint8_t want[32], got[32];
			bool ok;

			memcpy(text, good, len + 1);
			text[i] = (char)byte;
			ok = naive(want, text);
			assert_int_equal(decode(got, text), ok);
			if (ok)
				assert_memory_equal(got, want, 32);
			refused += !ok;
		}
	}
	assert_true(refused > len * (256 - 65));
}

static bool naive_hex_decoder(uint8_t *key, const char *text)
{
	return naive_from_hex(key, text);
}

static bool naive_base64_decoder(uint8_t *key, const char *text)
{
	return naive_from_base64(key, text);
}

static void test_corruptions(void **state)
{
	uint64_t seed = SEED + 1;

	(void)state;
	for (int i = 0; i < 20; i++) {
		char text[KEY_HEX_SIZE];
		uint8_t key[32];

		vectors_random_bytes(key, 32, &seed);
		encoding_key_to_base64(text, key);
		check_corruptions(text, encoding_key_from_base64, naive_base64_decoder);
		encoding_key_to_hex(text, key);
		check_corruptions(text, encoding_key_from_hex, naive_hex_decoder);
	}
}

/* Exactly one key: no shorter or longer text, nothing read past the NUL. */
static void test_lengths(void **state)
{
	char text[200];
	uint8_t key[32];

	(void)state;
	for (size_t len = 0; len < sizeof(text); len++) {
		char *copy;

		memset(text, 'A', len);
		text[len] = '\0';
		copy = strdup(text); /* an own allocation, so that sanitizers see its end */
		assert_non_null(copy);
		assert_int_equal(encoding_key_from_hex(key, copy), len == 64);
		assert_false(encoding_key_from_base64(key, copy));
		if (len)
			copy[len - 1] = '=';
		assert_int_equal(encoding_key_from_base64(key, copy), len == 44);
		free(copy);
	}
}

/* The last digit but one holds two bits that belong to no byte: only one of four spellings is right. */
static void test_unused_bits(void **state)
{
	char text[KEY_BASE64_SIZE] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
	unsigned int accepted = 0;
	uint8_t key[32];

	(void)state;
	for (int i = 0; i < 64; i++) {
		text[42] = base64_alphabet[i];
		accepted += encoding_key_from_base64(key, text);
		assert_int_equal(encoding_key_from_base64(key, text), i % 4 == 0);
	}
	assert_int_equal(accepted, 16);
}

/* Memcheck reports a branch or an address that depends on undefined bytes, which the key's are made to be. */
static void test_constant_time(void **state)
{
	char base64[KEY_BASE64_SIZE], hex[KEY_HEX_SIZE];
	uint8_t key[32], back[32];
	unsigned int errors = (unsigned int)VALGRIND_COUNT_ERRORS;
	uint64_t seed = SEED + 2;
	uint32_t bad;

	(void)state;
	if (!RUNNING_ON_VALGRIND) {
		print_message("not under valgrind: skipped\n");
		skip();
	}
	vectors_random_bytes(key, 32, &seed);
	VALGRIND_MAKE_MEM_UNDEFINED(key, 32);
	encoding_key_to_base64(base64, key);
	encoding_key_to_hex(hex, key);
	bad = base64_decode(back, base64) | hex_decode(back, hex);
	assert_int_equal(VALGRIND_COUNT_ERRORS, errors);
	/* Whether it was a key at all may show. */
	VALGRIND_MAKE_MEM_DEFINED(&bad, sizeof(bad));
	assert_int_equal(bad, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_corruptions),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_unused_bits),
		cmocka_unit_test(test_constant_time),
	};

	print_message("seed %#llx\n", SEED);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
