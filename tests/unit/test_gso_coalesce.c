// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Packets coalesced. The truth is what went in; a naive model of the kernel splits what comes out, and there must be no
 * difference, whatever was in the burst.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "../../user/gso.c"

#include "inner_packets.h"

#define SEED 0x5eed0004
#define N_SUPERS 100000
#define N_BURSTS 3000

static uint8_t rebuilt[GSO_MAX_SIZE + 16], kernel_out[GSO_MAX_SIZE + 16];
static struct gso_coalescer coalescer;

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

/* ------ Trains ------ */

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

/* What is not well-formed leaves as it came, behind a header of zeroes. */
static void test_malformed_is_not_touched(void **state)
{
	(void)state;
	for (int family = 0; family < 2; family++) {
		struct spec a = fixed_spec(family ? AF_INET6 : AF_INET, 6), b = next_spec(a);
		uint32_t offset = (family ? 40 : 20) + 12;

		for (int which = 0; which < 2; which++) {
			n_supers_of(&a, 100, &b, 100);
			truth[which][offset] = 0x40; /* a TCP header of 16 bytes */
			assert_int_equal(n_supers_of_two(), 2);
			assert_memory_equal(given[which], truth[which], truth_len[which]);

			n_supers_of(&a, 4, &b, 4);
			truth[which][offset] = 0xa0; /* of 40, where there are 36 */
			assert_int_equal(n_supers_of_two(), 2);
			assert_memory_equal(given[which], truth[which], truth_len[which]);

			n_supers_of(&a, 100, &b, 100);
			truth_len[which]++; /* not trimmed */
			assert_int_equal(n_supers_of_two(), 2);
			assert_memory_equal(given[which], truth[which], truth_len[which]);
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

/* The packets of an earlier burst are gone: nothing may be appended to them. */
static void test_reset_forgets(void **state)
{
	struct spec s = fixed_spec(AF_INET6, 6);

	(void)state;
	for (int i = 0; i < 5000; i++) {
		make_train(s, 1, 100, 100, 0, 0);
		s.seq += 100;
		assert_true(gso_coalesce(&coalescer, given[0], truth_len[0]));
		assert_int_equal(coalescer.n_supers, 1);
		assert_int_equal(coalescer.supers[0].n_packets, 1);
		gso_coalesce_reset(&coalescer);
	}
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

/* Of fragments and options only the addresses are certain. */
static bool is_odd(const uint8_t *p)
{
	return p[0] >> 4 == 4 ? p[0] != 0x45 || (p[6] & 0x3f) || p[7] : p[6] == 60;
}

static bool is_same_path(const uint8_t *p, const uint8_t *q)
{
	bool v4 = p[0] >> 4 == 4;
	uint32_t ip_len = v4 ? 20 : 40;

	if (p[0] >> 4 != q[0] >> 4 || memcmp(p + (v4 ? 12 : 8), q + (v4 ? 12 : 8), v4 ? 8 : 32))
		return false;
	return is_odd(p) || is_odd(q) || (p[v4 ? 9 : 6] == q[v4 ? 9 : 6] && !memcmp(p + ip_len, q + ip_len, 4));
}

static void assert_order_is_kept(unsigned int n)
{
	unsigned int order[TRAIN_MAX], n_out = 0;

	for (uint32_t i = 0; i < coalescer.n_supers; i++) {
		for (unsigned int k = 0; k < coalescer.supers[i].n_packets; k++) {
			assert_true(n_out < n);
			order[n_out++] = index_of(&coalescer.supers[i], k);
		}
	}
	assert_int_equal(n_out, n);
	for (unsigned int i = 0; i < n; i++) {
		for (unsigned int k = i + 1; k < n; k++) {
			assert_int_not_equal(order[i], order[k]);
			assert_true(order[i] < order[k] || !is_same_path(truth[order[i]], truth[order[k]]));
		}
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

/* Checksums that come out as zero: 0xffff in UDP, where zero says that there is none, but not in TCP. */
static void test_zero_checksum(void **state)
{
	(void)state;
	for (int protocol = 6; protocol <= 17; protocol += 11) {
		struct spec s = fixed_spec(AF_INET, protocol);
		uint32_t field = 20 + (protocol == 6 ? 16 : 6), hdr_len = spec_hdr_len(&s);

		make_train(s, 2, 100, 100, 0, 0);
		for (int i = 0; i < 2; i++) {
			put_be(truth[i] + hdr_len, 2, 0);
			naive_set_csum(truth[i], 20, protocol, truth_len[i]);
			memcpy(truth[i] + hdr_len, truth[i] + field, 2);
			naive_set_csum(truth[i], 20, protocol, truth_len[i]);
			assert_int_equal(get_be(truth[i] + field, 2), protocol == 17 ? 0xffff : 0);
		}
		assert_int_equal(n_supers_of_two(), 1);
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
		cmocka_unit_test(test_coalesce_is_exact),
		cmocka_unit_test(test_never_coalesced),
		cmocka_unit_test(test_malformed_is_not_touched),
		cmocka_unit_test(test_fragments_are_not_touched),
		cmocka_unit_test(test_wrong_checksums),
		cmocka_unit_test(test_switches),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_reset_forgets),
		cmocka_unit_test(test_zero_checksum),
		cmocka_unit_test(test_bursts_of_flows),
	};

	random_state = SEED;
	printf("seed %#x\n", SEED);
	return cmocka_run_group_tests(tests, init_coalescer, deinit_coalescer);
}
