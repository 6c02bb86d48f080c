// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The agent's side: asking the monitor, and giving up every privilege.
 *
 * privileged_drop() checks what it has done. An agent that cannot be sure that it is confined does not start.
 */
#define _GNU_SOURCE /* setresuid() */
#include "privileged.h"

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "privileged_ops.h"
#include "sandbox.h"

#define AGENT_USER "wg-xdp"
#define NOBODY 65534

/* ------ Requests ------ */

/* What an answer brought along. */
struct received_fds {
	int fds[PRIVILEGED_MAX_FDS];
	unsigned int n_fds;
};

static void close_received(struct received_fds *received)
{
	while (received->n_fds)
		close(received->fds[--received->n_fds]);
}

static void take_fds(struct msghdr *msg, struct received_fds *received)
{
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		size_t n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS ||
		    n > PRIVILEGED_MAX_FDS - received->n_fds)
			continue;
		memcpy(&received->fds[received->n_fds], CMSG_DATA(cmsg), n * sizeof(int));
		received->n_fds += (unsigned int)n;
	}
}

static int receive_answer(int monitor_fd, struct privileged_answer *answer, struct received_fds *received)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(received->fds))];
	} control;
	struct iovec iov = { .iov_base = answer, .iov_len = sizeof(*answer) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes),
	};
	ssize_t len;

	do
		len = recvmsg(monitor_fd, &msg, MSG_CMSG_CLOEXEC);
	while (len < 0 && errno == EINTR);
	if (len < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	take_fds(&msg, received);
	if (!len)
		return -EPIPE;
	/* The kernel hands out as many as there is room for in our table. */
	if (msg.msg_flags & MSG_CTRUNC)
		return -EMFILE;
	return len == sizeof(*answer) && !(msg.msg_flags & MSG_TRUNC) ? 0 : -EPROTO;
}

/* On failure nothing is left open. */
static int ask(int monitor_fd, const struct privileged_request *request, struct privileged_answer *answer,
	       struct received_fds *received)
{
	ssize_t len;
	int err;

	received->n_fds = 0;
	do
		len = send(monitor_fd, request, sizeof(*request), MSG_NOSIGNAL);
	while (len < 0 && errno == EINTR);
	if (len < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	err = receive_answer(monitor_fd, answer, received);
	if (!err)
		err = answer->error;
	if (err)
		close_received(received);
	return err;
}

static int ask_for_nothing(int monitor_fd, const struct privileged_request *request)
{
	struct privileged_answer answer;
	struct received_fds received;
	int err;

	err = ask(monitor_fd, request, &answer, &received);
	close_received(&received);
	return err;
}

static bool is_group_complete(const struct privileged_answer *answer, unsigned int n_fds, unsigned int n)
{
	uint64_t all = ~0ULL >> (64 - n);

	return (answer->fd4_mask | answer->fd6_mask) == all && answer->port && answer->port <= UINT16_MAX &&
	       n_fds == (unsigned int)(__builtin_popcountll(answer->fd4_mask) + __builtin_popcountll(answer->fd6_mask));
}

int privileged_open_sockets(int monitor_fd, struct udp_sock *socks, unsigned int n, uint16_t *port, uint32_t fwmark)
{
	struct privileged_request request = {
		.op = PRIVILEGED_OPEN_SOCKETS, .n = n, .fwmark = fwmark, .port = *port,
	};
	struct privileged_answer answer;
	struct received_fds received;
	unsigned int next = 0;
	int err;

	if (!n || n > PRIVILEGED_MAX_WORKERS)
		return -EINVAL;
	err = ask(monitor_fd, &request, &answer, &received);
	if (err)
		return err;
	if (!is_group_complete(&answer, received.n_fds, n)) {
		close_received(&received);
		return -EPROTO;
	}
	for (unsigned int i = 0; i < n; i++) {
		int fd4 = answer.fd4_mask >> i & 1 ? received.fds[next++] : -1;
		int fd6 = answer.fd6_mask >> i & 1 ? received.fds[next++] : -1;

		udp_sock_init(&socks[i], fd4, fd6, (uint16_t)answer.port);
	}
	*port = (uint16_t)answer.port;
	return 0;
}

int privileged_close_sockets(int monitor_fd)
{
	const struct privileged_request request = { .op = PRIVILEGED_CLOSE_SOCKETS };

	return ask_for_nothing(monitor_fd, &request);
}

int privileged_set_fwmark(int monitor_fd, uint32_t fwmark)
{
	const struct privileged_request request = { .op = PRIVILEGED_SET_FWMARK, .fwmark = fwmark };

	return ask_for_nothing(monitor_fd, &request);
}

int privileged_tun_netlink(int monitor_fd, int *fd, int *ifindex, bool *is_elsewhere)
{
	const struct privileged_request request = { .op = PRIVILEGED_TUN_NETLINK };
	struct privileged_answer answer;
	struct received_fds received;
	int err;

	err = ask(monitor_fd, &request, &answer, &received);
	if (err)
		return err;
	if (received.n_fds != 1 || answer.ifindex <= 0) {
		close_received(&received);
		return -EPROTO;
	}
	*fd = received.fds[0];
	*ifindex = answer.ifindex;
	*is_elsewhere = answer.is_elsewhere;
	return 0;
}

int privileged_ready(int monitor_fd)
{
	const char byte = PRIVILEGED_READY;
	ssize_t len;

	do
		len = send(monitor_fd, &byte, sizeof(byte), MSG_NOSIGNAL);
	while (len < 0 && errno == EINTR);
	return len < 0 ? -errno : 0;
}

/* ------ Giving up ------ */

static void find_user(uid_t *uid, gid_t *gid)
{
	const struct passwd *user = getpwnam(AGENT_USER);

	*uid = user ? user->pw_uid : NOBODY;
	*gid = user ? user->pw_gid : NOBODY;
}

/* Needs CAP_SETPCAP, which a container may lack; behind no_new_privs and without execve() the set has no effect. */
static int drop_bounding_set(void)
{
	if (!capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP)) {
		log_verbose("without CAP_SETPCAP the capability bounding set stays");
		return 0;
	}
	capng_clear(CAPNG_SELECT_BOUNDS);
	return capng_apply(CAPNG_SELECT_BOUNDS) ? -EPERM : 0;
}

static int change_user(uid_t uid, gid_t gid)
{
	if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
		return -errno;
	return 0;
}

static int drop_capabilities(void)
{
	capng_clear(CAPNG_SELECT_CAPS);
	if (capng_apply(CAPNG_SELECT_CAPS))
		return -EPERM;
	/* Needs nothing, and is the rule after a change of user anyway. EINVAL: no ambient set. */
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) && errno != EINVAL)
		return -errno;
	return 0;
}

static int set_process_flags(void)
{
	const struct rlimit no_core = { 0 };

	if (setrlimit(RLIMIT_CORE, &no_core) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return 0;
}

/* Every way back that the kernel knows must be closed. */
static bool is_unprivileged(uid_t uid, gid_t gid)
{
	uid_t ruid, euid, suid;
	gid_t rgid, egid, sgid;

	if (getresuid(&ruid, &euid, &suid) || getresgid(&rgid, &egid, &sgid) || getgroups(0, NULL))
		return false;
	if (ruid != uid || euid != uid || suid != uid || rgid != gid || egid != gid || sgid != gid || !uid || !gid)
		return false;
	if (!setresuid(0, 0, 0) || !setresgid(0, 0, 0))
		return false;
	return !capng_get_caps_process() && capng_have_capabilities(CAPNG_SELECT_CAPS) == CAPNG_NONE &&
	       prctl(PR_GET_DUMPABLE) == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
}

int privileged_drop(void)
{
	uid_t uid;
	gid_t gid;
	int err;

	find_user(&uid, &gid);
	if (!uid || !gid) {
		log_error("user " AGENT_USER " has the user or group id of root: give it another or remove it");
		return -EPERM;
	}
	if (capng_get_caps_process())
		return -EIO;
	err = drop_bounding_set();
	if (!err)
		err = change_user(uid, gid);
	if (!err)
		err = drop_capabilities();
	if (!err)
		err = set_process_flags();
	if (!err && !is_unprivileged(uid, gid))
		err = -EPERM;
	return err ? err : sandbox_enter();
}
