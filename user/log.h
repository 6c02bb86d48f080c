/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Messages on stderr. Never a key, never a line of input. */
#ifndef WG_XDP_LOG_H
#define WG_XDP_LOG_H

enum log_level {
	LOG_LEVEL_SILENT,
	LOG_LEVEL_ERROR,
	LOG_LEVEL_INFO,
	LOG_LEVEL_VERBOSE,
};

/* tag, the tunnel's name, is copied. */
void log_init(enum log_level level, const char *tag);
/* LOG_LEVEL's words: verbose, debug, info, error, silent; anything else or NULL is error, as in wireguard-go. */
enum log_level log_level_parse(const char *word);
enum log_level log_level_get(void);

__attribute__((format(printf, 1, 2))) void log_error(const char *format, ...);
__attribute__((format(printf, 1, 2))) void log_info(const char *format, ...);
__attribute__((format(printf, 1, 2))) void log_verbose(const char *format, ...);

#endif
