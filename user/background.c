// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Going to the background.
 *
 * The parent's exit code is a promise to scripts: 0 only after the child has said that the tunnel is there.
 */
#define _GNU_SOURCE /* pipe2() */
#include "background.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Copies what is there. False when nothing more will come. */
static bool relay(int fd)
{
	char text[4096];
	ssize_t len = read(fd, text, sizeof(text));

	if (len < 0)
		return errno == EAGAIN || errno == EINTR;
	return len > 0 && write(STDERR_FILENO, text, (size_t)len) == len;
}

/* Both pipes are read: a child that has much to say must not block on it. */
static int wait_for_child(pid_t child, int ready_fd, int output_fd)
{
	struct pollfd fds[2] = { { .fd = ready_fd, .events = POLLIN }, { .fd = output_fd, .events = POLLIN } };
	bool is_ready = false;
	char byte;

	while (poll(fds, 2, -1) >= 0 || errno == EINTR) {
		if (fds[1].revents && !relay(output_fd))
			fds[1].fd = -1;
		if (fds[0].revents) {
			is_ready = read(ready_fd, &byte, 1) == 1;
			break;
		}
	}
	while (output_fd >= 0 && poll(&fds[1], 1, 0) == 1 && fds[1].revents & POLLIN && relay(output_fd))
		;
	if (!is_ready)
		waitpid(child, NULL, 0);
	return is_ready ? 0 : 1;
}

static void set_std_fd(int fd, int std_fd)
{
	if (fd >= 0)
		dup2(fd, std_fd);
}

static void enter_child(int output_fd)
{
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	if (chdir("/"))
		fprintf(stderr, "wg-xdp: cannot change to the root directory: %s\n", strerror(errno));
	set_std_fd(null_fd, STDIN_FILENO);
	set_std_fd(output_fd, STDOUT_FILENO);
	set_std_fd(output_fd, STDERR_FILENO);
	if (null_fd > STDERR_FILENO)
		close(null_fd);
}

static void close_pipe(const int fds[static 2])
{
	if (fds[0] >= 0) {
		close(fds[0]);
		close(fds[1]);
	}
}

enum background_role background_fork(struct background *background, bool keep_output, int *exit_code)
{
	int ready[2] = { -1, -1 }, output[2] = { -1, -1 };
	pid_t child;

	*background = (struct background){ .ready_fd = -1, .keep_output = keep_output };
	*exit_code = 1;
	if (pipe2(ready, O_CLOEXEC) || (!keep_output && pipe2(output, O_CLOEXEC)))
		goto err_close;
	fflush(NULL);
	child = fork();
	if (child < 0)
		goto err_close;
	if (!child) {
		enter_child(output[1]);
		close_pipe(output);
		close(ready[0]);
		background->ready_fd = ready[1];
		return BACKGROUND_CHILD;
	}
	close(ready[1]);
	if (output[1] >= 0)
		close(output[1]);
	*exit_code = wait_for_child(child, ready[0], output[0]);
	close(ready[0]);
	if (output[0] >= 0)
		close(output[0]);
	return BACKGROUND_PARENT;

err_close:
	fprintf(stderr, "wg-xdp: cannot go to the background: %s\n", strerror(errno));
	close_pipe(ready);
	close_pipe(output);
	return BACKGROUND_FAILED;
}

void background_ready(struct background *background)
{
	const char byte = 1;
	int null_fd;

	if (background->ready_fd < 0)
		return;
	/* First the output: what comes after the parent's end goes nowhere. */
	if (!background->keep_output) {
		null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		set_std_fd(null_fd, STDOUT_FILENO);
		set_std_fd(null_fd, STDERR_FILENO);
		if (null_fd > STDERR_FILENO)
			close(null_fd);
	}
	while (write(background->ready_fd, &byte, 1) < 0 && errno == EINTR)
		;
	close(background->ready_fd);
	background->ready_fd = -1;
}
