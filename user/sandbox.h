/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The agent's system calls: an allow-list; anything else kills the process.
 *
 * There is no way to switch it off at run time. To find out what a changed agent needs, build with
 * -DWG_XDP_SECCOMP_LOG: then the kernel logs instead of killing, and the agent says so at every start. Programs built
 * with a sanitizer run without the filter, since its runtime opens files and starts processes, and say so too.
 *
 * What the filter implies for code that runs behind it: no file is opened (no time zone, locale, dlopen, /proc, /sys),
 * so neither pthread_exit() nor pthread_cancel() (they load libgcc_s), nor sysconf(_SC_NPROCESSORS_...), nor
 * pthread_setname_np() for another thread than the caller.
 */
#ifndef WG_XDP_SANDBOX_H
#define WG_XDP_SANDBOX_H

/* For all threads of the process, and for good; needs no_new_privs. Returns 0 or -errno. */
int sandbox_enter(void);

/*
 * At the agent's end, when everything is freed: in a build with AddressSanitizer, reports what was not, and ends the process
 * with a code of its own. Does nothing otherwise.
 */
void sandbox_check_leaks(void);

#endif
