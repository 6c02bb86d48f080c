// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Workers and their threads. A thread runs to completion in bursts: datagrams to the tunnel device, then packets from it
 * to the network, until both are dry; between bursts it reports a quiescent state, and it sleeps offline.
 */
#define _GNU_SOURCE
#include "worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "rcu.h"
#include "receive.h"
#include "send.h"

/* Super-packets read from the tunnel device before the network gets its turn. */
#define TUN_READS_PER_TURN 16

enum source { SOURCE_UDP4, SOURCE_UDP6, SOURCE_TUN, SOURCE_WAKE };

struct worker_thread {
	struct worker worker;
	struct tun tun;
	struct udp_rx *rx;
	uint8_t *tun_buffer;
	struct worker_sockets *_Atomic sockets;
	int epoll_fd, wake_fd;
	atomic_bool stop;
	unsigned int ready; /* 1 << enum source */
	unsigned int number;
	void (*device_gone)(void *arg);
	void *arg;
	pthread_t thread;
};

uint64_t worker_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SECOND + (uint64_t)ts.tv_nsec;
}

/* ------ A worker without a thread ------ */

int worker_init(struct worker *worker, struct device *device, enum aead_backend backend)
{
	memset(worker, 0, sizeof(*worker));
	worker->device = device;
	worker->aead = aead_create(backend);
	if (!worker->aead)
		return -ENOTSUP;
	worker->tx_buffer = malloc(WORKER_TX_SIZE);
	if (!worker->tx_buffer || udp_tx_init(&worker->tx) || gso_coalescer_init(&worker->inner, true, true)) {
		worker_deinit(worker);
		return -ENOMEM;
	}
	device->hooks.random(&worker->jitter, sizeof(worker->jitter));
	worker->jitter |= 1;
	return 0;
}

void worker_deinit(struct worker *worker)
{
	gso_coalescer_deinit(&worker->inner);
	udp_tx_deinit(&worker->tx);
	free(worker->tx_buffer);
	aead_free(worker->aead);
	worker->tx_buffer = NULL;
	worker->aead = NULL;
}

void worker_drop(struct worker *worker, enum drop_reason why, unsigned int n)
{
	if (n)
		atomic_fetch_add_explicit(&worker->drops[why], n, memory_order_relaxed);
}

uint32_t worker_random(struct worker *worker)
{
	uint64_t x = worker->jitter;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	worker->jitter = x;
	return (uint32_t)(x >> 32);
}

static void flush_tx(struct worker *worker)
{
	struct worker_sockets *sockets = worker_thread_sockets(worker->io);
	uint64_t now_ns = worker_now_ns();

	if (sockets)
		udp_tx_flush(&sockets->sock, &worker->tx);
	for (unsigned int i = 0; i < worker->tx.n_msgs; i++) {
		struct udp_tx_msg *msg = &worker->tx.msgs[i];

		if (!sockets)
			msg->error = -ENETDOWN;
		if (msg->error)
			log_verbose("cannot send %u bytes: %s", msg->len, strerror(-msg->error));
		send_done(worker, msg, now_ns);
	}
	udp_tx_reset(&worker->tx);
}

static void flush_inner(struct worker *worker)
{
	struct worker_thread *thread = worker->io;

	gso_coalesce_finish(&worker->inner);
	worker_drop(worker, DROP_TUN_WRITE, tun_write(&thread->tun, &worker->inner));
	gso_coalesce_reset(&worker->inner);
	worker->inner.tcp = thread->tun.coalesce_tcp;
	worker->inner.udp = thread->tun.coalesce_udp;
}

void worker_borrow_sockets(struct worker *worker, struct worker_thread *thread)
{
	worker->io = thread;
	worker->flush_tx = flush_tx;
	worker->flush_inner = flush_inner;
}

/* ------ The thread ------ */

/* One burst from a socket. */
static void turn_udp(struct worker_thread *thread, int fd, enum source source)
{
	struct worker *worker = &thread->worker;
	struct udp_rx_msg *msgs;
	int n = fd < 0 ? 0 : udp_rx_burst(thread->rx, fd, source == SOURCE_UDP6, &msgs);

	if (n < UDP_RX_MSGS)
		thread->ready &= ~(1U << source);
	if (n <= 0)
		return;
	receive_messages(worker, msgs, (unsigned int)n, worker_now_ns());
	if (worker->inner.n_supers)
		flush_inner(worker);
}

static void turn_tun(struct worker_thread *thread)
{
	struct worker *worker = &thread->worker;
	uint64_t now_ns = worker_now_ns();
	struct virtio_net_hdr hdr;

	for (unsigned int i = 0; i < TUN_READS_PER_TURN; i++) {
		int len = tun_read(&thread->tun, &hdr, thread->tun_buffer, TUN_READ_MAX);

		if (len == -EBADFD) {
			atomic_store(&thread->stop, true);
			thread->device_gone(thread->arg);
		}
		if (len <= 0) {
			thread->ready &= ~(1U << SOURCE_TUN);
			break;
		}
		send_packet(worker, &hdr, thread->tun_buffer, (uint32_t)len, now_ns);
		/* A large packet is a burst of its own: the network starts on it while the next one is read. */
		if (worker->tx_used + worker->n_ops * 2048 > 60000)
			send_finish(worker);
	}
	send_finish(worker);
}

static void take_turns(struct worker_thread *thread)
{
	while (thread->ready && !atomic_load_explicit(&thread->stop, memory_order_relaxed)) {
		struct worker_sockets *sockets = worker_thread_sockets(thread);

		if (thread->ready & 1U << SOURCE_UDP4)
			turn_udp(thread, sockets ? sockets->sock.fd4 : -1, SOURCE_UDP4);
		if (thread->ready & 1U << SOURCE_UDP6)
			turn_udp(thread, sockets ? sockets->sock.fd6 : -1, SOURCE_UDP6);
		if (thread->ready & 1U << SOURCE_TUN)
			turn_tun(thread);
		rcu_quiescent();
	}
}

static void *thread_main(void *arg)
{
	struct worker_thread *thread = arg;
	struct epoll_event events[8];
	uint64_t drained;
	char name[16];

	snprintf(name, sizeof(name), "worker-%u", thread->number % 1000);
	pthread_setname_np(pthread_self(), name);
	rcu_register();
	while (!atomic_load(&thread->stop)) {
		int n;

		rcu_offline();
		n = epoll_wait(thread->epoll_fd, events, 8, -1);
		rcu_online();
		for (int i = 0; i < n; i++) {
			if (events[i].data.u32 == SOURCE_WAKE)
				(void)!read(thread->wake_fd, &drained, sizeof(drained));
			else
				thread->ready |= 1U << events[i].data.u32;
		}
		take_turns(thread);
	}
	rcu_unregister();
	return NULL;
}

static int watch(struct worker_thread *thread, int fd, enum source source)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = source };

	return fd >= 0 && epoll_ctl(thread->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static void thread_free(struct worker_thread *thread)
{
	worker_deinit(&thread->worker);
	udp_rx_free(thread->rx);
	free(thread->tun_buffer);
	if (thread->wake_fd >= 0)
		close(thread->wake_fd);
	if (thread->epoll_fd >= 0)
		close(thread->epoll_fd);
	free(thread);
}

struct worker_thread *worker_thread_start(struct device *device, struct handshake_queue *handshakes,
					  enum aead_backend backend, int tun_fd, const struct tun_features *features,
					  unsigned int number, void (*device_gone)(void *arg), void *arg, int *error)
{
	struct worker_thread *thread = calloc(1, sizeof(*thread));

	*error = -ENOMEM;
	if (!thread)
		return NULL;
	thread->device_gone = device_gone;
	thread->arg = arg;
	thread->number = number;
	thread->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	thread->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	thread->rx = udp_rx_create();
	thread->tun_buffer = malloc(TUN_READ_MAX);
	tun_init(&thread->tun, tun_fd, features);
	*error = worker_init(&thread->worker, device, backend);
	if (*error)
		goto err_free;
	worker_borrow_sockets(&thread->worker, thread);
	thread->worker.handshakes = handshakes;
	thread->worker.inner.tcp = thread->tun.coalesce_tcp;
	thread->worker.inner.udp = thread->tun.coalesce_udp;
	*error = -ENOMEM;
	if (!thread->rx || !thread->tun_buffer || thread->epoll_fd < 0 || thread->wake_fd < 0)
		goto err_free;
	*error = watch(thread, thread->wake_fd, SOURCE_WAKE);
	if (!*error)
		*error = watch(thread, tun_fd, SOURCE_TUN);
	if (!*error)
		*error = -pthread_create(&thread->thread, NULL, thread_main, thread);
	if (*error)
		goto err_free;
	return thread;

err_free:
	thread_free(thread);
	return NULL;
}

static void wake(struct worker_thread *thread)
{
	uint64_t one = 1;

	(void)!write(thread->wake_fd, &one, sizeof(one));
}

void worker_thread_stop(struct worker_thread *thread)
{
	struct worker_sockets *sockets;

	if (!thread)
		return;
	atomic_store(&thread->stop, true);
	wake(thread);
	pthread_join(thread->thread, NULL);
	sockets = worker_thread_sockets(thread);
	if (sockets)
		udp_sock_close(&sockets->sock);
	free(sockets);
	thread_free(thread);
}

struct worker *worker_thread_worker(struct worker_thread *thread)
{
	return &thread->worker;
}

struct tun *worker_thread_tun(struct worker_thread *thread)
{
	return &thread->tun;
}

struct worker_sockets *worker_thread_sockets(struct worker_thread *thread)
{
	return atomic_load_explicit(&thread->sockets, memory_order_acquire);
}

int worker_thread_set_sockets(struct worker_thread *thread, struct worker_sockets *sockets, struct worker_sockets **old)
{
	int error = 0;

	if (sockets) {
		error = watch(thread, sockets->sock.fd4, SOURCE_UDP4);
		if (!error)
			error = watch(thread, sockets->sock.fd6, SOURCE_UDP6);
		if (error) {
			epoll_ctl(thread->epoll_fd, EPOLL_CTL_DEL, sockets->sock.fd4, NULL);
			return error;
		}
	}
	*old = atomic_exchange(&thread->sockets, sockets);
	if (*old) {
		epoll_ctl(thread->epoll_fd, EPOLL_CTL_DEL, (*old)->sock.fd4, NULL);
		epoll_ctl(thread->epoll_fd, EPOLL_CTL_DEL, (*old)->sock.fd6, NULL);
	}
	wake(thread);
	return 0;
}
