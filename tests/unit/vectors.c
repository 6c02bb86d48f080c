// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Test vectors from elsewhere. Nothing here shares code with what is tested: decoding is naive on purpose. */
#include "vectors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

const char *const vectors_low_order[VECTORS_LOW_ORDER] = {
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
};

const char *vectors_path(const char *name)
{
	const char *dir = getenv("WG_XDP_VECTORS");
	static char path[1024];

	snprintf(path, sizeof(path), "%s/%s", dir && *dir ? dir : "../shared/vectors", name);
	return path;
}

struct json_object *vectors_load(const char *name)
{
	const char *path = vectors_path(name);
	struct json_object *root;

	if (access(path, R_OK)) {
		print_message("no test vectors in %s (set WG_XDP_VECTORS to their directory): skipped\n", path);
		skip();
	}
	root = json_object_from_file(path);
	if (!root)
		fail_msg("%s: %s", path, json_util_get_last_err());
	return root;
}

struct json_object *vectors_member(struct json_object *object, const char *key)
{
	struct json_object *member;

	if (!json_object_object_get_ex(object, key, &member))
		fail_msg("test vector lacks \"%s\"", key);
	return member;
}

const char *vectors_string(struct json_object *object, const char *key)
{
	return json_object_get_string(vectors_member(object, key));
}

size_t vectors_from_hex(uint8_t *out, size_t size, const char *hex)
{
	size_t len = strlen(hex) / 2;
	unsigned int byte;

	if (strlen(hex) % 2 || len > size)
		fail_msg("%zu hexadecimal digits for %zu bytes", strlen(hex), size);
	for (size_t i = 0; i < len; i++) {
		if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
			fail_msg("not hexadecimal: %s", hex);
		out[i] = (uint8_t)byte;
	}
	return len;
}

size_t vectors_bytes(uint8_t *out, size_t size, struct json_object *object, const char *key)
{
	return vectors_from_hex(out, size, vectors_string(object, key));
}

void vectors_assert_hex(const void *bytes, size_t len, const char *hex)
{
	char *got = malloc(2 * len + 1);
	bool same;

	assert_non_null(got);
	got[0] = '\0';
	for (size_t i = 0; i < len; i++)
		sprintf(got + 2 * i, "%02x", ((const uint8_t *)bytes)[i]);
	same = !strcmp(got, hex);
	if (!same)
		print_error("got  %s\nwant %s\n", got, hex);
	free(got);
	assert_true(same);
}

uint64_t vectors_random(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

void vectors_random_bytes(void *out, size_t len, uint64_t *seed)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)out)[i] = (uint8_t)vectors_random(seed);
}
