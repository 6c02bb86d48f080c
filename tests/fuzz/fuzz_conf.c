// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A configuration file from a stranger; the first byte's lowest bits are the parser's flags.
 *
 * What is accepted with wg-quick's keys must be accepted without them once they are stripped, as the same device.
 */
#define _GNU_SOURCE
#include "../../tools/wg-xdp/conf_file.c"
#include "../../tools/wg-xdp/conf_list.c"
#include "../../tools/wg-xdp/conf_print.c"
#include "../../tools/wg-xdp/conf_value.c"
#include "../../tools/wg-xdp/resolve.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static FILE *open_bytes(const void *data, size_t size)
{
	FILE *file = fmemopen((void *)(uintptr_t)(size ? data : "\n"), size ? size : 1, "r");

	if (!file)
		abort();
	return file;
}

static char *print(const struct device_config *device)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	conf_file_print_device(out, device);
	fclose(out);
	return text;
}

static void check_stripped(const struct conf_file *conf, const uint8_t *data, size_t size, unsigned int flags)
{
	char *text = NULL, *before, *after, error[CONF_ERROR_SIZE];
	FILE *in = open_bytes(data, size), *out;
	struct conf_file stripped;
	size_t len = 0;

	out = open_memstream(&text, &len);
	if (conf_file_strip(in, out))
		abort();
	fclose(in);
	fclose(out);
	in = open_bytes(text, len);
	if (conf_file_parse(&stripped, in, "stripped", flags & ~(unsigned int)CONF_FILE_ALLOW_QUICK, error))
		abort();
	fclose(in);
	before = print(&conf->device);
	after = print(&stripped.device);
	if (strcmp(before, after) || stripped.addresses.n || stripped.post_up.n)
		abort();
	free(before);
	free(after);
	free(text);
	conf_file_deinit(&stripped);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char error[CONF_ERROR_SIZE];
	struct conf_file conf;
	unsigned int flags;
	FILE *file;
	int err;

	if (!size)
		return 0;
	flags = data[0] & (CONF_FILE_ALLOW_QUICK | CONF_FILE_APPEND);
	file = open_bytes(data + 1, size - 1);
	err = conf_file_parse(&conf, file, "fuzzed", flags, error);
	fclose(file);
	if (!err != !*error)
		abort();
	if (!err)
		check_stripped(&conf, data + 1, size - 1, flags);
	conf_file_deinit(&conf);
	return 0;
}
