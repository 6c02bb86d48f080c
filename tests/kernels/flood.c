// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Sends bursts of initiations that have a valid mac1 and are otherwise noise, each burst from many source ports: what
 * anybody can do who knows a public key. The receiver must compute until it goes under load and asks for cookies.
 *
 *   flood PUBLIC-KEY SOURCE-ADDRESS ADDRESS PORT PER-BURST INTERVAL-MS SECONDS
 */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "blake2s.h"
#include "encoding.h"
#include "messages.h"

#define N_SOURCES 64
#define MAC1_LABEL "mac1----"

static int usage(void)
{
	fputs("usage: flood PUBLIC-KEY SOURCE-ADDRESS ADDRESS PORT PER-BURST INTERVAL-MS SECONDS\n", stderr);
	return 2;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* -1, and said, when there is no such socket. */
static int open_source(const char *source, const char *address, const char *port)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_DGRAM };
	struct addrinfo *from = NULL, *to = NULL;
	int fd = -1, error;

	error = getaddrinfo(source, "0", &hints, &from);
	if (!error)
		error = getaddrinfo(address, port, &hints, &to);
	if (error) {
		fprintf(stderr, "flood: %s to %s port %s: %s\n", source, address, port, gai_strerror(error));
		goto out;
	}
	fd = socket(from->ai_family, SOCK_DGRAM, 0);
	if (fd < 0 || bind(fd, from->ai_addr, from->ai_addrlen) || connect(fd, to->ai_addr, to->ai_addrlen)) {
		fprintf(stderr, "flood: %s to %s port %s: %s\n", source, address, port, strerror(errno));
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
out:
	if (from)
		freeaddrinfo(from);
	if (to)
		freeaddrinfo(to);
	return fd;
}

/* A new sender index and ephemeral: no receiver may answer it from memory. */
static void make_initiation(struct message_handshake_initiation *msg, const uint8_t mac1_key[static BLAKE2S_KEY_LEN])
{
	uint8_t ephemeral_seed[sizeof(__u64)];

	if (getrandom(ephemeral_seed, sizeof(ephemeral_seed), 0) != sizeof(ephemeral_seed))
		abort();
	memcpy(msg->ephemeral, ephemeral_seed, sizeof(ephemeral_seed));
	memcpy(&msg->sender_index, ephemeral_seed, sizeof(msg->sender_index));
	blake2s(msg->mac1, sizeof(msg->mac1), msg, offsetof(struct message_handshake_initiation, mac1), mac1_key,
		BLAKE2S_KEY_LEN);
}

int main(int argc, char **argv)
{
	struct message_handshake_initiation msg = { .type = BLAKE2S_LE32(MESSAGE_HANDSHAKE_INITIATION) };
	uint8_t key[NOISE_PUBLIC_KEY_LEN], mac1_key[BLAKE2S_KEY_LEN];
	unsigned long per_burst, interval_ms, sent = 0, refused = 0;
	uint64_t end_ms, next_ms;
	struct blake2s_state state;
	int fds[N_SOURCES];

	if (argc != 8 || !encoding_key_from_base64(key, argv[1]))
		return usage();
	for (size_t i = 0; i < N_SOURCES; i++) {
		fds[i] = open_source(argv[2], argv[3], argv[4]);
		if (fds[i] < 0)
			return 1;
	}
	per_burst = strtoul(argv[5], NULL, 10);
	interval_ms = strtoul(argv[6], NULL, 10);
	next_ms = now_ms();
	end_ms = next_ms + strtoul(argv[7], NULL, 10) * 1000;
	blake2s_init(&state, sizeof(mac1_key));
	blake2s_update(&state, MAC1_LABEL, sizeof(MAC1_LABEL) - 1);
	blake2s_update(&state, key, sizeof(key));
	blake2s_final(&state, mac1_key);
	memset(msg.encrypted_static, 0x5a, sizeof(msg.encrypted_static));

	while (now_ms() < end_ms) {
		for (unsigned long i = 0; i < per_burst; i++) {
			make_initiation(&msg, mac1_key);
			if (send(fds[i % N_SOURCES], &msg, sizeof(msg), 0) == sizeof(msg))
				sent++;
			else
				refused++;
		}
		next_ms += interval_ms;
		if (next_ms > now_ms())
			usleep((useconds_t)(next_ms - now_ms()) * 1000);
		else
			next_ms = now_ms();
	}
	printf("flood: %lu sent, %lu refused\n", sent, refused);
	return !sent;
}
