// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Allowed IPs: the kernel's cases, a model of another design (exact prefixes in a hash, tried from the longest on), and
 * readers beside a writer.
 */
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

/*
 * Readers dawdle: between two loads of a descent they wait, now and then, until the writer has made many changes. (A
 * macro does not expand itself again, so the name in it is the compiler's.)
 */
static __thread unsigned int loads_to_dawdle;
static uint32_t n_writer_rounds;
static bool writer_is_done;

static void dawdle(void)
{
	uint32_t seen = __atomic_load_n(&n_writer_rounds, __ATOMIC_RELAXED);

	if (!loads_to_dawdle || --loads_to_dawdle)
		return;
	loads_to_dawdle = 29 + seen % 64;
	while (__atomic_load_n(&n_writer_rounds, __ATOMIC_RELAXED) - seen < 1 + seen % 8 &&
	       !__atomic_load_n(&writer_is_done, __ATOMIC_RELAXED))
		sched_yield();
}

static unsigned int allocations_until_failure; /* 0: none fails */

static void *failing_calloc(size_t n, size_t size)
{
	if (allocations_until_failure && !--allocations_until_failure)
		return NULL;
	return calloc(n, size);
}

#define calloc(n, size) failing_calloc(n, size)
#define __atomic_load_n(ptr, order) (dawdle(), __atomic_load_n(ptr, order))
#include "../../user/allowedips.c"
#undef __atomic_load_n
#undef calloc

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

static uint64_t random_state = 0xa4093822299f31d0;

static uint32_t random_u32(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 32);
}

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
		{ "2607:5300:60:6bb1::", F }, { "2404:6800:4004:806::1006", H }, { "2404:6800:4004:806:0:1234:0:5678", H },
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

				assert_int_equal(allowedips_insert(table, family, addr, (uint8_t)cidr, &owners[cidr]), 0);
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

/* ------ The model ------ */

#ifdef __SANITIZE_THREAD__
#define N_OWNERS 200 /* one thread: nothing to find there */
#else
#define N_OWNERS 2000
#endif
#define N_ROUTES 40
#define MODEL_SLOTS (1U << 19) /* several times the prefixes it may hold */

struct model_prefix {
	uint8_t addr[16];
	uint8_t family, cidr;
	uint16_t owner; /* from 1; 0: slot is free or was removed */
	bool is_used;
};

static struct model_prefix *model;
static uint64_t model_filter[MODEL_SLOTS * 4 / 64]; /* a bit for each hash seen: most look-ups need no more */
static struct allowedips_owner *owners;

static void clear_host_bits(uint8_t addr[16], unsigned int cidr)
{
	for (unsigned int bit = cidr; bit < 128; bit++)
		addr[bit / 8] &= (uint8_t)~(0x80 >> bit % 8);
}

static uint32_t model_hash(const struct model_prefix *key)
{
	uint64_t half[2], hash;

	memcpy(half, key->addr, 16);
	hash = half[0] * 0x9e3779b97f4a7c15 ^ (half[1] + key->family + ((uint64_t)key->cidr << 8)) * 0xc2b2ae3d27d4eb4f;
	return (uint32_t)((hash ^ hash >> 29) * 0xbf58476d1ce4e5b9 >> 32);
}

/* The slot of this prefix, or the free one where it would be. Slots are never given back. */
static struct model_prefix *model_slot(const struct model_prefix *key, uint32_t hash)
{
	for (uint32_t slot = hash;; slot++) {
		struct model_prefix *at = &model[slot % MODEL_SLOTS];

		if (!at->is_used ||
		    (at->cidr == key->cidr && at->family == key->family && !memcmp(at->addr, key->addr, 16)))
			return at;
	}
}

static uint16_t model_get(const struct model_prefix *key)
{
	uint32_t hash = model_hash(key), bit = hash % (MODEL_SLOTS * 4);

	return model_filter[bit / 64] >> bit % 64 & 1 ? model_slot(key, hash)->owner : 0;
}

static void model_set(const struct model_prefix *key)
{
	uint32_t hash = model_hash(key), bit = hash % (MODEL_SLOTS * 4);

	model_filter[bit / 64] |= 1ULL << bit % 64;
	*model_slot(key, hash) = *key;
}

static uint16_t model_lookup(int family, const uint8_t addr[16])
{
	struct model_prefix key = { .family = (uint8_t)family };

	memcpy(key.addr, addr, 16);
	for (int cidr = family == AF_INET ? 32 : 128; cidr >= 0; cidr--) {
		uint16_t owner;

		key.cidr = (uint8_t)cidr;
		if (cidr < 128)
			key.addr[cidr / 8] &= (uint8_t)~(0x80 >> cidr % 8);
		owner = model_get(&key);
		if (owner)
			return owner;
	}
	return 0;
}

/* Often near an address drawn before, so that prefixes nest and look-ups meet them. */
static int random_addr(uint8_t addr[16])
{
	static uint8_t earlier[2][512][16];
	bool is_v6 = random_u32() & 1;
	uint8_t *near = earlier[is_v6][random_u32() % 512];

	memset(addr, 0, 16);
	for (int i = 0; i < (is_v6 ? 16 : 4); i++)
		addr[i] = (uint8_t)random_u32();
	if (random_u32() % 16) {
		unsigned int keep = random_u32() % (is_v6 ? 129 : 33);

		for (unsigned int bit = 0; bit < keep; bit++) {
			addr[bit / 8] &= (uint8_t)~(0x80 >> bit % 8);
			addr[bit / 8] |= near[bit / 8] & 0x80 >> bit % 8;
		}
	}
	if (random_u32() % 8 == 0)
		memcpy(near, addr, 16);
	return is_v6 ? AF_INET6 : AF_INET;
}

static void model_insert_one(struct allowedips *table, uint16_t owner)
{
	struct model_prefix key = { .owner = owner, .is_used = true };
	uint8_t addr[16];
	int family = random_addr(addr);
	unsigned int n_bits = family == AF_INET ? 32 : 128;

	key.family = (uint8_t)family;
	/* Long ones mostly; short ones would hide the rest too seldom or too often. */
	key.cidr = (uint8_t)(random_u32() % 8192 ? n_bits - random_u32() % (n_bits * 5 / 8) : random_u32() % (n_bits + 1));
	memcpy(key.addr, addr, 16);
	clear_host_bits(key.addr, key.cidr);
	model_set(&key);
	assert_int_equal(allowedips_insert(table, family, addr, key.cidr, &owners[owner]), 0);
}

static void check_lookups(struct allowedips *table, unsigned int n, unsigned int *n_found)
{
	while (n--) {
		uint8_t addr[16];
		int family = random_addr(addr);
		uint16_t expected = model_lookup(family, addr);

		if (allowedips_lookup(table, family, addr) != (expected ? &owners[expected] : NULL))
			fail_msg("look-up differs from the model's");
		*n_found += expected != 0;
	}
}

/* What the owner's list says is what the model says. */
static void check_list(uint16_t owner)
{
	size_t n = 0;

	for (const struct allowed_ip *allowed_ip = owners[owner].first; allowed_ip;
	     allowed_ip = allowed_ip_next(allowed_ip), n++) {
		struct model_prefix key = { .is_used = true };

		key.family = (uint8_t)allowed_ip_get(allowed_ip, key.addr, &key.cidr);
		assert_int_equal(model_get(&key), owner);
	}
	assert_int_equal(n, owners[owner].n_allowed_ips);
}

/* Some of its prefixes, one by one, in list order. */
static void model_remove_some(struct allowedips *table, uint16_t owner)
{
	const struct allowed_ip *allowed_ip = owners[owner].first, *next;

	for (; allowed_ip; allowed_ip = next) {
		struct model_prefix key = { .is_used = true };

		next = allowed_ip_next(allowed_ip);
		key.family = (uint8_t)allowed_ip_get(allowed_ip, key.addr, &key.cidr);
		if (random_u32() % 4)
			continue;
		model_set(&key);
		assert_true(allowedips_remove(table, key.family, key.addr, key.cidr, &owners[owner]));
	}
}

static void model_remove_owner(struct allowedips *table, uint16_t owner)
{
	for (const struct allowed_ip *allowed_ip = owners[owner].first; allowed_ip;
	     allowed_ip = allowed_ip_next(allowed_ip)) {
		struct model_prefix key = { .is_used = true };

		key.family = (uint8_t)allowed_ip_get(allowed_ip, key.addr, &key.cidr);
		model_set(&key);
	}
	allowedips_remove_owner(table, &owners[owner]);
}

static void test_model(void **state)
{
	struct allowedips *table = allowedips_create();
	unsigned int n_found = 0;
	size_t n_left = 0;

	(void)state;
	print_message("seed %#llx\n", (unsigned long long)random_state);
	model = calloc(MODEL_SLOTS, sizeof(*model));
	owners = calloc(N_OWNERS + 1, sizeof(*owners));
	for (uint32_t i = 0; i < N_OWNERS * N_ROUTES; i++)
		model_insert_one(table, (uint16_t)(1 + i % N_OWNERS));
	for (uint16_t owner = 1; owner <= N_OWNERS; owner++) {
		check_list(owner);
		n_left += owners[owner].n_allowed_ips;
	}
	assert_in_range(table->n_nodes, n_left, 2 * n_left);
	check_lookups(table, 100 * N_OWNERS, &n_found);

	/* Mutations: prefixes go, come and move. */
	for (uint32_t i = 0; i < N_OWNERS; i++) {
		model_remove_some(table, (uint16_t)(1 + random_u32() % N_OWNERS));
		for (int j = 0; j < 10; j++)
			model_insert_one(table, (uint16_t)(1 + random_u32() % N_OWNERS));
		check_lookups(table, 100, &n_found);
	}
	for (uint16_t owner = 1; owner <= N_OWNERS; owner++) {
		check_list(owner);
		model_remove_owner(table, owner);
		check_lookups(table, 300, &n_found);
		if (owner % 100 == 0)
			allowedips_reclaim(table);
	}
	/* 500 for each owner, or 1,000,000. */
	print_message("%d look-ups, %u with an owner\n", 500 * N_OWNERS, n_found);
	assert_in_range(n_found, 50 * N_OWNERS, 450 * N_OWNERS);
	expect_empty(table);
	allowedips_free(table);
	free(owners);
	free(model);
}

/* ------ Readers beside the writer ------ */

#define N_READERS 2

struct shared {
	struct allowedips *table;
	struct allowedips_owner owners[4];
	unsigned int n_started;
	uint64_t n_lookups[N_READERS]; /* that each has ended */
};

struct reader {
	pthread_t thread;
	struct shared *shared;
	unsigned int number;
};

/* Returns how often 10.1.1.1 belonged to nobody (or to one whom it never should), or 10.2.0.1 to another than its owner. */
static void *reader_main(void *arg)
{
	struct reader *reader = arg;
	struct shared *shared = reader->shared;
	const uint8_t moving[4] = { 10, 1, 1, 1 }, resting[4] = { 10, 2, 0, 1 };
	uintptr_t n_wrong = 0;

	loads_to_dawdle = 100;
	__atomic_add_fetch(&shared->n_started, 1, __ATOMIC_ACQ_REL);
	while (!__atomic_load_n(&writer_is_done, __ATOMIC_ACQUIRE)) {
		struct allowedips_owner *owner = allowedips_lookup(shared->table, AF_INET, moving);

		n_wrong += owner != &shared->owners[1] && owner != &shared->owners[2];
		n_wrong += allowedips_lookup(shared->table, AF_INET, resting) != &shared->owners[0];
		__atomic_add_fetch(&shared->n_lookups[reader->number], 1, __ATOMIC_ACQ_REL);
	}
	return (void *)n_wrong;
}

/* Until each reader has ended the look-up it was in. A dawdling one goes on, as it sees the rounds go on. */
static void wait_for_readers(struct shared *shared)
{
	for (int i = 0; i < N_READERS; i++) {
		uint64_t n_lookups = __atomic_load_n(&shared->n_lookups[i], __ATOMIC_ACQUIRE);

		while (__atomic_load_n(&shared->n_lookups[i], __ATOMIC_ACQUIRE) == n_lookups) {
			__atomic_add_fetch(&n_writer_rounds, 1, __ATOMIC_RELAXED);
			sched_yield();
		}
	}
}

/*
 * At every moment 10.1.1.1 is in a prefix of owner 1 or 2, and in no longer one of others. The waits are where a reader
 * that came before the shorter prefix, and goes on after the longer one, would find nobody.
 */
static void write_beside_readers(struct shared *shared)
{
	struct allowedips *table = shared->table;

	for (int round = 0; round < 1000; round++) {
		/* The same prefix, between two owners. */
		insert(table, "10.1.1.0/24", &shared->owners[2]);
		insert(table, "10.1.1.0/24", &shared->owners[1]);
		/* A shorter one comes before the longer one goes, and the other way round: no gap between. */
		insert(table, "10.1.0.0/16", &shared->owners[2]);
		remove_prefix(table, "10.1.1.0/24", &shared->owners[1]);
		wait_for_readers(shared);
		insert(table, "10.1.1.0/24", &shared->owners[1]);
		remove_prefix(table, "10.1.0.0/16", &shared->owners[2]);
		/* The same above a node with two children, whose owner goes in place. */
		insert(table, "10.1.1.128/25", &shared->owners[3]);
		insert(table, "10.1.1.64/26", &shared->owners[3]);
		wait_for_readers(shared);
		insert(table, "10.1.0.0/16", &shared->owners[2]);
		remove_prefix(table, "10.1.1.0/24", &shared->owners[1]);
		wait_for_readers(shared);
		allowedips_reclaim(table); /* what was removed before the wait: this removal unlinked nothing */
		insert(table, "10.1.1.0/24", &shared->owners[1]);
		remove_prefix(table, "10.1.0.0/16", &shared->owners[2]);
		allowedips_remove_owner(table, &shared->owners[3]);
	}
}

static void test_readers_beside_writer(void **state)
{
	struct shared *shared = calloc(1, sizeof(*shared));
	struct reader readers[N_READERS];

	(void)state;
	shared->table = allowedips_create();
	insert(shared->table, "10.2.0.0/24", &shared->owners[0]);
	insert(shared->table, "10.1.1.0/24", &shared->owners[1]);
	for (unsigned int i = 0; i < N_READERS; i++) {
		readers[i].shared = shared;
		readers[i].number = i;
		assert_int_equal(pthread_create(&readers[i].thread, NULL, reader_main, &readers[i]), 0);
	}
	while (__atomic_load_n(&shared->n_started, __ATOMIC_ACQUIRE) < N_READERS)
		sched_yield();
	write_beside_readers(shared);
	__atomic_store_n(&writer_is_done, true, __ATOMIC_RELEASE);
	for (int i = 0; i < N_READERS; i++) {
		void *n_wrong;

		assert_int_equal(pthread_join(readers[i].thread, &n_wrong), 0);
		assert_int_equal((uintptr_t)n_wrong, 0);
	}
	for (int i = 0; i < 4; i++)
		allowedips_remove_owner(shared->table, &shared->owners[i]);
	expect_empty(shared->table);
	allowedips_free(shared->table);
	free(shared);
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
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_readers_beside_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
