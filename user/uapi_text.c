// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * UAPI's text, both ways and on both ends.
 *
 * Values are taken strictly: no sign, no white space, no trailing characters; a set line that is not exactly right is
 * an error, because the other side believes what it was told was done.
 */
#include "uapi_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"
#include "encoding.h"

/* Decimal digits only. */
static bool parse_number(const char *text, uint64_t max, uint64_t *value)
{
	uint64_t sum = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		unsigned int digit = (unsigned int)(unsigned char)*text - '0';

		if (digit > 9 || sum > (max - digit) / 10)
			return false;
		sum = sum * 10 + digit;
	}
	*value = sum;
	return true;
}

static int parse_u16(const char *text, uint16_t *value)
{
	uint64_t number;

	if (!parse_number(text, UINT16_MAX, &number))
		return -EINVAL;
	*value = (uint16_t)number;
	return 0;
}

static int parse_u32(const char *text, uint32_t *value)
{
	uint64_t number;

	if (!parse_number(text, UINT32_MAX, &number))
		return -EINVAL;
	*value = (uint32_t)number;
	return 0;
}

static int parse_u64(const char *text, uint64_t *value)
{
	return parse_number(text, UINT64_MAX, value) ? 0 : -EINVAL;
}

/* The only value such a key can have is "true". */
static int parse_true(const char *text, uint32_t *flags, uint32_t flag)
{
	if (strcmp(text, "true"))
		return -EINVAL;
	*flags |= flag;
	return 0;
}

static int parse_key(const char *text, uint8_t key[static NOISE_PUBLIC_KEY_LEN])
{
	return encoding_key_from_hex(key, text) ? 0 : -EINVAL;
}

/* The prefix length may not be left out here. */
static int parse_allowed_ip(struct config_peer *peer, const char *text, bool may_remove)
{
	struct config_allowed_ip parsed;
	bool remove = may_remove && *text == '-';

	if (remove)
		text++;
	if (!strchr(text, '/') || !config_allowed_ip_parse(&parsed, text))
		return -EINVAL;
	return config_peer_add_allowed_ip(peer, parsed.family_is_v6 ? AF_INET6 : AF_INET, parsed.addr, parsed.cidr,
					  remove);
}

/* A value that was good is one that has been given. */
static int note(int err, uint32_t *flags, uint32_t flag)
{
	if (!err)
		*flags |= flag;
	return err;
}

/* -ENOENT: not a key of the device section. */
static int set_device_key(struct device_config *config, const char *key, const char *value)
{
	if (!strcmp(key, "private_key"))
		return note(parse_key(value, config->private_key), &config->flags, CONFIG_DEVICE_HAS_PRIVATE_KEY);
	if (!strcmp(key, "listen_port"))
		return note(parse_u16(value, &config->listen_port), &config->flags, CONFIG_DEVICE_HAS_LISTEN_PORT);
	if (!strcmp(key, "fwmark"))
		return note(parse_u32(value, &config->fwmark), &config->flags, CONFIG_DEVICE_HAS_FWMARK);
	if (!strcmp(key, "replace_peers"))
		return parse_true(value, &config->flags, CONFIG_DEVICE_REPLACE_PEERS);
	return -ENOENT;
}

/* -ENOENT: not a key of the peer section. */
static int set_peer_key(struct config_peer *peer, const char *key, const char *value)
{
	if (!strcmp(key, "allowed_ip"))
		return parse_allowed_ip(peer, value, true);
	if (!strcmp(key, "preshared_key"))
		return note(parse_key(value, peer->preshared_key), &peer->flags, CONFIG_PEER_HAS_PRESHARED_KEY);
	if (!strcmp(key, "endpoint"))
		return note(endpoint_parse(&peer->endpoint, value) ? 0 : -EINVAL, &peer->flags,
			    CONFIG_PEER_HAS_ENDPOINT);
	if (!strcmp(key, "persistent_keepalive_interval"))
		return note(parse_u16(value, &peer->persistent_keepalive_interval_s), &peer->flags,
			    CONFIG_PEER_HAS_PERSISTENT_KEEPALIVE);
	if (!strcmp(key, "remove"))
		return parse_true(value, &peer->flags, CONFIG_PEER_REMOVE);
	if (!strcmp(key, "update_only"))
		return parse_true(value, &peer->flags, CONFIG_PEER_UPDATE_ONLY);
	if (!strcmp(key, "replace_allowed_ips"))
		return parse_true(value, &peer->flags, CONFIG_PEER_REPLACE_ALLOWED_IPS);
	if (!strcmp(key, "protocol_version"))
		return strcmp(value, "1") ? -EINVAL : 0;
	return -ENOENT;
}

static int add_peer(struct device_config *config, const char *hex)
{
	uint8_t public_key[NOISE_PUBLIC_KEY_LEN];
	int err = parse_key(hex, public_key);

	if (err)
		return err;
	return device_config_add_peer(config, public_key) ? 0 : -ENOMEM;
}

/* Cuts line at its first '='; NULL when there is none. */
static char *split_line(char *line)
{
	char *equals = strchr(line, '=');

	if (!equals)
		return NULL;
	*equals = '\0';
	return equals + 1;
}

void uapi_set_parser_init(struct uapi_set_parser *parser, struct device_config *config)
{
	*parser = (struct uapi_set_parser){ .config = config };
}

int uapi_set_parse_line(struct uapi_set_parser *parser, char *line)
{
	struct device_config *config = parser->config;
	char *value = split_line(line);
	int err;

	parser->line++;
	if (!value)
		return -EPROTO;
	if (!strcmp(line, "public_key")) {
		err = add_peer(config, value);
		parser->in_peer = parser->in_peer || !err;
		return err;
	}
	if (parser->in_peer)
		err = set_peer_key(&config->peers[config->n_peers - 1], line, value);
	else
		err = set_device_key(config, line, value);
	return err == -ENOENT ? -EINVAL : err;
}

void uapi_text_deinit(struct uapi_text *text)
{
	if (text->text)
		secret_wipe(text->text, text->capacity);
	free(text->text);
	memset(text, 0, sizeof(*text));
}

/* Room for len more characters and a NUL. Not by realloc(), which would leave keys behind. */
static bool reserve(struct uapi_text *text, size_t len)
{
	size_t capacity = text->capacity ? text->capacity : 1024;
	char *grown;

	if (text->capacity - text->len > len)
		return true;
	while (capacity - text->len <= len)
		capacity *= 2;
	grown = malloc(capacity);
	if (!grown)
		return false;
	if (text->text) {
		memcpy(grown, text->text, text->len + 1);
		secret_wipe(text->text, text->capacity);
		free(text->text);
	}
	text->text = grown;
	text->capacity = capacity;
	return true;
}

void uapi_text_printf(struct uapi_text *text, const char *format, ...)
{
	va_list args;
	int len;

	if (text->failed)
		return;
	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0 || !reserve(text, (size_t)len)) {
		text->failed = true;
		return;
	}
	va_start(args, format);
	vsnprintf(text->text + text->len, (size_t)len + 1, format, args);
	va_end(args);
	text->len += (size_t)len;
}

static void print_key(struct uapi_text *text, const char *name, const uint8_t key[static NOISE_PUBLIC_KEY_LEN])
{
	char hex[KEY_HEX_SIZE];

	encoding_key_to_hex(hex, key);
	uapi_text_printf(text, "%s=%s\n", name, hex);
	secret_wipe(hex, sizeof(hex));
}

static void print_endpoint(struct uapi_text *text, const struct endpoint *endpoint)
{
	char formatted[ENDPOINT_TEXT_SIZE];

	endpoint_format(formatted, endpoint);
	uapi_text_printf(text, "endpoint=%s\n", formatted);
}

static void print_allowed_ips(struct uapi_text *text, const struct config_peer *peer)
{
	for (size_t i = 0; i < peer->n_allowed_ips; i++) {
		char formatted[CONFIG_ALLOWED_IP_TEXT_SIZE];

		config_allowed_ip_format(formatted, &peer->allowed_ips[i]);
		uapi_text_printf(text, "allowed_ip=%s%s\n", peer->allowed_ips[i].remove ? "-" : "", formatted);
	}
}

static void format_get_peer(struct uapi_text *text, const struct config_peer *peer)
{
	print_key(text, "public_key", peer->public_key);
	print_key(text, "preshared_key", peer->preshared_key);
	uapi_text_printf(text, "protocol_version=1\n");
	if (peer->endpoint.family != AF_UNSPEC)
		print_endpoint(text, &peer->endpoint);
	uapi_text_printf(text,
			 "last_handshake_time_sec=%" PRId64 "\nlast_handshake_time_nsec=%" PRIu32 "\n"
			 "tx_bytes=%" PRIu64 "\nrx_bytes=%" PRIu64 "\npersistent_keepalive_interval=%u\n",
			 peer->last_handshake_sec, peer->last_handshake_nsec, peer->tx_bytes, peer->rx_bytes,
			 peer->persistent_keepalive_interval_s);
	print_allowed_ips(text, peer);
}

/* What is zero is "none" and left out; wg(8) takes a zero preshared_key for none. */
void uapi_format_get(struct uapi_text *text, const struct device_config *status)
{
	if (!secret_is_zero(status->private_key, sizeof(status->private_key)))
		print_key(text, "private_key", status->private_key);
	if (status->listen_port)
		uapi_text_printf(text, "listen_port=%u\n", status->listen_port);
	if (status->fwmark)
		uapi_text_printf(text, "fwmark=%" PRIu32 "\n", status->fwmark);
	for (size_t i = 0; i < status->n_peers; i++)
		format_get_peer(text, &status->peers[i]);
}

static void format_set_peer(struct uapi_text *text, const struct config_peer *peer)
{
	print_key(text, "public_key", peer->public_key);
	if (peer->flags & CONFIG_PEER_REMOVE) {
		uapi_text_printf(text, "remove=true\n");
		return;
	}
	if (peer->flags & CONFIG_PEER_UPDATE_ONLY)
		uapi_text_printf(text, "update_only=true\n");
	if (peer->flags & CONFIG_PEER_HAS_PRESHARED_KEY)
		print_key(text, "preshared_key", peer->preshared_key);
	if (peer->flags & CONFIG_PEER_HAS_ENDPOINT)
		print_endpoint(text, &peer->endpoint);
	if (peer->flags & CONFIG_PEER_HAS_PERSISTENT_KEEPALIVE)
		uapi_text_printf(text, "persistent_keepalive_interval=%u\n", peer->persistent_keepalive_interval_s);
	if (peer->flags & CONFIG_PEER_REPLACE_ALLOWED_IPS)
		uapi_text_printf(text, "replace_allowed_ips=true\n");
	print_allowed_ips(text, peer);
}

void uapi_format_set(struct uapi_text *text, const struct device_config *config)
{
	uapi_text_printf(text, "set=1\n");
	if (config->flags & CONFIG_DEVICE_HAS_PRIVATE_KEY)
		print_key(text, "private_key", config->private_key);
	if (config->flags & CONFIG_DEVICE_HAS_LISTEN_PORT)
		uapi_text_printf(text, "listen_port=%u\n", config->listen_port);
	if (config->flags & CONFIG_DEVICE_HAS_FWMARK)
		uapi_text_printf(text, "fwmark=%" PRIu32 "\n", config->fwmark);
	if (config->flags & CONFIG_DEVICE_REPLACE_PEERS)
		uapi_text_printf(text, "replace_peers=true\n");
	for (size_t i = 0; i < config->n_peers; i++)
		format_set_peer(text, &config->peers[i]);
	uapi_text_printf(text, "\n");
}

/*
 * An address that has no name here (the zone of another network namespace's interface, port 0) is shown without the
 * zone or not at all: no reason to show nothing of the tunnel.
 */
static int get_endpoint(struct config_peer *peer, char *text)
{
	char *zone = strchr(text, '%'), *bracket = strchr(text, ']');
	bool ok = endpoint_parse(&peer->endpoint, text);

	if (!ok && zone && bracket > zone) {
		memmove(zone, bracket, strlen(bracket) + 1);
		ok = endpoint_parse(&peer->endpoint, text);
	}
	peer->flags |= ok ? CONFIG_PEER_HAS_ENDPOINT : 0;
	return 0;
}

/* Status lines of a peer; -ENOENT: none of them. */
static int get_peer_status(struct config_peer *peer, const char *key, char *value)
{
	uint64_t number;
	int err;

	if (!strcmp(key, "rx_bytes"))
		return parse_u64(value, &peer->rx_bytes);
	if (!strcmp(key, "tx_bytes"))
		return parse_u64(value, &peer->tx_bytes);
	if (!strcmp(key, "last_handshake_time_sec")) {
		err = parse_number(value, INT64_MAX, &number) ? 0 : -EINVAL;
		peer->last_handshake_sec = err ? 0 : (int64_t)number;
		return err;
	}
	if (!strcmp(key, "last_handshake_time_nsec")) {
		err = parse_number(value, 999999999, &number) ? 0 : -EINVAL;
		peer->last_handshake_nsec = err ? 0 : (uint32_t)number;
		return err;
	}
	if (!strcmp(key, "allowed_ip"))
		return parse_allowed_ip(peer, value, false);
	if (!strcmp(key, "endpoint"))
		return get_endpoint(peer, value);
	return -ENOENT;
}

static int get_device_line(struct device_config *status, const char *key, const char *value)
{
	int err = set_device_key(status, key, value);

	if (secret_is_zero(status->private_key, sizeof(status->private_key)))
		status->flags &= ~(uint32_t)CONFIG_DEVICE_HAS_PRIVATE_KEY;
	status->flags &= ~(uint32_t)CONFIG_DEVICE_REPLACE_PEERS;
	return err;
}

static int get_peer_line(struct config_peer *peer, const char *key, char *value)
{
	const uint32_t known =
		CONFIG_PEER_HAS_PRESHARED_KEY | CONFIG_PEER_HAS_ENDPOINT | CONFIG_PEER_HAS_PERSISTENT_KEEPALIVE;
	int err = get_peer_status(peer, key, value);

	if (err != -ENOENT)
		return err;
	err = set_peer_key(peer, key, value);
	if (secret_is_zero(peer->preshared_key, sizeof(peer->preshared_key)))
		peer->flags &= ~(uint32_t)CONFIG_PEER_HAS_PRESHARED_KEY;
	peer->flags &= known;
	return err;
}

/* Keys that we do not know are somebody's extension and no reason to fail. */
static int get_line(struct device_config *status, const char *key, char *value)
{
	int err;

	if (!strcmp(key, "public_key"))
		return add_peer(status, value);
	if (status->n_peers)
		err = get_peer_line(&status->peers[status->n_peers - 1], key, value);
	else
		err = get_device_line(status, key, value);
	return err == -ENOENT ? 0 : err;
}

int uapi_parse_get(struct device_config *status, char *text, int *error)
{
	char *line, *value;
	uint64_t number;
	int err;

	while ((line = strsep(&text, "\n"))) {
		if (!*line || !(value = split_line(line)))
			return -EPROTO;
		if (!strcmp(line, "errno")) {
			bool negative = *value == '-';

			if (!parse_number(value + negative, INT32_MAX, &number))
				return -EPROTO;
			*error = negative ? -(int)number : (int)number;
			return 0;
		}
		err = get_line(status, line, value);
		if (err)
			return err == -ENOMEM ? err : -EPROTO;
	}
	return -EPROTO;
}
