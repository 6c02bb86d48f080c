// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Receiving bursts of datagrams.
 *
 * Nothing here believes a datagram: lengths are the kernel's, and a control message counts only at its exact size.
 */
#define _GNU_SOURCE /* recvmmsg, in6_pktinfo */
#include "udp_sock.h"

#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>

/* An IPv6 pktinfo is the largest; a traffic class and a segment size are ints. */
#define RX_CONTROL_SIZE (CMSG_SPACE(sizeof(struct in6_pktinfo)) + 2 * CMSG_SPACE(sizeof(int)))

struct udp_rx {
	struct udp_rx_msg msgs[UDP_RX_MSGS];
	struct mmsghdr hdrs[UDP_RX_MSGS];
	struct iovec iovs[UDP_RX_MSGS];
	_Alignas(struct cmsghdr) uint8_t controls[UDP_RX_MSGS][RX_CONTROL_SIZE];
	uint8_t *buffers;
};

/* Room for the larger address, whatever the family: a short one would cut IPv6 sources. */
static void rearm(struct udp_rx *rx, unsigned int i)
{
	struct msghdr *hdr = &rx->hdrs[i].msg_hdr;

	hdr->msg_name = &rx->msgs[i].from.addr6;
	hdr->msg_namelen = sizeof(rx->msgs[i].from.addr6);
	hdr->msg_iov = &rx->iovs[i];
	hdr->msg_iovlen = 1;
	hdr->msg_control = rx->controls[i];
	hdr->msg_controllen = sizeof(rx->controls[i]);
	hdr->msg_flags = 0;
}

struct udp_rx *udp_rx_create(void)
{
	struct udp_rx *rx = calloc(1, sizeof(*rx));

	if (!rx)
		return NULL;
	rx->buffers = aligned_alloc(64, (size_t)UDP_RX_MSGS * UDP_RX_BUFFER_SIZE);
	if (!rx->buffers) {
		free(rx);
		return NULL;
	}
	for (unsigned int i = 0; i < UDP_RX_MSGS; i++) {
		rx->iovs[i].iov_base = rx->buffers + (size_t)i * UDP_RX_BUFFER_SIZE;
		rx->iovs[i].iov_len = UDP_RX_BUFFER_SIZE;
		rearm(rx, i);
	}
	return rx;
}

void udp_rx_free(struct udp_rx *rx)
{
	if (!rx)
		return;
	free(rx->buffers);
	free(rx);
}

static void take_pktinfo4(struct endpoint *from, const struct cmsghdr *cmsg)
{
	struct in_pktinfo info;

	memcpy(&info, CMSG_DATA(cmsg), sizeof(info));
	/* The destination, or for a broadcast what the kernel would answer with. */
	from->src4 = info.ipi_spec_dst;
	from->src_if4 = info.ipi_ifindex;
}

static void take_pktinfo6(struct endpoint *from, const struct cmsghdr *cmsg)
{
	struct in6_pktinfo info;

	memcpy(&info, CMSG_DATA(cmsg), sizeof(info));
	if (!IN6_IS_ADDR_MULTICAST(&info.ipi6_addr))
		from->src6 = info.ipi6_addr;
}

static int cmsg_int(const struct cmsghdr *cmsg)
{
	int value;

	memcpy(&value, CMSG_DATA(cmsg), sizeof(value));
	return value;
}

static void take_control(struct udp_rx_msg *msg, const struct cmsghdr *cmsg)
{
	size_t len = cmsg->cmsg_len - CMSG_LEN(0);
	int level = cmsg->cmsg_level, type = cmsg->cmsg_type;

	if (level == IPPROTO_IP && type == IP_PKTINFO && len == sizeof(struct in_pktinfo))
		take_pktinfo4(&msg->from, cmsg);
	else if (level == IPPROTO_IPV6 && type == IPV6_PKTINFO && len == sizeof(struct in6_pktinfo))
		take_pktinfo6(&msg->from, cmsg);
	else if (level == IPPROTO_IP && type == IP_TOS && len == sizeof(uint8_t))
		msg->ds = *CMSG_DATA(cmsg);
	else if (level == IPPROTO_IPV6 && type == IPV6_TCLASS && len == sizeof(int))
		msg->ds = (uint8_t)cmsg_int(cmsg);
	else if (level == IPPROTO_UDP && type == UDP_GRO && len == sizeof(int))
		msg->segment_size = (uint32_t)cmsg_int(cmsg);
}

static void take_message(struct udp_rx *rx, unsigned int i)
{
	struct udp_rx_msg *msg = &rx->msgs[i];
	struct msghdr *hdr = &rx->hdrs[i].msg_hdr;

	msg->data = rx->iovs[i].iov_base;
	msg->len = rx->hdrs[i].msg_len;
	msg->segment_size = 0;
	msg->ds = 0;
	msg->is_truncated = hdr->msg_flags & MSG_TRUNC;
	endpoint_clear_src(&msg->from);
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(hdr); cmsg; cmsg = CMSG_NXTHDR(hdr, cmsg))
		take_control(msg, cmsg);
	if (!msg->segment_size || msg->segment_size > msg->len)
		msg->segment_size = msg->len;
	rearm(rx, i);
}

/* What an ICMP message can leave on a socket; it says nothing about the next datagram. */
static bool is_queued_error(int error)
{
	switch (error) {
	case ECONNREFUSED:
	case ECONNRESET:
	case EHOSTUNREACH:
	case EHOSTDOWN:
	case ENETUNREACH:
	case ENETDOWN:
	case ENONET:
	case EPROTO:
	case ENOPROTOOPT:
	case EOPNOTSUPP:
	case EMSGSIZE:
	case EACCES:
	case EINTR:
		return true;
	}
	return false;
}

int udp_rx_burst(struct udp_rx *rx, int fd, bool is_v6, struct udp_rx_msg **msgs)
{
	int n;

	*msgs = rx->msgs;
	/* Bounded: an error that sticks is the caller's to see, not a reason to spin. */
	for (unsigned int tries = 0; tries < 64; tries++) {
		n = recvmmsg(fd, rx->hdrs, UDP_RX_MSGS, MSG_DONTWAIT, NULL);
		if (n >= 0 || !is_queued_error(errno))
			break;
	}
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		rx->msgs[i].from.family = is_v6 ? AF_INET6 : AF_INET;
		take_message(rx, (unsigned int)i);
	}
	return n;
}
