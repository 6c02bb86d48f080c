// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Hours of protocol between whole devices: sessions, timers, keys, clocks and counters. */
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

/* ------ One session ------ */

static void test_first_packet_starts_a_handshake(void **state)
{
	struct sim *sim = sim_create(1, 2);
	struct sim_node *a = &sim->nodes[0], *b = &sim->nodes[1];

	(void)state;
	sim_connect(sim, 0, 1, NULL);
	assert_int_equal(a->n_sent[MESSAGE_HANDSHAKE_INITIATION], 0);
	sim_send(sim, 0, 1, 84);
	sim_run(sim, SIM_SECOND);
	assert_int_equal(b->n_delivered, 1);
	assert_int_equal(a->n_sent[MESSAGE_HANDSHAKE_INITIATION], 1);
	assert_int_equal(b->n_sent[MESSAGE_HANDSHAKE_RESPONSE], 1);
	/* Counted as the kernel counts: outer UDP payload. */
	assert_int_equal(sim_peer(sim, 0, 1)->tx_bytes, 148 + 128);
	assert_int_equal(sim_peer(sim, 0, 1)->rx_bytes, 92);
	assert_int_equal(sim_peer(sim, 1, 0)->rx_bytes, 148 + 128);
	assert_int_equal(sim_peer(sim, 1, 0)->tx_bytes, 92);
	/* Both know when; the responder since the first data. */
	assert_true(sim_peer(sim, 0, 1)->timers.last_handshake_realtime_ns > 0);
	assert_true(sim_peer(sim, 1, 0)->timers.last_handshake_realtime_ns > 0);
	/* The other way round without a further handshake. */
	sim_send(sim, 1, 0, 84);
	sim_run(sim, SIM_SECOND);
	assert_int_equal(a->n_delivered, 1);
	assert_int_equal(b->n_sent[MESSAGE_HANDSHAKE_INITIATION], 0);
	sim_free(sim);
}

static void test_staged_packets(void **state)
{
	struct sim *sim = sim_create(2, 2);

	(void)state;
	sim_connect(sim, 0, 1, NULL);
	for (int i = 0; i < 300; i++)
		sim_send(sim, 0, 1, 64);
	assert_int_equal(sim_drops(&sim->nodes[0], DROP_STAGED_FULL), 300 - MAX_STAGED_PACKETS);
	sim_run(sim, SIM_SECOND);
	assert_int_equal(sim->nodes[1].n_delivered, MAX_STAGED_PACKETS);
	sim_free(sim);
}

static void test_padding_on_the_wire(void **state)
{
	struct sim *sim = sim_create(3, 2);

	(void)state;
	sim_connect(sim, 0, 1, NULL);
	sim_send(sim, 0, 1, 28);
	sim_run(sim, SIM_SECOND);
	for (uint32_t len = 28; len <= 1420; len++) {
		uint64_t before = sim_peer(sim, 0, 1)->tx_bytes;
		uint32_t padded = (len + 15) / 16 * 16 > 1420 ? 1420 : (len + 15) / 16 * 16;

		sim_send(sim, 0, 1, len);
		assert_int_equal(sim_peer(sim, 0, 1)->tx_bytes - before, padded + MESSAGE_DATA_OVERHEAD);
	}
	sim_run(sim, SIM_SECOND);
	assert_int_equal(sim->nodes[1].n_delivered, 1 + 1393);
	sim_free(sim);
}

/* ------ Timers ------ */

static void test_rekey_every_two_minutes(void **state)
{
	struct sim *sim = sim_create(4, 2);
	uint64_t n_initiations;

	(void)state;
	sim_connect(sim, 0, 1, NULL);
	sim_stream(sim, 0, 1, 3600 * SIM_SECOND, SIM_SECOND / 10);
	n_initiations = sim->nodes[0].n_sent[MESSAGE_HANDSHAKE_INITIATION];
	assert_in_range(n_initiations, 29, 31);
	assert_int_equal(sim->nodes[1].n_sent[MESSAGE_HANDSHAKE_INITIATION], 0);
	sim_run(sim, SIM_SECOND);
	assert_int_equal(sim->nodes[1].n_delivered, 36000);
	assert_int_equal(sim->nodes[1].n_delivered_twice, 0);
	sim_free(sim);
}

/* Only the receiver ever has data coming: as initiator it must rekey before REJECT_AFTER_TIME (165 s), by itself. */
static void test_one_way_to_the_initiator(void **state)
{
	struct sim *sim = sim_create(5, 2);

	(void)state;
	sim_connect(sim, 0, 1, NULL);
	sim_send(sim, 0, 1, 64);
	sim_run(sim, SIM_SECOND);
	sim_stream(sim, 1, 0, 4 * 3600 * SIM_SECOND, SIM_SECOND / 5);
	sim_run(sim, SIM_SECOND);
	assert_int_equal(sim->nodes[0].n_delivered, 4 * 3600 * 5);
	sim_free(sim);
}

static void test_one_way_from_the_initiator(void **state)
{
	struct sim *sim = sim_create(6, 2);

	(void)state;
	sim_connect(sim, 0, 1, NULL);
	sim_stream(sim, 0, 1, 4 * 3600 * SIM_SECOND, SIM_SECOND / 5);
	sim_run(sim, SIM_SECOND);
	assert_int_equal(sim->nodes[1].n_delivered, 4 * 3600 * 5);
	/* One passive keepalive for each ten seconds of data, not one for each packet. */
	assert_in_range(sim->nodes[1].n_sent[0], 4 * 360 - 130, 4 * 360 + 10);
	sim_free(sim);
}

/* A session nobody renews is not used after REJECT_AFTER_TIME, neither way, and forgotten after three times that. */
static void test_reject_and_zero(void **state)
{
	struct sim *sim = sim_create(7, 2);
	struct keypair *keypair;

	(void)state;
	sim_connect(sim, 0, 1, NULL);
	sim_send(sim, 0, 1, 64);
	sim_run(sim, SIM_SECOND);
	keypair = sim_peer(sim, 1, 0)->keypairs.current;
	assert_non_null(keypair);
	sim_run_until(sim, keypair->birthdate_ns + 180 * SIM_SECOND - 1);
	assert_true(keypair_can_receive(keypair, sim->now_ns));
	assert_false(keypair_can_receive(keypair, sim->now_ns + 1));
	sim->nodes[0].is_cut_off = true;
	sim_run(sim, 1);
	sim_send(sim, 1, 0, 64); /* the responder may not use it any more: it initiates */
	assert_int_equal(sim->nodes[1].n_sent[MESSAGE_DATA], 0);
	sim_run(sim, SIM_SECOND);
	assert_int_equal(sim->nodes[1].n_sent[MESSAGE_HANDSHAKE_INITIATION], 1);
	sim_run(sim, 700 * SIM_SECOND); /* it answers for some 100 s, each time deriving a session anew */
	assert_null(sim_peer(sim, 1, 0)->keypairs.current);
	assert_null(sim_peer(sim, 0, 1)->keypairs.current);
	sim_free(sim);
}

static void test_gives_up_after_twenty_initiations(void **state)
{
	struct sim *sim = sim_create(8, 2);
	struct sim_node *a = &sim->nodes[0];
	uint64_t first_ns;

	(void)state;
	sim_connect(sim, 0, 1, NULL);
	a->is_cut_off = true;
	first_ns = sim->now_ns;
	sim_send(sim, 0, 1, 64);
	sim_run(sim, 300 * SIM_SECOND);
	assert_int_equal(a->n_sent[MESSAGE_HANDSHAKE_INITIATION], 20);
	assert_in_range(a->last_sent_ns[MESSAGE_HANDSHAKE_INITIATION] - first_ns, 95 * SIM_SECOND, 102 * SIM_SECOND);
	assert_int_equal(sim_drops(a, DROP_STAGED_PURGED), 1);
	/* A later packet starts over. */
	a->is_cut_off = false;
	sim_send(sim, 0, 1, 64);
	sim_run(sim, SIM_SECOND);
	assert_int_equal(sim->nodes[1].n_delivered, 1);
	sim_free(sim);
}

struct indices {
	uint32_t seen[20];
	unsigned int n;
};

static bool note_index(struct sim *sim, const struct sim_datagram *datagram, void *arg)
{
	const struct message_handshake_initiation *msg = (const void *)datagram->data;
	struct indices *indices = arg;

	(void)sim;
	if (datagram->data[0] == MESSAGE_HANDSHAKE_INITIATION && indices->n < 20)
		indices->seen[indices->n++] = le32toh(msg->sender_index);
	return false;
}

/* Each initiation has a new index, and indices do not tell how many there have been. */
static void test_indices_are_random(void **state)
{
	struct sim *sim = sim_create(13, 2);
	struct indices indices = { 0 };
	uint32_t ones = 0, all = ~0U;

	(void)state;
	sim->tap = note_index;
	sim->tap_arg = &indices;
	sim_connect(sim, 0, 1, NULL);
	sim->nodes[0].is_cut_off = true;
	sim_send(sim, 0, 1, 64);
	sim_run(sim, 120 * SIM_SECOND);
	assert_int_equal(indices.n, 20);
	for (unsigned int i = 0; i < 20; i++) {
		ones |= indices.seen[i];
		all &= indices.seen[i];
		for (unsigned int k = 0; k < i; k++)
			assert_true(indices.seen[i] - indices.seen[k] > 255 && indices.seen[k] - indices.seen[i] > 255);
	}
	/* Every bit takes both values; by chance one would not in 1 of 16,000 seeds. */
	assert_int_equal(ones, ~0U);
	assert_int_equal(all, 0);
	sim_free(sim);
}

static void test_retries_have_jitter(void **state)
{
	struct sim *sim = sim_create(9, 2);
	struct sim_node *a = &sim->nodes[0];
	uint64_t last_ns, gaps[10];
	bool differ = false;

	(void)state;
	sim_connect(sim, 0, 1, NULL);
	a->is_cut_off = true;
	sim_send(sim, 0, 1, 64);
	sim_run(sim, 1);
	last_ns = a->last_sent_ns[MESSAGE_HANDSHAKE_INITIATION];
	for (int i = 0; i < 10; i++) {
		uint64_t n = a->n_sent[MESSAGE_HANDSHAKE_INITIATION];

		while (a->n_sent[MESSAGE_HANDSHAKE_INITIATION] == n)
			sim_run(sim, SIM_SECOND / 100);
		gaps[i] = a->last_sent_ns[MESSAGE_HANDSHAKE_INITIATION] - last_ns;
		last_ns = a->last_sent_ns[MESSAGE_HANDSHAKE_INITIATION];
		assert_in_range(gaps[i], 5 * SIM_SECOND, 5 * SIM_SECOND + SIM_SECOND / 3);
		differ |= gaps[i] / 1000 != gaps[0] / 1000;
	}
	assert_true(differ);
	sim_free(sim);
}

/* Data is answered by a keepalive after ten seconds of silence; a keepalive never is. */
static void test_passive_keepalive(void **state)
{
	struct sim *sim = sim_create(10, 2);
	uint64_t sent_ns;

	(void)state;
	sim_connect(sim, 0, 1, NULL);
	sim_send(sim, 0, 1, 64);
	sim_run(sim, 60 * SIM_SECOND);
	assert_int_equal(sim->nodes[1].n_sent[0], 1);
	assert_int_equal(sim->nodes[0].n_sent[0], 0);
	sim_run(sim, 10 * SIM_SECOND); /* idle meanwhile: the next answer is not sooner for it */
	sent_ns = sim->now_ns;
	sim_send(sim, 0, 1, 64);
	sim_run(sim, 60 * SIM_SECOND);
	assert_int_equal(sim->nodes[1].n_sent[0], 2);
	assert_in_range(sim->nodes[1].last_sent_ns[0] - sent_ns, 10 * SIM_SECOND, 10 * SIM_SECOND + SIM_SECOND / 10);
	assert_int_equal(sim->nodes[0].n_sent[0], 0);
	sim_free(sim);
}

/* Sent data that nobody answers within 15 s starts a new handshake. */
static void test_new_handshake_without_answer(void **state)
{
	struct sim *sim = sim_create(11, 2);
	struct sim_node *a = &sim->nodes[0];
	uint64_t sent_ns;

	(void)state;
	sim_connect(sim, 0, 1, NULL);
	sim_send(sim, 0, 1, 64);
	sim_run(sim, 20 * SIM_SECOND);
	assert_int_equal(a->n_sent[MESSAGE_HANDSHAKE_INITIATION], 1);
	sim->nodes[1].is_cut_off = true;
	sent_ns = sim->now_ns;
	sim_send(sim, 0, 1, 64);
	sim_run(sim, 16 * SIM_SECOND);
	assert_int_equal(a->n_sent[MESSAGE_HANDSHAKE_INITIATION], 2);
	assert_in_range(a->last_sent_ns[MESSAGE_HANDSHAKE_INITIATION] - sent_ns, 15 * SIM_SECOND,
			15 * SIM_SECOND + SIM_SECOND / 3);
	sim_free(sim);
}

static void test_persistent_keepalive(void **state)
{
	struct sim *sim = sim_create(12, 2);
	struct sim_node *a = &sim->nodes[0];
	uint64_t n_keepalives;

	(void)state;
	sim_connect(sim, 0, 1, NULL);
	sim_set_keepalive(sim, 0, 1, 25); /* at once, without any data */
	sim_run(sim, SIM_SECOND);
	assert_int_equal(a->n_sent[MESSAGE_HANDSHAKE_INITIATION], 1);
	assert_int_equal(a->n_sent[0], 1);
	sim_run(sim, 1000 * SIM_SECOND);
	/* 40 by the timer, and one for each session's confirmation. */
	assert_in_range(a->n_sent[0], 40, 50);
	/* While there is traffic, none. */
	n_keepalives = a->n_sent[0];
	sim_stream(sim, 0, 1, 100 * SIM_SECOND, SIM_SECOND);
	assert_in_range(a->n_sent[0] - n_keepalives, 0, 1);
	sim_set_keepalive(sim, 0, 1, 0);
	sim_run(sim, 20 * SIM_SECOND);
	n_keepalives = a->n_sent[0];
	sim_run(sim, 1000 * SIM_SECOND);
	assert_int_equal(a->n_sent[0], n_keepalives);
	sim_free(sim);
}

/* ------ Both at once ------ */

static void test_simultaneous_initiations(void **state)
{
	unsigned int n_slow = 0;
	uint64_t slowest_ns = 0, start_ns;

	(void)state;
	for (uint64_t i = 0; i < 10000; i++) {
		struct sim *sim = sim_create(100 + i, 2);

		sim_connect(sim, 0, 1, NULL);
		sim_connect(sim, 1, 0, NULL);
		sim->wire.jitter_ns = sim->wire.delay_ns;
		sim_send(sim, 0, 1, 64);
		/* From exactly together to after the other's initiation has arrived. */
		sim_run(sim, sim_random(sim) % 22 * SIM_SECOND / 1000);
		sim_send(sim, 1, 0, 64);
		start_ns = sim->now_ns;
		while (sim->now_ns < start_ns + 60 * SIM_SECOND &&
		       (!sim->nodes[0].n_delivered || !sim->nodes[1].n_delivered))
			sim_run(sim, SIM_SECOND / 10);
		assert_int_equal(sim->nodes[0].n_delivered, 1);
		assert_int_equal(sim->nodes[1].n_delivered, 1);
		n_slow += sim->now_ns - start_ns > SIM_SECOND;
		slowest_ns = sim->now_ns - start_ns > slowest_ns ? sim->now_ns - start_ns : slowest_ns;
		/* What they agreed on works both ways. */
		sim_send(sim, 0, 1, 64);
		sim_send(sim, 1, 0, 64);
		sim_run(sim, SIM_SECOND);
		assert_int_equal(sim->nodes[0].n_delivered, 2);
		assert_int_equal(sim->nodes[1].n_delivered, 2);
		sim_free(sim);
	}
	print_message("10000 simultaneous initiations: %u needed a retry, the slowest %u s\n", n_slow,
		      (unsigned int)(slowest_ns / SIM_SECOND));
}

/* ------ Keys change ------ */

static void test_private_key_change(void **state)
{
	struct sim *sim = sim_create(500, 2);
	uint8_t key[32];
	uint8_t old_public_key[32];
	struct device_config config;

	(void)state;
	sim_connect(sim, 0, 1, NULL);
	sim_send(sim, 0, 1, 64);
	sim_run(sim, SIM_SECOND);
	memcpy(old_public_key, sim->nodes[0].public_key, 32);
	for (int i = 0; i < 32; i++)
		key[i] = (uint8_t)sim_random(sim);
	sim_set_private_key(&sim->nodes[0], key);
	device_config_init(&config);
	device_config_add_peer(&config, old_public_key)->flags = CONFIG_PEER_REMOVE;
	sim_apply(&sim->nodes[1], &config);
	device_config_deinit(&config);
	sim_connect(sim, 0, 1, NULL);
	/* At once, without waiting for REKEY_TIMEOUT. */
	sim_send(sim, 0, 1, 64);
	sim_run(sim, SIM_SECOND);
	assert_int_equal(sim->nodes[1].n_delivered, 2);
	/* The same key again changes nothing. */
	sim_set_private_key(&sim->nodes[0], key);
	sim_send(sim, 0, 1, 64);
	sim_run(sim, SIM_SECOND);
	assert_int_equal(sim->nodes[1].n_delivered, 3);
	assert_int_equal(sim->nodes[0].n_sent[MESSAGE_HANDSHAKE_INITIATION], 2);
	sim_free(sim);
}

static void test_preshared_key_change(void **state)
{
	struct sim *sim = sim_create(510, 2);
	uint8_t psk[32] = { 7 }, other[32] = { 9 };

	(void)state;
	sim_connect(sim, 0, 1, psk);
	sim_send(sim, 0, 1, 64);
	sim_run(sim, SIM_SECOND);
	assert_int_equal(sim->nodes[1].n_delivered, 1);
	/* With one side only: the session lives on until it would be renewed. */
	sim_connect(sim, 0, 1, psk);
	memcpy(sim_peer(sim, 0, 1)->secrets->handshake.preshared_key, other, 32);
	sim_stream(sim, 0, 1, 100 * SIM_SECOND, SIM_SECOND);
	sim_run(sim, SIM_SECOND / 2);
	assert_int_equal(sim->nodes[1].n_delivered, 101);
	sim_stream(sim, 0, 1, 100 * SIM_SECOND, SIM_SECOND);
	assert_in_range(sim->nodes[1].n_delivered, 170, 182);
	/* With both, it comes back. */
	memcpy(sim_peer(sim, 1, 0)->secrets->handshake.preshared_key, other, 32);
	sim_stream(sim, 0, 1, 20 * SIM_SECOND, SIM_SECOND);
	sim_run(sim, 10 * SIM_SECOND);
	assert_true(sim->nodes[1].last_delivery_ns > sim->now_ns - 12 * SIM_SECOND);
	sim_free(sim);
}

/* ------ Clocks ------ */

/* Our clock set back must not lock us out: labels only grow. */
static void test_clock_set_back(void **state)
{
	struct sim *sim = sim_create(600, 2);

	(void)state;
	sim_connect(sim, 0, 1, NULL);
	sim_stream(sim, 0, 1, 60 * SIM_SECOND, SIM_SECOND);
	sim->nodes[0].clock_offset_ns = -3600LL * 1000000000;
	sim_stream(sim, 0, 1, 600 * SIM_SECOND, SIM_SECOND);
	sim_run(sim, SIM_SECOND);
	assert_int_equal(sim->nodes[1].n_delivered, 660);
	sim->nodes[0].clock_offset_ns = 10LL * 365 * 86400 * 1000000000;
	sim_stream(sim, 0, 1, 600 * SIM_SECOND, SIM_SECOND);
	sim_run(sim, SIM_SECOND);
	assert_int_equal(sim->nodes[1].n_delivered, 1260);
	sim_free(sim);
}

/*
 * A suspend of eight hours, of both: the next packet starts a handshake. Each side has an old timer that does too, so they
 * may cross, and the retry counts.
 */
static void test_suspend(void **state)
{
	struct sim *sim = sim_create(610, 2);

	(void)state;
	sim_connect(sim, 0, 1, NULL);
	sim_stream(sim, 0, 1, 60 * SIM_SECOND, SIM_SECOND);
	sim_run(sim, SIM_SECOND);
	sim->now_ns += 8 * 3600 * SIM_SECOND;
	sim_send(sim, 0, 1, 64);
	sim_run(sim, 6 * SIM_SECOND);
	assert_int_equal(sim->nodes[1].n_delivered, 61);
	sim_free(sim);
}

/* ------ Nonces ------ */

static void test_counter_limits(void **state)
{
	struct sim *sim = sim_create(700, 2);
	struct peer *peer;
	uint64_t n;

	(void)state;
	sim_connect(sim, 0, 1, NULL);
	sim_send(sim, 0, 1, 64);
	sim_run(sim, 6 * SIM_SECOND);
	peer = sim_peer(sim, 0, 1);
	/* No 32-bit limit. */
	peer->keypairs.current->sending_counter = UINT32_MAX - 1;
	for (int i = 0; i < 4; i++)
		sim_send(sim, 0, 1, 64);
	sim_run(sim, SIM_SECOND);
	assert_int_equal(sim->nodes[1].n_delivered, 5);
	assert_int_equal(peer->keypairs.current->sending_counter, (uint64_t)UINT32_MAX + 3);
	/* REKEY_AFTER_MESSAGES asks for a new session, and the old one goes on meanwhile. */
	n = sim->nodes[0].n_sent[MESSAGE_HANDSHAKE_INITIATION];
	peer->keypairs.current->sending_counter = REKEY_AFTER_MESSAGES + 1;
	sim_send(sim, 0, 1, 64);
	sim_run(sim, 6 * SIM_SECOND);
	assert_int_equal(sim->nodes[0].n_sent[MESSAGE_HANDSHAKE_INITIATION], n + 1);
	assert_int_equal(sim->nodes[1].n_delivered, 6);
	/* At REJECT_AFTER_MESSAGES it ends: the packet waits for the next. */
	peer->keypairs.current->sending_counter = REJECT_AFTER_MESSAGES - 1;
	sim_send(sim, 0, 1, 64);
	sim_send(sim, 0, 1, 64);
	assert_false(peer->keypairs.current->sending_is_valid);
	sim_run(sim, 6 * SIM_SECOND);
	assert_int_equal(sim->nodes[1].n_delivered, 8);
	assert_true(peer->keypairs.current->sending_counter < 10);
	sim_free(sim);
}

/* Every data message of a run: its (index, counter) must be new. */
struct nonces {
	struct { uint32_t index; uint64_t next; } seen[4096];
	unsigned int n;
};

static bool check_nonce(struct sim *sim, const struct sim_datagram *datagram, void *arg)
{
	const struct message_data *msg = (const void *)datagram->data;
	struct nonces *nonces = arg;
	unsigned int i;

	(void)sim;
	if (datagram->data[0] != MESSAGE_DATA)
		return false;
	for (i = 0; i < nonces->n && nonces->seen[i].index != msg->receiver_index; i++)
		;
	if (i == nonces->n) {
		assert_true(i < 4096);
		nonces->seen[nonces->n++].index = msg->receiver_index;
	}
	assert_true(le64toh(msg->counter) >= nonces->seen[i].next);
	nonces->seen[i].next = le64toh(msg->counter) + 1;
	return false;
}

static void test_no_nonce_twice(void **state)
{
	struct sim *sim = sim_create(710, 5);
	struct nonces *nonces = calloc(1, sizeof(*nonces));

	(void)state;
	sim->tap = check_nonce;
	sim->tap_arg = nonces;
	sim->wire = (struct sim_wire){ .loss = 100000, .duplication = 50000, .delay_ns = 10000000,
				       .jitter_ns = 200000000 };
	for (unsigned int a = 0; a < 5; a++)
		for (unsigned int b = a + 1; b < 5; b++)
			sim_connect(sim, a, b, NULL);
	for (int i = 0; i < 50000; i++) {
		unsigned int from = sim_random(sim) % 5, to = (from + 1 + sim_random(sim) % 4) % 5;

		sim_send(sim, from, to, 28 + sim_random(sim) % 1000);
		if (sim_random(sim) % 5000 == 0) {
			sim_set_up(&sim->nodes[to], false);
			sim_set_up(&sim->nodes[to], true);
		}
		sim_run(sim, SIM_SECOND / 20);
	}
	free(nonces);
	sim_free(sim);
}

static void test_down_is_silent(void **state)
{
	struct sim *sim = sim_create(900, 2);
	uint64_t sent;

	(void)state;
	sim_connect(sim, 0, 1, NULL);
	sim_set_keepalive(sim, 0, 1, 1);
	sim_run(sim, 10 * SIM_SECOND);
	sim_set_up(&sim->nodes[0], false);
	assert_null(sim_peer(sim, 0, 1)->keypairs.current);
	sent = sim_peer(sim, 0, 1)->tx_bytes;
	sim_run(sim, 600 * SIM_SECOND);
	assert_int_equal(sim_peer(sim, 0, 1)->tx_bytes, sent);
	sim_set_up(&sim->nodes[0], true);
	sim_run(sim, SIM_SECOND);
	assert_true(sim_peer(sim, 0, 1)->tx_bytes > sent);
	assert_non_null(sim_peer(sim, 0, 1)->keypairs.current);
	sim_free(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_packet_starts_a_handshake),
		cmocka_unit_test(test_staged_packets),
		cmocka_unit_test(test_padding_on_the_wire),
		cmocka_unit_test(test_rekey_every_two_minutes),
		cmocka_unit_test(test_one_way_to_the_initiator),
		cmocka_unit_test(test_one_way_from_the_initiator),
		cmocka_unit_test(test_reject_and_zero),
		cmocka_unit_test(test_gives_up_after_twenty_initiations),
		cmocka_unit_test(test_indices_are_random),
		cmocka_unit_test(test_retries_have_jitter),
		cmocka_unit_test(test_passive_keepalive),
		cmocka_unit_test(test_new_handshake_without_answer),
		cmocka_unit_test(test_persistent_keepalive),
		cmocka_unit_test(test_simultaneous_initiations),
		cmocka_unit_test(test_private_key_change),
		cmocka_unit_test(test_preshared_key_change),
		cmocka_unit_test(test_clock_set_back),
		cmocka_unit_test(test_suspend),
		cmocka_unit_test(test_counter_limits),
		cmocka_unit_test(test_no_nonce_twice),
		cmocka_unit_test(test_down_is_silent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
