// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The agent's system calls.
 *
 * What runs per packet is allowed whatever its arguments: only such rules are answered from the kernel's cache, without
 * running the filter. Arguments are looked at where they decide between work and escape.
 */
#define _GNU_SOURCE /* CLONE_, AT_EMPTY_PATH */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include "log.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED 0
#endif

/* Later than Debian 12's headers, or not exported by them. */
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif
#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

#define N_ELEMENTS(array) (sizeof(array) / sizeof(*(array)))
#define INT_MASK 0xffffffffU

static const int allowed[] = {
	/* packets */
	SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(pread64), SCMP_SYS(pwrite64),
	SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(recvmmsg), SCMP_SYS(sendto), SCMP_SYS(sendmsg),
	SCMP_SYS(sendmmsg),
	/* waiting */
	SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2), SCMP_SYS(eventfd2), SCMP_SYS(timerfd_create),
	SCMP_SYS(timerfd_settime), SCMP_SYS(timerfd_gettime), SCMP_SYS(signalfd4), SCMP_SYS(futex),
	SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep), SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres),
	SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(restart_syscall),
	/* memory; see below for what makes code of it */
	SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(mlock), SCMP_SYS(mlock2),
	SCMP_SYS(munlock), SCMP_SYS(getrandom), SCMP_SYS(membarrier), SCMP_SYS(sysinfo),
	/* files and sockets it was given */
	SCMP_SYS(close), SCMP_SYS(lseek), SCMP_SYS(fstat), SCMP_SYS(ftruncate), SCMP_SYS(accept4), SCMP_SYS(bind),
	SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(getsockopt), SCMP_SYS(shutdown),
	/* threads and signals; kill() is not among them: other processes may share our user */
	SCMP_SYS(rseq), SCMP_SYS(set_robust_list), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity), SCMP_SYS(getcpu),
	SCMP_SYS(gettid), SCMP_SYS(getpid), SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigtimedwait), SCMP_SYS(sigaltstack),
	SCMP_SYS(exit), SCMP_SYS(exit_group),
};

/* Allowed when (argument & mask) == value. Several rows for a call: one of them must hold. */
struct argument_rule {
	int syscall;
	unsigned int argument;
	uint64_t mask, value;
};

/* What must and what must not be set for a clone() to make a thread of this process and nothing else. */
#define THREAD_FLAGS ((uint64_t)(CLONE_VM | CLONE_SIGHAND | CLONE_THREAD))
#define NAMESPACE_FLAGS ((uint64_t)(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | \
				    CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWTIME))

static const struct argument_rule argument_rules[] = {
	{ SCMP_SYS(mmap), 2, PROT_EXEC, 0 },
	{ SCMP_SYS(mprotect), 2, PROT_EXEC, 0 },
	{ SCMP_SYS(clone), 0, THREAD_FLAGS | NAMESPACE_FLAGS | CLONE_PTRACE, THREAD_FLAGS },
	/* fstat() of today's C library */
	{ SCMP_SYS(newfstatat), 3, AT_EMPTY_PATH, AT_EMPTY_PATH },
	/* if_nametoindex() makes one. Without connect() it reaches nobody who does not read datagrams of any user. */
	{ SCMP_SYS(socket), 0, INT_MASK, AF_UNIX },
	{ SCMP_SYS(fcntl), 1, INT_MASK, F_GETFD },
	{ SCMP_SYS(fcntl), 1, INT_MASK, F_SETFD },
	{ SCMP_SYS(fcntl), 1, INT_MASK, F_GETFL },
	{ SCMP_SYS(fcntl), 1, INT_MASK, F_SETFL },
	{ SCMP_SYS(fcntl), 1, INT_MASK, F_DUPFD_CLOEXEC },
	{ SCMP_SYS(fcntl), 1, INT_MASK, F_ADD_SEALS },
	{ SCMP_SYS(fcntl), 1, INT_MASK, F_GET_SEALS },
	/* stdio asks whether it writes to a terminal. No TUN ioctl: it could end the device's persistence. */
	{ SCMP_SYS(ioctl), 1, INT_MASK, TCGETS },
	/* zones of IPv6 endpoints */
	{ SCMP_SYS(ioctl), 1, INT_MASK, SIOCGIFINDEX },
	{ SCMP_SYS(ioctl), 1, INT_MASK, SIOCGIFNAME },
	{ SCMP_SYS(prctl), 0, INT_MASK, PR_SET_NAME },
	{ SCMP_SYS(prctl), 0, INT_MASK, PR_SET_VMA },
	{ SCMP_SYS(setsockopt), 1, INT_MASK, SOL_SOCKET },
	{ SCMP_SYS(setsockopt), 1, INT_MASK, SOL_NETLINK },
	{ SCMP_SYS(setsockopt), 1, INT_MASK, SOL_UDP },
	{ SCMP_SYS(setsockopt), 1, INT_MASK, IPPROTO_IP },
	{ SCMP_SYS(setsockopt), 1, INT_MASK, IPPROTO_IPV6 },
	/* maps the monitor has made; no programs, links or look-ups by id */
	{ SCMP_SYS(bpf), 0, INT_MASK, BPF_MAP_LOOKUP_ELEM },
	{ SCMP_SYS(bpf), 0, INT_MASK, BPF_MAP_UPDATE_ELEM },
	{ SCMP_SYS(bpf), 0, INT_MASK, BPF_MAP_DELETE_ELEM },
	{ SCMP_SYS(bpf), 0, INT_MASK, BPF_MAP_GET_NEXT_KEY },
	{ SCMP_SYS(bpf), 0, INT_MASK, BPF_OBJ_GET_INFO_BY_FD },
};

static struct scmp_arg_cmp masked(unsigned int argument, uint64_t mask, uint64_t value)
{
	return (struct scmp_arg_cmp){
		.arg = argument, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value,
	};
}

/* Rules with two arguments, or with a value of this process. */
static int add_special_rules(scmp_filter_ctx filter)
{
	const struct scmp_arg_cmp netlink[] = { masked(0, INT_MASK, AF_NETLINK), masked(2, INT_MASK, NETLINK_ROUTE) };
	const struct scmp_arg_cmp read_limit[] = { masked(0, INT_MASK, 0), masked(2, UINT64_MAX, 0) };
	const struct scmp_arg_cmp own_process[] = { masked(0, INT_MASK, (uint64_t)getpid()) };
	int err;

	err = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), N_ELEMENTS(netlink), netlink);
	if (!err)
		err = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), N_ELEMENTS(read_limit),
					     read_limit);
	if (!err)
		err = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), N_ELEMENTS(own_process),
					     own_process);
	/* Its flags are in memory, where a filter cannot look: the C library takes clone() when this does not exist. */
	if (!err)
		err = seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0, NULL);
	return err;
}

static int add_rules(scmp_filter_ctx filter)
{
	int err;

	for (size_t i = 0; i < N_ELEMENTS(allowed); i++) {
		err = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, allowed[i], 0, NULL);
		if (err)
			return err;
	}
	for (size_t i = 0; i < N_ELEMENTS(argument_rules); i++) {
		const struct argument_rule *rule = &argument_rules[i];
		struct scmp_arg_cmp cmp = masked(rule->argument, rule->mask, rule->value);

		err = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, rule->syscall, 1, &cmp);
		if (err)
			return err;
	}
	return add_special_rules(filter);
}

static uint32_t default_action(void)
{
#ifdef WG_XDP_SECCOMP_LOG
	log_error("built to log forbidden system calls, not to refuse them: this agent is not confined");
	return SCMP_ACT_LOG;
#else
	return SCMP_ACT_KILL_PROCESS;
#endif
}

int sandbox_enter(void)
{
	scmp_filter_ctx filter;
	int err;

	if (IS_SANITIZED) {
		log_error("built with a sanitizer: system calls are not confined");
		return 0;
	}
	filter = seccomp_init(default_action());
	if (!filter)
		return -ENOMEM;
	/* Another architecture's calls have other numbers; a binary tree keeps the path to the rarer rules short. */
	err = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (!err)
		err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	if (!err)
		err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (!err)
		err = add_rules(filter);
	if (!err)
		err = seccomp_load(filter);
	seccomp_release(filter);
	return err;
}

void sandbox_check_leaks(void)
{
#ifdef __SANITIZE_ADDRESS__
	/* The checker traces its own process, which has to be dumpable again for that; all keys have been wiped. */
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	if (__lsan_do_recoverable_leak_check())
		_exit(99);
#endif
}
