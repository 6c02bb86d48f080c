// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../user/receive.c"
#include "../../user/send.c"

#include <netinet/tcp.h>

#include "agent_fixture.h"

static struct agent *agent;
static struct peer *peer; /* owns 10.0.0.2 */
static struct keypair *keypair;
static struct endpoint from;
static const struct virtio_net_hdr no_offload;

/* The session's keys are all 0x33, its remote index is 0x33. */
static int setup(void **state)
{
	uint8_t key[32];

	(void)state;
	agent = agent_create();
	agent_key(key, 1);
	agent_set_key(agent, key);
	agent_key(key, 2);
	peer = agent_add_peer(agent, key, 2, true);
	device_up(&agent->device);
	agent_forget(agent);
	keypair = agent_add_session(agent, peer, true, 0x33);
	agent_endpoint(&from, 77);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	agent_free(agent);
	return 0;
}

static void send_len(unsigned int to, uint32_t len)
{
	uint8_t packet[GSO_MAX_SIZE];

	agent_inner(packet, 1, to, len);
	send_packet(&agent->worker, &no_offload, packet, len, agent->now_ns);
}

/* Opens the n-th message sent. Returns the length of what was inside, padding included. */
static uint32_t open_sent(unsigned int n, uint8_t *inner, uint64_t *counter)
{
	const struct agent_datagram *datagram = &agent->sent[n];
	uint8_t nonce[12] = { 0 }, key[32];
	unsigned long long len;

	assert_true(n < agent->n_sent);
	assert_true(datagram->len >= MESSAGE_DATA_OVERHEAD);
	assert_int_equal(datagram->data[0], MESSAGE_DATA);
	assert_int_equal(datagram->data[4], 0x33);
	memcpy(nonce + 4, datagram->data + 8, 8);
	memcpy(counter, datagram->data + 8, 8);
	memset(key, 0x33, sizeof(key));
	assert_int_equal(crypto_aead_chacha20poly1305_ietf_decrypt(inner, &len, NULL, datagram->data + 16,
								   datagram->len - 16, NULL, 0, nonce, key), 0);
	return (uint32_t)len;
}

static uint32_t sent_len(unsigned int n)
{
	uint8_t inner[GSO_MAX_SIZE + 16];
	uint64_t counter;

	return open_sent(n, inner, &counter);
}

/* A TCP super-packet to 10.0.0.2 with n segments of mss bytes. */
static uint32_t super_packet(uint8_t *packet, struct virtio_net_hdr *hdr, uint32_t n, uint16_t mss)
{
	uint32_t len = 40 + n * mss;
	struct tcphdr *tcp = (void *)(packet + 20);

	agent_inner(packet, 1, 2, len);
	((struct iphdr *)packet)->protocol = IPPROTO_TCP;
	memset(tcp, 0, sizeof(*tcp));
	tcp->doff = 5;
	tcp->ack = 1;
	*hdr = (struct virtio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
					.hdr_len = 40, .gso_size = mss, .csum_start = 20, .csum_offset = 16 };
	return len;
}

/* ------ Sending ------ */

static void test_counters_are_consecutive(void **state)
{
	uint8_t inner[2048];
	uint64_t counter;

	(void)state;
	for (unsigned int i = 0; i < 300; i++)
		send_len(2, 100 + i);
	send_finish(&agent->worker);
	assert_int_equal(agent->n_sent, 300);
	for (unsigned int i = 0; i < 300; i++) {
		assert_true(open_sent(i, inner, &counter) >= 100 + i);
		assert_true(counter == i);
		assert_int_equal(ntohs(((struct iphdr *)inner)->tot_len), 100 + i);
		assert_true(endpoint_equal(&agent->sent[i].to, &peer->endpoint));
	}
	assert_int_equal(keypair->sending_counter, 300);
	assert_int_equal(agent->worker.tx_packets, 300);
}

static void check_segments(unsigned int n, const struct gso_split *split)
{
	uint8_t inner[2048], expected[2048];
	uint64_t counter;

	assert_int_equal(split->n_segments, n);
	for (unsigned int i = 0; i < n; i++) {
		uint32_t len = gso_split_segment(split, i, expected);

		assert_true(open_sent(i, inner, &counter) >= len);
		assert_true(counter == i);
		assert_memory_equal(inner, expected, len);
	}
}

static void test_super_packet(void **state)
{
	static uint8_t packet[GSO_MAX_SIZE];
	struct virtio_net_hdr hdr;
	struct gso_split split;
	uint32_t len = super_packet(packet, &hdr, 45, 1380);

	(void)state;
	assert_int_equal(gso_split_init(&split, &hdr, packet, len), DROP_NONE);
	send_packet(&agent->worker, &hdr, packet, len, agent->now_ns);
	send_finish(&agent->worker);
	assert_int_equal(agent->n_sent, 45);
	check_segments(45, &split);
	assert_int_equal(peer->tx_bytes, 45 * (1420 + 32));
}

static void test_staged_super_packet(void **state)
{
	static uint8_t packet[GSO_MAX_SIZE];
	struct virtio_net_hdr hdr;
	struct gso_split split;
	uint32_t len = super_packet(packet, &hdr, 45, 1380);
	bool is_retry;

	(void)state;
	peer_lock(peer);
	peer_clear_keypairs(peer);
	peer_unlock(peer);
	assert_int_equal(gso_split_init(&split, &hdr, packet, len), DROP_NONE);
	send_packet(&agent->worker, &hdr, packet, len, agent->now_ns);
	send_len(2, 200);
	send_finish(&agent->worker);
	assert_int_equal(agent->n_sent, 0);
	assert_int_equal(peer->staged.n_packets, 46);
	assert_ptr_equal(device_take_initiation(&agent->device, &is_retry), peer);
	assert_null(device_take_initiation(&agent->device, &is_retry));

	keypair = agent_add_session(agent, peer, true, 0x33);
	send_len(2, 300); /* who waits longer goes first */
	send_finish(&agent->worker);
	assert_int_equal(agent->n_sent, 47);
	check_segments(45, &split);
	assert_int_equal(sent_len(45), 208);
	assert_int_equal(sent_len(46), 304);
	assert_null(peer->staged.first);
}

static void test_staged_overflow_is_counted(void **state)
{
	(void)state;
	peer_lock(peer);
	peer_clear_keypairs(peer);
	peer_unlock(peer);
	for (unsigned int i = 0; i < 200; i++)
		send_len(2, 100 + i);
	assert_int_equal(peer->staged.n_packets, MAX_STAGED_PACKETS);
	assert_int_equal(agent_drops(agent, DROP_STAGED_FULL), 72);
	keypair = agent_add_session(agent, peer, true, 0x33);
	send_staged(&agent->worker, peer, true, agent->now_ns);
	send_finish(&agent->worker);
	assert_int_equal(agent->n_sent, MAX_STAGED_PACKETS); /* and no keepalive */
	assert_true(sent_len(0) >= 172 && sent_len(0) < 188);
}

static void test_padding_stops_at_the_mtu(void **state)
{
	static const struct {
		unsigned int mtu, route_mtu;
		uint32_t len, padded;
	} rows[] = {
		{ 1420, 1420, 100, 112 },   { 1420, 1420, 112, 112 },	{ 1420, 1420, 1409, 1420 }, { 1420, 1420, 1420, 1420 },
		{ 1300, 1299, 1297, 1299 }, { 1300, 1299, 1300, 1300 }, { 1420, 1300, 1299, 1300 }, { 1420, 1299, 1299, 1299 },
		{ 1420, 1300, 1301, 1312 }, { 1419, 1419, 1418, 1419 }, { 0, 0, 1418, 1424 },
		{ 1420, 1420, 1500, 1500 }, { 1420, 1420, 2835, 2840 }, { 9000, 1420, 8999, 9000 },
	};

	(void)state;
	for (unsigned int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		agent->device.mtu = rows[i].mtu;
		agent->device.route_mtu = rows[i].route_mtu;
		send_len(2, rows[i].len);
		send_finish(&agent->worker);
		assert_int_equal(sent_len(i), rows[i].padded);
	}
}

static void test_ds_field(void **state)
{
	static const uint8_t rows[][2] = { { 0, 0 }, { 0xb8, 0 }, { 1, 1 }, { 2, 2 }, { 3, 2 }, { 0xfe, 2 } };
	uint8_t packet[100];

	(void)state;
	for (unsigned int staged = 0; staged < 2; staged++) {
		agent_forget(agent);
		if (staged) {
			peer_lock(peer);
			peer_clear_keypairs(peer);
			peer_unlock(peer);
		}
		for (unsigned int i = 0; i < 6; i++) {
			agent_inner(packet, 1, 2, sizeof(packet));
			packet[1] = rows[i][0];
			send_packet(&agent->worker, &no_offload, packet, sizeof(packet), agent->now_ns);
		}
		if (staged) {
			agent_add_session(agent, peer, true, 0x33);
			send_staged(&agent->worker, peer, false, agent->now_ns);
		}
		send_finish(&agent->worker);
		assert_int_equal(agent->n_sent, 6);
		for (unsigned int i = 0; i < 6; i++)
			assert_int_equal(agent->sent[i].ds, rows[i][1]);
	}
}

static void test_what_cannot_be_sent(void **state)
{
	const struct virtio_net_hdr bad = { .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 100 };
	uint8_t packet[100];

	(void)state;
	send_len(9, 100);
	assert_int_equal(agent_drops(agent, DROP_NO_PEER), 1);
	assert_int_equal(agent->n_inner, 1);
	assert_int_equal(agent->inner[0][9], IPPROTO_ICMP);
	assert_int_equal(ntohl(((struct iphdr *)agent->inner[0])->daddr), 0x0a000001);

	agent_inner(packet, 1, 2, sizeof(packet));
	send_packet(&agent->worker, &bad, packet, sizeof(packet), agent->now_ns);
	assert_int_equal(agent_drops(agent, DROP_OFFLOAD), 1);
	packet[0] = 0x75;
	send_packet(&agent->worker, &no_offload, packet, sizeof(packet), agent->now_ns);
	assert_int_equal(agent_drops(agent, DROP_INNER_VERSION), 1);
	packet[0] = 0x45;
	send_packet(&agent->worker, &no_offload, packet, 99, agent->now_ns);
	assert_int_equal(agent_drops(agent, DROP_INNER_LENGTH), 1);

	peer->endpoint.family = AF_UNSPEC;
	send_len(2, 100);
	assert_int_equal(agent_drops(agent, DROP_NO_ENDPOINT), 1);
	assert_int_equal(agent->n_inner, 2);
	assert_null(peer->staged.first);
	send_staged(&agent->worker, peer, true, agent->now_ns);
	assert_null(peer->staged.first);
	send_finish(&agent->worker);
	assert_int_equal(agent->n_sent, 0);
}

static void test_icmp_is_limited(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 500; i++)
		send_len(9, 100);
	assert_int_equal(agent->n_inner, ICMP_BURST);
	agent->now_ns += 100 * 1000000ULL;
	for (unsigned int i = 0; i < 500; i++)
		send_len(9, 100);
	assert_int_equal(agent->n_inner, ICMP_BURST + 10);
	agent->now_ns += 3600 * AGENT_SECOND;
	for (unsigned int i = 0; i < 500; i++)
		send_len(9, 100);
	assert_int_equal(agent->n_inner, 2 * ICMP_BURST + 10);
	/* In the long run, with a packet each millisecond: ten a second fewer than allowed at most. */
	agent_forget(agent);
	for (unsigned int i = 0; i < 10000; i++, agent->now_ns += 1000000)
		send_len(9, 100);
	assert_in_range(agent->n_inner, 10 * ICMP_PER_SECOND - 100, 10 * ICMP_PER_SECOND + 1);
	assert_int_equal(agent_drops(agent, DROP_NO_PEER), 11500);
}

static void test_rekeys(void **state)
{
	bool is_retry;

	(void)state;
	agent->now_ns += REKEY_AFTER_TIME * AGENT_SECOND - 1;
	send_len(2, 100);
	assert_null(device_take_initiation(&agent->device, &is_retry));
	agent->now_ns += 1;
	send_len(2, 100);
	assert_ptr_equal(device_take_initiation(&agent->device, &is_retry), peer);
	agent->now_ns += (REJECT_AFTER_TIME - REKEY_AFTER_TIME) * AGENT_SECOND;
	send_len(2, 100);
	send_finish(&agent->worker);
	assert_int_equal(agent->n_sent, 2);
	assert_int_equal(peer->staged.n_packets, 1);
	assert_ptr_equal(device_take_initiation(&agent->device, &is_retry), peer);
}

static void test_last_counter(void **state)
{
	(void)state;
	keypair->sending_counter = REJECT_AFTER_MESSAGES - 1;
	send_len(2, 100);
	send_len(2, 100);
	send_finish(&agent->worker);
	assert_int_equal(agent->n_sent, 1);
	assert_int_equal(peer->staged.n_packets, 1);
}

static void test_outcome_of_sending(void **state)
{
	struct endpoint before;

	(void)state;
	peer->endpoint.src4.s_addr = 1;
	peer->endpoint.src_if4 = 1;
	agent->send_error = -ENOBUFS;
	send_len(2, 100);
	send_len(2, 100);
	send_finish(&agent->worker);
	assert_int_equal(agent_drops(agent, DROP_UDP_SEND), 2);
	assert_int_equal(peer->tx_bytes, 0);
	assert_true(peer->timers.deadline_ns[TIMER_NEW_HANDSHAKE] == TIMERS_NEVER);

	agent->send_error = 0;
	send_staged(&agent->worker, peer, true, agent->now_ns);
	send_finish(&agent->worker);
	assert_int_equal(peer->tx_bytes, 32);
	assert_true(peer->timers.deadline_ns[TIMER_NEW_HANDSHAKE] == TIMERS_NEVER); /* a keepalive is owed no answer */
	assert_true(endpoint_has_src(&peer->endpoint));

	/* It has moved meanwhile: the source that was refused is another one. */
	agent->refuse_src = true;
	send_len(2, 100);
	before = peer->endpoint;
	peer->endpoint.addr4.sin_port++;
	send_finish(&agent->worker);
	assert_true(endpoint_has_src(&peer->endpoint));
	assert_true(peer->timers.deadline_ns[TIMER_NEW_HANDSHAKE] >= agent->now_ns + 15 * AGENT_SECOND);
	assert_true(peer->timers.deadline_ns[TIMER_NEW_HANDSHAKE] < agent->now_ns + 16 * AGENT_SECOND);
	peer->endpoint = before;
	send_len(2, 100);
	send_finish(&agent->worker);
	assert_false(endpoint_has_src(&peer->endpoint));
}

/* More than the buffer and the messages of one flush hold, to many peers. */
static void test_large_bursts(void **state)
{
	uint8_t key[32];

	(void)state;
	for (unsigned int i = 3; i < 83; i++) {
		agent_key(key, i);
		agent_add_session(agent, agent_add_peer(agent, key, i, true), true, 0x33);
	}
	for (unsigned int round = 0; round < 10; round++)
		for (unsigned int i = 2; i < 83; i++)
			send_len(i, 1420);
	send_len(2, 65535);
	send_finish(&agent->worker);
	assert_int_equal(agent->n_sent, 811);
	assert_true(agent->n_flushes > 10);
	for (unsigned int i = 0; i < 810; i++) {
		uint8_t inner[2048];
		uint64_t counter;

		assert_int_equal(open_sent(i, inner, &counter), 1420);
		assert_int_equal(ntohl(((struct iphdr *)inner)->daddr), 0x0a000000 + 2 + i % 81);
		assert_int_equal(ntohs(agent->sent[i].to.addr4.sin_port), 10000 + 2 + i % 81);
		assert_true(counter == i / 81);
	}
	assert_int_equal(sent_len(810), 65535 + (65535 % 1420 + 15) / 16 * 16 - 65535 % 1420);
}

/* ------ Receiving ------ */

static void receive_one(const uint8_t *inner, uint32_t len, uint64_t counter, uint8_t ds)
{
	uint8_t data[GSO_MAX_SIZE + 64];

	agent_receive(agent, data, agent_seal(data, keypair->index.index, 0x33, counter, inner, len),
		      len + MESSAGE_DATA_OVERHEAD, &from, ds);
}

static void receive_len(unsigned int source, uint32_t len, uint64_t counter)
{
	uint8_t inner[GSO_MAX_SIZE];

	receive_one(inner, agent_inner(inner, source, 1, len), counter, 0);
}

static void test_delivery(void **state)
{
	uint8_t inner[112] = { 0 };

	(void)state;
	agent_inner(inner, 2, 1, 100);
	inner[105] = 1; /* padding is not looked at */
	receive_one(inner, sizeof(inner), 5, 0);
	assert_int_equal(agent->n_inner, 1);
	assert_int_equal(agent->inner_len[0], 100);
	assert_memory_equal(agent->inner[0], inner, 100);
	assert_int_equal(peer->rx_bytes, 112 + 32);
	assert_true(endpoint_equal(&peer->endpoint, &from));
	assert_true(peer->timers.deadline_ns[TIMER_SEND_KEEPALIVE] == agent->now_ns + 10 * AGENT_SECOND);
	assert_int_equal(agent->worker.rx_packets, 1);
}

static void test_keepalive(void **state)
{
	(void)state;
	peer->timers.deadline_ns[TIMER_NEW_HANDSHAKE] = agent->now_ns + AGENT_SECOND;
	receive_one(NULL, 0, 0, 0);
	assert_int_equal(agent->n_inner, 0);
	assert_int_equal(peer->rx_bytes, 32);
	assert_true(endpoint_equal(&peer->endpoint, &from));
	assert_true(peer->timers.deadline_ns[TIMER_NEW_HANDSHAKE] == TIMERS_NEVER);
	/* Never answered by another. */
	assert_true(peer->timers.deadline_ns[TIMER_SEND_KEEPALIVE] == TIMERS_NEVER);
}

/* What does not authenticate, or is not fresh, changes nothing. */
static void test_forged_and_replayed(void **state)
{
	struct endpoint before = peer->endpoint;
	struct timers timers = peer->timers;
	struct replay replay = keypair->replay;
	uint8_t data[200], inner[100];
	uint32_t len;

	(void)state;
	agent_inner(inner, 2, 1, sizeof(inner));
	len = agent_seal(data, keypair->index.index, 0x33, 7, inner, sizeof(inner));
	data[40] ^= 1;
	agent_receive(agent, data, len, len, &from, 0);
	assert_int_equal(agent_drops(agent, DROP_BAD_TAG), 1);
	len = agent_seal(data, keypair->index.index, 0x34, 7, inner, sizeof(inner));
	agent_receive(agent, data, len, len, &from, 0);
	assert_int_equal(agent_drops(agent, DROP_BAD_TAG), 2);
	len = agent_seal(data, keypair->index.index + 1, 0x33, 7, inner, sizeof(inner));
	agent_receive(agent, data, len, len, &from, 0);
	assert_int_equal(agent_drops(agent, DROP_INDEX_UNKNOWN), 1);
	receive_len(2, 100, REJECT_AFTER_MESSAGES);
	receive_len(2, 100, UINT64_MAX);
	assert_int_equal(agent_drops(agent, DROP_COUNTER_LIMIT), 2);
	assert_memory_equal(&before, &peer->endpoint, sizeof(before));
	assert_memory_equal(&timers, &peer->timers, sizeof(timers));
	assert_memory_equal(&replay, &keypair->replay, sizeof(replay));
	assert_int_equal(peer->rx_bytes, 0);

	receive_len(2, 100, 7);
	agent_endpoint(&from, 99);
	receive_len(2, 100, 7);
	assert_int_equal(agent_drops(agent, DROP_REPLAYED), 1);
	assert_int_equal(ntohs(peer->endpoint.addr4.sin_port), 10077);
	receive_len(2, 100, 7 + COUNTER_WINDOW_SIZE + 1);
	receive_len(2, 100, 6);
	assert_int_equal(agent_drops(agent, DROP_REPLAYED), 2);
	assert_int_equal(agent->n_inner, 2);
}

/* Refused inside, accepted outside: the endpoint moves, the bytes do not count. */
static void test_inner_checks_come_after_roaming(void **state)
{
	uint8_t inner[100], key[32];

	(void)state;
	receive_len(3, 100, 0);
	assert_int_equal(agent_drops(agent, DROP_SOURCE_NOT_ALLOWED), 1);
	assert_true(endpoint_equal(&peer->endpoint, &from));
	assert_int_equal(peer->rx_bytes, 0);

	/* It had the whole net; now a part is somebody else's. */
	agent_key(key, 3);
	agent_add_peer(agent, key, 3, true);
	receive_len(3, 100, 1);
	assert_int_equal(agent_drops(agent, DROP_SOURCE_NOT_ALLOWED), 2);

	agent_inner(inner, 2, 1, sizeof(inner));
	inner[0] = 0x55;
	receive_one(inner, sizeof(inner), 2, 0);
	assert_int_equal(agent_drops(agent, DROP_INNER_VERSION), 1);
	agent_inner(inner, 2, 1, sizeof(inner));
	inner[3] = 101;
	receive_one(inner, sizeof(inner), 3, 0);
	assert_int_equal(agent_drops(agent, DROP_INNER_LENGTH), 1);
	for (uint32_t len = 1; len < 20; len++)
		receive_one(inner, len, 3 + len, 0);
	assert_int_equal(agent->n_inner, 0);
	assert_int_equal(peer->rx_bytes, 0);
}

static void test_congestion_goes_inside(void **state)
{
	uint8_t inner[100];

	(void)state;
	agent_inner(inner, 2, 1, sizeof(inner));
	inner[1] = 2;
	receive_one(inner, sizeof(inner), 0, 3);
	assert_int_equal(agent->inner[0][1], 3);
	inner[1] = 0;
	receive_one(inner, sizeof(inner), 1, 3);
	assert_int_equal(agent->inner[1][1], 0);
}

static void test_types_and_lengths(void **state)
{
	uint8_t data[300] = { 0 };

	(void)state;
	for (uint32_t len = 0; len < sizeof(data); len++)
		for (uint8_t type = 0; type < 6; type++) {
			memset(data, 0, sizeof(data));
			data[0] = type;
			agent_receive(agent, data, len, len, &from, 0);
		}
	assert_int_equal(agent_drops(agent, DROP_INDEX_UNKNOWN), sizeof(data) - 32);
	assert_int_equal(agent_drops(agent, DROP_TYPE_UNKNOWN), 2 * (sizeof(data) - 4));
	assert_int_equal(agent_drops(agent, DROP_LENGTH), 6 * 4 + 3 * (sizeof(data) - 4) - 3 + 28);
	data[0] = MESSAGE_DATA;
	data[2] = 1;
	agent_receive(agent, data, sizeof(data), sizeof(data), &from, 0);
	assert_int_equal(agent_drops(agent, DROP_TYPE_UNKNOWN), 2 * (sizeof(data) - 4) + 1);
}

static void test_truncated(void **state)
{
	struct udp_rx_msg msg = { .len = 100, .segment_size = 100, .is_truncated = true };

	(void)state;
	receive_messages(&agent->worker, &msg, 1, agent->now_ns);
	assert_int_equal(agent_drops(agent, DROP_TRUNCATED), 1);
}

/* What GRO has put together, in one message of more segments than a burst, the last one shorter. */
static void test_segments_of_a_message(void **state)
{
	enum { N = 150, LEN = 200 + MESSAGE_DATA_OVERHEAD };
	static uint8_t data[N * LEN];
	uint8_t inner[200];
	uint32_t len = 0;

	(void)state;
	for (unsigned int i = 0; i < N; i++)
		len += agent_seal(data + len, keypair->index.index, 0x33, i, inner,
				  agent_inner(inner, 2, 1, i == N - 1 ? 100 : 200));
	data[3 * LEN + 50] ^= 1;
	agent_receive(agent, data, len, LEN, &from, 0);
	assert_int_equal(agent->n_inner, N - 1);
	assert_int_equal(agent_drops(agent, DROP_BAD_TAG), 1);
	assert_int_equal(agent->inner_len[N - 2], 100);
	assert_int_equal(agent->worker.rx_packets, N);
}

/* Of a burst, the last one that counts says where the peer is. */
static void test_roaming_within_a_burst(void **state)
{
	struct udp_rx_msg msgs[3] = { 0 };
	uint8_t data[3][64];

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		msgs[i].data = data[i];
		msgs[i].len = msgs[i].segment_size = agent_seal(data[i], keypair->index.index, 0x33, i % 2, NULL, 0);
		agent_endpoint(&msgs[i].from, 100 + i);
	}
	receive_messages(&agent->worker, msgs, 3, agent->now_ns);
	assert_int_equal(agent_drops(agent, DROP_REPLAYED), 1);
	assert_int_equal(ntohs(peer->endpoint.addr4.sin_port), 10101);
}

static void test_expired_session(void **state)
{
	(void)state;
	agent->now_ns += REJECT_AFTER_TIME * AGENT_SECOND - 1;
	receive_len(2, 100, 0);
	agent->now_ns += 1;
	receive_len(2, 100, 1);
	assert_int_equal(agent->n_inner, 1);
	assert_int_equal(agent_drops(agent, DROP_KEYPAIR_EXPIRED), 1);
}

static void test_last_minute_rekey_is_asked_for_once(void **state)
{
	bool is_retry;

	(void)state;
	agent->now_ns += 165 * AGENT_SECOND - 1;
	receive_len(2, 100, 0);
	assert_null(device_take_initiation(&agent->device, &is_retry));
	agent->now_ns += 1;
	receive_len(2, 100, 1);
	assert_ptr_equal(device_take_initiation(&agent->device, &is_retry), peer);
	receive_len(2, 100, 2);
	assert_null(device_take_initiation(&agent->device, &is_retry));
}

static unsigned int n_unlocked_retirements;

static void check_lock(void *arg)
{
	(void)arg;
	if (!pthread_mutex_trylock(&peer->lock)) {
		pthread_mutex_unlock(&peer->lock);
		n_unlocked_retirements++;
	}
}

/* The responder's session: its first packet makes it current, and sets free what has waited. */
static void test_confirmation(void **state)
{
	struct keypair *previous;

	(void)state;
	agent->now_ns += AGENT_SECOND;
	previous = keypair;
	agent_add_session(agent, peer, true, 0x33);
	keypair = agent_add_session(agent, peer, false, 0x33);
	assert_ptr_equal(peer->keypairs.next, keypair);
	agent_dispose(agent);
	agent->device.has_retired = false;
	peer->keypairs.current->sending_is_valid = false;
	previous = peer->keypairs.current;
	send_len(2, 100);
	assert_int_equal(peer->staged.n_packets, 1);
	agent->device.hooks.wake_control = check_lock;
	receive_one(NULL, 0, 0, 0);
	assert_ptr_equal(peer->keypairs.current, keypair);
	assert_ptr_equal(peer->keypairs.previous, previous);
	assert_null(peer->keypairs.next);
	assert_true(peer->timers.last_handshake_realtime_ns == agent->realtime_ns);
	assert_int_equal(agent->n_sent, 1);
	assert_int_equal(sent_len(0), 112);
	/* The one before is still good for what is under way. */
	keypair = previous;
	receive_len(2, 100, 1);
	assert_int_equal(agent->n_inner, 1);
}

/*
 * What a confirmation drops must be out of the index table before the peer's lock is given back: else a peer that is
 * removed next would be freed after a grace period in which its keypair can still be found.
 */
static void test_dropped_keypair_is_retired_under_the_lock(void **state)
{
	struct keypair *dropped = keypair_create(&(struct noise_session){ .remote_index = 1 }, peer, agent->now_ns);

	(void)state;
	keypair = agent_add_session(agent, peer, false, 0x33);
	agent_dispose(agent);
	device_insert_index(&agent->device, &dropped->index, INDEX_KEYPAIR, dropped);
	peer->keypairs.previous = dropped;
	n_unlocked_retirements = 0;
	agent->device.has_news = true;
	agent->device.has_retired = false;
	agent->device.hooks.wake_control = check_lock;
	receive_one(NULL, 0, 0, 0);
	assert_ptr_equal(agent->device.retired_keypairs, dropped);
	assert_int_equal(n_unlocked_retirements, 0);
	agent->device.hooks.wake_control = agent_wake_control;
}

static void test_peer_removed_meanwhile(void **state)
{
	struct device_config config = { 0 };
	uint8_t data[200], inner[100];
	uint32_t len;

	(void)state;
	agent_inner(inner, 2, 1, sizeof(inner));
	len = agent_seal(data, keypair->index.index, 0x33, 0, inner, sizeof(inner));
	device_config_add_peer(&config, peer->public_key)->flags = CONFIG_PEER_REMOVE;
	assert_int_equal(agent_apply(agent, &config), 0);
	device_config_deinit(&config);
	agent_receive(agent, data, len, len, &from, 0);
	assert_int_equal(agent_drops(agent, DROP_INDEX_UNKNOWN), 1);
	send_len(2, 100);
	assert_int_equal(agent_drops(agent, DROP_NO_PEER), 1);
	send_staged(&agent->worker, peer, true, agent->now_ns);
	assert_null(peer->staged.first);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_counters_are_consecutive),
		TEST(test_super_packet),
		TEST(test_staged_super_packet),
		TEST(test_staged_overflow_is_counted),
		TEST(test_padding_stops_at_the_mtu),
		TEST(test_ds_field),
		TEST(test_what_cannot_be_sent),
		TEST(test_icmp_is_limited),
		TEST(test_rekeys),
		TEST(test_last_counter),
		TEST(test_outcome_of_sending),
		TEST(test_large_bursts),
		TEST(test_delivery),
		TEST(test_keepalive),
		TEST(test_forged_and_replayed),
		TEST(test_inner_checks_come_after_roaming),
		TEST(test_congestion_goes_inside),
		TEST(test_types_and_lengths),
		TEST(test_truncated),
		TEST(test_segments_of_a_message),
		TEST(test_roaming_within_a_burst),
		TEST(test_expired_session),
		TEST(test_last_minute_rekey_is_asked_for_once),
		TEST(test_confirmation),
		TEST(test_dropped_keypair_is_retired_under_the_lock),
		TEST(test_peer_removed_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
