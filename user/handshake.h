/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Handshake messages: the queue that keeps X25519 off the data path, and the walk of each message (paper 5.3, 5.4).
 */
#ifndef WG_XDP_HANDSHAKE_H
#define WG_XDP_HANDSHAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "endpoint.h"
#include "messages.h"

struct device;
struct peer;
struct worker;

/* A message of types 1 to 3, as it came. */
struct handshake_message {
	struct endpoint from;
	uint32_t len;
	_Alignas(8) uint8_t data[sizeof(struct message_handshake_initiation)];
};

/* Fixed size, MAX_QUEUED_INCOMING_HANDSHAKES. */
struct handshake_queue;

/* wake is called, with arg, when the queue was empty. NULL when memory is short. */
struct handshake_queue *handshake_queue_create(void (*wake)(void *arg), void *arg);
void handshake_queue_free(struct handshake_queue *queue);
/* From workers. False when full. len is at most that of an initiation. */
bool handshake_queue_push(struct handshake_queue *queue, const struct endpoint *from, const void *data, uint32_t len);
/* From the handshake thread. Returns how many were waiting, this one included; 0: none. */
unsigned int handshake_queue_pop(struct handshake_queue *queue, struct handshake_message *message);

/* What the handshake thread remembers between messages. */
struct handshake_state {
	uint64_t last_under_load_ns;
	bool was_under_load;
};

/*
 * Handles one message. n_waiting, the queue's length, decides whether we are under load: then a message needs mac2, and
 * its source a token. Takes the device's lock. Answers are in the worker's tx.
 */
void handshake_receive(struct worker *worker, struct handshake_state *state, const struct handshake_message *message,
		       unsigned int n_waiting, uint64_t now_ns);

/* Creates and sends an initiation, if REKEY_TIMEOUT allows. Takes the device's lock. */
void handshake_initiate(struct worker *worker, struct peer *peer, uint64_t now_ns);

/*
 * Handles some of the messages and requests that wait, then sends. True when more may wait: pass a quiescent state, and call
 * again.
 */
bool handshake_run(struct worker *worker, struct handshake_state *state, uint64_t now_ns);

#endif
