// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Super-packets split: into the very packets, made one by one, that they stand for. And hostile input: whatever a
 * packet or its offload header claims, nothing outside is touched.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "../../user/gso.c"

#include "inner_packets.h"

#define SEED 0x5eed0003
#define N_SUPERS 100000
#define N_RANDOM 1000000

#define SYN 0x02
#define RST 0x04
#define URG 0x20
#define ECE 0x40

static uint8_t rebuilt[GSO_MAX_SIZE + 16];
static struct gso_coalescer coalescer;

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
#define ROW(what, f, p, fl, ty, sz, st, of, at, byte, dl, why) \
	{ what, f, p, fl, ty, sz, st, of, at, byte, dl, DROP_##why }
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
			assert_int_equal(gso_split_init(&split, &hdr, given[0], 38),
					 is_inside ? DROP_NONE : DROP_OFFLOAD);
		}
	}
	hdr.csum_start = 20;
	hdr.csum_offset = 6;
	given[0][0] = 0x44;
	assert_int_equal(gso_split_init(&split, &hdr, given[0], 38), DROP_OFFLOAD);
	given[0][0] = 0x46;
	assert_int_equal(gso_split_init(&split, &hdr, given[0], 38), DROP_OFFLOAD);
}

/* A checksum that comes out as zero is sent as 0xffff in UDP, where zero says that there is none; not so in TCP. */
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
