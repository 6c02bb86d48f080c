// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Endpoints: comparing, and the text form of UAPI.
 *
 * Compared field by field: padding and what another family has left in the unions never count.
 */
#include "endpoint.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool endpoint_remote_equal(const struct endpoint *a, const struct endpoint *b)
{
	if (a->family != b->family)
		return false;
	if (a->family == AF_INET)
		return a->addr4.sin_port == b->addr4.sin_port && a->addr4.sin_addr.s_addr == b->addr4.sin_addr.s_addr;
	if (a->family == AF_INET6)
		return a->addr6.sin6_port == b->addr6.sin6_port &&
		       a->addr6.sin6_scope_id == b->addr6.sin6_scope_id &&
		       IN6_ARE_ADDR_EQUAL(&a->addr6.sin6_addr, &b->addr6.sin6_addr);
	return true;
}

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
	if (!endpoint_remote_equal(a, b))
		return false;
	if (a->family == AF_INET)
		return a->src4.s_addr == b->src4.s_addr && a->src_if4 == b->src_if4;
	if (a->family == AF_INET6)
		return IN6_ARE_ADDR_EQUAL(&a->src6, &b->src6);
	return true;
}

void endpoint_clear_src(struct endpoint *endpoint)
{
	memset(&endpoint->src6, 0, sizeof(endpoint->src6));
}

bool endpoint_has_src(const struct endpoint *endpoint)
{
	if (endpoint->family == AF_INET)
		return endpoint->src_if4 && endpoint->src4.s_addr;
	return endpoint->family == AF_INET6 && !IN6_IS_ADDR_UNSPECIFIED(&endpoint->src6);
}

socklen_t endpoint_addr_len(const struct endpoint *endpoint)
{
	if (endpoint->family == AF_INET)
		return sizeof(endpoint->addr4);
	return endpoint->family == AF_INET6 ? sizeof(endpoint->addr6) : 0;
}

void endpoint_cookie_source(const struct endpoint *endpoint, struct cookie_source *source)
{
	memset(source, 0, sizeof(*source));
	if (endpoint->family == AF_INET) {
		memcpy(source->bytes, &endpoint->addr4.sin_addr, 4);
		memcpy(source->bytes + 4, &endpoint->addr4.sin_port, 2);
		source->len = 6;
	} else if (endpoint->family == AF_INET6) {
		memcpy(source->bytes, &endpoint->addr6.sin6_addr, 16);
		memcpy(source->bytes + 16, &endpoint->addr6.sin6_port, 2);
		source->len = 18;
	}
}

void endpoint_format(char out[static ENDPOINT_TEXT_SIZE], const struct endpoint *endpoint)
{
	char addr[INET6_ADDRSTRLEN], zone[1 + IF_NAMESIZE] = "";

	out[0] = '\0';
	if (endpoint->family == AF_INET) {
		inet_ntop(AF_INET, &endpoint->addr4.sin_addr, addr, sizeof(addr));
		snprintf(out, ENDPOINT_TEXT_SIZE, "%s:%u", addr, ntohs(endpoint->addr4.sin_port));
	} else if (endpoint->family == AF_INET6) {
		uint32_t scope_id = endpoint->addr6.sin6_scope_id;

		inet_ntop(AF_INET6, &endpoint->addr6.sin6_addr, addr, sizeof(addr));
		if (scope_id) {
			zone[0] = '%';
			if (!if_indextoname(scope_id, zone + 1))
				snprintf(zone + 1, sizeof(zone) - 1, "%u", scope_id);
		}
		snprintf(out, ENDPOINT_TEXT_SIZE, "[%s%s]:%u", addr, zone, ntohs(endpoint->addr6.sin6_port));
	}
}

/* Decimal digits and nothing else, at most max. */
static bool parse_number(const char *text, unsigned long max, unsigned long *number)
{
	size_t len = strlen(text);

	if (!len || len > 10 || strspn(text, "0123456789") != len)
		return false;
	*number = strtoul(text, NULL, 10);
	return *number <= max;
}

static bool parse_zone(const char *zone, uint32_t *scope_id)
{
	unsigned long number;

	*scope_id = if_nametoindex(zone);
	if (*scope_id)
		return true;
	if (!parse_number(zone, INT32_MAX, &number) || !number)
		return false;
	*scope_id = (uint32_t)number;
	return true;
}

static bool parse_addr6(struct sockaddr_in6 *addr, char *host)
{
	size_t len = strlen(host);
	char *zone;

	if (host[len - 1] != ']')
		return false;
	host[len - 1] = '\0';
	host++;
	zone = strchr(host, '%');
	if (zone) {
		*zone++ = '\0';
		if (!parse_zone(zone, &addr->sin6_scope_id))
			return false;
	}
	return inet_pton(AF_INET6, host, &addr->sin6_addr) == 1;
}

bool endpoint_parse(struct endpoint *endpoint, const char *text)
{
	struct endpoint parsed = { 0 };
	char host[ENDPOINT_TEXT_SIZE];
	const char *colon = strrchr(text, ':');
	size_t host_len = colon ? (size_t)(colon - text) : 0;
	unsigned long port;

	if (!host_len || host_len >= sizeof(host) || !parse_number(colon + 1, UINT16_MAX, &port) || !port)
		return false;
	memcpy(host, text, host_len);
	host[host_len] = '\0';

	if (host[0] == '[') {
		parsed.family = AF_INET6;
		parsed.addr6.sin6_port = htons((uint16_t)port);
		if (!parse_addr6(&parsed.addr6, host))
			return false;
	} else {
		parsed.family = AF_INET;
		parsed.addr4.sin_port = htons((uint16_t)port);
		if (inet_pton(AF_INET, host, &parsed.addr4.sin_addr) != 1)
			return false;
	}
	*endpoint = parsed;
	return true;
}
