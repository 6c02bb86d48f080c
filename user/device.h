/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One WireGuard interface: identity, peers, tables, and what waits for other threads.
 *
 * Knows no socket: what it wants done is put in queues whose readers are woken by the hooks.
 */
#ifndef WG_XDP_DEVICE_H
#define WG_XDP_DEVICE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "allowedips.h"
#include "cookie.h"
#include "device_config.h"
#include "index_table.h"
#include "noise.h"
#include "peer.h"
#include "ratelimiter.h"
#include "timer_queue.h"

struct device_secrets {
	struct noise_static_identity identity;
	struct cookie_checker checker;
};

/* How the device reaches the threads around it; the simulator has its own. */
struct device_hooks {
	void *arg;
	void (*random)(void *out, size_t len);        /* unpredictable bytes */
	uint64_t (*realtime_ns)(void *arg);           /* since the epoch */
	void (*wake_handshake)(void *arg);            /* a peer wants an initiation */
	void (*wake_control)(void *arg);              /* a timer is due sooner */
	void (*send_staged)(void *arg, struct peer *peer, bool keepalive); /* from control, in device_apply() and up */
};

struct device {
	struct device_hooks hooks;

	pthread_mutex_t lock, turn; /* configuration and handshakes: device_lock() */
	struct device_secrets *secrets;
	struct peer **peer_hash; /* by public key */
	uint32_t peer_hash_mask;
	uint8_t hash_key[16];
	struct peer *first_peer, *last_peer;
	unsigned int n_peers;
	uint16_t listen_port;
	uint32_t fwmark;
	bool is_up;
	uint64_t last_timestamp_ns; /* the latest of all in our initiations: TAI64N never goes back */
	struct ratelimiter *ratelimiter;
	struct timer_queue timer_queue; /* control's alone */

	/* Read by all threads. */
	struct allowedips *allowedips; /* changed under the device's lock */
	struct index_table *indices;   /* changed under index_lock */
	pthread_mutex_t index_lock;
	atomic_uint mtu;       /* of the tunnel device: padding stops there; 0: not known */
	atomic_uint route_mtu; /* least among its routes: the same for packets that fit into it */

	/* Peers that want something, and keypairs and peers that wait for a grace period. */
	pthread_mutex_t queue_lock;
	struct peer *initiations, **initiations_end;
	struct peer *kicks;
	struct keypair *retired_keypairs;
	struct peer *retired_peers; /* by list_next */
	atomic_bool has_retired; /* control has been told */
	atomic_size_t staged_bytes; /* of all peers' staged packets */
	atomic_bool has_news; /* endpoints or timestamps that a successor should know of */
};

/* Returns 0 or -ENOMEM. The hooks are copied. */
int device_init(struct device *device, const struct device_hooks *hooks);
/* No other thread may be left. */
void device_deinit(struct device *device);

/* In turn: a flood of handshakes does not keep control out. */
void device_lock(struct device *device);
void device_unlock(struct device *device);

/* ------ Under the device's lock ------ */

struct peer *device_lookup_peer(const struct device *device, const uint8_t public_key[static NOISE_PUBLIC_KEY_LEN]);

/*
 * Applies a configuration that has been checked: everything in it that is not sockets' business (the caller has opened the
 * port and set the mark). Returns 0, or -ENOMEM when memory ran out before anything was changed.
 */
int device_apply(struct device *device, const struct device_config *config, uint64_t now_ns);

/* Fills an empty config with what the device has and has counted. Returns 0 or -ENOMEM. */
int device_status(struct device *device, struct device_config *status);

/* The interface went up or down. Taking it up sends what peers have staged and owe. */
void device_up(struct device *device);
void device_down(struct device *device, uint64_t now_ns);

/* A random index nobody has, in the table from now on. */
uint32_t device_insert_index(struct device *device, struct index_entry *entry, enum index_type type, void *owner);

/* The label of the peer's next initiation: real time, but always later than the one before, whatever the clock does. */
void device_next_timestamp(struct peer *peer, uint8_t out[static NOISE_TIMESTAMP_LEN]);

/* Clears a peer's handshake and its index. */
void device_clear_handshake(struct device *device, struct peer *peer);

/* ------ From any thread ------ */

/* Wants an initiation sent, if REKEY_TIMEOUT allows. Without is_retry it begins a new series of attempts. Peer lock held. */
void device_request_initiation(struct peer *peer, bool is_retry, uint64_t now_ns);
/* Takes one request out; NULL when there is none. */
struct peer *device_take_initiation(struct device *device, bool *is_retry);

/* An endpoint or a timestamp has changed: wakes control, which will save it. */
void device_note_news(struct device *device);

/* Takes keypairs out of the index table; freed after a grace period. Chain by next_dropped. */
void device_retire_keypairs(struct device *device, struct keypair *dropped);

/* ------ Control's: disposal ------ */

/* What has been retired until now, false if nothing has; after a grace period, free it. */
struct device_retired {
	struct keypair *keypairs;
	struct peer *peers;
};
bool device_take_retired(struct device *device, struct device_retired *retired);
void device_free_retired(struct device *device, struct device_retired *retired);

/* Puts peers whose timers became due sooner into the timer queue. */
void device_collect_kicks(struct device *device);

#endif
