/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Token buckets per source address for handshake messages under load: 20 a second, burst of 5, IPv6 by /64.
 *
 * Fixed memory: a table of RATELIMITER_MAX_ENTRIES sources keyed by a secret; a source that finds it full is refused.
 * Pure; the caller serialises access.
 */
#ifndef WG_XDP_RATELIMITER_H
#define WG_XDP_RATELIMITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RATELIMITER_PER_SECOND 20
#define RATELIMITER_BURST 5
#define RATELIMITER_MAX_ENTRIES 65536

struct ratelimiter;

/* hash_key is 16 random bytes. NULL when memory is short. Free with ratelimiter_free(). */
struct ratelimiter *ratelimiter_create(const uint8_t hash_key[static 16]);
void ratelimiter_free(struct ratelimiter *limiter);

/* addr_len is 4 or 16 bytes. */
bool ratelimiter_allow(struct ratelimiter *limiter, const uint8_t *addr, size_t addr_len, uint64_t now_ns);

/* Removes sources idle for a second or more; call about once a second while any are left. Returns how many are left. */
size_t ratelimiter_collect(struct ratelimiter *limiter, uint64_t now_ns);

#endif
