// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Turns expired timers into what they ask for (paper 6). */
#include "expiry.h"

#include "send.h"
#include "worker.h"

static void expire_peer(struct worker *worker, struct peer *peer, uint64_t now_ns)
{
	struct device *device = worker->device;
	unsigned int actions;

	device_lock(device);
	peer_lock(peer);
	actions = timers_expire(&peer->timers, now_ns);
	if (actions & TIMER_ACTION_CLEAR_SRC)
		endpoint_clear_src(&peer->endpoint);
	if (actions & TIMER_ACTION_PURGE_STAGED)
		worker_drop(worker, DROP_STAGED_PURGED, staged_packets_free(peer_take_staged(peer).first));
	if (actions & TIMER_ACTION_RETRY_INITIATION && !timers_may_initiate(&peer->timers, now_ns))
		timers_initiation_postponed(&peer->timers, worker_random(worker));
	else if (actions & (TIMER_ACTION_SEND_INITIATION | TIMER_ACTION_RETRY_INITIATION))
		device_request_initiation(peer, actions & TIMER_ACTION_RETRY_INITIATION, now_ns);
	if (actions & TIMER_ACTION_ZERO_KEY_MATERIAL) {
		/* After a suspend a handshake may have begun before we got here: it is not what has to be forgotten. */
		if (timers_may_initiate(&peer->timers, now_ns))
			device_clear_handshake(device, peer);
		peer_clear_keypairs(peer);
	}
	timer_queue_schedule(&device->timer_queue, peer, timers_next_deadline(&peer->timers));
	peer_unlock(peer);
	if (actions & TIMER_ACTION_SEND_KEEPALIVE)
		send_staged(worker, peer, true, now_ns);
	device_unlock(device);
}

void expiry_run(struct worker *worker, uint64_t now_ns)
{
	struct device *device = worker->device;
	struct peer *peer;

	device_collect_kicks(device);
	while ((peer = timer_queue_pop(&device->timer_queue, now_ns)))
		expire_peer(worker, peer, now_ns);
	send_finish(worker);
}
