/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* For tests that need a network of their own: a namespace without a name, gone with the process. */
#ifndef WG_XDP_OWN_NETNS_H
#define WG_XDP_OWN_NETNS_H

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool has_netns;

/* Runs a command; the test fails with it. */
__attribute__((format(printf, 1, 2), unused)) static void run(const char *format, ...)
{
	char command[512];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	if (system(command)) {
		print_error("failed: %s\n", command);
		fail();
	}
}

/* A cmocka group setup. IPv6 addresses are usable at once there. */
__attribute__((unused)) static int enter_netns(void **state)
{
	(void)state;
	if (unshare(CLONE_NEWNET)) {
		print_message("skipping what needs a network namespace: %s\n", strerror(errno));
		return 0;
	}
	has_netns = true;
	run("ip link set lo up");
	return 0;
}

#define REQUIRE_NETNS() \
	do {            \
		if (!has_netns) \
			skip(); \
	} while (0)

#endif
