/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What `show` prints of one tunnel: for people, one field for scripts, JSON. */
#ifndef WG_XDP_SHOW_H
#define WG_XDP_SHOW_H

#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#include "device_config.h"
#include "uapi_client.h"

struct show_style {
	bool colour;
	bool show_keys; /* private and preshared ones */
	time_t now;
};

/* Sorts the peers, newest handshake first. */
void show_pretty(FILE *out, const char *name, struct device_config *status, const struct uapi_client_extra *extra,
		 const struct show_style *style);

/* "dump" is one, too. */
bool show_field_exists(const char *field);
/* Tab separated, with the name in front of each line where asked for. The field exists. */
void show_field(FILE *out, const char *name, const struct device_config *status, const char *field,
		bool with_interface);
/* The fields' names: "a | b | c". */
void show_print_field_names(FILE *out);

/* One member of the object that begins with "{" and ends with "}\n", both the caller's. */
void show_json(FILE *out, const char *name, const struct device_config *status, const struct uapi_client_extra *extra,
	       bool show_keys, bool is_first);

#endif
