// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The monitor.
 *
 * Fail closed: from the moment a tunnel is ready its device goes in one place only, cleanup(), and that is reached only
 * when somebody has ended the tunnel. A dead agent is replaced, however often it dies.
 */
#define _GNU_SOURCE /* memfd_create(), close_range() */
#include "monitor.h"

#include <cap-ng.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "background.h"
#include "log.h"
#include "privileged.h"
#include "privileged_ops.h"
#include "sandbox.h"
#include "tun.h"
#include "uapi_listener.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

#define NS_PER_MS 1000000ULL
#define STOP_TIMEOUT_NS (2000 * NS_PER_MS)
/* The first deaths cost no time; an agent that lived this long starts a new count. */
#define CRASHES_AT_ONCE 2
#define CRASH_WINDOW_NS (10000 * NS_PER_MS)
#define BACKOFF_MIN_NS (100 * NS_PER_MS)
#define BACKOFF_MAX_NS (2000 * NS_PER_MS)
#define BACKOFF_STEPS 5 /* doublings below the maximum */
/* Nobody relies on a tunnel that has never been ready. */
#define CRASHES_BEFORE_READY 3
#define AGENT_FILES 65536

struct monitor {
	const struct monitor_options *options;
	struct privileged_start start; /* all that every agent is given, but for monitor_fd */
	struct privileged_ops ops;
	struct uapi_listener uapi;
	struct background background;
	int signal_fd;
	int agent_fd; /* the agent's requests; -1: it has closed its end */
	pid_t agent;  /* 0: none */
	bool had_agent, was_ready;
	bool device_existed; /* left behind by a monitor that was killed, or made by the administrator */
	bool is_stopping, is_over;
	int exit_code;
	unsigned int n_crashes;
	uint64_t started_ns;
	uint64_t deadline_ns; /* kill the agent, when there is one; else start one. 0: none */
};

/* A test puts its own here. */
static const char *uapi_directory = UAPI_DIRECTORY;

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 * NS_PER_MS + (uint64_t)now.tv_nsec;
}

/* Why there will be no tunnel, whatever the log level. Returns false, for the caller to return. */
__attribute__((format(printf, 1, 2))) static bool refuse(const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	dprintf(STDERR_FILENO, "wg-xdp: %s\n", text);
	return false;
}

/* ------ Setting up ------ */

static bool check_name(const char *name)
{
	size_t len = strlen(name);
	bool is_good = len > 0 && len < IFNAMSIZ && strcmp(name, ".") && strcmp(name, "..");

	for (size_t i = 0; is_good && i < len; i++)
		is_good = (unsigned char)name[i] > ' ' && name[i] != 0x7f && !strchr("/:%", name[i]);
	if (is_good)
		return true;
	return refuse("\"%.64s\" is no interface name: it takes 1 to %d characters, none of them '/', ':', '%%' or a space",
		      name, IFNAMSIZ - 1);
}

static bool check_privileges(void)
{
	static const struct {
		unsigned int capability;
		const char *name;
	} needed[] = {
		{ CAP_NET_ADMIN, "CAP_NET_ADMIN" },
		{ CAP_SETUID, "CAP_SETUID" },
		{ CAP_SETGID, "CAP_SETGID" },
	};

	if (capng_get_caps_process())
		return refuse("cannot read the process's capabilities");
	for (size_t i = 0; i < sizeof(needed) / sizeof(*needed); i++)
		if (!capng_have_capability(CAPNG_EFFECTIVE, needed[i].capability))
			return refuse("must be run as root: %s is missing", needed[i].name);
	return true;
}

static bool adopt_device(struct monitor *m)
{
	int err = tun_adopt(m->options->tun_fd, m->start.tunnel, &m->start.tun_features);

	if (err)
		return refuse("WG_TUN_FD=%d cannot be used: %s (it must be a TUN queue with IFF_NO_PI and IFF_VNET_HDR)",
			      m->options->tun_fd, strerror(-err));
	m->start.tun_fds[0] = m->options->tun_fd;
	m->start.n_workers = 1;
	return true;
}

static bool refuse_device(const char *name, int err)
{
	switch (err) {
	case -ENOENT:
		return refuse("there is no /dev/net/tun: load the tun module (modprobe tun)");
	case -EBUSY:
		return refuse("device %s is in use by another program: end that first, or take another name", name);
	case -EINVAL:
		return refuse("device %s exists and is of another kind: "
			      "remove it (ip link delete dev %s) or take another name", name, name);
	}
	return refuse("cannot create device %s: %s", name, strerror(-err));
}

static bool create_device(struct monitor *m)
{
	unsigned int n = m->options->n_workers ? m->options->n_workers : 1;
	int err;

	if (n > PRIVILEGED_MAX_WORKERS)
		return refuse("%u workers are too many: at most %d", n, PRIVILEGED_MAX_WORKERS);
	m->device_existed = if_nametoindex(m->start.tunnel) != 0;
	err = tun_create(m->start.tunnel, n, m->start.tun_fds, &m->start.tun_features);
	if (err)
		return refuse_device(m->start.tunnel, err);
	m->start.n_workers = n;
	return true;
}

static bool take_name(struct monitor *m)
{
	int err = uapi_listener_lock(&m->uapi, uapi_directory, m->start.tunnel);

	if (!err && m->options->uapi_fd < 0)
		err = uapi_listener_check(&m->uapi);
	switch (err) {
	case 0:
		return true;
	case -EBUSY:
		return refuse("tunnel %s already runs", m->start.tunnel);
	case -EADDRINUSE:
		return refuse("tunnel %s already runs: another program serves %s", m->start.tunnel, m->uapi.path);
	case -EEXIST:
		return refuse("%s exists and is no socket: remove it", m->uapi.path);
	case -EACCES:
		return refuse("%s must belong to root and be writable by nobody else: it leads to private keys",
			      uapi_directory);
	}
	return refuse("cannot use directory %s: %s", uapi_directory, strerror(-err));
}

static bool open_listener(struct monitor *m)
{
	int err = m->options->uapi_fd >= 0 ? uapi_listener_adopt(&m->uapi, m->options->uapi_fd) :
					     uapi_listener_open(&m->uapi);

	m->start.uapi_fd = m->uapi.fd;
	if (!err)
		return true;
	if (m->options->uapi_fd >= 0)
		return refuse("WG_UAPI_FD=%d cannot be used: %s (it must be a listening socket)", m->options->uapi_fd,
			      strerror(-err));
	return refuse("cannot create %s: %s", m->uapi.path, strerror(-err));
}

/* Configuration for the next agent: not executable where the kernel knows how, and it may be sealed. */
static bool create_state(struct monitor *m)
{
	m->start.state_fd = memfd_create("wg-xdp-state", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
	if (m->start.state_fd < 0 && errno == EINVAL)
		m->start.state_fd = memfd_create("wg-xdp-state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return m->start.state_fd >= 0 || refuse("cannot create a memory file: %s", strerror(errno));
}

static bool set_up(struct monitor *m)
{
	const struct monitor_options *options = m->options;
	int err;

	if (!check_name(options->tunnel) || !check_privileges())
		return false;
	snprintf(m->start.tunnel, sizeof(m->start.tunnel), "%s", options->tunnel);
	if (options->tun_fd >= 0 && !adopt_device(m))
		return false;
	if (!take_name(m))
		return false;
	if (options->tun_fd < 0 && !create_device(m))
		return false;
	if (!open_listener(m) || !create_state(m))
		return false;
	err = privileged_ops_init(&m->ops, m->start.tun_fds[0]);
	return !err || refuse("cannot open the network namespace: %s", strerror(-err));
}

static bool catch_signals(struct monitor *m)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGCHLD);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGCHLD, SIG_DFL); /* who ignores it loses its children's exit codes */
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	m->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	return m->signal_fd >= 0 || refuse("cannot receive signals: %s", strerror(errno));
}

/* ------ The agent's birth ------ */

static void raise_limit(int resource, rlim_t wanted, const char *name)
{
	struct rlimit limit = { .rlim_cur = wanted, .rlim_max = wanted };

	if (!setrlimit(resource, &limit) || getrlimit(resource, &limit))
		return;
	/* Without CAP_SYS_RESOURCE: as far as it goes. */
	limit.rlim_cur = limit.rlim_max;
	setrlimit(resource, &limit);
	log_verbose("the agent's %s stays at %llu", name, (unsigned long long)limit.rlim_max);
}

static int compare_ints(const void *a, const void *b)
{
	int left = *(const int *)a, right = *(const int *)b;

	return (left > right) - (left < right);
}

static void close_all_but(int *fds, unsigned int n)
{
	unsigned int next = STDERR_FILENO + 1;

	qsort(fds, n, sizeof(*fds), compare_ints);
	for (unsigned int i = 0; i < n; i++) {
		if (fds[i] < (int)next)
			continue;
		if ((unsigned int)fds[i] > next)
			close_range(next, (unsigned int)fds[i] - 1, 0);
		next = (unsigned int)fds[i] + 1;
	}
	close_range(next, ~0U, 0);
}

/*
 * The lock stays open without the agent knowing of it: a name is free only when monitor and agent are gone, since an
 * agent lives on for a moment when its monitor is killed.
 */
static void keep_agent_fds(const struct monitor *m, const struct privileged_start *start)
{
	int fds[PRIVILEGED_MAX_WORKERS + 4];
	unsigned int n = start->n_workers;

	memcpy(fds, start->tun_fds, n * sizeof(*fds));
	fds[n++] = start->uapi_fd;
	fds[n++] = start->monitor_fd;
	fds[n++] = start->state_fd;
	fds[n++] = m->uapi.lock_fd;
	close_all_but(fds, n);
}

__attribute__((noreturn)) static void run_agent(struct monitor *m, int monitor_fd)
{
	struct privileged_start start = m->start;
	sigset_t none;
	int exit_code;

	start.monitor_fd = monitor_fd;
	start.is_restart = m->had_agent;
	keep_agent_fds(m, &start);
	/* Ctrl-C reaches the whole foreground group: the monitor alone acts on it. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_NAME, "wg-xdp-agent");
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 });
	raise_limit(RLIMIT_MEMLOCK, RLIM_INFINITY, "limit of locked memory");
	raise_limit(RLIMIT_NOFILE, AGENT_FILES, "limit of open files");
	exit_code = m->options->agent_main(&start);
	sandbox_check_leaks();
	_exit(exit_code);
}

static int fork_agent(struct monitor *m)
{
	int fds[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds))
		return -errno;
	pid = fork();
	if (pid < 0) {
		int err = -errno;

		close(fds[0]);
		close(fds[1]);
		return err;
	}
	if (!pid)
		run_agent(m, fds[1]);
	close(fds[1]);
	m->agent = pid;
	m->agent_fd = fds[0];
	m->had_agent = true;
	return 0;
}

static void retry_later(struct monitor *m, uint64_t now)
{
	unsigned int n_late = m->n_crashes > CRASHES_AT_ONCE ? m->n_crashes - CRASHES_AT_ONCE - 1 : 0;
	uint64_t delay_ns = 0;

	if (m->n_crashes > CRASHES_AT_ONCE)
		delay_ns = n_late < BACKOFF_STEPS ? BACKOFF_MIN_NS << n_late : BACKOFF_MAX_NS;
	m->deadline_ns = now + delay_ns;
}

static void start_agent(struct monitor *m)
{
	int err;

	m->deadline_ns = 0;
	m->started_ns = now_ns();
	err = fork_agent(m);
	if (!err)
		return;
	log_error("cannot start an agent: %s", strerror(-err));
	m->n_crashes++;
	retry_later(m, m->started_ns);
}

/* ------ Its death ------ */

static void end(struct monitor *m, int exit_code)
{
	m->is_over = true;
	m->exit_code = exit_code;
}

static void begin_stop(struct monitor *m, const char *why)
{
	if (m->is_stopping)
		return;
	log_verbose("ending: %s", why);
	m->is_stopping = true;
	if (!m->agent) {
		end(m, 0);
		return;
	}
	kill(m->agent, SIGTERM);
	m->deadline_ns = now_ns() + STOP_TIMEOUT_NS;
}

static void log_crash(int status)
{
	if (WIFSIGNALED(status))
		log_error("the agent died of signal %d (%s%s)", WTERMSIG(status), strsignal(WTERMSIG(status)),
			  WTERMSIG(status) == SIGSYS ? ": it is not allowed to do that" : "");
	else
		log_error("the agent died with exit code %d", WEXITSTATUS(status));
}

static void agent_crashed(struct monitor *m, int status)
{
	uint64_t now = now_ns();

	log_crash(status);
	if (now - m->started_ns >= CRASH_WINDOW_NS)
		m->n_crashes = 0;
	m->n_crashes++;
	if (!m->was_ready && m->n_crashes >= CRASHES_BEFORE_READY) {
		refuse("the agent died %u times before it was ready", m->n_crashes);
		end(m, 1);
		return;
	}
	retry_later(m, now);
}

static void agent_ended(struct monitor *m, int status)
{
	m->agent = 0;
	m->deadline_ns = 0;
	if (m->agent_fd >= 0)
		close(m->agent_fd);
	m->agent_fd = -1;
	privileged_ops_agent_died(&m->ops);
	if (m->is_stopping || (WIFEXITED(status) && WEXITSTATUS(status) == AGENT_EXIT_DONE))
		end(m, 0);
	else if (!m->was_ready && WIFEXITED(status) && WEXITSTATUS(status) == AGENT_EXIT_SETUP)
		end(m, 1); /* the agent has said why */
	else
		agent_crashed(m, status);
}

/* ------ The loop ------ */

static void take_signals(struct monitor *m)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	while (read(m->signal_fd, &info, sizeof(info)) == sizeof(info))
		if (info.ssi_signo != SIGCHLD)
			begin_stop(m, strsignal((int)info.ssi_signo));
	/* Several deaths may be one signal; as process 1 of a container there are also other people's children. */
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == m->agent)
			agent_ended(m, status);
}

static void serve_agent(struct monitor *m)
{
	bool is_ready = false;
	int err = privileged_ops_serve(&m->ops, m->agent_fd, &is_ready);

	if (is_ready && !m->was_ready) {
		m->was_ready = true;
		background_ready(&m->background);
	}
	if (!err || err == -EAGAIN)
		return;
	/* On its end its exit code will follow. Otherwise it is broken, and a new one will not be. */
	close(m->agent_fd);
	m->agent_fd = -1;
	if (err != -EPIPE) {
		log_error("the agent does not take its answers (%s)", strerror(-err));
		kill(m->agent, SIGKILL);
	}
}

static void take_deadline(struct monitor *m)
{
	m->deadline_ns = 0;
	if (!m->agent) {
		start_agent(m);
		return;
	}
	log_error("the agent does not end: killing it");
	kill(m->agent, SIGKILL);
}

static int poll_timeout_ms(const struct monitor *m)
{
	uint64_t now = now_ns();

	if (!m->deadline_ns)
		return -1;
	return m->deadline_ns <= now ? 0 : (int)((m->deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS);
}

static void run_loop(struct monitor *m)
{
	start_agent(m);
	while (!m->is_over) {
		struct pollfd fds[3] = {
			{ .fd = m->signal_fd, .events = POLLIN },
			{ .fd = m->uapi.inotify_fd, .events = POLLIN },
			{ .fd = m->agent_fd, .events = POLLIN },
		};

		if (poll(fds, 3, poll_timeout_ms(m)) < 0)
			continue; /* EINTR, ENOMEM: there is nothing better to do than to try again */
		/* Requests before deaths: what an agent said, it said while it lived. */
		if (fds[2].revents)
			serve_agent(m);
		if (fds[1].revents && !uapi_listener_is_there(&m->uapi))
			begin_stop(m, "the UAPI socket was removed");
		if (fds[0].revents)
			take_signals(m);
		if (!m->is_over && m->deadline_ns && m->deadline_ns <= now_ns())
			take_deadline(m);
	}
	if (m->background.ready_fd >= 0 && !m->exit_code)
		refuse("tunnel %s was ended before it was ready", m->start.tunnel);
}

/* A device that was there before a start that failed stays: it may be all that keeps packets from the open network. */
static void cleanup(struct monitor *m)
{
	bool is_ours = m->options->tun_fd < 0 && !(m->device_existed && !m->was_ready && m->exit_code);

	privileged_ops_deinit(&m->ops);
	if (m->start.n_workers && is_ours && tun_set_persistent(m->start.tun_fds[0], false))
		log_verbose("device %s is already gone", m->start.tunnel);
	for (unsigned int i = 0; i < m->start.n_workers; i++)
		close(m->start.tun_fds[i]);
	if (m->start.state_fd >= 0)
		close(m->start.state_fd);
	if (m->signal_fd >= 0)
		close(m->signal_fd);
	uapi_listener_close(&m->uapi);
}

int monitor_run(const struct monitor_options *options)
{
	struct monitor m = {
		.options = options,
		.start = { .uapi_fd = -1, .monitor_fd = -1, .state_fd = -1 },
		.ops = { .netns_fd = -1 },
		.uapi = { .lock_fd = -1, .fd = -1, .file_fd = -1, .inotify_fd = -1 },
		.background = { .ready_fd = -1 },
		.signal_fd = -1,
		.agent_fd = -1,
		.exit_code = 1,
	};
	enum background_role role = BACKGROUND_CHILD;
	int exit_code;
	bool is_good;

	is_good = set_up(&m);
	if (is_good && !options->foreground)
		role = background_fork(&m.background, options->keep_output, &exit_code);
	if (role == BACKGROUND_PARENT)
		return exit_code; /* all that is open is the child's */
	if (is_good && role == BACKGROUND_CHILD && catch_signals(&m))
		run_loop(&m);
	cleanup(&m);
	if (is_good && !options->foreground && role == BACKGROUND_CHILD)
		exit(m.exit_code);
	return m.exit_code;
}
