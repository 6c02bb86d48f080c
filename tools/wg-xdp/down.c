// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* `wg-xdp down` and `wg-xdp save`. What goes wrong on the way down is said and counted, and the rest is still done. */
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "quick.h"
#include "uapi_client.h"

static const char down_usage[] = "Usage: " PROG_NAME " down NIC|TUNNEL|FILE.conf\n"
				 "\n"
				 "Undoes what `" PROG_NAME " up' did, hooks and SaveConfig included.\n";

static const char save_usage[] = "Usage: " PROG_NAME " save NIC|TUNNEL|FILE.conf\n"
				 "\n"
				 "Rewrites the tunnel's configuration file from what runs now.\n";

/* wg-quick's keys are kept as the file has them now; a file that has gone or is broken is not saved over. */
static enum quick_exit save(struct quick *q)
{
	enum quick_exit code = QUICK_OK;

	if (q->state.config_path) {
		conf_file_deinit(&q->conf);
		code = quick_config_read(q);
	}
	return code ? code : quick_config_save(q);
}

/* The one argument, or NULL after printing the usage; *code is what to return then. */
static const char *parse_target(int argc, char **argv, const char *usage, int *code)
{
	bool is_help = argc == 2 && !strcmp(argv[1], "--help");

	*code = is_help ? QUICK_OK : QUICK_USAGE;
	if (argc == 2 && argv[1][0] && argv[1][0] != '-')
		return argv[1];
	fputs(usage, is_help ? stdout : stderr);
	return NULL;
}

static enum quick_exit take_down(struct quick *q)
{
	bool ok = quick_hooks_run(q, &q->state.pre_down, true);

	q->state.has_run_post_up = false; /* PreDown has been run */
	q->state.has_run_hooks = true;	  /* PostDown runs in any case */
	if (q->state.save_config)
		ok = !save(q) && ok;
	ok = quick_undo(q) && ok;
	printf("%s is down\n", q->state.tunnel);
	return ok ? QUICK_OK : QUICK_FAILED;
}

/* A subcommand: does its work on the running tunnel that the one argument names. */
static int on_running(int argc, char **argv, const char *usage, const char *verb, enum quick_exit (*work)(struct quick *))
{
	int code;
	const char *target = parse_target(argc, argv, usage, &code);
	struct quick q;

	if (!target)
		return code;
	code = (int)quick_init(&q, verb);
	if (!code)
		code = (int)quick_plan_down(&q, target);
	if (!code)
		code = (int)work(&q);
	quick_deinit(&q);
	return code;
}

int cmd_down(int argc, char **argv)
{
	return on_running(argc, argv, down_usage, "down", take_down);
}

int cmd_save(int argc, char **argv)
{
	return on_running(argc, argv, save_usage, "save", save);
}
