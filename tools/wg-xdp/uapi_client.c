// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The command line's end of the UAPI socket.
 *
 * A request is written whole before the answer is read; when the other side stops reading half way (it answers the
 * first bad line), the answer is still fetched.
 */
#include "uapi_client.h"

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "crypto/secret.h"
#include "uapi_text.h"

#define SOCKET_SUFFIX ".sock"
#define NAME_MAX_LEN 15
#define TIMEOUT_S 60 /* a large configuration takes a slow agent some seconds */
#define ANSWER_MAX (1U << 30)

static const char *socket_directory = "/var/run/wireguard";

void uapi_client_set_directory(const char *directory)
{
	socket_directory = directory;
}

bool uapi_client_name_is_valid(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_=+.-";
	size_t len = strlen(name);

	return len && len <= NAME_MAX_LEN && strspn(name, allowed) == len && strcmp(name, ".") && strcmp(name, "..");
}

/* Returns a file descriptor or -errno. Takes any name an interface can have. */
static int connect_to(const char *name)
{
	const struct timeval timeout = { .tv_sec = TIMEOUT_S };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd, len, err;

	len = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s" SOCKET_SUFFIX, socket_directory, name);
	if (!*name || strlen(name) > NAME_MAX_LEN || strchr(name, '/') || (size_t)len >= sizeof(addr.sun_path))
		return -ENODEV;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0)
		return fd;
	err = errno;
	close(fd);
	return err == ENOENT || err == ECONNREFUSED || err == ENOTSOCK ? -ENODEV : -err;
}

/* A peer that has gone is not an error yet: see the head of this file. */
static int send_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EPIPE || errno == ECONNRESET ? 0 : errno == EAGAIN ? -ETIMEDOUT : -errno;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static bool is_complete(const struct uapi_text *text)
{
	return text->len >= 2 && !memcmp(text->text + text->len - 2, "\n\n", 2);
}

/* Up to the empty line, or to the end of what the other side had to say. */
static int receive_answer(int fd, struct uapi_text *answer)
{
	char buffer[65536];
	int err = 0;

	while (!is_complete(answer)) {
		ssize_t n = recv(fd, buffer, sizeof(buffer), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != ECONNRESET)
			err = errno == EAGAIN ? -ETIMEDOUT : -errno;
		if (n <= 0)
			break;
		uapi_text_printf(answer, "%.*s", (int)n, buffer);
		if (answer->failed || answer->len > ANSWER_MAX)
			err = -ENOMEM;
		if (err)
			break;
	}
	secret_wipe(buffer, sizeof(buffer));
	return err;
}

/* Returns 0 or -errno; answer is to be freed in either case. */
static int exchange(const char *name, const char *request, size_t len, struct uapi_text *answer)
{
	int fd = connect_to(name);
	int err;

	if (fd < 0)
		return fd;
	err = send_all(fd, request, len);
	if (!err)
		err = receive_answer(fd, answer);
	close(fd);
	return err;
}

int uapi_client_get(const char *name, struct device_config *status)
{
	static const char request[] = "get=1\n\n";
	struct uapi_text answer = { 0 };
	int err, error = 0;

	device_config_init(status);
	err = exchange(name, request, strlen(request), &answer);
	if (!err)
		err = answer.len ? uapi_parse_get(status, answer.text, &error) : -EPROTO;
	uapi_text_deinit(&answer);
	if (err)
		return err;
	return error < 0 ? error : -error;
}

int uapi_client_set(const char *name, const struct device_config *config)
{
	struct uapi_text request = { 0 }, answer = { 0 };
	int err = -ENOMEM, number;
	char end;

	uapi_format_set(&request, config);
	if (!request.failed)
		err = exchange(name, request.text, request.len, &answer);
	if (!err && (!answer.len || sscanf(answer.text, "errno=%d%c", &number, &end) != 2 || end != '\n'))
		err = -EPROTO;
	else if (!err)
		err = number < 0 ? number : -number;
	uapi_text_deinit(&request);
	uapi_text_deinit(&answer);
	return err;
}

static int add_fact(struct uapi_client_extra *extra, const char *key, const char *value)
{
	struct uapi_client_fact *facts = reallocarray(extra->facts, extra->n_facts + 1, sizeof(*facts));

	if (!facts)
		return -ENOMEM;
	extra->facts = facts;
	facts[extra->n_facts] = (struct uapi_client_fact){ .key = strdup(key), .value = strdup(value) };
	if (!facts[extra->n_facts].key || !facts[extra->n_facts].value) {
		free(facts[extra->n_facts].key);
		free(facts[extra->n_facts].value);
		return -ENOMEM;
	}
	extra->n_facts++;
	return 0;
}

/* Facts of an answer that does not end with errno=0 do not count. */
static int parse_extra(struct uapi_client_extra *extra, char *text)
{
	char *line;

	while ((line = strsep(&text, "\n"))) {
		char *value = strchr(line, '=');
		int err;

		if (!value)
			break;
		*value++ = '\0';
		if (!strcmp(line, "errno")) {
			if (strcmp(value, "0"))
				break;
			return 0;
		}
		err = add_fact(extra, line, value);
		if (err)
			return err;
	}
	uapi_client_extra_deinit(extra);
	return 0;
}

int uapi_client_get_extra(const char *name, struct uapi_client_extra *extra)
{
	static const char request[] = "wg_xdp=1\n\n";
	struct uapi_text answer = { 0 };
	int err;

	memset(extra, 0, sizeof(*extra));
	err = exchange(name, request, strlen(request), &answer);
	if (!err && answer.len)
		err = parse_extra(extra, answer.text);
	uapi_text_deinit(&answer);
	return err;
}

const char *uapi_client_extra_lookup(const struct uapi_client_extra *extra, const char *key)
{
	for (size_t i = 0; i < extra->n_facts; i++)
		if (!strcmp(extra->facts[i].key, key))
			return extra->facts[i].value;
	return NULL;
}

void uapi_client_extra_deinit(struct uapi_client_extra *extra)
{
	for (size_t i = 0; i < extra->n_facts; i++) {
		free(extra->facts[i].key);
		free(extra->facts[i].value);
	}
	free(extra->facts);
	memset(extra, 0, sizeof(*extra));
}

bool uapi_client_exists(const char *name)
{
	int fd = connect_to(name);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

/* The tunnel's name if that is what the file's name says, else NULL. To be freed. */
static char *name_of_file(const char *file)
{
	size_t len = strlen(file);

	if (len <= strlen(SOCKET_SUFFIX) || strcmp(file + len - strlen(SOCKET_SUFFIX), SOCKET_SUFFIX))
		return NULL;
	return strndup(file, len - strlen(SOCKET_SUFFIX));
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int uapi_client_list(char ***names, size_t *n_names)
{
	DIR *directory = opendir(socket_directory);
	struct dirent *entry;
	int err = 0;

	*names = NULL;
	*n_names = 0;
	if (!directory)
		return errno == ENOENT ? 0 : -errno;
	while (!err && (entry = readdir(directory))) {
		char *name = name_of_file(entry->d_name), **grown;

		if (!name || !uapi_client_exists(name)) {
			free(name);
			continue;
		}
		grown = reallocarray(*names, *n_names + 1, sizeof(*grown));
		if (!grown) {
			free(name);
			err = -ENOMEM;
			break;
		}
		*names = grown;
		grown[(*n_names)++] = name;
	}
	closedir(directory);
	if (*n_names)
		qsort(*names, *n_names, sizeof(**names), compare_names);
	return err;
}

void uapi_client_list_free(char **names, size_t n_names)
{
	for (size_t i = 0; i < n_names; i++)
		free(names[i]);
	free(names);
}
