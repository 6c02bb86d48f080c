// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../user/peer.c"

#include "agent_fixture.h"

static struct agent *agent;
static struct peer *peer;

static int setup(void **state)
{
	uint8_t key[32];

	(void)state;
	agent = agent_create();
	agent_key(key, 1);
	peer = agent_add_peer(agent, key, 1, true);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	agent_free(agent);
	return 0;
}

static unsigned int stage(struct peer *to, uint32_t len, uint8_t ds)
{
	struct staged_packet *packet = staged_packet_create(len, ds);
	unsigned int dropped;

	peer_lock(to);
	dropped = peer_stage(to, packet);
	peer_unlock(to);
	return dropped;
}

static void test_staged_first_in_first_out(void **state)
{
	struct staged_queue queue;
	uint8_t expected = 0;

	(void)state;
	for (uint8_t i = 0; i < MAX_STAGED_PACKETS; i++)
		assert_int_equal(stage(peer, 10, i), 0);
	for (uint8_t i = 0; i < 5; i++)
		assert_int_equal(stage(peer, 10, (uint8_t)(MAX_STAGED_PACKETS + i)), 1);
	assert_int_equal(peer->staged.n_packets, MAX_STAGED_PACKETS);
	assert_int_equal(agent->device.staged_bytes, 10 * MAX_STAGED_PACKETS);
	queue = peer_take_staged(peer);
	assert_null(peer->staged.first);
	assert_int_equal(agent->device.staged_bytes, 0);
	expected = 5;
	for (struct staged_packet *packet = queue.first; packet; packet = packet->next)
		assert_int_equal(packet->ds, expected++);
	assert_int_equal(expected, 5 + MAX_STAGED_PACKETS);
	assert_int_equal(staged_packets_free(queue.first), MAX_STAGED_PACKETS);
	assert_int_equal(staged_packets_free(NULL), 0);
}

/* All peers together have a limit: the last ones get nothing, unless they replace packets of their own. */
static void test_staged_bytes_are_limited(void **state)
{
	const uint32_t len = 65536;
	const unsigned int n_fit = STAGED_BYTES_MAX / len, n_peers = n_fit / MAX_STAGED_PACKETS;
	struct peer *other;
	uint8_t key[32];

	(void)state;
	for (unsigned int i = 0; i < n_peers; i++) {
		agent_key(key, 100 + i);
		other = agent_add_peer(agent, key, 100 + i, true);
		for (unsigned int k = 0; k < MAX_STAGED_PACKETS; k++)
			assert_int_equal(stage(other, len, 0), 0);
	}
	assert_int_equal(agent->device.staged_bytes, STAGED_BYTES_MAX);
	assert_int_equal(stage(peer, 1, 0), 1);
	assert_null(peer->staged.first);
	assert_int_equal(stage(peer, 0, 0), 0); /* a keepalive */
	assert_int_equal(peer->staged.n_packets, 1);
	assert_int_equal(stage(other, len, 0), 1);
	assert_int_equal(other->staged.n_packets, MAX_STAGED_PACKETS);
	assert_int_equal(stage(other, len, 0), 1);
	assert_int_equal(agent->device.staged_bytes, STAGED_BYTES_MAX);
	staged_packets_free(peer_take_staged(other).first);
	assert_int_equal(stage(peer, len, 0), 0);
}

static void test_endpoint_is_news(void **state)
{
	struct endpoint endpoint = peer->endpoint;

	(void)state;
	agent->device.has_news = false;
	agent->n_control_wakes = 0;
	peer_set_endpoint(peer, &endpoint);
	assert_false(agent->device.has_news);
	endpoint.src4.s_addr = 5;
	endpoint.src_if4 = 1;
	peer_set_endpoint(peer, &endpoint);
	assert_true(agent->device.has_news);
	assert_int_equal(agent->n_control_wakes, 1);
	assert_true(endpoint_equal(&peer->endpoint, &endpoint));
	endpoint.addr4.sin_port++;
	peer_set_endpoint(peer, &endpoint);
	assert_int_equal(agent->n_control_wakes, 1);
	assert_true(endpoint_equal(&peer->endpoint, &endpoint));
}

static void test_owner_gives_its_peer(void **state)
{
	(void)state;
	assert_ptr_equal(peer_of_owner(&peer->allowed_ips), peer);
	assert_null(peer_of_owner(NULL));
}

/* A new peer may shake hands at once, sends nothing while it does not run, and expects no timer. */
static void test_new_peer(void **state)
{
	struct peer *fresh = peer_create(&agent->device, peer->public_key, agent->now_ns);

	(void)state;
	assert_true(timers_may_initiate(&fresh->timers, agent->now_ns));
	assert_false(fresh->timers.is_running);
	assert_true(timers_next_deadline(&fresh->timers) == TIMERS_NEVER);
	assert_true(fresh->scheduled_ns == TIMERS_NEVER);
	assert_int_equal(fresh->endpoint.family, AF_UNSPEC);
	assert_memory_equal(fresh->secrets->handshake.remote_static, peer->public_key, 32);
	peer_free(fresh);
	peer_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_staged_first_in_first_out, setup, teardown),
		cmocka_unit_test_setup_teardown(test_staged_bytes_are_limited, setup, teardown),
		cmocka_unit_test_setup_teardown(test_endpoint_is_news, setup, teardown),
		cmocka_unit_test_setup_teardown(test_owner_gives_its_peer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_new_peer, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
