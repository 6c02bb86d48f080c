// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * netconf: each operation against the real kernel, in network namespaces of the test's own. What it did is read back by
 * other means (ioctl, /proc) where there are any.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <sys/ioctl.h>

#include "../../user/netconf.c"

#define TABLE 51820

static bool can_make_namespaces;
static int here_fd = -1, other_fd = -1;
static int tun_fds[2] = { -1, -1 };

/* ------ the stage: two namespaces, two TUN devices in the first ------ */

static int open_namespace(void)
{
	if (unshare(CLONE_NEWNET))
		return -1;
	return open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
}

static int make_tun(const char *name)
{
	struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
	if (fd >= 0 && ioctl(fd, TUNSETIFF, &request)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static int build_stage(void **state)
{
	struct netconf *netconf;
	struct netconf_link link;
	int error;

	(void)state;
	other_fd = open_namespace();
	here_fd = open_namespace();
	tun_fds[0] = make_tun("tun0");
	tun_fds[1] = make_tun("tun1");
	can_make_namespaces = other_fd >= 0 && here_fd >= 0 && tun_fds[1] >= 0;
	if (!can_make_namespaces)
		return 0;
	netconf = netconf_open(-1, &error);
	assert_non_null(netconf);
	assert_int_equal(netconf_link_find(netconf, "lo", &link), 0);
	assert_int_equal(netconf_link_set_up(netconf, link.ifindex, true), 0);
	netconf_free(netconf);
	return 0;
}

static int open_here(void **state)
{
	int error;

	*state = can_make_namespaces ? netconf_open(-1, &error) : NULL;
	return can_make_namespaces && !*state;
}

static int close_here(void **state)
{
	netconf_free(*state);
	return 0;
}

static struct netconf *need(void **state)
{
	if (!*state) {
		print_message("skipped: needs root and /dev/net/tun\n");
		skip();
	}
	return *state;
}

static int find(struct netconf *netconf, const char *name)
{
	struct netconf_link link;

	assert_int_equal(netconf_link_find(netconf, name, &link), 0);
	return link.ifindex;
}

static struct netconf_prefix prefix(const char *text)
{
	struct netconf_prefix result;

	assert_true(netconf_prefix_parse(&result, text));
	return result;
}

static void assert_prefix(const struct netconf_prefix *got, const char *expected)
{
	char text[NETCONF_PREFIX_TEXT_SIZE];

	netconf_prefix_format(text, got);
	assert_string_equal(text, expected);
}

/* ------ prefixes ------ */

static void test_prefix_text(void **state)
{
	static const struct {
		const char *text, *expected; /* NULL: not one */
	} cases[] = {
		{ "192.0.2.1/24", "192.0.2.1/24" },
		{ "192.0.2.1", "192.0.2.1/32" },
		{ "0.0.0.0/0", "0.0.0.0/0" },
		{ "2001:db8::1/64", "2001:db8::1/64" },
		{ "2001:DB8::1", "2001:db8::1/128" },
		{ "::/0", "::/0" },
		{ "::ffff:192.0.2.1/128", "::ffff:192.0.2.1/128" },
		{ "192.0.2.1/33", NULL },
		{ "::/129", NULL },
		{ "192.0.2.1/", NULL },
		{ "192.0.2.1/-1", NULL },
		{ "192.0.2.1/+1", NULL },
		{ "192.0.2.1/ 1", NULL },
		{ "192.0.2.1/24x", NULL },
		{ "192.0.2.1/0000024", NULL },
		{ "192.0.2.1/4294967320", NULL },
		{ "192.0.2", NULL },
		{ "192.0.2.256/8", NULL },
		{ ":::/8", NULL },
		{ "", NULL },
		{ "/8", NULL },
		{ "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb/64", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct netconf_prefix got;
		bool ok = netconf_prefix_parse(&got, cases[i].text);

		if (ok != !!cases[i].expected)
			fail_msg("%zu: `%s' was %s", i, cases[i].text, ok ? "taken" : "refused");
		if (ok)
			assert_prefix(&got, cases[i].expected);
	}
}

static void test_prefix_covers(void **state)
{
	static const struct {
		const char *outer, *inner;
		bool covers;
	} cases[] = {
		{ "10.0.0.0/8", "10.1.2.3/32", true },
		{ "10.0.0.0/8", "10.0.0.0/8", true },
		{ "10.0.0.0/8", "11.0.0.0/8", false },
		{ "10.0.0.0/16", "10.0.0.0/8", false },
		{ "0.0.0.0/0", "203.0.113.9/32", true },
		{ "0.0.0.0/0", "::1/128", false },
		{ "::/0", "10.0.0.0/8", false },
		{ "10.0.0.128/25", "10.0.0.127/32", false },
		{ "10.0.0.128/25", "10.0.0.255/32", true },
		{ "fd00::/7", "fc00::1/128", true },
		{ "fd00::/8", "fc00::1/128", false },
		{ "2001:db8::/33", "2001:db8:8000::/34", false },
		{ "10.0.0.7/24", "10.0.0.9/32", true }, /* host bits of the outer do not count */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct netconf_prefix outer = prefix(cases[i].outer), inner = prefix(cases[i].inner);

		if (netconf_prefix_covers(&outer, &inner) != cases[i].covers)
			fail_msg("%zu: %s and %s", i, cases[i].outer, cases[i].inner);
	}
}

/* ------ links ------ */

static void test_link_find(void **state)
{
	struct netconf *netconf = need(state);
	struct netconf_link link, same;

	assert_int_equal(netconf_link_find(netconf, "tun0", &link), 0);
	assert_int_equal(link.ifindex, (int)if_nametoindex("tun0"));
	assert_string_equal(link.name, "tun0");
	assert_string_equal(link.kind, "tun");
	assert_int_equal(link.mtu, 1500);
	assert_false(link.is_up);
	assert_int_equal(netconf_link_find_index(netconf, link.ifindex, &same), 0);
	assert_string_equal(same.name, "tun0");
	assert_int_equal(netconf_link_find(netconf, "lo", &link), 0);
	assert_string_equal(link.kind, "");
	assert_true(link.is_up);

	assert_int_equal(netconf_link_find(netconf, "tun9", &link), -ENODEV);
	assert_int_equal(netconf_link_find(netconf, "", &link), -ENODEV);
	assert_int_equal(netconf_link_find(netconf, "a-name-that-is-far-too-long", &link), -ENODEV);
	assert_int_equal(netconf_link_find_index(netconf, 4711, &link), -ENODEV);
	assert_int_equal(netconf_link_find_index(netconf, 0, &link), -ENODEV);
	/* An error does not confuse the answers after it. */
	assert_int_equal(netconf_link_find(netconf, "tun1", &link), 0);
	assert_string_equal(link.name, "tun1");
}

static void test_link_change(void **state)
{
	struct netconf *netconf = need(state);
	int ifindex = find(netconf, "tun0");
	struct netconf_link link;

	assert_int_equal(netconf_link_set_mtu(netconf, ifindex, 1380), 0);
	assert_int_equal(netconf_link_set_up(netconf, ifindex, true), 0);
	assert_int_equal(netconf_link_find(netconf, "tun0", &link), 0);
	assert_int_equal(link.mtu, 1380);
	assert_true(link.is_up);
	assert_int_equal(netconf_link_set_up(netconf, ifindex, false), 0);
	assert_int_equal(netconf_link_find(netconf, "tun0", &link), 0);
	assert_false(link.is_up);
	assert_int_equal(netconf_link_set_mtu(netconf, ifindex, 1500), 0);
	assert_int_equal(netconf_link_set_mtu(netconf, ifindex, 1), -EINVAL);
	assert_int_equal(netconf_link_set_mtu(netconf, 4711, 1500), -ENODEV);
	assert_int_equal(netconf_link_set_up(netconf, 4711, true), -ENODEV);
}

static void test_link_move_and_delete(void **state)
{
	struct netconf *netconf = need(state), *other;
	int fd = make_tun("mover"), error;
	struct netconf_link link;

	assert_true(fd >= 0);
	other = netconf_open(other_fd, &error);
	assert_non_null(other);
	assert_int_equal(netconf_link_find(other, "tun0", &link), -ENODEV); /* really the other one */
	assert_int_equal(netconf_link_move(netconf, find(netconf, "mover"), other_fd), 0);
	assert_int_equal(netconf_link_find(netconf, "mover", &link), -ENODEV);
	assert_int_equal(netconf_link_find(other, "mover", &link), 0);
	assert_true(if_nametoindex("mover") == 0); /* and this thread has come home */
	assert_int_equal(netconf_link_delete(other, link.ifindex), 0);
	assert_int_equal(netconf_link_find(other, "mover", &link), -ENODEV);
	assert_int_equal(netconf_link_delete(other, 4711), -ENODEV);
	assert_int_equal(netconf_link_delete(other, 0), -ENODEV);
	close(fd);
	netconf_free(other);
}

static void test_open_refuses(void **state)
{
	int error = 0, fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	need(state);
	assert_null(netconf_open(fd, &error));
	assert_int_equal(error, -EINVAL);
	close(fd);
	netconf_free(NULL);
}

/* ------ addresses ------ */

static void test_addresses(void **state)
{
	struct netconf *netconf = need(state);
	struct netconf_prefix v4 = prefix("192.0.2.1/24"), v6 = prefix("2001:db8::1/64"),
			      link_local = prefix("fe80::7/64");
	struct netconf_prefix list[8];
	int ifindex = find(netconf, "tun0");
	size_t n = 8;

	assert_int_equal(netconf_address_list(netconf, ifindex, list, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(netconf_address_add(netconf, ifindex, &v4), 0);
	assert_int_equal(netconf_address_add(netconf, ifindex, &v6), 0);
	assert_int_equal(netconf_address_add(netconf, ifindex, &link_local), 0);
	assert_int_equal(netconf_address_add(netconf, ifindex, &v4), -EEXIST);
	assert_int_equal(netconf_address_add(netconf, 4711, &v4), -ENODEV);
	/* The link-local address that comes with "up" is the kernel's, not ours. */
	assert_int_equal(netconf_link_set_up(netconf, ifindex, true), 0);
	n = 8;
	assert_int_equal(netconf_address_list(netconf, ifindex, list, &n), 0);
	assert_int_equal(n, 3);
	assert_prefix(&list[0], "192.0.2.1/24");
	n = 1; /* less room than there are */
	memset(list, 0, sizeof(list));
	assert_int_equal(netconf_address_list(netconf, ifindex, list, &n), 0);
	assert_int_equal(n, 3);
	assert_int_equal(list[1].family, 0);
}

/* ------ routes: tun0 is up with the addresses of the test before ------ */

static bool is_listed(struct netconf *netconf, int ifindex, uint32_t table, const char *text)
{
	struct netconf_prefix list[32], wanted = prefix(text);
	size_t n = 32;

	assert_int_equal(netconf_route_list(netconf, ifindex, table, list, &n), 0);
	assert_true(n <= 32);
	for (size_t i = 0; i < n; i++)
		if (list[i].cidr == wanted.cidr && netconf_prefix_covers(&list[i], &wanted))
			return true;
	return false;
}

static void test_routes(void **state)
{
	static const char *const texts[] = { "10.0.0.0/8",    "172.16.5.5/32", "fd00:1::/32",
					     "fd00:2::1/128", "0.0.0.0/0",     "::/0" };
	struct netconf *netconf = need(state);
	int ifindex = find(netconf, "tun0");
	size_t count = 1;

	assert_int_equal(netconf_table_count(netconf, TABLE, &count), 0);
	assert_int_equal(count, 0);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct netconf_prefix dst = prefix(texts[i]);

		assert_int_equal(netconf_route_add(netconf, &dst, ifindex, TABLE), 0);
		assert_int_equal(netconf_route_add(netconf, &dst, ifindex, TABLE), -EEXIST);
		assert_int_equal(netconf_table_count(netconf, TABLE, &count), 0);
		assert_int_equal(count, i + 1);
		assert_true(is_listed(netconf, ifindex, TABLE, texts[i]));
		assert_false(is_listed(netconf, ifindex, RT_TABLE_MAIN, texts[i]));
		assert_false(is_listed(netconf, find(netconf, "tun1"), TABLE, texts[i]));
	}
	/* A table number that fits in the header's byte. */
	assert_int_equal(netconf_route_add(netconf,
					   &(struct netconf_prefix){ .family = AF_INET, .cidr = 8, .addr = { 11 } },
					   ifindex, 77),
			 0);
	assert_true(is_listed(netconf, ifindex, 77, "11.0.0.0/8"));
	/* The routes of the addresses. */
	assert_true(is_listed(netconf, ifindex, RT_TABLE_MAIN, "192.0.2.0/24"));
	assert_true(is_listed(netconf, ifindex, RT_TABLE_MAIN, "2001:db8::/64"));
	assert_int_equal(netconf_route_add(netconf,
					   &(struct netconf_prefix){ .family = AF_INET, .cidr = 8, .addr = { 12 } },
					   4711, TABLE),
			 -ENODEV);
}

static int get(struct netconf *netconf, const char *text, uint32_t fwmark, struct netconf_path *path)
{
	struct netconf_prefix dst = prefix(text);
	struct sockaddr_in addr4 = { .sin_family = AF_INET };
	struct sockaddr_in6 addr6 = { .sin6_family = AF_INET6 };

	memcpy(&addr4.sin_addr, dst.addr, sizeof(addr4.sin_addr));
	memcpy(&addr6.sin6_addr, dst.addr, sizeof(addr6.sin6_addr));
	return netconf_route_get(netconf, dst.family == AF_INET ? (void *)&addr4 : (void *)&addr6, fwmark, path);
}

static void test_route_get(void **state)
{
	struct netconf *netconf = need(state);
	struct netconf_path path;
	int ifindex = find(netconf, "tun0");

	assert_int_equal(netconf_link_set_mtu(netconf, ifindex, 1384), 0);
	assert_int_equal(get(netconf, "192.0.2.9", 0, &path), 0);
	assert_int_equal(path.ifindex, ifindex);
	assert_int_equal(path.mtu, 1384);
	assert_prefix(&path.src, "192.0.2.1/32");
	assert_int_equal(get(netconf, "2001:db8::9", 0, &path), 0);
	assert_int_equal(path.ifindex, ifindex);
	assert_int_equal(get(netconf, "198.51.100.1", 0, &path), -ENETUNREACH);
	assert_int_equal(get(netconf, "2001:db8:1::1", 0, &path), -ENETUNREACH);
}

static void test_default_route(void **state)
{
	struct netconf *netconf = need(state);
	struct netconf_prefix all = prefix("0.0.0.0/0");
	struct netconf_path path;
	int ifindex = find(netconf, "tun1");

	/* There are default routes, but none in the main table. */
	assert_int_equal(netconf_default_route(netconf, &path), -ENETUNREACH);
	assert_int_equal(netconf_link_set_mtu(netconf, ifindex, 1444), 0);
	assert_int_equal(netconf_link_set_up(netconf, ifindex, true), 0);
	assert_int_equal(netconf_route_add(netconf, &all, ifindex, RT_TABLE_MAIN), 0);
	assert_int_equal(netconf_default_route(netconf, &path), 0);
	assert_int_equal(path.ifindex, ifindex);
	assert_int_equal(path.mtu, 1444);
}

/* ------ rules ------ */

static bool has_rule(struct netconf *netconf, const struct netconf_rule *wanted)
{
	struct netconf_rule rules[16];
	size_t n = 16;

	assert_int_equal(netconf_rule_list(netconf, wanted->family, rules, &n), 0);
	assert_true(n <= 16);
	for (size_t i = 0; i < n; i++)
		if (rules[i].family == wanted->family && rules[i].priority == wanted->priority &&
		    rules[i].table == wanted->table && rules[i].fwmark == wanted->fwmark &&
		    rules[i].invert == wanted->invert && rules[i].suppress_default == wanted->suppress_default)
			return true;
	return false;
}

/* tun0 has a default route in TABLE, tun1 in the main table: the rules decide, and what is marked goes the other way.
 */
static void check_rules(struct netconf *netconf, sa_family_t family)
{
	struct netconf_rule unmarked = { .family = family, .table = TABLE, .fwmark = TABLE, .invert = true };
	struct netconf_rule specific = { .family = family, .table = RT_TABLE_MAIN, .suppress_default = true };
	struct netconf_rule wrong;
	struct netconf_path path;

	assert_int_equal(netconf_rule_add(netconf, &unmarked), 0);
	assert_int_equal(unmarked.priority, 32765);
	assert_int_equal(netconf_rule_add(netconf, &specific), 0);
	assert_int_equal(specific.priority, 32764);
	assert_true(has_rule(netconf, &unmarked));
	assert_true(has_rule(netconf, &specific));
	assert_int_equal(netconf_rule_add(netconf, &specific), -EEXIST);
	if (family == AF_INET) {
		assert_int_equal(get(netconf, "198.51.100.1", 0, &path), 0);
		assert_int_equal(path.ifindex, find(netconf, "tun0"));
		assert_int_equal(get(netconf, "198.51.100.1", TABLE, &path), 0);
		assert_int_equal(path.ifindex, find(netconf, "tun1"));
	}
	wrong = specific;
	wrong.priority = 32000;
	assert_int_equal(netconf_rule_delete(netconf, &wrong), -ENOENT);
	assert_int_equal(netconf_rule_delete(netconf, &specific), 0);
	assert_int_equal(netconf_rule_delete(netconf, &specific), -ENOENT);
	assert_false(has_rule(netconf, &specific));
	assert_true(has_rule(netconf, &unmarked));
	assert_int_equal(netconf_rule_delete(netconf, &unmarked), 0);
}

static void test_rules(void **state)
{
	struct netconf *netconf = need(state);

	check_rules(netconf, AF_INET);
	check_rules(netconf, AF_INET6);
}

static void test_rule_priority_is_kept(void **state)
{
	struct netconf *netconf = need(state);
	struct netconf_rule first = { .family = AF_INET, .priority = 1, .table = TABLE, .fwmark = 5 };
	struct netconf_rule second = { .family = AF_INET, .table = TABLE, .fwmark = 6 };

	assert_int_equal(netconf_rule_add(netconf, &first), 0);
	assert_true(has_rule(netconf, &first));
	assert_int_equal(netconf_rule_add(netconf, &second), -ENOSPC); /* only the local table's is before it */
	assert_int_equal(netconf_rule_delete(netconf, &first), 0);
}

int main(void)
{
#define WITH_NETCONF(test) cmocka_unit_test_setup_teardown(test, open_here, close_here)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_prefix_text),
		cmocka_unit_test(test_prefix_covers),
		WITH_NETCONF(test_link_find),
		WITH_NETCONF(test_link_change),
		WITH_NETCONF(test_link_move_and_delete),
		WITH_NETCONF(test_open_refuses),
		WITH_NETCONF(test_addresses),
		WITH_NETCONF(test_routes),
		WITH_NETCONF(test_route_get),
		WITH_NETCONF(test_default_route),
		WITH_NETCONF(test_rules),
		WITH_NETCONF(test_rule_priority_is_kept),
	};

	return cmocka_run_group_tests(tests, build_stage, NULL);
}
