// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The UAPI socket of a tunnel as a file.
 *
 * Whoever can write to it can read the private key: the directory must be root's alone, the socket is mode 0700.
 */
#define _GNU_SOURCE /* O_PATH */
#include "uapi_listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG 32
#define LOCK_TRIES 100
#define LOCK_INTERVAL_NS 10000000

#define WATCHED (IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF)

/* ------ Directory and lock ------ */

static int prepare_directory(const char *directory)
{
	mode_t mask = umask(0022);
	int err = mkdir(directory, 0755) && errno != EEXIST ? -errno : 0;
	struct stat st;

	umask(mask);
	if (err)
		return err;
	if (lstat(directory, &st))
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	return st.st_uid == geteuid() && !(st.st_mode & (S_IWGRP | S_IWOTH)) ? 0 : -EACCES;
}

/* The format has one %s, for the tunnel. */
__attribute__((format(printf, 2, 0))) static bool make_path(char path[static UAPI_PATH_SIZE], const char *format,
							     const char *directory, const char *tunnel)
{
	int len = snprintf(path, UAPI_PATH_SIZE, format, directory, tunnel);

	return len > 0 && (size_t)len < UAPI_PATH_SIZE;
}

/* Does the path lead to what fd has open? */
static bool is_at(int fd, const char *path)
{
	struct stat opened, found;

	return !fstat(fd, &opened) && !lstat(path, &found) && opened.st_dev == found.st_dev &&
	       opened.st_ino == found.st_ino;
}

/* The file goes with its last holder: a lock on a file that is no longer there is no lock. */
static int try_lock(struct uapi_listener *listener)
{
	int fd, err = -EWOULDBLOCK;

	fd = open(listener->lock_path, O_RDONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB))
		err = -errno;
	else if (is_at(fd, listener->lock_path))
		err = 0;
	if (err)
		close(fd);
	else
		listener->lock_fd = fd;
	return err;
}

int uapi_listener_lock(struct uapi_listener *listener, const char *directory, const char *tunnel)
{
	const struct timespec interval = { .tv_nsec = LOCK_INTERVAL_NS };
	int err;

	*listener = (struct uapi_listener){ .lock_fd = -1, .fd = -1, .file_fd = -1, .inotify_fd = -1 };
	/* Neither of the dotted names ends in ".sock": wg(8) does not look at them. */
	if (!make_path(listener->path, "%s/%s.sock", directory, tunnel) ||
	    !make_path(listener->bound_path, "%s/.%s.new", directory, tunnel) ||
	    !make_path(listener->lock_path, "%s/.%s.lock", directory, tunnel))
		return -ENAMETOOLONG;
	err = prepare_directory(directory);
	if (err)
		return err;
	for (unsigned int i = 0; i < LOCK_TRIES; i++) {
		err = try_lock(listener);
		if (err != -EWOULDBLOCK && err != -EINTR)
			return err;
		nanosleep(&interval, NULL);
	}
	return -EBUSY;
}

/* ------ The socket ------ */

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	memcpy(address.sun_path, path, strlen(path) + 1);
	return address;
}

int uapi_listener_check(const struct uapi_listener *listener)
{
	struct sockaddr_un address = address_of(listener->path);
	struct stat st;
	int fd, err = 0;

	if (lstat(listener->path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* EAGAIN: its backlog is full. */
	if (!connect(fd, (struct sockaddr *)&address, sizeof(address)) || errno == EAGAIN)
		err = -EADDRINUSE;
	else if (errno != ECONNREFUSED && errno != ENOENT)
		err = -errno;
	close(fd);
	return err;
}

static int bind_hidden(struct uapi_listener *listener)
{
	struct sockaddr_un address = address_of(listener->bound_path);
	mode_t mask;
	int err = 0;

	if (unlink(listener->bound_path) && errno != ENOENT)
		return -errno;
	listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener->fd < 0)
		return -errno;
	mask = umask(0077);
	if (bind(listener->fd, (struct sockaddr *)&address, sizeof(address)))
		err = -errno;
	umask(mask);
	if (!err && listen(listener->fd, BACKLOG))
		err = -errno;
	return err;
}

/* From before the file appears, so that no event is missed. */
static int watch(struct uapi_listener *listener, const char *path)
{
	char directory[UAPI_PATH_SIZE];

	listener->file_fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (listener->file_fd < 0)
		return -errno;
	memcpy(directory, listener->path, sizeof(directory));
	*strrchr(directory, '/') = '\0';
	listener->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (listener->inotify_fd < 0 || inotify_add_watch(listener->inotify_fd, directory, WATCHED) < 0)
		return -errno;
	return 0;
}

static void close_files(struct uapi_listener *listener)
{
	if (listener->inotify_fd >= 0)
		close(listener->inotify_fd);
	if (listener->file_fd >= 0)
		close(listener->file_fd);
	if (listener->fd >= 0)
		close(listener->fd);
	listener->fd = listener->file_fd = listener->inotify_fd = -1;
}

int uapi_listener_open(struct uapi_listener *listener)
{
	int err;

	err = bind_hidden(listener);
	if (!err)
		err = watch(listener, listener->bound_path);
	if (!err && rename(listener->bound_path, listener->path))
		err = -errno;
	if (err) {
		unlink(listener->bound_path);
		close_files(listener);
	}
	return err;
}

int uapi_listener_adopt(struct uapi_listener *listener, int fd)
{
	int is_listening = 0, flags, err;
	socklen_t len = sizeof(is_listening);

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &len))
		return -errno;
	if (!is_listening)
		return -EINVAL;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) || fcntl(fd, F_SETFD, FD_CLOEXEC))
		return -errno;
	err = watch(listener, listener->path);
	if (err && err != -ENOENT) {
		close_files(listener);
		return err;
	}
	listener->fd = fd;
	return 0;
}

bool uapi_listener_is_there(const struct uapi_listener *listener)
{
	char events[4096];

	if (listener->file_fd < 0)
		return true;
	/* What they say does not matter: the file is there, or it is not. */
	while (read(listener->inotify_fd, events, sizeof(events)) > 0)
		;
	return is_at(listener->file_fd, listener->path);
}

void uapi_listener_close(struct uapi_listener *listener)
{
	if (listener->file_fd >= 0 && is_at(listener->file_fd, listener->path))
		unlink(listener->path);
	close_files(listener);
	if (listener->lock_fd >= 0) {
		unlink(listener->lock_path);
		close(listener->lock_fd);
	}
	listener->lock_fd = -1;
}
