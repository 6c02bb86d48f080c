/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A remote static public key and all that hangs on it.
 *
 * Two locks. The device's lock covers configuration and the handshake (control and handshake threads). The peer's own lock
 * covers what the data path changes, and is held for a few instructions once per burst. Order: device, peer, index table.
 */
#ifndef WG_XDP_PEER_H
#define WG_XDP_PEER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "allowedips.h"
#include "cookie.h"
#include "endpoint.h"
#include "keypair.h"
#include "noise.h"
#include "timers.h"

struct device;

/* An inner packet that waits for a keypair: complete, without padding. Length 0: a keepalive. */
struct staged_packet {
	struct staged_packet *next;
	uint32_t len;
	uint8_t ds; /* outer DS field */
	uint8_t data[];
};

struct staged_queue {
	struct staged_packet *first, *last;
	unsigned int n_packets;
	size_t n_bytes;
};

/* What all peers of a device may keep staged together, in bytes: many peers that do not answer must not use up memory. */
#define STAGED_BYTES_MAX (64UL << 20)

/* What a peer keeps secret, in the arena of secrets. */
struct peer_secrets {
	struct noise_handshake handshake;
	struct cookie cookie;
};

struct peer {
	struct device *device;
	uint8_t public_key[NOISE_PUBLIC_KEY_LEN];
	struct allowedips_owner allowed_ips; /* device lock */

	/* Under the device's lock. */
	struct peer_secrets *secrets;
	struct index_entry handshake_index; /* changed under the index lock too */
	struct peer *hash_next, *list_next, *list_prev;
	uint64_t last_timestamp_ns; /* of our latest initiation */

	/* Under the peer's lock. */
	pthread_mutex_t lock;
	struct endpoint endpoint;
	struct keypairs keypairs;
	struct timers timers;
	struct staged_queue staged;

	/* Counted in outer UDP payload bytes. */
	atomic_uint_fast64_t rx_bytes, tx_bytes;

	atomic_bool is_dead;

	/* The device's request queues; under their lock. */
	struct peer *initiation_next, *kick_next;
	struct peer **initiation_link, **kick_link; /* what points to this peer */
	bool initiation_is_queued, initiation_is_retry, kick_is_queued;

	/* The timer queue's: when control will look at this peer next. Written by control alone. */
	atomic_uint_fast64_t scheduled_ns;
	uint32_t timer_position;
};

/* Not yet in the device's tables. NULL when memory is short. */
struct peer *peer_create(struct device *device, const uint8_t public_key[static NOISE_PUBLIC_KEY_LEN], uint64_t now_ns);
/* After a grace period; wipes. NULL is legal. */
void peer_free(struct peer *peer);

/* Where the owner of allowed IPs is embedded. NULL gives NULL. */
struct peer *peer_of_owner(struct allowedips_owner *owner);

static inline void peer_lock(struct peer *peer)
{
	pthread_mutex_lock(&peer->lock);
}

static inline void peer_unlock(struct peer *peer)
{
	pthread_mutex_unlock(&peer->lock);
}

/* ------ With the peer's lock held ------ */

/* An authenticated packet came from there (roaming). */
void peer_set_endpoint(struct peer *peer, const struct endpoint *from);
/*
 * Appends; drops the oldest beyond MAX_STAGED_PACKETS or, as far as the peer has any, beyond STAGED_BYTES_MAX, and when
 * that is not enough the packet. Returns how many were dropped. The packet is no longer the caller's.
 */
unsigned int peer_stage(struct peer *peer, struct staged_packet *packet);
/* Takes the whole queue out. */
struct staged_queue peer_take_staged(struct peer *peer);
/* Tells control when a timer is due sooner than it will look. Call after changes to timers. */
void peer_schedule(struct peer *peer);
/* Forgets every session; the keypairs go to the device for disposal. */
void peer_clear_keypairs(struct peer *peer);

/* ------ Without ------ */

struct staged_packet *staged_packet_create(uint32_t len, uint8_t ds);
/* Frees a chain. Returns its length. */
unsigned int staged_packets_free(struct staged_packet *first);

#endif
