/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A device's configuration as data: what UAPI carries both ways, what a configuration file says, what `show` prints.
 *
 * Made whole before it is applied, so that a bad line changes nothing. Level 2: no socket, no file.
 */
#ifndef WG_XDP_DEVICE_CONFIG_H
#define WG_XDP_DEVICE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "endpoint.h"
#include "messages.h"

struct config_allowed_ip {
	uint8_t family_is_v6; /* bool */
	uint8_t cidr;
	bool remove; /* "-prefix": only if it is this peer's */
	uint8_t addr[16]; /* 4 or 16 bytes, masked to cidr */
};

enum config_peer_flag {
	CONFIG_PEER_REMOVE = 1 << 0,
	CONFIG_PEER_UPDATE_ONLY = 1 << 1,
	CONFIG_PEER_REPLACE_ALLOWED_IPS = 1 << 2,
	CONFIG_PEER_HAS_PRESHARED_KEY = 1 << 3,
	CONFIG_PEER_HAS_ENDPOINT = 1 << 4,
	CONFIG_PEER_HAS_PERSISTENT_KEEPALIVE = 1 << 5,
};

struct config_peer {
	uint8_t public_key[NOISE_PUBLIC_KEY_LEN];
	uint8_t preshared_key[NOISE_SYMMETRIC_KEY_LEN]; /* all zero: none */
	uint32_t flags;
	struct endpoint endpoint;
	uint16_t persistent_keepalive_interval_s;
	struct config_allowed_ip *allowed_ips; /* owned; n_allowed_ips of them */
	size_t n_allowed_ips, allowed_ips_capacity;
	/* Status, in answers to get only. */
	uint64_t rx_bytes, tx_bytes;
	int64_t last_handshake_sec; /* since the epoch; 0: never */
	uint32_t last_handshake_nsec;
};

enum config_device_flag {
	CONFIG_DEVICE_HAS_PRIVATE_KEY = 1 << 0,
	CONFIG_DEVICE_HAS_LISTEN_PORT = 1 << 1,
	CONFIG_DEVICE_HAS_FWMARK = 1 << 2,
	CONFIG_DEVICE_REPLACE_PEERS = 1 << 3,
};

struct device_config {
	uint32_t flags;
	uint8_t private_key[NOISE_PUBLIC_KEY_LEN]; /* all zero: none */
	uint16_t listen_port;
	uint32_t fwmark; /* 0: off */
	struct config_peer *peers; /* owned; n_peers of them, in order; a key may come twice */
	size_t n_peers, peers_capacity;
};

/* Empty. */
void device_config_init(struct device_config *config);
/* Wipes keys and frees all; the struct itself is the caller's. */
void device_config_deinit(struct device_config *config);

/* Appends an empty peer (pointers to earlier ones become invalid), or NULL when memory is short. */
struct config_peer *device_config_add_peer(struct device_config *config,
					   const uint8_t public_key[static NOISE_PUBLIC_KEY_LEN]);
/* Returns 0 or -ENOMEM. addr is 4 or 16 bytes; masked here. */
int config_peer_add_allowed_ip(struct config_peer *peer, int family, const void *addr, uint8_t cidr, bool remove);

/* "10.0.0.0/8", "fd00::/8", "10.0.0.1" (then /32 or /128). False when the text is not one. Host bits are masked. */
bool config_allowed_ip_parse(struct config_allowed_ip *allowed_ip, const char *text);
#define CONFIG_ALLOWED_IP_TEXT_SIZE (INET6_ADDRSTRLEN + 5)
void config_allowed_ip_format(char out[static CONFIG_ALLOWED_IP_TEXT_SIZE], const struct config_allowed_ip *allowed_ip);

#endif
