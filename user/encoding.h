/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Keys as text, base64 (RFC 4648) and hexadecimal, in time that does not depend on the key. */
#ifndef WG_XDP_ENCODING_H
#define WG_XDP_ENCODING_H

#include <stdbool.h>
#include <stdint.h>

#include "messages.h"

#define KEY_BASE64_SIZE 45 /* with the final NUL */
#define KEY_HEX_SIZE 65

void encoding_key_to_base64(char out[static KEY_BASE64_SIZE], const uint8_t key[static NOISE_PUBLIC_KEY_LEN]);
void encoding_key_to_hex(char out[static KEY_HEX_SIZE], const uint8_t key[static NOISE_PUBLIC_KEY_LEN]);

/* The text ends at its NUL and must be exactly one key. On false, key is unspecified. */
bool encoding_key_from_base64(uint8_t key[static NOISE_PUBLIC_KEY_LEN], const char *text);
bool encoding_key_from_hex(uint8_t key[static NOISE_PUBLIC_KEY_LEN], const char *text);

#endif
