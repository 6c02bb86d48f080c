// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* What would have been written, and in how many pieces. */
static char written[4096];
static size_t written_len;
static unsigned int n_writes;

#include <unistd.h>

static ssize_t fake_write(int fd, const void *data, size_t len)
{
	assert_int_equal(fd, STDERR_FILENO);
	assert_true(written_len + len < sizeof(written));
	for (size_t i = 0; i < len; i++)
		written[written_len++] = ((const char *)data)[i];
	written[written_len] = '\0';
	n_writes++;
	return (ssize_t)len;
}

#define write fake_write
#include "../../user/log.c"
#undef write

static void forget(void)
{
	written_len = n_writes = 0;
	written[0] = '\0';
}

static void test_levels(void **state)
{
	static const struct {
		enum log_level level;
		const char *expected;
	} rows[] = {
		{ LOG_LEVEL_SILENT, "" },
		{ LOG_LEVEL_ERROR, "ERROR: (wg0) e 1\n" },
		{ LOG_LEVEL_INFO, "ERROR: (wg0) e 1\nINFO: (wg0) i 2\n" },
		{ LOG_LEVEL_VERBOSE, "ERROR: (wg0) e 1\nINFO: (wg0) i 2\nDEBUG: (wg0) v 3\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		forget();
		log_init(rows[i].level, "wg0");
		assert_int_equal(log_level_get(), rows[i].level);
		errno = EPIPE;
		log_error("e %d", 1);
		log_info("i %d", 2);
		log_verbose("v %d", 3);
		assert_int_equal(errno, EPIPE);
		assert_string_equal(written, rows[i].expected);
		assert_int_equal(n_writes, i);
	}
}

static void test_words(void **state)
{
	(void)state;
	assert_int_equal(log_level_parse("verbose"), LOG_LEVEL_VERBOSE);
	assert_int_equal(log_level_parse("debug"), LOG_LEVEL_VERBOSE);
	assert_int_equal(log_level_parse("info"), LOG_LEVEL_INFO);
	assert_int_equal(log_level_parse("error"), LOG_LEVEL_ERROR);
	assert_int_equal(log_level_parse("silent"), LOG_LEVEL_SILENT);
	assert_int_equal(log_level_parse(""), LOG_LEVEL_ERROR);
	assert_int_equal(log_level_parse("SILENT"), LOG_LEVEL_ERROR);
	assert_int_equal(log_level_parse(NULL), LOG_LEVEL_ERROR);
}

static void test_forged_line(void **state)
{
	(void)state;
	forget();
	log_init(LOG_LEVEL_ERROR, "wg\n0");
	log_error("%s", "a\nERROR: (wg1) b\x1b[2J\x7f\xc3\xa4");
	assert_string_equal(written, "ERROR: (wg?0) a?ERROR: (wg1) b?[2J?\xc3\xa4\n");
}

static void test_long_line(void **state)
{
	char text[3000];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_init(LOG_LEVEL_ERROR, "a name that is too long for a device");
	for (size_t len = 900; len < sizeof(text); len += 11) {
		forget();
		log_error("%.*s", (int)len, text);
		assert_int_equal(n_writes, 1);
		assert_true(written_len <= LINE_SIZE);
		assert_int_equal(written[written_len - 1], '\n');
		assert_null(memchr(written, '\0', written_len));
	}
	assert_int_equal(written_len, LINE_SIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_forged_line),
		cmocka_unit_test(test_long_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
