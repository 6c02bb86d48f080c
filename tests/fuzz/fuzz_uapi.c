// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * UAPI's text from a stranger: a set request (first byte even) or an answer to get (odd).
 *
 * What is accepted must survive being formatted and parsed again.
 */
#include <stdlib.h>
#include <string.h>

#include "uapi_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool parse_set(struct device_config *config, char *text)
{
	struct uapi_set_parser parser;
	char *line;

	device_config_init(config);
	uapi_set_parser_init(&parser, config);
	while ((line = strsep(&text, "\n")) && *line)
		if (uapi_set_parse_line(&parser, line))
			return false;
	return true;
}

static void check_set(char *text)
{
	struct uapi_text first = { 0 }, second = { 0 };
	struct device_config config, again;

	if (parse_set(&config, text)) {
		char *copy;

		uapi_format_set(&first, &config);
		copy = strdup(first.text + strlen("set=1\n"));
		if (!parse_set(&again, copy))
			abort();
		uapi_format_set(&second, &again);
		if (strcmp(first.text, second.text))
			abort();
		free(copy);
		device_config_deinit(&again);
	}
	uapi_text_deinit(&first);
	uapi_text_deinit(&second);
	device_config_deinit(&config);
}

static void check_get(char *text)
{
	struct uapi_text first = { 0 }, second = { 0 };
	struct device_config status, again;
	int error;

	device_config_init(&status);
	device_config_init(&again);
	if (!uapi_parse_get(&status, text, &error)) {
		char *copy;

		uapi_format_get(&first, &status);
		uapi_text_printf(&first, "errno=0\n\n");
		copy = strdup(first.text);
		if (uapi_parse_get(&again, copy, &error) || error)
			abort();
		uapi_format_get(&second, &again);
		uapi_text_printf(&second, "errno=0\n\n");
		if (strcmp(first.text, second.text))
			abort();
		free(copy);
	}
	uapi_text_deinit(&first);
	uapi_text_deinit(&second);
	device_config_deinit(&status);
	device_config_deinit(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (!size)
		return 0;
	text = malloc(size);
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	if (data[0] % 2)
		check_get(text);
	else
		check_set(text);
	free(text);
	return 0;
}
