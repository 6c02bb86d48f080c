// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * ThreadSanitizer cannot see into liburcu, so it is told what a grace period means: all that readers did before they
 * reported happens before what follows the wait.
 */
#include "rcu.h"

#include <urcu/urcu-qsbr.h>

#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>

static char reported;

#define RELEASE() __tsan_release(&reported)
#define ACQUIRE() __tsan_acquire(&reported)
#else
#define RELEASE()
#define ACQUIRE()
#endif

void rcu_register(void)
{
	urcu_qsbr_register_thread();
}

void rcu_unregister(void)
{
	RELEASE();
	urcu_qsbr_unregister_thread();
}

void rcu_online(void)
{
	urcu_qsbr_thread_online();
}

void rcu_offline(void)
{
	RELEASE();
	urcu_qsbr_thread_offline();
}

void rcu_quiescent(void)
{
	RELEASE();
	urcu_qsbr_quiescent_state();
}

void rcu_wait(void)
{
	urcu_qsbr_synchronize_rcu();
	ACQUIRE();
}
