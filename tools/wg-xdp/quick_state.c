// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * /run/wg-xdp/TUNNEL: key=value lines. Written whole to a temporary name and renamed, so a reader sees all or nothing.
 */
#include "quick_state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "uapi_client.h"

#define PATH_SIZE (sizeof(QUICK_STATE_DIRECTORY) + 1 + IFNAMSIZ + 8)

void quick_state_init(struct quick_state *state)
{
	memset(state, 0, sizeof(*state));
}

void quick_state_deinit(struct quick_state *state)
{
	free(state->config_path);
	free(state->netns);
	conf_list_deinit(&state->pre_down);
	conf_list_deinit(&state->post_down);
	quick_state_init(state);
}

static void format_path(char path[static PATH_SIZE], const char *tunnel, const char *suffix)
{
	snprintf(path, PATH_SIZE, "%s/%.15s%s", QUICK_STATE_DIRECTORY, tunnel, suffix);
}

static void print_state(FILE *file, const struct quick_state *state)
{
	fprintf(file, "tunnel=%s\nunderlay=%s\n", state->tunnel, state->underlay);
	if (state->config_path)
		fprintf(file, "config=%s\n", state->config_path);
	if (state->netns)
		fprintf(file, "netns=%s\n", state->netns);
	for (size_t i = 0; i < state->pre_down.n; i++)
		fprintf(file, "pre_down=%s\n", state->pre_down.items[i]);
	for (size_t i = 0; i < state->post_down.n; i++)
		fprintf(file, "post_down=%s\n", state->post_down.items[i]);
	fprintf(file, "save_config=%d\nstarted=%d\nhooks=%d\npost_up=%d\ndns=%d\n", state->save_config,
		state->is_started, state->has_run_hooks, state->has_run_post_up, state->dns);
	for (size_t i = 0; i < state->n_rules; i++) {
		const struct netconf_rule *rule = &state->rules[i];

		fprintf(file, "rule=%u %u %u %u %d %d\n", rule->family, rule->priority, rule->table, rule->fwmark,
			rule->invert, rule->suppress_default);
	}
	fprintf(file, "firewall=%d\n", state->firewall);
}

int quick_state_write(const struct quick_state *state)
{
	char path[PATH_SIZE], temporary[PATH_SIZE];
	FILE *file;
	int fd, ret;

	if (mkdir(QUICK_STATE_DIRECTORY, 0700) && errno != EEXIST)
		return -errno;
	format_path(path, state->tunnel, "");
	format_path(temporary, state->tunnel, "~"); /* "~" is in no tunnel's name */
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	file = fdopen(fd, "w");
	if (!file) {
		ret = -errno;
		close(fd);
		goto err_unlink;
	}
	print_state(file, state);
	ret = ferror(file) ? -EIO : 0;
	if (fclose(file) && !ret)
		ret = -errno;
	if (!ret && rename(temporary, path))
		ret = -errno;
	if (!ret)
		return 0;
err_unlink:
	unlink(temporary);
	return ret;
}

static void parse_rule(struct quick_state *state, const char *value)
{
	struct netconf_rule *rule = &state->rules[state->n_rules];
	unsigned int family, invert, suppress;

	if (state->n_rules == QUICK_MAX_RULES || sscanf(value, "%u %u %u %u %u %u", &family, &rule->priority,
							&rule->table, &rule->fwmark, &invert, &suppress) != 6)
		return;
	rule->family = (sa_family_t)family;
	rule->invert = invert;
	rule->suppress_default = suppress;
	state->n_rules++;
}

static void copy_name(char name[static IFNAMSIZ], const char *value)
{
	snprintf(name, IFNAMSIZ, "%.15s", value);
}

/* A key that another version wrote and this one does not know is skipped. */
static void parse_line(struct quick_state *state, const char *key, const char *value)
{
	if (!strcmp(key, "tunnel"))
		copy_name(state->tunnel, value);
	else if (!strcmp(key, "underlay"))
		copy_name(state->underlay, value);
	else if (!strcmp(key, "config") && !state->config_path)
		state->config_path = strdup(value);
	else if (!strcmp(key, "netns") && !state->netns)
		state->netns = strdup(value);
	else if (!strcmp(key, "pre_down"))
		conf_list_add(&state->pre_down, value);
	else if (!strcmp(key, "post_down"))
		conf_list_add(&state->post_down, value);
	else if (!strcmp(key, "save_config"))
		state->save_config = atoi(value);
	else if (!strcmp(key, "started"))
		state->is_started = atoi(value);
	else if (!strcmp(key, "hooks"))
		state->has_run_hooks = atoi(value);
	else if (!strcmp(key, "post_up"))
		state->has_run_post_up = atoi(value);
	else if (!strcmp(key, "dns"))
		state->dns = (enum quick_dns)atoi(value);
	else if (!strcmp(key, "rule"))
		parse_rule(state, value);
	else if (!strcmp(key, "firewall"))
		state->firewall = (enum quick_firewall)atoi(value);
}

int quick_state_read(struct quick_state *state, const char *tunnel)
{
	char path[PATH_SIZE], *line = NULL;
	size_t size = 0;
	ssize_t len;
	FILE *file;

	if (!uapi_client_name_is_valid(tunnel))
		return -ENOENT;
	format_path(path, tunnel, "");
	file = fopen(path, "re");
	if (!file)
		return -errno;
	while ((len = getline(&line, &size, file)) > 0) {
		char *value = strchr(line, '=');

		if (!value)
			continue;
		if (line[len - 1] == '\n')
			line[len - 1] = '\0';
		*value++ = '\0';
		parse_line(state, line, value);
	}
	free(line);
	fclose(file);
	copy_name(state->tunnel, tunnel);
	return 0;
}

int quick_state_remove(const char *tunnel)
{
	char path[PATH_SIZE];

	format_path(path, tunnel, "");
	return unlink(path) ? -errno : 0;
}

bool quick_state_exists(const char *tunnel)
{
	char path[PATH_SIZE];

	format_path(path, tunnel, "");
	return uapi_client_name_is_valid(tunnel) && !access(path, F_OK);
}

static bool state_has(const char *tunnel, enum quick_state_field field, const char *value)
{
	struct quick_state state;
	const char *found;
	bool ret;

	quick_state_init(&state);
	ret = !quick_state_read(&state, tunnel);
	found = field == QUICK_STATE_UNDERLAY ? state.underlay : state.config_path;
	ret = ret && found && !strcmp(found, value);
	quick_state_deinit(&state);
	return ret;
}

size_t quick_state_find(enum quick_state_field field, const char *value, char names[][IFNAMSIZ], size_t room)
{
	DIR *dir = opendir(QUICK_STATE_DIRECTORY);
	struct dirent *entry;
	size_t n = 0;

	if (!dir)
		return 0;
	while ((entry = readdir(dir))) {
		if (!uapi_client_name_is_valid(entry->d_name) || entry->d_name[0] == '.' ||
		    !state_has(entry->d_name, field, value))
			continue;
		if (n < room)
			copy_name(names[n], entry->d_name);
		n++;
	}
	closedir(dir);
	return n;
}
