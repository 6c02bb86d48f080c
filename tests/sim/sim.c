// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The simulator. No thread, no clock, no socket: what the agent's threads do is done here in the order of time. */
#include "sim.h"

#include <arpa/inet.h>
#include <endian.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"
#include "crypto/x25519.h"
#include "expiry.h"
#include "receive.h"
#include "send.h"

#define must(condition)                                                                      \
	do {                                                                                 \
		if (!(condition)) {                                                          \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                             \
		}                                                                            \
	} while (0)

/* Real time when a simulation starts: 2026. */
#define EPOCH_NS (1767225600ULL * NS_PER_SECOND)
/* Since boot. */
#define START_NS (1000 * NS_PER_SECOND)

/* The hooks' generator has no argument: one simulation at a time. */
static struct sim *running;

uint32_t sim_random(struct sim *sim)
{
	/* splitmix64 */
	uint64_t z = sim->seed += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return (uint32_t)((z ^ (z >> 31)) >> 16);
}

static bool chance(struct sim *sim, uint32_t parts_of_a_million)
{
	return parts_of_a_million && sim_random(sim) % 1000000 < parts_of_a_million;
}

static void random_bytes(void *out, size_t len)
{
	for (uint8_t *p = out; len--; p++)
		*p = (uint8_t)sim_random(running);
}

static uint64_t realtime_ns(void *arg)
{
	struct sim_node *node = arg;

	return EPOCH_NS + node->sim->now_ns + (uint64_t)node->clock_offset_ns;
}

static void wake_nobody(void *arg)
{
	(void)arg;
}

static void hook_send_staged(void *arg, struct peer *peer, bool keepalive)
{
	struct sim_node *node = arg;

	send_staged(&node->worker, peer, keepalive, node->sim->now_ns);
	send_finish(&node->worker);
}

/* ------ The wire ------ */

static bool is_earlier(const struct sim_datagram *a, const struct sim_datagram *b)
{
	return a->when_ns != b->when_ns ? a->when_ns < b->when_ns : a->order < b->order;
}

static void heap_push(struct sim *sim, struct sim_datagram datagram)
{
	size_t i = sim->n_datagrams++;

	if (sim->n_datagrams > sim->capacity) {
		sim->capacity = sim->capacity ? sim->capacity * 2 : 256;
		sim->heap = realloc(sim->heap, sim->capacity * sizeof(*sim->heap));
		must(sim->heap);
	}
	for (; i && is_earlier(&datagram, &sim->heap[(i - 1) / 2]); i = (i - 1) / 2)
		sim->heap[i] = sim->heap[(i - 1) / 2];
	sim->heap[i] = datagram;
}

static struct sim_datagram heap_pop(struct sim *sim)
{
	struct sim_datagram first = sim->heap[0], last = sim->heap[--sim->n_datagrams];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < sim->n_datagrams) {
		if (child + 1 < sim->n_datagrams && is_earlier(&sim->heap[child + 1], &sim->heap[child]))
			child++;
		if (!is_earlier(&sim->heap[child], &last))
			break;
		sim->heap[i] = sim->heap[child];
		i = child;
	}
	sim->heap[i] = last;
	return first;
}

static void put_on_wire(struct sim *sim, struct sim_datagram datagram, const uint8_t *data)
{
	uint64_t jitter = sim->wire.jitter_ns ? ((uint64_t)sim_random(sim) * sim->wire.jitter_ns) >> 32 : 0;

	datagram.when_ns = sim->now_ns + sim->wire.delay_ns + jitter;
	datagram.order = sim->order++;
	datagram.data = malloc(datagram.len + 1); /* a datagram may be empty */
	must(datagram.data);
	memcpy(datagram.data, data, datagram.len);
	if (datagram.len && chance(sim, sim->wire.corruption))
		datagram.data[sim_random(sim) % datagram.len] ^= (uint8_t)(1 + sim_random(sim) % 255);
	heap_push(sim, datagram);
}

static void transmit(struct sim *sim, struct sim_datagram datagram)
{
	if (sim->tap && sim->tap(sim, &datagram, sim->tap_arg))
		return;
	if (sim->nodes[datagram.from].is_cut_off || chance(sim, sim->wire.loss))
		return;
	put_on_wire(sim, datagram, datagram.data);
	if (chance(sim, sim->wire.duplication))
		put_on_wire(sim, datagram, datagram.data);
}

void sim_inject(struct sim *sim, unsigned int from, unsigned int to, const void *data, uint32_t len)
{
	put_on_wire(sim, (struct sim_datagram){ .from = (uint8_t)from, .to = (uint8_t)to,
						.from_port = sim->nodes[from].port, .len = len }, data);
}

/* ------ A node's ends ------ */

/* Node n has the outer address 192.0.2.n and the inner one 10.0.0.n. */
static void node_endpoint(const struct sim_node *node, struct endpoint *endpoint)
{
	memset(endpoint, 0, sizeof(*endpoint));
	endpoint->addr4.sin_family = AF_INET;
	endpoint->addr4.sin_port = htons(node->port);
	endpoint->addr4.sin_addr.s_addr = htonl(0xc0000200 | node->number);
}

/* Whoever has this address now; a datagram to a port that a node has left is lost. */
static int node_at(struct sim *sim, const struct endpoint *to)
{
	for (unsigned int i = 0; i < sim->n_nodes; i++) {
		struct endpoint endpoint;

		node_endpoint(&sim->nodes[i], &endpoint);
		if (endpoint_remote_equal(&endpoint, to))
			return (int)i;
	}
	return -1;
}

static void count_sent(struct sim_node *node, const struct sim_datagram *datagram)
{
	unsigned int type = datagram->data[0];

	must(type >= MESSAGE_HANDSHAKE_INITIATION && type <= MESSAGE_DATA);
	/* An answer is never larger than what it answers, and only handshakes are marked. */
	must(datagram->ds == (type <= MESSAGE_HANDSHAKE_RESPONSE ? HANDSHAKE_DS : datagram->ds & 3));
	if (type == MESSAGE_DATA && datagram->len == MESSAGE_DATA_OVERHEAD)
		type = 0;
	node->n_sent[type]++;
	node->last_sent_ns[type] = node->sim->now_ns;
}

static void flush_tx(struct worker *worker)
{
	struct sim_node *node = worker->io;
	struct sim *sim = node->sim;

	for (unsigned int i = 0; i < worker->tx.n_msgs; i++) {
		struct udp_tx_msg *msg = &worker->tx.msgs[i];
		int to = node_at(sim, &msg->to);

		msg->error = 0;
		msg->src_refused = false;
		for (uint32_t k = 0; k < msg->n_iov; k++) {
			uint8_t *data = msg->iov[k].iov_base;
			size_t left = msg->iov[k].iov_len;

			while (left) {
				uint32_t len = left > msg->segment_size ? msg->segment_size : (uint32_t)left;
				struct sim_datagram datagram = { .from = (uint8_t)node->number, .to = (uint8_t)to,
								 .from_port = node->port, .ds = msg->ds,
								 .len = len, .data = data };

				count_sent(node, &datagram);
				if (to >= 0)
					transmit(sim, datagram);
				data += len;
				left -= len;
			}
		}
		send_done(worker, msg, sim->now_ns);
	}
	udp_tx_reset(&worker->tx);
}

/* The numbers of packets that a node has sent, as another has received them. */
static uint8_t *seen_bits(unsigned int from, unsigned int to, uint32_t sequence)
{
	static uint8_t seen[SIM_MAX_NODES][SIM_MAX_NODES][1 << 20];

	return &seen[from][to][sequence >> 3 & ((1 << 20) - 1)];
}

static void deliver(struct sim_node *node, const uint8_t *packet, size_t len)
{
	const struct iphdr *ip = (const void *)packet;
	unsigned int from = ntohl(ip->saddr) & 0xff;
	uint32_t sequence;
	uint8_t *seen, bit;

	must(len >= sizeof(*ip) && from < node->sim->n_nodes && ntohl(ip->daddr) == (0x0a000000 | node->number));
	if (ip->protocol != IPPROTO_UDP)
		return;
	must(len == ntohs(ip->tot_len));
	memcpy(&sequence, packet + sizeof(*ip) + 4, sizeof(sequence));
	seen = seen_bits(from, node->number, sequence);
	bit = (uint8_t)(1 << (sequence & 7));
	node->n_delivered_twice += (*seen & bit) != 0;
	*seen |= bit;
	node->n_delivered++;
	node->n_delivered_from[from]++;
	node->last_delivery_ns = node->sim->now_ns;
}

static void flush_inner(struct worker *worker)
{
	struct sim_node *node = worker->io;

	gso_coalesce_finish(&worker->inner);
	for (unsigned int i = 0; i < worker->inner.n_supers; i++) {
		const struct gso_super *super = &worker->inner.supers[i];

		must(super->n_packets == 1);
		deliver(node, super->iov[1].iov_base, super->iov[1].iov_len);
	}
	gso_coalesce_reset(&worker->inner);
}

void sim_send(struct sim *sim, unsigned int from, unsigned int to, uint32_t len)
{
	static const struct virtio_net_hdr no_offload;
	struct sim_node *node = &sim->nodes[from];
	uint8_t packet[65536] = { 0 };
	struct iphdr *ip = (void *)packet;
	uint32_t sequence = node->next_sequence++;

	must(len >= 28 && len <= sizeof(packet));
	*ip = (struct iphdr){ .version = 4, .ihl = 5, .tot_len = htons((uint16_t)len), .ttl = 64,
			      .protocol = IPPROTO_UDP, .saddr = htonl(0x0a000000 | from),
			      .daddr = htonl(0x0a000000 | to) };
	memcpy(packet + sizeof(*ip) + 4, &sequence, sizeof(sequence));
	*seen_bits(from, to, sequence) &= (uint8_t)~(1 << (sequence & 7));
	send_packet(&node->worker, &no_offload, packet, len, sim->now_ns);
	send_finish(&node->worker);
}

static void receive(struct sim *sim, struct sim_datagram *datagram)
{
	struct sim_node *node = &sim->nodes[datagram->to];
	struct udp_rx_msg msg = { .data = datagram->data, .len = datagram->len, .segment_size = datagram->len,
				  .ds = datagram->ds };

	node_endpoint(&sim->nodes[datagram->from], &msg.from);
	msg.from.addr4.sin_port = htons(datagram->from_port);
	msg.from.src4.s_addr = htonl(0xc0000200 | node->number);
	msg.from.src_if4 = 1;
	node->n_cookies_received += datagram->len && datagram->data[0] == MESSAGE_HANDSHAKE_COOKIE;
	if (node->device.is_up) {
		receive_messages(&node->worker, &msg, 1, sim->now_ns);
		if (node->worker.inner.n_supers)
			flush_inner(&node->worker);
	}
	free(datagram->data);
}

/* ------ Time ------ */

/* Everything a node's threads would do by themselves now. */
static void settle(struct sim_node *node)
{
	struct device_retired retired;

	while (handshake_run(&node->worker, &node->handshake_state, node->sim->now_ns))
		;
	expiry_run(&node->worker, node->sim->now_ns);
	while (handshake_run(&node->worker, &node->handshake_state, node->sim->now_ns))
		;
	device_collect_kicks(&node->device);
	if (device_take_retired(&node->device, &retired))
		device_free_retired(&node->device, &retired);
}

static uint64_t next_event(struct sim *sim)
{
	uint64_t next_ns = sim->n_datagrams ? sim->heap[0].when_ns : TIMERS_NEVER;

	for (unsigned int i = 0; i < sim->n_nodes; i++) {
		uint64_t due_ns;

		settle(&sim->nodes[i]);
		due_ns = timer_queue_next(&sim->nodes[i].device.timer_queue);
		if (due_ns < next_ns)
			next_ns = due_ns;
	}
	return sim->n_datagrams && sim->heap[0].when_ns < next_ns ? sim->heap[0].when_ns : next_ns;
}

void sim_run_until(struct sim *sim, uint64_t when_ns)
{
	uint64_t next_ns;

	while ((next_ns = next_event(sim)) <= when_ns) {
		if (next_ns > sim->now_ns)
			sim->now_ns = next_ns;
		while (sim->n_datagrams && sim->heap[0].when_ns <= sim->now_ns) {
			struct sim_datagram datagram = heap_pop(sim);

			receive(sim, &datagram);
		}
	}
	sim->now_ns = when_ns;
}

void sim_run(struct sim *sim, uint64_t duration_ns)
{
	sim_run_until(sim, sim->now_ns + duration_ns);
}

/* ------ Setting up ------ */

static void node_create(struct sim *sim, unsigned int number)
{
	struct sim_node *node = &sim->nodes[number];
	struct device_hooks hooks = { .arg = node, .random = random_bytes, .realtime_ns = realtime_ns,
				      .wake_handshake = wake_nobody, .wake_control = wake_nobody,
				      .send_staged = hook_send_staged };

	node->sim = sim;
	node->number = number;
	node->port = (uint16_t)(50000 + number);
	must(!device_init(&node->device, &hooks));
	must(!worker_init(&node->worker, &node->device, AEAD_BACKEND_SODIUM));
	node->handshakes = handshake_queue_create(wake_nobody, NULL);
	must(node->handshakes);
	node->worker.handshakes = node->handshakes;
	node->worker.io = node;
	node->worker.flush_tx = flush_tx;
	node->worker.flush_inner = flush_inner;
	node->worker.inner.tcp = node->worker.inner.udp = false;
	node->device.mtu = node->device.route_mtu = 1420;
	random_bytes(node->private_key, sizeof(node->private_key));
	sim_set_private_key(node, node->private_key);
	sim_set_up(node, true);
}

struct sim *sim_create(uint64_t seed, unsigned int n_nodes)
{
	static bool once;
	struct sim *sim = calloc(1, sizeof(*sim));

	must(sim && n_nodes <= SIM_MAX_NODES);
	if (!once)
		must(sodium_init() >= 0 && !secret_init(256 << 20));
	once = true;
	running = sim;
	sim->seed = seed;
	sim->now_ns = START_NS;
	sim->wire.delay_ns = 10 * 1000 * 1000;
	sim->n_nodes = n_nodes;
	for (unsigned int i = 0; i < n_nodes; i++)
		node_create(sim, i);
	return sim;
}

void sim_free(struct sim *sim)
{
	while (sim->n_datagrams)
		free(heap_pop(sim).data);
	for (unsigned int i = 0; i < sim->n_nodes; i++) {
		worker_deinit(&sim->nodes[i].worker);
		handshake_queue_free(sim->nodes[i].handshakes);
		device_deinit(&sim->nodes[i].device);
	}
	free(sim->heap);
	free(sim);
	running = NULL;
}

void sim_apply(struct sim_node *node, const struct device_config *config)
{
	pthread_mutex_lock(&node->device.lock);
	must(!device_apply(&node->device, config, node->sim->now_ns));
	pthread_mutex_unlock(&node->device.lock);
	settle(node);
}

void sim_set_private_key(struct sim_node *node, const uint8_t private_key[static 32])
{
	struct device_config config;

	device_config_init(&config);
	config.flags = CONFIG_DEVICE_HAS_PRIVATE_KEY;
	memcpy(config.private_key, private_key, 32);
	sim_apply(node, &config);
	device_config_deinit(&config);
	memcpy(node->private_key, private_key, 32);
	x25519_clamp(node->private_key);
	must(x25519_public(node->public_key, node->private_key));
}

void sim_set_up(struct sim_node *node, bool up)
{
	pthread_mutex_lock(&node->device.lock);
	if (up)
		device_up(&node->device);
	else
		device_down(&node->device, node->sim->now_ns);
	pthread_mutex_unlock(&node->device.lock);
}

static void add_peer(struct sim_node *node, const struct sim_node *of, const uint8_t *psk, bool with_endpoint)
{
	struct device_config config;
	struct config_peer *peer;
	uint32_t address = htonl(0x0a000000 | of->number);

	device_config_init(&config);
	peer = device_config_add_peer(&config, of->public_key);
	must(peer && !config_peer_add_allowed_ip(peer, AF_INET, &address, 32, false));
	peer->flags = CONFIG_PEER_REPLACE_ALLOWED_IPS;
	if (psk) {
		peer->flags |= CONFIG_PEER_HAS_PRESHARED_KEY;
		memcpy(peer->preshared_key, psk, 32);
	}
	if (with_endpoint) {
		peer->flags |= CONFIG_PEER_HAS_ENDPOINT;
		node_endpoint(of, &peer->endpoint);
	}
	sim_apply(node, &config);
	device_config_deinit(&config);
}

void sim_connect(struct sim *sim, unsigned int a, unsigned int b, const uint8_t *psk)
{
	add_peer(&sim->nodes[a], &sim->nodes[b], psk, true);
	add_peer(&sim->nodes[b], &sim->nodes[a], psk, false);
}

struct peer *sim_peer(struct sim *sim, unsigned int node, unsigned int of)
{
	struct peer *peer = device_lookup_peer(&sim->nodes[node].device, sim->nodes[of].public_key);

	must(peer);
	return peer;
}

uint64_t sim_drops(const struct sim_node *node, enum drop_reason why)
{
	return node->worker.drops[why];
}

/* ------ What tests do all the time ------ */

void sim_stream(struct sim *sim, unsigned int from, unsigned int to, uint64_t duration_ns, uint64_t interval_ns)
{
	uint64_t end_ns = sim->now_ns + duration_ns;

	while (sim->now_ns < end_ns) {
		sim_send(sim, from, to, 100);
		sim_run(sim, interval_ns);
	}
}

void sim_set_keepalive(struct sim *sim, unsigned int node, unsigned int of, uint16_t interval_s)
{
	struct device_config config;
	struct config_peer *peer;

	device_config_init(&config);
	peer = device_config_add_peer(&config, sim->nodes[of].public_key);
	peer->flags = CONFIG_PEER_HAS_PERSISTENT_KEEPALIVE;
	peer->persistent_keepalive_interval_s = interval_s;
	sim_apply(&sim->nodes[node], &config);
	device_config_deinit(&config);
}
