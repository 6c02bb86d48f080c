/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Going to the background, with a parent that stays until it is known how the start went.
 *
 * Until then messages of the child, and of its children, come out of the parent's stderr: afterwards nothing of ours
 * holds the terminal or the pipe of whoever has started us.
 */
#ifndef WG_XDP_BACKGROUND_H
#define WG_XDP_BACKGROUND_H

#include <stdbool.h>

struct background {
	int ready_fd; /* -1: nobody waits */
	bool keep_output;
};

enum background_role {
	BACKGROUND_FAILED, /* there is no child; why was said on stderr */
	BACKGROUND_CHILD,  /* has a session of its own, and no stdin */
	BACKGROUND_PARENT, /* the child has called background_ready(), or has ended */
};

/* keep_output: stdout and stderr stay what they are, for good. *exit_code gets the parent's, 0 or 1. */
enum background_role background_fork(struct background *background, bool keep_output, int *exit_code);
/* Lets the parent go, and, without keep_output, sends all further output to /dev/null. */
void background_ready(struct background *background);

#endif
