/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What `up`, `down` and `save` share: bringing a tunnel up is a walk of small steps, and each step notes in
 * struct quick_state what it did, so that one function, quick_undo(), serves a failed `up` and `down` alike.
 */
#ifndef WG_XDP_QUICK_H
#define WG_XDP_QUICK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf_file.h"
#include "netconf.h"
#include "quick_state.h"

/* Exit codes of up, down and save; also what the steps return. Whoever returns one has said on stderr what was wrong.
 */
enum quick_exit {
	QUICK_OK = 0,
	QUICK_FAILED = 1,     /* none of those below */
	QUICK_USAGE = 2,      /* wrong command line */
	QUICK_PERMISSION = 3, /* not root, or the kernel refuses for want of a capability */
	QUICK_CONFIG = 4,     /* the configuration file, or a name in it, is wrong */
	QUICK_SYSTEM = 5,     /* the system lacks something: /dev/net/tun, IPv6, resolvconf */
	QUICK_BUSY = 6,	      /* name, port, configuration or route is in use */
	QUICK_NOT_FOUND = 7,  /* no such device, tunnel, configuration, namespace */
};

struct quick {
	struct quick_state state;
	struct conf_file conf;
	struct netconf *here;		       /* where sockets and the underlay are */
	struct netconf *there;		       /* where the tunnel device is; the same handle unless --netns */
	int netns_fd;			       /* -1: the tunnel device stays here */
	int ifindex;			       /* the tunnel device's; 0: not known */
	int lock_fd;			       /* held while this tunnel is worked on; -1: not */
	bool is_claimed;		       /* state has been written: a failure calls for quick_undo() */
	bool config_is_new, config_dir_is_new; /* made by this very call */
};

struct quick_options {
	const char *target;		   /* the one argument: device, tunnel or configuration */
	const char *config, *name, *netns; /* NULL: not given */
	unsigned int wait_s;		   /* for a handshake; 0: do not */
};

/* ------ quick.c ------ */

/* Is the system fit? Also opens q->here. Says and returns what is missing. */
enum quick_exit quick_init(struct quick *q, const char *command);
void quick_deinit(struct quick *q);
/* "wg-xdp: ..." on stderr; returns code. */
__attribute__((format(printf, 2, 3))) enum quick_exit quick_fail(enum quick_exit code, const char *format, ...);
__attribute__((format(printf, 1, 2))) void quick_warn(const char *format, ...);
/* The code that fits a -errno of the kernel. */
enum quick_exit quick_exit_code(int error);
/* Takes the right to work on state.tunnel, until quick_deinit(). */
enum quick_exit quick_lock(struct quick *q);
/* Opens state.netns and q->there. */
enum quick_exit quick_open_netns(struct quick *q);
/* The same for a tunnel that is to go; where the namespace has gone already, so has the device. */
void quick_open_old_netns(struct quick *q);
/* Has a signal asked us to stop? Says so once. */
bool quick_is_interrupted(void);
/* From here on signals do not end the process at once, but make quick_is_interrupted() true. */
void quick_catch_signals(void);
/* Writes q->state. */
enum quick_exit quick_note(struct quick *q);
/* Undoes in reverse order all that q->state notes, and forgets the state. False when something would not go away. */
bool quick_undo(struct quick *q);

/* ------ quick_plan.c: what the arguments mean ------ */

/* Fills q->conf (parsed, endpoints resolved) and state's names and paths; takes the lock and claims the name. */
enum quick_exit quick_plan_up(struct quick *q, const struct quick_options *options);
/* The device by which the peers are reached, where none was named. */
void quick_plan_underlay(struct quick *q);
/* Finds the tunnel meant and fills state; takes the lock. */
enum quick_exit quick_plan_down(struct quick *q, const char *target);

/* ------ quick_config.c ------ */

/* /etc/wg-xdp/DEVICE.conf with a new key and a free port. */
enum quick_exit quick_config_create(struct quick *q, const char *path);
/* Parses state.config_path into q->conf; warns of a file that others can read. */
enum quick_exit quick_config_read(struct quick *q);
/* The peers' endpoints. May take long; a signal ends the process. */
enum quick_exit quick_config_resolve(struct quick *q);
/* Nobody else must listen on the port. */
enum quick_exit quick_config_check_port(struct quick *q);
/* Rewrites state.config_path from what runs; wg-quick's keys are those of q->conf. */
enum quick_exit quick_config_save(struct quick *q);

/* ------ quick_device.c ------ */

enum quick_exit quick_device_start(struct quick *q);
enum quick_exit quick_device_move(struct quick *q);
enum quick_exit quick_device_add_addresses(struct quick *q);
enum quick_exit quick_device_set_up(struct quick *q);
enum quick_exit quick_device_wait(struct quick *q, unsigned int handshake_s);
/* Device, daemon and socket are gone afterwards. */
bool quick_device_stop(struct quick *q);

/* ------ quick_routes.c, quick_firewall.c ------ */

enum quick_exit quick_routes_add(struct quick *q);
bool quick_routes_remove(struct quick *q);
/* A tunnel that was set up by somebody else: the rules to its table, as far as they can be told. */
void quick_routes_adopt(struct quick *q);
/* For one family's default route, fwmark marking our own packets. Never fails: it says what is not guarded. */
void quick_firewall_add(struct quick *q, sa_family_t family, uint32_t fwmark);
bool quick_firewall_remove(struct quick *q);

/* ------ quick_dns.c ------ */

enum quick_exit quick_dns_set(struct quick *q);
bool quick_dns_unset(struct quick *q);

/* ------ quick_run.c: other programs ------ */

struct quick_program {
	char *const *argv;
	const char *input; /* for its stdin; NULL: ours */
	size_t input_len;
	int netns_fd;  /* run it there; -1: here */
	bool is_quiet; /* its stdout and stderr go nowhere */
};

/* Is it in PATH? */
bool quick_program_exists(const char *name);
/* Echoes the command, runs it, waits. Returns its exit status, 128 + signal, or -errno. */
int quick_program_run(const struct quick_program *program);
/* What it prints on stdout, to be freed; NULL when it failed. */
char *quick_program_read(char *const *argv);
/*
 * Runs commands by bash, or sh where there is none, with %i replaced, in the tunnel device's namespace. False when one
 * fails; the others are run only if keep_going.
 */
bool quick_hooks_run(const struct quick *q, const struct conf_list *hooks, bool keep_going);

#endif
