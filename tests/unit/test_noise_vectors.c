// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The handshake against vectors from elsewhere, a known answer in WireGuard's own form, and the timestamps. */
#include "../../user/noise.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "crypto/aead.h"
#include "vectors.c"

#define SEED 0x5eed0007ULL

/* ------ Foreign vectors ------ */

#define MESSAGES_MAX 6

struct noise_vector {
	uint8_t prologue[64];
	size_t prologue_len, n_messages;
	uint8_t psk[32], init_static[32], resp_static[32], init_ephemeral[32], resp_ephemeral[32];
	uint8_t payload[MESSAGES_MAX][64], ciphertext[MESSAGES_MAX][256];
	size_t payload_len[MESSAGES_MAX], ciphertext_len[MESSAGES_MAX];
	const char *handshake_hash; /* NULL: not told */
};

static void core_peers_init(struct noise_core_peer *i, struct noise_core_peer *r, const struct noise_vector *v)
{
	memset(i, 0, sizeof(*i));
	memset(r, 0, sizeof(*r));
	memcpy(i->static_private, v->init_static, 32);
	memcpy(r->static_private, v->resp_static, 32);
	memcpy(i->ephemeral_private, v->init_ephemeral, 32);
	memcpy(r->ephemeral_private, v->resp_ephemeral, 32);
	memcpy(i->preshared_key, v->psk, 32);
	memcpy(r->preshared_key, v->psk, 32);
	assert_true(x25519_public(i->static_public, i->static_private));
	assert_true(x25519_public(r->static_public, r->static_private));
	memcpy(i->remote_static, r->static_public, 32);
	noise_core_init(&i->symmetric, v->prologue, v->prologue_len, r->static_public);
	noise_core_init(&r->symmetric, v->prologue, v->prologue_len, r->static_public);
}

/* Transport messages go to and fro, so each direction counts every other one. */
static void check_transport(const struct noise_vector *v, const uint8_t keys[2][32])
{
	struct aead *aead = aead_create(AEAD_BACKEND_SODIUM);
	uint8_t out[256];

	assert_non_null(aead);
	for (size_t m = 2; m < v->n_messages; m++) {
		struct aead_op op = { .src = v->payload[m], .dst = out, .len = (uint32_t)v->payload_len[m],
				      .counter = (m - 2) / 2, .key = keys[m % 2] };

		assert_int_equal(v->ciphertext_len[m], v->payload_len[m] + 16);
		aead_seal_burst(aead, &op, 1);
		assert_memory_equal(out, v->ciphertext[m], v->ciphertext_len[m]);
		op.src = v->ciphertext[m];
		aead_open_burst(aead, &op, 1);
		assert_true(op.ok);
		assert_memory_equal(out, v->payload[m], v->payload_len[m]);
	}
	aead_free(aead);
}

static void check_vector(const struct noise_vector *v)
{
	struct noise_core_peer i, r;
	uint8_t out[256], payload[256], keys[2][32], keys_r[2][32];

	core_peers_init(&i, &r, v);
	assert_int_equal(v->ciphertext_len[0], 32 + 48 + v->payload_len[0] + 16);
	assert_true(noise_core_write_1(&i, out, v->payload[0], v->payload_len[0]));
	assert_memory_equal(out, v->ciphertext[0], v->ciphertext_len[0]);
	assert_true(noise_core_read_1(&r, payload, v->ciphertext[0], v->payload_len[0]));
	assert_memory_equal(payload, v->payload[0], v->payload_len[0]);
	assert_memory_equal(r.remote_static, i.static_public, 32);
	assert_memory_equal(&r.symmetric, &i.symmetric, sizeof(i.symmetric));

	assert_int_equal(v->ciphertext_len[1], 32 + v->payload_len[1] + 16);
	assert_true(noise_core_write_2(&r, out, v->payload[1], v->payload_len[1]));
	assert_memory_equal(out, v->ciphertext[1], v->ciphertext_len[1]);
	assert_true(noise_core_read_2(&i, payload, v->ciphertext[1], v->payload_len[1]));
	assert_memory_equal(payload, v->payload[1], v->payload_len[1]);
	assert_memory_equal(&r.symmetric, &i.symmetric, sizeof(i.symmetric));
	if (v->handshake_hash)
		vectors_assert_hex(i.symmetric.hash, 32, v->handshake_hash);

	noise_core_split(&i.symmetric, keys[0], keys[1]);
	noise_core_split(&r.symmetric, keys_r[0], keys_r[1]);
	assert_memory_equal(keys, keys_r, sizeof(keys));
	check_transport(v, (const uint8_t(*)[32])keys);
}

static void test_cacophony(void **state)
{
	struct json_object *root = vectors_load("noise_ikpsk2_cacophony.json"), *vector, *messages;
	struct noise_vector v = { 0 };

	(void)state;
	vector = json_object_array_get_idx(vectors_member(root, "vectors"), 0);
	v.prologue_len = vectors_bytes(v.prologue, sizeof(v.prologue), vector, "init_prologue");
	vectors_from_hex(v.psk, 32,
			 json_object_get_string(json_object_array_get_idx(vectors_member(vector, "init_psks"), 0)));
	vectors_bytes(v.init_static, 32, vector, "init_static");
	vectors_bytes(v.resp_static, 32, vector, "resp_static");
	vectors_bytes(v.init_ephemeral, 32, vector, "init_ephemeral");
	vectors_bytes(v.resp_ephemeral, 32, vector, "resp_ephemeral");
	v.handshake_hash = vectors_string(vector, "handshake_hash");
	messages = vectors_member(vector, "messages");
	v.n_messages = json_object_array_length(messages);
	assert_int_equal(v.n_messages, MESSAGES_MAX);
	for (size_t m = 0; m < v.n_messages; m++) {
		struct json_object *message = json_object_array_get_idx(messages, m);

		v.payload_len[m] = vectors_bytes(v.payload[m], 64, message, "payload");
		v.ciphertext_len[m] = vectors_bytes(v.ciphertext[m], 256, message, "ciphertext");
	}
	check_vector(&v);
	json_object_put(root);
}

/* One "name=hex" line. */
static void flynn_line(struct noise_vector *v, const char *name, const char *hex)
{
	unsigned int m;
	char what[16];

	if (!strcmp(name, "init_static"))
		vectors_from_hex(v->init_static, 32, hex);
	else if (!strcmp(name, "resp_static"))
		vectors_from_hex(v->resp_static, 32, hex);
	else if (!strcmp(name, "gen_init_ephemeral"))
		vectors_from_hex(v->init_ephemeral, 32, hex);
	else if (!strcmp(name, "gen_resp_ephemeral"))
		vectors_from_hex(v->resp_ephemeral, 32, hex);
	else if (!strcmp(name, "preshared_key"))
		vectors_from_hex(v->psk, 32, hex);
	else if (!strcmp(name, "prologue"))
		v->prologue_len = vectors_from_hex(v->prologue, sizeof(v->prologue), hex);
	else if (sscanf(name, "msg_%u_%15s", &m, what) == 2 && m < MESSAGES_MAX && !strcmp(what, "payload"))
		v->payload_len[m] = vectors_from_hex(v->payload[m], 64, hex);
	else if (sscanf(name, "msg_%u_%15s", &m, what) == 2 && m < MESSAGES_MAX && !strcmp(what, "ciphertext"))
		v->ciphertext_len[m] = vectors_from_hex(v->ciphertext[v->n_messages++], 256, hex);
	else if (strcmp(name, "handshake"))
		fail_msg("unknown line %s", name);
}

static void test_flynn(void **state)
{
	const char *path = vectors_path("noise_ikpsk2_flynn.txt");
	FILE *file = fopen(path, "re");
	struct noise_vector v = { 0 };
	unsigned int n_checked = 0;
	char line[1024];

	(void)state;
	if (!file) {
		print_message("no test vectors in %s (set WG_XDP_VECTORS to their directory): skipped\n", path);
		skip();
	}
	for (bool more = true; more;) {
		char *equals;

		more = fgets(line, sizeof(line), file);
		line[more ? strcspn(line, "\r\n") : 0] = '\0';
		equals = strchr(line, '=');
		if (equals) {
			*equals = '\0';
			flynn_line(&v, line, equals + 1);
		} else if (v.n_messages) {
			assert_int_equal(v.n_messages, 4);
			check_vector(&v);
			memset(&v, 0, sizeof(v));
			n_checked++;
		}
	}
	fclose(file);
	assert_int_equal(n_checked, 4);
}

/* ------ Own known answer: the keys of the cacophony vector in WireGuard's messages ------ */

static void check_mac1(const uint8_t *msg, size_t len, const uint8_t receiver_public[32], const char *want)
{
	uint8_t label_and_key[8 + 32] = "mac1----", key[32], mac[16];

	memcpy(label_and_key + 8, receiver_public, 32);
	blake2s(key, 32, label_and_key, sizeof(label_and_key), NULL, 0);
	blake2s(mac, 16, msg, len, key, 32);
	vectors_assert_hex(mac, 16, want);
}

struct kat_side {
	struct noise_static_identity identity;
	struct noise_handshake hs;
};

/* The first message of the session, an empty one. */
static void check_keepalive(const uint8_t key[32])
{
	struct aead *aead = aead_create(AEAD_BACKEND_SODIUM);
	struct aead_op op = { .key = key };
	uint8_t tag[16];

	assert_non_null(aead);
	op.src = tag;
	op.dst = tag;
	aead_seal_burst(aead, &op, 1);
	vectors_assert_hex(tag, 16, "7b10d7058fd6195d3ef4f80e0a625b8b");
	aead_free(aead);
}

static void own_kat_sides(struct kat_side *i, struct kat_side *r)
{
	uint8_t key[32];

	vectors_from_hex(key, 32, "e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1");
	noise_identity_set(&i->identity, key);
	vectors_assert_hex(i->identity.public_key, 32,
			   "6bc3822a2aa7f4e6981d6538692b3cdf3e6df9eea6ed269eb41d93c22757b75a");
	vectors_from_hex(key, 32, "4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893");
	noise_identity_set(&r->identity, key);
	vectors_assert_hex(r->identity.public_key, 32,
			   "31e0303fd6418d2f8c0e78b91f22e8caed0fbe48656dcf4767e4834f701b8f62");
	noise_handshake_init(&i->hs, r->identity.public_key);
	noise_handshake_init(&r->hs, i->identity.public_key);
	vectors_from_hex(i->hs.preshared_key, 32, "54686973206973206d7920417573747269616e20706572737065637469766521");
	memcpy(r->hs.preshared_key, i->hs.preshared_key, 32);
}

static void test_own_known_answer(void **state)
{
	struct message_handshake_initiation initiation;
	struct message_handshake_response response;
	struct noise_initiation opened;
	struct noise_session session;
	uint8_t ephemeral[32], timestamp[12];
	struct kat_side i, r;

	(void)state;
	own_kat_sides(&i, &r);
	noise_tai64n(timestamp, 1600000000ULL * NSEC_PER_SEC);
	vectors_assert_hex(timestamp, 12, "400000005f5e100a00000000");
	vectors_from_hex(ephemeral, 32, "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a");
	assert_true(noise_handshake_create_initiation(&initiation, &i.hs, &i.identity, ephemeral, timestamp, 1));
	vectors_assert_hex(&initiation, 8, "0100000001000000");
	vectors_assert_hex(initiation.ephemeral, 32 + 48 + 28,
			   "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944"
			   "001e21de9f98ddd8e2ad57527207feb56253c9c94a9e496782ecfcb2a75fbcaf"
			   "752d6cf9956f6a4cc1a138d6de1e87238cbd2c461766143d84c83619a1956ecf"
			   "dd7420004b91173f010e7719");
	check_mac1((uint8_t *)&initiation, 116, r.identity.public_key, "9b52d97d473f26e38a6c342a67030f7c");

	assert_int_equal(noise_handshake_consume_initiation(&opened, &initiation, &r.identity), DROP_NONE);
	assert_int_equal(noise_handshake_accept_initiation(&r.hs, &opened, &r.identity, 1), DROP_NONE);
	vectors_from_hex(ephemeral, 32, "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b");
	assert_true(noise_handshake_create_response(&response, &r.hs, ephemeral, 2));
	vectors_assert_hex(&response, 12, "020000000200000001000000");
	vectors_assert_hex(response.ephemeral, 48,
			   "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843"
			   "67ecd13ecad26320edccb50f5ce99685");
	check_mac1((uint8_t *)&response, 60, i.identity.public_key, "e3f8a519925f7aaee005271ad50b69c3");

	assert_true(noise_handshake_begin_session(&session, &r.hs));
	vectors_assert_hex(session.sending_key, 32, "4dd78ec86daaa1034639ed326df9afecc3c47a881689e2a9f37a5e55a8131a2d");
	assert_int_equal(noise_handshake_consume_response(&i.hs, &response, &i.identity), DROP_NONE);
	assert_true(noise_handshake_begin_session(&session, &i.hs));
	vectors_assert_hex(session.sending_key, 32, "7a74d0adaa1882492a8eddc15272b5a5a230e111d86d430a5988596f2c4238ae");
	check_keepalive(session.sending_key);
	vectors_assert_hex(session.receiving_key, 32,
			   "4dd78ec86daaa1034639ed326df9afecc3c47a881689e2a9f37a5e55a8131a2d");
}

static void test_identity_is_clamped(void **state)
{
	struct noise_static_identity identity;
	uint8_t key[32];

	(void)state;
	memset(key, 0xff, 32);
	noise_identity_set(&identity, key);
	assert_true(identity.has_identity);
	vectors_assert_hex(identity.private_key, 32,
			   "f8ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
	assert_true(x25519_public(key, identity.private_key));
	assert_memory_equal(identity.public_key, key, 32);
}

/* ------ Timestamps ------ */

static void test_tai64n(void **state)
{
	static const struct {
		uint64_t realtime_ns;
		const char *want;
	} cases[] = {
		{ 0, "400000000000000a00000000" },
		{ 16777215, "400000000000000a00000000" },
		{ 16777216, "400000000000000a01000000" },
		{ 33554431, "400000000000000a01000000" },
		{ 999999999, "400000000000000a3b000000" },
		{ 1000000000, "400000000000000b00000000" },
		{ 1600000000123456789ULL, "400000005f5e100a07000000" },
		{ 4294967295999999999ULL, "40000001000000093b000000" },
		{ 4294967296000000000ULL, "400000010000000a00000000" },
		{ 18446744073709551615ULL, "400000044b82fa132a000000" },
	};
	uint8_t out[12], last[12] = { 0 };
	uint64_t seed = SEED, realtime_ns = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		noise_tai64n(out, cases[i].realtime_ns);
		vectors_assert_hex(out, 12, cases[i].want);
	}
	/* Later is never smaller, and 2^24 ns later is greater. */
	for (int i = 0; i < 100000; i++) {
		uint64_t step_ns = vectors_random(&seed) % (40000000);

		realtime_ns += step_ns;
		noise_tai64n(out, realtime_ns);
		assert_true(memcmp(out, last, 12) >= (step_ns >= 1 << 24));
		memcpy(last, out, 12);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cacophony),
		cmocka_unit_test(test_flynn),
		cmocka_unit_test(test_own_known_answer),
		cmocka_unit_test(test_identity_is_clamped),
		cmocka_unit_test(test_tai64n),
	};

	print_message("seed %#llx\n", SEED);
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
