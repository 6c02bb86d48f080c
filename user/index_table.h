/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Receiver indices: which handshake or keypair a 32-bit index on the wire belongs to. One table per device, random
 * indices (sequential ones tell how many peers there are).
 *
 * Look-ups run in any number of threads beside one writer (serialised by the caller). Entries are embedded in what they
 * stand for; the memory of a removed entry must stay until a grace period has passed.
 */
#ifndef WG_XDP_INDEX_TABLE_H
#define WG_XDP_INDEX_TABLE_H

#include <stdbool.h>
#include <stdint.h>

enum index_type {
	INDEX_HANDSHAKE = 1,
	INDEX_KEYPAIR = 2,
};

struct index_entry {
	struct index_entry *next; /* table's */
	void *owner;
	uint32_t index; /* host order */
	uint8_t type;
	bool is_inserted;
};

struct index_table;

struct index_table *index_table_create(void);
void index_table_free(struct index_table *table);

/* Takes the index when it is free; false when it is in use: draw another random one. */
bool index_table_insert(struct index_table *table, struct index_entry *entry, enum index_type type, void *owner,
			uint32_t index);

/* The index of old goes over to new in one step: from a handshake to its keypair. False if old is not inserted. */
bool index_table_replace(struct index_table *table, struct index_entry *old, struct index_entry *new,
			 enum index_type type, void *owner);

/* No-op when not inserted. */
void index_table_remove(struct index_table *table, struct index_entry *entry);

/* The owner, when the index is of one of the wanted types (a mask of 1 << enum index_type), else NULL. */
void *index_table_lookup(const struct index_table *table, uint32_t index, unsigned int types, enum index_type *type);

#endif
