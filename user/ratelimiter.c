// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A chained hash table in two fixed arrays, hashed by a secret so that nobody can aim at one bucket.
 *
 * The property: a source gets RATELIMITER_BURST at once and RATELIMITER_PER_SECOND in the long run, whatever the others
 * do, and all sources together never get more memory. Pages are touched as they are used.
 */
#include "ratelimiter.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"
#include "timers.h"

#define N_BUCKETS RATELIMITER_MAX_ENTRIES
#define COST_NS (NS_PER_SECOND / RATELIMITER_PER_SECOND)
#define MAX_TOKENS_NS (COST_NS * RATELIMITER_BURST)

_Static_assert((N_BUCKETS & (N_BUCKETS - 1)) == 0, "buckets are found by masking");

/* What a bucket of tokens belongs to: an IPv4 address, or the upper half of an IPv6 one. No padding: it is hashed. */
struct source {
	uint8_t addr[8];
	uint64_t addr_len;
};

struct entry {
	struct source source;
	uint64_t last_ns;
	uint32_t tokens_ns;
	uint32_t next; /* entry number; 0: none */
};

struct ratelimiter {
	uint8_t hash_key[crypto_shorthash_KEYBYTES];
	uint32_t n_entries;
	uint32_t n_ever_used; /* entries beyond have never been touched */
	uint32_t free;        /* list of entry numbers; 0: none */
	uint32_t buckets[N_BUCKETS];
	struct entry entries[1 + RATELIMITER_MAX_ENTRIES]; /* number 0 stays unused */
};

struct ratelimiter *ratelimiter_create(const uint8_t hash_key[static 16])
{
	struct ratelimiter *limiter = calloc(1, sizeof(*limiter));

	_Static_assert(sizeof(limiter->hash_key) == 16, "SipHash key");
	if (limiter)
		memcpy(limiter->hash_key, hash_key, sizeof(limiter->hash_key));
	return limiter;
}

void ratelimiter_free(struct ratelimiter *limiter)
{
	if (!limiter)
		return;
	secret_wipe(limiter->hash_key, sizeof(limiter->hash_key));
	free(limiter);
}

static uint32_t *find_bucket(struct ratelimiter *limiter, const struct source *source)
{
	uint8_t hash[crypto_shorthash_BYTES];
	uint32_t number;

	crypto_shorthash(hash, (const uint8_t *)source, sizeof(*source), limiter->hash_key);
	memcpy(&number, hash, sizeof(number));
	return &limiter->buckets[number % N_BUCKETS];
}

/* 0 when all are in use. */
static uint32_t alloc_entry(struct ratelimiter *limiter)
{
	uint32_t number = limiter->free;

	if (number)
		limiter->free = limiter->entries[number].next;
	else if (limiter->n_ever_used < RATELIMITER_MAX_ENTRIES)
		number = ++limiter->n_ever_used;
	limiter->n_entries += number != 0;
	return number;
}

static void free_entry(struct ratelimiter *limiter, uint32_t number)
{
	limiter->entries[number].next = limiter->free;
	limiter->free = number;
	limiter->n_entries--;
}

/* A clock read before the previous one's reader got here brings no tokens. */
static bool take_token(struct entry *entry, uint64_t now_ns)
{
	uint64_t tokens_ns = entry->tokens_ns;

	if (now_ns > entry->last_ns) {
		uint64_t elapsed_ns = now_ns - entry->last_ns;

		tokens_ns = elapsed_ns < MAX_TOKENS_NS - tokens_ns ? tokens_ns + elapsed_ns : MAX_TOKENS_NS;
		entry->last_ns = now_ns;
	}
	entry->tokens_ns = (uint32_t)(tokens_ns >= COST_NS ? tokens_ns - COST_NS : tokens_ns);
	return tokens_ns >= COST_NS;
}

bool ratelimiter_allow(struct ratelimiter *limiter, const uint8_t *addr, size_t addr_len, uint64_t now_ns)
{
	struct source source = { .addr_len = addr_len };
	struct entry *entry;
	uint32_t *bucket, number;

	memcpy(source.addr, addr, addr_len == 4 ? 4 : 8);
	bucket = find_bucket(limiter, &source);
	for (number = *bucket; number; number = entry->next) {
		entry = &limiter->entries[number];
		if (!memcmp(&entry->source, &source, sizeof(source)))
			return take_token(entry, now_ns);
	}

	number = alloc_entry(limiter);
	if (!number)
		return false;
	limiter->entries[number] = (struct entry){
		.source = source,
		.last_ns = now_ns,
		.tokens_ns = MAX_TOKENS_NS - COST_NS,
		.next = *bucket,
	};
	*bucket = number;
	return true;
}

size_t ratelimiter_collect(struct ratelimiter *limiter, uint64_t now_ns)
{
	if (!limiter->n_entries)
		return 0;
	for (uint32_t *bucket = limiter->buckets; bucket < limiter->buckets + N_BUCKETS; bucket++) {
		uint32_t *link = bucket;

		while (*link) {
			uint32_t number = *link;
			struct entry *entry = &limiter->entries[number];

			if (timers_has_expired(entry->last_ns, 1, now_ns)) {
				*link = entry->next;
				free_entry(limiter, number);
			} else {
				link = &entry->next;
			}
		}
	}
	return limiter->n_entries;
}
