// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * setconf, addconf, syncconf: a file's configuration to a running tunnel.
 *
 * After setconf and syncconf the tunnel is what the file says; syncconf gets there without a step that ends a session,
 * so it has to name what the file no longer does: peers, preshared keys, keepalive intervals.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "conf_file.h"
#include "uapi_client.h"

/* A peer of the file, to be found by its key; the same key may come twice. */
struct key_entry {
	uint8_t public_key[NOISE_PUBLIC_KEY_LEN];
	size_t index;
};

static int compare_entries(const void *a, const void *b)
{
	const struct key_entry *first = a, *second = b;
	int order = memcmp(first->public_key, second->public_key, sizeof(first->public_key));

	if (order)
		return order;
	return first->index < second->index ? -1 : first->index > second->index;
}

static int compare_keys(const void *a, const void *b)
{
	const struct key_entry *first = a, *second = b;

	return memcmp(first->public_key, second->public_key, sizeof(first->public_key));
}

static struct key_entry *index_peers(const struct device_config *config)
{
	struct key_entry *entries = calloc(config->n_peers + 1, sizeof(*entries));

	if (!entries)
		return NULL;
	for (size_t i = 0; i < config->n_peers; i++) {
		memcpy(entries[i].public_key, config->peers[i].public_key, sizeof(entries[i].public_key));
		entries[i].index = i;
	}
	qsort(entries, config->n_peers, sizeof(*entries), compare_entries);
	return entries;
}

/* The first of the entries with this key, or NULL. */
static const struct key_entry *find_entry(const struct key_entry *entries, size_t n_entries,
					  const uint8_t key[static NOISE_PUBLIC_KEY_LEN])
{
	const struct key_entry *found;
	struct key_entry wanted = { 0 };

	memcpy(wanted.public_key, key, sizeof(wanted.public_key));
	found = bsearch(&wanted, entries, n_entries, sizeof(*entries), compare_keys);
	while (found && found > entries && !compare_keys(found - 1, &wanted))
		found--;
	return found;
}

/* What the tunnel has, and no entry with the same key mentions, goes. */
static void clear_unmentioned(struct device_config *file, const struct key_entry *first, const struct key_entry *end,
			      const struct config_peer *running)
{
	struct config_peer *peer = &file->peers[first->index];
	uint32_t mentioned = 0;

	for (const struct key_entry *entry = first; entry < end && !compare_keys(entry, first); entry++)
		mentioned |= file->peers[entry->index].flags;
	if (running->flags & CONFIG_PEER_HAS_PRESHARED_KEY && !(mentioned & CONFIG_PEER_HAS_PRESHARED_KEY))
		peer->flags |= CONFIG_PEER_HAS_PRESHARED_KEY; /* zero */
	if (running->persistent_keepalive_interval_s && !(mentioned & CONFIG_PEER_HAS_PERSISTENT_KEEPALIVE))
		peer->flags |= CONFIG_PEER_HAS_PERSISTENT_KEEPALIVE; /* zero */
}

/* Setting again what is set already might rebind sockets or begin new handshakes. */
static void drop_unchanged(struct device_config *file, const struct device_config *running)
{
	if (!memcmp(file->private_key, running->private_key, sizeof(file->private_key)))
		file->flags &= ~(uint32_t)CONFIG_DEVICE_HAS_PRIVATE_KEY;
	if (file->listen_port == running->listen_port)
		file->flags &= ~(uint32_t)CONFIG_DEVICE_HAS_LISTEN_PORT;
	if (file->fwmark == running->fwmark)
		file->flags &= ~(uint32_t)CONFIG_DEVICE_HAS_FWMARK;
}

/* Makes of a whole configuration the changes that lead to it. False when memory is short. */
static bool make_difference(struct device_config *file, const struct device_config *running)
{
	const size_t n_entries = file->n_peers;
	struct key_entry *entries;
	bool ok = true;

	drop_unchanged(file, running);
	if (!n_entries)
		return true; /* replace_peers says it all */
	entries = index_peers(file);
	if (!entries)
		return false;
	file->flags &= ~(uint32_t)CONFIG_DEVICE_REPLACE_PEERS;
	for (size_t i = 0; ok && i < running->n_peers; i++) {
		const struct config_peer *peer = &running->peers[i];
		const struct key_entry *found = find_entry(entries, n_entries, peer->public_key);
		struct config_peer *removed;

		if (found) {
			clear_unmentioned(file, found, entries + n_entries, peer);
			continue;
		}
		removed = device_config_add_peer(file, peer->public_key);
		ok = removed;
		if (removed)
			removed->flags = CONFIG_PEER_REMOVE;
	}
	free(entries);
	return ok;
}

/* Returns 0, or 1 after having said why. */
static int synchronize(const char *name, struct device_config *file)
{
	struct device_config running;
	int err = uapi_client_get(name, &running);
	bool ok = !err && make_difference(file, &running);

	if (err)
		cmd_print_access_error(name, err);
	else if (!ok)
		fprintf(stderr, "Unable to compare with interface %s: out of memory\n", name);
	device_config_deinit(&running);
	return ok ? 0 : 1;
}

int cmd_setconf(int argc, char **argv)
{
	bool appends = !strcmp(argv[0], "addconf"), synchronizes = !strcmp(argv[0], "syncconf");
	char error[CONF_ERROR_SIZE];
	struct conf_file conf;
	int ret = 1, err;

	if (argc != 3) {
		fprintf(cmd_wants_help(argc, argv) ? stdout : stderr,
			"Usage: " PROG_NAME " %s <interface> <configuration filename>\n", argv[0]);
		return cmd_wants_help(argc, argv) ? 0 : 1;
	}
	err = conf_file_parse_path(&conf, argv[2], appends ? CONF_FILE_APPEND : 0, error);
	conf_file_print_warnings(&conf);
	if (err || conf_file_resolve(&conf, error)) {
		fprintf(stderr, "Configuration parsing error: %s\n", error);
		goto out_free;
	}
	if (synchronizes && synchronize(argv[1], &conf.device))
		goto out_free;
	err = uapi_client_set(argv[1], &conf.device);
	if (err)
		cmd_print_access_error(argv[1], err);
	ret = err ? 1 : 0;
out_free:
	conf_file_deinit(&conf);
	return ret;
}
