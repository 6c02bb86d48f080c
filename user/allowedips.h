/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Cryptokey routing (paper 2): which peer owns an address, by longest prefix, for IPv4 and IPv6.
 *
 * Any number of threads look up while one (serialised by the caller) changes the table: a look-up sees the table before
 * or after a change, never between. What a change unlinks is kept until allowedips_reclaim(), which the caller calls
 * after a grace period. The table does not know peers: each embeds an allowedips_owner.
 */
#ifndef WG_XDP_ALLOWEDIPS_H
#define WG_XDP_ALLOWEDIPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct allowedips;
struct allowed_ip;

/* A peer's prefixes in the order they were given to it. */
struct allowedips_owner {
	struct allowed_ip *first, *last;
	size_t n_allowed_ips;
};

struct allowedips *allowedips_create(void);
/* No reader may be left. Owners are left with dangling lists: free the table last or remove each owner first. */
void allowedips_free(struct allowedips *table);

/*
 * addr is 4 (AF_INET) or 16 (AF_INET6) bytes; bits beyond cidr are ignored. A prefix that is in the table moves, to the
 * end of this owner's list; looked up meanwhile, it belongs to the old owner or the new one. Returns 0, -EINVAL for a
 * bad family or cidr, -ENOMEM (nothing changed).
 */
int allowedips_insert(struct allowedips *table, int family, const void *addr, uint8_t cidr,
		      struct allowedips_owner *owner);

/* After this, n insertions cannot fail. Returns 0 or -ENOMEM. 0 gives back what earlier calls have set aside. */
int allowedips_reserve(struct allowedips *table, size_t n);

/* Removes exactly this prefix, if owner has it; false if it has not. */
bool allowedips_remove(struct allowedips *table, int family, const void *addr, uint8_t cidr,
		       struct allowedips_owner *owner);

/* Removes all of an owner's prefixes. */
void allowedips_remove_owner(struct allowedips *table, struct allowedips_owner *owner);

/* Frees what removals have unlinked. Call after a grace period that began after the removals. */
void allowedips_reclaim(struct allowedips *table);

/* Longest match, or NULL. Safe against one concurrent writer. */
struct allowedips_owner *allowedips_lookup(const struct allowedips *table, int family, const void *addr);

/* By an inner packet's destination or source; the packet's version and header length have been checked. */
struct allowedips_owner *allowedips_lookup_dst(const struct allowedips *table, const uint8_t *inner);
struct allowedips_owner *allowedips_lookup_src(const struct allowedips *table, const uint8_t *inner);

/* Iteration over an owner's list: first, then next until NULL. Serialised with changes. */
const struct allowed_ip *allowed_ip_next(const struct allowed_ip *allowed_ip);
/* Writes 4 or 16 bytes of masked address; returns the family. */
int allowed_ip_get(const struct allowed_ip *allowed_ip, uint8_t addr[static 16], uint8_t *cidr);

#endif
