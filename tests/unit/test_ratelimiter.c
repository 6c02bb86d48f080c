// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The kernel's timing and capacity cases, and what they leave out: long runs, reuse, clocks that step back. */
#include "../../user/ratelimiter.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define MS 1000000ULL
#define T0 (1000 * NS_PER_SECOND)

static const uint8_t hash_key[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };

/* When, and is it allowed? The kernel's list. */
static const struct {
	uint64_t after_ms;
	bool allowed;
} timing[] = {
	{ 0, true }, { 0, true }, { 0, true }, { 0, true }, { 0, true }, /* burst */
	{ 0, false },
	{ 50, true }, { 0, false },
	{ 100, true }, { 0, true }, { 0, false },
};

#define N_TIMING (sizeof(timing) / sizeof(timing[0]))

static void test_ipv4_timing(void **state)
{
	struct ratelimiter *limiter = ratelimiter_create(hash_key);
	const uint8_t source[4] = { 192, 0, 2, 1 };
	uint64_t now_ns = T0;

	(void)state;
	for (size_t i = 0; i < N_TIMING; i++) {
		uint8_t other[4] = { 192, 0, 2, (uint8_t)(2 + i) };

		now_ns += timing[i].after_ms * MS;
		assert_int_equal(ratelimiter_allow(limiter, source, 4, now_ns), timing[i].allowed);
		/* Others are not hit. */
		assert_true(ratelimiter_allow(limiter, other, 4, now_ns));
	}
	ratelimiter_free(limiter);
}

static void test_ipv6_by_64(void **state)
{
	struct ratelimiter *limiter = ratelimiter_create(hash_key);
	uint8_t source[16] = { 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1 }, other[16] = { 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 2 };
	uint64_t now_ns = T0;

	(void)state;
	for (size_t i = 0; i < N_TIMING; i++) {
		now_ns += timing[i].after_ms * MS;
		/* Another host of the same network each time. */
		source[8 + i % 8] ^= 0xff;
		assert_int_equal(ratelimiter_allow(limiter, source, 16, now_ns), timing[i].allowed);
	}
	assert_true(ratelimiter_allow(limiter, other, 16, now_ns));
	for (unsigned int bit = 0; bit < 64; bit++) {
		source[bit / 8] ^= 0x80 >> bit % 8;
		assert_true(ratelimiter_allow(limiter, source, 16, now_ns));
		source[bit / 8] ^= 0x80 >> bit % 8;
	}
	assert_false(ratelimiter_allow(limiter, source, 16, now_ns));
	ratelimiter_free(limiter);
}

/* An IPv4 address is not the IPv6 network that begins with the same bytes. */
static void test_families_are_apart(void **state)
{
	struct ratelimiter *limiter = ratelimiter_create(hash_key);
	const uint8_t addr[16] = { 192, 0, 2, 1 };

	(void)state;
	for (int i = 0; i < RATELIMITER_BURST; i++)
		assert_true(ratelimiter_allow(limiter, addr, 4, T0));
	assert_false(ratelimiter_allow(limiter, addr, 4, T0));
	for (int i = 0; i < RATELIMITER_BURST; i++)
		assert_true(ratelimiter_allow(limiter, addr, 16, T0));
	assert_false(ratelimiter_allow(limiter, addr, 16, T0));
	ratelimiter_free(limiter);
}

/* A flood of 1000/s for a minute passes 20 a second and the burst; what is refused costs nothing. */
static void test_long_run(void **state)
{
	struct ratelimiter *limiter = ratelimiter_create(hash_key);
	const uint8_t source[4] = { 10, 0, 0, 1 };
	unsigned int n_allowed = 0;

	(void)state;
	for (uint64_t ms = 0; ms < 60000; ms++)
		n_allowed += ratelimiter_allow(limiter, source, 4, T0 + ms * MS);
	assert_in_range(n_allowed, 60 * RATELIMITER_PER_SECOND + RATELIMITER_BURST - 1,
			60 * RATELIMITER_PER_SECOND + RATELIMITER_BURST);
	/* However long it waits, no more than a burst is saved up. */
	n_allowed = 0;
	for (int i = 0; i < 100; i++)
		n_allowed += ratelimiter_allow(limiter, source, 4, T0 + 3600 * NS_PER_SECOND);
	assert_int_equal(n_allowed, RATELIMITER_BURST);
	ratelimiter_free(limiter);
}

static void test_clock_steps_back(void **state)
{
	struct ratelimiter *limiter = ratelimiter_create(hash_key);
	const uint8_t source[4] = { 10, 0, 0, 1 };
	unsigned int n_allowed = 0;

	(void)state;
	/* Two readers of one clock, in turns: neither the step back nor the way forward again makes tokens. */
	for (int i = 0; i < 1000; i++)
		n_allowed += ratelimiter_allow(limiter, source, 4, T0 - (i % 2 ? 40 * MS : 0));
	assert_int_equal(n_allowed, RATELIMITER_BURST);
	assert_int_equal(ratelimiter_collect(limiter, T0 - 5 * NS_PER_SECOND), 1);
	ratelimiter_free(limiter);
}

static void number_to_addr(uint8_t addr[4], uint32_t number)
{
	addr[0] = (uint8_t)(number >> 24);
	addr[1] = (uint8_t)(number >> 16);
	addr[2] = (uint8_t)(number >> 8);
	addr[3] = (uint8_t)number;
}

static void test_capacity(void **state)
{
	struct ratelimiter *limiter = ratelimiter_create(hash_key);
	uint8_t addr[4];

	(void)state;
	for (int round = 0; round < 3; round++) {
		uint64_t now_ns = T0 + (uint64_t)round * 10 * NS_PER_SECOND;

		assert_int_equal(ratelimiter_collect(limiter, now_ns), 0);
		for (uint32_t i = 0; i < RATELIMITER_MAX_ENTRIES; i++) {
			number_to_addr(addr, i * 7 + (uint32_t)round);
			assert_true(ratelimiter_allow(limiter, addr, 4, now_ns));
		}
		number_to_addr(addr, 0xffffffff);
		assert_false(ratelimiter_allow(limiter, addr, 4, now_ns));
		/* Who is in is still served. */
		number_to_addr(addr, (uint32_t)round);
		for (int i = 1; i < RATELIMITER_BURST; i++)
			assert_true(ratelimiter_allow(limiter, addr, 4, now_ns));
		assert_false(ratelimiter_allow(limiter, addr, 4, now_ns));
		/* Nothing is idle for a second yet, then all is. */
		assert_int_equal(ratelimiter_collect(limiter, now_ns + NS_PER_SECOND - 1), RATELIMITER_MAX_ENTRIES);
		assert_int_equal(ratelimiter_collect(limiter, now_ns + NS_PER_SECOND), 0);
	}
	ratelimiter_free(limiter);
	ratelimiter_free(NULL);
}

/* Only what is idle goes: the others keep their tokens, or their lack of them. */
static void test_collect(void **state)
{
	struct ratelimiter *limiter = ratelimiter_create(hash_key);
	uint64_t later_ns = T0 + NS_PER_SECOND;
	uint8_t addr[4];

	(void)state;
	for (uint32_t i = 0; i < 1000; i++) {
		number_to_addr(addr, i);
		for (int j = 0; j < RATELIMITER_BURST; j++)
			assert_true(ratelimiter_allow(limiter, addr, 4, T0 + (i % 2) * 900 * MS));
	}
	assert_int_equal(ratelimiter_collect(limiter, later_ns), 500);
	for (uint32_t i = 0; i < 1000; i++) {
		/* The odd ones have got two tokens in 100 ms, the even ones begin anew. */
		int n_tokens = i % 2 ? 2 : RATELIMITER_BURST;

		number_to_addr(addr, i);
		for (int j = 0; j < RATELIMITER_BURST; j++)
			assert_int_equal(ratelimiter_allow(limiter, addr, 4, later_ns), j < n_tokens);
	}
	assert_int_equal(ratelimiter_collect(limiter, later_ns), 1000);
	assert_int_equal(ratelimiter_collect(limiter, later_ns + 60 * NS_PER_SECOND), 0);
	ratelimiter_free(limiter);
}

/* Sources spread by the secret: under two keys, the same ones are neighbours in different ways. */
static void test_hash_is_keyed(void **state)
{
	const uint8_t other_key[16] = { 99 };
	struct ratelimiter *a = ratelimiter_create(hash_key), *b = ratelimiter_create(other_key);
	unsigned int n_same = 0;

	(void)state;
	for (uint32_t i = 0; i < 1000; i++) {
		struct source source = { .addr_len = 4 };

		number_to_addr(source.addr, i);
		n_same += find_bucket(a, &source) - a->buckets == find_bucket(b, &source) - b->buckets;
	}
	assert_in_range(n_same, 0, 10);
	ratelimiter_free(a);
	ratelimiter_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ipv4_timing),
		cmocka_unit_test(test_ipv6_by_64),
		cmocka_unit_test(test_families_are_apart),
		cmocka_unit_test(test_long_run),
		cmocka_unit_test(test_clock_steps_back),
		cmocka_unit_test(test_capacity),
		cmocka_unit_test(test_collect),
		cmocka_unit_test(test_hash_is_keyed),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
