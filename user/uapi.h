/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The cross-platform UAPI on its unix socket, as wg(8) and wgctrl expect it, and one operation of our own (wg_xdp=1).
 *
 * Runs on the control thread and never blocks it: connections are non-blocking, of limited number, and closed when idle.
 */
#ifndef WG_XDP_UAPI_H
#define WG_XDP_UAPI_H

#include <stdint.h>

struct control;
struct uapi_server;

/*
 * Serves listen_fd (owned from now on) through epoll_fd: events carry a pointer that uapi_handle_event() takes. NULL when
 * memory is short.
 */
struct uapi_server *uapi_server_create(struct control *control, int listen_fd, int epoll_fd);
void uapi_server_free(struct uapi_server *server);

/* An event whose data.ptr is not one of the caller's own: a connection's, or the server itself for the listener. */
void uapi_handle_event(struct uapi_server *server, void *ptr);

/* Closes connections that have been silent too long. Returns how many are left: 0 when it need not be called again. */
unsigned int uapi_close_idle(struct uapi_server *server, uint64_t now_ns);

#endif
