// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../user/handshake.c"

#include "agent_fixture.h"
#include "expiry.h"

/* Two ends; what one sends is given to the other by hand. */
static struct agent *a, *b;
static struct peer *a_peer, *b_peer; /* a's idea of b, and b's of a */

static struct peer *connect_to(struct agent *agent, struct agent *to, unsigned int n, bool has_endpoint)
{
	return agent_add_peer(agent, to->device.secrets->identity.public_key, n, has_endpoint);
}

static int setup(void **state)
{
	uint8_t key[32] = { 0, 1 };

	(void)state;
	a = agent_create();
	b = agent_create();
	agent_set_key(a, key);
	key[1] = 2;
	agent_set_key(b, key);
	a_peer = connect_to(a, b, 2, true);
	b_peer = connect_to(b, a, 1, false);
	device_up(&a->device);
	device_up(&b->device);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	agent_free(a);
	agent_free(b);
	return 0;
}

static void pass(struct agent *agent, uint64_t ns)
{
	agent->now_ns += ns;
	agent->realtime_ns += ns;
}

static void run(struct agent *agent)
{
	while (handshake_run(&agent->worker, &agent->handshake_state, agent->now_ns))
		;
}

/* The n-th message that from has sent since it was last asked to forget. */
static void give_from(struct agent *from, unsigned int n, struct agent *to, unsigned int source)
{
	uint8_t data[2048];
	struct endpoint endpoint;

	assert_true(n < from->n_sent);
	memcpy(data, from->sent[n].data, from->sent[n].len);
	agent_endpoint(&endpoint, source);
	agent_receive(to, data, from->sent[n].len, from->sent[n].len, &endpoint, 0);
	run(to);
}

static void give(struct agent *from, unsigned int n, struct agent *to)
{
	give_from(from, n, to, 7);
}

static void initiate(struct agent *agent, struct peer *peer)
{
	handshake_initiate(&agent->worker, peer, agent->now_ns);
	send_finish(&agent->worker);
}

/* ------ The queue ------ */

static unsigned int n_wakes;

static void count_wake(void *arg)
{
	(void)arg;
	n_wakes++;
}

static void test_queue_is_bounded_and_wakes_once(void **state)
{
	struct handshake_queue *queue = handshake_queue_create(count_wake, NULL);
	struct handshake_message message;
	struct endpoint from;
	uint32_t number, popped = 0;

	(void)state;
	n_wakes = 0;
	agent_endpoint(&from, 3);
	assert_int_equal(handshake_queue_pop(queue, &message), 0);
	for (number = 0; number < 3000; number++)
		assert_true(handshake_queue_push(queue, &from, &number, sizeof(number)));
	assert_int_equal(n_wakes, 1);
	for (; popped < 2000; popped++)
		assert_int_equal(handshake_queue_pop(queue, &message), number - popped);
	while (handshake_queue_push(queue, &from, &number, sizeof(number)))
		number++;
	assert_int_equal(number - popped, MAX_QUEUED_INCOMING_HANDSHAKES);
	assert_int_equal(n_wakes, 1);
	for (; popped < number; popped++) {
		assert_int_equal(handshake_queue_pop(queue, &message), number - popped);
		assert_memory_equal(message.data, &popped, sizeof(popped));
		assert_int_equal(message.len, sizeof(popped));
		assert_true(endpoint_equal(&message.from, &from));
	}
	assert_int_equal(handshake_queue_pop(queue, &message), 0);
	assert_true(handshake_queue_push(queue, &from, &number, sizeof(number)));
	assert_int_equal(n_wakes, 2);
	handshake_queue_free(queue);
	handshake_queue_free(NULL);
}

/* ------ The walk ------ */

static void test_session(void **state)
{
	uint8_t packet[200];
	const struct virtio_net_hdr none = { 0 };

	(void)state;
	agent_inner(packet, 1, 2, sizeof(packet));
	send_packet(&a->worker, &none, packet, sizeof(packet), a->now_ns);
	assert_int_equal(a_peer->staged.n_packets, 1);
	run(a);
	assert_int_equal(a->n_sent, 1);
	assert_int_equal(a->sent[0].len, sizeof(struct message_handshake_initiation));
	assert_int_equal(a->sent[0].ds, HANDSHAKE_DS);
	assert_true(a_peer->handshake_index.is_inserted);
	assert_int_equal(a_peer->tx_bytes, 148);

	give(a, 0, b);
	assert_int_equal(b->n_sent, 1);
	assert_int_equal(b->sent[0].len, sizeof(struct message_handshake_response));
	assert_int_equal(b->sent[0].ds, HANDSHAKE_DS);
	assert_int_equal(ntohs(b_peer->endpoint.addr4.sin_port), 10007);
	assert_int_equal(b_peer->rx_bytes, 148);
	assert_int_equal(b_peer->tx_bytes, 92);
	assert_true(b->device.has_news);
	assert_non_null(b_peer->keypairs.next);
	assert_null(b_peer->keypairs.current);
	assert_int_equal(b_peer->timers.last_handshake_realtime_ns, 0);
	/* A response, too, puts our own initiation off. */
	assert_false(timers_may_initiate(&b_peer->timers, b->now_ns));

	give(b, 0, a);
	assert_non_null(a_peer->keypairs.current);
	assert_true(a_peer->keypairs.current->i_am_the_initiator);
	assert_int_equal(a_peer->secrets->handshake.state, HANDSHAKE_ZEROED);
	assert_false(a_peer->handshake_index.is_inserted);
	assert_true(a_peer->timers.last_handshake_realtime_ns == a->realtime_ns);
	assert_true(a_peer->timers.deadline_ns[TIMER_RETRANSMIT_HANDSHAKE] == TIMERS_NEVER);
	assert_null(a_peer->staged.first);
	assert_int_equal(a->n_sent, 2); /* the staged packet, and no keepalive */
	assert_int_equal(a->sent[1].len, 208 + MESSAGE_DATA_OVERHEAD);
	assert_int_equal(a->sent[1].ds, 0);

	give(a, 1, b);
	assert_non_null(b_peer->keypairs.current);
	assert_null(b_peer->keypairs.next);
	assert_int_equal(b->n_inner, 1);
	assert_memory_equal(b->inner[0], packet, sizeof(packet));
	assert_true(b_peer->timers.last_handshake_realtime_ns == b->realtime_ns);
	assert_memory_equal(a_peer->keypairs.current->sending_key, b_peer->keypairs.current->receiving_key, 32);
	assert_memory_equal(b_peer->keypairs.current->sending_key, a_peer->keypairs.current->receiving_key, 32);
}

static void test_nothing_staged_confirms_by_keepalive(void **state)
{
	(void)state;
	initiate(a, a_peer);
	give(a, 0, b);
	give(b, 0, a);
	assert_int_equal(a->n_sent, 2);
	assert_int_equal(a->sent[1].len, MESSAGE_DATA_OVERHEAD);
	give(a, 1, b);
	assert_non_null(b_peer->keypairs.current);
	assert_int_equal(b->n_inner, 0);
	assert_int_equal(b_peer->rx_bytes, 148 + 32);
}

static void test_initiations_keep_their_distance(void **state)
{
	(void)state;
	initiate(a, a_peer);
	initiate(a, a_peer);
	pass(a, 5 * AGENT_SECOND - 1);
	initiate(a, a_peer);
	assert_int_equal(a->n_sent, 1);
	pass(a, 1);
	initiate(a, a_peer);
	assert_int_equal(a->n_sent, 2);
	assert_memory_not_equal(a->sent[0].data + 4, a->sent[1].data + 4, 4); /* another index */
}

/* A peer whose key leads nowhere costs one attempt in REKEY_TIMEOUT, and does not touch the labels of others. */
static void test_low_order_peer_is_not_tried_for_each_packet(void **state)
{
	const uint8_t low_order[32] = { 1 };
	const struct virtio_net_hdr none = { 0 };
	struct peer *peer = agent_add_peer(a, low_order, 9, true);
	uint64_t before_ns = a->device.last_timestamp_ns;
	uint8_t packet[100];

	(void)state;
	agent_inner(packet, 1, 9, sizeof(packet));
	for (unsigned int i = 0; i < 1000; i++) {
		send_packet(&a->worker, &none, packet, sizeof(packet), a->now_ns);
		run(a);
	}
	assert_int_equal(a->n_sent, 0);
	assert_int_equal(peer->staged.n_packets, MAX_STAGED_PACKETS);
	assert_int_equal(agent_drops(a, DROP_STAGED_FULL), 1000 - MAX_STAGED_PACKETS);
	assert_false(peer->handshake_index.is_inserted);
	assert_false(timers_may_initiate(&peer->timers, a->now_ns));
	assert_true(a->device.last_timestamp_ns <= a->realtime_ns && a->device.last_timestamp_ns >= before_ns);
}

/* Asked for before a response left, handled after it: kept for later if somebody waits. */
static void test_postponed_initiation_is_not_forgotten(void **state)
{
	uint8_t packet[100];
	const struct virtio_net_hdr none = { 0 };

	(void)state;
	initiate(a, a_peer);
	agent_endpoint(&b_peer->endpoint, 1);
	agent_inner(packet, 2, 1, sizeof(packet));
	send_packet(&b->worker, &none, packet, sizeof(packet), b->now_ns);
	give(a, 0, b); /* and with it b's request */
	assert_int_equal(b->n_sent, 1);
	assert_int_equal(b->sent[0].data[0], MESSAGE_HANDSHAKE_RESPONSE);
	assert_true(b_peer->timers.deadline_ns[TIMER_RETRANSMIT_HANDSHAKE] != TIMERS_NEVER);
	pass(b, 6 * AGENT_SECOND);
	expiry_run(&b->worker, b->now_ns);
	run(b);
	assert_int_equal(b->n_sent, 2);
	assert_int_equal(b->sent[1].data[0], MESSAGE_HANDSHAKE_INITIATION);
}

static void test_replayed_and_flooded_initiations(void **state)
{
	(void)state;
	initiate(a, a_peer);
	give(a, 0, b);
	b_peer->timers.last_handshake_realtime_ns = 0;
	pass(b, AGENT_SECOND);
	give_from(a, 0, b, 8);
	assert_int_equal(agent_drops(b, DROP_HANDSHAKE_REPLAYED), 1);
	assert_int_equal(ntohs(b_peer->endpoint.addr4.sin_port), 10007); /* no roaming by a replay */
	assert_int_equal(b->n_sent, 1);
	assert_int_equal(b_peer->rx_bytes, 148);

	pass(a, 6 * AGENT_SECOND);
	initiate(a, a_peer);
	pass(a, 6 * AGENT_SECOND);
	initiate(a, a_peer);
	b->device.has_news = false;
	give(a, 1, b);
	assert_true(b->device.has_news); /* a successor must know the timestamp */
	b->device.has_news = false;
	give(a, 2, b);
	assert_false(b->device.has_news);
	assert_int_equal(agent_drops(b, DROP_HANDSHAKE_FLOOD), 1);
	assert_int_equal(b->n_sent, 2);
}

static void test_strangers_get_nothing(void **state)
{
	uint8_t key[32] = { 0, 3 }, data[148];
	struct agent *c = agent_create();

	(void)state;
	agent_set_key(c, key);
	device_up(&c->device);
	initiate(c, connect_to(c, b, 2, true));
	give(c, 0, b);
	assert_int_equal(agent_drops(b, DROP_PEER_UNKNOWN), 1);
	assert_int_equal(b->n_sent, 0);

	initiate(a, a_peer);
	for (unsigned int i = 0; i < 148; i += 7) {
		struct endpoint from;

		memcpy(data, a->sent[0].data, sizeof(data));
		data[i] ^= 0x80;
		agent_endpoint(&from, 9);
		agent_receive(b, data, sizeof(data), sizeof(data), &from, 0);
		run(b);
	}
	/* Bits of mac2 alone do not count when there is no load. */
	assert_int_equal(agent_drops(b, DROP_MAC1) + agent_drops(b, DROP_TYPE_UNKNOWN), 132 / 7 + 1);
	assert_int_equal(b->n_sent, 1);
	agent_free(c);
}

static void test_damaged_response_does_not_break_the_handshake(void **state)
{
	struct noise_handshake before;

	(void)state;
	initiate(a, a_peer);
	give(a, 0, b);
	before = a_peer->secrets->handshake;
	for (unsigned int at = 12; at < 60; at += 5) {
		b->sent[0].data[at] ^= 1;
		/* With a mac1 that is right: it is no secret. */
		cookie_add_mac_to_packet(&b_peer->secrets->cookie, b->sent[0].data, 92, b->now_ns);
		give_from(b, 0, a, 99);
		b->sent[0].data[at] ^= 1;
	}
	assert_int_equal(agent_drops(a, DROP_HANDSHAKE_INVALID), 10);
	assert_memory_equal(&before, &a_peer->secrets->handshake, sizeof(before));
	assert_int_equal(ntohs(a_peer->endpoint.addr4.sin_port), 10002);
	cookie_add_mac_to_packet(&b_peer->secrets->cookie, b->sent[0].data, 92, b->now_ns);
	give(b, 0, a);
	assert_non_null(a_peer->keypairs.current);
	give(b, 0, a); /* again: its index is a keypair's now */
	assert_int_equal(agent_drops(a, DROP_INDEX_UNKNOWN), 1);
}

static void test_crossing_initiations_end_in_one_session(void **state)
{
	(void)state;
	agent_endpoint(&b_peer->endpoint, 1);
	initiate(a, a_peer);
	initiate(b, b_peer);
	give(a, 0, b);
	give(b, 0, a);
	assert_int_equal(a->n_sent, 2);
	assert_int_equal(b->n_sent, 2);
	give(a, 1, b); /* both responses come too late: each has accepted the other's initiation */
	give(b, 1, a);
	assert_int_equal(agent_drops(a, DROP_INDEX_UNKNOWN), 1);
	assert_int_equal(agent_drops(b, DROP_INDEX_UNKNOWN), 1);
	assert_non_null(a_peer->keypairs.next);
	assert_non_null(b_peer->keypairs.next);
}

/* ------ Load ------ */

static void receive_under_load(struct agent *agent, const uint8_t *data, uint32_t len, unsigned int n_waiting)
{
	struct handshake_message message = { .len = len };

	memcpy(message.data, data, len);
	agent_endpoint(&message.from, 7);
	handshake_receive(&agent->worker, &agent->handshake_state, &message, n_waiting, agent->now_ns);
	send_finish(&agent->worker);
}

static void test_cookies_under_load(void **state)
{
	struct endpoint before;

	(void)state;
	initiate(a, a_peer);
	receive_under_load(b, a->sent[0].data, 148, UNDER_LOAD_MESSAGES);
	assert_int_equal(agent_drops(b, DROP_MAC2), 1);
	assert_int_equal(b->n_sent, 1);
	assert_int_equal(b->sent[0].len, sizeof(struct message_handshake_cookie));
	assert_int_equal(b->sent[0].ds, 0);
	assert_int_equal(b_peer->tx_bytes, 0);
	assert_int_equal(b_peer->endpoint.family, AF_UNSPEC);
	assert_int_equal(b->worker.cookie_replies, 1);

	/* A cookie reply is no authenticated packet: nothing roams, nothing is sent at once. */
	before = a_peer->endpoint;
	give_from(b, 0, a, 50);
	assert_true(endpoint_equal(&a_peer->endpoint, &before));
	assert_int_equal(a_peer->rx_bytes, 0);
	assert_int_equal(a->n_sent, 1);
	give_from(b, 0, a, 50); /* one for each message sent */
	assert_int_equal(agent_drops(a, DROP_COOKIE_INVALID), 1);

	/* The retry carries mac2, and is let through, also though the queue is short again: that lasts a second. */
	pass(a, 6 * AGENT_SECOND);
	pass(b, AGENT_SECOND - 1);
	initiate(a, a_peer);
	receive_under_load(b, a->sent[1].data, 148, 1);
	assert_int_equal(b->n_sent, 2);
	assert_int_equal(b->sent[1].data[0], MESSAGE_HANDSHAKE_RESPONSE);

	/* Then no mac2 is asked for. */
	pass(a, 6 * AGENT_SECOND);
	pass(b, AGENT_SECOND);
	initiate(a, a_peer);
	memset(a->sent[2].data + 132, 0, 16);
	receive_under_load(b, a->sent[2].data, 148, UNDER_LOAD_MESSAGES - 1);
	assert_int_equal(b->n_sent, 3);
	assert_int_equal(b->sent[2].data[0], MESSAGE_HANDSHAKE_RESPONSE);
}

static void test_source_is_limited_under_load(void **state)
{
	unsigned int n_allowed;

	(void)state;
	initiate(a, a_peer);
	receive_under_load(b, a->sent[0].data, 148, UNDER_LOAD_MESSAGES);
	give(b, 0, a);
	for (n_allowed = 0; !agent_drops(b, DROP_RATE_LIMITED); n_allowed++) {
		assert_true(n_allowed < 10);
		pass(a, 6 * AGENT_SECOND);
		initiate(a, a_peer);
		receive_under_load(b, a->sent[1 + n_allowed].data, 148, UNDER_LOAD_MESSAGES);
	}
	assert_int_equal(n_allowed, RATELIMITER_BURST + 1); /* the last one was not */
}

static void test_down_or_without_key_nothing_is_answered(void **state)
{
	const uint8_t zero[32] = { 0 };

	(void)state;
	initiate(a, a_peer);
	device_down(&b->device, b->now_ns);
	give(a, 0, b);
	assert_int_equal(b->n_sent, 0);
	device_up(&b->device);
	agent_set_key(b, zero);
	give(a, 0, b);
	assert_int_equal(b->n_sent, 0);
	initiate(b, b_peer);
	assert_int_equal(b->n_sent, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_queue_is_bounded_and_wakes_once),
		cmocka_unit_test_setup_teardown(test_session, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_staged_confirms_by_keepalive, setup, teardown),
		cmocka_unit_test_setup_teardown(test_initiations_keep_their_distance, setup, teardown),
		cmocka_unit_test_setup_teardown(test_low_order_peer_is_not_tried_for_each_packet, setup, teardown),
		cmocka_unit_test_setup_teardown(test_postponed_initiation_is_not_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(test_replayed_and_flooded_initiations, setup, teardown),
		cmocka_unit_test_setup_teardown(test_strangers_get_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged_response_does_not_break_the_handshake, setup, teardown),
		cmocka_unit_test_setup_teardown(test_crossing_initiations_end_in_one_session, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cookies_under_load, setup, teardown),
		cmocka_unit_test_setup_teardown(test_source_is_limited_under_load, setup, teardown),
		cmocka_unit_test_setup_teardown(test_down_or_without_key_nothing_is_answered, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
