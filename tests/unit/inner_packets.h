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

/* Memory whose end is followed by a page that must not be touched. */
#define GUARDED_SIZE (1 << 17)

__attribute__((unused)) static uint8_t *guarded_alloc(void)
{
	uint8_t *p = mmap(NULL, GUARDED_SIZE + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || mprotect(p + GUARDED_SIZE, 4096, PROT_NONE))
		abort();
	return p + GUARDED_SIZE;
}

#endif
