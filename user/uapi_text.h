/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The cross-platform UAPI's text, both ways and on both ends: key=value lines, ended by an empty one.
 *
 * Used by the agent (parses set, formats get) and by the command line (formats set, parses get). Errors are -errno with
 * the line number; no input is ever logged, since a line may hold a key.
 */
#ifndef WG_XDP_UAPI_TEXT_H
#define WG_XDP_UAPI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "device_config.h"

#define UAPI_LINE_MAX 65536

/* Takes a set operation's lines one by one. */
struct uapi_set_parser {
	struct device_config *config;
	bool in_peer;
	unsigned int line; /* 1 is the one after set=1 */
};

void uapi_set_parser_init(struct uapi_set_parser *parser, struct device_config *config);
/* line has no newline; it is changed. Returns 0, -EINVAL (unknown key, bad value, wrong place), -EPROTO (no '='), -ENOMEM. */
int uapi_set_parse_line(struct uapi_set_parser *parser, char *line);

/* A growing text. Wiped when freed. */
struct uapi_text {
	char *text;
	size_t len, capacity;
	bool failed; /* memory ran out; len is what fitted */
};
void uapi_text_deinit(struct uapi_text *text);
__attribute__((format(printf, 2, 3))) void uapi_text_printf(struct uapi_text *text, const char *format, ...);

/* The lines of an answer to get=1, without the closing errno= and empty line. */
void uapi_format_get(struct uapi_text *text, const struct device_config *status);
/* The lines of a set=1 request, with its first line and the empty one at the end. */
void uapi_format_set(struct uapi_text *text, const struct device_config *config);

/*
 * Parses an answer to get=1, up to and with errno=; NUL terminated, changed. *error gets that errno (as written).
 * Unknown keys are skipped. Returns 0, -EPROTO, -ENOMEM.
 */
int uapi_parse_get(struct device_config *status, char *text, int *error);

#endif
