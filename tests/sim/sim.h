/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A network of whole devices under a virtual clock: the walks, timers and tables of the agent, on a seeded wire that
 * loses, duplicates, delays and damages datagrams. Hours of protocol in seconds, the same each time for the same seed.
 */
#ifndef WG_XDP_SIM_H
#define WG_XDP_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "device.h"
#include "handshake.h"
#include "worker.h"

#define SIM_MAX_NODES 5
#define SIM_SECOND NS_PER_SECOND

/* Chances in parts of a million. */
struct sim_wire {
	uint32_t loss, duplication, corruption;
	uint64_t delay_ns, jitter_ns; /* each datagram takes delay + [0, jitter): jitter reorders */
};

struct sim_node {
	struct sim *sim;
	unsigned int number;
	struct device device;
	struct worker worker;
	struct handshake_queue *handshakes;
	struct handshake_state handshake_state;
	uint8_t private_key[32], public_key[32];
	uint16_t port;        /* changes when it roams */
	bool is_cut_off;      /* nothing it sends arrives */
	int64_t clock_offset_ns; /* of its real time */
	/* Inner packets delivered: how many, from whom, and whether each came once. */
	uint64_t n_delivered, n_delivered_from[SIM_MAX_NODES], n_delivered_twice;
	uint64_t last_delivery_ns;
	uint32_t next_sequence;
	/* Messages it has put on the wire, by type; index 0: keepalives. */
	uint64_t n_sent[5], last_sent_ns[5];
	uint64_t n_cookies_received;
};

struct sim_datagram {
	uint64_t when_ns;
	uint64_t order;
	uint8_t from, to; /* nodes */
	uint16_t from_port;
	uint8_t ds;
	uint32_t len;
	uint8_t *data;
};

struct sim {
	uint64_t now_ns;
	uint64_t seed;
	struct sim_wire wire;
	struct sim_node nodes[SIM_MAX_NODES];
	unsigned int n_nodes;
	struct sim_datagram *heap;
	size_t n_datagrams, capacity;
	uint64_t order;
	/* Sees each datagram before the wire does its worst; true: swallow it. */
	bool (*tap)(struct sim *sim, const struct sim_datagram *datagram, void *arg);
	void *tap_arg;
};

/* Nodes have identities and are up, but have no peers. Never fails: a test that cannot have memory ends. */
struct sim *sim_create(uint64_t seed, unsigned int n_nodes);
/* Checks, too, that nothing is left behind. */
void sim_free(struct sim *sim);

/* Makes a and b peers of each other, with node addresses as allowed IPs; psk may be NULL. a knows b's endpoint. */
void sim_connect(struct sim *sim, unsigned int a, unsigned int b, const uint8_t *psk);
/* Applies a configuration to a node, as control does. */
void sim_apply(struct sim_node *node, const struct device_config *config);
void sim_set_private_key(struct sim_node *node, const uint8_t private_key[static 32]);
void sim_set_up(struct sim_node *node, bool up);
struct peer *sim_peer(struct sim *sim, unsigned int node, unsigned int of);

/* An inner packet of len bytes (at least 28), UDP over IPv4, from one node to another. */
void sim_send(struct sim *sim, unsigned int from, unsigned int to, uint32_t len);
/* Puts a datagram on the wire as if node from had sent it from its present port. */
void sim_inject(struct sim *sim, unsigned int from, unsigned int to, const void *data, uint32_t len);

/* One stream of packets of 100 bytes, as regular as a call. */
void sim_stream(struct sim *sim, unsigned int from, unsigned int to, uint64_t duration_ns, uint64_t interval_ns);
void sim_set_keepalive(struct sim *sim, unsigned int node, unsigned int of, uint16_t interval_s);

/* Lets everything happen that is due until then. */
void sim_run_until(struct sim *sim, uint64_t when_ns);
void sim_run(struct sim *sim, uint64_t duration_ns);
uint64_t sim_drops(const struct sim_node *node, enum drop_reason why);
uint32_t sim_random(struct sim *sim);

#endif
