// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The values of configuration files and of `set`.
 *
 * A key pasted into the wrong line must not reach a log by way of an error text: see conf_quote().
 */
#include "conf_value.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "encoding.h"

#define KEY_LIKE_RUN 40 /* a key is 44 characters of base64 or 64 of hexadecimal */
#define MAX_WARNINGS 16

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_base64(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '+' || c == '/' || c == '=';
}

static bool looks_like_key(const char *value)
{
	unsigned int run = 0;

	for (; *value && run < KEY_LIKE_RUN; value++)
		run = is_base64(*value) ? run + 1 : 0;
	return run >= KEY_LIKE_RUN;
}

const char *conf_quote(char out[static CONF_QUOTED_SIZE], const char *value)
{
	size_t i;

	if (looks_like_key(value))
		return "(not shown: it looks like a key)";
	for (i = 0; value[i] && i < CONF_QUOTED_SIZE - 4; i++)
		out[i] = value[i] >= ' ' && value[i] <= '~' ? value[i] : '?';
	memcpy(out + i, value[i] ? "..." : "", value[i] ? 4 : 1);
	return out;
}

bool conf_address_parse(const char *text, int *family, uint8_t addr[static 16], uint8_t *cidr)
{
	struct config_allowed_ip parsed;
	char host[INET6_ADDRSTRLEN];

	if (!config_allowed_ip_parse(&parsed, text))
		return false;
	snprintf(host, sizeof(host), "%.*s", (int)strcspn(text, "/"), text);
	*family = parsed.family_is_v6 ? AF_INET6 : AF_INET;
	*cidr = parsed.cidr;
	return inet_pton(*family, host, addr) == 1;
}

bool conf_parse_number(const char *value, uint32_t max, bool may_be_hex, uint32_t *number)
{
	uint64_t sum = 0, base = 10;

	if (may_be_hex && value[0] == '0' && (value[1] == 'x' || value[1] == 'X')) {
		base = 16;
		value += 2;
	}
	if (!*value)
		return false;
	for (; *value; value++) {
		char lower = *value | 0x20;
		uint64_t digit;

		if (is_digit(*value))
			digit = (uint64_t)*value - '0';
		else if (base == 16 && lower >= 'a' && lower <= 'f')
			digit = (uint64_t)lower - 'a' + 10;
		else
			return false;
		sum = sum * base + digit;
		if (sum > max)
			return false;
	}
	*number = (uint32_t)sum;
	return true;
}

bool conf_parse_key(const char *value, uint8_t key[static NOISE_PUBLIC_KEY_LEN], char error[static CONF_ERROR_SIZE])
{
	if (encoding_key_from_base64(key, value))
		return true;
	snprintf(error, CONF_ERROR_SIZE,
		 "key is not the right length or format (%zu characters): a key is 44 characters of base64, as from `"
		 "wg-xdp genkey'",
		 strlen(value));
	return false;
}

bool conf_parse_port(const char *value, uint16_t *port, char error[static CONF_ERROR_SIZE])
{
	char quoted[CONF_QUOTED_SIZE];
	struct servent *service;
	uint32_t number;

	if (conf_parse_number(value, UINT16_MAX, false, &number)) {
		*port = (uint16_t)number;
		return true;
	}
	service = *value && !is_digit(*value) && *value != '-' ? getservbyname(value, "udp") : NULL;
	if (service) {
		*port = ntohs((uint16_t)service->s_port);
		return true;
	}
	snprintf(error, CONF_ERROR_SIZE, "port is neither 0-65535 nor the name of a UDP service: `%s'",
		 conf_quote(quoted, value));
	return false;
}

bool conf_parse_fwmark(const char *value, uint32_t *fwmark, char error[static CONF_ERROR_SIZE])
{
	char quoted[CONF_QUOTED_SIZE];

	*fwmark = 0;
	if (!strcasecmp(value, "off") || conf_parse_number(value, UINT32_MAX, true, fwmark))
		return true;
	snprintf(error, CONF_ERROR_SIZE, "fwmark is neither `off' nor a number from 0 to 0xffffffff: `%s'",
		 conf_quote(quoted, value));
	return false;
}

bool conf_parse_keepalive(const char *value, uint16_t *seconds, char error[static CONF_ERROR_SIZE])
{
	char quoted[CONF_QUOTED_SIZE];
	uint32_t number = 0;

	if (!strcasecmp(value, "off") || conf_parse_number(value, UINT16_MAX, false, &number)) {
		*seconds = (uint16_t)number;
		return true;
	}
	snprintf(error, CONF_ERROR_SIZE, "persistent keepalive interval is neither `off' nor 0-65535 seconds: `%s'",
		 conf_quote(quoted, value));
	return false;
}

/* Only called with text that config_allowed_ip_parse() took. */
static void warn_host_bits(const char *text, const struct config_allowed_ip *masked, struct conf_list *warnings,
			   const char *prefix)
{
	char network[CONFIG_ALLOWED_IP_TEXT_SIZE], sentence[CONF_ERROR_SIZE], quoted[CONF_QUOTED_SIZE];
	uint8_t addr[16] = { 0 }, cidr;
	int family;

	conf_address_parse(text, &family, addr, &cidr);
	if (!memcmp(addr, masked->addr, sizeof(addr)) || warnings->n >= MAX_WARNINGS)
		return;
	config_allowed_ip_format(network, masked);
	snprintf(sentence, sizeof(sentence), "%sallowed IP has nonzero host part: %s, taken as %s", prefix,
		 conf_quote(quoted, text), network);
	conf_list_add(warnings, sentence);
}

static bool parse_allowed_ip(const char *text, struct config_peer *peer, bool remove, struct conf_list *warnings,
			     const char *prefix, char error[static CONF_ERROR_SIZE])
{
	char quoted[CONF_QUOTED_SIZE];
	struct config_allowed_ip parsed;

	if (!config_allowed_ip_parse(&parsed, text)) {
		snprintf(error, CONF_ERROR_SIZE,
			 "allowed IP is not an address with a prefix length, like 10.0.0.0/8 or "
			 "fd00::/8: `%s'",
			 conf_quote(quoted, text));
		return false;
	}
	warn_host_bits(text, &parsed, warnings, prefix);
	if (config_peer_add_allowed_ip(peer, parsed.family_is_v6 ? AF_INET6 : AF_INET, parsed.addr, parsed.cidr,
				       remove)) {
		snprintf(error, CONF_ERROR_SIZE, "out of memory after %zu allowed IPs", peer->n_allowed_ips);
		return false;
	}
	return true;
}

bool conf_parse_allowed_ips(char *value, struct config_peer *peer, bool may_change, struct conf_list *warnings,
			    const char *prefix, char error[static CONF_ERROR_SIZE])
{
	bool changes = false;
	char *text;

	if (!*value)
		value = NULL;
	while ((text = strsep(&value, ","))) {
		char sign = may_change && (*text == '+' || *text == '-') ? *text++ : '\0';

		changes = changes || sign;
		if (!parse_allowed_ip(text, peer, sign == '-', warnings, prefix, error))
			return false;
	}
	if (!changes)
		peer->flags |= CONFIG_PEER_REPLACE_ALLOWED_IPS;
	else
		peer->flags &= ~(uint32_t)CONFIG_PEER_REPLACE_ALLOWED_IPS;
	return true;
}
