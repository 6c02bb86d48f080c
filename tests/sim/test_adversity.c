// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Whole devices in a bad world: losses, replays, forgeries, floods, roaming, and the mistakes others have made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <endian.h>

#include "messages.h"
#include "sim.h"

/* ------ The wire at its worst ------ */

static void test_bad_wire(void **state)
{
	static const struct sim_wire wires[] = {
		{ .loss = 50000, .delay_ns = 20000000, .jitter_ns = 80000000 },
		{ .loss = 200000, .duplication = 100000, .delay_ns = 20000000 },
		{ .duplication = 200000, .corruption = 100000, .delay_ns = 1000000, .jitter_ns = 3000000000 },
		{ .loss = 100000, .duplication = 50000, .corruption = 50000, .delay_ns = 50000000,
		  .jitter_ns = 500000000 },
	};

	(void)state;
	for (unsigned int i = 0; i < sizeof(wires) / sizeof(*wires); i++) {
		struct sim *sim = sim_create(200 + i, 3);
		double survive;

		sim->wire = wires[i];
		sim_connect(sim, 0, 1, NULL);
		sim_connect(sim, 1, 2, NULL);
		sim_connect(sim, 2, 0, NULL);
		for (int k = 0; k < 20000; k++) {
			sim_send(sim, 0, 1, 100);
			sim_send(sim, 1, 2, 100);
			sim_send(sim, 2, 0, 100);
			sim_run(sim, SIM_SECOND / 20);
		}
		sim_run(sim, 10 * SIM_SECOND);
		for (unsigned int n = 0; n < 3; n++) {
			struct sim_node *node = &sim->nodes[n];

			assert_int_equal(node->n_delivered_twice, 0);
			survive = (1 - wires[i].loss / 1e6) * (1 - wires[i].corruption / 1e6);
			assert_true((double)node->n_delivered > 20000 * survive * 0.97);
		}
		sim_free(sim);
	}
}

/* A wire that holds packets back by thousands loses none of them inside the window. */
static void test_deep_reordering(void **state)
{
	struct sim *sim = sim_create(210, 2);

	(void)state;
	sim_connect(sim, 0, 1, NULL);
	sim_send(sim, 0, 1, 64);
	sim_run(sim, SIM_SECOND);
	sim->wire.jitter_ns = 80 * SIM_SECOND / 10; /* at 1000 a second: 8000 deep */
	sim_stream(sim, 0, 1, 60 * SIM_SECOND, SIM_SECOND / 1000);
	sim_run(sim, 20 * SIM_SECOND);
	assert_int_equal(sim_drops(&sim->nodes[1], DROP_REPLAYED), 0);
	assert_int_equal(sim->nodes[1].n_delivered, 60001);
	sim_free(sim);
}

/* ------ Replays and forgeries ------ */

struct recording {
	struct { uint8_t data[1500]; uint32_t len; } items[64];
	unsigned int n;
	uint8_t type;
	unsigned int from;
};

static bool record(struct sim *sim, const struct sim_datagram *datagram, void *arg)
{
	struct recording *recording = arg;

	(void)sim;
	if (datagram->data[0] == recording->type && datagram->from == recording->from && recording->n < 64) {
		memcpy(recording->items[recording->n].data, datagram->data, datagram->len);
		recording->items[recording->n++].len = datagram->len;
	}
	return false;
}

static void test_replays_change_nothing(void **state)
{
	static const uint8_t types[] = { MESSAGE_HANDSHAKE_INITIATION, MESSAGE_HANDSHAKE_RESPONSE, MESSAGE_DATA };

	(void)state;
	for (unsigned int t = 0; t < 3; t++) {
		struct sim *sim = sim_create(300 + t, 3);
		struct recording recording = { .type = types[t], .from = types[t] == MESSAGE_HANDSHAKE_RESPONSE };
		unsigned int victim = !recording.from;
		uint64_t n_responses, rx_bytes;
		struct endpoint before;
		struct peer *peer;

		sim_connect(sim, 0, 1, NULL);
		sim->tap = record;
		sim->tap_arg = &recording;
		sim_stream(sim, 0, 1, 30 * SIM_SECOND, SIM_SECOND);
		sim_run(sim, SIM_SECOND);
		assert_true(recording.n > 0);
		peer = sim_peer(sim, victim, recording.from);
		before = peer->endpoint;
		rx_bytes = peer->rx_bytes;
		n_responses = sim->nodes[victim].n_sent[MESSAGE_HANDSHAKE_RESPONSE];
		/* From elsewhere, again and again. */
		for (unsigned int k = 0; k < 10; k++)
			for (unsigned int i = 0; i < recording.n; i++)
				sim_inject(sim, 2, victim, recording.items[i].data, recording.items[i].len);
		sim_run(sim, SIM_SECOND / 10);
		assert_true(endpoint_equal(&before, &peer->endpoint));
		assert_int_equal(peer->rx_bytes, rx_bytes);
		assert_int_equal(sim->nodes[victim].n_sent[MESSAGE_HANDSHAKE_RESPONSE], n_responses);
		assert_int_equal(sim->nodes[victim].n_delivered_twice, 0);
		sim_send(sim, 0, 1, 64);
		sim_send(sim, 1, 0, 64);
		sim_run(sim, SIM_SECOND);
		assert_int_equal(sim->nodes[1].n_delivered, 31);
		assert_int_equal(sim->nodes[0].n_delivered, 1);
		sim_free(sim);
	}
}

/* A damaged response must not end the pending handshake: the true one, right behind it, still counts. */
static bool forge_response(struct sim *sim, const struct sim_datagram *datagram, void *arg)
{
	uint8_t forged[1500];

	(void)arg;
	if (datagram->data[0] != MESSAGE_HANDSHAKE_RESPONSE)
		return false;
	memcpy(forged, datagram->data, datagram->len);
	forged[20] ^= 1; /* mac1 no longer fits */
	sim_inject(sim, 2, datagram->to, forged, datagram->len);
	forged[20] ^= 1;
	memset(forged + 60, 0, 32);
	sim_inject(sim, 2, datagram->to, forged, datagram->len);
	return false;
}

static void test_forged_response_does_not_block(void **state)
{
	struct sim *sim = sim_create(310, 3);

	(void)state;
	sim_connect(sim, 0, 1, NULL);
	sim->tap = forge_response;
	sim_send(sim, 0, 1, 64);
	sim_run(sim, SIM_SECOND);
	assert_int_equal(sim->nodes[1].n_delivered, 1);
	sim_free(sim);
}

static void test_junk_is_not_answered(void **state)
{
	struct sim *sim = sim_create(320, 2);
	uint8_t junk[2048];

	(void)state;
	sim_connect(sim, 0, 1, NULL);
	for (uint8_t type = 0; type <= 5; type++) {
		for (uint32_t len = 0; len <= 2048; len++) {
			for (uint32_t i = 0; i < len; i++)
				junk[i] = (uint8_t)sim_random(sim);
			memset(junk, 0, len < 4 ? len : 4);
			junk[0] = type;
			sim_inject(sim, 0, 1, junk, len);
		}
	}
	sim_run(sim, 10 * SIM_SECOND);
	for (int type = 0; type <= MESSAGE_DATA; type++)
		assert_int_equal(sim->nodes[1].n_sent[type], 0);
	assert_int_equal(sim_drops(&sim->nodes[1], DROP_TYPE_UNKNOWN), 2 * 2045);
	/* Three of the lengths are right: those messages fail later. */
	assert_int_equal(sim_drops(&sim->nodes[1], DROP_LENGTH), 6 * 4 + 3 * 2044 + 28);
	assert_int_equal(sim_drops(&sim->nodes[1], DROP_MAC1), 2);
	assert_int_equal(sim_drops(&sim->nodes[1], DROP_INDEX_UNKNOWN), 1 + 2048 - 31);
	sim_free(sim);
}

/* ------ Load ------ */

/*
 * Someone replays an initiation by the thousand. Until it stops, a newcomer has to show that it receives at its address,
 * and then gets in; for the flood not one response is made, and each answer is smaller than its question.
 */
static void test_under_load(void **state)
{
	struct sim *sim = sim_create(330, 3);
	struct recording recording = { .type = MESSAGE_HANDSHAKE_INITIATION, .from = 2 };
	struct recording cookies = { .type = MESSAGE_HANDSHAKE_COOKIE, .from = 1 };
	struct sim_node *newcomer = &sim->nodes[0], *victim = &sim->nodes[1];
	struct endpoint before;

	(void)state;
	sim_connect(sim, 0, 1, NULL);
	sim_connect(sim, 2, 1, NULL);
	sim->tap = record;
	sim->tap_arg = &recording;
	sim_send(sim, 2, 1, 64);
	sim_run(sim, SIM_SECOND);
	assert_int_equal(victim->n_sent[MESSAGE_HANDSHAKE_RESPONSE], 1);
	sim->tap_arg = &cookies;
	for (int tenths = 0; tenths < 80; tenths++) {
		for (int i = 0; i < 600; i++)
			sim_inject(sim, 2, 1, recording.items[0].data, recording.items[0].len);
		if (tenths == 1)
			sim_send(sim, 0, 1, 64);
		sim_run(sim, SIM_SECOND / 10);
	}
	assert_int_equal(victim->n_delivered, 2);
	assert_int_equal(newcomer->n_cookies_received, 1);
	assert_int_equal(newcomer->n_sent[MESSAGE_HANDSHAKE_INITIATION], 2);
	assert_int_equal(victim->n_sent[MESSAGE_HANDSHAKE_RESPONSE], 2);
	assert_int_equal(sim_drops(victim, DROP_HANDSHAKE_REPLAYED) + sim_drops(victim, DROP_MAC2), 80 * 600 + 1);
	assert_true(sim_drops(victim, DROP_MAC2) > 79 * 600);
	assert_int_equal(victim->n_sent[MESSAGE_HANDSHAKE_COOKIE], sim_drops(victim, DROP_MAC2));

	/* A cookie reply proves nothing about where its sender is. */
	before = sim_peer(sim, 0, 1)->endpoint;
	assert_true(cookies.n > 0);
	for (unsigned int i = 0; i < cookies.n; i++)
		sim_inject(sim, 2, 0, cookies.items[i].data, cookies.items[i].len);
	sim_run(sim, SIM_SECOND);
	assert_true(endpoint_equal(&before, &sim_peer(sim, 0, 1)->endpoint));
	/* Over: no cookie is asked for any more. */
	sim_run(sim, 10 * SIM_SECOND);
	sim_set_up(newcomer, false);
	sim_set_up(newcomer, true);
	sim_send(sim, 0, 1, 64);
	sim_run(sim, SIM_SECOND);
	assert_int_equal(victim->n_delivered, 3);
	sim_free(sim);
}

/* A full queue drops, says so, and recovers. */
static void test_handshake_queue_is_bounded(void **state)
{
	struct sim *sim = sim_create(340, 2);
	struct message_handshake_initiation msg = { .type = htole32(MESSAGE_HANDSHAKE_INITIATION) };

	(void)state;
	sim_connect(sim, 0, 1, NULL);
	for (int i = 0; i < 5000; i++)
		sim_inject(sim, 0, 1, &msg, sizeof(msg));
	sim_run(sim, SIM_SECOND);
	assert_int_equal(sim_drops(&sim->nodes[1], DROP_HANDSHAKE_QUEUE), 5000 - MAX_QUEUED_INCOMING_HANDSHAKES);
	assert_int_equal(sim_drops(&sim->nodes[1], DROP_MAC1), MAX_QUEUED_INCOMING_HANDSHAKES);
	sim_run(sim, 2 * SIM_SECOND);
	sim_send(sim, 0, 1, 64);
	sim_run(sim, SIM_SECOND);
	assert_int_equal(sim->nodes[1].n_delivered, 1);
	sim_free(sim);
}

/* ------ Roaming ------ */

static uint16_t endpoint_port(const struct peer *peer)
{
	return ntohs(peer->endpoint.addr4.sin_port);
}

static void test_roams_on_data_and_handshakes(void **state)
{
	struct sim *sim = sim_create(400, 2);

	(void)state;
	sim_connect(sim, 0, 1, NULL);
	sim_send(sim, 0, 1, 64);
	sim_run(sim, SIM_SECOND);
	sim->nodes[0].port = 60001;
	sim_send(sim, 1, 0, 64); /* to where it no longer is */
	sim_run(sim, SIM_SECOND);
	assert_int_equal(sim->nodes[0].n_delivered, 0);
	sim_send(sim, 0, 1, 64);
	sim_run(sim, SIM_SECOND);
	assert_int_equal(endpoint_port(sim_peer(sim, 1, 0)), 60001);
	sim_send(sim, 1, 0, 64);
	sim_run(sim, SIM_SECOND);
	assert_int_equal(sim->nodes[0].n_delivered, 1);
	/* A keepalive is enough, and so is an initiation. */
	sim->nodes[0].port = 60002;
	sim_run(sim, 12 * SIM_SECOND);
	assert_int_equal(endpoint_port(sim_peer(sim, 1, 0)), 60002);
	sim->nodes[0].port = 60003;
	sim_set_up(&sim->nodes[0], false);
	sim_set_up(&sim->nodes[0], true);
	sim_set_keepalive(sim, 0, 1, 10);
	sim_run(sim, SIM_SECOND);
	assert_int_equal(endpoint_port(sim_peer(sim, 1, 0)), 60003);
	sim_free(sim);
}

/* ------ Cryptokey routing ------ */

/* An inner source that another peer owns is refused, although its packet may move the endpoint of who sent it. */
static void test_source_must_be_the_peers_own(void **state)
{
	struct sim *sim = sim_create(800, 3);
	struct device_config config;
	struct config_peer *peer;
	uint8_t any[16] = { 0 };

	(void)state;
	sim_connect(sim, 0, 1, NULL);
	/* Node 0 may use everything that nobody else has. */
	device_config_init(&config);
	peer = device_config_add_peer(&config, sim->nodes[0].public_key);
	config_peer_add_allowed_ip(peer, AF_INET, any, 0, false);
	sim_apply(&sim->nodes[1], &config);
	device_config_deinit(&config);
	sim_send(sim, 0, 1, 64);
	sim_run(sim, SIM_SECOND);
	assert_int_equal(sim->nodes[1].n_delivered, 1);

	/* Now 10.0.0.0/32 is node 2's; node 0 goes on sending from there. */
	device_config_init(&config);
	peer = device_config_add_peer(&config, sim->nodes[2].public_key);
	config_peer_add_allowed_ip(peer, AF_INET, (const uint8_t[]){ 10, 0, 0, 0 }, 32, false);
	sim_apply(&sim->nodes[1], &config);
	device_config_deinit(&config);
	sim->nodes[0].port = 61000;
	sim_send(sim, 0, 1, 64);
	sim_run(sim, SIM_SECOND);
	assert_int_equal(sim->nodes[1].n_delivered, 1);
	assert_int_equal(sim_drops(&sim->nodes[1], DROP_SOURCE_NOT_ALLOWED), 1);
	assert_int_equal(endpoint_port(sim_peer(sim, 1, 0)), 61000);
	sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad_wire),
		cmocka_unit_test(test_deep_reordering),
		cmocka_unit_test(test_replays_change_nothing),
		cmocka_unit_test(test_forged_response_does_not_block),
		cmocka_unit_test(test_junk_is_not_answered),
		cmocka_unit_test(test_under_load),
		cmocka_unit_test(test_handshake_queue_is_bounded),
		cmocka_unit_test(test_roams_on_data_and_handshakes),
		cmocka_unit_test(test_source_must_be_the_peers_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
