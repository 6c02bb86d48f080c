// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* strip FILE | NAME: a configuration file without wg-quick's keys, for setconf, addconf and syncconf. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "conf_file.h"
#include "uapi_client.h"

#define CONF_DIRECTORY "/etc/wireguard"

int cmd_strip(int argc, char **argv)
{
	char path[sizeof(CONF_DIRECTORY) + 32];
	const char *name = path;
	FILE *file;
	int err;

	if (argc != 2 || cmd_wants_help(argc, argv)) {
		fprintf(argc == 2 ? stdout : stderr,
			"Usage: " PROG_NAME " %s { <configuration filename> | <interface> }\n"
			"An interface stands for " CONF_DIRECTORY "/<interface>.conf.\n",
			argv[0]);
		return argc == 2 ? 0 : 1;
	}
	if (uapi_client_name_is_valid(argv[1]))
		snprintf(path, sizeof(path), CONF_DIRECTORY "/%s.conf", argv[1]);
	else
		name = argv[1];
	file = fopen(name, "re");
	if (!file) {
		fprintf(stderr, "%s: cannot be opened: %s\n", name, strerror(errno));
		return 1;
	}
	err = conf_file_strip(file, stdout);
	if (!err && fflush(stdout))
		err = -errno;
	if (err)
		fprintf(stderr, "%s: cannot be copied: %s\n", name, strerror(-err));
	fclose(file);
	return err ? 1 : 0;
}
