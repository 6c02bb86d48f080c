// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* show [NAME | all | interfaces] [FIELD | dump] [--json]: which tunnels, and in which form. */
#include "show.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"

enum form {
	FORM_PRETTY,
	FORM_FIELD,
	FORM_JSON,
};

struct request {
	const char *name; /* NULL: all */
	const char *field;
	enum form form;
	size_t n_printed;
};

static int usage(FILE *out)
{
	fprintf(out, "Usage: " PROG_NAME " show { <interface> | all | interfaces } [");
	show_print_field_names(out);
	fprintf(out,
		"] [--json]\n"
		"\n"
		"--json prints {NAME: {privateKey, publicKey, listenPort, fwmark, peers: {PUBLIC_KEY: {presharedKey,\n"
		"endpoint, latestHandshake (seconds since 1970), transferRx, transferTx (bytes), persistentKeepalive\n"
		"(seconds), allowedIps: [PREFIX...]}}, wgXdp: {aead, datapath, workers, drop_REASON, ...}}}. What is "
		"not set\n"
		"or zero is left out; peers and allowedIps are always there, wgXdp only if the tunnel is " PROG_NAME
		"'s.\n"
		"\n"
		"WG_HIDE_KEYS=never shows private and preshared keys instead of `(hidden)', for people and in JSON; "
		"the\n"
		"fields private-key, preshared-keys and dump always hold them. WG_COLOR_MODE is `always', `never' or "
		"`auto'.\n");
	return out == stderr ? 1 : 0;
}

static struct show_style current_style(void)
{
	const char *hide = getenv("WG_HIDE_KEYS"), *mode = getenv("WG_COLOR_MODE");
	struct show_style style = { .now = time(NULL), .colour = isatty(STDOUT_FILENO) };

	style.show_keys = hide && !strcmp(hide, "never");
	if (mode && !strcmp(mode, "always"))
		style.colour = true;
	else if (mode && !strcmp(mode, "never"))
		style.colour = false;
	return style;
}

/* Returns 0, or 1 after having said why. */
static int show_one(struct request *request, const char *name)
{
	const struct show_style style = current_style();
	struct uapi_client_extra extra = { 0 };
	struct device_config status;
	int err = uapi_client_get(name, &status);

	if (!err && request->form != FORM_FIELD)
		uapi_client_get_extra(name, &extra); /* without it there is simply less to show */
	if (err) {
		cmd_print_access_error(name, err);
	} else if (request->form == FORM_JSON) {
		show_json(stdout, name, &status, &extra, style.show_keys, !request->n_printed++);
	} else if (request->form == FORM_FIELD) {
		show_field(stdout, name, &status, request->field, !request->name);
	} else {
		fputs(request->n_printed++ ? "\n" : "", stdout);
		show_pretty(stdout, name, &status, &extra, &style);
	}
	uapi_client_extra_deinit(&extra);
	device_config_deinit(&status);
	return err ? 1 : 0;
}

static int show_names(char **names, size_t n_names)
{
	for (size_t i = 0; i < n_names; i++)
		printf("%s%c", names[i], i + 1 < n_names ? ' ' : '\n');
	return 0;
}

/* 1 only when there are tunnels and none could be shown. */
static int show_all(struct request *request, char **names, size_t n_names)
{
	size_t n_failed = 0;

	for (size_t i = 0; i < n_names; i++)
		n_failed += (size_t)show_one(request, names[i]);
	return n_names && n_failed == n_names ? 1 : 0;
}

static int show_list(struct request *request, bool only_names)
{
	char **names;
	size_t n_names;
	int err = uapi_client_list(&names, &n_names);

	if (err)
		fprintf(stderr, "Unable to list the tunnels: %s\n", strerror(-err));
	else if (only_names)
		err = show_names(names, n_names);
	else
		err = show_all(request, names, n_names);
	uapi_client_list_free(names, n_names);
	return err ? 1 : 0;
}

static int run(struct request *request)
{
	int ret;

	if (request->form == FORM_JSON)
		putchar('{');
	ret = request->name ? show_one(request, request->name) : show_list(request, false);
	if (request->form == FORM_JSON)
		fputs(request->n_printed ? "\n}\n" : "}\n", stdout);
	if (!fflush(stdout) && !ferror(stdout))
		return ret;
	fprintf(stderr, "Unable to write: %s\n", strerror(errno));
	return 1;
}

int cmd_show(int argc, char **argv)
{
	struct request request = { 0 };
	const char *args[2] = { "all", NULL };
	int n_args = 0;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help") || !strcmp(argv[i], "help"))
			return usage(stdout);
		if (!strcmp(argv[i], "--json"))
			request.form = FORM_JSON;
		else if (n_args == 2)
			return usage(stderr);
		else
			args[n_args++] = argv[i];
	}
	if (args[1] && request.form == FORM_JSON) {
		fprintf(stderr, "--json holds all fields: leave out `%s'\n", args[1]);
		return 1;
	}
	if (!strcmp(args[0], "interfaces"))
		return n_args == 1 && !request.form ? show_list(&request, true) : usage(stderr);
	if (args[1] && !show_field_exists(args[1])) {
		fprintf(stderr, "Invalid parameter: `%s'\n", args[1]);
		return usage(stderr);
	}
	if (args[1])
		request.form = FORM_FIELD;
	request.field = args[1];
	request.name = strcmp(args[0], "all") ? args[0] : NULL;
	return run(&request);
}
