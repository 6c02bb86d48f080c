// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The link: sockets are open exactly while the interface is up, in the namespace where the agent was started, wherever the
 * interface has gone.
 */
#include "control_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "log.h"
#include "rcu.h"

char control_event_link;

/* ------ Sockets ------ */

void control_free_sockets(struct control *control, struct worker_sockets *sockets[])
{
	for (unsigned int i = 0; i < control->start->n_workers; i++) {
		if (sockets[i])
			udp_sock_close(&sockets[i]->sock);
		free(sockets[i]);
	}
}

/* Gives each worker its pair, or none; the old ones are closed once nobody uses them. */
void control_swap_sockets(struct control *control, struct worker_sockets *sockets[])
{
	struct worker_sockets *old[PRIVILEGED_MAX_WORKERS] = { 0 };

	for (unsigned int i = 0; i < control->start->n_workers; i++) {
		int error = worker_thread_set_sockets(control->threads[i], sockets ? sockets[i] : NULL, &old[i]);

		if (!error)
			continue;
		log_error("worker %u cannot use its new sockets: %s", i, strerror(-error));
		if (sockets)
			old[i] = sockets[i];
	}
	rcu_wait();
	control_free_sockets(control, old);
}

int control_open_sockets(struct control *control, struct worker_sockets *sockets[], uint16_t *port, uint32_t fwmark)
{
	struct udp_sock group[PRIVILEGED_MAX_WORKERS];
	unsigned int n = control->start->n_workers;
	int error;

	error = privileged_open_sockets(control->start->monitor_fd, group, n, port, fwmark);
	if (error)
		return error;
	for (unsigned int i = 0; i < n; i++) {
		sockets[i] = calloc(1, sizeof(*sockets[i]));
		if (!sockets[i])
			error = -ENOMEM;
		else
			sockets[i]->sock = group[i];
	}
	if (error) {
		for (unsigned int i = 0; i < n; i++)
			if (!sockets[i])
				udp_sock_close(&group[i]);
		control_free_sockets(control, sockets);
	}
	return error;
}

/* ------ Link state ------ */

static void link_up(struct control *control)
{
	struct worker_sockets *sockets[PRIVILEGED_MAX_WORKERS] = { 0 };
	struct device *device = &control->device;
	uint16_t port = device->listen_port;
	int error;

	error = control_open_sockets(control, sockets, &port, device->fwmark);
	if (error) {
		if (error != control->link_error)
			log_error("interface is up, but UDP port %u cannot be opened (%s): "
				  "free the port or set another listen-port; trying again", port, strerror(-error));
		control->link_error = error;
		control_want_housekeeping(control);
		return;
	}
	control->link_error = 0;
	control_swap_sockets(control, sockets);
	device_lock(device);
	device->listen_port = port;
	device_up(device);
	device_unlock(device);
	log_verbose("interface up, listening on port %u", port);
}

static void link_down(struct control *control)
{
	struct device *device = &control->device;

	device_lock(device);
	device_down(device, worker_now_ns());
	device_unlock(device);
	control_swap_sockets(control, NULL);
	privileged_close_sockets(control->start->monitor_fd);
	/* Asked while it is down, the kernel wakes us when it comes up. */
	tun_is_up(control->start->tun_fds[0]);
	log_verbose("interface down");
}

/*
 * In our own namespace events tell of changes. Elsewhere a socket that listens for them would keep a namespace alive that
 * somebody has deleted, and with it the device: there it is read once a second, and when the device comes up.
 */
void control_follow_device(struct control *control)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = &control_event_link };
	int fd, ifindex, error;
	bool is_elsewhere;

	netlink_watch_free(control->link);
	control->link = NULL;
	error = privileged_tun_netlink(control->start->monitor_fd, &fd, &ifindex, &is_elsewhere);
	if (error == -ENODEV) {
		atomic_store(&control->done, true);
		return;
	}
	if (!error)
		control->link = netlink_watch_create(fd, ifindex, &error);
	if (!control->link) {
		log_error("cannot read the state of the interface: %s", strerror(-error));
		return;
	}
	control->link_state = *netlink_watch_state(control->link);
	if (is_elsewhere) {
		netlink_watch_free(control->link);
		control->link = NULL;
		control_want_housekeeping(control);
		return;
	}
	epoll_ctl(control->epoll_fd, EPOLL_CTL_ADD, netlink_watch_fd(control->link), &event);
}

void control_update_link(struct control *control)
{
	const struct netlink_device_state *state = &control->link_state;

	if (control->link && netlink_watch_update(control->link))
		control->link_state = *netlink_watch_state(control->link);
	if (!control->link || !state->exists)
		control_follow_device(control);
	atomic_store(&control->device.mtu, state->mtu);
	atomic_store(&control->device.route_mtu, state->route_mtu);
	if (state->is_up && !control->device.is_up)
		link_up(control);
	else if (!state->is_up && control->device.is_up)
		link_down(control);
}

/* Routes or addresses have changed: forget sources the kernel would not use any more. */
void control_check_sources(struct control *control)
{
	struct device *device = &control->device;

	device_lock(device);
	for (struct peer *peer = device->first_peer; peer; peer = peer->list_next) {
		struct endpoint endpoint;

		peer_lock(peer);
		endpoint = peer->endpoint;
		peer_unlock(peer);
		if (!endpoint_has_src(&endpoint) ||
		    netlink_underlay_src_is_valid(control->underlay, &endpoint, device->fwmark))
			continue;
		peer_lock(peer);
		if (endpoint_equal(&peer->endpoint, &endpoint))
			endpoint_clear_src(&peer->endpoint);
		peer_unlock(peer);
	}
	device_unlock(device);
}
