// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <sys/socket.h>

static int accept_errors; /* how many times accept4() finds no fd, and with what */
static int accept_error;

static int failing_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags);

#define accept4 failing_accept4
#include "../../user/uapi.c"
#undef accept4

#include <fcntl.h>
#include <sys/un.h>

#include "timers.h"

static int failing_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	if (accept_errors) {
		accept_errors--;
		errno = accept_error;
		return -1;
	}
	return accept4(fd, addr, len, flags);
}

/* ------ Control, as far as UAPI knows it ------ */

static struct device_config applied; /* of the last set: its flags, port and number of peers */
static unsigned int n_applied, n_status, status_peers;
static int apply_error, status_error;

int control_apply(struct control *control, const struct device_config *config)
{
	(void)control;
	n_applied++;
	applied.flags = config->flags;
	applied.listen_port = config->listen_port;
	applied.fwmark = config->fwmark;
	applied.n_peers = config->n_peers;
	return apply_error;
}

int control_status(struct control *control, struct device_config *status)
{
	(void)control;
	n_status++;
	status->listen_port = 4711;
	for (unsigned int i = 0; i < status_peers; i++) {
		uint8_t key[32] = { (uint8_t)i, (uint8_t)(i >> 8) };

		if (!device_config_add_peer(status, key))
			return -ENOMEM;
	}
	return status_error;
}

void control_format_extra(struct control *control, struct uapi_text *text)
{
	(void)control;
	uapi_text_printf(text, "extra=1\n");
}

/* ------ A server and its clients ------ */

static struct uapi_server *server;
static struct sockaddr_un address = { .sun_family = AF_UNIX };
static int epoll_fd;

static int setup(void **state)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	(void)state;
	/* Abstract: nothing is left behind. */
	address.sun_path[0] = '\0';
	snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "wg-xdp-test-uapi-%d", (int)getpid());
	assert_return_code(bind(fd, (struct sockaddr *)&address, sizeof(address)), errno);
	assert_return_code(listen(fd, 128), errno);
	epoll_fd = epoll_create1(0);
	server = uapi_server_create(NULL, fd, epoll_fd);
	assert_non_null(server);
	n_applied = n_status = status_peers = 0;
	apply_error = status_error = accept_errors = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	uapi_server_free(server);
	return close(epoll_fd);
}

/* Until nothing more happens by itself. Returns how many turns that took; no single one blocks. */
static unsigned int serve(void)
{
	struct epoll_event events[16];
	unsigned int n_turns = 0;
	int n;

	while ((n = epoll_wait(epoll_fd, events, 16, 0)) > 0)
		for (int i = 0; i < n; i++, n_turns++) {
			assert_true(n_turns < 100000);
			uapi_handle_event(server, events[i].data.ptr);
		}
	return n_turns;
}

static int client(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_return_code(connect(fd, (struct sockaddr *)&address, sizeof(address)), errno);
	serve();
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	serve();
}

static char answer[1 << 16];

/* What has come, as text. */
static const char *hear(int fd)
{
	ssize_t n = read(fd, answer, sizeof(answer) - 1);

	answer[n > 0 ? n : 0] = '\0';
	return answer;
}

static bool is_closed(int fd)
{
	char byte;
	ssize_t n = read(fd, &byte, 1);

	return !n || (n < 0 && errno == ECONNRESET);
}

#define SET "set=1\nlisten_port=7\n"

static void test_get_and_set(void **state)
{
	int fd = client();

	(void)state;
	say(fd, "get=1\n\n");
	assert_string_equal(hear(fd), "listen_port=4711\nerrno=0\n\n");
	say(fd, SET "fwmark=5\n\n");
	assert_string_equal(hear(fd), "errno=0\n\n");
	assert_int_equal(applied.listen_port, 7);
	assert_int_equal(applied.flags, CONFIG_DEVICE_HAS_LISTEN_PORT | CONFIG_DEVICE_HAS_FWMARK);
	say(fd, "wg_xdp=1\n\n");
	assert_string_equal(hear(fd), "extra=1\nerrno=0\n\n");
	/* A second set begins anew. */
	say(fd, "set=1\nreplace_peers=true\n\n");
	assert_string_equal(hear(fd), "errno=0\n\n");
	assert_int_equal(applied.flags, CONFIG_DEVICE_REPLACE_PEERS);
	assert_int_equal(n_applied, 2);
	close(fd);
	serve();
	assert_int_equal(server->n_connections, 0);
}

/* Positive in answers to get, negative in answers to set: that is how wg(8) reads them. */
static void test_signs_of_errors(void **state)
{
	int fd = client();

	(void)state;
	apply_error = -EADDRINUSE;
	say(fd, SET "\n");
	assert_string_equal(hear(fd), "errno=-98\n\n");
	status_error = -ENOMEM;
	say(fd, "get=1\n\n");
	assert_string_equal(hear(fd), "errno=12\n\n");
	say(fd, "get=1\nlisten_port=1\n");
	assert_string_equal(hear(fd), "errno=22\n\n");
	close(fd);
}

static void test_bad_line_applies_nothing(void **state)
{
	int fd = client();

	(void)state;
	say(fd, SET "listen_port=70000\nfwmark=1\n");
	assert_string_equal(hear(fd), "");
	say(fd, "replace_peers=true\n\n");
	assert_string_equal(hear(fd), "errno=-22\n\n");
	say(fd, "set=1\nlisten_port\n\n");
	assert_string_equal(hear(fd), "errno=-71\n\n");
	assert_int_equal(n_applied, 0);
	say(fd, SET "\n");
	assert_string_equal(hear(fd), "errno=0\n\n");
	assert_int_equal(n_applied, 1);
	close(fd);
}

static void test_byte_by_byte(void **state)
{
	const char *request = "set=1\nlisten_port=1234\n\nget=1\n\n";
	int fd = client();

	(void)state;
	for (const char *p = request; *p; p++) {
		assert_int_equal(write(fd, p, 1), 1);
		serve();
	}
	assert_string_equal(hear(fd), "errno=0\n\nlisten_port=4711\nerrno=0\n\n");
	assert_int_equal(applied.listen_port, 1234);
	close(fd);
}

static void test_pipelined(void **state)
{
	int fd = client();

	(void)state;
	say(fd, "get=1\n\nset=1\nlisten_port=1\n\n\n\nset=1\nlisten_port=2\n\nget=1\n\nset=1\nlis");
	assert_string_equal(hear(fd), "listen_port=4711\nerrno=0\n\nerrno=0\n\nerrno=0\n\nlisten_port=4711\nerrno=0\n\n");
	assert_int_equal(applied.listen_port, 2);
	say(fd, "ten_port=3\n\n");
	assert_string_equal(hear(fd), "errno=0\n\n");
	assert_int_equal(applied.listen_port, 3);
	close(fd);
}

/* The request is complete although no more will come. */
static void test_half_closed(void **state)
{
	int fd = client();

	(void)state;
	assert_int_equal(write(fd, "get=1\n\nget=1\n\n", 14), 14);
	shutdown(fd, SHUT_WR);
	serve();
	assert_string_equal(hear(fd), "listen_port=4711\nerrno=0\n\nlisten_port=4711\nerrno=0\n\n");
	assert_true(is_closed(fd));
	assert_int_equal(server->n_connections, 0);
	close(fd);
}

static void test_unknown_operation_closes(void **state)
{
	static const char *const requests[] = { "hello\n", "set=2\n\n", "get=1 \n\n", "listen_port=1\n\n" };

	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		int fd = client();

		say(fd, requests[i]);
		assert_true(is_closed(fd));
		close(fd);
	}
	assert_int_equal(server->n_connections, 0);
	assert_int_equal(n_applied, 0);
}

static void test_nul_closes(void **state)
{
	const char request[] = "set=1\nlisten_port=1\0" "23\n\n";
	int fd = client();

	(void)state;
	assert_int_equal(write(fd, request, sizeof(request) - 1), sizeof(request) - 1);
	serve();
	assert_true(is_closed(fd));
	assert_int_equal(n_applied, 0);
	close(fd);
}

static void say_spaces(int fd, size_t n)
{
	char spaces[1000];

	memset(spaces, ' ', sizeof(spaces));
	while (n) {
		size_t len = n < sizeof(spaces) ? n : sizeof(spaces);

		assert_int_equal(send(fd, spaces, len, MSG_NOSIGNAL), len);
		serve();
		n -= len;
	}
}

static void test_line_length(void **state)
{
	int fd = client();

	(void)state;
	say(fd, "set=1\n");
	say_spaces(fd, UAPI_LINE_MAX - 1);
	assert_int_equal(server->n_connections, 1);
	say(fd, "\n\n");
	assert_string_equal(hear(fd), "errno=-71\n\n");
	say(fd, "set=1\n");
	say_spaces(fd, UAPI_LINE_MAX);
	assert_int_equal(write(fd, " ", 1), 1);
	serve();
	assert_true(is_closed(fd));
	close(fd);
}

/* Nobody waits for a client that does not read; it gets it all when it does. */
static void test_slow_reader(void **state)
{
	int slow = client(), other = client();
	size_t total = 0;
	ssize_t n;

	(void)state;
	status_peers = 30000;
	say(slow, "get=1\n\nget=1\n\nget=1\n\n");
	assert_int_equal(n_status, 1);
	status_peers = 0;
	say(other, "get=1\n\n");
	assert_string_equal(hear(other), "listen_port=4711\nerrno=0\n\n");
	status_peers = 30000;
	while ((n = read(slow, answer, sizeof(answer))) > 0) {
		total += (size_t)n;
		serve();
	}
	assert_int_equal(n_status, 4);
	assert_true(total > 3 * 30000 * 200UL);
	assert_null(server->connections->out.text);
	close(slow);
	close(other);
}

/* One operation, then the others' turn: thousands of them in one packet do not keep control from its timers. */
static void test_one_operation_in_a_turn(void **state)
{
	struct epoll_event event;
	char requests[7 * 1000 + 1] = "";
	int fd = client();

	(void)state;
	for (unsigned int i = 0; i < 1000; i++)
		memcpy(requests + 7 * i, "get=1\n\n", 7);
	status_peers = 10;
	assert_int_equal(write(fd, requests, 7000), 7000);
	for (unsigned int i = 1; i <= 5; i++) {
		assert_int_equal(epoll_wait(epoll_fd, &event, 1, 0), 1);
		uapi_handle_event(server, event.data.ptr);
		assert_int_equal(n_status, i);
	}
	serve();
	assert_true(n_status < 1000); /* it does not read */
	assert_true(server->connections->out.len < 10 * 400);
	while (hear(fd)[0])
		serve();
	assert_int_equal(n_status, 1000);
	close(fd);
}

static void test_input_is_wiped(void **state)
{
	const char *secret = "5555555555555555555555555555555555555555555555555555555555555555";
	char request[200];
	int fd = client();

	(void)state;
	snprintf(request, sizeof(request), "set=1\nprivate_key=%s\n\nset=1\nprivate_key=%s\nli", secret, secret);
	say(fd, request);
	assert_string_equal(hear(fd), "errno=0\n\n");
	assert_null(memmem(server->connections->in, server->connections->in_capacity, secret, 32));
	close(fd);
}

static void test_connections_are_limited(void **state)
{
	int fds[MAX_CONNECTIONS + 5];

	(void)state;
	for (unsigned int i = 0; i < MAX_CONNECTIONS + 5; i++)
		fds[i] = client();
	assert_int_equal(server->n_connections, MAX_CONNECTIONS);
	for (unsigned int i = MAX_CONNECTIONS; i < MAX_CONNECTIONS + 5; i++)
		assert_true(is_closed(fds[i]));
	close(fds[3]);
	serve();
	close(fds[MAX_CONNECTIONS]);
	fds[3] = client();
	say(fds[3], "get=1\n\n");
	assert_string_equal(hear(fds[3]), "listen_port=4711\nerrno=0\n\n");
	fds[MAX_CONNECTIONS] = -1;
	for (unsigned int i = 0; i < MAX_CONNECTIONS + 5; i++)
		close(fds[i]);
}

static void test_idle_connections_are_closed(void **state)
{
	int idle = client(), busy = client();
	uint64_t now_ns = worker_now_ns();

	(void)state;
	say(idle, "set=1\nlisten_port=1\n");
	server->connections->last_active_ns = now_ns + 20 * NS_PER_SECOND;
	assert_int_equal(uapi_close_idle(server, now_ns + 29 * NS_PER_SECOND), 2);
	assert_int_equal(uapi_close_idle(server, now_ns + 31 * NS_PER_SECOND), 1);
	assert_true(is_closed(idle));
	say(busy, "get=1\n\n");
	assert_string_equal(hear(busy), "listen_port=4711\nerrno=0\n\n");
	assert_int_equal(uapi_close_idle(server, worker_now_ns() + 31 * NS_PER_SECOND), 0);
	assert_int_equal(n_applied, 0);
	close(idle);
	close(busy);
}

/* Without a free fd the listener is left alone for a while: control must not spin. */
static void test_no_fd_left(void **state)
{
	int fd;

	(void)state;
	accept_errors = 1;
	accept_error = EMFILE;
	fd = client();
	assert_int_equal(server->n_connections, 0);
	assert_int_equal(serve(), 0);
	uapi_close_idle(server, worker_now_ns());
	say(fd, "get=1\n\n");
	assert_string_equal(hear(fd), "listen_port=4711\nerrno=0\n\n");
	close(fd);
}

static void test_stale_events(void **state)
{
	int fd = client();
	struct connection *gone = server->connections;

	(void)state;
	close(fd);
	serve();
	uapi_handle_event(server, gone);
	assert_int_equal(server->n_connections, 0);
	uapi_server_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_get_and_set),
		TEST(test_signs_of_errors),
		TEST(test_bad_line_applies_nothing),
		TEST(test_byte_by_byte),
		TEST(test_pipelined),
		TEST(test_half_closed),
		TEST(test_unknown_operation_closes),
		TEST(test_nul_closes),
		TEST(test_line_length),
		TEST(test_slow_reader),
		TEST(test_one_operation_in_a_turn),
		TEST(test_input_is_wiped),
		TEST(test_connections_are_limited),
		TEST(test_idle_connections_are_closed),
		TEST(test_no_fd_left),
		TEST(test_stale_events),
	};

	if (geteuid()) {
		print_message("not root: connections would be refused; skipped\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
