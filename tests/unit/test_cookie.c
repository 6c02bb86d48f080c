// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * mac1, mac2 and cookies: known answers, computed with other implementations of BLAKE2s and XChaCha20-Poly1305; then
 * the rules one by one, most of them mistakes that others have made.
 */
#include "../../user/cookie.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define S NS_PER_SECOND
#define T0 (1000 * S)
#define INITIATION_LEN sizeof(struct message_handshake_initiation)
#define RESPONSE_LEN sizeof(struct message_handshake_response)

#define INITIATOR_PUBLIC "6bc3822a2aa7f4e6981d6538692b3cdf3e6df9eea6ed269eb41d93c22757b75a"
#define RESPONDER_PUBLIC "31e0303fd6418d2f8c0e78b91f22e8caed0fbe48656dcf4767e4834f701b8f62"

#define INITIATION                                                                                                  \
	"0100000001000000ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944001e21de9f98ddd8e2ad5752"  \
	"7207feb56253c9c94a9e496782ecfcb2a75fbcaf752d6cf9956f6a4cc1a138d6de1e87238cbd2c461766143d84c83619a1956ecf"  \
	"dd7420004b91173f010e7719"
#define RESPONSE                                                                                                    \
	"02000000020000000100000095ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f14480884367ecd13ecad26320"  \
	"edccb50f5ce99685"

static void from_hex(void *out, size_t size, const char *hex)
{
	size_t len;

	assert_int_equal(sodium_hex2bin(out, size, hex, strlen(hex), NULL, &len, NULL), 0);
	assert_int_equal(len, size);
}

static void expect_hex(const void *bytes, size_t len, const char *hex)
{
	uint8_t expected[256];

	from_hex(expected, len, hex);
	assert_memory_equal(bytes, expected, len);
}

static void set_source(struct cookie_source *source, const char *hex)
{
	source->len = (uint8_t)(strlen(hex) / 2);
	from_hex(source->bytes, source->len, hex);
}

/* Both ends: the responder's checker, and what the initiator knows of the responder. */
struct ends {
	struct cookie_checker checker;
	struct cookie cookie;
	struct cookie_source source;
	uint8_t secret[NOISE_HASH_LEN], other_secret[NOISE_HASH_LEN], nonce[COOKIE_NONCE_LEN];
	uint8_t initiation[INITIATION_LEN];
	struct message_handshake_cookie reply;
};

static void ends_init(struct ends *ends)
{
	uint8_t public_key[NOISE_PUBLIC_KEY_LEN];

	memset(ends, 0, sizeof(*ends));
	from_hex(public_key, sizeof(public_key), RESPONDER_PUBLIC);
	cookie_checker_set_key(&ends->checker, public_key);
	cookie_init(&ends->cookie, public_key);
	set_source(&ends->source, "c0000201ca6c"); /* 192.0.2.1:51820 */
	for (uint8_t i = 0; i < sizeof(ends->secret); i++) {
		ends->secret[i] = i;
		ends->other_secret[i] = 0xff - i;
	}
	for (uint8_t i = 0; i < sizeof(ends->nonce); i++)
		ends->nonce[i] = 100 + i;
	from_hex(ends->initiation, INITIATION_LEN - MACS_LEN, INITIATION);
}

static void send_initiation(struct ends *ends, uint64_t now_ns)
{
	cookie_add_mac_to_packet(&ends->cookie, ends->initiation, INITIATION_LEN, now_ns);
}

static enum cookie_mac_state validate(struct ends *ends, bool check_cookie, uint64_t now_ns)
{
	return cookie_validate_packet(&ends->checker, ends->initiation, INITIATION_LEN, &ends->source, check_cookie,
				      now_ns, check_cookie ? ends->secret : NULL);
}

static void create_reply(struct ends *ends, uint64_t now_ns)
{
	cookie_message_create(&ends->checker, &ends->reply, ends->initiation, INITIATION_LEN, htole32(1), &ends->source,
			      ends->nonce, now_ns, ends->secret);
}

/* Leaves the initiator with a cookie. */
static void get_cookie(struct ends *ends, uint64_t now_ns)
{
	send_initiation(ends, now_ns);
	create_reply(ends, now_ns);
	assert_true(cookie_message_consume(&ends->cookie, &ends->reply, now_ns));
}

static bool mac2_is_zero(const struct ends *ends)
{
	return sodium_is_zero(ends->initiation + INITIATION_LEN - MAC_LEN, MAC_LEN);
}

static void test_known_answers(void **state)
{
	static const struct {
		const char *source, *cookie, *mac2, *encrypted_cookie;
	} answers[] = {
		{ "c0000201ca6c", "b1db5839f9fd47f550c7fb7ecc003ab7", "1d9fc1e0fb48d9db7b089fe92e390034",
		  "f602545b6119ac9171c8af91fa1156bffa8d008bfb5a2efc1a99813423571f3c" },
		{ "20010db8000000000000000000000001ca6c", "867359486bfab90302907173cc7fc0f6",
		  "0acd51e35cc0ee00fc7539d3654436d6",
		  "c1aa552af31e5267239f259cfa6eacfe7045381e9b6c9b67571828da51a18a5c" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		struct ends ends;

		ends_init(&ends);
		set_source(&ends.source, answers[i].source);
		send_initiation(&ends, T0);
		expect_hex(ends.initiation + INITIATION_LEN - MACS_LEN, MAC_LEN, "9b52d97d473f26e38a6c342a67030f7c");
		assert_true(mac2_is_zero(&ends));

		create_reply(&ends, T0);
		expect_hex(&ends.reply, 8, "0300000001000000");
		assert_memory_equal(ends.reply.nonce, ends.nonce, COOKIE_NONCE_LEN);
		expect_hex(ends.reply.encrypted_cookie, COOKIE_LEN + NOISE_AUTHTAG_LEN, answers[i].encrypted_cookie);

		assert_true(cookie_message_consume(&ends.cookie, &ends.reply, T0));
		expect_hex(ends.cookie.cookie, COOKIE_LEN, answers[i].cookie);
		send_initiation(&ends, T0);
		expect_hex(ends.initiation + INITIATION_LEN - MAC_LEN, MAC_LEN, answers[i].mac2);
		assert_int_equal(validate(&ends, true, T0), VALID_MAC_WITH_COOKIE);
	}
}

/* The response goes the other way: its macs are made with the initiator's key. */
static void test_response(void **state)
{
	uint8_t response[RESPONSE_LEN] = { 0 }, public_key[NOISE_PUBLIC_KEY_LEN];
	struct cookie_checker checker = { .has_key = false };
	struct ends ends;

	(void)state;
	ends_init(&ends);
	from_hex(public_key, sizeof(public_key), INITIATOR_PUBLIC);
	from_hex(response, RESPONSE_LEN - MACS_LEN, RESPONSE);
	cookie_init(&ends.cookie, public_key);
	cookie_checker_set_key(&checker, public_key);
	cookie_add_mac_to_packet(&ends.cookie, response, RESPONSE_LEN, T0);
	expect_hex(response + RESPONSE_LEN - MACS_LEN, MAC_LEN, "e3f8a519925f7aaee005271ad50b69c3");
	assert_int_equal(cookie_validate_packet(&checker, response, RESPONSE_LEN, &ends.source, false, T0, NULL),
			 VALID_MAC_BUT_NO_COOKIE);
	assert_int_equal(cookie_validate_packet(&ends.checker, response, RESPONSE_LEN, &ends.source, false, T0, NULL),
			 INVALID_MAC);
	/* Under load it gets a cookie as an initiation does. */
	cookie_message_create(&checker, &ends.reply, response, RESPONSE_LEN, htole32(2), &ends.source, ends.nonce, T0,
			      ends.secret);
	assert_true(cookie_message_consume(&ends.cookie, &ends.reply, T0));
	cookie_add_mac_to_packet(&ends.cookie, response, RESPONSE_LEN, T0);
	assert_int_equal(cookie_validate_packet(&checker, response, RESPONSE_LEN, &ends.source, true, T0, ends.secret),
			 VALID_MAC_WITH_COOKIE);
}

/* mac1 covers every bit before it; mac2 every bit before it, mac1 included. */
static void test_every_bit_counts(void **state)
{
	struct ends ends;

	(void)state;
	ends_init(&ends);
	get_cookie(&ends, T0);
	send_initiation(&ends, T0);
	assert_int_equal(validate(&ends, true, T0), VALID_MAC_WITH_COOKIE);
	for (size_t bit = 0; bit < INITIATION_LEN * 8; bit++) {
		bool is_mac2 = bit / 8 >= INITIATION_LEN - MAC_LEN;

		ends.initiation[bit / 8] ^= 1 << bit % 8;
		assert_int_equal(validate(&ends, true, T0), is_mac2 ? VALID_MAC_BUT_NO_COOKIE : INVALID_MAC);
		assert_int_equal(validate(&ends, false, T0), is_mac2 ? VALID_MAC_BUT_NO_COOKIE : INVALID_MAC);
		ends.initiation[bit / 8] ^= 1 << bit % 8;
	}
	assert_int_equal(validate(&ends, true, T0), VALID_MAC_WITH_COOKIE);
}

static void test_no_key(void **state)
{
	uint8_t zero_key[NOISE_SYMMETRIC_KEY_LEN] = { 0 };
	struct ends ends;

	(void)state;
	ends_init(&ends);
	send_initiation(&ends, T0);
	cookie_checker_set_key(&ends.checker, NULL);
	assert_int_equal(validate(&ends, false, T0), INVALID_MAC);
	/* Nor does the wiped key make a valid mac. */
	compute_mac1(ends.initiation + INITIATION_LEN - MACS_LEN, ends.initiation, INITIATION_LEN, zero_key);
	assert_int_equal(validate(&ends, false, T0), INVALID_MAC);
	assert_int_equal(validate(&ends, true, T0), INVALID_MAC);
}

/* Without load nobody looks at mac2, keeps a count, or makes a secret: not at the first message, nor after many. */
static void test_not_under_load(void **state)
{
	struct ends ends;

	(void)state;
	ends_init(&ends);
	for (int i = 0; i < 1000; i++) {
		send_initiation(&ends, T0);
		memset(ends.initiation + INITIATION_LEN - MAC_LEN, i, MAC_LEN);
		assert_int_equal(validate(&ends, false, T0), VALID_MAC_BUT_NO_COOKIE);
		assert_false(ends.checker.has_secret);
	}
	/* A cookie shown needlessly does no harm. */
	get_cookie(&ends, T0);
	send_initiation(&ends, T0);
	assert_int_equal(validate(&ends, false, T0), VALID_MAC_BUT_NO_COOKIE);
}

/* A cookie is one address's and one port's; others get their own. */
static void test_source_is_bound(void **state)
{
	static const char *const others[] = {
		"c0000201ca6d", /* the port alone, low byte */
		"c0000201cb6c", /* and high byte */
		"c0000202ca6c",
		"c0000201000000000000000000000000ca6c", /* IPv6 of the same first bytes */
	};
	struct ends ends;

	(void)state;
	ends_init(&ends);
	get_cookie(&ends, T0);
	send_initiation(&ends, T0);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		set_source(&ends.source, others[i]);
		assert_int_equal(validate(&ends, true, T0), VALID_MAC_BUT_NO_COOKIE);
	}
	set_source(&ends.source, "c0000201ca6c");
	assert_int_equal(validate(&ends, true, T0), VALID_MAC_WITH_COOKIE);
}

static void test_sender_uses_cookie_115_s(void **state)
{
	struct ends ends;

	(void)state;
	ends_init(&ends);
	send_initiation(&ends, T0);
	assert_true(mac2_is_zero(&ends));
	get_cookie(&ends, T0);
	send_initiation(&ends, T0);
	assert_false(mac2_is_zero(&ends));
	send_initiation(&ends, T0 + 115 * S - 1);
	assert_false(mac2_is_zero(&ends));
	send_initiation(&ends, T0 + 115 * S);
	assert_true(mac2_is_zero(&ends));
	/* mac1 is as ever. */
	assert_int_equal(validate(&ends, false, T0 + 115 * S), VALID_MAC_BUT_NO_COOKIE);
	/* A new one counts from its own birth. */
	get_cookie(&ends, T0 + 200 * S);
	send_initiation(&ends, T0 + 315 * S - 1);
	assert_false(mac2_is_zero(&ends));
}

static void test_secret_lives_120_s(void **state)
{
	uint8_t first[NOISE_HASH_LEN];
	struct ends ends;

	(void)state;
	ends_init(&ends);
	get_cookie(&ends, T0);
	send_initiation(&ends, T0);
	memcpy(first, ends.secret, sizeof(first));
	memcpy(ends.secret, ends.other_secret, sizeof(ends.secret));
	/* Fresh randomness is offered with each call, and taken only when the time has come. */
	assert_int_equal(validate(&ends, true, T0 + 120 * S - 1), VALID_MAC_WITH_COOKIE);
	assert_memory_equal(ends.checker.secret, first, sizeof(first));
	assert_int_equal(validate(&ends, true, T0 + 120 * S), VALID_MAC_BUT_NO_COOKIE);
	assert_memory_equal(ends.checker.secret, ends.other_secret, sizeof(first));
	assert_true(ends.checker.secret_birthdate_ns == T0 + 120 * S);
	/* The next reply brings a cookie of the new secret. */
	get_cookie(&ends, T0 + 121 * S);
	send_initiation(&ends, T0 + 121 * S);
	assert_int_equal(validate(&ends, true, T0 + 121 * S), VALID_MAC_WITH_COOKIE);
	/* Renewed by a reply as well. */
	memcpy(ends.secret, first, sizeof(first));
	get_cookie(&ends, T0 + 240 * S);
	assert_memory_equal(ends.checker.secret, first, sizeof(first));
}

/* Right after boot a secret made at time 0 is as good as any other. */
static void test_clock_at_zero(void **state)
{
	struct ends ends;

	(void)state;
	ends_init(&ends);
	send_initiation(&ends, 0);
	assert_true(mac2_is_zero(&ends));
	assert_int_equal(validate(&ends, true, 0), VALID_MAC_BUT_NO_COOKIE);
	assert_memory_equal(ends.checker.secret, ends.secret, sizeof(ends.secret));
	get_cookie(&ends, 0);
	send_initiation(&ends, 1);
	assert_int_equal(validate(&ends, true, 1), VALID_MAC_WITH_COOKIE);
}

static void test_one_cookie_per_message(void **state)
{
	struct ends ends;
	struct cookie before;

	(void)state;
	ends_init(&ends);
	/* None before the first message. */
	create_reply(&ends, T0);
	assert_false(cookie_message_consume(&ends.cookie, &ends.reply, T0));

	get_cookie(&ends, T0);
	before = ends.cookie;
	assert_false(cookie_message_consume(&ends.cookie, &ends.reply, T0 + S));
	assert_memory_equal(&ends.cookie, &before, sizeof(before));

	/* The next message waits for one again: for its own, though, not for the last one's. */
	ends.initiation[4] ^= 1;
	send_initiation(&ends, T0 + 5 * S);
	assert_false(cookie_message_consume(&ends.cookie, &ends.reply, T0 + 5 * S));
	create_reply(&ends, T0 + 5 * S);
	assert_true(cookie_message_consume(&ends.cookie, &ends.reply, T0 + 5 * S));
	assert_true(ends.cookie.birthdate_ns == T0 + 5 * S);
}

/* What does not authenticate changes nothing, and the true reply is still taken. */
static void test_forged_replies(void **state)
{
	struct message_handshake_cookie reply;
	struct ends ends, stranger;
	struct cookie before;

	(void)state;
	ends_init(&ends);
	send_initiation(&ends, T0);
	create_reply(&ends, T0);
	before = ends.cookie;
	for (size_t bit = 8 * 8; bit < sizeof(reply) * 8; bit++) { /* nonce, cookie, tag */
		reply = ends.reply;
		((uint8_t *)&reply)[bit / 8] ^= 1 << bit % 8;
		assert_false(cookie_message_consume(&ends.cookie, &reply, T0));
		assert_memory_equal(&ends.cookie, &before, sizeof(before));
	}

	/* To another message: the mac1 it answers is its additional data. */
	stranger = ends;
	stranger.initiation[INITIATION_LEN - MACS_LEN] ^= 1;
	create_reply(&stranger, T0);
	assert_false(cookie_message_consume(&ends.cookie, &stranger.reply, T0));
	/* From somebody with another public key. */
	stranger = ends;
	cookie_checker_set_key(&stranger.checker, ends.secret);
	create_reply(&stranger, T0);
	assert_false(cookie_message_consume(&ends.cookie, &stranger.reply, T0));
	assert_memory_equal(&ends.cookie, &before, sizeof(before));

	assert_true(cookie_message_consume(&ends.cookie, &ends.reply, T0));
}

/* A new key for the device: old macs are worth nothing, the cookies' secret goes on. */
static void test_key_change(void **state)
{
	struct ends ends;

	(void)state;
	ends_init(&ends);
	get_cookie(&ends, T0);
	send_initiation(&ends, T0);
	cookie_checker_set_key(&ends.checker, ends.other_secret);
	assert_int_equal(validate(&ends, true, T0), INVALID_MAC);
	cookie_init(&ends.cookie, ends.other_secret);
	assert_false(ends.cookie.is_valid);
	assert_false(ends.cookie.have_sent_mac1);
	get_cookie(&ends, T0);
	send_initiation(&ends, T0);
	assert_int_equal(validate(&ends, true, T0), VALID_MAC_WITH_COOKIE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_answers),
		cmocka_unit_test(test_response),
		cmocka_unit_test(test_every_bit_counts),
		cmocka_unit_test(test_no_key),
		cmocka_unit_test(test_not_under_load),
		cmocka_unit_test(test_source_is_bound),
		cmocka_unit_test(test_sender_uses_cookie_115_s),
		cmocka_unit_test(test_secret_lives_120_s),
		cmocka_unit_test(test_clock_at_zero),
		cmocka_unit_test(test_one_cookie_per_message),
		cmocka_unit_test(test_forged_replies),
		cmocka_unit_test(test_key_change),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
