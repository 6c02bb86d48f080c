// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#define _GNU_SOURCE /* unshare, recvmmsg */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <net/if.h>
#include <sys/socket.h>

#include "udp_loopback.h"

#include "../../user/udp_rx.c"

/* A system without one of the families, or without both. */
static int missing_families[2];

static int fake_socket(int family, int type, int protocol)
{
	if (family == missing_families[0] || family == missing_families[1]) {
		errno = EAFNOSUPPORT;
		return -1;
	}
	return socket(family, type, protocol);
}

#define socket fake_socket
#include "../../user/udp_sock.c"
#undef socket

/* ------ Through the loopback device ------ */

static void test_every_length(void **state)
{
	struct fixture *f = *state;
	uint32_t lens[50];

	REQUIRE_NETNS();
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		for (uint32_t len = 0; len < 3000; len += 50) {
			for (uint32_t i = 0; i < 50; i++)
				lens[i] = len + i;
			round_trip(f, is_v6, len, lens, 50, 0);
		}
		for (uint32_t len = 65507 - 20 * is_v6; len > 3000; len = len * 9 / 10)
			round_trip(f, is_v6, len, &len, 1, 0);
	}
}

/* Sizes come in runs, as those of a tunnel do. Then the same without UDP_SEGMENT: nobody can tell. */
static void test_many_datagrams(void **state)
{
	struct fixture *f = *state;
	uint32_t lens[256], number = 0;

	REQUIRE_NETNS();
	print_message("seed %#lx\n", (unsigned long)seed);
	for (int turn = 0; turn < 4; turn++) {
		bool is_v6 = turn & 1;

		assert_true(f->a.gso4 && f->a.gso6);
		f->a.gso4 = f->a.gso6 = turn < 2;
		for (uint32_t end = number + 10000; number < end;) {
			unsigned int n = 0, n_runs = 1 + rnd() % 8;

			while (n_runs--) {
				uint32_t len = 1 + rnd() % (rnd() % 4 ? 1500 : 9000);

				for (uint32_t left = 1 + rnd() % 32; left && n < 256; left--)
					lens[n++] = left == 1 ? 1 + rnd() % len : len;
			}
			round_trip(f, is_v6, number, lens, n, (uint8_t)rnd());
			number += n;
		}
		f->a.gso4 = f->a.gso6 = true;
	}
}

static void test_ds(void **state)
{
	struct fixture *f = *state;
	const uint32_t lens[] = { 100, 100, 100, 7 };

	REQUIRE_NETNS();
	for (unsigned int ds = 0; ds < 256; ds++)
		for (int is_v6 = 0; is_v6 < 2; is_v6++)
			round_trip(f, is_v6, ds, lens, 4, (uint8_t)ds);
}

/* Linux may silently drop the first IPv6 packet to an address it has just been given. */
static void wait_until_usable(struct fixture *f, const struct endpoint *there)
{
	bool is_v6 = there->family == AF_INET6;
	struct pollfd pollfd = { .fd = fd_of(&f->b, is_v6), .events = POLLIN };
	struct udp_rx_msg *msgs;
	uint8_t data[1] = { 0 };
	unsigned int tries = 0;

	do {
		assert_true(tries++ < 100);
		assert_true(udp_tx_add(&f->tx, there, 0, data, sizeof(data), NULL));
		udp_tx_flush(&f->a, &f->tx);
		udp_tx_reset(&f->tx);
	} while (poll(&pollfd, 1, 100) != 1);
	while (udp_rx_burst(f->rx, pollfd.fd, is_v6, &msgs) > 0)
		;
}

/* The endpoint of what was received is enough to answer from the very address that was spoken to. */
static void test_reply_comes_from_where_it_was_sent_to(void **state)
{
	struct fixture *f = *state;
	static const char *const addrs[] = { "127.0.0.7", "10.9.0.1", "fd09::1", "::1" };
	uint8_t data[100];

	REQUIRE_NETNS();
	run("ip addr add 10.9.0.1/32 dev lo && ip addr add fd09::1/128 dev lo nodad");
	for (unsigned int i = 0; i < 4; i++) {
		struct endpoint there = to(addrs[i], f->b.port), back;
		bool is_v6 = there.family == AF_INET6;
		struct udp_rx_msg *msg, *msgs;

		wait_until_usable(f, &there);
		assert_true(udp_tx_add(&f->tx, &there, 0, data, sizeof(data), NULL));
		assert_int_equal(udp_tx_flush(&f->a, &f->tx), 1);
		udp_tx_reset(&f->tx);
		msg = next_msg(f, is_v6);
		assert_non_null(msg);
		back = msg->from;
		assert_true(endpoint_has_src(&back));
		if (is_v6)
			assert_memory_equal(&back.src6, &there.addr6.sin6_addr, 16);
		else
			assert_int_equal(back.src4.s_addr, there.addr4.sin_addr.s_addr);
		if (!is_v6)
			assert_int_equal(back.src_if4, if_nametoindex("lo"));

		/* From b to a, by GSO too. */
		for (unsigned int k = 0; k < 3; k++)
			assert_true(udp_tx_add(&f->tx, &back, 0, data, sizeof(data), NULL));
		assert_int_equal(udp_tx_flush(&f->b, &f->tx), 3);
		assert_false(f->tx.msgs[0].src_refused);
		udp_tx_reset(&f->tx);
		assert_int_equal(udp_rx_burst(f->rx, fd_of(&f->a, is_v6), is_v6, &msgs), 1);
		assert_int_equal(msgs[0].len, 300);
		assert_true(endpoint_remote_equal(&msgs[0].from, &there));
	}
	run("ip addr del 10.9.0.1/32 dev lo && ip addr del fd09::1/128 dev lo");
}

/* IPv6 addresses that only mean something with an interface keep it. */
static void test_scope(void **state)
{
	struct fixture *f = *state;
	struct endpoint there;
	struct udp_rx_msg *msg;
	uint8_t data[60] = { 0 };

	REQUIRE_NETNS();
	run("ip link add wgx0 type veth peer name wgx1 && ip link set wgx1 up && ip link set wgx0 up");
	run("ip addr add fe80::aa/64 dev wgx0 nodad");
	there = to("fe80::aa%wgx0", f->b.port);
	wait_until_usable(f, &there);
	assert_true(udp_tx_add(&f->tx, &there, 0, data, sizeof(data), NULL));
	assert_int_equal(udp_tx_flush(&f->a, &f->tx), 1);
	udp_tx_reset(&f->tx);
	msg = next_msg(f, true);
	assert_non_null(msg);
	assert_int_equal(msg->from.addr6.sin6_scope_id, if_nametoindex("wgx0"));
	assert_memory_equal(&msg->from.src6, &there.addr6.sin6_addr, 16);

	/* And back: source and destination are link-local. */
	there = msg->from;
	assert_true(udp_tx_add(&f->tx, &there, 0, data, sizeof(data), NULL));
	assert_int_equal(udp_tx_flush(&f->b, &f->tx), 1);
	assert_int_equal(f->tx.msgs[0].error, 0);
	assert_false(f->tx.msgs[0].src_refused);
	udp_tx_reset(&f->tx);
	run("ip link del wgx0");
}

/* ------ Receiving ------ */

static void test_truncation_is_told(void **state)
{
	struct fixture *f = *state;
	struct endpoint there = to("127.0.0.1", f->b.port);
	struct udp_rx_msg *msg;
	uint8_t data[200];

	REQUIRE_NETNS();
	f->rx->iovs[0].iov_len = 100;
	assert_true(udp_tx_add(&f->tx, &there, 0, data, 101, NULL));
	assert_true(udp_tx_add(&f->tx, &there, 0, data, 150, NULL));
	assert_int_equal(udp_tx_flush(&f->a, &f->tx), 2);
	udp_tx_reset(&f->tx);
	msg = next_msg(f, false);
	assert_non_null(msg);
	assert_true(msg->is_truncated);
	msg = next_msg(f, false);
	assert_non_null(msg);
	assert_false(msg->is_truncated);
	assert_int_equal(msg->len, 150);
	f->rx->iovs[0].iov_len = UDP_RX_BUFFER_SIZE;
}

/* One burst object serves both families in turn, and more messages than a burst has room for. */
static void test_families_alternate(void **state)
{
	struct fixture *f = *state;
	uint32_t lens[3 * UDP_RX_MSGS];

	REQUIRE_NETNS();
	for (unsigned int i = 0; i < 3 * UDP_RX_MSGS; i++)
		lens[i] = 100 + i;
	for (unsigned int i = 0; i < 20; i++)
		round_trip(f, i & 1, i * 100, lens, 3 * UDP_RX_MSGS, (uint8_t)(i & 3));
}

static void test_errors_of_receiving(void **state)
{
	struct fixture *f = *state;
	struct endpoint nobody = to("127.0.0.1", 9), there = to("127.0.0.1", f->a.port);
	struct udp_rx_msg *msgs;
	uint8_t data[100];
	int on = 1;

	REQUIRE_NETNS();
	/* With IP_RECVERR every ICMP error is queued, which is the worst that can happen. */
	assert_int_equal(setsockopt(f->a.fd4, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)), 0);
	for (unsigned int i = 0; i < 5; i++) {
		assert_true(udp_tx_add(&f->tx, &nobody, 0, data, 100, NULL));
		udp_tx_flush(&f->a, &f->tx);
		udp_tx_reset(&f->tx);
	}
	assert_true(udp_tx_add(&f->tx, &there, 0, data, 100, NULL));
	assert_int_equal(udp_tx_flush(&f->b, &f->tx), 1);
	udp_tx_reset(&f->tx);
	assert_int_equal(udp_rx_burst(f->rx, f->a.fd4, false, &msgs), 1);
	assert_int_equal(udp_rx_burst(f->rx, f->a.fd4, false, &msgs), 0);

	assert_int_equal(udp_rx_burst(f->rx, -1, false, &msgs), -EBADF);
	assert_int_equal(udp_rx_burst(f->rx, 0, false, &msgs), -ENOTSOCK);
}

/* ------ Opening ------ */

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

static void test_options(void **state)
{
	struct udp_sock sock;
	uint16_t port = 0;

	(void)state;
	REQUIRE_NETNS();
	assert_int_equal(udp_sock_open_group(&sock, 1, &port, 0x1234), 0);
	assert_int_not_equal(port, 0);
	assert_int_equal(sock.port, port);
	assert_true(sock.gso4 && sock.gso6);
	assert_int_equal(option(sock.fd6, IPPROTO_IPV6, IPV6_AUTOFLOWLABEL), 0);
	assert_int_equal(option(sock.fd4, IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_DONT);
	assert_int_equal(option(sock.fd6, IPPROTO_IPV6, IPV6_MTU_DISCOVER), IPV6_PMTUDISC_DONT);
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		int fd = fd_of(&sock, is_v6);
		struct endpoint local;
		socklen_t len = sizeof(local.addr6);

		assert_int_equal(option(fd, SOL_SOCKET, SO_MARK), 0x1234);
		assert_true(option(fd, SOL_SOCKET, SO_RCVBUF) >= BUFFER_BYTES);
		assert_true(option(fd, SOL_SOCKET, SO_SNDBUF) >= BUFFER_BYTES);
		assert_int_equal(option(fd, SOL_SOCKET, SO_REUSEPORT), 0);
		assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
		assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
		assert_int_equal(getsockname(fd, &local.addr, &len), 0);
		assert_int_equal(ntohs(local.addr4.sin_port), port);
	}
	udp_sock_close(&sock);
	udp_sock_close(&sock);
}

static void test_port_in_use(void **state)
{
	struct udp_sock first[3], second[3];
	uint16_t port = 0, same;

	(void)state;
	REQUIRE_NETNS();
	for (unsigned int n = 1; n <= 3; n++) {
		port = 0;
		assert_int_equal(udp_sock_open_group(first, n, &port, 0), 0);
		for (unsigned int m = 1; m <= 3; m++) {
			same = port;
			assert_int_equal(udp_sock_open_group(second, m, &same, 0), -EADDRINUSE);
		}
		for (unsigned int i = 0; i < n; i++)
			udp_sock_close(&first[i]);
		/* And nothing was left open. */
		assert_int_equal(udp_sock_open_group(second, 1, &port, 0), 0);
		udp_sock_close(&second[0]);
	}

	/* IPv6 alone is reason enough, when the port was asked for. */
	assert_int_equal(udp_sock_open_group(first, 1, &port, 0), 0);
	close(first[0].fd4);
	first[0].fd4 = -1;
	assert_int_equal(udp_sock_open_group(second, 1, &port, 0), -EADDRINUSE);
	udp_sock_close(&first[0]);
}

/* When it was not, another is tried: of five ports four are taken, for IPv6 only. */
static void test_any_port(void **state)
{
	struct udp_sock taken[4], sock;
	uint16_t port;

	(void)state;
	REQUIRE_NETNS();
	for (unsigned int i = 0; i < 4; i++) {
		port = (uint16_t)(40000 + i);
		assert_int_equal(udp_sock_open_group(&taken[i], 1, &port, 0), 0);
		close(taken[i].fd4);
		taken[i].fd4 = -1;
	}
	run("echo 40000 40004 > /proc/sys/net/ipv4/ip_local_port_range");
	for (unsigned int i = 0; i < 20; i++) {
		port = 0;
		assert_int_equal(udp_sock_open_group(&sock, 1, &port, 0), 0);
		assert_int_equal(port, 40004);
		if (i < 19)
			udp_sock_close(&sock);
	}
	/* None left: an error after a bounded number of tries. */
	port = 0;
	assert_int_equal(udp_sock_open_group(&taken[3], 1, &port, 0), -EADDRINUSE);
	run("echo 32768 60999 > /proc/sys/net/ipv4/ip_local_port_range");
	for (unsigned int i = 0; i < 4; i++)
		udp_sock_close(&taken[i]);
	udp_sock_close(&sock);
}

static void test_missing_family(void **state)
{
	struct fixture *f = *state;
	struct udp_sock socks[2];
	uint16_t port = 0;
	uint8_t data[10];

	REQUIRE_NETNS();
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		struct endpoint there = to("127.0.0.1", f->b.port), there6 = to("::1", f->b.port);

		missing_families[0] = is_v6 ? AF_INET : AF_INET6;
		port = 0;
		assert_int_equal(udp_sock_open_group(socks, 2, &port, 0), 0);
		missing_families[0] = 0;
		assert_int_not_equal(port, 0);
		assert_int_equal(fd_of(&socks[1], !is_v6), -1);
		assert_false(is_v6 ? socks[1].gso4 : socks[1].gso6);
		assert_true(fd_of(&socks[1], is_v6) >= 0);
		assert_true(udp_tx_add(&f->tx, &there, 0, data, 10, NULL));
		assert_true(udp_tx_add(&f->tx, &there6, 0, data, 10, NULL));
		assert_int_equal(udp_tx_flush(&socks[1], &f->tx), 1);
		assert_int_equal(f->tx.msgs[!is_v6].error, -EAFNOSUPPORT);
		assert_int_equal(f->tx.msgs[is_v6].error, 0);
		udp_tx_reset(&f->tx);
		udp_sock_close(&socks[0]);
		udp_sock_close(&socks[1]);
	}
	missing_families[0] = AF_INET;
	missing_families[1] = AF_INET6;
	port = 0;
	assert_int_equal(udp_sock_open_group(socks, 2, &port, 0), -EAFNOSUPPORT);
	missing_families[0] = missing_families[1] = 0;
}

/* Flows are spread over a group, and each stays where it is. */
static void test_group_distributes(void **state)
{
	struct fixture *f = *state;
	struct udp_sock group[4];
	unsigned int n_got[4] = { 0 };
	uint16_t port = 0;

	REQUIRE_NETNS();
	assert_int_equal(udp_sock_open_group(group, 4, &port, 0), 0);
	for (unsigned int flow = 0; flow < 64; flow++) {
		bool is_v6 = flow & 1;
		struct endpoint there = to(is_v6 ? "::1" : "127.0.0.1", port);
		unsigned int n_here = 0;
		struct udp_sock sock;
		uint16_t any = 0;
		uint8_t data[10];

		assert_int_equal(group[flow % 4].port, port);
		assert_int_equal(udp_sock_open_group(&sock, 1, &any, 0), 0);
		for (unsigned int i = 0; i < 5; i++)
			assert_true(udp_tx_add(&f->tx, &there, (uint8_t)i, data, 10, NULL));
		assert_int_equal(udp_tx_flush(&sock, &f->tx), 5);
		udp_tx_reset(&f->tx);
		for (unsigned int i = 0; i < 4; i++) {
			struct udp_rx_msg *msgs;
			int n = udp_rx_burst(f->rx, fd_of(&group[i], is_v6), is_v6, &msgs);

			assert_true(n == 0 || n == 5);
			n_got[i] += (unsigned int)n;
			n_here += (unsigned int)n;
		}
		assert_int_equal(n_here, 5);
		udp_sock_close(&sock);
	}
	for (unsigned int i = 0; i < 4; i++) {
		assert_true(n_got[i] > 0);
		udp_sock_close(&group[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_fixture(test_every_length),
		with_fixture(test_many_datagrams),
		with_fixture(test_ds),
		with_fixture(test_reply_comes_from_where_it_was_sent_to),
		with_fixture(test_scope),
		with_fixture(test_truncation_is_told),
		with_fixture(test_families_alternate),
		with_fixture(test_errors_of_receiving),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_port_in_use),
		cmocka_unit_test(test_any_port),
		with_fixture(test_missing_family),
		with_fixture(test_group_distributes),
	};

	return cmocka_run_group_tests(tests, enter_netns, NULL);
}
