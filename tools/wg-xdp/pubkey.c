// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* pubkey: the public key of the private key on stdin. */
#include <stdio.h>

#include "cmd.h"
#include "crypto/secret.h"
#include "crypto/x25519.h"
#include "key_io.h"

int cmd_pubkey(int argc, char **argv)
{
	uint8_t private_key[NOISE_PUBLIC_KEY_LEN], public_key[NOISE_PUBLIC_KEY_LEN];
	bool ok;

	if (argc != 1) {
		fprintf(cmd_wants_help(argc, argv) ? stdout : stderr, "Usage: " PROG_NAME " %s\n", argv[0]);
		return cmd_wants_help(argc, argv) ? 0 : 1;
	}
	if (!key_io_read(stdin, "stdin", false, private_key))
		return 1;
	x25519_clamp(private_key);
	ok = x25519_public(public_key, private_key);
	secret_wipe(private_key, sizeof(private_key));
	return ok && key_io_print(public_key, false) ? 0 : 1;
}
