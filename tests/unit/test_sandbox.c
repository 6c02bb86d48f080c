// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A process that has given up its privileges: what it is to the kernel, what kills it, and that an agent's work is
 * still possible. It is the whole of privileged_drop() with the filter of this file's sandbox.c.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <grp.h>
#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <urcu-qsbr.h>

#include "../../user/sandbox.c"
#include "link_name.h"
#include "own_netns.h"
#include "privileged.h"

static uint16_t port_of(int fd)
{
	struct sockaddr_in6 addr;
	socklen_t len = sizeof(addr);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	return ntohs(addr.sin6_port);
}

static int bind_any(uint16_t port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (!bind(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return fd;
	close(fd);
	return -1;
}

/* ------ What the process is ------ */

/* Runs body in a process that has dropped everything; returns its status. */
static int in_dropped_process(int (*body)(void))
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		if (privileged_drop())
			_exit(100);
		_exit(body());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void read_proc(pid_t pid, const char *file, char *text, size_t size)
{
	char path[64];
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	len = read(fd, text, size - 1);
	assert_true(len > 0);
	text[len] = '\0';
	close(fd);
}

static void assert_line(const char *text, const char *line)
{
	if (!strstr(text, line))
		fail_msg("\"%s\" is not in:\n%s", line, text);
}

static void assert_ids(const char *status)
{
	const struct passwd *user = getpwnam("wg-xdp");
	unsigned int uid = user ? user->pw_uid : 65534, gid = user ? user->pw_gid : 65534;
	char line[64];

	snprintf(line, sizeof(line), "\nUid:\t%u\t%u\t%u\t%u\n", uid, uid, uid, uid);
	assert_line(status, line);
	snprintf(line, sizeof(line), "\nGid:\t%u\t%u\t%u\t%u\n", gid, gid, gid, gid);
	assert_line(status, line);
}

static void test_dropped_state(void **state)
{
	char text[8192], path[64];
	int ready[2], hold[2];
	struct stat st;
	char byte;
	pid_t pid;

	(void)state;
	if (geteuid())
		skip();
	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(hold), 0);
	pid = fork();
	if (!pid) {
		const gid_t groups[] = { 1, 2, 3 };
		char result;

		if (setgroups(3, groups))
			_exit(1);
		result = (char)-privileged_drop();
		close(hold[1]);
		if (write(ready[1], &result, 1) != 1 || read(hold[0], &byte, 1))
			_exit(1);
		_exit(0);
	}
	close(hold[0]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(byte, 0);
	read_proc(pid, "status", text, sizeof(text));
	assert_ids(text);
	assert_line(text, "\nGroups:\t \n");
	assert_line(text, "\nCapInh:\t0000000000000000\n");
	assert_line(text, "\nCapPrm:\t0000000000000000\n");
	assert_line(text, "\nCapEff:\t0000000000000000\n");
	assert_line(text, "\nCapBnd:\t0000000000000000\n");
	assert_line(text, "\nCapAmb:\t0000000000000000\n");
	assert_line(text, "\nNoNewPrivs:\t1\n");
	assert_line(text, !IS_SANITIZED ? "\nSeccomp:\t2\n" : "\nSeccomp:\t0\n");
	/* A process that is not dumpable is root's in /proc. */
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, 0);
	read_proc(pid, "limits", text, sizeof(text));
	assert_line(text, "\nMax core file size        0                    0 ");
	close(hold[1]);
	close(ready[0]);
	close(ready[1]);
	waitpid(pid, NULL, 0);
}

/* ------ What kills ------ */

static int do_open(void) { return open("/dev/null", O_RDONLY); }
static int do_exec(void) { return execl("/bin/true", "true", (char *)NULL); }
static int do_fork(void) { return (int)fork(); }
static int do_vfork(void) { return (int)syscall(SYS_vfork); }
static int do_clone_namespace(void)
{
	return (int)syscall(SYS_clone, CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_NEWUSER, 0, 0, 0, 0);
}
static int do_unshare(void) { return unshare(CLONE_NEWUSER); }
static int do_setns(void) { return setns(0, 0); }
static int do_inet(void) { return socket(AF_INET, SOCK_DGRAM, 0); }
static int do_packet(void) { return socket(AF_PACKET, SOCK_RAW, 0); }
static int do_netfilter(void) { return socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER); }
static int do_connect(void) { return connect(0, NULL, 0); }
static int do_listen(void) { return listen(0, 1); }
static int do_map_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
}
static int do_protect_code(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mprotect(page, 4096, PROT_READ | PROT_EXEC);
}
static int do_ptrace(void) { return (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL); }
static int do_kill(void) { return kill(1, 0); }
static int do_tgkill(void) { return (int)syscall(SYS_tgkill, 1, 1, 0); }
static int do_tun_persist(void) { return ioctl(0, TUNSETPERSIST, 0); }
static int do_terminal_input(void) { return ioctl(0, TIOCSTI, ""); }
static int do_prog_load(void) { return (int)syscall(SYS_bpf, BPF_PROG_LOAD, NULL, 0); }
static int do_map_create(void) { return (int)syscall(SYS_bpf, BPF_MAP_CREATE, NULL, 0); }
static int do_link_detach(void) { return (int)syscall(SYS_bpf, BPF_LINK_DETACH, NULL, 0); }
static int do_dumpable(void) { return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); }
static int do_set_limit(void)
{
	const struct rlimit limit = { 0 };

	return setrlimit(RLIMIT_NPROC, &limit);
}
static int do_memfd(void) { return (int)syscall(SYS_memfd_create, "", 0); }
static int do_io_uring(void) { return (int)syscall(SYS_io_uring_setup, 1, NULL); }
static int do_process_vm(void) { return (int)syscall(SYS_process_vm_readv, 1, NULL, 0, NULL, 0, 0); }
static int do_setuid(void) { return setuid(0); }
static int do_attach_filter(void) { return setsockopt(0, SOL_PACKET, 1, NULL, 0); }
static int do_dup_fd_owner(void) { return fcntl(0, F_SETOWN, 1); }
static int do_stat_path(void)
{
	struct stat st;

	return stat("/etc/passwd", &st);
}
#ifdef __x86_64__
/* getpid() is allowed, but only by its own number. */
static int do_i386(void)
{
	long result;

	__asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
	return (int)result;
}
static int do_x32(void) { return (int)syscall(0x40000000 + SYS_getpid); }
#endif

static void test_forbidden(void **state)
{
	static const struct {
		const char *name;
		int (*body)(void);
	} calls[] = {
#define CALL(name) { #name, do_##name }
		CALL(open), CALL(exec), CALL(fork), CALL(vfork), CALL(clone_namespace), CALL(unshare), CALL(setns),
		CALL(inet), CALL(packet), CALL(netfilter), CALL(connect), CALL(listen), CALL(map_code),
		CALL(protect_code), CALL(ptrace), CALL(kill), CALL(tgkill), CALL(tun_persist), CALL(terminal_input),
		CALL(prog_load), CALL(map_create), CALL(link_detach), CALL(dumpable), CALL(set_limit), CALL(memfd),
		CALL(io_uring), CALL(process_vm), CALL(setuid), CALL(attach_filter), CALL(dup_fd_owner),
		CALL(stat_path),
#ifdef __x86_64__
		CALL(i386), CALL(x32),
#endif
#undef CALL
	};

	(void)state;
	if (geteuid() || IS_SANITIZED)
		skip();
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		int status = in_dropped_process(calls[i].body);

		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
			fail_msg("%s did not kill: status %#x", calls[i].name, status);
	}
}

/* ------ What an agent does ------ */

static int work_fds[8]; /* made before privileges go */
static int n_freed;

#define CHECK(condition)             \
	do {                         \
		if (!(condition))    \
			return __LINE__ % 250 + 1; \
	} while (0)

static void count_freed(struct rcu_head *head)
{
	(void)head;
	__atomic_add_fetch(&n_freed, 1, __ATOMIC_RELAXED);
}

static int work_rcu(void)
{
	static struct rcu_head heads[10];

#ifdef __SANITIZE_THREAD__
	/* It does not see the atomics of a library it has not built, and there is no filter to test. */
	return 0;
#endif
	urcu_qsbr_register_thread();
	for (int i = 0; i < 10; i++)
		urcu_qsbr_call_rcu(&heads[i], count_freed);
	urcu_qsbr_synchronize_rcu();
	urcu_qsbr_barrier();
	urcu_qsbr_unregister_thread();
	CHECK(__atomic_load_n(&n_freed, __ATOMIC_RELAXED) == 10);
	return 0;
}

static void *thread_body(void *arg)
{
	pthread_mutex_t *lock = arg;

	/* Its own name; another's would be a file in /proc. */
	if (pthread_setname_np(pthread_self(), "worker/0"))
		return arg;
	for (int i = 0; i < 100; i++) {
		/* Above the threshold of mmap, and in an arena of this thread. */
		void *large = malloc(1 << 20), *small = malloc(100);

		large = realloc(large, 4 << 20);
		memset(large, i, 4 << 20);
		pthread_mutex_lock(lock);
		sched_yield();
		pthread_mutex_unlock(lock);
		free(small);
		free(large);
	}
	return NULL;
}

static int work_threads(void)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	pthread_t threads[4];
	void *result;

	for (int i = 0; i < 4; i++)
		CHECK(!pthread_create(&threads[i], NULL, thread_body, &lock));
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_join(threads[i], &result) && !result);
	return 0;
}

static int work_events(void)
{
	struct epoll_event event = { .events = EPOLLIN };
	int epoll = epoll_create1(EPOLL_CLOEXEC), wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK), signals;
	const struct itimerspec soon = { .it_value.tv_nsec = 1 };
	const struct timespec moment = { .tv_nsec = 1000 };
	uint64_t value = 1;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	CHECK(!sigprocmask(SIG_BLOCK, &set, NULL));
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	CHECK(signals >= 0 && wake >= 0 && timer >= 0);
	CHECK(!epoll_ctl(epoll, EPOLL_CTL_ADD, wake, &event) && !epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &event));
	CHECK(!timerfd_settime(timer, 0, &soon, NULL));
	CHECK(epoll_wait(epoll, &event, 1, 5000) == 1);
	CHECK(write(wake, &value, sizeof(value)) == sizeof(value));
	CHECK(read(wake, &value, sizeof(value)) == sizeof(value));
	CHECK(!raise(SIGTERM));
	CHECK(poll(&(struct pollfd){ .fd = signals, .events = POLLIN }, 1, 5000) == 1);
	CHECK(!nanosleep(&moment, NULL) && !clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL));
	CHECK(getrandom(&value, sizeof(value), 0) == sizeof(value));
	return 0;
}

static int compare_longs(const void *a, const void *b)
{
	return *(const long *)a < *(const long *)b ? -1 : 1;
}

static int work_library(void)
{
	static long numbers[100000];
	char name[IFNAMSIZ];

	/* Sorting much asks for the size of the memory; if_nametoindex() makes a socket. */
	for (int i = 0; i < 100000; i++)
		numbers[i] = (i * 7919L) % 100003;
	qsort(numbers, 100000, sizeof(*numbers), compare_longs);
	CHECK(numbers[0] < numbers[1]);
	CHECK(if_nametoindex("lo") == 1 && if_indextoname(1, name));
	printf("  (stdio works)\n");
	fflush(stdout);
	CHECK(strerror(EINVAL));
	log_error("a line of the log");
	return 0;
}

static int work_memory(void)
{
	void *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int state_fd = work_fds[0];
	struct stat st;

	CHECK(page != MAP_FAILED && !mlock(page, 4096) && !madvise(page, 8192, MADV_DONTDUMP));
	CHECK(!mprotect((char *)page + 4096, 4096, PROT_NONE) && !munlock(page, 4096) && !munmap(page, 8192));
	CHECK(write(state_fd, "state", 5) == 5 && !ftruncate(state_fd, 8192) && pwrite(state_fd, "x", 1, 100) == 1);
	CHECK(!fstat(state_fd, &st) && st.st_size == 8192 && !lseek(state_fd, 0, SEEK_SET));
	page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, state_fd, 0);
	CHECK(page != MAP_FAILED && !memcmp(page, "state", 5));
	return 0;
}

static int work_network(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	int udp = work_fds[1], listener = work_fds[2], netlink, accepted;
	struct iovec iov = { .iov_base = "datagram", .iov_len = 8 };
	struct mmsghdr msg = {
		.msg_hdr = { .msg_iov = &iov, .msg_iovlen = 1, .msg_name = &to, .msg_namelen = sizeof(to) },
	};
	socklen_t len = sizeof(kernel);
	char name[IFNAMSIZ] = "", bytes[64];
	int one = 1;

	to.sin_port = htons(port_of(udp));
	CHECK(sendmmsg(udp, &msg, 1, 0) == 1);
	CHECK(poll(&(struct pollfd){ .fd = udp, .events = POLLIN }, 1, 5000) == 1);
	iov.iov_base = bytes;
	iov.iov_len = sizeof(bytes);
	CHECK(recvmmsg(udp, &msg, 1, MSG_DONTWAIT, NULL) == 1 && msg.msg_len == 8);
	CHECK(!setsockopt(udp, SOL_UDP, UDP_GRO, &one, sizeof(one)));
	/* The underlay's netlink socket, as libnl makes it. */
	netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	CHECK(netlink >= 0 && !setsockopt(netlink, SOL_SOCKET, SO_RCVBUF, &one, sizeof(one)));
	CHECK(!bind(netlink, (struct sockaddr *)&kernel, len));
	CHECK(!getsockname(netlink, (struct sockaddr *)&kernel, &len));
	link_name(netlink, 1, name);
	CHECK(!strcmp(name, "lo"));
	one = RTNLGRP_LINK;
	CHECK(!setsockopt(netlink, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &one, sizeof(one)));
	/* UAPI: work_fds[3] has connected. */
	accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	CHECK(accepted >= 0 && fcntl(accepted, F_GETFL) >= 0 && !shutdown(accepted, SHUT_RDWR) && !close(accepted));
	return 0;
}

static int work_maps(void)
{
	uint32_t key = 0;
	uint64_t value = 0;
	union bpf_attr attr = { .map_fd = (uint32_t)work_fds[4], .key = (uintptr_t)&key, .value = (uintptr_t)&value };

	/* Old kernels may refuse it to the unprivileged: it is enough that it does not kill. */
	CHECK(work_fds[4] < 0 || !syscall(SYS_bpf, BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr)) || errno == EPERM);
	return 0;
}

static int work(void)
{
	int (*const parts[])(void) = {
		work_threads, work_rcu, work_events, work_library, work_memory, work_network, work_maps,
	};

	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		int line = parts[i]();

		if (line) {
			print_error("part %zu failed near line %d (modulo 250)\n", i, line - 1);
			return line;
		}
	}
	return 0;
}

static void test_agent_can_work(void **state)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 1 };
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "\0wgx-test-listener" };
	int status;

	(void)state;
	REQUIRE_NETNS();
	work_fds[0] = memfd_create("state", MFD_CLOEXEC);
	work_fds[1] = bind_any(0);
	work_fds[2] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	work_fds[3] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	work_fds[4] = (int)syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
	assert_int_equal(bind(work_fds[2], (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(work_fds[2], 1), 0);
	assert_int_equal(connect(work_fds[3], (struct sockaddr *)&address, sizeof(address)), 0);
	status = in_dropped_process(work);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		fail_msg("the agent's work failed: status %#x", status);
	for (int i = 0; i < 5; i++)
		close(work_fds[i]);
}

/* The netlink socket was opened by root; who has no capability cannot use it for changes. */
static int netlink_fd;

static int change_link(void)
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg info;
	} request = {
		.header = {
			.nlmsg_len = sizeof(request), .nlmsg_type = RTM_NEWLINK,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
		},
		.info = { .ifi_index = 1, .ifi_change = IFF_UP },
	};
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
		char room[256];
	} answer;

	if (send(netlink_fd, &request, sizeof(request), 0) != sizeof(request) ||
	    recv(netlink_fd, &answer, sizeof(answer), 0) <= 0)
		return 1;
	return answer.header.nlmsg_type == NLMSG_ERROR && answer.error.error == -EPERM ? 0 : 2;
}

static void test_netlink_gives_no_power(void **state)
{
	(void)state;
	REQUIRE_NETNS();
	netlink_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	assert_int_equal(in_dropped_process(change_link), 0);
	close(netlink_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dropped_state),
		cmocka_unit_test(test_forbidden),
		cmocka_unit_test(test_agent_can_work),
		cmocka_unit_test(test_netlink_gives_no_power),
	};

	return cmocka_run_group_tests(tests, enter_netns, NULL);
}
