// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Peers: creation, endpoint, staged packets, and telling control about their timers. */
#include "peer.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"
#include "device.h"

struct peer *peer_create(struct device *device, const uint8_t public_key[static NOISE_PUBLIC_KEY_LEN], uint64_t now_ns)
{
	struct peer *peer = calloc(1, sizeof(*peer));

	if (!peer)
		return NULL;
	peer->secrets = secret_alloc(sizeof(*peer->secrets));
	if (!peer->secrets) {
		free(peer);
		return NULL;
	}
	peer->device = device;
	memcpy(peer->public_key, public_key, NOISE_PUBLIC_KEY_LEN);
	noise_handshake_init(&peer->secrets->handshake, public_key);
	cookie_init(&peer->secrets->cookie, public_key);
	timers_init(&peer->timers, now_ns);
	peer->last_timestamp_ns = device->last_timestamp_ns;
	pthread_mutex_init(&peer->lock, NULL);
	atomic_init(&peer->scheduled_ns, TIMERS_NEVER);
	peer->timer_position = TIMER_QUEUE_NOT_QUEUED;
	return peer;
}

void peer_free(struct peer *peer)
{
	if (!peer)
		return;
	staged_packets_free(peer_take_staged(peer).first);
	pthread_mutex_destroy(&peer->lock);
	secret_free(peer->secrets, sizeof(*peer->secrets));
	free(peer);
}

struct peer *peer_of_owner(struct allowedips_owner *owner)
{
	return owner ? (struct peer *)((char *)owner - offsetof(struct peer, allowed_ips)) : NULL;
}

void peer_set_endpoint(struct peer *peer, const struct endpoint *from)
{
	if (endpoint_equal(&peer->endpoint, from))
		return;
	peer->endpoint = *from;
	device_note_news(peer->device);
}

static void drop_oldest(struct peer *peer)
{
	struct staged_queue *queue = &peer->staged;
	struct staged_packet *oldest = queue->first;

	queue->first = oldest->next;
	queue->n_packets--;
	queue->n_bytes -= oldest->len;
	peer->device->staged_bytes -= oldest->len;
	free(oldest);
}

unsigned int peer_stage(struct peer *peer, struct staged_packet *packet)
{
	atomic_size_t *all_bytes = &peer->device->staged_bytes;
	struct staged_queue *queue = &peer->staged;
	unsigned int dropped = 0;

	while (queue->n_packets >= MAX_STAGED_PACKETS ||
	       (queue->first && *all_bytes + packet->len > STAGED_BYTES_MAX)) {
		drop_oldest(peer);
		dropped++;
	}
	/* A keepalive has none: it confirms a session, whatever else is waiting. */
	if (packet->len && *all_bytes + packet->len > STAGED_BYTES_MAX) {
		free(packet);
		return dropped + 1;
	}
	*all_bytes += packet->len;
	queue->n_bytes += packet->len;
	packet->next = NULL;
	if (queue->first)
		queue->last->next = packet;
	else
		queue->first = packet;
	queue->last = packet;
	queue->n_packets++;
	return dropped;
}

struct staged_queue peer_take_staged(struct peer *peer)
{
	struct staged_queue taken = peer->staged;

	peer->staged = (struct staged_queue){ 0 };
	peer->device->staged_bytes -= taken.n_bytes;
	return taken;
}

void peer_schedule(struct peer *peer)
{
	struct device *device = peer->device;
	bool wake = false;

	if (timers_next_deadline(&peer->timers) >= atomic_load_explicit(&peer->scheduled_ns, memory_order_relaxed))
		return;
	pthread_mutex_lock(&device->queue_lock);
	if (!peer->kick_is_queued && !peer->is_dead) {
		wake = !device->kicks;
		peer->kick_next = device->kicks;
		peer->kick_link = &device->kicks;
		if (peer->kick_next)
			peer->kick_next->kick_link = &peer->kick_next;
		device->kicks = peer;
		peer->kick_is_queued = true;
	}
	pthread_mutex_unlock(&device->queue_lock);
	if (wake)
		device->hooks.wake_control(device->hooks.arg);
}

void peer_clear_keypairs(struct peer *peer)
{
	struct keypair *dropped = NULL;

	keypairs_clear(&peer->keypairs, &dropped);
	device_retire_keypairs(peer->device, dropped);
}

struct staged_packet *staged_packet_create(uint32_t len, uint8_t ds)
{
	struct staged_packet *packet = malloc(sizeof(*packet) + len);

	if (!packet)
		return NULL;
	packet->next = NULL;
	packet->len = len;
	packet->ds = ds;
	return packet;
}

unsigned int staged_packets_free(struct staged_packet *first)
{
	unsigned int n = 0;

	while (first) {
		struct staged_packet *next = first->next;

		free(first);
		first = next;
		n++;
	}
	return n;
}
