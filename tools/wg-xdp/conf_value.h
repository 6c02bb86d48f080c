/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The values that configuration files and the arguments of `set` have in common.
 *
 * Each function returns false with a phrase in error (CONF_ERROR_SIZE) that says what was wrong and what would do.
 */
#ifndef WG_XDP_CONF_VALUE_H
#define WG_XDP_CONF_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "conf_file.h"

/* The value for an error text: short, printable, and not there at all when it might be a key in the wrong place. */
#define CONF_QUOTED_SIZE 96
const char *conf_quote(char out[static CONF_QUOTED_SIZE], const char *value);

/* Decimal digits, or "0x" and hexadecimal ones where that is allowed; at most max. */
bool conf_parse_number(const char *value, uint32_t max, bool may_be_hex, uint32_t *number);

bool conf_parse_key(const char *value, uint8_t key[static NOISE_PUBLIC_KEY_LEN], char error[static CONF_ERROR_SIZE]);
/* A number or a UDP service's name. */
bool conf_parse_port(const char *value, uint16_t *port, char error[static CONF_ERROR_SIZE]);
bool conf_parse_fwmark(const char *value, uint32_t *fwmark, char error[static CONF_ERROR_SIZE]);
bool conf_parse_keepalive(const char *value, uint16_t *seconds, char error[static CONF_ERROR_SIZE]);

/*
 * A comma separated list; empty is one, too. The peer's list replaces what it had, unless may_change and one of the
 * prefixes has a sign: '+' adds, '-' removes. value is changed. Sentences about host bits go to warnings, each headed
 * by prefix.
 */
bool conf_parse_allowed_ips(char *value, struct config_peer *peer, bool may_change, struct conf_list *warnings,
			    const char *prefix, char error[static CONF_ERROR_SIZE]);

#endif
