// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The replay window against the kernel's own list of cases, and against an exact set of counters.
 *
 * WG_XDP_TEST_OPS sets the number of operations of the second (10^8; a tenth under sanitizers).
 */
#include "../../user/replay.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define DEFAULT_OPS 10000000ULL
#else
#define DEFAULT_OPS 100000000ULL
#endif

#define WINDOW ((uint64_t)COUNTER_WINDOW_SIZE)
#define LIM (WINDOW + 1)
#define REJECT REJECT_AFTER_MESSAGES

struct offer {
	uint64_t counter;
	bool accepted;
};

static void check(struct replay *replay, const struct offer *offer, const char *list, size_t number)
{
	if (replay_accept(replay, offer->counter) != offer->accepted)
		fail_msg("%s %zu: counter %llu should be %s", list, number, (unsigned long long)offer->counter,
			 offer->accepted ? "accepted" : "refused");
}

static void test_steps(void **state)
{
	static const struct offer steps[] = {
		{ 0, true },
		{ 1, true },
		{ 1, false },
		{ 9, true },
		{ 8, true },
		{ 7, true },
		{ 7, false },
		{ LIM, true },
		{ LIM - 1, true },
		{ LIM - 1, false },
		{ LIM - 2, true },
		{ 2, true },
		{ 2, false },
		{ LIM + 16, true },
		{ 3, false },
		{ LIM + 16, false },
		{ LIM * 4, true },
		{ LIM * 4 - (LIM - 1), true },
		{ 10, false },
		{ LIM * 4 - LIM, false },
		{ LIM * 4 - (LIM + 1), false },
		{ LIM * 4 - (LIM - 2), true },
		{ LIM * 4 + 1 - LIM, false },
		{ 0, false },
		{ REJECT, false },
		{ REJECT - 1, true },
		{ REJECT, false },
		{ REJECT - 1, false },
		{ REJECT - 2, true },
		{ REJECT + 1, false },
		{ REJECT + 2, false },
		{ REJECT - 2, false },
		{ REJECT - 3, true },
		{ 0, false },
	};
	struct replay replay;

	(void)state;
	assert_int_equal(sizeof(steps) / sizeof(steps[0]), 34);
	replay_init(&replay);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		check(&replay, &steps[i], "step", i + 1);
}

/* What others read: one more than the greatest accepted counter, and nothing refused moves it. */
static void test_greatest(void **state)
{
	struct replay replay;

	(void)state;
	replay_init(&replay);
	assert_true(replay.greatest == 0);
	assert_false(replay_accept(&replay, REJECT));
	assert_true(replay.greatest == 0);
	assert_true(replay_accept(&replay, 0));
	assert_true(replay.greatest == 1);
	assert_true(replay_accept(&replay, 70000));
	assert_true(replay_accept(&replay, 69999));
	assert_false(replay_accept(&replay, 69999));
	assert_false(replay_accept(&replay, 0));
	assert_true(replay.greatest == 70001);
}

/* All counters from first to last, upwards or downwards, are accepted; then come the others. */
static void test_sweeps(void **state)
{
	static const struct {
		uint64_t first, last;
		struct offer then[2];
	} sweeps[] = {
		{ 1, WINDOW, { { 0, true }, { 0, false } } },
		{ 2, WINDOW + 1, { { 1, true }, { 0, false } } },
		{ WINDOW, 0, { { 0, false }, { WINDOW, false } } },
		{ WINDOW + 1, 1, { { 0, false }, { 1, false } } },
		{ WINDOW, 1, { { WINDOW + 1, true }, { 0, false } } },
		{ WINDOW, 1, { { 0, true }, { WINDOW + 1, true } } },
	};
	struct replay replay;

	(void)state;
	for (size_t i = 0; i < sizeof(sweeps) / sizeof(sweeps[0]); i++) {
		uint64_t step = sweeps[i].first < sweeps[i].last ? 1 : -1ULL;

		replay_init(&replay);
		for (uint64_t c = sweeps[i].first; c != sweeps[i].last + step; c += step)
			check(&replay, &(struct offer){ c, true }, "sweep", i + 1);
		check(&replay, &sweeps[i].then[0], "after sweep", i + 1);
		check(&replay, &sweeps[i].then[1], "after sweep", i + 1);
	}
}

/* The edge of the window, at every position in a word and for every length of jump over the ring. */
static void test_edges(void **state)
{
	struct replay replay;

	(void)state;
	for (uint64_t base = 0; base < 2 * 64; base++) {
		for (uint64_t jump = 1; jump < 3 * COUNTER_BITS_TOTAL; jump += jump < 200 ? 1 : 61) {
			uint64_t greatest = base + jump, floor = greatest > WINDOW ? greatest - WINDOW : 0;

			replay_init(&replay);
			check(&replay, &(struct offer){ base, true }, "base", base);
			check(&replay, &(struct offer){ greatest, true }, "jump", jump);
			check(&replay, &(struct offer){ floor, floor != base }, "floor, jump", jump);
			if (floor)
				check(&replay, &(struct offer){ floor - 1, false }, "below floor, jump", jump);
			check(&replay, &(struct offer){ greatest - 1, greatest - 1 != base && greatest - 1 != floor },
			      "one before, jump", jump);
			check(&replay, &(struct offer){ greatest, false }, "again, jump", jump);
		}
	}
}

/* ------ The exact set ------ */

#define MODEL_SLOTS 16384 /* more than the window is wide: two counters of one slot are never both in it */

struct model {
	bool has_greatest;
	uint64_t greatest;
	uint64_t counter_plus_one[MODEL_SLOTS];
	uint64_t n_accepted, n_duplicate, n_behind, n_beyond;
};

static bool model_accept(struct model *model, uint64_t counter)
{
	uint64_t *slot = &model->counter_plus_one[counter % MODEL_SLOTS];

	if (counter >= REJECT) {
		model->n_beyond++;
		return false;
	}
	if (model->has_greatest && model->greatest > counter && model->greatest - counter > WINDOW) {
		model->n_behind++;
		return false;
	}
	if (*slot == counter + 1) {
		model->n_duplicate++;
		return false;
	}
	*slot = counter + 1;
	if (!model->has_greatest || counter > model->greatest)
		model->greatest = counter;
	model->has_greatest = true;
	model->n_accepted++;
	return true;
}

static void model_forget(struct model *model)
{
	model->has_greatest = false;
	memset(model->counter_plus_one, 0, sizeof(model->counter_plus_one));
}

static uint64_t random_state;

static uint64_t random_u64(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* Uniform enough below 2^32. */
static uint64_t random_below(uint64_t n)
{
	return (random_u64() >> 32) * n >> 32;
}

#define MAX_DEPTH 9000

/* One connection: counters leave in order and arrive in shuffled lots of depth, some twice, some after a gap. */
struct traffic {
	uint64_t next;
	uint64_t lot[MAX_DEPTH];
	uint64_t n_left;
	uint64_t depth;
	uint64_t duplicates; /* of 256 */
	uint64_t jumps;      /* of 65536 */
	uint64_t last;
};

static void traffic_start(struct traffic *traffic)
{
	uint64_t kind = random_below(4);

	if (kind == 0)
		traffic->next = REJECT - random_below(100000);
	else if (kind == 1)
		traffic->next = (1ULL << (14 + random_below(50))) - random_below(9000);
	else
		traffic->next = random_below(3);
	traffic->depth = 1 + random_below(random_below(2) ? MAX_DEPTH : 70);
	traffic->duplicates = random_below(52);
	traffic->jumps = random_below(3) ? 0 : random_below(60);
	traffic->last = traffic->next;
	traffic->n_left = 0;
}

static uint64_t traffic_next(struct traffic *traffic)
{
	uint64_t dice = random_u64(), jump = 1ULL << (dice >> 24) % 63, back, *chosen;

	if ((dice & 255) < traffic->duplicates) {
		back = dice >> 63 ? 0 : random_below(2 * WINDOW);
		return traffic->last - (back < traffic->last ? back : traffic->last);
	}
	if ((dice >> 8 & 65535) < traffic->jumps && traffic->next < REJECT && jump < REJECT - traffic->next)
		traffic->next += jump;
	if (!traffic->n_left) {
		if (traffic->next >= REJECT)
			traffic->next -= 1 + random_below(MAX_DEPTH);
		while (traffic->n_left < traffic->depth && traffic->next < UINT64_MAX)
			traffic->lot[traffic->n_left++] = traffic->next++;
	}
	chosen = &traffic->lot[random_below(traffic->n_left)];
	traffic->last = *chosen;
	*chosen = traffic->lot[--traffic->n_left];
	return traffic->last;
}

static void test_exact_set(void **state)
{
	const char *wanted = getenv("WG_XDP_TEST_OPS");
	uint64_t n_ops = wanted ? strtoull(wanted, NULL, 10) : DEFAULT_OPS, seed = 0x243f6a8885a308d3;
	static struct model model;
	static struct traffic traffic;
	struct replay replay;

	(void)state;
	random_state = seed;
	for (uint64_t i = 0; i < n_ops; i++) {
		uint64_t counter;

		if (i % 100000 == 0) {
			replay_init(&replay);
			model_forget(&model);
			traffic_start(&traffic);
		}
		counter = traffic_next(&traffic);
		if (replay_accept(&replay, counter) != model_accept(&model, counter))
			fail_msg("operation %llu, counter %llu, seed %#llx", (unsigned long long)i,
				 (unsigned long long)counter, (unsigned long long)seed);
	}
	print_message("seed %#llx: %llu accepted, refused: %llu duplicate, %llu behind, %llu beyond\n",
		      (unsigned long long)seed, (unsigned long long)model.n_accepted,
		      (unsigned long long)model.n_duplicate, (unsigned long long)model.n_behind,
		      (unsigned long long)model.n_beyond);
	/* The mix holds enough of each kind to mean something. */
	assert_true(model.n_accepted > n_ops / 4);
	if (n_ops >= 10000000)
		assert_true(model.n_duplicate > 10000 && model.n_behind > 10000 && model.n_beyond > 10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_steps),
		cmocka_unit_test(test_greatest),
		cmocka_unit_test(test_sweeps),
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_exact_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
