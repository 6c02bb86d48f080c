// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * X25519 by libsodium.
 *
 * An all-zero shared secret is refused here, once, so that no caller can forget it.
 */
#include "crypto/x25519.h"

#include <sodium.h>

#include "crypto/secret.h"

_Static_assert(crypto_scalarmult_curve25519_BYTES == NOISE_PUBLIC_KEY_LEN, "length of a shared secret");

void x25519_clamp(uint8_t private_key[static NOISE_PUBLIC_KEY_LEN])
{
	private_key[0] &= 248;
	private_key[31] = (private_key[31] & 127) | 64;
}

bool x25519_public(uint8_t public_key[static NOISE_PUBLIC_KEY_LEN],
		   const uint8_t private_key[static NOISE_PUBLIC_KEY_LEN])
{
	if (secret_is_zero(private_key, NOISE_PUBLIC_KEY_LEN))
		return false;
	return !crypto_scalarmult_curve25519_base(public_key, private_key);
}

bool x25519_shared(uint8_t secret[static NOISE_PUBLIC_KEY_LEN], const uint8_t private_key[static NOISE_PUBLIC_KEY_LEN],
		   const uint8_t public_key[static NOISE_PUBLIC_KEY_LEN])
{
	/* libsodium refuses low-order points too, but promises it only for builds with its default options. */
	return !crypto_scalarmult_curve25519(secret, private_key, public_key) &&
	       !secret_is_zero(secret, NOISE_PUBLIC_KEY_LEN);
}
