/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Test vectors from elsewhere, for unit tests.
 *
 * They lie in $WG_XDP_VECTORS or, relative to the source tree, in ../shared/vectors. A test that finds none skips and
 * says so. A test program includes vectors.c, as it does the file it tests.
 */
#ifndef WG_XDP_TEST_VECTORS_H
#define WG_XDP_TEST_VECTORS_H

#include <stddef.h>
#include <stdint.h>

#include <json-c/json.h>

/* Where the file should be; static storage. */
const char *vectors_path(const char *name);

/* The parsed file, or the test skips. Free with json_object_put(). */
struct json_object *vectors_load(const char *name);

/* A member of an object; the test fails without it. */
struct json_object *vectors_member(struct json_object *object, const char *key);
const char *vectors_string(struct json_object *object, const char *key);

/* Hexadecimal text into bytes; returns their number, and fails the test if it is no such text or size is short. */
size_t vectors_from_hex(uint8_t *out, size_t size, const char *hex);

/* The same for a member of an object. */
size_t vectors_bytes(uint8_t *out, size_t size, struct json_object *object, const char *key);

/* Fails the test, showing both, unless the bytes are those of the text. */
void vectors_assert_hex(const void *bytes, size_t len, const char *hex);

/* Curve25519's points of low order, its twist's, and spellings of them that are not reduced. */
#define VECTORS_LOW_ORDER 8
extern const char *const vectors_low_order[VECTORS_LOW_ORDER];

/* A seeded generator (splitmix64): the same bytes in each run. */
uint64_t vectors_random(uint64_t *seed);
void vectors_random_bytes(void *out, size_t len, uint64_t *seed);

#endif
