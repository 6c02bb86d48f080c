// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The common ground of up, down and save: messages, what the system must have, who may work on a tunnel, and undoing.
 */
#define _GNU_SOURCE
#include "quick.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cmd.h"

#define LOCK_FILE QUICK_STATE_DIRECTORY "/.lock"
#define OLDEST_KERNEL_MAJOR 5
#define OLDEST_KERNEL_MINOR 15

static volatile sig_atomic_t caught_signal;

enum quick_exit quick_fail(enum quick_exit code, const char *format, ...)
{
	va_list args;

	fprintf(stderr, PROG_NAME ": ");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return code;
}

void quick_warn(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "Warning: ");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

enum quick_exit quick_exit_code(int error)
{
	switch (-error) {
	case 0:
		return QUICK_OK;
	case EPERM:
	case EACCES:
		return QUICK_PERMISSION;
	case EINVAL:
		return QUICK_CONFIG;
	case EOPNOTSUPP:
	case EAFNOSUPPORT:
	case EPROTONOSUPPORT:
	case ENOSYS:
		return QUICK_SYSTEM;
	case EEXIST:
	case EBUSY:
	case EADDRINUSE:
		return QUICK_BUSY;
	case ENOENT:
	case ENODEV:
		return QUICK_NOT_FOUND;
	default:
		return QUICK_FAILED;
	}
}

static void on_signal(int number)
{
	caught_signal = number;
}

void quick_catch_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

bool quick_is_interrupted(void)
{
	if (!caught_signal)
		return false;
	quick_fail(QUICK_FAILED, "interrupted by %s", strsignal(caught_signal));
	caught_signal = 0;
	return true;
}

static void warn_of_old_kernel(void)
{
	unsigned int major, minor;
	struct utsname name;

	if (uname(&name) || sscanf(name.release, "%u.%u", &major, &minor) != 2)
		return;
	if (major < OLDEST_KERNEL_MAJOR || (major == OLDEST_KERNEL_MAJOR && minor < OLDEST_KERNEL_MINOR))
		quick_warn("Linux %s is older than %d.%d: packets will be processed without BPF", name.release,
			   OLDEST_KERNEL_MAJOR, OLDEST_KERNEL_MINOR);
}

static enum quick_exit check_tun(void)
{
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd >= 0) {
		close(fd);
		return QUICK_OK;
	}
	if (errno == EPERM || errno == EACCES)
		return quick_fail(QUICK_PERMISSION, "not allowed to open /dev/net/tun: in a container, let it use that "
						    "device and give it CAP_NET_ADMIN");
	return quick_fail(QUICK_SYSTEM,
			  "cannot open /dev/net/tun (%s): load the module with `modprobe tun'; in a "
			  "container, hand it in (docker: --device /dev/net/tun)",
			  strerror(errno));
}

enum quick_exit quick_init(struct quick *q, const char *command)
{
	const char *path = getenv("PATH");
	char whole_path[4096];
	int error;

	memset(q, 0, sizeof(*q));
	quick_state_init(&q->state);
	device_config_init(&q->conf.device);
	q->netns_fd = -1;
	q->lock_fd = -1;
	if (geteuid())
		return quick_fail(QUICK_PERMISSION, "`%s' must be root: try `sudo " PROG_NAME " %s ...'", command,
				  command);
	if (capng_get_caps_process())
		capng_clear(CAPNG_SELECT_BOTH); /* unreadable: let the check below say what is missing */
	if (!capng_have_capability(CAPNG_EFFECTIVE, CAP_NET_ADMIN))
		return quick_fail(QUICK_PERMISSION,
				  "root lacks CAP_NET_ADMIN here: give the container that capability");
	/* su and some init systems leave out where nft and resolvconf are. */
	snprintf(whole_path, sizeof(whole_path), "%s%s/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		 path ? path : "", path && *path ? ":" : "");
	setenv("PATH", whole_path, 1);
	if (!strcmp(command, "up")) {
		enum quick_exit code = check_tun();

		if (code)
			return code;
		warn_of_old_kernel();
	}
	if (mkdir(QUICK_STATE_DIRECTORY, 0700) && errno != EEXIST)
		return quick_fail(quick_exit_code(-errno), "cannot make %s: %s", QUICK_STATE_DIRECTORY,
				  strerror(errno));
	q->here = netconf_open(-1, &error);
	q->there = q->here;
	return q->here ? QUICK_OK
		       : quick_fail(quick_exit_code(error), "cannot talk to the kernel by netlink: %s",
				    strerror(-error));
}

void quick_deinit(struct quick *q)
{
	if (q->there != q->here)
		netconf_free(q->there);
	netconf_free(q->here);
	q->here = NULL;
	q->there = NULL;
	if (q->netns_fd >= 0)
		close(q->netns_fd);
	if (q->lock_fd >= 0)
		close(q->lock_fd);
	conf_file_deinit(&q->conf);
	quick_state_deinit(&q->state);
}

/*
 * One byte of one file per tunnel, so nothing is left to clean up and a killed process gives the lock back. Two names
 * that share a byte get in each other's way only while both are being worked on.
 */
enum quick_exit quick_lock(struct quick *q)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };
	uint32_t hash = 2166136261u;

	for (const char *c = q->state.tunnel; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 16777619u;
	lock.l_start = hash >> 1;
	if (q->lock_fd < 0)
		q->lock_fd = open(LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (q->lock_fd < 0)
		return quick_fail(quick_exit_code(-errno), "cannot open " LOCK_FILE ": %s", strerror(errno));
	if (!fcntl(q->lock_fd, F_OFD_SETLK, &lock))
		return QUICK_OK;
	return quick_fail(QUICK_BUSY, "another " PROG_NAME " is just taking `%s' up or down: wait for it",
			  q->state.tunnel);
}

static void format_netns_path(char *path, size_t size, const char *netns)
{
	snprintf(path, size, "%s%s", strchr(netns, '/') ? "" : "/var/run/netns/", netns);
}

enum quick_exit quick_open_netns(struct quick *q)
{
	const char *netns = q->state.netns;
	char path[512];
	int error;

	if (!netns)
		return QUICK_OK;
	format_netns_path(path, sizeof(path), netns);
	q->netns_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (q->netns_fd < 0)
		return quick_fail(quick_exit_code(-errno),
				  "there is no network namespace `%s' (%s: %s): make it with `ip "
				  "netns add %s'",
				  netns, path, strerror(errno), netns);
	q->there = netconf_open(q->netns_fd, &error);
	if (q->there)
		return QUICK_OK;
	q->there = q->here;
	return quick_fail(quick_exit_code(error), "cannot enter the network namespace `%s': %s", netns,
			  strerror(-error));
}

void quick_open_old_netns(struct quick *q)
{
	char path[512];

	if (!q->state.netns)
		return;
	format_netns_path(path, sizeof(path), q->state.netns);
	if (!access(path, F_OK) && !quick_open_netns(q))
		return;
	quick_warn("the network namespace `%s' is gone, and `%s' with it", q->state.netns, q->state.tunnel);
	q->netns_fd = -1;
}

enum quick_exit quick_note(struct quick *q)
{
	int ret = quick_state_write(&q->state);

	if (ret)
		return quick_fail(quick_exit_code(ret), "cannot write %s/%s: %s", QUICK_STATE_DIRECTORY,
				  q->state.tunnel, strerror(-ret));
	q->is_claimed = true;
	return QUICK_OK;
}

static void remove_new_config(struct quick *q)
{
	char *slash;

	if (!q->config_is_new)
		return;
	unlink(q->state.config_path);
	slash = strrchr(q->state.config_path, '/');
	if (q->config_dir_is_new && slash) {
		*slash = '\0';
		rmdir(q->state.config_path);
		*slash = '/';
	}
}

/* Each step is tried, whatever became of those before it. */
bool quick_undo(struct quick *q)
{
	bool ok = !q->state.has_run_post_up || quick_hooks_run(q, &q->state.pre_down, true);

	ok = quick_dns_unset(q) && ok;
	ok = quick_firewall_remove(q) && ok;
	ok = quick_routes_remove(q) && ok;
	ok = quick_device_stop(q) && ok;
	if (q->state.has_run_hooks)
		ok = quick_hooks_run(q, &q->state.post_down, true) && ok;
	remove_new_config(q);
	quick_state_remove(q->state.tunnel);
	return ok;
}
