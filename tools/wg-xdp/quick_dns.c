// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The tunnel's name servers: by resolvconf, by systemd-resolved, or for a tunnel in a namespace by the file that
 * `ip netns exec` puts in place there.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "quick.h"

#define NETNS_DIRECTORY "/etc/netns"

/* What resolvconf and resolv.conf read. To be freed. */
static char *format_resolv_conf(const struct conf_file *conf)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	for (size_t i = 0; i < conf->dns.n; i++)
		fprintf(out, "nameserver %s\n", conf->dns.items[i]);
	for (size_t i = 0; i < conf->dns_search.n; i++)
		fprintf(out, "%s%s", i ? " " : "search ", conf->dns_search.items[i]);
	if (conf->dns_search.n)
		fputc('\n', out);
	if (!fclose(out))
		return text;
	free(text);
	return NULL;
}

/* Debian's resolvconf orders by name, and ranks a tunnel by a prefix such as "tun."; openresolv does not have the file.
 */
static void format_resolvconf_name(char *name, size_t size, const char *tunnel)
{
	FILE *file = fopen("/etc/resolvconf/interface-order", "re");
	char line[128], prefix[64] = "";

	while (file && !*prefix && fgets(line, sizeof(line), file)) {
		size_t len = strspn(line, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-");

		if (len && !strcmp(line + len, "*\n"))
			snprintf(prefix, sizeof(prefix), "%.*s.", (int)len, line);
	}
	if (file)
		fclose(file);
	snprintf(name, size, "%s%s", prefix, tunnel);
}

static int set_by_resolvconf(struct quick *q)
{
	char name[64 + IFNAMSIZ], *text = format_resolv_conf(&q->conf);
	char *argv[] = { "resolvconf", "-a", name, "-m", "0", "-x", NULL };
	struct quick_program program = { .argv = argv, .input = text, .netns_fd = -1 };
	int ret;

	if (!text)
		return -ENOMEM;
	program.input_len = strlen(text);
	format_resolvconf_name(name, sizeof(name), q->state.tunnel);
	q->state.dns = QUICK_DNS_RESOLVCONF;
	ret = quick_program_run(&program);
	free(text);
	return ret;
}

/* resolvectl VERB TUNNEL [first] LIST... */
static int run_resolvectl(struct quick *q, char *verb, char *first, const struct conf_list *list)
{
	struct quick_program program = { .netns_fd = -1 };
	char **argv = calloc(list->n + 5, sizeof(*argv));
	size_t n = 0;
	int ret;

	if (!argv)
		return -ENOMEM;
	argv[n++] = "resolvectl";
	argv[n++] = verb;
	argv[n++] = q->state.tunnel;
	if (first)
		argv[n++] = first;
	for (size_t i = 0; i < list->n; i++)
		argv[n++] = list->items[i];
	program.argv = argv;
	ret = quick_program_run(&program);
	free(argv);
	return ret;
}

/* "~." sends every question to these servers, as resolvconf's -x does. */
static int set_by_resolvectl(struct quick *q)
{
	int ret;

	q->state.dns = QUICK_DNS_RESOLVECTL;
	ret = run_resolvectl(q, "dns", NULL, &q->conf.dns);
	return ret ? ret : run_resolvectl(q, "domain", "~.", &q->conf.dns_search);
}

static void format_netns_path(char *path, size_t size, const char *netns, const char *file)
{
	snprintf(path, size, "%s/%s%s", NETNS_DIRECTORY, netns, file);
}

static enum quick_exit set_by_netns_file(struct quick *q)
{
	char path[512], *text;
	ssize_t written;
	int fd;

	if (strchr(q->state.netns, '/')) {
		quick_warn("DNS= is not applied: the namespace %s has no name, hence no %s file", q->state.netns,
			   NETNS_DIRECTORY);
		return QUICK_OK;
	}
	mkdir(NETNS_DIRECTORY, 0755);
	format_netns_path(path, sizeof(path), q->state.netns, "");
	mkdir(path, 0755);
	format_netns_path(path, sizeof(path), q->state.netns, "/resolv.conf");
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0 && errno == EEXIST) {
		quick_warn("DNS= is not applied: %s exists and is left as it is", path);
		return QUICK_OK;
	}
	if (fd < 0)
		return quick_fail(quick_exit_code(-errno), "cannot write %s: %s", path, strerror(errno));
	q->state.dns = QUICK_DNS_NETNS_FILE;
	text = format_resolv_conf(&q->conf);
	written = text ? write(fd, text, strlen(text)) : -1;
	free(text);
	close(fd);
	return written > 0 ? QUICK_OK : quick_fail(QUICK_FAILED, "cannot write %s", path);
}

enum quick_exit quick_dns_set(struct quick *q)
{
	int ret;

	if (!q->conf.dns.n)
		return QUICK_OK;
	if (q->state.netns)
		return set_by_netns_file(q);
	if (quick_program_exists("resolvconf"))
		ret = set_by_resolvconf(q);
	else if (quick_program_exists("resolvectl"))
		ret = set_by_resolvectl(q);
	else
		return quick_fail(QUICK_SYSTEM,
				  "the configuration has DNS = %s, but neither resolvconf nor resolvectl is "
				  "installed: install openresolv, or remove DNS",
				  q->conf.dns.items[0]);
	return ret ? quick_fail(QUICK_FAILED, "cannot set the name servers: the command above failed") : QUICK_OK;
}

static bool unset_by_resolvconf(struct quick *q)
{
	char name[64 + IFNAMSIZ];
	char *argv[] = { "resolvconf", "-d", name, "-f", NULL };
	struct quick_program program = { .argv = argv, .netns_fd = -1 };

	format_resolvconf_name(name, sizeof(name), q->state.tunnel);
	return !quick_program_run(&program);
}

/* Directories that are empty now have been ours; others stay by themselves. */
static bool unset_netns_file(struct quick *q)
{
	char path[512];
	bool ok;

	format_netns_path(path, sizeof(path), q->state.netns, "/resolv.conf");
	ok = !unlink(path) || errno == ENOENT;
	format_netns_path(path, sizeof(path), q->state.netns, "");
	rmdir(path);
	rmdir(NETNS_DIRECTORY);
	return ok;
}

bool quick_dns_unset(struct quick *q)
{
	static const struct conf_list nothing;
	enum quick_dns dns = q->state.dns;

	q->state.dns = QUICK_DNS_NONE;
	switch (dns) {
	case QUICK_DNS_RESOLVCONF:
		return unset_by_resolvconf(q);
	case QUICK_DNS_RESOLVECTL:
		run_resolvectl(q, "revert", NULL, &nothing); /* the link's end would do it too */
		return true;
	case QUICK_DNS_NETNS_FILE:
		return unset_netns_file(q);
	case QUICK_DNS_NONE:
		break;
	}
	return true;
}
