/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which message a datagram is, and whether it can be one (paper 5.4).
 *
 * These are checks that need no state. The agent repeats each of them.
 */
#ifndef WG_XDP_CLASSIFY_H
#define WG_XDP_CLASSIFY_H

#include "drop_reason.h"
#include "messages.h"
#include "parse.h"

static __always_inline __u32 classify_le32(__le32 word)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return word;
#else
	return __builtin_bswap32(word);
#endif
}

/* Handshake messages have one length each; a data message is at least a keepalive. */
static __always_inline bool classify_length_is_right(__u32 type, __u32 len)
{
	switch (type) {
	case MESSAGE_HANDSHAKE_INITIATION:
		return len == sizeof(struct message_handshake_initiation);
	case MESSAGE_HANDSHAKE_RESPONSE:
		return len == sizeof(struct message_handshake_response);
	case MESSAGE_HANDSHAKE_COOKIE:
		return len == sizeof(struct message_handshake_cookie);
	default:
		return len >= MESSAGE_DATA_OVERHEAD;
	}
}

/* *type gets the message type when the result is DROP_NONE. */
static __always_inline enum drop_reason classify_datagram(const struct datagram *datagram, __u32 *type)
{
	struct cursor cursor = datagram->payload;
	const __le32 *word = cursor_take(&cursor, __le32);

	/* The length comes first: what follows a shorter datagram in the frame is padding, not a type. */
	if (datagram->len < sizeof(*word) || !word)
		return DROP_LENGTH;
	*type = classify_le32(*word);
	if (*type < MESSAGE_HANDSHAKE_INITIATION || *type > MESSAGE_DATA)
		return DROP_TYPE_UNKNOWN;
	return classify_length_is_right(*type, datagram->len) ? DROP_NONE : DROP_LENGTH;
}

#endif
