/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From a frame to the UDP datagram in it: Ethernet with up to two VLAN tags, IPv4 without options, IPv6 without
 * extension headers, not fragmented.
 *
 * Only a datagram that is wholly in the frame, with lengths that agree, is DATAGRAM. What might be for us but cannot
 * be told is UNSURE and left to the network stack, which parses everything and checks it all again.
 */
#ifndef WG_XDP_PARSE_H
#define WG_XDP_PARSE_H

#include <bpf/bpf_endian.h>

#include "cursor.h"

#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88a8
#define VLAN_TAGS_MAX 2

#define IP_MORE_FRAGMENTS 0x2000
#define IP_OFFSET 0x1fff

#define PROTO_UDP 17

enum parse_result {
	PARSE_FOREIGN,  /* not UDP, or not to our port */
	PARSE_UNSURE,
	PARSE_DATAGRAM,
};

struct datagram {
	struct cursor payload; /* pos: first byte after the UDP header; end: of the frame, padding included */
	__u32 len;             /* of the payload, by the UDP header; all of it is in the frame */
};

static __always_inline bool parse_is_vlan(__be16 proto)
{
	return proto == bpf_htons(ETH_P_8021Q) || proto == bpf_htons(ETH_P_8021AD);
}

/* The protocol of what follows all tags; 0 when the frame ends first or there is another tag. */
static __always_inline __be16 parse_ethernet(struct cursor *cursor)
{
	const struct ethhdr *eth = cursor_take(cursor, struct ethhdr);
	__be16 proto;

	if (!eth)
		return 0;
	proto = eth->h_proto;
#pragma unroll
	for (int i = 0; i < VLAN_TAGS_MAX; i++) {
		const struct vlan_hdr *vlan;

		if (!parse_is_vlan(proto))
			break;
		vlan = cursor_take(cursor, struct vlan_hdr);
		if (!vlan)
			return 0;
		proto = vlan->h_vlan_encapsulated_proto;
	}
	return parse_is_vlan(proto) ? 0 : proto;
}

/* *ip_len gets the bytes that follow the IP header, by what the header says. */
static __always_inline enum parse_result parse_ipv4(struct cursor *cursor, __u32 *ip_len)
{
	const struct iphdr *ip = cursor_take(cursor, struct iphdr);
	__u32 total;

	if (!ip)
		return PARSE_UNSURE;
	if (ip->protocol != PROTO_UDP)
		return PARSE_FOREIGN;
	/* Version and header length are one byte: 0x45 is IPv4 without options. */
	if (*(const __u8 *)ip != 0x45 || ip->frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_OFFSET))
		return PARSE_UNSURE;
	total = bpf_ntohs(ip->tot_len);
	if (total < sizeof(*ip))
		return PARSE_UNSURE;
	*ip_len = total - sizeof(*ip);
	return PARSE_DATAGRAM;
}

/* Can a UDP header come later? Hop-by-hop, routing, fragment, ESP, AH, destination options, mobility, HIP, shim6. */
static __always_inline bool parse_is_ipv6_extension(__u8 next_header)
{
	switch (next_header) {
	case 0:
	case 43:
	case 44:
	case 50:
	case 51:
	case 60:
	case 135:
	case 139:
	case 140:
		return true;
	default:
		return false;
	}
}

static __always_inline enum parse_result parse_ipv6(struct cursor *cursor, __u32 *ip_len)
{
	const struct ipv6hdr *ip = cursor_take(cursor, struct ipv6hdr);

	if (!ip)
		return PARSE_UNSURE;
	if (ip->nexthdr != PROTO_UDP)
		return parse_is_ipv6_extension(ip->nexthdr) ? PARSE_UNSURE : PARSE_FOREIGN;
	if (*(const __u8 *)ip >> 4 != 6)
		return PARSE_UNSURE;
	*ip_len = bpf_ntohs(ip->payload_len);
	return PARSE_DATAGRAM;
}

/* Finds the datagram to port (host order) in the frame. */
static __always_inline enum parse_result parse_datagram(struct cursor cursor, __u16 port, struct datagram *datagram)
{
	const struct udphdr *udp;
	enum parse_result result;
	__u32 ip_len = 0, udp_len;
	__be16 proto = parse_ethernet(&cursor);

	if (proto == bpf_htons(ETH_P_IP))
		result = parse_ipv4(&cursor, &ip_len);
	else if (proto == bpf_htons(ETH_P_IPV6))
		result = parse_ipv6(&cursor, &ip_len);
	else
		result = proto ? PARSE_FOREIGN : PARSE_UNSURE;
	if (result != PARSE_DATAGRAM)
		return result;

	udp = cursor_take(&cursor, struct udphdr);
	if (!udp)
		return PARSE_UNSURE;
	if (udp->dest != bpf_htons(port))
		return PARSE_FOREIGN;
	udp_len = bpf_ntohs(udp->len);
	if (udp_len < sizeof(*udp) || udp_len > ip_len)
		return PARSE_UNSURE;
	datagram->len = udp_len - sizeof(*udp);
	if (cursor.pos + datagram->len > cursor.end)
		return PARSE_UNSURE;
	datagram->payload = cursor;
	return PARSE_DATAGRAM;
}

#endif
