// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Together with the socket's client, against a thread that plays the agent. */
#define _GNU_SOURCE /* asprintf */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "../../tools/wg-xdp/uapi_client.c"

#include "../../tools/wg-xdp/cmd.c"
#include "../../tools/wg-xdp/show.c"
#include "../../tools/wg-xdp/show_field.c"
#include "../../tools/wg-xdp/show_json.c"
#include "../../tools/wg-xdp/show_pretty.c"

#include <cmocka.h>
#include <json-c/json.h>

#define NOW 1700000000
#define HEX "1111111111111111111111111111111111111111111111111111111111111111"
#define HEX2 "2222222222222222222222222222222222222222222222222222222222222222"
#define HEX3 "3333333333333333333333333333333333333333333333333333333333333333"
#define ZERO "0000000000000000000000000000000000000000000000000000000000000000"
#define KEY "ERERERERERERERERERERERERERERERERERERERERERE="
#define KEY2 "IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI="
#define KEY3 "MzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzM="
#define PUBLIC "e06Qm75//kTEZaIgA31gjuNYl9Me+XLwf3SJLLD3PxM="

/* Three peers: never seen, with everything, seen longer ago. */
static const char answer_text[] =
	"private_key=" HEX "\nlisten_port=51820\nfwmark=51820\n"
	"public_key=" HEX "\npreshared_key=" ZERO "\nprotocol_version=1\n"
	"public_key=" HEX2 "\npreshared_key=" HEX3 "\nendpoint=[2001:db8::1]:5\nlast_handshake_time_sec=1699999937\n"
	"last_handshake_time_nsec=1\ntx_bytes=1536\nrx_bytes=1023\npersistent_keepalive_interval=25\n"
	"allowed_ip=10.0.0.0/8\nallowed_ip=fd00::/8\n"
	"public_key=" HEX3 "\npreshared_key=" ZERO "\nlast_handshake_time_sec=1600000000\nallowed_ip=::/0\n";

static void parse_status(struct device_config *status, const char *text)
{
	char *copy;
	int error;

	assert_true(asprintf(&copy, "%serrno=0\n\n", text) > 0);
	device_config_init(status);
	assert_int_equal(uapi_parse_get(status, copy, &error), 0);
	free(copy);
}

static const char pretty_text[] =
	"interface: wg0\n  public key: " PUBLIC "\n  private key: (hidden)\n  listening port: 51820\n  fwmark: 0xca6c\n"
	"\npeer: " KEY2
	"\n  preshared key: (hidden)\n  endpoint: [2001:db8::1]:5\n  allowed ips: 10.0.0.0/8, fd00::/8\n"
	"  latest handshake: 1 minute, 3 seconds ago\n  transfer: 1023 B received, 1.50 KiB sent\n"
	"  persistent keepalive: every 25 seconds\n"
	"\npeer: " KEY3 "\n  allowed ips: ::/0\n"
	"  latest handshake: 3 years, 62 days, 9 hours, 46 minutes, 40 seconds ago\n"
	"\npeer: " KEY "\n  allowed ips: (none)\n";

static void test_pretty(void **state)
{
	const struct show_style style = { .now = NOW };
	const struct uapi_client_extra extra = { 0 };
	struct device_config status;
	char *out = NULL;
	size_t len;
	FILE *to = open_memstream(&out, &len);

	(void)state;
	parse_status(&status, answer_text);
	show_pretty(to, "wg0", &status, &extra, &style);
	fclose(to);
	assert_string_equal(out, pretty_text);
	free(out);
	device_config_deinit(&status);
}

/* The escape sequences stand where wg(8) has them. */
static void test_colours_and_facts(void **state)
{
	const struct show_style style = { .now = NOW, .colour = true, .show_keys = true };
	struct uapi_client_fact facts[] = { { (char[]){ "workers" }, (char[]){ "2" } },
					    { (char[]){ "drop_bad_tag" }, (char[]){ "7" } },
					    { (char[]){ "datapath" }, (char[]){ "skb" } } };
	const struct uapi_client_extra extra = { .facts = facts, .n_facts = 3 };
	struct device_config status;
	char *out = NULL;
	size_t len;
	FILE *to = open_memstream(&out, &len);

	(void)state;
	parse_status(&status, "private_key=" HEX "\npublic_key=" HEX2 "\npreshared_key=" HEX3 "\nrx_bytes=5368709120\n"
			      "last_handshake_time_sec=1700000001\nallowed_ip=10.0.0.0/8\n");
	show_pretty(to, "wg0", &status, &extra, &style);
	fclose(to);
	assert_string_equal(
		out, "\033[0m\033[32m\033[1minterface\033[0m: \033[32mwg0\033[0m\n"
		     "  \033[1mpublic key\033[0m: " PUBLIC "\n  \033[1mprivate key\033[0m: " KEY "\n"
		     "  \033[1mdata path\033[0m: skb\n  \033[1mworkers\033[0m: 2\n"
		     "\n\033[33m\033[1mpeer\033[0m: \033[33m" KEY2 "\033[0m\n"
		     "  \033[1mpreshared key\033[0m: " KEY3 "\n"
		     "  \033[1mallowed ips\033[0m: 10.0.0.0\033[36m/\033[0m8\n"
		     "  \033[1mlatest handshake\033[0m: (\033[31mSystem clock wound backward; connection problems "
		     "may ensue.\033[0m)\n"
		     "  \033[1mtransfer\033[0m: 5.00 \033[36mGiB\033[0m received, 0 \033[36mB\033[0m sent\n");
	free(out);
	device_config_deinit(&status);
}

static const struct {
	const char *field, *all_set, *nothing_set;
} field_cases[] = {
	{ "public-key", PUBLIC "\n", "(none)\n" },
	{ "private-key", KEY "\n", "(none)\n" },
	{ "listen-port", "51820\n", "0\n" },
	{ "fwmark", "0xca6c\n", "off\n" },
	{ "peers", KEY "\n" KEY2 "\n" KEY3 "\n", "" },
	{ "preshared-keys", KEY "\t(none)\n" KEY2 "\t" KEY3 "\n" KEY3 "\t(none)\n", "" },
	{ "endpoints", KEY "\t(none)\n" KEY2 "\t[2001:db8::1]:5\n" KEY3 "\t(none)\n", "" },
	{ "allowed-ips", KEY "\t(none)\n" KEY2 "\t10.0.0.0/8 fd00::/8\n" KEY3 "\t::/0\n", "" },
	{ "latest-handshakes", KEY "\t0\n" KEY2 "\t1699999937\n" KEY3 "\t1600000000\n", "" },
	{ "transfer", KEY "\t0\t0\n" KEY2 "\t1023\t1536\n" KEY3 "\t0\t0\n", "" },
	{ "persistent-keepalive", KEY "\toff\n" KEY2 "\t25\n" KEY3 "\toff\n", "" },
	{ "dump",
	  KEY "\t" PUBLIC "\t51820\t0xca6c\n" KEY "\t(none)\t(none)\t(none)\t0\t0\t0\toff\n" KEY2 "\t" KEY3
	      "\t[2001:db8::1]:5\t10.0.0.0/8,fd00::/8\t1699999937\t1023\t1536\t25\n" KEY3
	      "\t(none)\t(none)\t::/0\t1600000000\t0\t0\toff\n",
	  "(none)\t(none)\t0\toff\n" },
};

/* Also with the name in front of every line. */
static void check_field(const char *text, const char *field, const char *expected)
{
	char *out = NULL, *with_name = NULL, *line, *rest;
	struct device_config status;
	size_t len;
	FILE *to = open_memstream(&out, &len);

	parse_status(&status, text);
	assert_true(show_field_exists(field));
	show_field(to, "wg0", &status, field, false);
	fclose(to);
	assert_string_equal(out, expected);
	to = open_memstream(&with_name, &len);
	show_field(to, "wg0", &status, field, true);
	fclose(to);
	rest = with_name;
	for (const char *wanted = expected; *wanted; wanted = strchr(wanted, '\n') + 1) {
		line = strsep(&rest, "\n");
		assert_int_equal(strncmp(line, "wg0\t", 4), 0);
		assert_int_equal(strncmp(line + 4, wanted, strlen(line + 4)), 0);
		assert_int_equal(wanted[strlen(line + 4)], '\n');
	}
	assert_true(!rest || !*rest);
	free(out);
	free(with_name);
	device_config_deinit(&status);
}

static void test_fields(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(field_cases) / sizeof(*field_cases); i++) {
		check_field(answer_text, field_cases[i].field, field_cases[i].all_set);
		check_field("", field_cases[i].field, field_cases[i].nothing_set);
	}
	assert_false(show_field_exists("dumps"));
	assert_false(show_field_exists(""));
}

static struct json_object *to_json(const char *text, const struct uapi_client_extra *extra, bool show_keys)
{
	struct device_config status;
	struct json_object *root;
	char *out = NULL;
	size_t len;
	FILE *to = open_memstream(&out, &len);

	parse_status(&status, text);
	fputc('{', to);
	show_json(to, "wg0", &status, extra, show_keys, true);
	show_json(to, "wg1", &status, extra, show_keys, false);
	fputs("\n}\n", to);
	fclose(to);
	root = json_tokener_parse(out);
	assert_non_null(root);
	assert_int_equal(json_object_object_length(root), 2);
	if (!show_keys)
		assert_null(strstr(out, "\"privateKey\": \"" KEY));
	free(out);
	device_config_deinit(&status);
	return root;
}

static struct json_object *member(struct json_object *object, const char *name)
{
	struct json_object *found = NULL;

	if (!json_object_object_get_ex(object, name, &found))
		fail_msg("no member %s", name);
	return found;
}

static void test_json(void **state)
{
	struct uapi_client_fact facts[] = { { (char[]){ "aead" }, (char[]){ "a \"b\" \\ \t\377" } },
					    { (char[]){ "drop_bad_tag" }, (char[]){ "7" } },
					    { (char[]){ "odd" }, (char[]){ "007" } } };
	const struct uapi_client_extra extra = { .facts = facts, .n_facts = 3 }, none = { 0 };
	struct json_object *root = to_json(answer_text, &extra, false), *tunnel = member(root, "wg0"), *peer;

	(void)state;
	assert_string_equal(json_object_get_string(member(tunnel, "privateKey")), "(hidden)");
	assert_string_equal(json_object_get_string(member(tunnel, "publicKey")), PUBLIC);
	assert_int_equal(json_object_get_int(member(tunnel, "listenPort")), 51820);
	assert_int_equal(json_object_get_int(member(tunnel, "fwmark")), 51820);
	assert_int_equal(json_object_object_length(member(tunnel, "peers")), 3);
	peer = member(member(tunnel, "peers"), KEY2);
	assert_int_equal(json_object_object_length(peer), 7);
	assert_string_equal(json_object_get_string(member(peer, "presharedKey")), "(hidden)");
	assert_string_equal(json_object_get_string(member(peer, "endpoint")), "[2001:db8::1]:5");
	assert_int_equal(json_object_get_int(member(peer, "latestHandshake")), 1699999937);
	assert_int_equal(json_object_get_int(member(peer, "transferRx")), 1023);
	assert_int_equal(json_object_get_int(member(peer, "transferTx")), 1536);
	assert_int_equal(json_object_get_int(member(peer, "persistentKeepalive")), 25);
	assert_int_equal(json_object_array_length(member(peer, "allowedIps")), 2);
	assert_int_equal(json_object_object_length(member(member(tunnel, "peers"), KEY)), 1);
	assert_int_equal(json_object_get_type(member(member(tunnel, "wgXdp"), "drop_bad_tag")), json_type_int);
	assert_int_equal(json_object_get_type(member(member(tunnel, "wgXdp"), "odd")), json_type_string);
	json_object_put(root);

	root = to_json(answer_text, &none, true);
	assert_string_equal(json_object_get_string(member(member(root, "wg1"), "privateKey")), KEY);
	json_object_put(root);
	root = to_json("", &none, false);
	assert_int_equal(json_object_object_length(member(root, "wg0")), 1); /* peers */
	json_object_put(root);
}

/* The agent's part: for each connection takes one request and gives the next answer. */
struct agent {
	pthread_t thread;
	char directory[32], path[64];
	int fd;
	size_t n_answers;
	const char *const *answers; /* NULL: closes without one */
	bool reads_all;		    /* or answers after the first bytes, and closes */
	char request[256];
};

static void *agent_main(void *arg)
{
	struct agent *agent = arg;

	for (size_t i = 0; i < agent->n_answers; i++) {
		int fd = accept(agent->fd, NULL, NULL);
		size_t len = 0;
		char buffer[4096];
		ssize_t n;

		do {
			n = recv(fd, buffer, sizeof(buffer), 0);
			for (ssize_t j = 0; j < n && len + 1 < sizeof(agent->request); j++)
				agent->request[len++] = buffer[j];
			agent->request[len] = '\0';
		} while (agent->reads_all && n > 0 && memcmp(buffer + n - 2, "\n\n", 2));
		/* A byte at a time: an answer may come in pieces. */
		for (const char *c = agent->answers[i]; c && *c; c++)
			assert_int_equal(send(fd, c, 1, MSG_NOSIGNAL), 1);
		close(fd);
	}
	return NULL;
}

static void agent_open(struct agent *agent)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	memset(agent, 0, sizeof(*agent));
	agent->reads_all = true;
	strcpy(agent->directory, "/tmp/wg-xdp-test-XXXXXX");
	assert_non_null(mkdtemp(agent->directory));
	uapi_client_set_directory(agent->directory);
	snprintf(agent->path, sizeof(agent->path), "%s/wg0.sock", agent->directory);
	strcpy(addr.sun_path, agent->path);
	agent->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(agent->fd, (void *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(agent->fd, 16), 0);
}

static void agent_run(struct agent *agent, const char *const *answers, size_t n_answers)
{
	agent->answers = answers;
	agent->n_answers = n_answers;
	assert_int_equal(pthread_create(&agent->thread, NULL, agent_main, agent), 0);
}

static void agent_join(struct agent *agent)
{
	pthread_join(agent->thread, NULL);
}

static void agent_close(struct agent *agent)
{
	close(agent->fd);
	unlink(agent->path);
	rmdir(agent->directory);
}

static void test_client_get(void **state)
{
	static const char *const answers[] = {
		"listen_port=5\nerrno=0\n\n", "errno=22\n\n", "errno=-22\n\n", NULL, "errno=0",
		"listen_port=x\nerrno=0\n\n"
	};
	static const int results[] = { 0, -EINVAL, -EINVAL, -EPROTO, 0, -EPROTO };
	struct device_config status;
	struct agent agent;

	(void)state;
	agent_open(&agent);
	agent_run(&agent, answers, 6);
	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(uapi_client_get("wg0", &status), results[i]);
		assert_int_equal(status.listen_port, i ? 0 : 5);
		device_config_deinit(&status);
	}
	agent_join(&agent);
	assert_string_equal(agent.request, "get=1\n\n");
	agent_close(&agent);
	assert_int_equal(uapi_client_get("wg0", &status), -ENODEV);
	device_config_deinit(&status);
	assert_int_equal(uapi_client_get("../wg0", &status), -ENODEV);
	device_config_deinit(&status);
	assert_int_equal(uapi_client_get("a-name-too-long-0", &status), -ENODEV);
	device_config_deinit(&status);
}

static void test_client_set(void **state)
{
	static const char *const answers[] = { "errno=0\n\n", "errno=-98\n\n", "errno=98\n\n",
					       NULL,	      "errno=\n\n",    "x\n\n" };
	static const int results[] = { 0, -EADDRINUSE, -EADDRINUSE, -EPROTO, -EPROTO, -EPROTO };
	struct device_config config = { .flags = CONFIG_DEVICE_HAS_LISTEN_PORT, .listen_port = 7 };
	struct agent agent;

	(void)state;
	agent_open(&agent);
	agent_run(&agent, answers, 6);
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(uapi_client_set("wg0", &config), results[i]);
	agent_join(&agent);
	assert_string_equal(agent.request, "set=1\nlisten_port=7\n\n");
	agent_close(&agent);
}

/* An agent that answers a bad first line and hangs up while megabytes are still on their way. */
static void test_client_early_answer(void **state)
{
	static const char *const answers[] = { "errno=-22\n\n" };
	static const uint8_t key[32], addr[4];
	struct device_config config = { 0 };
	struct config_peer *peer = device_config_add_peer(&config, key);
	struct agent agent;

	(void)state;
	for (unsigned int i = 0; i < 130560; i++)
		config_peer_add_allowed_ip(peer, AF_INET, addr, 32, false);
	agent_open(&agent);
	agent.reads_all = false;
	agent_run(&agent, answers, 1);
	assert_int_equal(uapi_client_set("wg0", &config), -EINVAL);
	agent_join(&agent);
	agent_close(&agent);
	device_config_deinit(&config);
}

static void test_client_extra(void **state)
{
	static const char *const answers[] = { "aead=libsodium\nworkers=2\nerrno=0\n\n",
					       NULL,
					       "errno=-22\n\n",
					       "aead=x\n",
					       "nonsense\n\n",
					       "errno=0\n\n" };
	struct uapi_client_extra extra;
	struct agent agent;

	(void)state;
	agent_open(&agent);
	agent_run(&agent, answers, 6);
	assert_int_equal(uapi_client_get_extra("wg0", &extra), 0);
	assert_int_equal(extra.n_facts, 2);
	assert_string_equal(uapi_client_extra_lookup(&extra, "workers"), "2");
	assert_null(uapi_client_extra_lookup(&extra, "worker"));
	uapi_client_extra_deinit(&extra);
	for (size_t i = 1; i < 6; i++) {
		assert_int_equal(uapi_client_get_extra("wg0", &extra), 0);
		assert_int_equal(extra.n_facts, 0);
		uapi_client_extra_deinit(&extra);
	}
	agent_join(&agent);
	agent_close(&agent);
}

/* A socket without a listener is not listed, and not removed either. */
static void test_client_list(void **state)
{
	struct agent agent;
	char stale[64], **names;
	struct stat st;
	size_t n_names;

	(void)state;
	agent_open(&agent);
	snprintf(stale, sizeof(stale), "%s/wg1.sock", agent.directory);
	assert_int_equal(link(agent.path, stale), 0);
	assert_int_equal(uapi_client_list(&names, &n_names), 0);
	assert_int_equal(n_names, 2);
	assert_string_equal(names[0], "wg0");
	assert_string_equal(names[1], "wg1");
	uapi_client_list_free(names, n_names);
	assert_true(uapi_client_exists("wg1"));
	close(agent.fd);
	assert_false(uapi_client_exists("wg1"));
	assert_int_equal(uapi_client_list(&names, &n_names), 0);
	assert_int_equal(n_names, 0);
	uapi_client_list_free(names, n_names);
	assert_int_equal(stat(stale, &st), 0);
	unlink(stale);
	agent.fd = -1;
	agent_close(&agent);
	assert_int_equal(uapi_client_list(&names, &n_names), 0); /* no directory: none */
	assert_int_equal(n_names, 0);
}

static void test_names(void **state)
{
	(void)state;
	assert_true(uapi_client_name_is_valid("wg0"));
	assert_true(uapi_client_name_is_valid("a_=+.-Z90123456"));
	assert_false(uapi_client_name_is_valid("a_=+.-Z901234567"));
	assert_false(uapi_client_name_is_valid(""));
	assert_false(uapi_client_name_is_valid("."));
	assert_false(uapi_client_name_is_valid(".."));
	assert_false(uapi_client_name_is_valid("a/b"));
	assert_false(uapi_client_name_is_valid("a b"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pretty),
		cmocka_unit_test(test_colours_and_facts),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_client_get),
		cmocka_unit_test(test_client_set),
		cmocka_unit_test(test_client_early_answer),
		cmocka_unit_test(test_client_extra),
		cmocka_unit_test(test_client_list),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
