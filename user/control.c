// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The agent: starts its threads, gives up its privileges, then waits for configuration, timers and the link.
 *
 * Removal of peers and keypairs ends here: what other threads have unpublished is freed after a grace period.
 */
#define _GNU_SOURCE
#include "control_internal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "crypto/secret.h"
#include "expiry.h"
#include "log.h"
#include "monitor.h"
#include "rcu.h"
#include "send.h"

/* Address space for secrets: keypairs of some 500,000 peers. Only what is used is locked. */
#define SECRET_ARENA_SIZE (2ULL << 30)
/* What the epoll events of our own fds carry. */
static char event_timer, event_wake, event_signal, event_monitor, event_tun, event_underlay;

/* ------ Hooks of the device ------ */

static void random_bytes(void *out, size_t len)
{
	randombytes_buf(out, len);
}

static uint64_t realtime_ns(void *arg)
{
	struct timespec ts;

	(void)arg;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SECOND + (uint64_t)ts.tv_nsec;
}

static void notify(int fd)
{
	uint64_t one = 1;

	(void)!write(fd, &one, sizeof(one));
}

static void wake_control(void *arg)
{
	notify(((struct control *)arg)->wake_fd);
}

static void wake_handshake(void *arg)
{
	notify(((struct control *)arg)->handshake_fd);
}

static void hook_send_staged(void *arg, struct peer *peer, bool keepalive)
{
	struct control *control = arg;

	send_staged(&control->worker, peer, keepalive, worker_now_ns());
	send_finish(&control->worker);
}

static void device_gone(void *arg)
{
	struct control *control = arg;

	atomic_store(&control->done, true);
	wake_control(control);
}

/* ------ The handshake thread ------ */

static void *handshake_main(void *arg)
{
	struct control *control = arg;
	struct handshake_state state = { 0 };
	uint64_t drained;

	pthread_setname_np(pthread_self(), "handshake");
	rcu_register();
	while (!atomic_load(&control->done)) {
		rcu_offline();
		(void)!read(control->handshake_fd, &drained, sizeof(drained));
		rcu_online();
		while (!atomic_load(&control->done) &&
		       handshake_run(&control->handshake_worker, &state, worker_now_ns()))
			rcu_quiescent();
	}
	rcu_unregister();
	return NULL;
}

/* ------ Timers ------ */

static void free_retired(struct control *control)
{
	struct device_retired retired;

	if (!device_take_retired(&control->device, &retired))
		return;
	rcu_wait();
	device_free_retired(&control->device, &retired);
}

void control_want_housekeeping(struct control *control)
{
	if (control->housekeeping_ns == TIMERS_NEVER)
		control->housekeeping_ns = worker_now_ns() + NS_PER_SECOND;
}

/* What need not happen at once, about once a second and only while there is something to do. */
static void run_housekeeping(struct control *control)
{
	uint64_t now_ns = worker_now_ns();
	size_t n_left;

	control->housekeeping_ns = TIMERS_NEVER;
	free_retired(control);
	if (atomic_exchange(&control->device.has_news, false))
		control->state_is_dirty = true;
	if (control->state_is_dirty && control->next_save_ns <= now_ns)
		control_save_state(control);
	device_lock(&control->device);
	n_left = ratelimiter_collect(control->device.ratelimiter, now_ns);
	device_unlock(&control->device);
	n_left += uapi_close_idle(control->uapi, now_ns);
	control_update_link(control);
	if (n_left || !control->link || control->state_is_dirty)
		control_want_housekeeping(control);
}

/* On CLOCK_BOOTTIME: after a suspend, what has become due meanwhile is done at once. */
static void set_timer(struct control *control)
{
	uint64_t next_ns = timer_queue_next(&control->device.timer_queue);
	struct itimerspec spec = { 0 };

	if (control->housekeeping_ns < next_ns)
		next_ns = control->housekeeping_ns;
	if (next_ns == control->timer_set_ns)
		return;
	control->timer_set_ns = next_ns;
	if (next_ns != TIMERS_NEVER) {
		spec.it_value.tv_sec = (time_t)(next_ns / NS_PER_SECOND);
		spec.it_value.tv_nsec = (long)(next_ns % NS_PER_SECOND) + !next_ns;
	}
	timerfd_settime(control->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

/* ------ Start and end ------ */

static int add_event(struct control *control, int fd, uint32_t events, void *ptr)
{
	struct epoll_event event = { .events = events, .data.ptr = ptr };

	return epoll_ctl(control->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int open_fds(struct control *control)
{
	sigset_t signals;
	int error;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	control->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	control->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	control->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	control->handshake_fd = eventfd(0, EFD_CLOEXEC);
	control->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (control->epoll_fd < 0 || control->timer_fd < 0 || control->wake_fd < 0 || control->handshake_fd < 0 ||
	    control->signal_fd < 0)
		return -errno;
	error = add_event(control, control->timer_fd, EPOLLIN, &event_timer);
	if (!error)
		error = add_event(control, control->wake_fd, EPOLLIN, &event_wake);
	if (!error)
		error = add_event(control, control->signal_fd, EPOLLIN, &event_signal);
	if (!error)
		error = add_event(control, control->start->monitor_fd, EPOLLIN | EPOLLRDHUP, &event_monitor);
	/* A queue becomes writable when the device comes up, wherever it lives. */
	if (!error)
		error = add_event(control, control->start->tun_fds[0], EPOLLOUT | EPOLLET, &event_tun);
	return error;
}

static int start_threads(struct control *control)
{
	struct privileged_start *start = control->start;
	int error;

	control->handshakes = handshake_queue_create(wake_handshake, control);
	if (!control->handshakes)
		return -ENOMEM;
	for (unsigned int i = 0; i < start->n_workers; i++) {
		control->threads[i] = worker_thread_start(&control->device, control->handshakes,
							  control->aead.backend, start->tun_fds[i],
							  &start->tun_features, i, device_gone, control, &error);
		if (!control->threads[i])
			return error;
	}
	error = worker_init(&control->worker, &control->device, control->aead.backend);
	if (error)
		return error;
	worker_borrow_sockets(&control->worker, control->threads[0]);
	error = worker_init(&control->handshake_worker, &control->device, control->aead.backend);
	if (error)
		return error;
	worker_borrow_sockets(&control->handshake_worker, control->threads[0]);
	control->handshake_worker.handshakes = control->handshakes;
	error = -pthread_create(&control->handshake_thread, NULL, handshake_main, control);
	if (error)
		return error;
	control->has_handshake_thread = true;
	return 0;
}

static void handle_event(struct control *control, const struct epoll_event *event)
{
	uint64_t drained;

	if (event->data.ptr == &event_timer) {
		(void)!read(control->timer_fd, &drained, sizeof(drained));
		control->timer_set_ns = 0;
	} else if (event->data.ptr == &event_wake) {
		(void)!read(control->wake_fd, &drained, sizeof(drained));
		if (control->device.has_retired || control->device.has_news)
			control_want_housekeeping(control);
	} else if (event->data.ptr == &event_signal || event->data.ptr == &event_monitor) {
		atomic_store(&control->done, true);
	} else if (event->data.ptr == &control_event_link || event->data.ptr == &event_tun) {
		control_update_link(control);
	} else if (event->data.ptr == &event_underlay) {
		if (netlink_underlay_update(control->underlay))
			control_check_sources(control);
	} else {
		uapi_handle_event(control->uapi, event->data.ptr);
		control_want_housekeeping(control);
	}
}

static void loop(struct control *control)
{
	struct epoll_event events[16];

	while (!atomic_load(&control->done)) {
		int n;

		if (control->device.has_retired)
			control_want_housekeeping(control);
		set_timer(control);
		rcu_offline();
		n = epoll_wait(control->epoll_fd, events, 16, -1);
		rcu_online();
		for (int i = 0; i < n && !atomic_load(&control->done); i++)
			handle_event(control, &events[i]);
		expiry_run(&control->worker, worker_now_ns());
		if (control->housekeeping_ns <= worker_now_ns())
			run_housekeeping(control);
	}
}

static int setup(struct control *control)
{
	struct device_hooks hooks = {
		.arg = control,
		.random = random_bytes,
		.realtime_ns = realtime_ns,
		.wake_handshake = wake_handshake,
		.wake_control = wake_control,
		.send_staged = hook_send_staged,
	};
	const char *forced = getenv("WG_XDP_AEAD");
	int error;

	if (sodium_init() < 0)
		return -EIO;
	error = secret_init(SECRET_ARENA_SIZE);
	if (error) {
		log_error("cannot lock memory for keys: %s; raise RLIMIT_MEMLOCK", strerror(-error));
		return error;
	}
	error = aead_choose(forced, &control->aead);
	if (error) {
		log_error("AEAD back end \"%s\" cannot be used: %s", forced ? forced : "auto", strerror(-error));
		return error;
	}
	error = open_fds(control);
	if (!error)
		error = device_init(&control->device, &hooks);
	if (!error)
		error = privileged_drop();
	return error;
}

static void end(struct control *control)
{
	atomic_store(&control->done, true);
	notify(control->handshake_fd);
	rcu_offline();
	if (control->has_handshake_thread)
		pthread_join(control->handshake_thread, NULL);
	for (unsigned int i = 0; i < control->start->n_workers; i++)
		worker_thread_stop(control->threads[i]);
	rcu_online();
	uapi_server_free(control->uapi);
	netlink_watch_free(control->link);
	netlink_underlay_free(control->underlay);
	handshake_queue_free(control->handshakes);
	worker_deinit(&control->worker);
	worker_deinit(&control->handshake_worker);
	device_deinit(&control->device);
}

int control_main(struct privileged_start *start)
{
	struct control *control = calloc(1, sizeof(*control));
	int error = -ENOMEM;

	if (!control)
		return AGENT_EXIT_SETUP;
	control->start = start;
	control->housekeeping_ns = worker_now_ns();
	rcu_register();
	error = setup(control);
	if (error)
		goto err_setup;
	error = start_threads(control);
	if (error)
		goto err_start;
	control->uapi = uapi_server_create(control, start->uapi_fd, control->epoll_fd);
	control->underlay = netlink_underlay_create(&error);
	if (!control->uapi || !control->underlay)
		goto err_start;
	error = add_event(control, netlink_underlay_fd(control->underlay), EPOLLIN, &event_underlay);
	if (error)
		goto err_start;
	if (start->is_restart)
		control_restore_state(control);
	control_update_link(control);
	log_verbose("AEAD: %s, %u worker(s)", aead_name(control->worker.aead), start->n_workers);
	privileged_ready(start->monitor_fd);
	loop(control);
	end(control);
	rcu_unregister();
	free(control);
	return AGENT_EXIT_DONE;

err_start:
	end(control);
err_setup:
	log_error("the agent cannot start: %s", strerror(-error));
	rcu_unregister();
	free(control);
	return AGENT_EXIT_SETUP;
}
