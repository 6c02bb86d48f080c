/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The monitor with a small agent in place of the real one, for a test program that has included monitor.c: each test
 * starts tunnels, in a network namespace of its own and a directory of its own, does something to them, and looks at
 * what is left.
 *
 * The agent is told what to do over the UAPI socket, one byte a command, and reports through shared memory.
 */
#ifndef WG_XDP_MONITOR_FIXTURE_H
#define WG_XDP_MONITOR_FIXTURE_H

#include <dirent.h>
#include <fcntl.h>
#include <semaphore.h>
#include <sys/pidfd.h>
#include <sys/stat.h>

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

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up_test, tear_down_test)

#endif
