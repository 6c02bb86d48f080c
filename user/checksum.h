/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The Internet checksum (RFC 1071).
 *
 * Sums are 64 bits wide, unfolded and in native byte order: 16-bit words are added as they lie in memory, in any order
 * and number (up to 4 GiB), and folded once at the end. All pieces but the last must have even lengths.
 */
#ifndef WG_XDP_CHECKSUM_H
#define WG_XDP_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

uint64_t checksum_add(uint64_t sum, const void *data, size_t len);

/* Copies and adds in one pass. dst and src do not overlap. */
uint64_t checksum_copy(uint64_t sum, void *dst, const void *src, size_t len);

/* The 16-bit ones' complement sum, ready to be stored as it is; what goes into a header is mostly its complement. */
uint16_t checksum_fold(uint64_t sum);

#endif
