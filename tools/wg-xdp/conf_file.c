// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The configuration file's parser.
 *
 * An error text names a key word only after it was found in one of the tables below: what stands before '=' may itself
 * be a key that was pasted into the wrong place.
 */
#include "conf_file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cmd.h"
#include "conf_value.h"
#include "crypto/secret.h"
#include "resolve.h"

#define MTU_MIN 68
#define MTU_MAX 65535

enum section {
	SECTION_NONE,
	SECTION_INTERFACE,
	SECTION_PEER,
	SECTION_UNKNOWN, /* only strip goes on there */
};

struct parser {
	struct conf_file *conf;
	const char *name;
	unsigned int line, flags;
	enum section section;
	unsigned int peer_line; /* where the current [Peer] began */
	bool peer_has_key;
	char *error;
};

/* value is without white space around it, and may be changed. A false answer has filled parser->error. */
struct keyword {
	const char *name;
	bool (*parse)(struct parser *parser, char *value);
};

void conf_file_deinit(struct conf_file *conf)
{
	for (size_t i = 0; i < conf->n_endpoints; i++)
		free(conf->endpoints[i]);
	free(conf->endpoints);
	device_config_deinit(&conf->device);
	conf_list_deinit(&conf->addresses);
	conf_list_deinit(&conf->dns);
	conf_list_deinit(&conf->dns_search);
	conf_list_deinit(&conf->pre_up);
	conf_list_deinit(&conf->post_up);
	conf_list_deinit(&conf->pre_down);
	conf_list_deinit(&conf->post_down);
	conf_list_deinit(&conf->warnings);
	memset(conf, 0, sizeof(*conf));
}

__attribute__((format(printf, 2, 3))) static bool fail(struct parser *parser, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(parser->error, CONF_ERROR_SIZE, format, args);
	va_end(args);
	return false;
}

static bool fail_memory(struct parser *parser)
{
	return fail(parser, "out of memory");
}

static bool add(struct parser *parser, struct conf_list *list, const char *text)
{
	return conf_list_add(list, text) == 0 || fail_memory(parser);
}

static struct config_peer *current_peer(struct parser *parser)
{
	return &parser->conf->device.peers[parser->conf->device.n_peers - 1];
}

static bool parse_private_key(struct parser *parser, char *value)
{
	parser->conf->device.flags |= CONFIG_DEVICE_HAS_PRIVATE_KEY;
	return conf_parse_key(value, parser->conf->device.private_key, parser->error);
}

static bool parse_listen_port(struct parser *parser, char *value)
{
	parser->conf->device.flags |= CONFIG_DEVICE_HAS_LISTEN_PORT;
	return conf_parse_port(value, &parser->conf->device.listen_port, parser->error);
}

static bool parse_fwmark(struct parser *parser, char *value)
{
	parser->conf->device.flags |= CONFIG_DEVICE_HAS_FWMARK;
	return conf_parse_fwmark(value, &parser->conf->device.fwmark, parser->error);
}

static bool parse_public_key(struct parser *parser, char *value)
{
	parser->peer_has_key = true;
	return conf_parse_key(value, current_peer(parser)->public_key, parser->error);
}

static bool parse_preshared_key(struct parser *parser, char *value)
{
	struct config_peer *peer = current_peer(parser);

	peer->flags |= CONFIG_PEER_HAS_PRESHARED_KEY;
	return conf_parse_key(value, peer->preshared_key, parser->error);
}

static bool parse_allowed_ips(struct parser *parser, char *value)
{
	char prefix[CONF_ERROR_SIZE / 2];

	snprintf(prefix, sizeof(prefix), "%.200s:%u: ", parser->name, parser->line);
	return conf_parse_allowed_ips(value, current_peer(parser), false, &parser->conf->warnings, prefix,
				      parser->error);
}

/* Kept as text: looking up a name takes time and a network, and is for the caller to ask for. */
static bool parse_endpoint(struct parser *parser, char *value)
{
	char **slot = &parser->conf->endpoints[parser->conf->n_endpoints - 1];
	char *host, *port;

	if (!resolve_split(value, &host, &port, parser->error, CONF_ERROR_SIZE))
		return false;
	free(host);
	free(port);
	free(*slot);
	*slot = strdup(value);
	return *slot || fail_memory(parser);
}

static bool parse_keepalive(struct parser *parser, char *value)
{
	struct config_peer *peer = current_peer(parser);

	peer->flags |= CONFIG_PEER_HAS_PERSISTENT_KEEPALIVE;
	return conf_parse_keepalive(value, &peer->persistent_keepalive_interval_s, parser->error);
}

static bool parse_address(struct parser *parser, char *value)
{
	char quoted[CONF_QUOTED_SIZE];
	uint8_t addr[16], cidr;
	char *text;
	int family;

	while ((text = strsep(&value, ", \t"))) {
		if (*text && !conf_address_parse(text, &family, addr, &cidr))
			return fail(parser, "address is not like 10.0.0.1/24 or fd00::1/64: `%s'",
				    conf_quote(quoted, text));
		if (*text && !add(parser, &parser->conf->addresses, text))
			return false;
	}
	return true;
}

/* Digits and dots, or a colon: meant as an address. Everything else is a search domain. */
static bool parse_dns(struct parser *parser, char *value)
{
	char quoted[CONF_QUOTED_SIZE];
	uint8_t addr[16];
	char *text;

	while ((text = strsep(&value, ", \t"))) {
		bool is_v6 = strchr(text, ':'), is_v4 = !text[strspn(text, "0123456789.")];

		if (!*text)
			continue;
		if ((is_v4 || is_v6) && inet_pton(is_v6 ? AF_INET6 : AF_INET, text, addr) != 1)
			return fail(parser, "DNS server is not an IPv4 or IPv6 address: `%s'",
				    conf_quote(quoted, text));
		if (!add(parser, is_v4 || is_v6 ? &parser->conf->dns : &parser->conf->dns_search, text))
			return false;
	}
	return true;
}

static bool parse_mtu(struct parser *parser, char *value)
{
	char quoted[CONF_QUOTED_SIZE];

	if (conf_parse_number(value, MTU_MAX, false, &parser->conf->mtu) && parser->conf->mtu >= MTU_MIN)
		return true;
	return fail(parser, "MTU is not %u-%u: `%s'", MTU_MIN, MTU_MAX, conf_quote(quoted, value));
}

static bool parse_table(struct parser *parser, char *value)
{
	static const struct {
		const char *name;
		uint32_t number;
	} tables[] = { { "default", 253 }, { "main", 254 }, { "local", 255 } };
	struct conf_file *conf = parser->conf;
	char quoted[CONF_QUOTED_SIZE];

	conf->table_number = 0;
	if (!strcasecmp(value, "auto") || !strcasecmp(value, "off")) {
		conf->table = strcasecmp(value, "off") ? CONF_TABLE_AUTO : CONF_TABLE_OFF;
		return true;
	}
	conf->table = CONF_TABLE_NUMBER;
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		if (!strcasecmp(value, tables[i].name))
			conf->table_number = tables[i].number;
	if (conf->table_number ||
	    (conf_parse_number(value, UINT32_MAX, true, &conf->table_number) && conf->table_number))
		return true;
	return fail(parser, "table is neither `auto', `off', `main' nor a number from 1 to 4294967295: `%s'",
		    conf_quote(quoted, value));
}

static bool parse_pre_up(struct parser *parser, char *value)
{
	return add(parser, &parser->conf->pre_up, value);
}

static bool parse_post_up(struct parser *parser, char *value)
{
	return add(parser, &parser->conf->post_up, value);
}

static bool parse_pre_down(struct parser *parser, char *value)
{
	return add(parser, &parser->conf->pre_down, value);
}

static bool parse_post_down(struct parser *parser, char *value)
{
	return add(parser, &parser->conf->post_down, value);
}

static bool parse_save_config(struct parser *parser, char *value)
{
	char quoted[CONF_QUOTED_SIZE];

	parser->conf->save_config = !strcasecmp(value, "true");
	if (parser->conf->save_config || !strcasecmp(value, "false"))
		return true;
	return fail(parser, "SaveConfig is neither `true' nor `false': `%s'", conf_quote(quoted, value));
}

static const struct keyword interface_keywords[] = {
	{ "PrivateKey", parse_private_key },
	{ "ListenPort", parse_listen_port },
	{ "FwMark", parse_fwmark },
	{ NULL, NULL },
};

static const struct keyword peer_keywords[] = {
	{ "PublicKey", parse_public_key },
	{ "PresharedKey", parse_preshared_key },
	{ "AllowedIPs", parse_allowed_ips },
	{ "Endpoint", parse_endpoint },
	{ "PersistentKeepalive", parse_keepalive },
	{ NULL, NULL },
};

/* In [Interface]. */
static const struct keyword quick_keywords[] = {
	{ "Address", parse_address },
	{ "DNS", parse_dns },
	{ "MTU", parse_mtu },
	{ "Table", parse_table },
	{ "PreUp", parse_pre_up },
	{ "PostUp", parse_post_up },
	{ "PreDown", parse_pre_down },
	{ "PostDown", parse_post_down },
	{ "SaveConfig", parse_save_config },
	{ NULL, NULL },
};

static const struct keyword *find_keyword(const struct keyword *keywords, const char *name)
{
	for (; keywords->name; keywords++)
		if (!strcasecmp(keywords->name, name))
			return keywords;
	return NULL;
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Drops white space wherever it stands. */
static void squeeze(char *text)
{
	char *out = text;

	for (; *text; text++)
		if (!is_space(*text))
			*out++ = *text;
	*out = '\0';
}

static char *trim(char *text)
{
	size_t len;

	while (is_space(*text))
		text++;
	len = strlen(text);
	while (len && is_space(text[len - 1]))
		len--;
	text[len] = '\0';
	return text;
}

static bool end_section(struct parser *parser)
{
	if (parser->section != SECTION_PEER || parser->peer_has_key)
		return true;
	parser->line = parser->peer_line;
	return fail(parser, "this [Peer] has no PublicKey: add the line `PublicKey = ...' with the peer's key");
}

static bool begin_peer(struct parser *parser)
{
	static const uint8_t no_key[NOISE_PUBLIC_KEY_LEN];
	struct conf_file *conf = parser->conf;
	struct config_peer *peer;

	if (conf->n_endpoints == conf->endpoints_capacity) {
		size_t capacity = conf->endpoints_capacity ? conf->endpoints_capacity * 2 : 4;
		char **endpoints = reallocarray(conf->endpoints, capacity, sizeof(*endpoints));

		if (!endpoints)
			return fail_memory(parser);
		conf->endpoints = endpoints;
		conf->endpoints_capacity = capacity;
	}
	peer = device_config_add_peer(&conf->device, no_key);
	if (!peer)
		return fail_memory(parser);
	conf->endpoints[conf->n_endpoints++] = NULL;
	peer->flags = CONFIG_PEER_REPLACE_ALLOWED_IPS; /* a file tells all of a peer's prefixes, were it none */
	parser->peer_has_key = false;
	parser->peer_line = parser->line;
	return true;
}

static enum section section_of(const char *header)
{
	if (!strcasecmp(header, "[Interface]"))
		return SECTION_INTERFACE;
	return strcasecmp(header, "[Peer]") ? SECTION_UNKNOWN : SECTION_PEER;
}

static bool parse_header(struct parser *parser, char *text)
{
	char quoted[CONF_QUOTED_SIZE];

	squeeze(text);
	if (!end_section(parser))
		return false;
	parser->section = section_of(text);
	if (parser->section == SECTION_UNKNOWN)
		return fail(parser, "section is neither [Interface] nor [Peer]: `%s'", conf_quote(quoted, text));
	return parser->section == SECTION_INTERFACE || begin_peer(parser);
}

/* Why a line's keyword was not found in its section. */
static bool fail_keyword(struct parser *parser, const char *name)
{
	const struct keyword *quick = find_keyword(quick_keywords, name);
	char quoted[CONF_QUOTED_SIZE];

	if (quick && !(parser->flags & CONF_FILE_ALLOW_QUICK))
		return fail(parser,
			    "`%s' is not for this command: use `" PROG_NAME " up', or filter the file "
			    "through `" PROG_NAME " strip'",
			    quick->name);
	if (quick || find_keyword(interface_keywords, name))
		return fail(parser, "`%s' belongs into the [Interface] section", name);
	if (find_keyword(peer_keywords, name))
		return fail(parser, "`%s' belongs into a [Peer] section", name);
	return fail(parser, "key word is not known: `%s'", conf_quote(quoted, name));
}

static bool parse_assignment(struct parser *parser, char *name, char *value)
{
	const struct keyword *keyword = NULL;
	bool is_quick = false;

	squeeze(name);
	if (parser->section == SECTION_INTERFACE)
		keyword = find_keyword(interface_keywords, name);
	else if (parser->section == SECTION_PEER)
		keyword = find_keyword(peer_keywords, name);
	if (!keyword && parser->section == SECTION_INTERFACE && parser->flags & CONF_FILE_ALLOW_QUICK) {
		keyword = find_keyword(quick_keywords, name);
		is_quick = true;
	}
	if (!keyword)
		return fail_keyword(parser, name);

	value = trim(value);
	if (!is_quick)
		squeeze(value);
	if (!*value && keyword->parse != parse_allowed_ips)
		return fail(parser, "`%s' has no value", keyword->name);
	return keyword->parse(parser, value);
}

static bool parse_line(struct parser *parser, char *line, size_t len)
{
	char *equals;

	parser->line++;
	if (strlen(line) != len)
		return fail(parser, "the line holds a NUL character: is this a text file?");
	line[strcspn(line, "#")] = '\0';
	line = trim(line);
	if (!*line)
		return true;
	if (*line == '[')
		return parse_header(parser, line);
	equals = strchr(line, '=');
	if (!equals)
		return fail(parser, "the line has no `=': expected KEY = VALUE or a [section]");
	*equals = '\0';
	return parse_assignment(parser, line, equals + 1);
}

/* Like getline(), but what it leaves behind when the buffer grows is wiped. -1: end of file or (errno) an error. */
static ssize_t read_line(char **line, size_t *capacity, FILE *file)
{
	size_t len = 0;
	int c;

	while ((c = getc_unlocked(file)) != EOF) {
		if (len + 1 >= *capacity) {
			size_t grown_capacity = *capacity ? *capacity * 2 : 4096;
			char *grown = malloc(grown_capacity);

			if (!grown)
				return -1;
			if (*line) {
				memcpy(grown, *line, len);
				secret_wipe(*line, *capacity);
				free(*line);
			}
			*line = grown;
			*capacity = grown_capacity;
		}
		(*line)[len++] = (char)c;
		if (c == '\n')
			break;
	}
	if (!len)
		return -1;
	(*line)[len] = '\0';
	return (ssize_t)len;
}

/* Puts "FILE:LINE: " in front of the phrase that is in error. */
static void locate_error(const struct parser *parser)
{
	char phrase[CONF_ERROR_SIZE];

	memcpy(phrase, parser->error, sizeof(phrase));
	phrase[sizeof(phrase) - 1] = '\0';
	snprintf(parser->error, CONF_ERROR_SIZE, "%.200s:%u: %.280s", parser->name, parser->line, phrase);
}

int conf_file_parse(struct conf_file *conf, FILE *file, const char *name, unsigned int flags,
		    char error[static CONF_ERROR_SIZE])
{
	struct parser parser = { .conf = conf, .name = name, .flags = flags, .error = error };
	size_t capacity = 0;
	char *line = NULL;
	bool ok = true;
	ssize_t len;

	memset(conf, 0, sizeof(*conf));
	memset(error, 0, CONF_ERROR_SIZE);
	if (!(flags & CONF_FILE_APPEND))
		conf->device.flags = CONFIG_DEVICE_REPLACE_PEERS | CONFIG_DEVICE_HAS_PRIVATE_KEY |
				     CONFIG_DEVICE_HAS_LISTEN_PORT | CONFIG_DEVICE_HAS_FWMARK;

	errno = 0;
	while (ok && (len = read_line(&line, &capacity, file)) >= 0)
		ok = parse_line(&parser, line, (size_t)len);
	if (ok && errno && (ferror(file) || errno == ENOMEM))
		ok = fail(&parser, "cannot be read any further: %s", strerror(errno));
	ok = ok && end_section(&parser);
	if (!ok)
		locate_error(&parser);
	if (line)
		secret_wipe(line, capacity);
	free(line);
	return ok ? 0 : -EINVAL;
}

int conf_file_parse_path(struct conf_file *conf, const char *path, unsigned int flags,
			 char error[static CONF_ERROR_SIZE])
{
	FILE *file = fopen(path, "re");
	int err;

	if (!file) {
		err = -errno;
		memset(conf, 0, sizeof(*conf));
		snprintf(error, CONF_ERROR_SIZE, "%.400s: cannot be opened: %s", path, strerror(-err));
		return err;
	}
	err = conf_file_parse(conf, file, path, flags, error);
	fclose(file);
	return err;
}

int conf_file_resolve(struct conf_file *conf, char error[static CONF_ERROR_SIZE])
{
	for (size_t i = 0; i < conf->n_endpoints; i++) {
		struct config_peer *peer = &conf->device.peers[i];

		if (!conf->endpoints[i])
			continue;
		if (resolve_endpoint(&peer->endpoint, conf->endpoints[i], error, CONF_ERROR_SIZE))
			return -EINVAL;
		peer->flags |= CONFIG_PEER_HAS_ENDPOINT;
	}
	return 0;
}

/* Does wg(8) take this line? Follows the sections as it goes. */
static bool survives_strip(const char *line, enum section *section)
{
	char name[32];
	size_t len = 0;

	for (; *line && *line != '#' && *line != '=' && len < sizeof(name) - 1; line++)
		if (!is_space(*line))
			name[len++] = *line;
	name[len] = '\0';
	if (name[0] == '[')
		*section = section_of(name);
	return *section != SECTION_INTERFACE || *line != '=' || !find_keyword(quick_keywords, name);
}

int conf_file_strip(FILE *in, FILE *out)
{
	enum section section = SECTION_NONE;
	size_t capacity = 0;
	char *line = NULL;
	int err = 0;

	errno = 0;
	while (read_line(&line, &capacity, in) >= 0)
		if (survives_strip(line, &section))
			fputs(line, out);
	if (ferror(in) || ferror(out) || errno == ENOMEM)
		err = errno ? -errno : -EIO;
	if (line)
		secret_wipe(line, capacity);
	free(line);
	return err;
}
