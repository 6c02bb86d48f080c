// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../user/device.c"

#include <time.h>

#include "agent_fixture.h"

static struct agent *agent;

static int setup(void **state)
{
	(void)state;
	agent = agent_create();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	agent_free(agent);
	return 0;
}

static void up(void)
{
	device_lock(&agent->device);
	device_up(&agent->device);
	device_unlock(&agent->device);
}

static void down(void)
{
	device_lock(&agent->device);
	device_down(&agent->device, agent->now_ns);
	device_unlock(&agent->device);
}

static void set_key(uint8_t n)
{
	uint8_t key[32] = { 0, n };

	agent_set_key(agent, key);
}

static void public_of(uint8_t public_key[static 32], uint8_t n)
{
	uint8_t key[32] = { 0, n };

	x25519_clamp(key);
	assert_true(x25519_public(public_key, key));
}

static struct peer *lookup(unsigned int n)
{
	uint8_t key[32];

	agent_key(key, n);
	return device_lookup_peer(&agent->device, key);
}

static struct peer *add(unsigned int n, bool has_endpoint)
{
	uint8_t key[32];

	agent_key(key, n);
	return agent_add_peer(agent, key, n, has_endpoint);
}

static struct peer *route(unsigned int n)
{
	uint32_t address = htonl(0x0a000000 + n);

	return peer_of_owner(allowedips_lookup(agent->device.allowedips, AF_INET, &address));
}

/* One peer, with flags. */
static void apply_flags(unsigned int n, uint32_t flags)
{
	struct device_config config = { 0 };
	uint8_t key[32];

	agent_key(key, n);
	device_config_add_peer(&config, key)->flags = flags;
	assert_int_equal(agent_apply(agent, &config), 0);
	device_config_deinit(&config);
}

/* ------ Identity ------ */

static void test_own_key_is_no_peer(void **state)
{
	uint8_t public_key[32];

	(void)state;
	set_key(5);
	public_of(public_key, 5);
	agent_add_peer(agent, public_key, 1, true);
	assert_null(device_lookup_peer(&agent->device, public_key));
	assert_int_equal(agent->device.n_peers, 0);
	assert_null(route(1));

	/* After a change of key it is somebody else's. */
	set_key(6);
	assert_non_null(agent_add_peer(agent, public_key, 1, true));
	assert_non_null(route(1));
}

static void test_key_of_a_peer_removes_it(void **state)
{
	struct device_config config = { .flags = CONFIG_DEVICE_HAS_PRIVATE_KEY, .private_key = { 0, 7 } };
	uint8_t public_key[32];

	(void)state;
	public_of(public_key, 7);
	agent_add_peer(agent, public_key, 1, true);
	add(2, false);
	set_key(7);
	assert_null(device_lookup_peer(&agent->device, public_key));
	assert_int_equal(agent->device.n_peers, 1);
	assert_null(route(1));
	assert_non_null(route(2));

	/* And in one request with the peer itself, which comes later. */
	set_key(8);
	agent_add_peer(agent, public_key, 1, true);
	agent_config_peer(&config, public_key, 1, true);
	assert_int_equal(agent_apply(agent, &config), 0);
	assert_null(device_lookup_peer(&agent->device, public_key));
	device_config_deinit(&config);
}

static void test_new_key_ends_sending(void **state)
{
	struct peer *peer;
	struct keypair *keypair;

	(void)state;
	set_key(1);
	up();
	peer = add(1, true);
	keypair = agent_add_session(agent, peer, true, 9);
	peer->timers.last_sent_handshake_ns = agent->now_ns;
	peer->secrets->handshake.has_static_static = true;
	set_key(1); /* the same: nothing happens */
	assert_true(keypair->sending_is_valid);
	assert_true(peer->secrets->handshake.has_static_static);
	assert_false(timers_may_initiate(&peer->timers, agent->now_ns));
	set_key(2);
	assert_false(keypair->sending_is_valid);
	assert_true(keypair->receiving_is_valid);
	assert_ptr_equal(peer->keypairs.current, keypair);
	assert_true(timers_may_initiate(&peer->timers, agent->now_ns));
	assert_int_equal(peer->secrets->handshake.state, HANDSHAKE_ZEROED);
	assert_false(peer->secrets->handshake.has_static_static);
}

/* The first key, while up: what has waited is sent, and keepalives begin. */
static void test_first_key_starts(void **state)
{
	struct device_config config = { 0 };
	struct config_peer *config_peer;
	uint8_t key[32];

	(void)state;
	agent_key(key, 1);
	config_peer = agent_config_peer(&config, key, 1, true);
	config_peer->flags |= CONFIG_PEER_HAS_PERSISTENT_KEEPALIVE;
	config_peer->persistent_keepalive_interval_s = 25;
	assert_int_equal(agent_apply(agent, &config), 0);
	device_config_deinit(&config);
	up();
	agent->n_hook_calls = agent->n_hook_keepalives = 0;
	set_key(1);
	assert_int_equal(agent->n_hook_calls, 1);
	assert_int_equal(agent->n_hook_keepalives, 1);
	set_key(2);
	assert_int_equal(agent->n_hook_calls, 1);
	set_key(0);
	assert_false(agent->device.secrets->identity.has_identity);
	set_key(3);
	assert_int_equal(agent->n_hook_calls, 2);
}

/* ------ Peers ------ */

static void test_update_only_and_remove_of_strangers(void **state)
{
	(void)state;
	apply_flags(1, CONFIG_PEER_UPDATE_ONLY);
	assert_null(lookup(1));
	apply_flags(1, CONFIG_PEER_REMOVE);
	assert_null(lookup(1));
	apply_flags(1, 0);
	assert_non_null(lookup(1));
	apply_flags(1, CONFIG_PEER_UPDATE_ONLY | CONFIG_PEER_REMOVE);
	assert_null(lookup(1));
	assert_int_equal(agent->device.n_peers, 0);
	assert_null(agent->device.first_peer);
	assert_null(agent->device.last_peer);
}

static void test_remove_and_add_in_one_request(void **state)
{
	struct device_config config = { 0 };
	struct peer *old;
	uint8_t key[32];

	(void)state;
	agent_key(key, 1);
	old = add(1, true);
	atomic_store(&old->rx_bytes, 5);
	agent_config_peer(&config, key, 1, true); /* comes first: an update */
	device_config_add_peer(&config, key)->flags = CONFIG_PEER_REMOVE;
	agent_config_peer(&config, key, 3, true);
	agent_config_peer(&config, key, 4, true); /* the same one again */
	assert_int_equal(agent_apply(agent, &config), 0);
	assert_non_null(lookup(1));
	assert_ptr_not_equal(lookup(1), old);
	assert_int_equal(agent->device.n_peers, 1);
	assert_int_equal(lookup(1)->rx_bytes, 0);
	assert_null(route(1));
	assert_ptr_equal(route(3), lookup(1));
	assert_ptr_equal(route(4), lookup(1));
	assert_true(old->is_dead);
	device_config_deinit(&config);
}

static void test_replace_peers(void **state)
{
	struct device_config config = { .flags = CONFIG_DEVICE_REPLACE_PEERS };
	uint8_t key[32];

	(void)state;
	add(1, true);
	add(2, true);
	agent_key(key, 2);
	agent_config_peer(&config, key, 20, false);
	agent_key(key, 3);
	agent_config_peer(&config, key, 30, false);
	device_config_add_peer(&config, key)->flags = CONFIG_PEER_UPDATE_ONLY;
	assert_int_equal(agent_apply(agent, &config), 0);
	device_config_deinit(&config);
	assert_null(lookup(1));
	assert_int_equal(agent->device.n_peers, 2);
	assert_null(route(1));
	assert_null(route(2));
	assert_ptr_equal(route(20), lookup(2));
	assert_int_equal(lookup(2)->endpoint.family, AF_UNSPEC);
}

static void test_allowed_ips_move_and_go(void **state)
{
	struct device_config config = { 0 };
	uint32_t address = htonl(0x0a000001);
	struct config_peer *peer;
	uint8_t key[32];

	(void)state;
	add(1, false);
	add(2, false);
	/* "-prefix" of somebody else's does nothing. */
	agent_key(key, 2);
	peer = device_config_add_peer(&config, key);
	config_peer_add_allowed_ip(peer, AF_INET, &address, 32, true);
	assert_int_equal(agent_apply(agent, &config), 0);
	assert_ptr_equal(route(1), lookup(1));

	peer->allowed_ips[0].remove = false;
	assert_int_equal(agent_apply(agent, &config), 0);
	assert_ptr_equal(route(1), lookup(2));
	assert_null(lookup(1)->allowed_ips.first);

	peer->allowed_ips[0].remove = true;
	assert_int_equal(agent_apply(agent, &config), 0);
	assert_null(route(1));

	peer->allowed_ips[0].remove = false;
	peer->flags = CONFIG_PEER_REPLACE_ALLOWED_IPS;
	assert_int_equal(agent_apply(agent, &config), 0);
	assert_ptr_equal(route(1), lookup(2));
	assert_null(route(2));
	device_config_deinit(&config);
}

static void set_keepalive(unsigned int n, uint16_t interval_s)
{
	struct device_config config = { 0 };
	struct config_peer *peer;
	uint8_t key[32];

	agent_key(key, n);
	peer = device_config_add_peer(&config, key);
	peer->flags = CONFIG_PEER_HAS_PERSISTENT_KEEPALIVE;
	peer->persistent_keepalive_interval_s = interval_s;
	assert_int_equal(agent_apply(agent, &config), 0);
	device_config_deinit(&config);
}

static void test_keepalive_begins_at_once(void **state)
{
	(void)state;
	set_key(1);
	add(1, true);
	set_keepalive(1, 25); /* down: nothing */
	assert_int_equal(agent->n_hook_calls, 0);
	set_keepalive(1, 0);
	up();
	agent->n_hook_keepalives = 0;
	set_keepalive(1, 10);
	assert_int_equal(agent->n_hook_keepalives, 1);
	assert_int_equal(lookup(1)->staged.n_packets, 1);
	set_keepalive(1, 20);
	assert_int_equal(agent->n_hook_keepalives, 1);
	set_keepalive(1, 0);
	set_keepalive(1, 0);
	assert_int_equal(agent->n_hook_keepalives, 1);
	assert_true(lookup(1)->timers.deadline_ns[TIMER_PERSISTENT_KEEPALIVE] == TIMERS_NEVER);
}

static void test_preshared_key_and_endpoint(void **state)
{
	struct device_config config = { 0 };
	struct config_peer *config_peer;
	struct keypair *keypair;
	struct peer *peer;
	uint8_t key[32];

	(void)state;
	set_key(1);
	peer = add(1, false);
	up();
	keypair = agent_add_session(agent, peer, true, 1);
	peer->endpoint.src_if4 = 3;
	agent_key(key, 1);
	config_peer = agent_config_peer(&config, key, 1, true);
	config_peer->flags |= CONFIG_PEER_HAS_PRESHARED_KEY;
	memset(config_peer->preshared_key, 0x99, 32);
	assert_int_equal(agent_apply(agent, &config), 0);
	assert_int_equal(peer->secrets->handshake.preshared_key[31], 0x99);
	assert_true(keypair->sending_is_valid); /* sessions go on */
	assert_true(endpoint_equal(&peer->endpoint, &config_peer->endpoint));
	assert_false(endpoint_has_src(&peer->endpoint));
	memset(config_peer->preshared_key, 0, 32);
	assert_int_equal(agent_apply(agent, &config), 0);
	assert_int_equal(peer->secrets->handshake.preshared_key[31], 0);
	device_config_deinit(&config);
}

/* ------ All or nothing ------ */

static void test_too_many_peers_change_nothing(void **state)
{
	struct device_config config = { .flags = CONFIG_DEVICE_HAS_PRIVATE_KEY, .private_key = { 0, 3 } };
	uint8_t key[32];

	(void)state;
	set_key(1);
	add(1, true);
	agent->device.n_peers += MAX_PEERS_PER_DEVICE - 1; /* says it is full */
	agent_key(key, 2);
	agent_config_peer(&config, key, 1, true);
	assert_int_equal(agent_apply(agent, &config), -ENOMEM);
	agent->device.n_peers -= MAX_PEERS_PER_DEVICE - 1;
	assert_null(lookup(2));
	assert_ptr_equal(route(1), lookup(1));
	assert_int_equal(agent->device.secrets->identity.private_key[1], 1);
	device_config_deinit(&config);
}

/* ------ Status ------ */

static void test_status_is_what_was_set(void **state)
{
	struct device_config config = { .flags = CONFIG_DEVICE_HAS_PRIVATE_KEY, .private_key = { 0xff, 2, 3 } };
	struct device_config status = { 0 };
	const uint8_t prefix[16] = { 0xfd, 0x0f };
	struct config_peer *peer;
	uint8_t key[32];

	(void)state;
	agent->device.listen_port = 51820;
	agent->device.fwmark = 0xffffffff;
	for (unsigned int i = 1; i <= 3; i++) {
		agent_key(key, i);
		peer = agent_config_peer(&config, key, i, i != 2);
		config_peer_add_allowed_ip(peer, AF_INET6, prefix, (uint8_t)(20 + i), false);
		peer->flags |= CONFIG_PEER_HAS_PRESHARED_KEY | CONFIG_PEER_HAS_PERSISTENT_KEEPALIVE;
		peer->preshared_key[0] = (uint8_t)i;
		peer->persistent_keepalive_interval_s = (uint16_t)(65535 * (i == 3));
	}
	assert_int_equal(agent_apply(agent, &config), 0);
	lookup(1)->timers.last_handshake_realtime_ns = 5000000007;
	lookup(2)->rx_bytes = UINT64_MAX;
	lookup(2)->tx_bytes = 12;
	assert_int_equal(device_status(&agent->device, &status), 0);
	assert_int_equal(status.flags, CONFIG_DEVICE_HAS_PRIVATE_KEY | CONFIG_DEVICE_HAS_LISTEN_PORT |
					       CONFIG_DEVICE_HAS_FWMARK);
	assert_int_equal(status.listen_port, 51820);
	assert_int_equal(status.fwmark, 0xffffffff);
	assert_int_equal(status.private_key[0], 0xf8); /* clamped */
	assert_int_equal(status.private_key[31], 0x40);
	assert_int_equal(status.n_peers, 3);
	for (unsigned int i = 1; i <= 3; i++) {
		const struct config_peer *out = &status.peers[i - 1];

		agent_key(key, i);
		assert_memory_equal(out->public_key, key, 32);
		assert_int_equal(out->preshared_key[0], i);
		assert_int_equal(out->persistent_keepalive_interval_s, i == 3 ? 65535 : 0);
		assert_int_equal(!!(out->flags & CONFIG_PEER_HAS_ENDPOINT), i != 2);
		assert_int_equal(out->n_allowed_ips, 2);
		assert_int_equal(out->allowed_ips[1].cidr, 20 + i);
		assert_true(out->allowed_ips[1].family_is_v6);
	}
	assert_true(status.peers[0].last_handshake_sec == 5 && status.peers[0].last_handshake_nsec == 7);
	assert_true(status.peers[1].rx_bytes == UINT64_MAX && status.peers[1].tx_bytes == 12);
	device_config_deinit(&status);
	device_config_deinit(&config);
}

/* ------ Up and down ------ */

static void test_down_forgets_sessions_and_nothing_else(void **state)
{
	struct peer *peer;

	(void)state;
	set_key(1);
	up();
	peer = add(1, true);
	peer->rx_bytes = 77;
	memset(peer->secrets->handshake.latest_timestamp, 0x42, NOISE_TIMESTAMP_LEN);
	agent_add_session(agent, peer, true, 1);
	peer_lock(peer);
	peer_stage(peer, staged_packet_create(100, 0));
	peer_unlock(peer);
	device_insert_index(&agent->device, &peer->handshake_index, INDEX_HANDSHAKE, peer);
	down();
	assert_null(peer->keypairs.current);
	assert_null(peer->staged.first);
	assert_int_equal(agent->device.staged_bytes, 0);
	assert_false(peer->handshake_index.is_inserted);
	assert_true(timers_next_deadline(&peer->timers) == TIMERS_NEVER);
	assert_false(peer->timers.is_running);
	assert_int_equal(peer->rx_bytes, 77);
	assert_int_equal(peer->endpoint.family, AF_INET);
	assert_int_equal(peer->secrets->handshake.latest_timestamp[3], 0x42);
	assert_ptr_equal(route(1), peer);
}

/* ------ Queues ------ */

static void test_initiations_are_asked_for_once(void **state)
{
	struct peer *first, *second;
	bool is_retry;

	(void)state;
	set_key(1);
	first = add(1, true);
	second = add(2, true);
	peer_lock(first);
	device_request_initiation(first, false, agent->now_ns);
	peer_unlock(first);
	assert_null(device_take_initiation(&agent->device, &is_retry)); /* down */
	up();
	agent->n_handshake_wakes = 0;
	first->timers.handshake_attempts = 7;
	device_request_initiation(first, true, agent->now_ns);
	assert_int_equal(first->timers.handshake_attempts, 7);
	device_request_initiation(first, false, agent->now_ns);
	assert_int_equal(first->timers.handshake_attempts, 0);
	device_request_initiation(second, false, agent->now_ns);
	assert_int_equal(agent->n_handshake_wakes, 1);
	assert_ptr_equal(device_take_initiation(&agent->device, &is_retry), first);
	assert_true(is_retry);
	assert_ptr_equal(device_take_initiation(&agent->device, &is_retry), second);
	assert_null(device_take_initiation(&agent->device, &is_retry));

	/* Empty again: the next one wakes. */
	device_request_initiation(second, false, agent->now_ns);
	assert_int_equal(agent->n_handshake_wakes, 2);
	second->timers.last_sent_handshake_ns = agent->now_ns;
	device_request_initiation(first, false, agent->now_ns);
	apply_flags(1, CONFIG_PEER_REMOVE);
	assert_ptr_equal(device_take_initiation(&agent->device, &is_retry), second);
	assert_null(device_take_initiation(&agent->device, &is_retry));
	device_request_initiation(second, false, agent->now_ns); /* REKEY_TIMEOUT */
	assert_null(device_take_initiation(&agent->device, &is_retry));
}

/* Removed from the middle and both ends, the queue stays whole. */
static void test_removal_leaves_queues(void **state)
{
	struct peer *peer;
	bool is_retry;

	(void)state;
	set_key(1);
	up();
	for (unsigned int i = 1; i <= 6; i++) {
		peer = add(i, true);
		peer_lock(peer);
		device_request_initiation(peer, false, agent->now_ns);
		timers_handshake_initiated(&peer->timers, agent->now_ns, 0);
		peer_schedule(peer);
		peer_unlock(peer);
	}
	apply_flags(3, CONFIG_PEER_REMOVE);
	apply_flags(6, CONFIG_PEER_REMOVE);
	apply_flags(1, CONFIG_PEER_REMOVE);
	peer = add(7, true);
	device_request_initiation(peer, false, agent->now_ns);
	device_collect_kicks(&agent->device);
	assert_int_equal(agent->device.timer_queue.n_peers, 3);
	apply_flags(5, CONFIG_PEER_REMOVE);
	assert_int_equal(agent->device.timer_queue.n_peers, 2);
	assert_ptr_equal(device_take_initiation(&agent->device, &is_retry), lookup(2));
	assert_ptr_equal(device_take_initiation(&agent->device, &is_retry), lookup(4));
	assert_ptr_equal(device_take_initiation(&agent->device, &is_retry), peer);
	assert_null(device_take_initiation(&agent->device, &is_retry));
}

static void test_control_is_woken_for_sooner_deadlines(void **state)
{
	struct peer *peer;

	(void)state;
	set_key(1);
	up();
	peer = add(1, true);
	agent->n_control_wakes = 0;
	peer_lock(peer);
	timers_session_derived(&peer->timers, agent->now_ns);
	peer_schedule(peer);
	peer_schedule(peer);
	peer_unlock(peer);
	assert_int_equal(agent->n_control_wakes, 1);
	device_collect_kicks(&agent->device);
	assert_true(timer_queue_next(&agent->device.timer_queue) == agent->now_ns + 540 * AGENT_SECOND);
	peer_lock(peer);
	timers_session_derived(&peer->timers, agent->now_ns + AGENT_SECOND); /* later: nothing to tell */
	peer_schedule(peer);
	assert_int_equal(agent->n_control_wakes, 1);
	timers_handshake_initiated(&peer->timers, agent->now_ns, 0);
	peer_schedule(peer);
	peer_unlock(peer);
	assert_int_equal(agent->n_control_wakes, 2);
	device_collect_kicks(&agent->device);
	assert_true(timer_queue_next(&agent->device.timer_queue) == agent->now_ns + 5 * AGENT_SECOND);
}

/* ------ Disposal ------ */

static void test_retired_keypairs_wake_control(void **state)
{
	struct device_retired retired;
	struct keypair *keypair;
	uint32_t index;

	(void)state;
	set_key(1);
	up();
	add(1, true);
	keypair = agent_add_session(agent, lookup(1), true, 1);
	index = keypair->index.index;
	agent_dispose(agent);
	agent->n_control_wakes = 0;
	assert_ptr_equal(index_table_lookup(agent->device.indices, index, 1 << INDEX_KEYPAIR, NULL), keypair);
	peer_lock(lookup(1));
	peer_clear_keypairs(lookup(1));
	peer_unlock(lookup(1));
	assert_null(index_table_lookup(agent->device.indices, index, 1 << INDEX_KEYPAIR, NULL));
	assert_int_equal(agent->n_control_wakes, 1);
	assert_true(device_take_retired(&agent->device, &retired));
	assert_ptr_equal(retired.keypairs, keypair);
	assert_false(device_take_retired(&agent->device, &retired) && retired.keypairs);
	retired = (struct device_retired){ .keypairs = keypair };
	device_free_retired(&agent->device, &retired);
	assert_true(secret_is_zero(keypair->sending_key, sizeof(keypair->sending_key)));
}

static void test_removed_peer_is_kept_until_disposed_of(void **state)
{
	struct peer *peer;

	(void)state;
	set_key(1);
	up();
	peer = add(1, true);
	agent_add_session(agent, peer, true, 1);
	apply_flags(1, CONFIG_PEER_REMOVE);
	assert_true(peer->is_dead);
	assert_null(peer->keypairs.current);
	assert_ptr_equal(agent->device.retired_peers, peer);
	/* What a burst under way may still do with it. */
	peer_lock(peer);
	device_request_initiation(peer, false, agent->now_ns);
	peer_stage(peer, staged_packet_create(1000, 0));
	timers_data_received(&peer->timers, agent->now_ns);
	peer_schedule(peer);
	peer_unlock(peer);
	assert_null(agent->device.initiations);
	assert_null(agent->device.kicks);
	agent_dispose(agent);
	assert_int_equal(agent->device.staged_bytes, 0);
}

/* ------ Timestamps ------ */

static uint64_t label_of(const uint8_t *label)
{
	uint64_t seconds;
	uint32_t nanoseconds;

	memcpy(&seconds, label, 8);
	memcpy(&nanoseconds, label + 8, 4);
	return (be64toh(seconds) - 0x400000000000000aULL) * AGENT_SECOND + be32toh(nanoseconds);
}

static void test_timestamps_grow_when_the_clock_does_not(void **state)
{
	uint8_t last[NOISE_TIMESTAMP_LEN] = { 0 }, label[NOISE_TIMESTAMP_LEN];
	struct peer *peer;

	(void)state;
	peer = add(1, true);
	for (unsigned int i = 0; i < 300; i++) {
		if (i == 100)
			agent->realtime_ns -= 86400 * 365 * AGENT_SECOND;
		device_next_timestamp(peer, label);
		assert_true(memcmp(label, last, sizeof(label)) > 0);
		memcpy(last, label, sizeof(label));
	}
	/* Removed and added, it must not fall behind what its name has sent. */
	apply_flags(1, CONFIG_PEER_REMOVE);
	device_next_timestamp(add(1, true), label);
	assert_true(memcmp(label, last, sizeof(label)) > 0);
}

/* Many peers at once do not drive the labels into a future from which a restarted program could not catch up. */
static void test_timestamps_of_many_peers_stay_with_the_clock(void **state)
{
	uint8_t label[NOISE_TIMESTAMP_LEN];
	uint64_t ahead_ns = 0;

	(void)state;
	for (unsigned int i = 0; i < 1000; i++)
		add(i, true);
	for (unsigned int round = 0; round < 5; round++, agent->realtime_ns += 5 * AGENT_SECOND)
		for (unsigned int i = 0; i < 1000; i++) {
			device_next_timestamp(lookup(i), label);
			assert_true(label_of(label) + TIMESTAMP_TICK_NS > agent->realtime_ns);
			if (label_of(label) > agent->realtime_ns + ahead_ns)
				ahead_ns = label_of(label) - agent->realtime_ns;
		}
	assert_true(ahead_ns < AGENT_SECOND / 10);
}

/* ------ Scale ------ */

static double cpu_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Adds n peers that all want a handshake, then removes them in an order that is not theirs. */
static double time_of(unsigned int n, unsigned int stride)
{
	struct device_config config = { 0 }, remove = { 0 };
	double start = cpu_seconds();
	uint8_t key[32];

	for (unsigned int i = 0; i < n; i++) {
		agent_key(key, i);
		agent_config_peer(&config, key, i, true);
		agent_key(key, (unsigned int)((uint64_t)i * stride % n));
		device_config_add_peer(&remove, key)->flags = CONFIG_PEER_REMOVE;
	}
	assert_int_equal(agent_apply(agent, &config), 0);
	assert_int_equal(agent->device.n_peers, n);
	for (struct peer *peer = agent->device.first_peer; peer; peer = peer->list_next) {
		peer_lock(peer);
		device_request_initiation(peer, false, agent->now_ns);
		timers_data_received(&peer->timers, agent->now_ns);
		peer_schedule(peer);
		peer_unlock(peer);
	}
	assert_int_equal(agent_apply(agent, &remove), 0);
	assert_int_equal(agent->device.n_peers, 0);
	agent_dispose(agent);
	device_config_deinit(&config);
	device_config_deinit(&remove);
	return cpu_seconds() - start;
}

/* Twenty times the peers: with quadratic steps it would be hundreds of times the time. */
static void test_many_peers(void **state)
{
	double few, many;

	(void)state;
	set_key(1);
	up();
	time_of(5000, 1);
	few = time_of(5000, 4999);
	many = time_of(100000, 99999);
	print_message("5000 peers %.3f s, 100000 peers %.3f s\n", few, many);
	assert_true(many < few * 100 + 0.5);
	many = time_of(100000, 48611);
	print_message("100000 peers in a mixed order %.3f s\n", many);
	assert_true(many < few * 100 + 0.5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_own_key_is_no_peer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_key_of_a_peer_removes_it, setup, teardown),
		cmocka_unit_test_setup_teardown(test_new_key_ends_sending, setup, teardown),
		cmocka_unit_test_setup_teardown(test_first_key_starts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_update_only_and_remove_of_strangers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_remove_and_add_in_one_request, setup, teardown),
		cmocka_unit_test_setup_teardown(test_replace_peers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_allowed_ips_move_and_go, setup, teardown),
		cmocka_unit_test_setup_teardown(test_keepalive_begins_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_preshared_key_and_endpoint, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_many_peers_change_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_status_is_what_was_set, setup, teardown),
		cmocka_unit_test_setup_teardown(test_down_forgets_sessions_and_nothing_else, setup, teardown),
		cmocka_unit_test_setup_teardown(test_initiations_are_asked_for_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_removal_leaves_queues, setup, teardown),
		cmocka_unit_test_setup_teardown(test_control_is_woken_for_sooner_deadlines, setup, teardown),
		cmocka_unit_test_setup_teardown(test_retired_keypairs_wake_control, setup, teardown),
		cmocka_unit_test_setup_teardown(test_removed_peer_is_kept_until_disposed_of, setup, teardown),
		cmocka_unit_test_setup_teardown(test_timestamps_grow_when_the_clock_does_not, setup, teardown),
		cmocka_unit_test_setup_teardown(test_timestamps_of_many_peers_stay_with_the_clock, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_peers, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
