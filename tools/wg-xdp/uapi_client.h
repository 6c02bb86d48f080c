/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The command line's end of the UAPI socket: any user-space WireGuard that listens there, not only ours.
 *
 * A socket that refuses a connection is left alone: it may belong to an agent that is about to be restarted.
 */
#ifndef WG_XDP_UAPI_CLIENT_H
#define WG_XDP_UAPI_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "device_config.h"

/* Where the NAME.sock are; /var/run/wireguard unless told otherwise (tests). directory must stay valid. */
void uapi_client_set_directory(const char *directory);

/* May this be a tunnel's name: 1-15 of a-z A-Z 0-9 _ = + . -, and not "." or ".."? */
bool uapi_client_name_is_valid(const char *name);

/*
 * Fills *status, which device_config_deinit() frees, also after an error. Returns 0 or -errno: -ENODEV when nobody
 * listens for that name, -EACCES without the rights, -EPROTO for an answer that makes no sense, else what it answered.
 */
int uapi_client_get(const char *name, struct device_config *status);

/* Returns 0 or -errno, as above; the errno of the answer is accepted with either sign. */
int uapi_client_set(const char *name, const struct device_config *config);

/* One fact that only wg-xdp's agent tells, such as "aead" = "libipsec-mb AVX512". */
struct uapi_client_fact {
	char *key, *value;
};
struct uapi_client_extra {
	struct uapi_client_fact *facts; /* owned; n_facts of them, in the agent's order */
	size_t n_facts;
};

/* Empty, and 0, where the other side does not know the operation. Returns 0 or -errno. */
int uapi_client_get_extra(const char *name, struct uapi_client_extra *extra);
/* NULL when there is none. */
const char *uapi_client_extra_lookup(const struct uapi_client_extra *extra, const char *key);
void uapi_client_extra_deinit(struct uapi_client_extra *extra);

/* The names whose socket accepts a connection, sorted. Returns 0 or -errno; no directory means none. */
int uapi_client_list(char ***names, size_t *n_names);
void uapi_client_list_free(char **names, size_t n_names);

/* Is there a listener? */
bool uapi_client_exists(const char *name);

#endif
