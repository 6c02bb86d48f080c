// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What arrives on the NIC: which frames carry a WireGuard message to our port, and which only claim to.
 *
 * Classifies and counts. Every frame goes on to the network stack, unchanged: the UDP socket sees all.
 */
#include "classify.h"
#include "count.h"

/* Host order; set before loading. */
const volatile __u16 port = 0;

SEC("xdp")
int wg_xdp_ingress(struct xdp_md *ctx)
{
	struct cursor frame = { .pos = (void *)(long)ctx->data, .end = (void *)(long)ctx->data_end };
	struct datagram datagram;
	enum drop_reason why;
	__u32 type;

	switch (parse_datagram(frame, port, &datagram)) {
	case PARSE_FOREIGN:
		return XDP_PASS;
	case PARSE_UNSURE:
		count(&messages, COUNT_UNSURE);
		return XDP_PASS;
	case PARSE_DATAGRAM:
		break;
	}

	why = classify_datagram(&datagram, &type);
	if (why)
		count(&drops, why);
	else
		count(&messages, type);
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
