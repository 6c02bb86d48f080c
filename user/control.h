/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The control thread of the agent: configuration, timers, link state, disposal. It is the process's first thread, and the
 * only one that changes the device's configuration.
 */
#ifndef WG_XDP_CONTROL_H
#define WG_XDP_CONTROL_H

#include "device_config.h"
#include "uapi_text.h"

struct control;
struct privileged_start;

/* The agent's body; returns its exit code (enum agent_exit). */
int control_main(struct privileged_start *start);

/* ------ For UAPI ------ */

/* All or nothing. Returns 0 or -errno. */
int control_apply(struct control *control, const struct device_config *config);
/* Fills an empty config; 0 or -ENOMEM. */
int control_status(struct control *control, struct device_config *status);
/* Our own facts and counters, as key=value lines. */
void control_format_extra(struct control *control, struct uapi_text *text);

#endif
