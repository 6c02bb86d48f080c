/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One rtnetlink request and its answer: what netconf.c is made of. */
#ifndef WG_XDP_NETCONF_REQUEST_H
#define WG_XDP_NETCONF_REQUEST_H

#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct netconf;
struct nl_msg;

struct netconf_request {
	struct nl_msg *msg;
	bool failed; /* memory ran out while it was made */
};

/* Takes one message of an answer. */
typedef void netconf_parse(struct nlmsghdr *hdr, void *arg);

/* header is the family's own: struct ifinfomsg, rtmsg, ... */
void netconf_request_init(struct netconf_request *request, int type, int flags, void *header, size_t len);
void netconf_request_put(struct netconf_request *request, int type, const void *data, size_t len);
void netconf_request_put_u32(struct netconf_request *request, int type, uint32_t value);
/* Sends, waits for the answer, frees the request. Returns 0 or -errno. */
int netconf_request_run(struct netconf *netconf, struct netconf_request *request, netconf_parse *parse, void *arg);

/*
 * Reads a whole table. reset makes arg as it was before the first message: a dump that a change has cut through is
 * read again.
 */
int netconf_request_dump(struct netconf *netconf, int type, void *header, size_t len, netconf_parse *parse,
			 void (*reset)(void *arg), void *arg);

#endif
