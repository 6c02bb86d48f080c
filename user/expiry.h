/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What happens when peers' timers expire. */
#ifndef WG_XDP_EXPIRY_H
#define WG_XDP_EXPIRY_H

#include <stdint.h>

struct worker;

/*
 * Handles every peer of the worker's device whose time has come; afterwards timer_queue_next() tells when to call again.
 * Control's alone. Takes the device's lock; sends.
 */
void expiry_run(struct worker *worker, uint64_t now_ns);

#endif
