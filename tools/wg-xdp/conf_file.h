/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The configuration file: what wg(8) reads, and the keys that wg-quick(8) adds.
 *
 * Parsed whole before anything is applied. No key material ever gets into an error text.
 */
#ifndef WG_XDP_CONF_FILE_H
#define WG_XDP_CONF_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "conf_list.h"
#include "device_config.h"

#define CONF_ERROR_SIZE 512

enum conf_table {
	CONF_TABLE_AUTO,
	CONF_TABLE_OFF,
	CONF_TABLE_NUMBER,
};

struct conf_file {
	struct device_config device; /* endpoints only once conf_file_resolve() has run */
	char **endpoints; /* n_endpoints of them: that of device.peers[i] as written ("host:port"), or NULL for none */
	size_t n_endpoints, endpoints_capacity; /* as many as the file has peers; device may get more later */
	struct conf_list addresses; /* "10.0.0.1/24"; each passes conf_address_parse() */
	struct conf_list dns; /* numeric addresses */
	struct conf_list dns_search; /* what DNS= holds besides addresses */
	struct conf_list pre_up, post_up, pre_down, post_down; /* commands, %i not replaced yet */
	uint32_t mtu; /* 0: not given */
	enum conf_table table;
	uint32_t table_number; /* with CONF_TABLE_NUMBER */
	bool save_config;
	struct conf_list warnings; /* whole sentences that name file and line; the file was accepted in spite of them */
};

enum conf_file_flag {
	CONF_FILE_ALLOW_QUICK = 1 << 0, /* wg-quick's keys are understood; else they are errors, as in wg(8) */
	CONF_FILE_APPEND = 1 << 1, /* addconf: what the file does not mention stays; else it is cleared (setconf) */
};

/*
 * Fills *conf (also to be given to conf_file_deinit() after an error). name is what messages call the file.
 * Returns 0, -EINVAL or -ENOMEM or what opening and reading said, with a sentence in error ("FILE:LINE: ...").
 */
int conf_file_parse(struct conf_file *conf, FILE *file, const char *name, unsigned int flags,
		    char error[static CONF_ERROR_SIZE]);
int conf_file_parse_path(struct conf_file *conf, const char *path, unsigned int flags,
			 char error[static CONF_ERROR_SIZE]);
/* Wipes keys and frees all; the struct itself is the caller's. */
void conf_file_deinit(struct conf_file *conf);

/* Prints conf->warnings to stderr. */
void conf_file_print_warnings(const struct conf_file *conf);

/*
 * Looks up every endpoint and puts it into conf->device. May block and retry, as resolve_endpoint() does.
 * Returns 0 or -EINVAL with a sentence in error.
 */
int conf_file_resolve(struct conf_file *conf, char error[static CONF_ERROR_SIZE]);

/* Copies the file without wg-quick's keys: what wg setconf takes. Returns 0 or -errno. */
int conf_file_strip(FILE *in, FILE *out);

/* Writes the device as showconf does: a file that setconf takes. Complete with keys. */
void conf_file_print_device(FILE *out, const struct device_config *device);

/* "10.0.0.1/24", "fd00::1/64", "10.0.0.1" (then /32 or /128); host bits are kept. *family is AF_INET or AF_INET6. */
bool conf_address_parse(const char *text, int *family, uint8_t addr[static 16], uint8_t *cidr);

#endif
