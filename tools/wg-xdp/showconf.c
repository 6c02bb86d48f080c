// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* showconf NAME: a running tunnel as a file for setconf, keys included. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "conf_file.h"
#include "uapi_client.h"

int cmd_showconf(int argc, char **argv)
{
	struct device_config status;
	int err;

	if (argc != 2 || cmd_wants_help(argc, argv)) {
		fprintf(argc == 2 ? stdout : stderr, "Usage: " PROG_NAME " %s <interface>\n", argv[0]);
		return argc == 2 ? 0 : 1;
	}
	err = uapi_client_get(argv[1], &status);
	if (err)
		cmd_print_access_error(argv[1], err);
	else
		conf_file_print_device(stdout, &status);
	device_config_deinit(&status);
	if (!err && (fflush(stdout) || ferror(stdout))) {
		fprintf(stderr, "Unable to write: %s\n", strerror(errno));
		return 1;
	}
	return err ? 1 : 0;
}
