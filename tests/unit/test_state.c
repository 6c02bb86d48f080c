// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#define _GNU_SOURCE /* memfd_create */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

static unsigned long writes_left = -1UL; /* bytes that can still be written */
static bool write_in_pieces;

static ssize_t limited_pwrite(int fd, const void *data, size_t len, off_t offset)
{
	/* The kernel copies a header in one piece. */
	if (!offset && len > writes_left)
		return -1;
	if (offset && write_in_pieces && len > 7)
		len = 7;
	if (len > writes_left)
		len = writes_left;
	if (!len)
		return -1;
	writes_left -= len;
	return pwrite(fd, data, len, offset);
}

#define pwrite limited_pwrite
#include "../../user/state.c"
#undef pwrite

#include <errno.h>

#include "agent_fixture.h"

static struct agent *agent;
static bool second_half;
static int fd;

static int setup(void **state)
{
	(void)state;
	agent = agent_create();
	second_half = false;
	writes_left = -1UL;
	write_in_pieces = false;
	fd = memfd_create("state", 0);
	return fd < 0;
}

static int teardown(void **state)
{
	(void)state;
	agent_free(agent);
	return close(fd);
}

static void set_key(uint8_t n)
{
	uint8_t key[32];

	memset(key, n, sizeof(key));
	agent_set_key(agent, key);
}

static void add(unsigned int n)
{
	uint8_t key[32];
	struct peer *peer;

	agent_key(key, n);
	peer = agent_add_peer(agent, key, n, n % 2);
	memset(peer->secrets->handshake.preshared_key, (int)n, 32);
	memset(peer->secrets->handshake.latest_timestamp, (int)n + 1, NOISE_TIMESTAMP_LEN);
	peer->timers.persistent_keepalive_interval_s = (uint16_t)n;
}

/* Takes the state up in a new device. */
static int load_into(struct agent *fresh, bool *next_half)
{
	struct device_config config = { 0 };
	int error = state_load(fd, &config, next_half);

	if (!error)
		assert_int_equal(agent_apply(fresh, &config), 0);
	if (!error)
		error = state_load_timestamps(fd, &fresh->device);
	device_config_deinit(&config);
	return error;
}

static char *text_of(struct agent *of)
{
	struct device_config status = { 0 };
	struct uapi_text text = { 0 };
	char *copy;

	assert_int_equal(device_status(&of->device, &status), 0);
	uapi_format_get(&text, &status);
	uapi_text_printf(&text, "\n");
	copy = strdup(text.text);
	uapi_text_deinit(&text);
	device_config_deinit(&status);
	return copy;
}

static void assert_loads_as(const char *expected)
{
	struct agent *fresh = agent_create();
	bool half;
	char *text;

	assert_int_equal(load_into(fresh, &half), 0);
	text = text_of(fresh);
	assert_string_equal(text, expected);
	free(text);
	for (struct peer *peer = fresh->device.first_peer; peer; peer = peer->list_next)
		assert_int_equal(peer->secrets->handshake.latest_timestamp[NOISE_TIMESTAMP_LEN - 1],
				 peer->public_key[0] + 1);
	agent_free(fresh);
}

static void test_round_trip(void **state)
{
	struct agent *fresh = agent_create();
	uint8_t label[NOISE_TIMESTAMP_LEN], last[NOISE_TIMESTAMP_LEN];
	bool half;
	char *text;

	(void)state;
	set_key(3);
	for (unsigned int i = 0; i < 50; i++)
		add(i);
	device_next_timestamp(agent->device.first_peer, last);
	assert_int_equal(state_save(fd, &second_half, &agent->device), 0);
	assert_true(second_half);
	text = text_of(agent);
	assert_loads_as(text);
	free(text);

	/* The clock has been set back meanwhile. */
	assert_int_equal(load_into(fresh, &half), 0);
	assert_true(half);
	fresh->realtime_ns -= 3600 * AGENT_SECOND;
	for (struct peer *peer = fresh->device.first_peer; peer; peer = peer->list_next) {
		device_next_timestamp(peer, label);
		assert_true(memcmp(label, last, sizeof(label)) > 0);
	}
	agent_free(fresh);
}

static void test_nothing_saved(void **state)
{
	struct device_config config = { 0 };
	bool half;

	(void)state;
	assert_int_equal(state_load(fd, &config, &half), -ENOENT);
	/* An empty device is a state, too. */
	assert_int_equal(state_save(fd, &second_half, &agent->device), 0);
	assert_int_equal(state_load(fd, &config, &half), 0);
	assert_true(config.flags & CONFIG_DEVICE_REPLACE_PEERS);
	assert_int_equal(config.n_peers, 0);
	device_config_deinit(&config);
}

/* Cut short at every byte: then there is the one before, or, when only wiping remained, the new one. */
static void test_cut_short_anywhere(void **state)
{
	char *before, *after;
	unsigned long n_total;

	(void)state;
	set_key(1);
	for (unsigned int i = 0; i < 4; i++)
		add(i);
	assert_int_equal(state_save(fd, &second_half, &agent->device), 0);
	before = text_of(agent);
	set_key(2);
	add(5);
	after = text_of(agent);
	for (n_total = 0;; n_total += 13) {
		int error;

		writes_left = n_total;
		write_in_pieces = n_total % 2;
		errno = ENOSPC;
		error = state_save(fd, &second_half, &agent->device);
		writes_left = -1UL;
		if (!error)
			break;
		assert_loads_as(before);
	}
	assert_true(n_total > 1000);
	assert_loads_as(after);
	free(before);
	free(after);
}

static bool is_anywhere_in_file(const void *data, size_t len)
{
	for (int half = 0; half < 2; half++) {
		off_t offset = half ? SECOND_HALF : FIRST_HALF;
		uint8_t bytes[65536] = { 0 };
		ssize_t n = pread(fd, bytes, sizeof(bytes), offset);

		if (n > 0 && memmem(bytes, (size_t)n, data, len))
			return true;
	}
	return false;
}

static void test_old_keys_are_wiped(void **state)
{
	char hex[65];

	(void)state;
	set_key(0x41);
	memset(hex, '4', sizeof(hex));
	for (unsigned int i = 1; i < 40; i += 2)
		hex[i] = '1';
	assert_int_equal(state_save(fd, &second_half, &agent->device), 0);
	assert_true(is_anywhere_in_file(hex, 40));
	set_key(0x42);
	assert_int_equal(state_save(fd, &second_half, &agent->device), 0);
	assert_false(is_anywhere_in_file(hex, 40));
}

static void write_header(uint64_t field, size_t at)
{
	assert_int_equal(pwrite(fd, &field, sizeof(field), (off_t)at), sizeof(field));
}

/* Whatever a header says, it costs no more than an error. */
static void test_damaged_headers(void **state)
{
	static const uint64_t values[] = { 0, 1, 2, 4095, 4097, 1ULL << 20, 1ULL << 30, 1ULL << 33, 1ULL << 62,
					   1ULL << 63, UINT64_MAX, UINT64_MAX - 1 };
	struct device_config config = { 0 };
	struct state_header good;
	bool half;

	(void)state;
	set_key(1);
	add(1);
	assert_int_equal(state_save(fd, &second_half, &agent->device), 0);
	assert_int_equal(pread(fd, &good, sizeof(good), 0), sizeof(good));
	for (size_t field = 0; field < 3; field++)
		for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
			write_header(values[i], field * 8);
			assert_int_equal(state_load(fd, &config, &half), -EPROTO);
			assert_int_equal(pwrite(fd, &good, sizeof(good), 0), sizeof(good));
		}
	write_header(MAX_PEERS_PER_DEVICE + 1ULL, offsetof(struct state_header, n_peers));
	assert_int_equal(state_load_timestamps(fd, &agent->device), -EPROTO);
	write_header(1000, offsetof(struct state_header, n_peers));
	assert_int_equal(state_load_timestamps(fd, &agent->device), -EPROTO);
	for (off_t len = 0; len < (off_t)sizeof(good); len += 5) {
		assert_int_equal(ftruncate(fd, len), 0);
		assert_int_equal(state_load(fd, &config, &half), -ENOENT);
	}
	device_config_deinit(&config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_saved, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cut_short_anywhere, setup, teardown),
		cmocka_unit_test_setup_teardown(test_old_keys_are_wiped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged_headers, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
