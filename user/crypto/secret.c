// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The arena for secrets.
 *
 * What has been handed out is one contiguous run at the start of the arena, so the kernel keeps it in a constant
 * number of mappings however many keys there are. Behind it, up to the far guard page, nothing is accessible.
 */
#define _GNU_SOURCE
#include "crypto/secret.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define SECRET_ALIGN 64UL
#define SECRET_SLAB_SIZE (64UL << 10) /* a multiple of every page size in use */

/*
 * Blocks up to SECRET_SMALL_SIZE are multiples of SECRET_ALIGN, with a free list for each; larger ones are powers of
 * two. Nothing is ever joined or split: the agent allocates few kinds of object, over and over.
 */
#define SECRET_SMALL_SIZE 4096UL
#define SECRET_SMALL_CLASSES (SECRET_SMALL_SIZE / SECRET_ALIGN)
#define SECRET_LARGE_CLASSES 20
#define SECRET_MAX_SIZE (SECRET_SMALL_SIZE << SECRET_LARGE_CLASSES)

struct secret_free_block {
	struct secret_free_block *next;
};

static struct {
	pthread_mutex_t lock;
	uint8_t *base;
	size_t size;   /* address space, without the guards */
	size_t locked; /* from base on: accessible and locked */
	size_t used;   /* from base on: handed out at least once */
	bool locks_on_fault; /* the whole arena was locked at the start, page by page as it is touched */
	struct secret_free_block *free[SECRET_SMALL_CLASSES + SECRET_LARGE_CLASSES];
} arena = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* The class of a size, and what its blocks really measure. */
static size_t secret_class(size_t size, size_t *block_size)
{
	size_t class = SECRET_SMALL_CLASSES;

	if (!size)
		size = 1;
	if (size <= SECRET_SMALL_SIZE) {
		*block_size = (size + SECRET_ALIGN - 1) & ~(SECRET_ALIGN - 1);
		return *block_size / SECRET_ALIGN - 1;
	}
	for (*block_size = SECRET_SMALL_SIZE * 2; *block_size < size; *block_size *= 2)
		class++;
	return class;
}

/* Makes the first size bytes of the arena usable; errno says why not. */
static bool secret_lock_up_to(size_t size)
{
	size_t goal = (size + SECRET_SLAB_SIZE - 1) & ~(SECRET_SLAB_SIZE - 1);
	uint8_t *start = arena.base + arena.locked;
	size_t len;
	int err;

	if (size <= arena.locked)
		return true;
	len = goal - arena.locked;
	if (mprotect(start, len, PROT_READ | PROT_WRITE))
		return false;
	if (!arena.locks_on_fault && mlock(start, len)) {
		err = errno;
		mprotect(start, len, PROT_NONE);
		errno = err;
		return false;
	}
	arena.locked = goal;
	return true;
}

int secret_init(size_t size_bytes)
{
	size_t guard = (size_t)sysconf(_SC_PAGESIZE), map_size;
	uint8_t *map;
	int err;

	if (arena.base)
		return -EALREADY;
	if (!size_bytes || size_bytes > SIZE_MAX / 2)
		return -EINVAL;
	if (sodium_init() < 0)
		return -ENOSYS;
	size_bytes = (size_bytes + SECRET_SLAB_SIZE - 1) & ~(SECRET_SLAB_SIZE - 1);
	map_size = size_bytes + 2 * guard;
	map = mmap(NULL, map_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED)
		return -errno;
	if (madvise(map, map_size, MADV_DONTDUMP) || madvise(map, map_size, MADV_WIPEONFORK))
		goto err_unmap;

	arena.base = map + guard;
	arena.size = size_bytes;
	/*
	 * With CAP_IPC_LOCK now, the limit on locked memory does not apply, and later, when the capability has been
	 * given up, no further permission is needed.
	 */
	arena.locks_on_fault = !mlock2(arena.base, size_bytes, MLOCK_ONFAULT);
	/* Lock something at once: who may lock nothing learns it at the start, not at the first peer. */
	if (!secret_lock_up_to(SECRET_SLAB_SIZE))
		goto err_unmap;
	return 0;

err_unmap:
	err = errno;
	arena.base = NULL;
	arena.size = 0;
	munmap(map, map_size);
	return -err;
}

static void *secret_carve(size_t block_size)
{
	void *block;

	if (!arena.base || block_size > arena.size - arena.used) {
		errno = ENOMEM;
		return NULL;
	}
	if (!secret_lock_up_to(arena.used + block_size))
		return NULL;
	block = arena.base + arena.used;
	arena.used += block_size;
	return block;
}

void *secret_alloc(size_t size)
{
	struct secret_free_block *block;
	size_t class, block_size;

	if (size > SECRET_MAX_SIZE) {
		errno = ENOMEM;
		return NULL;
	}
	class = secret_class(size, &block_size);

	pthread_mutex_lock(&arena.lock);
	block = arena.free[class];
	if (block) {
		arena.free[class] = block->next;
		block->next = NULL; /* all else was wiped by secret_free() */
	} else {
		block = secret_carve(block_size);
	}
	pthread_mutex_unlock(&arena.lock);
	return block;
}

void secret_free(void *ptr, size_t size)
{
	struct secret_free_block *block = ptr;
	size_t class, block_size;

	if (!ptr)
		return;
	class = secret_class(size, &block_size);
	secret_wipe(ptr, block_size);

	pthread_mutex_lock(&arena.lock);
	block->next = arena.free[class];
	arena.free[class] = block;
	pthread_mutex_unlock(&arena.lock);
}

void secret_wipe(void *ptr, size_t size)
{
	sodium_memzero(ptr, size);
}

bool secret_equal(const void *a, const void *b, size_t size)
{
	return !sodium_memcmp(a, b, size);
}

bool secret_is_zero(const void *a, size_t size)
{
	return sodium_is_zero(a, size);
}
