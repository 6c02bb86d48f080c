/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* For tests of NETLINK_ROUTE sockets that somebody else has opened: which namespace do they look into? */
#ifndef WG_XDP_LINK_NAME_H
#define WG_XDP_LINK_NAME_H

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

/* Asks through fd which device has that index; the name goes to name. */
static void link_name(int fd, int ifindex, char name[static IFNAMSIZ])
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg info;
	} request = {
		.header = { .nlmsg_len = sizeof(request), .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST },
		.info = { .ifi_index = ifindex },
	};
	_Alignas(struct nlmsghdr) char answer[16384];
	const struct nlmsghdr *header = (const void *)answer;
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	struct rtattr *attr;
	int len;

	assert_int_equal(send(fd, &request, sizeof(request), 0), sizeof(request));
	assert_int_equal(poll(&pollfd, 1, 5000), 1);
	assert_true(recv(fd, answer, sizeof(answer), 0) > 0);
	assert_int_equal(header->nlmsg_type, RTM_NEWLINK);
	len = (int)header->nlmsg_len - (int)NLMSG_LENGTH(sizeof(struct ifinfomsg));
	for (attr = IFLA_RTA(NLMSG_DATA(header)); RTA_OK(attr, len); attr = RTA_NEXT(attr, len))
		if (attr->rta_type == IFLA_IFNAME)
			snprintf(name, IFNAMSIZ, "%s", (const char *)RTA_DATA(attr));
}

#endif
