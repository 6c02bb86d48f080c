// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The tunnel device: its daemon started and ended, the namespace it lives in, addresses, MTU, and whether it works. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cmd.h"
#include "monitor.h"
#include "quick.h"
#include "uapi_client.h"

#define START_TIMEOUT_MS 20000
#define USABLE_TIMEOUT_MS 5000
#define END_TIMEOUT_MS 3000
#define POLL_MS 20
#define WG_OVERHEAD 80 /* IPv6 and UDP headers, the message's own, and the tag */
#define DEFAULT_PATH_MTU 1500
#define MAX_ADDRESSES 256
#define PATH_SIZE (sizeof(UAPI_DIRECTORY) + IFNAMSIZ + 16)

static void pause_ms(unsigned int ms)
{
	struct timespec time = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

	nanosleep(&time, NULL);
}

/* ------ start ------ */

/* In the child: does not return. The environment says what its command line, wireguard-go's, has no place for. */
static void become_daemon(const struct quick *q)
{
	const char *other = getenv("WG_XDP_DAEMON");
	char *argv[] = { PROG_NAME, (char *)(uintptr_t)q->state.tunnel, NULL };

	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	signal(SIGPIPE, SIG_DFL);
	unsetenv("WG_PROCESS_FOREGROUND");
	setenv("WG_XDP_UNDERLAY", q->state.underlay, 1);
	if (other && *other)
		execvp(other, argv);
	else
		execv("/proc/self/exe", argv);
	fprintf(stderr, PROG_NAME ": cannot start %s: %s\n", other ? other : "myself", strerror(errno));
	_exit(127);
}

/* The daemon detaches: the child that we wait for returns when device and socket exist. */
static int wait_for_start(pid_t pid)
{
	int fd = pidfd_open(pid, 0), status;
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	/* A signal ends the wait as well: what has been started is undone then. */
	if (fd < 0 || poll(&poll_fd, 1, START_TIMEOUT_MS) <= 0)
		kill(pid, SIGTERM);
	if (fd >= 0)
		close(fd);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Until it has answered once, a daemon may still look for its device here, where it soon will not be any more. */
static bool answers(const char *tunnel)
{
	struct device_config status;
	bool ret;

	device_config_init(&status);
	ret = !uapi_client_get(tunnel, &status);
	device_config_deinit(&status);
	return ret;
}

enum quick_exit quick_device_start(struct quick *q)
{
	struct netconf_link link;
	enum quick_exit code;
	pid_t pid;
	int ret;

	q->state.is_started = true;
	code = quick_note(q); /* before, so that whatever happens to us, `down` can find it */
	if (code)
		return code;
	fflush(NULL);
	pid = fork();
	if (!pid)
		become_daemon(q);
	ret = pid < 0 ? -errno : wait_for_start(pid);
	if (ret)
		return quick_fail(QUICK_FAILED,
				  "the daemon for `%s' did not start (%d): see its message above, or try `" PROG_NAME
				  " -f %s' to see more",
				  q->state.tunnel, ret, q->state.tunnel);
	if (netconf_link_find(q->here, q->state.tunnel, &link) || !answers(q->state.tunnel))
		return quick_fail(QUICK_FAILED, "the daemon for `%s' has ended at once", q->state.tunnel);
	q->ifindex = link.ifindex;
	return QUICK_OK;
}

enum quick_exit quick_device_move(struct quick *q)
{
	struct netconf_link link;
	int ret;

	if (q->netns_fd < 0)
		return QUICK_OK;
	ret = netconf_link_move(q->here, q->ifindex, q->netns_fd);
	if (!ret)
		ret = netconf_link_find(q->there, q->state.tunnel, &link);
	if (ret)
		return quick_fail(quick_exit_code(ret), "cannot move `%s' into the network namespace `%s': %s",
				  q->state.tunnel, q->state.netns, strerror(-ret));
	q->ifindex = link.ifindex;
	return QUICK_OK;
}

/* ------ addresses, MTU ------ */

enum quick_exit quick_device_add_addresses(struct quick *q)
{
	for (size_t i = 0; i < q->conf.addresses.n; i++) {
		const char *text = q->conf.addresses.items[i];
		struct netconf_prefix address;
		int ret = netconf_prefix_parse(&address, text) ? 0 : -EINVAL;

		if (!ret)
			ret = netconf_address_add(q->there, q->ifindex, &address);
		if (ret == -EEXIST) /* written twice */
			ret = 0;
		if (ret && address.family == AF_INET6)
			return quick_fail(ret == -EINVAL ? QUICK_CONFIG : QUICK_SYSTEM,
					  "cannot add the address %s: %s; is IPv6 "
					  "switched off (sysctl net.ipv6.conf.all.disable_ipv6)?",
					  text, strerror(-ret));
		if (ret)
			return quick_fail(quick_exit_code(ret), "cannot add the address %s: %s", text, strerror(-ret));
	}
	return QUICK_OK;
}

/* The narrowest way to any peer, less what we add to a packet. */
static uint32_t discover_mtu(struct quick *q)
{
	const struct device_config *device = &q->conf.device;
	struct netconf_path path;
	uint32_t mtu = 0;

	for (size_t i = 0; i < device->n_peers; i++) {
		const struct config_peer *peer = &device->peers[i];

		if (peer->flags & CONFIG_PEER_HAS_ENDPOINT &&
		    !netconf_route_get(q->here, &peer->endpoint.addr, device->fwmark, &path) && path.mtu &&
		    (!mtu || path.mtu < mtu))
			mtu = path.mtu;
	}
	if (!mtu && !netconf_default_route(q->here, &path))
		mtu = path.mtu;
	if (mtu <= WG_OVERHEAD)
		mtu = DEFAULT_PATH_MTU;
	return mtu - WG_OVERHEAD;
}

static bool has_ipv6_address(const struct conf_file *conf)
{
	for (size_t i = 0; i < conf->addresses.n; i++)
		if (strchr(conf->addresses.items[i], ':'))
			return true;
	return false;
}

enum quick_exit quick_device_set_up(struct quick *q)
{
	uint32_t mtu = q->conf.mtu ? q->conf.mtu : discover_mtu(q);
	int ret;

	if (mtu > UINT16_MAX) /* loopback's path; the device's own limit */
		mtu = UINT16_MAX - WG_OVERHEAD;
	if (mtu < 1280 && has_ipv6_address(&q->conf))
		quick_warn("an MTU of %u is too small for IPv6, so the kernel removes the IPv6 addresses of `%s'", mtu,
			   q->state.tunnel);
	ret = netconf_link_set_mtu(q->there, q->ifindex, mtu);
	if (ret)
		return quick_fail(quick_exit_code(ret), "cannot set the MTU of `%s' to %u: %s", q->state.tunnel, mtu,
				  strerror(-ret));
	ret = netconf_link_set_up(q->there, q->ifindex, true);
	if (ret)
		return quick_fail(quick_exit_code(ret), "cannot set `%s' up: %s", q->state.tunnel, strerror(-ret));
	return QUICK_OK;
}

/* ------ is it usable? ------ */

/* The agent opens its port when it sees that the device is up. */
static bool is_usable(struct quick *q, const char **why_not)
{
	struct netconf_prefix addresses[MAX_ADDRESSES];
	struct device_config status;
	struct netconf_link link;
	size_t n = MAX_ADDRESSES;
	bool has_port;

	*why_not = "the daemon does not answer";
	device_config_init(&status);
	has_port =
		!uapi_client_get(q->state.tunnel, &status) && (*why_not = "it has no UDP port") && status.listen_port;
	device_config_deinit(&status);
	if (!has_port)
		return false;
	*why_not = "the device is not up";
	if (netconf_link_find(q->there, q->state.tunnel, &link) || !link.is_up)
		return false;
	*why_not = "an address is missing";
	return !netconf_address_list(q->there, link.ifindex, addresses, &n) && (n || !q->conf.addresses.n);
}

static bool has_handshake(const struct quick *q)
{
	struct device_config status;
	bool found = false;

	device_config_init(&status);
	if (!uapi_client_get(q->state.tunnel, &status))
		for (size_t i = 0; i < status.n_peers && !found; i++)
			found = status.peers[i].last_handshake_sec;
	device_config_deinit(&status);
	return found;
}

/* A peer that will be called by itself: others need traffic first. */
static bool expects_handshake(const struct conf_file *conf)
{
	for (size_t i = 0; i < conf->device.n_peers; i++) {
		const struct config_peer *peer = &conf->device.peers[i];

		if (peer->flags & CONFIG_PEER_HAS_ENDPOINT && peer->persistent_keepalive_interval_s)
			return true;
	}
	return false;
}

enum quick_exit quick_device_wait(struct quick *q, unsigned int handshake_s)
{
	const char *why_not = "";
	unsigned int waited_ms;

	for (waited_ms = 0; !is_usable(q, &why_not); waited_ms += POLL_MS) {
		if (waited_ms >= USABLE_TIMEOUT_MS || quick_is_interrupted())
			return quick_fail(QUICK_FAILED, "`%s' does not become usable: %s", q->state.tunnel, why_not);
		pause_ms(POLL_MS);
	}
	if (!handshake_s)
		return QUICK_OK;
	if (!expects_handshake(&q->conf)) {
		quick_warn(
			"--wait: no peer has both Endpoint and PersistentKeepalive, so no handshake begins by itself");
		return QUICK_OK;
	}
	for (waited_ms = 0; !has_handshake(q); waited_ms += POLL_MS) {
		if (waited_ms >= handshake_s * 1000 || quick_is_interrupted())
			return quick_fail(QUICK_FAILED,
					  "no peer has answered within %u s: check keys, endpoints, firewalls",
					  handshake_s);
		pause_ms(POLL_MS);
	}
	return QUICK_OK;
}

/* ------ stop ------ */

static int delete_tunnel_link(struct netconf *netconf, const char *name)
{
	struct netconf_link link;
	int ret = netconf_link_find(netconf, name, &link);

	if (ret || strcmp(link.kind, "tun")) /* another kind of that name is not ours */
		return 0;
	ret = netconf_link_delete(netconf, link.ifindex);
	return ret == -ENODEV ? 0 : ret;
}

/* Our daemon holds a lock beside its socket until its last process has ended; a killed one leaves the file. */
static bool is_gone(const char *name)
{
	char path[PATH_SIZE];
	int fd, ret;

	if (uapi_client_exists(name))
		return false;
	snprintf(path, sizeof(path), UAPI_DIRECTORY "/.%s.lock", name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return true;
	ret = flock(fd, LOCK_EX | LOCK_NB);
	if (!ret)
		unlink(path);
	close(fd);
	return !ret;
}

static bool wait_until_gone(const char *name)
{
	for (unsigned int waited_ms = 0; waited_ms < END_TIMEOUT_MS; waited_ms += POLL_MS) {
		if (is_gone(name))
			return true;
		pause_ms(POLL_MS);
	}
	return false;
}

/* A daemon ends when its device goes, and when its socket is removed; a dead one may have left either. */
bool quick_device_stop(struct quick *q)
{
	char path[PATH_SIZE];
	bool is_over;
	int ret;

	if (!q->state.is_started)
		return true;
	q->state.is_started = false;
	ret = delete_tunnel_link(q->there, q->state.tunnel);
	if (!ret && q->there != q->here) /* not moved yet, or come back */
		ret = delete_tunnel_link(q->here, q->state.tunnel);
	if (ret)
		quick_fail(QUICK_FAILED, "cannot delete the device `%s': %s", q->state.tunnel, strerror(-ret));
	snprintf(path, sizeof(path), UAPI_DIRECTORY "/%s.sock", q->state.tunnel);
	is_over = wait_until_gone(q->state.tunnel);
	unlink(path);
	if (!is_over && !wait_until_gone(q->state.tunnel)) {
		quick_fail(QUICK_FAILED, "the daemon of `%s' does not end", q->state.tunnel);
		return false;
	}
	return !ret;
}
