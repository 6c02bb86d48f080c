// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Keypairs and their slots. No (key, counter) pair is ever handed out twice: counters only grow, and a keypair that has
 * reached its limit is never valid for sending again.
 */
#include "keypair.h"

#include <string.h>

#include "crypto/secret.h"
#include "timers.h"

struct keypair *keypair_create(const struct noise_session *session, struct peer *peer, uint64_t now_ns)
{
	struct keypair *keypair = secret_alloc(sizeof(*keypair));

	if (!keypair)
		return NULL;
	keypair->peer = peer;
	keypair->birthdate_ns = now_ns;
	keypair->remote_index = session->remote_index;
	keypair->i_am_the_initiator = session->i_am_the_initiator;
	memcpy(keypair->sending_key, session->sending_key, sizeof(keypair->sending_key));
	memcpy(keypair->receiving_key, session->receiving_key, sizeof(keypair->receiving_key));
	replay_init(&keypair->replay);
	atomic_store(&keypair->sending_is_valid, true);
	atomic_store(&keypair->receiving_is_valid, true);
	return keypair;
}

void keypair_free(struct keypair *keypair)
{
	secret_free(keypair, sizeof(*keypair));
}

static void drop(struct keypair *keypair, struct keypair **dropped)
{
	if (!keypair)
		return;
	keypair->next_dropped = *dropped;
	*dropped = keypair;
}

void keypairs_add_new(struct keypairs *keypairs, struct keypair *keypair, struct keypair **dropped)
{
	if (!keypair->i_am_the_initiator) {
		drop(keypairs->next, dropped);
		drop(keypairs->previous, dropped);
		keypairs->next = keypair;
		keypairs->previous = NULL;
		return;
	}
	drop(keypairs->previous, dropped);
	if (keypairs->next) {
		/* A session the other side started and never confirmed: it may still send with it. */
		keypairs->previous = keypairs->next;
		keypairs->next = NULL;
		drop(keypairs->current, dropped);
	} else {
		keypairs->previous = keypairs->current;
	}
	keypairs->current = keypair;
}

bool keypairs_received_with(struct keypairs *keypairs, struct keypair *keypair, struct keypair **dropped)
{
	if (keypair != keypairs->next)
		return false;
	drop(keypairs->previous, dropped);
	keypairs->previous = keypairs->current;
	keypairs->current = keypair;
	keypairs->next = NULL;
	return true;
}

void keypairs_clear(struct keypairs *keypairs, struct keypair **dropped)
{
	drop(keypairs->next, dropped);
	drop(keypairs->previous, dropped);
	drop(keypairs->current, dropped);
	memset(keypairs, 0, sizeof(*keypairs));
}

void keypairs_expire_current(struct keypairs *keypairs)
{
	if (keypairs->next)
		atomic_store(&keypairs->next->sending_is_valid, false);
	if (keypairs->current)
		atomic_store(&keypairs->current->sending_is_valid, false);
}

bool keypair_can_receive(struct keypair *keypair, uint64_t now_ns)
{
	if (!atomic_load_explicit(&keypair->receiving_is_valid, memory_order_relaxed))
		return false;
	if (!timers_has_expired(keypair->birthdate_ns, REJECT_AFTER_TIME, now_ns))
		return true;
	atomic_store(&keypair->receiving_is_valid, false);
	return false;
}

bool keypair_nonce_next(struct keypair *keypair, uint64_t n, uint64_t now_ns, uint64_t *first)
{
	if (!keypair || !atomic_load_explicit(&keypair->sending_is_valid, memory_order_relaxed))
		return false;
	if (timers_has_expired(keypair->birthdate_ns, REJECT_AFTER_TIME, now_ns) ||
	    keypair->sending_counter >= REJECT_AFTER_MESSAGES || n > REJECT_AFTER_MESSAGES - keypair->sending_counter) {
		atomic_store(&keypair->sending_is_valid, false);
		return false;
	}
	*first = keypair->sending_counter;
	keypair->sending_counter += n;
	return true;
}

bool keypair_sender_wants_rekey(const struct keypair *keypair, uint64_t now_ns)
{
	return keypair && atomic_load_explicit(&keypair->sending_is_valid, memory_order_relaxed) &&
	       (keypair->sending_counter > REKEY_AFTER_MESSAGES ||
		(keypair->i_am_the_initiator && timers_has_expired(keypair->birthdate_ns, REKEY_AFTER_TIME, now_ns)));
}

bool keypair_receiver_wants_rekey(const struct keypair *keypair, uint64_t now_ns)
{
	return keypair && atomic_load_explicit(&keypair->sending_is_valid, memory_order_relaxed) &&
	       keypair->i_am_the_initiator &&
	       timers_has_expired(keypair->birthdate_ns, REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT, now_ns);
}
