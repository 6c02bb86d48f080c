// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * With a default route through the tunnel: nobody outside may send to the tunnel's own addresses, and the answers to
 * our marked packets carry the mark again, so that they pass the reverse path filter.
 *
 * Tables and comments are named as wg-quick names them: either program can clear up after the other.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quick.h"

#define MAX_ADDRESSES 256

static const struct {
	sa_family_t family;
	char *nft, *iptables_save, *iptables_restore;
} families[] = {
	{ AF_INET, "ip", "iptables-save", "iptables-restore" },
	{ AF_INET6, "ip6", "ip6tables-save", "ip6tables-restore" },
};

/* The tunnel's addresses of one family, without prefix length. */
static size_t list_addresses(struct quick *q, sa_family_t family, char texts[][NETCONF_PREFIX_TEXT_SIZE])
{
	struct netconf_prefix addresses[MAX_ADDRESSES];
	size_t n = MAX_ADDRESSES, n_texts = 0;

	if (netconf_address_list(q->there, q->ifindex, addresses, &n))
		return 0;
	for (size_t i = 0; i < n && i < MAX_ADDRESSES; i++) {
		if (addresses[i].family != family)
			continue;
		netconf_prefix_format(texts[n_texts], &addresses[i]);
		*strchr(texts[n_texts++], '/') = '\0';
	}
	return n_texts;
}

/* ------ nft ------ */

/* Adding first makes the deletion succeed where there is nothing to delete. */
static void print_nft_delete(FILE *out, const char *family, const char *tunnel)
{
	fprintf(out, "add table %s wg-quick-%s\ndelete table %s wg-quick-%s\n", family, tunnel, family, tunnel);
}

static void print_nft_add(FILE *out, struct quick *q, sa_family_t family, uint32_t fwmark)
{
	const char *nft = families[family == AF_INET6].nft, *tunnel = q->state.tunnel;
	char addresses[MAX_ADDRESSES][NETCONF_PREFIX_TEXT_SIZE];
	size_t n = list_addresses(q, family, addresses);

	print_nft_delete(out, nft, tunnel);
	fprintf(out, "table %s wg-quick-%s {\n\tchain preraw {\n", nft, tunnel);
	fprintf(out, "\t\ttype filter hook prerouting priority -300;\n");
	for (size_t i = 0; i < n; i++)
		fprintf(out, "\t\tiifname != \"%s\" %s daddr %s fib saddr type != local drop\n", tunnel, nft,
			addresses[i]);
	fprintf(out, "\t}\n\tchain premangle {\n\t\ttype filter hook prerouting priority -150;\n");
	fprintf(out, "\t\tmeta l4proto udp meta mark set ct mark\n");
	fprintf(out, "\t}\n\tchain postmangle {\n\t\ttype filter hook postrouting priority -150;\n");
	fprintf(out, "\t\tmeta l4proto udp meta mark 0x%x ct mark set meta mark\n\t}\n}\n", fwmark);
}

/* ------ iptables ------ */

static void print_iptables_add(FILE *out, struct quick *q, sa_family_t family, uint32_t fwmark)
{
	const char *tunnel = q->state.tunnel;
	char addresses[MAX_ADDRESSES][NETCONF_PREFIX_TEXT_SIZE], comment[80];
	size_t n = list_addresses(q, family, addresses);

	snprintf(comment, sizeof(comment), "-m comment --comment \"wg-quick(8) rule for %s\"", tunnel);
	fprintf(out, "*raw\n");
	for (size_t i = 0; i < n; i++)
		fprintf(out, "-I PREROUTING ! -i %s -d %s -m addrtype ! --src-type LOCAL -j DROP %s\n", tunnel,
			addresses[i], comment);
	fprintf(out, "COMMIT\n*mangle\n-I POSTROUTING -m mark --mark %u -p udp -j CONNMARK --save-mark %s\n", fwmark,
		comment);
	fprintf(out, "-I PREROUTING -p udp -j CONNMARK --restore-mark %s\nCOMMIT\n", comment);
}

/* What a -save prints, our own lines only and turned into deletions. False when there is none. */
static bool print_iptables_delete(FILE *out, const char *saved, const char *tunnel)
{
	char comment[80];
	bool found = false;

	snprintf(comment, sizeof(comment), "--comment \"wg-quick(8) rule for %s\"", tunnel);
	while (*saved) {
		int len = (int)strcspn(saved, "\n");
		char *line = strndup(saved, (size_t)len);

		if (line && (line[0] == '*' || !strcmp(line, "COMMIT"))) {
			fprintf(out, "%s\n", line);
		} else if (line && !strncmp(line, "-A ", 3) && strstr(line, comment)) {
			fprintf(out, "-D %s\n", line + 3);
			found = true;
		}
		free(line);
		saved += len + (saved[len] == '\n');
	}
	return found;
}

/* ------ both ------ */

/* Feeds the text to the program; frees it. */
static bool feed(char *const *argv, char *text)
{
	struct quick_program program = { .argv = argv, .input = text, .netns_fd = -1 };
	bool ok;

	if (!text)
		return false;
	program.input_len = strlen(text);
	ok = !quick_program_run(&program);
	free(text);
	return ok;
}

typedef void print_rules(FILE *out, struct quick *q, sa_family_t family, uint32_t fwmark);

static char *format_rules(print_rules *print, struct quick *q, sa_family_t family, uint32_t fwmark)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	print(out, q, family, fwmark);
	fclose(out);
	return text;
}

void quick_firewall_add(struct quick *q, sa_family_t family, uint32_t fwmark)
{
	char *restore = families[family == AF_INET6].iptables_restore;
	char *nft_argv[] = { "nft", "-f", "-", NULL }, *iptables_argv[] = { restore, "-n", NULL };
	bool has_nft = quick_program_exists("nft"), has_iptables = quick_program_exists(restore);

	if (has_nft && feed(nft_argv, format_rules(print_nft_add, q, family, fwmark)))
		q->state.firewall = QUICK_FIREWALL_NFT;
	else if (has_iptables && feed(iptables_argv, format_rules(print_iptables_add, q, family, fwmark)))
		q->state.firewall = QUICK_FIREWALL_IPTABLES;
	else
		quick_warn("leak protection by firewall is off for %s: %s; others on the same network may send to the "
			   "addresses of `%s'",
			   family == AF_INET ? "IPv4" : "IPv6",
			   has_nft || has_iptables ? "the command above failed"
						   : "neither nft nor iptables is installed",
			   q->state.tunnel);
}

static bool remove_nft(const struct quick *q)
{
	char *argv[] = { "nft", "-f", "-", NULL }, *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return false;
	for (size_t i = 0; i < 2; i++)
		print_nft_delete(out, families[i].nft, q->state.tunnel);
	fclose(out);
	return feed(argv, text);
}

static bool remove_iptables(const struct quick *q)
{
	bool ok = true;

	for (size_t i = 0; i < 2; i++) {
		char *save_argv[] = { families[i].iptables_save, NULL };
		char *restore_argv[] = { families[i].iptables_restore, "-n", NULL };
		char *saved = quick_program_read(save_argv), *text = NULL;
		size_t len;
		FILE *out = saved ? open_memstream(&text, &len) : NULL;
		bool found = out && print_iptables_delete(out, saved, q->state.tunnel);

		if (out)
			fclose(out);
		free(saved);
		if (found)
			ok = feed(restore_argv, text) && ok;
		else
			free(text);
	}
	return ok;
}

bool quick_firewall_remove(struct quick *q)
{
	enum quick_firewall firewall = q->state.firewall;

	q->state.firewall = QUICK_FIREWALL_NONE;
	if (firewall == QUICK_FIREWALL_NFT)
		return remove_nft(q);
	return firewall == QUICK_FIREWALL_IPTABLES ? remove_iptables(q) : true;
}
