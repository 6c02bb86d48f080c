// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* genkey, genpsk: 32 bytes from the kernel. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "cmd.h"
#include "crypto/secret.h"
#include "crypto/x25519.h"
#include "key_io.h"

int cmd_genkey(int argc, char **argv)
{
	uint8_t key[NOISE_PUBLIC_KEY_LEN];
	bool ok;

	if (argc != 1) {
		fprintf(cmd_wants_help(argc, argv) ? stdout : stderr, "Usage: " PROG_NAME " %s\n", argv[0]);
		return cmd_wants_help(argc, argv) ? 0 : 1;
	}
	if (getrandom(key, sizeof(key), 0) != sizeof(key)) {
		fprintf(stderr, "The kernel gave no random numbers: %s\n", strerror(errno));
		return 1;
	}
	if (!strcmp(argv[0], "genkey"))
		x25519_clamp(key);
	ok = key_io_print(key, true);
	secret_wipe(key, sizeof(key));
	return ok ? 0 : 1;
}
