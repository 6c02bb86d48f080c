// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Handshake messages. mac1 comes first; under load a message must also prove its source address before any
 * Diffie-Hellman is computed for it. A message that fails changes nothing.
 */
#include "handshake.h"

#include <endian.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"
#include "send.h"
#include "worker.h"

#define UNDER_LOAD_MESSAGES (MAX_QUEUED_INCOMING_HANDSHAKES / 8)
/* Messages and requests handled between two quiescent states. */
#define RUN_BATCH 16

/* ------ The queue ------ */

struct handshake_queue {
	pthread_mutex_t lock;
	void (*wake)(void *arg);
	void *arg;
	unsigned int first, n_messages;
	struct handshake_message messages[MAX_QUEUED_INCOMING_HANDSHAKES];
};

struct handshake_queue *handshake_queue_create(void (*wake)(void *arg), void *arg)
{
	struct handshake_queue *queue = calloc(1, sizeof(*queue));

	if (!queue)
		return NULL;
	pthread_mutex_init(&queue->lock, NULL);
	queue->wake = wake;
	queue->arg = arg;
	return queue;
}

void handshake_queue_free(struct handshake_queue *queue)
{
	if (!queue)
		return;
	pthread_mutex_destroy(&queue->lock);
	free(queue);
}

bool handshake_queue_push(struct handshake_queue *queue, const struct endpoint *from, const void *data, uint32_t len)
{
	struct handshake_message *message;
	bool wake;

	pthread_mutex_lock(&queue->lock);
	if (queue->n_messages == MAX_QUEUED_INCOMING_HANDSHAKES) {
		pthread_mutex_unlock(&queue->lock);
		return false;
	}
	message = &queue->messages[(queue->first + queue->n_messages) % MAX_QUEUED_INCOMING_HANDSHAKES];
	message->from = *from;
	message->len = len;
	memcpy(message->data, data, len);
	wake = !queue->n_messages++;
	pthread_mutex_unlock(&queue->lock);
	if (wake)
		queue->wake(queue->arg);
	return true;
}

unsigned int handshake_queue_pop(struct handshake_queue *queue, struct handshake_message *message)
{
	unsigned int n;

	pthread_mutex_lock(&queue->lock);
	n = queue->n_messages;
	if (n) {
		*message = queue->messages[queue->first];
		queue->first = (queue->first + 1) % MAX_QUEUED_INCOMING_HANDSHAKES;
		queue->n_messages--;
	}
	pthread_mutex_unlock(&queue->lock);
	return n;
}

/* ------ Sending ------ */

/* Puts a message into tx; peer is NULL for cookie replies. */
static void send_message(struct worker *worker, struct peer *peer, const struct endpoint *to, uint8_t ds,
			 const void *message, uint32_t len)
{
	uint8_t *out = worker_tx_reserve(worker, len);

	memcpy(out, message, len);
	if (udp_tx_add(&worker->tx, to, ds, out, len, peer))
		return;
	worker->flush_tx(worker);
	udp_tx_add(&worker->tx, to, ds, out, len, peer);
}

/* The handshake has its keys: a new session, found by the index that the handshake had. */
static bool begin_session(struct worker *worker, struct peer *peer, uint64_t now_ns)
{
	struct device *device = worker->device;
	struct keypair *keypair = NULL, *dropped = NULL;
	struct noise_session session;
	bool replaced = false;

	if (noise_handshake_begin_session(&session, &peer->secrets->handshake))
		keypair = keypair_create(&session, peer, now_ns);
	secret_wipe(&session, sizeof(session));
	if (!keypair)
		return false;
	peer_lock(peer);
	pthread_mutex_lock(&device->index_lock);
	replaced = index_table_replace(device->indices, &peer->handshake_index, &keypair->index, INDEX_KEYPAIR,
				       keypair);
	pthread_mutex_unlock(&device->index_lock);
	if (replaced) {
		keypairs_add_new(&peer->keypairs, keypair, &dropped);
		timers_session_derived(&peer->timers, now_ns);
		peer_schedule(peer);
		device_retire_keypairs(device, dropped);
	}
	peer_unlock(peer);
	if (!replaced)
		keypair_free(keypair);
	return replaced;
}

void handshake_initiate(struct worker *worker, struct peer *peer, uint64_t now_ns)
{
	struct device *device = worker->device;
	struct message_handshake_initiation msg;
	uint8_t ephemeral[NOISE_PUBLIC_KEY_LEN], timestamp[NOISE_TIMESTAMP_LEN];
	struct endpoint to;
	uint32_t index;
	bool may;

	device_lock(device);
	peer_lock(peer);
	to = peer->endpoint;
	may = !peer->is_dead && device->is_up && to.family != AF_UNSPEC;
	if (may && !timers_may_initiate(&peer->timers, now_ns)) {
		/* We have responded since it was asked for. Should that come to nothing, what waits is not forgotten. */
		if (peer->staged.first)
			timers_initiation_postponed(&peer->timers, worker_random(worker));
		peer_schedule(peer);
		may = false;
	}
	/* Before it can fail: what fails now will not succeed with the next packet, but is cheap only at this rate. */
	if (may)
		timers_handshake_sent(&peer->timers, now_ns);
	peer_unlock(peer);
	if (!may)
		goto out;

	device->hooks.random(ephemeral, sizeof(ephemeral));
	device_next_timestamp(peer, timestamp);
	index = device_insert_index(device, &peer->handshake_index, INDEX_HANDSHAKE, peer);
	if (!noise_handshake_create_initiation(&msg, &peer->secrets->handshake, &device->secrets->identity, ephemeral,
					       timestamp, index)) {
		device_clear_handshake(device, peer);
		goto out_wipe;
	}
	cookie_add_mac_to_packet(&peer->secrets->cookie, &msg, sizeof(msg), now_ns);
	peer_lock(peer);
	timers_any_authenticated_packet_sent(&peer->timers);
	timers_any_authenticated_packet_traversal(&peer->timers, now_ns);
	timers_handshake_initiated(&peer->timers, now_ns, worker_random(worker));
	peer_schedule(peer);
	peer_unlock(peer);
	send_message(worker, peer, &to, HANDSHAKE_DS, &msg, sizeof(msg));
out_wipe:
	secret_wipe(ephemeral, sizeof(ephemeral));
out:
	device_unlock(device);
}

static void send_response(struct worker *worker, struct peer *peer, uint64_t now_ns)
{
	struct device *device = worker->device;
	struct message_handshake_response msg;
	uint8_t ephemeral[NOISE_PUBLIC_KEY_LEN];
	struct endpoint to;
	uint32_t index;

	peer_lock(peer);
	timers_handshake_sent(&peer->timers, now_ns);
	to = peer->endpoint;
	peer_unlock(peer);
	device->hooks.random(ephemeral, sizeof(ephemeral));
	index = device_insert_index(device, &peer->handshake_index, INDEX_HANDSHAKE, peer);
	if (!noise_handshake_create_response(&msg, &peer->secrets->handshake, ephemeral, index)) {
		device_clear_handshake(device, peer);
		goto out;
	}
	cookie_add_mac_to_packet(&peer->secrets->cookie, &msg, sizeof(msg), now_ns);
	/* The session's index is in the table before the message that announces it leaves. */
	if (!begin_session(worker, peer, now_ns))
		goto out;
	peer_lock(peer);
	timers_any_authenticated_packet_sent(&peer->timers);
	timers_any_authenticated_packet_traversal(&peer->timers, now_ns);
	peer_schedule(peer);
	peer_unlock(peer);
	send_message(worker, peer, &to, HANDSHAKE_DS, &msg, sizeof(msg));
out:
	secret_wipe(ephemeral, sizeof(ephemeral));
}

/* ------ Receiving ------ */

/* Common to both messages, once authenticated: roaming, counters, timers. */
static void message_authenticated(struct peer *peer, const struct handshake_message *message, uint64_t now_ns)
{
	peer_lock(peer);
	peer_set_endpoint(peer, &message->from);
	timers_any_authenticated_packet_received(&peer->timers);
	timers_any_authenticated_packet_traversal(&peer->timers, now_ns);
	peer_schedule(peer);
	peer_unlock(peer);
	atomic_fetch_add_explicit(&peer->rx_bytes, message->len, memory_order_relaxed);
}

static enum drop_reason receive_initiation(struct worker *worker, const struct handshake_message *message,
					   uint64_t now_ns)
{
	struct device *device = worker->device;
	const struct noise_static_identity *identity = &device->secrets->identity;
	struct noise_initiation initiation;
	enum drop_reason why;
	struct peer *peer;

	why = noise_handshake_consume_initiation(&initiation, (const void *)message->data, identity);
	if (why)
		goto out;
	peer = device_lookup_peer(device, initiation.remote_static);
	why = DROP_PEER_UNKNOWN;
	if (!peer)
		goto out;
	why = noise_handshake_accept_initiation(&peer->secrets->handshake, &initiation, identity, now_ns);
	if (why)
		goto out;
	device_note_news(device);
	message_authenticated(peer, message, now_ns);
	send_response(worker, peer, now_ns);
out:
	secret_wipe(&initiation, sizeof(initiation));
	return why;
}

static enum drop_reason receive_response(struct worker *worker, const struct handshake_message *message,
					 uint64_t now_ns)
{
	const struct message_handshake_response *msg = (const void *)message->data;
	struct device *device = worker->device;
	enum drop_reason why;
	struct peer *peer;

	peer = index_table_lookup(device->indices, le32toh(msg->receiver_index), 1 << INDEX_HANDSHAKE, NULL);
	if (!peer)
		return DROP_INDEX_UNKNOWN;
	why = noise_handshake_consume_response(&peer->secrets->handshake, msg, &device->secrets->identity);
	if (why)
		return why;
	message_authenticated(peer, message, now_ns);
	if (!begin_session(worker, peer, now_ns))
		return DROP_NONE;
	peer_lock(peer);
	timers_handshake_complete(&peer->timers, device->hooks.realtime_ns(device->hooks.arg));
	peer_unlock(peer);
	/* Staged data, or else an empty packet, confirms the session to the responder. */
	send_staged(worker, peer, true, now_ns);
	return DROP_NONE;
}

/* Never roams: a cookie reply proves nothing about where its sender is. */
static enum drop_reason receive_cookie(struct worker *worker, const struct handshake_message *message, uint64_t now_ns)
{
	const struct message_handshake_cookie *msg = (const void *)message->data;
	enum index_type type;
	struct peer *peer;
	void *owner;

	owner = index_table_lookup(worker->device->indices, le32toh(msg->receiver_index),
				   1 << INDEX_HANDSHAKE | 1 << INDEX_KEYPAIR, &type);
	if (!owner)
		return DROP_INDEX_UNKNOWN;
	peer = type == INDEX_HANDSHAKE ? owner : ((struct keypair *)owner)->peer;
	return cookie_message_consume(&peer->secrets->cookie, msg, now_ns) ? DROP_NONE : DROP_COOKIE_INVALID;
}

static bool is_under_load(struct handshake_state *state, unsigned int n_waiting, uint64_t now_ns)
{
	if (n_waiting >= UNDER_LOAD_MESSAGES) {
		state->last_under_load_ns = now_ns;
		state->was_under_load = true;
	} else if (state->was_under_load && timers_has_expired(state->last_under_load_ns, 1, now_ns)) {
		state->was_under_load = false;
	}
	return state->was_under_load;
}

static void send_cookie_reply(struct worker *worker, const struct handshake_message *message,
			      const struct cookie_source *source, const uint8_t *random_secret, uint64_t now_ns)
{
	struct device *device = worker->device;
	struct message_handshake_cookie reply;
	uint8_t nonce[COOKIE_NONCE_LEN];
	__le32 sender_index;

	/* The sender's index stands at the same place in both messages. */
	memcpy(&sender_index, message->data + sizeof(__le32), sizeof(sender_index));
	device->hooks.random(nonce, sizeof(nonce));
	cookie_message_create(&device->secrets->checker, &reply, message->data, message->len, sender_index, source,
			      nonce, now_ns, random_secret);
	send_message(worker, NULL, &message->from, 0, &reply, sizeof(reply));
	atomic_fetch_add_explicit(&worker->cookie_replies, 1, memory_order_relaxed);
}

/* May Diffie-Hellman be computed for this initiation or response? */
static enum drop_reason check_macs(struct worker *worker, const struct handshake_message *message, bool under_load,
				   uint64_t now_ns)
{
	struct device *device = worker->device;
	struct cookie_source source;
	uint8_t random_secret[NOISE_HASH_LEN];
	enum drop_reason why = DROP_MAC1;

	endpoint_cookie_source(&message->from, &source);
	/* A cookie is made, and may need a new secret, only then. */
	if (under_load)
		device->hooks.random(random_secret, sizeof(random_secret));
	switch (cookie_validate_packet(&device->secrets->checker, message->data, message->len, &source, under_load,
				       now_ns, random_secret)) {
	case INVALID_MAC:
		break;
	case VALID_MAC_BUT_NO_COOKIE:
		why = DROP_NONE;
		if (!under_load)
			break;
		why = DROP_MAC2;
		send_cookie_reply(worker, message, &source, random_secret, now_ns);
		break;
	case VALID_MAC_WITH_COOKIE:
		why = DROP_NONE;
		if (under_load && !ratelimiter_allow(device->ratelimiter, source.bytes, source.len - sizeof(__be16), now_ns))
			why = DROP_RATE_LIMITED;
		break;
	}
	secret_wipe(random_secret, sizeof(random_secret));
	return why;
}

void handshake_receive(struct worker *worker, struct handshake_state *state, const struct handshake_message *message,
		       unsigned int n_waiting, uint64_t now_ns)
{
	bool under_load = is_under_load(state, n_waiting, now_ns);
	struct device *device = worker->device;
	uint8_t type = message->data[0];
	enum drop_reason why;

	device_lock(device);
	if (!device->is_up || !device->secrets->identity.has_identity) {
		why = DROP_MAC1;
	} else if (type == MESSAGE_HANDSHAKE_COOKIE) {
		why = receive_cookie(worker, message, now_ns);
	} else {
		why = check_macs(worker, message, under_load, now_ns);
		if (!why)
			why = type == MESSAGE_HANDSHAKE_INITIATION ? receive_initiation(worker, message, now_ns) :
								     receive_response(worker, message, now_ns);
	}
	device_unlock(device);
	worker_drop(worker, why, why != DROP_NONE);
}

bool handshake_run(struct worker *worker, struct handshake_state *state, uint64_t now_ns)
{
	struct handshake_message message;
	unsigned int n_waiting = 0, n_handled;
	struct peer *peer = NULL;
	bool is_retry;

	for (n_handled = 0; n_handled < RUN_BATCH; n_handled++) {
		n_waiting = handshake_queue_pop(worker->handshakes, &message);
		if (!n_waiting)
			break;
		handshake_receive(worker, state, &message, n_waiting, now_ns);
	}
	for (n_handled = 0; n_handled < RUN_BATCH; n_handled++) {
		peer = device_take_initiation(worker->device, &is_retry);
		if (!peer)
			break;
		handshake_initiate(worker, peer, now_ns);
	}
	send_finish(worker);
	return n_waiting || peer;
}
