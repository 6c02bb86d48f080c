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

#define MAX_CONNECTIONS 256
#define IDLE_SECONDS 30

enum operation { OPERATION_NONE, OPERATION_GET, OPERATION_SET, OPERATION_EXTRA };

struct connection {
	struct connection *next;
	int fd;
	enum operation operation;
	struct device_config config;
	struct uapi_set_parser parser;
	int error; /* of the first bad line */
	uint64_t last_active_ns;
	size_t in_len;
	struct uapi_text out;
	size_t out_sent;
	bool must_close;
	char in[UAPI_LINE_MAX];
};

struct uapi_server {
	struct control *control;
	int listen_fd, epoll_fd;
	struct connection *connections;
	unsigned int n_connections;
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
	secret_wipe(connection->in, sizeof(connection->in));
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

static void accept_connection(struct uapi_server *server)
{
	int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct connection *connection;
	struct epoll_event event = { .events = EPOLLIN };

	if (fd < 0)
		return;
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

static void handle_input(struct uapi_server *server, struct connection *connection)
{
	char *line = connection->in, *end;

	while (!connection->must_close &&
	       (end = memchr(line, '\n', connection->in_len - (size_t)(line - connection->in)))) {
		/* A NUL inside a line would hide the rest of it. */
		if (memchr(line, '\0', (size_t)(end - line)))
			connection->must_close = true;
		*end = '\0';
		if (!connection->must_close)
			handle_line(server, connection, line);
		line = end + 1;
	}
	connection->in_len -= (size_t)(line - connection->in);
	memmove(connection->in, line, connection->in_len);
	if (connection->in_len == sizeof(connection->in))
		connection->must_close = true;
}

/* False when the connection is at its end. */
static bool write_output(struct uapi_server *server, struct connection *connection)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = connection };

	while (connection->out_sent < connection->out.len) {
		ssize_t n = send(connection->fd, connection->out.text + connection->out_sent,
				 connection->out.len - connection->out_sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return false;
		if (n < 0) {
			/* Until this answer is gone, no further request is read. */
			event.events = EPOLLOUT;
			return !epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, connection->fd, &event);
		}
		connection->out_sent += (size_t)n;
	}
	uapi_text_deinit(&connection->out);
	connection->out = (struct uapi_text){ 0 };
	connection->out_sent = 0;
	return !connection->must_close && !epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, connection->fd, &event);
}

static bool read_input(struct uapi_server *server, struct connection *connection)
{
	ssize_t n = read(connection->fd, connection->in + connection->in_len,
			 sizeof(connection->in) - connection->in_len);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (!n)
		return false;
	connection->in_len += (size_t)n;
	handle_input(server, connection);
	return true;
}

void uapi_handle_event(struct uapi_server *server, void *ptr, uint32_t events)
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
	if (!(events & EPOLLOUT) && !read_input(server, connection)) {
		connection_free(server, connection);
		return;
	}
	if (!write_output(server, connection))
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
	return server->n_connections;
}
