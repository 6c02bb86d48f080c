// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * set: changes from the command line, collected in one configuration and sent at once.
 *
 * Keys that are secret come from files: arguments are everybody's to read.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "conf_file.h"
#include "conf_value.h"
#include "key_io.h"
#include "resolve.h"
#include "uapi_client.h"

struct set {
	struct device_config config;
	struct conf_list warnings;
	char error[CONF_ERROR_SIZE]; /* empty: said already */
};

/* value is NULL for those without one. False after filling set->error or after having said why. */
struct argument {
	const char *name;
	bool (*apply)(struct set *set, const char *value);
	bool has_value;
	bool of_peer; /* after `peer', and only there; the others only before */
};

static struct config_peer *current_peer(struct set *set)
{
	return &set->config.peers[set->config.n_peers - 1];
}

static bool apply_listen_port(struct set *set, const char *value)
{
	set->config.flags |= CONFIG_DEVICE_HAS_LISTEN_PORT;
	return conf_parse_port(value, &set->config.listen_port, set->error);
}

static bool apply_fwmark(struct set *set, const char *value)
{
	set->config.flags |= CONFIG_DEVICE_HAS_FWMARK;
	return conf_parse_fwmark(value, &set->config.fwmark, set->error);
}

static bool apply_private_key(struct set *set, const char *value)
{
	set->config.flags |= CONFIG_DEVICE_HAS_PRIVATE_KEY;
	return key_io_read_path(value, set->config.private_key);
}

static bool apply_peer(struct set *set, const char *value)
{
	uint8_t key[NOISE_PUBLIC_KEY_LEN];

	if (!conf_parse_key(value, key, set->error))
		return false;
	if (device_config_add_peer(&set->config, key))
		return true;
	snprintf(set->error, sizeof(set->error), "out of memory");
	return false;
}

static bool apply_remove(struct set *set, const char *value)
{
	(void)value;
	current_peer(set)->flags |= CONFIG_PEER_REMOVE;
	return true;
}

static bool apply_preshared_key(struct set *set, const char *value)
{
	current_peer(set)->flags |= CONFIG_PEER_HAS_PRESHARED_KEY;
	return key_io_read_path(value, current_peer(set)->preshared_key);
}

static bool apply_endpoint(struct set *set, const char *value)
{
	current_peer(set)->flags |= CONFIG_PEER_HAS_ENDPOINT;
	return !resolve_endpoint(&current_peer(set)->endpoint, value, set->error, sizeof(set->error));
}

static bool apply_keepalive(struct set *set, const char *value)
{
	struct config_peer *peer = current_peer(set);

	peer->flags |= CONFIG_PEER_HAS_PERSISTENT_KEEPALIVE;
	return conf_parse_keepalive(value, &peer->persistent_keepalive_interval_s, set->error);
}

/* White space in the list is for people; it means nothing. */
static bool apply_allowed_ips(struct set *set, const char *value)
{
	char *list = malloc(strlen(value) + 1), *out = list;
	bool ok;

	if (!list) {
		snprintf(set->error, sizeof(set->error), "out of memory");
		return false;
	}
	for (; *value; value++)
		if (!strchr(" \t\r\n", *value))
			*out++ = *value;
	*out = '\0';
	ok = conf_parse_allowed_ips(list, current_peer(set), true, &set->warnings, "", set->error);
	free(list);
	return ok;
}

static const struct argument arguments[] = {
	{ "listen-port", apply_listen_port, true, false }, { "fwmark", apply_fwmark, true, false },
	{ "private-key", apply_private_key, true, false }, { "peer", apply_peer, true, true },
	{ "remove", apply_remove, false, true },	   { "preshared-key", apply_preshared_key, true, true },
	{ "endpoint", apply_endpoint, true, true },	   { "persistent-keepalive", apply_keepalive, true, true },
	{ "allowed-ips", apply_allowed_ips, true, true },
};

static const struct argument *find_argument(const char *name)
{
	for (size_t i = 0; i < sizeof(arguments) / sizeof(arguments[0]); i++)
		if (!strcmp(arguments[i].name, name))
			return &arguments[i];
	return NULL;
}

static int usage(FILE *out)
{
	fprintf(out,
		"Usage: " PROG_NAME " set <interface> [listen-port <port>] [fwmark <mark>] [private-key <file path>] "
		"[peer <base64 public key> [remove] [preshared-key <file path>] [endpoint <ip>:<port>] "
		"[persistent-keepalive <interval seconds>] [allowed-ips [+|-]<ip1>/<cidr1>[,[+|-]<ip2>/<cidr2>]...] "
		"]...\n");
	return out == stderr ? 1 : 0;
}

static bool apply(struct set *set, int argc, char **argv)
{
	char quoted[CONF_QUOTED_SIZE];

	for (int i = 0; i < argc; i++) {
		const struct argument *argument = find_argument(argv[i]);
		bool is_peer = argument && argument->apply == apply_peer;

		if (!argument || (!is_peer && argument->of_peer != (set->config.n_peers > 0))) {
			fprintf(stderr, "Invalid argument: %s%s\n", conf_quote(quoted, argv[i]),
				!argument	    ? ""
				: argument->of_peer ? " (belongs after `peer KEY')"
						    : " (belongs before `peer')");
			usage(stderr);
			return false;
		}
		if (argument->has_value && i + 1 >= argc) {
			fprintf(stderr, "Invalid argument: %s (its value is missing)\n", argument->name);
			usage(stderr);
			return false;
		}
		if (!argument->apply(set, argument->has_value ? argv[++i] : NULL)) {
			if (*set->error)
				fprintf(stderr, "%s: %s\n", argument->name, set->error);
			return false;
		}
	}
	return true;
}

int cmd_set(int argc, char **argv)
{
	struct set set = { 0 };
	int err = 0;
	bool ok;

	if (cmd_wants_help(argc, argv))
		return usage(stdout);
	if (argc < 3)
		return usage(stderr);
	device_config_init(&set.config);
	ok = apply(&set, argc - 2, argv + 2);
	for (size_t i = 0; i < set.warnings.n; i++)
		fprintf(stderr, "Warning: %s\n", set.warnings.items[i]);
	if (ok)
		err = uapi_client_set(argv[1], &set.config);
	if (err)
		cmd_print_access_error(argv[1], err);
	device_config_deinit(&set.config);
	conf_list_deinit(&set.warnings);
	return ok && !err ? 0 : 1;
}
