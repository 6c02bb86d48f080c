// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#define _GNU_SOURCE
#include <netdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* No name server and no waiting here: a script says what each look-up answers, and the waits are only added up. */
static const int *look_ups;
static unsigned int n_look_ups, n_waits;
static double waited_s, longest_wait_s;
static int fake_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **found);
static int fake_nanosleep(const struct timespec *time, struct timespec *left);

#define getaddrinfo fake_getaddrinfo
#define freeaddrinfo(found) ((void)(found))
#define nanosleep fake_nanosleep
#include "../../tools/wg-xdp/resolve.c"
#undef getaddrinfo
#undef nanosleep

#include "../../tools/wg-xdp/conf_file.c"
#include "../../tools/wg-xdp/conf_list.c"
#include "../../tools/wg-xdp/conf_print.c"
#include "../../tools/wg-xdp/conf_value.c"

#include <cmocka.h>

#define KEY "ERERERERERERERERERERERERERERERERERERERERERE=" /* 32 times 0x11 */
#define KEY2 "IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI="
#define INTERFACE "[Interface]\n"
#define PEER "[Peer]\nPublicKey = " KEY "\n"

static int fake_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **found)
{
	static struct sockaddr_in addr = { .sin_family = AF_INET };
	static struct addrinfo info = { .ai_family = AF_INET, .ai_addr = (void *)&addr, .ai_addrlen = sizeof(addr) };
	int result = look_ups ? look_ups[n_look_ups] : EAI_NONAME;

	assert_int_equal(hints->ai_socktype, SOCK_DGRAM);
	assert_non_null(host);
	n_look_ups++;
	addr.sin_addr.s_addr = htonl(0xc0000201);
	addr.sin_port = htons((uint16_t)atoi(port));
	*found = &info;
	return result;
}

static int fake_nanosleep(const struct timespec *time, struct timespec *left)
{
	double s = (double)time->tv_sec + (double)time->tv_nsec / 1e9;

	(void)left;
	n_waits++;
	waited_s += s;
	longest_wait_s = s > longest_wait_s ? s : longest_wait_s;
	return 0;
}

static int parse_bytes(struct conf_file *conf, const char *text, size_t len, unsigned int flags, char *error)
{
	FILE *file = fmemopen((void *)(uintptr_t)(len ? text : " "), len ? len : 1, "r");
	int err;

	assert_non_null(file);
	err = conf_file_parse(conf, file, "F", flags, error);
	fclose(file);
	return err;
}

static int parse(struct conf_file *conf, const char *text, unsigned int flags, char *error)
{
	return parse_bytes(conf, text, strlen(text), flags, error);
}

static const char *const good[] = {
	"",
	"\n\n",
	"# nothing\n",
	INTERFACE,
	"[interface]",
	" [ Interface ] # c\r\n",
	INTERFACE INTERFACE,
	INTERFACE "PrivateKey = " KEY "\n",
	INTERFACE "privatekey=" KEY,
	INTERFACE "  Private Key\t=  " KEY "  # mine\r\n",
	INTERFACE "ListenPort = 0\n",
	INTERFACE "ListenPort = 65535\n",
	INTERFACE "LISTENPORT=1\nListenPort=2\n",
	INTERFACE "FwMark = off\n",
	INTERFACE "FwMark = OFF\n",
	INTERFACE "FwMark = 0\n",
	INTERFACE "FwMark = 0xffffffff\n",
	INTERFACE "FwMark = 4294967295\n",
	INTERFACE "FwMark = 0XaB\n",
	PEER,
	"[peer]\npublickey=" KEY,
	PEER "PresharedKey = " KEY2 "\n",
	PEER "AllowedIPs =\n",
	PEER "AllowedIPs = \n",
	PEER "AllowedIPs = 10.0.0.0/8\n",
	PEER "AllowedIPs = 10.0.0.0/8, fd00::/8 ,1.2.3.4\nAllowedIPs=::/0\n",
	PEER "Endpoint = example.com:51820\n",
	PEER "Endpoint = 192.0.2.1:1\n",
	PEER "Endpoint = [2001:db8::1]:65535\n",
	PEER "Endpoint = [fe80::1%lo]:5\n",
	PEER "Endpoint = host:service\n",
	PEER "PersistentKeepalive = 0\n",
	PEER "PersistentKeepalive = off\n",
	PEER "PersistentKeepalive = 65535\n",
	PEER PEER,
	PEER INTERFACE "ListenPort = 5\n",
};

/* What must be in the error; all of them are wrong with and without wg-quick's keys. */
static const struct {
	const char *text, *error;
} bad[] = {
	{ "ListenPort = 1\n", "F:1: `ListenPort' belongs into the [Interface]" },
	{ "PublicKey = " KEY "\n", "F:1: `PublicKey' belongs into a [Peer]" },
	{ "[Other]\n", "F:1: section is neither" },
	{ "[Interface\n", "F:1: section is neither" },
	{ INTERFACE "\n# c\nnonsense\n", "F:4: the line has no `='" },
	{ INTERFACE "Nonsense = 1\n", "F:2: key word is not known: `Nonsense'" },
	{ INTERFACE "= 1\n", "F:2: key word is not known: `'" },
	{ INTERFACE "PublicKey = " KEY "\n", "F:2: `PublicKey' belongs into a [Peer]" },
	{ PEER "PrivateKey = " KEY "\n", "F:3: `PrivateKey' belongs into the [Interface]" },
	{ INTERFACE "PrivateKey =\n", "F:2: `PrivateKey' has no value" },
	{ INTERFACE "PrivateKey = 1234\n", "F:2: key is not the right length or format (4 characters)" },
	{ INTERFACE "PrivateKey = " KEY "=\n", "F:2: key is not the right length" },
	{ INTERFACE "PrivateKey = " KEY KEY "\n", "F:2: key is not the right length" },
	{ INTERFACE "ListenPort = 65536\n", "F:2: port is neither 0-65535 nor the name of a UDP service: `65536'" },
	{ INTERFACE "ListenPort = -1\n", "`-1'" },
	{ INTERFACE "ListenPort = 0x10\n", "`0x10'" },
	{ INTERFACE "ListenPort = \n", "has no value" },
	{ INTERFACE "ListenPort = no-such-service\n", "`no-such-service'" },
	{ INTERFACE "FwMark = 4294967296\n",
	  "F:2: fwmark is neither `off' nor a number from 0 to 0xffffffff: `4294967296'" },
	{ INTERFACE "FwMark = 0x100000000\n", "`0x100000000'" },
	{ INTERFACE "FwMark = 0x\n", "`0x'" },
	{ INTERFACE "FwMark = -1\n", "`-1'" },
	{ INTERFACE "FwMark = 1f\n", "`1f'" },
	{ "[Peer]\n", "F:1: this [Peer] has no PublicKey" },
	{ "[Peer]\nEndpoint = a:1\n\n" PEER, "F:1: this [Peer] has no PublicKey" },
	{ PEER "[Peer]\n" INTERFACE, "F:3: this [Peer] has no PublicKey" },
	{ PEER "PublicKey = x\n", "F:3: key is not the right length" },
	{ PEER "PresharedKey = (none)\n", "F:3: key is not the right length" },
	{ PEER "AllowedIPs = 10.0.0.0/33\n",
	  "F:3: allowed IP is not an address with a prefix length, like 10.0.0.0/8 or "
	  "fd00::/8: `10.0.0.0/33'" },
	{ PEER "AllowedIPs = ::/129\n", "`::/129'" },
	{ PEER "AllowedIPs = 10.0.0.0/8,\n", "`'" },
	{ PEER "AllowedIPs = ,\n", "`'" },
	{ PEER "AllowedIPs = +10.0.0.0/8\n", "`+10.0.0.0/8'" },
	{ PEER "AllowedIPs = -10.0.0.0/8\n", "`-10.0.0.0/8'" },
	{ PEER "Endpoint = \n", "has no value" },
	{ PEER "Endpoint = 192.0.2.1\n", "F:3: endpoint is not host:port, with an IPv6 address in []: `192.0.2.1'" },
	{ PEER "Endpoint = 192.0.2.1:\n", "endpoint is not host:port" },
	{ PEER "Endpoint = :5\n", "endpoint is not host:port" },
	{ PEER "Endpoint = [2001:db8::1]\n", "endpoint is not host:port" },
	{ PEER "Endpoint = [2001:db8::1:5\n", "endpoint is not host:port" },
	{ PEER "Endpoint = []:5\n", "endpoint is not host:port" },
	{ PEER "Endpoint = h:0\n", "port of the endpoint is not 1-65535" },
	{ PEER "Endpoint = h:65536\n", "port of the endpoint is not 1-65535" },
	{ PEER "PersistentKeepalive = 65536\n",
	  "F:3: persistent keepalive interval is neither `off' nor 0-65535 seconds: "
	  "`65536'" },
	{ PEER "PersistentKeepalive = -1\n", "`-1'" },
	{ PEER "PersistentKeepalive = 25s\n", "`25s'" },
	{ PEER "Address = 10.0.0.1/8\n", "`Address'" },
};

static void test_tables(void **state)
{
	char error[CONF_ERROR_SIZE];
	struct conf_file conf;

	(void)state;
	for (unsigned int flags = 0; flags < 4; flags++) {
		for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
			if (parse(&conf, good[i], flags, error))
				fail_msg("refused: %s\n%s", good[i], error);
			assert_string_equal(error, "");
			conf_file_deinit(&conf);
		}
		for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
			if (parse(&conf, bad[i].text, flags, error) != -EINVAL)
				fail_msg("accepted: %s", bad[i].text);
			if (!strstr(error, bad[i].error) && !strstr(bad[i].text, "Address"))
				fail_msg("%s\nsays: %s\nnot:  %s", bad[i].text, error, bad[i].error);
			conf_file_deinit(&conf);
		}
	}
}

static void test_nul_is_refused(void **state)
{
	static const char text[] = INTERFACE "ListenPort = 1\0"
					     "2\n";
	char error[CONF_ERROR_SIZE];
	struct conf_file conf;

	(void)state;
	assert_int_equal(parse_bytes(&conf, text, sizeof(text) - 1, 0, error), -EINVAL);
	assert_non_null(strstr(error, "F:2: the line holds a NUL"));
	conf_file_deinit(&conf);
}

static void test_values(void **state)
{
	char error[CONF_ERROR_SIZE];
	const struct config_peer *peer;
	struct conf_file conf;

	(void)state;
	assert_int_equal(parse(&conf,
			       INTERFACE "PrivateKey=" KEY "\nListenPort=7\nFwMark=0x10\n" PEER "PresharedKey=" KEY2
					 "\nAllowedIPs=10.1.2.3/8,fd00::/8\nAllowedIPs=1.2.3.4\nEndpoint=a.b:5\n"
					 "PersistentKeepalive=25\n[Peer]\nPublicKey=" KEY2
					 "\nEndpoint=[::1]:6\nEndpoint=[::2]:6\n",
			       0, error),
			 0);
	assert_int_equal(conf.device.flags, CONFIG_DEVICE_HAS_PRIVATE_KEY | CONFIG_DEVICE_HAS_LISTEN_PORT |
						    CONFIG_DEVICE_HAS_FWMARK | CONFIG_DEVICE_REPLACE_PEERS);
	assert_int_equal(conf.device.private_key[31], 0x11);
	assert_int_equal(conf.device.listen_port, 7);
	assert_int_equal(conf.device.fwmark, 16);
	assert_int_equal(conf.device.n_peers, 2);
	peer = conf.device.peers;
	assert_int_equal(peer->flags, CONFIG_PEER_HAS_PRESHARED_KEY | CONFIG_PEER_REPLACE_ALLOWED_IPS |
					      CONFIG_PEER_HAS_PERSISTENT_KEEPALIVE);
	assert_int_equal(peer->public_key[0], 0x11);
	assert_int_equal(peer->preshared_key[0], 0x22);
	assert_int_equal(peer->persistent_keepalive_interval_s, 25);
	assert_int_equal(peer->n_allowed_ips, 3);
	assert_int_equal(peer->allowed_ips[0].addr[1], 0);
	assert_int_equal(peer->allowed_ips[2].cidr, 32);
	assert_string_equal(conf.endpoints[0], "a.b:5");
	assert_string_equal(conf.endpoints[1], "[::2]:6"); /* the last one counts */
	assert_int_equal(conf.device.peers[1].flags, CONFIG_PEER_REPLACE_ALLOWED_IPS);
	assert_int_equal(conf.warnings.n, 1);
	assert_string_equal(conf.warnings.items[0],
			    "F:8: allowed IP has nonzero host part: 10.1.2.3/8, taken as 10.0.0.0/8");
	conf_file_deinit(&conf);
}

/* setconf clears what the file leaves out; addconf leaves it alone. */
static void test_append(void **state)
{
	char error[CONF_ERROR_SIZE];
	struct conf_file conf;

	(void)state;
	assert_int_equal(parse(&conf, INTERFACE PEER, CONF_FILE_APPEND, error), 0);
	assert_int_equal(conf.device.flags, 0);
	assert_int_equal(conf.device.peers[0].flags, CONFIG_PEER_REPLACE_ALLOWED_IPS);
	conf_file_deinit(&conf);
	assert_int_equal(parse(&conf, INTERFACE "FwMark = off\n", CONF_FILE_APPEND, error), 0);
	assert_int_equal(conf.device.flags, CONFIG_DEVICE_HAS_FWMARK);
	conf_file_deinit(&conf);
}

static void test_quick_keys(void **state)
{
	static const char text[] =
		INTERFACE "Address = 10.0.0.1/24,fd00::1/64 10.0.0.2\naddress=10.0.0.3\n"
			  "DNS = 192.0.2.53, 2001:db8::53 example.com,lan\nMTU = 1420\nTable = 0x10\n"
			  "PreUp = echo a = b; echo  c   # comment\nPostUp=iptables -I x -i %i\n"
			  "PostUp = second\nPreDown = d\nPostDown = e\nSaveConfig = TRUE\n" PEER;
	char error[CONF_ERROR_SIZE];
	struct conf_file conf;

	(void)state;
	assert_int_equal(parse(&conf, text, 0, error), -EINVAL);
	assert_non_null(strstr(error, "F:2: `Address' is not for this command: use `wg-xdp up'"));
	conf_file_deinit(&conf);
	assert_int_equal(parse(&conf, text, CONF_FILE_ALLOW_QUICK, error), 0);
	assert_int_equal(conf.addresses.n, 4);
	assert_string_equal(conf.addresses.items[1], "fd00::1/64");
	assert_string_equal(conf.addresses.items[3], "10.0.0.3");
	assert_int_equal(conf.dns.n, 2);
	assert_string_equal(conf.dns.items[1], "2001:db8::53");
	assert_int_equal(conf.dns_search.n, 2);
	assert_string_equal(conf.dns_search.items[0], "example.com");
	assert_int_equal(conf.mtu, 1420);
	assert_int_equal(conf.table, CONF_TABLE_NUMBER);
	assert_int_equal(conf.table_number, 16);
	assert_string_equal(conf.pre_up.items[0], "echo a = b; echo  c"); /* white space inside stays */
	assert_int_equal(conf.post_up.n, 2);
	assert_string_equal(conf.post_up.items[0], "iptables -I x -i %i");
	assert_string_equal(conf.pre_down.items[0], "d");
	assert_string_equal(conf.post_down.items[0], "e");
	assert_true(conf.save_config);
	conf_file_deinit(&conf);
}

static const struct {
	const char *line;
	int result;
	enum conf_table table;
	uint32_t number;
} quick_lines[] = {
	{ "Table = auto", 0, CONF_TABLE_AUTO, 0 },
	{ "Table = OFF", 0, CONF_TABLE_OFF, 0 },
	{ "Table = main", 0, CONF_TABLE_NUMBER, 254 },
	{ "Table = 1", 0, CONF_TABLE_NUMBER, 1 },
	{ "Table = 4294967295", 0, CONF_TABLE_NUMBER, UINT32_MAX },
	{ "Table = 4294967296", -EINVAL, 0, 0 },
	{ "Table = 0", -EINVAL, 0, 0 },
	{ "Table = -1", -EINVAL, 0, 0 },
	{ "Table = vpn", -EINVAL, 0, 0 },
	{ "Table =", -EINVAL, 0, 0 },
	{ "MTU = 68", 0, CONF_TABLE_AUTO, 0 },
	{ "MTU = 65535", 0, CONF_TABLE_AUTO, 0 },
	{ "MTU = 67", -EINVAL, 0, 0 },
	{ "MTU = 65536", -EINVAL, 0, 0 },
	{ "MTU = -1", -EINVAL, 0, 0 },
	{ "MTU =", -EINVAL, 0, 0 },
	{ "Address = 10.0.0.1/33", -EINVAL, 0, 0 },
	{ "Address = example.com", -EINVAL, 0, 0 },
	{ "Address = fd00::1/129", -EINVAL, 0, 0 },
	{ "Address = 10.0.0.1/24,", 0, CONF_TABLE_AUTO, 0 },
	{ "DNS = 1.2.3", -EINVAL, 0, 0 },
	{ "DNS = 1.2.3.4:53", -EINVAL, 0, 0 },
	{ "DNS = ::1", 0, CONF_TABLE_AUTO, 0 },
	{ "SaveConfig = false", 0, CONF_TABLE_AUTO, 0 },
	{ "SaveConfig = yes", -EINVAL, 0, 0 },
	{ "PostUp =", -EINVAL, 0, 0 },
	{ "PostUp = a\r", 0, CONF_TABLE_AUTO, 0 },
};

static void test_quick_lines(void **state)
{
	char error[CONF_ERROR_SIZE], text[128];
	struct conf_file conf;

	(void)state;
	for (size_t i = 0; i < sizeof(quick_lines) / sizeof(*quick_lines); i++) {
		snprintf(text, sizeof(text), INTERFACE "%s\n", quick_lines[i].line);
		if (parse(&conf, text, CONF_FILE_ALLOW_QUICK, error) != quick_lines[i].result)
			fail_msg("%s: %s", quick_lines[i].line, error);
		if (!quick_lines[i].result) {
			assert_int_equal(conf.table, quick_lines[i].table);
			assert_int_equal(conf.table_number, quick_lines[i].number);
		}
		conf_file_deinit(&conf);
	}
}

/* A key in whichever wrong place stays out of the message. */
static void test_errors_hold_no_keys(void **state)
{
	static const char secret[] = "c2VjcmV0LWNhbmFyeS1rZXktb2YtMzItYnl0ZXMhISE=";
	static const char *const places[] = {
		"%s\n",
		"[%s]\n",
		"%s = 1\n",
		INTERFACE "%s\n",
		INTERFACE "Privatekey%s\n",
		INTERFACE "PrivateKye = %s\n",
		INTERFACE "PrivateKey = %s%s\n",
		INTERFACE "PrivateKey = x%s\n",
		INTERFACE "ListenPort = %s\n",
		INTERFACE "FwMark = %s\n",
		INTERFACE "Address = %s\n",
		INTERFACE "DNS = 1:%s\n",
		INTERFACE "MTU = %s\n",
		INTERFACE "Table = %s\n",
		INTERFACE "SaveConfig = %s\n",
		PEER "AllowedIPs = %s\n",
		PEER "Endpoint = %s\n",
		PEER "PersistentKeepalive = %s\n",
		PEER "PresharedKey = %s %s\n",
		PEER "Endpoint = %s:99999\n",
		PEER "%s\n",
	};
	char error[CONF_ERROR_SIZE], text[512], part[9] = { 0 };
	struct conf_file conf;

	(void)state;
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		snprintf(text, sizeof(text), places[i], secret, secret);
		if (parse(&conf, text, CONF_FILE_ALLOW_QUICK, error) != -EINVAL)
			fail_msg("accepted: %s", text);
		for (size_t j = 0; j + 8 <= strlen(secret); j++) {
			memcpy(part, secret + j, 8);
			if (strstr(error, part))
				fail_msg("%s\nbetrays the key: %s", text, error);
		}
		conf_file_deinit(&conf);
	}
}

static void test_strip(void **state)
{
	static const char text[] =
		"# head\n[Interface] # x\nAddress = 1.2.3.4\n Private Key = " KEY "\nDNS=x\n mtu =1\n"
		"PostUp = a\n\n# PostUp = b\nTable = off\nSaveConfig = true\n[Peer]\n"
		"PublicKey = " KEY "\nAllowedIPs = ::/0";
	static const char stripped[] = "# head\n[Interface] # x\n Private Key = " KEY "\n\n# PostUp = b\n[Peer]\n"
				       "PublicKey = " KEY "\nAllowedIPs = ::/0";
	char *out = NULL, error[CONF_ERROR_SIZE];
	size_t len = 0;
	FILE *from = fmemopen((void *)(uintptr_t)text, strlen(text), "r"), *to = open_memstream(&out, &len);
	struct conf_file conf;

	(void)state;
	assert_int_equal(conf_file_strip(from, to), 0);
	fclose(from);
	fclose(to);
	assert_string_equal(out, stripped);
	assert_int_equal(parse(&conf, out, 0, error), 0);
	conf_file_deinit(&conf);
	free(out);
}

/* What showconf prints, setconf takes; and printed again it is the same. */
static void test_print_round_trip(void **state)
{
	static const char text[] =
		"[Interface]\nListenPort = 51820\nFwMark = 0xca6c\nPrivateKey = " KEY "\n\n"
		"[Peer]\nPublicKey = " KEY "\nPresharedKey = " KEY2 "\nAllowedIPs = 10.0.0.0/8, fd00::/8\n"
		"Endpoint = [2001:db8::1]:5\nPersistentKeepalive = 25\n\n[Peer]\nPublicKey = " KEY2 "\n";
	char *out = NULL, error[CONF_ERROR_SIZE];
	size_t len = 0;
	FILE *to = open_memstream(&out, &len);
	struct conf_file conf;

	(void)state;
	assert_int_equal(parse(&conf, text, 0, error), 0);
	assert_int_equal(conf_file_resolve(&conf, error), 0);
	conf_file_print_device(to, &conf.device);
	fclose(to);
	assert_string_equal(out, text);
	conf_file_deinit(&conf);
	free(out);
}

/* 10,000 peers, 130,560 prefixes on one line, and no final newline. */
static void test_large(void **state)
{
	char *text = NULL, error[CONF_ERROR_SIZE];
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);
	struct conf_file conf;

	(void)state;
	fputs(INTERFACE PEER "AllowedIPs = ", to);
	for (unsigned int i = 0; i < 130560; i++)
		fprintf(to, "%s10.%u.%u.%u/32", i ? ", " : "", i >> 16, i >> 8 & 255, i & 255);
	for (unsigned int i = 1; i < 10000; i++) {
		uint8_t key[32] = { (uint8_t)i, (uint8_t)(i >> 8) };
		char base64[KEY_BASE64_SIZE];

		encoding_key_to_base64(base64, key);
		fprintf(to, "\n[Peer]\nPublicKey = %s\nEndpoint = 192.0.2.1:%u\nAllowedIPs = fd00::%x/128", base64, i,
			i);
	}
	fclose(to);
	assert_int_equal(parse_bytes(&conf, text, len, 0, error), 0);
	assert_int_equal(conf_file_resolve(&conf, error), 0);
	assert_int_equal(conf.device.n_peers, 10000);
	assert_int_equal(conf.device.peers[0].n_allowed_ips, 130560);
	assert_int_equal(ntohs(conf.device.peers[9999].endpoint.addr4.sin_port), 9999);
	conf_file_deinit(&conf);
	free(text);
}

/* More peers may be added to the device afterwards, as syncconf does. */
static void test_device_may_grow(void **state)
{
	static const uint8_t key[32];
	char error[CONF_ERROR_SIZE];
	struct conf_file conf;

	(void)state;
	assert_int_equal(parse(&conf, PEER "Endpoint = 192.0.2.1:5\n", 0, error), 0);
	for (unsigned int i = 0; i < 100; i++)
		assert_non_null(device_config_add_peer(&conf.device, key));
	assert_int_equal(conf_file_resolve(&conf, error), 0);
	assert_int_equal(conf.device.peers[0].flags & CONFIG_PEER_HAS_ENDPOINT, CONFIG_PEER_HAS_ENDPOINT);
	conf_file_deinit(&conf);
}

static int resolve(const char *text, const int *script)
{
	char error[CONF_ERROR_SIZE] = "";
	struct endpoint endpoint;
	int err;

	look_ups = script;
	n_look_ups = n_waits = 0;
	waited_s = longest_wait_s = 0;
	err = resolve_endpoint(&endpoint, text, error, sizeof(error));
	assert_int_equal(!err, !*error);
	if (!err && n_look_ups)
		assert_int_equal(endpoint.addr4.sin_addr.s_addr, htonl(0xc0000201));
	return err;
}

static void test_retries(void **state)
{
	static const int once[] = { 0 }, third_time[] = { EAI_AGAIN, EAI_AGAIN, 0 }, no_name[] = { EAI_NONAME },
			 fails[] = { EAI_FAIL }, no_data[] = { EAI_AGAIN, EAI_NODATA };
	static int never[100];

	(void)state;
	for (size_t i = 0; i < 99; i++)
		never[i] = EAI_AGAIN;
	unsetenv("WG_ENDPOINT_RESOLUTION_RETRIES");
	assert_int_equal(resolve("192.0.2.1:5", once), 0);
	assert_int_equal(n_look_ups, 0); /* numeric: nobody is asked */
	assert_int_equal(resolve("a:5", once), 0);
	assert_int_equal(resolve("a:5", third_time), 0);
	assert_int_equal(n_waits, 2);
	assert_true(waited_s > 2.19 && waited_s < 2.21);
	assert_int_equal(resolve("a:5", no_name), -EINVAL);
	assert_int_equal(resolve("a:5", fails), -EINVAL);
	assert_int_equal(resolve("a:5", no_data), -EINVAL);
	assert_int_equal(n_waits, 1);
	assert_int_equal(resolve("a:5", never), -EINVAL);
	assert_int_equal(n_look_ups, 16); /* once and 15 times more */
	setenv("WG_ENDPOINT_RESOLUTION_RETRIES", "0", 1);
	assert_int_equal(resolve("a:5", never), -EINVAL);
	assert_int_equal(n_look_ups, 1);
	setenv("WG_ENDPOINT_RESOLUTION_RETRIES", "infinity", 1);
	assert_int_equal(resolve("a:5", never), 0); /* the last one of the script */
	assert_int_equal(n_look_ups, 100);
	assert_true(longest_wait_s == 20.0);
	setenv("WG_ENDPOINT_RESOLUTION_RETRIES", "often", 1);
	assert_int_equal(resolve("a:5", once), -EINVAL);
	unsetenv("WG_ENDPOINT_RESOLUTION_RETRIES");
}

/* `set ... allowed-ips': replaces, unless a prefix has a sign. */
static void test_signed_prefixes(void **state)
{
	char plain[] = "10.0.0.0/8,11.0.0.0/8", empty[] = "", mixed[] = "+10.0.0.0/8,-fd00::/8,1.2.3.4", bare[] = "-";
	char error[CONF_ERROR_SIZE];
	struct conf_list warnings = { 0 };
	struct config_peer peer = { 0 };

	(void)state;
	assert_true(conf_parse_allowed_ips(plain, &peer, true, &warnings, "", error));
	assert_int_equal(peer.flags, CONFIG_PEER_REPLACE_ALLOWED_IPS);
	assert_int_equal(peer.n_allowed_ips, 2);
	assert_true(conf_parse_allowed_ips(mixed, &peer, true, &warnings, "", error));
	assert_int_equal(peer.flags, 0);
	assert_int_equal(peer.n_allowed_ips, 5);
	assert_false(peer.allowed_ips[2].remove);
	assert_true(peer.allowed_ips[3].remove);
	assert_false(peer.allowed_ips[4].remove);
	assert_true(conf_parse_allowed_ips(empty, &peer, true, &warnings, "", error));
	assert_int_equal(peer.flags, CONFIG_PEER_REPLACE_ALLOWED_IPS);
	assert_false(conf_parse_allowed_ips(bare, &peer, true, &warnings, "", error));
	free(peer.allowed_ips);
	conf_list_deinit(&warnings);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_nul_is_refused),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_append),
		cmocka_unit_test(test_quick_keys),
		cmocka_unit_test(test_quick_lines),
		cmocka_unit_test(test_errors_hold_no_keys),
		cmocka_unit_test(test_strip),
		cmocka_unit_test(test_print_round_trip),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_device_may_grow),
		cmocka_unit_test(test_retries),
		cmocka_unit_test(test_signed_prefixes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
