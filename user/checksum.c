// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The Internet checksum, as fast as memory can be read.
 *
 * One body in vectors of 32 bytes; the compiler makes AVX2, two SSE2 registers or plain words of it. 32-bit words are
 * added into 64-bit lanes, so that no carry is ever lost and none need be looked at.
 */
#include "checksum.h"

#include <stdbool.h>
#include <string.h>

typedef uint64_t lanes __attribute__((vector_size(32)));
typedef uint64_t unaligned_lanes __attribute__((vector_size(32), aligned(1), may_alias));

static inline __attribute__((always_inline)) uint64_t add_word(uint64_t sum, uint64_t word)
{
	return sum + (uint32_t)word + (word >> 32);
}

/* The last 0 to 31 bytes; an odd last byte counts as a word whose second byte is zero. */
static inline __attribute__((always_inline)) uint64_t add_tail(uint64_t sum, uint8_t *dst, const uint8_t *src,
							       size_t len)
{
	uint64_t word;

	for (; len >= sizeof(word); len -= sizeof(word)) {
		memcpy(&word, src, sizeof(word));
		if (dst) {
			memcpy(dst, &word, sizeof(word));
			dst += sizeof(word);
		}
		sum = add_word(sum, word);
		src += sizeof(word);
	}
	for (size_t step = 4; step; step /= 2) {
		if (!(len & step))
			continue;
		word = 0;
		memcpy(&word, src, step);
		if (dst) {
			memcpy(dst, &word, step);
			dst += step;
		}
		sum = add_word(sum, word);
		src += step;
	}
	return sum;
}

static inline __attribute__((always_inline)) uint64_t add_all(uint64_t sum, uint8_t *dst, const uint8_t *src,
							      size_t len)
{
	lanes low = { 0 }, high = { 0 }, v, w;
	size_t i = 0;

	for (; i + 2 * sizeof(v) <= len; i += 2 * sizeof(v)) {
		v = *(const unaligned_lanes *)(src + i);
		w = *(const unaligned_lanes *)(src + i + sizeof(v));
		if (dst) {
			*(unaligned_lanes *)(dst + i) = v;
			*(unaligned_lanes *)(dst + i + sizeof(v)) = w;
		}
		low += (v & UINT32_MAX) + (w & UINT32_MAX);
		high += (v >> 32) + (w >> 32);
	}
	if (i + sizeof(v) <= len) {
		v = *(const unaligned_lanes *)(src + i);
		if (dst)
			*(unaligned_lanes *)(dst + i) = v;
		low += v & UINT32_MAX;
		high += v >> 32;
		i += sizeof(v);
	}
	low += high;
	sum += low[0] + low[1] + low[2] + low[3];
	return add_tail(sum, dst ? dst + i : NULL, src + i, len - i);
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static uint64_t copy_avx2(uint64_t sum, uint8_t *dst, const uint8_t *src, size_t len)
{
	return add_all(sum, dst, src, len);
}

__attribute__((target("avx2"))) static uint64_t add_avx2(uint64_t sum, const uint8_t *src, size_t len)
{
	return add_all(sum, NULL, src, len);
}

static bool has_avx2(void)
{
	return __builtin_cpu_supports("avx2");
}
#else
#define copy_avx2 copy_portable
#define add_avx2 add_portable
static bool has_avx2(void)
{
	return false;
}
#endif

static uint64_t copy_portable(uint64_t sum, uint8_t *dst, const uint8_t *src, size_t len)
{
	return add_all(sum, dst, src, len);
}

static uint64_t add_portable(uint64_t sum, const uint8_t *src, size_t len)
{
	return add_all(sum, NULL, src, len);
}

uint64_t checksum_add(uint64_t sum, const void *data, size_t len)
{
	return has_avx2() ? add_avx2(sum, data, len) : add_portable(sum, data, len);
}

uint64_t checksum_copy(uint64_t sum, void *dst, const void *src, size_t len)
{
	return has_avx2() ? copy_avx2(sum, dst, src, len) : copy_portable(sum, dst, src, len);
}

uint16_t checksum_fold(uint64_t sum)
{
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	return (sum & UINT16_MAX) + (sum >> 16);
}
