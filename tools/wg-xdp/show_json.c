// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A tunnel as JSON: the shape of wireguard-tools' wg-json, and what only wg-xdp's agent tells in a member of its own.
 *
 * Such output ends in logs and monitoring, hence the keys are hidden as they are for people. The names of the members
 * are a contract.
 */
#include <inttypes.h>
#include <string.h>

#include "crypto/secret.h"
#include "crypto/x25519.h"
#include "encoding.h"
#include "show.h"

static void json_string(FILE *out, const char *text)
{
	fputc('"', out);
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < ' ' || c > '~')
			fprintf(out, "\\u%04x", c);
		else
			fputc(c, out);
	}
	fputc('"', out);
}

/* "name": text, at the depth, with the comma that belongs to the member before. */
static void json_member(FILE *out, bool *is_first, const char *indent, const char *name)
{
	fprintf(out, "%s\n%s", *is_first ? "" : ",", indent);
	json_string(out, name);
	fputs(": ", out);
	*is_first = false;
}

static void json_key(FILE *out, const uint8_t key[static NOISE_PUBLIC_KEY_LEN], bool visible)
{
	char base64[KEY_BASE64_SIZE] = "(hidden)";

	if (visible)
		encoding_key_to_base64(base64, key);
	json_string(out, base64);
	secret_wipe(base64, sizeof(base64));
}

/* Left out when zero, as wg-json does. */
static void json_number(FILE *out, bool *is_first, const char *indent, const char *name, uint64_t number)
{
	if (!number)
		return;
	json_member(out, is_first, indent, name);
	fprintf(out, "%" PRIu64, number);
}

static void json_allowed_ips(FILE *out, const struct config_peer *peer)
{
	fputc('[', out);
	for (size_t i = 0; i < peer->n_allowed_ips; i++) {
		char text[CONFIG_ALLOWED_IP_TEXT_SIZE];

		config_allowed_ip_format(text, &peer->allowed_ips[i]);
		fputs(i ? ", " : "", out);
		json_string(out, text);
	}
	fputc(']', out);
}

static void json_peer(FILE *out, const struct config_peer *peer, bool show_keys, bool *is_first)
{
	static const char indent[] = "\t\t\t\t";
	char text[KEY_BASE64_SIZE > ENDPOINT_TEXT_SIZE ? KEY_BASE64_SIZE : ENDPOINT_TEXT_SIZE];
	bool first = true;

	encoding_key_to_base64(text, peer->public_key);
	json_member(out, is_first, "\t\t\t", text);
	fputc('{', out);
	if (peer->flags & CONFIG_PEER_HAS_PRESHARED_KEY) {
		json_member(out, &first, indent, "presharedKey");
		json_key(out, peer->preshared_key, show_keys);
	}
	if (peer->endpoint.family != AF_UNSPEC) {
		endpoint_format(text, &peer->endpoint);
		json_member(out, &first, indent, "endpoint");
		json_string(out, text);
	}
	json_number(out, &first, indent, "latestHandshake", (uint64_t)peer->last_handshake_sec);
	json_number(out, &first, indent, "transferRx", peer->rx_bytes);
	json_number(out, &first, indent, "transferTx", peer->tx_bytes);
	json_number(out, &first, indent, "persistentKeepalive", peer->persistent_keepalive_interval_s);
	json_member(out, &first, indent, "allowedIps");
	json_allowed_ips(out, peer);
	fputs("\n\t\t\t}", out);
}

static void json_peers(FILE *out, const struct device_config *status, bool show_keys)
{
	bool is_first = true;

	fputc('{', out);
	for (size_t i = 0; i < status->n_peers; i++)
		json_peer(out, &status->peers[i], show_keys, &is_first);
	fputs(status->n_peers ? "\n\t\t}" : "}", out);
}

/* What JSON takes for a number, and no reader rounds. */
static bool is_number(const char *text)
{
	size_t len = strlen(text);

	return len && len <= 15 && strspn(text, "0123456789") == len && (len == 1 || *text != '0');
}

static void json_extra(FILE *out, const struct uapi_client_extra *extra)
{
	bool is_first = true;

	fputc('{', out);
	for (size_t i = 0; i < extra->n_facts; i++) {
		json_member(out, &is_first, "\t\t\t", extra->facts[i].key);
		if (is_number(extra->facts[i].value))
			fputs(extra->facts[i].value, out);
		else
			json_string(out, extra->facts[i].value);
	}
	fputs("\n\t\t}", out);
}

void show_json(FILE *out, const char *name, const struct device_config *status, const struct uapi_client_extra *extra,
	       bool show_keys, bool is_first)
{
	static const char indent[] = "\t\t";
	uint8_t public_key[NOISE_PUBLIC_KEY_LEN];
	bool first = true;

	json_member(out, &is_first, "\t", name);
	fputc('{', out);
	if (x25519_public(public_key, status->private_key)) {
		json_member(out, &first, indent, "privateKey");
		json_key(out, status->private_key, show_keys);
		json_member(out, &first, indent, "publicKey");
		json_key(out, public_key, true);
	}
	json_number(out, &first, indent, "listenPort", status->listen_port);
	json_number(out, &first, indent, "fwmark", status->fwmark);
	json_member(out, &first, indent, "peers");
	json_peers(out, status, show_keys);
	if (extra->n_facts) {
		json_member(out, &first, indent, "wgXdp");
		json_extra(out, extra);
	}
	fputs("\n\t}", out);
}
