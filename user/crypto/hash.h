/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* HMAC (RFC 2104) and HKDF (RFC 5869) over BLAKE2s, as the paper (5.4) uses them. */
#ifndef WG_XDP_HASH_H
#define WG_XDP_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "messages.h"

void hash_hmac(uint8_t out[static NOISE_HASH_LEN], const void *data, size_t data_len, const void *key, size_t key_len);

/*
 * HKDF with chaining_key as salt and data as input, giving one to three outputs of NOISE_HASH_LEN bytes each; a NULL
 * output ends the list. An output may be the chaining_key itself.
 */
void hash_kdf(uint8_t *out1, uint8_t *out2, uint8_t *out3, const void *data, size_t data_len,
	      const uint8_t chaining_key[static NOISE_HASH_LEN]);

#endif
