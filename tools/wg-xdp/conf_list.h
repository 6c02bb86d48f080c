/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Strings in the order they were written. Not for keys: nothing is wiped. */
#ifndef WG_XDP_CONF_LIST_H
#define WG_XDP_CONF_LIST_H

#include <stddef.h>

struct conf_list {
	char **items; /* owned; n of them */
	size_t n, capacity;
};

/* 0 or -ENOMEM. Copies text. */
int conf_list_add(struct conf_list *list, const char *text);
void conf_list_deinit(struct conf_list *list);

#endif
