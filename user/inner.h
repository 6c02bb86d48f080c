/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The packet inside the tunnel: its checks (paper 2 and 5.4.6), ECN (RFC 6040), and the errors its sender is owed. */
#ifndef WG_XDP_INNER_H
#define WG_XDP_INNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "drop_reason.h"

/* AF_INET, AF_INET6, or 0 when it is neither or its fixed header does not fit into len bytes. */
int inner_family(const uint8_t *packet, uint32_t len);

/* For a decrypted packet: checks version and length, and trims *len to what the IP header says. */
enum drop_reason inner_check(const uint8_t *packet, uint32_t *len);

/* What follows the IP header, its options and extension headers. */
struct inner_transport {
	uint32_t offset; /* at most len */
	uint8_t protocol;
	bool is_fragment; /* the first one: of the others there is no transport header */
};

/* False when there is none to be found: a later fragment, a truncated or malformed chain of headers. */
bool inner_find_transport(struct inner_transport *transport, const uint8_t *packet, uint32_t len);

/* The outer DS field for an inner packet: DSCP 0 and its ECN, where CE becomes ECT(0). */
uint8_t inner_ecn_encapsulate(const uint8_t *packet);

/* Congestion experienced outside goes on to an ECN capable inner packet (with IPv4's header checksum). */
void inner_ecn_decapsulate(uint8_t *packet, uint8_t outer_ds);

/* Bytes to append so that a packet of len is a multiple of MESSAGE_PADDING_MULTIPLE, or mtu if that is less. */
uint32_t inner_padding(uint32_t len, uint32_t mtu);

#define INNER_ICMP_MAX 1280

/*
 * Builds the error that the sender of packet is owed when no peer can take it: ICMP host unreachable (RFC 792) or
 * ICMPv6 address unreachable (RFC 4443), from the packet's own destination address back to its source. Returns its
 * length, or 0 when none may be sent: about errors, fragments but the first, packets from or to a group, or from no
 * single host (RFC 1122 3.2.2, RFC 4443 2.4).
 */
uint32_t inner_icmp_unreachable(uint8_t out[static INNER_ICMP_MAX], const uint8_t *packet, uint32_t len);

#endif
