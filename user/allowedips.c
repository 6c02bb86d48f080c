// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Two path-compressed binary tries: a node is a prefix, its children are longer ones that differ in the bit after it.
 *
 * The property: a look-up gives an owner that was the right one at some moment while it ran. Of a node that readers see
 * only the two child links and the owner change, one store at a time, and every state between is a whole table.
 */
#include "allowedips.h"

#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* An address of either family, its first bit the highest of hi. IPv4 is in the upper half of hi. */
struct bits {
	uint64_t hi, lo;
};

/* A node of a trie. One without an owner is a fork: it has two children, or it would not be there. */
struct allowed_ip {
	struct allowed_ip *child[2];    /* read by look-ups */
	struct allowedips_owner *owner; /* read by look-ups */
	struct bits prefix;             /* zero beyond cidr; never changes, nor do the next two */
	uint8_t cidr;
	bool is_v6;
	struct allowed_ip *parent;      /* the writer's, as all that follows; once retired: the next retired one */
	struct allowed_ip *prev, *next; /* in the owner's list */
};

struct allowedips {
	uint64_t n_removals;        /* see allowedips_lookup() */
	struct allowed_ip *root[2]; /* IPv4, IPv6 */
	struct allowed_ip *retired;
	struct allowed_ip *spare;   /* by parent, as retired is */
	size_t n_nodes, n_retired;  /* in the tries; unlinked and not yet freed */
	size_t n_spare;
};

static unsigned int max_cidr(bool is_v6)
{
	return is_v6 ? 128 : 32;
}

/* addr may be unaligned. */
static struct bits load_bits(bool is_v6, const void *addr)
{
	uint8_t bytes[16] = { 0 };
	struct bits bits;

	memcpy(bytes, addr, is_v6 ? 16 : 4);
	memcpy(&bits.hi, bytes, 8);
	memcpy(&bits.lo, bytes + 8, 8);
	bits.hi = be64toh(bits.hi);
	bits.lo = be64toh(bits.lo);
	return bits;
}

/* The shifts stay below 64 for every cidr from 0 to 128. */
static struct bits mask_bits(struct bits bits, unsigned int cidr)
{
	if (cidr <= 64) {
		bits.hi = cidr ? bits.hi >> (64 - cidr) << (64 - cidr) : 0;
		bits.lo = 0;
	} else {
		bits.lo = bits.lo >> (128 - cidr) << (128 - cidr);
	}
	return bits;
}

static bool bits_match(struct bits a, struct bits b, unsigned int cidr)
{
	if (!cidr)
		return true;
	if (cidr <= 64)
		return !((a.hi ^ b.hi) >> (64 - cidr));
	return a.hi == b.hi && !((a.lo ^ b.lo) >> (128 - cidr));
}

/* The bit after the first cidr ones, cidr being less than 128. */
static unsigned int bit_after(struct bits bits, unsigned int cidr)
{
	return cidr < 64 ? bits.hi >> (63 - cidr) & 1 : bits.lo >> (127 - cidr) & 1;
}

/* How many bits from the first one on are the same, at most limit. */
static unsigned int n_common_bits(struct bits a, struct bits b, unsigned int limit)
{
	unsigned int n = 128;

	if (a.hi != b.hi)
		n = (unsigned int)__builtin_clzll(a.hi ^ b.hi);
	else if (a.lo != b.lo)
		n = 64 + (unsigned int)__builtin_clzll(a.lo ^ b.lo);
	return n < limit ? n : limit;
}

struct allowedips *allowedips_create(void)
{
	return calloc(1, sizeof(struct allowedips));
}

/* Leaves first, upwards again by the parents: no stack, however deep. */
static void free_trie(struct allowed_ip *node)
{
	while (node) {
		struct allowed_ip *parent = node->parent, *child = node->child[0] ? node->child[0] : node->child[1];

		if (child) {
			node = child;
			continue;
		}
		if (parent)
			parent->child[parent->child[0] != node] = NULL;
		free(node);
		node = parent;
	}
}

void allowedips_free(struct allowedips *table)
{
	if (!table)
		return;
	free_trie(table->root[0]);
	free_trie(table->root[1]);
	allowedips_reclaim(table);
	allowedips_reserve(table, 0);
	free(table);
}

void allowedips_reclaim(struct allowedips *table)
{
	while (table->retired) {
		struct allowed_ip *node = table->retired;

		table->retired = node->parent;
		table->n_retired--;
		free(node);
	}
}

static void owner_append(struct allowedips_owner *owner, struct allowed_ip *node)
{
	node->prev = owner->last;
	node->next = NULL;
	if (owner->last)
		owner->last->next = node;
	else
		owner->first = node;
	owner->last = node;
	owner->n_allowed_ips++;
}

static void owner_unlink(struct allowedips_owner *owner, struct allowed_ip *node)
{
	if (node->prev)
		node->prev->next = node->next;
	else
		owner->first = node->next;
	if (node->next)
		node->next->prev = node->prev;
	else
		owner->last = node->prev;
	owner->n_allowed_ips--;
}

static struct allowed_ip *take_spare(struct allowedips *table)
{
	struct allowed_ip *node = table->spare;

	table->spare = node->parent;
	table->n_spare--;
	node->parent = NULL;
	return node;
}

/* An insertion takes at most two nodes: the leaf, and a fork above it. */
int allowedips_reserve(struct allowedips *table, size_t n)
{
	while (!n && table->spare)
		free(take_spare(table));
	while (table->n_spare < 2 * n) {
		struct allowed_ip *node = calloc(1, sizeof(*node));

		if (!node)
			return -ENOMEM;
		node->parent = table->spare;
		table->spare = node;
		table->n_spare++;
	}
	return 0;
}

static struct allowed_ip *create_node(struct allowedips *table, bool is_v6, struct bits prefix, unsigned int cidr)
{
	struct allowed_ip *node = table->spare ? take_spare(table) : calloc(1, sizeof(*node));

	if (!node)
		return NULL;
	node->prefix = mask_bits(prefix, cidr);
	node->cidr = (uint8_t)cidr;
	node->is_v6 = is_v6;
	return node;
}

/* Where a descent ended: a node of exactly the prefix, or the link at which it is missing. */
struct place {
	struct allowed_ip *parent; /* NULL: the link is the root */
	struct allowed_ip **link;
	struct allowed_ip *node;   /* what the link holds */
	bool is_exact;
};

static struct place find_place(struct allowedips *table, bool is_v6, struct bits prefix, unsigned int cidr)
{
	struct place place = { .link = &table->root[is_v6], .node = table->root[is_v6] };

	while (place.node && place.node->cidr <= cidr && bits_match(place.node->prefix, prefix, place.node->cidr)) {
		if (place.node->cidr == cidr) {
			place.is_exact = true;
			break;
		}
		place.parent = place.node;
		place.link = &place.parent->child[bit_after(prefix, place.parent->cidr)];
		place.node = *place.link;
	}
	return place;
}

/* Hangs child below a node that no reader can see yet. */
static void adopt(struct allowed_ip *parent, struct allowed_ip *child)
{
	parent->child[bit_after(child->prefix, parent->cidr)] = child;
	child->parent = parent;
}

/* Puts a complete node (NULL: none) in a link that readers see. */
static void publish(struct allowed_ip **link, struct allowed_ip *node, struct allowed_ip *parent)
{
	if (node)
		node->parent = parent;
	__atomic_store_n(link, node, __ATOMIC_RELEASE);
}

/* Adds a leaf where the descent ended; above what is there, or beside it below a new fork. Returns 0 or -ENOMEM. */
static int insert_at(struct allowedips *table, const struct place *place, struct allowed_ip *leaf)
{
	struct allowed_ip *there = place->node, *fork;
	unsigned int n_common;

	if (!there) {
		publish(place->link, leaf, place->parent);
		table->n_nodes++;
		return 0;
	}
	n_common = n_common_bits(leaf->prefix, there->prefix, leaf->cidr);
	if (n_common == leaf->cidr) {
		adopt(leaf, there);
		publish(place->link, leaf, place->parent);
		table->n_nodes++;
		return 0;
	}
	fork = create_node(table, leaf->is_v6, leaf->prefix, n_common);
	if (!fork)
		return -ENOMEM;
	adopt(fork, there);
	adopt(fork, leaf);
	publish(place->link, fork, place->parent);
	table->n_nodes += 2;
	return 0;
}

static int check_prefix(int family, uint8_t cidr)
{
	if (family != AF_INET && family != AF_INET6)
		return -EINVAL;
	return cidr > max_cidr(family == AF_INET6) ? -EINVAL : 0;
}

int allowedips_insert(struct allowedips *table, int family, const void *addr, uint8_t cidr,
		      struct allowedips_owner *owner)
{
	bool is_v6 = family == AF_INET6;
	int err = check_prefix(family, cidr);
	struct allowed_ip *node;
	struct bits prefix;
	struct place place;

	if (err)
		return err;
	prefix = mask_bits(load_bits(is_v6, addr), cidr);
	place = find_place(table, is_v6, prefix, cidr);

	if (place.is_exact) {
		node = place.node;
		if (node->owner)
			owner_unlink(node->owner, node);
		__atomic_store_n(&node->owner, owner, __ATOMIC_RELEASE);
	} else {
		node = create_node(table, is_v6, prefix, cidr);
		if (!node)
			return -ENOMEM;
		node->owner = owner;
		err = insert_at(table, &place, node);
		if (err) {
			free(node);
			return err;
		}
	}
	owner_append(owner, node);
	return 0;
}

static struct allowed_ip **link_to(struct allowedips *table, const struct allowed_ip *node)
{
	struct allowed_ip *parent = node->parent;

	return parent ? &parent->child[bit_after(node->prefix, parent->cidr)] : &table->root[node->is_v6];
}

/* Takes out a node with at most one child, which takes its place. Readers on the node go on from there as before. */
static void splice_out(struct allowedips *table, struct allowed_ip *node)
{
	struct allowed_ip *child = node->child[0] ? node->child[0] : node->child[1];

	publish(link_to(table, node), child, node->parent);
	node->parent = table->retired;
	table->retired = node;
	table->n_retired++;
	table->n_nodes--;
}

/* A node with two children stays, as the fork between them; a fork left with one child goes too. */
static void remove_node(struct allowedips *table, struct allowed_ip *node)
{
	bool is_leaf = !node->child[0] && !node->child[1];
	struct allowed_ip *parent = node->parent;

	owner_unlink(node->owner, node);
	__atomic_store_n(&table->n_removals, table->n_removals + 1, __ATOMIC_RELEASE);
	if (node->child[0] && node->child[1]) {
		__atomic_store_n(&node->owner, NULL, __ATOMIC_RELEASE);
		return;
	}
	splice_out(table, node);
	if (is_leaf && parent && !parent->owner)
		splice_out(table, parent);
}

bool allowedips_remove(struct allowedips *table, int family, const void *addr, uint8_t cidr,
		       struct allowedips_owner *owner)
{
	bool is_v6 = family == AF_INET6;
	struct place place;

	if (check_prefix(family, cidr))
		return false;
	place = find_place(table, is_v6, mask_bits(load_bits(is_v6, addr), cidr), cidr);
	if (!place.is_exact || !owner || place.node->owner != owner)
		return false;
	remove_node(table, place.node);
	return true;
}

void allowedips_remove_owner(struct allowedips *table, struct allowedips_owner *owner)
{
	while (owner->first)
		remove_node(table, owner->first);
}

/* One descent. An owner met is good until a longer prefix has one. */
static struct allowedips_owner *descend(struct allowed_ip *const *root, struct bits addr, unsigned int cidr_limit)
{
	const struct allowed_ip *node = __atomic_load_n(root, __ATOMIC_ACQUIRE);
	struct allowedips_owner *found = NULL, *owner;

	while (node && bits_match(node->prefix, addr, node->cidr)) {
		owner = __atomic_load_n(&node->owner, __ATOMIC_ACQUIRE);
		if (owner)
			found = owner;
		if (node->cidr == cidr_limit)
			break;
		node = __atomic_load_n(&node->child[bit_after(addr, node->cidr)], __ATOMIC_ACQUIRE);
	}
	return found;
}

/*
 * A reader may miss a prefix inserted above the node it stands on. That is as if it had come earlier; unless it also
 * sees the removal, made later, of a longer one: together they never were the table. So a descent that a removal falls
 * into is made again.
 */
static struct allowedips_owner *lookup(const struct allowedips *table, bool is_v6, const void *addr)
{
	uint64_t n_removals = __atomic_load_n(&table->n_removals, __ATOMIC_ACQUIRE), before;
	struct bits bits = load_bits(is_v6, addr);
	struct allowedips_owner *owner;

	do {
		before = n_removals;
		owner = descend(&table->root[is_v6], bits, max_cidr(is_v6));
		n_removals = __atomic_load_n(&table->n_removals, __ATOMIC_ACQUIRE);
	} while (n_removals != before);
	return owner;
}

struct allowedips_owner *allowedips_lookup(const struct allowedips *table, int family, const void *addr)
{
	if (family != AF_INET && family != AF_INET6)
		return NULL;
	return lookup(table, family == AF_INET6, addr);
}

/* Offsets of the two addresses in the two headers. */
static struct allowedips_owner *lookup_inner(const struct allowedips *table, const uint8_t *inner,
					     unsigned int v4_offset, unsigned int v6_offset)
{
	switch (inner[0] >> 4) {
	case 4:
		return lookup(table, false, inner + v4_offset);
	case 6:
		return lookup(table, true, inner + v6_offset);
	default:
		return NULL;
	}
}

struct allowedips_owner *allowedips_lookup_dst(const struct allowedips *table, const uint8_t *inner)
{
	return lookup_inner(table, inner, 16, 24);
}

struct allowedips_owner *allowedips_lookup_src(const struct allowedips *table, const uint8_t *inner)
{
	return lookup_inner(table, inner, 12, 8);
}

const struct allowed_ip *allowed_ip_next(const struct allowed_ip *allowed_ip)
{
	return allowed_ip->next;
}

int allowed_ip_get(const struct allowed_ip *allowed_ip, uint8_t addr[static 16], uint8_t *cidr)
{
	uint64_t hi = htobe64(allowed_ip->prefix.hi), lo = htobe64(allowed_ip->prefix.lo);
	uint8_t bytes[16];

	memcpy(bytes, &hi, 8);
	memcpy(bytes + 8, &lo, 8);
	memcpy(addr, bytes, allowed_ip->is_v6 ? 16 : 4);
	*cidr = allowed_ip->cidr;
	return allowed_ip->is_v6 ? AF_INET6 : AF_INET;
}
