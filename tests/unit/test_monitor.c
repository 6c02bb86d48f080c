// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A tunnel's life under the monitor: it ends in many ways and leaves nothing; when the agent dies, nothing ends.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>

#include "../../user/monitor.c"
#include "monitor_fixture.h"

/* ------ Life ------ */

static unsigned int count_fds_of(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	return count_entries(path);
}

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
	};

	return cmocka_run_group_tests(tests, enter_netns, NULL);
}
