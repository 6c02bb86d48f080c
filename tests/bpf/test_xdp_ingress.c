// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * wg_xdp_ingress on made-up frames (BPF_PROG_TEST_RUN): each is passed on unchanged, and exactly the right counter
 * moves.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "drop_reason.h"
#include "messages.h"
#include "xdp_ingress.skel.h"

#define PORT 51820
#define FRAME_MAX 2048
#define N_TYPES (MESSAGE_DATA + 1)
#define N_COUNTERS (N_TYPES + DROP_REASON_COUNT)

/* One number for any outcome: a message type (0: unsure), or N_TYPES + a drop reason, or neither. */
#define UNSURE 0
#define DROPPED(reason) (N_TYPES + DROP_##reason)
#define FOREIGN N_COUNTERS

static struct xdp_ingress_bpf *skeleton;

struct frame {
	uint8_t bytes[FRAME_MAX];
	uint32_t len;
};

static void push_bytes(struct frame *frame, const void *bytes, uint32_t len)
{
	assert_true(frame->len + len <= FRAME_MAX);
	memcpy(frame->bytes + frame->len, bytes, len);
	frame->len += len;
}

static void push_be16(struct frame *frame, uint16_t value)
{
	push_bytes(frame, (uint8_t[]){ value >> 8, value & 0xff }, 2);
}

static void push_ethernet(struct frame *frame, unsigned int n_tags, uint16_t tag, uint16_t proto)
{
	push_bytes(frame, "\x02\0\0\0\0\x01\x02\0\0\0\0\x02", 12);
	for (unsigned int i = 0; i < n_tags; i++) {
		push_be16(frame, tag);
		push_be16(frame, 100 + i);
	}
	push_be16(frame, proto);
}

/* len is what the header says follows it. */
static void push_ipv4(struct frame *frame, uint8_t proto, unsigned int options_len, uint16_t fragment, uint16_t len)
{
	static const uint8_t addresses[8] = { 192, 0, 2, 1, 192, 0, 2, 2 };
	static const uint8_t options[40] = { 1 };

	push_bytes(frame, (uint8_t[]){ 0x45 + options_len / 4, 0 }, 2);
	push_be16(frame, 20 + options_len + len);
	push_be16(frame, 1);
	push_be16(frame, fragment);
	push_bytes(frame, (uint8_t[]){ 64, proto, 0, 0 }, 4);
	push_bytes(frame, addresses, 8);
	push_bytes(frame, options, options_len);
}

static void push_ipv6(struct frame *frame, uint8_t next_header, uint16_t len)
{
	static const uint8_t addresses[32] = { 0x20, 1, 0xd, 0xb8, [15] = 1, 0x20, 1, 0xd, 0xb8, [31] = 2 };

	push_bytes(frame, "\x60\0\0\0", 4);
	push_be16(frame, len);
	push_bytes(frame, (uint8_t[]){ next_header, 64 }, 2);
	push_bytes(frame, addresses, 32);
}

static void push_udp(struct frame *frame, uint16_t port, uint16_t payload_len)
{
	push_be16(frame, 40000);
	push_be16(frame, port);
	push_be16(frame, 8 + payload_len);
	push_be16(frame, 0);
}

/* The first len bytes of a message whose first word is type; the rest is not zero. */
static void push_message(struct frame *frame, uint32_t type, uint32_t len)
{
	uint8_t message[FRAME_MAX];

	memset(message, 0xa5, sizeof(message));
	for (unsigned int i = 0; i < 4; i++)
		message[i] = type >> (8 * i);
	push_bytes(frame, message, len);
}

/* Ethernet, IP and UDP around a message, everything in order. */
static void build(struct frame *frame, bool is_v6, unsigned int n_tags, uint32_t type, uint32_t len)
{
	frame->len = 0;
	push_ethernet(frame, n_tags, 0x8100, is_v6 ? 0x86dd : 0x0800);
	if (is_v6)
		push_ipv6(frame, 17, 8 + len);
	else
		push_ipv4(frame, 17, 0, 0x4000, 8 + len);
	push_udp(frame, PORT, len);
	push_message(frame, type, len);
}

static uint64_t sum_over_cpus(struct bpf_map *map, uint32_t key)
{
	uint64_t values[1024], sum = 0;
	int n = libbpf_num_possible_cpus();

	assert_in_range(n, 1, 1024);
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(map), &key, values), 0);
	for (int i = 0; i < n; i++)
		sum += values[i];
	return sum;
}

static void read_counters(uint64_t counters[static N_COUNTERS])
{
	for (uint32_t i = 0; i < N_TYPES; i++)
		counters[i] = sum_over_cpus(skeleton->maps.messages, i);
	for (uint32_t i = 0; i < DROP_REASON_COUNT; i++)
		counters[N_TYPES + i] = sum_over_cpus(skeleton->maps.drops, i);
}

/* Runs the program once; what fails here names the case and the counter. */
static void expect(const struct frame *frame, unsigned int outcome, const char *what, long detail)
{
	uint64_t before[N_COUNTERS], after[N_COUNTERS];
	uint8_t out[FRAME_MAX];
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame->bytes, .data_size_in = frame->len, .data_out = out,
		    .data_size_out = sizeof(out), .repeat = 1);

	read_counters(before);
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(skeleton->progs.wg_xdp_ingress), &run), 0);
	read_counters(after);

	assert_int_equal(run.retval, 2 /* XDP_PASS */);
	assert_int_equal(run.data_size_out, frame->len);
	assert_memory_equal(out, frame->bytes, frame->len);
	for (unsigned int i = 0; i < N_COUNTERS; i++) {
		if (after[i] - before[i] != (i == outcome))
			fail_msg("%s, %ld: counter %u moved by %ld, expected outcome %u", what, detail, i,
				 (long)(after[i] - before[i]), outcome);
	}
}

/* What a message of this type and length must be: its type, or a reason. */
static unsigned int model(uint32_t type, uint32_t len)
{
	static const uint32_t exact[] = { 0, 148, 92, 64 };

	if (len < 4)
		return DROPPED(LENGTH);
	if (type < 1 || type > 4)
		return DROPPED(TYPE_UNKNOWN);
	if (type == 4 ? len >= 32 : len == exact[type])
		return type;
	return DROPPED(LENGTH);
}

static void every_type_at_every_length(void **state)
{
	struct frame frame;

	(void)state;
	for (uint32_t type = 0; type <= 5; type++) {
		for (uint32_t len = 0; len <= 200; len++) {
			build(&frame, len & 1, 0, type, len);
			expect(&frame, model(type, len), len & 1 ? "IPv6, length" : "IPv4, length", len);
			build(&frame, !(len & 1), 0, type, len);
			expect(&frame, model(type, len), len & 1 ? "IPv4, length" : "IPv6, length", len);
		}
	}
}

static void large_data_message(void **state)
{
	struct frame frame;

	(void)state;
	for (uint32_t len = 1400; len <= 1472; len++) {
		build(&frame, false, 0, MESSAGE_DATA, len);
		expect(&frame, MESSAGE_DATA, "length", len);
	}
}

static void reserved_bytes_are_part_of_the_type(void **state)
{
	static const uint32_t lens[] = { 0, 148, 92, 64, 32 };
	struct frame frame;

	(void)state;
	for (uint32_t type = 1; type <= 4; type++) {
		for (unsigned int bit = 8; bit < 32; bit++) {
			build(&frame, false, 0, type | 1U << bit, lens[type]);
			expect(&frame, DROPPED(TYPE_UNKNOWN), "reserved bit", bit);
		}
		build(&frame, false, 0, type << 24, lens[type]);
		expect(&frame, DROPPED(TYPE_UNKNOWN), "type in the last byte", type);
	}
}

/* The frame ends early although its headers promise more: never a message, and never read beyond the end. */
static void frame_cut_anywhere(void **state)
{
	struct frame frame;

	(void)state;
	for (unsigned int is_v6 = 0; is_v6 < 2; is_v6++) {
		for (unsigned int n_tags = 0; n_tags <= 2; n_tags++) {
			build(&frame, is_v6, n_tags, MESSAGE_HANDSHAKE_INITIATION, 148);
			for (frame.len--; frame.len >= 14; frame.len--)
				expect(&frame, UNSURE, is_v6 ? "IPv6 cut to" : "IPv4 cut to", frame.len);
		}
	}
}

static void vlan_tags(void **state)
{
	struct frame frame;

	(void)state;
	for (unsigned int n_tags = 0; n_tags <= 2; n_tags++) {
		for (unsigned int is_v6 = 0; is_v6 < 2; is_v6++) {
			build(&frame, is_v6, n_tags, MESSAGE_HANDSHAKE_COOKIE, 64);
			expect(&frame, MESSAGE_HANDSHAKE_COOKIE, "tags", n_tags);
		}
	}
	build(&frame, false, 2, MESSAGE_DATA, 32);
	frame.bytes[12] = 0x88, frame.bytes[13] = 0xa8; /* 802.1ad outside, 802.1Q inside */
	expect(&frame, MESSAGE_DATA, "QinQ", 0);
	build(&frame, false, 3, MESSAGE_DATA, 32);
	expect(&frame, UNSURE, "tags", 3);
	build(&frame, false, 3, MESSAGE_DATA, 32);
	frame.bytes[20] = 0x88, frame.bytes[21] = 0xa8;
	expect(&frame, UNSURE, "third tag is 802.1ad", 3);
}

static void ipv4_options_and_fragments(void **state)
{
	static const uint16_t fragments[] = { 0x2000, 0x2001, 0x0001, 0x1fff, 0x6000 };
	struct frame frame;

	(void)state;
	for (unsigned int options_len = 4; options_len <= 40; options_len += 4) {
		frame.len = 0;
		push_ethernet(&frame, 0, 0, 0x0800);
		push_ipv4(&frame, 17, options_len, 0, 8 + 148);
		push_udp(&frame, PORT, 148);
		push_message(&frame, MESSAGE_HANDSHAKE_INITIATION, 148);
		expect(&frame, UNSURE, "option bytes", options_len);
	}
	for (unsigned int i = 0; i < sizeof(fragments) / sizeof(fragments[0]); i++) {
		build(&frame, false, 0, MESSAGE_DATA, 64);
		frame.bytes[20] = fragments[i] >> 8, frame.bytes[21] = fragments[i] & 0xff;
		expect(&frame, UNSURE, "fragment field", fragments[i]);
	}
	build(&frame, false, 0, MESSAGE_DATA, 64);
	frame.bytes[20] = 0x80; /* the reserved bit is not ours to judge */
	expect(&frame, MESSAGE_DATA, "fragment field", 0x8000);
}

static void ipv6_extension_headers(void **state)
{
	static const uint8_t extensions[] = { 0, 43, 44, 50, 51, 60, 135, 139, 140 };
	struct frame frame;

	(void)state;
	for (unsigned int i = 0; i < sizeof(extensions); i++) {
		frame.len = 0;
		push_ethernet(&frame, 0, 0, 0x86dd);
		push_ipv6(&frame, extensions[i], 8 + 8 + 148);
		push_bytes(&frame, "\x11\0\0\0\0\0\0\0", 8);
		push_udp(&frame, PORT, 148);
		push_message(&frame, MESSAGE_HANDSHAKE_INITIATION, 148);
		expect(&frame, UNSURE, "next header", extensions[i]);
	}
}

static void other_traffic_is_not_counted(void **state)
{
	static const uint16_t ports[] = { 0, 1, PORT - 1, PORT + 1, 27850 /* PORT, bytes swapped */, 65535 };
	static const uint16_t protos[] = { 0x0806, 0x88cc, 0x8847, 0x05dc };
	struct frame frame;

	(void)state;
	for (unsigned int i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
		build(&frame, false, 0, MESSAGE_DATA, 64);
		frame.bytes[36] = ports[i] >> 8, frame.bytes[37] = ports[i] & 0xff;
		expect(&frame, FOREIGN, "port", ports[i]);
	}
	for (unsigned int i = 0; i < sizeof(protos) / sizeof(protos[0]); i++) {
		build(&frame, false, 0, MESSAGE_DATA, 64);
		frame.bytes[12] = protos[i] >> 8, frame.bytes[13] = protos[i] & 0xff;
		expect(&frame, FOREIGN, "ethertype", protos[i]);
	}
	build(&frame, false, 0, MESSAGE_DATA, 64);
	frame.bytes[23] = 6;
	expect(&frame, FOREIGN, "IPv4 protocol", 6);
	build(&frame, true, 0, MESSAGE_DATA, 64);
	frame.bytes[20] = 6;
	expect(&frame, FOREIGN, "IPv6 next header", 6);
}

/* Bytes that follow a short datagram up to Ethernet's minimum are no part of it. */
static void padding_is_not_payload(void **state)
{
	struct frame frame;

	(void)state;
	for (uint32_t len = 0; len < 4; len++) {
		build(&frame, false, 0, MESSAGE_DATA, len);
		push_message(&frame, MESSAGE_DATA, 60);
		expect(&frame, DROPPED(LENGTH), "payload", len);
	}
	build(&frame, false, 0, MESSAGE_HANDSHAKE_RESPONSE, 92);
	push_message(&frame, 0, 56);
	expect(&frame, MESSAGE_HANDSHAKE_RESPONSE, "padding", 56);
	build(&frame, true, 0, MESSAGE_HANDSHAKE_RESPONSE, 92);
	push_message(&frame, 0, 1);
	expect(&frame, MESSAGE_HANDSHAKE_RESPONSE, "padding", 1);
}

static void lengths_that_disagree(void **state)
{
	struct frame frame;

	(void)state;
	for (unsigned int udp_len = 0; udp_len < 8; udp_len++) {
		build(&frame, false, 0, MESSAGE_DATA, 64);
		frame.bytes[38] = 0, frame.bytes[39] = udp_len;
		expect(&frame, UNSURE, "UDP length", udp_len);
	}
	build(&frame, false, 0, MESSAGE_DATA, 64);
	frame.bytes[39]++; /* UDP says more than IP */
	push_message(&frame, 0, 32);
	expect(&frame, UNSURE, "UDP length above IPv4's", 0);
	build(&frame, true, 0, MESSAGE_DATA, 64);
	frame.bytes[59]++;
	push_message(&frame, 0, 32);
	expect(&frame, UNSURE, "UDP length above IPv6's", 0);
	for (unsigned int total = 0; total < 28; total++) {
		build(&frame, false, 0, MESSAGE_DATA, 64);
		frame.bytes[16] = 0, frame.bytes[17] = total;
		expect(&frame, UNSURE, "IPv4 total length", total);
	}
	build(&frame, false, 0, MESSAGE_DATA, 64);
	frame.bytes[39]--; /* IP has room to spare: the datagram ends where UDP says */
	expect(&frame, MESSAGE_DATA, "UDP length below IPv4's", 0);
}

static void versions_that_disagree(void **state)
{
	struct frame frame;

	(void)state;
	for (unsigned int version = 0; version < 16; version++) {
		build(&frame, false, 0, MESSAGE_DATA, 64);
		frame.bytes[14] = version << 4 | 5;
		expect(&frame, version == 4 ? MESSAGE_DATA : UNSURE, "IPv4 version", version);
		build(&frame, true, 0, MESSAGE_DATA, 64);
		frame.bytes[14] = version << 4;
		expect(&frame, version == 6 ? MESSAGE_DATA : UNSURE, "IPv6 version", version);
	}
	for (unsigned int words = 0; words < 5; words++) {
		build(&frame, false, 0, MESSAGE_DATA, 64);
		frame.bytes[14] = 4 << 4 | words;
		expect(&frame, UNSURE, "IPv4 header words", words);
	}
}

/* Random bytes over valid frames: whatever comes out, it passes unchanged and moves at most one counter. */
static void noise_passes_unchanged(void **state)
{
	unsigned int seed = 20240607;
	uint64_t before[N_COUNTERS], after[N_COUNTERS], moved;
	uint8_t out[FRAME_MAX];
	struct frame frame;

	(void)state;
	print_message("seed %u\n", seed);
	for (unsigned int round = 0; round < 2000; round++) {
		LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame.bytes, .data_out = out,
			    .data_size_out = sizeof(out), .repeat = 1);

		build(&frame, rand_r(&seed) & 1, rand_r(&seed) % 3, rand_r(&seed) % 5, rand_r(&seed) % 200);
		for (unsigned int i = rand_r(&seed) % 6; i > 0; i--)
			frame.bytes[12 + rand_r(&seed) % 60] = rand_r(&seed);
		frame.len -= rand_r(&seed) % (frame.len - 13) / 4;
		run.data_size_in = frame.len;
		read_counters(before);
		assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(skeleton->progs.wg_xdp_ingress), &run), 0);
		read_counters(after);
		assert_int_equal(run.retval, 2 /* XDP_PASS */);
		assert_int_equal(run.data_size_out, frame.len);
		assert_memory_equal(out, frame.bytes, frame.len);
		moved = 0;
		for (unsigned int i = 0; i < N_COUNTERS; i++)
			moved += after[i] - before[i];
		assert_in_range(moved, 0, 1);
	}
}

static int load(void **state)
{
	(void)state;
	skeleton = xdp_ingress_bpf__open();
	if (!skeleton)
		return -1;
	skeleton->rodata->port = PORT;
	return xdp_ingress_bpf__load(skeleton);
}

static int unload(void **state)
{
	(void)state;
	xdp_ingress_bpf__destroy(skeleton);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_type_at_every_length),
		cmocka_unit_test(large_data_message),
		cmocka_unit_test(reserved_bytes_are_part_of_the_type),
		cmocka_unit_test(frame_cut_anywhere),
		cmocka_unit_test(vlan_tags),
		cmocka_unit_test(ipv4_options_and_fragments),
		cmocka_unit_test(ipv6_extension_headers),
		cmocka_unit_test(other_traffic_is_not_counted),
		cmocka_unit_test(padding_is_not_payload),
		cmocka_unit_test(lengths_that_disagree),
		cmocka_unit_test(versions_that_disagree),
		cmocka_unit_test(noise_passes_unchanged),
	};

	if (geteuid()) {
		printf("skip xdp_ingress: loading BPF programs needs root\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, load, unload);
}
