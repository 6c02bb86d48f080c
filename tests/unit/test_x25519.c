// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* X25519 against RFC 7748 and Wycheproof; keys without contribution are refused. */
#include "../../user/crypto/x25519.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "vectors.c"

static void test_rfc_5_2(void **state)
{
	static const char *const vectors[2][3] = {
		{ "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
		  "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
		  "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552" },
		{ "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
		  "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
		  "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957" },
	};

	(void)state;
	for (int i = 0; i < 2; i++) {
		uint8_t scalar[32], point[32], out[32];

		vectors_from_hex(scalar, 32, vectors[i][0]);
		vectors_from_hex(point, 32, vectors[i][1]);
		assert_true(x25519_shared(out, scalar, point));
		vectors_assert_hex(out, 32, vectors[i][2]);
	}
}

/* The iterated test of section 5.2, to a thousand. */
static void test_rfc_5_2_iterated(void **state)
{
	uint8_t k[32] = { 9 }, u[32] = { 9 }, out[32];

	(void)state;
	for (int i = 1; i <= 1000; i++) {
		assert_true(x25519_shared(out, k, u));
		memcpy(u, k, 32);
		memcpy(k, out, 32);
		if (i == 1)
			vectors_assert_hex(k, 32, "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
	}
	vectors_assert_hex(k, 32, "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
}

static void test_rfc_6_1(void **state)
{
	uint8_t a[32], b[32], a_public[32], b_public[32], ab[32], ba[32];

	(void)state;
	vectors_from_hex(a, 32, "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
	vectors_from_hex(b, 32, "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
	assert_true(x25519_public(a_public, a));
	assert_true(x25519_public(b_public, b));
	vectors_assert_hex(a_public, 32, "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
	vectors_assert_hex(b_public, 32, "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
	assert_true(x25519_shared(ab, a, b_public));
	assert_true(x25519_shared(ba, b, a_public));
	assert_memory_equal(ab, ba, 32);
	vectors_assert_hex(ab, 32, "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
}

static void test_wycheproof(void **state)
{
	struct json_object *root = vectors_load("wycheproof_x25519_test.json"), *groups, *tests;
	unsigned int n_tests = 0, n_zero = 0;

	(void)state;
	groups = vectors_member(root, "testGroups");
	for (size_t i = 0; i < json_object_array_length(groups); i++) {
		tests = vectors_member(json_object_array_get_idx(groups, i), "tests");
		for (size_t j = 0; j < json_object_array_length(tests); j++) {
			struct json_object *test = json_object_array_get_idx(tests, j);
			static const uint8_t zero[32];
			uint8_t public_key[32], private_key[32], want[32], got[32];
			bool is_zero;

			vectors_bytes(public_key, 32, test, "public");
			vectors_bytes(private_key, 32, test, "private");
			vectors_bytes(want, 32, test, "shared");
			is_zero = !memcmp(want, zero, 32);
			assert_int_equal(x25519_shared(got, private_key, public_key), !is_zero);
			if (!is_zero)
				assert_memory_equal(got, want, 32);
			n_zero += is_zero;
			n_tests++;
		}
	}
	json_object_put(root);
	assert_int_equal(n_tests, 518);
	assert_int_equal(n_zero, 31);
}

static void test_low_order_refused(void **state)
{
	uint8_t private_key[32], point[32], out[32];
	uint64_t seed = 1;

	(void)state;
	for (size_t i = 0; i < VECTORS_LOW_ORDER; i++) {
		vectors_random_bytes(private_key, 32, &seed);
		vectors_from_hex(point, 32, vectors_low_order[i]);
		assert_false(x25519_shared(out, private_key, point));
	}
}

static void test_zero_private_key_refused(void **state)
{
	uint8_t zero[32] = { 0 }, out[32];

	(void)state;
	assert_false(x25519_public(out, zero));
	zero[31] = 0x80;
	assert_true(x25519_public(out, zero));
}

/* Which bits change is RFC 7748's; a key and its clamped form are the same key. */
static void test_clamp(void **state)
{
	uint8_t ones[32], zeros[32] = { 0 }, plain[32], clamped[32], public_1[32], public_2[32];
	uint64_t seed = 2;

	(void)state;
	memset(ones, 0xff, 32);
	x25519_clamp(ones);
	vectors_assert_hex(ones, 32, "f8ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
	x25519_clamp(zeros);
	vectors_assert_hex(zeros, 32, "0000000000000000000000000000000000000000000000000000000000000040");
	for (int i = 0; i < 50; i++) {
		vectors_random_bytes(plain, 32, &seed);
		memcpy(clamped, plain, 32);
		x25519_clamp(clamped);
		assert_true(x25519_public(public_1, plain));
		assert_true(x25519_public(public_2, clamped));
		assert_memory_equal(public_1, public_2, 32);
		memcpy(plain, clamped, 32);
		x25519_clamp(clamped);
		assert_memory_equal(clamped, plain, 32);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc_5_2),
		cmocka_unit_test(test_rfc_5_2_iterated),
		cmocka_unit_test(test_rfc_6_1),
		cmocka_unit_test(test_wycheproof),
		cmocka_unit_test(test_low_order_refused),
		cmocka_unit_test(test_zero_private_key_refused),
		cmocka_unit_test(test_clamp),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
