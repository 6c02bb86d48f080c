// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A device's configuration as data.
 *
 * Arrays that hold keys grow by copy, wipe and free: realloc() would leave the old copy behind.
 */
#include "device_config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"

void device_config_init(struct device_config *config)
{
	memset(config, 0, sizeof(*config));
}

void device_config_deinit(struct device_config *config)
{
	for (size_t i = 0; i < config->n_peers; i++)
		free(config->peers[i].allowed_ips);
	if (config->peers)
		secret_wipe(config->peers, config->peers_capacity * sizeof(*config->peers));
	free(config->peers);
	secret_wipe(config, sizeof(*config));
}

static bool grow_peers(struct device_config *config)
{
	size_t capacity = config->peers_capacity ? config->peers_capacity * 2 : 4;
	struct config_peer *peers = calloc(capacity, sizeof(*peers));

	if (!peers)
		return false;
	if (config->peers) {
		memcpy(peers, config->peers, config->n_peers * sizeof(*peers));
		secret_wipe(config->peers, config->peers_capacity * sizeof(*peers));
		free(config->peers);
	}
	config->peers = peers;
	config->peers_capacity = capacity;
	return true;
}

struct config_peer *device_config_add_peer(struct device_config *config,
					   const uint8_t public_key[static NOISE_PUBLIC_KEY_LEN])
{
	struct config_peer *peer;

	if (config->n_peers == config->peers_capacity && !grow_peers(config))
		return NULL;
	peer = &config->peers[config->n_peers++];
	memset(peer, 0, sizeof(*peer));
	memcpy(peer->public_key, public_key, NOISE_PUBLIC_KEY_LEN);
	return peer;
}

/* cidr is at most the address's bits. */
static void mask_addr(uint8_t addr[static 16], size_t len, uint8_t cidr)
{
	size_t whole = cidr / 8;

	if (whole < len && cidr % 8)
		addr[whole++] &= (uint8_t)(0xff << (8 - cidr % 8));
	if (whole < len)
		memset(addr + whole, 0, len - whole);
}

int config_peer_add_allowed_ip(struct config_peer *peer, int family, const void *addr, uint8_t cidr, bool remove)
{
	size_t len = family == AF_INET6 ? 16 : 4;
	struct config_allowed_ip *allowed_ip;

	if (cidr > len * 8)
		cidr = (uint8_t)(len * 8);
	if (peer->n_allowed_ips == peer->allowed_ips_capacity) {
		size_t capacity = peer->allowed_ips_capacity ? peer->allowed_ips_capacity * 2 : 4;

		allowed_ip = reallocarray(peer->allowed_ips, capacity, sizeof(*allowed_ip));
		if (!allowed_ip)
			return -ENOMEM;
		peer->allowed_ips = allowed_ip;
		peer->allowed_ips_capacity = capacity;
	}
	allowed_ip = &peer->allowed_ips[peer->n_allowed_ips++];
	memset(allowed_ip, 0, sizeof(*allowed_ip));
	allowed_ip->family_is_v6 = family == AF_INET6;
	allowed_ip->cidr = cidr;
	allowed_ip->remove = remove;
	memcpy(allowed_ip->addr, addr, len);
	mask_addr(allowed_ip->addr, len, cidr);
	return 0;
}

/* Digits only, up to max. */
static bool parse_cidr(const char *text, unsigned int max, uint8_t *cidr)
{
	unsigned int value = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		value = value * 10 + (unsigned int)(*text - '0');
		if (value > max)
			return false;
	}
	*cidr = (uint8_t)value;
	return true;
}

bool config_allowed_ip_parse(struct config_allowed_ip *allowed_ip, const char *text)
{
	const char *slash = strchr(text, '/');
	size_t addr_len = slash ? (size_t)(slash - text) : strlen(text);
	char addr[INET6_ADDRSTRLEN];
	bool is_v6;

	memset(allowed_ip, 0, sizeof(*allowed_ip));
	if (addr_len >= sizeof(addr))
		return false;
	memcpy(addr, text, addr_len);
	addr[addr_len] = '\0';

	is_v6 = strchr(addr, ':');
	if (inet_pton(is_v6 ? AF_INET6 : AF_INET, addr, allowed_ip->addr) != 1)
		return false;
	allowed_ip->family_is_v6 = is_v6;
	allowed_ip->cidr = is_v6 ? 128 : 32;
	if (slash && !parse_cidr(slash + 1, allowed_ip->cidr, &allowed_ip->cidr))
		return false;
	mask_addr(allowed_ip->addr, is_v6 ? 16 : 4, allowed_ip->cidr);
	return true;
}

void config_allowed_ip_format(char out[static CONFIG_ALLOWED_IP_TEXT_SIZE], const struct config_allowed_ip *allowed_ip)
{
	size_t len;

	if (!inet_ntop(allowed_ip->family_is_v6 ? AF_INET6 : AF_INET, allowed_ip->addr, out, INET6_ADDRSTRLEN))
		out[0] = '\0';
	len = strlen(out);
	snprintf(out + len, CONFIG_ALLOWED_IP_TEXT_SIZE - len, "/%u", allowed_ip->cidr);
}
