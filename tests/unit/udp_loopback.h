/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* For tests of UDP: a sender and a receiver on the loopback device, and datagrams that know their number. */
#ifndef WG_XDP_UDP_LOOPBACK_H
#define WG_XDP_UDP_LOOPBACK_H

#include <arpa/inet.h>
#include <poll.h>

#include "own_netns.h"
#include "udp_sock.h"

static uint64_t seed = 0x9e3779b97f4a7c15;

static uint32_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 16);
}

struct fixture {
	struct udp_sock a, b; /* a sends to b */
	struct udp_tx tx;
	struct udp_rx *rx;
	struct udp_rx_msg *msgs; /* received and not yet looked at */
	int n_msgs, at_msg;
	uint32_t at_byte;
};

__attribute__((unused)) static int setup(void **state)
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
	return 0;
}

__attribute__((unused)) static int teardown(void **state)
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

__attribute__((unused)) static void set_src(struct endpoint *endpoint, const char *addr)
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

__attribute__((unused)) static void assert_nothing_waits(struct fixture *f, bool is_v6)
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

#define with_fixture(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

#endif
