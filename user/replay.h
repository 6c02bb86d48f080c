/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The anti-replay window of one receiving key: RFC 6479 with a ring of 128 words, COUNTER_WINDOW_SIZE wide.
 *
 * The caller serialises access; a counter is offered only after its packet has authenticated.
 */
#ifndef WG_XDP_REPLAY_H
#define WG_XDP_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "messages.h"

#define REPLAY_WORDS (COUNTER_BITS_TOTAL / 64)

struct replay {
	uint64_t greatest; /* one more than the greatest accepted counter; 0: none accepted yet */
	uint64_t bitmap[REPLAY_WORDS];
};

void replay_init(struct replay *replay);

/* True, once, for each counter below REJECT_AFTER_MESSAGES that is not behind the window. */
bool replay_accept(struct replay *replay, uint64_t counter);

#endif
