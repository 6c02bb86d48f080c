// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * One rtnetlink request and its answer.
 *
 * On libnl-3's core only: its route library hides the kernel's errno behind its own numbers and does not know every
 * attribute we use (suppress_prefixlength).
 */
#define _GNU_SOURCE
#include "netconf_request.h"

#include <errno.h>
#include <fcntl.h>
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "netconf.h"

#define DUMP_ATTEMPTS 10

struct netconf {
	struct nl_sock *sock;
};

struct answer {
	netconf_parse *parse;
	void *arg;
	int error; /* -errno */
	bool done;
};

void netconf_request_init(struct netconf_request *request, int type, int flags, void *header, size_t len)
{
	request->msg = nlmsg_alloc_simple(type, flags);
	request->failed = !request->msg || nlmsg_append(request->msg, header, len, NLMSG_ALIGNTO);
}

void netconf_request_put(struct netconf_request *request, int type, const void *data, size_t len)
{
	if (!request->failed && nla_put(request->msg, type, (int)len, data))
		request->failed = true;
}

void netconf_request_put_u32(struct netconf_request *request, int type, uint32_t value)
{
	netconf_request_put(request, type, &value, sizeof(value));
}

static int on_valid(struct nl_msg *msg, void *arg)
{
	struct answer *answer = arg;

	if (answer->parse)
		answer->parse(nlmsg_hdr(msg), answer->arg);
	return NL_OK;
}

static int on_end(struct nl_msg *msg, void *arg)
{
	struct answer *answer = arg;

	(void)msg;
	answer->done = true;
	return NL_OK;
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *error, void *arg)
{
	struct answer *answer = arg;

	(void)from;
	answer->error = error->error;
	answer->done = true;
	return NL_STOP;
}

/* Returns 0, -errno; -EAGAIN for a dump that a change has cut through. */
static int receive_answer(struct netconf *netconf, struct answer *answer)
{
	struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	bool interrupted = false;

	if (!cb)
		return -ENOMEM;
	nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_valid, answer);
	nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, on_end, answer);
	nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_end, answer);
	nl_cb_err(cb, NL_CB_CUSTOM, on_error, answer);
	while (!answer->done) {
		int ret = nl_recvmsgs(netconf->sock, cb);

		if (ret == -NLE_DUMP_INTR)
			interrupted = true;
		else if (ret < 0 && !answer->done) {
			answer->error = -EIO;
			break;
		}
	}
	nl_cb_put(cb);
	return answer->error ? answer->error : interrupted ? -EAGAIN : 0;
}

int netconf_request_run(struct netconf *netconf, struct netconf_request *request, netconf_parse *parse, void *arg)
{
	struct answer answer = { .parse = parse, .arg = arg };
	int ret = -ENOMEM;

	if (!request->failed)
		ret = nl_send_auto(netconf->sock, request->msg) < 0 ? -EIO : receive_answer(netconf, &answer);
	nlmsg_free(request->msg);
	return ret;
}

int netconf_request_dump(struct netconf *netconf, int type, void *header, size_t len, netconf_parse *parse,
			 void (*reset)(void *arg), void *arg)
{
	int ret = -EAGAIN;

	for (int i = 0; i < DUMP_ATTEMPTS && ret == -EAGAIN; i++) {
		struct netconf_request request;

		reset(arg);
		netconf_request_init(&request, type, NLM_F_REQUEST | NLM_F_DUMP, header, len);
		ret = netconf_request_run(netconf, &request, parse, arg);
	}
	return ret;
}

/* A netlink socket belongs to the namespace it was made in, so the thread visits it for a moment. */
struct netconf *netconf_open(int netns_fd, int *error)
{
	struct netconf *netconf = calloc(1, sizeof(*netconf));
	int home_fd = -1, ret;

	*error = -ENOMEM;
	if (!netconf)
		return NULL;
	netconf->sock = nl_socket_alloc();
	if (!netconf->sock)
		goto err_free;
	if (netns_fd >= 0) {
		home_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
		if (home_fd < 0 || setns(netns_fd, CLONE_NEWNET)) {
			*error = -errno;
			goto err_close_home;
		}
	}
	ret = nl_connect(netconf->sock, NETLINK_ROUTE);
	*error = ret ? -EPROTONOSUPPORT : 0;
	if (home_fd >= 0 && setns(home_fd, CLONE_NEWNET))
		*error = -errno;
	if (*error)
		goto err_close_home;
	if (home_fd >= 0)
		close(home_fd);
	nl_socket_enable_msg_peek(netconf->sock);
	return netconf;

err_close_home:
	if (home_fd >= 0)
		close(home_fd);
err_free:
	netconf_free(netconf);
	return NULL;
}

void netconf_free(struct netconf *netconf)
{
	if (!netconf)
		return;
	nl_socket_free(netconf->sock);
	free(netconf);
}
