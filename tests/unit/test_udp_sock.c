// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#define _GNU_SOURCE /* unshare, sendmmsg */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "own_netns.h"

/* What the kernel is made to answer, once each, before it is asked: an errno; or a negative number: send that many. */
static int plan[256];
static unsigned int n_plan, plan_at, n_calls;
static bool plan_sticks;

static int fake_sendmmsg(int fd, struct mmsghdr *mmsgs, unsigned int n, int flags)
{
	n_calls++;
	if (plan_at < n_plan) {
		int step = plan[plan_at];

		if (!plan_sticks)
			plan_at++;
		if (step > 0) {
			errno = step;
			return -1;
		}
		if (step < 0 && (unsigned int)-step < n)
			n = (unsigned int)-step;
	}
	return sendmmsg(fd, mmsgs, n, flags);
}

#define sendmmsg fake_sendmmsg
#include "../../user/udp_tx.c"
#undef sendmmsg
#include "../../user/udp_rx.c"
#include "../../user/udp_sock.c"

static void plan_answers(unsigned int n, const int *answers)
{
	if (n)
		memcpy(plan, answers, n * sizeof(*plan));
	n_plan = n;
	plan_at = n_calls = 0;
	plan_sticks = false;
}

#define PLAN(...) plan_answers(sizeof((int[]){ __VA_ARGS__ }) / sizeof(int), (int[]){ __VA_ARGS__ })

static uint64_t seed = 0x9e3779b97f4a7c15;

static uint32_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 16);
}

/* ------ A sender and a receiver ------ */

struct fixture {
	struct udp_sock a, b; /* a sends to b */
	struct udp_tx tx;
	struct udp_rx *rx;
	struct udp_rx_msg *msgs; /* received and not yet looked at */
	int n_msgs, at_msg;
	uint32_t at_byte;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	uint16_t port_a = 0, port_b = 0;

	*state = f;
	if (!has_netns)
		return 0;
	assert_int_equal(udp_sock_open_group(&f->a, 1, &port_a, 0), 0);
	assert_int_equal(udp_sock_open_group(&f->b, 1, &port_b, 0), 0);
	assert_int_equal(udp_tx_init(&f->tx), 0);
	f->rx = udp_rx_create();
	assert_non_null(f->rx);
	PLAN(0);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->rx) {
		udp_sock_close(&f->a);
		udp_sock_close(&f->b);
		udp_tx_deinit(&f->tx);
		udp_rx_free(f->rx);
	}
	free(f);
	return 0;
}

static struct endpoint to(const char *addr, uint16_t port)
{
	struct endpoint endpoint;
	char text[ENDPOINT_TEXT_SIZE];

	snprintf(text, sizeof(text), strchr(addr, ':') ? "[%s]:%u" : "%s:%u", addr, port);
	assert_true(endpoint_parse(&endpoint, text));
	return endpoint;
}

static void set_src(struct endpoint *endpoint, const char *addr)
{
	if (endpoint->family == AF_INET) {
		assert_int_equal(inet_pton(AF_INET, addr, &endpoint->src4), 1);
		endpoint->src_if4 = 1;
	} else {
		assert_int_equal(inet_pton(AF_INET6, addr, &endpoint->src6), 1);
	}
}

static int fd_of(const struct udp_sock *sock, bool is_v6)
{
	return is_v6 ? sock->fd6 : sock->fd4;
}

/* One more message; waits for it. NULL after a while without one. */
static struct udp_rx_msg *next_msg(struct fixture *f, bool is_v6)
{
	struct pollfd pollfd = { .fd = fd_of(&f->b, is_v6), .events = POLLIN };

	if (f->at_msg == f->n_msgs) {
		if (poll(&pollfd, 1, 2000) != 1)
			return NULL;
		f->n_msgs = udp_rx_burst(f->rx, pollfd.fd, is_v6, &f->msgs);
		f->at_msg = 0;
		assert_true(f->n_msgs > 0);
	}
	return &f->msgs[f->at_msg++];
}

/* One more datagram, whatever it was received together with. */
static const uint8_t *next_datagram(struct fixture *f, bool is_v6, uint32_t *len, const struct udp_rx_msg **msg)
{
	static struct udp_rx_msg *current;
	const uint8_t *data;

	if (!f->at_byte) {
		current = next_msg(f, is_v6);
		if (!current)
			return NULL;
		assert_false(current->is_truncated);
		assert_true(!current->len || current->segment_size);
	}
	*len = current->len - f->at_byte;
	if (*len > current->segment_size)
		*len = current->segment_size;
	data = current->data + f->at_byte;
	f->at_byte += *len;
	if (f->at_byte == current->len)
		f->at_byte = 0;
	*msg = current;
	return data;
}

static void assert_nothing_waits(struct fixture *f, bool is_v6)
{
	assert_int_equal(f->at_msg, f->n_msgs);
	assert_int_equal(udp_rx_burst(f->rx, fd_of(&f->b, is_v6), is_v6, &f->msgs), 0);
}

/* Contents that tell one datagram from another. */
static void pattern(uint8_t *data, uint32_t len, uint32_t number)
{
	uint32_t x = number * 2654435761U + 12345;

	for (uint32_t i = 0; i < len; i++) {
		x = x * 1664525 + 1013904223;
		data[i] = (uint8_t)(x >> 24);
	}
}

static void expect(struct fixture *f, bool is_v6, uint32_t number, uint32_t len, uint8_t ds)
{
	static uint8_t wanted[UDP_RX_BUFFER_SIZE];
	const struct udp_rx_msg *msg = NULL;
	uint32_t got_len = 0;
	const uint8_t *data = next_datagram(f, is_v6, &got_len, &msg);

	if (!data)
		fail_msg("datagram %u (%u bytes) is missing", number, len);
	pattern(wanted, len, number);
	assert_int_equal(got_len, len);
	assert_memory_equal(data, wanted, len);
	assert_int_equal(msg->ds, ds);
	assert_int_equal(msg->from.family, is_v6 ? AF_INET6 : AF_INET);
	assert_int_equal(ntohs(is_v6 ? msg->from.addr6.sin6_port : msg->from.addr4.sin_port), f->a.port);
}

/* ------ Gathering ------ */

#define ADD(len_) udp_tx_add(&tx, &there, 0, data, (len_), NULL)

static void test_gather(void **state)
{
	static uint8_t data[70000];
	struct endpoint there = to("127.0.0.1", 5), elsewhere = to("127.0.0.1", 6), from_there;
	struct udp_tx tx;
	int user;

	(void)state;
	assert_int_equal(udp_tx_init(&tx), 0);

	/* Contiguous ones share an iovec; a shorter one ends the message; none is longer than the first. */
	for (unsigned int i = 0; i < 3; i++)
		assert_true(udp_tx_add(&tx, &there, 0, data + i * 100, 100, NULL));
	assert_true(udp_tx_add(&tx, &there, 0, data + 5000, 100, NULL));
	assert_true(udp_tx_add(&tx, &there, 0, data + 5100, 99, NULL));
	assert_int_equal(tx.n_msgs, 1);
	assert_int_equal(tx.msgs[0].n_segments, 5);
	assert_int_equal(tx.msgs[0].n_iov, 2);
	assert_int_equal(tx.msgs[0].len, 499);
	assert_int_equal(tx.msgs[0].segment_size, 100);
	assert_true(tx.msgs[0].is_closed);
	assert_true(ADD(99));
	assert_int_equal(tx.n_msgs, 2);
	assert_true(ADD(100));
	assert_int_equal(tx.n_msgs, 3);

	/* Another endpoint, source, ds or user is another message. */
	udp_tx_reset(&tx);
	from_there = there;
	set_src(&from_there, "127.0.0.9");
	assert_true(ADD(100));
	assert_true(udp_tx_add(&tx, &elsewhere, 0, data, 100, NULL));
	assert_true(udp_tx_add(&tx, &there, 0, data, 100, NULL));
	assert_true(udp_tx_add(&tx, &from_there, 0, data, 100, NULL));
	assert_true(udp_tx_add(&tx, &from_there, 1, data, 100, NULL));
	assert_true(udp_tx_add(&tx, &from_there, 1, data, 100, &user));
	assert_int_equal(tx.n_msgs, 6);
	assert_ptr_equal(tx.msgs[5].user, &user);

	/* Limits: datagrams, bytes, messages. */
	udp_tx_reset(&tx);
	for (unsigned int i = 0; i < UDP_TX_MAX_SEGMENTS; i++)
		assert_true(ADD(10));
	assert_int_equal(tx.n_msgs, 1);
	assert_true(ADD(10));
	assert_int_equal(tx.n_msgs, 2);
	udp_tx_reset(&tx);
	assert_true(ADD(UDP_TX_MAX_BYTES / 2));
	assert_true(ADD(UDP_TX_MAX_BYTES / 2));
	assert_int_equal(tx.n_msgs, 1);
	assert_true(ADD(1));
	assert_int_equal(tx.n_msgs, 2);
	udp_tx_reset(&tx);
	for (unsigned int i = 0; i < UDP_TX_MSGS; i++)
		assert_true(ADD(10 + i));
	assert_false(ADD(1000));
	assert_true(ADD(10 + UDP_TX_MSGS - 1));
	udp_tx_deinit(&tx);
}

/* ------ Through the loopback device ------ */

/* A run of datagrams in one flush, and all of them back again. */
static void round_trip(struct fixture *f, bool is_v6, uint32_t number, const uint32_t *lens, unsigned int n, uint8_t ds)
{
	static uint8_t data[4 << 20];
	struct endpoint there = to(is_v6 ? "::1" : "127.0.0.1", f->b.port);
	size_t at = 0;

	for (unsigned int i = 0; i < n; i++) {
		assert_true(at + lens[i] <= sizeof(data));
		pattern(data + at, lens[i], number + i);
		assert_true(udp_tx_add(&f->tx, &there, ds, data + at, lens[i], NULL));
		/* Gaps make iovecs. */
		at += lens[i] + (rnd() % 8 ? 0 : 3);
	}
	assert_int_equal(udp_tx_flush(&f->a, &f->tx), n);
	for (unsigned int i = 0; i < f->tx.n_msgs; i++) {
		assert_int_equal(f->tx.msgs[i].error, 0);
		assert_false(f->tx.msgs[i].src_refused);
	}
	udp_tx_reset(&f->tx);
	for (unsigned int i = 0; i < n; i++)
		expect(f, is_v6, number + i, lens[i], ds);
	assert_nothing_waits(f, is_v6);
}

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

/* GSO and GRO are what makes it fast: 40 datagrams are one call here and one message there. */
static void test_segments_travel_together(void **state)
{
	struct fixture *f = *state;
	static uint8_t data[40 * 1452];

	REQUIRE_NETNS();
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		struct endpoint there = to(is_v6 ? "::1" : "127.0.0.1", f->b.port);
		struct udp_rx_msg *msg;

		PLAN(0);
		for (unsigned int i = 0; i < 40; i++)
			assert_true(udp_tx_add(&f->tx, &there, 0, data + 1452 * i, 1452 - 52 * (i == 39), NULL));
		assert_int_equal(udp_tx_flush(&f->a, &f->tx), 40);
		assert_int_equal(n_calls, 1);
		assert_int_equal(f->tx.n_msgs, 1);
		udp_tx_reset(&f->tx);
		msg = next_msg(f, is_v6);
		assert_non_null(msg);
		assert_int_equal(msg->len, 40 * 1452 - 52);
		assert_int_equal(msg->segment_size, 1452);
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

static void test_source_no_longer_local(void **state)
{
	struct fixture *f = *state;
	static uint8_t data[10000];

	REQUIRE_NETNS();
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		struct endpoint good = to(is_v6 ? "::1" : "127.0.0.1", f->b.port), gone = good, other = good;

		/* An address that was never there is refused as one that has been removed. */
		set_src(&gone, is_v6 ? "fd09::99" : "10.9.0.99");
		set_src(&other, is_v6 ? "::1" : "127.0.0.5");
		for (int gso = 0; gso < 2; gso++) {
			uint8_t *next = data;

			PLAN(0);
			pattern(data, 10, 1);
			pattern(data + 10, 500, 2);
			pattern(data + 510, 500, 3);
			pattern(data + 1010, 20, 4);
			pattern(data + 1030, 30, 5);
			assert_true(udp_tx_add(&f->tx, &other, 0, next, 10, NULL));
			assert_true(udp_tx_add(&f->tx, &gone, 0, next + 10, 500, NULL));
			assert_true(udp_tx_add(&f->tx, &gone, 0, next + 510, 500, NULL));
			assert_true(udp_tx_add(&f->tx, &gone, 0, next + 1010, 20, NULL));
			assert_true(udp_tx_add(&f->tx, &gone, 0, next + 1030, 30, NULL));
			assert_int_equal(f->tx.n_msgs, 3);
			f->a.gso4 = f->a.gso6 = gso;
			assert_int_equal(udp_tx_flush(&f->a, &f->tx), 5);
			assert_int_equal(f->a.gso4, gso);
			assert_int_equal(f->a.gso6, gso);
			assert_false(f->tx.msgs[0].src_refused);
			for (unsigned int i = 0; i < 3; i++) {
				assert_int_equal(f->tx.msgs[i].error, 0);
				assert_int_equal(f->tx.msgs[i].src_refused, i > 0);
			}
			/* One refusal in the burst, not one for each message. */
			assert_true(n_calls <= (gso ? 4 : 5));
			udp_tx_reset(&f->tx);
			expect(f, is_v6, 1, 10, 0);
			expect(f, is_v6, 2, 500, 0);
			expect(f, is_v6, 3, 500, 0);
			expect(f, is_v6, 4, 20, 0);
			expect(f, is_v6, 5, 30, 0);
			assert_nothing_waits(f, is_v6);
		}
	}
}

/* Segments above the MTU leave as fragments, one datagram at a time; the next message is tried by GSO again. */
static void test_segments_above_the_mtu(void **state)
{
	struct fixture *f = *state;
	uint32_t lens[20];

	REQUIRE_NETNS();
	run("ip link set lo mtu 1400");
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		for (unsigned int i = 0; i < 20; i++)
			lens[i] = 1420;
		PLAN(0);
		round_trip(f, is_v6, 0, lens, 20, 0);
		assert_true(n_calls > 1);
		assert_true(f->a.gso4 && f->a.gso6);
		for (unsigned int i = 0; i < 20; i++)
			lens[i] = 1300;
		PLAN(0);
		round_trip(f, is_v6, 0, lens, 20, 0);
		assert_int_equal(n_calls, f->tx.n_msgs + 1);
	}
	run("ip link set lo mtu 65536");
}

/* ------ Answers of the kernel that are hard to come by ------ */

static void test_partial_sends_lose_nothing(void **state)
{
	struct fixture *f = *state;
	uint32_t lens[60];

	REQUIRE_NETNS();
	for (unsigned int i = 0; i < 60; i++)
		lens[i] = 100 + i; /* each its own message */
	PLAN(-1, -3, EINTR, -7, -2, -1, -40);
	round_trip(f, false, 1000, lens, 60, 0);
	assert_int_equal(n_calls, 8);

	for (unsigned int i = 0; i < 60; i++)
		lens[i] = 100;
	f->a.gso4 = false;
	PLAN(-1, -3, -7, -2, -1, -40);
	round_trip(f, false, 2000, lens, 60, 0);
	assert_int_equal(n_calls, 7);
}

static void test_no_checksum_offload(void **state)
{
	struct fixture *f = *state;
	uint32_t lens[60];

	REQUIRE_NETNS();
	for (unsigned int i = 0; i < 60; i++)
		lens[i] = i < 30 ? 100 : 90;
	PLAN(EIO);
	round_trip(f, true, 0, lens, 60, 0);
	assert_true(f->a.gso4);
	assert_false(f->a.gso6);
	PLAN(0);
	round_trip(f, true, 0, lens, 60, 0);
	assert_false(f->a.gso6);
	assert_int_equal(n_calls, 2);
	round_trip(f, false, 0, lens, 60, 0);
	assert_true(f->a.gso4);
}

/* EIO or EMSGSIZE of a message that has a source as well: the source is innocent. */
static void test_source_is_not_blamed(void **state)
{
	struct fixture *f = *state;
	struct endpoint there = to("127.0.0.1", f->b.port);
	static uint8_t data[1000];

	REQUIRE_NETNS();
	set_src(&there, "127.0.0.5");
	for (int i = 0; i < 3; i++) {
		pattern(data, 500, 1);
		pattern(data + 500, 500, 2);
		assert_true(udp_tx_add(&f->tx, &there, 0, data, 500, NULL));
		assert_true(udp_tx_add(&f->tx, &there, 0, data + 500, 500, NULL));
		if (i == 0)
			PLAN(EMSGSIZE);
		else if (i == 1)
			PLAN(EINVAL, EINVAL); /* an older kernel's word for it, with the source and without */
		else
			PLAN(EIO);
		assert_int_equal(udp_tx_flush(&f->a, &f->tx), 2);
		assert_false(f->tx.msgs[0].src_refused);
		assert_int_equal(f->tx.msgs[0].error, 0);
		udp_tx_reset(&f->tx);
		expect(f, false, 1, 500, 0);
		expect(f, false, 2, 500, 0);
		assert_int_equal(f->a.gso4, i < 2);
	}
}

static void test_full_socket_buffer(void **state)
{
	struct fixture *f = *state;
	struct endpoint there = to("127.0.0.1", f->b.port);
	uint32_t lens[3] = { 10, 20, 30 };
	uint8_t data[100];
	uint64_t before;

	REQUIRE_NETNS();
	PLAN(EAGAIN, ENOBUFS, EAGAIN);
	round_trip(f, false, 0, lens, 3, 0);
	assert_int_equal(n_calls, 4);

	/* For good: an error for each, and the wait is the flush's, not each message's. */
	for (unsigned int i = 0; i < UDP_TX_MSGS; i++)
		assert_true(udp_tx_add(&f->tx, &there, 0, data, 10 + i, NULL));
	PLAN(ENOBUFS);
	plan_sticks = true;
	before = now_ns();
	assert_int_equal(udp_tx_flush(&f->a, &f->tx), 0);
	assert_true(now_ns() - before >= WAIT_MAX_NS);
	assert_true(n_calls < UDP_TX_MSGS + 10);
	for (unsigned int i = 0; i < UDP_TX_MSGS; i++)
		assert_int_equal(f->tx.msgs[i].error, -ENOBUFS);
	udp_tx_reset(&f->tx);
	assert_nothing_waits(f, false);
}

/* A message that cannot go does not hold up the others. */
static void test_errors_are_per_message(void **state)
{
	struct fixture *f = *state;
	struct endpoint there = to("127.0.0.1", f->b.port), nowhere = to("192.0.2.1", f->b.port);
	struct endpoint there6 = to("::1", f->b.port), nowhere6 = to("2001:db8::1", f->b.port), none = { 0 };
	uint8_t data[100];

	REQUIRE_NETNS();
	pattern(data, 100, 1);
	assert_true(udp_tx_add(&f->tx, &nowhere, 0, data, 100, NULL));
	assert_true(udp_tx_add(&f->tx, &nowhere, 0, data, 100, NULL));
	assert_true(udp_tx_add(&f->tx, &there, 0, data, 100, NULL));
	assert_true(udp_tx_add(&f->tx, &none, 0, data, 100, NULL));
	assert_true(udp_tx_add(&f->tx, &nowhere6, 0, data, 100, NULL));
	assert_true(udp_tx_add(&f->tx, &there6, 0, data, 100, NULL));
	set_src(&nowhere, "127.0.0.1"); /* which is not why */
	for (unsigned int i = 0; i < 3; i++)
		assert_true(udp_tx_add(&f->tx, &nowhere, 0, data, 100 - i / 2, NULL));
	assert_true(udp_tx_add(&f->tx, &nowhere, 0, data, 100, NULL));
	assert_int_equal(udp_tx_flush(&f->a, &f->tx), 2);
	assert_int_equal(f->tx.msgs[0].error, -ENETUNREACH);
	assert_int_equal(f->tx.msgs[1].error, 0);
	assert_int_equal(f->tx.msgs[2].error, -EAFNOSUPPORT);
	assert_int_equal(f->tx.msgs[3].error, -ENETUNREACH);
	assert_int_equal(f->tx.msgs[4].error, 0);
	for (unsigned int i = 5; i < 7; i++) {
		assert_int_equal(f->tx.msgs[i].error, -ENETUNREACH);
		assert_false(f->tx.msgs[i].src_refused);
	}
	assert_true(f->a.gso4 && f->a.gso6);
	udp_tx_reset(&f->tx);
	expect(f, false, 1, 100, 0);
	expect(f, true, 1, 100, 0);
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
	port = 0;
	assert_int_equal(udp_sock_open_group(&sock, 1, &port, 0), 0);
	assert_int_equal(port, 40004);
	/* None left: an error after a bounded number of tries. */
	port = 0;
	assert_int_equal(udp_sock_open_group(&taken[3], 1, &port, 0), -EADDRINUSE);
	run("echo 32768 60999 > /proc/sys/net/ipv4/ip_local_port_range");
	for (unsigned int i = 0; i < 4; i++)
		udp_sock_close(&taken[i]);
	udp_sock_close(&sock);
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

#define with_fixture(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gather),
		with_fixture(test_every_length),
		with_fixture(test_many_datagrams),
		with_fixture(test_segments_travel_together),
		with_fixture(test_ds),
		with_fixture(test_reply_comes_from_where_it_was_sent_to),
		with_fixture(test_scope),
		with_fixture(test_source_no_longer_local),
		with_fixture(test_segments_above_the_mtu),
		with_fixture(test_partial_sends_lose_nothing),
		with_fixture(test_no_checksum_offload),
		with_fixture(test_source_is_not_blamed),
		with_fixture(test_full_socket_buffer),
		with_fixture(test_errors_are_per_message),
		with_fixture(test_truncation_is_told),
		with_fixture(test_families_alternate),
		with_fixture(test_errors_of_receiving),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_port_in_use),
		cmocka_unit_test(test_any_port),
		with_fixture(test_group_distributes),
	};

	return cmocka_run_group_tests(tests, enter_netns, NULL);
}
