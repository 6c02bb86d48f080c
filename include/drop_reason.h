/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Why a packet was dropped: one list for BPF programs, agent, command line and metrics.
 *
 * X(NAME, "name", "what it means"). Names never change once released; new ones go to the end.
 */
#ifndef WG_XDP_DROP_REASON_H
#define WG_XDP_DROP_REASON_H

#define DROP_REASONS(X)                                                                       \
	X(NONE, "none", "not dropped")                                                        \
	X(TYPE_UNKNOWN, "type-unknown", "not a WireGuard message type, or reserved bytes set") \
	X(LENGTH, "length", "wrong length for its message type")                              \
	X(MAC1, "mac1", "handshake message without a valid mac1")                             \
	X(MAC2, "mac2", "under load: valid mac1 only, a cookie reply was sent")               \
	X(RATE_LIMITED, "rate-limited", "under load: source sends too many handshakes")       \
	X(HANDSHAKE_QUEUE, "handshake-queue", "too many handshake messages waiting")          \
	X(HANDSHAKE_INVALID, "handshake-invalid", "handshake message failed to authenticate") \
	X(HANDSHAKE_REPLAYED, "handshake-replayed", "initiation with an old timestamp")       \
	X(HANDSHAKE_FLOOD, "handshake-flood", "more than 50 initiations/s of one peer")       \
	X(PEER_UNKNOWN, "peer-unknown", "initiation of a public key that is no peer")         \
	X(COOKIE_INVALID, "cookie-invalid", "cookie reply failed to authenticate")            \
	X(INDEX_UNKNOWN, "index-unknown", "receiver index belongs to no session")             \
	X(KEYPAIR_EXPIRED, "keypair-expired", "session older than REJECT_AFTER_TIME")         \
	X(COUNTER_LIMIT, "counter-limit", "counter at or above REJECT_AFTER_MESSAGES")        \
	X(BAD_TAG, "bad-tag", "data message failed to authenticate")                          \
	X(REPLAYED, "replayed", "counter seen before, or behind the replay window")           \
	X(INNER_VERSION, "inner-version", "inner packet is neither IPv4 nor IPv6")            \
	X(INNER_LENGTH, "inner-length", "inner packet's length field is wrong")               \
	X(SOURCE_NOT_ALLOWED, "source-not-allowed", "inner source is not an allowed IP of the peer") \
	X(NO_PEER, "no-peer", "no peer has the inner destination in its allowed IPs")         \
	X(NO_ENDPOINT, "no-endpoint", "the peer's endpoint is not known")                     \
	X(STAGED_FULL, "staged-full", "too many packets waiting for a handshake")             \
	X(STAGED_PURGED, "staged-purged", "the handshake they waited for was given up")       \
	X(OFFLOAD, "offload", "inner packet's offload header is not understood")              \
	X(TUN_WRITE, "tun-write", "the tunnel device did not take the packet")                \
	X(UDP_SEND, "udp-send", "the UDP socket did not take the packet")                     \
	X(TRUNCATED, "truncated", "datagram larger than a receive buffer")                    \
	X(NO_MEMORY, "no-memory", "out of memory")

enum drop_reason {
#define DROP_REASON_ENUM(name, text, meaning) DROP_##name,
	DROP_REASONS(DROP_REASON_ENUM)
#undef DROP_REASON_ENUM
	DROP_REASON_COUNT
};

#endif
