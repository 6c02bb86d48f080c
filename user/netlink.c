// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Following the tunnel device and the underlay by rtnetlink.
 *
 * Events only say where to look again; what is true is read by request. So a lost event, or one the kernel never sends
 * (IPv4 routes vanish silently with their device), costs at most a second look.
 */
#include "netlink.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#define BUFFER_BYTES (1 << 20) /* as far as net.core.rmem_max lets us */
#define MESSAGE_BYTES (64 << 10)
#define ANSWER_TIMEOUT_MS 100 /* the kernel answers at once, or never when the buffer is full of events */
#define RECEIVES_MAX 10000
#define TRIES 10
#define NO_METRIC UINT32_MAX

/* A socket and the request that is under way on it, if one is. */
struct channel {
	struct nl_sock *sock;
	struct nl_cb *cb;
	uint32_t seq;
	bool is_answered;
	bool is_stale; /* events were lost, or a dump was interrupted by a change */
	int error;     /* the kernel's, for the request */
};

/* ------ Requests and answers ------ */

/* Programs number their requests by the time of day; events carry number and port of the request that caused them. */
static bool is_answer(const struct channel *ch, const struct nlmsghdr *hdr)
{
	return hdr->nlmsg_seq == ch->seq && hdr->nlmsg_pid == nl_socket_get_local_port(ch->sock);
}

static int on_finish(struct nl_msg *msg, void *arg)
{
	struct channel *ch = arg;

	if (is_answer(ch, nlmsg_hdr(msg)))
		ch->is_answered = true;
	return NL_OK;
}

static int on_interrupted(struct nl_msg *msg, void *arg)
{
	struct channel *ch = arg;

	(void)msg;
	ch->is_stale = true;
	return NL_OK;
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *answer, void *arg)
{
	struct channel *ch = arg;

	(void)from;
	if (answer->msg.nlmsg_seq == ch->seq) {
		ch->error = answer->error;
		ch->is_answered = true;
	}
	return NL_SKIP;
}

static int on_seq_check(struct nl_msg *msg, void *arg)
{
	(void)msg;
	(void)arg;
	return NL_OK;
}

static void channel_close(struct channel *ch)
{
	nl_cb_put(ch->cb);
	nl_socket_free(ch->sock);
}

/* fd -1: a socket of its own. The fd is owned in any case. Messages go to on_valid(msg, arg). */
static int channel_open(struct channel *ch, int fd, nl_recvmsg_msg_cb_t on_valid, void *arg)
{
	struct sockaddr_nl local = { .nl_family = AF_NETLINK };
	int err = -ENOMEM;

	*ch = (struct channel){ .sock = nl_socket_alloc(), .cb = nl_cb_alloc(NL_CB_DEFAULT) };
	if (fd < 0)
		fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0) {
		err = -errno;
		goto err_close;
	}
	if (!ch->sock || !ch->cb)
		goto err_close_fd;
	/* EINVAL: it has a port already. */
	if (bind(fd, (struct sockaddr *)&local, sizeof(local)) && errno != EINVAL) {
		err = -errno;
		goto err_close_fd;
	}
	if (nl_socket_set_fd(ch->sock, NETLINK_ROUTE, fd)) {
		err = -EINVAL;
		goto err_close_fd;
	}
	nl_socket_set_nonblocking(ch->sock);
	nl_socket_set_buffer_size(ch->sock, BUFFER_BYTES, 0);
	nl_socket_set_msg_buf_size(ch->sock, MESSAGE_BYTES);
	nl_cb_set(ch->cb, NL_CB_VALID, NL_CB_CUSTOM, on_valid, arg);
	nl_cb_set(ch->cb, NL_CB_FINISH, NL_CB_CUSTOM, on_finish, ch);
	nl_cb_set(ch->cb, NL_CB_DUMP_INTR, NL_CB_CUSTOM, on_interrupted, ch);
	nl_cb_set(ch->cb, NL_CB_SEQ_CHECK, NL_CB_CUSTOM, on_seq_check, NULL);
	nl_cb_err(ch->cb, NL_CB_CUSTOM, on_error, ch);
	return 0;

err_close_fd:
	close(fd);
err_close:
	channel_close(ch);
	return err;
}

static int channel_join(struct channel *ch, const int *groups, size_t n_groups)
{
	for (size_t i = 0; i < n_groups; i++)
		if (nl_socket_add_membership(ch->sock, groups[i]))
			return -errno;
	return 0;
}

/* Hands what waits to the callbacks. Returns 0, or -EAGAIN when nothing does, or -errno. */
static int channel_receive(struct channel *ch)
{
	int err = nl_recvmsgs(ch->sock, ch->cb);

	if (err >= 0)
		return 0;
	if (err == -NLE_AGAIN || err == -NLE_INTR)
		return -EAGAIN;
	/* So libnl calls ENOBUFS too: the kernel had no room for an event. */
	if (err == -NLE_NOMEM) {
		ch->is_stale = true;
		return 0;
	}
	return -EIO;
}

static void channel_drain(struct channel *ch)
{
	for (unsigned int i = 0; i < RECEIVES_MAX && !channel_receive(ch); i++)
		;
}

/* Sends msg and waits until it is answered. Frees it. Returns 0 or -errno: ours or the kernel's. */
static int channel_request(struct channel *ch, struct nl_msg *msg)
{
	struct pollfd pollfd = { .fd = nl_socket_get_fd(ch->sock), .events = POLLIN };
	int err = 0;

	ch->is_answered = false;
	ch->error = 0;
	nl_complete_msg(ch->sock, msg);
	ch->seq = nlmsg_hdr(msg)->nlmsg_seq;
	if (nl_send(ch->sock, msg) < 0)
		err = -EIO;
	nlmsg_free(msg);
	for (unsigned int i = 0; !err && !ch->is_answered; i++) {
		err = i < RECEIVES_MAX ? channel_receive(ch) : -EIO;
		if (err == -EAGAIN)
			err = poll(&pollfd, 1, ANSWER_TIMEOUT_MS) == 1 ? 0 : -ETIMEDOUT;
	}
	return err ? err : ch->error;
}

/* ------ Reading routes ------ */

static bool multipath_uses(const struct nlattr *multipath, int ifindex)
{
	const struct rtnexthop *hop = nla_data(multipath);
	int left = nla_len(multipath);

	for (; RTNH_OK(hop, left); left -= RTNH_ALIGN(hop->rtnh_len), hop = RTNH_NEXT(hop))
		if (hop->rtnh_ifindex == ifindex)
			return true;
	return false;
}

static bool route_uses(struct nlattr *const *attrs, int ifindex)
{
	if (attrs[RTA_OIF] && nla_len(attrs[RTA_OIF]) >= (int)sizeof(uint32_t))
		return nla_get_u32(attrs[RTA_OIF]) == (uint32_t)ifindex;
	return attrs[RTA_MULTIPATH] && multipath_uses(attrs[RTA_MULTIPATH], ifindex);
}

static uint32_t route_mtu_metric(struct nlattr *const *attrs)
{
	struct nlattr *metrics[RTAX_MAX + 1];

	if (!attrs[RTA_METRICS] || nla_parse_nested(metrics, RTAX_MAX, attrs[RTA_METRICS], NULL) || !metrics[RTAX_MTU] ||
	    nla_len(metrics[RTAX_MTU]) < (int)sizeof(uint32_t))
		return NO_METRIC;
	return nla_get_u32(metrics[RTAX_MTU]);
}

/* ------ The tunnel device ------ */

struct netlink_watch {
	struct channel ch;
	int ifindex;
	struct netlink_device_state state;
	bool has_metrics;      /* a route through the device has an MTU metric */
	bool has_route_events; /* routes through the device may have changed */
	uint32_t least_metric; /* of the dump under way */
};

static void take_link(struct netlink_watch *watch, struct nlmsghdr *hdr)
{
	struct nlattr *attrs[IFLA_MAX + 1];
	const struct ifinfomsg *ifi = nlmsg_data(hdr);

	if (nlmsg_parse(hdr, sizeof(*ifi), attrs, IFLA_MAX, NULL) || ifi->ifi_index != watch->ifindex ||
	    ifi->ifi_family != AF_UNSPEC)
		return;
	watch->state.exists = hdr->nlmsg_type == RTM_NEWLINK;
	watch->state.is_up = watch->state.exists && (ifi->ifi_flags & IFF_UP);
	if (attrs[IFLA_MTU] && nla_len(attrs[IFLA_MTU]) >= (int)sizeof(uint32_t))
		watch->state.mtu = nla_get_u32(attrs[IFLA_MTU]);
	/* Going down takes IPv4 routes away, and an MTU changes metrics of IPv6 routes: neither is told. */
	watch->has_route_events = true;
}

static void take_route(struct netlink_watch *watch, struct nlmsghdr *hdr)
{
	struct nlattr *attrs[RTA_MAX + 1];
	const struct rtmsg *rtm = nlmsg_data(hdr);
	bool uses_device;

	if (nlmsg_parse(hdr, sizeof(*rtm), attrs, RTA_MAX, NULL))
		return;
	uses_device = route_uses(attrs, watch->ifindex);
	if (!(hdr->nlmsg_flags & NLM_F_MULTI)) {
		/* A replaced route is told by what has taken its place, which may lead elsewhere. */
		if (uses_device || (watch->has_metrics && (hdr->nlmsg_flags & NLM_F_REPLACE)))
			watch->has_route_events = true;
	} else if (uses_device && rtm->rtm_type == RTN_UNICAST && !(rtm->rtm_flags & RTM_F_CLONED)) {
		uint32_t metric = route_mtu_metric(attrs);

		if (metric < watch->least_metric)
			watch->least_metric = metric;
	}
}

static int on_watch_message(struct nl_msg *msg, void *arg)
{
	struct netlink_watch *watch = arg;
	struct nlmsghdr *hdr = nlmsg_hdr(msg);

	switch (hdr->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		take_link(watch, hdr);
		/* A single answer has no end marker. */
		if (is_answer(&watch->ch, hdr))
			watch->ch.is_answered = true;
		break;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		take_route(watch, hdr);
		break;
	}
	return NL_OK;
}

static int read_link(struct netlink_watch *watch)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC, .ifi_index = watch->ifindex };
	struct nl_msg *msg = nlmsg_alloc_simple(RTM_GETLINK, NLM_F_REQUEST);
	int err;

	if (!msg)
		return -ENOMEM;
	if (nlmsg_append(msg, &ifi, sizeof(ifi), NLMSG_ALIGNTO)) {
		nlmsg_free(msg);
		return -ENOMEM;
	}
	err = channel_request(&watch->ch, msg);
	if (err == -ENODEV) {
		watch->state.exists = watch->state.is_up = false;
		err = 0;
	}
	return err;
}

/* Kernels that check requests strictly look at our device's routes alone; others send all. */
static int dump_routes(struct netlink_watch *watch, uint8_t family)
{
	struct rtmsg rtm = { .rtm_family = family };
	struct nl_msg *msg = nlmsg_alloc_simple(RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP);
	int err;

	if (!msg)
		return -ENOMEM;
	if (nlmsg_append(msg, &rtm, sizeof(rtm), NLMSG_ALIGNTO) ||
	    nla_put_u32(msg, RTA_OIF, (uint32_t)watch->ifindex)) {
		nlmsg_free(msg);
		return -ENOMEM;
	}
	err = channel_request(&watch->ch, msg);
	/* No such device, or no such family: no routes. */
	return err == -ENODEV || err == -EOPNOTSUPP || err == -EAFNOSUPPORT ? 0 : err;
}

static int read_routes(struct netlink_watch *watch)
{
	int err;

	watch->has_route_events = false;
	watch->least_metric = NO_METRIC;
	err = dump_routes(watch, AF_INET);
	if (!err)
		err = dump_routes(watch, AF_INET6);
	if (err)
		return err;
	watch->has_metrics = watch->least_metric != NO_METRIC;
	return 0;
}

static int read_all(struct netlink_watch *watch)
{
	int err = 0;

	if (watch->ch.is_stale) {
		/* A socket that has lost events takes no answers either before it has been emptied. */
		channel_drain(&watch->ch);
		watch->ch.is_stale = false;
		err = read_link(watch);
	}
	return err ? err : read_routes(watch);
}

/* Bounded: events that keep coming will wake us again. */
static int refresh(struct netlink_watch *watch)
{
	int err = 0;

	for (unsigned int i = 0; i < TRIES && (watch->ch.is_stale || watch->has_route_events); i++) {
		err = read_all(watch);
		if (err == -ETIMEDOUT)
			watch->ch.is_stale = true; /* the answer was lost like an event */
		else if (err)
			break;
	}
	watch->state.route_mtu = watch->state.mtu;
	if (watch->has_metrics && watch->least_metric < watch->state.mtu)
		watch->state.route_mtu = watch->least_metric;
	return err;
}

struct netlink_watch *netlink_watch_create(int fd, int ifindex, int *error)
{
	static const int groups[] = { RTNLGRP_LINK, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE };
	struct netlink_watch *watch = calloc(1, sizeof(*watch));
	int on = 1;

	if (!watch) {
		close(fd);
		*error = -ENOMEM;
		return NULL;
	}
	watch->ifindex = ifindex;
	*error = channel_open(&watch->ch, fd, on_watch_message, watch);
	if (*error) {
		free(watch);
		return NULL;
	}
	setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	/* First the events, then the state: nothing falls in between. */
	*error = channel_join(&watch->ch, groups, sizeof(groups) / sizeof(*groups));
	watch->ch.is_stale = true;
	if (!*error)
		*error = refresh(watch);
	if (*error) {
		netlink_watch_free(watch);
		return NULL;
	}
	return watch;
}

void netlink_watch_free(struct netlink_watch *watch)
{
	if (!watch)
		return;
	channel_close(&watch->ch);
	free(watch);
}

int netlink_watch_fd(const struct netlink_watch *watch)
{
	return nl_socket_get_fd(watch->ch.sock);
}

const struct netlink_device_state *netlink_watch_state(const struct netlink_watch *watch)
{
	return &watch->state;
}

bool netlink_watch_update(struct netlink_watch *watch)
{
	struct netlink_device_state before = watch->state;
	const struct netlink_device_state *after = &watch->state;

	channel_drain(&watch->ch);
	if (refresh(watch))
		watch->ch.is_stale = true; /* the next event tries again */
	return before.exists != after->exists || before.is_up != after->is_up || before.mtu != after->mtu ||
	       before.route_mtu != after->route_mtu;
}

/* ------ The underlay ------ */

struct netlink_underlay {
	struct channel events;
	bool has_changed;
	struct channel requests;
	int route_oif;
	uint8_t route_type;
};

static int on_underlay_event(struct nl_msg *msg, void *arg)
{
	struct netlink_underlay *underlay = arg;

	(void)msg;
	underlay->has_changed = true;
	return NL_OK;
}

static int on_route_answer(struct nl_msg *msg, void *arg)
{
	struct netlink_underlay *underlay = arg;
	struct nlmsghdr *hdr = nlmsg_hdr(msg);
	const struct rtmsg *rtm = nlmsg_data(hdr);
	struct nlattr *attrs[RTA_MAX + 1];

	if (hdr->nlmsg_type != RTM_NEWROUTE || !is_answer(&underlay->requests, hdr) ||
	    nlmsg_parse(hdr, sizeof(*rtm), attrs, RTA_MAX, NULL))
		return NL_OK;
	underlay->route_type = rtm->rtm_type;
	if (attrs[RTA_OIF] && nla_len(attrs[RTA_OIF]) >= (int)sizeof(uint32_t))
		underlay->route_oif = (int)nla_get_u32(attrs[RTA_OIF]);
	underlay->requests.is_answered = true;
	return NL_OK;
}

struct netlink_underlay *netlink_underlay_create(int *error)
{
	/* Links as well: when one goes down, its IPv4 routes go without a word. */
	static const int groups[] = {
		RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,
	};
	struct netlink_underlay *underlay = calloc(1, sizeof(*underlay));

	if (!underlay) {
		*error = -ENOMEM;
		return NULL;
	}
	*error = channel_open(&underlay->events, -1, on_underlay_event, underlay);
	if (*error)
		goto err_free;
	*error = channel_join(&underlay->events, groups, sizeof(groups) / sizeof(*groups));
	if (*error)
		goto err_close_events;
	*error = channel_open(&underlay->requests, -1, on_route_answer, underlay);
	if (*error)
		goto err_close_events;
	return underlay;

err_close_events:
	channel_close(&underlay->events);
err_free:
	free(underlay);
	return NULL;
}

void netlink_underlay_free(struct netlink_underlay *underlay)
{
	if (!underlay)
		return;
	channel_close(&underlay->requests);
	channel_close(&underlay->events);
	free(underlay);
}

int netlink_underlay_fd(const struct netlink_underlay *underlay)
{
	return nl_socket_get_fd(underlay->events.sock);
}

bool netlink_underlay_update(struct netlink_underlay *underlay)
{
	underlay->has_changed = false;
	channel_drain(&underlay->events);
	if (underlay->events.is_stale)
		underlay->has_changed = true;
	underlay->events.is_stale = false;
	return underlay->has_changed;
}

/* One look-up; src NULL: none. Returns 0 with the answer's type and interface, or -errno: the kernel's, or -ENOMEM. */
static int get_route(struct netlink_underlay *underlay, uint8_t family, const void *dst, const void *src,
		     uint32_t fwmark)
{
	int addr_len = family == AF_INET ? 4 : 16;
	struct rtmsg rtm = { .rtm_family = family, .rtm_dst_len = (uint8_t)(8 * addr_len) };
	struct nl_msg *msg = nlmsg_alloc_simple(RTM_GETROUTE, NLM_F_REQUEST);

	if (!msg)
		return -ENOMEM;
	if (src)
		rtm.rtm_src_len = rtm.rtm_dst_len;
	if (nlmsg_append(msg, &rtm, sizeof(rtm), NLMSG_ALIGNTO) || nla_put(msg, RTA_DST, addr_len, dst) ||
	    (src && nla_put(msg, RTA_SRC, addr_len, src)) ||
	    (fwmark && nla_put_u32(msg, RTA_MARK, fwmark))) {
		nlmsg_free(msg);
		return -ENOMEM;
	}
	underlay->route_type = RTN_UNSPEC;
	underlay->route_oif = 0;
	return channel_request(&underlay->requests, msg);
}

/* When we cannot know, the source stays: sending finds out. */
static bool is_undecided(int error)
{
	return error == -ENOMEM || error == -EIO || error == -ETIMEDOUT;
}

bool netlink_underlay_src_is_valid(struct netlink_underlay *underlay, const struct endpoint *endpoint, uint32_t fwmark)
{
	int err;

	if (!endpoint_has_src(endpoint))
		return true;
	if (endpoint->family == AF_INET) {
		/* The kernel refuses a source that is not local. */
		err = get_route(underlay, AF_INET, &endpoint->addr4.sin_addr, &endpoint->src4, fwmark);
		return is_undecided(err) || (!err && underlay->route_oif == endpoint->src_if4);
	}
	/* To itself, an address that is local has a local route; the mark must not lead past the local table. */
	err = get_route(underlay, AF_INET6, &endpoint->src6, NULL, 0);
	return is_undecided(err) || (!err && underlay->route_type == RTN_LOCAL);
}
