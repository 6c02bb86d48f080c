// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Messages on stderr: one line, one write, so that lines of several threads and processes do not mix.
 *
 * Only write() is used: the agent's sandbox opens no file, so there is neither a time zone nor a locale to look up.
 */
#include "log.h"

#include <errno.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_SIZE 1024

static enum log_level log_threshold = LOG_LEVEL_ERROR;
static char log_tag[IFNAMSIZ] = "wg-xdp";

void log_init(enum log_level level, const char *tag)
{
	size_t len = strnlen(tag, sizeof(log_tag) - 1);

	log_threshold = level;
	memcpy(log_tag, tag, len);
	log_tag[len] = '\0';
}

enum log_level log_level_parse(const char *word)
{
	static const struct {
		const char *word;
		enum log_level level;
	} words[] = {
		{ "verbose", LOG_LEVEL_VERBOSE },
		{ "debug", LOG_LEVEL_VERBOSE },
		{ "info", LOG_LEVEL_INFO },
		{ "error", LOG_LEVEL_ERROR },
		{ "silent", LOG_LEVEL_SILENT },
	};

	for (size_t i = 0; word && i < sizeof(words) / sizeof(*words); i++)
		if (!strcmp(word, words[i].word))
			return words[i].level;
	return LOG_LEVEL_ERROR;
}

enum log_level log_level_get(void)
{
	return log_threshold;
}

/* A name from outside cannot forge a line or move a terminal's cursor. */
static void replace_control_characters(char *line, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
}

__attribute__((format(printf, 2, 0))) static void log_line(const char *level, const char *format, va_list args)
{
	char line[LINE_SIZE];
	int saved_errno = errno;
	size_t len;
	int n;

	len = (size_t)snprintf(line, sizeof(line), "%s: (%s) ", level, log_tag);
	n = vsnprintf(line + len, sizeof(line) - len, format, args);
	if (n > 0)
		len = (size_t)n < sizeof(line) - len ? len + (size_t)n : sizeof(line) - 1;
	replace_control_characters(line, len);
	line[len++] = '\n'; /* in place of the terminating zero */
	while (write(STDERR_FILENO, line, len) < 0 && errno == EINTR)
		;
	errno = saved_errno;
}

void log_error(const char *format, ...)
{
	va_list args;

	if (log_threshold < LOG_LEVEL_ERROR)
		return;
	va_start(args, format);
	log_line("ERROR", format, args);
	va_end(args);
}

void log_info(const char *format, ...)
{
	va_list args;

	if (log_threshold < LOG_LEVEL_INFO)
		return;
	va_start(args, format);
	log_line("INFO", format, args);
	va_end(args);
}

void log_verbose(const char *format, ...)
{
	va_list args;

	if (log_threshold < LOG_LEVEL_VERBOSE)
		return;
	va_start(args, format);
	log_line("DEBUG", format, args);
	va_end(args);
}
