// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Starts of the monitor: those it refuses, saying why and leaving things as they are; those in the background; those
 * with descriptors somebody else has opened.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/ioctl.h>
#include <sys/mount.h>
#include <linux/if_tun.h>

#include "../../user/monitor.c"
#include "monitor_fixture.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
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
