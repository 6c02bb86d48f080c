// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The packet inside the tunnel. Its bytes are somebody else's: nothing here reads past len, whatever they say.
 */
#include "inner.h"

#include <arpa/inet.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <string.h>
#include <sys/socket.h>

#include "checksum.h"
#include "messages.h"

#define IPV4_HDR_LEN 20
#define IPV6_HDR_LEN 40
#define ICMP_HDR_LEN 8 /* of both versions' errors */
#define ICMPV4_MAX 576
#define EXTENSION_HEADERS_MAX 16

static uint16_t load_be16(const uint8_t *p)
{
	return p[0] << 8 | p[1];
}

static void store_be16(uint8_t *p, uint16_t value)
{
	p[0] = value >> 8;
	p[1] = value;
}

static void store_checksum(uint8_t *p, uint64_t sum)
{
	uint16_t check = ~checksum_fold(sum);

	memcpy(p, &check, sizeof(check));
}

int inner_family(const uint8_t *packet, uint32_t len)
{
	if (len >= IPV4_HDR_LEN && packet[0] >> 4 == 4)
		return AF_INET;
	if (len >= IPV6_HDR_LEN && packet[0] >> 4 == 6)
		return AF_INET6;
	return 0;
}

enum drop_reason inner_check(const uint8_t *packet, uint32_t *len)
{
	uint32_t ip_len;

	switch (inner_family(packet, *len)) {
	case AF_INET:
		ip_len = load_be16(packet + 2);
		if (ip_len < IPV4_HDR_LEN)
			return DROP_INNER_LENGTH;
		break;
	case AF_INET6:
		ip_len = IPV6_HDR_LEN + load_be16(packet + 4);
		break;
	default:
		return DROP_INNER_VERSION;
	}
	if (ip_len > *len)
		return DROP_INNER_LENGTH;
	*len = ip_len;
	return DROP_NONE;
}

static bool find_transport_v4(struct inner_transport *transport, const uint8_t *packet, uint32_t len)
{
	uint16_t frag = load_be16(packet + 6);

	transport->offset = (packet[0] & 0xf) * 4;
	transport->protocol = packet[9];
	transport->is_fragment = frag & (IP_MF | IP_OFFMASK);
	return transport->offset >= IPV4_HDR_LEN && transport->offset <= len && !(frag & IP_OFFMASK);
}

/* Walks the extension headers of RFC 8200; the number of them is bounded, since somebody pays for each. */
static bool find_transport_v6(struct inner_transport *transport, const uint8_t *packet, uint32_t len)
{
	uint32_t offset = IPV6_HDR_LEN, hdr_len;
	uint8_t protocol = packet[6];

	transport->is_fragment = false;
	for (unsigned int i = 0; i < EXTENSION_HEADERS_MAX; i++) {
		bool is_fragment = protocol == IPPROTO_FRAGMENT;

		if (protocol != IPPROTO_HOPOPTS && protocol != IPPROTO_ROUTING && protocol != IPPROTO_DSTOPTS &&
		    protocol != IPPROTO_AH && !is_fragment) {
			transport->offset = offset;
			transport->protocol = protocol;
			return true;
		}
		if (len - offset < 8)
			return false;
		hdr_len = protocol == IPPROTO_AH ? (packet[offset + 1] + 2) * 4 : (packet[offset + 1] + 1) * 8;
		if (is_fragment) {
			if (load_be16(packet + offset + 2) & 0xfff8)
				return false;
			transport->is_fragment = true;
			hdr_len = 8;
		}
		if (len - offset < hdr_len)
			return false;
		protocol = packet[offset];
		offset += hdr_len;
	}
	return false;
}

bool inner_find_transport(struct inner_transport *transport, const uint8_t *packet, uint32_t len)
{
	switch (inner_family(packet, len)) {
	case AF_INET:
		return find_transport_v4(transport, packet, len);
	case AF_INET6:
		return find_transport_v6(transport, packet, len);
	default:
		return false;
	}
}

/* The DS field; of IPv6 it lies across the first two bytes. */
static uint8_t get_ds(const uint8_t *packet)
{
	return packet[0] >> 4 == 4 ? packet[1] : (uint8_t)(load_be16(packet) >> 4);
}

uint8_t inner_ecn_encapsulate(const uint8_t *packet)
{
	uint8_t ecn = get_ds(packet) & IPTOS_ECN_MASK;

	/* RFC 6040's normal mode would copy CE too; marking what arrives marked hides where the congestion is. */
	return ecn == IPTOS_ECN_CE ? IPTOS_ECN_ECT0 : ecn;
}

static void set_ecn(uint8_t *packet, uint8_t ecn)
{
	uint16_t old_word, new_word, check;

	if (packet[0] >> 4 == 6) {
		packet[1] = (packet[1] & ~(IPTOS_ECN_MASK << 4)) | ecn << 4;
		return;
	}
	/* RFC 1624, equation 3: HC' = ~(~HC + ~m + m'). */
	memcpy(&old_word, packet, sizeof(old_word));
	packet[1] = (packet[1] & ~IPTOS_ECN_MASK) | ecn;
	memcpy(&new_word, packet, sizeof(new_word));
	memcpy(&check, packet + 10, sizeof(check));
	store_checksum(packet + 10, (uint64_t)(uint16_t)~check + (uint16_t)~old_word + new_word);
}

/* The table of RFC 6040 4.2, but for its drop: what is not ECN capable passes unchanged. */
void inner_ecn_decapsulate(uint8_t *packet, uint8_t outer_ds)
{
	uint8_t inner = get_ds(packet) & IPTOS_ECN_MASK, outer = outer_ds & IPTOS_ECN_MASK;

	if (inner == IPTOS_ECN_NOT_ECT || inner == IPTOS_ECN_CE)
		return;
	if (outer == IPTOS_ECN_CE || (outer == IPTOS_ECN_ECT1 && inner == IPTOS_ECN_ECT0))
		set_ecn(packet, outer);
}

uint32_t inner_padding(uint32_t len, uint32_t mtu)
{
	uint32_t padded;

	if (mtu && len > mtu)
		len %= mtu;
	padded = (len + MESSAGE_PADDING_MULTIPLE - 1) / MESSAGE_PADDING_MULTIPLE * MESSAGE_PADDING_MULTIPLE;
	if (mtu && padded > mtu)
		padded = mtu;
	return padded - len;
}

/* One host's address: not of this network, loopback, multicast, class E or broadcast. */
static bool is_single_host_v4(const uint8_t addr[static 4])
{
	return addr[0] != 0 && addr[0] != 127 && addr[0] < 224;
}

static bool is_single_host_v6(const uint8_t addr[static 16])
{
	static const uint8_t unspecified[16];

	return addr[0] != 0xff && memcmp(addr, unspecified, sizeof(unspecified));
}

static bool is_icmp_error_v4(uint8_t type)
{
	return type == ICMP_DEST_UNREACH || type == ICMP_SOURCE_QUENCH || type == ICMP_REDIRECT ||
	       type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETERPROB;
}

static uint32_t unreachable_v4(uint8_t *out, const uint8_t *packet, const struct inner_transport *t, uint32_t len)
{
	uint32_t quoted = len < ICMPV4_MAX - IPV4_HDR_LEN - ICMP_HDR_LEN ?
			  len : ICMPV4_MAX - IPV4_HDR_LEN - ICMP_HDR_LEN;
	uint32_t total = IPV4_HDR_LEN + ICMP_HDR_LEN + quoted;
	uint8_t *icmp = out + IPV4_HDR_LEN;

	if (!is_single_host_v4(packet + 12) || !is_single_host_v4(packet + 16))
		return 0;
	if (t->protocol == IPPROTO_ICMP && (t->offset >= len || is_icmp_error_v4(packet[t->offset])))
		return 0;

	memset(out, 0, IPV4_HDR_LEN + ICMP_HDR_LEN);
	out[0] = 0x45;
	out[1] = IPTOS_PREC_INTERNETCONTROL;
	store_be16(out + 2, total);
	store_be16(out + 6, IP_DF); /* never fragmented, so that an id of zero will do (RFC 6864) */
	out[8] = IPDEFTTL;
	out[9] = IPPROTO_ICMP;
	memcpy(out + 12, packet + 16, 4);
	memcpy(out + 16, packet + 12, 4);
	store_checksum(out + 10, checksum_add(0, out, IPV4_HDR_LEN));

	icmp[0] = ICMP_DEST_UNREACH;
	icmp[1] = ICMP_HOST_UNREACH;
	memcpy(icmp + ICMP_HDR_LEN, packet, quoted);
	store_checksum(icmp + 2, checksum_add(0, icmp, ICMP_HDR_LEN + quoted));
	return total;
}

static uint32_t unreachable_v6(uint8_t *out, const uint8_t *packet, const struct inner_transport *t, uint32_t len)
{
	uint32_t quoted = len < INNER_ICMP_MAX - IPV6_HDR_LEN - ICMP_HDR_LEN ?
			  len : INNER_ICMP_MAX - IPV6_HDR_LEN - ICMP_HDR_LEN;
	uint32_t icmp_len = ICMP_HDR_LEN + quoted;
	uint8_t *icmp = out + IPV6_HDR_LEN;
	uint64_t sum;

	if (!is_single_host_v6(packet + 8) || !is_single_host_v6(packet + 24))
		return 0;
	if (t->protocol == IPPROTO_ICMPV6 &&
	    (t->offset >= len || !(packet[t->offset] & ICMP6_INFOMSG_MASK) || packet[t->offset] == ND_REDIRECT))
		return 0;

	memset(out, 0, IPV6_HDR_LEN + ICMP_HDR_LEN);
	out[0] = 0x60;
	store_be16(out + 4, icmp_len);
	out[6] = IPPROTO_ICMPV6;
	out[7] = IPDEFTTL;
	memcpy(out + 8, packet + 24, 16);
	memcpy(out + 24, packet + 8, 16);

	icmp[0] = ICMP6_DST_UNREACH;
	icmp[1] = ICMP6_DST_UNREACH_ADDR;
	memcpy(icmp + ICMP_HDR_LEN, packet, quoted);
	sum = checksum_add(htons(icmp_len) + htons(IPPROTO_ICMPV6), out + 8, 32);
	store_checksum(icmp + 2, checksum_add(sum, icmp, icmp_len));
	return IPV6_HDR_LEN + icmp_len;
}

uint32_t inner_icmp_unreachable(uint8_t out[static INNER_ICMP_MAX], const uint8_t *packet, uint32_t len)
{
	struct inner_transport transport;

	if (inner_check(packet, &len) || !inner_find_transport(&transport, packet, len))
		return 0;
	if (packet[0] >> 4 == 4)
		return unreachable_v4(out, packet, &transport, len);
	return unreachable_v6(out, packet, &transport, len);
}
