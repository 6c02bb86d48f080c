/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The monitor: the small root process that holds the tunnel device, the UAPI socket and the UDP ports, starts the agent
 * and starts it again when it dies. It never holds a key or a packet.
 */
#ifndef WG_XDP_MONITOR_H
#define WG_XDP_MONITOR_H

#include <stdbool.h>

struct privileged_start;

struct monitor_options {
	const char *tunnel;
	bool foreground;
	bool keep_output; /* in the background: stdout and stderr stay open, for a log */
	unsigned int n_workers;
	int tun_fd, uapi_fd; /* WG_TUN_FD, WG_UAPI_FD; -1: make them */
	/*
	 * The agent's body, run in the child after the fork and before privileges are dropped. Its value is the exit code.
	 * It finds SIGTERM (the monitor's word to end) at its default, and SIGINT, SIGHUP and SIGPIPE ignored.
	 */
	int (*agent_main)(struct privileged_start *start);
};

/* Exit codes of the agent that tell the monitor what to do. */
enum agent_exit {
	AGENT_EXIT_DONE = 0,   /* told to end, or the device is gone: do not start again */
	AGENT_EXIT_SETUP = 10, /* could not start at all: starting again would not help */
};

/*
 * Any other end of the agent is a crash: it is started again, at once or, when it keeps dying, after a while. So is an
 * AGENT_EXIT_SETUP of a tunnel that has run before: its device must not go, or its packets would leave in cleartext.
 */

/*
 * Runs until the tunnel ends. Without foreground it detaches, and the calling process returns when device and socket
 * exist. Returns an exit code for main(): 0, or 1 after saying on stderr what was wrong.
 */
int monitor_run(const struct monitor_options *options);

/* The UAPI socket of a tunnel. */
#define UAPI_DIRECTORY "/var/run/wireguard"

#endif
