// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * UAPI connections. A set is parsed whole, then applied whole; input is never logged, since a line may hold a key.
 *
 * Signs of errno follow what wg(8) reads: positive in answers to get, negative in answers to set.
 */
#define _GNU_SOURCE
#include "uapi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control.h"
#include "crypto/secret.h"
#include "log.h"
#include "uapi_text.h"
#include "worker.h"

/* With UAPI_LINE_MAX: what half lines can cost. */
#define MAX_CONNECTIONS 64
#define IDLE_SECONDS 30
#define IN_CAPACITY_MIN 4096

enum operation { OPERATION_NONE, OPERATION_GET, OPERATION_SET, OPERATION_EXTRA };

struct connection {
	struct connection *next;
	int fd;
	enum operation operation;
	struct device_config config;
	struct uapi_set_parser parser;
	int error; /* of the first bad line */
	uint64_t last_active_ns;
	char *in; /* from in_at to in_len: read and not yet handled; wiped elsewhere */
	size_t in_at, in_len, in_capacity;
	struct uapi_text out;
	size_t out_sent;
	bool must_close;
	uint32_t watched; /* the events epoll is asked for */
};

struct uapi_server {
	struct control *control;
	int listen_fd, epoll_fd;
	struct connection *connections;
	unsigned int n_connections;
	bool is_paused; /* no fd was left for another connection */
};

struct uapi_server *uapi_server_create(struct control *control, int listen_fd, int epoll_fd)
{
	struct uapi_server *server = calloc(1, sizeof(*server));
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = server };

	if (!server)
		return NULL;
	server->control = control;
	server->listen_fd = listen_fd;
	server->epoll_fd = epoll_fd;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &event)) {
		free(server);
		return NULL;
	}
	return server;
}

static void connection_free(struct uapi_server *server, struct connection *connection)
{
	struct connection **p = &server->connections;

	while (*p != connection)
		p = &(*p)->next;
	*p = connection->next;
	server->n_connections--;
	close(connection->fd);
	uapi_text_deinit(&connection->out);
	device_config_deinit(&connection->config);
	if (connection->in)
		secret_wipe(connection->in, connection->in_capacity);
	free(connection->in);
	free(connection);
}

void uapi_server_free(struct uapi_server *server)
{
	if (!server)
		return;
	while (server->connections)
		connection_free(server, server->connections);
	close(server->listen_fd);
	free(server);
}

/* Whoever speaks here can read the private key: root only, whatever the file's mode has become. */
static bool is_root(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) && cred.uid == 0;
}

/* Until housekeeping tries again: a listener that stays readable would keep control busy. */
static void pause_accepting(struct uapi_server *server, bool pause)
{
	struct epoll_event event = { .events = pause ? 0 : EPOLLIN, .data.ptr = server };

	if (!epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, server->listen_fd, &event))
		server->is_paused = pause;
}

static void accept_connection(struct uapi_server *server)
{
	int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct connection *connection;
	struct epoll_event event = { .events = EPOLLIN };

	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			pause_accepting(server, true);
		return;
	}
	if (!is_root(fd) || server->n_connections >= MAX_CONNECTIONS) {
		close(fd);
		return;
	}
	connection = calloc(1, sizeof(*connection));
	event.data.ptr = connection;
	if (!connection || epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event)) {
		free(connection);
		close(fd);
		return;
	}
	connection->fd = fd;
	connection->watched = EPOLLIN;
	connection->last_active_ns = worker_now_ns();
	device_config_init(&connection->config);
	connection->next = server->connections;
	server->connections = connection;
	server->n_connections++;
}

static void answer_get(struct uapi_server *server, struct connection *connection)
{
	struct device_config status;
	int error;

	device_config_init(&status);
	error = control_status(server->control, &status);
	if (!error)
		uapi_format_get(&connection->out, &status);
	device_config_deinit(&status);
	uapi_text_printf(&connection->out, "errno=%d\n\n", -error);
}

/* The empty line: the operation is complete. */
static void finish_operation(struct uapi_server *server, struct connection *connection)
{
	switch (connection->operation) {
	case OPERATION_GET:
		answer_get(server, connection);
		break;
	case OPERATION_EXTRA:
		control_format_extra(server->control, &connection->out);
		uapi_text_printf(&connection->out, "errno=0\n\n");
		break;
	case OPERATION_SET:
		if (!connection->error)
			connection->error = control_apply(server->control, &connection->config);
		uapi_text_printf(&connection->out, "errno=%d\n\n", connection->error);
		device_config_deinit(&connection->config);
		device_config_init(&connection->config);
		break;
	case OPERATION_NONE:
		break;
	}
	connection->operation = OPERATION_NONE;
	connection->error = 0;
	if (connection->out.failed)
		connection->must_close = true;
}

static void handle_line(struct uapi_server *server, struct connection *connection, char *line)
{
	if (connection->operation == OPERATION_NONE) {
		if (!strcmp(line, "get=1")) {
			connection->operation = OPERATION_GET;
		} else if (!strcmp(line, "set=1")) {
			connection->operation = OPERATION_SET;
			uapi_set_parser_init(&connection->parser, &connection->config);
		} else if (!strcmp(line, "wg_xdp=1")) {
			connection->operation = OPERATION_EXTRA;
		} else if (*line) {
			connection->must_close = true;
		}
		return;
	}
	if (!*line) {
		finish_operation(server, connection);
	} else if (connection->operation != OPERATION_SET) {
		uapi_text_printf(&connection->out, "errno=%d\n\n", EINVAL);
		connection->operation = OPERATION_NONE;
	} else if (!connection->error) {
		connection->error = uapi_set_parse_line(&connection->parser, line);
		if (connection->error)
			log_error("UAPI: line %u of a set request is not understood; nothing was changed",
				  connection->parser.line);
	}
}

/* The end of the first line that waits, or NULL. */
static char *find_line_end(const struct connection *connection)
{
	size_t len = connection->in_len - connection->in_at;

	return len ? memchr(connection->in + connection->in_at, '\n', len) : NULL;
}

/* Up to the next answer: the others have their turn before the next operation. */
static void handle_input(struct uapi_server *server, struct connection *connection)
{
	char *line, *end;

	while (!connection->must_close && !connection->out.len && (end = find_line_end(connection))) {
		line = connection->in + connection->in_at;
		connection->in_at = (size_t)(end + 1 - connection->in);
		/* A NUL inside a line would hide the rest of it. */
		if (memchr(line, '\0', (size_t)(end - line)))
			connection->must_close = true;
		*end = '\0';
		if (!connection->must_close)
			handle_line(server, connection, line);
		secret_wipe(line, (size_t)(end - line));
	}
}

/* False on an error; what has not been written waits. */
static bool write_output(struct connection *connection)
{
	while (connection->out_sent < connection->out.len) {
		ssize_t n = send(connection->fd, connection->out.text + connection->out_sent,
				 connection->out.len - connection->out_sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		connection->out_sent += (size_t)n;
	}
	uapi_text_deinit(&connection->out);
	connection->out_sent = 0;
	return true;
}

/* Makes room behind what has been read of a line. False when the line is too long, or memory short. */
static bool reserve_input(struct connection *connection)
{
	size_t len = connection->in_len - connection->in_at, capacity = connection->in_capacity;
	char *in;

	if (connection->in_at) {
		memmove(connection->in, connection->in + connection->in_at, len);
		secret_wipe(connection->in + len, connection->in_at);
		connection->in_at = 0;
		connection->in_len = len;
	}
	if (len < capacity)
		return true;
	if (capacity == UAPI_LINE_MAX)
		return false;
	capacity = capacity ? capacity * 2 : IN_CAPACITY_MIN;
	in = malloc(capacity);
	if (!in)
		return false;
	if (connection->in) {
		memcpy(in, connection->in, len);
		secret_wipe(connection->in, len);
		free(connection->in);
	}
	connection->in = in;
	connection->in_capacity = capacity;
	return true;
}

static bool read_input(struct connection *connection)
{
	ssize_t n;

	if (!reserve_input(connection))
		return false;
	n = read(connection->fd, connection->in + connection->in_len, connection->in_capacity - connection->in_len);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	connection->in_len += (size_t)n;
	return n;
}

/* False when the connection is at its end. Until an answer is gone, no further request is handled. */
static bool take_turn(struct uapi_server *server, struct connection *connection)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = connection };

	if (!write_output(connection))
		return false;
	if (!connection->out.len && !connection->must_close) {
		if (!find_line_end(connection) && !read_input(connection))
			return false;
		handle_input(server, connection);
		if (!write_output(connection))
			return false;
	}
	if (connection->must_close && !connection->out.len)
		return false;
	if (connection->out.len || find_line_end(connection))
		event.events = EPOLLOUT;
	if (event.events == connection->watched)
		return true;
	connection->watched = event.events;
	return !epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, connection->fd, &event);
}

void uapi_handle_event(struct uapi_server *server, void *ptr)
{
	struct connection *connection = server->connections;

	if (ptr == server) {
		accept_connection(server);
		return;
	}
	while (connection && connection != ptr)
		connection = connection->next;
	if (!connection)
		return;
	connection->last_active_ns = worker_now_ns();
	if (!take_turn(server, connection))
		connection_free(server, connection);
}

unsigned int uapi_close_idle(struct uapi_server *server, uint64_t now_ns)
{
	struct connection *next;

	for (struct connection *connection = server->connections; connection; connection = next) {
		next = connection->next;
		if (timers_has_expired(connection->last_active_ns, IDLE_SECONDS, now_ns))
			connection_free(server, connection);
	}
	if (server->is_paused)
		pause_accepting(server, false);
	return server->n_connections + server->is_paused;
}
