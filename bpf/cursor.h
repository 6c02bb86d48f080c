/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The only way to touch a packet: check, then advance. */
#ifndef WG_XDP_CURSOR_H
#define WG_XDP_CURSOR_H

#include <bpf/bpf_helpers.h>

#include "types.h"

struct cursor {
	void *pos;
	void *end;
};

/* Typed pointer to the next header and advance, or NULL when the packet ends first. */
#define cursor_take(cursor, type) ((type *)cursor_take_bytes((cursor), sizeof(type)))

static __always_inline void *cursor_take_bytes(struct cursor *cursor, __u32 len)
{
	void *start = cursor->pos;

	if (start + len > cursor->end)
		return (void *)0;
	cursor->pos = start + len;
	return start;
}

#endif
