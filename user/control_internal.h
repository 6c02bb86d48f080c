/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the parts of the control thread share: control.c (threads, loop), control_link.c, control_config.c. */
#ifndef WG_XDP_CONTROL_INTERNAL_H
#define WG_XDP_CONTROL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "control.h"
#include "device.h"
#include "handshake.h"
#include "netlink.h"
#include "privileged.h"
#include "uapi.h"
#include "worker.h"

struct control {
	struct privileged_start *start;
	struct device device;
	struct aead_choice aead;
	struct worker worker; /* for what control itself sends */
	struct worker_thread *threads[PRIVILEGED_MAX_WORKERS];
	struct handshake_queue *handshakes;
	pthread_t handshake_thread;
	bool has_handshake_thread;
	struct worker handshake_worker;
	struct uapi_server *uapi;
	struct netlink_watch *link; /* NULL while the device is in another namespace: then it is looked at, not followed */
	struct netlink_device_state link_state;
	struct netlink_underlay *underlay;
	int epoll_fd, timer_fd, wake_fd, handshake_fd, signal_fd;
	uint64_t timer_set_ns; /* what timer_fd is set to */
	uint64_t housekeeping_ns; /* when it is due; TIMERS_NEVER: nothing to do */
	int link_error; /* why the interface is up without sockets; said once */
	bool state_is_dirty, state_second_half;
	uint64_t next_save_ns; /* not sooner, however much there is to save */
	atomic_bool done;
	int exit_code;
};

/* What the epoll event of the followed device carries. */
extern char control_event_link;

/* In about a second, what need not happen at once. */
void control_want_housekeeping(struct control *control);

/* ------ control_link.c ------ */

/* Opens a group on *port (0: any), one pair for each worker. Returns 0 or -errno, with nothing open. */
int control_open_sockets(struct control *control, struct worker_sockets *sockets[], uint16_t *port, uint32_t fwmark);
/* Gives each worker its pair, or none (NULL); the old ones are closed once nobody uses them. */
void control_swap_sockets(struct control *control, struct worker_sockets *sockets[]);
/* Closes and frees pairs that no worker has. */
void control_free_sockets(struct control *control, struct worker_sockets *sockets[]);
/* Finds the device in the namespace where it is now, and reads its state; ends the agent when it is gone. */
void control_follow_device(struct control *control);
/* Reads the link's state, and takes the device up or down with it. */
void control_update_link(struct control *control);
/* Routes or addresses of the underlay have changed: forgets sources that the kernel would not use any more. */
void control_check_sources(struct control *control);

/* ------ control_config.c ------ */

/* For a successor. */
void control_save_state(struct control *control);
/* From a predecessor: all but its sessions. */
void control_restore_state(struct control *control);

#endif
