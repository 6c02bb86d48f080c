// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The window as a ring of words: moving it forward clears whole words, so no bit is ever shifted (RFC 6479).
 *
 * The property: no counter is accepted twice, and none is refused that is new and at most COUNTER_WINDOW_SIZE behind
 * the greatest accepted one.
 */
#include "replay.h"

#include <string.h>

/* One word less than the ring: the word being filled next holds no counter that still counts. */
_Static_assert(COUNTER_WINDOW_SIZE + 64 == REPLAY_WORDS * 64, "a word of the ring is spare");
_Static_assert((REPLAY_WORDS & (REPLAY_WORDS - 1)) == 0, "words are found by masking");

void replay_init(struct replay *replay)
{
	memset(replay, 0, sizeof(*replay));
}

/* Clears the words that come into the window; what they held is behind it from now on. */
static void window_advance(struct replay *replay, uint64_t position)
{
	uint64_t first = replay->greatest / 64 + 1, last = position / 64;

	if (last >= first + REPLAY_WORDS)
		first = last - (REPLAY_WORDS - 1);
	for (uint64_t word = first; word <= last; word++)
		replay->bitmap[word % REPLAY_WORDS] = 0;
	replay->greatest = position;
}

bool replay_accept(struct replay *replay, uint64_t counter)
{
	uint64_t position, bit, *word;

	/* Also keeps the sums below from wrapping. */
	if (counter >= REJECT_AFTER_MESSAGES)
		return false;

	/* Bits and greatest count from one, so that "none yet" needs no flag. */
	position = counter + 1;
	if (position + COUNTER_WINDOW_SIZE < replay->greatest)
		return false;
	if (position > replay->greatest)
		window_advance(replay, position);

	word = &replay->bitmap[position / 64 % REPLAY_WORDS];
	bit = 1ULL << (position % 64);
	if (*word & bit)
		return false;
	*word |= bit;
	return true;
}
