// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Inner super-packets.
 *
 * What is coalesced is what the kernel, splitting it again, turns back into the same bytes: that is why the list of
 * conditions is long. There is one exception. Where a sender gives unfragmentable IPv4 packets of a flow one constant
 * id, a kernel that splits counts it up; such an id means nothing (RFC 6864), and these flows are worth having.
 */
#include "gso.h"

#include <endian.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "checksum.h"
#include "inner.h"

#define IPV4_HDR_LEN 20
#define IPV6_HDR_LEN 40
#define TCP_HDR_LEN 20
#define UDP_HDR_LEN 8
#define TCP_CSUM_OFFSET 16
#define UDP_CSUM_OFFSET 6
#define TCP_SEQ_OFFSET 4
#define TCP_FLAGS_OFFSET 13

#define TCP_FIN 0x01
#define TCP_PSH 0x08
#define TCP_ACK 0x10
#define TCP_CWR 0x80

static uint16_t load16(const uint8_t *p)
{
	uint16_t value;

	memcpy(&value, p, sizeof(value));
	return value;
}

static uint32_t load32(const uint8_t *p)
{
	uint32_t value;

	memcpy(&value, p, sizeof(value));
	return value;
}

static uint64_t load64(const uint8_t *p)
{
	uint64_t value;

	memcpy(&value, p, sizeof(value));
	return value;
}

static void store16(uint8_t *p, uint16_t value)
{
	memcpy(p, &value, sizeof(value));
}

static void store32(uint8_t *p, uint32_t value)
{
	memcpy(p, &value, sizeof(value));
}

static bool is_v4(const uint8_t *packet)
{
	return packet[0] >> 4 == 4;
}

/* ------ Split ------ */

static enum drop_reason init_plain(struct gso_split *split, const struct virtio_net_hdr *hdr)
{
	uint32_t ip_hdr_len = is_v4(split->packet) ? (split->packet[0] & 0xf) * 4 : IPV6_HDR_LEN;

	split->n_segments = 1;
	split->payload_size = split->len;
	if (!split->needs_csum)
		return DROP_NONE;
	if (ip_hdr_len < IPV4_HDR_LEN || hdr->csum_start < ip_hdr_len ||
	    (uint32_t)hdr->csum_start + hdr->csum_offset + sizeof(uint16_t) > split->len)
		return DROP_OFFLOAD;
	return DROP_NONE;
}

static bool type_fits(const struct gso_split *split, uint8_t protocol)
{
	switch (split->gso_type) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return is_v4(split->packet) && protocol == IPPROTO_TCP;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return !is_v4(split->packet) && protocol == IPPROTO_TCP;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return protocol == IPPROTO_UDP;
	default:
		return false;
	}
}

/* The kernel's hdr_len is a hint, which may reach into the payload: the headers say themselves how long they are. */
static bool find_hdr_len(struct gso_split *split)
{
	const uint8_t *transport = split->packet + split->csum_start;
	uint32_t room = split->len - split->csum_start, tcp_hdr_len;

	if (split->gso_type == VIRTIO_NET_HDR_GSO_UDP_L4) {
		split->hdr_len = split->csum_start + UDP_HDR_LEN;
		return split->csum_offset == UDP_CSUM_OFFSET && room >= UDP_HDR_LEN;
	}
	if (split->csum_offset != TCP_CSUM_OFFSET || room < TCP_HDR_LEN)
		return false;
	tcp_hdr_len = (transport[12] >> 4) * 4;
	split->hdr_len = split->csum_start + tcp_hdr_len;
	return tcp_hdr_len >= TCP_HDR_LEN && tcp_hdr_len <= room;
}

/*
 * The checksum field holds the sum of the pseudo header with the whole length. It is kept, since it is right even where
 * a routing header hides the final destination, and the length taken out of it.
 */
static void sum_headers(struct gso_split *split)
{
	const uint8_t *packet = split->packet, *transport = packet + split->csum_start;
	uint64_t sum = checksum_add(0, transport, split->hdr_len - split->csum_start);

	if (split->gso_type == VIRTIO_NET_HDR_GSO_UDP_L4)
		sum += (uint16_t)~load16(transport + 4);
	else
		sum += (uint32_t)~load32(transport + TCP_SEQ_OFFSET) + (uint64_t)(uint16_t)~load16(transport + 12);
	split->transport_sum = sum + (uint16_t)~htobe16(split->len - split->csum_start);

	/* Length, id and checksum differ; options do not. */
	if (is_v4(packet))
		split->ip_sum = (uint64_t)load16(packet) + load32(packet + 6) +
				checksum_add(0, packet + 12, split->csum_start - 12);
}

static enum drop_reason init_gso(struct gso_split *split, const struct virtio_net_hdr *hdr)
{
	struct inner_transport t;
	uint32_t payload_len;

	if (!split->needs_csum || !hdr->gso_size)
		return DROP_OFFLOAD;
	if (!inner_find_transport(&t, split->packet, split->len) || t.is_fragment || t.offset != split->csum_start)
		return DROP_OFFLOAD;
	if (!type_fits(split, t.protocol) || !find_hdr_len(split))
		return DROP_OFFLOAD;

	split->payload_size = hdr->gso_size;
	payload_len = split->len - split->hdr_len;
	split->n_segments = payload_len ? (payload_len + hdr->gso_size - 1) / hdr->gso_size : 1;
	if (split->n_segments > GSO_SPLIT_MAX_SEGMENTS)
		return DROP_OFFLOAD;
	split->ip_id_step = 1;
	sum_headers(split);
	return DROP_NONE;
}

enum drop_reason gso_split_init(struct gso_split *split, const struct virtio_net_hdr *hdr, const uint8_t *packet,
				uint32_t len)
{
	uint32_t ip_len = len;
	enum drop_reason why = inner_check(packet, &ip_len);
	bool is_gso = hdr->gso_type != VIRTIO_NET_HDR_GSO_NONE;

	if (why)
		return why;
	if (ip_len > GSO_MAX_SIZE || (is_gso && ip_len != len))
		return DROP_INNER_LENGTH;

	*split = (struct gso_split){
		.packet = packet,
		.len = ip_len,
		.csum_start = hdr->csum_start,
		.csum_offset = hdr->csum_offset,
		.gso_type = hdr->gso_type,
		.needs_csum = hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM,
	};
	if (!is_gso)
		return init_plain(split, hdr);
	if ((hdr->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) != VIRTIO_NET_HDR_GSO_UDP_L4)
		split->gso_type &= ~VIRTIO_NET_HDR_GSO_ECN;
	return init_gso(split, hdr);
}

static uint32_t payload_len_of(const struct gso_split *split, uint32_t i)
{
	uint32_t rest = split->len - split->hdr_len - i * split->payload_size;

	return rest < split->payload_size ? rest : split->payload_size;
}

uint32_t gso_split_len(const struct gso_split *split, uint32_t i)
{
	return split->hdr_len + payload_len_of(split, i);
}

static void store_csum(const struct gso_split *split, uint8_t *dst, uint64_t sum)
{
	uint16_t check = ~checksum_fold(sum);

	/* In UDP zero means that there is none (RFC 768). */
	if (!check && split->csum_offset == UDP_CSUM_OFFSET)
		check = UINT16_MAX;
	store16(dst + split->csum_start + split->csum_offset, check);
}

static uint32_t write_plain(const struct gso_split *split, uint8_t *dst)
{
	if (!split->needs_csum) {
		memcpy(dst, split->packet, split->len);
		return split->len;
	}
	memcpy(dst, split->packet, split->csum_start);
	store_csum(split, dst, checksum_copy(0, dst + split->csum_start, split->packet + split->csum_start,
					     split->len - split->csum_start));
	return split->len;
}

/* Each returns what it has added to the checksummed part of the headers. */
static uint64_t patch_tcp(const struct gso_split *split, uint32_t i, uint8_t *tcp)
{
	if (i)
		tcp[TCP_FLAGS_OFFSET] &= ~TCP_CWR;
	if (i != split->n_segments - 1)
		tcp[TCP_FLAGS_OFFSET] &= ~(TCP_FIN | TCP_PSH);
	store32(tcp + TCP_SEQ_OFFSET, htobe32(be32toh(load32(tcp + TCP_SEQ_OFFSET)) + i * split->payload_size));
	return (uint64_t)load32(tcp + TCP_SEQ_OFFSET) + load16(tcp + 12);
}

static uint64_t patch_udp(uint8_t *udp, uint32_t udp_len)
{
	store16(udp + 4, htobe16(udp_len));
	return htobe16(udp_len);
}

static void patch_ip(const struct gso_split *split, uint32_t i, uint8_t *ip, uint32_t len)
{
	uint16_t id;

	if (!is_v4(ip)) {
		store16(ip + 4, htobe16(len - IPV6_HDR_LEN));
		return;
	}
	id = htobe16(be16toh(load16(ip + 4)) + i * split->ip_id_step);
	store16(ip + 2, htobe16(len));
	store16(ip + 4, id);
	store16(ip + 10, ~checksum_fold(split->ip_sum + htobe16(len) + id));
}

static uint32_t write_segment(const struct gso_split *split, uint32_t i, const uint8_t *payload, uint8_t *dst)
{
	uint32_t payload_len = payload_len_of(split, i), len = split->hdr_len + payload_len;
	uint32_t transport_len = len - split->csum_start;
	uint8_t *transport = dst + split->csum_start;
	uint64_t sum = split->transport_sum + htobe16(transport_len);

	memcpy(dst, split->packet, split->hdr_len);
	patch_ip(split, i, dst, len);
	if (split->gso_type == VIRTIO_NET_HDR_GSO_UDP_L4)
		sum += patch_udp(transport, transport_len);
	else
		sum += patch_tcp(split, i, transport);
	store_csum(split, dst, checksum_copy(sum, dst + split->hdr_len, payload, payload_len));
	return len;
}

uint32_t gso_split_segment(const struct gso_split *split, uint32_t i, uint8_t *dst)
{
	if (split->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return write_plain(split, dst);
	return write_segment(split, i, split->packet + split->hdr_len + i * split->payload_size, dst);
}

/* ------ Coalesce ------ */

enum kind { KIND_OTHER, KIND_TCP4, KIND_TCP6, KIND_UDP4, KIND_UDP6 };

#define FIXED_HDR_MAX (IPV6_HDR_LEN + TCP_HDR_LEN)

/* Bytes 0xff must be the same in all packets of a super; the others differ, or are compared by their meaning. */
#define IPV4_MASK 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, [12 ... 19] = 0xff
#define IPV6_MASK [0 ... 3] = 0xff, 0, 0, [6 ... 39] = 0xff
#define TCP_MASK(at) \
	[(at) ... (at) + 3] = 0xff, [(at) + 8 ... (at) + 12] = 0xff, [(at) + 13] = (uint8_t)~TCP_PSH, \
	[(at) + 14 ... (at) + 15] = 0xff, [(at) + 18 ... (at) + 19] = 0xff
#define UDP_MASK(at) [(at) ... (at) + 3] = 0xff

static const struct kind_info {
	uint8_t ip_hdr_len, fixed_hdr_len, protocol, gso_type, csum_offset;
	uint8_t mask[FIXED_HDR_MAX];
} kinds[] = {
	[KIND_TCP4] = { IPV4_HDR_LEN, IPV4_HDR_LEN + TCP_HDR_LEN, IPPROTO_TCP, VIRTIO_NET_HDR_GSO_TCPV4,
			TCP_CSUM_OFFSET, { IPV4_MASK, TCP_MASK(IPV4_HDR_LEN) } },
	[KIND_TCP6] = { IPV6_HDR_LEN, IPV6_HDR_LEN + TCP_HDR_LEN, IPPROTO_TCP, VIRTIO_NET_HDR_GSO_TCPV6,
			TCP_CSUM_OFFSET, { IPV6_MASK, TCP_MASK(IPV6_HDR_LEN) } },
	[KIND_UDP4] = { IPV4_HDR_LEN, IPV4_HDR_LEN + UDP_HDR_LEN, IPPROTO_UDP, VIRTIO_NET_HDR_GSO_UDP_L4,
			UDP_CSUM_OFFSET, { IPV4_MASK, UDP_MASK(IPV4_HDR_LEN) } },
	[KIND_UDP6] = { IPV6_HDR_LEN, IPV6_HDR_LEN + UDP_HDR_LEN, IPPROTO_UDP, VIRTIO_NET_HDR_GSO_UDP_L4,
			UDP_CSUM_OFFSET, { IPV6_MASK, UDP_MASK(IPV6_HDR_LEN) } },
};

/* What gso_coalesce() knows of a packet. */
struct candidate {
	uint8_t *packet;
	uint32_t len, hdr_len, payload_len;
	enum kind kind;	   /* of the flow; OTHER: which flow it is cannot be said */
	bool has_csum;	   /* well-formed, with a transport checksum that can be left to the kernel */
	bool can_coalesce;
};

static enum kind find_kind(const uint8_t *packet, uint32_t len)
{
	bool v4 = len >= IPV4_HDR_LEN && packet[0] == 0x45, v6 = len >= IPV6_HDR_LEN && packet[0] >> 4 == 6;
	uint8_t protocol = v4 ? packet[9] : v6 ? packet[6] : IPPROTO_RAW;

	/* Without options, and no fragment: of these flags only DF may be set. */
	if (v4 && (load16(packet + 6) & ~htobe16(IP_DF)))
		return KIND_OTHER;
	if (protocol == IPPROTO_TCP)
		return v4 ? KIND_TCP4 : KIND_TCP6;
	if (protocol == IPPROTO_UDP)
		return v4 ? KIND_UDP4 : KIND_UDP6;
	return KIND_OTHER;
}

/* Of a header without options. */
static uint64_t sum_ipv4_hdr(const uint8_t *ip)
{
	return (uint64_t)load32(ip) + load32(ip + 4) + load32(ip + 8) + load32(ip + 12) + load32(ip + 16);
}

static bool is_ip_sound(const uint8_t *packet, uint32_t len)
{
	uint32_t ip_len = is_v4(packet) ? be16toh(load16(packet + 2)) : IPV6_HDR_LEN + be16toh(load16(packet + 4));

	if (ip_len != len || len > GSO_MAX_SIZE)
		return false;
	return !is_v4(packet) || checksum_fold(sum_ipv4_hdr(packet)) == UINT16_MAX;
}

static uint64_t pseudo_sum(const struct kind_info *k, const uint8_t *packet, uint32_t transport_len)
{
	uint64_t sum = htobe16(k->protocol) + (uint64_t)htobe32(transport_len);

	return k->ip_hdr_len == IPV4_HDR_LEN ? checksum_add(sum, packet + 12, 8) : checksum_add(sum, packet + 8, 32);
}

static bool is_csum_right(const struct kind_info *k, const uint8_t *packet, uint32_t len)
{
	uint32_t transport_len = len - k->ip_hdr_len;
	uint64_t sum = checksum_add(pseudo_sum(k, packet, transport_len), packet + k->ip_hdr_len, transport_len);

	return checksum_fold(sum) == UINT16_MAX;
}

static void look_at(struct candidate *p, const struct gso_coalescer *c)
{
	const struct kind_info *k = &kinds[p->kind];
	const uint8_t *transport = p->packet + k->ip_hdr_len;
	bool is_tcp = k->protocol == IPPROTO_TCP;

	p->hdr_len = is_tcp ? k->ip_hdr_len + (transport[12] >> 4) * 4 : k->fixed_hdr_len;
	if (!is_ip_sound(p->packet, p->len) || p->hdr_len < k->fixed_hdr_len || p->hdr_len > p->len)
		return;
	p->payload_len = p->len - p->hdr_len;
	if (is_tcp) {
		p->has_csum = true;
		p->can_coalesce = c->tcp && !(transport[12] & 0xf) &&
				  (transport[TCP_FLAGS_OFFSET] & ~TCP_PSH) == TCP_ACK;
	} else {
		p->has_csum = be16toh(load16(transport + 4)) == p->payload_len + UDP_HDR_LEN &&
			      load16(transport + UDP_CSUM_OFFSET);
		p->can_coalesce = c->udp && p->has_csum;
	}
	p->can_coalesce = p->can_coalesce && p->payload_len &&
			  (c->trust_csum || is_csum_right(k, p->packet, p->len));
}

static bool has_same_headers(const struct kind_info *k, const uint8_t *a, const uint8_t *b, uint32_t hdr_len)
{
	uint32_t last = k->fixed_hdr_len - sizeof(uint64_t);
	uint64_t diff = (load64(a + last) ^ load64(b + last)) & load64(k->mask + last);

	for (uint32_t i = 0; i < last; i += sizeof(uint64_t))
		diff |= (load64(a + i) ^ load64(b + i)) & load64(k->mask + i);
	return !diff && !memcmp(a + k->fixed_hdr_len, b + k->fixed_hdr_len, hdr_len - k->fixed_hdr_len);
}

/* The id counts up, or stays the same in all packets of a super and none can be fragmented. */
static bool fits_ip_id(struct gso_super *super, const uint8_t *first, const uint8_t *packet)
{
	uint16_t step = be16toh(load16(packet + 4)) - be16toh(load16(first + 4));

	if (super->n_packets > 1)
		return step == super->n_packets * super->ip_id_step;
	if (step > 1 || (!step && !(packet[6] & (IP_DF >> 8))))
		return false;
	super->ip_id_step = step;
	return true;
}

static bool append(struct gso_super *super, const struct candidate *p)
{
	const struct kind_info *k = &kinds[p->kind];
	uint8_t *first = super->iov[1].iov_base;
	bool is_tcp = k->protocol == IPPROTO_TCP, is_push;

	if (!super->is_open || !p->can_coalesce || super->kind != p->kind)
		return false;
	if (p->payload_len > super->payload_size || super->n_packets == GSO_SUPER_MAX_SEGMENTS ||
	    super->len + p->payload_len > GSO_MAX_SIZE)
		return false;
	if (is_tcp && be32toh(load32(p->packet + k->ip_hdr_len + TCP_SEQ_OFFSET)) != super->next_seq)
		return false;
	if (!has_same_headers(k, first, p->packet, p->hdr_len))
		return false;
	if (is_v4(first) && !fits_ip_id(super, first, p->packet))
		return false;

	super->iov[super->n_iov++] = (struct iovec){ p->packet + p->hdr_len, p->payload_len };
	super->n_packets++;
	super->len += p->payload_len;
	super->next_seq += p->payload_len;
	is_push = is_tcp && (p->packet[k->ip_hdr_len + TCP_FLAGS_OFFSET] & TCP_PSH);
	if (is_push)
		first[k->ip_hdr_len + TCP_FLAGS_OFFSET] |= TCP_PSH;
	super->is_open = !is_push && p->payload_len == super->payload_size;
	return true;
}

static bool open_super(struct gso_coalescer *c, const struct candidate *p)
{
	const uint8_t *transport = p->packet + kinds[p->kind].ip_hdr_len;
	bool is_tcp = kinds[p->kind].protocol == IPPROTO_TCP;
	struct gso_super *super = &c->supers[c->n_supers];

	if (c->n_supers == GSO_BURST_MAX_SUPERS)
		return false;
	c->n_supers++;
	memset(&super->hdr, 0, sizeof(super->hdr));
	super->iov[0] = (struct iovec){ &super->hdr, sizeof(super->hdr) };
	super->iov[1] = (struct iovec){ p->packet, p->len };
	super->n_iov = 2;
	super->n_packets = 1;
	super->len = p->len;
	super->kind = p->has_csum ? p->kind : KIND_OTHER;
	super->hdr_len = p->hdr_len;
	super->ip_id_step = 1;
	super->is_open = p->can_coalesce && !(is_tcp && (transport[TCP_FLAGS_OFFSET] & TCP_PSH));
	if (super->is_open) {
		super->payload_size = p->payload_len;
		super->next_seq = is_tcp ? be32toh(load32(transport + TCP_SEQ_OFFSET)) + p->payload_len : 0;
	}
	return true;
}

static uint64_t hash_addresses(const uint8_t *packet, uint32_t len)
{
	const uint64_t odd = 0x9e3779b97f4a7c15;
	uint64_t hash;

	if (len >= IPV4_HDR_LEN && is_v4(packet))
		return load64(packet + 12) * odd;
	if (len < IPV6_HDR_LEN)
		return 0;
	hash = load64(packet + 8) * odd;
	hash = (hash ^ load64(packet + 16)) * odd;
	hash = (hash ^ load64(packet + 24)) * odd;
	return (hash ^ load64(packet + 32)) * odd;
}

/* Which flows share a bucket changes from burst to burst: two that do lose little. */
static uint32_t hash_flow(const struct gso_coalescer *c, const struct candidate *p, uint64_t addresses)
{
	uint64_t ports = load32(p->packet + kinds[p->kind].ip_hdr_len);
	uint64_t hash = (addresses ^ (ports << 16) ^ c->burst_id ^ (uint64_t)p->kind << 56) * 0xff51afd7ed558ccd;

	return (hash ^ hash >> 29) * 0xc4ceb9fe1a85ec53 >> 56;
}

/*
 * A packet either goes on its flow's last super or closes it, by taking its place in the bucket. Packets whose flow
 * cannot be told (fragments, extension headers) close those of all flows between the same two addresses.
 */
bool gso_coalesce(struct gso_coalescer *c, uint8_t *packet, uint32_t len)
{
	struct candidate p = { .packet = packet, .len = len, .kind = find_kind(packet, len) };
	uint64_t addresses = hash_addresses(packet, len);
	uint16_t *barrier = &c->pair_barrier[addresses >> 56], *bucket;

	if (p.kind && len < kinds[p.kind].fixed_hdr_len)
		p.kind = KIND_OTHER;
	if (p.kind == KIND_OTHER) {
		if (!open_super(c, &p))
			return false;
		*barrier = c->n_supers;
		return true;
	}
	look_at(&p, c);
	bucket = &c->flow_super[hash_flow(c, &p, addresses)];
	if (*bucket > *barrier && append(&c->supers[*bucket - 1], &p))
		return true;
	if (!open_super(c, &p))
		return false;
	*bucket = c->n_supers;
	return true;
}

static void patch_super_lengths(struct gso_super *super, const struct kind_info *k)
{
	uint8_t *packet = super->iov[1].iov_base;

	if (k->ip_hdr_len == IPV4_HDR_LEN) {
		store16(packet + 2, htobe16(super->len));
		store16(packet + 10, 0);
		store16(packet + 10, ~checksum_fold(sum_ipv4_hdr(packet)));
	} else {
		store16(packet + 4, htobe16(super->len - IPV6_HDR_LEN));
	}
	if (k->protocol == IPPROTO_UDP)
		store16(packet + k->ip_hdr_len + 4, htobe16(super->len - k->ip_hdr_len));
}

static void finish_super(struct gso_super *super)
{
	const struct kind_info *k = &kinds[super->kind];
	uint8_t *packet = super->iov[1].iov_base;

	if (super->n_packets > 1) {
		patch_super_lengths(super, k);
		super->hdr.gso_type = k->gso_type;
		super->hdr.gso_size = super->payload_size;
	}
	super->hdr.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	super->hdr.hdr_len = super->hdr_len;
	super->hdr.csum_start = k->ip_hdr_len;
	super->hdr.csum_offset = k->csum_offset;
	store16(packet + k->ip_hdr_len + k->csum_offset,
		checksum_fold(pseudo_sum(k, packet, super->len - k->ip_hdr_len)));
}

void gso_coalesce_finish(struct gso_coalescer *c)
{
	for (uint32_t i = 0; i < c->n_supers; i++) {
		struct gso_super *super = &c->supers[i];

		if (super->n_packets > 1 || (c->trust_csum && super->kind != KIND_OTHER))
			finish_super(super);
		super->is_open = false;
	}
}

void gso_coalesce_reset(struct gso_coalescer *c)
{
	c->n_supers = 0;
	c->burst_id++;
	memset(c->flow_super, 0, sizeof(c->flow_super));
	memset(c->pair_barrier, 0, sizeof(c->pair_barrier));
}

int gso_coalescer_init(struct gso_coalescer *c, bool tcp, bool udp)
{
	*c = (struct gso_coalescer){ .tcp = tcp, .udp = udp, .trust_csum = true };
	c->supers = calloc(GSO_BURST_MAX_SUPERS, sizeof(*c->supers));
	return c->supers ? 0 : -ENOMEM;
}

void gso_coalescer_deinit(struct gso_coalescer *c)
{
	free(c->supers);
	c->supers = NULL;
	c->n_supers = 0;
}

uint32_t gso_super_packet(const struct gso_super *super, unsigned int i, uint8_t *dst)
{
	const uint8_t *packet = super->iov[1].iov_base;
	struct gso_split split;

	/* Nothing to rebuild; also, this one need not be what gso_split_init() asks of a packet. */
	if (!super->hdr.flags) {
		memcpy(dst, packet, super->len);
		return super->len;
	}
	/* Reads no further than the headers: the payloads are elsewhere. */
	if (gso_split_init(&split, &super->hdr, packet, super->len))
		return 0;
	split.ip_id_step = super->ip_id_step;
	if (super->n_packets == 1)
		return gso_split_segment(&split, 0, dst);
	return write_segment(&split, i, i ? super->iov[1 + i].iov_base : packet + split.hdr_len, dst);
}
