/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One key in a file of its own, as base64, with white space after it. */
#ifndef WG_XDP_KEY_IO_H
#define WG_XDP_KEY_IO_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "messages.h"

/* With may_be_empty, an empty file (/dev/null) is the zero key: none. False after saying why on stderr. */
bool key_io_read(FILE *file, const char *name, bool may_be_empty, uint8_t key[static NOISE_PUBLIC_KEY_LEN]);
bool key_io_read_path(const char *path, uint8_t key[static NOISE_PUBLIC_KEY_LEN]);

/* Writes the key to stdout; false after saying why on stderr. Warns when anybody may read what is written. */
bool key_io_print(const uint8_t key[static NOISE_PUBLIC_KEY_LEN], bool is_secret);

#endif
