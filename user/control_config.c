// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Configuration, applied whole or not at all: what somebody else can refuse (a port, a mark) is asked for first.
 */
#include "control_internal.h"

#include <errno.h>
#include <string.h>

#include "log.h"
#include "state.h"

/* A larger configuration is saved with a delay, so that many small changes do not save it as often. */
#define SAVE_AT_ONCE_PEERS 64
/* Between two saves, so that those of many peers with new endpoints and timestamps do not keep control busy. */
#define SAVE_NS_PER_PEER 100000ULL

void control_save_state(struct control *control)
{
	int error;

	device_lock(&control->device);
	error = state_save(control->start->state_fd, &control->state_second_half, &control->device);
	device_unlock(&control->device);
	if (error)
		log_error("cannot keep the configuration for a restart: %s", strerror(-error));
	control->state_is_dirty = false;
	control->next_save_ns = worker_now_ns() + control->device.n_peers * SAVE_NS_PER_PEER;
}

static int apply(struct control *control, const struct device_config *config)
{
	struct worker_sockets *sockets[PRIVILEGED_MAX_WORKERS] = { 0 };
	struct device *device = &control->device;
	uint32_t fwmark = config->flags & CONFIG_DEVICE_HAS_FWMARK ? config->fwmark : device->fwmark;
	uint16_t port = config->flags & CONFIG_DEVICE_HAS_LISTEN_PORT ? config->listen_port : device->listen_port;
	bool reopen = device->is_up && port != device->listen_port, remark = fwmark != device->fwmark;
	int error = 0;

	/* What others can refuse comes first. */
	if (reopen)
		error = control_open_sockets(control, sockets, &port, fwmark);
	else if (remark && device->is_up)
		error = privileged_set_fwmark(control->start->monitor_fd, fwmark);
	if (error)
		return error;

	device_lock(device);
	error = device_apply(device, config, worker_now_ns());
	if (!error) {
		device->listen_port = port;
		device->fwmark = fwmark;
		for (struct peer *peer = device->first_peer; peer && (reopen || remark); peer = peer->list_next) {
			peer_lock(peer);
			endpoint_clear_src(&peer->endpoint);
			peer_unlock(peer);
		}
	}
	device_unlock(device);
	if (error) {
		control_free_sockets(control, sockets);
		if (remark && device->is_up && !reopen)
			privileged_set_fwmark(control->start->monitor_fd, device->fwmark);
		return error;
	}
	if (reopen)
		control_swap_sockets(control, sockets);
	return 0;
}

/*
 * A successor takes up where the dead agent was, but for its sessions. Saved is again only what is complete: not the
 * configuration without the timestamps that belong to it.
 */
void control_restore_state(struct control *control)
{
	struct device_config config;
	int error;

	device_config_init(&config);
	error = state_load(control->start->state_fd, &config, &control->state_second_half);
	if (!error)
		error = apply(control, &config);
	device_lock(&control->device);
	if (!error)
		error = state_load_timestamps(control->start->state_fd, &control->device);
	device_unlock(&control->device);
	device_config_deinit(&config);
	if (error && error != -ENOENT)
		log_error("cannot restore the configuration after a restart: %s", strerror(-error));
}

int control_apply(struct control *control, const struct device_config *config)
{
	int error = apply(control, config);

	if (error)
		return error;
	control->state_is_dirty = true;
	if (control->device.n_peers <= SAVE_AT_ONCE_PEERS)
		control_save_state(control);
	control_want_housekeeping(control);
	return 0;
}

int control_status(struct control *control, struct device_config *status)
{
	int error;

	device_lock(&control->device);
	error = device_status(&control->device, status);
	device_unlock(&control->device);
	return error;
}

static uint64_t sum_drops(struct control *control, enum drop_reason why)
{
	uint64_t sum = control->worker.drops[why] + control->handshake_worker.drops[why];

	for (unsigned int i = 0; i < control->start->n_workers; i++)
		sum += worker_thread_worker(control->threads[i])->drops[why];
	return sum;
}

void control_format_extra(struct control *control, struct uapi_text *text)
{
	static const char *const names[] = {
#define DROP_REASON_NAME(name, word, meaning) word,
		DROP_REASONS(DROP_REASON_NAME)
#undef DROP_REASON_NAME
	};
	const struct tun_features *features = &control->start->tun_features;
	struct worker_sockets *sockets = worker_thread_sockets(control->threads[0]);

	uapi_text_printf(text, "aead=%s\n", aead_name(control->worker.aead));
	for (int i = 0; i < AEAD_BACKEND_COUNT; i++)
		if (control->aead.ns_1420[i])
			uapi_text_printf(text, "aead_ns_1420_%s=%u\n", aead_backend_word((enum aead_backend)i),
					 control->aead.ns_1420[i]);
	uapi_text_printf(text, "datapath=skb\ntx=udp\nworkers=%u\n", control->start->n_workers);
	uapi_text_printf(text, "tun_tso=%d\ntun_uso=%d\n", features->tso, features->uso);
	uapi_text_printf(text, "tun_coalesce_tcp=%d\ntun_coalesce_udp=%d\n",
			 worker_thread_tun(control->threads[0])->coalesce_tcp,
			 worker_thread_tun(control->threads[0])->coalesce_udp);
	uapi_text_printf(text, "udp_gso4=%d\nudp_gso6=%d\n", sockets && sockets->sock.gso4,
			 sockets && sockets->sock.gso6);
	uapi_text_printf(text, "up=%d\nrestarted=%d\n", control->device.is_up, control->start->is_restart);
	uapi_text_printf(text, "cookie_replies=%lu\n", (unsigned long)control->handshake_worker.cookie_replies);
	for (int why = DROP_NONE + 1; why < DROP_REASON_COUNT; why++)
		uapi_text_printf(text, "drop_%s=%lu\n", names[why],
				 (unsigned long)sum_drops(control, (enum drop_reason)why));
}
