// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The handshake between two devices: what is refused, and that what is refused changes nothing. */
#include "../../user/noise.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "vectors.c"

#define SEED 0x5eed0006ULL
#define MS 1000000ULL

/* ------ A pair of devices ------ */

struct side {
	struct noise_static_identity identity;
	struct noise_handshake hs; /* with the other side */
};

struct pair {
	struct side a, b;
	uint64_t seed;
	uint64_t realtime_ns, now_ns;
};

static void pair_init(struct pair *p)
{
	uint8_t private_key[32];

	memset(p, 0, sizeof(*p));
	p->seed = SEED;
	p->realtime_ns = 1600000000ULL * 1000 * MS;
	p->now_ns = 5000 * MS;
	vectors_random_bytes(private_key, 32, &p->seed);
	noise_identity_set(&p->a.identity, private_key);
	vectors_random_bytes(private_key, 32, &p->seed);
	noise_identity_set(&p->b.identity, private_key);
	noise_handshake_init(&p->a.hs, p->b.identity.public_key);
	noise_handshake_init(&p->b.hs, p->a.identity.public_key);
}

/* Each initiation is a second younger than the one before. */
static bool initiate(struct pair *p, struct side *side, struct message_handshake_initiation *msg, uint32_t index)
{
	uint8_t ephemeral[32], timestamp[NOISE_TIMESTAMP_LEN];

	p->realtime_ns += 1000 * MS;
	vectors_random_bytes(ephemeral, 32, &p->seed);
	noise_tai64n(timestamp, p->realtime_ns);
	return noise_handshake_create_initiation(msg, &side->hs, &side->identity, ephemeral, timestamp, index);
}

static enum drop_reason receive_initiation(struct side *side, const struct message_handshake_initiation *msg,
					   uint64_t now_ns)
{
	struct noise_initiation initiation;
	enum drop_reason why = noise_handshake_consume_initiation(&initiation, msg, &side->identity);

	return why ? why : noise_handshake_accept_initiation(&side->hs, &initiation, &side->identity, now_ns);
}

static bool respond(struct pair *p, struct side *side, struct message_handshake_response *msg, uint32_t index)
{
	uint8_t ephemeral[32];

	vectors_random_bytes(ephemeral, 32, &p->seed);
	return noise_handshake_create_response(msg, &side->hs, ephemeral, index);
}

static void assert_sessions_match(struct noise_session *i, struct noise_session *r, uint32_t i_index, uint32_t r_index)
{
	assert_true(i->i_am_the_initiator);
	assert_false(r->i_am_the_initiator);
	assert_int_equal(i->local_index, i_index);
	assert_int_equal(i->remote_index, r_index);
	assert_int_equal(r->local_index, r_index);
	assert_int_equal(r->remote_index, i_index);
	assert_memory_equal(i->sending_key, r->receiving_key, 32);
	assert_memory_equal(i->receiving_key, r->sending_key, 32);
	assert_memory_not_equal(i->sending_key, i->receiving_key, 32);
}

/* After a session has begun nothing of the handshake is left. */
static void assert_cleared(const struct noise_handshake *hs)
{
	static const uint8_t zero[64];

	assert_int_equal(hs->state, HANDSHAKE_ZEROED);
	assert_memory_equal(&hs->symmetric, zero, sizeof(hs->symmetric));
	assert_memory_equal(hs->ephemeral_private, zero, 32);
	assert_memory_equal(hs->remote_ephemeral, zero, 32);
	assert_int_equal(hs->local_index, 0);
	assert_int_equal(hs->remote_index, 0);
}

static void complete(struct pair *p, struct side *i, struct side *r, uint32_t i_index, uint32_t r_index)
{
	struct message_handshake_initiation initiation;
	struct message_handshake_response response;
	struct noise_session i_session, r_session;

	p->now_ns += 20 * MS;
	assert_true(initiate(p, i, &initiation, i_index));
	assert_int_equal(le32toh(initiation.type), 1);
	assert_int_equal(le32toh(initiation.sender_index), i_index);
	assert_int_equal(i->hs.ephemeral_private[0] & 7, 0);
	assert_int_equal(i->hs.ephemeral_private[31] & 0xc0, 0x40);
	assert_int_equal(receive_initiation(r, &initiation, p->now_ns), DROP_NONE);
	assert_true(respond(p, r, &response, r_index));
	assert_int_equal(le32toh(response.type), 2);
	assert_int_equal(le32toh(response.sender_index), r_index);
	assert_int_equal(le32toh(response.receiver_index), i_index);
	assert_true(noise_handshake_begin_session(&r_session, &r->hs));
	assert_int_equal(noise_handshake_consume_response(&i->hs, &response, &i->identity), DROP_NONE);
	assert_true(noise_handshake_begin_session(&i_session, &i->hs));
	assert_sessions_match(&i_session, &r_session, i_index, r_index);
	assert_cleared(&i->hs);
	assert_cleared(&r->hs);
}

static void test_handshakes(void **state)
{
	struct pair p;

	(void)state;
	pair_init(&p);
	complete(&p, &p.a, &p.b, 0x01020304, 0xfffffffe);
	complete(&p, &p.b, &p.a, 0, 0xffffffff);
	vectors_random_bytes(p.a.hs.preshared_key, 32, &p.seed);
	memcpy(p.b.hs.preshared_key, p.a.hs.preshared_key, 32);
	complete(&p, &p.a, &p.b, 3, 4);
}

/* ------ Refusals ------ */

/*
 * One bit in each byte that is authenticated. The topmost of an ephemeral key is no part of the key (RFC 7748), but
 * it is hashed like the others.
 */
static void check_initiation_flips(struct pair *p, const struct message_handshake_initiation *msg)
{
	size_t first = offsetof(struct message_handshake_initiation, ephemeral);
	size_t end = offsetof(struct message_handshake_initiation, mac1);

	for (size_t byte = first; byte < end; byte++) {
		struct message_handshake_initiation bad = *msg;
		struct noise_handshake before = p->b.hs;

		((uint8_t *)&bad)[byte] ^= (uint8_t)(1 << vectors_random(&p->seed) % 8);
		assert_int_equal(receive_initiation(&p->b, &bad, p->now_ns), DROP_HANDSHAKE_INVALID);
		assert_memory_equal(&p->b.hs, &before, sizeof(before));
	}
}

static void check_response_flips(struct pair *p, const struct message_handshake_response *msg)
{
	size_t first = offsetof(struct message_handshake_response, receiver_index);
	size_t end = offsetof(struct message_handshake_response, mac1);

	for (size_t byte = first; byte < end; byte++) {
		struct message_handshake_response bad = *msg;
		struct noise_handshake before = p->a.hs;

		((uint8_t *)&bad)[byte] ^= (uint8_t)(1 << vectors_random(&p->seed) % 8);
		assert_int_equal(noise_handshake_consume_response(&p->a.hs, &bad, &p->a.identity),
				 DROP_HANDSHAKE_INVALID);
		assert_memory_equal(&p->a.hs, &before, sizeof(before));
	}
}

/* Garbage leaves a handshake as it was, to the byte, and the genuine message is still welcome after it. */
static void test_failed_input_changes_nothing(void **state)
{
	struct message_handshake_initiation initiation;
	struct message_handshake_response response;
	struct noise_session i, r;
	struct pair p;

	(void)state;
	pair_init(&p);
	complete(&p, &p.a, &p.b, 1, 2);
	assert_true(initiate(&p, &p.a, &initiation, 3));
	p.now_ns += 1000 * MS;
	check_initiation_flips(&p, &initiation);
	assert_int_equal(receive_initiation(&p.b, &initiation, p.now_ns), DROP_NONE);
	assert_true(respond(&p, &p.b, &response, 4));
	check_response_flips(&p, &response);
	assert_true(noise_handshake_begin_session(&r, &p.b.hs));
	assert_int_equal(noise_handshake_consume_response(&p.a.hs, &response, &p.a.identity), DROP_NONE);
	assert_true(noise_handshake_begin_session(&i, &p.a.hs));
	assert_sessions_match(&i, &r, 3, 4);
}

/* On a cold start the one thing a bad initiation leaves is the product of the two static keys. */
static void test_static_static_is_lazy(void **state)
{
	struct message_handshake_initiation initiation;
	struct noise_handshake before;
	struct pair p;

	(void)state;
	pair_init(&p);
	assert_false(p.b.hs.has_static_static);
	assert_true(initiate(&p, &p.a, &initiation, 1));
	assert_true(p.a.hs.has_static_static);
	initiation.encrypted_timestamp[0] ^= 1;
	before = p.b.hs;
	assert_int_equal(receive_initiation(&p.b, &initiation, p.now_ns), DROP_HANDSHAKE_INVALID);
	assert_true(p.b.hs.has_static_static);
	assert_memory_equal(p.b.hs.static_static, p.a.hs.static_static, 32);
	memcpy(before.static_static, p.b.hs.static_static, 32);
	before.has_static_static = true;
	assert_memory_equal(&p.b.hs, &before, sizeof(before));
	initiation.encrypted_timestamp[0] ^= 1;
	assert_int_equal(receive_initiation(&p.b, &initiation, p.now_ns), DROP_NONE);
}

static void test_replay(void **state)
{
	struct message_handshake_initiation first, second, older;
	struct noise_handshake before;
	uint64_t seconds = 1000 * MS;
	struct pair p;

	(void)state;
	pair_init(&p);
	assert_true(initiate(&p, &p.a, &first, 1));
	assert_true(initiate(&p, &p.a, &second, 2));
	assert_int_equal(receive_initiation(&p.b, &first, p.now_ns), DROP_NONE);
	before = p.b.hs;
	assert_int_equal(receive_initiation(&p.b, &first, p.now_ns + 10 * seconds), DROP_HANDSHAKE_REPLAYED);
	assert_memory_equal(&p.b.hs, &before, sizeof(before));
	assert_int_equal(receive_initiation(&p.b, &second, p.now_ns + 10 * seconds), DROP_NONE);
	assert_int_equal(receive_initiation(&p.b, &first, p.now_ns + 20 * seconds), DROP_HANDSHAKE_REPLAYED);
	/* A clock set back: the same time once more, in a message of its own, then an older one. */
	p.realtime_ns -= seconds;
	assert_true(initiate(&p, &p.a, &older, 3));
	assert_int_equal(receive_initiation(&p.b, &older, p.now_ns + 30 * seconds), DROP_HANDSHAKE_REPLAYED);
	p.realtime_ns -= 2 * seconds;
	assert_true(initiate(&p, &p.a, &older, 4));
	assert_int_equal(receive_initiation(&p.b, &older, p.now_ns + 40 * seconds), DROP_HANDSHAKE_REPLAYED);
	/* Neither clearing the handshake nor a new identity forgets the timestamp. */
	noise_handshake_clear(&p.b.hs);
	noise_handshake_identity_changed(&p.b.hs);
	assert_int_equal(receive_initiation(&p.b, &second, p.now_ns + 50 * seconds), DROP_HANDSHAKE_REPLAYED);
}

/* The first half may run in parallel for two copies; only one passes the second. */
static void test_replay_between_the_halves(void **state)
{
	struct message_handshake_initiation msg;
	struct noise_initiation one, two;
	struct pair p;

	(void)state;
	pair_init(&p);
	assert_true(initiate(&p, &p.a, &msg, 1));
	assert_int_equal(noise_handshake_consume_initiation(&one, &msg, &p.b.identity), DROP_NONE);
	assert_int_equal(noise_handshake_consume_initiation(&two, &msg, &p.b.identity), DROP_NONE);
	assert_memory_equal(one.remote_static, p.a.identity.public_key, 32);
	assert_int_equal(noise_handshake_accept_initiation(&p.b.hs, &one, &p.b.identity, p.now_ns), DROP_NONE);
	assert_int_equal(noise_handshake_accept_initiation(&p.b.hs, &two, &p.b.identity, p.now_ns + 100 * MS),
			 DROP_HANDSHAKE_REPLAYED);
}

static void test_flood(void **state)
{
	static const struct {
		uint64_t after_ns;
		enum drop_reason want;
	} steps[] = { { 0, DROP_NONE },
		      { 20 * MS - 1, DROP_HANDSHAKE_FLOOD },
		      { 20 * MS, DROP_NONE },
		      { 40 * MS - 1, DROP_HANDSHAKE_FLOOD },
		      { 10 * MS, DROP_HANDSHAKE_FLOOD },
		      { 40 * MS, DROP_NONE } };
	struct message_handshake_initiation msg;
	struct pair p;

	(void)state;
	for (uint64_t start_ns = 0; start_ns < 2000 * MS; start_ns = start_ns * 1000 + 1) {
		pair_init(&p);
		for (size_t i = start_ns ? 0 : 5; i < sizeof(steps) / sizeof(steps[0]); i++) {
			struct noise_handshake before;

			/* What was refused comes again: it must not count as seen. */
			if (!start_ns || !i || steps[i - 1].want == DROP_NONE)
				assert_true(initiate(&p, &p.a, &msg, 1));
			before = p.b.hs;
			assert_int_equal(receive_initiation(&p.b, &msg, start_ns + steps[i].after_ns), steps[i].want);
			if (steps[i].want != DROP_NONE)
				assert_memory_equal(&p.b.hs, &before, sizeof(before));
		}
	}
}

static void test_psk_mismatch(void **state)
{
	struct message_handshake_initiation initiation;
	struct message_handshake_response response;
	struct noise_handshake before;
	struct pair p;

	(void)state;
	pair_init(&p);
	p.a.hs.preshared_key[31] = 1;
	assert_true(initiate(&p, &p.a, &initiation, 1));
	/* The initiation does not know of it (psk2: the key comes with the second message). */
	assert_int_equal(receive_initiation(&p.b, &initiation, p.now_ns), DROP_NONE);
	assert_true(respond(&p, &p.b, &response, 2));
	before = p.a.hs;
	assert_int_equal(noise_handshake_consume_response(&p.a.hs, &response, &p.a.identity), DROP_HANDSHAKE_INVALID);
	assert_memory_equal(&p.a.hs, &before, sizeof(before));
}

static void test_wrong_identity(void **state)
{
	struct message_handshake_initiation initiation;
	struct message_handshake_response response;
	struct noise_initiation opened;
	struct noise_handshake stranger;
	struct side other = { 0 };
	struct pair p;

	(void)state;
	pair_init(&p);
	noise_identity_set(&other.identity, (const uint8_t[32]){ 1, 2, 3 });
	noise_handshake_init(&other.hs, p.a.identity.public_key);
	assert_true(initiate(&p, &p.a, &initiation, 1));
	/* To somebody else it says nothing. */
	assert_int_equal(receive_initiation(&other, &initiation, p.now_ns), DROP_HANDSHAKE_INVALID);
	/* Nor does it pass for another peer's. */
	noise_handshake_init(&stranger, other.identity.public_key);
	assert_int_equal(noise_handshake_consume_initiation(&opened, &initiation, &p.b.identity), DROP_NONE);
	assert_int_equal(noise_handshake_accept_initiation(&stranger, &opened, &p.b.identity, p.now_ns),
			 DROP_HANDSHAKE_INVALID);
	/* Claiming another's static key does not help without its private half: ss is missing. */
	memcpy(opened.remote_static, other.identity.public_key, 32);
	assert_int_equal(noise_handshake_accept_initiation(&stranger, &opened, &p.b.identity, p.now_ns),
			 DROP_HANDSHAKE_INVALID);
	/* Looked up wrongly, it is refused for the key alone. */
	assert_int_equal(noise_handshake_accept_initiation(&p.b.hs, &opened, &p.b.identity, p.now_ns),
			 DROP_HANDSHAKE_INVALID);
	/* A response by one who has our initiation's state but not the static key is worthless after a key change. */
	assert_int_equal(receive_initiation(&p.b, &initiation, p.now_ns), DROP_NONE);
	assert_true(respond(&p, &p.b, &response, 2));
	assert_int_equal(noise_handshake_consume_response(&p.a.hs, &response, &other.identity), DROP_HANDSHAKE_INVALID);
	assert_int_equal(noise_handshake_consume_response(&p.a.hs, &response, &p.a.identity), DROP_NONE);
}

static void test_no_identity(void **state)
{
	struct message_handshake_initiation initiation;
	static const uint8_t zero[32];
	struct noise_handshake before;
	struct pair p;

	(void)state;
	pair_init(&p);
	assert_true(initiate(&p, &p.a, &initiation, 1));
	noise_identity_set(&p.b.identity, zero);
	assert_false(p.b.identity.has_identity);
	assert_memory_equal(p.b.identity.public_key, zero, 32);
	assert_memory_equal(p.b.identity.private_key, zero, 32);
	before = p.b.hs;
	assert_int_equal(receive_initiation(&p.b, &initiation, p.now_ns), DROP_HANDSHAKE_INVALID);
	assert_false(initiate(&p, &p.b, &initiation, 1));
	assert_memory_equal(&p.b.hs, &before, sizeof(before));
}

/* An initiation's second half, sealed as if ss were zero. */
static void seal_timestamp_for_zero(struct noise_initiation *initiation, const uint8_t remote_static[32])
{
	static const uint8_t zero[32], timestamp[NOISE_TIMESTAMP_LEN] = { 0x40, 1 };
	struct noise_symmetric s = { 0 };
	uint8_t key[32];

	memset(initiation, 0, sizeof(*initiation));
	memcpy(initiation->remote_static, remote_static, 32);
	mix_key(&s, key, zero);
	encrypt_and_hash(&s, key, initiation->encrypted_timestamp, timestamp, sizeof(timestamp));
}

/* Peers with such a key are silent: nothing is ever created for them, nothing of theirs accepted. */
static void test_low_order_peer(void **state)
{
	struct message_handshake_initiation initiation;
	struct noise_initiation opened;
	struct pair p;

	(void)state;
	for (size_t i = 0; i < VECTORS_LOW_ORDER; i++) {
		uint8_t point[32];

		pair_init(&p);
		vectors_from_hex(point, 32, vectors_low_order[i]);
		noise_handshake_init(&p.a.hs, point);
		for (int again = 0; again < 2; again++) {
			assert_false(initiate(&p, &p.a, &initiation, 1));
			assert_int_equal(p.a.hs.state, HANDSHAKE_ZEROED);
			seal_timestamp_for_zero(&opened, point);
			assert_int_equal(noise_handshake_accept_initiation(&p.a.hs, &opened, &p.a.identity, p.now_ns),
					 DROP_HANDSHAKE_INVALID);
			assert_int_equal(p.a.hs.state, HANDSHAKE_ZEROED);
		}
	}
}

/* Ephemeral keys of low order, sealed properly by an attacker who knows that every secret is then zero. */
static void test_low_order_ephemeral(void **state)
{
	struct message_handshake_initiation initiation;
	struct message_handshake_response response;
	struct noise_handshake before;
	struct pair p;

	(void)state;
	for (size_t i = 0; i < VECTORS_LOW_ORDER; i++) {
		static const uint8_t zero[32];
		struct noise_symmetric s;
		uint8_t key[32], point[32];

		pair_init(&p);
		complete(&p, &p.a, &p.b, 1, 2);
		p.now_ns += 1000 * MS;
		vectors_from_hex(point, 32, vectors_low_order[i]);

		noise_core_init(&s, wireguard_prologue, sizeof(wireguard_prologue) - 1, p.b.identity.public_key);
		mix_ephemeral(&s, point);
		memcpy(initiation.ephemeral, point, 32);
		mix_key(&s, key, zero);
		encrypt_and_hash(&s, key, initiation.encrypted_static, p.a.identity.public_key, 32);
		before = p.b.hs;
		assert_int_equal(receive_initiation(&p.b, &initiation, p.now_ns), DROP_HANDSHAKE_INVALID);
		assert_memory_equal(&p.b.hs, &before, sizeof(before));

		assert_true(initiate(&p, &p.a, &initiation, 3));
		s = p.a.hs.symmetric;
		mix_ephemeral(&s, point);
		memcpy(response.ephemeral, point, 32);
		mix_key(&s, key, zero);
		mix_key(&s, key, zero);
		mix_psk(&s, key, zero);
		encrypt_and_hash(&s, key, response.encrypted_nothing, NULL, 0);
		response.receiver_index = htole32(3);
		response.sender_index = htole32(9);
		before = p.a.hs;
		assert_int_equal(noise_handshake_consume_response(&p.a.hs, &response, &p.a.identity),
				 DROP_HANDSHAKE_INVALID);
		assert_memory_equal(&p.a.hs, &before, sizeof(before));
	}
}

/* ------ Order of events ------ */

/* Each function in each state it is not for: refused, and nothing changes. */
static void test_states(void **state)
{
	struct message_handshake_response response = { 0 };
	struct message_handshake_initiation initiation;
	struct noise_session session;
	struct pair p;

	(void)state;
	pair_init(&p);
	assert_true(initiate(&p, &p.a, &initiation, 1));
	assert_int_equal(receive_initiation(&p.b, &initiation, p.now_ns), DROP_NONE);
	for (int s = HANDSHAKE_ZEROED; s <= HANDSHAKE_CONSUMED_RESPONSE; s++) {
		struct noise_handshake hs = p.b.hs;

		hs.state = (enum noise_handshake_state)s;
		assert_int_equal(noise_handshake_create_response(&response, &hs, (const uint8_t[32]){ 5 }, 1),
				 s == HANDSHAKE_CONSUMED_INITIATION);
		hs = p.b.hs;
		hs.state = (enum noise_handshake_state)s;
		assert_int_equal(noise_handshake_begin_session(&session, &hs),
				 s == HANDSHAKE_CREATED_RESPONSE || s == HANDSHAKE_CONSUMED_RESPONSE);
	}
	/* All is right with the response but the state it finds. */
	for (int s = HANDSHAKE_ZEROED; s <= HANDSHAKE_CONSUMED_RESPONSE; s++) {
		struct noise_handshake hs = p.a.hs;

		hs.state = (enum noise_handshake_state)s;
		assert_int_equal(noise_handshake_consume_response(&hs, &response, &p.a.identity),
				 s == HANDSHAKE_CREATED_INITIATION ? DROP_NONE : DROP_HANDSHAKE_INVALID);
	}
}

static void test_responses_out_of_turn(void **state)
{
	struct message_handshake_initiation initiation;
	struct message_handshake_response response;
	struct noise_session session;
	struct pair p;

	(void)state;
	pair_init(&p);
	/* The response that has been consumed is not consumed again; nor is one to a superseded initiation. */
	assert_true(initiate(&p, &p.a, &initiation, 1));
	assert_int_equal(receive_initiation(&p.b, &initiation, p.now_ns), DROP_NONE);
	assert_true(respond(&p, &p.b, &response, 2));
	assert_false(respond(&p, &p.b, &response, 2));
	assert_true(initiate(&p, &p.a, &initiation, 3));
	assert_int_equal(noise_handshake_consume_response(&p.a.hs, &response, &p.a.identity), DROP_HANDSHAKE_INVALID);
	assert_int_equal(receive_initiation(&p.b, &initiation, p.now_ns + 20 * MS), DROP_NONE);
	assert_true(respond(&p, &p.b, &response, 4));
	assert_int_equal(noise_handshake_consume_response(&p.a.hs, &response, &p.a.identity), DROP_NONE);
	assert_int_equal(noise_handshake_consume_response(&p.a.hs, &response, &p.a.identity), DROP_HANDSHAKE_INVALID);
	assert_true(noise_handshake_begin_session(&session, &p.a.hs));
	assert_false(noise_handshake_begin_session(&session, &p.a.hs));
}

/* Both initiate at once: each initiation, on arrival, replaces our own, and whoever answers last has a session. */
static void test_simultaneous(void **state)
{
	struct message_handshake_initiation from_a, from_b;
	struct message_handshake_response by_a, by_b;
	struct noise_session session_a, session_b;
	struct pair p;

	(void)state;
	pair_init(&p);
	for (uint32_t i = 0; i < 200; i++) {
		p.now_ns += 1000 * MS;
		assert_true(initiate(&p, &p.a, &from_a, 10));
		assert_true(initiate(&p, &p.b, &from_b, 20));
		assert_int_equal(receive_initiation(&p.b, &from_a, p.now_ns), DROP_NONE);
		assert_true(respond(&p, &p.b, &by_b, 21));
		if (i % 2) {
			/* Crossed: both have answered before either answer arrives, so both answers are late. */
			assert_true(noise_handshake_begin_session(&session_b, &p.b.hs));
			assert_int_equal(receive_initiation(&p.a, &from_b, p.now_ns), DROP_NONE);
			assert_true(respond(&p, &p.a, &by_a, 11));
			assert_true(noise_handshake_begin_session(&session_a, &p.a.hs));
			assert_int_equal(noise_handshake_consume_response(&p.a.hs, &by_b, &p.a.identity),
					 DROP_HANDSHAKE_INVALID);
			assert_int_equal(noise_handshake_consume_response(&p.b.hs, &by_a, &p.b.identity),
					 DROP_HANDSHAKE_INVALID);
			/* The next handshake puts it right. */
			complete(&p, &p.a, &p.b, 30 + i, 40 + i);
			continue;
		}
		assert_true(noise_handshake_begin_session(&session_b, &p.b.hs));
		assert_int_equal(noise_handshake_consume_response(&p.a.hs, &by_b, &p.a.identity), DROP_NONE);
		assert_true(noise_handshake_begin_session(&session_a, &p.a.hs));
		assert_sessions_match(&session_a, &session_b, 10, 21);
	}
}

/* A new private key: the old handshake is gone, the new static_static is used, the timestamp stays. */
static void test_identity_changed(void **state)
{
	struct message_handshake_initiation initiation;
	struct noise_handshake old;
	struct pair p;

	(void)state;
	pair_init(&p);
	complete(&p, &p.b, &p.a, 1, 2);
	assert_true(initiate(&p, &p.a, &initiation, 3));
	old = p.a.hs;
	noise_identity_set(&p.a.identity, (const uint8_t[32]){ 9, 9, 9 });
	noise_handshake_identity_changed(&p.a.hs);
	assert_cleared(&p.a.hs);
	assert_false(p.a.hs.has_static_static);
	assert_true(secret_is_zero(p.a.hs.static_static, 32));
	assert_memory_equal(p.a.hs.latest_timestamp, old.latest_timestamp, 12);
	assert_memory_equal(p.a.hs.remote_static, old.remote_static, 32);
	noise_handshake_init(&p.b.hs, p.a.identity.public_key);
	complete(&p, &p.a, &p.b, 5, 6);
	assert_memory_not_equal(p.a.hs.static_static, old.static_static, 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_handshakes),
		cmocka_unit_test(test_failed_input_changes_nothing),
		cmocka_unit_test(test_static_static_is_lazy),
		cmocka_unit_test(test_replay),
		cmocka_unit_test(test_replay_between_the_halves),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_psk_mismatch),
		cmocka_unit_test(test_wrong_identity),
		cmocka_unit_test(test_no_identity),
		cmocka_unit_test(test_low_order_peer),
		cmocka_unit_test(test_low_order_ephemeral),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_responses_out_of_turn),
		cmocka_unit_test(test_simultaneous),
		cmocka_unit_test(test_identity_changed),
	};

	print_message("seed %#llx\n", SEED);
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
