// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Keys as text.
 *
 * No table look-up and no branch depends on a key's bits: ranges are tested by masks, and a decoder goes through the
 * whole text before it says whether it was one. Only the length of the text shows.
 */
#include "encoding.h"

#include <string.h>

/* All ones if first <= x <= last, else 0; for values far below 2^31. */
static uint32_t mask_in_range(uint32_t x, uint32_t first, uint32_t last)
{
	uint32_t outside = (x - first) | (last - x); /* the top bit shows a borrow */

	return (outside >> 31) - 1;
}

static char base64_digit(uint32_t x)
{
	return (char)((mask_in_range(x, 0, 25) & (x + 'A')) | (mask_in_range(x, 26, 51) & (x - 26 + 'a')) |
		      (mask_in_range(x, 52, 61) & (x - 52 + '0')) | (mask_in_range(x, 62, 62) & '+') |
		      (mask_in_range(x, 63, 63) & '/'));
}

/* 1 + the value, so that 0 stands for "no digit"; the same for hex_value(). */
static uint32_t base64_value(char digit)
{
	uint32_t c = (uint8_t)digit;

	return (mask_in_range(c, 'A', 'Z') & (c - 'A' + 1)) | (mask_in_range(c, 'a', 'z') & (c - 'a' + 27)) |
	       (mask_in_range(c, '0', '9') & (c - '0' + 53)) | (mask_in_range(c, '+', '+') & 63) |
	       (mask_in_range(c, '/', '/') & 64);
}

static char hex_digit(uint32_t x)
{
	return (char)((mask_in_range(x, 0, 9) & (x + '0')) | (mask_in_range(x, 10, 15) & (x - 10 + 'a')));
}

static uint32_t hex_value(char digit)
{
	uint32_t c = (uint8_t)digit;

	return (mask_in_range(c, '0', '9') & (c - '0' + 1)) | (mask_in_range(c, 'a', 'f') & (c - 'a' + 11)) |
	       (mask_in_range(c, 'A', 'F') & (c - 'A' + 11));
}

/* 32 bytes are ten groups of three, and two bytes that need a third digit's upper four bits and a '='. */
void encoding_key_to_base64(char out[static KEY_BASE64_SIZE], const uint8_t key[static NOISE_PUBLIC_KEY_LEN])
{
	for (unsigned int i = 0; i < 11; i++) {
		uint32_t last = i < 10 ? key[3 * i + 2] : 0;
		uint32_t group = (uint32_t)key[3 * i] << 16 | (uint32_t)key[3 * i + 1] << 8 | last;

		for (unsigned int j = 0; j < 4; j++)
			out[4 * i + j] = base64_digit(group >> (18 - 6 * j) & 63);
	}
	out[KEY_BASE64_SIZE - 2] = '=';
	out[KEY_BASE64_SIZE - 1] = '\0';
}

/* Not 0 if a digit is none, or if there is a bit that no byte holds: a second spelling of the same key. */
static uint32_t base64_decode(uint8_t key[static NOISE_PUBLIC_KEY_LEN], const char *text)
{
	uint32_t bad = 0;

	for (unsigned int i = 0; i < 11; i++) {
		uint32_t group = 0;

		for (unsigned int j = 0; j < 4; j++) {
			/* The '=' counts as a zero digit. */
			uint32_t value = i == 10 && j == 3 ? 1 : base64_value(text[4 * i + j]);

			bad |= mask_in_range(value, 0, 0);
			group = group << 6 | ((value - 1) & 63);
		}
		key[3 * i] = (uint8_t)(group >> 16);
		key[3 * i + 1] = (uint8_t)(group >> 8);
		if (i < 10)
			key[3 * i + 2] = (uint8_t)group;
		else
			bad |= group & 0xff;
	}
	return bad;
}

bool encoding_key_from_base64(uint8_t key[static NOISE_PUBLIC_KEY_LEN], const char *text)
{
	if (strnlen(text, KEY_BASE64_SIZE) != KEY_BASE64_SIZE - 1 || text[KEY_BASE64_SIZE - 2] != '=')
		return false;
	return !base64_decode(key, text);
}

void encoding_key_to_hex(char out[static KEY_HEX_SIZE], const uint8_t key[static NOISE_PUBLIC_KEY_LEN])
{
	for (unsigned int i = 0; i < NOISE_PUBLIC_KEY_LEN; i++) {
		out[2 * i] = hex_digit(key[i] >> 4);
		out[2 * i + 1] = hex_digit(key[i] & 15);
	}
	out[KEY_HEX_SIZE - 1] = '\0';
}

static uint32_t hex_decode(uint8_t key[static NOISE_PUBLIC_KEY_LEN], const char *text)
{
	uint32_t bad = 0;

	for (unsigned int i = 0; i < NOISE_PUBLIC_KEY_LEN; i++) {
		uint32_t high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);

		bad |= mask_in_range(high, 0, 0) | mask_in_range(low, 0, 0);
		key[i] = (uint8_t)((high - 1) << 4 | ((low - 1) & 15));
	}
	return bad;
}

bool encoding_key_from_hex(uint8_t key[static NOISE_PUBLIC_KEY_LEN], const char *text)
{
	if (strnlen(text, KEY_HEX_SIZE) != KEY_HEX_SIZE - 1)
		return false;
	return !hex_decode(key, text);
}
