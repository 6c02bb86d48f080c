// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* One key in a file of its own. stdio's buffers hold keys here, so the files are read unbuffered. */
#include "key_io.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/secret.h"
#include "encoding.h"

static bool is_space(int c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Is there nothing but white space up to the end? */
static bool read_end(FILE *file)
{
	int c;

	do
		c = getc(file);
	while (is_space(c));
	return c == EOF;
}

bool key_io_read(FILE *file, const char *name, bool may_be_empty, uint8_t key[static NOISE_PUBLIC_KEY_LEN])
{
	char base64[KEY_BASE64_SIZE] = { 0 };
	const char *wrong = NULL;
	size_t len;

	setvbuf(file, NULL, _IONBF, 0);
	len = fread(base64, 1, sizeof(base64) - 1, file);
	if (ferror(file))
		wrong = strerror(errno);
	else if (!len && may_be_empty)
		memset(key, 0, NOISE_PUBLIC_KEY_LEN);
	else if (!encoding_key_from_base64(key, base64))
		wrong = "key is not the right length or format: a key is 44 characters of base64";
	else if (!read_end(file))
		wrong = "there are more characters after the key: expected one key and nothing else";
	secret_wipe(base64, sizeof(base64));
	if (wrong)
		fprintf(stderr, "%s: %s\n", name, wrong);
	return !wrong;
}

bool key_io_read_path(const char *path, uint8_t key[static NOISE_PUBLIC_KEY_LEN])
{
	FILE *file = fopen(path, "re");
	bool ok;

	if (!file) {
		fprintf(stderr, "%s: cannot be opened: %s\n", path, strerror(errno));
		return false;
	}
	ok = key_io_read(file, path, true, key);
	fclose(file);
	return ok;
}

static void warn_if_readable_by_all(void)
{
	struct stat st;

	if (fstat(STDOUT_FILENO, &st) || !S_ISREG(st.st_mode) || !(st.st_mode & S_IRWXO))
		return;
	fprintf(stderr, "Warning: writing to world accessible file.\n"
			"Consider setting the umask to 077 and trying again.\n");
}

bool key_io_print(const uint8_t key[static NOISE_PUBLIC_KEY_LEN], bool is_secret)
{
	char base64[KEY_BASE64_SIZE];
	bool ok;

	if (is_secret)
		warn_if_readable_by_all();
	setvbuf(stdout, NULL, _IONBF, 0);
	encoding_key_to_base64(base64, key);
	ok = puts(base64) >= 0 && !fflush(stdout);
	secret_wipe(base64, sizeof(base64));
	if (!ok)
		fprintf(stderr, "Unable to write the key: %s\n", strerror(errno));
	return ok;
}
