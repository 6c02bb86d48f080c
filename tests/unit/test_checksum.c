// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The Internet checksum against a naive one: all lengths, alignments and both bodies (vectors and portable). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <endian.h>

#include "../../user/checksum.c"

#define SEED 0x5eed0001
#define LEN_MAX 600

static uint64_t random_state = SEED;

static uint8_t random_byte(void)
{
	random_state = random_state * 6364136223846793005 + 1442695040888963407;
	return random_state >> 56;
}

/* RFC 1071's own words: 16-bit big-endian, one carry at a time. */
static uint16_t naive_sum(const uint8_t *data, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++) {
		sum += i % 2 ? data[i] : data[i] << 8;
		if (sum > 0xffff)
			sum -= 0xffff;
	}
	return sum;
}

static void test_all_lengths_and_alignments(void **state)
{
	static uint8_t src[LEN_MAX + 8], dst[LEN_MAX + 16];
	uint16_t expected;

	(void)state;
	for (size_t i = 0; i < sizeof(src); i++)
		src[i] = random_byte();
	for (size_t len = 0; len <= LEN_MAX; len++) {
		const uint8_t *from = src + len % 8;
		uint8_t *to = dst + (len / 8) % 8;

		expected = htobe16(naive_sum(from, len));
		assert_int_equal(checksum_fold(checksum_add(0, from, len)), expected);
		assert_int_equal(checksum_fold(add_portable(0, from, len)), expected);
		memset(dst, 0xa5, sizeof(dst));
		assert_int_equal(checksum_fold(checksum_copy(0, to, from, len)), expected);
		assert_memory_equal(to, from, len);
		assert_int_equal(to[len], 0xa5);
		memset(dst, 0xa5, sizeof(dst));
		assert_int_equal(checksum_fold(copy_portable(0, to, from, len)), expected);
		assert_memory_equal(to, from, len);
		assert_int_equal(to[len], 0xa5);
	}
}

/* Nothing but ones makes every addition carry. */
static void test_carries(void **state)
{
	static uint8_t data[1 << 20];

	(void)state;
	memset(data, 0xff, sizeof(data));
	for (size_t len = 2; len <= sizeof(data); len *= 2) {
		assert_int_equal(checksum_fold(checksum_add(0, data, len)), 0xffff);
		assert_int_equal(checksum_fold(add_portable(UINT32_MAX, data, len)), 0xffff);
	}
	assert_int_equal(checksum_fold(0), 0);
	assert_int_equal(checksum_fold(UINT64_MAX), 0xffff);
	assert_int_equal(checksum_fold(0x1fffe), 0xffff);
	assert_int_equal(checksum_fold(0xffff0001), 1);
}

static void test_pieces_add_up(void **state)
{
	static uint8_t data[300];
	uint64_t whole;

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = random_byte();
	whole = checksum_add(7, data, sizeof(data));
	for (size_t cut = 0; cut <= sizeof(data); cut += 2) {
		uint64_t sum = checksum_add(checksum_add(7, data, cut), data + cut, sizeof(data) - cut);

		assert_int_equal(checksum_fold(sum), checksum_fold(whole));
	}
}

/* The example of RFC 1071, section 3. */
static void test_known_sum(void **state)
{
	static const uint8_t data[] = { 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7 };

	(void)state;
	assert_int_equal(be16toh(checksum_fold(checksum_add(0, data, sizeof(data)))), 0xddf2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_sum),
		cmocka_unit_test(test_all_lengths_and_alignments),
		cmocka_unit_test(test_carries),
		cmocka_unit_test(test_pieces_add_up),
	};

	printf("seed %#x\n", SEED);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
