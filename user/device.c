// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The device's tables and queues. Removal is unpublish, wait, free: a keypair or peer that has left its tables is kept
 * until control has waited for a grace period, since a burst under way may still hold it.
 */
#include "device.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"

int device_init(struct device *device, const struct device_hooks *hooks)
{
	uint8_t limiter_key[16];

	memset(device, 0, sizeof(*device));
	device->hooks = *hooks;
	device->initiations_end = &device->initiations;
	hooks->random(device->hash_key, sizeof(device->hash_key));
	hooks->random(limiter_key, sizeof(limiter_key));
	pthread_mutex_init(&device->lock, NULL);
	pthread_mutex_init(&device->turn, NULL);
	pthread_mutex_init(&device->index_lock, NULL);
	pthread_mutex_init(&device->queue_lock, NULL);
	device->peer_hash_mask = 63;
	device->secrets = secret_alloc(sizeof(*device->secrets));
	device->peer_hash = calloc(device->peer_hash_mask + 1, sizeof(*device->peer_hash));
	device->ratelimiter = ratelimiter_create(limiter_key);
	device->allowedips = allowedips_create();
	device->indices = index_table_create();
	if (device->secrets && device->peer_hash && device->ratelimiter && device->allowedips && device->indices)
		return 0;
	device_deinit(device);
	return -ENOMEM;
}

static void unlink_peer(struct device *device, struct peer *peer, uint64_t now_ns);

void device_deinit(struct device *device)
{
	struct device_retired retired;

	while (device->first_peer)
		unlink_peer(device, device->first_peer, 0);
	if (device_take_retired(device, &retired))
		device_free_retired(device, &retired);
	timer_queue_deinit(&device->timer_queue);
	index_table_free(device->indices);
	allowedips_free(device->allowedips);
	ratelimiter_free(device->ratelimiter);
	free(device->peer_hash);
	secret_free(device->secrets, sizeof(*device->secrets));
	pthread_mutex_destroy(&device->queue_lock);
	pthread_mutex_destroy(&device->index_lock);
	pthread_mutex_destroy(&device->turn);
	pthread_mutex_destroy(&device->lock);
}

/* A thread that unlocks and locks again at once would mostly find the lock free before another has woken up. */
void device_lock(struct device *device)
{
	pthread_mutex_lock(&device->turn);
	pthread_mutex_lock(&device->lock);
	pthread_mutex_unlock(&device->turn);
}

void device_unlock(struct device *device)
{
	pthread_mutex_unlock(&device->lock);
}

/* ------ Peers by public key ------ */

static struct peer **peer_bucket(const struct device *device, const uint8_t *public_key)
{
	uint64_t hash;

	crypto_shorthash((unsigned char *)&hash, public_key, NOISE_PUBLIC_KEY_LEN, device->hash_key);
	return &device->peer_hash[hash & device->peer_hash_mask];
}

struct peer *device_lookup_peer(const struct device *device, const uint8_t public_key[static NOISE_PUBLIC_KEY_LEN])
{
	struct peer *peer = *peer_bucket(device, public_key);

	while (peer && memcmp(peer->public_key, public_key, NOISE_PUBLIC_KEY_LEN))
		peer = peer->hash_next;
	return peer;
}

/* Room for n peers in tables of which one grows here; nothing else can fail later. */
static int reserve_peers(struct device *device, unsigned int n)
{
	uint32_t size = device->peer_hash_mask + 1;
	struct peer **hash;

	if (timer_queue_reserve(&device->timer_queue, n) < 0)
		return -ENOMEM;
	if (n <= size)
		return 0;
	while (size < n)
		size *= 2;
	hash = calloc(size, sizeof(*hash));
	if (!hash)
		return -ENOMEM;
	free(device->peer_hash);
	device->peer_hash = hash;
	device->peer_hash_mask = size - 1;
	for (struct peer *peer = device->first_peer; peer; peer = peer->list_next) {
		struct peer **bucket = peer_bucket(device, peer->public_key);

		peer->hash_next = *bucket;
		*bucket = peer;
	}
	return 0;
}

static void link_peer(struct device *device, struct peer *peer)
{
	struct peer **bucket = peer_bucket(device, peer->public_key);

	peer->hash_next = *bucket;
	*bucket = peer;
	peer->list_prev = device->last_peer;
	if (device->last_peer)
		device->last_peer->list_next = peer;
	else
		device->first_peer = peer;
	device->last_peer = peer;
	device->n_peers++;
}

/* Under the queue lock, as the next one. */
static void unqueue_initiation(struct device *device, struct peer *peer)
{
	*peer->initiation_link = peer->initiation_next;
	if (peer->initiation_next)
		peer->initiation_next->initiation_link = peer->initiation_link;
	else
		device->initiations_end = peer->initiation_link;
	peer->initiation_is_queued = false;
}

static void unqueue_kick(struct peer *peer)
{
	*peer->kick_link = peer->kick_next;
	if (peer->kick_next)
		peer->kick_next->kick_link = peer->kick_link;
	peer->kick_is_queued = false;
}

static void leave_queues(struct device *device, struct peer *peer)
{
	pthread_mutex_lock(&device->queue_lock);
	atomic_store(&peer->is_dead, true);
	if (peer->initiation_is_queued)
		unqueue_initiation(device, peer);
	if (peer->kick_is_queued)
		unqueue_kick(peer);
	pthread_mutex_unlock(&device->queue_lock);
}

/*
 * After this nothing finds the peer any more: not by public key, address, index, timer or queue. Who found it before may
 * use it until the end of its burst.
 */
static void unlink_peer(struct device *device, struct peer *peer, uint64_t now_ns)
{
	struct peer **p = peer_bucket(device, peer->public_key);

	allowedips_remove_owner(device->allowedips, &peer->allowed_ips);
	while (*p != peer)
		p = &(*p)->hash_next;
	*p = peer->hash_next;
	if (peer->list_prev)
		peer->list_prev->list_next = peer->list_next;
	else
		device->first_peer = peer->list_next;
	if (peer->list_next)
		peer->list_next->list_prev = peer->list_prev;
	else
		device->last_peer = peer->list_prev;
	device->n_peers--;

	leave_queues(device, peer);
	timer_queue_schedule(&device->timer_queue, peer, TIMERS_NEVER);
	device_clear_handshake(device, peer);
	peer_lock(peer);
	timers_stop(&peer->timers, now_ns);
	peer_clear_keypairs(peer);
	staged_packets_free(peer_take_staged(peer).first);
	peer_unlock(peer);

	pthread_mutex_lock(&device->queue_lock);
	peer->list_next = device->retired_peers;
	device->retired_peers = peer;
	pthread_mutex_unlock(&device->queue_lock);
	atomic_store(&device->has_retired, true);
}

/* ------ Configuration ------ */

static void set_private_key(struct device *device, const uint8_t *private_key, uint64_t now_ns)
{
	struct noise_static_identity *identity = &device->secrets->identity, fresh;
	bool had_identity = identity->has_identity;
	struct peer *own;

	noise_identity_set(&fresh, private_key);
	if (fresh.has_identity == had_identity &&
	    (!had_identity || secret_equal(fresh.private_key, identity->private_key, NOISE_PUBLIC_KEY_LEN)))
		goto out;
	if (fresh.has_identity) {
		own = device_lookup_peer(device, fresh.public_key);
		if (own)
			unlink_peer(device, own, now_ns);
	}
	*identity = fresh;
	cookie_checker_set_key(&device->secrets->checker, fresh.has_identity ? fresh.public_key : NULL);
	for (struct peer *peer = device->first_peer; peer; peer = peer->list_next) {
		noise_handshake_identity_changed(&peer->secrets->handshake);
		device_clear_handshake(device, peer);
		peer_lock(peer);
		keypairs_expire_current(&peer->keypairs);
		timers_reset_last_sent_handshake(&peer->timers, now_ns);
		peer_unlock(peer);
		if (device->is_up && !had_identity)
			device->hooks.send_staged(device->hooks.arg, peer,
						  peer->timers.persistent_keepalive_interval_s);
	}
out:
	secret_wipe(&fresh, sizeof(fresh));
}

static void apply_allowed_ips(struct device *device, struct peer *peer, const struct config_peer *config)
{
	if (config->flags & CONFIG_PEER_REPLACE_ALLOWED_IPS)
		allowedips_remove_owner(device->allowedips, &peer->allowed_ips);
	for (size_t i = 0; i < config->n_allowed_ips; i++) {
		const struct config_allowed_ip *ip = &config->allowed_ips[i];
		int family = ip->family_is_v6 ? AF_INET6 : AF_INET;

		if (ip->remove)
			allowedips_remove(device->allowedips, family, ip->addr, ip->cidr, &peer->allowed_ips);
		else
			allowedips_insert(device->allowedips, family, ip->addr, ip->cidr, &peer->allowed_ips);
	}
}

static void apply_peer(struct device *device, struct peer *peer, const struct config_peer *config)
{
	bool keepalive_now = false;

	if (config->flags & CONFIG_PEER_HAS_PRESHARED_KEY)
		memcpy(peer->secrets->handshake.preshared_key, config->preshared_key, NOISE_SYMMETRIC_KEY_LEN);
	apply_allowed_ips(device, peer, config);
	peer_lock(peer);
	if (config->flags & CONFIG_PEER_HAS_ENDPOINT)
		peer->endpoint = config->endpoint;
	if (config->flags & CONFIG_PEER_HAS_PERSISTENT_KEEPALIVE) {
		keepalive_now = !peer->timers.persistent_keepalive_interval_s &&
				config->persistent_keepalive_interval_s && device->is_up;
		timers_set_persistent_keepalive(&peer->timers, config->persistent_keepalive_interval_s);
	}
	peer_unlock(peer);
	if (device->is_up)
		device->hooks.send_staged(device->hooks.arg, peer, keepalive_now);
}

/* Peers that the configuration will need, made before anything is changed. */
static int prepare_peers(struct device *device, const struct device_config *config, struct peer **fresh, uint64_t now_ns)
{
	bool replace = config->flags & CONFIG_DEVICE_REPLACE_PEERS, removes = false;
	unsigned int n = replace ? 0 : device->n_peers;
	size_t n_allowed_ips = 0;

	for (size_t i = 0; i < config->n_peers; i++) {
		const struct config_peer *peer = &config->peers[i];

		removes |= peer->flags & CONFIG_PEER_REMOVE;
		n_allowed_ips += peer->n_allowed_ips;
		if (peer->flags & (CONFIG_PEER_REMOVE | CONFIG_PEER_UPDATE_ONLY))
			continue;
		/* One that is there need not be made, unless the same request may remove it first. */
		if (!replace && !removes && device_lookup_peer(device, peer->public_key))
			continue;
		fresh[i] = peer_create(device, peer->public_key, now_ns);
		if (!fresh[i] || ++n > MAX_PEERS_PER_DEVICE)
			return -ENOMEM;
	}
	if (allowedips_reserve(device->allowedips, n_allowed_ips))
		return -ENOMEM;
	return reserve_peers(device, n);
}

static void apply_config_peer(struct device *device, const struct config_peer *config, struct peer **fresh,
			      uint64_t now_ns)
{
	const struct noise_static_identity *identity = &device->secrets->identity;
	struct peer *peer = device_lookup_peer(device, config->public_key);

	if (config->flags & CONFIG_PEER_REMOVE) {
		if (peer)
			unlink_peer(device, peer, now_ns);
		return;
	}
	if (!peer && *fresh) {
		/* Our own public key as a peer is ignored. */
		if (identity->has_identity && !memcmp(identity->public_key, config->public_key, NOISE_PUBLIC_KEY_LEN))
			return;
		peer = *fresh;
		*fresh = NULL;
		link_peer(device, peer);
		if (device->is_up)
			timers_start(&peer->timers);
	}
	if (peer)
		apply_peer(device, peer, config);
}

int device_apply(struct device *device, const struct device_config *config, uint64_t now_ns)
{
	struct peer **fresh = calloc(config->n_peers + 1, sizeof(*fresh));
	int error = -ENOMEM;

	if (!fresh)
		return error;
	error = prepare_peers(device, config, fresh, now_ns);
	if (error)
		goto out;
	if (config->flags & CONFIG_DEVICE_REPLACE_PEERS)
		while (device->first_peer)
			unlink_peer(device, device->first_peer, now_ns);
	if (config->flags & CONFIG_DEVICE_HAS_PRIVATE_KEY)
		set_private_key(device, config->private_key, now_ns);
	for (size_t i = 0; i < config->n_peers; i++)
		apply_config_peer(device, &config->peers[i], &fresh[i], now_ns);
	atomic_store(&device->has_retired, true); /* allowed IPs may have gone */
out:
	allowedips_reserve(device->allowedips, 0);
	for (size_t i = 0; i < config->n_peers; i++)
		peer_free(fresh[i]);
	free(fresh);
	return error;
}

static int peer_status(struct peer *peer, struct config_peer *status)
{
	const struct allowed_ip *ip;
	uint8_t addr[16], cidr;

	memcpy(status->preshared_key, peer->secrets->handshake.preshared_key, NOISE_SYMMETRIC_KEY_LEN);
	status->flags = CONFIG_PEER_HAS_PRESHARED_KEY | CONFIG_PEER_HAS_PERSISTENT_KEEPALIVE;
	peer_lock(peer);
	status->endpoint = peer->endpoint;
	if (peer->endpoint.family != AF_UNSPEC)
		status->flags |= CONFIG_PEER_HAS_ENDPOINT;
	status->persistent_keepalive_interval_s = peer->timers.persistent_keepalive_interval_s;
	status->last_handshake_sec = (int64_t)(peer->timers.last_handshake_realtime_ns / NS_PER_SECOND);
	status->last_handshake_nsec = (uint32_t)(peer->timers.last_handshake_realtime_ns % NS_PER_SECOND);
	peer_unlock(peer);
	status->rx_bytes = peer->rx_bytes;
	status->tx_bytes = peer->tx_bytes;
	for (ip = peer->allowed_ips.first; ip; ip = allowed_ip_next(ip)) {
		int family = allowed_ip_get(ip, addr, &cidr);

		if (config_peer_add_allowed_ip(status, family, addr, cidr, false))
			return -ENOMEM;
	}
	return 0;
}

int device_status(struct device *device, struct device_config *status)
{
	const struct noise_static_identity *identity = &device->secrets->identity;

	if (identity->has_identity) {
		status->flags |= CONFIG_DEVICE_HAS_PRIVATE_KEY;
		memcpy(status->private_key, identity->private_key, NOISE_PUBLIC_KEY_LEN);
	}
	if (device->listen_port)
		status->flags |= CONFIG_DEVICE_HAS_LISTEN_PORT;
	if (device->fwmark)
		status->flags |= CONFIG_DEVICE_HAS_FWMARK;
	status->listen_port = device->listen_port;
	status->fwmark = device->fwmark;
	for (struct peer *peer = device->first_peer; peer; peer = peer->list_next) {
		struct config_peer *out = device_config_add_peer(status, peer->public_key);

		if (!out || peer_status(peer, out))
			return -ENOMEM;
	}
	return 0;
}

/* ------ Up and down ------ */

void device_up(struct device *device)
{
	device->is_up = true;
	for (struct peer *peer = device->first_peer; peer; peer = peer->list_next) {
		bool keepalive;

		peer_lock(peer);
		timers_start(&peer->timers);
		keepalive = peer->timers.persistent_keepalive_interval_s;
		peer_unlock(peer);
		device->hooks.send_staged(device->hooks.arg, peer, keepalive);
	}
}

void device_down(struct device *device, uint64_t now_ns)
{
	device->is_up = false;
	for (struct peer *peer = device->first_peer; peer; peer = peer->list_next) {
		device_clear_handshake(device, peer);
		peer_lock(peer);
		timers_stop(&peer->timers, now_ns);
		peer_clear_keypairs(peer);
		staged_packets_free(peer_take_staged(peer).first);
		peer_unlock(peer);
	}
}

/* ------ Handshakes ------ */

uint32_t device_insert_index(struct device *device, struct index_entry *entry, enum index_type type, void *owner)
{
	uint32_t index;

	pthread_mutex_lock(&device->index_lock);
	index_table_remove(device->indices, entry);
	do {
		device->hooks.random(&index, sizeof(index));
	} while (!index_table_insert(device->indices, entry, type, owner, index));
	pthread_mutex_unlock(&device->index_lock);
	return index;
}

void device_clear_handshake(struct device *device, struct peer *peer)
{
	pthread_mutex_lock(&device->index_lock);
	index_table_remove(device->indices, &peer->handshake_index);
	pthread_mutex_unlock(&device->index_lock);
	noise_handshake_clear(&peer->secrets->handshake);
}

/* One tick of the label's rounded clock, in ns. */
#define TIMESTAMP_TICK_NS (1ULL << 24)

/* Only a peer's own labels must differ. Were all peers' to, many peers would drive them into the future. */
void device_next_timestamp(struct peer *peer, uint8_t out[static NOISE_TIMESTAMP_LEN])
{
	struct device *device = peer->device;
	uint64_t real_ns = device->hooks.realtime_ns(device->hooks.arg), now_ns = real_ns;

	if (now_ns < device->last_timestamp_ns)
		now_ns = device->last_timestamp_ns;
	if (now_ns < peer->last_timestamp_ns + TIMESTAMP_TICK_NS)
		now_ns = peer->last_timestamp_ns + TIMESTAMP_TICK_NS;
	if (device->last_timestamp_ns != now_ns && now_ns > real_ns)
		device_note_news(device);
	device->last_timestamp_ns = now_ns;
	peer->last_timestamp_ns = now_ns;
	noise_tai64n(out, now_ns);
}

/* ------ Queues ------ */

void device_request_initiation(struct peer *peer, bool is_retry, uint64_t now_ns)
{
	struct device *device = peer->device;
	bool wake = false;

	if (!is_retry)
		timers_reset_attempts(&peer->timers);
	if (!peer->timers.is_running || !timers_may_initiate(&peer->timers, now_ns))
		return;
	pthread_mutex_lock(&device->queue_lock);
	if (!peer->initiation_is_queued && !peer->is_dead) {
		wake = !device->initiations;
		peer->initiation_next = NULL;
		peer->initiation_is_queued = true;
		peer->initiation_is_retry = is_retry;
		peer->initiation_link = device->initiations_end;
		*device->initiations_end = peer;
		device->initiations_end = &peer->initiation_next;
	}
	pthread_mutex_unlock(&device->queue_lock);
	if (wake)
		device->hooks.wake_handshake(device->hooks.arg);
}

struct peer *device_take_initiation(struct device *device, bool *is_retry)
{
	struct peer *peer;

	pthread_mutex_lock(&device->queue_lock);
	peer = device->initiations;
	if (peer) {
		unqueue_initiation(device, peer);
		*is_retry = peer->initiation_is_retry;
	}
	pthread_mutex_unlock(&device->queue_lock);
	return peer;
}

static struct peer *take_kick(struct device *device)
{
	struct peer *peer;

	pthread_mutex_lock(&device->queue_lock);
	peer = device->kicks;
	if (peer)
		unqueue_kick(peer);
	pthread_mutex_unlock(&device->queue_lock);
	return peer;
}

void device_collect_kicks(struct device *device)
{
	struct peer *peer;

	while ((peer = take_kick(device))) {
		peer_lock(peer);
		timer_queue_schedule(&device->timer_queue, peer, timers_next_deadline(&peer->timers));
		peer_unlock(peer);
	}
}

/* ------ Disposal ------ */

void device_note_news(struct device *device)
{
	if (!atomic_exchange(&device->has_news, true))
		device->hooks.wake_control(device->hooks.arg);
}

/* Key material does not wait for control to wake up for another reason. */
static void note_retired(struct device *device)
{
	if (!atomic_exchange(&device->has_retired, true))
		device->hooks.wake_control(device->hooks.arg);
}

void device_retire_keypairs(struct device *device, struct keypair *dropped)
{
	struct keypair *last;

	if (!dropped)
		return;
	pthread_mutex_lock(&device->index_lock);
	for (struct keypair *keypair = dropped; keypair; keypair = keypair->next_dropped) {
		index_table_remove(device->indices, &keypair->index);
		last = keypair;
	}
	pthread_mutex_unlock(&device->index_lock);
	pthread_mutex_lock(&device->queue_lock);
	last->next_dropped = device->retired_keypairs;
	device->retired_keypairs = dropped;
	pthread_mutex_unlock(&device->queue_lock);
	note_retired(device);
}

bool device_take_retired(struct device *device, struct device_retired *retired)
{
	if (!atomic_exchange(&device->has_retired, false))
		return false;
	pthread_mutex_lock(&device->queue_lock);
	retired->keypairs = device->retired_keypairs;
	retired->peers = device->retired_peers;
	device->retired_keypairs = NULL;
	device->retired_peers = NULL;
	pthread_mutex_unlock(&device->queue_lock);
	return true;
}

void device_free_retired(struct device *device, struct device_retired *retired)
{
	allowedips_reclaim(device->allowedips);
	while (retired->keypairs) {
		struct keypair *next = retired->keypairs->next_dropped;

		keypair_free(retired->keypairs);
		retired->keypairs = next;
	}
	while (retired->peers) {
		struct peer *next = retired->peers->list_next;

		peer_free(retired->peers);
		retired->peers = next;
	}
}
