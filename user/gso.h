/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Inner super-packets: split what a TUN device with virtio_net_hdr reads, coalesce what it is given to write.
 *
 * Pure. Headers are virtio_net_hdr as TUN uses it: native byte order, no mergeable buffers.
 */
#ifndef WG_XDP_GSO_H
#define WG_XDP_GSO_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "drop_reason.h"

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

#define GSO_MAX_SIZE 65535
/* The smallest MSS a kernel agrees to (36 bytes of payload and timestamps) still fits; amplification ends here. */
#define GSO_SPLIT_MAX_SEGMENTS 2048

/* How one packet read from the TUN device becomes segments. */
struct gso_split {
	const uint8_t *packet;
	uint32_t len;
	uint32_t hdr_len;      /* network and transport headers, repeated in front of each segment; 0 without GSO */
	uint32_t payload_size; /* of each segment but the last */
	uint16_t csum_start, csum_offset;
	uint8_t gso_type; /* VIRTIO_NET_HDR_GSO_ without ECN; NONE: one segment */
	bool needs_csum;
	uint32_t n_segments;
	/* for gso_split_segment() alone: sums of the headers without what differs between segments */
	uint64_t ip_sum, transport_sum;
	uint16_t ip_id_step;
};

/*
 * Checks hdr and headers against each other and against len. Nothing is trusted: a TUN device can be fed by other
 * processes. DROP_NONE, DROP_OFFLOAD, DROP_INNER_VERSION or DROP_INNER_LENGTH.
 */
enum drop_reason gso_split_init(struct gso_split *split, const struct virtio_net_hdr *hdr, const uint8_t *packet,
				uint32_t len);

/* Length of segment i in bytes. */
uint32_t gso_split_len(const struct gso_split *split, uint32_t i);

/*
 * Writes segment i (complete: lengths, IPv4 id and checksum, TCP sequence and flags, transport checksum) to dst, which
 * has room for gso_split_len() bytes and does not overlap the packet. Returns its length.
 */
uint32_t gso_split_segment(const struct gso_split *split, uint32_t i, uint8_t *dst);

#define GSO_SUPER_MAX_SEGMENTS 64
#define GSO_BURST_MAX_SUPERS 256
#define GSO_FLOW_BUCKETS 256

/* One write to the TUN device. iov[0] is hdr, iov[1] the first packet, the others payloads of those that follow it. */
struct gso_super {
	struct virtio_net_hdr hdr;
	uint16_t n_iov;
	uint16_t n_packets;
	uint32_t len; /* of the packet, in bytes, without hdr */
	struct iovec iov[1 + GSO_SUPER_MAX_SEGMENTS];
	/* for gso_coalesce() alone */
	uint32_t next_seq;
	uint16_t payload_size, hdr_len;
	uint8_t kind;
	uint8_t ip_id_step; /* 1, or 0 where the sender leaves the IPv4 id of unfragmentable packets alone */
	bool is_open;
};

/* A burst on its way to the TUN device. Supers leave in the order of their first packets: no flow is reordered. */
struct gso_coalescer {
	struct gso_super *supers; /* GSO_BURST_MAX_SUPERS of them */
	uint32_t n_supers;
	bool tcp, udp;  /* what may be coalesced: what the device accepts */
	bool trust_csum; /* leave transport checksums to the kernel (the AEAD has proved the bytes) */
	/* for gso_coalesce() alone */
	uint32_t burst_id;
	uint16_t flow_super[GSO_FLOW_BUCKETS]; /* by hash of the flow: its last super + 1 */
	uint16_t pair_barrier[GSO_FLOW_BUCKETS]; /* by hash of the addresses: supers before this one are closed */
};

/* With trust_csum, and nothing to be coalesced yet. Returns 0 or -ENOMEM. */
int gso_coalescer_init(struct gso_coalescer *c, bool tcp, bool udp);
void gso_coalescer_deinit(struct gso_coalescer *c);

/*
 * Adds an inner packet whose version and length have been checked; it is referred to (its headers may be changed) and
 * must stay until written. False when no super is left: write, reset, and add again.
 */
bool gso_coalesce(struct gso_coalescer *c, uint8_t *packet, uint32_t len);
/* Call when the packets of the burst are all in, before writing: completes lengths and checksums. */
void gso_coalesce_finish(struct gso_coalescer *c);
void gso_coalesce_reset(struct gso_coalescer *c);

/*
 * Where the kernel takes no coalesced packets: rebuilds packet i (of n_packets) of a finished super as it came, with
 * complete checksums, so that it can be written behind a virtio_net_hdr of zeroes. dst has room for GSO_MAX_SIZE bytes
 * and overlaps none of them. Returns its length.
 */
uint32_t gso_super_packet(const struct gso_super *super, unsigned int i, uint8_t *dst);

#endif
