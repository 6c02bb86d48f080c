/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The agent's requests as they travel, and the monitor's side of them.
 *
 * One request, one answer, one datagram each, of fixed size. The agent may be in the hands of an attacker: nothing here
 * trusts what it sends, waits for it, or gives it more than a UDP port of its choice.
 */
#ifndef WG_XDP_PRIVILEGED_OPS_H
#define WG_XDP_PRIVILEGED_OPS_H

#include <stdbool.h>
#include <stdint.h>

#include "privileged.h"

enum privileged_op {
	PRIVILEGED_OPEN_SOCKETS = 1,
	PRIVILEGED_CLOSE_SOCKETS,
	PRIVILEGED_SET_FWMARK,
	PRIVILEGED_TUN_NETLINK,
};

/* The one message without an answer: a single byte. */
#define PRIVILEGED_READY 'R'

struct privileged_request {
	uint32_t op;
	uint32_t n;      /* OPEN_SOCKETS */
	uint32_t fwmark; /* OPEN_SOCKETS, SET_FWMARK */
	uint32_t port;   /* OPEN_SOCKETS */
};

/*
 * Comes with as many file descriptors as fd4_mask and fd6_mask have bits (bit i: pair i has a socket of that family;
 * IPv4 before IPv6), or with one for TUN_NETLINK.
 */
struct privileged_answer {
	uint64_t fd4_mask, fd6_mask;
	int32_t error; /* 0 or -errno */
	uint32_t port;
	int32_t ifindex;
	uint32_t is_elsewhere; /* TUN_NETLINK: in a namespace that is not the monitor's */
};

_Static_assert(sizeof(struct privileged_request) == 16, "no padding");
_Static_assert(sizeof(struct privileged_answer) == 32, "no padding");
_Static_assert(PRIVILEGED_MAX_WORKERS <= 64, "a bit for each pair");

#define PRIVILEGED_MAX_FDS (2 * PRIVILEGED_MAX_WORKERS)

struct privileged_ops {
	int tun_fd;   /* the monitor's */
	int netns_fd; /* the monitor's network namespace */
	/* The group the agent has, kept so that its port stays silent when it dies. */
	struct udp_sock socks[PRIVILEGED_MAX_WORKERS];
	unsigned int n_socks;
	uint16_t port;
	bool is_inherited; /* opened for an agent that is dead */
};

int privileged_ops_init(struct privileged_ops *ops, int tun_fd);
void privileged_ops_deinit(struct privileged_ops *ops);

/*
 * Takes one message from fd and answers it. *is_ready is set when it is PRIVILEGED_READY. Returns 0; -EAGAIN when none
 * waits; -EPIPE when the agent has closed its end; other -errno when the answer could not be sent, of them -ENOBUFS
 * when the agent does not take its answers.
 */
int privileged_ops_serve(struct privileged_ops *ops, int fd, bool *is_ready);
/* Called after the agent has died: its successor inherits the group. */
void privileged_ops_agent_died(struct privileged_ops *ops);

#endif
