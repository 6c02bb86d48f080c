/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The UAPI socket of a tunnel as a file: who may have it, how it appears, how its end is noticed.
 *
 * It appears by rename(), listening: wg(8) unlinks a socket that refuses a connection. A lock file beside it, held by
 * the monitor and its agent, lets one process have a tunnel's name, also while a dead one's file still lies there.
 */
#ifndef WG_XDP_UAPI_LISTENER_H
#define WG_XDP_UAPI_LISTENER_H

#include <stdbool.h>
#include <sys/un.h>

#define UAPI_PATH_SIZE sizeof(((struct sockaddr_un *)0)->sun_path)

struct uapi_listener {
	char path[UAPI_PATH_SIZE];
	char bound_path[UAPI_PATH_SIZE]; /* while it is not yet listening */
	char lock_path[UAPI_PATH_SIZE];
	int lock_fd;
	int fd;         /* listening */
	int file_fd;    /* the file itself: while it is open, its inode number is nobody else's; -1: nothing to watch */
	int inotify_fd; /* readable when something has happened in the directory; -1: nothing to watch */
};

/*
 * Makes the directory and takes the lock, waiting up to a second for one who is going. Returns 0 or -errno: -EBUSY the
 * tunnel runs; -EACCES the directory is writable by others than root.
 */
int uapi_listener_lock(struct uapi_listener *listener, const char *directory, const char *tunnel);
/* With the lock: -EADDRINUSE: another program serves the socket. -EEXIST: in its place lies something else. */
int uapi_listener_check(const struct uapi_listener *listener);
/* With the lock, and checked: binds, listens, appears, in place of a socket that nobody serves. */
int uapi_listener_open(struct uapi_listener *listener);
/* With the lock: uses a listening socket somebody else has made. Its file is watched if it is the tunnel's. */
int uapi_listener_adopt(struct uapi_listener *listener, int fd);
/* Takes the waiting events: is the file still there, and still ours? */
bool uapi_listener_is_there(const struct uapi_listener *listener);
/* Removes the file if it is still ours, and gives up the lock. */
void uapi_listener_close(struct uapi_listener *listener);

#endif
