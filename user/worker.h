/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A worker: what one thread needs to move bursts between the tunnel device and the network, and its loop.
 *
 * The walks (receive.h, send.h, handshake.h) run on a worker and touch the outside only through it: packets out are put
 * into `tx` and `inner`, and two functions empty these when they are full and at the end of a burst. The simulator puts
 * its own functions there. The handshake and control threads have workers without queues of their own, for what they send.
 */
#ifndef WG_XDP_WORKER_H
#define WG_XDP_WORKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "crypto/aead.h"
#include "device.h"
#include "drop_reason.h"
#include "gso.h"
#include "tun.h"
#include "udp_sock.h"

/* Packets that go through the AEAD together. */
#define WORKER_BURST 64
/* Room for sealed messages between two sends. */
#define WORKER_TX_SIZE (512 * 1024)

struct handshake_queue;

/* A packet whose keypair is known, between its steps. */
struct worker_rx_pkt {
	struct keypair *keypair;
	const struct udp_rx_msg *msg; /* where it came from */
	bool is_accepted;
};

struct worker {
	struct device *device;
	struct handshake_queue *handshakes; /* where messages of types 1 to 3 go */
	struct aead *aead;

	/* Burst in work. */
	struct aead_op ops[WORKER_BURST];
	struct worker_rx_pkt rx_pkts[WORKER_BURST];
	unsigned int n_ops;

	/* Out to the network: messages in tx, their bytes in tx_buffer. */
	struct udp_tx tx;
	uint8_t *tx_buffer;
	uint32_t tx_used;
	/* Sealed packets that wait in ops: where each goes. */
	struct worker_tx_pkt {
		struct peer *peer;
		uint8_t *message;
		uint32_t len;
		uint8_t ds;
		uint16_t endpoint; /* in endpoints */
	} tx_pkts[WORKER_BURST];
	struct endpoint endpoints[WORKER_BURST];
	unsigned int n_endpoints;

	/* Out to the tunnel device. */
	struct gso_coalescer inner;

	/* Empties tx; empties inner. */
	void (*flush_tx)(struct worker *worker);
	void (*flush_inner)(struct worker *worker);
	void *io; /* theirs */

	uint64_t icmp_next_ns;     /* unreachable errors are sent at a bounded rate */
	uint32_t icmp_tokens;
	uint64_t jitter;           /* state of worker_random() */
	atomic_uint_fast64_t drops[DROP_REASON_COUNT]; /* written by this thread alone */
	atomic_uint_fast64_t rx_packets, tx_packets, cookie_replies;
};

/* Returns 0, -ENOMEM or -ENOTSUP (the back end). */
int worker_init(struct worker *worker, struct device *device, enum aead_backend backend);
void worker_deinit(struct worker *worker);

/* Counts n packets dropped. */
void worker_drop(struct worker *worker, enum drop_reason why, unsigned int n);
/* For jitter only: quick, not secret. */
uint32_t worker_random(struct worker *worker);
/* Room for a message of len bytes that stays until flushed; never NULL for len <= 65535. May flush. */
uint8_t *worker_tx_reserve(struct worker *worker, uint32_t len);

/* ------ The threads around a real network ------ */

/* A group's sockets as one worker uses them; replaced as a whole, freed after a grace period. */
struct worker_sockets {
	struct udp_sock sock;
};

struct worker_thread;

/*
 * Starts a thread that serves one TUN queue (fd stays the caller's) and, once given sockets, the network. NULL on
 * failure; *error gets -errno.
 */
struct worker_thread *worker_thread_start(struct device *device, struct handshake_queue *handshakes,
					  enum aead_backend backend, int tun_fd, const struct tun_features *features,
					  unsigned int number, void (*device_gone)(void *arg), void *arg, int *error);
/* Ends the thread and frees it, with the sockets it has. Nobody else may use these any more. */
void worker_thread_stop(struct worker_thread *thread);
struct worker *worker_thread_worker(struct worker_thread *thread);
struct tun *worker_thread_tun(struct worker_thread *thread);

/*
 * Gives new sockets (owned by the thread from now on) or none (NULL) and returns the old ones, which must be closed after
 * a grace period. Returns 0 or -errno, with nothing changed.
 */
int worker_thread_set_sockets(struct worker_thread *thread, struct worker_sockets *sockets, struct worker_sockets **old);
/* The present ones, or NULL; valid until the caller's next quiescent state. */
struct worker_sockets *worker_thread_sockets(struct worker_thread *thread);

/* For a worker without a thread of its own: sends through thread's sockets. */
void worker_borrow_sockets(struct worker *worker, struct worker_thread *thread);

/* CLOCK_BOOTTIME in ns: it counts the time asleep. */
uint64_t worker_now_ns(void);

#endif
