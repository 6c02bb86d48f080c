// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* An endpoint's name to its address. A tunnel is often started before the network can answer: hence the retries. */
#define _GNU_SOURCE /* EAI_NODATA */
#include "resolve.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "conf_value.h"

#define DEFAULT_RETRIES 15
#define FIRST_WAIT_MS 1000U
#define LONGEST_WAIT_MS 20000U

bool resolve_split(const char *text, char **host, char **port, char *error, size_t error_size)
{
	char quoted[CONF_QUOTED_SIZE];
	const char *host_begin = text, *host_end, *colon;
	uint32_t number;

	if (*text == '[') {
		host_begin = text + 1;
		host_end = strchr(text, ']');
		colon = host_end ? host_end + 1 : NULL;
	} else {
		host_end = colon = strrchr(text, ':');
	}
	if (!colon || *colon != ':' || !colon[1] || host_end == host_begin) {
		snprintf(error, error_size, "endpoint is not host:port, with an IPv6 address in []: `%s'",
			 conf_quote(quoted, text));
		return false;
	}
	if (colon[1 + strspn(colon + 1, "0123456789")] == '\0' &&
	    (!conf_parse_number(colon + 1, UINT16_MAX, false, &number) || !number)) {
		snprintf(error, error_size, "port of the endpoint is not 1-65535: `%s'", conf_quote(quoted, text));
		return false;
	}
	*host = strndup(host_begin, (size_t)(host_end - host_begin));
	*port = strdup(colon + 1);
	if (*host && *port)
		return true;
	free(*host);
	free(*port);
	snprintf(error, error_size, "out of memory");
	return false;
}

/* -1: for ever. False when the variable makes no sense. */
static bool read_retries(int *retries, char *error, size_t error_size)
{
	const char *text = getenv("WG_ENDPOINT_RESOLUTION_RETRIES");
	uint32_t number = DEFAULT_RETRIES;

	if (text && !strcmp(text, "infinity")) {
		*retries = -1;
		return true;
	}
	if (text && !conf_parse_number(text, INT_MAX, false, &number)) {
		snprintf(error, error_size, "WG_ENDPOINT_RESOLUTION_RETRIES is neither a number nor `infinity': `%s'",
			 text);
		return false;
	}
	*retries = (int)number;
	return true;
}

static bool is_permanent(int gai_error)
{
	switch (gai_error) {
	case EAI_NONAME:
	case EAI_FAIL:
	case EAI_NODATA:
	case EAI_SERVICE:
	case EAI_FAMILY:
		return true;
	default:
		return false;
	}
}

static void wait_ms(unsigned int ms)
{
	struct timespec left = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

/* 0 or a getaddrinfo() error. */
static int look_up(const char *host, const char *port, int retries, const char *text, struct addrinfo **found)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_DGRAM, .ai_protocol = IPPROTO_UDP };
	unsigned int ms = FIRST_WAIT_MS;
	char quoted[CONF_QUOTED_SIZE];

	for (;;) {
		int err = getaddrinfo(host, port, &hints, found);

		if (!err || is_permanent(err) || (retries >= 0 && !retries--))
			return err;
		fprintf(stderr, "%s: `%s'. Trying again in %.2f seconds...\n",
			err == EAI_SYSTEM ? strerror(errno) : gai_strerror(err), conf_quote(quoted, text), ms / 1000.0);
		wait_ms(ms);
		ms = ms * 6 / 5 < LONGEST_WAIT_MS ? ms * 6 / 5 : LONGEST_WAIT_MS;
	}
}

static bool take_first(struct endpoint *endpoint, const struct addrinfo *found)
{
	memset(endpoint, 0, sizeof(*endpoint));
	for (; found; found = found->ai_next) {
		if (found->ai_family == AF_INET)
			memcpy(&endpoint->addr4, found->ai_addr, sizeof(endpoint->addr4));
		else if (found->ai_family == AF_INET6)
			memcpy(&endpoint->addr6, found->ai_addr, sizeof(endpoint->addr6));
		else
			continue;
		return true;
	}
	return false;
}

int resolve_endpoint(struct endpoint *endpoint, const char *text, char *error, size_t error_size)
{
	struct addrinfo *found = NULL;
	char quoted[CONF_QUOTED_SIZE];
	char *host, *port;
	int retries, err;

	if (endpoint_parse(endpoint, text))
		return 0;
	if (!read_retries(&retries, error, error_size) || !resolve_split(text, &host, &port, error, error_size))
		return -EINVAL;

	err = look_up(host, port, retries, text, &found);
	if (err)
		snprintf(error, error_size, "endpoint `%s' cannot be looked up: %s", conf_quote(quoted, text),
			 err == EAI_SYSTEM ? strerror(errno) : gai_strerror(err));
	else if (!take_first(endpoint, found))
		snprintf(error, error_size, "endpoint `%s' has neither an IPv4 nor an IPv6 address",
			 conf_quote(quoted, text));
	else
		goto out_free;
	err = -EINVAL;
out_free:
	if (found)
		freeaddrinfo(found);
	free(host);
	free(port);
	return err;
}
