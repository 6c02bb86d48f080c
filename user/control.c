// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The agent: starts its threads, gives up its privileges, then waits for configuration, timers and the link.
 *
 * Removal of peers and keypairs ends here: what other threads have unpublished is freed after a grace period.
 */
#define _GNU_SOURCE
#include "control.h"

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
#include <urcu/urcu-qsbr.h>

#include "crypto/secret.h"
#include "handshake.h"
#include "log.h"
#include "monitor.h"
#include "netlink.h"
#include "privileged.h"
#include "send.h"
#include "state.h"
#include "uapi.h"
#include "worker.h"

/* Address space for secrets: keypairs of some 500,000 peers. Only what is used is locked. */
#define SECRET_ARENA_SIZE (2ULL << 30)
/* A large configuration is saved for a successor at most this often. */
#define SAVE_INTERVAL_NS NS_PER_SECOND
#define SAVE_AT_ONCE_PEERS 64

struct control {
	struct privileged_start *start;
	struct device device;
	struct aead_choice aead;
	struct worker worker; /* for what control itself sends */
	struct worker_thread *threads[PRIVILEGED_MAX_WORKERS];
	struct handshake_queue *handshakes;
	pthread_t handshake_thread;
	bool has_handshake_thread;
	struct worker handshake_worker;
	struct uapi_server *uapi;
	struct netlink_watch *link;
	struct netlink_underlay *underlay;
	int epoll_fd, timer_fd, wake_fd, handshake_fd, signal_fd;
	uint64_t timer_set_ns; /* what timer_fd is set to */
	uint64_t housekeeping_ns; /* when it is due; TIMERS_NEVER: nothing to do */
	bool state_is_dirty, state_second_half;
	atomic_bool done;
	int exit_code;
};

/* What the epoll events of our own fds carry. */
static char event_timer, event_wake, event_signal, event_monitor, event_link, event_tun, event_underlay;

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
	urcu_qsbr_register_thread();
	while (!atomic_load(&control->done)) {
		urcu_qsbr_thread_offline();
		(void)!read(control->handshake_fd, &drained, sizeof(drained));
		urcu_qsbr_thread_online();
		while (!atomic_load(&control->done) &&
		       handshake_run(&control->handshake_worker, &state, worker_now_ns()))
			urcu_qsbr_quiescent_state();
	}
	urcu_qsbr_unregister_thread();
	return NULL;
}

/* ------ Sockets ------ */

static void free_sockets(struct worker_sockets *sockets[], unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		if (sockets[i])
			udp_sock_close(&sockets[i]->sock);
		free(sockets[i]);
	}
}

/* Gives each worker its pair, or none; the old ones are closed once nobody uses them. */
static void swap_sockets(struct control *control, struct worker_sockets *sockets[])
{
	struct worker_sockets *old[PRIVILEGED_MAX_WORKERS] = { 0 };

	for (unsigned int i = 0; i < control->start->n_workers; i++) {
		int error = worker_thread_set_sockets(control->threads[i], sockets ? sockets[i] : NULL, &old[i]);

		if (!error)
			continue;
		log_error("worker %u cannot use its new sockets: %s", i, strerror(-error));
		old[i] = sockets[i];
	}
	urcu_qsbr_synchronize_rcu();
	free_sockets(old, control->start->n_workers);
}

static int open_sockets(struct control *control, struct worker_sockets *sockets[], uint16_t *port, uint32_t fwmark)
{
	struct udp_sock group[PRIVILEGED_MAX_WORKERS];
	unsigned int n = control->start->n_workers;
	int error;

	error = privileged_open_sockets(control->start->monitor_fd, group, n, port, fwmark);
	if (error)
		return error;
	for (unsigned int i = 0; i < n; i++) {
		sockets[i] = calloc(1, sizeof(*sockets[i]));
		if (!sockets[i])
			error = -ENOMEM;
		else
			sockets[i]->sock = group[i];
	}
	if (error) {
		for (unsigned int i = 0; i < n; i++)
			if (!sockets[i])
				udp_sock_close(&group[i]);
		free_sockets(sockets, n);
	}
	return error;
}

/* ------ Link state ------ */

static void link_up(struct control *control)
{
	struct worker_sockets *sockets[PRIVILEGED_MAX_WORKERS] = { 0 };
	struct device *device = &control->device;
	uint16_t port = device->listen_port;
	int error;

	error = open_sockets(control, sockets, &port, device->fwmark);
	if (error) {
		log_error("interface is up, but UDP port %u cannot be opened (%s): free the port or set another listen-port; trying again",
			  port, strerror(-error));
		control->housekeeping_ns = worker_now_ns() + NS_PER_SECOND;
		return;
	}
	swap_sockets(control, sockets);
	pthread_mutex_lock(&device->lock);
	device->listen_port = port;
	device_up(device);
	pthread_mutex_unlock(&device->lock);
	log_verbose("interface up, listening on port %u", port);
}

static void link_down(struct control *control)
{
	struct device *device = &control->device;

	pthread_mutex_lock(&device->lock);
	device_down(device, worker_now_ns());
	pthread_mutex_unlock(&device->lock);
	swap_sockets(control, NULL);
	privileged_close_sockets(control->start->monitor_fd);
	log_verbose("interface down");
}

/* Follows the device into the namespace where it is now. */
static void follow_device(struct control *control)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = &event_link };
	int fd, ifindex, error;

	netlink_watch_free(control->link);
	control->link = NULL;
	error = privileged_tun_netlink(control->start->monitor_fd, &fd, &ifindex);
	if (error == -ENODEV) {
		atomic_store(&control->done, true);
		return;
	}
	if (!error)
		control->link = netlink_watch_create(fd, ifindex, &error);
	if (control->link)
		epoll_ctl(control->epoll_fd, EPOLL_CTL_ADD, netlink_watch_fd(control->link), &event);
	else
		log_error("cannot follow the state of the interface: %s", strerror(-error));
}

static void update_link(struct control *control)
{
	const struct netlink_device_state *state;
	bool is_up = tun_is_up(control->start->tun_fds[0]);

	if (control->link && netlink_watch_update(control->link) && !netlink_watch_state(control->link)->exists)
		follow_device(control);
	if (control->link) {
		state = netlink_watch_state(control->link);
		is_up = state->is_up;
		atomic_store(&control->device.mtu, state->mtu);
		atomic_store(&control->device.route_mtu, state->route_mtu);
	}
	if (is_up && !control->device.is_up)
		link_up(control);
	else if (!is_up && control->device.is_up)
		link_down(control);
}

/* Routes or addresses have changed: forget sources the kernel would not use any more. */
static void check_sources(struct control *control)
{
	struct device *device = &control->device;

	pthread_mutex_lock(&device->lock);
	for (struct peer *peer = device->first_peer; peer; peer = peer->list_next) {
		struct endpoint endpoint;

		peer_lock(peer);
		endpoint = peer->endpoint;
		peer_unlock(peer);
		if (!endpoint_has_src(&endpoint) ||
		    netlink_underlay_src_is_valid(control->underlay, &endpoint, device->fwmark))
			continue;
		peer_lock(peer);
		if (endpoint_equal(&peer->endpoint, &endpoint))
			endpoint_clear_src(&peer->endpoint);
		peer_unlock(peer);
	}
	pthread_mutex_unlock(&device->lock);
}

/* ------ Timers ------ */

static void run_peer_timers(struct control *control, struct peer *peer, uint64_t now_ns)
{
	struct device *device = &control->device;
	unsigned int actions;

	pthread_mutex_lock(&device->lock);
	peer_lock(peer);
	actions = timers_expire(&peer->timers, now_ns);
	if (actions & TIMER_ACTION_CLEAR_SRC)
		endpoint_clear_src(&peer->endpoint);
	if (actions & (TIMER_ACTION_PURGE_STAGED | TIMER_ACTION_ZERO_KEY_MATERIAL))
		worker_drop(&control->worker, DROP_STAGED_PURGED, staged_packets_free(peer_take_staged(peer).first));
	if (actions & (TIMER_ACTION_SEND_INITIATION | TIMER_ACTION_RETRY_INITIATION))
		device_request_initiation(peer, actions & TIMER_ACTION_RETRY_INITIATION, now_ns);
	if (actions & TIMER_ACTION_ZERO_KEY_MATERIAL) {
		device_clear_handshake(device, peer);
		peer_clear_keypairs(peer);
	}
	timer_queue_schedule(&device->timer_queue, peer, timers_next_deadline(&peer->timers));
	peer_unlock(peer);
	if (actions & TIMER_ACTION_SEND_KEEPALIVE)
		send_staged(&control->worker, peer, true, now_ns);
	pthread_mutex_unlock(&device->lock);
}

static void run_timers(struct control *control)
{
	uint64_t now_ns = worker_now_ns();
	struct peer *peer;

	device_collect_kicks(&control->device);
	while ((peer = timer_queue_pop(&control->device.timer_queue, now_ns)))
		run_peer_timers(control, peer, now_ns);
	send_finish(&control->worker);
}

static void save_state(struct control *control)
{
	int error;

	pthread_mutex_lock(&control->device.lock);
	error = state_save(control->start->state_fd, &control->state_second_half, &control->device);
	pthread_mutex_unlock(&control->device.lock);
	if (error)
		log_error("cannot keep the configuration for a restart: %s", strerror(-error));
	control->state_is_dirty = false;
}

static void free_retired(struct control *control)
{
	struct device_retired retired;

	if (!device_take_retired(&control->device, &retired))
		return;
	urcu_qsbr_synchronize_rcu();
	device_free_retired(&control->device, &retired);
}

/* What need not happen at once, about once a second and only while there is something to do. */
static void run_housekeeping(struct control *control)
{
	uint64_t now_ns = worker_now_ns();
	size_t n_left;

	free_retired(control);
	if (control->state_is_dirty)
		save_state(control);
	pthread_mutex_lock(&control->device.lock);
	n_left = ratelimiter_collect(control->device.ratelimiter, now_ns);
	pthread_mutex_unlock(&control->device.lock);
	n_left += uapi_close_idle(control->uapi, now_ns);
	update_link(control);
	control->housekeeping_ns = n_left || !control->link ? now_ns + NS_PER_SECOND : TIMERS_NEVER;
}

static void want_housekeeping(struct control *control)
{
	if (control->housekeeping_ns == TIMERS_NEVER)
		control->housekeeping_ns = worker_now_ns() + SAVE_INTERVAL_NS;
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

/* ------ Configuration ------ */

int control_apply(struct control *control, const struct device_config *config)
{
	struct worker_sockets *sockets[PRIVILEGED_MAX_WORKERS] = { 0 };
	struct device *device = &control->device;
	uint32_t fwmark = config->flags & CONFIG_DEVICE_HAS_FWMARK ? config->fwmark : device->fwmark;
	uint16_t port = config->flags & CONFIG_DEVICE_HAS_LISTEN_PORT ? config->listen_port : device->listen_port;
	bool reopen = device->is_up && port != device->listen_port, remark = fwmark != device->fwmark;
	int error = 0;

	/* What others can refuse comes first. */
	if (reopen)
		error = open_sockets(control, sockets, &port, fwmark);
	else if (remark && device->is_up)
		error = privileged_set_fwmark(control->start->monitor_fd, fwmark);
	if (error)
		return error;

	pthread_mutex_lock(&device->lock);
	error = device_apply(device, config, worker_now_ns());
	if (!error) {
		device->listen_port = port;
		device->fwmark = fwmark;
		for (struct peer *peer = device->first_peer; peer && (reopen || remark); peer = peer->list_next) {
			peer_lock(peer);
			endpoint_clear_src(&peer->endpoint);
			peer_unlock(peer);
		}
	}
	pthread_mutex_unlock(&device->lock);
	if (error) {
		free_sockets(sockets, control->start->n_workers);
		if (remark && device->is_up && !reopen)
			privileged_set_fwmark(control->start->monitor_fd, device->fwmark);
		return error;
	}
	if (reopen)
		swap_sockets(control, sockets);
	control->state_is_dirty = true;
	if (device->n_peers <= SAVE_AT_ONCE_PEERS)
		save_state(control);
	want_housekeeping(control);
	return 0;
}

int control_status(struct control *control, struct device_config *status)
{
	int error;

	pthread_mutex_lock(&control->device.lock);
	error = device_status(&control->device, status);
	pthread_mutex_unlock(&control->device.lock);
	return error;
}

static uint64_t sum_drops(struct control *control, enum drop_reason why)
{
	uint64_t sum = control->worker.drops[why] + control->handshake_worker.drops[why];

	for (unsigned int i = 0; i < control->start->n_workers; i++)
		sum += worker_thread_worker(control->threads[i])->drops[why];
	return sum;
}

void control_format_extra(struct control *control, struct uapi_text *text)
{
	static const char *const names[] = {
#define DROP_REASON_NAME(name, word, meaning) word,
		DROP_REASONS(DROP_REASON_NAME)
#undef DROP_REASON_NAME
	};
	const struct tun_features *features = &control->start->tun_features;
	struct worker_sockets *sockets = worker_thread_sockets(control->threads[0]);

	uapi_text_printf(text, "aead=%s\n", aead_name(control->worker.aead));
	for (int i = 0; i < AEAD_BACKEND_COUNT; i++)
		if (control->aead.ns_1420[i])
			uapi_text_printf(text, "aead_ns_1420_%s=%u\n", aead_backend_word((enum aead_backend)i),
					 control->aead.ns_1420[i]);
	uapi_text_printf(text, "datapath=skb\ntx=udp\nworkers=%u\n", control->start->n_workers);
	uapi_text_printf(text, "tun_tso=%d\ntun_uso=%d\n", features->tso, features->uso);
	uapi_text_printf(text, "tun_coalesce_tcp=%d\ntun_coalesce_udp=%d\n",
			 worker_thread_tun(control->threads[0])->coalesce_tcp,
			 worker_thread_tun(control->threads[0])->coalesce_udp);
	uapi_text_printf(text, "udp_gso4=%d\nudp_gso6=%d\n", sockets && sockets->sock.gso4,
			 sockets && sockets->sock.gso6);
	uapi_text_printf(text, "up=%d\nrestarted=%d\n", control->device.is_up, control->start->is_restart);
	uapi_text_printf(text, "cookie_replies=%lu\n", (unsigned long)control->handshake_worker.cookie_replies);
	for (int why = DROP_NONE + 1; why < DROP_REASON_COUNT; why++)
		uapi_text_printf(text, "drop_%s=%lu\n", names[why],
				 (unsigned long)sum_drops(control, (enum drop_reason)why));
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

/* A successor takes up where the dead agent was, but for its sessions. */
static void restore_state(struct control *control)
{
	struct device_config config;
	int error;

	device_config_init(&config);
	error = state_load(control->start->state_fd, &config);
	if (!error)
		error = control_apply(control, &config);
	pthread_mutex_lock(&control->device.lock);
	if (!error)
		error = state_load_timestamps(control->start->state_fd, &control->device);
	pthread_mutex_unlock(&control->device.lock);
	device_config_deinit(&config);
	if (error && error != -ENOENT)
		log_error("cannot restore the configuration after a restart: %s", strerror(-error));
}

static void handle_event(struct control *control, const struct epoll_event *event)
{
	uint64_t drained;

	if (event->data.ptr == &event_timer) {
		(void)!read(control->timer_fd, &drained, sizeof(drained));
		control->timer_set_ns = 0;
	} else if (event->data.ptr == &event_wake) {
		(void)!read(control->wake_fd, &drained, sizeof(drained));
		if (control->device.has_retired)
			want_housekeeping(control);
	} else if (event->data.ptr == &event_signal || event->data.ptr == &event_monitor) {
		atomic_store(&control->done, true);
	} else if (event->data.ptr == &event_link || event->data.ptr == &event_tun) {
		update_link(control);
	} else if (event->data.ptr == &event_underlay) {
		if (netlink_underlay_update(control->underlay))
			check_sources(control);
	} else {
		uapi_handle_event(control->uapi, event->data.ptr, event->events);
		want_housekeeping(control);
	}
}

static void loop(struct control *control)
{
	struct epoll_event events[16];

	while (!atomic_load(&control->done)) {
		int n;

		if (control->device.has_retired)
			want_housekeeping(control);
		set_timer(control);
		urcu_qsbr_thread_offline();
		n = epoll_wait(control->epoll_fd, events, 16, -1);
		urcu_qsbr_thread_online();
		for (int i = 0; i < n && !atomic_load(&control->done); i++)
			handle_event(control, &events[i]);
		run_timers(control);
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
	urcu_qsbr_thread_offline();
	if (control->has_handshake_thread)
		pthread_join(control->handshake_thread, NULL);
	for (unsigned int i = 0; i < control->start->n_workers; i++)
		worker_thread_stop(control->threads[i]);
	urcu_qsbr_thread_online();
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
	urcu_qsbr_register_thread();
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
		restore_state(control);
	follow_device(control);
	log_verbose("AEAD: %s, %u worker(s)", aead_name(control->worker.aead), start->n_workers);
	privileged_ready(start->monitor_fd);
	loop(control);
	end(control);
	urcu_qsbr_unregister_thread();
	free(control);
	return AGENT_EXIT_DONE;

err_start:
	end(control);
err_setup:
	log_error("the agent cannot start: %s", strerror(-error));
	urcu_qsbr_unregister_thread();
	free(control);
	return AGENT_EXIT_SETUP;
}
