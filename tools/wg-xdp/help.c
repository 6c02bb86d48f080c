// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* help: the subcommands by name; each knows its own usage. */
#include <stdio.h>

#include "cmd.h"

int cmd_help(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("Usage: " PROG_NAME " <cmd> [<args>]\n"
	       "       " PROG_NAME
	       " [-f | --foreground] <interface>    runs the agent of a tunnel, as wireguard-go does\n"
	       "\n"
	       "Available subcommands:\n");
	for (const struct command *command = commands; command->name; command++)
		printf("  %s: %s\n", command->name, command->description);
	printf("You may pass `--help' to any of these subcommands to view usage.\n");
	return 0;
}
