// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The table of receiver indices: against a plain array, at full size, and with readers beside the writer. */
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Readers dawdle: between two loads of a walk they wait, now and then, until the writer has made many changes. (A macro
 * does not expand itself again, so the name in it is the compiler's.)
 */
static __thread unsigned int loads_to_dawdle;
static uint32_t n_writer_rounds;
static bool writer_is_done;

/* And a test with one thread makes its changes between two loads that it chooses. */
static __thread unsigned int loads_to_interruption;
static void (*interruption)(void);

static void dawdle(void)
{
	uint32_t seen = __atomic_load_n(&n_writer_rounds, __ATOMIC_RELAXED);

	if (loads_to_interruption && !--loads_to_interruption)
		interruption();
	if (!loads_to_dawdle || --loads_to_dawdle)
		return;
	loads_to_dawdle = 41 + seen % 64;
	while (__atomic_load_n(&n_writer_rounds, __ATOMIC_RELAXED) - seen < 32 &&
	       !__atomic_load_n(&writer_is_done, __ATOMIC_RELAXED))
		sched_yield();
}

#define __atomic_load_n(ptr, order) (dawdle(), __atomic_load_n(ptr, order))
#include "../../user/index_table.c"
#undef __atomic_load_n

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HANDSHAKE (1U << INDEX_HANDSHAKE)
#define KEYPAIR (1U << INDEX_KEYPAIR)
#define EITHER (HANDSHAKE | KEYPAIR)

static uint64_t random_state = 0x13198a2e03707344;

static uint32_t random_u32(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 32);
}

static void test_types(void **state)
{
	struct index_table *table = index_table_create();
	struct index_entry handshake = { 0 }, keypair = { 0 };
	enum index_type type = 0;
	int peer, session;

	(void)state;
	assert_null(index_table_lookup(table, 7, EITHER, NULL));
	assert_true(index_table_insert(table, &handshake, INDEX_HANDSHAKE, &peer, 7));
	assert_true(handshake.is_inserted);
	assert_ptr_equal(index_table_lookup(table, 7, HANDSHAKE, &type), &peer);
	assert_int_equal(type, INDEX_HANDSHAKE);
	assert_null(index_table_lookup(table, 7, KEYPAIR, NULL));
	assert_ptr_equal(index_table_lookup(table, 7, EITHER, NULL), &peer);
	assert_null(index_table_lookup(table, 8, EITHER, NULL));

	/* In use: the entry stays out. */
	assert_false(index_table_insert(table, &keypair, INDEX_KEYPAIR, &session, 7));
	assert_false(keypair.is_inserted);
	assert_ptr_equal(index_table_lookup(table, 7, EITHER, NULL), &peer);

	/* From the handshake to its keypair. */
	assert_true(index_table_replace(table, &handshake, &keypair, INDEX_KEYPAIR, &session));
	assert_false(handshake.is_inserted);
	assert_true(keypair.is_inserted);
	assert_int_equal(keypair.index, 7);
	assert_ptr_equal(index_table_lookup(table, 7, EITHER, &type), &session);
	assert_int_equal(type, INDEX_KEYPAIR);
	assert_null(index_table_lookup(table, 7, HANDSHAKE, NULL));

	/* Once only: the handshake is no longer there. */
	index_table_remove(table, &handshake);
	assert_ptr_equal(index_table_lookup(table, 7, EITHER, NULL), &session);
	index_table_remove(table, &keypair);
	assert_false(keypair.is_inserted);
	assert_null(index_table_lookup(table, 7, EITHER, NULL));
	index_table_remove(table, &keypair);
	assert_false(index_table_replace(table, &handshake, &keypair, INDEX_KEYPAIR, &session));
	assert_false(keypair.is_inserted);

	index_table_free(table);
	index_table_free(NULL);
}

static void test_extreme_indices(void **state)
{
	static const uint32_t indices[] = { 0, 1, 0x7fffffff, 0x80000000, UINT32_MAX - 1, UINT32_MAX };
	struct index_entry entries[6] = { 0 };
	struct index_table *table = index_table_create();

	(void)state;
	for (size_t i = 0; i < 6; i++)
		assert_true(index_table_insert(table, &entries[i], INDEX_KEYPAIR, &entries[i], indices[i]));
	for (size_t i = 0; i < 6; i++)
		assert_ptr_equal(index_table_lookup(table, indices[i], EITHER, NULL), &entries[i]);
	index_table_free(table);
}

/* All in one bucket, taken out in every order of three, by removal or by replacement. */
static void test_one_bucket(void **state)
{
	static const int orders[6][3] = {
		{ 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 },
	};
	struct index_table *table = index_table_create();

	(void)state;
	for (int order = 0; order < 6; order++) {
		struct index_entry entries[3] = { 0 }, others[3] = { 0 };

		for (uint32_t i = 0; i < 3; i++)
			assert_true(index_table_insert(table, &entries[i], INDEX_HANDSHAKE, &entries[i],
						       i * N_BUCKETS));
		for (int i = 0; i < 3; i++) {
			int at = orders[order][i];

			assert_true(index_table_replace(table, &entries[at], &others[at], INDEX_KEYPAIR, &others[at]));
			for (uint32_t j = 0; j < 3; j++)
				assert_ptr_equal(index_table_lookup(table, j * N_BUCKETS, EITHER, NULL),
						 others[j].is_inserted ? &others[j] : &entries[j]);
		}
		for (int i = 0; i < 3; i++) {
			index_table_remove(table, &others[orders[order][i]]);
			for (uint32_t j = 0; j < 3; j++)
				assert_ptr_equal(index_table_lookup(table, j * N_BUCKETS, EITHER, NULL),
						 others[j].is_inserted ? &others[j] : NULL);
		}
	}
	index_table_free(table);
}

/* The model: a small space of indices, each with the entry that has it. */
#define MODEL_INDICES 4096
#define MODEL_ENTRIES 3000

static uint32_t model_index(uint32_t i)
{
	return i % 64 + i / 64 * N_BUCKETS;
}

static void test_model(void **state)
{
	static struct index_entry entries[MODEL_ENTRIES], *model[MODEL_INDICES];
	static uint32_t where[MODEL_ENTRIES];
	struct index_table *table = index_table_create();

	(void)state;
	print_message("seed %#llx\n", (unsigned long long)random_state);
	for (int op = 0; op < 400000; op++) {
		uint32_t e = random_u32() % MODEL_ENTRIES, other = random_u32() % MODEL_ENTRIES;
		uint32_t i = random_u32() % MODEL_INDICES;
		enum index_type type = random_u32() & 1 ? INDEX_HANDSHAKE : INDEX_KEYPAIR;
		struct index_entry *entry = &entries[e];

		if (!entry->is_inserted) {
			assert_int_equal(index_table_insert(table, entry, type, entry, model_index(i)), !model[i]);
			if (!model[i]) {
				model[i] = entry;
				where[e] = i;
			}
		} else if (op % 2 && !entries[other].is_inserted) {
			assert_true(index_table_replace(table, entry, &entries[other], type, &entries[other]));
			model[where[e]] = &entries[other];
			where[other] = where[e];
		} else if (op % 3 == 0) {
			index_table_remove(table, entry);
			model[where[e]] = NULL;
		}
		i = random_u32() % MODEL_INDICES;
		assert_ptr_equal(index_table_lookup(table, model_index(i), EITHER, NULL), model[i]);
		if (model[i])
			assert_ptr_equal(index_table_lookup(table, model_index(i), 1U << model[i]->type, NULL),
					 model[i]);
	}
	index_table_free(table);
}

/* A device full of peers: 400,000 entries, and chains that stay short. */
static void test_full_size(void **state)
{
	const uint32_t n_entries = 400000;
	struct index_entry *entries = calloc(n_entries, sizeof(*entries));
	struct index_table *table = index_table_create();
	uint64_t n_steps = 0;
	uint32_t longest = 0;

	(void)state;
	assert_non_null(entries);
	for (uint32_t i = 0; i < n_entries; i++)
		while (!index_table_insert(table, &entries[i], INDEX_KEYPAIR, &entries[i], random_u32()))
			;
	for (uint32_t i = 0; i < n_entries; i++) {
		struct index_entry *e = table->buckets[entries[i].index % N_BUCKETS];
		uint32_t n = 1;

		assert_ptr_equal(index_table_lookup(table, entries[i].index, KEYPAIR, NULL), &entries[i]);
		for (; e != &entries[i]; e = e->next)
			n++;
		n_steps += n;
		longest = n > longest ? n : longest;
	}
	print_message("%u entries: %.2f steps on average, %u at most\n", n_entries, (double)n_steps / n_entries,
		      longest);
	assert_true(n_steps < 3ULL * n_entries);
	for (uint32_t i = 0; i < n_entries; i++)
		index_table_remove(table, &entries[i]);
	for (uint32_t i = 0; i < N_BUCKETS; i++)
		assert_null(table->buckets[i]);
	index_table_free(table);
	free(entries);
}

static struct index_table *interrupted_table;
static struct index_entry interrupted_entries[6];

/* The first entries of the chain go elsewhere, or come back as something else; the one behind is replaced. */
static void change_chain(void)
{
	struct index_entry *e = interrupted_entries;

	index_table_remove(interrupted_table, &e[0]);
	index_table_remove(interrupted_table, &e[1]);
	index_table_remove(interrupted_table, &e[2]);
	index_table_insert(interrupted_table, &e[0], INDEX_HANDSHAKE, &e[0], 1);
	index_table_insert(interrupted_table, &e[1], INDEX_HANDSHAKE, &e[1], 3 * N_BUCKETS);
	index_table_insert(interrupted_table, &e[2], INDEX_HANDSHAKE, &e[2], 1 + N_BUCKETS);
	index_table_replace(interrupted_table, &e[4], &e[5], INDEX_KEYPAIR, &e[5]);
}

/* False when the look-up is over before its nth load. */
static bool interrupt_at(uint32_t target, unsigned int nth)
{
	struct index_entry *e = interrupted_entries;
	enum index_type type = 0;
	bool was_interrupted;
	void *owner;

	memset(interrupted_entries, 0, sizeof(interrupted_entries));
	interrupted_table = index_table_create();
	/* 0 is the first in the chain, 4 the last. */
	for (uint32_t i = 5; i--;)
		index_table_insert(interrupted_table, &e[i], INDEX_HANDSHAKE, &e[i], (10 + i) * N_BUCKETS);
	interruption = change_chain;
	loads_to_interruption = nth;
	owner = index_table_lookup(interrupted_table, e[target].index, EITHER, &type);
	was_interrupted = !loads_to_interruption;
	loads_to_interruption = 0;
	if (!(owner == &e[target] && type == INDEX_HANDSHAKE) &&
	    !(target == 4 && owner == &e[5] && type == INDEX_KEYPAIR))
		fail_msg("entry %u, changes before load %u: wrong owner or type", target, nth);
	index_table_free(interrupted_table);
	return was_interrupted;
}

/* What stays is found, what is replaced is found as the one or the other. */
static void test_changes_between_loads(void **state)
{
	(void)state;
	for (uint32_t target = 3; target <= 4; target++) {
		unsigned int nth = 1;

		while (interrupt_at(target, nth))
			nth++;
		assert_in_range(nth, 10, 30);
	}
}

/*
 * Readers look for entries that never leave, and for one index that two entries hand to and fro, while the writer moves
 * its other entries between two buckets, inserting each again at once after its removal.
 */
#define N_READERS 2
#define N_STABLE 8
#define N_MOVING 16
#define HANDED_OVER (100 * N_BUCKETS)

struct shared {
	struct index_table *table;
	struct index_entry stable[N_STABLE], moving[N_MOVING], handed[2];
	unsigned int n_started;
};

static uint32_t stable_index(uint32_t i)
{
	return i * N_BUCKETS + i % 2;
}

/* Returns how often something was not as it must be. */
static void *reader_main(void *arg)
{
	struct shared *shared = arg;
	uintptr_t n_wrong = 0;

	loads_to_dawdle = 100;
	__atomic_add_fetch(&shared->n_started, 1, __ATOMIC_ACQ_REL);
	while (!__atomic_load_n(&writer_is_done, __ATOMIC_ACQUIRE)) {
		enum index_type type;
		void *owner;

		for (uint32_t i = 0; i < N_STABLE; i++)
			n_wrong += index_table_lookup(shared->table, stable_index(i), KEYPAIR, NULL) !=
				   &shared->stable[i];
		owner = index_table_lookup(shared->table, HANDED_OVER, EITHER, &type);
		n_wrong += !(owner == &shared->handed[0] && type == INDEX_HANDSHAKE) &&
			   !(owner == &shared->handed[1] && type == INDEX_KEYPAIR);
		n_wrong += index_table_lookup(shared->table, 1000 * N_BUCKETS, EITHER, NULL) != NULL;
	}
	return (void *)n_wrong;
}

static void write_beside_readers(struct shared *shared)
{
	for (uint32_t round = 0; round < 60000; round++) {
		struct index_entry *entry = &shared->moving[round % N_MOVING];
		unsigned int from = round % 2;

		index_table_remove(shared->table, entry);
		/* Into the same bucket or the other one, with another owner and type. */
		index_table_insert(shared->table, entry, round & 1 ? INDEX_HANDSHAKE : INDEX_KEYPAIR, &entry[round & 1],
				   (200 + random_u32() % 500) * N_BUCKETS + random_u32() % 2);
		index_table_replace(shared->table, &shared->handed[from], &shared->handed[!from],
				    from ? INDEX_HANDSHAKE : INDEX_KEYPAIR, &shared->handed[!from]);
		__atomic_store_n(&n_writer_rounds, round, __ATOMIC_RELAXED);
	}
}

static void test_readers_beside_writer(void **state)
{
	struct shared *shared = calloc(1, sizeof(*shared));
	pthread_t readers[N_READERS];

	(void)state;
	shared->table = index_table_create();
	/* The stable ones end up behind the moving ones in their chains. */
	for (uint32_t i = 0; i < N_STABLE; i++)
		index_table_insert(shared->table, &shared->stable[i], INDEX_KEYPAIR, &shared->stable[i],
				   stable_index(i));
	index_table_insert(shared->table, &shared->handed[0], INDEX_HANDSHAKE, &shared->handed[0], HANDED_OVER);
	for (int i = 0; i < N_READERS; i++)
		assert_int_equal(pthread_create(&readers[i], NULL, reader_main, shared), 0);
	while (__atomic_load_n(&shared->n_started, __ATOMIC_ACQUIRE) < N_READERS)
		sched_yield();
	write_beside_readers(shared);
	__atomic_store_n(&writer_is_done, true, __ATOMIC_RELEASE);
	for (int i = 0; i < N_READERS; i++) {
		void *n_wrong;

		assert_int_equal(pthread_join(readers[i], &n_wrong), 0);
		assert_int_equal((uintptr_t)n_wrong, 0);
	}
	index_table_free(shared->table);
	free(shared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_extreme_indices),
		cmocka_unit_test(test_one_bucket),
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_full_size),
		cmocka_unit_test(test_changes_between_loads),
		cmocka_unit_test(test_readers_beside_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
