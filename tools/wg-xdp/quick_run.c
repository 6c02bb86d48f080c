// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Other programs: each is echoed before it runs, and none of them inherits a descriptor of ours or a caught signal. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "quick.h"

bool quick_program_exists(const char *name)
{
	const char *path = getenv("PATH");
	char file[512];

	while (path && *path) {
		size_t len = strcspn(path, ":");

		snprintf(file, sizeof(file), "%.*s/%s", (int)len, path, name);
		if (!access(file, X_OK))
			return true;
		path += len + (path[len] == ':');
	}
	return false;
}

static void echo(char *const *argv)
{
	fprintf(stderr, "[#]");
	for (size_t i = 0; argv[i]; i++)
		fprintf(stderr, " %s", argv[i]);
	fputc('\n', stderr);
}

/* A memfd with the text, at its start. */
static int open_input(const char *input, size_t len)
{
	int fd = memfd_create("input", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (write(fd, input, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET)) {
		close(fd);
		return -EIO;
	}
	return fd;
}

/* In the child: does not return. */
static void become(const struct quick_program *program, int in_fd, int out_fd)
{
	int null_fd = program->is_quiet ? open("/dev/null", O_RDWR | O_CLOEXEC) : -1;

	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	if (program->netns_fd >= 0 && setns(program->netns_fd, CLONE_NEWNET))
		_exit(126);
	if (in_fd >= 0)
		dup2(in_fd, STDIN_FILENO);
	if (out_fd >= 0)
		dup2(out_fd, STDOUT_FILENO);
	else if (null_fd >= 0)
		dup2(null_fd, STDOUT_FILENO);
	if (null_fd >= 0)
		dup2(null_fd, STDERR_FILENO);
	execvp(program->argv[0], program->argv);
	if (errno == ENOENT && !strcmp(program->argv[0], "bash"))
		execvp("sh", program->argv);
	_exit(127);
}

static pid_t start(const struct quick_program *program, int out_fd)
{
	int in_fd = program->input ? open_input(program->input, program->input_len) : -1;
	pid_t pid;

	if (in_fd < -1)
		return in_fd;
	fflush(NULL);
	pid = fork();
	if (!pid)
		become(program, in_fd, out_fd);
	if (pid < 0)
		pid = -errno;
	if (in_fd >= 0)
		close(in_fd);
	return pid;
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int quick_program_run(const struct quick_program *program)
{
	pid_t pid;

	if (!program->is_quiet)
		echo(program->argv);
	pid = start(program, -1);
	return pid < 0 ? (int)pid : wait_for(pid);
}

char *quick_program_read(char *const *argv)
{
	struct quick_program program = { .argv = argv, .netns_fd = -1, .is_quiet = true };
	char *text = NULL, buffer[4096];
	size_t len = 0;
	int fds[2];
	ssize_t got;
	FILE *out;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return NULL;
	out = open_memstream(&text, &len);
	pid = out ? start(&program, fds[1]) : -1;
	close(fds[1]);
	if (pid > 0) {
		while ((got = read(fds[0], buffer, sizeof(buffer))) > 0 || (got < 0 && errno == EINTR))
			fwrite(buffer, 1, got > 0 ? (size_t)got : 0, out);
	}
	close(fds[0]);
	if (out)
		fclose(out);
	if (pid > 0 && !wait_for(pid))
		return text;
	free(text);
	return NULL;
}

/* The command with each %i replaced; NULL when memory is short. */
static char *expand(const char *command, const char *tunnel)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	for (; *command; command++) {
		if (command[0] == '%' && command[1] == 'i') {
			fputs(tunnel, out);
			command++;
		} else {
			fputc(*command, out);
		}
	}
	if (!fclose(out))
		return text;
	free(text);
	return NULL;
}

static bool run_hook(const struct quick *q, const char *hook)
{
	char *command = expand(hook, q->state.tunnel);
	char *argv[] = { "bash", "-c", command, NULL };
	struct quick_program program = { .argv = argv, .netns_fd = q->netns_fd };
	pid_t pid;
	int ret;

	if (!command)
		return false;
	fprintf(stderr, "[#] %s\n", command);
	pid = start(&program, -1);
	ret = pid < 0 ? (int)pid : wait_for(pid);
	if (ret)
		quick_fail(QUICK_FAILED, "the hook `%s' failed with %d", command, ret);
	free(command);
	return !ret;
}

bool quick_hooks_run(const struct quick *q, const struct conf_list *hooks, bool keep_going)
{
	bool ok = true;

	for (size_t i = 0; i < hooks->n && (ok || keep_going); i++)
		ok = run_hook(q, hooks->items[i]) && ok;
	return ok;
}
