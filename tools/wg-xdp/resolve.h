/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An endpoint's name to its address: "host:port", "192.0.2.1:51820", "[2001:db8::1]:51820". */
#ifndef WG_XDP_RESOLVE_H
#define WG_XDP_RESOLVE_H

#include <stdbool.h>
#include <stddef.h>

#include "endpoint.h"

/* Host and port as they stand in an endpoint, brackets off. False, with a sentence in error, if the text is not one. */
bool resolve_split(const char *text, char **host, char **port, char *error, size_t error_size);

/*
 * Blocks. A failure that may pass is retried WG_ENDPOINT_RESOLUTION_RETRIES times (a number or "infinity", default 15),
 * first after 1 s, then 1.2 times longer each time, up to 20 s, telling so on stderr. Returns 0 or -EINVAL with a
 * sentence in error.
 */
int resolve_endpoint(struct endpoint *endpoint, const char *text, char *error, size_t error_size);

#endif
