// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../user/device_config.c"

#define SEED 4242

/* What a prefix becomes when parsed and formatted again. */
static const struct {
	const char *text, *formatted;
} good[] = {
	{ "10.0.0.0/8", "10.0.0.0/8" },
	{ "10.1.2.3/8", "10.0.0.0/8" },
	{ "10.1.2.3", "10.1.2.3/32" },
	{ "255.255.255.255/31", "255.255.255.254/31" },
	{ "255.255.255.255/0", "0.0.0.0/0" },
	{ "1.2.3.255/25", "1.2.3.128/25" },
	{ "1.2.3.4/032", "1.2.3.4/32" },
	{ "::/0", "::/0" },
	{ "fd00::1", "fd00::1/128" },
	{ "FD00::1/64", "fd00::/64" },
	{ "ffff:ffff::/17", "ffff:8000::/17" },
	{ "::1/127", "::/127" },
	{ "::ffff:1.2.3.4/128", "::ffff:1.2.3.4/128" },
	{ "::ffff:1.2.3.4/120", "::ffff:1.2.3.0/120" },
	{ "1111:2222:3333:4444:5555:6666:7777:8888/128", "1111:2222:3333:4444:5555:6666:7777:8888/128" },
};

static const char *const bad[] = {
	"",
	"/",
	"/8",
	"10.0.0.0/",
	"10.0.0.0/33",
	"10.0.0.0/-1",
	"10.0.0.0/+8",
	"10.0.0.0/ 8",
	"10.0.0.0/8 ",
	" 10.0.0.0/8",
	"10.0.0.0/8/8",
	"10.0.0.0/0x8",
	"10.0.0.0/8\r",
	"10.0.0.0/4294967304",
	"10.0.0/8",
	"10.0.0.256/8",
	"010.0.0.0.0/8",
	"10.0.0.0/255.0.0.0",
	"::/129",
	"::/-0",
	":::/0",
	"[::]/0",
	"fd00::1%eth0/64",
	"example.com/8",
	"10.0.0.0,11.0.0.0",
	"11111:2222:3333:4444:5555:6666:7777:8888/128",
	"1111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111/8",
};

static void test_prefix_text(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		char text[CONFIG_ALLOWED_IP_TEXT_SIZE];
		struct config_allowed_ip parsed, again;

		memset(&parsed, 0xa5, sizeof(parsed));
		if (!config_allowed_ip_parse(&parsed, good[i].text))
			fail_msg("refused: %s", good[i].text);
		config_allowed_ip_format(text, &parsed);
		assert_string_equal(text, good[i].formatted);
		assert_false(parsed.remove);
		assert_true(config_allowed_ip_parse(&again, text));
		assert_memory_equal(&parsed, &again, sizeof(parsed));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct config_allowed_ip parsed;

		if (config_allowed_ip_parse(&parsed, bad[i]))
			fail_msg("accepted: %s", bad[i]);
	}
}

/* Against one bit at a time, every length. */
static void test_mask(void **state)
{
	(void)state;
	print_message("seed %d\n", SEED);
	srandom(SEED);
	for (unsigned int round = 0; round < 4; round++) {
		for (unsigned int cidr = 0; cidr <= 128; cidr++) {
			struct config_peer peer = { 0 };
			uint8_t addr[16], expected[16];
			int family = cidr <= 32 && round % 2 ? AF_INET : AF_INET6;

			for (size_t i = 0; i < 16; i++)
				addr[i] = (uint8_t)random();
			memset(expected, 0, sizeof(expected));
			for (unsigned int bit = 0; bit < cidr; bit++)
				expected[bit / 8] |= addr[bit / 8] & (0x80 >> bit % 8);
			assert_int_equal(config_peer_add_allowed_ip(&peer, family, addr, (uint8_t)cidr, round & 2), 0);
			assert_memory_equal(peer.allowed_ips[0].addr, expected, sizeof(expected));
			assert_int_equal(peer.allowed_ips[0].cidr, cidr);
			assert_int_equal(peer.allowed_ips[0].family_is_v6, family == AF_INET6);
			assert_int_equal(peer.allowed_ips[0].remove, !!(round & 2));
			free(peer.allowed_ips);
		}
	}
}

static void test_growth_keeps_all(void **state)
{
	struct device_config config;

	(void)state;
	device_config_init(&config);
	for (uint32_t i = 0; i < 1000; i++) {
		uint8_t key[NOISE_PUBLIC_KEY_LEN] = { 0 };
		struct config_peer *peer;

		memcpy(key, &i, sizeof(i));
		peer = device_config_add_peer(&config, key);
		assert_non_null(peer);
		assert_int_equal(peer->flags, 0);
		memcpy(peer->preshared_key, &i, sizeof(i));
		for (uint32_t j = 0; j < i % 10; j++)
			assert_int_equal(config_peer_add_allowed_ip(peer, AF_INET, &i, 32, false), 0);
	}
	assert_int_equal(config.n_peers, 1000);
	for (uint32_t i = 0; i < 1000; i++) {
		const struct config_peer *peer = &config.peers[i];

		assert_memory_equal(peer->public_key, &i, sizeof(i));
		assert_memory_equal(peer->preshared_key, &i, sizeof(i));
		assert_int_equal(peer->n_allowed_ips, i % 10);
		for (size_t j = 0; j < peer->n_allowed_ips; j++)
			assert_memory_equal(peer->allowed_ips[j].addr, &i, sizeof(i));
	}
	device_config_deinit(&config);
}

static void test_deinit_wipes(void **state)
{
	static const struct device_config nothing;
	struct device_config config;

	(void)state;
	device_config_init(&config);
	memset(config.private_key, 0x55, sizeof(config.private_key));
	config.flags = CONFIG_DEVICE_HAS_PRIVATE_KEY;
	device_config_deinit(&config);
	assert_memory_equal(&config, &nothing, sizeof(config));
	device_config_deinit(&config); /* harmless */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_prefix_text),
		cmocka_unit_test(test_mask),
		cmocka_unit_test(test_growth_keeps_all),
		cmocka_unit_test(test_deinit_wipes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
