// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* `wg-xdp up`: a walk of small steps. Whichever fails, quick_undo() takes back all before it. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "crypto/x25519.h"
#include "encoding.h"
#include "quick.h"
#include "uapi_client.h"

#define DEFAULT_WAIT_S 5
#define MAX_WAIT_S 3600

static const char usage[] =
	"Usage: " PROG_NAME " up [OPTION]... NIC|TUNNEL|FILE.conf\n"
	"\n"
	"NIC, a network device, gets a tunnel; TUNNEL or FILE.conf is a configuration, as for wg-quick,\n"
	"whose device is found by the route to the peers.\n"
	"\n"
	"  --config FILE|NAME  the configuration for NIC; without it /etc/wg-xdp/NIC.conf, else\n"
	"                      /etc/wireguard/wg0.conf, else a new one with a new key\n"
	"  --name NAME         the tunnel's name; without it the configuration's, else wg0, wg1, ...\n"
	"  --netns NAME        the tunnel device goes into this network namespace; packets leave from here\n"
	"  --wait[=SECONDS]    also wait for a handshake (5 s)\n";

/* ------ steps ------ */

static enum quick_exit remember_hooks(struct quick *q)
{
	q->state.save_config = q->conf.save_config;
	for (size_t i = 0; i < q->conf.pre_down.n; i++)
		if (conf_list_add(&q->state.pre_down, q->conf.pre_down.items[i]))
			return quick_fail(QUICK_FAILED, "out of memory");
	for (size_t i = 0; i < q->conf.post_down.n; i++)
		if (conf_list_add(&q->state.post_down, q->conf.post_down.items[i]))
			return quick_fail(QUICK_FAILED, "out of memory");
	return quick_note(q);
}

static enum quick_exit run_pre_up(struct quick *q)
{
	if (q->conf.pre_up.n)
		q->state.has_run_hooks = true;
	return quick_hooks_run(q, &q->conf.pre_up, false) ? QUICK_OK : QUICK_FAILED;
}

static enum quick_exit run_post_up(struct quick *q)
{
	if (q->conf.post_up.n)
		q->state.has_run_hooks = q->state.has_run_post_up = true;
	return quick_hooks_run(q, &q->conf.post_up, false) ? QUICK_OK : QUICK_FAILED;
}

static enum quick_exit configure(struct quick *q)
{
	int ret = uapi_client_set(q->state.tunnel, &q->conf.device);

	return ret ? quick_fail(quick_exit_code(ret), "the daemon refuses the configuration %s: %s",
				q->state.config_path, strerror(-ret))
		   : QUICK_OK;
}

static enum quick_exit run_steps(struct quick *q)
{
	static enum quick_exit (*const steps[])(struct quick *q) = {
		remember_hooks,	     quick_device_start, quick_device_move,
		run_pre_up,	     configure,		 quick_device_add_addresses,
		quick_device_set_up, quick_dns_set,	 quick_routes_add,
		run_post_up,
	};
	enum quick_exit code = QUICK_OK;

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && !code; i++) {
		code = steps[i](q);
		if (!code)
			code = quick_note(q);
		if (quick_is_interrupted() && !code)
			code = QUICK_FAILED;
	}
	return code;
}

/* ------ what is up ------ */

static void print_joined(const char *label, const struct conf_list *list)
{
	printf("  %-12s", label);
	for (size_t i = 0; i < list->n; i++)
		printf("%s%s", i ? ", " : "", list->items[i]);
	printf("%s\n", list->n ? "" : "none");
}

static void print_next_command(const struct quick *q)
{
	printf("A new key was made and saved in %s.\n"
	       "Next, tell it its peer:\n"
	       "  " PROG_NAME
	       " set %s peer PEERS_PUBLIC_KEY endpoint PEERS_HOST:PORT allowed-ips PEERS_TUNNEL_ADDRESS/32\n"
	       "To keep that, and to give this end an address, write it to %s\n"
	       "and take it up again: " PROG_NAME " down %s && " PROG_NAME " up %s\n",
	       q->state.config_path, q->state.tunnel, q->state.config_path, q->state.underlay, q->state.underlay);
}

static void print_summary(struct quick *q)
{
	uint8_t public_key[NOISE_PUBLIC_KEY_LEN];
	char key_text[KEY_BASE64_SIZE];
	struct netconf_link link = { 0 };
	struct device_config status;

	device_config_init(&status);
	uapi_client_get(q->state.tunnel, &status);
	netconf_link_find(q->there, q->state.tunnel, &link);
	printf("%s is up", q->state.tunnel);
	if (q->state.underlay[0])
		printf(" on %s", q->state.underlay);
	if (q->state.netns)
		printf(", in the network namespace %s", q->state.netns);
	printf("\n");
	if (x25519_public(public_key, status.private_key)) {
		encoding_key_to_base64(key_text, public_key);
		printf("  public key  %s\n", key_text);
	}
	printf("  UDP port    %u\n", status.listen_port);
	print_joined("addresses", &q->conf.addresses);
	printf("  peers       %zu\n  MTU         %u\n", status.n_peers, link.mtu);
	device_config_deinit(&status);
	if (q->config_is_new)
		print_next_command(q);
	fflush(stdout);
}

/* ------ command line ------ */

static bool parse_wait(const char *text, unsigned int *seconds)
{
	unsigned long value = DEFAULT_WAIT_S;
	char *end = NULL;

	if (text)
		value = strtoul(text, &end, 10);
	if ((end && (end == text || *end)) || !value || value > MAX_WAIT_S)
		return false;
	*seconds = (unsigned int)value;
	return true;
}

static bool parse_options(struct quick_options *o, int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "name", required_argument, NULL, 'n' },
		{ "netns", required_argument, NULL, 'N' },
		{ "wait", optional_argument, NULL, 'w' },
		{ 0 },
	};
	int option;

	optind = 1;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'c')
			o->config = optarg;
		else if (option == 'n')
			o->name = optarg;
		else if (option == 'N')
			o->netns = optarg;
		else if (option != 'w' || !parse_wait(optarg, &o->wait_s))
			return false;
	}
	o->target = argv[optind];
	return argc == optind + 1 && *o->target;
}

int cmd_up(int argc, char **argv)
{
	struct quick_options options = { 0 };
	enum quick_exit code;
	struct quick q;

	if (argc == 2 && !strcmp(argv[1], "--help")) {
		fputs(usage, stdout);
		return QUICK_OK;
	}
	if (!parse_options(&options, argc, argv)) {
		fputs(usage, stderr);
		return QUICK_USAGE;
	}
	code = quick_init(&q, "up");
	if (!code)
		code = quick_plan_up(&q, &options);
	if (!code)
		code = quick_config_check_port(&q);
	if (!code) {
		quick_plan_underlay(&q);
		code = run_steps(&q);
	}
	if (!code)
		code = quick_device_wait(&q, options.wait_s);
	if (!code)
		print_summary(&q);
	else if (q.is_claimed)
		quick_undo(&q);
	quick_deinit(&q);
	return (int)code;
}
