/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Per-CPU counters: what came, by message type, and what was wrong with the rest, by drop reason. */
#ifndef WG_XDP_COUNT_H
#define WG_XDP_COUNT_H

#include <bpf/bpf_helpers.h>

#include "drop_reason.h"
#include "messages.h"

/* Key: enum drop_reason. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DROP_REASON_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} drops SEC(".maps");

/* Key: message type; 0 is what was passed on because it might have been ours. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MESSAGE_DATA + 1);
	__type(key, __u32);
	__type(value, __u64);
} messages SEC(".maps");

#define COUNT_UNSURE 0

/* No atomics: the slot is this CPU's, and a program does not interrupt another of its kind there. */
static __always_inline void count(void *map, __u32 key)
{
	__u64 *slot = bpf_map_lookup_elem(map, &key);

	if (slot)
		*slot += 1;
}

#endif
