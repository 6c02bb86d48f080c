// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The one program: subcommands, or else the agent.
 *
 * What is no subcommand is the agent's command line, which is wireguard-go's: an interface name or an option.
 */
#include "main.h"

#include <stdio.h>
#include <string.h>

#include "cmd.h"

const struct command commands[] = {
	{ "up", cmd_up, "Brings a tunnel up: device, keys, addresses, routes, DNS, hooks" },
	{ "down", cmd_down, "Takes a tunnel down and undoes all that `up' did" },
	{ "save", cmd_save, "Writes what runs back to the configuration file that `up' read" },
	{ "show", cmd_show, "What runs: keys, peers, traffic, and what was chosen" },
	{ "set", cmd_set, "Changes a running tunnel: keys, port, peers" },
	{ "setconf", cmd_setconf, "Gives a running tunnel the configuration of a file, and nothing else" },
	{ "addconf", cmd_setconf, "Adds the configuration of a file to what a running tunnel has" },
	{ "syncconf", cmd_setconf, "As setconf, but peers that stay keep their sessions" },
	{ "showconf", cmd_showconf, "Prints a running tunnel's configuration as a file" },
	{ "strip", cmd_strip, "Prints a configuration file without what only `up' understands" },
	{ "genkey", cmd_genkey, "Makes a private key" },
	{ "genpsk", cmd_genkey, "Makes a preshared key" },
	{ "pubkey", cmd_pubkey, "Reads a private key and prints its public key" },
	{ "help", cmd_help, "This list" },
	{ "version", cmd_version, "The version" },
	{ NULL, NULL, NULL },
};

static const struct command *find_command(const char *name)
{
	if (!strcmp(name, "-h") || !strcmp(name, "--help"))
		name = "help";
	for (const struct command *command = commands; command->name; command++)
		if (!strcmp(command->name, name))
			return command;
	return NULL;
}

/* `wg-xdp shwo wg0' is meant for a subcommand: it must not start the agent of a tunnel called "shwo". */
static bool looks_like_command(int argc, char **argv)
{
	return argc > 2 && argv[1][0] != '-' && argv[2][0] != '-';
}

int main(int argc, char **argv)
{
	static char show[] = "show";
	char *only_show[] = { show, NULL };
	const struct command *command;

	if (argc <= 1)
		return cmd_show(1, only_show);
	command = find_command(argv[1]);
	if (command)
		return command->run(argc - 1, argv + 1);
	if (looks_like_command(argc, argv)) {
		fprintf(stderr, "Invalid subcommand: `%s'. `" PROG_NAME " help' lists them.\n", argv[1]);
		return 1;
	}
	return daemon_main(argc, argv);
}
