// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Datagrams from strangers and from peers, through receive_messages() and handshake_run().
 *
 * Input is a list of records: what to do, two bytes of length, that many bytes. Where luck would have to find a tag or a
 * MAC, it is made right. Whatever comes: what is delivered has a source that its peer owns, and an answer is no longer
 * than what it answers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "agent_fixture.h"
#include "expiry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define N_PEERS 3
#define LEN_MAX 4096

enum what { RAW, SEGMENTS, SEALED, MAC1, INITIATION, UNDER_LOAD, TIME, SEND, WHAT_COUNT };

static struct agent *agent;
static uint8_t peer_private[N_PEERS][32], peer_public[N_PEERS][32];

static void create_agent(void)
{
	const uint8_t key[32] = { 0, 1 };

	agent = agent_create();
	agent_set_key(agent, key);
	for (uint8_t i = 0; i < N_PEERS; i++) {
		peer_private[i][1] = (uint8_t)(10 + i);
		x25519_clamp(peer_private[i]);
		if (!x25519_public(peer_public[i], peer_private[i]))
			abort();
	}
	device_up(&agent->device);
}

/* Peers anew: nothing is left of the input before. */
static void reset(void)
{
	struct device_config config = { .flags = CONFIG_DEVICE_REPLACE_PEERS };
	struct handshake_message message;

	while (handshake_queue_pop(agent->worker.handshakes, &message))
		;
	for (uint8_t i = 0; i < N_PEERS; i++)
		agent_config_peer(&config, peer_public[i], 2U + i, i);
	if (agent_apply(agent, &config))
		abort();
	device_config_deinit(&config);
	agent_dispose(agent);
	agent_seed = 1;
	agent->now_ns = 1000 * AGENT_SECOND;
	agent->handshake_state = (struct handshake_state){ 0 };
	for (uint8_t i = 0; i < N_PEERS; i++) {
		struct peer *peer = device_lookup_peer(&agent->device, peer_public[i]);

		agent_add_session(agent, peer, i & 1, (uint8_t)(0x30 + i));
		agent_add_session(agent, peer, true, (uint8_t)(0x30 + i));
	}
	agent_forget(agent);
}

static void check_delivered(void)
{
	for (unsigned int i = 0; i < agent->n_inner && i < AGENT_MAX_SENT; i++) {
		const struct iphdr *ip = (const void *)agent->inner[i];
		uint32_t source = ntohl(ip->saddr);

		if (agent->inner_len[i] < sizeof(*ip) || ip->version != 4 || agent->inner_len[i] != ntohs(ip->tot_len) ||
		    source < 0x0a000002 || source >= 0x0a000002 + N_PEERS)
			abort();
	}
}

static void run(uint64_t limit_bytes)
{
	uint64_t n_bytes = 0;

	while (handshake_run(&agent->worker, &agent->handshake_state, agent->now_ns))
		;
	for (unsigned int i = 0; i < agent->n_sent && i < AGENT_MAX_SENT; i++) {
		const struct agent_datagram *sent = &agent->sent[i];

		if (sent->data[0] < 1 || sent->data[0] > 4)
			abort();
		if (sent->data[0] == MESSAGE_HANDSHAKE_RESPONSE || sent->data[0] == MESSAGE_HANDSHAKE_COOKIE)
			n_bytes += sent->len;
	}
	if (n_bytes > limit_bytes)
		abort();
	check_delivered();
	agent_forget(agent);
	agent_dispose(agent);
}

static void receive(const uint8_t *data, uint32_t len, uint32_t segment_size, uint8_t how)
{
	uint8_t *exact = malloc(len + !len); /* its end is seen */
	struct endpoint from;

	memcpy(exact, data, len);
	agent_endpoint(&from, how);
	agent_receive(agent, exact, len, segment_size, &from, how & 3);
	run(len);
	free(exact);
}

static void put_mac1(uint8_t *data, uint32_t len)
{
	struct cookie cookie;

	cookie_init(&cookie, agent->device.secrets->identity.public_key);
	cookie_add_mac_to_packet(&cookie, data, len, agent->now_ns);
}

/* A session's index, by peer and slot. */
static struct keypair *find_session(uint8_t which)
{
	struct peer *peer = device_lookup_peer(&agent->device, peer_public[which % N_PEERS]);
	struct keypairs *keypairs = &peer->keypairs;
	struct keypair *slots[] = { keypairs->current, keypairs->previous, keypairs->next };

	return slots[which / N_PEERS % 3];
}

static void receive_sealed(uint8_t how, const uint8_t *inner, uint32_t len)
{
	struct keypair *keypair = find_session(how);
	uint8_t message[LEN_MAX + 64];
	uint64_t counter = 0;

	if (!keypair || len < 8)
		return;
	memcpy(&counter, inner, how & 0x80 ? 8 : 1);
	len = agent_seal(message, keypair->index.index, keypair->receiving_key[0], counter, inner + 8, len - 8);
	receive(message, len, len, how);
}

/* Exactly as long as it must be, with a mac1 that is right. */
static uint32_t make_handshake(uint8_t *message, uint8_t how, const uint8_t *data, uint32_t len)
{
	static const uint32_t lens[] = { 148, 92, 64 };
	uint32_t message_len = lens[how % 3];

	memset(message, 0, message_len);
	memcpy(message, data, len < message_len ? len : message_len);
	memset(message, 0, 4);
	message[0] = (uint8_t)(1 + how % 3);
	if (how % 3 < 2)
		put_mac1(message, message_len);
	return message_len;
}

/* From a peer, with a time that the input chooses. */
static void make_initiation(struct message_handshake_initiation *message, uint8_t how, const uint8_t *data,
			    uint32_t len)
{
	struct noise_static_identity identity;
	struct noise_handshake handshake;
	uint8_t ephemeral[32], timestamp[12] = { 0x40 };

	noise_identity_set(&identity, peer_private[how % N_PEERS]);
	noise_handshake_init(&handshake, agent->device.secrets->identity.public_key);
	agent_random(ephemeral, sizeof(ephemeral));
	memcpy(timestamp + 1, data, len < 11 ? len : 11);
	if (!noise_handshake_create_initiation(message, &handshake, &identity, ephemeral, timestamp, how))
		abort();
	put_mac1((uint8_t *)message, sizeof(*message));
	if (len > 12)
		((uint8_t *)message)[data[11] % sizeof(*message)] ^= data[12];
}

static void do_under_load(uint8_t how, const uint8_t *data, uint32_t len)
{
	struct handshake_message message = { 0 };

	message.len = make_handshake(message.data, how, data, len);
	agent_endpoint(&message.from, how);
	handshake_receive(&agent->worker, &agent->handshake_state, &message, 4096, agent->now_ns);
	send_finish(&agent->worker);
	run(message.len);
}

static void pass_time(const uint8_t *data, uint32_t len)
{
	for (uint32_t i = 0; i < len && i < 32; i++) {
		agent->now_ns += data[i] * AGENT_SECOND / 4;
		agent->realtime_ns += data[i] * AGENT_SECOND / 4;
		expiry_run(&agent->worker, agent->now_ns);
		run(0);
	}
}

static void send_inner(uint8_t how)
{
	const struct virtio_net_hdr none = { 0 };
	uint8_t packet[1500];

	for (unsigned int i = 0; i < 1U + how / 16; i++)
		send_packet(&agent->worker, &none, packet, agent_inner(packet, 1, 2U + how % N_PEERS, 100U + how),
			    agent->now_ns);
	send_finish(&agent->worker);
	run(0);
}

static void step(uint8_t what, uint8_t how, const uint8_t *data, uint32_t len)
{
	struct message_handshake_initiation initiation;
	uint8_t copy[LEN_MAX];

	memcpy(copy, data, len);
	switch (what % WHAT_COUNT) {
	case RAW:
		return receive(copy, len, len, how);
	case SEGMENTS:
		return receive(copy, len, how, how);
	case SEALED:
		return receive_sealed(how, data, len);
	case MAC1:
		len = make_handshake(copy, how, data, len);
		return receive(copy, len, len, how);
	case INITIATION:
		make_initiation(&initiation, how, data, len);
		return receive((uint8_t *)&initiation, sizeof(initiation), sizeof(initiation), how);
	case UNDER_LOAD:
		return do_under_load(how, data, len);
	case TIME:
		return pass_time(data, len);
	case SEND:
		return send_inner(how);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!agent)
		create_agent();
	reset();
	while (size >= 4) {
		uint32_t len = data[2] | (data[3] & 0xfU) << 8;

		if (len > size - 4)
			len = (uint32_t)size - 4;
		step(data[0], data[1], data + 4, len);
		data += 4 + len;
		size -= 4 + len;
	}
	return 0;
}
