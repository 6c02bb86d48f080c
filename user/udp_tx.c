// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Sending bursts of datagrams: gathered into runs of equal size, sent by UDP_SEGMENT.
 *
 * sendmmsg says how many messages it has sent, and why it stopped only when that was at the first: what it has not sent
 * is always offered again, from where it stopped.
 */
#define _GNU_SOURCE /* sendmmsg, in6_pktinfo */
#include "udp_sock.h"

#include <errno.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"

/* How long one flush may wait, all in all, for a full socket buffer. */
#define WAIT_MAX_NS 5000000ULL

#define TX_CONTROL_SIZE \
	(CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(uint16_t)))

struct control {
	_Alignas(struct cmsghdr) uint8_t bytes[TX_CONTROL_SIZE];
};

struct flush {
	struct udp_sock *sock;
	struct udp_tx *tx;
	uint64_t deadline_ns; /* 0: has not had to wait */
	unsigned int n_sent;  /* datagrams */
};

int udp_tx_init(struct udp_tx *tx)
{
	tx->n_msgs = 0;
	tx->msgs = calloc(UDP_TX_MSGS, sizeof(*tx->msgs));
	return tx->msgs ? 0 : -ENOMEM;
}

void udp_tx_deinit(struct udp_tx *tx)
{
	free(tx->msgs);
	tx->msgs = NULL;
	tx->n_msgs = 0;
}

void udp_tx_reset(struct udp_tx *tx)
{
	tx->n_msgs = 0;
}

/* ------ Gathering ------ */

static bool fits(const struct udp_tx_msg *msg, const struct endpoint *to, uint8_t ds, uint32_t len, const void *user)
{
	return !msg->is_closed && len && len <= msg->segment_size && msg->n_segments < UDP_TX_MAX_SEGMENTS &&
	       msg->len + len <= UDP_TX_MAX_BYTES && msg->ds == ds && msg->user == user && endpoint_equal(&msg->to, to);
}

/* NULL: there is no room for another message. */
static struct udp_tx_msg *start(struct udp_tx *tx, const struct endpoint *to, uint8_t ds, uint32_t len, void *user)
{
	struct udp_tx_msg *msg;

	if (tx->n_msgs == UDP_TX_MSGS)
		return NULL;
	msg = &tx->msgs[tx->n_msgs++];
	msg->to = *to;
	msg->user = user;
	msg->len = 0;
	msg->segment_size = len;
	msg->n_segments = 0;
	msg->n_iov = 0;
	msg->ds = ds;
	msg->is_closed = false;
	msg->error = 0;
	msg->src_refused = false;
	return msg;
}

bool udp_tx_add(struct udp_tx *tx, const struct endpoint *to, uint8_t ds, const uint8_t *data, uint32_t len, void *user)
{
	struct udp_tx_msg *msg;
	struct iovec *last;

	if (tx->n_msgs && fits(&tx->msgs[tx->n_msgs - 1], to, ds, len, user))
		msg = &tx->msgs[tx->n_msgs - 1];
	else
		msg = start(tx, to, ds, len, user);
	if (!msg)
		return false;

	last = msg->n_iov ? &msg->iov[msg->n_iov - 1] : NULL;
	if (last && (uint8_t *)last->iov_base + last->iov_len == data) {
		last->iov_len += len;
	} else {
		msg->iov[msg->n_iov].iov_base = (void *)data;
		msg->iov[msg->n_iov++].iov_len = len;
	}
	msg->len += len;
	msg->n_segments++;
	msg->is_closed = len < msg->segment_size;
	return true;
}

/* ------ Sending ------ */

static int msg_fd(const struct udp_sock *sock, const struct udp_tx_msg *msg)
{
	if (msg->to.family == AF_INET)
		return sock->fd4;
	return msg->to.family == AF_INET6 ? sock->fd6 : -1;
}

/* Several threads may send on one socket, so whoever sees EIO first writes what the others read. */
static bool *gso_flag(struct udp_sock *sock, const struct udp_tx_msg *msg)
{
	return msg->to.family == AF_INET ? &sock->gso4 : &sock->gso6;
}

static bool can_gso(struct udp_sock *sock, const struct udp_tx_msg *msg)
{
	return __atomic_load_n(gso_flag(sock, msg), __ATOMIC_RELAXED);
}

static void gso_off(struct udp_sock *sock, const struct udp_tx_msg *msg)
{
	if (__atomic_exchange_n(gso_flag(sock, msg), false, __ATOMIC_RELAXED))
		log_info("UDP segmentation (IPv%c) is off: the outgoing device refused it; sending costs more",
			 msg->to.family == AF_INET ? '4' : '6');
}

static bool uses_src(const struct udp_tx_msg *msg)
{
	return !msg->src_refused && endpoint_has_src(&msg->to);
}

static size_t put_control(struct control *control, size_t at, int level, int type, const void *data, size_t len)
{
	struct cmsghdr *cmsg = (void *)(control->bytes + at);

	memset(cmsg, 0, CMSG_SPACE(len));
	cmsg->cmsg_len = CMSG_LEN(len);
	cmsg->cmsg_level = level;
	cmsg->cmsg_type = type;
	memcpy(CMSG_DATA(cmsg), data, len);
	return at + CMSG_SPACE(len);
}

/* The interface is left to the route: the source alone is what the peer has seen. */
static size_t put_src(struct control *control, size_t at, const struct endpoint *to)
{
	struct in_pktinfo info4 = { .ipi_spec_dst = to->src4 };
	struct in6_pktinfo info6 = { .ipi6_addr = to->src6 };

	if (to->family == AF_INET)
		return put_control(control, at, IPPROTO_IP, IP_PKTINFO, &info4, sizeof(info4));
	return put_control(control, at, IPPROTO_IPV6, IPV6_PKTINFO, &info6, sizeof(info6));
}

static size_t put_ds(struct control *control, size_t at, const struct udp_tx_msg *msg)
{
	int ds = msg->ds;

	if (msg->to.family == AF_INET)
		return put_control(control, at, IPPROTO_IP, IP_TOS, &ds, sizeof(ds));
	return put_control(control, at, IPPROTO_IPV6, IPV6_TCLASS, &ds, sizeof(ds));
}

/* segment_size 0: iov is one datagram. Control messages only where they say something: each costs. */
static void fill(struct mmsghdr *mmsg, struct control *control, struct udp_tx_msg *msg, struct iovec *iov, size_t n_iov,
		 uint16_t segment_size)
{
	struct msghdr *hdr = &mmsg->msg_hdr;
	size_t len = 0;

	if (segment_size)
		len = put_control(control, len, IPPROTO_UDP, UDP_SEGMENT, &segment_size, sizeof(segment_size));
	if (msg->ds)
		len = put_ds(control, len, msg);
	if (uses_src(msg))
		len = put_src(control, len, &msg->to);
	hdr->msg_name = &msg->to.addr;
	hdr->msg_namelen = endpoint_addr_len(&msg->to);
	hdr->msg_iov = iov;
	hdr->msg_iovlen = n_iov;
	hdr->msg_control = len ? control->bytes : NULL;
	hdr->msg_controllen = len;
	hdr->msg_flags = 0;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* False when this flush has waited long enough. */
static bool wait_for_room(struct flush *f, int fd, int error)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLOUT };
	uint64_t now = now_ns();

	if (!f->deadline_ns)
		f->deadline_ns = now + WAIT_MAX_NS;
	if (now >= f->deadline_ns)
		return false;
	/* ENOBUFS is about memory below the socket, which poll() cannot see. */
	poll(&pollfd, error == ENOBUFS ? 0 : 1, error == ENOBUFS ? 1 : (int)(1 + (f->deadline_ns - now) / 1000000));
	return true;
}

/* Returns how many messages left, at least one; or -errno, and then it is about the first. */
static int send_some(struct flush *f, int fd, struct mmsghdr *mmsgs, unsigned int n)
{
	for (;;) {
		int n_sent = sendmmsg(fd, mmsgs, n, MSG_DONTWAIT);
		int error = errno;

		if (n_sent > 0)
			return n_sent;
		if (error == EINTR)
			continue;
		if ((error != EAGAIN && error != ENOBUFS) || !wait_for_room(f, fd, error))
			return -error;
	}
}

/* An IPv4 source that is not local was EINVAL once and is ENETUNREACH in newer kernels. */
static bool is_src_refusal(int error)
{
	return error == -EINVAL || error == -ENETUNREACH || error == -EADDRNOTAVAIL;
}

/* Other messages of the burst with the same source need not be refused one by one. */
static void spread_src_refusal(struct flush *f, struct udp_tx_msg *msg)
{
	for (struct udp_tx_msg *m = msg + 1; m < f->tx->msgs + f->tx->n_msgs; m++)
		if (endpoint_equal(&m->to, &msg->to))
			m->src_refused = true;
}

static void cut_into_datagrams(const struct udp_tx_msg *msg, struct iovec datagrams[static UDP_TX_MAX_SEGMENTS])
{
	uint32_t i = 0;

	/* A datagram never spans two iovecs: that is how udp_tx_add() gathers. */
	for (uint32_t v = 0; v < msg->n_iov; v++) {
		uint8_t *data = msg->iov[v].iov_base;
		size_t left = msg->iov[v].iov_len;

		do {
			size_t len = left < msg->segment_size ? left : msg->segment_size;

			datagrams[i].iov_base = data;
			datagrams[i++].iov_len = len;
			data += len;
			left -= len;
		} while (left);
	}
}

/* Sends a message datagram by datagram; one that is refused does not stop those behind it. */
static void send_datagrams(struct flush *f, struct udp_tx_msg *msg)
{
	struct iovec datagrams[UDP_TX_MAX_SEGMENTS];
	struct mmsghdr mmsgs[UDP_TX_MAX_SEGMENTS];
	struct control control; /* the same for all */
	unsigned int at = 0, n_sent = 0;
	int error = 0, src_error = 0;

	cut_into_datagrams(msg, datagrams);
	for (unsigned int i = 0; i < msg->n_segments; i++)
		fill(&mmsgs[i], &control, msg, &datagrams[i], 1, 0);
	while (at < msg->n_segments) {
		int n = send_some(f, msg_fd(f->sock, msg), &mmsgs[at], msg->n_segments - at);

		if (n > 0) {
			at += (unsigned int)n;
			n_sent += (unsigned int)n;
		} else if (is_src_refusal(n) && uses_src(msg)) {
			msg->src_refused = true;
			src_error = n;
			for (unsigned int i = at; i < msg->n_segments; i++)
				fill(&mmsgs[i], &control, msg, &datagrams[i], 1, 0);
		} else {
			error = n;
			at++;
		}
	}
	f->n_sent += n_sent;
	msg->error = n_sent ? 0 : error;
	if (src_error && msg->error == src_error)
		msg->src_refused = false; /* the same without it: it was not the source */
}

static int send_whole(struct flush *f, struct udp_tx_msg *msg)
{
	uint16_t segment_size = msg->n_segments > 1 ? (uint16_t)msg->segment_size : 0;
	struct control control;
	struct mmsghdr mmsg;
	int n;

	fill(&mmsg, &control, msg, msg->iov, msg->n_iov, segment_size);
	n = send_some(f, msg_fd(f->sock, msg), &mmsg, 1);
	if (n < 0)
		return n;
	f->n_sent += msg->n_segments;
	return 0;
}

/* Tries again without the source. False when that does not help: then it was not, or not only, the source. */
static bool send_without_src(struct flush *f, struct udp_tx_msg *msg)
{
	int refused_with = msg->error;

	msg->src_refused = true;
	msg->error = send_whole(f, msg);
	if (!msg->error) {
		spread_src_refusal(f, msg);
		return true;
	}
	msg->src_refused = msg->n_segments == 1 && msg->error != refused_with;
	return false;
}

/*
 * Called after a message was refused. Two refusals can be helped: a source that is no longer local, and segmentation:
 * by a device that cannot (EIO, for good), or of segments above the MTU, which must leave one by one to be fragmented
 * (EMSGSIZE, from older kernels EINVAL; the next message may be smaller).
 */
static void send_refused(struct flush *f, struct udp_tx_msg *msg, int error)
{
	msg->error = error;
	if (is_src_refusal(error) && uses_src(msg) && send_without_src(f, msg))
		return;
	if (msg->n_segments == 1)
		return;
	if (msg->error == -EIO)
		gso_off(f->sock, msg);
	if (msg->error == -EIO || msg->error == -EMSGSIZE || msg->error == -EINVAL)
		send_datagrams(f, msg);
}

/* Sends the messages that can leave by one call, from first on. Returns how many are settled, at least one. */
static unsigned int send_run(struct flush *f, struct udp_tx_msg *first, unsigned int n_left)
{
	struct mmsghdr mmsgs[UDP_TX_MSGS];
	struct control controls[UDP_TX_MSGS];
	int fd = msg_fd(f->sock, first), n_sent;
	unsigned int n = 0;

	while (n < n_left && first[n].to.family == first->to.family &&
	       (first[n].n_segments == 1 || can_gso(f->sock, &first[n]))) {
		fill(&mmsgs[n], &controls[n], &first[n], first[n].iov, first[n].n_iov,
		     first[n].n_segments > 1 ? (uint16_t)first[n].segment_size : 0);
		n++;
	}
	if (!n) {
		send_datagrams(f, first);
		return 1;
	}

	n_sent = send_some(f, fd, mmsgs, n);
	if (n_sent < 0) {
		send_refused(f, first, n_sent);
		return 1;
	}
	for (int i = 0; i < n_sent; i++)
		f->n_sent += first[i].n_segments;
	return (unsigned int)n_sent;
}

unsigned int udp_tx_flush(struct udp_sock *sock, struct udp_tx *tx)
{
	struct flush f = { .sock = sock, .tx = tx };
	unsigned int at = 0;

	while (at < tx->n_msgs) {
		if (msg_fd(sock, &tx->msgs[at]) < 0) {
			tx->msgs[at++].error = -EAFNOSUPPORT;
			continue;
		}
		at += send_run(&f, &tx->msgs[at], tx->n_msgs - at);
	}
	return f.n_sent;
}
