// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Both sides of the agent's requests, over a real TUN device in a network namespace of its own: what agents ask for,
 * and what hostile ones might. Giving privileges up is tested in test_sandbox.c.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "../../user/privileged.c"
#include "link_name.h"
#include "own_netns.h"

#define TUNNEL "wgx-test"

/* ------ A monitor's side, in a thread ------ */

struct fixture {
	struct privileged_ops ops;
	char name[IFNAMSIZ];
	int tun_fd;
	int agent_fd, server_fd;
	pthread_t server;
	bool has_server;
	bool is_ready;
	int result; /* what ended the server */
};

static void *serve(void *arg)
{
	struct fixture *f = arg;
	struct pollfd pollfd = { .fd = f->server_fd, .events = POLLIN };

	do {
		poll(&pollfd, 1, -1);
		f->result = privileged_ops_serve(&f->ops, f->server_fd, &f->is_ready);
	} while (!f->result || f->result == -EAGAIN);
	return NULL;
}

static void start_server(struct fixture *f)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	f->agent_fd = fds[0];
	f->server_fd = fds[1];
	f->is_ready = false;
	assert_int_equal(pthread_create(&f->server, NULL, serve, f), 0);
	f->has_server = true;
}

/* As an agent dies: its end is closed. */
static void stop_server(struct fixture *f)
{
	if (!f->has_server)
		return;
	close(f->agent_fd);
	pthread_join(f->server, NULL);
	close(f->server_fd);
	f->has_server = false;
}

static int set_up_fixture(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct tun_features features;

	*state = f;
	if (!has_netns)
		return 0;
	strcpy(f->name, TUNNEL);
	assert_int_equal(tun_create(f->name, 1, &f->tun_fd, &features), 0);
	assert_int_equal(tun_set_persistent(f->tun_fd, false), 0);
	assert_int_equal(privileged_ops_init(&f->ops, f->tun_fd), 0);
	start_server(f);
	return 0;
}

static int tear_down_fixture(void **state)
{
	struct fixture *f = *state;

	if (has_netns) {
		stop_server(f);
		privileged_ops_deinit(&f->ops);
		close(f->tun_fd);
	}
	free(f);
	return 0;
}

static unsigned int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static uint64_t cookie_of(int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len), 0);
	return cookie;
}

static uint32_t mark_of(int fd)
{
	uint32_t mark = 0;
	socklen_t len = sizeof(mark);

	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_MARK, &mark, &len), 0);
	return mark;
}

static uint16_t port_of(int fd)
{
	struct sockaddr_in6 addr;
	socklen_t len = sizeof(addr);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	return ntohs(addr.sin6_port);
}

static int bind_any(uint16_t port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (!bind(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return fd;
	close(fd);
	return -1;
}

static bool is_port_free(uint16_t port)
{
	int fd = bind_any(port);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* ------ Requests ------ */

static void test_open_gives_group(void **state)
{
	struct fixture *f = *state;
	struct udp_sock socks[3];
	uint16_t port = 0;

	REQUIRE_NETNS();
	assert_int_equal(privileged_open_sockets(f->agent_fd, socks, 3, &port, 0x77), 0);
	assert_true(port > 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(socks[i].port, port);
		assert_int_equal(port_of(socks[i].fd4), port);
		assert_int_equal(port_of(socks[i].fd6), port);
		assert_int_equal(mark_of(socks[i].fd4), 0x77);
		assert_int_equal(mark_of(socks[i].fd6), 0x77);
		assert_int_equal(fcntl(socks[i].fd4, F_GETFD), FD_CLOEXEC);
		assert_true(socks[i].gso4 && socks[i].gso6);
		/* not one of them twice, nor in another's place */
		assert_int_equal(f->ops.socks[i].port, port);
		assert_int_equal(cookie_of(f->ops.socks[i].fd4), cookie_of(socks[i].fd4));
		assert_int_equal(cookie_of(f->ops.socks[i].fd6), cookie_of(socks[i].fd6));
		udp_sock_close(&socks[i]);
	}
	/* The monitor's duplicates hold the port. */
	assert_false(is_port_free(port));
}

static void test_open_most(void **state)
{
	struct fixture *f = *state;
	struct udp_sock socks[PRIVILEGED_MAX_WORKERS];
	uint16_t port = 0;

	REQUIRE_NETNS();
	assert_int_equal(privileged_open_sockets(f->agent_fd, socks, PRIVILEGED_MAX_WORKERS, &port, 0), 0);
	for (unsigned int i = 0; i < PRIVILEGED_MAX_WORKERS; i++)
		udp_sock_close(&socks[i]);
	assert_int_equal(privileged_open_sockets(f->agent_fd, socks, PRIVILEGED_MAX_WORKERS + 1, &port, 0), -EINVAL);
	assert_int_equal(privileged_open_sockets(f->agent_fd, socks, 0, &port, 0), -EINVAL);
}

static void test_same_group_again(void **state)
{
	struct fixture *f = *state;
	struct udp_sock first, again;
	uint16_t port = 0;
	uint64_t cookie;

	REQUIRE_NETNS();
	assert_int_equal(privileged_open_sockets(f->agent_fd, &first, 1, &port, 1), 0);
	cookie = cookie_of(first.fd4);
	udp_sock_close(&first);
	stop_server(f);
	privileged_ops_agent_died(&f->ops);
	start_server(f);
	assert_int_equal(privileged_open_sockets(f->agent_fd, &again, 1, &port, 2), 0);
	assert_int_equal(cookie_of(again.fd4), cookie);
	assert_int_equal(mark_of(again.fd4), 2);
	assert_int_equal(mark_of(again.fd6), 2);
	udp_sock_close(&again);
}

/* 0 asks for any port: the predecessor's while its successor has none, a new one when the owner wants another. */
static void test_any_port_inherited_once(void **state)
{
	struct fixture *f = *state;
	uint16_t port = 0, inherited = 0, other = 0;
	struct udp_sock sock;

	REQUIRE_NETNS();
	assert_int_equal(privileged_open_sockets(f->agent_fd, &sock, 1, &port, 0), 0);
	udp_sock_close(&sock);
	stop_server(f);
	privileged_ops_agent_died(&f->ops);
	start_server(f);
	assert_int_equal(privileged_open_sockets(f->agent_fd, &sock, 1, &inherited, 0), 0);
	assert_int_equal(inherited, port);
	udp_sock_close(&sock);
	assert_int_equal(privileged_open_sockets(f->agent_fd, &sock, 1, &other, 0), 0);
	assert_int_not_equal(other, port);
	udp_sock_close(&sock);
	assert_true(is_port_free(port));
	assert_false(is_port_free(other));
}

static void test_failed_open_keeps_old(void **state)
{
	struct fixture *f = *state;
	uint16_t port = 0, taken;
	struct udp_sock sock, none;
	int foreign;

	REQUIRE_NETNS();
	foreign = bind_any(0);
	taken = port_of(foreign);
	assert_int_equal(privileged_open_sockets(f->agent_fd, &sock, 1, &port, 0), 0);
	assert_int_equal(privileged_open_sockets(f->agent_fd, &none, 1, &taken, 0), -EADDRINUSE);
	udp_sock_close(&sock);
	assert_int_equal(f->ops.n_socks, 1);
	assert_false(is_port_free(port));
	close(foreign);
	/* Now it can be had, and the old one goes. */
	assert_int_equal(privileged_open_sockets(f->agent_fd, &sock, 1, &taken, 0), 0);
	udp_sock_close(&sock);
	assert_true(is_port_free(port));
	assert_false(is_port_free(taken));
}

/* Another number of workers on the same port: the agent has closed its own first. */
static void test_other_number_same_port(void **state)
{
	struct fixture *f = *state;
	struct udp_sock socks[2];
	uint16_t port = 0;

	REQUIRE_NETNS();
	assert_int_equal(privileged_open_sockets(f->agent_fd, socks, 1, &port, 0), 0);
	udp_sock_close(&socks[0]);
	assert_int_equal(privileged_open_sockets(f->agent_fd, socks, 2, &port, 0), 0);
	udp_sock_close(&socks[0]);
	udp_sock_close(&socks[1]);
	assert_int_equal(f->ops.n_socks, 2);
}

static void test_close_sockets(void **state)
{
	struct fixture *f = *state;
	struct udp_sock sock;
	uint16_t port = 0;

	REQUIRE_NETNS();
	assert_int_equal(privileged_close_sockets(f->agent_fd), 0);
	assert_int_equal(privileged_open_sockets(f->agent_fd, &sock, 1, &port, 0), 0);
	udp_sock_close(&sock);
	assert_int_equal(privileged_close_sockets(f->agent_fd), 0);
	assert_true(is_port_free(port));
}

static void test_set_fwmark(void **state)
{
	struct fixture *f = *state;
	struct udp_sock socks[2];
	uint16_t port = 0;

	REQUIRE_NETNS();
	assert_int_equal(privileged_set_fwmark(f->agent_fd, 5), -ENOTCONN);
	assert_int_equal(privileged_open_sockets(f->agent_fd, socks, 2, &port, 0), 0);
	assert_int_equal(privileged_set_fwmark(f->agent_fd, 0xffffffff), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(mark_of(socks[i].fd4), 0xffffffff);
		assert_int_equal(mark_of(socks[i].fd6), 0xffffffff);
	}
	assert_int_equal(privileged_set_fwmark(f->agent_fd, 0), 0);
	assert_int_equal(mark_of(socks[1].fd6), 0);
	udp_sock_close(&socks[0]);
	udp_sock_close(&socks[1]);
}

static void assert_netlink_finds(struct fixture *f, const char *expected, bool expected_elsewhere)
{
	char name[IFNAMSIZ] = "";
	bool is_elsewhere;
	int fd, ifindex;

	assert_int_equal(privileged_tun_netlink(f->agent_fd, &fd, &ifindex, &is_elsewhere), 0);
	assert_int_equal(is_elsewhere, expected_elsewhere);
	link_name(fd, ifindex, name);
	assert_string_equal(name, expected);
	close(fd);
}

static void test_tun_netlink(void **state)
{
	struct fixture *f = *state;
	unsigned int n_before;

	REQUIRE_NETNS();
	assert_netlink_finds(f, TUNNEL, false);
	run("ip link set " TUNNEL " name wgx-test-other");
	n_before = count_fds();
	for (int i = 0; i < 10; i++)
		assert_netlink_finds(f, "wgx-test-other", false);
	/* The monitor keeps none; after another request it is done with the last. */
	assert_int_equal(privileged_close_sockets(f->agent_fd), 0);
	assert_int_equal(count_fds(), n_before);
}

/* A process in a network namespace of its own, by whose number `ip` finds it. */
static pid_t start_elsewhere(void)
{
	int fds[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (!pid) {
		if (unshare(CLONE_NEWNET) || write(fds[1], "", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	close(fds[0]);
	return pid;
}

static void test_tun_netlink_elsewhere(void **state)
{
	struct fixture *f = *state;
	struct udp_sock sock;
	uint16_t port = 0;
	pid_t elsewhere;

	REQUIRE_NETNS();
	elsewhere = start_elsewhere();
	run("ip link set " TUNNEL " netns %d", elsewhere);
	assert_int_equal(if_nametoindex(TUNNEL), 0);
	assert_netlink_finds(f, TUNNEL, true);
	run("nsenter --net=/proc/%d/ns/net ip link set " TUNNEL " name wgx-test-far", elsewhere);
	assert_netlink_finds(f, "wgx-test-far", true);
	/* And the monitor has come back: its sockets are where they were. */
	assert_int_equal(privileged_open_sockets(f->agent_fd, &sock, 1, &port, 0), 0);
	assert_false(is_port_free(port));
	udp_sock_close(&sock);
	run("nsenter --net=/proc/%d/ns/net ip link delete wgx-test-far", elsewhere);
	kill(elsewhere, SIGKILL);
	waitpid(elsewhere, NULL, 0);
}

static void test_tun_netlink_gone(void **state)
{
	struct fixture *f = *state;
	bool is_elsewhere;
	int fd, ifindex;

	REQUIRE_NETNS();
	run("ip link delete " TUNNEL);
	assert_int_equal(privileged_tun_netlink(f->agent_fd, &fd, &ifindex, &is_elsewhere), -ENODEV);
}

static void test_ready(void **state)
{
	struct fixture *f = *state;

	REQUIRE_NETNS();
	assert_int_equal(privileged_ready(f->agent_fd), 0);
	/* No answer: the next request gets its own. */
	assert_int_equal(privileged_set_fwmark(f->agent_fd, 1), -ENOTCONN);
	assert_true(f->is_ready);
}

static void test_monitor_gone(void **state)
{
	struct udp_sock sock;
	uint16_t port = 0;
	int fds[2], fd, ifindex;
	bool is_elsewhere;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	close(fds[1]);
	assert_int_equal(privileged_open_sockets(fds[0], &sock, 1, &port, 0), -EPIPE);
	assert_int_equal(privileged_tun_netlink(fds[0], &fd, &ifindex, &is_elsewhere), -EPIPE);
	assert_int_equal(privileged_ready(fds[0]), -EPIPE);
	close(fds[0]);
}

/* No room for the sockets: said so, and nothing leaks. */
static void test_no_room_for_fds(void **state)
{
	struct fixture *f = *state;
	struct udp_sock socks[8];
	struct rlimit limit, low;
	unsigned int n_before;
	uint16_t port = 0;

	REQUIRE_NETNS();
	assert_int_equal(privileged_open_sockets(f->agent_fd, socks, 8, &port, 0), 0);
	for (int i = 0; i < 8; i++)
		udp_sock_close(&socks[i]);
	n_before = count_fds();
	getrlimit(RLIMIT_NOFILE, &limit);
	low = limit;
	low.rlim_cur = (rlim_t)dup(0) + 5;
	close((int)low.rlim_cur - 5);
	setrlimit(RLIMIT_NOFILE, &low);
	assert_int_equal(privileged_open_sockets(f->agent_fd, socks, 8, &port, 0), -EMFILE);
	setrlimit(RLIMIT_NOFILE, &limit);
	assert_int_equal(count_fds(), n_before);
	assert_int_equal(privileged_open_sockets(f->agent_fd, socks, 8, &port, 0), 0);
	for (int i = 0; i < 8; i++)
		udp_sock_close(&socks[i]);
}

/* ------ Hostile agents ------ */

static int raw_exchange(struct fixture *f, const void *message, size_t len)
{
	struct privileged_answer answer;

	assert_int_equal(send(f->agent_fd, message, len, 0), len);
	assert_int_equal(recv(f->agent_fd, &answer, sizeof(answer), 0), sizeof(answer));
	return answer.error;
}

static void test_malformed(void **state)
{
	static const struct privileged_request requests[] = {
		{ .op = 0 },
		{ .op = PRIVILEGED_TUN_NETLINK + 1 },
		{ .op = 0xffffffff },
		{ .op = PRIVILEGED_OPEN_SOCKETS, .n = 0 },
		{ .op = PRIVILEGED_OPEN_SOCKETS, .n = PRIVILEGED_MAX_WORKERS + 1 },
		{ .op = PRIVILEGED_OPEN_SOCKETS, .n = 0xffffffff },
		{ .op = PRIVILEGED_OPEN_SOCKETS, .n = 1, .port = 65536 },
	};
	struct fixture *f = *state;
	char bytes[64] = { 0 };

	REQUIRE_NETNS();
	for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++)
		assert_int_equal(raw_exchange(f, &requests[i], sizeof(requests[i])), -EINVAL);
	bytes[0] = PRIVILEGED_CLOSE_SOCKETS;
	for (size_t len = 1; len < sizeof(bytes); len++)
		assert_int_equal(raw_exchange(f, bytes, len), len == sizeof(*requests) ? 0 : -EINVAL);
	assert_false(f->is_ready);
}

static void test_random_messages(void **state)
{
	struct fixture *f = *state;
	uint64_t random = 0x5eed;
	unsigned int n_before;

	REQUIRE_NETNS();
	print_message("seed %#llx\n", (unsigned long long)random);
	n_before = count_fds();
	for (int i = 0; i < 20000; i++) {
		uint32_t words[6];
		size_t len;

		for (size_t w = 0; w < 6; w++) {
			random = random * 6364136223846793005ULL + 1442695040888963407ULL;
			words[w] = (uint32_t)(random >> 33);
		}
		len = words[5] % 2 ? sizeof(struct privileged_request) : 2 + words[5] / 2 % 22;
		/* Opening random ports takes long: only requests that must be refused, and the cheap ones. */
		words[0] %= 16;
		if (words[0] == PRIVILEGED_OPEN_SOCKETS)
			words[3] |= 65536;
		if (words[0] == PRIVILEGED_TUN_NETLINK)
			words[0] = 0;
		raw_exchange(f, words, len);
	}
	assert_int_equal(count_fds(), n_before);
}

/* Descriptors that come with a request are nobody's: they must not fill the monitor's table. */
static void test_sent_fds_dropped(void **state)
{
	const struct privileged_request request = { .op = PRIVILEGED_CLOSE_SOCKETS };
	struct fixture *f = *state;
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {
		.header = {
			.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)),
		},
	};
	struct iovec iov = { .iov_base = (void *)&request, .iov_len = sizeof(request) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control.bytes),
	};
	struct privileged_answer answer;
	unsigned int n_before;

	REQUIRE_NETNS();
	n_before = count_fds();
	memcpy(CMSG_DATA(&control.header), &f->tun_fd, sizeof(int));
	for (int i = 0; i < 10; i++) {
		assert_int_equal(sendmsg(f->agent_fd, &msg, 0), sizeof(request));
		assert_int_equal(recv(f->agent_fd, &answer, sizeof(answer), 0), sizeof(answer));
		assert_int_equal(answer.error, 0);
	}
	assert_int_equal(count_fds(), n_before);
}

/* An agent that never reads is given up; the monitor does not wait for it. */
static void test_answers_not_taken(void **state)
{
	const struct privileged_request request = { .op = PRIVILEGED_SET_FWMARK };
	struct fixture *f = *state;

	REQUIRE_NETNS();
	while (send(f->agent_fd, &request, sizeof(request), MSG_NOSIGNAL | MSG_DONTWAIT) > 0 || errno == EAGAIN)
		if (f->server_fd < 0 || !pthread_tryjoin_np(f->server, NULL))
			break;
	f->has_server = false;
	assert_int_equal(f->result, -ENOBUFS);
	close(f->agent_fd);
	close(f->server_fd);
}

#define FIXTURE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up_fixture, tear_down_fixture)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(test_open_gives_group),
		FIXTURE_TEST(test_open_most),
		FIXTURE_TEST(test_same_group_again),
		FIXTURE_TEST(test_any_port_inherited_once),
		FIXTURE_TEST(test_failed_open_keeps_old),
		FIXTURE_TEST(test_other_number_same_port),
		FIXTURE_TEST(test_close_sockets),
		FIXTURE_TEST(test_set_fwmark),
		FIXTURE_TEST(test_tun_netlink),
		FIXTURE_TEST(test_tun_netlink_elsewhere),
		FIXTURE_TEST(test_tun_netlink_gone),
		FIXTURE_TEST(test_ready),
		cmocka_unit_test(test_monitor_gone),
		FIXTURE_TEST(test_no_room_for_fds),
		FIXTURE_TEST(test_malformed),
		FIXTURE_TEST(test_random_messages),
		FIXTURE_TEST(test_sent_fds_dropped),
		FIXTURE_TEST(test_answers_not_taken),
	};

	return cmocka_run_group_tests(tests, enter_netns, NULL);
}
