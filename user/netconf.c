// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Links, addresses, routes and rules as rtnetlink has them. Every answer is filtered here, whatever was asked for. */
#include "netconf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netconf_request.h"

#define MAIN_RULE_PRIORITY 32766 /* what a first rule goes in front of */

/* ------ links ------ */

static void parse_link(struct nlmsghdr *hdr, void *arg)
{
	struct netconf_link *link = arg;
	const struct ifinfomsg *info = nlmsg_data(hdr);
	struct nlattr *tb[IFLA_MAX + 1], *kind;

	if (hdr->nlmsg_type != RTM_NEWLINK || nlmsg_parse(hdr, sizeof(*info), tb, IFLA_MAX, NULL))
		return;
	memset(link, 0, sizeof(*link));
	link->ifindex = info->ifi_index;
	link->is_up = info->ifi_flags & IFF_UP;
	if (tb[IFLA_IFNAME])
		nla_strlcpy(link->name, tb[IFLA_IFNAME], sizeof(link->name));
	if (tb[IFLA_MTU])
		link->mtu = nla_get_u32(tb[IFLA_MTU]);
	kind = tb[IFLA_LINKINFO] ? nla_find(nla_data(tb[IFLA_LINKINFO]), nla_len(tb[IFLA_LINKINFO]), IFLA_INFO_KIND)
				 : NULL;
	if (kind)
		nla_strlcpy(link->kind, kind, sizeof(link->kind));
}

static int find_link(struct netconf *netconf, int ifindex, const char *name, struct netconf_link *link)
{
	struct ifinfomsg info = { .ifi_family = AF_UNSPEC, .ifi_index = ifindex };
	struct netconf_request request;
	int ret;

	link->ifindex = 0;
	netconf_request_init(&request, RTM_GETLINK, NLM_F_REQUEST, &info, sizeof(info));
	if (name)
		netconf_request_put(&request, IFLA_IFNAME, name, strlen(name) + 1);
	ret = netconf_request_run(netconf, &request, parse_link, link);
	return ret ? ret : link->ifindex ? 0 : -ENODEV;
}

int netconf_link_find(struct netconf *netconf, const char *name, struct netconf_link *link)
{
	return *name && strlen(name) < IFNAMSIZ ? find_link(netconf, 0, name, link) : -ENODEV;
}

int netconf_link_find_index(struct netconf *netconf, int ifindex, struct netconf_link *link)
{
	return ifindex > 0 ? find_link(netconf, ifindex, NULL, link) : -ENODEV;
}

static int change_link(struct netconf *netconf, struct ifinfomsg *info, int type, uint32_t value)
{
	struct netconf_request request;

	netconf_request_init(&request, RTM_NEWLINK, NLM_F_REQUEST, info, sizeof(*info));
	if (type)
		netconf_request_put_u32(&request, type, value);
	return netconf_request_run(netconf, &request, NULL, NULL);
}

int netconf_link_set_up(struct netconf *netconf, int ifindex, bool up)
{
	struct ifinfomsg info = { .ifi_index = ifindex, .ifi_flags = up ? IFF_UP : 0, .ifi_change = IFF_UP };

	return change_link(netconf, &info, 0, 0);
}

int netconf_link_set_mtu(struct netconf *netconf, int ifindex, uint32_t mtu)
{
	struct ifinfomsg info = { .ifi_index = ifindex };

	return change_link(netconf, &info, IFLA_MTU, mtu);
}

int netconf_link_move(struct netconf *netconf, int ifindex, int netns_fd)
{
	struct ifinfomsg info = { .ifi_index = ifindex };

	return change_link(netconf, &info, IFLA_NET_NS_FD, (uint32_t)netns_fd);
}

int netconf_link_delete(struct netconf *netconf, int ifindex)
{
	struct ifinfomsg info = { .ifi_index = ifindex };
	struct netconf_request request;

	if (ifindex <= 0) /* the kernel would take it for "look at the attributes" */
		return -ENODEV;
	netconf_request_init(&request, RTM_DELLINK, NLM_F_REQUEST, &info, sizeof(info));
	return netconf_request_run(netconf, &request, NULL, NULL);
}

/* ------ addresses and prefixes ------ */

static uint8_t family_bits(sa_family_t family)
{
	return family == AF_INET ? 32 : 128;
}

bool netconf_prefix_parse(struct netconf_prefix *prefix, const char *text)
{
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	char addr[INET6_ADDRSTRLEN], *end;
	unsigned long cidr;

	if (len >= sizeof(addr))
		return false;
	memcpy(addr, text, len);
	addr[len] = '\0';
	memset(prefix, 0, sizeof(*prefix));
	prefix->family = strchr(addr, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(prefix->family, addr, prefix->addr) != 1)
		return false;
	prefix->cidr = family_bits(prefix->family);
	if (!slash)
		return true;
	cidr = strtoul(slash + 1, &end, 10);
	if (slash[1] < '0' || slash[1] > '9' || *end || end - slash > 4 || cidr > prefix->cidr)
		return false;
	prefix->cidr = (uint8_t)cidr;
	return true;
}

void netconf_prefix_format(char out[static NETCONF_PREFIX_TEXT_SIZE], const struct netconf_prefix *prefix)
{
	char addr[INET6_ADDRSTRLEN] = "?";

	inet_ntop(prefix->family, prefix->addr, addr, sizeof(addr));
	snprintf(out, NETCONF_PREFIX_TEXT_SIZE, "%s/%u", addr, prefix->cidr);
}

bool netconf_prefix_covers(const struct netconf_prefix *outer, const struct netconf_prefix *inner)
{
	unsigned int bytes = outer->cidr / 8, bits = outer->cidr % 8;

	if (outer->family != inner->family || outer->cidr > inner->cidr || memcmp(outer->addr, inner->addr, bytes))
		return false;
	return !bits || !((outer->addr[bytes] ^ inner->addr[bytes]) >> (8 - bits));
}

int netconf_address_add(struct netconf *netconf, int ifindex, const struct netconf_prefix *address)
{
	struct ifaddrmsg info = {
		.ifa_family = (uint8_t)address->family,
		.ifa_prefixlen = address->cidr,
		.ifa_index = (uint32_t)ifindex,
	};
	struct netconf_request request;

	netconf_request_init(&request, RTM_NEWADDR, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL, &info, sizeof(info));
	netconf_request_put(&request, IFA_LOCAL, address->addr, family_bits(address->family) / 8);
	netconf_request_put(&request, IFA_ADDRESS, address->addr, family_bits(address->family) / 8);
	return netconf_request_run(netconf, &request, NULL, NULL);
}

struct prefix_list {
	int ifindex;
	uint32_t table; /* 0: any */
	struct netconf_prefix *prefixes;
	size_t room, n;
};

static void prefix_list_reset(void *arg)
{
	struct prefix_list *list = arg;

	list->n = 0;
}

static void prefix_list_add(struct prefix_list *list, sa_family_t family, uint8_t cidr, const struct nlattr *addr)
{
	struct netconf_prefix prefix = { .family = family, .cidr = cidr };

	if (addr)
		nla_memcpy(prefix.addr, addr, sizeof(prefix.addr));
	if (list->n < list->room)
		list->prefixes[list->n] = prefix;
	list->n++;
}

static void parse_address(struct nlmsghdr *hdr, void *arg)
{
	struct prefix_list *list = arg;
	const struct ifaddrmsg *info = nlmsg_data(hdr);
	struct nlattr *tb[IFA_MAX + 1];
	uint32_t flags;

	if (hdr->nlmsg_type != RTM_NEWADDR || (int)info->ifa_index != list->ifindex ||
	    nlmsg_parse(hdr, sizeof(*info), tb, IFA_MAX, NULL))
		return;
	/* The kernel gives a device like ours, which has no hardware address, a link-local one by itself, so marked. */
	flags = tb[IFA_FLAGS] ? nla_get_u32(tb[IFA_FLAGS]) : info->ifa_flags;
	if (info->ifa_family == AF_INET6 && info->ifa_scope == RT_SCOPE_LINK && flags & IFA_F_STABLE_PRIVACY)
		return;
	prefix_list_add(list, info->ifa_family, info->ifa_prefixlen, tb[IFA_LOCAL] ? tb[IFA_LOCAL] : tb[IFA_ADDRESS]);
}

int netconf_address_list(struct netconf *netconf, int ifindex, struct netconf_prefix *addresses, size_t *n)
{
	struct prefix_list list = { .ifindex = ifindex, .prefixes = addresses, .room = *n };
	struct ifaddrmsg info = { .ifa_family = AF_UNSPEC };
	int ret = netconf_request_dump(netconf, RTM_GETADDR, &info, sizeof(info), parse_address, prefix_list_reset,
				       &list);

	*n = list.n;
	return ret;
}

/* ------ routes ------ */

int netconf_route_add(struct netconf *netconf, const struct netconf_prefix *dst, int ifindex, uint32_t table)
{
	struct rtmsg info = {
		.rtm_family = (uint8_t)dst->family,
		.rtm_dst_len = dst->cidr,
		.rtm_table = table > UINT8_MAX ? RT_TABLE_UNSPEC : (uint8_t)table,
		.rtm_protocol = RTPROT_BOOT,
		.rtm_scope = dst->family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
		.rtm_type = RTN_UNICAST,
	};
	struct netconf_request request;

	netconf_request_init(&request, RTM_NEWROUTE, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL, &info, sizeof(info));
	if (dst->cidr)
		netconf_request_put(&request, RTA_DST, dst->addr, family_bits(dst->family) / 8);
	netconf_request_put_u32(&request, RTA_OIF, (uint32_t)ifindex);
	netconf_request_put_u32(&request, RTA_TABLE, table);
	return netconf_request_run(netconf, &request, NULL, NULL);
}

static uint32_t route_table(const struct rtmsg *info, struct nlattr **tb)
{
	return tb[RTA_TABLE] ? nla_get_u32(tb[RTA_TABLE]) : info->rtm_table;
}

static void parse_route(struct nlmsghdr *hdr, void *arg)
{
	struct prefix_list *list = arg;
	const struct rtmsg *info = nlmsg_data(hdr);
	struct nlattr *tb[RTA_MAX + 1];

	/* A dump for AF_UNSPEC also has multicast routes; cached exceptions are no configuration. */
	if (hdr->nlmsg_type != RTM_NEWROUTE || (info->rtm_family != AF_INET && info->rtm_family != AF_INET6) ||
	    info->rtm_flags & RTM_F_CLONED || nlmsg_parse(hdr, sizeof(*info), tb, RTA_MAX, NULL))
		return;
	if (list->table && route_table(info, tb) != list->table)
		return;
	if (list->ifindex && (!tb[RTA_OIF] || (int)nla_get_u32(tb[RTA_OIF]) != list->ifindex))
		return;
	prefix_list_add(list, info->rtm_family, info->rtm_dst_len, tb[RTA_DST]);
}

static int list_routes(struct netconf *netconf, struct prefix_list *list)
{
	struct rtmsg info = { .rtm_family = AF_UNSPEC };

	return netconf_request_dump(netconf, RTM_GETROUTE, &info, sizeof(info), parse_route, prefix_list_reset, list);
}

int netconf_route_list(struct netconf *netconf, int ifindex, uint32_t table, struct netconf_prefix *prefixes, size_t *n)
{
	struct prefix_list list = { .ifindex = ifindex, .table = table, .prefixes = prefixes, .room = *n };
	int ret = list_routes(netconf, &list);

	*n = list.n;
	return ret;
}

int netconf_table_count(struct netconf *netconf, uint32_t table, size_t *count)
{
	struct prefix_list list = { .table = table };
	int ret = list_routes(netconf, &list);

	*count = list.n;
	return ret;
}

struct path_answer {
	struct netconf_path path; /* ifindex 0: none yet */
	bool default_only;
	uint32_t metric;
};

static void path_reset(void *arg)
{
	struct path_answer *answer = arg;

	memset(&answer->path, 0, sizeof(answer->path));
}

static void parse_path(struct nlmsghdr *hdr, void *arg)
{
	struct path_answer *answer = arg;
	struct netconf_path *path = &answer->path;
	const struct rtmsg *info = nlmsg_data(hdr);
	struct nlattr *tb[RTA_MAX + 1], *mtu;
	uint32_t metric;

	if (hdr->nlmsg_type != RTM_NEWROUTE || nlmsg_parse(hdr, sizeof(*info), tb, RTA_MAX, NULL) || !tb[RTA_OIF])
		return;
	metric = tb[RTA_PRIORITY] ? nla_get_u32(tb[RTA_PRIORITY]) : 0;
	if (answer->default_only &&
	    (info->rtm_dst_len || info->rtm_type != RTN_UNICAST || route_table(info, tb) != RT_TABLE_MAIN ||
	     (path->ifindex && metric >= answer->metric)))
		return;
	memset(path, 0, sizeof(*path));
	answer->metric = metric;
	path->ifindex = (int)nla_get_u32(tb[RTA_OIF]);
	if (tb[RTA_PREFSRC]) {
		path->src.family = info->rtm_family;
		path->src.cidr = family_bits(info->rtm_family);
		nla_memcpy(path->src.addr, tb[RTA_PREFSRC], sizeof(path->src.addr));
	}
	mtu = tb[RTA_METRICS] ? nla_find(nla_data(tb[RTA_METRICS]), nla_len(tb[RTA_METRICS]), RTAX_MTU) : NULL;
	if (mtu)
		path->mtu = nla_get_u32(mtu);
}

static int finish_path(struct netconf *netconf, struct path_answer *answer, struct netconf_path *path)
{
	struct netconf_link link;
	int ret;

	if (!answer->path.ifindex)
		return -ENETUNREACH;
	*path = answer->path;
	if (path->mtu)
		return 0;
	ret = netconf_link_find_index(netconf, path->ifindex, &link);
	path->mtu = ret ? 0 : link.mtu;
	return ret;
}

int netconf_route_get(struct netconf *netconf, const struct sockaddr *dst, uint32_t fwmark, struct netconf_path *path)
{
	const struct sockaddr_in *dst4 = (const void *)dst;
	const struct sockaddr_in6 *dst6 = (const void *)dst;
	struct rtmsg info = { .rtm_family = (uint8_t)dst->sa_family, .rtm_dst_len = family_bits(dst->sa_family) };
	struct path_answer answer = { .default_only = false };
	struct netconf_request request;
	int ret;

	netconf_request_init(&request, RTM_GETROUTE, NLM_F_REQUEST, &info, sizeof(info));
	if (dst->sa_family == AF_INET)
		netconf_request_put(&request, RTA_DST, &dst4->sin_addr, sizeof(dst4->sin_addr));
	else
		netconf_request_put(&request, RTA_DST, &dst6->sin6_addr, sizeof(dst6->sin6_addr));
	if (dst->sa_family == AF_INET6 && dst6->sin6_scope_id)
		netconf_request_put_u32(&request, RTA_OIF, dst6->sin6_scope_id);
	if (fwmark)
		netconf_request_put_u32(&request, RTA_MARK, fwmark);
	ret = netconf_request_run(netconf, &request, parse_path, &answer);
	return ret ? ret : finish_path(netconf, &answer, path);
}

int netconf_default_route(struct netconf *netconf, struct netconf_path *path)
{
	static const sa_family_t families[] = { AF_INET, AF_INET6 };
	int ret = -ENETUNREACH;

	for (size_t i = 0; i < 2 && ret; i++) {
		struct path_answer answer = { .default_only = true };
		struct rtmsg info = { .rtm_family = (uint8_t)families[i] };

		ret = netconf_request_dump(netconf, RTM_GETROUTE, &info, sizeof(info), parse_path, path_reset, &answer);
		if (!ret)
			ret = finish_path(netconf, &answer, path);
	}
	return ret;
}

/* ------ rules ------ */

struct rule_list {
	struct netconf_rule *rules;
	size_t room, n;
	uint32_t lowest; /* priority, the local table's 0 left out */
};

static void rule_list_reset(void *arg)
{
	struct rule_list *list = arg;

	list->n = 0;
	list->lowest = MAIN_RULE_PRIORITY;
}

static void parse_rule(struct nlmsghdr *hdr, void *arg)
{
	struct rule_list *list = arg;
	const struct fib_rule_hdr *info = nlmsg_data(hdr);
	struct nlattr *tb[FRA_MAX + 1];
	struct netconf_rule rule = { 0 };

	if (hdr->nlmsg_type != RTM_NEWRULE || nlmsg_parse(hdr, sizeof(*info), tb, FRA_MAX, NULL))
		return;
	rule.family = info->family;
	rule.priority = tb[FRA_PRIORITY] ? nla_get_u32(tb[FRA_PRIORITY]) : 0;
	rule.table = tb[FRA_TABLE] ? nla_get_u32(tb[FRA_TABLE]) : info->table;
	rule.fwmark = tb[FRA_FWMARK] ? nla_get_u32(tb[FRA_FWMARK]) : 0;
	rule.invert = info->flags & FIB_RULE_INVERT;
	rule.suppress_default = tb[FRA_SUPPRESS_PREFIXLEN] && nla_get_u32(tb[FRA_SUPPRESS_PREFIXLEN]) == 0;
	if (rule.priority && rule.priority < list->lowest)
		list->lowest = rule.priority;
	if (list->n < list->room)
		list->rules[list->n] = rule;
	list->n++;
}

static int list_rules(struct netconf *netconf, sa_family_t family, struct rule_list *list)
{
	struct fib_rule_hdr info = { .family = (uint8_t)family };

	return netconf_request_dump(netconf, RTM_GETRULE, &info, sizeof(info), parse_rule, rule_list_reset, list);
}

int netconf_rule_list(struct netconf *netconf, sa_family_t family, struct netconf_rule *rules, size_t *n)
{
	struct rule_list list = { .rules = rules, .room = *n };
	int ret = list_rules(netconf, family, &list);

	*n = list.n;
	return ret;
}

static int change_rule(struct netconf *netconf, int type, int flags, const struct netconf_rule *rule)
{
	struct fib_rule_hdr info = {
		.family = (uint8_t)rule->family,
		.table = rule->table > UINT8_MAX ? RT_TABLE_UNSPEC : (uint8_t)rule->table,
		.action = FR_ACT_TO_TBL,
		.flags = rule->invert ? FIB_RULE_INVERT : 0,
	};
	struct netconf_request request;

	netconf_request_init(&request, type, NLM_F_REQUEST | flags, &info, sizeof(info));
	netconf_request_put_u32(&request, FRA_PRIORITY, rule->priority);
	netconf_request_put_u32(&request, FRA_TABLE, rule->table);
	if (rule->fwmark)
		netconf_request_put_u32(&request, FRA_FWMARK, rule->fwmark);
	if (rule->suppress_default)
		netconf_request_put_u32(&request, FRA_SUPPRESS_PREFIXLEN, 0);
	return netconf_request_run(netconf, &request, NULL, NULL);
}

int netconf_rule_add(struct netconf *netconf, struct netconf_rule *rule)
{
	struct rule_list list = { .room = 0 };
	int ret;

	if (!rule->priority) {
		ret = list_rules(netconf, rule->family, &list);
		if (ret)
			return ret;
		if (list.lowest < 2)
			return -ENOSPC;
		rule->priority = list.lowest - 1;
	}
	return change_rule(netconf, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, rule);
}

int netconf_rule_delete(struct netconf *netconf, const struct netconf_rule *rule)
{
	return change_rule(netconf, RTM_DELRULE, 0, rule);
}
