/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Everything that needs a capability, in one place: the monitor's side does it, the agent's side asks for it.
 *
 * The two processes share a SOCK_SEQPACKET pair; file descriptors come by SCM_RIGHTS. The monitor trusts nothing the
 * agent says beyond these operations; the agent holds keys and no capability.
 */
#ifndef WG_XDP_PRIVILEGED_H
#define WG_XDP_PRIVILEGED_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "tun.h"
#include "udp_sock.h"

#define PRIVILEGED_MAX_WORKERS 64

/* What an agent is born with. All fds are owned by the agent. */
struct privileged_start {
	char tunnel[IFNAMSIZ];
	unsigned int n_workers;
	int tun_fds[PRIVILEGED_MAX_WORKERS];
	struct tun_features tun_features;
	int uapi_fd;    /* listening */
	int monitor_fd; /* for the requests below; end of file: the monitor is gone */
	int state_fd;   /* memfd that outlives the agent: configuration for its successor. The monitor never reads it. */
	bool is_restart; /* state_fd has been written by a predecessor */
};

/* ------ The agent's requests. Each returns 0 or -errno, and waits for the answer. ------ */

/*
 * Opens (or, for the same port and number, gives again) a group of n socket pairs. The monitor keeps duplicates, so that
 * a dead agent's port answers nobody. *port: 0 for any (an agent's first such request gets the port of its predecessor,
 * if that had one); gets the port. On failure a group that is open stays, unless it has the same port.
 */
int privileged_open_sockets(int monitor_fd, struct udp_sock *socks, unsigned int n, uint16_t *port, uint32_t fwmark);
/* The interface went down: the monitor drops its duplicates. */
int privileged_close_sockets(int monitor_fd);
/* Sets the mark on the open group. */
int privileged_set_fwmark(int monitor_fd, uint32_t fwmark);
/* Tells the monitor, once, that the tunnel can be used: a start in the background waits for it. No answer. */
int privileged_ready(int monitor_fd);
/*
 * A NETLINK_ROUTE socket in the namespace where the tunnel device now is, and its ifindex there; -ENODEV: it is gone.
 * As long as the socket is open, it keeps that namespace alive: when it is elsewhere, not the agent's own, close it
 * soon.
 */
int privileged_tun_netlink(int monitor_fd, int *fd, int *ifindex, bool *is_elsewhere);

/*
 * Gives up every privilege for good: user wg-xdp (else nobody), no groups, no capabilities, no_new_privs, not dumpable,
 * no core, seccomp allow-list (sandbox.h says what it implies). Call before threads start; locked memory stays
 * allowed. Returns 0 or -errno.
 */
int privileged_drop(void);

#endif
