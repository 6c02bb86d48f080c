// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* version */
#include <stdio.h>

#include "cmd.h"

int cmd_version(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf(PROG_NAME " v" WG_XDP_VERSION "\n");
	return 0;
}
