/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What `up` has done, kept in /run/wg-xdp/TUNNEL, so that `down` undoes exactly that, even when the configuration file
 * has changed or the daemon has died since. No keys.
 */
#ifndef WG_XDP_QUICK_STATE_H
#define WG_XDP_QUICK_STATE_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf_file.h"
#include "netconf.h"

#define QUICK_STATE_DIRECTORY "/run/wg-xdp"
#define QUICK_MAX_RULES 4 /* two per family */

enum quick_dns {
	QUICK_DNS_NONE,
	QUICK_DNS_RESOLVCONF,
	QUICK_DNS_RESOLVECTL,
	QUICK_DNS_NETNS_FILE, /* /etc/netns/NAME/resolv.conf */
};

enum quick_firewall {
	QUICK_FIREWALL_NONE,
	QUICK_FIREWALL_NFT,
	QUICK_FIREWALL_IPTABLES,
};

struct quick_state {
	char tunnel[IFNAMSIZ];
	char underlay[IFNAMSIZ]; /* empty: none */
	char *config_path;	 /* absolute; NULL: none is known */
	char *netns;		 /* name, or path with a '/'; NULL: none */
	bool save_config;
	struct conf_list pre_down, post_down;
	/* Done so far, in this order. */
	bool is_started;      /* the daemon; device and socket with it */
	bool has_run_hooks;   /* PreUp or PostUp, so PostDown has something to undo */
	bool has_run_post_up; /* so PreDown has, too */
	enum quick_dns dns;
	struct netconf_rule rules[QUICK_MAX_RULES];
	size_t n_rules;
	enum quick_firewall firewall;
};

void quick_state_init(struct quick_state *state);
void quick_state_deinit(struct quick_state *state);

/* Atomically. Returns 0 or -errno. */
int quick_state_write(const struct quick_state *state);
/* -ENOENT: there is no such tunnel. */
int quick_state_read(struct quick_state *state, const char *tunnel);
int quick_state_remove(const char *tunnel);
bool quick_state_exists(const char *tunnel);

/*
 * The tunnels whose state's underlay, or config_path, is value. Returns how many there are; names gets the first room
 * ones.
 */
enum quick_state_field {
	QUICK_STATE_UNDERLAY,
	QUICK_STATE_CONFIG_PATH,
};
size_t quick_state_find(enum quick_state_field field, const char *value, char names[][IFNAMSIZ], size_t room);

#endif
