/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * UDP sockets: bursts in by recvmmsg and UDP_GRO, out by sendmmsg and UDP_SEGMENT.
 *
 * Knows datagrams and addresses, no keys. A worker has its own pair; sending on it from other threads is allowed.
 */
#ifndef WG_XDP_UDP_SOCK_H
#define WG_XDP_UDP_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "endpoint.h"

struct udp_sock {
	int fd4, fd6;   /* -1: none */
	uint16_t port;  /* host order, the same for both */
	bool gso4, gso6; /* cleared, once and for good, when a device answers EIO to UDP_SEGMENT */
};

/*
 * Opens a pair on port (0: any; *port gets it), non-blocking, wildcard address, IPv6 only on its own, with SO_MARK, large
 * buffers, PKTINFO, TOS/TCLASS, GRO. n pairs on one port form a SO_REUSEPORT group; a port that somebody else has is
 * -EADDRINUSE. A system without IPv6 (or IPv4) gives fd6 (fd4) = -1. Needs CAP_NET_ADMIN for marks and buffers. Returns 0
 * or -errno, with nothing open.
 */
int udp_sock_open_group(struct udp_sock *socks, unsigned int n, uint16_t *port, uint32_t fwmark);
/* For fds made elsewhere by udp_sock_open_group(): finds out what the kernel can do. */
void udp_sock_init(struct udp_sock *sock, int fd4, int fd6, uint16_t port);
void udp_sock_close(struct udp_sock *sock);

#define UDP_RX_MSGS 8
#define UDP_RX_BUFFER_SIZE 65536

/* One received datagram, or several of segment_size bytes (the last may be shorter) that GRO has put together. */
struct udp_rx_msg {
	struct endpoint from; /* with the local address it was sent to as source */
	uint8_t *data;
	uint32_t len;
	uint32_t segment_size; /* len, if it is one */
	uint8_t ds;
	bool is_truncated;
};

/* A burst; one per receiving thread. Buffers are UDP_RX_BUFFER_SIZE each and stay the burst's. */
struct udp_rx;
struct udp_rx *udp_rx_create(void);
void udp_rx_free(struct udp_rx *rx);

/*
 * Receives up to UDP_RX_MSGS messages from one fd (of either family; is_v6 says which). *msgs points to them until the
 * next call. Returns how many, 0 when none waits, -errno for what cannot be retried. Errors that ICMP has queued on the
 * socket are taken and forgotten.
 */
int udp_rx_burst(struct udp_rx *rx, int fd, bool is_v6, struct udp_rx_msg **msgs);

#define UDP_TX_MSGS 64
#define UDP_TX_MAX_SEGMENTS 64
#define UDP_TX_MAX_BYTES 65000

/* One send: equal-sized datagrams (the last may be shorter) to one endpoint. */
struct udp_tx_msg {
	struct endpoint to;
	void *user;       /* the caller's */
	uint32_t len, segment_size, n_segments;
	uint8_t ds;
	bool is_closed;   /* a shorter segment has ended it */
	/* After udp_tx_flush(): */
	int error;        /* 0 or -errno: nothing of it was sent */
	bool src_refused; /* sent (or tried) without its source address, which the kernel does not take any more */
	struct iovec iov[UDP_TX_MAX_SEGMENTS];
	uint32_t n_iov;
};

struct udp_tx {
	struct udp_tx_msg *msgs; /* UDP_TX_MSGS of them */
	unsigned int n_msgs;
};

int udp_tx_init(struct udp_tx *tx);
void udp_tx_deinit(struct udp_tx *tx);

/*
 * Adds a datagram, to the last message when endpoint, ds, user and size allow (and to its last iovec when contiguous).
 * data must stay until flushed. False when full: flush first.
 */
bool udp_tx_add(struct udp_tx *tx, const struct endpoint *to, uint8_t ds, const uint8_t *data, uint32_t len, void *user);

/*
 * Sends everything, in order, by as few system calls as possible; results are in the messages, which stay readable until
 * the next udp_tx_reset(). A full socket buffer is waited for briefly (a few ms), then it is an error. Partial sendmmsg
 * results lose nothing. Returns the number of datagrams sent.
 */
unsigned int udp_tx_flush(struct udp_sock *sock, struct udp_tx *tx);
void udp_tx_reset(struct udp_tx *tx);

#endif
