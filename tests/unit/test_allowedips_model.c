// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Allowed IPs against a model of another design (exact prefixes in a hash, tried from the longest on), and with readers
 * beside the writer.
 */
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Readers dawdle: between two loads of a descent they wait, now and then, until the writer has made many changes. (A
 * macro does not expand itself again, so the name in it is the compiler's.)
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
	loads_to_dawdle = 29 + seen % 64;
	while (__atomic_load_n(&n_writer_rounds, __ATOMIC_RELAXED) - seen < 1 + seen % 8 &&
	       !__atomic_load_n(&writer_is_done, __ATOMIC_RELAXED))
		sched_yield();
}

#define __atomic_load_n(ptr, order) (dawdle(), __atomic_load_n(ptr, order))
#include "../../user/allowedips.c"
#undef __atomic_load_n

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static uint64_t random_state = 0xa4093822299f31d0;

static uint32_t random_u32(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 32);
}

/* "10.0.0.0/8" */
static int parse(const char *text, uint8_t addr[16], uint8_t *cidr)
{
	char host[64];
	const char *slash = strchr(text, '/');
	int family = strchr(text, ':') ? AF_INET6 : AF_INET;

	snprintf(host, sizeof(host), "%.*s", (int)(slash - text), text);
	*cidr = (uint8_t)atoi(slash + 1);
	memset(addr, 0, 16);
	assert_int_equal(inet_pton(family, host, addr), 1);
	return family;
}

static void insert(struct allowedips *table, const char *prefix, struct allowedips_owner *owner)
{
	uint8_t addr[16], cidr;
	int family = parse(prefix, addr, &cidr);

	assert_int_equal(allowedips_insert(table, family, addr, cidr, owner), 0);
}

static bool remove_prefix(struct allowedips *table, const char *prefix, struct allowedips_owner *owner)
{
	uint8_t addr[16], cidr;
	int family = parse(prefix, addr, &cidr);

	return allowedips_remove(table, family, addr, cidr, owner);
}

static void expect_empty(struct allowedips *table)
{
	assert_int_equal(table->n_nodes, 0);
	assert_null(table->root[0]);
	assert_null(table->root[1]);
	allowedips_reclaim(table);
	assert_int_equal(table->n_retired, 0);
}

/* ------ The model ------ */

#ifdef __SANITIZE_THREAD__
#define N_OWNERS 200 /* one thread: nothing to find there */
#else
#define N_OWNERS 2000
#endif
#define N_ROUTES 40
#define MODEL_SLOTS (1U << 19) /* several times the prefixes it may hold */

struct model_prefix {
	uint8_t addr[16];
	uint8_t family, cidr;
	uint16_t owner; /* from 1; 0: slot is free or was removed */
	bool is_used;
};

static struct model_prefix *model;
static uint64_t model_filter[MODEL_SLOTS * 4 / 64]; /* a bit for each hash seen: most look-ups need no more */
static struct allowedips_owner *owners;

static void clear_host_bits(uint8_t addr[16], unsigned int cidr)
{
	for (unsigned int bit = cidr; bit < 128; bit++)
		addr[bit / 8] &= (uint8_t)~(0x80 >> bit % 8);
}

static uint32_t model_hash(const struct model_prefix *key)
{
	uint64_t half[2], hash;

	memcpy(half, key->addr, 16);
	hash = half[0] * 0x9e3779b97f4a7c15 ^ (half[1] + key->family + ((uint64_t)key->cidr << 8)) * 0xc2b2ae3d27d4eb4f;
	return (uint32_t)((hash ^ hash >> 29) * 0xbf58476d1ce4e5b9 >> 32);
}

/* The slot of this prefix, or the free one where it would be. Slots are never given back. */
static struct model_prefix *model_slot(const struct model_prefix *key, uint32_t hash)
{
	for (uint32_t slot = hash;; slot++) {
		struct model_prefix *at = &model[slot % MODEL_SLOTS];

		if (!at->is_used ||
		    (at->cidr == key->cidr && at->family == key->family && !memcmp(at->addr, key->addr, 16)))
			return at;
	}
}

static uint16_t model_get(const struct model_prefix *key)
{
	uint32_t hash = model_hash(key), bit = hash % (MODEL_SLOTS * 4);

	return model_filter[bit / 64] >> bit % 64 & 1 ? model_slot(key, hash)->owner : 0;
}

static void model_set(const struct model_prefix *key)
{
	uint32_t hash = model_hash(key), bit = hash % (MODEL_SLOTS * 4);

	model_filter[bit / 64] |= 1ULL << bit % 64;
	*model_slot(key, hash) = *key;
}

static uint16_t model_lookup(int family, const uint8_t addr[16])
{
	struct model_prefix key = { .family = (uint8_t)family };

	memcpy(key.addr, addr, 16);
	for (int cidr = family == AF_INET ? 32 : 128; cidr >= 0; cidr--) {
		uint16_t owner;

		key.cidr = (uint8_t)cidr;
		if (cidr < 128)
			key.addr[cidr / 8] &= (uint8_t)~(0x80 >> cidr % 8);
		owner = model_get(&key);
		if (owner)
			return owner;
	}
	return 0;
}

/* Often near an address drawn before, so that prefixes nest and look-ups meet them. */
static int random_addr(uint8_t addr[16])
{
	static uint8_t earlier[2][512][16];
	bool is_v6 = random_u32() & 1;
	uint8_t *near = earlier[is_v6][random_u32() % 512];

	memset(addr, 0, 16);
	for (int i = 0; i < (is_v6 ? 16 : 4); i++)
		addr[i] = (uint8_t)random_u32();
	if (random_u32() % 16) {
		unsigned int keep = random_u32() % (is_v6 ? 129 : 33);

		for (unsigned int bit = 0; bit < keep; bit++) {
			addr[bit / 8] &= (uint8_t)~(0x80 >> bit % 8);
			addr[bit / 8] |= near[bit / 8] & 0x80 >> bit % 8;
		}
	}
	if (random_u32() % 8 == 0)
		memcpy(near, addr, 16);
	return is_v6 ? AF_INET6 : AF_INET;
}

static void model_insert_one(struct allowedips *table, uint16_t owner)
{
	struct model_prefix key = { .owner = owner, .is_used = true };
	uint8_t addr[16];
	int family = random_addr(addr);
	unsigned int n_bits = family == AF_INET ? 32 : 128, n_lengths;

	key.family = (uint8_t)family;
	/* Long ones, but for a few: the shortest hide that others are missing. */
	n_lengths = random_u32() % 4096 ? n_bits * 3 / 4 : n_bits + 1;
	key.cidr = (uint8_t)(n_bits - random_u32() % n_lengths);
	memcpy(key.addr, addr, 16);
	clear_host_bits(key.addr, key.cidr);
	model_set(&key);
	assert_int_equal(allowedips_insert(table, family, addr, key.cidr, &owners[owner]), 0);
}

static void check_lookups(struct allowedips *table, unsigned int n, unsigned int *n_found)
{
	while (n--) {
		uint8_t addr[16];
		int family = random_addr(addr);
		uint16_t expected = model_lookup(family, addr);

		if (allowedips_lookup(table, family, addr) != (expected ? &owners[expected] : NULL))
			fail_msg("look-up differs from the model's");
		*n_found += expected != 0;
	}
}

/* What the owner's list says is what the model says. */
static void check_list(uint16_t owner)
{
	size_t n = 0;

	for (const struct allowed_ip *allowed_ip = owners[owner].first; allowed_ip;
	     allowed_ip = allowed_ip_next(allowed_ip), n++) {
		struct model_prefix key = { .is_used = true };

		key.family = (uint8_t)allowed_ip_get(allowed_ip, key.addr, &key.cidr);
		assert_int_equal(model_get(&key), owner);
	}
	assert_int_equal(n, owners[owner].n_allowed_ips);
}

/* Some of its prefixes, one by one, in list order. */
static void model_remove_some(struct allowedips *table, uint16_t owner)
{
	const struct allowed_ip *allowed_ip = owners[owner].first, *next;

	for (; allowed_ip; allowed_ip = next) {
		struct model_prefix key = { .is_used = true };

		next = allowed_ip_next(allowed_ip);
		key.family = (uint8_t)allowed_ip_get(allowed_ip, key.addr, &key.cidr);
		if (random_u32() % 4)
			continue;
		model_set(&key);
		assert_true(allowedips_remove(table, key.family, key.addr, key.cidr, &owners[owner]));
	}
}

static void model_remove_owner(struct allowedips *table, uint16_t owner)
{
	for (const struct allowed_ip *allowed_ip = owners[owner].first; allowed_ip;
	     allowed_ip = allowed_ip_next(allowed_ip)) {
		struct model_prefix key = { .is_used = true };

		key.family = (uint8_t)allowed_ip_get(allowed_ip, key.addr, &key.cidr);
		model_set(&key);
	}
	allowedips_remove_owner(table, &owners[owner]);
}

static void test_model(void **state)
{
	struct allowedips *table = allowedips_create();
	unsigned int n_found = 0;
	size_t n_left = 0;

	(void)state;
	print_message("seed %#llx\n", (unsigned long long)random_state);
	model = calloc(MODEL_SLOTS, sizeof(*model));
	owners = calloc(N_OWNERS + 1, sizeof(*owners));
	for (uint32_t i = 0; i < N_OWNERS * N_ROUTES; i++)
		model_insert_one(table, (uint16_t)(1 + i % N_OWNERS));
	for (uint16_t owner = 1; owner <= N_OWNERS; owner++) {
		check_list(owner);
		n_left += owners[owner].n_allowed_ips;
	}
	assert_in_range(table->n_nodes, n_left, 2 * n_left);
	check_lookups(table, 100 * N_OWNERS, &n_found);

	/* Mutations: prefixes go, come and move. */
	for (uint32_t i = 0; i < N_OWNERS; i++) {
		model_remove_some(table, (uint16_t)(1 + random_u32() % N_OWNERS));
		for (int j = 0; j < 10; j++)
			model_insert_one(table, (uint16_t)(1 + random_u32() % N_OWNERS));
		check_lookups(table, 100, &n_found);
	}
	for (uint16_t owner = 1; owner <= N_OWNERS; owner++) {
		check_list(owner);
		model_remove_owner(table, owner);
		check_lookups(table, 300, &n_found);
		if (owner % 100 == 0)
			allowedips_reclaim(table);
	}
	/* 500 for each owner, or 1,000,000. */
	print_message("%d look-ups, %u with an owner\n", 500 * N_OWNERS, n_found);
	assert_in_range(n_found, 50 * N_OWNERS, 450 * N_OWNERS);
	expect_empty(table);
	allowedips_free(table);
	free(owners);
	free(model);
}

/* ------ Changes between any two loads of a look-up ------ */

struct change {
	char what; /* '+' or '-', 0: end */
	int owner;
	const char *prefix;
};

/* Before, while and after the changes 10.1.1.1 belongs to owner 1 or 2. */
static const struct interrupted {
	struct change before[5], meanwhile[5];
} interrupted[] = {
	{ { { '+', 1, "10.1.1.0/24" } }, { { '+', 2, "10.1.1.0/24" } } },
	{ { { '+', 1, "10.1.1.0/24" } }, { { '+', 2, "10.1.0.0/16" }, { '-', 1, "10.1.1.0/24" } } },
	{ { { '+', 1, "10.1.0.0/16" } }, { { '+', 2, "10.1.1.0/24" }, { '-', 1, "10.1.0.0/16" } } },
	{ { { '+', 1, "10.1.1.0/24" }, { '+', 3, "10.1.2.0/24" } },
	  { { '+', 2, "10.0.0.0/8" }, { '-', 3, "10.1.2.0/24" }, { '-', 1, "10.1.1.0/24" } } },
	/* A node with two children, whose owner goes in place. */
	{ { { '+', 1, "10.1.1.0/24" }, { '+', 3, "10.1.1.128/25" }, { '+', 3, "10.1.1.64/26" } },
	  { { '+', 2, "10.1.0.0/16" }, { '-', 1, "10.1.1.0/24" } } },
	/* Owner 3's prefix is never the longest. */
	{ { { '+', 3, "10.0.0.0/8" }, { '+', 1, "10.1.1.0/24" }, { '+', 3, "10.1.1.128/25" },
	    { '+', 3, "10.1.1.64/26" } },
	  { { '+', 2, "10.1.0.0/16" }, { '-', 1, "10.1.1.0/24" } } },
	{ { { '+', 3, "10.0.0.0/8" }, { '+', 1, "10.1.1.0/24" } },
	  { { '+', 2, "10.1.1.1/32" }, { '-', 1, "10.1.1.0/24" }, { '+', 1, "10.1.0.0/16" },
	    { '-', 2, "10.1.1.1/32" } } },
};

static struct allowedips *interrupted_table;
static struct allowedips_owner interrupted_owners[4];
static const struct change *changes;

static void make_changes(void)
{
	for (const struct change *change = changes; change->what; change++) {
		struct allowedips_owner *owner = &interrupted_owners[change->owner];

		if (change->what == '+')
			insert(interrupted_table, change->prefix, owner);
		else
			assert_true(remove_prefix(interrupted_table, change->prefix, owner));
	}
}

/* False when the look-up is over before its nth load. */
static bool interrupt_at(const struct interrupted *script, unsigned int nth)
{
	const uint8_t addr[4] = { 10, 1, 1, 1 };
	struct allowedips_owner *owner;
	bool was_interrupted;

	memset(interrupted_owners, 0, sizeof(interrupted_owners));
	interrupted_table = allowedips_create();
	changes = script->before;
	make_changes();
	changes = script->meanwhile;
	interruption = make_changes;
	loads_to_interruption = nth;
	owner = allowedips_lookup(interrupted_table, AF_INET, addr);
	was_interrupted = !loads_to_interruption;
	loads_to_interruption = 0;
	if (owner != &interrupted_owners[1] && owner != &interrupted_owners[2])
		fail_msg("script %zu, changes before load %u: wrong owner", (size_t)(script - interrupted) + 1, nth);
	allowedips_free(interrupted_table);
	return was_interrupted;
}

static void test_changes_between_loads(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(interrupted) / sizeof(interrupted[0]); i++) {
		unsigned int nth = 1;

		while (interrupt_at(&interrupted[i], nth))
			nth++;
		assert_in_range(nth, 5, 20);
	}
}

/* ------ Readers beside the writer ------ */

#define N_READERS 2

struct shared {
	struct allowedips *table;
	struct allowedips_owner owners[4];
	unsigned int n_started;
	uint64_t n_lookups[N_READERS]; /* that each has ended */
};

struct reader {
	pthread_t thread;
	struct shared *shared;
	unsigned int number;
};

/* Returns how often 10.1.1.1 belonged to nobody or to one who never had it, or 10.2.0.1 to another than its owner. */
static void *reader_main(void *arg)
{
	struct reader *reader = arg;
	struct shared *shared = reader->shared;
	const uint8_t moving[4] = { 10, 1, 1, 1 }, resting[4] = { 10, 2, 0, 1 };
	uintptr_t n_wrong = 0;

	loads_to_dawdle = 100;
	__atomic_add_fetch(&shared->n_started, 1, __ATOMIC_ACQ_REL);
	while (!__atomic_load_n(&writer_is_done, __ATOMIC_ACQUIRE)) {
		struct allowedips_owner *owner = allowedips_lookup(shared->table, AF_INET, moving);

		n_wrong += owner != &shared->owners[1] && owner != &shared->owners[2];
		n_wrong += allowedips_lookup(shared->table, AF_INET, resting) != &shared->owners[0];
		__atomic_add_fetch(&shared->n_lookups[reader->number], 1, __ATOMIC_ACQ_REL);
	}
	return (void *)n_wrong;
}

/* Until each reader has ended the look-up it was in. A dawdling one goes on, as it sees the rounds go on. */
static void wait_for_readers(struct shared *shared)
{
	for (int i = 0; i < N_READERS; i++) {
		uint64_t n_lookups = __atomic_load_n(&shared->n_lookups[i], __ATOMIC_ACQUIRE);

		while (__atomic_load_n(&shared->n_lookups[i], __ATOMIC_ACQUIRE) == n_lookups) {
			__atomic_add_fetch(&n_writer_rounds, 1, __ATOMIC_RELAXED);
			sched_yield();
		}
	}
}

/*
 * At every moment 10.1.1.1 is in a prefix of owner 1 or 2, and in no longer one of others. The waits are where a reader
 * that came before the shorter prefix, and goes on after the longer one, would find nobody.
 */
static void write_beside_readers(struct shared *shared)
{
	struct allowedips *table = shared->table;

	for (int round = 0; round < 1000; round++) {
		/* The same prefix, between two owners. */
		insert(table, "10.1.1.0/24", &shared->owners[2]);
		insert(table, "10.1.1.0/24", &shared->owners[1]);
		/* A shorter one comes before the longer one goes, and the other way round: no gap between. */
		insert(table, "10.1.0.0/16", &shared->owners[2]);
		remove_prefix(table, "10.1.1.0/24", &shared->owners[1]);
		wait_for_readers(shared);
		insert(table, "10.1.1.0/24", &shared->owners[1]);
		remove_prefix(table, "10.1.0.0/16", &shared->owners[2]);
		/* The same above a node with two children, whose owner goes in place. */
		insert(table, "10.1.1.128/25", &shared->owners[3]);
		insert(table, "10.1.1.64/26", &shared->owners[3]);
		wait_for_readers(shared);
		insert(table, "10.1.0.0/16", &shared->owners[2]);
		remove_prefix(table, "10.1.1.0/24", &shared->owners[1]);
		wait_for_readers(shared);
		allowedips_reclaim(table); /* what was removed before the wait: this removal unlinked nothing */
		insert(table, "10.1.1.0/24", &shared->owners[1]);
		remove_prefix(table, "10.1.0.0/16", &shared->owners[2]);
		allowedips_remove_owner(table, &shared->owners[3]);
	}
}

static void test_readers_beside_writer(void **state)
{
	struct shared *shared = calloc(1, sizeof(*shared));
	struct reader readers[N_READERS];

	(void)state;
	shared->table = allowedips_create();
	insert(shared->table, "10.2.0.0/24", &shared->owners[0]);
	insert(shared->table, "10.1.1.0/24", &shared->owners[1]);
	for (unsigned int i = 0; i < N_READERS; i++) {
		readers[i].shared = shared;
		readers[i].number = i;
		assert_int_equal(pthread_create(&readers[i].thread, NULL, reader_main, &readers[i]), 0);
	}
	while (__atomic_load_n(&shared->n_started, __ATOMIC_ACQUIRE) < N_READERS)
		sched_yield();
	write_beside_readers(shared);
	__atomic_store_n(&writer_is_done, true, __ATOMIC_RELEASE);
	for (int i = 0; i < N_READERS; i++) {
		void *n_wrong;

		assert_int_equal(pthread_join(readers[i].thread, &n_wrong), 0);
		assert_int_equal((uintptr_t)n_wrong, 0);
	}
	for (int i = 0; i < 4; i++)
		allowedips_remove_owner(shared->table, &shared->owners[i]);
	expect_empty(shared->table);
	allowedips_free(shared->table);
	free(shared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_changes_between_loads),
		cmocka_unit_test(test_readers_beside_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
