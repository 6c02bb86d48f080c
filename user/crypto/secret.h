/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Memory for secrets: one arena that is locked, guarded at both ends, left out of core dumps and emptied in children.
 *
 * One arena, because a guarded allocation per key would exhaust the kernel's map count at some thousand peers.
 */
#ifndef WG_XDP_SECRET_H
#define WG_XDP_SECRET_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Prepares the arena, size_bytes of address space, and libsodium. Pages are locked as they are handed out; under
 * CAP_IPC_LOCK the permission for all of them is obtained here. Call once, before threads start. Returns 0 or -errno;
 * -ENOMEM or -EPERM when memory cannot be locked (RLIMIT_MEMLOCK), -EALREADY the second time.
 */
int secret_init(size_t size_bytes);

/*
 * Zeroed memory, aligned to 64 bytes; NULL, with errno, when the arena is full or its pages cannot be locked. Thread
 * safe. Free with secret_free().
 */
void *secret_alloc(size_t size);

/* Wipes and gives back; NULL is legal. size is what was asked for. */
void secret_free(void *ptr, size_t size);

/* Not optimised away. */
void secret_wipe(void *ptr, size_t size);

/* Constant time. */
bool secret_equal(const void *a, const void *b, size_t size);
bool secret_is_zero(const void *a, size_t size);

#endif
