// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Routes to the peers' allowed IPs.
 *
 * A default route goes into a table of its own, which everything uses but the packets that carry our mark: those are
 * the tunnel's own. "suppress_prefixlength 0" keeps every route of the main table in force except its default.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "quick.h"
#include "uapi_client.h"

#define FIRST_TABLE 51820
#define MAX_TABLES 10000
#define MAX_COVERS 64
#define SRC_VALID_MARK "/proc/sys/net/ipv4/conf/all/src_valid_mark"

/* ------ which prefixes ------ */

/* Longest first: what a longer one covers is never shadowed. Equal ones meet. */
static int compare_prefixes(const void *a, const void *b)
{
	const struct netconf_prefix *left = a, *right = b;

	if (left->cidr != right->cidr)
		return left->cidr > right->cidr ? -1 : 1;
	if (left->family != right->family)
		return left->family < right->family ? -1 : 1;
	return memcmp(left->addr, right->addr, sizeof(left->addr));
}

static size_t count_allowed_ips(const struct device_config *device)
{
	size_t n = 0;

	for (size_t i = 0; i < device->n_peers; i++)
		n += device->peers[i].n_allowed_ips;
	return n;
}

/* All peers' allowed IPs, sorted, each once; to be freed. NULL when memory is short. */
static struct netconf_prefix *list_allowed_ips(const struct device_config *device, size_t *n)
{
	struct netconf_prefix *prefixes = calloc(count_allowed_ips(device) + 1, sizeof(*prefixes));
	size_t n_all = 0;

	if (!prefixes)
		return NULL;
	for (size_t i = 0; i < device->n_peers; i++) {
		for (size_t j = 0; j < device->peers[i].n_allowed_ips; j++) {
			const struct config_allowed_ip *ip = &device->peers[i].allowed_ips[j];
			struct netconf_prefix *prefix = &prefixes[n_all++];

			prefix->family = ip->family_is_v6 ? AF_INET6 : AF_INET;
			prefix->cidr = ip->cidr;
			memcpy(prefix->addr, ip->addr, ip->family_is_v6 ? 16 : 4);
		}
	}
	qsort(prefixes, n_all, sizeof(*prefixes), compare_prefixes);
	*n = 0;
	for (size_t i = 0; i < n_all; i++)
		if (!i || compare_prefixes(&prefixes[i], &prefixes[i - 1]))
			prefixes[(*n)++] = prefixes[i];
	return prefixes;
}

/* ------ the default route ------ */

static enum quick_exit fail_rule(sa_family_t family, int error)
{
	return quick_fail(quick_exit_code(error), "cannot change the routing rules of %s: %s",
			  family == AF_INET ? "IPv4" : "IPv6", strerror(-error));
}

/* The mark is the table's number, as wg-quick has it: FwMark= chooses both. */
static enum quick_exit choose_table(struct quick *q)
{
	struct device_config change;
	uint32_t table;
	size_t count = 1;
	int ret = 0;

	if (q->conf.device.fwmark)
		return QUICK_OK;
	for (table = FIRST_TABLE; table < FIRST_TABLE + MAX_TABLES; table++) {
		ret = netconf_table_count(q->there, table, &count);
		if (ret || !count)
			break;
	}
	if (ret || count)
		return quick_fail(QUICK_FAILED, "cannot find a free routing table from %u on: %s", FIRST_TABLE,
				  ret ? strerror(-ret) : "all have routes");
	device_config_init(&change);
	change.flags = CONFIG_DEVICE_HAS_FWMARK;
	change.fwmark = table;
	ret = uapi_client_set(q->state.tunnel, &change);
	device_config_deinit(&change);
	if (ret)
		return quick_fail(quick_exit_code(ret), "the daemon refuses the mark %u: %s", table, strerror(-ret));
	q->conf.device.fwmark = table;
	return QUICK_OK;
}

static enum quick_exit add_rule(struct quick *q, struct netconf_rule *rule)
{
	int ret = q->state.n_rules < QUICK_MAX_RULES ? netconf_rule_add(q->there, rule) : -ENOSPC;

	if (ret)
		return fail_rule(rule->family, ret);
	q->state.rules[q->state.n_rules++] = *rule;
	return quick_note(q);
}

/* Says that the sysctl was 0 before us; shared by all tunnels of this namespace, whichever comes first or goes last. */
static void format_marker_path(char *path, size_t size)
{
	struct stat netns;

	snprintf(path, size, QUICK_STATE_DIRECTORY "/.src_valid_mark.%lu",
		 stat("/proc/self/ns/net", &netns) ? 0UL : (unsigned long)netns.st_ino);
}

/* Lets the reverse path filter see the mark, else it drops the answers to our own packets. */
static void set_src_valid_mark(void)
{
	int fd = open(SRC_VALID_MARK, O_RDWR | O_CLOEXEC);
	char value = '1', path[64];

	format_marker_path(path, sizeof(path));
	if (fd < 0 || (read(fd, &value, 1) == 1 && value == '0' && pwrite(fd, "1", 1, 0) != 1))
		quick_warn("cannot set sysctl net.ipv4.conf.all.src_valid_mark=1: answers may be dropped where "
			   "rp_filter=1");
	else if (value == '0')
		close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	if (fd >= 0)
		close(fd);
}

static enum quick_exit add_default(struct quick *q, const struct netconf_prefix *dst)
{
	enum quick_exit code = choose_table(q);
	uint32_t table = q->conf.device.fwmark;
	struct netconf_rule unmarked = { .family = dst->family, .table = table, .fwmark = table, .invert = true };
	struct netconf_rule specific = { .family = dst->family, .table = RT_TABLE_MAIN, .suppress_default = true };
	int ret;

	if (code)
		return code;
	ret = netconf_route_add(q->there, dst, q->ifindex, table);
	if (ret)
		return quick_fail(quick_exit_code(ret), "cannot add the default route to table %u: %s", table,
				  strerror(-ret));
	code = add_rule(q, &unmarked);
	if (!code)
		code = add_rule(q, &specific);
	if (code)
		return code;
	if (dst->family == AF_INET)
		set_src_valid_mark();
	quick_firewall_add(q, dst->family, table);
	return quick_note(q);
}

/* ------ all routes ------ */

static bool is_covered(const struct netconf_prefix *dst, const struct netconf_prefix *covers, size_t n)
{
	for (size_t i = 0; i < n && i < MAX_COVERS; i++)
		if (netconf_prefix_covers(&covers[i], dst))
			return true;
	return false;
}

static enum quick_exit add_route(struct quick *q, const struct netconf_prefix *dst)
{
	uint32_t table = q->conf.table == CONF_TABLE_NUMBER ? q->conf.table_number : RT_TABLE_MAIN;
	char text[NETCONF_PREFIX_TEXT_SIZE];
	int ret = netconf_route_add(q->there, dst, q->ifindex, table);

	if (!ret)
		return QUICK_OK;
	netconf_prefix_format(text, dst);
	if (ret == -EEXIST)
		return quick_fail(QUICK_BUSY,
				  "cannot route %s to `%s': table %u routes it elsewhere (`ip route show table %u "
				  "%s'); use Table = off or another table",
				  text, q->state.tunnel, table, table, text);
	return quick_fail(quick_exit_code(ret), "cannot route %s to `%s' in table %u: %s", text, q->state.tunnel, table,
			  strerror(-ret));
}

/*
 * In a namespace of its own the tunnel's packets cannot meet its default route, for the sockets are elsewhere: there a
 * default route is a route like any other.
 */
enum quick_exit quick_routes_add(struct quick *q)
{
	bool is_auto = q->conf.table == CONF_TABLE_AUTO;
	struct netconf_prefix covers[MAX_COVERS], *prefixes;
	size_t n, n_covers = is_auto ? MAX_COVERS : 0;
	enum quick_exit code = QUICK_OK;

	if (q->conf.table == CONF_TABLE_OFF)
		return QUICK_OK;
	prefixes = list_allowed_ips(&q->conf.device, &n);
	if (!prefixes)
		return quick_fail(QUICK_FAILED, "out of memory");
	/* The routes that came with the addresses, or by PreUp. */
	if (is_auto && netconf_route_list(q->there, q->ifindex, RT_TABLE_MAIN, covers, &n_covers))
		n_covers = 0;
	for (size_t i = 0; i < n && !code; i++) {
		if (is_auto && !prefixes[i].cidr && q->netns_fd < 0)
			code = add_default(q, &prefixes[i]);
		else if (!is_covered(&prefixes[i], covers, n_covers))
			code = add_route(q, &prefixes[i]);
	}
	free(prefixes);
	return code;
}

/* ------ removal: routes go with the device, rules do not ------ */

/* Not while there is a rule for marked packets, ours or another's, that may rely on it. */
static void unset_src_valid_mark(struct quick *q)
{
	struct netconf_rule rules[64];
	size_t n = 64;
	char path[64];
	int fd;

	format_marker_path(path, sizeof(path));
	if (access(path, F_OK) || netconf_rule_list(q->there, AF_INET, rules, &n))
		return;
	for (size_t i = 0; i < n && i < 64; i++)
		if (rules[i].fwmark)
			return;
	fd = open(SRC_VALID_MARK, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		quick_warn("sysctl net.ipv4.conf.all.src_valid_mark stays 1");
	if (fd >= 0)
		close(fd);
	unlink(path);
}

bool quick_routes_remove(struct quick *q)
{
	bool ok = true, had_rules = q->state.n_rules;

	while (q->state.n_rules) {
		const struct netconf_rule *rule = &q->state.rules[--q->state.n_rules];
		int ret = netconf_rule_delete(q->there, rule);

		if (!ret || ret == -ENOENT)
			continue;
		fail_rule(rule->family, ret);
		ok = false;
	}
	if (had_rules)
		unset_src_valid_mark(q);
	return ok;
}

static void adopt_rules(struct quick *q, sa_family_t family, uint32_t fwmark)
{
	struct netconf_rule rules[64];
	size_t n = 64;

	if (netconf_rule_list(q->there, family, rules, &n))
		return;
	for (size_t i = 0; i < n && i < 64; i++) {
		bool is_ours = rules[i].invert && rules[i].fwmark == fwmark && rules[i].table == fwmark;
		/* Its companion was added next, hence stands right before it. */
		bool is_companion = rules[i].suppress_default && rules[i].table == RT_TABLE_MAIN && i + 1 < n &&
				    i + 1 < 64 && rules[i + 1].invert && rules[i + 1].fwmark == fwmark;

		if ((is_ours || is_companion) && q->state.n_rules < QUICK_MAX_RULES)
			q->state.rules[q->state.n_rules++] = rules[i];
	}
}

void quick_routes_adopt(struct quick *q)
{
	struct device_config status;

	device_config_init(&status);
	if (!uapi_client_get(q->state.tunnel, &status) && status.fwmark) {
		adopt_rules(q, AF_INET, status.fwmark);
		adopt_rules(q, AF_INET6, status.fwmark);
		if (q->state.n_rules && quick_program_exists("nft"))
			q->state.firewall = QUICK_FIREWALL_NFT;
		else if (q->state.n_rules && quick_program_exists("iptables-save"))
			q->state.firewall = QUICK_FIREWALL_IPTABLES;
	}
	device_config_deinit(&status);
}
