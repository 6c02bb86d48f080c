// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The configuration file: made, read, and saved. A file appears complete or not at all, and only root can read it. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd.h"
#include "crypto/secret.h"
#include "crypto/x25519.h"
#include "quick.h"
#include "uapi_client.h"

#define FIRST_PORT 51820
#define MAX_ADDRESSES 256

/* Can a socket of this family have the port? Families that the system lacks do not count. */
static bool port_is_free(int family, uint16_t port)
{
	struct sockaddr_in6 addr6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in addr4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret, on = 1;

	if (fd < 0)
		return true;
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	ret = family == AF_INET ? bind(fd, (void *)&addr4, sizeof(addr4)) : bind(fd, (void *)&addr6, sizeof(addr6));
	ret = ret ? errno : 0;
	close(fd);
	return ret != EADDRINUSE;
}

static bool find_port_owner(uint16_t port, char owner[static IFNAMSIZ])
{
	bool found = false;
	char **names;
	size_t n;

	if (uapi_client_list(&names, &n))
		return false;
	for (size_t i = 0; i < n && !found; i++) {
		struct device_config status;

		device_config_init(&status);
		if (!uapi_client_get(names[i], &status) && status.listen_port == port) {
			snprintf(owner, IFNAMSIZ, "%.15s", names[i]);
			found = true;
		}
		device_config_deinit(&status);
	}
	uapi_client_list_free(names, n);
	return found;
}

enum quick_exit quick_config_check_port(struct quick *q)
{
	uint16_t port = q->conf.device.listen_port;
	char owner[IFNAMSIZ];

	if (!port || (port_is_free(AF_INET, port) && port_is_free(AF_INET6, port)))
		return QUICK_OK;
	if (find_port_owner(port, owner))
		return quick_fail(QUICK_BUSY,
				  "UDP port %u is in use by the tunnel `%s': choose another ListenPort in %s", port,
				  owner, q->state.config_path);
	return quick_fail(QUICK_BUSY,
			  "UDP port %u is in use by another program (`ss -lunp' names it): end it, or choose "
			  "another ListenPort in %s",
			  port, q->state.config_path);
}

/* Gives the file its whole content under another name first. Returns 0 or -errno. */
static int write_file(const char *path, const char *text, size_t len, bool may_replace)
{
	char *temporary, *slash;
	int fd, dir_fd, ret = 0;

	if (asprintf(&temporary, "%s.XXXXXX", path) < 0)
		return -ENOMEM;
	fd = mkostemp(temporary, O_CLOEXEC); /* mode 0600 */
	if (fd < 0) {
		ret = -errno;
		goto out_free;
	}
	if (write(fd, text, len) != (ssize_t)len || fsync(fd))
		ret = errno ? -errno : -EIO;
	close(fd);
	if (!ret && (may_replace ? rename(temporary, path) : link(temporary, path)))
		ret = -errno;
	if (ret || !may_replace)
		unlink(temporary);
	slash = strrchr(temporary, '/');
	if (!ret && slash) {
		*slash = '\0';
		dir_fd = open(temporary, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dir_fd >= 0) {
			fsync(dir_fd);
			close(dir_fd);
		}
	}
out_free:
	free(temporary);
	return ret;
}

/* A key and a port; the text is to be wiped and freed. NULL when memory or randomness is short. */
static char *make_config(const char *underlay, size_t *len)
{
	struct device_config device;
	char *text = NULL;
	FILE *out;

	device_config_init(&device);
	device.flags = CONFIG_DEVICE_HAS_PRIVATE_KEY | CONFIG_DEVICE_HAS_LISTEN_PORT;
	for (device.listen_port = FIRST_PORT; device.listen_port < UINT16_MAX; device.listen_port++)
		if (port_is_free(AF_INET, device.listen_port) && port_is_free(AF_INET6, device.listen_port))
			break;
	if (getrandom(device.private_key, sizeof(device.private_key), 0) == (ssize_t)sizeof(device.private_key)) {
		x25519_clamp(device.private_key);
		out = open_memstream(&text, len);
		if (out) {
			fprintf(out,
				"# Made by `" PROG_NAME
				" up %s'. Add Address = ... here, and a [Peer] section for each "
				"peer.\n",
				underlay);
			conf_file_print_device(out, &device);
			fclose(out);
		}
	}
	device_config_deinit(&device);
	return text;
}

enum quick_exit quick_config_create(struct quick *q, const char *path)
{
	char *text, *dir = strdup(path);
	size_t len;
	int ret;

	if (!dir)
		return quick_fail(QUICK_FAILED, "out of memory");
	q->config_dir_is_new = !mkdir(dirname(dir), 0700);
	free(dir);
	text = make_config(q->state.underlay, &len);
	if (!text)
		return quick_fail(QUICK_FAILED, "cannot make a private key");
	ret = write_file(path, text, len, false);
	secret_wipe(text, len);
	free(text);
	if (ret)
		return quick_fail(quick_exit_code(ret), "cannot write %s: %s", path, strerror(-ret));
	q->config_is_new = true;
	q->state.config_path = realpath(path, NULL);
	return q->state.config_path ? QUICK_OK : quick_fail(QUICK_FAILED, "out of memory");
}

/* As wg-quick: both the file and the directory let others in. */
static void warn_of_readers(const char *path)
{
	char *dir = strdup(path);
	struct stat file, parent;

	if (dir && !stat(path, &file) && !stat(dirname(dir), &parent) && file.st_mode & parent.st_mode & 0007)
		quick_warn("`%s' is world accessible and holds a private key: chmod 600 it", path);
	free(dir);
}

enum quick_exit quick_config_read(struct quick *q)
{
	char error[CONF_ERROR_SIZE] = "";
	int ret = conf_file_parse_path(&q->conf, q->state.config_path, CONF_FILE_ALLOW_QUICK, error);

	if (ret)
		return quick_fail(ret == -EINVAL ? QUICK_CONFIG : quick_exit_code(ret), "%s", error);
	conf_file_print_warnings(&q->conf);
	if (!secret_is_zero(q->conf.device.private_key, sizeof(q->conf.device.private_key)))
		warn_of_readers(q->state.config_path);
	return QUICK_OK;
}

enum quick_exit quick_config_resolve(struct quick *q)
{
	char error[CONF_ERROR_SIZE] = "";

	return conf_file_resolve(&q->conf, error) ? quick_fail(QUICK_CONFIG, "%s", error) : QUICK_OK;
}

static void print_list(FILE *out, const char *key, const struct conf_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		fprintf(out, "%s = %s\n", key, list->items[i]);
}

static void print_quick_keys(FILE *out, struct quick *q)
{
	struct netconf_prefix addresses[MAX_ADDRESSES];
	size_t n = MAX_ADDRESSES;
	struct netconf_link link;
	char text[NETCONF_PREFIX_TEXT_SIZE];

	if (netconf_address_list(q->there, q->ifindex, addresses, &n))
		n = 0;
	for (size_t i = 0; i < n && i < MAX_ADDRESSES; i++) {
		netconf_prefix_format(text, &addresses[i]);
		fprintf(out, "Address = %s\n", text);
	}
	print_list(out, "DNS", &q->conf.dns);
	print_list(out, "DNS", &q->conf.dns_search);
	if (q->conf.mtu && !netconf_link_find(q->there, q->state.tunnel, &link))
		fprintf(out, "MTU = %u\n", link.mtu);
	if (q->conf.table == CONF_TABLE_OFF)
		fprintf(out, "Table = off\n");
	else if (q->conf.table == CONF_TABLE_NUMBER)
		fprintf(out, "Table = %u\n", q->conf.table_number);
	if (q->conf.save_config)
		fprintf(out, "SaveConfig = true\n");
	print_list(out, "PreUp", &q->conf.pre_up);
	print_list(out, "PostUp", &q->conf.post_up);
	print_list(out, "PreDown", &q->conf.pre_down);
	print_list(out, "PostDown", &q->conf.post_down);
}

/* The device's own lines, with ours behind the first one, "[Interface]". Holds keys. */
static char *format_config(struct quick *q, const struct device_config *device, size_t *len)
{
	char *text = NULL, *device_text = NULL, *rest;
	size_t device_len = 0;
	FILE *out = open_memstream(&device_text, &device_len);

	if (!out)
		return NULL;
	conf_file_print_device(out, device);
	if (fclose(out))
		goto out_wipe;
	rest = strchr(device_text, '\n');
	out = rest ? open_memstream(&text, len) : NULL;
	if (!out)
		goto out_wipe;
	fprintf(out, "%.*s", (int)(rest + 1 - device_text), device_text);
	print_quick_keys(out, q);
	fputs(rest + 1, out);
	fclose(out);
out_wipe:
	secret_wipe(device_text, device_len);
	free(device_text);
	return text;
}

enum quick_exit quick_config_save(struct quick *q)
{
	const char *path = q->state.config_path;
	struct device_config device;
	struct netconf_link link;
	char *text = NULL;
	size_t len;
	int ret;

	if (!path)
		return quick_fail(QUICK_NOT_FOUND, "no configuration file is known for `%s', so it cannot be saved",
				  q->state.tunnel);
	device_config_init(&device);
	ret = netconf_link_find(q->there, q->state.tunnel, &link);
	if (!ret)
		ret = uapi_client_get(q->state.tunnel, &device);
	if (!ret) {
		q->ifindex = link.ifindex;
		text = format_config(q, &device, &len);
		ret = text ? write_file(path, text, len, true) : -ENOMEM;
	}
	if (text)
		secret_wipe(text, len);
	free(text);
	device_config_deinit(&device);
	return ret ? quick_fail(quick_exit_code(ret), "cannot save %s: %s", path, strerror(-ret)) : QUICK_OK;
}
