// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Every AEAD back end against RFC 8439, Wycheproof and the other back ends, at every length and in every place. */
#include "../../user/crypto/aead.c"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "vectors.c"

#define SEED 0x5eed0005ULL
#define LEN_MAX 65535U
#define TAG NOISE_AUTHTAG_LEN

/* The back ends of this machine; libsodium is always there, and first. */
static struct aead *aeads[AEAD_BACKEND_COUNT];
static unsigned int n_aeads;

static int setup(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < AEAD_BACKEND_COUNT; i++) {
		struct aead *aead = aead_create(i);

		if (aead)
			aeads[n_aeads++] = aead;
		print_message("%s: %s\n", aead_backend_word(i), aead ? aead_name(aead) : "not on this machine");
	}
	return n_aeads ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < n_aeads; i++)
		aead_free(aeads[i]);
	aead_free(NULL);
	return 0;
}

static void test_rfc_2_8_2(void **state)
{
	static const char want[] = "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6"
				   "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36"
				   "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
				   "3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691";
	enum { LEN = sizeof(rfc_plaintext) - 1 };
	uint8_t key[32], out[LEN + TAG], back[LEN];

	(void)state;
	for (int i = 0; i < 32; i++)
		key[i] = (uint8_t)(0x80 + i);
	for (unsigned int i = 0; i < n_aeads; i++) {
		struct aead_message m = { rfc_plaintext, out, LEN, key, rfc_nonce, rfc_aad, sizeof(rfc_aad) };

		aeads[i]->ops->seal(aeads[i], &m);
		vectors_assert_hex(out, sizeof(out), want);
		m.src = out;
		m.dst = back;
		assert_true(aeads[i]->ops->open(aeads[i], &m));
		assert_memory_equal(back, rfc_plaintext, LEN);
	}
}

/* ------ Wycheproof ------ */

struct vector {
	uint8_t key[32], nonce[24], aad[1024], plain[1024], sealed[1024 + TAG];
	uint32_t aad_len, len;
	bool valid;
};

static void vector_load(struct vector *v, struct json_object *test, size_t nonce_len)
{
	assert_int_equal(vectors_bytes(v->key, sizeof(v->key), test, "key"), 32);
	assert_int_equal(vectors_bytes(v->nonce, sizeof(v->nonce), test, "iv"), nonce_len);
	v->aad_len = (uint32_t)vectors_bytes(v->aad, sizeof(v->aad), test, "aad");
	v->len = (uint32_t)vectors_bytes(v->plain, sizeof(v->plain), test, "msg");
	assert_int_equal(vectors_bytes(v->sealed, sizeof(v->sealed), test, "ct"), v->len);
	assert_int_equal(vectors_bytes(v->sealed + v->len, TAG, test, "tag"), TAG);
	v->valid = !strcmp(vectors_string(test, "result"), "valid");
}

/* Calls each for the tests whose nonce is of that length; returns their number. */
static unsigned int for_each_vector(const char *file, int nonce_len, void (*each)(const struct vector *v))
{
	struct json_object *root = vectors_load(file), *groups = vectors_member(root, "testGroups");
	unsigned int n = 0;
	struct vector v;

	for (size_t i = 0; i < json_object_array_length(groups); i++) {
		struct json_object *group = json_object_array_get_idx(groups, i);
		struct json_object *tests = vectors_member(group, "tests");

		if (json_object_get_int(vectors_member(group, "ivSize")) != nonce_len * 8)
			continue;
		for (size_t j = 0; j < json_object_array_length(tests); j++, n++) {
			vector_load(&v, json_object_array_get_idx(tests, j), (size_t)nonce_len);
			each(&v);
		}
	}
	json_object_put(root);
	return n;
}

static void check_vector(const struct vector *v)
{
	uint8_t out[1024 + TAG];

	for (unsigned int i = 0; i < n_aeads; i++) {
		struct aead_message m = { v->sealed, out, v->len, v->key, v->nonce, v->aad, v->aad_len };

		assert_int_equal(aeads[i]->ops->open(aeads[i], &m), v->valid);
		if (!v->valid)
			continue;
		assert_memory_equal(out, v->plain, v->len);
		m.src = v->plain;
		aeads[i]->ops->seal(aeads[i], &m);
		assert_memory_equal(out, v->sealed, v->len + TAG);
		/* In place. */
		memcpy(out, v->plain, v->len);
		m.src = out;
		aeads[i]->ops->seal(aeads[i], &m);
		assert_memory_equal(out, v->sealed, v->len + TAG);
		assert_true(aeads[i]->ops->open(aeads[i], &m));
		assert_memory_equal(out, v->plain, v->len);
	}
}

static void test_wycheproof(void **state)
{
	(void)state;
	assert_int_equal(for_each_vector("wycheproof_chacha20_poly1305_test.json", 12, check_vector), 316);
}

/* XChaCha20-Poly1305 protects cookies; it is libsodium's, and this is that library's proof. */
static void check_xchacha(const struct vector *v)
{
	uint8_t out[1024 + TAG];

	assert_int_equal(!crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL, v->sealed, v->len + TAG, v->aad,
								     v->aad_len, v->nonce, v->key),
			 v->valid);
	if (!v->valid)
		return;
	assert_memory_equal(out, v->plain, v->len);
	crypto_aead_xchacha20poly1305_ietf_encrypt(out, NULL, v->plain, v->len, v->aad, v->aad_len, NULL, v->nonce,
						   v->key);
	assert_memory_equal(out, v->sealed, v->len + TAG);
}

static void test_wycheproof_xchacha(void **state)
{
	(void)state;
	assert_int_equal(for_each_vector("wycheproof_xchacha20_poly1305_test.json", 24, check_xchacha), 306);
}

/* ------ Lengths and places ------ */

/* size bytes that end where an inaccessible page begins. */
static uint8_t *alloc_before_guard(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (size + page - 1) / page * page;
	uint8_t *map = mmap(NULL, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(map, MAP_FAILED);
	assert_int_equal(mprotect(map + whole, page, PROT_NONE), 0);
	return map + whole - size;
}

static void free_before_guard(uint8_t *bytes, size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (size + page - 1) / page * page;

	munmap(bytes + size - whole, whole + page);
}

static void expect(struct aead *aead, const uint8_t *sealed, const uint8_t *plain, uint32_t len, uint64_t counter,
		   const uint8_t *key, uint8_t *scratch)
{
	struct aead_op op = { .len = len, .counter = counter, .key = key };

	/* In place. */
	memcpy(scratch, plain, len);
	op.src = scratch;
	op.dst = scratch;
	aead_seal_burst(aead, &op, 1);
	assert_memory_equal(scratch, sealed, len + TAG);
	aead_open_burst(aead, &op, 1);
	assert_true(op.ok);
	assert_memory_equal(scratch, plain, len);
	/* From one place to another, and not a byte before or behind. */
	memset(scratch, 0xa5, len + TAG);
	op.src = plain;
	aead_seal_burst(aead, &op, 1);
	assert_memory_equal(scratch, sealed, len + TAG);
	memset(scratch, 0xa5, len + TAG);
	op.src = sealed;
	aead_open_burst(aead, &op, 1);
	assert_true(op.ok);
	assert_memory_equal(scratch, plain, len);
	for (unsigned int i = 0; i < TAG; i++)
		assert_int_equal(scratch[len + i], 0xa5);
}

/* Buffers end at an inaccessible page: a back end that touches a byte too many does not survive. */
static void check_lengths(uint32_t first, uint32_t last, uint32_t step)
{
	uint64_t seed = SEED + first;
	uint8_t key[32];

	for (uint32_t len = first; len <= last; len += step) {
		uint8_t *plain = alloc_before_guard(len), *sealed = alloc_before_guard(len + TAG);
		uint8_t *scratch = alloc_before_guard(len + TAG), nonce[12] = { 0 };
		uint64_t counter = htole64(vectors_random(&seed));

		vectors_random_bytes(key, sizeof(key), &seed);
		vectors_random_bytes(plain, len, &seed);
		/* The reference builds its nonce itself: four zero bytes, then the counter, little endian. */
		memcpy(nonce + 4, &counter, 8);
		crypto_aead_chacha20poly1305_ietf_encrypt(sealed, NULL, plain, len, NULL, 0, NULL, nonce, key);
		for (unsigned int i = 0; i < n_aeads; i++)
			expect(aeads[i], sealed, plain, len, le64toh(counter), key, scratch);
		free_before_guard(plain, len);
		free_before_guard(sealed, len + TAG);
		free_before_guard(scratch, len + TAG);
	}
}

static void test_every_length(void **state)
{
	(void)state;
	check_lengths(0, 2048, 1);
}

static void test_long(void **state)
{
	(void)state;
	check_lengths(2049, LEN_MAX, 1237);
	check_lengths(LEN_MAX - 17, LEN_MAX, 1);
	check_lengths(8999, 9001, 1);
}

/* Any alignment of either buffer. */
static void test_alignments(void **state)
{
	uint8_t plain[300 + 64], sealed[300 + TAG], scratch[300 + TAG + 64], key[32];
	uint64_t seed = SEED + 1;

	(void)state;
	vectors_random_bytes(key, sizeof(key), &seed);
	vectors_random_bytes(plain, sizeof(plain), &seed);
	for (unsigned int i = 0; i < n_aeads; i++) {
		for (unsigned int shift = 0; shift < 64; shift++) {
			struct aead_op op = { .src = plain + shift, .dst = sealed, .len = 300, .key = key };

			aead_seal_burst(aeads[0], &op, 1);
			expect(aeads[i], sealed, plain + shift, 300, 0, key, scratch + (shift * 7) % 64);
		}
	}
}

/* ------ Refusals ------ */

static void check_flips(struct aead *aead, uint32_t len)
{
	uint8_t plain[1500], sealed[1500 + TAG], out[1500], key[32];
	struct aead_op op = { .src = plain, .dst = sealed, .len = len, .counter = 42, .key = key };
	uint64_t seed = SEED + len;

	vectors_random_bytes(key, sizeof(key), &seed);
	vectors_random_bytes(plain, sizeof(plain), &seed);
	aead_seal_burst(aead, &op, 1);
	op.src = sealed;
	op.dst = out;
	for (uint32_t bit = 0; bit < (len + TAG) * 8; bit++) {
		sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
		op.ok = true;
		aead_open_burst(aead, &op, 1);
		assert_false(op.ok);
		sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (unsigned int bit = 0; bit < 64 + 256; bit++) {
		if (bit < 64)
			op.counter ^= 1ULL << bit;
		else
			key[(bit - 64) / 8] ^= (uint8_t)(1 << bit % 8);
		op.ok = true;
		aead_open_burst(aead, &op, 1);
		assert_false(op.ok);
		if (bit < 64)
			op.counter ^= 1ULL << bit;
		else
			key[(bit - 64) / 8] ^= (uint8_t)(1 << bit % 8);
	}
	/* The plaintext cut short by one, its tag where the shorter one's would be. */
	if (len) {
		op.len--;
		op.ok = true;
		aead_open_burst(aead, &op, 1);
		assert_false(op.ok);
		op.len++;
	}
	aead_open_burst(aead, &op, 1);
	assert_true(op.ok);
}

static void test_flips(void **state)
{
	static const uint32_t lens[] = { 0, 1, 15, 16, 64, 65, 257, 1420 };

	(void)state;
	for (unsigned int i = 0; i < n_aeads; i++)
		for (unsigned int j = 0; j < sizeof(lens) / sizeof(lens[0]); j++)
			check_flips(aeads[i], lens[j]);
}

/* ------ Bursts ------ */

enum { BURST_MAX = 300, BURST_LEN = 1500 };

struct burst {
	struct aead_op ops[BURST_MAX];
	uint8_t plain[BURST_MAX][BURST_LEN], work[BURST_MAX][BURST_LEN + TAG], keys[BURST_MAX][32];
	bool damaged[BURST_MAX];
};

static void burst_fill(struct burst *b, unsigned int n, uint64_t *seed)
{
	for (unsigned int i = 0; i < n; i++) {
		uint32_t len = vectors_random(seed) % (BURST_LEN + 1);

		vectors_random_bytes(b->keys[i], 32, seed);
		vectors_random_bytes(b->plain[i], len, seed);
		memcpy(b->work[i], b->plain[i], len);
		b->ops[i] = (struct aead_op){ .src = b->work[i], .dst = b->work[i], .len = len,
					      .counter = vectors_random(seed), .key = b->keys[i] };
	}
}

static void burst_damage(struct burst *b, unsigned int n, uint64_t *seed)
{
	for (unsigned int i = 0; i < n; i++) {
		uint32_t bit = (uint32_t)(vectors_random(seed) % ((b->ops[i].len + TAG) * 8));

		b->damaged[i] = vectors_random(seed) & 1;
		b->ops[i].ok = b->damaged[i]; /* the opposite of what it must become */
		if (b->damaged[i])
			b->work[i][bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

/* Each op of a burst stands alone: own key, length and counter, and a bad one spoils no other. */
static void test_bursts(void **state)
{
	static const unsigned int sizes[] = { 0, 1, 2, 31, 32, 63, 64, 65, 128, 129, 300 };
	struct burst *b = calloc(1, sizeof(*b));
	uint64_t seed = SEED + 2;

	(void)state;
	assert_non_null(b);
	for (unsigned int k = 0; k < n_aeads * sizeof(sizes) / sizeof(sizes[0]); k++) {
		struct aead *sealer = aeads[k % n_aeads], *opener = aeads[(k + k / n_aeads) % n_aeads];
		unsigned int n = sizes[k / n_aeads];

		burst_fill(b, n, &seed);
		aead_seal_burst(sealer, b->ops, n);
		burst_damage(b, n, &seed);
		aead_open_burst(opener, b->ops, n);
		for (unsigned int i = 0; i < n; i++) {
			assert_int_equal(b->ops[i].ok, !b->damaged[i]);
			if (b->ops[i].ok)
				assert_memory_equal(b->work[i], b->plain[i], b->ops[i].len);
		}
	}
	free(b);
}

/* ------ Choice ------ */

static void test_choose(void **state)
{
	struct aead_choice choice;
	unsigned int usable = 0;

	(void)state;
	assert_int_equal(aead_choose("aes", &choice), -EINVAL);
	assert_int_equal(aead_choose("", &choice), -EINVAL);
	assert_int_equal(aead_choose("sodium", &choice), 0);
	assert_int_equal(choice.backend, AEAD_BACKEND_SODIUM);
	for (unsigned int i = 0; i < AEAD_BACKEND_COUNT; i++)
		usable += choice.ns_1420[i] > 0;
	assert_int_equal(usable, n_aeads);

	assert_int_equal(aead_choose(NULL, &choice), 0);
	for (unsigned int i = 0; i < AEAD_BACKEND_COUNT; i++)
		assert_true(!choice.ns_1420[i] || choice.ns_1420[choice.backend] <= choice.ns_1420[i]);
	assert_int_equal(aead_choose("auto", &choice), 0);
	for (unsigned int i = 0; i < AEAD_BACKEND_COUNT; i++) {
		int want = choice.ns_1420[i] ? 0 : -ENOTSUP;

		assert_int_equal(aead_choose(aead_backend_word(i), &choice), want);
		if (!want)
			assert_int_equal(choice.backend, i);
	}
}

/* A back end that is wrong in one way, made of a right one. */
static enum { RIGHT, WRONG_SEAL, WRONG_AT_1024, WRONG_OPEN, TAKES_ALL, REFUSES_ALL } fault;

static void faulty_seal_burst(struct aead *aead, struct aead_op *ops, unsigned int n)
{
	(void)aead;
	aead_seal_burst(aeads[0], ops, n);
	for (unsigned int i = 0; i < n; i++)
		if (fault == WRONG_SEAL || (fault == WRONG_AT_1024 && ops[i].len == 1024))
			ops[i].dst[ops[i].len / 2] ^= 4;
}

static void faulty_open_burst(struct aead *aead, struct aead_op *ops, unsigned int n)
{
	(void)aead;
	aead_open_burst(aeads[0], ops, n);
	for (unsigned int i = 0; i < n; i++) {
		ops[i].ok = fault == TAKES_ALL || (fault != REFUSES_ALL && ops[i].ok);
		if (fault == WRONG_OPEN && ops[i].len)
			ops[i].dst[0] ^= 1;
	}
}

static bool faulty_rfc;

static void faulty_seal(struct aead *aead, const struct aead_message *m)
{
	(void)aead;
	aeads[0]->ops->seal(aeads[0], m);
	if (faulty_rfc)
		m->dst[m->len] ^= 1;
}

static bool faulty_open(struct aead *aead, const struct aead_message *m)
{
	(void)aead;
	return aeads[0]->ops->open(aeads[0], m);
}

static void test_faulty_is_refused(void **state)
{
	const struct aead_backend_ops ops = { .seal_burst = faulty_seal_burst, .open_burst = faulty_open_burst,
					      .seal = faulty_seal, .open = faulty_open };
	struct aead aead = { .ops = &ops, .name = "faulty" };

	(void)state;
	for (fault = RIGHT; fault <= REFUSES_ALL; fault++)
		assert_int_equal(check(&aead, aeads[0]), fault == RIGHT);
	fault = RIGHT;
	faulty_rfc = true;
	assert_false(check(&aead, aeads[0]));
	assert_false(check(&aead, NULL));
	faulty_rfc = false;
	assert_true(check(&aead, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc_2_8_2),
		cmocka_unit_test(test_wycheproof),
		cmocka_unit_test(test_wycheproof_xchacha),
		cmocka_unit_test(test_every_length),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_alignments),
		cmocka_unit_test(test_flips),
		cmocka_unit_test(test_bursts),
		cmocka_unit_test(test_choose),
		cmocka_unit_test(test_faulty_is_refused),
	};

	print_message("seed %#llx\n", SEED);
	return cmocka_run_group_tests(tests, setup, teardown);
}
