/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The outbound walk: inner packets to sealed messages. */
#ifndef WG_XDP_SEND_H
#define WG_XDP_SEND_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stdint.h>

struct peer;
struct worker;

/*
 * One (super-)packet from the tunnel device: route by allowed IPs, split, and seal; or stage, and ask for a handshake; or
 * answer that it is unreachable. The packet is not referred to afterwards. Sealed messages are in the worker's tx after
 * send_finish().
 */
void send_packet(struct worker *worker, const struct virtio_net_hdr *hdr, const uint8_t *packet, uint32_t len,
		 uint64_t now_ns);

/* Sends what the peer has staged, and if that was nothing and keepalive, a keepalive; without keypair asks for a handshake. */
void send_staged(struct worker *worker, struct peer *peer, bool keepalive, uint64_t now_ns);

/* Seals what waits and hands all messages to the network. */
void send_finish(struct worker *worker);

/*
 * Called by flush_tx with each message's outcome: counts, clears refused sources, data-sent timers. A message's user
 * pointer is its peer, NULL for cookie replies.
 */
struct udp_tx_msg;
void send_done(struct worker *worker, const struct udp_tx_msg *msg, uint64_t now_ns);

#endif
