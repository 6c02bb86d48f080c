// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * One field of a tunnel, or all of them, for scripts: as wg(8) prints them.
 *
 * With one exception: `show all endpoints` has the tunnel's name on each line, not only on each tunnel's first.
 */
#include <inttypes.h>
#include <string.h>

#include "crypto/secret.h"
#include "crypto/x25519.h"
#include "encoding.h"
#include "show.h"

static void field_key(FILE *out, const uint8_t key[static NOISE_PUBLIC_KEY_LEN], bool is_set)
{
	char base64[KEY_BASE64_SIZE] = "(none)";

	if (is_set)
		encoding_key_to_base64(base64, key);
	fputs(base64, out);
	secret_wipe(base64, sizeof(base64));
}

static bool has_private_key(const struct device_config *status)
{
	return !secret_is_zero(status->private_key, sizeof(status->private_key));
}

static void print_private_key(FILE *out, const struct device_config *status)
{
	field_key(out, status->private_key, has_private_key(status));
}

static void print_public_key(FILE *out, const struct device_config *status)
{
	uint8_t public_key[NOISE_PUBLIC_KEY_LEN] = { 0 };
	bool is_set = x25519_public(public_key, status->private_key);

	field_key(out, public_key, is_set);
}

static void print_listen_port(FILE *out, const struct device_config *status)
{
	fprintf(out, "%u", status->listen_port);
}

static void print_fwmark(FILE *out, const struct device_config *status)
{
	fprintf(out, status->fwmark ? "0x%x" : "off", status->fwmark);
}

static void print_nothing(FILE *out, const struct config_peer *peer)
{
	(void)out;
	(void)peer;
}

static void print_preshared_key(FILE *out, const struct config_peer *peer)
{
	field_key(out, peer->preshared_key, peer->flags & CONFIG_PEER_HAS_PRESHARED_KEY);
}

static void field_endpoint(FILE *out, const struct config_peer *peer)
{
	char text[ENDPOINT_TEXT_SIZE] = "(none)";

	if (peer->endpoint.family != AF_UNSPEC)
		endpoint_format(text, &peer->endpoint);
	fputs(text, out);
}

static void field_allowed_ips(FILE *out, const struct config_peer *peer, char separator)
{
	for (size_t i = 0; i < peer->n_allowed_ips; i++) {
		char text[CONFIG_ALLOWED_IP_TEXT_SIZE];

		config_allowed_ip_format(text, &peer->allowed_ips[i]);
		if (i)
			fputc(separator, out);
		fputs(text, out);
	}
	if (!peer->n_allowed_ips)
		fputs("(none)", out);
}

static void print_allowed_ips_spaced(FILE *out, const struct config_peer *peer)
{
	field_allowed_ips(out, peer, ' ');
}

static void print_latest_handshake(FILE *out, const struct config_peer *peer)
{
	fprintf(out, "%" PRId64, peer->last_handshake_sec);
}

static void print_transfer(FILE *out, const struct config_peer *peer)
{
	fprintf(out, "%" PRIu64 "\t%" PRIu64, peer->rx_bytes, peer->tx_bytes);
}

static void print_keepalive(FILE *out, const struct config_peer *peer)
{
	fprintf(out, peer->persistent_keepalive_interval_s ? "%u" : "off", peer->persistent_keepalive_interval_s);
}

/* One line for the tunnel, or one per peer that begins with the peer's public key. */
static const struct field {
	const char *name;
	void (*print_device)(FILE *out, const struct device_config *status);
	void (*print_peer)(FILE *out, const struct config_peer *peer);
} fields[] = {
	{ .name = "public-key", .print_device = print_public_key },
	{ .name = "private-key", .print_device = print_private_key },
	{ .name = "listen-port", .print_device = print_listen_port },
	{ .name = "fwmark", .print_device = print_fwmark },
	{ .name = "peers", .print_peer = print_nothing },
	{ .name = "preshared-keys", .print_peer = print_preshared_key },
	{ .name = "endpoints", .print_peer = field_endpoint },
	{ .name = "allowed-ips", .print_peer = print_allowed_ips_spaced },
	{ .name = "latest-handshakes", .print_peer = print_latest_handshake },
	{ .name = "transfer", .print_peer = print_transfer },
	{ .name = "persistent-keepalive", .print_peer = print_keepalive },
};

#define N_FIELDS (sizeof(fields) / sizeof(fields[0]))

void show_print_field_names(FILE *out)
{
	for (size_t i = 0; i < N_FIELDS; i++)
		fprintf(out, "%s | ", fields[i].name);
	fprintf(out, "dump");
}

static void begin_line(FILE *out, const char *name, bool with_interface)
{
	if (with_interface)
		fprintf(out, "%s\t", name);
}

static void dump_peer(FILE *out, const struct config_peer *peer)
{
	field_key(out, peer->public_key, true);
	fputc('\t', out);
	print_preshared_key(out, peer);
	fputc('\t', out);
	field_endpoint(out, peer);
	fputc('\t', out);
	field_allowed_ips(out, peer, ',');
	fputc('\t', out);
	print_latest_handshake(out, peer);
	fputc('\t', out);
	print_transfer(out, peer);
	fputc('\t', out);
	print_keepalive(out, peer);
	fputc('\n', out);
}

static void dump(FILE *out, const char *name, const struct device_config *status, bool with_interface)
{
	begin_line(out, name, with_interface);
	print_private_key(out, status);
	fputc('\t', out);
	print_public_key(out, status);
	fputc('\t', out);
	print_listen_port(out, status);
	fputc('\t', out);
	print_fwmark(out, status);
	fputc('\n', out);
	for (size_t i = 0; i < status->n_peers; i++) {
		begin_line(out, name, with_interface);
		dump_peer(out, &status->peers[i]);
	}
}

static void print_device_field(FILE *out, const char *name, const struct device_config *status,
			       const struct field *field, bool with_interface)
{
	begin_line(out, name, with_interface);
	field->print_device(out, status);
	fputc('\n', out);
}

static void print_peer_field(FILE *out, const char *name, const struct device_config *status, const struct field *field,
			     bool with_interface)
{
	for (size_t i = 0; i < status->n_peers; i++) {
		begin_line(out, name, with_interface);
		field_key(out, status->peers[i].public_key, true);
		if (field->print_peer != print_nothing)
			fputc('\t', out);
		field->print_peer(out, &status->peers[i]);
		fputc('\n', out);
	}
}

static const struct field *find_field(const char *name)
{
	for (size_t i = 0; i < N_FIELDS; i++)
		if (!strcmp(name, fields[i].name))
			return &fields[i];
	return NULL;
}

bool show_field_exists(const char *field)
{
	return !strcmp(field, "dump") || find_field(field);
}

void show_field(FILE *out, const char *name, const struct device_config *status, const char *field, bool with_interface)
{
	const struct field *found = find_field(field);

	if (!found)
		dump(out, name, status, with_interface);
	else if (found->print_device)
		print_device_field(out, name, status, found, with_interface);
	else
		print_peer_field(out, name, status, found, with_interface);
}
