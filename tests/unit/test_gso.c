// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Super-packets. The truth is a list of packets made one by one; splitting their super-packet, and coalescing them and
 * splitting again as the kernel does (a naive model of it), must give the very same bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "../../user/gso.c"

#include "inner_packets.h"

#define SEED 0x5eed0003
#define N_SUPERS 100000
#define N_BURSTS 3000
#define N_RANDOM 1000000
#define PACKET_MAX 2200
#define BURST_MAX 300
#define CANARY 0xa5

#define SYN 0x02
#define RST 0x04
#define URG 0x20
#define ECE 0x40

/* The packets of a burst: as they came, and as they were given away. */
static uint8_t truth[BURST_MAX][PACKET_MAX], given[BURST_MAX][PACKET_MAX];
static uint32_t truth_len[BURST_MAX];
static uint8_t super_packet[GSO_MAX_SIZE + 1], rebuilt[GSO_MAX_SIZE + 16], kernel_out[GSO_MAX_SIZE + 16];
static uint8_t payload_bytes[PACKET_MAX];
static struct gso_coalescer coalescer;

static void give(unsigned int i)
{
	memcpy(given[i], truth[i], truth_len[i]);
}

/* ------ A naive kernel ------ */

/* What __virtio_net_hdr_to_skb() and the segmentation behind it insist on. */
static void assert_kernel_takes(const struct virtio_net_hdr *hdr, const uint8_t *p, uint32_t len)
{
	uint32_t ip_len = p[0] >> 4 == 4 ? 20 : 40, transport_min = hdr->csum_offset == 16 ? 20 : 8;

	if (!hdr->flags) {
		static const struct virtio_net_hdr zero;

		assert_memory_equal(hdr, &zero, sizeof(zero));
		return;
	}
	assert_int_equal(hdr->flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(hdr->csum_start, ip_len);
	assert_true(hdr->hdr_len >= hdr->csum_start + transport_min && hdr->hdr_len <= len);
	if (hdr->csum_offset == 16)
		assert_int_equal(hdr->hdr_len, ip_len + (p[ip_len + 12] >> 4) * 4);
	assert_int_equal(p[ip_len == 20 ? 9 : 6], hdr->csum_offset == 16 ? 6 : 17);
	assert_int_equal(get_be(p + ip_len + hdr->csum_offset, 2),
			 naive_pseudo(p, hdr->csum_offset == 16 ? 6 : 17, len - ip_len));
	if (hdr->csum_offset == 6)
		assert_int_equal(get_be(p + ip_len + 4, 2), len - ip_len);
	assert_int_equal(get_be(p + (ip_len == 20 ? 2 : 4), 2), ip_len == 20 ? len : len - 40);
	if (ip_len == 20)
		assert_int_equal(naive_sum(0, p, 20), 0xffff);
	if (hdr->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return;
	assert_int_equal(hdr->gso_type, hdr->csum_offset == 6 ? VIRTIO_NET_HDR_GSO_UDP_L4 :
			 ip_len == 20 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6);
	assert_true(hdr->gso_size > 0 && len - hdr->hdr_len > hdr->gso_size);
}

/* Segment i of a contiguous super-packet. */
static uint32_t kernel_segment(const struct virtio_net_hdr *hdr, const uint8_t *p, uint32_t len, uint32_t i,
			       uint8_t *out)
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

static uint32_t gather(const struct gso_super *super, uint8_t *out)
{
	uint32_t len = 0;

	assert_int_equal(super->n_iov, 1 + super->n_packets);
	assert_ptr_equal(super->iov[0].iov_base, &super->hdr);
	assert_int_equal(super->iov[0].iov_len, sizeof(super->hdr));
	for (unsigned int i = 1; i < super->n_iov; i++) {
		memcpy(out + len, super->iov[i].iov_base, super->iov[i].iov_len);
		len += super->iov[i].iov_len;
	}
	assert_int_equal(len, super->len);
	assert_true(len <= GSO_MAX_SIZE);
	return len;
}

/* Which packet of the burst an iovec points into. */
static unsigned int index_of(const struct gso_super *super, unsigned int i)
{
	return ((uint8_t *)super->iov[1 + i].iov_base - &given[0][0]) / PACKET_MAX;
}

/* Everything that comes out of super, in both ways, is what went in. */
static void assert_super_is_exact(const struct gso_super *super)
{
	uint32_t len = gather(super, super_packet);

	assert_kernel_takes(&super->hdr, super_packet, len);
	for (unsigned int i = 0; i < super->n_packets; i++) {
		unsigned int which = index_of(super, i);
		uint32_t n = kernel_segment(&super->hdr, super_packet, len, i, kernel_out);

		memset(rebuilt, CANARY, truth_len[which] + 16);
		assert_int_equal(gso_super_packet(super, i, rebuilt), truth_len[which]);
		assert_memory_equal(rebuilt, truth[which], truth_len[which]);
		assert_int_equal(rebuilt[truth_len[which]], CANARY);

		assert_int_equal(n, truth_len[which]);
		if (!super->ip_id_step) { /* a constant id of an atomic datagram is the one thing the kernel changes */
			assert_true(super_packet[0] == 0x45 && (super_packet[6] & 0x40));
			put_be(kernel_out + 4, 2, get_be(truth[which] + 4, 2));
			naive_set_ip_csum(kernel_out);
		}
		assert_memory_equal(kernel_out, truth[which], n);
	}
}

/* ------ Round trips ------ */

/* Makes n packets of s: equal payloads, the last one shorter; first and last have flags of their own. */
static void make_train(struct spec s, unsigned int n, uint32_t size, uint32_t last_size, uint8_t first, uint8_t last)
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
static uint32_t make_super(struct virtio_net_hdr *hdr, const struct spec *s, unsigned int n, uint32_t size)
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

static void random_sizes(const struct spec *s, unsigned int *n, uint32_t *size, uint32_t *last_size)
{
	uint32_t room;

	*size = random_below(64) ? 1 + random_below(200) : 1 + random_below(PACKET_MAX - 170);
	room = (GSO_MAX_SIZE - spec_hdr_len(s)) / *size;
	*n = 1 + random_below(room < 64 ? room : random_below(4) ? 8 : 64);
	*last_size = random_below(2) ? *size : 1 + random_below(*size);
}

static void test_split_is_exact(void **state)
{
	static const uint8_t firsts[] = { 0, 0, 0x80, 0x80 }, lasts[] = { 0, 0x08, 0x01, 0x09 };

	(void)state;
	for (int round = 0; round < N_SUPERS; round++) {
		uint32_t size, last_size, len;
		struct virtio_net_hdr hdr;
		struct gso_split split;
		unsigned int n;
		struct spec s;

		random_spec(&s);
		s.flags = random_below(2) ? 0x10 : random_u32() & (SYN | RST | TCP_ACK | URG | ECE);
		s.urgent = random_u32();
		if (!random_below(4))
			s.ip_options_len = s.family == AF_INET ? 4 * random_below(11) : 8 * random_below(6);
		random_sizes(&s, &n, &size, &last_size);
		make_train(s, n, size, last_size, firsts[random_below(4)], lasts[random_below(4)]);
		len = make_super(&hdr, &s, n, size);
		assert_int_equal(gso_split_init(&split, &hdr, super_packet, len), DROP_NONE);
		assert_int_equal(split.n_segments, n);
		for (unsigned int i = 0; i < n; i++) {
			memset(rebuilt, CANARY, truth_len[i] + 16);
			assert_int_equal(gso_split_len(&split, i), truth_len[i]);
			assert_int_equal(gso_split_segment(&split, i, rebuilt), truth_len[i]);
			assert_memory_equal(rebuilt, truth[i], truth_len[i]);
			assert_int_equal(rebuilt[truth_len[i]], CANARY);
		}
	}
}

static void test_coalesce_is_exact(void **state)
{
	(void)state;
	coalescer.tcp = coalescer.udp = true;
	for (int round = 0; round < N_SUPERS; round++) {
		uint8_t last = random_below(2) ? TCP_PSH : 0;
		uint32_t size, last_size, offset = 0;
		unsigned int n;
		struct spec s;

		random_spec(&s);
		random_sizes(&s, &n, &size, &last_size);
		make_train(s, n, size, last_size, 0, last);
		for (unsigned int i = 0; i < n; i++)
			assert_true(gso_coalesce(&coalescer, given[i], truth_len[i]));
		gso_coalesce_finish(&coalescer);
		assert_int_equal(coalescer.n_supers, 1);
		assert_int_equal(coalescer.supers[0].n_packets, n);
		assert_int_equal(coalescer.supers[0].hdr.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
		for (unsigned int i = 0; i < n; i++)
			offset += index_of(&coalescer.supers[0], i) == i;
		assert_int_equal(offset, n);
		assert_super_is_exact(&coalescer.supers[0]);
		gso_coalesce_reset(&coalescer);
	}
}

/* ------ What must not be coalesced ------ */

static struct spec fixed_spec(int family, uint8_t protocol)
{
	struct spec s = {
		.family = family, .protocol = protocol, .src = 1, .dst = 2, .src_port = 1000, .dst_port = 2000,
		.id = 0xffff, .df = true, .ds = 0x02, .ttl = 64, .flow_label = 0x12345, .seq = 0xffffff00, .ack = 77,
		.window = 501, .flags = TCP_ACK, .tcp_options = { 1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8 },
		.tcp_options_len = 12,
	};

	return s;
}

static struct spec next_spec(struct spec s)
{
	s.seq += 100;
	s.id++;
	return s;
}

/* How many supers become of two packets, which in any case must survive. */
static uint32_t n_supers_of_two(void)
{
	uint32_t n;

	give(0);
	give(1);
	assert_true(gso_coalesce(&coalescer, given[0], truth_len[0]));
	assert_true(gso_coalesce(&coalescer, given[1], truth_len[1]));
	gso_coalesce_finish(&coalescer);
	n = coalescer.n_supers;
	for (uint32_t i = 0; i < n; i++)
		assert_super_is_exact(&coalescer.supers[i]);
	gso_coalesce_reset(&coalescer);
	return n;
}

static uint32_t n_supers_of(const struct spec *a, uint32_t a_size, const struct spec *b, uint32_t b_size)
{
	truth_len[0] = build_packet(truth[0], a, payload_bytes, a_size);
	truth_len[1] = build_packet(truth[1], b, payload_bytes, b_size);
	return n_supers_of_two();
}

#define DIFFERS(s, family, protocol, change)                                                             \
	do {                                                                                             \
		struct spec a = fixed_spec(family, protocol), s = next_spec(a);                          \
		change;                                                                                  \
		if (n_supers_of(&a, 100, &s, 100) != 2)                                                  \
			fail_msg("coalesced: %s (family %d, protocol %d)", #change, family, protocol);   \
	} while (0)

static void differing_headers(int family, uint8_t protocol)
{
	struct spec a = fixed_spec(family, protocol), b = next_spec(a);

	assert_int_equal(n_supers_of(&a, 100, &b, 100), 1);
	assert_int_equal(n_supers_of(&a, 100, &b, 99), 1);
	assert_int_equal(n_supers_of(&a, 100, &b, 101), 2);
	assert_int_equal(n_supers_of(&a, 100, &b, 0), 2);
	assert_int_equal(n_supers_of(&a, 0, &b, 0), 2);
	DIFFERS(s, family, protocol, s.src++);
	DIFFERS(s, family, protocol, s.dst++);
	DIFFERS(s, family, protocol, s.src_port++);
	DIFFERS(s, family, protocol, s.dst_port++);
	DIFFERS(s, family, protocol, s.ttl--);
	for (int bit = 0; bit < 8; bit++)
		DIFFERS(s, family, protocol, s.ds ^= 1 << bit);
	DIFFERS(s, family, protocol, s.ip_options_len = 8);
	DIFFERS(s, family, protocol, (a.ip_options_len = 8, s.ip_options_len = 8));
	if (family == AF_INET6) {
		DIFFERS(s, family, protocol, s.flow_label++);
		return;
	}
	DIFFERS(s, family, protocol, s.id++);
	DIFFERS(s, family, protocol, s.id -= 2);
	DIFFERS(s, family, protocol, s.df = false);
	DIFFERS(s, family, protocol, a.df = false);
	DIFFERS(s, family, protocol, (s.id--, a.df = false, s.df = false));
	a.df = b.df = false;
	assert_int_equal(n_supers_of(&a, 100, &b, 100), 1); /* ids count up */
	a.df = b.df = true;
	b.id = a.id;
	assert_int_equal(n_supers_of(&a, 100, &b, 100), 1); /* means nothing */
}

static void differing_tcp(int family)
{
	struct spec a = fixed_spec(family, 6), b = next_spec(a);

	DIFFERS(s, family, 6, s.seq++);
	DIFFERS(s, family, 6, s.seq--);
	DIFFERS(s, family, 6, s.seq -= 100);
	DIFFERS(s, family, 6, s.ack++);
	DIFFERS(s, family, 6, s.window++);
	DIFFERS(s, family, 6, s.urgent++);
	DIFFERS(s, family, 6, s.tcp_options[11]++);
	DIFFERS(s, family, 6, s.tcp_options[0]++);
	DIFFERS(s, family, 6, s.tcp_options_len += 4);
	DIFFERS(s, family, 6, s.tcp_options_len -= 4);
	for (int bit = 0; bit < 8; bit++) {
		uint8_t flag = 1 << bit;

		if (flag != TCP_PSH)
			DIFFERS(s, family, 6, s.flags ^= flag);
		DIFFERS(s, family, 6, a.flags ^= flag);
		DIFFERS(s, family, 6, (a.flags ^= flag, s.flags ^= flag));
	}
	b.flags |= TCP_PSH;
	assert_int_equal(n_supers_of(&a, 100, &b, 100), 1);
}

/* Bytes of the second packet that no spec can say; checksums are put right again, but for those that are the point. */
static void test_never_coalesced(void **state)
{
	static const int families[] = { AF_INET, AF_INET6 };

	(void)state;
	coalescer.tcp = coalescer.udp = true;
	for (int f = 0; f < 2; f++) {
		uint32_t ip_len = f ? 40 : 20;
		struct spec a = fixed_spec(families[f], 17), b = next_spec(a);

		differing_headers(families[f], 6);
		differing_headers(families[f], 17);
		differing_tcp(families[f]);

		for (int which = 0; which < 2; which++) {
			n_supers_of(&a, 100, &b, 100);
			put_be(truth[which] + ip_len + 6, 2, 0); /* no UDP checksum */
			assert_int_equal(n_supers_of_two(), 2);

			n_supers_of(&a, 100, &b, 100);
			put_be(truth[which] + ip_len + 4, 2, 107); /* UDP length */
			assert_int_equal(n_supers_of_two(), 2);
		}
		a = fixed_spec(families[f], 6);
		b = next_spec(a);
		for (int bit = 0; bit < 4; bit++) { /* reserved bits of both */
			n_supers_of(&a, 100, &b, 100);
			truth[0][ip_len + 12] ^= 1 << bit;
			truth[1][ip_len + 12] ^= 1 << bit;
			naive_set_csum(truth[0], ip_len, 6, truth_len[0]);
			naive_set_csum(truth[1], ip_len, 6, truth_len[1]);
			assert_int_equal(n_supers_of_two(), 2);
		}
	}
}

static void test_fragments_are_not_touched(void **state)
{
	static const uint8_t frags[][2] = { { 0x20, 0 }, { 0, 1 }, { 0x20, 1 }, { 0x1f, 0xff }, { 0x80, 0 }, { 0x60, 0 } };

	(void)state;
	for (unsigned int i = 0; i < sizeof(frags) / sizeof(frags[0]); i++) {
		for (int protocol = 6; protocol <= 17; protocol += 11) {
			struct spec a = fixed_spec(AF_INET, protocol), b = next_spec(a);

			n_supers_of(&a, 100, &b, 100);
			for (int which = 0; which < 2; which++) {
				memcpy(truth[which] + 6, frags[i], 2);
				naive_set_ip_csum(truth[which]);
				random_bytes(truth[which] + 36, 2); /* where the checksum would be */
			}
			assert_int_equal(n_supers_of_two(), 2);
			assert_memory_equal(given[0], truth[0], truth_len[0]);
			assert_memory_equal(given[1], truth[1], truth_len[1]);
		}
	}
}

/* A wrong IPv4 header checksum must not be put right on the way; transport checksums only with trust_csum. */
static void test_wrong_checksums(void **state)
{
	(void)state;
	for (int protocol = 6; protocol <= 17; protocol += 11) {
		struct spec a = fixed_spec(AF_INET, protocol), b = next_spec(a);
		uint8_t *check = truth[1] + 20 + (protocol == 6 ? 16 : 6);

		for (int which = 0; which < 2; which++) {
			n_supers_of(&a, 100, &b, 100);
			truth[which][11] ^= 1;
			assert_int_equal(n_supers_of_two(), 2);
			assert_memory_equal(given[which], truth[which], truth_len[which]);
		}
		coalescer.trust_csum = false;
		assert_int_equal(n_supers_of(&a, 100, &b, 100), 1);
		*check ^= 1;
		assert_int_equal(n_supers_of_two(), 2);
		assert_memory_equal(given[0], truth[0], truth_len[0]);
		assert_memory_equal(given[1], truth[1], truth_len[1]);
		coalescer.trust_csum = true;
	}
}

static void test_switches(void **state)
{
	(void)state;
	for (int on = 0; on < 4; on++) {
		for (int family = 0; family < 2; family++) {
			struct spec a = fixed_spec(family ? AF_INET6 : AF_INET, 6), b = next_spec(a);

			coalescer.tcp = on & 1;
			coalescer.udp = on & 2;
			assert_int_equal(n_supers_of(&a, 100, &b, 100), coalescer.tcp ? 1 : 2);
			a.protocol = b.protocol = 17;
			assert_int_equal(n_supers_of(&a, 100, &b, 100), coalescer.udp ? 1 : 2);
		}
	}
}

static void test_limits(void **state)
{
	struct spec s = fixed_spec(AF_INET6, 6);

	(void)state;
	coalescer.tcp = coalescer.udp = true;
	make_train(s, 65, 100, 100, 0, 0);
	for (int i = 0; i < 65; i++)
		assert_true(gso_coalesce(&coalescer, given[i], truth_len[i]));
	assert_int_equal(coalescer.n_supers, 2);
	assert_int_equal(coalescer.supers[0].n_packets, 64);
	gso_coalesce_reset(&coalescer);

	/* 72 + 31 * 2048 bytes, and then as many as are left of 65535. */
	for (uint32_t last = 65535 - 72 - 31 * 2048; last <= 65536 - 72 - 31 * 2048; last++) {
		make_train(s, 32, 2048, last, 0, 0);
		for (int i = 0; i < 32; i++)
			assert_true(gso_coalesce(&coalescer, given[i], truth_len[i]));
		gso_coalesce_finish(&coalescer);
		assert_int_equal(coalescer.n_supers, last + 72 + 31 * 2048 == 65535 ? 1 : 2);
		for (uint32_t i = 0; i < coalescer.n_supers; i++)
			assert_super_is_exact(&coalescer.supers[i]);
		gso_coalesce_reset(&coalescer);
	}

	/* When no super is left, packets still go on one that is open; others have to wait. */
	make_train(s, 3, 100, 100, 0, 0);
	for (int i = 0; i < GSO_BURST_MAX_SUPERS - 1; i++) {
		s.src_port = 0;
		truth_len[3] = build_packet(truth[3], &s, payload_bytes, 0);
		give(3);
		assert_true(gso_coalesce(&coalescer, given[3], truth_len[3]));
	}
	assert_true(gso_coalesce(&coalescer, given[0], truth_len[0]));
	assert_false(gso_coalesce(&coalescer, given[3], truth_len[3]));
	assert_true(gso_coalesce(&coalescer, given[1], truth_len[1]));
	assert_false(gso_coalesce(&coalescer, given[1], truth_len[1]));
	gso_coalesce_reset(&coalescer);
	assert_true(gso_coalesce(&coalescer, given[2], truth_len[2]));
	assert_int_equal(coalescer.n_supers, 1);
	gso_coalesce_reset(&coalescer);
}

/* ------ Bursts of many flows ------ */

#define N_FLOWS 12

/* What is next in a flow: mostly the packet that follows, sometimes anything else that a flow can contain. */
static uint32_t next_in_flow(struct spec *s, uint32_t size, uint8_t *p)
{
	uint32_t len, n = random_below(16) ? size : random_below(size + 1);
	struct spec odd = *s;

	random_bytes(payload_bytes, n);
	switch (random_below(40)) {
	case 0: odd.flags |= 1 << random_below(8); break;
	case 1: n = 0; break;
	case 2: odd.seq += random_below(3) - 1; break;
	case 3: odd.id += random_below(3) - 1; break;
	case 4: odd.tcp_options[random_below(12)]++; break;
	case 5: odd.ds ^= 1 << random_below(8); break;
	case 6: odd.ip_options_len = 8; break;
	case 7: odd.ttl--; break;
	case 8: s->ack = odd.ack = random_u32(); break;
	}
	len = build_packet(p, &odd, payload_bytes, n);
	s->seq += n;
	s->id += s->src & 1; /* some count, some do not */
	if (odd.protocol == 17 && !random_below(20))
		put_be(p + spec_ip_len(&odd) + 6, 2, 0);
	if (odd.family == AF_INET && !random_below(30)) {
		p[6] = random_below(2) ? 0x20 : 0;
		p[7] = random_below(2);
		naive_set_ip_csum(p);
	}
	return len;
}

static bool is_same_path(unsigned int a, unsigned int b)
{
	const uint8_t *p = truth[a], *q = truth[b];
	bool v4 = p[0] >> 4 == 4, is_odd = v4 ? p[0] != 0x45 || q[0] != 0x45 || (p[6] & 0x3f) || p[7] || (q[6] & 0x3f) || q[7] :
						p[6] == 60 || q[6] == 60;

	if (p[0] >> 4 != q[0] >> 4 || memcmp(p + (v4 ? 12 : 8), q + (v4 ? 12 : 8), v4 ? 8 : 32))
		return false;
	/* Of fragments and options only the addresses are certain. */
	return is_odd || (p[v4 ? 9 : 6] == q[v4 ? 9 : 6] && !memcmp(p + (v4 ? 20 : 40), q + (v4 ? 20 : 40), 4));
}

static void assert_order_is_kept(unsigned int n)
{
	unsigned int order[BURST_MAX], n_out = 0;

	for (uint32_t i = 0; i < coalescer.n_supers; i++) {
		for (unsigned int k = 0; k < coalescer.supers[i].n_packets; k++) {
			assert_true(n_out < n);
			order[n_out++] = index_of(&coalescer.supers[i], k);
		}
	}
	assert_int_equal(n_out, n);
	for (unsigned int i = 0; i < n; i++) {
		for (unsigned int k = i + 1; k < n; k++)
			assert_true(order[i] < order[k] || (order[i] != order[k] && !is_same_path(order[i], order[k])));
	}
}

static void test_bursts_of_flows(void **state)
{
	uint64_t n_packets = 0, n_written = 0;
	struct spec flows[N_FLOWS];
	uint32_t sizes[N_FLOWS];

	(void)state;
	coalescer.tcp = coalescer.udp = true;
	for (int round = 0; round < N_BURSTS; round++) {
		unsigned int n = 0, n_wanted = 1 + random_below(200), f = 0;

		coalescer.trust_csum = random_below(8);
		for (f = 0; f < N_FLOWS; f++) {
			random_spec(&flows[f]);
			flows[f].df = random_below(4);
			flows[f].src = random_below(2);
			flows[f].dst = random_below(2);
			flows[f].src_port = random_below(3);
			flows[f].dst_port = random_below(2);
			flows[f].tcp_options_len = 12;
			sizes[f] = 1 + random_below(100);
		}
		for (; n < n_wanted; n++) {
			f = random_below(3) ? f % N_FLOWS : random_below(1 + random_below(N_FLOWS));
			truth_len[n] = next_in_flow(&flows[f], sizes[f], truth[n]);
			give(n);
			assert_true(gso_coalesce(&coalescer, given[n], truth_len[n]));
		}
		gso_coalesce_finish(&coalescer);
		assert_order_is_kept(n);
		for (uint32_t i = 0; i < coalescer.n_supers; i++)
			assert_super_is_exact(&coalescer.supers[i]);
		n_packets += n;
		n_written += coalescer.n_supers;
		gso_coalesce_reset(&coalescer);
	}
	coalescer.trust_csum = true;
	assert_true(n_written < n_packets / 2);
}

/* ------ Offload headers ------ */

/* Each is a change of a good super-packet: of the offload header, of one byte of the packet, or of the length. */
static const struct {
	const char *what;
	int family;
	uint8_t protocol;
	int flags, gso_type, gso_size, csum_start, csum_offset; /* -1: as it is */
	int at, byte, len_change;
	enum drop_reason why;
} bad_offloads[] = {
#define HDR(...) __VA_ARGS__
#define ROW(what, f, p, fl, ty, sz, st, of, at, byte, dl, why) { what, f, p, fl, ty, sz, st, of, at, byte, dl, DROP_##why }
	ROW("good", AF_INET, 6, -1, -1, -1, -1, -1, -1, 0, 0, NONE),
	ROW("ECN", AF_INET, 6, -1, 0x81, -1, -1, -1, -1, 0, 0, NONE),
	ROW("one segment", AF_INET, 6, -1, -1, 65535, -1, -1, -1, 0, 0, NONE),
	ROW("no checksum wanted", AF_INET, 6, 0, -1, -1, -1, -1, -1, 0, 0, OFFLOAD),
	ROW("size 0", AF_INET, 6, -1, -1, 0, -1, -1, -1, 0, 0, OFFLOAD),
	ROW("UFO", AF_INET, 17, -1, 3, -1, -1, -1, -1, 0, 0, OFFLOAD),
	ROW("type 2", AF_INET, 6, -1, 2, -1, -1, -1, -1, 0, 0, OFFLOAD),
	ROW("TCPv6 in v4", AF_INET, 6, -1, 4, -1, -1, -1, -1, 0, 0, OFFLOAD),
	ROW("TCPv4 in v6", AF_INET6, 6, -1, 1, -1, -1, -1, -1, 0, 0, OFFLOAD),
	ROW("UDP for TCP", AF_INET, 6, -1, 5, -1, -1, 6, -1, 0, 0, OFFLOAD),
	ROW("TCP for UDP", AF_INET6, 17, -1, 4, -1, -1, 16, -1, 0, 0, OFFLOAD),
	ROW("ECN for UDP", AF_INET, 17, -1, 0x85, -1, -1, -1, -1, 0, 0, OFFLOAD),
	ROW("ECN of nothing", AF_INET, 6, -1, 0x80, -1, -1, -1, -1, 0, 0, OFFLOAD),
	ROW("csum_start in the IP header", AF_INET, 6, -1, -1, -1, 16, -1, -1, 0, 0, OFFLOAD),
	ROW("csum_start in the TCP header", AF_INET6, 6, -1, -1, -1, 44, -1, -1, 0, 0, OFFLOAD),
	ROW("csum_start outside", AF_INET, 6, -1, -1, -1, 65535, -1, -1, 0, 0, OFFLOAD),
	ROW("csum_offset", AF_INET, 6, -1, -1, -1, -1, 6, -1, 0, 0, OFFLOAD),
	ROW("csum_offset", AF_INET, 17, -1, -1, -1, -1, 65535, -1, 0, 0, OFFLOAD),
	ROW("IHL 4", AF_INET, 6, -1, -1, -1, -1, -1, 0, 0x44, 0, OFFLOAD),
	ROW("IHL 15", AF_INET, 6, -1, -1, -1, -1, -1, 0, 0x4f, 0, OFFLOAD),
	ROW("data offset 4", AF_INET, 6, -1, -1, -1, -1, -1, 32, 0x40, 0, OFFLOAD),
	ROW("first fragment", AF_INET, 6, -1, -1, -1, -1, -1, 6, 0x20, 0, OFFLOAD),
	ROW("later fragment", AF_INET, 17, -1, -1, -1, -1, -1, 7, 1, 0, OFFLOAD),
	ROW("protocol", AF_INET, 6, -1, -1, -1, -1, -1, 9, 1, 0, OFFLOAD),
	ROW("next header", AF_INET6, 6, -1, -1, -1, -1, -1, 6, 60, 0, OFFLOAD),
	ROW("too many segments", AF_INET, 6, -1, -1, 1, -1, -1, -1, 0, 0, OFFLOAD),
	ROW("version", AF_INET, 6, -1, -1, -1, -1, -1, 0, 0x55, 0, INNER_VERSION),
	ROW("longer than said", AF_INET, 6, -1, -1, -1, -1, -1, -1, 0, 1, INNER_LENGTH),
	ROW("longer than said", AF_INET6, 17, -1, -1, -1, -1, -1, -1, 0, 1, INNER_LENGTH),
	ROW("shorter than said", AF_INET, 17, -1, -1, -1, -1, -1, -1, 0, -1, INNER_LENGTH),
	ROW("shorter than said", AF_INET6, 6, -1, -1, -1, -1, -1, -1, 0, -1, INNER_LENGTH),
};

static void test_bad_offloads(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad_offloads) / sizeof(bad_offloads[0]); i++) {
		struct spec s = fixed_spec(bad_offloads[i].family, bad_offloads[i].protocol);
		struct virtio_net_hdr hdr;
		struct gso_split split;
		uint32_t len;
		int why;

		make_train(s, 3, 1000, 500, 0, 0);
		len = make_super(&hdr, &s, 3, 1000);
#define CHANGE(field) if (bad_offloads[i].field >= 0) hdr.field = bad_offloads[i].field
		CHANGE(flags);
		CHANGE(gso_type);
		CHANGE(gso_size);
		CHANGE(csum_start);
		CHANGE(csum_offset);
		if (bad_offloads[i].at >= 0)
			super_packet[bad_offloads[i].at] = bad_offloads[i].byte;
		why = gso_split_init(&split, &hdr, super_packet, len + bad_offloads[i].len_change);
		if (why != (int)bad_offloads[i].why)
			fail_msg("%s: %d instead of %d", bad_offloads[i].what, why, bad_offloads[i].why);
	}
}

/* Packets without GSO: copied as they are (trimmed to their IP length), or with the one checksum completed. */
static void test_plain_packets(void **state)
{
	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct virtio_net_hdr hdr = { 0 };
		uint32_t size = random_below(300), ip_len;
		struct gso_split split;
		struct spec s;

		random_spec(&s);
		make_train(s, 1, size, size, 0, 0);
		ip_len = spec_ip_len(&s);
		if (random_below(2)) {
			hdr = (struct virtio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = ip_len,
						       .csum_offset = s.protocol == 6 ? 16 : 6 };
			put_be(given[0] + ip_len + hdr.csum_offset, 2,
			       naive_pseudo(given[0], s.protocol, truth_len[0] - ip_len));
		} else {
			truth[0][ip_len + 6] = given[0][ip_len + 6] = round;
		}
		assert_int_equal(gso_split_init(&split, &hdr, given[0], truth_len[0] + random_below(3)), DROP_NONE);
		assert_int_equal(split.n_segments, 1);
		assert_int_equal(gso_split_len(&split, 0), truth_len[0]);
		memset(rebuilt, CANARY, truth_len[0] + 16);
		assert_int_equal(gso_split_segment(&split, 0, rebuilt), truth_len[0]);
		assert_memory_equal(rebuilt, truth[0], truth_len[0]);
		assert_int_equal(rebuilt[truth_len[0]], CANARY);
		assert_int_equal(gso_split_init(&split, &hdr, given[0], truth_len[0] - 1), DROP_INNER_LENGTH);
	}
}

static void test_plain_checksum_must_be_inside(void **state)
{
	struct virtio_net_hdr hdr = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM };
	struct spec s = fixed_spec(AF_INET, 17);
	struct gso_split split;

	(void)state;
	make_train(s, 1, 10, 10, 0, 0); /* 38 bytes */
	for (uint32_t start = 0; start < 70; start++) {
		for (uint32_t offset = 0; offset < 70; offset++) {
			bool is_inside = start >= 20 && start + offset + 2 <= 38;

			hdr.csum_start = start;
			hdr.csum_offset = offset;
			assert_int_equal(gso_split_init(&split, &hdr, given[0], 38), is_inside ? DROP_NONE : DROP_OFFLOAD);
		}
	}
}

/* A checksum that comes out as zero is sent as 0xffff in UDP, where zero says that there is none, and as zero in TCP. */
static void test_zero_checksum(void **state)
{
	(void)state;
	for (int protocol = 6; protocol <= 17; protocol += 11) {
		struct spec s = fixed_spec(AF_INET, protocol);
		uint32_t field = 20 + (protocol == 6 ? 16 : 6), len, hdr_len = spec_hdr_len(&s);
		struct virtio_net_hdr hdr;
		struct gso_split split;
		uint16_t check;

		make_train(s, 2, 100, 100, 0, 0);
		for (int i = 0; i < 2; i++) {
			put_be(truth[i] + hdr_len, 2, 0);
			naive_set_csum(truth[i], 20, protocol, truth_len[i]);
			check = get_be(truth[i] + field, 2);
			put_be(truth[i] + hdr_len, 2, check);
			naive_set_csum(truth[i], 20, protocol, truth_len[i]);
			assert_int_equal(get_be(truth[i] + field, 2), protocol == 17 ? 0xffff : 0);
		}
		assert_int_equal(n_supers_of_two(), 1);
		len = make_super(&hdr, &s, 2, 100);
		assert_int_equal(gso_split_init(&split, &hdr, super_packet, len), DROP_NONE);
		gso_split_segment(&split, 1, rebuilt);
		assert_memory_equal(rebuilt, truth[1], truth_len[1]);
	}
}

/* ------ Hostile input: everything ends at a page that must not be touched ------ */

static void split_all(const struct virtio_net_hdr *hdr, const uint8_t *p, uint32_t len, uint8_t *dst_end)
{
	struct gso_split split;
	uint64_t payload = 0;

	if (gso_split_init(&split, hdr, p, len))
		return;
	assert_true(split.n_segments >= 1 && split.n_segments <= GSO_SPLIT_MAX_SEGMENTS);
	for (uint32_t i = 0; i < split.n_segments; i++) {
		uint32_t n = gso_split_len(&split, i);

		assert_true(n <= split.len && n >= split.hdr_len);
		assert_int_equal(gso_split_segment(&split, i, dst_end - n), n);
		payload += n - split.hdr_len;
	}
	assert_int_equal(payload + split.hdr_len, split.len);
}

static void coalesce_both(uint8_t *p, uint32_t len, uint8_t *dst_end)
{
	if (inner_check(p, &len))
		return;
	memcpy(given[0], p, len);
	assert_true(gso_coalesce(&coalescer, given[0], len));
	assert_true(gso_coalesce(&coalescer, p, len));
	gso_coalesce_finish(&coalescer);
	for (uint32_t i = 0; i < coalescer.n_supers; i++) {
		for (unsigned int k = 0; k < coalescer.supers[i].n_packets; k++)
			assert_int_equal(gso_super_packet(&coalescer.supers[i], k, dst_end - len), len);
	}
	gso_coalesce_reset(&coalescer);
}

static void set_ip_len(uint8_t *p, uint32_t len)
{
	if (len >= 20 && p[0] >> 4 == 4) {
		put_be(p + 2, 2, len);
		put_be(p + 10, 2, 0);
		put_be(p + 10, 2, 0xffff - naive_sum(0, p, 20));
	} else if (len >= 40) {
		put_be(p + 4, 2, len - 40);
	}
}

static void test_truncations(void **state)
{
	uint8_t *src_end = guarded_alloc(), *dst_end = guarded_alloc();

	(void)state;
	for (int round = 0; round < 200; round++) {
		struct virtio_net_hdr hdr;
		uint32_t whole;
		struct spec s;

		random_spec(&s);
		if (round % 4 == 0)
			s.ip_options_len = 8 * random_below(5);
		make_train(s, 3, 100, 100, 0, 0);
		whole = make_super(&hdr, &s, 3, 100);
		for (uint32_t len = 0; len <= 200 && len <= whole; len++) {
			uint8_t *p = src_end - len;

			memcpy(p, super_packet, len);
			split_all(&hdr, p, len, dst_end);
			coalesce_both(p, len, dst_end);
			memcpy(p, super_packet, len);
			set_ip_len(p, len);
			split_all(&hdr, p, len, dst_end);
			hdr.gso_type ^= s.protocol == 17 ? 5 : s.family == AF_INET ? 1 : 4;
			split_all(&hdr, p, len, dst_end);
			hdr.gso_type ^= s.protocol == 17 ? 5 : s.family == AF_INET ? 1 : 4;
			coalesce_both(p, len, dst_end);
		}
	}
}

static void random_hdr(struct virtio_net_hdr *hdr, const uint8_t *p, uint32_t len)
{
	static const uint8_t types[] = { 0, 1, 4, 5, 0x81, 0x84, 3 };
	bool v4 = len && p[0] >> 4 == 4, is_udp = len > 9 && p[v4 ? 9 : 6] == 17;

	random_bytes((uint8_t *)hdr, sizeof(*hdr));
	hdr->flags = random_below(8) ? 1 : hdr->flags;
	hdr->gso_type = random_below(8) ? types[random_below(7)] : hdr->gso_type;
	hdr->gso_size = random_below(8) ? random_below(100) : hdr->gso_size;
	hdr->csum_start = random_below(8) ? (v4 ? 20 : 40) : random_below(120);
	hdr->csum_offset = random_below(8) ? (is_udp ? 6 : 16) : random_below(80);
}

static void test_random_headers(void **state)
{
	uint8_t *src_end = guarded_alloc(), *dst_end = guarded_alloc();

	(void)state;
	for (int round = 0; round < N_RANDOM; round++) {
		uint32_t len = random_below(160), start;
		uint8_t *p = src_end - len;
		struct virtio_net_hdr hdr;

		random_bytes(p, len);
		start = round & 1 ? 20 : 40;
		if (len > start + 20) {
			p[0] = start == 20 ? 0x45 : 0x60;
			memset(p + (start == 20 ? 6 : 0), start == 20 ? 0 : 0x60, start == 20 ? 2 : 1);
			p[start == 20 ? 9 : 6] = round & 2 ? 6 : 17;
			p[start + 12] = random_below(4) ? 0x50 : p[start + 12];
			p[start + 13] = random_below(2) ? 0x10 : p[start + 13];
			if (random_below(2) && !(round & 2))
				put_be(p + start + 4, 2, len - start);
		}
		if (random_below(4))
			set_ip_len(p, len);
		random_hdr(&hdr, p, len);
		split_all(&hdr, p, len, dst_end);
		coalesce_both(p, len, dst_end);
	}
}

static int init_coalescer(void **state)
{
	(void)state;
	return gso_coalescer_init(&coalescer, true, true);
}

static int deinit_coalescer(void **state)
{
	(void)state;
	gso_coalescer_deinit(&coalescer);
	gso_coalescer_deinit(&coalescer);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split_is_exact),
		cmocka_unit_test(test_coalesce_is_exact),
		cmocka_unit_test(test_never_coalesced),
		cmocka_unit_test(test_fragments_are_not_touched),
		cmocka_unit_test(test_wrong_checksums),
		cmocka_unit_test(test_switches),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_bursts_of_flows),
		cmocka_unit_test(test_bad_offloads),
		cmocka_unit_test(test_plain_packets),
		cmocka_unit_test(test_plain_checksum_must_be_inside),
		cmocka_unit_test(test_zero_checksum),
		cmocka_unit_test(test_truncations),
		cmocka_unit_test(test_random_headers),
	};

	random_state = SEED;
	printf("seed %#x\n", SEED);
	return cmocka_run_group_tests(tests, init_coalescer, deinit_coalescer);
}
