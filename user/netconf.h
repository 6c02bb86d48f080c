/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Changing the network by rtnetlink: links, addresses, routes and rules, in one network namespace per handle.
 *
 * For the command line, which is root; the agent only watches (netlink.h). Each call is one request and its answer, and
 * returns 0 or the kernel's -errno unless said otherwise.
 */
#ifndef WG_XDP_NETCONF_H
#define WG_XDP_NETCONF_H

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct netconf;

/* netns_fd: the namespace to work in, -1 for the caller's; it is not kept. NULL: *error gets -errno. */
struct netconf *netconf_open(int netns_fd, int *error);
void netconf_free(struct netconf *netconf);

/* ------ links ------ */

struct netconf_link {
	int ifindex;
	char name[IFNAMSIZ];
	char kind[16]; /* "tun", "veth", "wireguard"; empty for hardware */
	uint32_t mtu;
	bool is_up; /* administratively */
};

/* -ENODEV: there is none. */
int netconf_link_find(struct netconf *netconf, const char *name, struct netconf_link *link);
int netconf_link_find_index(struct netconf *netconf, int ifindex, struct netconf_link *link);
int netconf_link_set_up(struct netconf *netconf, int ifindex, bool up);
int netconf_link_set_mtu(struct netconf *netconf, int ifindex, uint32_t mtu);
/* Takes its addresses and routes away, as the kernel does. The ifindex may be another one there. */
int netconf_link_move(struct netconf *netconf, int ifindex, int netns_fd);
int netconf_link_delete(struct netconf *netconf, int ifindex);

/* ------ addresses and prefixes ------ */

struct netconf_prefix {
	sa_family_t family; /* AF_INET, AF_INET6 */
	uint8_t cidr;
	uint8_t addr[16]; /* 4 or 16 bytes */
};

#define NETCONF_PREFIX_TEXT_SIZE (INET6_ADDRSTRLEN + 5)
/* "192.0.2.1/24"; without "/" it is a host's. False when the text is not one. Host bits stay. */
bool netconf_prefix_parse(struct netconf_prefix *prefix, const char *text);
void netconf_prefix_format(char out[static NETCONF_PREFIX_TEXT_SIZE], const struct netconf_prefix *prefix);
/* Is every address of inner in outer? */
bool netconf_prefix_covers(const struct netconf_prefix *outer, const struct netconf_prefix *inner);

int netconf_address_add(struct netconf *netconf, int ifindex, const struct netconf_prefix *address);
/* The device's addresses with their prefix lengths, IPv6 link-local ones of the kernel's own making left out. *n is the
 * room and gets the number there are. */
int netconf_address_list(struct netconf *netconf, int ifindex, struct netconf_prefix *addresses, size_t *n);

/* ------ routes ------ */

/* Through the device, without a gateway. -EEXIST: the table has one for this prefix. */
int netconf_route_add(struct netconf *netconf, const struct netconf_prefix *dst, int ifindex, uint32_t table);
/* The prefixes that a table (0: any) routes through the device. *n is the room and gets the number there are. */
int netconf_route_list(struct netconf *netconf, int ifindex, uint32_t table, struct netconf_prefix *prefixes,
		       size_t *n);
/* *count gets the number of routes in a table, of both families. */
int netconf_table_count(struct netconf *netconf, uint32_t table, size_t *count);

struct netconf_path {
	int ifindex;
	uint32_t mtu;		   /* the route's metric, else the device's */
	struct netconf_prefix src; /* the source the kernel would take */
};

/* Where would a packet to dst go? -ENETUNREACH: nowhere. */
int netconf_route_get(struct netconf *netconf, const struct sockaddr *dst, uint32_t fwmark, struct netconf_path *path);
/* The same for the main table's default route, either family. */
int netconf_default_route(struct netconf *netconf, struct netconf_path *path);

/* ------ rules ------ */

struct netconf_rule {
	sa_family_t family;
	uint32_t priority; /* 0 on add: in front of all others but the local table's, and gets the one taken */
	uint32_t table;
	uint32_t fwmark;       /* 0: none */
	bool invert;	       /* "not" */
	bool suppress_default; /* "suppress_prefixlength 0" */
};

int netconf_rule_add(struct netconf *netconf, struct netconf_rule *rule);
/* Exactly this one, priority included. -ENOENT: there is none. */
int netconf_rule_delete(struct netconf *netconf, const struct netconf_rule *rule);
/* *n is the room and gets the number there are, in order of priority. */
int netconf_rule_list(struct netconf *netconf, sa_family_t family, struct netconf_rule *rules, size_t *n);

#endif
