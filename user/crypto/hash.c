// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * HMAC and HKDF over BLAKE2s.
 *
 * Noise asks for HMAC around the unkeyed hash, although BLAKE2s has a keyed mode of its own (that one is for macs).
 */
#include "crypto/hash.h"

#include <string.h>

#include "blake2s.h"
#include "crypto/secret.h"

void hash_hmac(uint8_t out[static NOISE_HASH_LEN], const void *data, size_t data_len, const void *key, size_t key_len)
{
	uint8_t pad[BLAKE2S_BLOCK_LEN] = { 0 };
	uint8_t inner[NOISE_HASH_LEN];
	struct blake2s_state state;

	if (key_len > sizeof(pad))
		blake2s(pad, NOISE_HASH_LEN, key, key_len, NULL, 0);
	else if (key_len)
		memcpy(pad, key, key_len);

	for (size_t i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36;
	blake2s_init(&state, NOISE_HASH_LEN);
	blake2s_update(&state, pad, sizeof(pad));
	blake2s_update(&state, data, data_len);
	blake2s_final(&state, inner);

	for (size_t i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36 ^ 0x5c;
	blake2s_init(&state, NOISE_HASH_LEN);
	blake2s_update(&state, pad, sizeof(pad));
	blake2s_update(&state, inner, sizeof(inner));
	blake2s_final(&state, out);

	secret_wipe(pad, sizeof(pad));
	secret_wipe(inner, sizeof(inner));
}

void hash_kdf(uint8_t *out1, uint8_t *out2, uint8_t *out3, const void *data, size_t data_len,
	      const uint8_t chaining_key[static NOISE_HASH_LEN])
{
	uint8_t *const outs[] = { out1, out2, out3 };
	uint8_t extracted[NOISE_HASH_LEN];
	uint8_t block[NOISE_HASH_LEN + 1]; /* the previous output, then its successor's number */
	size_t prefix_len = 0;

	hash_hmac(extracted, data, data_len, chaining_key, NOISE_HASH_LEN);
	for (uint8_t i = 0; i < 3 && outs[i]; i++) {
		block[prefix_len] = (uint8_t)(i + 1);
		hash_hmac(block, block, prefix_len + 1, extracted, sizeof(extracted));
		memcpy(outs[i], block, NOISE_HASH_LEN);
		prefix_len = NOISE_HASH_LEN;
	}
	secret_wipe(extracted, sizeof(extracted));
	secret_wipe(block, sizeof(block));
}
