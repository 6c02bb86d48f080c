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
	{ "show", cmd_show, "Shows the current configuration and device information" },
	{ "showconf", cmd_showconf, "Shows the current configuration of a given interface, for use with `setconf'" },
	{ "set", cmd_set, "Changes the current configuration, adds peers, removes peers, or changes peers" },
	{ "setconf", cmd_setconf, "Applies a configuration file to an interface" },
	{ "addconf", cmd_setconf, "Appends a configuration file to an interface" },
	{ "syncconf", cmd_setconf, "Synchronizes a configuration file to an interface, keeping its sessions" },
	{ "up", cmd_up, "Attaches to a network device and brings a tunnel up, with addresses and routes" },
	{ "down", cmd_down, "Takes down what `up' has set up" },
	{ "strip", cmd_strip, "Prints a configuration file without wg-quick's keys" },
	{ "genkey", cmd_genkey, "Generates a new private key and writes it to stdout" },
	{ "genpsk", cmd_genkey, "Generates a new preshared key and writes it to stdout" },
	{ "pubkey", cmd_pubkey, "Reads a private key from stdin and writes a public key to stdout" },
	{ "help", cmd_help, "Shows this list" },
	{ "version", cmd_version, "Shows the version" },
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
