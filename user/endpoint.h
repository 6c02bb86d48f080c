/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Where a peer is reached: its address and port, and the local address it talked to last (paper 2.1). */
#ifndef WG_XDP_ENDPOINT_H
#define WG_XDP_ENDPOINT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "cookie.h"

struct endpoint {
	union {
		sa_family_t family; /* AF_UNSPEC: not known */
		struct sockaddr addr;
		struct sockaddr_in addr4;
		struct sockaddr_in6 addr6;
	};
	union {
		struct {
			struct in_addr src4;
			int src_if4; /* interface it arrived on; 0: no source */
		};
		struct in6_addr src6; /* unspecified: no source */
	};
};

/* Remote address, port and source alike (scope included). */
bool endpoint_equal(const struct endpoint *a, const struct endpoint *b);
/* Remote address and port alike. */
bool endpoint_remote_equal(const struct endpoint *a, const struct endpoint *b);
void endpoint_clear_src(struct endpoint *endpoint);
bool endpoint_has_src(const struct endpoint *endpoint);
socklen_t endpoint_addr_len(const struct endpoint *endpoint);
void endpoint_cookie_source(const struct endpoint *endpoint, struct cookie_source *source);

/* "192.0.2.1:51820", "[2001:db8::1%eth0]:51820": the form UAPI and wg(8) use. */
#define ENDPOINT_TEXT_SIZE (INET6_ADDRSTRLEN + 16 + 8 + 4)
void endpoint_format(char out[static ENDPOINT_TEXT_SIZE], const struct endpoint *endpoint);
/* Numeric only; no look-up. False when the text is not one. The result has no source. */
bool endpoint_parse(struct endpoint *endpoint, const char *text);

#endif
