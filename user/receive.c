// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The inbound walk: datagrams to inner packets.
 *
 * The order of the steps is a security property: nothing a packet claims may change peer state before its tag and its
 * counter have been checked. Whatever a BPF program has checked before is checked again here.
 */
#include "receive.h"

#include <endian.h>
#include <string.h>

#include "handshake.h"
#include "inner.h"
#include "send.h"
#include "worker.h"

/* Step 1 of a data message: index -> keypair; may it still receive? */
static enum drop_reason receive_data(struct worker *worker, const struct udp_rx_msg *msg, uint8_t *data, uint32_t len,
				     uint64_t now_ns)
{
	struct message_data hdr;
	struct keypair *keypair;
	struct aead_op *op;

	if (len < MESSAGE_DATA_OVERHEAD)
		return DROP_LENGTH;
	memcpy(&hdr, data, sizeof(hdr));
	keypair = index_table_lookup(worker->device->indices, le32toh(hdr.receiver_index), 1 << INDEX_KEYPAIR, NULL);
	if (!keypair)
		return DROP_INDEX_UNKNOWN;
	if (!keypair_can_receive(keypair, now_ns))
		return DROP_KEYPAIR_EXPIRED;
	if (le64toh(hdr.counter) >= REJECT_AFTER_MESSAGES)
		return DROP_COUNTER_LIMIT;

	op = &worker->ops[worker->n_ops];
	op->src = op->dst = data + sizeof(hdr);
	op->len = len - MESSAGE_DATA_OVERHEAD;
	op->counter = le64toh(hdr.counter);
	op->key = keypair->receiving_key;
	worker->rx_pkts[worker->n_ops++] = (struct worker_rx_pkt){ .keypair = keypair, .msg = msg };
	return DROP_NONE;
}

/* Authentic and fresh: from here on, and only from here on, peer state may change. Returns how many packets are. */
static unsigned int accept_packets(struct worker *worker, struct worker_rx_pkt *pkts, const struct aead_op *ops,
				   unsigned int n, bool *has_data)
{
	const struct endpoint *from = NULL;
	unsigned int n_accepted = 0;

	for (unsigned int i = 0; i < n; i++) {
		if (!ops[i].ok) {
			worker_drop(worker, DROP_BAD_TAG, 1);
			continue;
		}
		if (!replay_accept(&pkts[i].keypair->replay, ops[i].counter)) {
			worker_drop(worker, DROP_REPLAYED, 1);
			continue;
		}
		pkts[i].is_accepted = true;
		from = &pkts[i].msg->from;
		*has_data |= ops[i].len > 0;
		n_accepted++;
	}
	if (from)
		peer_set_endpoint(pkts->keypair->peer, from);
	return n_accepted;
}

/* Steps 3 and 4 for consecutive packets of one keypair: replay window, then endpoint, confirmation and timers, at once. */
static void receive_authenticated(struct worker *worker, struct worker_rx_pkt *pkts, const struct aead_op *ops,
				  unsigned int n, uint64_t now_ns)
{
	struct peer *peer = pkts->keypair->peer;
	struct device *device = worker->device;
	struct keypair *dropped = NULL;
	bool confirmed = false, has_data = false;

	peer_lock(peer);
	if (!accept_packets(worker, pkts, ops, n, &has_data) || peer->is_dead)
		goto out;
	confirmed = keypairs_received_with(&peer->keypairs, pkts->keypair, &dropped);
	if (confirmed)
		timers_handshake_complete(&peer->timers, device->hooks.realtime_ns(device->hooks.arg));
	if (!peer->timers.sent_lastminute_handshake &&
	    keypair_receiver_wants_rekey(peer->keypairs.current, now_ns)) {
		peer->timers.sent_lastminute_handshake = true;
		device_request_initiation(peer, false, now_ns);
	}
	timers_any_authenticated_packet_received(&peer->timers);
	timers_any_authenticated_packet_traversal(&peer->timers, now_ns);
	if (has_data)
		timers_data_received(&peer->timers, now_ns);
	peer_schedule(peer);
	/* Before the lock is given back: a peer that is being removed leaves no keypair in the index table. */
	device_retire_keypairs(device, dropped);
out:
	peer_unlock(peer);
	if (confirmed) {
		send_staged(worker, peer, false, now_ns);
		send_finish(worker);
	}
}

/* Step 5: the packet inside; its source must be an allowed IP of this very peer. */
static enum drop_reason receive_inner(struct worker *worker, const struct worker_rx_pkt *pkt, const struct aead_op *op)
{
	struct peer *peer = pkt->keypair->peer;
	uint32_t len = op->len;
	enum drop_reason why;

	if (len) {
		why = inner_check(op->dst, &len);
		if (why)
			return why;
		if (peer_of_owner(allowedips_lookup_src(worker->device->allowedips, op->dst)) != peer)
			return DROP_SOURCE_NOT_ALLOWED;
		inner_ecn_decapsulate(op->dst, pkt->msg->ds);
		if (!gso_coalesce(&worker->inner, op->dst, len)) {
			worker->flush_inner(worker);
			gso_coalesce(&worker->inner, op->dst, len);
		}
	}
	atomic_fetch_add_explicit(&peer->rx_bytes, op->len + MESSAGE_DATA_OVERHEAD, memory_order_relaxed);
	return DROP_NONE;
}

/* Opens the burst and takes it through the remaining steps. */
static void receive_burst(struct worker *worker, uint64_t now_ns)
{
	unsigned int n = worker->n_ops, run;
	struct worker_rx_pkt pkts[WORKER_BURST];
	struct aead_op ops[WORKER_BURST];

	if (!n)
		return;
	aead_open_burst(worker->aead, worker->ops, n);
	/* Staged packets that a confirmation sets free are sealed through worker->ops: keep ours apart. */
	memcpy(pkts, worker->rx_pkts, n * sizeof(*pkts));
	memcpy(ops, worker->ops, n * sizeof(*ops));
	worker->n_ops = 0;
	for (unsigned int i = 0; i < n; i += run) {
		for (run = 1; i + run < n && pkts[i + run].keypair == pkts[i].keypair; run++)
			;
		receive_authenticated(worker, &pkts[i], &ops[i], run, now_ns);
	}
	for (unsigned int i = 0; i < n; i++) {
		enum drop_reason why;

		if (!pkts[i].is_accepted)
			continue;
		why = receive_inner(worker, &pkts[i], &ops[i]);
		if (why)
			worker_drop(worker, why, 1);
	}
}

static bool is_handshake_length(uint32_t type, uint32_t len)
{
	return (type == MESSAGE_HANDSHAKE_INITIATION && len == sizeof(struct message_handshake_initiation)) ||
	       (type == MESSAGE_HANDSHAKE_RESPONSE && len == sizeof(struct message_handshake_response)) ||
	       (type == MESSAGE_HANDSHAKE_COOKIE && len == sizeof(struct message_handshake_cookie));
}

static enum drop_reason receive_message(struct worker *worker, const struct udp_rx_msg *msg, uint8_t *data,
					uint32_t len, uint64_t now_ns)
{
	__le32 word;
	uint32_t type;

	if (len < sizeof(word))
		return DROP_LENGTH;
	memcpy(&word, data, sizeof(word));
	type = le32toh(word);
	if (type == MESSAGE_DATA)
		return receive_data(worker, msg, data, len, now_ns);
	if (type < MESSAGE_HANDSHAKE_INITIATION || type > MESSAGE_DATA)
		return DROP_TYPE_UNKNOWN;
	if (!is_handshake_length(type, len))
		return DROP_LENGTH;
	if (!handshake_queue_push(worker->handshakes, &msg->from, data, len))
		return DROP_HANDSHAKE_QUEUE;
	return DROP_NONE;
}

void receive_messages(struct worker *worker, struct udp_rx_msg *msgs, unsigned int n, uint64_t now_ns)
{
	uint64_t n_packets = 0;

	for (unsigned int i = 0; i < n; i++) {
		struct udp_rx_msg *msg = &msgs[i];
		uint32_t offset = 0;

		if (msg->is_truncated) {
			worker_drop(worker, DROP_TRUNCATED, 1);
			continue;
		}
		do {
			uint32_t left = msg->len - offset;
			uint32_t len = msg->segment_size && left > msg->segment_size ? msg->segment_size : left;
			enum drop_reason why = receive_message(worker, msg, msg->data + offset, len, now_ns);

			if (why)
				worker_drop(worker, why, 1);
			if (worker->n_ops == WORKER_BURST)
				receive_burst(worker, now_ns);
			offset += len;
			n_packets++;
		} while (offset < msg->len);
	}
	receive_burst(worker, now_ns);
	atomic_fetch_add_explicit(&worker->rx_packets, n_packets, memory_order_relaxed);
}
