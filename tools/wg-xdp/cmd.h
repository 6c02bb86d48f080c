/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The subcommands: one function each, in the file of its name. argv[0] is the subcommand, the result the exit code. */
#ifndef WG_XDP_CMD_H
#define WG_XDP_CMD_H

#include <stdbool.h>

#define PROG_NAME "wg-xdp"

struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *description;
};

/* Ends with an entry whose name is NULL. */
extern const struct command commands[];

int cmd_show(int argc, char **argv);
int cmd_showconf(int argc, char **argv);
int cmd_set(int argc, char **argv);
int cmd_setconf(int argc, char **argv); /* and addconf, syncconf: by argv[0] */
int cmd_strip(int argc, char **argv);
int cmd_genkey(int argc, char **argv); /* and genpsk */
int cmd_pubkey(int argc, char **argv);
int cmd_up(int argc, char **argv);
int cmd_down(int argc, char **argv);
int cmd_save(int argc, char **argv);
int cmd_help(int argc, char **argv);
int cmd_version(int argc, char **argv);

/* Does this ask for the subcommand's usage: one argument, -h, --help or help? */
bool cmd_wants_help(int argc, char **argv);

/* Says on stderr why an access to a tunnel failed, and what to do; error is -errno. */
void cmd_print_access_error(const char *name, int error);

#endif
