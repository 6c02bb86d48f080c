// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#define _GNU_SOURCE /* unshare */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../user/endpoint.c"

#include "own_netns.h"

/* Text that must survive parse and format; NULL: as it was. */
static const struct {
	const char *text, *formatted;
} good[] = {
	{ "192.0.2.1:51820", NULL },
	{ "0.0.0.0:1", NULL },
	{ "255.255.255.255:65535", NULL },
	{ "192.0.2.1:00080", "192.0.2.1:80" },
	{ "[2001:db8::1]:51820", NULL },
	{ "[2001:0DB8:0::0001]:51820", "[2001:db8::1]:51820" },
	{ "[::]:1", NULL },
	{ "[::1]:65535", NULL },
	{ "[1111:2222:3333:4444:5555:6666:7777:8888]:65535", NULL },
	{ "[::ffff:192.0.2.1]:5", NULL },
	{ "[fe80::1%lo]:51820", NULL },
	{ "[fe80::1%1]:51820", "[fe80::1%lo]:51820" },
	{ "[fe80::1%999999]:51820", NULL },
	{ "[fe80::1111:2222:3333:4444%2147483647]:65535", NULL },
};

static const char *const bad[] = {
	"", ":", ":51820", "192.0.2.1", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "192.0.2.1:99999999999999999999",
	"192.0.2.1:-1", "192.0.2.1:+1", "192.0.2.1: 1", "192.0.2.1:1 ", "192.0.2.1:0x50", "192.0.2:1", "192.0.2.256:1",
	"192.0.2.1.:1", " 192.0.2.1:1", "example.com:51820", "localhost:1", "2001:db8::1:51820", "[2001:db8::1]",
	"[2001:db8::1]:", "[2001:db8::1:51820", "2001:db8::1]:51820", "[]:1", "[:1", "]:1",
	"[2001:db8:::1]:1", "[192.0.2.1]:1",
	"[fe80::1%]:1", "[fe80::1%0]:1", "[fe80::1%no-such-link]:1", "[fe80::1%2147483648]:1", "[%lo]:1", "[[::1]]:1",
	"[1111:2222:3333:4444:5555:6666:7777:8888%aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]:65535",
};

static void test_text_round_trip(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		struct endpoint endpoint, again;
		char text[ENDPOINT_TEXT_SIZE];

		memset(&endpoint, 0xa5, sizeof(endpoint));
		if (!endpoint_parse(&endpoint, good[i].text))
			fail_msg("refused: %s", good[i].text);
		assert_false(endpoint_has_src(&endpoint));
		endpoint_format(text, &endpoint);
		assert_string_equal(text, good[i].formatted ? good[i].formatted : good[i].text);
		assert_true(endpoint_parse(&again, text));
		assert_true(endpoint_equal(&endpoint, &again));
	}
}

static void test_bad_text(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct endpoint endpoint, before;

		memset(&endpoint, 0xa5, sizeof(endpoint));
		before = endpoint;
		if (endpoint_parse(&endpoint, bad[i]))
			fail_msg("taken: %s", bad[i]);
		assert_memory_equal(&endpoint, &before, sizeof(before));
	}
}

static void test_parsed_fields(void **state)
{
	static const uint8_t addr6[16] = { 0xfe, 0x80, [15] = 7 };
	struct endpoint endpoint;

	(void)state;
	assert_true(endpoint_parse(&endpoint, "192.0.2.77:258"));
	assert_int_equal(endpoint.family, AF_INET);
	assert_memory_equal(&endpoint.addr4.sin_addr, "\xc0\x00\x02\x4d", 4);
	assert_memory_equal(&endpoint.addr4.sin_port, "\x01\x02", 2);
	assert_int_equal(endpoint_addr_len(&endpoint), sizeof(struct sockaddr_in));

	assert_true(endpoint_parse(&endpoint, "[fe80::7%3]:258"));
	assert_int_equal(endpoint.family, AF_INET6);
	assert_memory_equal(&endpoint.addr6.sin6_addr, addr6, 16);
	assert_memory_equal(&endpoint.addr6.sin6_port, "\x01\x02", 2);
	assert_int_equal(endpoint.addr6.sin6_scope_id, 3);
	assert_int_equal(endpoint.addr6.sin6_flowinfo, 0);
	assert_int_equal(endpoint_addr_len(&endpoint), sizeof(struct sockaddr_in6));
}

static void test_unspecified(void **state)
{
	struct endpoint none = { 0 }, other = { .src_if4 = 1 }, real;
	struct cookie_source source;
	char text[ENDPOINT_TEXT_SIZE] = "x";

	(void)state;
	assert_true(endpoint_equal(&none, &other));
	assert_true(endpoint_parse(&real, "192.0.2.1:1"));
	assert_false(endpoint_equal(&none, &real));
	assert_false(endpoint_remote_equal(&none, &real));
	assert_false(endpoint_has_src(&other));
	assert_int_equal(endpoint_addr_len(&none), 0);
	endpoint_format(text, &none);
	assert_string_equal(text, "");
	endpoint_cookie_source(&none, &source);
	assert_int_equal(source.len, 0);
}

/* Each field that makes a difference, one at a time. */
static void test_equal(void **state)
{
	struct endpoint a, b;

	(void)state;
	assert_true(endpoint_parse(&a, "192.0.2.1:1000"));
	a.src4.s_addr = htonl(0x0a000001);
	a.src_if4 = 3;
	b = a;
	/* What sendto() does not look at. */
	memset(b.addr4.sin_zero, 0xff, sizeof(b.addr4.sin_zero));
	assert_true(endpoint_equal(&a, &b));
	b.src_if4 = 4;
	assert_false(endpoint_equal(&a, &b));
	assert_true(endpoint_remote_equal(&a, &b));
	b = a;
	b.src4.s_addr++;
	assert_false(endpoint_equal(&a, &b));
	b = a;
	b.addr4.sin_port++;
	assert_false(endpoint_remote_equal(&a, &b));
	b = a;
	b.addr4.sin_addr.s_addr++;
	assert_false(endpoint_equal(&a, &b));

	assert_true(endpoint_parse(&a, "[fe80::1%1]:1000"));
	a.src6.s6_addr[15] = 1;
	b = a;
	b.addr6.sin6_flowinfo = 5;
	assert_true(endpoint_equal(&a, &b));
	b.addr6.sin6_scope_id = 2;
	assert_false(endpoint_remote_equal(&a, &b));
	b = a;
	b.src6.s6_addr[0] = 1;
	assert_false(endpoint_equal(&a, &b));
	assert_true(endpoint_remote_equal(&a, &b));
	b = a;
	b.addr6.sin6_addr.s6_addr[15]++;
	assert_false(endpoint_remote_equal(&a, &b));
	b = a;
	b.addr6.sin6_port++;
	assert_false(endpoint_remote_equal(&a, &b));
	b = a;
	b.family = AF_INET;
	assert_false(endpoint_remote_equal(&a, &b));
}

static void test_src(void **state)
{
	struct endpoint endpoint;

	(void)state;
	assert_true(endpoint_parse(&endpoint, "192.0.2.1:1000"));
	endpoint.src4.s_addr = 1;
	endpoint.src_if4 = 1;
	assert_true(endpoint_has_src(&endpoint));
	endpoint_clear_src(&endpoint);
	assert_false(endpoint_has_src(&endpoint));
	assert_int_equal(endpoint.src4.s_addr, 0);
	assert_int_equal(endpoint.src_if4, 0);

	assert_true(endpoint_parse(&endpoint, "[::1]:1000"));
	endpoint.src6.s6_addr[15] = 1;
	assert_true(endpoint_has_src(&endpoint));
	endpoint_clear_src(&endpoint);
	assert_false(endpoint_has_src(&endpoint));
}

/* A cookie binds the port too: an implementation once forgot it. */
static void test_cookie_source(void **state)
{
	struct cookie_source source;
	struct endpoint endpoint;

	(void)state;
	assert_true(endpoint_parse(&endpoint, "192.0.2.1:258"));
	endpoint_cookie_source(&endpoint, &source);
	assert_int_equal(source.len, 6);
	assert_memory_equal(source.bytes, "\xc0\x00\x02\x01\x01\x02", 6);

	assert_true(endpoint_parse(&endpoint, "[2001:db8::1%1]:258"));
	endpoint_cookie_source(&endpoint, &source);
	assert_int_equal(source.len, 18);
	assert_memory_equal(source.bytes, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x01\x02", 18);
}

static void test_longest_zone(void **state)
{
	struct endpoint endpoint;
	char text[ENDPOINT_TEXT_SIZE];
	const char *longest = "[fe80:2222:3333:4444:5555:6666:7777:8888%fifteen-letters]:65535";

	(void)state;
	REQUIRE_NETNS();
	run("ip link add fifteen-letters type veth peer name other");
	assert_true(endpoint_parse(&endpoint, longest));
	assert_int_equal(endpoint.addr6.sin6_scope_id, if_nametoindex("fifteen-letters"));
	endpoint_format(text, &endpoint);
	assert_string_equal(text, longest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_round_trip), cmocka_unit_test(test_bad_text),
		cmocka_unit_test(test_parsed_fields),   cmocka_unit_test(test_unspecified),
		cmocka_unit_test(test_equal),           cmocka_unit_test(test_src),
		cmocka_unit_test(test_cookie_source),   cmocka_unit_test(test_longest_zone),
	};

	return cmocka_run_group_tests(tests, enter_netns, NULL);
}
