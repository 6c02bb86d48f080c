// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Inner packets with any virtio_net_hdr, through send_packet(), and what comes out through the other end's coalescer.
 *
 * Input: MTU, whether there is a session, then packets: a header of 10 bytes, two bytes of length, the packet. Whatever
 * comes: no counter is used twice, each message opens, and the coalescer gives back as many packets, as long as they
 * were.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "agent_fixture.h"
#include "inner.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct agent *agent;
static uint8_t key[32];

static void create_agent(void)
{
	struct device_config config = { 0 };
	const uint8_t any[16] = { 0 };
	struct config_peer *peer;

	agent = agent_create();
	agent_key(key, 1);
	agent_set_key(agent, key);
	agent_key(key, 2);
	peer = agent_config_peer(&config, key, 2, true);
	/* Half of each family, so that there is a destination without a peer. */
	if (config_peer_add_allowed_ip(peer, AF_INET, any, 1, false) ||
	    config_peer_add_allowed_ip(peer, AF_INET6, any, 1, false) || agent_apply(agent, &config))
		abort();
	device_config_deinit(&config);
	device_up(&agent->device);
}

static void reset(bool has_session, bool has_endpoint)
{
	struct peer *peer = device_lookup_peer(&agent->device, key);

	peer_lock(peer);
	peer_clear_keypairs(peer);
	staged_packets_free(peer_take_staged(peer).first);
	peer->endpoint.family = has_endpoint ? AF_INET : AF_UNSPEC;
	peer_unlock(peer);
	agent_dispose(agent);
	agent->worker.icmp_tokens = 50;
	if (has_session)
		agent_add_session(agent, peer, true, 0x33);
	agent_forget(agent);
}

/* Opens message i to inner; its length without padding. */
static uint32_t open_message(unsigned int i, uint8_t *inner)
{
	const struct agent_datagram *message = &agent->sent[i];
	uint8_t nonce[12] = { 0 }, session_key[32];
	unsigned long long opened;
	uint64_t counter;
	uint32_t len;

	memcpy(&counter, message->data + 8, sizeof(counter));
	if (message->len < MESSAGE_DATA_OVERHEAD || counter != i)
		abort();
	memcpy(nonce + 4, &counter, sizeof(counter));
	memset(session_key, 0x33, sizeof(session_key));
	if (crypto_aead_chacha20poly1305_ietf_decrypt(inner, &opened, NULL, message->data + 16, message->len - 16, NULL,
						      0, nonce, session_key))
		abort();
	len = (uint32_t)opened;
	if (inner_check(inner, &len) || opened - len > 15)
		abort();
	return len;
}

/* As receive.c does with what it has opened. */
static void coalesce_all(unsigned int n)
{
	static uint8_t *packets[AGENT_MAX_SENT];
	static uint32_t lens[AGENT_MAX_SENT];
	unsigned int n_errors;
	uint32_t differ = 0;

	for (unsigned int i = 0; i < n; i++) {
		packets[i] = malloc(agent->sent[i].len);
		lens[i] = open_message(i, packets[i]);
		inner_ecn_decapsulate(packets[i], 3);
	}
	n_errors = agent->n_inner; /* ICMP's */
	for (unsigned int i = 0; i < n; i++)
		if (!gso_coalesce(&agent->worker.inner, packets[i], lens[i])) {
			agent_flush_inner(&agent->worker);
			gso_coalesce(&agent->worker.inner, packets[i], lens[i]);
		}
	agent_flush_inner(&agent->worker);
	if (agent->n_inner != n_errors + n)
		abort();
	/* Flows may overtake each other: compared is what there is in all. */
	for (unsigned int i = 0; i < n; i++)
		differ += agent->inner_len[n_errors + i] - lens[i];
	if (differ)
		abort();
	for (unsigned int i = 0; i < n; i++)
		free(packets[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool has_session;

	if (size < 5)
		return 0;
	if (!agent)
		create_agent();
	has_session = data[4] & 1;
	reset(has_session, !(data[4] & 2));
	agent->device.mtu = data[0] | (unsigned int)data[1] << 8;
	agent->device.route_mtu = data[2] | (unsigned int)data[3] << 8;
	data += 5;
	size -= 5;
	while (size >= 12) {
		uint32_t len = data[10] | (uint32_t)data[11] << 8;
		struct virtio_net_hdr hdr;
		uint8_t *copy;

		memcpy(&hdr, data, sizeof(hdr));
		data += 12;
		size -= 12;
		if (len > size)
			len = (uint32_t)size;
		copy = malloc(len + !len); /* its end is seen */
		memcpy(copy, data, len);
		send_packet(&agent->worker, &hdr, copy, len, agent->now_ns);
		free(copy);
		data += len;
		size -= len;
	}
	send_finish(&agent->worker);
	if (!has_session && agent->n_sent)
		abort();
	if (agent->n_sent + agent->n_inner <= AGENT_MAX_SENT)
		coalesce_all(agent->n_sent);
	return 0;
}
