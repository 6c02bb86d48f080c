// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A chained hash table whose readers take no lock and whose writer waits for nobody.
 *
 * The property: an index that is in the table during the whole of a look-up is found, even while other entries (or its
 * own, by index_table_replace()) come and go, and even when a removed entry is inserted again at once.
 */
#include "index_table.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

/* 2 MiB of address space, touched as it is used; 1.5 entries in a bucket at 400,000. Indices are random: no hash. */
#define N_BUCKETS (1U << 18)

struct index_table {
	uint64_t n_insertions; /* see index_table_lookup() */
	struct index_entry *buckets[N_BUCKETS];
};

struct index_table *index_table_create(void)
{
	return calloc(1, sizeof(struct index_table));
}

void index_table_free(struct index_table *table)
{
	free(table);
}

/* The link that points to the entry of this index, or to the end of its bucket. For the writer. */
static struct index_entry **find_link(struct index_table *table, uint32_t index)
{
	struct index_entry **link = &table->buckets[index % N_BUCKETS];

	while (*link && (*link)->index != index)
		link = &(*link)->next;
	return link;
}

/*
 * Fills in an entry that is in no chain, and publishes it. A reader may still stand on it from before its removal: it
 * then meets one of these stores, and with it the new number of insertions, and starts again.
 */
static void publish(struct index_table *table, struct index_entry **link, struct index_entry *entry,
		    const struct index_entry *as)
{
	assert(!entry->is_inserted);
	entry->is_inserted = true;
	__atomic_store_n(&table->n_insertions, table->n_insertions + 1, __ATOMIC_RELEASE);
	__atomic_store_n(&entry->index, as->index, __ATOMIC_RELEASE);
	__atomic_store_n(&entry->type, as->type, __ATOMIC_RELEASE);
	__atomic_store_n(&entry->owner, as->owner, __ATOMIC_RELEASE);
	__atomic_store_n(&entry->next, as->next, __ATOMIC_RELEASE);
	__atomic_store_n(link, entry, __ATOMIC_RELEASE);
}

bool index_table_insert(struct index_table *table, struct index_entry *entry, enum index_type type, void *owner,
			uint32_t index)
{
	struct index_entry **bucket = &table->buckets[index % N_BUCKETS];
	struct index_entry as = { .next = *bucket, .owner = owner, .index = index, .type = type };

	if (*find_link(table, index))
		return false;
	publish(table, bucket, entry, &as);
	return true;
}

bool index_table_replace(struct index_table *table, struct index_entry *old, struct index_entry *new,
			 enum index_type type, void *owner)
{
	struct index_entry as = { .next = old->next, .owner = owner, .index = old->index, .type = type };

	if (!old->is_inserted)
		return false;
	publish(table, find_link(table, old->index), new, &as);
	old->is_inserted = false;
	return true;
}

/* The entry keeps its next: readers that stand on it go on from there. */
void index_table_remove(struct index_table *table, struct index_entry *entry)
{
	if (!entry->is_inserted)
		return;
	__atomic_store_n(find_link(table, entry->index), entry->next, __ATOMIC_RELEASE);
	entry->is_inserted = false;
}

/* Copies the entry of this index; false when the walk meets none. */
static bool find(const struct index_table *table, uint32_t index, struct index_entry *found)
{
	const struct index_entry *entry = __atomic_load_n(&table->buckets[index % N_BUCKETS], __ATOMIC_ACQUIRE);

	while (entry && __atomic_load_n(&entry->index, __ATOMIC_ACQUIRE) != index)
		entry = __atomic_load_n(&entry->next, __ATOMIC_ACQUIRE);
	if (!entry)
		return false;
	found->type = __atomic_load_n(&entry->type, __ATOMIC_ACQUIRE);
	found->owner = __atomic_load_n(&entry->owner, __ATOMIC_ACQUIRE);
	return true;
}

/*
 * An entry inserted anew under the feet of a reader leads it into another bucket, or shows it half of the new contents.
 * So a walk counts only if nothing was inserted meanwhile; as insertions are rare beside look-ups, nearly all do.
 */
void *index_table_lookup(const struct index_table *table, uint32_t index, unsigned int types, enum index_type *type)
{
	uint64_t n_insertions = __atomic_load_n(&table->n_insertions, __ATOMIC_ACQUIRE), before;
	struct index_entry found;
	bool is_found;

	do {
		before = n_insertions;
		is_found = find(table, index, &found);
		n_insertions = __atomic_load_n(&table->n_insertions, __ATOMIC_ACQUIRE);
	} while (n_insertions != before);

	if (!is_found || !(types & 1U << found.type))
		return NULL;
	if (type)
		*type = found.type;
	return found.owner;
}
