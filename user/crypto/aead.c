// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The AEAD interface, and the choice of a back end.
 *
 * A back end is used only after it has produced RFC 8439's answer, agreed with libsodium over the lengths where such
 * code changes gear, and refused altered tags, all on the machine it is going to run on.
 */
#include "crypto/aead.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "crypto/aead_backend.h"

#define CHECK_LEN_MAX 1600
#define MEASURE_LEN 1420
#define MEASURE_BURST 16
#define MEASURE_ROUNDS 8

static const struct {
	const char *word;
	const struct aead_backend_ops *ops;
} backends[AEAD_BACKEND_COUNT] = {
	[AEAD_BACKEND_SODIUM] = { "sodium", &aead_sodium_ops },
	[AEAD_BACKEND_IPSECMB] = { "ipsec-mb", &aead_ipsecmb_ops },
};

struct aead *aead_create(enum aead_backend backend)
{
	return backends[backend].ops->create();
}

void aead_free(struct aead *aead)
{
	if (aead)
		aead->ops->free(aead);
}

void aead_seal_burst(struct aead *aead, struct aead_op *ops, unsigned int n)
{
	aead->ops->seal_burst(aead, ops, n);
}

void aead_open_burst(struct aead *aead, struct aead_op *ops, unsigned int n)
{
	aead->ops->open_burst(aead, ops, n);
}

const char *aead_name(const struct aead *aead)
{
	return aead->name;
}

const char *aead_backend_word(enum aead_backend backend)
{
	return backends[backend].word;
}

/* ------ Self-test ------ */

/* RFC 8439, section 2.8.2. */
static const uint8_t rfc_plaintext[] = "Ladies and Gentlemen of the class of '99: If I could offer you only one tip "
				       "for the future, sunscreen would be it.";
static const uint8_t rfc_aad[] = { 0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7 };
static const uint8_t rfc_nonce[] = { 0x07, 0x00, 0x00, 0x00, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47 };
static const uint8_t rfc_tag[] = { 0x1a, 0xe1, 0x0b, 0x59, 0x4f, 0x09, 0xe2, 0x6a,
				   0x7e, 0x90, 0x2e, 0xcb, 0xd0, 0x60, 0x06, 0x91 };
static const uint8_t rfc_ciphertext_start[] = { 0xd3, 0x1a, 0x8d, 0x34, 0x64, 0x8e, 0x60, 0xdb };

/* The tag authenticates the whole ciphertext; of that, a few bytes show that it is one. */
static bool check_rfc(struct aead *aead)
{
	enum { LEN = sizeof(rfc_plaintext) - 1 };
	uint8_t key[NOISE_SYMMETRIC_KEY_LEN], buf[LEN + NOISE_AUTHTAG_LEN];
	struct aead_message m = { .src = buf, .dst = buf, .len = LEN, .key = key, .nonce = rfc_nonce,
				  .aad = rfc_aad, .aad_len = sizeof(rfc_aad) };

	for (unsigned int i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(0x80 + i);
	memcpy(buf, rfc_plaintext, LEN);
	aead->ops->seal(aead, &m);
	return !memcmp(buf + LEN, rfc_tag, sizeof(rfc_tag)) &&
	       !memcmp(buf, rfc_ciphertext_start, sizeof(rfc_ciphertext_start)) && aead->ops->open(aead, &m) &&
	       !memcmp(buf, rfc_plaintext, LEN);
}

/* One length: reference seals, aead must get the same bytes, open them in place, and refuse them altered. */
static bool check_len(struct aead *aead, struct aead *reference, uint32_t len)
{
	uint8_t key[NOISE_SYMMETRIC_KEY_LEN], plain[CHECK_LEN_MAX];
	uint8_t want[CHECK_LEN_MAX + NOISE_AUTHTAG_LEN] = { 0 }, got[CHECK_LEN_MAX + NOISE_AUTHTAG_LEN];
	struct aead_op op = { .src = plain, .dst = want, .len = len, .key = key };

	op.counter = 0x0102030405060708ULL + len;
	memset(key, (int)len, sizeof(key));
	for (uint32_t i = 0; i < len; i++)
		plain[i] = (uint8_t)(i * 7 + len);
	aead_seal_burst(reference, &op, 1);
	op.dst = got;
	aead_seal_burst(aead, &op, 1);
	if (memcmp(want, got, len + NOISE_AUTHTAG_LEN) != 0)
		return false;
	op.src = got;
	aead_open_burst(aead, &op, 1);
	if (!op.ok || memcmp(got, plain, len) != 0)
		return false;
	memcpy(got, want, len + NOISE_AUTHTAG_LEN);
	got[len] ^= 1;
	aead_open_burst(aead, &op, 1);
	return !op.ok;
}

static bool check(struct aead *aead, struct aead *reference)
{
	static const uint16_t lens[] = { 0,   1,   15,  16,  17,  63,  64,   65,   127,  128,  129,  191,  192, 255,
					 256, 257, 511, 512, 513, 960, 1023, 1024, 1025, 1280, 1420, 1424, 1500 };

	if (!check_rfc(aead))
		return false;
	for (unsigned int i = 0; reference && i < sizeof(lens) / sizeof(lens[0]); i++)
		if (!check_len(aead, reference, lens[i]))
			return false;
	return true;
}

/* ------ Choice ------ */

static uint64_t monotonic_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

/* The best of several rounds: whatever disturbs a round only makes it slower. */
static uint32_t measure(struct aead *aead)
{
	uint8_t bufs[MEASURE_BURST][MEASURE_LEN + NOISE_AUTHTAG_LEN] = { 0 };
	static const uint8_t key[NOISE_SYMMETRIC_KEY_LEN] = { 1 };
	struct aead_op ops[MEASURE_BURST];
	uint64_t best_ns = UINT32_MAX;

	for (unsigned int i = 0; i < MEASURE_BURST; i++)
		ops[i] = (struct aead_op){ .src = bufs[i], .dst = bufs[i], .len = MEASURE_LEN, .key = key };
	for (unsigned int round = 0; round < MEASURE_ROUNDS; round++) {
		uint64_t start_ns = monotonic_ns(), took_ns;

		aead_seal_burst(aead, ops, MEASURE_BURST);
		took_ns = monotonic_ns() - start_ns;
		best_ns = took_ns < best_ns ? took_ns : best_ns;
	}
	best_ns /= MEASURE_BURST;
	return best_ns ? (uint32_t)best_ns : 1;
}

/* Which back ends forced allows: one, or AEAD_BACKEND_COUNT for all; false for an unknown word. */
static bool parse_forced(const char *forced, unsigned int *only)
{
	*only = AEAD_BACKEND_COUNT;
	if (!forced || !strcmp(forced, "auto"))
		return true;
	for (*only = 0; *only < AEAD_BACKEND_COUNT; (*only)++)
		if (!strcmp(forced, backends[*only].word))
			return true;
	return false;
}

int aead_choose(const char *forced, struct aead_choice *choice)
{
	struct aead *reference = NULL;
	uint32_t best_ns = UINT32_MAX;
	unsigned int only;
	int err;

	if (!parse_forced(forced, &only))
		return -EINVAL;
	err = only < AEAD_BACKEND_COUNT ? -ENOTSUP : -EIO;
	memset(choice, 0, sizeof(*choice));
	for (unsigned int i = 0; i < AEAD_BACKEND_COUNT; i++) {
		struct aead *aead = aead_create(i);

		if (aead && check(aead, reference)) {
			choice->ns_1420[i] = measure(aead);
			if ((only == AEAD_BACKEND_COUNT || only == i) && choice->ns_1420[i] < best_ns) {
				best_ns = choice->ns_1420[i];
				choice->backend = i;
				err = 0;
			}
			/* libsodium comes first in the list; what follows is compared with it. */
			if (!reference) {
				reference = aead;
				continue;
			}
		}
		aead_free(aead);
	}
	aead_free(reference);
	return err;
}
