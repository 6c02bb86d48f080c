/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* X25519 (RFC 7748) by libsodium. */
#ifndef WG_XDP_X25519_H
#define WG_XDP_X25519_H

#include <stdbool.h>
#include <stdint.h>

#include "messages.h"

/* Clears and sets the bits RFC 7748 section 5 names, in place. */
void x25519_clamp(uint8_t private_key[static NOISE_PUBLIC_KEY_LEN]);

/* The public key of a private key. False for the all-zero private key, which stands for "none". */
bool x25519_public(uint8_t public_key[static NOISE_PUBLIC_KEY_LEN],
		   const uint8_t private_key[static NOISE_PUBLIC_KEY_LEN]);

/* False when the shared secret is all zero, as with a low-order public key (RFC 7748 section 6.1). */
bool x25519_shared(uint8_t secret[static NOISE_PUBLIC_KEY_LEN], const uint8_t private_key[static NOISE_PUBLIC_KEY_LEN],
		   const uint8_t public_key[static NOISE_PUBLIC_KEY_LEN]);

#endif
