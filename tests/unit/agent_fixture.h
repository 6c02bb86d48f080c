/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A device and a worker without threads, clock or sockets: what they send out is kept and can be looked at.
 *
 * Included after the .c under test. The clock and the random generator are the test's own.
 */
#ifndef WG_XDP_AGENT_FIXTURE_H
#define WG_XDP_AGENT_FIXTURE_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"
#include "crypto/x25519.h"
#include "device.h"
#include "handshake.h"
#include "receive.h"
#include "send.h"
#include "worker.h"

#define AGENT_SECOND NS_PER_SECOND
#define AGENT_MAX_SENT 1024

struct agent_datagram {
	struct endpoint to;
	uint8_t *data;
	uint32_t len;
	uint8_t ds;
};

struct agent {
	struct device device;
	struct worker worker;
	struct handshake_state handshake_state;
	uint64_t now_ns, realtime_ns;
	unsigned int n_handshake_wakes, n_control_wakes;
	unsigned int n_hook_calls, n_hook_keepalives; /* of send_staged */
	int send_error;                               /* what sending comes to */
	bool refuse_src;
	struct agent_datagram sent[AGENT_MAX_SENT];
	unsigned int n_sent, n_flushes;
	uint8_t *inner[AGENT_MAX_SENT];
	uint32_t inner_len[AGENT_MAX_SENT];
	unsigned int n_inner;
};

static uint64_t agent_seed = 1;

static inline uint64_t agent_random64(void)
{
	uint64_t z = agent_seed += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static inline void agent_random(void *out, size_t len)
{
	for (uint8_t *p = out; len--; p++)
		*p = (uint8_t)(agent_random64() >> 24);
}

static inline uint64_t agent_realtime(void *arg)
{
	return ((struct agent *)arg)->realtime_ns;
}

static inline void agent_wake_handshake(void *arg)
{
	((struct agent *)arg)->n_handshake_wakes++;
}

static inline void agent_wake_control(void *arg)
{
	((struct agent *)arg)->n_control_wakes++;
}

static inline void agent_send_staged(void *arg, struct peer *peer, bool keepalive)
{
	struct agent *agent = arg;

	agent->n_hook_calls++;
	agent->n_hook_keepalives += keepalive;
	if (agent->worker.aead) {
		send_staged(&agent->worker, peer, keepalive, agent->now_ns);
		send_finish(&agent->worker);
	}
}

static inline void agent_keep(struct agent *agent, const struct udp_tx_msg *msg, const uint8_t *data, uint32_t len)
{
	struct agent_datagram *datagram = &agent->sent[agent->n_sent++ % AGENT_MAX_SENT];

	free(datagram->data);
	*datagram = (struct agent_datagram){ .to = msg->to, .ds = msg->ds, .len = len, .data = malloc(len + 1) };
	memcpy(datagram->data, data, len);
}

static inline void agent_flush_tx(struct worker *worker)
{
	struct agent *agent = worker->io;

	agent->n_flushes++;
	for (unsigned int i = 0; i < worker->tx.n_msgs; i++) {
		struct udp_tx_msg *msg = &worker->tx.msgs[i];

		msg->error = agent->send_error;
		msg->src_refused = agent->refuse_src;
		for (uint32_t v = 0; v < msg->n_iov && !msg->error; v++) {
			const uint8_t *data = msg->iov[v].iov_base;
			size_t left = msg->iov[v].iov_len;

			while (left) {
				uint32_t len = left > msg->segment_size ? msg->segment_size : (uint32_t)left;

				agent_keep(agent, msg, data, len);
				data += len;
				left -= len;
			}
		}
		send_done(worker, msg, agent->now_ns);
	}
	udp_tx_reset(&worker->tx);
}

/* Packets are kept as the kernel would give them to their receiver: one by one. */
static inline void agent_flush_inner(struct worker *worker)
{
	struct agent *agent = worker->io;

	gso_coalesce_finish(&worker->inner);
	for (uint32_t i = 0; i < worker->inner.n_supers; i++) {
		const struct gso_super *super = &worker->inner.supers[i];

		for (unsigned int k = 0; k < super->n_packets; k++) {
			uint8_t *packet = malloc(GSO_MAX_SIZE);
			unsigned int at = agent->n_inner++ % AGENT_MAX_SENT;

			free(agent->inner[at]);
			agent->inner_len[at] = gso_super_packet(super, k, packet);
			agent->inner[at] = packet;
		}
	}
	gso_coalesce_reset(&worker->inner);
}

static inline void agent_wake_nobody(void *arg)
{
	(void)arg;
}

/* Not up, without identity or peers. */
static inline struct agent *agent_create(void)
{
	struct agent *agent = calloc(1, sizeof(*agent));
	struct device_hooks hooks = { .arg = agent, .random = agent_random, .realtime_ns = agent_realtime,
				      .wake_handshake = agent_wake_handshake, .wake_control = agent_wake_control,
				      .send_staged = agent_send_staged };
	int error = sodium_init() < 0 ? -1 : secret_init(1UL << 30);

	if ((error && error != -EALREADY) || device_init(&agent->device, &hooks) ||
	    worker_init(&agent->worker, &agent->device, AEAD_BACKEND_SODIUM))
		abort();
	agent->worker.handshakes = handshake_queue_create(agent_wake_nobody, NULL);
	agent->worker.io = agent;
	agent->worker.flush_tx = agent_flush_tx;
	agent->worker.flush_inner = agent_flush_inner;
	agent->now_ns = 1000 * AGENT_SECOND;
	agent->realtime_ns = 1767225600ULL * AGENT_SECOND;
	agent->device.mtu = agent->device.route_mtu = 1420;
	return agent;
}

static inline void agent_forget(struct agent *agent)
{
	for (unsigned int i = 0; i < agent->n_sent && i < AGENT_MAX_SENT; i++) {
		free(agent->sent[i].data);
		agent->sent[i].data = NULL;
	}
	for (unsigned int i = 0; i < agent->n_inner && i < AGENT_MAX_SENT; i++) {
		free(agent->inner[i]);
		agent->inner[i] = NULL;
	}
	agent->n_sent = agent->n_flushes = agent->n_inner = 0;
}

static inline void agent_dispose(struct agent *agent)
{
	struct device_retired retired;

	if (device_take_retired(&agent->device, &retired))
		device_free_retired(&agent->device, &retired);
}

static inline void agent_free(struct agent *agent)
{
	agent_forget(agent);
	handshake_queue_free(agent->worker.handshakes);
	worker_deinit(&agent->worker);
	device_deinit(&agent->device);
	free(agent);
}

static inline void agent_endpoint(struct endpoint *endpoint, unsigned int n)
{
	memset(endpoint, 0, sizeof(*endpoint));
	endpoint->addr4.sin_family = AF_INET;
	endpoint->addr4.sin_port = htons((uint16_t)(10000 + n % 50000));
	endpoint->addr4.sin_addr.s_addr = htonl(0xc6336400 + n / 50000);
}

/* Any key of 32 bytes is some peer's. */
static inline void agent_key(uint8_t key[static 32], unsigned int n)
{
	memset(key, 0, 32);
	memcpy(key, &n, sizeof(n));
	key[8] = 0x77;
}

static inline int agent_apply(struct agent *agent, const struct device_config *config)
{
	int error;

	device_lock(&agent->device);
	error = device_apply(&agent->device, config, agent->now_ns);
	device_unlock(&agent->device);
	return error;
}

static inline void agent_set_key(struct agent *agent, const uint8_t private_key[static 32])
{
	struct device_config config = { .flags = CONFIG_DEVICE_HAS_PRIVATE_KEY };

	memcpy(config.private_key, private_key, 32);
	if (agent_apply(agent, &config))
		abort();
}

/* A peer with 10.x.x.x/32, x from n, and perhaps an endpoint. */
static inline struct config_peer *agent_config_peer(struct device_config *config, const uint8_t key[static 32],
						    unsigned int n, bool has_endpoint)
{
	struct config_peer *peer = device_config_add_peer(config, key);
	uint32_t address = htonl(0x0a000000 + n);

	if (!peer || config_peer_add_allowed_ip(peer, AF_INET, &address, 32, false))
		abort();
	if (has_endpoint) {
		peer->flags |= CONFIG_PEER_HAS_ENDPOINT;
		agent_endpoint(&peer->endpoint, n);
	}
	return peer;
}

static inline struct peer *agent_add_peer(struct agent *agent, const uint8_t key[static 32], unsigned int n,
					  bool has_endpoint)
{
	struct device_config config = { 0 };

	agent_config_peer(&config, key, n, has_endpoint);
	if (agent_apply(agent, &config))
		abort();
	device_config_deinit(&config);
	return device_lookup_peer(&agent->device, key);
}

/* A session as if a handshake had taken place; its keys are all n, and n is its remote index. */
static inline struct keypair *agent_add_session(struct agent *agent, struct peer *peer, bool i_am_the_initiator,
						uint8_t n)
{
	struct noise_session session = { .remote_index = n, .i_am_the_initiator = i_am_the_initiator };
	struct keypair *keypair, *dropped = NULL;

	memset(session.sending_key, n, sizeof(session.sending_key));
	memset(session.receiving_key, n, sizeof(session.receiving_key));
	keypair = keypair_create(&session, peer, agent->now_ns);
	device_insert_index(&agent->device, &keypair->index, INDEX_KEYPAIR, keypair);
	peer_lock(peer);
	keypairs_add_new(&peer->keypairs, keypair, &dropped);
	timers_session_derived(&peer->timers, agent->now_ns);
	device_retire_keypairs(&agent->device, dropped);
	peer_unlock(peer);
	return keypair;
}

/* An inner UDP packet of len bytes between 10.x addresses. Returns len. */
static inline uint32_t agent_inner(uint8_t *packet, unsigned int from, unsigned int to, uint32_t len)
{
	struct iphdr *ip = (void *)packet;

	memset(packet, 0, len);
	*ip = (struct iphdr){ .version = 4, .ihl = 5, .tot_len = htons((uint16_t)len), .ttl = 64,
			      .protocol = IPPROTO_UDP, .saddr = htonl(0x0a000000 + from),
			      .daddr = htonl(0x0a000000 + to) };
	for (uint32_t i = sizeof(*ip) + 8; i < len; i++)
		packet[i] = (uint8_t)i;
	return len;
}

/* A sealed data message for a session whose receiving key is all n. Returns its length. */
static inline uint32_t agent_seal(uint8_t *message, uint32_t index, uint8_t n, uint64_t counter, const uint8_t *inner,
				  uint32_t len)
{
	struct message_data hdr = { .type = MESSAGE_DATA, .receiver_index = index, .counter = counter };
	uint8_t nonce[12] = { 0 }, key[32];

	memcpy(nonce + 4, &counter, sizeof(counter));
	memset(key, n, sizeof(key));
	memcpy(message, &hdr, sizeof(hdr));
	crypto_aead_chacha20poly1305_ietf_encrypt(message + sizeof(hdr), NULL, inner, len, NULL, 0, NULL, nonce, key);
	return len + MESSAGE_DATA_OVERHEAD;
}

static inline void agent_receive(struct agent *agent, uint8_t *data, uint32_t len, uint32_t segment_size,
				 const struct endpoint *from, uint8_t ds)
{
	struct udp_rx_msg msg = { .from = *from, .data = data, .len = len, .segment_size = segment_size, .ds = ds };

	receive_messages(&agent->worker, &msg, 1, agent->now_ns);
	if (agent->worker.inner.n_supers)
		agent_flush_inner(&agent->worker);
}

static inline uint64_t agent_drops(const struct agent *agent, enum drop_reason why)
{
	return agent->worker.drops[why];
}

#endif
