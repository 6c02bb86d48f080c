// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The rules for inner packets: tables, and a naive parser for the ICMP errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "../../user/inner.c"

#include "inner_packets.h"

#define SEED 0x5eed0002
#define N_RANDOM 1000000

static struct spec udp_spec(int family)
{
	struct spec s = {
		.family = family, .protocol = IPPROTO_UDP, .src = 1, .dst = 2,
		.src_port = 1000, .dst_port = 2000, .ttl = 64, .flow_label = 0x12345,
	};

	return s;
}

static void test_family(void **state)
{
	uint8_t p[40] = { 0x45 };

	(void)state;
	assert_int_equal(inner_family(p, 20), AF_INET);
	assert_int_equal(inner_family(p, 19), 0);
	assert_int_equal(inner_family(p, 0), 0);
	p[0] = 0x60;
	assert_int_equal(inner_family(p, 40), AF_INET6);
	assert_int_equal(inner_family(p, 39), 0);
	for (int version = 0; version < 16; version++) {
		p[0] = version << 4 | 5;
		assert_int_equal(inner_family(p, 40), version == 4 ? AF_INET : version == 6 ? AF_INET6 : 0);
	}
}

static void test_check(void **state)
{
	static const struct {
		uint8_t first;
		uint16_t field; /* IPv4 total length, IPv6 payload length */
		uint32_t len;
		enum drop_reason why;
		uint32_t trimmed;
	} rows[] = {
		{ 0x45, 20, 20, DROP_NONE, 20 },
		{ 0x45, 20, 32, DROP_NONE, 20 },
		{ 0x45, 33, 48, DROP_NONE, 33 },
		{ 0x45, 49, 48, DROP_INNER_LENGTH, 48 },
		{ 0x45, 65535, 48, DROP_INNER_LENGTH, 48 },
		{ 0x45, 19, 48, DROP_INNER_LENGTH, 48 },
		{ 0x45, 0, 48, DROP_INNER_LENGTH, 48 },
		{ 0x45, 20, 19, DROP_INNER_VERSION, 19 },
		{ 0x60, 0, 40, DROP_NONE, 40 },
		{ 0x60, 0, 48, DROP_NONE, 40 },
		{ 0x60, 7, 48, DROP_NONE, 47 },
		{ 0x60, 8, 48, DROP_NONE, 48 },
		{ 0x60, 9, 48, DROP_INNER_LENGTH, 48 },
		{ 0x60, 65535, 48, DROP_INNER_LENGTH, 48 },
		{ 0x60, 0, 39, DROP_INNER_VERSION, 39 },
		{ 0x00, 20, 48, DROP_INNER_VERSION, 48 },
		{ 0x55, 20, 48, DROP_INNER_VERSION, 48 },
		{ 0xf5, 20, 48, DROP_INNER_VERSION, 48 },
		{ 0x45, 20, 0, DROP_INNER_VERSION, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t p[48] = { rows[i].first };
		uint32_t len = rows[i].len;

		put_be(p + (p[0] >> 4 == 6 ? 4 : 2), 2, rows[i].field);
		assert_int_equal(inner_check(p, &len), rows[i].why);
		assert_int_equal(len, rows[i].trimmed);
	}
}

static void test_find_transport(void **state)
{
	struct inner_transport t = { 0 };
	struct spec s = udp_spec(AF_INET);
	uint8_t p[2048] = { 0 };
	uint32_t len = build_packet(p, &s, p, 8);

	(void)state;
	assert_true(inner_find_transport(&t, p, len));
	assert_int_equal(t.offset, 20);
	assert_int_equal(t.protocol, IPPROTO_UDP);
	assert_false(t.is_fragment);
	p[6] = 0x20;
	assert_true(inner_find_transport(&t, p, len) && t.is_fragment);
	p[7] = 1;
	assert_false(inner_find_transport(&t, p, len));
	p[6] = p[7] = 0;
	p[0] = 0x4f; /* 60 bytes of header, more than there is */
	assert_false(inner_find_transport(&t, p, len));
	p[0] = 0x44;
	assert_false(inner_find_transport(&t, p, len));

	/* IPv6: hop-by-hop 16, routing 8, first fragment 8, authentication 12 + 4, destination options 8, UDP. */
	static const uint8_t chain[] = {
		43, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		44, 0, 0, 0, 0, 0, 0, 0,
		51, 0xff, 0, 1, 1, 2, 3, 4,
		60, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 9, 9, 9, 9,
		17, 0, 1, 4, 0, 0, 0, 0,
	};
	s.family = AF_INET6;
	len = build_packet(p, &s, chain, sizeof(chain));
	p[6] = 0;
	memcpy(p + 40, chain, sizeof(chain));
	assert_true(inner_find_transport(&t, p, len));
	assert_int_equal(t.offset, 40 + sizeof(chain));
	assert_int_equal(t.protocol, IPPROTO_UDP);
	assert_true(t.is_fragment);
	for (uint32_t shorter = 0; shorter < 40 + sizeof(chain); shorter++)
		assert_false(inner_find_transport(&t, p, shorter));
	p[40 + 24 + 3] = 8; /* fragment offset 1 */
	assert_false(inner_find_transport(&t, p, len));

	/* Chains of any length would be work without end. */
	for (uint32_t n = 0; n < 100; n++) {
		memset(p + 40, 0, 2000);
		p[6] = n ? 0 : 17;
		p[40 + (n ? n - 1 : 100) * 8] = 17;
		assert_int_equal(inner_find_transport(&t, p, 2040), n < EXTENSION_HEADERS_MAX);
		assert_true(n >= EXTENSION_HEADERS_MAX || (t.offset == 40 + n * 8 && t.protocol == 17));
	}
}

static void test_padding(void **state)
{
	static const uint32_t rows[][3] = { /* len, mtu, padding */
		{ 0, 1420, 0 }, { 1, 1420, 15 }, { 15, 1420, 1 }, { 16, 1420, 0 }, { 17, 1420, 15 },
		{ 1408, 1420, 0 }, { 1409, 1420, 11 }, { 1419, 1420, 1 }, { 1420, 1420, 0 },
		{ 1421, 1420, 15 }, { 1436, 1420, 0 }, { 2840, 1420, 0 }, { 2841, 1420, 15 }, { 2839, 1420, 1 },
		{ 0, 0, 0 }, { 1, 0, 15 }, { 65535, 0, 1 }, { 1421, 0, 3 },
		{ 5, 8, 3 }, { 8, 8, 0 }, { 9, 8, 7 }, { 5, 1, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(inner_padding(rows[i][0], rows[i][1]), rows[i][2]);
	for (uint32_t len = 0; len <= 1420; len++) {
		uint32_t padded = len + inner_padding(len, 1420);

		assert_true(padded <= 1420 && padded >= len && padded - len < 16);
		assert_true(padded % 16 == 0 || padded == 1420);
	}
}

static void put_ecn(uint8_t *p, uint8_t ds)
{
	if (p[0] >> 4 == 6) {
		put_be(p, 2, (get_be(p, 2) & 0xf00f) | ds << 4);
		return;
	}
	p[1] = ds;
	naive_set_ip_csum(p);
}

static void test_ecn(void **state)
{
	enum { NOT, ECT1, ECT0, CE };
	static const uint8_t encapsulated[] = { NOT, ECT1, ECT0, ECT0 };
	/* RFC 6040, figure 4, [inner][outer]; where it drops, the packet stays as it is. */
	static const uint8_t decapsulated[4][4] = {
		[NOT] = { [NOT] = NOT, [ECT0] = NOT, [ECT1] = NOT, [CE] = NOT },
		[ECT0] = { [NOT] = ECT0, [ECT0] = ECT0, [ECT1] = ECT1, [CE] = CE },
		[ECT1] = { [NOT] = ECT1, [ECT0] = ECT1, [ECT1] = ECT1, [CE] = CE },
		[CE] = { [NOT] = CE, [ECT0] = CE, [ECT1] = CE, [CE] = CE },
	};
	uint8_t p[100], expected[100];

	(void)state;
	for (int round = 0; round < 20000; round++) {
		uint8_t inner = round & 3, outer = round >> 2 & 3, dscp = random_u32() & 0xfc;
		struct spec s;
		uint32_t len;

		random_spec(&s);
		s.tcp_options_len = 0;
		s.ds = dscp | inner;
		len = build_packet(p, &s, expected, 0);
		memcpy(expected, p, len);
		assert_int_equal(inner_ecn_encapsulate(p), encapsulated[inner]);
		put_ecn(expected, dscp | decapsulated[inner][outer]);
		inner_ecn_decapsulate(p, (random_u32() & 0xfc) | outer);
		assert_memory_equal(p, expected, len);
	}
}

/* Reads the error as its receiver would; fails if any field is not what it should be. */
static void assert_unreachable(const uint8_t *icmp, uint32_t icmp_len, const uint8_t *packet, uint32_t len)
{
	bool v4 = packet[0] >> 4 == 4;
	uint32_t ip_len = v4 ? 20 : 40, addr = v4 ? 4 : 16, src = v4 ? 12 : 8, max = v4 ? 576 : 1280;
	uint32_t quoted = len < max - ip_len - 8 ? len : max - ip_len - 8;

	assert_int_equal(icmp_len, ip_len + 8 + quoted);
	assert_int_equal(icmp[0], v4 ? 0x45 : 0x60);
	assert_int_equal(get_be(icmp + (v4 ? 2 : 4), 2), v4 ? icmp_len : icmp_len - 40);
	assert_int_equal(icmp[v4 ? 9 : 6], v4 ? 1 : 58);
	assert_true(icmp[v4 ? 8 : 7] >= 64);
	assert_memory_equal(icmp + src, packet + src + addr, addr);
	assert_memory_equal(icmp + src + addr, packet + src, addr);
	if (v4)
		assert_int_equal(naive_sum(0, icmp, 20), 0xffff);
	assert_int_equal(icmp[ip_len], v4 ? 3 : 1);
	assert_int_equal(icmp[ip_len + 1], v4 ? 1 : 3);
	assert_int_equal(get_be(icmp + ip_len + 4, 4), 0);
	assert_int_equal(naive_sum(v4 ? 0 : naive_pseudo(icmp, 58, icmp_len - 40), icmp + ip_len, icmp_len - ip_len),
			 0xffff);
	assert_memory_equal(icmp + ip_len + 8, packet, quoted);
}

static void test_icmp_is_valid(void **state)
{
	static uint8_t packet[3000], payload[2900], out[INNER_ICMP_MAX + 16];

	(void)state;
	random_bytes(payload, sizeof(payload));
	for (uint32_t n = 0; n <= 2800; n += n < 40 || n > 1100 ? 7 : 1) {
		struct spec s;
		uint32_t len, icmp_len;

		random_spec(&s);
		len = build_packet(packet, &s, payload, n);
		memset(out, 0xa5, sizeof(out));
		icmp_len = inner_icmp_unreachable(out, packet, len + random_below(16));
		assert_unreachable(out, icmp_len, packet, len);
		assert_int_equal(out[icmp_len], 0xa5);
	}
}

/* Each changes a good packet so that nobody is told about it. */
static const struct {
	const char *what;
	int family;
	uint8_t at, n;
	uint8_t bytes[16];
} silent[] = {
	{ "later fragment", AF_INET, 6, 2, { 0x00, 0x01 } },
	{ "middle fragment", AF_INET, 6, 2, { 0x20, 0x10 } },
	{ "from 0.0.0.0", AF_INET, 12, 4, { 0 } },
	{ "from 0/8", AF_INET, 12, 4, { 0, 1, 2, 3 } },
	{ "from loopback", AF_INET, 12, 4, { 127, 0, 0, 1 } },
	{ "from a group", AF_INET, 12, 4, { 224, 0, 0, 1 } },
	{ "from class E", AF_INET, 12, 4, { 240, 0, 0, 1 } },
	{ "from broadcast", AF_INET, 12, 4, { 255, 255, 255, 255 } },
	{ "to a group", AF_INET, 16, 4, { 239, 255, 255, 250 } },
	{ "to broadcast", AF_INET, 16, 4, { 255, 255, 255, 255 } },
	{ "to nobody", AF_INET, 16, 4, { 0 } },
	{ "header too short", AF_INET, 0, 1, { 0x44 } },
	{ "header too long", AF_INET, 0, 1, { 0x4f } },
	{ "version", AF_INET, 0, 1, { 0x75 } },
	{ "total length", AF_INET, 2, 2, { 0x01, 0x00 } },
	{ "from ::", AF_INET6, 8, 16, { 0 } },
	{ "from a group", AF_INET6, 8, 2, { 0xff, 0x02 } },
	{ "to a group", AF_INET6, 24, 2, { 0xff, 0x02 } },
	{ "to ::", AF_INET6, 24, 16, { 0 } },
	{ "broken extension header", AF_INET6, 6, 1, { 60 } },
	{ "payload length", AF_INET6, 4, 2, { 0x01, 0x00 } },
};

static void test_icmp_is_not_owed(void **state)
{
	uint8_t p[128], payload[8], out[INNER_ICMP_MAX];

	(void)state;
	memset(payload, 0xff, sizeof(payload));
	for (size_t i = 0; i < sizeof(silent) / sizeof(silent[0]); i++) {
		struct spec s = udp_spec(silent[i].family);
		uint32_t len = build_packet(p, &s, payload, sizeof(payload));

		p[40 + (s.family == AF_INET6)] = 0xff; /* as an extension header this would be too long */
		assert_unreachable(out, inner_icmp_unreachable(out, p, len), p, len);
		memcpy(p + silent[i].at, silent[i].bytes, silent[i].n);
		if (inner_icmp_unreachable(out, p, len))
			fail_msg("answered: %s", silent[i].what);
	}
	assert_int_equal(inner_icmp_unreachable(out, p, 0), 0);
	assert_int_equal(inner_icmp_unreachable(out, p, 19), 0);
}

/* About ICMP errors (and what may be one), never; about the rest, as about other packets. */
static void test_icmp_about_icmp(void **state)
{
	uint8_t p[128], out[INNER_ICMP_MAX], payload[8] = { 0 };

	(void)state;
	for (int type = 0; type < 256; type++) {
		struct spec s = udp_spec(AF_INET);
		uint32_t len = build_packet(p, &s, payload, sizeof(payload));
		bool is_error = type == 3 || type == 4 || type == 5 || type == 11 || type == 12;

		p[9] = 1;
		p[20] = type;
		assert_int_equal(!inner_icmp_unreachable(out, p, len), is_error);

		s.family = AF_INET6;
		len = build_packet(p, &s, payload, sizeof(payload));
		p[6] = 58;
		p[40] = type;
		assert_int_equal(!inner_icmp_unreachable(out, p, len), type < 128 || type == 137);

		/* The same behind an extension header. */
		s.ip_options_len = 8;
		len = build_packet(p, &s, payload, sizeof(payload));
		p[40] = 58;
		p[48] = type;
		assert_int_equal(!inner_icmp_unreachable(out, p, len), type < 128 || type == 137);
	}
	p[0] = 0x45;
	p[6] = p[7] = 0;
	p[9] = 1;
	put_be(p + 2, 2, 20);
	assert_int_equal(inner_icmp_unreachable(out, p, 20), 0); /* a type that is not there */
}

static void random_inner(uint8_t *p, uint32_t len)
{
	static const uint8_t protocols[] = { 0, 1, 6, 17, 43, 44, 51, 58, 60, 59 };

	random_bytes(p, len);
	if (len && random_below(8))
		p[0] = (random_below(2) ? 0x40 : 0x60) | (random_below(4) ? 5 : p[0] & 0xf);
	if (len > 9 && random_below(4))
		p[p[0] >> 4 == 4 ? 9 : 6] = protocols[random_below(sizeof(protocols))];
	if (len > 6 && random_below(4))
		put_be(p + (p[0] >> 4 == 4 ? 2 : 4), 2, p[0] >> 4 == 4 ? len : len - 40);
	for (uint32_t i = 40; i + 8 <= len && random_below(4); i += 8) {
		p[i] = protocols[random_below(sizeof(protocols))];
		p[i + 1] = random_below(3);
	}
	if (len > 7 && p[0] >> 4 == 4 && random_below(4))
		p[6] = p[7] = 0;
}

/* What is given ends at a page that must not be read. */
static void test_random_packets_are_not_overread(void **state)
{
	uint8_t *end = guarded_alloc(), out[INNER_ICMP_MAX];
	unsigned int n_answered = 0;

	(void)state;
	for (int i = 0; i < N_RANDOM; i++) {
		uint32_t len = random_below(120), trimmed = len, icmp_len;
		uint8_t *p = end - len;
		struct inner_transport t;

		random_inner(p, len);
		if (inner_find_transport(&t, p, len))
			assert_true(t.offset <= len && t.offset >= 20);
		icmp_len = inner_icmp_unreachable(out, p, len);
		if (!inner_check(p, &trimmed)) {
			assert_true(trimmed <= len && trimmed >= 20);
			inner_ecn_encapsulate(p);
			inner_ecn_decapsulate(p, i);
		}
		assert_true(icmp_len <= INNER_ICMP_MAX);
		n_answered += icmp_len > 0;
	}
	assert_true(n_answered > N_RANDOM / 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_family),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_find_transport),
		cmocka_unit_test(test_padding),
		cmocka_unit_test(test_ecn),
		cmocka_unit_test(test_icmp_is_valid),
		cmocka_unit_test(test_icmp_is_not_owed),
		cmocka_unit_test(test_icmp_about_icmp),
		cmocka_unit_test(test_random_packets_are_not_overread),
	};

	random_state = SEED;
	printf("seed %#x\n", SEED);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
