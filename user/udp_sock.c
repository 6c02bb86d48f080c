// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Opening the UDP sockets of a listen port.
 *
 * The first pair is bound without SO_REUSEPORT: only so does a port that anybody else has, another reuseport group of
 * the same user included, answer EADDRINUSE instead of letting us share its datagrams.
 */
#include "udp_sock.h"

#include <errno.h>
#include <netinet/udp.h>
#include <string.h>
#include <unistd.h>

#define PORT_TRIES 100
#define BUFFER_BYTES (7 << 20)

struct sock_option {
	int level, name, value;
};

/* Outer packets leave with DF=0 and may be fragmented: there is no path MTU discovery (as the kernel module does). */
static const struct sock_option options4[] = {
	{ IPPROTO_IP, IP_PKTINFO, 1 },
	{ IPPROTO_IP, IP_RECVTOS, 1 },
	{ IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT },
	{ IPPROTO_UDP, UDP_GRO, 1 },
};

static const struct sock_option options6[] = {
	{ IPPROTO_IPV6, IPV6_V6ONLY, 1 },
	{ IPPROTO_IPV6, IPV6_RECVPKTINFO, 1 },
	{ IPPROTO_IPV6, IPV6_RECVTCLASS, 1 },
	{ IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT },
	{ IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, 0 },
	{ IPPROTO_UDP, UDP_GRO, 1 },
};

/* Best effort: without CAP_NET_ADMIN the sysctl limits hold. */
static void set_buffer(int fd, int forced_name, int name)
{
	int bytes = BUFFER_BYTES;

	if (setsockopt(fd, SOL_SOCKET, forced_name, &bytes, sizeof(bytes)))
		setsockopt(fd, SOL_SOCKET, name, &bytes, sizeof(bytes));
}

static int set_options(int fd, sa_family_t family, uint32_t fwmark)
{
	const struct sock_option *options = family == AF_INET ? options4 : options6;
	size_t n_options = family == AF_INET ? sizeof(options4) / sizeof(*options4) :
					       sizeof(options6) / sizeof(*options6);

	for (size_t i = 0; i < n_options; i++)
		if (setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int)))
			return -errno;
	if (fwmark && setsockopt(fd, SOL_SOCKET, SO_MARK, &fwmark, sizeof(fwmark)))
		return -errno;
	set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF);
	set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF);
	return 0;
}

static int set_reuseport(int fd)
{
	int one = 1;

	return setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) ? -errno : 0;
}

/* Binds to the wildcard address; *port gets the kernel's choice. */
static int bind_port(int fd, sa_family_t family, uint16_t *port)
{
	struct endpoint local = { .family = family };
	socklen_t len = endpoint_addr_len(&local);

	/* sin_port and sin6_port are at the same place. */
	local.addr4.sin_port = htons(*port);
	if (bind(fd, &local.addr, len) || getsockname(fd, &local.addr, &len))
		return -errno;
	*port = ntohs(local.addr4.sin_port);
	return 0;
}

/* *fd gets -1, and that is no error, where the system does not have the family. */
static int open_one(int *fd, sa_family_t family, uint16_t *port, uint32_t fwmark, bool reuseport)
{
	int err;

	*fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*fd < 0)
		return errno == EAFNOSUPPORT ? 0 : -errno;
	err = set_options(*fd, family, fwmark);
	if (!err && reuseport)
		err = set_reuseport(*fd);
	if (!err)
		err = bind_port(*fd, family, port);
	if (err) {
		close(*fd);
		*fd = -1;
	}
	return err;
}

static int open_pair(struct udp_sock *sock, uint16_t *port, uint32_t fwmark, bool reuseport)
{
	int fd4, fd6, err;

	err = open_one(&fd4, AF_INET, port, fwmark, reuseport);
	if (err)
		return err;
	err = open_one(&fd6, AF_INET6, port, fwmark, reuseport);
	if (!err && fd4 < 0 && fd6 < 0)
		err = -EAFNOSUPPORT;
	if (err) {
		if (fd4 >= 0)
			close(fd4);
		return err;
	}
	udp_sock_init(sock, fd4, fd6, *port);
	return 0;
}

/* A port that is free for IPv4 may be taken for IPv6: any other will do when we may choose. */
static int open_first_pair(struct udp_sock *sock, uint16_t *port, uint32_t fwmark)
{
	int err = -EADDRINUSE;

	for (unsigned int i = 0; i < PORT_TRIES && err == -EADDRINUSE; i++) {
		uint16_t got = *port;

		err = open_pair(sock, &got, fwmark, false);
		if (!err || *port) {
			*port = got;
			break;
		}
	}
	return err;
}

int udp_sock_open_group(struct udp_sock *socks, unsigned int n, uint16_t *port, uint32_t fwmark)
{
	uint16_t got = *port;
	unsigned int n_open = 0;
	int err;

	err = open_first_pair(&socks[0], &got, fwmark);
	if (err)
		return err;
	n_open = 1;
	if (n > 1 && socks[0].fd4 >= 0)
		err = set_reuseport(socks[0].fd4);
	if (n > 1 && !err && socks[0].fd6 >= 0)
		err = set_reuseport(socks[0].fd6);
	while (!err && n_open < n) {
		err = open_pair(&socks[n_open], &got, fwmark, true);
		if (!err)
			n_open++;
	}
	if (err)
		goto err_close;
	*port = got;
	return 0;

err_close:
	while (n_open)
		udp_sock_close(&socks[--n_open]);
	return err;
}

static bool has_gso(int fd)
{
	int size;
	socklen_t len = sizeof(size);

	return fd >= 0 && !getsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, &len);
}

void udp_sock_init(struct udp_sock *sock, int fd4, int fd6, uint16_t port)
{
	*sock = (struct udp_sock){
		.fd4 = fd4, .fd6 = fd6, .port = port, .gso4 = has_gso(fd4), .gso6 = has_gso(fd6),
	};
}

void udp_sock_close(struct udp_sock *sock)
{
	if (sock->fd4 >= 0)
		close(sock->fd4);
	if (sock->fd6 >= 0)
		close(sock->fd6);
	sock->fd4 = sock->fd6 = -1;
}
