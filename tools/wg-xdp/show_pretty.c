// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A tunnel for people's eyes: letter for letter what wg(8) prints, then the agent's own facts. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"
#include "crypto/x25519.h"
#include "encoding.h"
#include "show.h"

struct palette {
	const char *reset, *bold, *green, *yellow, *cyan, *red;
};

static const struct palette no_colours = { "", "", "", "", "", "" };
static const struct palette colours = { "\033[0m", "\033[1m", "\033[32m", "\033[33m", "\033[36m", "\033[31m" };

/* Newest first; never comes last. */
static int compare_handshakes(const void *a, const void *b)
{
	const struct config_peer *first = a, *second = b;

	if (first->last_handshake_sec != second->last_handshake_sec)
		return first->last_handshake_sec < second->last_handshake_sec ? 1 : -1;
	if (first->last_handshake_nsec != second->last_handshake_nsec)
		return first->last_handshake_nsec < second->last_handshake_nsec ? 1 : -1;
	return 0;
}

static void print_label(FILE *out, const struct palette *palette, const char *label)
{
	fprintf(out, "  %s%s%s: ", palette->bold, label, palette->reset);
}

static void print_key(FILE *out, const uint8_t key[static NOISE_PUBLIC_KEY_LEN], bool visible)
{
	char base64[KEY_BASE64_SIZE] = "(hidden)";

	if (visible)
		encoding_key_to_base64(base64, key);
	fprintf(out, "%s\n", base64);
	secret_wipe(base64, sizeof(base64));
}

/* "1 day, 2 hours, 1 second". */
static void print_duration(FILE *out, const struct palette *palette, uint64_t seconds)
{
	static const struct {
		const char *name;
		uint64_t seconds;
	} units[] = { { "year", 365 * 86400 }, { "day", 86400 }, { "hour", 3600 }, { "minute", 60 }, { "second", 1 } };
	const char *separator = "";

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		uint64_t n = seconds / units[i].seconds;

		seconds %= units[i].seconds;
		if (!n)
			continue;
		fprintf(out, "%s%" PRIu64 " %s%s%s%s", separator, n, palette->cyan, units[i].name, n == 1 ? "" : "s",
			palette->reset);
		separator = ", ";
	}
}

static void print_ago(FILE *out, const struct palette *palette, int64_t when, int64_t now)
{
	if (when == now) {
		fprintf(out, "Now\n");
	} else if (when > now) {
		fprintf(out, "(%sSystem clock wound backward; connection problems may ensue.%s)\n", palette->red,
			palette->reset);
	} else {
		print_duration(out, palette, (uint64_t)(now - when));
		fprintf(out, " ago\n");
	}
}

static void print_bytes(FILE *out, const struct palette *palette, uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double scaled = (double)bytes;
	size_t i = 0;

	for (uint64_t rest = bytes; rest >= 1024 && i < 4; rest /= 1024, i++)
		scaled /= 1024;
	fprintf(out, i ? "%.2f %s%s%s" : "%.0f %s%s%s", scaled, palette->cyan, units[i], palette->reset);
}

static void print_allowed_ips(FILE *out, const struct palette *palette, const struct config_peer *peer)
{
	for (size_t i = 0; i < peer->n_allowed_ips; i++) {
		char text[CONFIG_ALLOWED_IP_TEXT_SIZE];

		config_allowed_ip_format(text, &peer->allowed_ips[i]);
		fprintf(out, "%s%.*s%s/%s%s", i ? ", " : "", (int)strcspn(text, "/"), text, palette->cyan,
			palette->reset, strchr(text, '/') + 1);
	}
	fprintf(out, peer->n_allowed_ips ? "\n" : "(none)\n");
}

static void print_status(FILE *out, const struct palette *palette, const struct config_peer *peer, int64_t now)
{
	if (peer->last_handshake_sec) {
		print_label(out, palette, "latest handshake");
		print_ago(out, palette, peer->last_handshake_sec, now);
	}
	if (peer->rx_bytes || peer->tx_bytes) {
		print_label(out, palette, "transfer");
		print_bytes(out, palette, peer->rx_bytes);
		fprintf(out, " received, ");
		print_bytes(out, palette, peer->tx_bytes);
		fprintf(out, " sent\n");
	}
	if (peer->persistent_keepalive_interval_s) {
		print_label(out, palette, "persistent keepalive");
		fprintf(out, "every ");
		print_duration(out, palette, peer->persistent_keepalive_interval_s);
		fputc('\n', out);
	}
}

static void print_peer(FILE *out, const struct palette *palette, const struct config_peer *peer,
		       const struct show_style *style)
{
	char key[KEY_BASE64_SIZE], endpoint[ENDPOINT_TEXT_SIZE];

	encoding_key_to_base64(key, peer->public_key);
	fprintf(out, "\n%s%speer%s: %s%s%s\n", palette->yellow, palette->bold, palette->reset, palette->yellow, key,
		palette->reset);
	if (peer->flags & CONFIG_PEER_HAS_PRESHARED_KEY) {
		print_label(out, palette, "preshared key");
		print_key(out, peer->preshared_key, style->show_keys);
	}
	if (peer->endpoint.family != AF_UNSPEC) {
		endpoint_format(endpoint, &peer->endpoint);
		print_label(out, palette, "endpoint");
		fprintf(out, "%s\n", endpoint);
	}
	print_label(out, palette, "allowed ips");
	print_allowed_ips(out, palette, peer);
	print_status(out, palette, peer, style->now);
}

/* The facts that tell at a glance how the tunnel runs; all of them are in the JSON. */
static void print_extra(FILE *out, const struct palette *palette, const struct uapi_client_extra *extra)
{
	static const struct {
		const char *key, *label;
	} shown[] = { { "aead", "aead" }, { "datapath", "data path" }, { "workers", "workers" } };

	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
		const char *value = uapi_client_extra_lookup(extra, shown[i].key);

		if (!value)
			continue;
		print_label(out, palette, shown[i].label);
		fprintf(out, "%s\n", value);
	}
}

void show_pretty(FILE *out, const char *name, struct device_config *status, const struct uapi_client_extra *extra,
		 const struct show_style *style)
{
	const struct palette *palette = style->colour ? &colours : &no_colours;
	uint8_t public_key[NOISE_PUBLIC_KEY_LEN];

	fprintf(out, "%s%s%sinterface%s: %s%s%s\n", palette->reset, palette->green, palette->bold, palette->reset,
		palette->green, name, palette->reset);
	if (x25519_public(public_key, status->private_key)) {
		print_label(out, palette, "public key");
		print_key(out, public_key, true);
		print_label(out, palette, "private key");
		print_key(out, status->private_key, style->show_keys);
	}
	if (status->listen_port) {
		print_label(out, palette, "listening port");
		fprintf(out, "%u\n", status->listen_port);
	}
	if (status->fwmark) {
		print_label(out, palette, "fwmark");
		fprintf(out, "0x%x\n", status->fwmark);
	}
	print_extra(out, palette, extra);

	if (status->n_peers)
		qsort(status->peers, status->n_peers, sizeof(*status->peers), compare_handshakes);
	for (size_t i = 0; i < status->n_peers; i++)
		print_peer(out, palette, &status->peers[i], style);
}
