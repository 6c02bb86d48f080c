/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Grace periods by liburcu's QSBR: readers pay nothing but a report, between bursts, that they hold no pointer.
 *
 * A thread that looks up peers, keypairs or sockets registers itself, is offline while it sleeps, and reports a quiescent
 * state between bursts. rcu_wait() returns when every registered thread has done one or the other since it was called.
 */
#ifndef WG_XDP_RCU_H
#define WG_XDP_RCU_H

/* The calling thread is online afterwards. */
void rcu_register(void);
void rcu_unregister(void);
void rcu_online(void);
void rcu_offline(void);
void rcu_quiescent(void);

/* Waits for a grace period. The calling thread holds no pointer itself. */
void rcu_wait(void);

#endif
