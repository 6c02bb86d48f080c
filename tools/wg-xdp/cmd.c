// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What the subcommands share. */
#include "cmd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool cmd_wants_help(int argc, char **argv)
{
	return argc == 2 && (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "help"));
}

static const char *advice(int error)
{
	switch (error) {
	case -ENODEV:
		return "no agent answers for it: `" PROG_NAME " show interfaces' lists those that do, `" PROG_NAME
		       " up' starts one";
	case -EACCES:
	case -EPERM:
		return "try again as root";
	case -EPROTO:
		return "its answer makes no sense: is this another version's agent?";
	case -ETIMEDOUT:
		return "its agent listens but does not answer: see its log";
	case -EADDRINUSE:
		return "another program has that listen port: choose another one";
	case -EINVAL:
		return "its agent does not take this value or this operation";
	default:
		return NULL;
	}
}

void cmd_print_access_error(const char *name, int error)
{
	const char *text = advice(error);

	fprintf(stderr, "Unable to access interface %s: %s%s%s%s\n", name, strerror(-error), text ? " (" : "",
		text ? text : "", text ? ")" : "");
}
