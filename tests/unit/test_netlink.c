// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#define _GNU_SOURCE /* unshare, setns */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "own_netns.h"

#include "../../user/netlink.c"

static int netns_fds[2]; /* ours, and another one */

static int enter_two_netns(void **state)
{
	enter_netns(state);
	if (!has_netns)
		return 0;
	netns_fds[1] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	run("ip link set lo up");
	netns_fds[0] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	return netns_fds[0] < 0 || netns_fds[1] < 0;
}

static int netlink_socket(void)
{
	return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
}

/* ------ The tunnel device, played by one end of a veth pair ------ */

static struct netlink_watch *watch_start(const char *name)
{
	int error = 1;
	struct netlink_watch *watch = netlink_watch_create(netlink_socket(), (int)if_nametoindex(name), &error);

	assert_non_null(watch);
	assert_int_equal(error, 0);
	return watch;
}

static int setup(void **state)
{
	*state = NULL;
	if (!has_netns)
		return 0;
	/* Without link-local addresses: routes of theirs come late, and would wake a watch that has missed something else. */
	run("ip link add wgx0 type veth peer name wgx1 && ip link set wgx0 addrgenmode none");
	run("ip link set wgx1 addrgenmode none up");
	run("ip link set wgx0 mtu 1420 && ip addr add 10.9.0.1/24 dev wgx0 && ip addr add fd09::1/64 dev wgx0 nodad");
	*state = watch_start("wgx0");
	return 0;
}

static int teardown(void **state)
{
	netlink_watch_free(*state);
	if (has_netns)
		run("ip link del wgx1 2>/dev/null || true");
	return 0;
}

static bool wait_for_events(int fd, int timeout_ms)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };

	return poll(&pollfd, 1, timeout_ms) == 1;
}

/* The kernel may tell a change in pieces: takes events until the state is this one. */
static void expect_state(struct netlink_watch *watch, bool exists, bool is_up, uint32_t mtu, uint32_t route_mtu)
{
	const struct netlink_device_state *s = netlink_watch_state(watch);
	bool has_changed = false;

	do {
		if (!wait_for_events(netlink_watch_fd(watch), 2000))
			fail_msg("exists %d up %d mtu %u route_mtu %u, no event", s->exists, s->is_up, s->mtu,
				 s->route_mtu);
		has_changed |= netlink_watch_update(watch);
	} while (s->exists != exists || s->is_up != is_up ||
		 (exists && (s->mtu != mtu || s->route_mtu != route_mtu)));
	assert_true(has_changed);
	assert_false(netlink_watch_update(watch));
}

static void test_state_at_first(void **state)
{
	const struct netlink_device_state *s;
	struct netlink_watch *again;

	REQUIRE_NETNS();
	s = netlink_watch_state(*state);
	assert_true(s->exists);
	assert_false(s->is_up);
	assert_int_equal(s->mtu, 1420);
	assert_int_equal(s->route_mtu, 1420);
	assert_false(netlink_watch_update(*state));

	run("ip link set wgx0 up && ip route add 10.8.0.0/16 dev wgx0 mtu 1300");
	again = watch_start("wgx0");
	s = netlink_watch_state(again);
	assert_true(s->is_up);
	assert_int_equal(s->route_mtu, 1300);
	netlink_watch_free(again);
	expect_state(*state, true, true, 1420, 1300);
}

static void test_link_events(void **state)
{
	REQUIRE_NETNS();
	run("ip link set wgx0 up");
	expect_state(*state, true, true, 1420, 1420);
	run("ip link set wgx0 mtu 1380");
	expect_state(*state, true, true, 1380, 1380);
	run("ip link set wgx0 mtu 1500");
	expect_state(*state, true, true, 1500, 1500);
	run("ip link set wgx0 down");
	expect_state(*state, true, false, 1500, 1500);
	run("ip link set wgx0 name wgx2 && ip link set wgx2 up");
	expect_state(*state, true, true, 1500, 1500);
	run("ip link del wgx2");
	expect_state(*state, false, false, 0, 0);
}

static void test_route_mtu(void **state)
{
	REQUIRE_NETNS();
	run("ip link set wgx0 up");
	expect_state(*state, true, true, 1420, 1420);
	run("ip route add 10.8.0.0/16 dev wgx0 mtu 1300");
	expect_state(*state, true, true, 1420, 1300);
	run("ip route add 10.7.0.0/16 dev wgx0 mtu 1350");
	run("ip -6 route add fd08::/64 dev wgx0 mtu 1290");
	expect_state(*state, true, true, 1420, 1290);
	run("ip -6 route del fd08::/64");
	expect_state(*state, true, true, 1420, 1300);
	run("ip route change 10.8.0.0/16 dev wgx0 mtu 1390");
	expect_state(*state, true, true, 1420, 1350);
	/* In another table, as wg-quick does, and over two devices. */
	run("ip route add default table 51820 mtu 1280 nexthop dev wgx1 nexthop via 10.9.0.9 dev wgx0");
	expect_state(*state, true, true, 1420, 1280);
	run("ip route flush table 51820");
	expect_state(*state, true, true, 1420, 1350);
	/* A route that is replaced by one over another device. */
	run("ip route replace 10.7.0.0/16 dev wgx1");
	expect_state(*state, true, true, 1420, 1390);
	/* A metric above the device's MTU says nothing. */
	run("ip route change 10.8.0.0/16 dev wgx0 mtu 9000");
	expect_state(*state, true, true, 1420, 1420);
	/* IPv4 routes go silently with the link; IPv6 ones would tell. */
	run("ip route change 10.8.0.0/16 dev wgx0 mtu 1390");
	expect_state(*state, true, true, 1420, 1390);
	run("echo 1 > /proc/sys/net/ipv6/conf/wgx0/disable_ipv6");
	while (wait_for_events(netlink_watch_fd(*state), 100))
		netlink_watch_update(*state);
	run("ip link set wgx0 down");
	expect_state(*state, true, false, 1420, 1420);
}

/* Routes that do not lead through the device are none of our business. */
static void test_other_routes(void **state)
{
	struct netlink_watch *watch = *state;

	REQUIRE_NETNS();
	run("ip link set wgx0 up");
	expect_state(watch, true, true, 1420, 1420);
	run("ip route add 10.6.0.0/16 dev wgx1 mtu 1280 && ip -6 route add fd06::/64 dev wgx1 mtu 1280");
	assert_true(wait_for_events(netlink_watch_fd(watch), 2000));
	assert_false(netlink_watch_update(watch));
	assert_int_equal(netlink_watch_state(watch)->route_mtu, 1420);
	run("ip link set wgx1 mtu 9000");
	netlink_watch_update(watch);
	assert_int_equal(netlink_watch_state(watch)->mtu, 1420);
}

static void test_moved_away_and_followed(void **state)
{
	struct netlink_watch *there;

	REQUIRE_NETNS();
	run("ip link set wgx0 up");
	expect_state(*state, true, true, 1420, 1420);
	run("ip link set wgx0 netns /proc/%d/fd/%d", getpid(), netns_fds[1]);
	expect_state(*state, false, false, 0, 0);

	/* The watch reads events of the namespace its socket was made in, wherever we are. */
	assert_int_equal(setns(netns_fds[1], CLONE_NEWNET), 0);
	there = watch_start("wgx0");
	assert_int_equal(setns(netns_fds[0], CLONE_NEWNET), 0);
	assert_true(netlink_watch_state(there)->exists);
	assert_false(netlink_watch_state(there)->is_up);
	run("nsenter --net=/proc/%d/fd/%d ip link set wgx0 mtu 1300 up", getpid(), netns_fds[1]);
	expect_state(there, true, true, 1300, 1300);
	run("ip link del wgx1");
	expect_state(there, false, false, 0, 0);
	netlink_watch_free(there);
}

static void test_lost_events(void **state)
{
	struct netlink_watch *watch = *state;
	int bytes = 1;
	char command[300];

	REQUIRE_NETNS();
	assert_int_equal(setsockopt(netlink_watch_fd(watch), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)), 0);
	snprintf(command, sizeof(command),
		 "for i in $(seq 50); do echo link set wgx0 down; echo link set wgx0 mtu $((1300 + i)) up; done |"
		 " ip -batch -");
	run("%s", command);
	run("ip route add 10.8.0.0/16 dev wgx0 mtu 1290");
	expect_state(watch, true, true, 1350, 1290);
}

static void test_watch_errors(void **state)
{
	struct netlink_watch *watch;
	int error = 0, fd;

	(void)state;
	REQUIRE_NETNS();
	/* No such device: it is gone already. */
	watch = netlink_watch_create(netlink_socket(), 999999, &error);
	assert_non_null(watch);
	assert_false(netlink_watch_state(watch)->exists);
	netlink_watch_free(watch);
	netlink_watch_free(NULL);

	/* Not a netlink socket; it is closed all the same. */
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	assert_null(netlink_watch_create(fd, 1, &error));
	assert_true(error < 0);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

/* ------ The underlay ------ */

static struct endpoint endpoint(const char *remote, const char *src, const char *src_if)
{
	struct endpoint e;

	assert_true(endpoint_parse(&e, remote));
	if (e.family == AF_INET) {
		assert_int_equal(inet_pton(AF_INET, src, &e.src4), 1);
		e.src_if4 = (int)if_nametoindex(src_if);
		assert_int_not_equal(e.src_if4, 0);
	} else {
		assert_int_equal(inet_pton(AF_INET6, src, &e.src6), 1);
	}
	return e;
}

/* Links report their carrier when it suits them: waits for a moment without events, in which none is reported. */
static void settle(struct netlink_underlay *underlay)
{
	for (unsigned int i = 0; i < 100; i++) {
		while (wait_for_events(netlink_underlay_fd(underlay), 20))
			netlink_underlay_update(underlay);
		if (!netlink_underlay_update(underlay))
			return;
	}
	fail_msg("events without end");
}

static int setup_underlay(void **state)
{
	int error = 1;

	*state = NULL;
	if (!has_netns)
		return 0;
	run("ip link add wgx0 type veth peer name wgx1 && ip link add wgx2 type veth peer name wgx3");
	run("for i in 0 1 2 3; do ip link set wgx$i addrgenmode none up; done");
	run("ip addr add 192.0.2.1/24 dev wgx0 && ip addr add 198.51.100.1/24 dev wgx2");
	run("ip addr add 2001:db8::1/64 dev wgx0 nodad && ip route add default via 192.0.2.254");
	*state = netlink_underlay_create(&error);
	assert_non_null(*state);
	assert_int_equal(error, 0);
	settle(*state);
	return 0;
}

static int teardown_underlay(void **state)
{
	netlink_underlay_free(*state);
	if (has_netns)
		run("(ip link del wgx0; ip link del wgx2; ip rule del fwmark 0x51) 2>/dev/null || true");
	return 0;
}

static void expect_underlay_event(struct netlink_underlay *underlay, const char *command)
{
	run("%s", command);
	if (!wait_for_events(netlink_underlay_fd(underlay), 2000))
		fail_msg("no event: %s", command);
	assert_true(netlink_underlay_update(underlay));
	settle(underlay);
}

static void test_underlay_events(void **state)
{
	struct netlink_underlay *underlay = *state;

	REQUIRE_NETNS();
	expect_underlay_event(underlay, "ip addr add 192.0.2.2/24 dev wgx0");
	expect_underlay_event(underlay, "ip addr del 192.0.2.2/24 dev wgx0");
	expect_underlay_event(underlay, "ip addr add 2001:db8::2/64 dev wgx0 nodad");
	expect_underlay_event(underlay, "ip route add 203.0.113.0/24 via 198.51.100.9");
	expect_underlay_event(underlay, "ip -6 route add 2001:db8:1::/48 via 2001:db8::9");
	expect_underlay_event(underlay, "ip link set wgx2 down");
}

static void test_src4(void **state)
{
	struct netlink_underlay *u = *state;
	struct endpoint e, none;

	REQUIRE_NETNS();
	e = endpoint("203.0.113.5:51820", "192.0.2.1", "wgx0");
	assert_true(netlink_underlay_src_is_valid(u, &e, 0));
	none = e;
	endpoint_clear_src(&none);

	/* The route now leads over another interface. */
	run("ip route add 203.0.113.0/24 via 198.51.100.9");
	assert_false(netlink_underlay_src_is_valid(u, &e, 0));
	assert_true(netlink_underlay_src_is_valid(u, &none, 0));
	e.src_if4 = (int)if_nametoindex("wgx2");
	assert_true(netlink_underlay_src_is_valid(u, &e, 0));
	run("ip route del 203.0.113.0/24");
	assert_false(netlink_underlay_src_is_valid(u, &e, 0));

	/* Marked packets may go another way. */
	run("ip rule add fwmark 0x51 table 51 && ip route add default via 198.51.100.9 table 51");
	assert_true(netlink_underlay_src_is_valid(u, &e, 0x51));
	assert_false(netlink_underlay_src_is_valid(u, &e, 0));
	e.src_if4 = (int)if_nametoindex("wgx0");
	assert_false(netlink_underlay_src_is_valid(u, &e, 0x51));
	assert_true(netlink_underlay_src_is_valid(u, &e, 0));

	/* The address goes, then the route. */
	run("ip addr add 192.0.2.2/24 dev wgx0");
	e = endpoint("203.0.113.5:51820", "192.0.2.2", "wgx0");
	assert_true(netlink_underlay_src_is_valid(u, &e, 0));
	run("ip addr del 192.0.2.2/24 dev wgx0");
	assert_false(netlink_underlay_src_is_valid(u, &e, 0));
	e = endpoint("203.0.113.5:51820", "192.0.2.1", "wgx0");
	assert_true(netlink_underlay_src_is_valid(u, &e, 0));
	run("ip link set wgx0 down");
	assert_false(netlink_underlay_src_is_valid(u, &e, 0));
	assert_true(netlink_underlay_src_is_valid(u, &none, 0));
}

static void test_src6(void **state)
{
	struct netlink_underlay *u = *state;
	struct endpoint e, none;

	REQUIRE_NETNS();
	e = endpoint("[2001:db8:1::5]:51820", "2001:db8::1", "wgx0");
	none = e;
	endpoint_clear_src(&none);
	assert_true(netlink_underlay_src_is_valid(u, &e, 0));
	assert_true(netlink_underlay_src_is_valid(u, &e, 0x51));
	/* For IPv6 the address alone counts, whatever the route. */
	run("ip -6 route add 2001:db8:1::/48 dev wgx2");
	assert_true(netlink_underlay_src_is_valid(u, &e, 0));
	/* In the prefix of a link, but not local. */
	e = endpoint("[2001:db8:1::5]:51820", "2001:db8::77", "wgx0");
	assert_false(netlink_underlay_src_is_valid(u, &e, 0));
	e = endpoint("[2001:db8:1::5]:51820", "2001:db8::1", "wgx0");
	run("ip addr del 2001:db8::1/64 dev wgx0");
	assert_false(netlink_underlay_src_is_valid(u, &e, 0));
	assert_true(netlink_underlay_src_is_valid(u, &none, 0));
	e = endpoint("[::1]:51820", "::1", "lo");
	assert_true(netlink_underlay_src_is_valid(u, &e, 0));
}

/* ------ All of it without a single capability ------ */

static int as_nobody(int fd, int ifindex, const struct endpoint *good, const struct endpoint *bad)
{
	struct netlink_underlay *underlay;
	struct netlink_watch *watch;
	int error;

	if (setgid(65534) || setuid(65534) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return 1;
	watch = netlink_watch_create(fd, ifindex, &error);
	if (!watch || !netlink_watch_state(watch)->exists || netlink_watch_state(watch)->mtu != 1500)
		return 2;
	underlay = netlink_underlay_create(&error);
	if (!underlay)
		return 3;
	if (!netlink_underlay_src_is_valid(underlay, good, 0x51) || netlink_underlay_src_is_valid(underlay, bad, 0x51))
		return 4;
	netlink_underlay_update(underlay);
	if (netlink_watch_update(watch))
		return 5;
	netlink_underlay_free(underlay);
	netlink_watch_free(watch);
	return 0;
}

static void test_unprivileged(void **state)
{
	struct endpoint good, bad;
	int status = -1;
	pid_t pid;

	(void)state;
	REQUIRE_NETNS();
	good = endpoint("203.0.113.5:51820", "192.0.2.1", "wgx0");
	bad = endpoint("203.0.113.5:51820", "192.0.2.1", "wgx2");
	pid = fork();
	if (!pid)
		_exit(as_nobody(netlink_socket(), good.src_if4, &good, &bad));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define with_watch(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define with_underlay(test) cmocka_unit_test_setup_teardown(test, setup_underlay, teardown_underlay)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_watch(test_state_at_first),
		with_watch(test_link_events),
		with_watch(test_route_mtu),
		with_watch(test_other_routes),
		with_watch(test_moved_away_and_followed),
		with_watch(test_lost_events),
		cmocka_unit_test(test_watch_errors),
		with_underlay(test_underlay_events),
		with_underlay(test_src4),
		with_underlay(test_src6),
		with_underlay(test_unprivileged),
	};

	return cmocka_run_group_tests(tests, enter_two_netns, NULL);
}
