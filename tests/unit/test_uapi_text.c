// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../user/uapi_text.c"

#define SEED 1717
#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define HEX_UPPER "0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF"
#define ZERO "0000000000000000000000000000000000000000000000000000000000000000"

/* One line after `preface' lines of a set request, and what it must answer. */
static const struct set_case {
	bool in_peer;
	const char *line;
	int result;
} set_cases[] = {
	{ false, "private_key=" HEX, 0 },
	{ false, "private_key=" HEX_UPPER, 0 },
	{ false, "private_key=" ZERO, 0 },
	{ false, "private_key=", -EINVAL },
	{ false, "private_key=" HEX "0", -EINVAL },
	{ false, "private_key=" HEX "\r", -EINVAL },
	{ false, "private_key= " HEX, -EINVAL },
	{ false, "private_key=0123", -EINVAL },
	{ false, "private_key=g123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", -EINVAL },
	{ false, "private_key", -EPROTO },
	{ false, "", -EPROTO },
	{ false, "=", -EINVAL },
	{ false, "=" HEX, -EINVAL },
	{ false, " private_key=" HEX, -EINVAL },
	{ false, "private_key =" HEX, -EINVAL },
	{ false, "Private_Key=" HEX, -EINVAL },
	{ true, "private_key=" HEX, -EINVAL },
	{ false, "listen_port=0", 0 },
	{ false, "listen_port=65535", 0 },
	{ false, "listen_port=00080", 0 },
	{ false, "listen_port=65536", -EINVAL },
	{ false, "listen_port=18446744073709551617", -EINVAL },
	{ false, "listen_port=-1", -EINVAL },
	{ false, "listen_port=+1", -EINVAL },
	{ false, "listen_port=0x10", -EINVAL },
	{ false, "listen_port=1 ", -EINVAL },
	{ false, "listen_port=1=1", -EINVAL },
	{ false, "listen_port=1\r", -EINVAL },
	{ false, "listen_port=", -EINVAL },
	{ true, "listen_port=1", -EINVAL },
	{ false, "fwmark=0", 0 },
	{ false, "fwmark=4294967295", 0 },
	{ false, "fwmark=4294967296", -EINVAL },
	{ false, "fwmark=-1", -EINVAL },
	{ false, "fwmark=0x1", -EINVAL },
	{ false, "fwmark=off", -EINVAL },
	{ false, "fwmark=", -EINVAL },
	{ true, "fwmark=1", -EINVAL },
	{ false, "replace_peers=true", 0 },
	{ false, "replace_peers=false", -EINVAL },
	{ false, "replace_peers=TRUE", -EINVAL },
	{ false, "replace_peers=1", -EINVAL },
	{ false, "replace_peers=true\r", -EINVAL },
	{ false, "replace_peers=", -EINVAL },
	{ true, "replace_peers=true", -EINVAL },
	{ false, "public_key=" HEX, 0 },
	{ true, "public_key=" HEX, 0 },
	{ true, "public_key=" HEX_UPPER, 0 },
	{ true, "public_key=", -EINVAL },
	{ true, "public_key=" HEX "00", -EINVAL },
	{ true, "remove=true", 0 },
	{ true, "remove=false", -EINVAL },
	{ true, "remove=", -EINVAL },
	{ false, "remove=true", -EINVAL },
	{ true, "update_only=true", 0 },
	{ true, "update_only=false", -EINVAL },
	{ false, "update_only=true", -EINVAL },
	{ true, "preshared_key=" HEX, 0 },
	{ true, "preshared_key=" ZERO, 0 },
	{ true, "preshared_key=zz", -EINVAL },
	{ true, "preshared_key=", -EINVAL },
	{ false, "preshared_key=" HEX, -EINVAL },
	{ true, "endpoint=192.0.2.1:51820", 0 },
	{ true, "endpoint=[2001:db8::1]:51820", 0 },
	{ true, "endpoint=192.0.2.1:65535", 0 },
	{ true, "endpoint=192.0.2.1:65536", -EINVAL },
	{ true, "endpoint=192.0.2.1", -EINVAL },
	{ true, "endpoint=example.com:51820", -EINVAL },
	{ true, "endpoint=2001:db8::1:51820", -EINVAL },
	{ true, "endpoint=192.0.2.1:51820\r", -EINVAL },
	{ true, "endpoint=", -EINVAL },
	{ false, "endpoint=192.0.2.1:51820", -EINVAL },
	{ true, "persistent_keepalive_interval=0", 0 },
	{ true, "persistent_keepalive_interval=65535", 0 },
	{ true, "persistent_keepalive_interval=65536", -EINVAL },
	{ true, "persistent_keepalive_interval=-1", -EINVAL },
	{ true, "persistent_keepalive_interval=off", -EINVAL },
	{ true, "persistent_keepalive_interval=", -EINVAL },
	{ false, "persistent_keepalive_interval=1", -EINVAL },
	{ true, "replace_allowed_ips=true", 0 },
	{ true, "replace_allowed_ips=yes", -EINVAL },
	{ false, "replace_allowed_ips=true", -EINVAL },
	{ true, "allowed_ip=0.0.0.0/0", 0 },
	{ true, "allowed_ip=10.0.0.1/32", 0 },
	{ true, "allowed_ip=10.0.0.1/8", 0 },
	{ true, "allowed_ip=::/0", 0 },
	{ true, "allowed_ip=fd00::1/128", 0 },
	{ true, "allowed_ip=::ffff:10.0.0.1/128", 0 },
	{ true, "allowed_ip=-10.0.0.0/8", 0 },
	{ true, "allowed_ip=-fd00::/8", 0 },
	{ true, "allowed_ip=+10.0.0.0/8", -EINVAL },
	{ true, "allowed_ip=--10.0.0.0/8", -EINVAL },
	{ true, "allowed_ip=-", -EINVAL },
	{ true, "allowed_ip=10.0.0.0/33", -EINVAL },
	{ true, "allowed_ip=::/129", -EINVAL },
	{ true, "allowed_ip=10.0.0.1", -EINVAL },
	{ true, "allowed_ip=10.0.0.0/8,11.0.0.0/8", -EINVAL },
	{ true, "allowed_ip=", -EINVAL },
	{ false, "allowed_ip=10.0.0.0/8", -EINVAL },
	{ true, "protocol_version=1", 0 },
	{ true, "protocol_version=2", -EINVAL },
	{ true, "protocol_version=01", -EINVAL },
	{ true, "protocol_version=", -EINVAL },
	{ false, "protocol_version=1", -EINVAL },
	{ true, "rx_bytes=1", -EINVAL },
	{ true, "unknown_key=1", -EINVAL },
	{ false, "unknown_key=1", -EINVAL },
	{ false, "errno=0", -EINVAL },
	{ false, "set=1", -EINVAL },
};

static int parse_set_text(struct device_config *config, const char *text)
{
	struct uapi_set_parser parser;
	char *copy = strdup(text), *rest = copy, *line;
	int err = 0;

	device_config_init(config);
	uapi_set_parser_init(&parser, config);
	while (!err && (line = strsep(&rest, "\n")) && *line)
		err = uapi_set_parse_line(&parser, line);
	free(copy);
	return err;
}

static void test_set_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(set_cases) / sizeof(*set_cases); i++) {
		struct uapi_set_parser parser;
		struct device_config config;
		char peer[] = "public_key=" ZERO, line[256];
		int result;

		device_config_init(&config);
		uapi_set_parser_init(&parser, &config);
		if (set_cases[i].in_peer)
			assert_int_equal(uapi_set_parse_line(&parser, peer), 0);
		snprintf(line, sizeof(line), "%s", set_cases[i].line);
		result = uapi_set_parse_line(&parser, line);
		if (result != set_cases[i].result)
			fail_msg("%s (%s): %d, not %d", set_cases[i].line, set_cases[i].in_peer ? "peer" : "device",
				 result, set_cases[i].result);
		assert_int_equal(parser.line, set_cases[i].in_peer ? 2 : 1);
		device_config_deinit(&config);
	}
}

static void test_set_values(void **state)
{
	struct device_config config;
	const struct config_peer *peer;

	(void)state;
	assert_int_equal(parse_set_text(&config,
					"private_key=" HEX "\nlisten_port=1\nlisten_port=65535\nfwmark=4294967295\n"
					"replace_peers=true\npublic_key=" HEX_UPPER "\nupdate_only=true\n"
					"preshared_key=" HEX "\nendpoint=192.0.2.1:5\n"
					"persistent_keepalive_interval=65535\nreplace_allowed_ips=true\n"
					"allowed_ip=10.1.2.3/8\nallowed_ip=-fd00::1/64\nprotocol_version=1\n"
					"public_key=" HEX "\nremove=true\n"),
			 0);
	assert_int_equal(config.flags, CONFIG_DEVICE_HAS_PRIVATE_KEY | CONFIG_DEVICE_HAS_LISTEN_PORT |
					       CONFIG_DEVICE_HAS_FWMARK | CONFIG_DEVICE_REPLACE_PEERS);
	assert_int_equal(config.private_key[1], 0x23);
	assert_int_equal(config.listen_port, 65535); /* the last one counts */
	assert_int_equal(config.fwmark, UINT32_MAX);
	assert_int_equal(config.n_peers, 2); /* the same key twice, in order */
	peer = config.peers;
	assert_int_equal(peer->flags, CONFIG_PEER_UPDATE_ONLY | CONFIG_PEER_REPLACE_ALLOWED_IPS |
					      CONFIG_PEER_HAS_PRESHARED_KEY | CONFIG_PEER_HAS_ENDPOINT |
					      CONFIG_PEER_HAS_PERSISTENT_KEEPALIVE);
	assert_memory_equal(peer->public_key, config.private_key, 32);
	assert_memory_equal(peer->preshared_key, config.private_key, 32);
	assert_int_equal(ntohs(peer->endpoint.addr4.sin_port), 5);
	assert_int_equal(peer->persistent_keepalive_interval_s, 65535);
	assert_int_equal(peer->n_allowed_ips, 2);
	assert_int_equal(peer->allowed_ips[0].addr[1], 0); /* host bits are masked */
	assert_false(peer->allowed_ips[0].remove);
	assert_true(peer->allowed_ips[1].remove);
	assert_true(peer->allowed_ips[1].family_is_v6);
	assert_int_equal(config.peers[1].flags, CONFIG_PEER_REMOVE);
	device_config_deinit(&config);
}

static void random_bytes(uint8_t *out, size_t len)
{
	while (len--)
		*out++ = (uint8_t)random();
}

static void fill_randomly(struct device_config *config, bool is_status)
{
	device_config_init(config);
	random_bytes(config->private_key, 32);
	config->listen_port = (uint16_t)(random() | 1);
	config->fwmark = (uint32_t)random() | 1;
	config->flags = CONFIG_DEVICE_HAS_PRIVATE_KEY | CONFIG_DEVICE_HAS_LISTEN_PORT | CONFIG_DEVICE_HAS_FWMARK;
	for (long i = random() % 20; i; i--) {
		uint8_t key[32];
		struct config_peer *peer;

		random_bytes(key, 32);
		peer = device_config_add_peer(config, key);
		if (random() % 2) {
			random_bytes(peer->preshared_key, 32);
			peer->flags |= CONFIG_PEER_HAS_PRESHARED_KEY;
		}
		if (random() % 2) {
			assert_true(
				endpoint_parse(&peer->endpoint, random() % 2 ? "192.0.2.1:51820" : "[2001:db8::1]:9"));
			peer->flags |= CONFIG_PEER_HAS_ENDPOINT;
		}
		peer->flags |= CONFIG_PEER_HAS_PERSISTENT_KEEPALIVE;
		peer->persistent_keepalive_interval_s = (uint16_t)random();
		for (long j = random() % 30; j; j--) {
			random_bytes(key, 16);
			config_peer_add_allowed_ip(peer, j % 2 ? AF_INET : AF_INET6, key, (uint8_t)(random() % 33),
						   !is_status && random() % 2);
		}
		if (!is_status) {
			peer->flags |= random() % 2 ? CONFIG_PEER_UPDATE_ONLY : 0;
			peer->flags |= random() % 2 ? CONFIG_PEER_REPLACE_ALLOWED_IPS : 0;
			continue;
		}
		random_bytes((void *)&peer->rx_bytes, 8);
		peer->tx_bytes = random() % 2 ? UINT64_MAX : 0;
		peer->last_handshake_sec = random();
		peer->last_handshake_nsec = (uint32_t)random() % 1000000000;
	}
}

static void assert_same(const struct device_config *a, const struct device_config *b)
{
	assert_int_equal(a->flags, b->flags);
	assert_memory_equal(a->private_key, b->private_key, 32);
	assert_int_equal(a->listen_port, b->listen_port);
	assert_int_equal(a->fwmark, b->fwmark);
	assert_int_equal(a->n_peers, b->n_peers);
	for (size_t i = 0; i < a->n_peers; i++) {
		struct config_peer first = a->peers[i], second = b->peers[i];

		assert_int_equal(first.n_allowed_ips, second.n_allowed_ips);
		if (first.n_allowed_ips)
			assert_memory_equal(first.allowed_ips, second.allowed_ips,
					    first.n_allowed_ips * sizeof(*first.allowed_ips));
		first.allowed_ips = second.allowed_ips = NULL;
		first.allowed_ips_capacity = second.allowed_ips_capacity = 0;
		assert_memory_equal(&first, &second, sizeof(first));
	}
}

static void test_set_round_trip(void **state)
{
	(void)state;
	print_message("seed %d\n", SEED);
	srandom(SEED);
	for (unsigned int i = 0; i < 200; i++) {
		struct device_config config, parsed;
		struct uapi_text text = { 0 };

		fill_randomly(&config, false);
		config.flags |= i % 2 ? CONFIG_DEVICE_REPLACE_PEERS : 0;
		uapi_format_set(&text, &config);
		assert_false(text.failed);
		assert_int_equal(strncmp(text.text, "set=1\n", 6), 0);
		assert_string_equal(text.text + text.len - 2, "\n\n");
		assert_int_equal(parse_set_text(&parsed, text.text + 6), 0);
		assert_same(&config, &parsed);
		uapi_text_deinit(&text);
		device_config_deinit(&config);
		device_config_deinit(&parsed);
	}
}

static void test_get_round_trip(void **state)
{
	(void)state;
	print_message("seed %d\n", SEED + 1);
	srandom(SEED + 1);
	for (unsigned int i = 0; i < 200; i++) {
		struct device_config config, parsed;
		struct uapi_text text = { 0 };
		int error = -1;

		fill_randomly(&config, true);
		uapi_format_get(&text, &config);
		uapi_text_printf(&text, "errno=0\n\n");
		device_config_init(&parsed);
		assert_int_equal(uapi_parse_get(&parsed, text.text, &error), 0);
		assert_int_equal(error, 0);
		assert_same(&config, &parsed);
		uapi_text_deinit(&text);
		device_config_deinit(&config);
		device_config_deinit(&parsed);
	}
}

/* Letter for letter: what stock tools parse. */
static void test_get_text(void **state)
{
	static const char nothing_set[] =
		"public_key=" ZERO "\npreshared_key=" ZERO "\nprotocol_version=1\n"
		"last_handshake_time_sec=0\nlast_handshake_time_nsec=0\ntx_bytes=0\nrx_bytes=0\n"
		"persistent_keepalive_interval=0\n";
	static const char all_set[] = "private_key=" HEX "\nlisten_port=51820\nfwmark=51820\npublic_key=" HEX "\n"
				      "preshared_key=" HEX "\nprotocol_version=1\nendpoint=[2001:db8::1]:51820\n"
				      "last_handshake_time_sec=1700000000\nlast_handshake_time_nsec=5\ntx_bytes=7\n"
				      "rx_bytes=18446744073709551615\npersistent_keepalive_interval=25\n"
				      "allowed_ip=10.0.0.0/8\nallowed_ip=fd00::/8\n";
	static const uint8_t zero[32];
	struct uapi_text text = { 0 };
	struct device_config config, parsed;
	char *copy;
	int error;

	(void)state;
	device_config_init(&config);
	uapi_format_get(&text, &config);
	assert_int_equal(text.len, 0);
	assert_non_null(device_config_add_peer(&config, zero));
	uapi_format_get(&text, &config);
	assert_string_equal(text.text, nothing_set);
	uapi_text_deinit(&text);
	device_config_deinit(&config);

	device_config_init(&parsed);
	copy = malloc(sizeof(all_set) + 16);
	sprintf(copy, "%serrno=0\n\n", all_set);
	assert_int_equal(uapi_parse_get(&parsed, copy, &error), 0);
	uapi_format_get(&text, &parsed);
	assert_string_equal(text.text, all_set);
	free(copy);
	uapi_text_deinit(&text);
	device_config_deinit(&parsed);
}

/* An answer, what comes of it, and its errno. */
static const struct {
	const char *text;
	int result, error;
} get_cases[] = {
	{ "errno=0\n\n", 0, 0 },
	{ "errno=22\n\n", 0, 22 },
	{ "errno=-22\n\n", 0, -22 },
	{ "errno=0", 0, 0 },
	{ "", -EPROTO, 0 },
	{ "\n", -EPROTO, 0 },
	{ "errno=\n\n", -EPROTO, 0 },
	{ "errno=x\n\n", -EPROTO, 0 },
	{ "errno=2147483648\n\n", -EPROTO, 0 },
	{ "listen_port=1\n", -EPROTO, 0 },
	{ "listen_port=1\n\nerrno=0\n\n", -EPROTO, 0 },
	{ "listen_port=65536\nerrno=0\n\n", -EPROTO, 0 },
	{ "no equals sign\nerrno=0\n\n", -EPROTO, 0 },
	{ "some_extension=\nerrno=0\n\n", 0, 0 },
	{ "public_key=" HEX "\nsome_extension=x=y\nrx_bytes=18446744073709551615\nerrno=0\n\n", 0, 0 },
	{ "public_key=" HEX "\nrx_bytes=18446744073709551616\nerrno=0\n\n", -EPROTO, 0 },
	{ "public_key=" HEX "\nrx_bytes=-1\nerrno=0\n\n", -EPROTO, 0 },
	{ "public_key=" HEX "\nlast_handshake_time_sec=9223372036854775807\nerrno=0\n\n", 0, 0 },
	{ "public_key=" HEX "\nlast_handshake_time_sec=9223372036854775808\nerrno=0\n\n", -EPROTO, 0 },
	{ "public_key=" HEX "\nlast_handshake_time_nsec=999999999\nerrno=0\n\n", 0, 0 },
	{ "public_key=" HEX "\nlast_handshake_time_nsec=1000000000\nerrno=0\n\n", -EPROTO, 0 },
	{ "public_key=" HEX "\nallowed_ip=10.0.0.0/33\nerrno=0\n\n", -EPROTO, 0 },
	{ "public_key=" HEX "\nallowed_ip=-10.0.0.0/8\nerrno=0\n\n", -EPROTO, 0 },
	{ "public_key=" HEX "\npreshared_key=12\nerrno=0\n\n", -EPROTO, 0 },
	{ "public_key=12\nerrno=0\n\n", -EPROTO, 0 },
};

static void test_get_answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(get_cases) / sizeof(*get_cases); i++) {
		struct device_config status;
		char *copy = strdup(get_cases[i].text);
		int error = 0, result;

		device_config_init(&status);
		result = uapi_parse_get(&status, copy, &error);
		if (result != get_cases[i].result || error != get_cases[i].error)
			fail_msg("%s: %d and errno %d", get_cases[i].text, result, error);
		device_config_deinit(&status);
		free(copy);
	}
}

/* A zone that only exists elsewhere, and a port nobody can have, cost the zone and the endpoint; nothing else. */
static void test_get_foreign_endpoints(void **state)
{
	char text[] = "public_key=" HEX "\nendpoint=[fe80::1%no-such-link]:5\nrx_bytes=1\n"
		      "public_key=" HEX "\nendpoint=192.0.2.1:0\nrx_bytes=2\nerrno=0\n\n";
	struct device_config status;
	char formatted[ENDPOINT_TEXT_SIZE];
	int error;

	(void)state;
	device_config_init(&status);
	assert_int_equal(uapi_parse_get(&status, text, &error), 0);
	assert_int_equal(status.n_peers, 2);
	assert_int_equal(status.peers[0].flags, CONFIG_PEER_HAS_ENDPOINT);
	endpoint_format(formatted, &status.peers[0].endpoint);
	assert_string_equal(formatted, "[fe80::1]:5");
	assert_int_equal(status.peers[1].flags, 0);
	assert_int_equal(status.peers[1].endpoint.family, AF_UNSPEC);
	assert_int_equal(status.peers[1].rx_bytes, 2);
	device_config_deinit(&status);
}

/* 130,560 prefixes on one peer, both ways. */
static void test_large(void **state)
{
	static const uint8_t key[32] = { 1 };
	struct device_config config, parsed;
	struct uapi_text text = { 0 };
	struct config_peer *peer;
	int error;

	(void)state;
	device_config_init(&config);
	peer = device_config_add_peer(&config, key);
	for (uint32_t i = 0; i < 130560; i++) {
		uint8_t addr[4] = { 10, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i };

		assert_int_equal(config_peer_add_allowed_ip(peer, AF_INET, addr, 32, false), 0);
	}
	uapi_format_get(&text, &config);
	uapi_text_printf(&text, "errno=0\n\n");
	device_config_init(&parsed);
	assert_int_equal(uapi_parse_get(&parsed, text.text, &error), 0);
	assert_int_equal(parsed.peers[0].n_allowed_ips, 130560);
	assert_memory_equal(parsed.peers[0].allowed_ips, peer->allowed_ips, 130560 * sizeof(*peer->allowed_ips));
	uapi_text_deinit(&text);
	device_config_deinit(&config);
	device_config_deinit(&parsed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_lines),
		cmocka_unit_test(test_set_values),
		cmocka_unit_test(test_set_round_trip),
		cmocka_unit_test(test_get_round_trip),
		cmocka_unit_test(test_get_text),
		cmocka_unit_test(test_get_answers),
		cmocka_unit_test(test_get_foreign_endpoints),
		cmocka_unit_test(test_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
