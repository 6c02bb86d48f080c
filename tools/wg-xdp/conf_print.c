// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A device as a configuration file that conf_file_parse() takes again, and what that had to say. */
#include "conf_file.h"

#include "crypto/secret.h"
#include "encoding.h"

void conf_file_print_warnings(const struct conf_file *conf)
{
	for (size_t i = 0; i < conf->warnings.n; i++)
		fprintf(stderr, "Warning: %s\n", conf->warnings.items[i]);
}

static void print_key(FILE *out, const char *name, const uint8_t key[static NOISE_PUBLIC_KEY_LEN])
{
	char base64[KEY_BASE64_SIZE];

	encoding_key_to_base64(base64, key);
	fprintf(out, "%s = %s\n", name, base64);
	secret_wipe(base64, sizeof(base64));
}

static void print_peer(FILE *out, const struct config_peer *peer)
{
	char text[CONFIG_ALLOWED_IP_TEXT_SIZE > ENDPOINT_TEXT_SIZE ? CONFIG_ALLOWED_IP_TEXT_SIZE : ENDPOINT_TEXT_SIZE];

	fprintf(out, "[Peer]\n");
	print_key(out, "PublicKey", peer->public_key);
	if (peer->flags & CONFIG_PEER_HAS_PRESHARED_KEY)
		print_key(out, "PresharedKey", peer->preshared_key);
	for (size_t i = 0; i < peer->n_allowed_ips; i++) {
		config_allowed_ip_format(text, &peer->allowed_ips[i]);
		fprintf(out, "%s%s", i ? ", " : "AllowedIPs = ", text);
	}
	if (peer->n_allowed_ips)
		fputc('\n', out);
	if (peer->endpoint.family != AF_UNSPEC) {
		endpoint_format(text, &peer->endpoint);
		fprintf(out, "Endpoint = %s\n", text);
	}
	if (peer->persistent_keepalive_interval_s)
		fprintf(out, "PersistentKeepalive = %u\n", peer->persistent_keepalive_interval_s);
}

void conf_file_print_device(FILE *out, const struct device_config *device)
{
	fprintf(out, "[Interface]\n");
	if (device->listen_port)
		fprintf(out, "ListenPort = %u\n", device->listen_port);
	if (device->fwmark)
		fprintf(out, "FwMark = 0x%x\n", device->fwmark);
	if (!secret_is_zero(device->private_key, sizeof(device->private_key)))
		print_key(out, "PrivateKey", device->private_key);
	fputc('\n', out);
	for (size_t i = 0; i < device->n_peers; i++) {
		print_peer(out, &device->peers[i]);
		fputs(i + 1 < device->n_peers ? "\n" : "", out);
	}
}
