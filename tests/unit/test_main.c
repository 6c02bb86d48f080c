// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The daemon's command line and environment: what the monitor is asked to do. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "log.h"
#include "monitor.h"

static struct monitor_options asked;
static unsigned int n_asked;

static int fake_monitor_run(const struct monitor_options *options)
{
	asked = *options;
	n_asked++;
	return 42;
}

#define monitor_run fake_monitor_run
#include "../../user/main.c"
#undef monitor_run

#define MAX_ARGS 4

/* args: after the program's name, ended by NULL. */
static int run_daemon(const char *const *args)
{
	char *argv[MAX_ARGS + 2] = { (char *)"wg-xdp" };
	int argc = 1;

	while (*args)
		argv[argc++] = (char *)*args++;
	n_asked = 0;
	asked = (struct monitor_options){ 0 };
	return daemon_main(argc, argv);
}

#define RUN(...) run_daemon((const char *const[]){ __VA_ARGS__, NULL })

static int set_up(void **state)
{
	static const char *const names[] = {
		"WG_PROCESS_FOREGROUND", "LOG_LEVEL", "WG_TUN_FD", "WG_UAPI_FD", "WG_THREADS",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		unsetenv(names[i]);
	return 0;
}

static void test_arguments(void **state)
{
	(void)state;
	assert_int_equal(RUN("wg0"), 42);
	assert_string_equal(asked.tunnel, "wg0");
	assert_false(asked.foreground);
	assert_int_equal(asked.n_workers, 1);
	assert_int_equal(asked.tun_fd, -1);
	assert_int_equal(asked.uapi_fd, -1);
	assert_false(asked.keep_output);
	assert_ptr_equal(asked.agent_main, control_main);
	assert_int_equal(RUN("-f", "wg0"), 42);
	assert_true(asked.foreground);
	assert_int_equal(RUN("--foreground", "wg0"), 42);
	assert_true(asked.foreground);
	assert_string_equal(asked.tunnel, "wg0");
}

static void test_usage(void **state)
{
	(void)state;
	assert_int_equal(RUN(NULL), 1);
	assert_int_equal(RUN("-f"), 1);
	assert_int_equal(RUN("-x"), 1);
	assert_int_equal(RUN("-x", "wg0"), 1);
	assert_int_equal(RUN("wg0", "-f"), 1);
	assert_int_equal(RUN("-f", "wg0", "wg1"), 1);
	assert_int_equal(RUN("-f", "--version"), 1);
	assert_int_equal(RUN("--version"), 0);
	assert_int_equal(n_asked, 0);
}

static void test_foreground_variable(void **state)
{
	(void)state;
	setenv("WG_PROCESS_FOREGROUND", "1", 1);
	RUN("wg0");
	assert_true(asked.foreground);
	setenv("WG_PROCESS_FOREGROUND", "0", 1);
	RUN("wg0");
	assert_false(asked.foreground);
}

static void test_log_level(void **state)
{
	static const struct {
		const char *word;
		enum log_level level;
		bool keep_output;
	} rows[] = {
		{ "verbose", LOG_LEVEL_VERBOSE, true }, { "debug", LOG_LEVEL_VERBOSE, true },
		{ "error", LOG_LEVEL_ERROR, true }, { "nonsense", LOG_LEVEL_ERROR, true },
		{ "silent", LOG_LEVEL_SILENT, false }, { "", LOG_LEVEL_ERROR, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		setenv("LOG_LEVEL", rows[i].word, 1);
		RUN("wg0");
		assert_int_equal(log_level_get(), rows[i].level);
		assert_int_equal(asked.keep_output, rows[i].keep_output);
	}
}

static void test_descriptors(void **state)
{
	static const char *const bad[] = { "-1", "0", "2", "x", "7x", " 7", "+7", "999999", "99999999999999999999" };
	char text[16];
	int fd;

	(void)state;
	fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	snprintf(text, sizeof(text), "%d", fd);
	setenv("WG_TUN_FD", text, 1);
	assert_int_equal(RUN("wg0"), 42);
	assert_int_equal(asked.tun_fd, fd);
	assert_int_equal(asked.uapi_fd, -1);
	setenv("WG_UAPI_FD", text, 1);
	assert_int_equal(RUN("wg0"), 42);
	assert_int_equal(asked.uapi_fd, fd);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		setenv("WG_UAPI_FD", bad[i], 1);
		assert_int_equal(RUN("wg0"), 1);
		assert_int_equal(n_asked, 0);
	}
	close(fd);
}

static void test_threads(void **state)
{
	static const struct {
		const char *text;
		unsigned int n; /* 0: refused */
	} rows[] = { { "0", 1 }, { "", 1 }, { "1", 1 }, { "64", 64 }, { "65", 0 }, { "-1", 0 }, { "4.", 0 }, { "x", 0 } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		setenv("WG_THREADS", rows[i].text, 1);
		assert_int_equal(RUN("wg0"), rows[i].n ? 42 : 1);
		assert_int_equal(asked.n_workers, rows[i].n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_arguments, set_up),
		cmocka_unit_test_setup(test_usage, set_up),
		cmocka_unit_test_setup(test_foreground_variable, set_up),
		cmocka_unit_test_setup(test_log_level, set_up),
		cmocka_unit_test_setup(test_descriptors, set_up),
		cmocka_unit_test_setup(test_threads, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
