/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The inbound walk: datagrams to inner packets. */
#ifndef WG_XDP_RECEIVE_H
#define WG_XDP_RECEIVE_H

#include <stdint.h>

struct udp_rx_msg;
struct worker;

/*
 * Handles received messages; data is opened in place. Inner packets are in worker->inner afterwards (and refer to the
 * messages' buffers until flushed). Staged data that a confirmed session has freed has been sent.
 */
void receive_messages(struct worker *worker, struct udp_rx_msg *msgs, unsigned int n, uint64_t now_ns);

#endif
