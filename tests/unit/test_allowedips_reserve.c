// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Insertions for which memory has been set aside do not fail when there is none left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>

static unsigned int n_left; /* allocations that will succeed */

static void *limited_calloc(size_t n, size_t size)
{
	if (!n_left)
		return NULL;
	n_left--;
	return calloc(n, size);
}

#define calloc limited_calloc
#include "../../user/allowedips.c"
#undef calloc

/* In pairs that share a bit more and more: each second insertion makes a fork. */
static void insert(struct allowedips *table, struct allowedips_owner *owner, uint32_t n, int expected)
{
	uint32_t address = htobe32(n * 0x9e3779b1u);

	assert_int_equal(allowedips_insert(table, AF_INET, &address, 32, owner), expected);
	if (!expected)
		assert_ptr_equal(allowedips_lookup(table, AF_INET, &address), owner);
}

static void test_reserved_insertions_succeed(void **state)
{
	struct allowedips_owner owner = { 0 };
	struct allowedips *table;

	(void)state;
	n_left = 1 + 2000;
	table = allowedips_create();
	assert_non_null(table);
	assert_int_equal(allowedips_reserve(table, 1000), 0);
	assert_int_equal(n_left, 0);
	for (uint32_t i = 1; i <= 1000; i++)
		insert(table, &owner, i, 0);
	assert_int_equal(owner.n_allowed_ips, 1000);
	assert_int_equal(allowedips_reserve(table, 0), 0);
	assert_int_equal(table->n_spare, 0);
	insert(table, &owner, 1001, -ENOMEM);
	assert_int_equal(owner.n_allowed_ips, 1000);
	allowedips_remove_owner(table, &owner);
	allowedips_free(table);
}

static void test_reservation_that_fails(void **state)
{
	struct allowedips_owner owner = { 0 };
	struct allowedips *table;

	(void)state;
	n_left = 1 + 5;
	table = allowedips_create();
	assert_int_equal(allowedips_reserve(table, 3), -ENOMEM);
	assert_int_equal(allowedips_reserve(table, 2), 0); /* enough had been found for these */
	insert(table, &owner, 1, 0);
	insert(table, &owner, 2, 0);
	allowedips_remove_owner(table, &owner);
	allowedips_free(table); /* with what is left */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reserved_insertions_succeed),
		cmocka_unit_test(test_reservation_that_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
