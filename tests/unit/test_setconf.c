// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* syncconf's difference: applied to what runs, it must give what the file says. Against a naive model of a device. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "../../tools/wg-xdp/setconf.c"

#include "../../tools/wg-xdp/cmd.c"
#include "../../tools/wg-xdp/conf_file.c"
#include "../../tools/wg-xdp/conf_list.c"
#include "../../tools/wg-xdp/conf_print.c"
#include "../../tools/wg-xdp/conf_value.c"
#include "../../tools/wg-xdp/resolve.c"
#include "../../tools/wg-xdp/uapi_client.c"

#include <cmocka.h>

#define SEED 99
#define N_KEYS 6

/* A device with keys 0..N_KEYS-1; prefixes are numbers, each with one owner. */
struct model {
	uint8_t private_key, has[N_KEYS], preshared_key[N_KEYS];
	uint16_t listen_port, keepalive[N_KEYS];
	uint32_t fwmark;
	int owner[8]; /* -1: nobody */
};

static void model_apply_peer(struct model *model, const struct config_peer *peer)
{
	uint8_t key = peer->public_key[0];

	if (peer->flags & CONFIG_PEER_REMOVE || peer->flags & CONFIG_PEER_REPLACE_ALLOWED_IPS)
		for (size_t i = 0; i < 8; i++)
			model->owner[i] = model->owner[i] == key ? -1 : model->owner[i];
	if (peer->flags & CONFIG_PEER_REMOVE) {
		model->has[key] = model->preshared_key[key] = 0;
		model->keepalive[key] = 0;
		return;
	}
	model->has[key] = 1;
	if (peer->flags & CONFIG_PEER_HAS_PRESHARED_KEY)
		model->preshared_key[key] = peer->preshared_key[0];
	if (peer->flags & CONFIG_PEER_HAS_PERSISTENT_KEEPALIVE)
		model->keepalive[key] = peer->persistent_keepalive_interval_s;
	for (size_t i = 0; i < peer->n_allowed_ips; i++)
		model->owner[peer->allowed_ips[i].addr[3]] = key;
}

static void model_apply(struct model *model, const struct device_config *config)
{
	if (config->flags & CONFIG_DEVICE_HAS_PRIVATE_KEY)
		model->private_key = config->private_key[0];
	if (config->flags & CONFIG_DEVICE_HAS_LISTEN_PORT)
		model->listen_port = config->listen_port;
	if (config->flags & CONFIG_DEVICE_HAS_FWMARK)
		model->fwmark = config->fwmark;
	for (uint8_t key = 0; config->flags & CONFIG_DEVICE_REPLACE_PEERS && key < N_KEYS; key++)
		model_apply_peer(model, &(struct config_peer){ .public_key = { key }, .flags = CONFIG_PEER_REMOVE });
	for (size_t i = 0; i < config->n_peers; i++)
		model_apply_peer(model, &config->peers[i]);
}

/* What get would answer. */
static void model_status(const struct model *model, struct device_config *status)
{
	device_config_init(status);
	status->private_key[0] = model->private_key;
	status->listen_port = model->listen_port;
	status->fwmark = model->fwmark;
	for (uint8_t key = 0; key < N_KEYS; key++) {
		const uint8_t public_key[NOISE_PUBLIC_KEY_LEN] = { key };
		struct config_peer *peer;

		if (!model->has[key])
			continue;
		peer = device_config_add_peer(status, public_key);
		peer->preshared_key[0] = model->preshared_key[key];
		peer->flags = peer->preshared_key[0] ? CONFIG_PEER_HAS_PRESHARED_KEY : 0;
		peer->flags |= CONFIG_PEER_HAS_PERSISTENT_KEEPALIVE;
		peer->persistent_keepalive_interval_s = model->keepalive[key];
	}
}

/* A file's content, sometimes with the same peer twice. */
static void random_file(struct device_config *file)
{
	device_config_init(file);
	file->flags = CONFIG_DEVICE_REPLACE_PEERS | CONFIG_DEVICE_HAS_PRIVATE_KEY | CONFIG_DEVICE_HAS_LISTEN_PORT |
		      CONFIG_DEVICE_HAS_FWMARK;
	file->private_key[0] = (uint8_t)(random() % 3);
	file->listen_port = (uint16_t)(random() % 3);
	file->fwmark = (uint32_t)random() % 3;
	for (long i = random() % (N_KEYS + 1); i; i--) {
		const uint8_t key[NOISE_PUBLIC_KEY_LEN] = { (uint8_t)(random() % N_KEYS) };
		struct config_peer *peer = device_config_add_peer(file, key);

		peer->flags = CONFIG_PEER_REPLACE_ALLOWED_IPS;
		if (random() % 2) {
			peer->flags |= CONFIG_PEER_HAS_PRESHARED_KEY;
			peer->preshared_key[0] = (uint8_t)(random() % 3);
		}
		if (random() % 2) {
			peer->flags |= CONFIG_PEER_HAS_PERSISTENT_KEEPALIVE;
			peer->persistent_keepalive_interval_s = (uint16_t)(random() % 3);
		}
		for (long j = random() % 4; j; j--) {
			const uint8_t addr[4] = { 0, 0, 0, (uint8_t)(random() % 8) };

			config_peer_add_allowed_ip(peer, AF_INET, addr, 32, false);
		}
	}
}

static void test_difference_leads_to_the_file(void **state)
{
	struct model running = { .owner = { -1, -1, -1, -1, -1, -1, -1, -1 } };

	(void)state;
	print_message("seed %d\n", SEED);
	srandom(SEED);
	for (unsigned int i = 0; i < 20000; i++) {
		struct model expected = { .owner = { -1, -1, -1, -1, -1, -1, -1, -1 } };
		struct device_config file, status;

		random_file(&file);
		model_apply(&expected, &file);
		model_status(&running, &status);
		assert_true(make_difference(&file, &status));
		if (file.n_peers && file.flags & CONFIG_DEVICE_REPLACE_PEERS)
			fail_msg("round %u: replace_peers ends every session", i);
		model_apply(&running, &file);
		if (memcmp(&running, &expected, sizeof(running)))
			fail_msg("round %u: the device is not what the file says", i);
		device_config_deinit(&file);
		device_config_deinit(&status);
	}
}

/* The file unchanged: nothing of the device is set again, no peer is removed. */
static void test_no_difference(void **state)
{
	struct model running = { .owner = { -1, -1, -1, -1, -1, -1, -1, -1 } };
	struct device_config file, status;

	(void)state;
	srandom(SEED + 1);
	do {
		random_file(&file);
		if (!file.n_peers)
			device_config_deinit(&file);
	} while (!file.n_peers);
	model_apply(&running, &file);
	model_status(&running, &status);
	assert_true(make_difference(&file, &status));
	assert_int_equal(file.flags, 0);
	for (size_t i = 0; i < file.n_peers; i++)
		assert_int_equal(file.peers[i].flags & CONFIG_PEER_REMOVE, 0);
	device_config_deinit(&file);
	device_config_deinit(&status);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_difference_leads_to_the_file),
		cmocka_unit_test(test_no_difference),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
