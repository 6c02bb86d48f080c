// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The monitor with a small agent in place of the real one: each test starts tunnels, in a network namespace of its own
 * and a directory of its own, does something to them, and looks at what is left.
 *
 * The agent is told what to do over the UAPI socket, one byte a command, and reports through shared memory.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <semaphore.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <linux/if_tun.h>

#include "../../user/monitor.c"
#include "own_netns.h"

#define TUNNEL "wgx-test"
#define WAIT_S 10

enum mode {
	MODE_GOOD,
	MODE_DIE_AT_ONCE,   /* before it is ready */
	MODE_SETUP_FAILS,
	MODE_SETUP_FAILS_AGAIN, /* only the second agent's */
	MODE_WAIT,          /* from the second agent on: until may_go */
	MODE_STUBBORN,      /* ignores SIGTERM */
};

enum command {
	COMMAND_OPEN = 'o',   /* gets a UDP port */
	COMMAND_CLOSE = 'c',
	COMMAND_DIE = 'd',
	COMMAND_FORBIDDEN = 'f',
	COMMAND_DONE = 'q',
};

static struct shared {
	enum mode mode;
	sem_t ready, may_go, began;
	int n_agents;
	pid_t agent, monitor;
	bool is_restart;
	unsigned int n_workers;
	uint16_t port;
	uint64_t cookie;
	char state[8];
	uint32_t memlock_is_hard; /* the soft limit is the hard one */
} *shared;

static char directory[64], socket_path[UAPI_PATH_SIZE];

/* ------ The agent ------ */

static void note_state(int state_fd)
{
	char state[8] = "";

	if (pread(state_fd, state, sizeof(state) - 1, 0) < 0)
		_exit(90);
	memcpy(shared->state, state, sizeof(state));
	if (pwrite(state_fd, "kept", 4, 0) != 4)
		_exit(91);
}

static void open_port(const struct privileged_start *start)
{
	socklen_t len = sizeof(shared->cookie);
	struct udp_sock sock;

	if (privileged_open_sockets(start->monitor_fd, &sock, 1, &shared->port, 0))
		_exit(92);
	getsockopt(sock.fd4, SOL_SOCKET, SO_COOKIE, &shared->cookie, &len);
}

static void obey(const struct privileged_start *start, char command)
{
	switch (command) {
	case COMMAND_OPEN:
		open_port(start);
		break;
	case COMMAND_CLOSE: /* and the client's as well, who takes it as an answer */
		privileged_close_sockets(start->monitor_fd);
		for (int fd = 3; fd < 64; fd++)
			if (fd != start->monitor_fd && fd != start->uapi_fd && fd != start->tun_fds[0])
				close(fd);
		break;
	case COMMAND_DIE:
		_exit(3);
	case COMMAND_FORBIDDEN:
		open("/etc/passwd", O_RDONLY);
		break;
	case COMMAND_DONE:
		_exit(AGENT_EXIT_DONE);
	}
}

static void serve_client(const struct privileged_start *start)
{
	int fd = accept4(start->uapi_fd, NULL, NULL, SOCK_CLOEXEC);
	char command;

	if (fd < 0 || read(fd, &command, 1) != 1)
		return;
	obey(start, command);
	(void)!write(fd, &command, 1);
	close(fd);
}

static void note_birth(const struct privileged_start *start)
{
	struct rlimit limit;

	shared->agent = getpid();
	shared->monitor = getppid();
	shared->is_restart = start->is_restart;
	shared->n_workers = start->n_workers;
	getrlimit(RLIMIT_MEMLOCK, &limit);
	shared->memlock_is_hard = limit.rlim_cur == limit.rlim_max;
	note_state(start->state_fd);
	shared->n_agents++;
}

static int fake_agent(struct privileged_start *start)
{
	struct pollfd fds[3] = {
		{ .fd = start->monitor_fd }, { .fd = start->tun_fds[0], .events = POLLIN },
		{ .fd = start->uapi_fd, .events = POLLIN },
	};
	char packet[2048];

	note_birth(start);
	if (shared->mode == MODE_STUBBORN)
		signal(SIGTERM, SIG_IGN);
	if (privileged_drop())
		return AGENT_EXIT_SETUP;
	if (shared->mode == MODE_DIE_AT_ONCE)
		raise(SIGKILL);
	if (shared->mode == MODE_SETUP_FAILS || (shared->mode == MODE_SETUP_FAILS_AGAIN && shared->n_agents == 2)) {
		log_error("the agent's own words");
		return AGENT_EXIT_SETUP;
	}
	sem_post(&shared->began);
	if (shared->mode == MODE_WAIT && shared->n_agents > 1)
		sem_wait(&shared->may_go);
	if (start->is_restart && shared->cookie)
		open_port(start);
	privileged_ready(start->monitor_fd);
	sem_post(&shared->ready);
	for (;;) {
		poll(fds, 3, -1);
		if (fds[0].revents)
			return AGENT_EXIT_DONE;
		if (fds[1].revents && read(start->tun_fds[0], packet, sizeof(packet)) < 0 && errno == EBADFD)
			return AGENT_EXIT_DONE;
		if (fds[2].revents)
			serve_client(start);
	}
}

/* ------ Starting and looking ------ */

static void wait_for(sem_t *sem)
{
	struct timespec limit;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += WAIT_S;
	if (sem_timedwait(sem, &limit))
		fail_msg("nothing has happened for %d s", WAIT_S);
}

/* By event, for processes that are not our children as well. */
static void wait_for_end(pid_t pid)
{
	struct pollfd pollfd = { .fd = pidfd_open(pid, 0), .events = POLLIN };

	if (pollfd.fd < 0)
		return;
	assert_int_equal(poll(&pollfd, 1, WAIT_S * 1000), 1);
	close(pollfd.fd);
}

static int exit_code_of(pid_t pid)
{
	int status;

	wait_for_end(pid);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static const struct monitor_options usual = {
	.tunnel = TUNNEL, .foreground = true, .n_workers = 1, .tun_fd = -1, .uapi_fd = -1, .agent_main = fake_agent,
};

/* Runs the monitor in a process whose stderr is *output. */
static pid_t run_monitor(const struct monitor_options *options, int *output)
{
	int fds[2];
	pid_t pid;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		dup2(fds[1], STDERR_FILENO);
		close(fds[0]);
		close(fds[1]);
		_exit(monitor_run(options));
	}
	close(fds[1]);
	*output = fds[0];
	return pid;
}

static pid_t start(const struct monitor_options *options)
{
	int output;
	pid_t pid = run_monitor(options, &output);

	wait_for(&shared->ready);
	close(output);
	return pid;
}

/* Reads until text has words in it, or the writers are gone. */
static bool is_said(int output, const char *words)
{
	struct pollfd pollfd = { .fd = output, .events = POLLIN };
	char text[2048] = "";
	size_t len = 0;
	ssize_t got;

	while (!strstr(text, words) && len < sizeof(text) - 1 && poll(&pollfd, 1, WAIT_S * 1000) == 1 &&
	       (got = read(output, text + len, sizeof(text) - 1 - len)) > 0)
		text[len += (size_t)got] = '\0';
	if (!strstr(text, words))
		print_error("\"%s\" was not said, but: \"%s\"\n", words, text);
	return strstr(text, words);
}

/* A start that fails, and says why. Does not assert: also called in children, where cmocka must not go on. */
static bool is_refused(const struct monitor_options *options, const char *why)
{
	int output, status;
	pid_t pid = run_monitor(options, &output);
	bool is_ok = is_said(output, why);

	close(output);
	if (!is_ok)
		kill(pid, SIGKILL); /* it may have started well */
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 1 && is_ok;
}

#define assert_refused(options, why) assert_true(is_refused(options, why))

static unsigned int count_entries(const char *path)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;
	unsigned int n = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		n += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
	closedir(dir);
	return n;
}

static unsigned int count_fds_of(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	return count_entries(path);
}

/* Not in a build with sanitizers. */
static bool is_confined(pid_t pid)
{
	char path[64], text[8192];
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	len = read(fd, text, sizeof(text) - 1);
	assert_true(len > 0);
	close(fd);
	text[len] = '\0';
	return strstr(text, "\nSeccomp:\t2\n") != NULL;
}

static void assert_nothing_left(void)
{
	assert_int_equal(if_nametoindex(TUNNEL), 0);
	assert_int_equal(count_entries(directory), 0);
	wait_for_end(shared->agent);
}

static void stop(pid_t monitor)
{
	kill(monitor, SIGTERM);
	assert_int_equal(exit_code_of(monitor), 0);
	assert_nothing_left();
}

static int connect_uapi(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, socket_path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* Returns when the agent has obeyed, or died of it. */
static void tell(enum command command)
{
	char byte = (char)command;
	int fd = connect_uapi();

	assert_int_equal(write(fd, &byte, 1), 1);
	(void)!read(fd, &byte, 1);
	close(fd);
}

static void bind_at(int fd, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	strcpy(address.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

/* Each test has a fresh directory, shared memory and no tunnel. */
static int set_up_test(void **state)
{
	(void)state;
	strcpy(directory, "/tmp/test_monitor.XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	chmod(directory, 0755);
	uapi_directory = directory;
	snprintf(socket_path, sizeof(socket_path), "%s/" TUNNEL ".sock", directory);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return -1;
	sem_init(&shared->ready, 1, 0);
	sem_init(&shared->may_go, 1, 0);
	sem_init(&shared->began, 1, 0);
	return 0;
}

/* After a failure there may be much to clean away. */
static int tear_down_test(void **state)
{
	char command[128];

	(void)state;
	if (shared->monitor && shared->monitor != getpid())
		kill(shared->monitor, SIGKILL);
	if (has_netns && if_nametoindex(TUNNEL))
		run("ip link delete " TUNNEL);
	munmap(shared, sizeof(*shared));
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command);
}

/* ------ Life ------ */

static void test_start_and_stop(void **state)
{
	struct stat st;
	pid_t monitor;

	(void)state;
	REQUIRE_NETNS();
	monitor = start(&usual);
	assert_int_equal(lstat(socket_path, &st), 0);
	assert_int_equal(st.st_mode, S_IFSOCK | 0700);
	assert_true(if_nametoindex(TUNNEL) > 0);
	assert_int_equal(shared->monitor, monitor);
	assert_int_equal(shared->n_workers, 1);
	assert_false(shared->is_restart);
	assert_true(shared->memlock_is_hard);
	/* Standard ones, TUN, UAPI, requests, state, lock: nothing else of the monitor's. */
	assert_int_equal(count_fds_of(shared->agent), 3 + 5);
	stop(monitor);
}

static void test_several_queues(void **state)
{
	struct monitor_options options = usual;
	pid_t monitor;

	(void)state;
	REQUIRE_NETNS();
	options.n_workers = 4;
	monitor = start(&options);
	assert_int_equal(shared->n_workers, 4);
	assert_int_equal(count_fds_of(shared->agent), 3 + 8);
	stop(monitor);
}

/* The directory is made when it is not there; it stays, as others use it. */
static void test_makes_directory(void **state)
{
	struct stat st;
	pid_t monitor;
	mode_t mask;

	(void)state;
	REQUIRE_NETNS();
	assert_int_equal(rmdir(directory), 0);
	mask = umask(0077);
	monitor = start(&usual);
	umask(mask);
	assert_int_equal(stat(directory, &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0755);
	stop(monitor);
}

static void test_agent_ends(void **state)
{
	pid_t monitor;

	(void)state;
	REQUIRE_NETNS();
	monitor = start(&usual);
	tell(COMMAND_DONE);
	assert_int_equal(exit_code_of(monitor), 0);
	assert_nothing_left();
}

static void test_link_deleted(void **state)
{
	pid_t monitor;

	(void)state;
	REQUIRE_NETNS();
	monitor = start(&usual);
	run("ip link delete " TUNNEL);
	assert_int_equal(exit_code_of(monitor), 0);
	assert_nothing_left();
}

static void test_socket_removed(void **state)
{
	pid_t monitor;

	(void)state;
	REQUIRE_NETNS();
	monitor = start(&usual);
	assert_int_equal(unlink(socket_path), 0);
	assert_int_equal(exit_code_of(monitor), 0);
	assert_nothing_left();
}

/* Files of others come and go; what replaces ours ends the tunnel, and stays. */
static void test_socket_replaced(void **state)
{
	char other[UAPI_PATH_SIZE];
	struct stat before, after;
	pid_t monitor;
	int fd;

	(void)state;
	REQUIRE_NETNS();
	monitor = start(&usual);
	snprintf(other, sizeof(other), "%.80s/other.sock", directory);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bind_at(fd, other);
	lstat(other, &before);
	close(connect_uapi());
	assert_int_equal(rename(other, socket_path), 0);
	assert_int_equal(exit_code_of(monitor), 0);
	assert_int_equal(lstat(socket_path, &after), 0);
	assert_int_equal(after.st_ino, before.st_ino);
	unlink(socket_path);
	assert_nothing_left();
	close(fd);
}

static void test_stray_signals(void **state)
{
	pid_t monitor;

	(void)state;
	REQUIRE_NETNS();
	monitor = start(&usual);
	kill(monitor, SIGHUP);
	kill(monitor, SIGPIPE);
	kill(shared->agent, SIGHUP);
	kill(shared->agent, SIGPIPE);
	kill(shared->agent, SIGINT);
	tell(COMMAND_OPEN);
	assert_int_equal(shared->n_agents, 1);
	kill(monitor, SIGINT);
	assert_int_equal(exit_code_of(monitor), 0);
	assert_nothing_left();
}

static void test_stubborn_agent(void **state)
{
	pid_t monitor;

	(void)state;
	REQUIRE_NETNS();
	shared->mode = MODE_STUBBORN;
	monitor = start(&usual);
	stop(monitor);
}

/* ------ Death ------ */

static void assert_restarted(pid_t dead, int n_agents)
{
	wait_for(&shared->ready);
	assert_int_not_equal(shared->agent, dead);
	assert_int_equal(shared->n_agents, n_agents);
	assert_true(shared->is_restart);
	assert_string_equal(shared->state, "kept");
}

static void test_agent_killed(void **state)
{
	unsigned int ifindex, n_fds;
	pid_t monitor, dead;
	uint64_t cookie;

	(void)state;
	REQUIRE_NETNS();
	monitor = start(&usual);
	tell(COMMAND_OPEN);
	assert_true(shared->port > 0);
	cookie = shared->cookie;
	ifindex = if_nametoindex(TUNNEL);
	n_fds = count_fds_of(monitor);
	assert_string_equal(shared->state, "");

	dead = shared->agent;
	kill(dead, SIGKILL);
	assert_restarted(dead, 2);
	assert_int_equal(shared->cookie, cookie);
	/* One that does not know its predecessor's port asks for any. */
	dead = shared->agent;
	shared->port = 0;
	tell(COMMAND_DIE);
	assert_restarted(dead, 3);
	assert_int_equal(shared->cookie, cookie);
	dead = shared->agent;
	if (is_confined(dead)) {
		tell(COMMAND_FORBIDDEN);
		assert_restarted(dead, 4);
	}
	assert_int_equal(if_nametoindex(TUNNEL), ifindex);
	assert_int_equal(count_fds_of(monitor), n_fds);
	stop(monitor);
}

/* Sends to the port and asks for an ICMP error, which over loopback has come before send() returns. */
static bool is_silent(uint16_t port)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char byte = 0;
	bool is_silent;

	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(send(fd, &byte, 1, 0), 1);
	is_silent = recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
	close(fd);
	return is_silent;
}

static void test_silent_while_dead(void **state)
{
	pid_t monitor, dead;

	(void)state;
	REQUIRE_NETNS();
	shared->mode = MODE_WAIT;
	monitor = start(&usual);
	wait_for(&shared->began);
	tell(COMMAND_OPEN);
	dead = shared->agent;
	kill(dead, SIGKILL);
	/* The successor lives, but has not asked for the port yet. */
	wait_for(&shared->began);
	wait_for_end(dead);
	assert_true(is_silent(shared->port));
	sem_post(&shared->may_go);
	assert_restarted(dead, 2);
	/* And a port that is really closed is not silent: the test can tell. */
	tell(COMMAND_CLOSE);
	assert_false(is_silent(shared->port));
	stop(monitor);
}

static void test_monitor_killed(void **state)
{
	unsigned int ifindex;
	pid_t monitor, agent;

	(void)state;
	REQUIRE_NETNS();
	monitor = start(&usual);
	ifindex = if_nametoindex(TUNNEL);
	run("ip link set " TUNNEL " up && ip address add 192.0.2.1/24 dev " TUNNEL);
	agent = shared->agent;
	kill(monitor, SIGKILL);
	waitpid(monitor, NULL, 0);
	/* At once: the new one waits for the old one's agent. */
	monitor = start(&usual);
	wait_for_end(agent);
	/* Fail closed: device, address and route have been there all the time. */
	assert_int_equal(if_nametoindex(TUNNEL), ifindex);
	run("ip route get 192.0.2.7 | grep -q 'dev " TUNNEL "'");
	assert_false(shared->is_restart);
	assert_string_equal(shared->state, "");
	assert_int_equal(count_entries(directory), 2); /* socket and lock */
	close(connect_uapi());
	stop(monitor);
}

/* Nobody there: device, stale socket and lock file lie about. A start that fails leaves the device as it is. */
static void test_failed_start_leaves_device(void **state)
{
	pid_t monitor;

	(void)state;
	REQUIRE_NETNS();
	monitor = start(&usual);
	kill(monitor, SIGKILL);
	waitpid(monitor, NULL, 0);
	wait_for_end(shared->agent);
	assert_true(if_nametoindex(TUNNEL) > 0);
	shared->mode = MODE_SETUP_FAILS;
	assert_refused(&usual, "the agent's own words");
	assert_true(if_nametoindex(TUNNEL) > 0);
	shared->mode = MODE_DIE_AT_ONCE;
	assert_refused(&usual, "died 3 times before it was ready");
	assert_true(if_nametoindex(TUNNEL) > 0);
	shared->mode = MODE_GOOD;
	monitor = start(&usual);
	stop(monitor);
}

static void test_never_ready(void **state)
{
	(void)state;
	REQUIRE_NETNS();
	shared->mode = MODE_SETUP_FAILS;
	assert_refused(&usual, "the agent's own words");
	assert_int_equal(shared->n_agents, 1);
	assert_nothing_left();
	shared->mode = MODE_DIE_AT_ONCE;
	assert_refused(&usual, "signal 9");
	assert_int_equal(shared->n_agents, 1 + CRASHES_BEFORE_READY);
	assert_nothing_left();
}

/* What has run once does not end because an agent cannot start: its device must stay. */
static void test_setup_fails_later(void **state)
{
	unsigned int ifindex;
	pid_t monitor, dead;

	(void)state;
	REQUIRE_NETNS();
	shared->mode = MODE_SETUP_FAILS_AGAIN;
	monitor = start(&usual);
	ifindex = if_nametoindex(TUNNEL);
	dead = shared->agent;
	kill(dead, SIGKILL);
	assert_restarted(dead, 3);
	assert_int_equal(if_nametoindex(TUNNEL), ifindex);
	stop(monitor);
}

static void test_backoff(void **state)
{
	static const unsigned int expected_ms[] = { 0, 0, 100, 200, 400, 800, 1600, 2000, 2000, 2000 };
	struct monitor m = { .was_ready = true, .agent_fd = -1 };
	const int killed = SIGKILL; /* as waitpid() reports it */

	(void)state;
	log_init(LOG_LEVEL_SILENT, TUNNEL);
	for (size_t i = 0; i < sizeof(expected_ms) / sizeof(*expected_ms); i++) {
		uint64_t before = now_ns(), after;

		m.started_ns = before;
		agent_ended(&m, killed);
		after = now_ns();
		assert_true(m.deadline_ns >= before + expected_ms[i] * NS_PER_MS);
		assert_true(m.deadline_ns <= after + expected_ms[i] * NS_PER_MS);
		assert_false(m.is_over);
	}
	/* One that lived long starts again. */
	m.started_ns = now_ns() - CRASH_WINDOW_NS;
	agent_ended(&m, killed);
	assert_true(m.deadline_ns <= now_ns());
	log_init(LOG_LEVEL_ERROR, TUNNEL);
}

/* ------ Refusals ------ */

static void test_second_start(void **state)
{
	struct stat before, after;
	pid_t monitor, agent;

	(void)state;
	REQUIRE_NETNS();
	monitor = start(&usual);
	agent = shared->agent;
	lstat(socket_path, &before);
	assert_refused(&usual, "tunnel " TUNNEL " already runs");
	assert_int_equal(lstat(socket_path, &after), 0);
	assert_int_equal(after.st_ino, before.st_ino);
	close(connect_uapi());
	assert_int_equal(shared->agent, agent);
	stop(monitor);
}

static void test_two_starts_at_once(void **state)
{
	int first_output, second_output;
	pid_t first, second, winner;

	(void)state;
	REQUIRE_NETNS();
	first = run_monitor(&usual, &first_output);
	second = run_monitor(&usual, &second_output);
	wait_for(&shared->ready);
	winner = shared->monitor;
	assert_int_equal(exit_code_of(winner == first ? second : first), 1);
	stop(winner);
	close(first_output);
	close(second_output);
}

/* The lock alone, without the socket and the device that also tell. */
static void test_name_lock(void **state)
{
	struct uapi_listener first, second, other;

	(void)state;
	if (geteuid())
		skip();
	assert_int_equal(uapi_listener_lock(&first, directory, TUNNEL), 0);
	assert_int_equal(uapi_listener_lock(&second, directory, TUNNEL), -EBUSY);
	assert_int_equal(uapi_listener_lock(&other, directory, "other"), 0);
	uapi_listener_close(&other);
	uapi_listener_close(&second);
	assert_int_equal(count_entries(directory), 1);
	/* A lock on a file that has been removed excludes nobody, so it must not be taken for one. */
	assert_int_equal(rename(first.lock_path, socket_path), 0);
	assert_int_equal(uapi_listener_lock(&second, directory, TUNNEL), 0);
	uapi_listener_close(&second);
	uapi_listener_close(&first);
	unlink(socket_path);
	assert_int_equal(count_entries(directory), 0);
}

static void test_other_program_serves(void **state)
{
	int fd;

	(void)state;
	REQUIRE_NETNS();
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bind_at(fd, socket_path);
	assert_int_equal(listen(fd, 1), 0);
	assert_refused(&usual, "already runs: another program serves");
	assert_int_equal(count_entries(directory), 1);
	close(fd);
}

static void test_stale_socket(void **state)
{
	struct stat before, after;
	pid_t monitor;
	int fd;

	(void)state;
	REQUIRE_NETNS();
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bind_at(fd, socket_path);
	close(fd);
	lstat(socket_path, &before);
	monitor = start(&usual);
	assert_int_equal(lstat(socket_path, &after), 0);
	assert_int_not_equal(after.st_ino, before.st_ino);
	close(connect_uapi());
	stop(monitor);
}

static void test_not_a_socket(void **state)
{
	int fd;

	(void)state;
	REQUIRE_NETNS();
	fd = open(socket_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	close(fd);
	assert_refused(&usual, "is no socket");
	assert_int_equal(access(socket_path, F_OK), 0);
	assert_int_equal(if_nametoindex(TUNNEL), 0);
}

static void test_bad_names(void **state)
{
	static const char *const names[] = {
		"", ".", "..", "sixteen_bytes_xx", "a/b", "../etc", "a b", "a\tb", "a:b", "wg%d", "a\nb", "a\x7f",
	};
	struct monitor_options options = usual;

	(void)state;
	REQUIRE_NETNS();
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		options.tunnel = names[i];
		assert_refused(&options, "is no interface name");
	}
	assert_int_equal(count_entries(directory), 0);
	assert_true(check_name("fifteen_bytes_x"));
	assert_true(check_name("wg0"));
}

static void test_bad_devices(void **state)
{
	char name[IFNAMSIZ] = TUNNEL;
	struct tun_features features;
	int fd;

	(void)state;
	REQUIRE_NETNS();
	run("ip link add " TUNNEL " type veth peer name wgx-test-peer");
	assert_refused(&usual, "is of another kind");
	run("ip link delete " TUNNEL);
	assert_int_equal(tun_create(name, 1, &fd, &features), 0);
	assert_refused(&usual, "is in use by another program");
	assert_true(if_nametoindex(TUNNEL) > 0);
	tun_set_persistent(fd, false);
	close(fd);
	assert_int_equal(count_entries(directory), 0);
}

static void test_insecure_directory(void **state)
{
	(void)state;
	REQUIRE_NETNS();
	chmod(directory, 0777);
	assert_refused(&usual, "must belong to root");
	chmod(directory, 0755);
	assert_int_equal(chown(directory, 65534, 65534), 0);
	assert_refused(&usual, "must belong to root");
}

/* In a child: what it changes about itself must not last. */
static int refusal_in_child(void (*prepare)(void), const char *why)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		prepare();
		_exit(is_refused(&usual, why) ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	return status;
}

static void become_nobody(void)
{
	if (setresuid(65534, 65534, 65534))
		_exit(1);
}

static void hide_tun(void)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/dev/net", "tmpfs", 0, NULL))
		_exit(1);
}

static void test_no_privileges(void **state)
{
	(void)state;
	REQUIRE_NETNS();
	assert_int_equal(refusal_in_child(become_nobody, "must be run as root: CAP_NET_ADMIN is missing"), 0);
}

static void test_no_tun(void **state)
{
	(void)state;
	REQUIRE_NETNS();
	assert_int_equal(refusal_in_child(hide_tun, "modprobe tun"), 0);
	assert_int_equal(count_entries(directory), 0);
}

/* ------ In the background ------ */

static void test_background(void **state)
{
	struct monitor_options options = usual;
	char text[256], path[64];
	pid_t starter;
	ssize_t len;
	int output;

	(void)state;
	REQUIRE_NETNS();
	options.foreground = false;
	starter = run_monitor(&options, &output);
	assert_int_equal(exit_code_of(starter), 0);
	/* What the caller relies on exists; nothing of ours is left on its terminal. */
	assert_true(if_nametoindex(TUNNEL) > 0);
	close(connect_uapi());
	wait_for(&shared->ready);
	tell(COMMAND_OPEN);
	assert_int_not_equal(shared->monitor, starter);
	assert_int_equal(getsid(shared->monitor), shared->monitor);
	/* End of file, after what was said before it was ready. */
	while ((len = read(output, text, sizeof(text))) > 0)
		;
	assert_int_equal(len, 0);
	snprintf(path, sizeof(path), "/proc/%d/fd/2", shared->monitor);
	len = readlink(path, text, sizeof(text) - 1);
	assert_int_equal(len, strlen("/dev/null"));
	assert_memory_equal(text, "/dev/null", (size_t)len);
	kill(shared->agent, SIGKILL);
	wait_for(&shared->ready);
	kill(shared->monitor, SIGTERM);
	wait_for_end(shared->monitor);
	assert_nothing_left();
	close(output);
}

/* LOG_LEVEL: the log keeps the caller's stderr. */
static void test_background_with_log(void **state)
{
	struct monitor_options options = usual;
	pid_t starter;
	int output;

	(void)state;
	REQUIRE_NETNS();
	options.foreground = false;
	options.keep_output = true;
	starter = run_monitor(&options, &output);
	assert_int_equal(exit_code_of(starter), 0);
	wait_for(&shared->ready);
	kill(shared->agent, SIGKILL);
	wait_for(&shared->ready);
	assert_true(is_said(output, "the agent died of signal 9"));
	kill(shared->monitor, SIGTERM);
	wait_for_end(shared->monitor);
	assert_nothing_left();
	close(output);
}

static void test_background_fails(void **state)
{
	struct monitor_options options = usual;

	(void)state;
	REQUIRE_NETNS();
	options.foreground = false;
	shared->mode = MODE_SETUP_FAILS;
	assert_refused(&options, "the agent's own words");
	assert_nothing_left();
	options.tunnel = "a/b";
	assert_refused(&options, "is no interface name");
}

/* ------ Given descriptors ------ */

static void test_given_fds(void **state)
{
	struct ifreq ifr = { .ifr_name = TUNNEL, .ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR };
	struct monitor_options options = usual;
	pid_t monitor;

	(void)state;
	REQUIRE_NETNS();
	options.tunnel = "another-name"; /* the device's own counts */
	options.n_workers = 4;
	options.tun_fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	assert_int_equal(ioctl(options.tun_fd, TUNSETIFF, &ifr), 0);
	options.uapi_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_refused(&options, "must be a listening socket");
	bind_at(options.uapi_fd, socket_path);
	assert_int_equal(listen(options.uapi_fd, 1), 0);
	monitor = start(&options);
	assert_int_equal(shared->n_workers, 1);
	/* Closing ours shows whose the device is now. */
	close(options.tun_fd);
	close(options.uapi_fd);
	tell(COMMAND_OPEN);
	unlink(socket_path);
	assert_int_equal(exit_code_of(monitor), 0);
	assert_nothing_left();

	options.tun_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_refused(&options, "WG_TUN_FD");
	close(options.tun_fd);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up_test, tear_down_test)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_start_and_stop),
		TEST(test_several_queues),
		TEST(test_makes_directory),
		TEST(test_agent_ends),
		TEST(test_link_deleted),
		TEST(test_socket_removed),
		TEST(test_socket_replaced),
		TEST(test_stray_signals),
		TEST(test_stubborn_agent),
		TEST(test_agent_killed),
		TEST(test_silent_while_dead),
		TEST(test_monitor_killed),
		TEST(test_failed_start_leaves_device),
		TEST(test_never_ready),
		TEST(test_setup_fails_later),
		TEST(test_backoff),
		TEST(test_second_start),
		TEST(test_two_starts_at_once),
		TEST(test_name_lock),
		TEST(test_other_program_serves),
		TEST(test_stale_socket),
		TEST(test_not_a_socket),
		TEST(test_bad_names),
		TEST(test_bad_devices),
		TEST(test_insecure_directory),
		TEST(test_no_privileges),
		TEST(test_no_tun),
		TEST(test_background),
		TEST(test_background_with_log),
		TEST(test_background_fails),
		TEST(test_given_fds),
	};

	return cmocka_run_group_tests(tests, enter_netns, NULL);
}
