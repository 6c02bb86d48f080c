// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The outbound walk: inner packets to sealed messages.
 *
 * Counters are assigned under the peer's lock, for a whole super-packet at once: that is the serial step. Everything
 * after it, copying, padding, sealing, runs without a lock on buffers that this thread owns.
 */
#include "send.h"

#include <endian.h>
#include <string.h>

#include "inner.h"
#include "worker.h"

/* Unreachable errors: at most so many a second, after a burst of so many. */
#define ICMP_PER_SECOND 100
#define ICMP_BURST 50

/* Consecutive counters of one keypair, and where its packets go. */
struct send_slot {
	struct peer *peer;
	const uint8_t *key;
	uint64_t counter;
	uint32_t remote_index;
	uint8_t ds;
	struct endpoint to;
};

/* Seals the burst and hands it over to tx, in order. */
static void seal_burst(struct worker *worker)
{
	unsigned int n = worker->n_ops;

	if (!n)
		return;
	aead_seal_burst(worker->aead, worker->ops, n);
	worker->n_ops = 0;
	worker->n_endpoints = 0;
	for (unsigned int i = 0; i < n; i++) {
		const struct worker_tx_pkt *pkt = &worker->tx_pkts[i];
		const struct endpoint *to = &worker->endpoints[pkt->endpoint];

		if (udp_tx_add(&worker->tx, to, pkt->ds, pkt->message, pkt->len, pkt->peer))
			continue;
		worker->flush_tx(worker);
		udp_tx_add(&worker->tx, to, pkt->ds, pkt->message, pkt->len, pkt->peer);
	}
}

void send_finish(struct worker *worker)
{
	seal_burst(worker);
	if (worker->tx.n_msgs)
		worker->flush_tx(worker);
	worker->tx_used = 0;
}

uint8_t *worker_tx_reserve(struct worker *worker, uint32_t len)
{
	uint8_t *out;

	if (len > WORKER_TX_SIZE - worker->tx_used)
		send_finish(worker);
	out = worker->tx_buffer + worker->tx_used;
	worker->tx_used += len;
	return out;
}

/*
 * The serial step. With the peer's lock held: n counters, and what the paper's timers want to know before data is sent.
 * False without a usable keypair.
 */
static bool reserve_counters(struct send_slot *slot, struct peer *peer, uint32_t n, uint64_t now_ns)
{
	struct keypair *keypair = peer->keypairs.current;

	if (!keypair_nonce_next(keypair, n, now_ns, &slot->counter))
		return false;
	slot->peer = peer;
	slot->key = keypair->sending_key;
	slot->remote_index = keypair->remote_index;
	slot->to = peer->endpoint;
	timers_any_authenticated_packet_sent(&peer->timers);
	timers_any_authenticated_packet_traversal(&peer->timers, now_ns);
	if (keypair_sender_wants_rekey(keypair, now_ns))
		device_request_initiation(peer, false, now_ns);
	peer_schedule(peer);
	return true;
}

/* What padding must not exceed. Only the kernel knows an inner packet's route: one that fits the least may be on it. */
static uint32_t padding_mtu(const struct device *device, uint32_t len)
{
	uint32_t route_mtu = atomic_load_explicit(&device->route_mtu, memory_order_relaxed);

	return len <= route_mtu ? route_mtu : atomic_load_explicit(&device->mtu, memory_order_relaxed);
}

/* Room for a data message with len bytes of inner packet; the caller copies that to the place returned. */
static uint8_t *begin_message(struct worker *worker, struct send_slot *slot, uint32_t len)
{
	uint32_t padding = inner_padding(len, padding_mtu(worker->device, len));
	uint32_t message_len = len + padding + MESSAGE_DATA_OVERHEAD;
	struct message_data hdr = {
		.type = htole32(MESSAGE_DATA),
		.receiver_index = htole32(slot->remote_index),
		.counter = htole64(slot->counter),
	};
	uint8_t *message = worker_tx_reserve(worker, message_len), *inner = message + sizeof(hdr);
	unsigned int i;

	if (worker->n_ops == WORKER_BURST)
		seal_burst(worker);
	i = worker->n_ops++;
	if (!i || !endpoint_equal(&worker->endpoints[worker->n_endpoints - 1], &slot->to))
		worker->endpoints[worker->n_endpoints++] = slot->to;
	memcpy(message, &hdr, sizeof(hdr));
	memset(inner + len, 0, padding);
	worker->ops[i] = (struct aead_op){ .src = inner, .dst = inner, .len = len + padding,
					   .counter = slot->counter++, .key = slot->key };
	worker->tx_pkts[i] = (struct worker_tx_pkt){ .peer = slot->peer, .message = message, .len = message_len,
						     .ds = slot->ds, .endpoint = (uint16_t)(worker->n_endpoints - 1) };
	return inner;
}

/* Keeps a copy of each segment until there is a keypair. With the peer's lock held. */
static void stage_packet(struct worker *worker, struct peer *peer, const struct gso_split *split, uint8_t ds)
{
	for (uint32_t i = 0; i < split->n_segments; i++) {
		struct staged_packet *packet = staged_packet_create(gso_split_len(split, i), ds);

		if (!packet) {
			worker_drop(worker, DROP_NO_MEMORY, split->n_segments - i);
			return;
		}
		gso_split_segment(split, i, packet->data);
		worker_drop(worker, DROP_STAGED_FULL, peer_stage(peer, packet));
	}
}

static bool take_icmp_token(struct worker *worker, uint64_t now_ns)
{
	uint64_t earned;

	if (now_ns > worker->icmp_next_ns) {
		earned = (now_ns - worker->icmp_next_ns) / (NS_PER_SECOND / ICMP_PER_SECOND);
		worker->icmp_tokens = earned + worker->icmp_tokens > ICMP_BURST ? ICMP_BURST :
										  (uint32_t)earned + worker->icmp_tokens;
		worker->icmp_next_ns = earned ? now_ns : worker->icmp_next_ns;
	}
	if (!worker->icmp_tokens)
		return false;
	worker->icmp_tokens--;
	return true;
}

/* Nobody can take the packet: its sender is told. */
static void send_unreachable(struct worker *worker, enum drop_reason why, const uint8_t *packet, uint32_t len,
			     uint64_t now_ns)
{
	uint8_t icmp[INNER_ICMP_MAX];
	uint32_t icmp_len;

	worker_drop(worker, why, 1);
	if (!take_icmp_token(worker, now_ns))
		return;
	icmp_len = inner_icmp_unreachable(icmp, packet, len);
	if (!icmp_len)
		return;
	gso_coalesce(&worker->inner, icmp, icmp_len);
	worker->flush_inner(worker);
}

void send_packet(struct worker *worker, const struct virtio_net_hdr *hdr, const uint8_t *packet, uint32_t len,
		 uint64_t now_ns)
{
	struct send_slot slot = { 0 };
	struct gso_split split;
	enum drop_reason why;
	struct peer *peer;
	bool reserved, stage_first;

	why = gso_split_init(&split, hdr, packet, len);
	if (why) {
		worker_drop(worker, why, 1);
		return;
	}
	peer = peer_of_owner(allowedips_lookup_dst(worker->device->allowedips, packet));
	if (!peer) {
		send_unreachable(worker, DROP_NO_PEER, packet, len, now_ns);
		return;
	}
	slot.ds = inner_ecn_encapsulate(packet);

	peer_lock(peer);
	if (peer->endpoint.family == AF_UNSPEC) {
		peer_unlock(peer);
		send_unreachable(worker, DROP_NO_ENDPOINT, packet, len, now_ns);
		return;
	}
	stage_first = peer->staged.first; /* who waits longer goes first */
	reserved = !stage_first && reserve_counters(&slot, peer, split.n_segments, now_ns);
	if (!reserved) {
		stage_packet(worker, peer, &split, slot.ds);
		if (!stage_first)
			device_request_initiation(peer, false, now_ns);
	}
	peer_unlock(peer);
	if (stage_first)
		send_staged(worker, peer, false, now_ns);
	for (uint32_t i = 0; reserved && i < split.n_segments; i++)
		gso_split_segment(&split, i, begin_message(worker, &slot, gso_split_len(&split, i)));
}

void send_staged(struct worker *worker, struct peer *peer, bool keepalive, uint64_t now_ns)
{
	struct staged_queue queue = { 0 };
	struct send_slot slot = { 0 };
	struct staged_packet *packet;

	peer_lock(peer);
	if (peer->is_dead || peer->endpoint.family == AF_UNSPEC)
		goto out;
	if (keepalive && !peer->staged.first) {
		packet = staged_packet_create(0, 0);
		if (packet)
			peer_stage(peer, packet);
	}
	if (!peer->staged.first)
		goto out;
	if (reserve_counters(&slot, peer, peer->staged.n_packets, now_ns))
		queue = peer_take_staged(peer);
	else
		device_request_initiation(peer, false, now_ns);
out:
	peer_unlock(peer);
	for (packet = queue.first; packet; packet = packet->next) {
		slot.ds = packet->ds;
		memcpy(begin_message(worker, &slot, packet->len), packet->data, packet->len);
	}
	staged_packets_free(queue.first);
}

void send_done(struct worker *worker, const struct udp_tx_msg *msg, uint64_t now_ns)
{
	struct peer *peer = msg->user;

	if (msg->error)
		worker_drop(worker, DROP_UDP_SEND, msg->n_segments);
	else
		atomic_fetch_add_explicit(&worker->tx_packets, msg->n_segments, memory_order_relaxed);
	if (!peer)
		return;
	if (!msg->error)
		atomic_fetch_add_explicit(&peer->tx_bytes, msg->len, memory_order_relaxed);
	peer_lock(peer);
	if (msg->src_refused && endpoint_equal(&peer->endpoint, &msg->to))
		endpoint_clear_src(&peer->endpoint);
	if (!msg->error && *(const uint8_t *)msg->iov[0].iov_base == MESSAGE_DATA &&
	    msg->segment_size > MESSAGE_DATA_OVERHEAD) {
		timers_data_sent(&peer->timers, now_ns, worker_random(worker));
		peer_schedule(peer);
	}
	peer_unlock(peer);
}
