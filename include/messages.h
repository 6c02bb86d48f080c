/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * WireGuard's wire format and protocol constants (paper: 5.4 messages, 6.1 timers).
 *
 * All integers on the wire are little endian. The first word is the message type in its lowest byte and three
 * reserved zero bytes; it is compared as one 32-bit word, so that a non-zero reserved byte is an unknown type.
 */
#ifndef WG_XDP_MESSAGES_H
#define WG_XDP_MESSAGES_H

#include "types.h"

#define NOISE_PUBLIC_KEY_LEN 32
#define NOISE_SYMMETRIC_KEY_LEN 32
#define NOISE_HASH_LEN 32
#define NOISE_AUTHTAG_LEN 16
#define NOISE_TIMESTAMP_LEN 12

#define COOKIE_LEN 16
#define COOKIE_NONCE_LEN 24
#define MAC_LEN 16

#define MESSAGE_HANDSHAKE_INITIATION 1
#define MESSAGE_HANDSHAKE_RESPONSE 2
#define MESSAGE_HANDSHAKE_COOKIE 3
#define MESSAGE_DATA 4

struct message_handshake_initiation {
	__le32 type;
	__le32 sender_index;
	__u8 ephemeral[NOISE_PUBLIC_KEY_LEN];
	__u8 encrypted_static[NOISE_PUBLIC_KEY_LEN + NOISE_AUTHTAG_LEN];
	__u8 encrypted_timestamp[NOISE_TIMESTAMP_LEN + NOISE_AUTHTAG_LEN];
	__u8 mac1[MAC_LEN];
	__u8 mac2[MAC_LEN];
};
SIZE_IS(struct message_handshake_initiation, 148);

struct message_handshake_response {
	__le32 type;
	__le32 sender_index;
	__le32 receiver_index;
	__u8 ephemeral[NOISE_PUBLIC_KEY_LEN];
	__u8 encrypted_nothing[0 + NOISE_AUTHTAG_LEN];
	__u8 mac1[MAC_LEN];
	__u8 mac2[MAC_LEN];
};
SIZE_IS(struct message_handshake_response, 92);

struct message_handshake_cookie {
	__le32 type;
	__le32 receiver_index;
	__u8 nonce[COOKIE_NONCE_LEN];
	__u8 encrypted_cookie[COOKIE_LEN + NOISE_AUTHTAG_LEN];
};
SIZE_IS(struct message_handshake_cookie, 64);

/* Followed by the sealed inner packet and its tag. */
struct message_data {
	__le32 type;
	__le32 receiver_index;
	__le64 counter;
};
SIZE_IS(struct message_data, 16);

/* What a data message adds to the (padded) inner packet, in bytes; alone, it is a keepalive. */
#define MESSAGE_DATA_OVERHEAD (16 + NOISE_AUTHTAG_LEN)

#define MESSAGE_PADDING_MULTIPLE 16

/* Message counts. */
#define COUNTER_BITS_TOTAL 8192
#define COUNTER_WINDOW_SIZE (COUNTER_BITS_TOTAL - 64)
#define REKEY_AFTER_MESSAGES (1ULL << 60)
#define REJECT_AFTER_MESSAGES (~0ULL - COUNTER_WINDOW_SIZE - 1)

/* Seconds; timers.h converts them. */
#define REKEY_TIMEOUT 5
#define REKEY_AFTER_TIME 120
#define REJECT_AFTER_TIME 180
#define KEEPALIVE_TIMEOUT 10
#define COOKIE_SECRET_MAX_AGE 120
#define COOKIE_SECRET_LATENCY 5

#define MAX_TIMER_HANDSHAKES (90 / REKEY_TIMEOUT)
#define INITIATIONS_PER_SECOND 50
#define MAX_PEERS_PER_DEVICE (1U << 20)
#define MAX_STAGED_PACKETS 128
#define MAX_QUEUED_INCOMING_HANDSHAKES 4096

/* The DS field of initiations and responses: AF41, not ECN capable. */
#define HANDSHAKE_DS 0x88

#endif
