/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the agent learns from rtnetlink (libnl-3): the tunnel device's state, MTU and routes, in whatever network
 * namespace it lives, and the underlay's routes.
 */
#ifndef WG_XDP_NETLINK_H
#define WG_XDP_NETLINK_H

#include <stdbool.h>
#include <stdint.h>

#include "endpoint.h"

/* Follows one device by events. */
struct netlink_watch;

struct netlink_device_state {
	bool exists; /* false: deleted, or moved to another namespace */
	bool is_up;
	uint32_t mtu;
	uint32_t route_mtu; /* least MTU metric among routes through the device; mtu if none has one */
};

/*
 * fd is an AF_NETLINK NETLINK_ROUTE socket in the device's namespace (privileged_tun_netlink()); it is owned from now on.
 * Reads the present state. NULL when memory is short or the kernel refuses; *error gets -errno.
 */
struct netlink_watch *netlink_watch_create(int fd, int ifindex, int *error);
void netlink_watch_free(struct netlink_watch *watch);
int netlink_watch_fd(const struct netlink_watch *watch);
/* Takes all waiting events; true when state has changed. A lost event (ENOBUFS) is made good by reading all again. */
bool netlink_watch_update(struct netlink_watch *watch);
const struct netlink_device_state *netlink_watch_state(const struct netlink_watch *watch);

/* Follows the underlay: addresses and routes of this process's namespace. */
struct netlink_underlay;
struct netlink_underlay *netlink_underlay_create(int *error);
void netlink_underlay_free(struct netlink_underlay *underlay);
int netlink_underlay_fd(const struct netlink_underlay *underlay);
/* Takes all waiting events; true when an address or route has changed: then cached sources should be checked. */
bool netlink_underlay_update(struct netlink_underlay *underlay);
/*
 * Would the kernel still send to endpoint from its source over the interface it came from (paper 2.1 and the kernel's
 * rule: for IPv4 the route's device must be src_if4; for IPv6 the address must still be local)? fwmark takes part in the
 * look-up. True also when endpoint has no source.
 */
bool netlink_underlay_src_is_valid(struct netlink_underlay *underlay, const struct endpoint *endpoint, uint32_t fwmark);

#endif
