// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A header at offset 0 names one of two places where the latest complete state stands; it is written last, in one piece. */
#include "state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto/secret.h"
#include "device.h"
#include "uapi_text.h"

#define STATE_MAGIC 0x3153645832676757ULL
/* Where the two copies may begin: the file is sparse. */
#define FIRST_HALF 4096
#define SECOND_HALF (1LL << 40)

/* More than a million peers need. */
#define TEXT_LEN_MAX (1ULL << 30)

struct state_header {
	uint64_t magic;
	uint64_t offset, text_len;
	uint64_t n_peers;
	uint64_t last_timestamp_ns;
};

struct state_peer {
	uint8_t public_key[NOISE_PUBLIC_KEY_LEN];
	uint8_t latest_timestamp[NOISE_TIMESTAMP_LEN];
};

static int write_all(int fd, const void *data, size_t len, off_t offset)
{
	while (len) {
		ssize_t n = pwrite(fd, data, len, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		data = (const char *)data + n;
		len -= (size_t)n;
		offset += n;
	}
	return 0;
}

static int read_all(int fd, void *data, size_t len, off_t offset)
{
	while (len) {
		ssize_t n = pread(fd, data, len, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EPROTO;
		data = (char *)data + n;
		len -= (size_t)n;
		offset += n;
	}
	return 0;
}

/* The device's status as a request that sets it all. */
static int format_config(struct device *device, struct uapi_text *text)
{
	struct device_config status;
	int error;

	device_config_init(&status);
	error = device_status(device, &status);
	if (!error) {
		status.flags |= CONFIG_DEVICE_REPLACE_PEERS;
		uapi_format_set(text, &status);
		error = text->failed ? -ENOMEM : 0;
	}
	device_config_deinit(&status);
	return error;
}

static int write_peers(int fd, const struct device *device, off_t offset)
{
	struct state_peer *peers = calloc(device->n_peers + 1, sizeof(*peers));
	size_t n = 0;
	int error;

	if (!peers)
		return -ENOMEM;
	for (const struct peer *peer = device->first_peer; peer; peer = peer->list_next, n++) {
		memcpy(peers[n].public_key, peer->public_key, NOISE_PUBLIC_KEY_LEN);
		memcpy(peers[n].latest_timestamp, peer->secrets->handshake.latest_timestamp, NOISE_TIMESTAMP_LEN);
	}
	error = write_all(fd, peers, n * sizeof(*peers), offset);
	free(peers);
	return error;
}

static int load_header(int fd, struct state_header *header)
{
	if (read_all(fd, header, sizeof(*header), 0))
		return -ENOENT;
	if (header->magic != STATE_MAGIC || (header->offset != FIRST_HALF && header->offset != SECOND_HALF) ||
	    header->text_len > TEXT_LEN_MAX || header->n_peers > MAX_PEERS_PER_DEVICE)
		return -EPROTO;
	return 0;
}

/* Keys that have been replaced or removed do not stay in the half that is out of use. */
static void wipe_half(int fd, const struct state_header *old)
{
	static const char zeroes[16384];
	size_t len;

	for (uint64_t at = 0; at < old->text_len; at += len) {
		len = old->text_len - at < sizeof(zeroes) ? old->text_len - at : sizeof(zeroes);
		if (write_all(fd, zeroes, len, (off_t)(old->offset + at)))
			return;
	}
}

int state_save(int fd, bool *second_half, struct device *device)
{
	struct uapi_text text = { 0 };
	struct state_header old, header = {
		.magic = STATE_MAGIC,
		.offset = *second_half ? SECOND_HALF : FIRST_HALF,
		.n_peers = device->n_peers,
		.last_timestamp_ns = device->last_timestamp_ns,
	};
	bool has_old = !load_header(fd, &old) && old.offset != header.offset;
	int error = format_config(device, &text);

	header.text_len = text.len;
	if (!error)
		error = write_all(fd, text.text, text.len, (off_t)header.offset);
	if (!error)
		error = write_peers(fd, device, (off_t)(header.offset + header.text_len));
	if (!error)
		error = write_all(fd, &header, sizeof(header), 0);
	if (!error)
		*second_half = !*second_half;
	if (!error && has_old)
		wipe_half(fd, &old);
	uapi_text_deinit(&text);
	return error;
}

/* Whole? It ends with an empty line. */
static int check_text(int fd, const struct state_header *header)
{
	char end[2] = "";

	if (header->text_len < sizeof(end) ||
	    read_all(fd, end, sizeof(end), (off_t)(header->offset + header->text_len - sizeof(end))))
		return -EPROTO;
	return memcmp(end, "\n\n", sizeof(end)) != 0 ? -EPROTO : 0;
}

static int parse_lines(char *text, struct device_config *config)
{
	struct uapi_set_parser parser;
	char *line, *rest = text;
	int error = 0;

	uapi_set_parser_init(&parser, config);
	while (!error && (line = strsep(&rest, "\n")))
		if (*line && strcmp(line, "set=1"))
			error = uapi_set_parse_line(&parser, line);
	return error;
}

int state_load(int fd, struct device_config *config, bool *second_half)
{
	struct state_header header;
	char *text;
	int error = load_header(fd, &header);

	if (!error)
		error = check_text(fd, &header);
	if (error)
		return error;
	*second_half = header.offset == FIRST_HALF;
	text = malloc(header.text_len + 1);
	if (!text)
		return -ENOMEM;
	error = read_all(fd, text, header.text_len, (off_t)header.offset);
	text[header.text_len] = '\0';
	if (!error)
		error = parse_lines(text, config);
	secret_wipe(text, header.text_len);
	free(text);
	return error;
}

int state_load_timestamps(int fd, struct device *device)
{
	struct state_header header;
	struct state_peer saved;
	int error = load_header(fd, &header);

	for (uint64_t i = 0; !error && i < header.n_peers; i++) {
		struct peer *peer;

		error = read_all(fd, &saved, sizeof(saved),
				 (off_t)(header.offset + header.text_len + i * sizeof(saved)));
		peer = error ? NULL : device_lookup_peer(device, saved.public_key);
		if (peer)
			memcpy(peer->secrets->handshake.latest_timestamp, saved.latest_timestamp, NOISE_TIMESTAMP_LEN);
	}
	/* Which peer had it is not known: the next one of each comes after it. */
	for (struct peer *peer = device->first_peer; !error && peer; peer = peer->list_next)
		peer->last_timestamp_ns = header.last_timestamp_ns;
	if (!error)
		device->last_timestamp_ns = header.last_timestamp_ns;
	return error;
}
