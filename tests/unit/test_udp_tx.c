// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#define _GNU_SOURCE /* unshare, sendmmsg */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/socket.h>
#include <time.h>

#include "udp_loopback.h"

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

/* Time passes only by waiting. */
static uint64_t clock_ns = 1;

static int fake_poll(struct pollfd *pollfds, nfds_t n, int timeout_ms)
{
	(void)pollfds;
	clock_ns += n ? 1000 : (uint64_t)timeout_ms * 1000000;
	return (int)n;
}

static int fake_clock_gettime(clockid_t clock, struct timespec *ts)
{
	assert_int_equal(clock, CLOCK_MONOTONIC);
	ts->tv_sec = (time_t)(clock_ns / 1000000000);
	ts->tv_nsec = (long)(clock_ns % 1000000000);
	return 0;
}

#define sendmmsg fake_sendmmsg
#define poll fake_poll
#define clock_gettime fake_clock_gettime
#include "../../user/udp_tx.c"
#undef sendmmsg
#undef poll
#undef clock_gettime

static void plan_answers(unsigned int n, const int *answers)
{
	if (n)
		memcpy(plan, answers, n * sizeof(*plan));
	n_plan = n;
	plan_at = n_calls = 0;
	plan_sticks = false;
}

#define PLAN(...) plan_answers(sizeof((int[]){ __VA_ARGS__ }) / sizeof(int), (int[]){ __VA_ARGS__ })

static int setup_plan(void **state)
{
	PLAN(0);
	return setup(state);
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

/* ------ Answers of the kernel that are easy to come by ------ */

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

/* ------ Answers that are hard to come by ------ */

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
	before = clock_ns;
	assert_int_equal(udp_tx_flush(&f->a, &f->tx), 0);
	assert_true(clock_ns - before >= WAIT_MAX_NS);
	assert_true(clock_ns - before <= WAIT_MAX_NS + 1000000);
	assert_int_equal(n_calls, UDP_TX_MSGS + 5);
	for (unsigned int i = 0; i < UDP_TX_MSGS; i++)
		assert_int_equal(f->tx.msgs[i].error, -ENOBUFS);
	udp_tx_reset(&f->tx);
	assert_nothing_waits(f, false);
}

/* The same within a message, where segmentation is off; and a source is not blamed for the lack of a route. */
static void test_errors_are_per_datagram(void **state)
{
	struct fixture *f = *state;
	struct endpoint there = to("127.0.0.1", f->b.port), nowhere = to("192.0.2.1", f->b.port);
	static uint8_t data[4 * 100];

	REQUIRE_NETNS();
	f->a.gso4 = false;
	for (unsigned int i = 0; i < 4; i++) {
		pattern(data + 100 * i, 100, i);
		assert_true(udp_tx_add(&f->tx, &there, 0, data + 100 * i, 100, NULL));
	}
	PLAN(-1, EPERM);
	assert_int_equal(udp_tx_flush(&f->a, &f->tx), 3);
	assert_int_equal(f->tx.msgs[0].error, 0);
	udp_tx_reset(&f->tx);
	for (unsigned int i = 0; i < 4; i++)
		if (i != 1)
			expect(f, false, i, 100, 0);
	assert_nothing_waits(f, false);

	set_src(&nowhere, "127.0.0.1");
	for (unsigned int i = 0; i < 4; i++)
		assert_true(udp_tx_add(&f->tx, &nowhere, 0, data, 100, NULL));
	assert_int_equal(udp_tx_flush(&f->a, &f->tx), 0);
	assert_int_equal(f->tx.msgs[0].error, -ENETUNREACH);
	assert_false(f->tx.msgs[0].src_refused);
	udp_tx_reset(&f->tx);
}

#define with_plan(test) cmocka_unit_test_setup_teardown(test, setup_plan, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gather),
		with_plan(test_segments_travel_together),
		with_plan(test_source_no_longer_local),
		with_plan(test_segments_above_the_mtu),
		with_plan(test_errors_are_per_message),
		with_plan(test_partial_sends_lose_nothing),
		with_plan(test_no_checksum_offload),
		with_plan(test_source_is_not_blamed),
		with_plan(test_full_socket_buffer),
		with_plan(test_errors_are_per_datagram),
	};

	return cmocka_run_group_tests(tests, enter_netns, NULL);
}
