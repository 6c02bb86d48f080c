/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Inner packets for tests, made and judged byte by byte: nothing here shares code with what is tested.
 */
#ifndef WG_XDP_INNER_PACKETS_H
#define WG_XDP_INNER_PACKETS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "gso.h"

static uint64_t random_state;

__attribute__((unused)) static uint32_t random_u32(void)
{
	random_state = random_state * 6364136223846793005 + 1442695040888963407;
	return random_state >> 32;
}

/* 0 to n - 1. */
__attribute__((unused)) static uint32_t random_below(uint32_t n)
{
	return random_u32() % n;
}

__attribute__((unused)) static void random_bytes(uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = random_u32();
}

__attribute__((unused)) static uint32_t get_be(const uint8_t *p, unsigned int n)
{
	uint32_t value = 0;

	while (n--)
		value = value << 8 | *p++;
	return value;
}

__attribute__((unused)) static void put_be(uint8_t *p, unsigned int n, uint32_t value)
{
	while (n--) {
		p[n] = value;
		value >>= 8;
	}
}

/* RFC 1071 in its own words, starting from sum. */
__attribute__((unused)) static uint16_t naive_sum(uint32_t sum, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* The pseudo header of RFC 793 or RFC 8200. */
__attribute__((unused)) static uint16_t naive_pseudo(const uint8_t *ip, uint8_t protocol, uint32_t len)
{
	uint8_t tail[8] = { 0 };
	uint16_t addresses = ip[0] >> 4 == 4 ? naive_sum(0, ip + 12, 8) : naive_sum(0, ip + 8, 32);

	put_be(tail, 4, len);
	tail[7] = protocol;
	return naive_sum(addresses, tail, sizeof(tail));
}

__attribute__((unused)) static void naive_set_ip_csum(uint8_t *ip)
{
	put_be(ip + 10, 2, 0);
	put_be(ip + 10, 2, 0xffff - naive_sum(0, ip, (ip[0] & 0xf) * 4));
}

/* Completes the checksum of the TCP or UDP segment that begins at offset and ends at len. */
__attribute__((unused)) static void naive_set_csum(uint8_t *ip, uint32_t offset, uint8_t protocol, uint32_t len)
{
	uint8_t *field = ip + offset + (protocol == 6 ? 16 : 6);
	uint16_t check;

	put_be(field, 2, 0);
	check = 0xffff - naive_sum(naive_pseudo(ip, protocol, len - offset), ip + offset, len - offset);
	put_be(field, 2, !check && protocol == 17 ? 0xffff : check);
}

/* A flow, and what its next packet looks like. */
struct spec {
	int family;
	uint8_t protocol;
	uint8_t src, dst; /* last byte of the addresses */
	uint16_t src_port, dst_port;
	uint16_t id;
	bool df;
	uint8_t ds, ttl;
	uint32_t flow_label;
	uint32_t seq, ack;
	uint16_t window, urgent;
	uint8_t flags;
	uint8_t tcp_options[40];
	uint32_t tcp_options_len;
	uint8_t ip_options[40]; /* in IPv6 one destination options header, a multiple of 8 long */
	uint32_t ip_options_len;
};

__attribute__((unused)) static uint32_t spec_ip_len(const struct spec *s)
{
	return (s->family == AF_INET ? 20 : 40) + s->ip_options_len;
}

__attribute__((unused)) static uint32_t spec_hdr_len(const struct spec *s)
{
	return spec_ip_len(s) + (s->protocol == 6 ? 20 + s->tcp_options_len : 8);
}

static void build_ip(uint8_t *p, const struct spec *s, uint32_t len)
{
	if (s->family == AF_INET) {
		p[0] = 0x40 | spec_ip_len(s) / 4;
		p[1] = s->ds;
		put_be(p + 2, 2, len);
		put_be(p + 4, 2, s->id);
		p[6] = s->df ? 0x40 : 0;
		p[7] = 0;
		p[8] = s->ttl;
		p[9] = s->protocol;
		memcpy(p + 12, (uint8_t[]){ 10, 1, 2, s->src, 10, 3, 4, s->dst }, 8);
		memcpy(p + 20, s->ip_options, s->ip_options_len);
		naive_set_ip_csum(p);
		return;
	}
	put_be(p, 4, 6u << 28 | s->ds << 20 | s->flow_label);
	put_be(p + 4, 2, len - 40);
	p[6] = s->ip_options_len ? 60 : s->protocol;
	p[7] = s->ttl;
	memset(p + 8, 0xfd, 32);
	p[23] = s->src;
	p[39] = s->dst;
	if (s->ip_options_len) {
		memset(p + 40, 0, s->ip_options_len);
		p[40] = s->protocol;
		p[41] = s->ip_options_len / 8 - 1;
		p[42] = 1; /* PadN */
		p[43] = s->ip_options_len - 4;
	}
}

/* Writes the packet of s with this payload. Returns its length. */
__attribute__((unused)) static uint32_t build_packet(uint8_t *p, const struct spec *s, const uint8_t *payload,
						     uint32_t payload_len)
{
	uint32_t hdr_len = spec_hdr_len(s), len = hdr_len + payload_len;
	uint8_t *t = p + spec_ip_len(s);

	build_ip(p, s, len);
	put_be(t, 2, s->src_port);
	put_be(t + 2, 2, s->dst_port);
	if (s->protocol == 6) {
		put_be(t + 4, 4, s->seq);
		put_be(t + 8, 4, s->ack);
		t[12] = (20 + s->tcp_options_len) / 4 << 4;
		t[13] = s->flags;
		put_be(t + 14, 2, s->window);
		put_be(t + 18, 2, s->urgent);
		memcpy(t + 20, s->tcp_options, s->tcp_options_len);
	} else {
		put_be(t + 4, 2, 8 + payload_len);
	}
	memcpy(p + hdr_len, payload, payload_len);
	naive_set_csum(p, spec_ip_len(s), s->protocol, len);
	return len;
}

__attribute__((unused)) static void random_spec(struct spec *s)
{
	random_bytes((uint8_t *)s, sizeof(*s));
	s->family = random_below(2) ? AF_INET : AF_INET6;
	s->protocol = random_below(2) ? 6 : 17;
	s->df = random_below(2);
	s->flow_label &= 0xfffff;
	s->ttl |= 1;
	s->flags = 0x10;
	s->urgent = 0;
	s->tcp_options_len = random_below(2) ? 12 : random_below(11) * 4;
	s->ip_options_len = 0;
}

/* A bulk flow about to wrap its counters. */
__attribute__((unused)) static struct spec fixed_spec(int family, uint8_t protocol)
{
	struct spec s = {
		.family = family, .protocol = protocol, .src = 1, .dst = 2, .src_port = 1000, .dst_port = 2000,
		.id = 0xffff, .df = true, .ds = 0x02, .ttl = 64, .flow_label = 0x12345, .seq = 0xffffff00, .ack = 77,
		.window = 501, .flags = 0x10, .tcp_options = { 1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8 },
		.tcp_options_len = 12,
	};

	return s;
}

/* Memory whose end is followed by a page that must not be touched. */
#define GUARDED_SIZE (1 << 17)

__attribute__((unused)) static uint8_t *guarded_alloc(void)
{
	uint8_t *p = mmap(NULL, GUARDED_SIZE + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || mprotect(p + GUARDED_SIZE, 4096, PROT_NONE))
		abort();
	return p + GUARDED_SIZE;
}

/* ------ Trains of packets, and their super-packets ------ */

#define PACKET_MAX 2200
#define TRAIN_MAX 300
#define CANARY 0xa5

/* The packets of a burst: as they came, and as they were given away. */
static uint8_t truth[TRAIN_MAX][PACKET_MAX], given[TRAIN_MAX][PACKET_MAX];
static uint32_t truth_len[TRAIN_MAX];
static uint8_t payload_bytes[PACKET_MAX], super_packet[65536];

__attribute__((unused)) static void give(unsigned int i)
{
	memcpy(given[i], truth[i], truth_len[i]);
}

/* Makes n packets of s: equal payloads, the last one shorter; first and last have flags of their own. */
__attribute__((unused)) static void make_train(struct spec s, unsigned int n, uint32_t size, uint32_t last_size,
					       uint8_t first, uint8_t last)
{
	uint8_t flags = s.flags;

	for (unsigned int i = 0; i < n; i++) {
		uint32_t len = i == n - 1 ? last_size : size;

		random_bytes(payload_bytes, len);
		s.flags = flags | (i ? 0 : first) | (i == n - 1 ? last : 0);
		truth_len[i] = build_packet(truth[i], &s, payload_bytes, len);
		s.seq += len;
		s.id++;
		give(i);
	}
}

/* Their super-packet, as a kernel would hand it to us. */
__attribute__((unused)) static uint32_t make_super(struct virtio_net_hdr *hdr, const struct spec *s, unsigned int n,
						   uint32_t size)
{
	uint32_t hdr_len = spec_hdr_len(s), ip_len = spec_ip_len(s), len = truth_len[0];
	uint8_t *p = super_packet, *t = p + ip_len;

	memcpy(p, truth[0], len);
	for (unsigned int i = 1; i < n; i++) {
		memcpy(p + len, truth[i] + hdr_len, truth_len[i] - hdr_len);
		len += truth_len[i] - hdr_len;
	}
	if (s->family == AF_INET) {
		put_be(p + 2, 2, len);
		naive_set_ip_csum(p);
	} else {
		put_be(p + 4, 2, len - 40);
	}
	if (s->protocol == 6)
		t[13] |= truth[n - 1][ip_len + 13];
	else
		put_be(t + 4, 2, len - ip_len);
	put_be(t + (s->protocol == 6 ? 16 : 6), 2, naive_pseudo(p, s->protocol, len - ip_len));
	*hdr = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = s->protocol == 17 ? VIRTIO_NET_HDR_GSO_UDP_L4 :
			    s->family == AF_INET ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6,
		.hdr_len = random_u32(), /* must not matter */
		.gso_size = size, .csum_start = ip_len, .csum_offset = s->protocol == 6 ? 16 : 6,
	};
	if (s->protocol == 6 && (t[13] & 0x80))
		hdr->gso_type |= VIRTIO_NET_HDR_GSO_ECN;
	return len;
}

__attribute__((unused)) static void random_sizes(const struct spec *s, unsigned int *n, uint32_t *size,
						 uint32_t *last_size)
{
	uint32_t room;

	*size = random_below(64) ? 1 + random_below(200) : 1 + random_below(PACKET_MAX - 170);
	room = (65535 - spec_hdr_len(s)) / *size;
	*n = 1 + random_below(room < 64 ? room : random_below(4) ? 8 : 64);
	*last_size = random_below(2) ? *size : 1 + random_below(*size);
}

/* Segment i of a contiguous super-packet, as the kernel makes it. */
__attribute__((unused)) static uint32_t kernel_segment(const struct virtio_net_hdr *hdr, const uint8_t *p,
						       uint32_t len, uint32_t i, uint8_t *out)
{
	bool is_tcp = hdr->csum_offset == 16, v4 = p[0] >> 4 == 4;
	uint32_t ip_len = hdr->csum_start, payload = len - hdr->hdr_len, n;
	uint8_t *t = out + ip_len;

	if (!hdr->flags) {
		memcpy(out, p, len);
		return len;
	}
	n = hdr->gso_type ? hdr->gso_size : payload;
	if (i * n + n > payload)
		n = payload - i * n;
	memcpy(out, p, hdr->hdr_len);
	memcpy(out + hdr->hdr_len, p + hdr->hdr_len + i * hdr->gso_size, n);
	put_be(out + (v4 ? 2 : 4), 2, v4 ? hdr->hdr_len + n : hdr->hdr_len + n - 40);
	if (v4) {
		put_be(out + 4, 2, get_be(p + 4, 2) + i);
		naive_set_ip_csum(out);
	}
	if (is_tcp && hdr->gso_type) {
		put_be(t + 4, 4, get_be(t + 4, 4) + i * hdr->gso_size);
		if ((i + 1) * hdr->gso_size < payload)
			t[13] &= ~0x09;
		if (i)
			t[13] &= ~0x80;
	}
	if (!is_tcp)
		put_be(t + 4, 2, 8 + n);
	naive_set_csum(out, ip_len, is_tcp ? 6 : 17, hdr->hdr_len + n);
	return hdr->hdr_len + n;
}

#endif
