/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What an agent leaves to its successor, in a memfd that the monitor holds but never reads: configuration, endpoints, and
 * the latest timestamp of each peer (without it a recorded initiation would replay after a restart and move the endpoint).
 * Never session keys, counters or cookie secrets.
 */
#ifndef WG_XDP_STATE_H
#define WG_XDP_STATE_H

#include <stdbool.h>

struct device;
struct device_config;

/* Under the device's lock. A save cut short leaves the one before intact. Returns 0 or -errno. */
int state_save(int fd, bool *second_half, struct device *device);

/*
 * Reads the configuration that was saved into an empty config (as a set request that replaces everything), and where the
 * next save must go to leave it intact. Returns 0, -ENOENT when there is none, -EPROTO, -ENOMEM.
 */
int state_load(int fd, struct device_config *config, bool *second_half);

/* After the configuration has been applied: the timestamps. Under the device's lock. */
int state_load_timestamps(int fd, struct device *device);

#endif
