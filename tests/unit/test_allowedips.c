// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Allowed IPs: the kernel's cases, lists, edges of the arithmetic, and what happens when memory is short. */
#include <stdlib.h>

static unsigned int allocations_until_failure; /* 0: none fails */

static void *failing_calloc(size_t n, size_t size)
{
	if (allocations_until_failure && !--allocations_until_failure)
		return NULL;
	return calloc(n, size);
}

#define calloc(n, size) failing_calloc(n, size)
#include "../../user/allowedips.c"
#undef calloc

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* "10.0.0.0/8"; without a slash the cidr is 0. */
static int parse(const char *text, uint8_t addr[16], uint8_t *cidr)
{
	char host[64];
	const char *slash = strchr(text, '/');
	int family = strchr(text, ':') ? AF_INET6 : AF_INET;

	snprintf(host, sizeof(host), "%.*s", slash ? (int)(slash - text) : (int)strlen(text), text);
	*cidr = slash ? (uint8_t)atoi(slash + 1) : 0;
	memset(addr, 0, 16);
	assert_int_equal(inet_pton(family, host, addr), 1);
	return family;
}

static void insert(struct allowedips *table, const char *prefix, struct allowedips_owner *owner)
{
	uint8_t addr[16], cidr;
	int family = parse(prefix, addr, &cidr);

	assert_int_equal(allowedips_insert(table, family, addr, cidr, owner), 0);
}

static bool remove_prefix(struct allowedips *table, const char *prefix, struct allowedips_owner *owner)
{
	uint8_t addr[16], cidr;
	int family = parse(prefix, addr, &cidr);

	return allowedips_remove(table, family, addr, cidr, owner);
}

static struct allowedips_owner *lookup_text(struct allowedips *table, const char *text)
{
	uint8_t addr[16], cidr;
	int family = parse(text, addr, &cidr);

	return allowedips_lookup(table, family, addr);
}

static void expect(struct allowedips *table, const char *text, struct allowedips_owner *owner)
{
	if (lookup_text(table, text) != owner)
		fail_msg("%s belongs to the wrong owner", text);
}

static void expect_list(const struct allowedips_owner *owner, const char *const *prefixes, size_t n)
{
	const struct allowed_ip *allowed_ip = owner->first;
	uint8_t addr[16], cidr, expected[16], expected_cidr;

	assert_int_equal(owner->n_allowed_ips, n);
	for (size_t i = 0; i < n; i++, allowed_ip = allowed_ip_next(allowed_ip)) {
		int family = parse(prefixes[i], expected, &expected_cidr);

		assert_non_null(allowed_ip);
		memset(addr, 0, sizeof(addr));
		assert_int_equal(allowed_ip_get(allowed_ip, addr, &cidr), family);
		assert_int_equal(cidr, expected_cidr);
		assert_memory_equal(addr, expected, 16);
	}
	assert_null(allowed_ip);
}

static void expect_empty(struct allowedips *table)
{
	assert_int_equal(table->n_nodes, 0);
	assert_null(table->root[0]);
	assert_null(table->root[1]);
	allowedips_reclaim(table);
	assert_int_equal(table->n_retired, 0);
}

/* ------ The kernel's cases ------ */

static void test_longest_match(void **state)
{
	enum { A, B, C, D, E, F, G, H, N_OWNERS };
	static const struct {
		const char *prefix;
		int owner;
	} prefixes[] = {
		{ "192.168.4.0/24", A }, { "192.168.4.4/32", B }, { "192.168.0.0/16", C }, { "192.95.5.64/27", D },
		{ "192.95.5.65/27", C }, /* the same, with a host bit: takes it over */
		{ "0.0.0.0/0", E }, { "64.15.112.0/20", G }, { "64.15.123.211/25", H },
		{ "10.0.0.0/25", A }, { "10.0.0.128/25", B }, { "10.1.0.0/30", A }, { "10.1.0.4/30", B },
		{ "10.1.0.8/29", C }, { "10.1.0.16/29", D },
		{ "2607:5300:60:6bb0::c05f:543/128", D }, { "2607:5300:60:6bb0::c5:5/64", C }, { "::/0", E },
		{ "::/0", F }, { "2404:6800::/32", G }, { "2404:6800:4004:800:dead:beef:dead:beef/64", A },
		{ "2404:6800:4004:800:dead:beef:dead:beef/128", C }, { "2404:6800:4004:806::/64", H },
		{ "fd00:1234::8000:0:0:1/65", B }, { "fd00:1234::/65", A }, { "fd00:1234::/63", D },
	};
	static const struct {
		const char *addr;
		int owner;
	} lookups[] = {
		{ "192.168.4.20", A }, { "192.168.4.0", A }, { "192.168.4.4", B }, { "192.168.4.5", A },
		{ "192.168.200.182", C }, { "192.95.5.68", C }, { "192.95.5.96", E }, { "10.0.0.52", A },
		{ "10.0.0.220", B }, { "10.1.0.2", A }, { "10.1.0.6", B }, { "10.1.0.10", C }, { "10.1.0.20", D },
		{ "10.1.0.24", E }, { "64.15.116.26", G }, { "64.15.123.128", H }, { "64.15.123.127", G },
		{ "64.15.127.3", G }, { "64.15.128.0", E }, { "255.255.255.255", E }, { "0.0.0.0", E },
		{ "2607:5300:60:6bb0::c05f:543", D }, { "2607:5300:60:6bb0::c02e:1ee", C },
		{ "2607:5300:60:6bb1::", F }, { "2404:6800:4004:806::1006", H },
		{ "2404:6800:4004:806:0:1234:0:5678", H },
		{ "2404:67ff:4004:806:0:1234:0:5678", F }, { "2404:6800:4004:801::", G },
		{ "2404:6800:4004:800:1::", A }, { "2404:6800:4004:800:dead:beef:dead:beef", C },
		{ "2404:6800:40ff::", G }, { "fd00:1234::8000:0:0:0", B }, { "fd00:1234::7fff:0:0:0", A },
		{ "fd00:1234:0:1::", D }, { "fd00:1234:0:2::", F }, { "::", F },
	};
	struct allowedips_owner owners[N_OWNERS] = { 0 };
	struct allowedips *table = allowedips_create();

	(void)state;
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		insert(table, prefixes[i].prefix, &owners[prefixes[i].owner]);
	for (size_t i = 0; i < sizeof(lookups) / sizeof(lookups[0]); i++)
		expect(table, lookups[i].addr, &owners[lookups[i].owner]);
	for (int i = 0; i < N_OWNERS; i++) {
		allowedips_remove_owner(table, &owners[i]);
		assert_null(owners[i].first);
		assert_null(owners[i].last);
		assert_int_equal(owners[i].n_allowed_ips, 0);
	}
	for (size_t i = 0; i < sizeof(lookups) / sizeof(lookups[0]); i++)
		expect(table, lookups[i].addr, NULL);
	expect_empty(table);
	allowedips_free(table);
}

static void test_families_are_apart(void **state)
{
	struct allowedips_owner v4 = { 0 }, v6 = { 0 };
	struct allowedips *table = allowedips_create();

	(void)state;
	insert(table, "0.0.0.0/0", &v4);
	expect(table, "::", NULL);
	insert(table, "::/0", &v6);
	expect(table, "1.2.3.4", &v4);
	expect(table, "102:304::", &v6);
	allowedips_remove_owner(table, &v4);
	expect(table, "1.2.3.4", NULL);
	expect(table, "102:304::", &v6);
	allowedips_free(table);
}

static void test_remove_owner(void **state)
{
	struct allowedips_owner a = { 0 }, b = { 0 };
	struct allowedips *table = allowedips_create();

	(void)state;
	insert(table, "1.0.0.0/32", &a);
	insert(table, "64.0.0.0/32", &a);
	insert(table, "128.0.0.0/32", &a);
	insert(table, "192.0.0.0/32", &a);
	insert(table, "255.0.0.0/32", &a);
	allowedips_remove_owner(table, &a);
	expect(table, "1.0.0.0", NULL);
	expect(table, "64.0.0.0", NULL);
	expect(table, "128.0.0.0", NULL);
	expect(table, "192.0.0.0", NULL);
	expect(table, "255.0.0.0", NULL);
	expect_empty(table);

	insert(table, "192.168.0.0/16", &a);
	insert(table, "192.168.0.0/24", &a);
	insert(table, "192.168.0.0/20", &b);
	allowedips_remove_owner(table, &a);
	expect(table, "192.168.0.1", &b);
	expect(table, "192.168.200.1", NULL);
	allowedips_remove_owner(table, &b);
	expect_empty(table);
	allowedips_free(table);
}

static void test_read_back(void **state)
{
	static const char *const a_prefixes[] = {
		"192.95.5.64/27", "2607:5300:60:6bb0::c05f:543/128", "10.1.0.16/29",
		"2607:5300:6d8a:6bf8:dab1:e000::/83", "2607:5000::/21",
	};
	struct allowedips_owner a = { 0 }, b = { 0 };
	struct allowedips *table = allowedips_create();

	(void)state;
	insert(table, "192.95.5.93/27", &a);
	insert(table, "2607:5300:60:6bb0::c05f:543/128", &a);
	insert(table, "10.1.0.20/29", &a);
	insert(table, "2607:5300:6d8a:6bf8:dab1:f1df:c05f:1523/83", &a);
	insert(table, "2607:53ff:6d8a:6bf8:dab1:f1df:c05f:1523/21", &a);
	insert(table, "10.1.0.0/16", &b);
	expect_list(&a, a_prefixes, 5);
	allowedips_free(table);
}

/* Lists keep the order of insertion; a prefix that comes again goes to the end, of whichever list it then is in. */
static void test_list_order(void **state)
{
	struct allowedips_owner a = { 0 }, b = { 0 };
	struct allowedips *table = allowedips_create();

	(void)state;
	insert(table, "10.3.0.0/16", &a);
	insert(table, "10.1.0.0/16", &a);
	insert(table, "10.2.0.0/16", &a);
	insert(table, "10.4.0.0/16", &b);
	insert(table, "10.1.0.0/16", &b);
	expect_list(&a, (const char *const[]){ "10.3.0.0/16", "10.2.0.0/16" }, 2);
	expect_list(&b, (const char *const[]){ "10.4.0.0/16", "10.1.0.0/16" }, 2);
	expect(table, "10.1.0.1", &b);
	insert(table, "10.3.0.0/16", &a);
	expect_list(&a, (const char *const[]){ "10.2.0.0/16", "10.3.0.0/16" }, 2);
	insert(table, "10.4.0.0/16", &a);
	insert(table, "10.1.0.0/16", &a);
	expect_list(&b, NULL, 0);
	expect_list(&a, (const char *const[]){ "10.2.0.0/16", "10.3.0.0/16", "10.4.0.0/16", "10.1.0.0/16" }, 4);
	assert_true(remove_prefix(table, "10.3.0.0/16", &a));
	assert_true(remove_prefix(table, "10.1.0.0/16", &a));
	assert_true(remove_prefix(table, "10.2.0.0/16", &a));
	expect_list(&a, (const char *const[]){ "10.4.0.0/16" }, 1);
	allowedips_free(table);
}

static void test_remove_prefix(void **state)
{
	struct allowedips_owner a = { 0 }, b = { 0 };
	struct allowedips *table = allowedips_create();
	uint8_t addr[16] = { 10 };

	(void)state;
	insert(table, "10.0.0.0/8", &a);
	insert(table, "10.0.0.0/24", &b);
	insert(table, "10.0.1.0/24", &a);
	/* Not this owner's; not this very prefix; a fork; not there at all; nonsense. */
	assert_false(remove_prefix(table, "10.0.0.0/24", &a));
	assert_false(remove_prefix(table, "10.0.0.0/25", &b));
	assert_false(remove_prefix(table, "10.0.0.0/23", &a));
	assert_false(remove_prefix(table, "10.0.0.0/23", NULL));
	assert_false(remove_prefix(table, "11.0.0.0/8", &a));
	assert_false(remove_prefix(table, "::/8", &a));
	assert_false(allowedips_remove(table, AF_INET, addr, 33, &a));
	assert_false(allowedips_remove(table, AF_UNIX, addr, 8, &a));
	expect(table, "10.0.0.1", &b);

	/* Host bits are ignored. */
	assert_true(remove_prefix(table, "10.0.0.77/24", &b));
	expect(table, "10.0.0.1", &a);
	assert_false(remove_prefix(table, "10.0.0.0/24", &b));
	assert_true(remove_prefix(table, "10.0.0.0/8", &a));
	expect(table, "10.0.0.1", NULL);
	expect(table, "10.0.1.1", &a);
	assert_true(remove_prefix(table, "10.0.1.0/24", &a));
	expect_empty(table);
	allowedips_free(table);
}

static void test_bad_arguments(void **state)
{
	struct allowedips_owner a = { 0 };
	struct allowedips *table = allowedips_create();
	uint8_t addr[16] = { 0 };

	(void)state;
	assert_int_equal(allowedips_insert(table, AF_INET, addr, 33, &a), -EINVAL);
	assert_int_equal(allowedips_insert(table, AF_INET, addr, 255, &a), -EINVAL);
	assert_int_equal(allowedips_insert(table, AF_INET6, addr, 129, &a), -EINVAL);
	assert_int_equal(allowedips_insert(table, AF_UNIX, addr, 8, &a), -EINVAL);
	assert_null(allowedips_lookup(table, AF_UNIX, addr));
	assert_null(a.first);
	expect_empty(table);
	allowedips_free(table);
	allowedips_free(NULL);
}

/* Every length of prefix, from /0 to the longest, for addresses of all zeroes, all ones and both alternations. */
static void test_every_length(void **state)
{
	static const uint8_t patterns[] = { 0x00, 0xff, 0x55, 0xaa };
	static struct allowedips_owner owners[129];
	struct allowedips *table = allowedips_create();

	(void)state;
	for (int family = AF_INET;; family = AF_INET6) {
		unsigned int n_bits = family == AF_INET ? 32 : 128;

		for (size_t p = 0; p < sizeof(patterns); p++) {
			uint8_t addr[16], other[16];

			memset(addr, patterns[p], sizeof(addr));
			for (unsigned int i = 0; i <= n_bits; i++) {
				/* A stride that is no divisor of either count visits all lengths out of order. */
				unsigned int cidr = i * 37 % (n_bits + 1);

				assert_int_equal(allowedips_insert(table, family, addr, (uint8_t)cidr, &owners[cidr]),
						 0);
			}
			assert_ptr_equal(allowedips_lookup(table, family, addr), &owners[n_bits]);
			for (unsigned int bit = 0; bit < n_bits; bit++) {
				memcpy(other, addr, sizeof(addr));
				other[bit / 8] ^= 0x80 >> bit % 8;
				assert_ptr_equal(allowedips_lookup(table, family, other), &owners[bit]);
			}
			for (unsigned int cidr = 0; cidr <= n_bits; cidr++)
				allowedips_remove_owner(table, &owners[cidr]);
			expect_empty(table);
		}
		if (family == AF_INET6)
			break;
	}
	allowedips_free(table);
}

/* Hosts that differ in one bit each; ladders of every length: as deep as a trie can be. */
static void test_deep(void **state)
{
	static struct allowedips_owner owner;
	struct allowedips *table = allowedips_create();
	uint8_t addr[16];

	(void)state;
	for (unsigned int bit = 0; bit < 128; bit++) {
		memset(addr, 0, sizeof(addr));
		addr[bit / 8] = 0x80 >> bit % 8;
		assert_int_equal(allowedips_insert(table, AF_INET6, addr, 128, &owner), 0);
	}
	assert_int_equal(owner.n_allowed_ips, 128);
	assert_int_equal(table->n_nodes, 255);
	for (unsigned int bit = 0; bit < 128; bit++) {
		memset(addr, 0, sizeof(addr));
		addr[bit / 8] = 0x80 >> bit % 8;
		assert_ptr_equal(allowedips_lookup(table, AF_INET6, addr), &owner);
		if (bit)
			addr[0] |= 0x80;
		else
			addr[0] = 0;
		assert_null(allowedips_lookup(table, AF_INET6, addr));
	}
	allowedips_remove_owner(table, &owner);
	expect_empty(table);

	/* Two ladders of 64 rungs, and ::/0 over both; freed with all in it. */
	for (unsigned int bit = 0; bit < 64; bit++) {
		memset(addr, 0, sizeof(addr));
		addr[bit / 8] = 0x80 >> bit % 8;
		assert_int_equal(allowedips_insert(table, AF_INET6, addr, 64, &owner), 0);
		memset(addr, 0, sizeof(addr));
		addr[8 + bit / 8] = 0x80 >> bit % 8;
		assert_int_equal(allowedips_insert(table, AF_INET6, addr, 128, &owner), 0);
	}
	insert(table, "::/0", &owner);
	assert_int_equal(owner.n_allowed_ips, 129);
	expect(table, "::1", &owner);
	allowedips_free(table);
}

static void test_inner_packets(void **state)
{
	struct allowedips_owner a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };
	struct allowedips *table = allowedips_create();
	uint8_t buffer[41] = { 0 }, *inner = buffer + 1; /* unaligned */

	(void)state;
	insert(table, "10.0.0.1/32", &a);
	insert(table, "10.0.0.2/32", &b);
	insert(table, "fd00::1/128", &c);
	insert(table, "fd00::2/128", &d);

	inner[0] = 0x45;
	memcpy(inner + 12, "\x0a\0\0\1", 4);
	memcpy(inner + 16, "\x0a\0\0\2", 4);
	assert_ptr_equal(allowedips_lookup_src(table, inner), &a);
	assert_ptr_equal(allowedips_lookup_dst(table, inner), &b);

	memset(inner, 0, 40);
	inner[0] = 0x60;
	memcpy(inner + 8, "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16);
	memcpy(inner + 24, "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2", 16);
	assert_ptr_equal(allowedips_lookup_src(table, inner), &c);
	assert_ptr_equal(allowedips_lookup_dst(table, inner), &d);

	inner[0] = 0x50;
	assert_null(allowedips_lookup_src(table, inner));
	assert_null(allowedips_lookup_dst(table, inner));
	allowedips_free(table);
}

/* Whichever allocation fails, the table is as it was. */
static void test_out_of_memory(void **state)
{
	struct allowedips_owner a = { 0 }, b = { 0 };
	struct allowedips *table = allowedips_create();
	uint8_t addr[16], cidr;
	int family = parse("10.0.128.0/24", addr, &cidr);

	(void)state;
	insert(table, "10.0.0.0/24", &a);
	for (unsigned int nth = 1; nth <= 2; nth++) {
		allocations_until_failure = nth;
		assert_int_equal(allowedips_insert(table, family, addr, cidr, &b), -ENOMEM);
		assert_int_equal(allocations_until_failure, 0);
		assert_int_equal(table->n_nodes, 1);
		assert_null(b.first);
		assert_int_equal(b.n_allowed_ips, 0);
		expect(table, "10.0.128.1", NULL);
		expect(table, "10.0.0.1", &a);
	}
	allocations_until_failure = 3; /* it takes two */
	assert_int_equal(allowedips_insert(table, family, addr, cidr, &b), 0);
	/* Moving a prefix needs no memory. */
	allocations_until_failure = 1;
	assert_int_equal(allowedips_insert(table, family, addr, cidr, &a), 0);
	allocations_until_failure = 1;
	assert_null(allowedips_create());
	allocations_until_failure = 0;
	allowedips_free(table);
}

static void test_many_prefixes(void **state)
{
	const uint32_t n_prefixes = 130560;
	struct allowedips_owner owner = { 0 };
	struct allowedips *table = allowedips_create();
	double started = seconds(), inserted, removed;

	(void)state;
	for (uint32_t i = 0; i < n_prefixes; i++) {
		uint32_t addr = htonl(0x0a000000 + i * 2);

		assert_int_equal(allowedips_insert(table, AF_INET, &addr, 32, &owner), 0);
	}
	inserted = seconds();
	assert_int_equal(owner.n_allowed_ips, n_prefixes);
	assert_int_equal(table->n_nodes, 2 * n_prefixes - 1);
	for (uint32_t i = 0; i < 2 * n_prefixes; i++) {
		uint32_t addr = htonl(0x0a000000 + i);

		assert_ptr_equal(allowedips_lookup(table, AF_INET, &addr), i % 2 ? NULL : &owner);
	}
	removed = seconds();
	allowedips_remove_owner(table, &owner);
	removed = seconds() - removed;
	expect_empty(table);
	print_message("%u prefixes: inserted in %.0f ms, removed in %.0f ms; %zu bytes a node\n", n_prefixes,
		      (inserted - started) * 1e3, removed * 1e3, sizeof(struct allowed_ip));
	allowedips_free(table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_longest_match),
		cmocka_unit_test(test_families_are_apart),
		cmocka_unit_test(test_remove_owner),
		cmocka_unit_test(test_read_back),
		cmocka_unit_test(test_list_order),
		cmocka_unit_test(test_remove_prefix),
		cmocka_unit_test(test_bad_arguments),
		cmocka_unit_test(test_every_length),
		cmocka_unit_test(test_deep),
		cmocka_unit_test(test_inner_packets),
		cmocka_unit_test(test_out_of_memory),
		cmocka_unit_test(test_many_prefixes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
