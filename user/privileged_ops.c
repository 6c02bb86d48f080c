// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The monitor's side of the agent's requests.
 *
 * Runs as root on messages of a process that parses the network's packets: each field is checked, each message is
 * answered or its sender given up, nothing blocks.
 */
#define _GNU_SOURCE /* setns() */
#include "privileged_ops.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

/* An answer under way: the message and the file descriptors that go with it. */
struct reply {
	struct privileged_answer answer;
	int fds[PRIVILEGED_MAX_FDS];
	unsigned int n_fds;
	int owned_fd; /* closed when sent; -1: none */
};

int privileged_ops_init(struct privileged_ops *ops, int tun_fd)
{
	*ops = (struct privileged_ops){ .tun_fd = tun_fd };
	ops->netns_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	return ops->netns_fd < 0 ? -errno : 0;
}

static void close_group(struct privileged_ops *ops)
{
	while (ops->n_socks)
		udp_sock_close(&ops->socks[--ops->n_socks]);
	ops->port = 0;
	ops->is_inherited = false;
}

void privileged_ops_deinit(struct privileged_ops *ops)
{
	close_group(ops);
	if (ops->netns_fd >= 0)
		close(ops->netns_fd);
	ops->netns_fd = -1;
}

void privileged_ops_agent_died(struct privileged_ops *ops)
{
	ops->is_inherited = ops->n_socks > 0;
}

/* ------ UDP sockets ------ */

static int set_group_fwmark(const struct privileged_ops *ops, uint32_t fwmark)
{
	for (unsigned int i = 0; i < ops->n_socks; i++) {
		const struct udp_sock *sock = &ops->socks[i];

		if (sock->fd4 >= 0 && setsockopt(sock->fd4, SOL_SOCKET, SO_MARK, &fwmark, sizeof(fwmark)))
			return -errno;
		if (sock->fd6 >= 0 && setsockopt(sock->fd6, SOL_SOCKET, SO_MARK, &fwmark, sizeof(fwmark)))
			return -errno;
	}
	return 0;
}

/* An agent that died before it could write its port down takes over the port its predecessor had. */
static bool is_group_wanted(const struct privileged_ops *ops, unsigned int n, uint16_t port)
{
	return ops->n_socks == n && (port == ops->port || (!port && ops->is_inherited));
}

/* The old group stays until the new one is there, except when both want one port: that cannot be bound twice. */
static int replace_group(struct privileged_ops *ops, unsigned int n, uint16_t port, uint32_t fwmark)
{
	struct udp_sock socks[PRIVILEGED_MAX_WORKERS];
	int err;

	if (port && port == ops->port)
		close_group(ops);
	err = udp_sock_open_group(socks, n, &port, fwmark);
	if (err)
		return err;
	close_group(ops);
	memcpy(ops->socks, socks, n * sizeof(*socks));
	ops->n_socks = n;
	ops->port = port;
	return 0;
}

static void add_group(const struct privileged_ops *ops, struct reply *reply)
{
	for (unsigned int i = 0; i < ops->n_socks; i++) {
		const struct udp_sock *sock = &ops->socks[i];

		if (sock->fd4 >= 0) {
			reply->answer.fd4_mask |= 1ULL << i;
			reply->fds[reply->n_fds++] = sock->fd4;
		}
		if (sock->fd6 >= 0) {
			reply->answer.fd6_mask |= 1ULL << i;
			reply->fds[reply->n_fds++] = sock->fd6;
		}
	}
	reply->answer.port = ops->port;
}

static int open_sockets(struct privileged_ops *ops, const struct privileged_request *request, struct reply *reply)
{
	int err;

	if (!request->n || request->n > PRIVILEGED_MAX_WORKERS || request->port > UINT16_MAX)
		return -EINVAL;
	if (is_group_wanted(ops, request->n, (uint16_t)request->port))
		err = set_group_fwmark(ops, request->fwmark);
	else
		err = replace_group(ops, request->n, (uint16_t)request->port, request->fwmark);
	if (err)
		return err;
	ops->is_inherited = false;
	add_group(ops, reply);
	return 0;
}

/* ------ Netlink where the device is ------ */

static bool is_same_file(int a, int b)
{
	struct stat stat_a, stat_b;

	return !fstat(a, &stat_a) && !fstat(b, &stat_b) && stat_a.st_dev == stat_b.st_dev &&
	       stat_a.st_ino == stat_b.st_ino;
}

/* The monitor has one thread, so that it may step into another namespace and back. */
static int open_netlink(const struct privileged_ops *ops, int netns_fd, int *fd)
{
	bool is_elsewhere = !is_same_file(netns_fd, ops->netns_fd);
	int err = 0;

	if (is_elsewhere && setns(netns_fd, CLONE_NEWNET))
		return -errno;
	*fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (*fd < 0)
		err = -errno;
	if (is_elsewhere && setns(ops->netns_fd, CLONE_NEWNET)) {
		/* The next UDP socket would be opened in the wrong namespace. The device stays, and nothing leaks. */
		log_error("cannot return to the own network namespace: %s", strerror(errno));
		abort();
	}
	return err;
}

/* The name may have been changed, even between the two calls: then the second look has the new one. */
static int find_ifindex(int tun_fd, int netlink_fd, int *ifindex)
{
	struct ifreq ifr;

	for (int i = 0; i < 3; i++) {
		memset(&ifr, 0, sizeof(ifr));
		if (ioctl(tun_fd, TUNGETIFF, &ifr))
			return errno == EBADFD ? -ENODEV : -errno;
		if (!ioctl(netlink_fd, SIOCGIFINDEX, &ifr)) {
			*ifindex = ifr.ifr_ifindex;
			return 0;
		}
		if (errno != ENODEV)
			return -errno;
	}
	return -ENODEV;
}

static int tun_netlink(struct privileged_ops *ops, struct reply *reply)
{
	int netns_fd, fd = -1, err;

	netns_fd = ioctl(ops->tun_fd, TUNGETDEVNETNS);
	if (netns_fd < 0)
		return errno == EBADFD ? -ENODEV : -errno;
	reply->answer.is_elsewhere = !is_same_file(netns_fd, ops->netns_fd);
	err = open_netlink(ops, netns_fd, &fd);
	close(netns_fd);
	if (err)
		return err;
	err = find_ifindex(ops->tun_fd, fd, &reply->answer.ifindex);
	if (err) {
		close(fd);
		return err;
	}
	reply->owned_fd = reply->fds[reply->n_fds++] = fd;
	return 0;
}

/* ------ Messages ------ */

static int serve_request(struct privileged_ops *ops, const struct privileged_request *request, struct reply *reply)
{
	switch (request->op) {
	case PRIVILEGED_OPEN_SOCKETS:
		return open_sockets(ops, request, reply);
	case PRIVILEGED_CLOSE_SOCKETS:
		close_group(ops);
		return 0;
	case PRIVILEGED_SET_FWMARK:
		return ops->n_socks ? set_group_fwmark(ops, request->fwmark) : -ENOTCONN;
	case PRIVILEGED_TUN_NETLINK:
		return tun_netlink(ops, reply);
	}
	return -EINVAL;
}

/* Does not wait: an agent that leaves its answers lying is broken, and its monitor has other things to do. */
static int send_reply(int fd, const struct reply *reply)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(reply->fds))];
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)&reply->answer, .iov_len = sizeof(reply->answer) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	size_t fds_size = reply->n_fds * sizeof(int);
	struct cmsghdr *cmsg;

	if (reply->n_fds) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(fds_size);
		cmsg = CMSG_FIRSTHDR(&msg);
		*cmsg = (struct cmsghdr){
			.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(fds_size),
		};
		memcpy(CMSG_DATA(cmsg), reply->fds, fds_size);
	}
	if (sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return 0;
	return errno == EAGAIN ? -ENOBUFS : -errno;
}

int privileged_ops_serve(struct privileged_ops *ops, int fd, bool *is_ready)
{
	struct reply reply = { .owned_fd = -1 };
	struct privileged_request request;
	ssize_t len;
	int err;

	/* No room for control data: file descriptors that somebody sends us are dropped by the kernel. */
	len = recv(fd, &request, sizeof(request), MSG_DONTWAIT | MSG_TRUNC);
	if (len < 0)
		return errno == EINTR ? -EAGAIN : errno == ECONNRESET ? -EPIPE : -errno;
	if (!len)
		return -EPIPE;
	if (len == 1 && *(const char *)&request == PRIVILEGED_READY) {
		*is_ready = true;
		return 0;
	}
	reply.answer.error = len == sizeof(request) ? serve_request(ops, &request, &reply) : -EINVAL;
	err = send_reply(fd, &reply);
	if (reply.owned_fd >= 0)
		close(reply.owned_fd);
	return err;
}
