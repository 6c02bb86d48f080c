// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The fast back end on x86-64: libipsec-mb's job interface.
 *
 * The library only computes tags. Comparing them, in constant time, is done here, and nowhere is a tag taken for
 * right because a job has completed.
 */
#include "crypto/aead_backend.h"

#if defined(__x86_64__) && __has_include(<intel-ipsec-mb.h>)

#include <assert.h>
#include <endian.h>
#include <intel-ipsec-mb.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* Jobs between two flushes; well below the library's queue of 256, so that there is always a next one. */
#define JOBS_MAX 64

_Static_assert(crypto_verify_16_BYTES == NOISE_AUTHTAG_LEN, "length of a tag");

struct ipsecmb {
	struct aead aead;
	IMB_MGR *mgr;
	uint8_t nonces[JOBS_MAX][AEAD_NONCE_LEN]; /* the first four bytes stay zero */
	uint8_t tags[JOBS_MAX][NOISE_AUTHTAG_LEN];
};

/* Without AVX the library (1.3) reads beyond the end of its input, up to the next page: libsodium is for those CPUs. */
static const char *name_of_arch(IMB_ARCH arch)
{
	switch (arch) {
#if IMB_VERSION_NUM < IMB_VERSION(2, 0, 0)
	case IMB_ARCH_AVX:
		return "libipsec-mb AVX";
#endif
	case IMB_ARCH_AVX2:
		return "libipsec-mb AVX2";
	case IMB_ARCH_AVX512:
		return "libipsec-mb AVX512";
	default:
		return NULL;
	}
}

static struct aead *ipsecmb_create(void)
{
	struct ipsecmb *imb = calloc(1, sizeof(*imb));
	IMB_ARCH arch = IMB_ARCH_NONE;

	if (!imb)
		return NULL;
	imb->mgr = alloc_mb_mgr(0);
	if (!imb->mgr)
		goto err_free;
	init_mb_mgr_auto(imb->mgr, &arch);
	imb->aead.ops = &aead_ipsecmb_ops;
	imb->aead.name = name_of_arch(arch);
	if (imb_get_errno(imb->mgr) || !imb->aead.name)
		goto err_free_mgr;
	return &imb->aead;

err_free_mgr:
	free_mb_mgr(imb->mgr);
err_free:
	free(imb);
	return NULL;
}

static void ipsecmb_free(struct aead *aead)
{
	struct ipsecmb *imb = (struct ipsecmb *)aead;

	free_mb_mgr(imb->mgr);
	free(imb);
}

/* The job's parameters are all ours, so the library need not check them again. */
static void submit(struct ipsecmb *imb, const struct aead_message *m, uint8_t *tag, IMB_CIPHER_DIRECTION direction)
{
	IMB_JOB *job = IMB_GET_NEXT_JOB(imb->mgr);

	job->enc_keys = m->key;
	job->dec_keys = m->key;
	job->key_len_in_bytes = NOISE_SYMMETRIC_KEY_LEN;
	job->src = m->src;
	job->dst = m->dst;
	job->cipher_start_src_offset_in_bytes = 0;
	job->msg_len_to_cipher_in_bytes = m->len;
	job->hash_start_src_offset_in_bytes = 0;
	job->msg_len_to_hash_in_bytes = m->len;
	job->iv = m->nonce;
	job->iv_len_in_bytes = AEAD_NONCE_LEN;
	job->auth_tag_output = tag;
	job->auth_tag_output_len_in_bytes = NOISE_AUTHTAG_LEN;
	job->u.CHACHA20_POLY1305.aad = m->aad;
	job->u.CHACHA20_POLY1305.aad_len_in_bytes = m->aad_len;
	job->cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
	job->hash_alg = IMB_AUTH_CHACHA20_POLY1305;
	job->cipher_direction = direction;
	job->chain_order = direction == IMB_DIR_ENCRYPT ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;

	job = IMB_SUBMIT_JOB_NOCHECK(imb->mgr);
	assert(!job || job->status == IMB_STATUS_COMPLETED);
}

/* This cipher's jobs complete as they are submitted, today; the interface allows the library to put them off. */
static void flush(struct ipsecmb *imb)
{
	IMB_JOB *job;

	while ((job = IMB_FLUSH_JOB(imb->mgr)))
		assert(job->status == IMB_STATUS_COMPLETED);
}

static void submit_op(struct ipsecmb *imb, const struct aead_op *op, unsigned int slot, uint8_t *tag,
		      IMB_CIPHER_DIRECTION direction)
{
	uint8_t *nonce = imb->nonces[slot];
	const struct aead_message m = {
		.src = op->src, .dst = op->dst, .len = op->len, .key = op->key, .nonce = nonce
	};
	uint64_t counter = htole64(op->counter);

	memcpy(nonce + AEAD_NONCE_LEN - sizeof(counter), &counter, sizeof(counter));
	submit(imb, &m, tag, direction);
}

static void ipsecmb_seal_burst(struct aead *aead, struct aead_op *ops, unsigned int n)
{
	struct ipsecmb *imb = (struct ipsecmb *)aead;

	for (unsigned int done = 0, jobs; done < n; done += jobs) {
		jobs = n - done < JOBS_MAX ? n - done : JOBS_MAX;
		for (unsigned int i = 0; i < jobs; i++) {
			const struct aead_op *op = &ops[done + i];

			submit_op(imb, op, i, op->dst + op->len, IMB_DIR_ENCRYPT);
		}
		flush(imb);
	}
}

static void ipsecmb_open_burst(struct aead *aead, struct aead_op *ops, unsigned int n)
{
	struct ipsecmb *imb = (struct ipsecmb *)aead;

	for (unsigned int done = 0, jobs; done < n; done += jobs) {
		jobs = n - done < JOBS_MAX ? n - done : JOBS_MAX;
		for (unsigned int i = 0; i < jobs; i++)
			submit_op(imb, &ops[done + i], i, imb->tags[i], IMB_DIR_DECRYPT);
		flush(imb);
		/* In place, too, the tag is still where it was: opening writes no further than the plaintext. */
		for (unsigned int i = 0; i < jobs; i++) {
			struct aead_op *op = &ops[done + i];

			op->ok = !crypto_verify_16(imb->tags[i], op->src + op->len);
		}
	}
}

static void ipsecmb_seal(struct aead *aead, const struct aead_message *m)
{
	struct ipsecmb *imb = (struct ipsecmb *)aead;

	submit(imb, m, m->dst + m->len, IMB_DIR_ENCRYPT);
	flush(imb);
}

static bool ipsecmb_open(struct aead *aead, const struct aead_message *m)
{
	struct ipsecmb *imb = (struct ipsecmb *)aead;

	submit(imb, m, imb->tags[0], IMB_DIR_DECRYPT);
	flush(imb);
	return !crypto_verify_16(imb->tags[0], m->src + m->len);
}

const struct aead_backend_ops aead_ipsecmb_ops = {
	.create = ipsecmb_create,
	.free = ipsecmb_free,
	.seal_burst = ipsecmb_seal_burst,
	.open_burst = ipsecmb_open_burst,
	.seal = ipsecmb_seal,
	.open = ipsecmb_open,
};

#else

static struct aead *ipsecmb_create(void)
{
	return NULL;
}

const struct aead_backend_ops aead_ipsecmb_ops = { .create = ipsecmb_create };

#endif
