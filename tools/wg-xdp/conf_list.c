// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Strings in the order they were written. */
#include "conf_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int conf_list_add(struct conf_list *list, const char *text)
{
	char *copy;

	if (list->n == list->capacity) {
		size_t capacity = list->capacity ? list->capacity * 2 : 4;
		char **items = reallocarray(list->items, capacity, sizeof(*items));

		if (!items)
			return -ENOMEM;
		list->items = items;
		list->capacity = capacity;
	}
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	list->items[list->n++] = copy;
	return 0;
}

void conf_list_deinit(struct conf_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->items[i]);
	free(list->items);
	memset(list, 0, sizeof(*list));
}
