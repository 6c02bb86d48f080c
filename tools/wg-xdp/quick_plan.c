// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What the arguments of up and down mean: an argument that names a network device is the underlay, everything else is a
 * configuration. A tunnel's name is claimed (locked, and its state written) before anything is made under it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "quick.h"
#include "uapi_client.h"

#define OWN_DIRECTORY "/etc/wg-xdp"
#define WG_QUICK_DIRECTORY "/etc/wireguard"
#define CONF_SUFFIX ".conf"
#define MAX_FREE_NAMES 10000

static bool is_path(const char *text)
{
	size_t len = strlen(text), suffix = strlen(CONF_SUFFIX);

	return strchr(text, '/') || (len > suffix && !strcmp(text + len - suffix, CONF_SUFFIX));
}

/* The path of an existing file, as it was named (not resolved: its name is the tunnel's); NULL when there is none. */
static char *find_config(const char *text)
{
	static const char *const directories[] = { WG_QUICK_DIRECTORY, OWN_DIRECTORY };
	char *path;

	if (is_path(text))
		return access(text, F_OK) ? NULL : strdup(text);
	for (size_t i = 0; i < 2 && uapi_client_name_is_valid(text); i++) {
		if (asprintf(&path, "%s/%s%s", directories[i], text, CONF_SUFFIX) < 0)
			return NULL;
		if (!access(path, F_OK))
			return path;
		free(path);
	}
	return NULL;
}

/* "wg0" of "/etc/wireguard/wg0.conf". False when that can be no tunnel's name. */
static bool name_of_config(const char *path, char name[static IFNAMSIZ])
{
	const char *base = strrchr(path, '/');
	size_t len;

	base = base ? base + 1 : path;
	len = strlen(base);
	if (!is_path(base) || len - strlen(CONF_SUFFIX) >= IFNAMSIZ)
		return false;
	snprintf(name, IFNAMSIZ, "%.*s", (int)(len - strlen(CONF_SUFFIX)), base);
	return uapi_client_name_is_valid(name);
}

static bool has_device(struct netconf *netconf, const char *name)
{
	struct netconf_link link;

	return !netconf_link_find(netconf, name, &link);
}

/* A tunnel whose daemon died without `down` may have left rules and name servers. */
static void clear_dead_tunnel(struct quick *q, const char *name, bool is_locked)
{
	struct quick dead = { .here = q->here, .there = q->here, .netns_fd = -1, .lock_fd = -1 };

	quick_state_init(&dead.state);
	device_config_init(&dead.conf.device);
	if (!quick_state_read(&dead.state, name) && (is_locked || !quick_lock(&dead))) {
		if (dead.state.is_started)
			quick_warn("`%s' has ended without having been taken down: clearing up first", name);
		quick_open_old_netns(&dead);
		quick_undo(&dead);
	}
	if (dead.there == q->here)
		dead.there = NULL;
	dead.here = NULL;
	quick_deinit(&dead);
}

/* Takes state.tunnel for this call. */
static enum quick_exit claim_name(struct quick *q)
{
	const char *name = q->state.tunnel;
	enum quick_exit code;

	quick_catch_signals();
	code = quick_lock(q);
	if (code)
		return code;
	if (uapi_client_exists(name))
		return quick_fail(QUICK_BUSY,
				  "`%s' is up already: `" PROG_NAME " show %s' shows it, `" PROG_NAME
				  " down %s' ends it",
				  name, name, name);
	if (quick_state_exists(name))
		clear_dead_tunnel(q, name, true);
	if (has_device(q->here, name) || has_device(q->there, name))
		return quick_fail(QUICK_BUSY, "a network device `%s' exists already: choose another name with --name",
				  name);
	return quick_note(q);
}

static enum quick_exit claim_free_name(struct quick *q)
{
	for (unsigned int i = 0; i < MAX_FREE_NAMES; i++) {
		char *name = q->state.tunnel;

		snprintf(name, IFNAMSIZ, "wg%u", i);
		if (!has_device(q->here, name) && !has_device(q->there, name) && !quick_state_exists(name) &&
		    !uapi_client_exists(name))
			return claim_name(q);
	}
	return quick_fail(QUICK_BUSY, "no name wg0, wg1, ... is free: choose one with --name");
}

/* path: of the configuration. */
static enum quick_exit choose_name(struct quick *q, const char *given, const char *path)
{
	char *name = q->state.tunnel;

	if (given) {
		snprintf(name, IFNAMSIZ, "%s", given);
		return claim_name(q);
	}
	if (!name_of_config(path, name))
		return quick_fail(QUICK_CONFIG,
				  "`%s' must be named TUNNEL.conf, with 1-15 of a-z A-Z 0-9 _ = + . - in TUNNEL; "
				  "or give a --name",
				  path);
	return !strcmp(name, q->state.underlay) ? claim_free_name(q) : claim_name(q);
}

/* One configuration has one port and one identity, so it can serve one tunnel at a time. */
static enum quick_exit check_config_is_free(struct quick *q)
{
	char names[1][IFNAMSIZ];

	while (quick_state_find(QUICK_STATE_CONFIG_PATH, q->state.config_path, names, 1)) {
		if (uapi_client_exists(names[0]))
			return quick_fail(QUICK_BUSY, "%s is in use by the tunnel `%s': `" PROG_NAME " down %s' first",
					  q->state.config_path, names[0], names[0]);
		clear_dead_tunnel(q, names[0], false);
		if (quick_state_exists(names[0])) /* it is being worked on, and has said so */
			return QUICK_BUSY;
	}
	return QUICK_OK;
}

static enum quick_exit use_config(struct quick *q, const char *given_name, const char *path)
{
	enum quick_exit code;

	q->state.config_path = realpath(path, NULL);
	if (!q->state.config_path)
		return quick_fail(quick_exit_code(-errno), "cannot read %s: %s", path, strerror(errno));
	code = check_config_is_free(q);
	if (!code)
		code = quick_config_read(q);
	if (!code) /* may take minutes, so before anything is made or claimed */
		code = quick_config_resolve(q);
	return code ? code : choose_name(q, given_name, path);
}

static enum quick_exit make_config(struct quick *q, const char *given_name, const char *path)
{
	enum quick_exit code = choose_name(q, given_name, path);

	if (!code)
		code = quick_config_create(q, path);
	return code ? code : quick_config_read(q);
}

static enum quick_exit plan_device(struct quick *q, const struct quick_options *o)
{
	char *path = NULL;
	enum quick_exit code;

	snprintf(q->state.underlay, IFNAMSIZ, "%s", o->target);
	if (o->config) {
		path = find_config(o->config);
		if (!path)
			return quick_fail(QUICK_NOT_FOUND, "there is no configuration `%s'%s", o->config,
					  is_path(o->config) ? "" : " in " WG_QUICK_DIRECTORY " or " OWN_DIRECTORY);
		code = use_config(q, o->name, path);
		goto out_free;
	}
	if (asprintf(&path, OWN_DIRECTORY "/%s" CONF_SUFFIX, o->target) < 0)
		return quick_fail(QUICK_FAILED, "out of memory");
	if (!access(path, F_OK))
		code = use_config(q, o->name, path);
	else if (!access(WG_QUICK_DIRECTORY "/wg0" CONF_SUFFIX, F_OK))
		code = use_config(q, o->name, WG_QUICK_DIRECTORY "/wg0" CONF_SUFFIX);
	else
		code = make_config(q, o->name, path);
out_free:
	free(path);
	return code;
}

static enum quick_exit plan_config(struct quick *q, const struct quick_options *o)
{
	char *path = find_config(o->target), *own = NULL, name[IFNAMSIZ];
	enum quick_exit code;

	if (o->config)
		code = quick_fail(QUICK_NOT_FOUND,
				  "there is no network device `%s': with --config, the argument is the device",
				  o->target);
	else if (!path && is_path(o->target))
		code = quick_fail(QUICK_NOT_FOUND, "there is no file `%s'", o->target);
	else if (!path)
		code = quick_fail(QUICK_NOT_FOUND,
				  "`%s' is neither a network device nor a configuration in " WG_QUICK_DIRECTORY
				  " or " OWN_DIRECTORY,
				  o->target);
	else {
		/* Our own file of a device: as if the device had been named. */
		own = realpath(path, NULL);
		if (own && name_of_config(path, name) && has_device(q->here, name) && !quick_state_exists(name) &&
		    !strncmp(own, OWN_DIRECTORY "/", strlen(OWN_DIRECTORY "/")))
			snprintf(q->state.underlay, IFNAMSIZ, "%s", name);
		code = use_config(q, o->name, path);
	}
	free(own);
	free(path);
	return code;
}

enum quick_exit quick_plan_up(struct quick *q, const struct quick_options *o)
{
	struct netconf_link link;
	enum quick_exit code;
	bool is_device;

	if (o->name && !uapi_client_name_is_valid(o->name))
		return quick_fail(QUICK_USAGE, "`%s' cannot be a tunnel's name: 1-15 of a-z A-Z 0-9 _ = + . -",
				  o->name);
	if (o->netns) {
		q->state.netns = strdup(o->netns);
		code = quick_open_netns(q);
		if (code)
			return code;
	}
	if (uapi_client_exists(o->target) && !o->config)
		return quick_fail(QUICK_BUSY,
				  "`%s' is up already: `" PROG_NAME " show %s' shows it, `" PROG_NAME
				  " down %s' ends it",
				  o->target, o->target, o->target);
	is_device = !netconf_link_find(q->here, o->target, &link) && !quick_state_exists(o->target);
	if (is_device && !strcmp(link.kind, "wireguard") && !o->config)
		return quick_fail(QUICK_BUSY,
				  "`%s' exists already and is the kernel's WireGuard: `ip link delete %s' first",
				  o->target, o->target);
	return is_device ? plan_device(q, o) : plan_config(q, o);
}

void quick_plan_underlay(struct quick *q)
{
	const struct device_config *device = &q->conf.device;
	struct netconf_path path;
	struct netconf_link link;
	int ret = -ENETUNREACH;

	if (q->state.underlay[0])
		return;
	for (size_t i = 0; i < device->n_peers && ret; i++)
		if (device->peers[i].flags & CONFIG_PEER_HAS_ENDPOINT)
			ret = netconf_route_get(q->here, &device->peers[i].endpoint.addr, device->fwmark, &path);
	if (ret)
		ret = netconf_default_route(q->here, &path);
	if (!ret && !netconf_link_find_index(q->here, path.ifindex, &link))
		snprintf(q->state.underlay, IFNAMSIZ, "%s", link.name);
}

/* ------ down ------ */

/* A tunnel that was not brought up by `up`: its configuration file, if there is one, tells what else there is. */
static enum quick_exit adopt(struct quick *q, const char *name)
{
	char *path = find_config(name);

	snprintf(q->state.tunnel, IFNAMSIZ, "%s", name);
	q->state.is_started = true;
	quick_routes_adopt(q);
	if (!path)
		return QUICK_OK;
	q->state.config_path = realpath(path, NULL);
	free(path);
	if (!q->state.config_path || quick_config_read(q))
		return QUICK_OK;
	q->state.save_config = q->conf.save_config;
	for (size_t i = 0; i < q->conf.pre_down.n; i++)
		conf_list_add(&q->state.pre_down, q->conf.pre_down.items[i]);
	for (size_t i = 0; i < q->conf.post_down.n; i++)
		conf_list_add(&q->state.post_down, q->conf.post_down.items[i]);
	if (q->conf.dns.n && quick_program_exists("resolvconf"))
		q->state.dns = QUICK_DNS_RESOLVCONF;
	return QUICK_OK;
}

static enum quick_exit several(const char *target, char names[][IFNAMSIZ], size_t n, size_t room)
{
	fprintf(stderr, PROG_NAME ": `%s' carries %zu tunnels: name one of them:", target, n);
	for (size_t i = 0; i < n && i < room; i++)
		fprintf(stderr, " %s", names[i]);
	fputc('\n', stderr);
	return QUICK_USAGE;
}

/* By configuration file, for `down ./wg0.conf`. */
static bool find_by_path(const char *target, char names[][IFNAMSIZ])
{
	char *path = is_path(target) ? realpath(target, NULL) : NULL;
	bool found = path && quick_state_find(QUICK_STATE_CONFIG_PATH, path, names, 1);

	free(path);
	if (!found && is_path(target) && name_of_config(target, names[0]))
		found = quick_state_exists(names[0]) || uapi_client_exists(names[0]);
	return found;
}

static enum quick_exit not_found(struct quick *q, const char *target)
{
	struct netconf_link link;

	if (netconf_link_find(q->here, target, &link))
		return quick_fail(QUICK_NOT_FOUND,
				  "there is no tunnel `%s', and no network device of that name: `" PROG_NAME
				  " show interfaces' lists tunnels",
				  target);
	if (!strcmp(link.kind, "wireguard"))
		return quick_fail(QUICK_NOT_FOUND, "`%s' is the kernel's WireGuard: `wg-quick down %s' ends it", target,
				  target);
	return quick_fail(QUICK_NOT_FOUND, "the network device `%s' carries no tunnel", target);
}

enum quick_exit quick_plan_down(struct quick *q, const char *target)
{
	char names[16][IFNAMSIZ];
	enum quick_exit code;
	size_t n;

	if (quick_state_exists(target) || uapi_client_exists(target)) {
		snprintf(names[0], IFNAMSIZ, "%s", target);
	} else {
		n = quick_state_find(QUICK_STATE_UNDERLAY, target, names, 16);
		if (n > 1)
			return several(target, names, n, 16);
		if (!n && !find_by_path(target, names))
			return not_found(q, target);
	}
	snprintf(q->state.tunnel, IFNAMSIZ, "%s", names[0]);
	quick_catch_signals();
	code = quick_lock(q);
	if (code)
		return code;
	if (quick_state_read(&q->state, names[0]))
		return adopt(q, names[0]);
	quick_open_old_netns(q);
	return QUICK_OK;
}
