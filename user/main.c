// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The daemon's command line and environment, as wireguard-go has them: WG_QUICK_USERSPACE_IMPLEMENTATION=wg-xdp works.
 *
 * A value that is not understood ends the start: a tunnel on the wrong file descriptor is worse than none.
 */
#include "main.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "log.h"
#include "monitor.h"
#include "privileged.h"

/* Until there is a reason to start more. */
#define DEFAULT_WORKERS 1

static int usage(const char *program)
{
	fprintf(stderr, "Usage: %s [-f|--foreground] INTERFACE-NAME\n", program);
	return 1;
}

/* *value stays when the variable is not set. False, and said, when it is no number from min to max. */
static bool number_from_environment(const char *name, long min, long max, long *value)
{
	const char *text = getenv(name);
	char *end;
	long number;

	if (!text || !*text)
		return true;
	errno = 0;
	number = strtol(text, &end, 10);
	if (!errno && !*end && *text >= '0' && *text <= '9' && number >= min && number <= max) {
		*value = number;
		return true;
	}
	fprintf(stderr, "wg-xdp: %s=%s: must be a number from %ld to %ld\n", name, text, min, max);
	return false;
}

/* 0 to 2 are the standard ones, whatever the caller says. */
static bool fd_from_environment(const char *name, int *fd)
{
	long number = -1;

	if (!number_from_environment(name, STDERR_FILENO + 1, INT_MAX, &number))
		return false;
	if (number >= 0 && fcntl((int)number, F_GETFD) < 0) {
		fprintf(stderr, "wg-xdp: %s=%ld: no such file descriptor is open\n", name, number);
		return false;
	}
	*fd = (int)number;
	return true;
}

static bool read_environment(struct monitor_options *options)
{
	const char *foreground = getenv("WG_PROCESS_FOREGROUND");
	const char *log_level = getenv("LOG_LEVEL");
	long n_workers = 0;

	if (foreground && !strcmp(foreground, "1"))
		options->foreground = true;
	options->keep_output = log_level && *log_level && log_level_parse(log_level) != LOG_LEVEL_SILENT;
	log_init(log_level_parse(log_level), options->tunnel);
	if (!number_from_environment("WG_THREADS", 0, PRIVILEGED_MAX_WORKERS, &n_workers))
		return false;
	options->n_workers = n_workers ? (unsigned int)n_workers : DEFAULT_WORKERS;
	return fd_from_environment("WG_TUN_FD", &options->tun_fd) &&
	       fd_from_environment("WG_UAPI_FD", &options->uapi_fd);
}

/* What is opened from here on must not become somebody's stdout. */
static void fill_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int daemon_main(int argc, char **argv)
{
	struct monitor_options options = { .tun_fd = -1, .uapi_fd = -1, .agent_main = control_main };
	const char *program = argc ? argv[0] : "wg-xdp";

	if (argc == 2 && !strcmp(argv[1], "--version")) {
		puts("wg-xdp " WG_XDP_VERSION);
		return 0;
	}
	if (argc == 3 && (!strcmp(argv[1], "-f") || !strcmp(argv[1], "--foreground")))
		options.foreground = true;
	else if (argc != 2)
		return usage(program);
	options.tunnel = argv[argc - 1];
	if (*options.tunnel == '-')
		return usage(program);
	if (!read_environment(&options))
		return 1;
	fill_standard_fds();
	return monitor_run(&options);
}
