// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#define _GNU_SOURCE /* unshare, setns */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/epoll.h>
#include <sys/uio.h>

#include "gso.h"
#include "own_netns.h"

/* Stands in for a kernel that refuses super-packets of a type. */
static int refused_gso_type = -1, refusal;
static unsigned int n_writes;

static ssize_t fake_writev(int fd, const struct iovec *iov, int n_iov)
{
	const struct virtio_net_hdr *hdr = iov[0].iov_base;

	n_writes++;
	if ((hdr->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) == refused_gso_type) {
		errno = refusal;
		return -1;
	}
	return writev(fd, iov, n_iov);
}

#define writev fake_writev
#include "../../user/tun.c"
#undef writev

static int netns_fds[2]; /* ours, and another one */

static int enter_two_netns(void **state)
{
	enter_netns(state);
	if (!has_netns)
		return 0;
	if (access("/dev/net/tun", R_OK | W_OK)) {
		print_message("skipping what needs /dev/net/tun\n");
		has_netns = false;
		return 0;
	}
	netns_fds[1] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	run("ip link set lo up");
	netns_fds[0] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	return netns_fds[0] < 0 || netns_fds[1] < 0;
}

static void go_to(int i)
{
	assert_int_equal(setns(netns_fds[i], CLONE_NEWNET), 0);
}

static void move_to_other(const char *name)
{
	run("ip link set %s netns /proc/%d/fd/%d", name, getpid(), netns_fds[1]);
}

/* ------ Opening ------ */

static void create(char name[static IFNAMSIZ], const char *wanted, unsigned int n, int *fds,
		   struct tun_features *features)
{
	snprintf(name, IFNAMSIZ, "%s", wanted);
	assert_int_equal(tun_create(name, n, fds, features), 0);
}

static int try_create(const char *wanted, unsigned int n)
{
	char name[IFNAMSIZ];
	struct tun_features features = { 0 };
	int fds[8], err;

	snprintf(name, IFNAMSIZ, "%s", wanted);
	err = tun_create(name, n, fds, &features);
	for (unsigned int i = 0; i < n && !err; i++)
		close(fds[i]);
	return err;
}

static int txqueuelen(const char *name)
{
	struct ifreq ifr = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	snprintf(ifr.ifr_name, IFNAMSIZ, "%s", name);
	assert_int_equal(ioctl(fd, SIOCGIFTXQLEN, &ifr), 0);
	close(fd);
	return ifr.ifr_qlen;
}

static int mtu(const char *name)
{
	struct ifreq ifr = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	snprintf(ifr.ifr_name, IFNAMSIZ, "%s", name);
	assert_int_equal(ioctl(fd, SIOCGIFMTU, &ifr), 0);
	close(fd);
	return ifr.ifr_mtu;
}

static void test_create_and_persist(void **state)
{
	char name[IFNAMSIZ];
	struct tun_features features = { 0 };
	unsigned int ifindex;
	int fd, other;

	(void)state;
	REQUIRE_NETNS();
	create(name, "wgx0", 1, &fd, &features);
	assert_string_equal(name, "wgx0");
	assert_true(features.tso);
	ifindex = if_nametoindex("wgx0");
	assert_true(ifindex > 0);
	assert_true(txqueuelen("wgx0") >= TXQUEUELEN_MIN);
	assert_int_equal(mtu("wgx0"), TUN_DEFAULT_MTU);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(try_create("wgx0", 1), -EBUSY);
	assert_int_equal(try_create("wgx0", 2), -EINVAL);

	/* It outlives us, and is taken up again as it is. */
	close(fd);
	run("ip link set wgx0 txqueuelen 5000 mtu 1400 up");
	/* Up, and yet without an address that would make it talk. */
	run("test -z \"$(ip -6 address show dev wgx0)\"");
	create(name, "wgx0", 1, &fd, &features);
	assert_int_equal(if_nametoindex("wgx0"), ifindex);
	assert_int_equal(txqueuelen("wgx0"), 5000);
	assert_int_equal(mtu("wgx0"), 1400);
	assert_true(tun_is_up(fd));
	assert_int_equal(tun_set_persistent(fd, false), 0);
	close(fd);
	assert_int_equal(if_nametoindex("wgx0"), 0);

	create(name, "wgx%d", 1, &fd, &features);
	create(name, "wgx%d", 1, &other, &features);
	assert_string_equal(name, "wgx1");
	tun_set_persistent(fd, false);
	tun_set_persistent(other, false);
	close(fd);
	close(other);
}

static void test_multi_queue(void **state)
{
	char name[IFNAMSIZ];
	struct tun_features features = { 0 };
	int fds[3], fd;

	(void)state;
	REQUIRE_NETNS();
	create(name, "wgx0", 3, fds, &features);
	/* Another process's queues would share our packets. */
	assert_int_equal(try_create("wgx0", 1), -EBUSY);
	assert_int_equal(try_create("wgx0", 3), -EBUSY);
	for (unsigned int i = 0; i < 3; i++)
		close(fds[i]);
	/* Left behind, it may be taken up with any number. */
	assert_int_equal(try_create("wgx0", 2), 0);
	create(name, "wgx0", 1, &fd, &features);
	assert_int_equal(try_create("wgx0", 1), -EBUSY);
	assert_int_equal(tun_set_persistent(fd, false), 0);
	close(fd);
	assert_int_equal(if_nametoindex("wgx0"), 0);
}

static void test_create_fails(void **state)
{
	(void)state;
	REQUIRE_NETNS();
	run("ip link add wgx-veth type veth peer name wgx-peer");
	assert_int_equal(try_create("wgx-veth", 1), -EINVAL);
	assert_int_equal(try_create("wgx-veth", 2), -EINVAL);
	assert_int_equal(try_create("lo", 1), -EINVAL);
	assert_int_equal(try_create("a/b", 1), -EINVAL);
	run("ip tuntap add wgx-tap mode tap");
	assert_int_equal(try_create("wgx-tap", 1), -EINVAL);
	run("ip link del wgx-veth && ip link del wgx-tap");
}

static int open_foreign(const char *name, short flags)
{
	struct ifreq ifr = { .ifr_flags = flags };
	int fd = open("/dev/net/tun", O_RDWR);

	snprintf(ifr.ifr_name, IFNAMSIZ, "%s", name);
	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, TUNSETIFF, &ifr), 0);
	return fd;
}

static void test_adopt(void **state)
{
	char name[IFNAMSIZ] = "";
	struct tun_features features = { 0 }, made;
	struct virtio_net_hdr hdr;
	uint8_t packet[100];
	struct tun tun;
	int fd;

	(void)state;
	REQUIRE_NETNS();
	fd = open_foreign("wgx-foreign", IFF_TUN | IFF_NO_PI | IFF_VNET_HDR);
	assert_int_equal(tun_adopt(fd, name, &features), 0);
	assert_string_equal(name, "wgx-foreign");
	tun_init(&tun, fd, &features);
	assert_int_equal(tun.coalesce_tcp, features.tso);
	assert_int_equal(tun.coalesce_udp, features.uso);
	assert_int_equal(tun_read(&tun, &hdr, packet, sizeof(packet)), 0); /* does not block */
	close(fd);

	create(name, "wgx0", 1, &fd, &made);
	assert_int_equal(made.tso, features.tso);
	assert_int_equal(made.uso, features.uso);
	tun_set_persistent(fd, false);
	close(fd);

	fd = open_foreign("wgx-foreign", IFF_TUN | IFF_NO_PI);
	assert_int_equal(tun_adopt(fd, name, &features), -EINVAL);
	close(fd);
	fd = open_foreign("wgx-foreign", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	assert_int_equal(tun_adopt(fd, name, &features), -EINVAL);
	close(fd);
	fd = open("/dev/null", O_RDWR);
	assert_int_equal(tun_adopt(fd, name, &features), -ENOTTY);
	close(fd);
	fd = open("/dev/net/tun", O_RDWR);
	assert_int_equal(tun_adopt(fd, name, &features), -EBADFD);
	close(fd);
}

/* ------ Events ------ */

static uint32_t wait_events(int epoll_fd, int timeout_ms)
{
	struct epoll_event event = { 0 };

	return epoll_wait(epoll_fd, &event, 1, timeout_ms) == 1 ? event.events : 0;
}

/* What tun.h promises about up, down, moved and deleted devices. */
static void up_down(int epoll_fd, int fd, const char *name)
{
	struct tun tun = { .fd = fd };
	uint8_t packet[20] = { 0x45 };

	assert_false(tun_is_up(fd));
	assert_int_equal(tun_write_packet(&tun, packet, sizeof(packet)), -EIO);
	assert_false(wait_events(epoll_fd, 0) & EPOLLOUT);
	run("ip link set %s up", name);
	assert_true(wait_events(epoll_fd, 2000) & EPOLLOUT);
	assert_true(tun_is_up(fd));
	run("ip link set %s down", name);
	assert_false(tun_is_up(fd));
	wait_events(epoll_fd, 0); /* an edge-triggered registration has nothing to say, or something old */
}

static void test_events(void **state)
{
	char name[IFNAMSIZ];
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET };
	struct tun_features features = { 0 };
	struct virtio_net_hdr hdr;
	uint8_t packet[100] = { 0x45 };
	struct tun tun;
	int fd, epoll_fd = epoll_create1(EPOLL_CLOEXEC);

	(void)state;
	REQUIRE_NETNS();
	create(name, "wgx0", 1, &fd, &features);
	tun_init(&tun, fd, &features);
	assert_int_equal(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event), 0);
	up_down(epoll_fd, fd, name);
	up_down(epoll_fd, fd, name);
	run("ip link set wgx0 up");
	wait_events(epoll_fd, 2000);
	move_to_other("wgx0"); /* takes it down */
	go_to(1);
	wait_events(epoll_fd, 0);
	up_down(epoll_fd, fd, name);
	run("ip link set wgx0 up");
	assert_true(wait_events(epoll_fd, 2000) & EPOLLOUT);
	run("ip link del wgx0");
	assert_true(wait_events(epoll_fd, 2000) & EPOLLERR);
	assert_int_equal(tun_read(&tun, &hdr, packet, sizeof(packet)), -EBADFD);
	assert_int_equal(tun_write_packet(&tun, packet, 20), -EBADFD);
	assert_false(tun_is_up(fd));
	close(fd);
	close(epoll_fd);
	go_to(0);
}

/* ------ Packets ------ */

static int udp_socket(const char *addr, uint16_t port)
{
	struct sockaddr_in local = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), bytes = 4 << 20;

	assert_int_equal(inet_pton(AF_INET, addr, &local.sin_addr), 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&local, sizeof(local)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	return fd;
}

/* The packet that is not the kernel's own chatter (IPv6 router solicitations and the like). */
static int read_ipv4(struct tun *tun, struct virtio_net_hdr *hdr, uint8_t *packet)
{
	struct pollfd pollfd = { .fd = tun->fd, .events = POLLIN };
	int len;

	do {
		len = tun_read(tun, hdr, packet, TUN_READ_MAX);
		if (!len && poll(&pollfd, 1, 2000) != 1)
			fail_msg("no packet");
	} while (!len || (len > 0 && packet[0] >> 4 != 4));
	return len;
}

static void test_read_super_packet(void **state)
{
	static uint8_t data[20 * 1000], packet[TUN_READ_MAX], segment[TUN_READ_MAX];
	struct sockaddr_in peer = { .sin_family = AF_INET, .sin_port = htons(7) };
	char name[IFNAMSIZ];
	struct tun_features features = { 0 };
	struct virtio_net_hdr hdr;
	struct gso_split split;
	struct tun tun;
	int fd, sock, len, segment_size = 1000;

	(void)state;
	REQUIRE_NETNS();
	create(name, "wgx0", 1, &fd, &features);
	tun_init(&tun, fd, &features);
	run("ip addr add 10.9.1.1/24 dev wgx0 && ip link set wgx0 up");
	sock = udp_socket("10.9.1.1", 9);
	inet_pton(AF_INET, "10.9.1.2", &peer.sin_addr);
	for (unsigned int i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 1000);
	setsockopt(sock, IPPROTO_UDP, UDP_SEGMENT, &segment_size, sizeof(segment_size));
	assert_int_equal(sendto(sock, data, sizeof(data), 0, (void *)&peer, sizeof(peer)), sizeof(data));

	len = read_ipv4(&tun, &hdr, packet);
	if (features.uso) {
		assert_int_equal(len, 28 + sizeof(data));
		assert_int_equal(hdr.gso_type, VIRTIO_NET_HDR_GSO_UDP_L4);
		assert_int_equal(hdr.gso_size, 1000);
		assert_int_equal(gso_split_init(&split, &hdr, packet, (uint32_t)len), DROP_NONE);
		assert_int_equal(split.n_segments, 20);
		for (uint32_t i = 0; i < 20; i++) {
			assert_int_equal(gso_split_segment(&split, i, segment), 1028);
			assert_memory_equal(segment + 28, data + 1000 * i, 1000);
		}
	} else {
		assert_int_equal(len, 1028);
	}
	assert_int_equal(features.uso ? tun_read(&tun, &hdr, packet, sizeof(packet)) : 0, 0);
	close(sock);
	tun_set_persistent(fd, false);
	close(fd);
}

/* An IPv4 UDP packet; its checksum is left out, as IPv4 allows, unless wanted. */
static uint32_t build_udp(uint8_t *packet, uint32_t len, uint8_t fill)
{
	static const uint8_t headers[28] = {
		0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 9, 1, 2, 10, 9, 1, 1, 0, 7, 0, 9,
	};
	uint32_t sum = 0;
	uint16_t word;

	memcpy(packet, headers, sizeof(headers));
	memset(packet + 28, fill, len);
	word = htons((uint16_t)(28 + len));
	memcpy(packet + 2, &word, 2);
	word = htons((uint16_t)(8 + len));
	memcpy(packet + 24, &word, 2);
	for (unsigned int i = 0; i < 20; i += 2)
		sum += (uint32_t)(packet[i] << 8 | packet[i + 1]);
	sum = (sum & 0xffff) + (sum >> 16);
	word = htons((uint16_t)~(sum + (sum >> 16)));
	memcpy(packet + 10, &word, 2);

	/* The transport checksum: pseudo-header, header, payload. */
	sum = 17 + 8 + len;
	for (uint32_t i = 12; i < 28 + len; i++)
		sum += (uint32_t)(i & 1 ? packet[i] : packet[i] << 8);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	word = htons((uint16_t)~sum);
	memcpy(packet + 26, &word, 2);
	return 28 + len;
}

struct burst {
	struct tun tun;
	struct gso_coalescer coalescer;
	int sock;
};

static void burst_open(struct burst *b)
{
	char name[IFNAMSIZ];
	struct tun_features features = { 0 };
	int fd;

	create(name, "wgx0", 1, &fd, &features);
	tun_init(&b->tun, fd, &features);
	run("ip addr add 10.9.1.1/24 dev wgx0 && ip link set wgx0 up");
	b->sock = udp_socket("10.9.1.1", 9);
	assert_int_equal(gso_coalescer_init(&b->coalescer, true, true), 0);
	refused_gso_type = -1;
	n_writes = 0;
}

static void burst_close(struct burst *b)
{
	close(b->sock);
	tun_set_persistent(b->tun.fd, false);
	close(b->tun.fd);
	gso_coalescer_deinit(&b->coalescer);
	refused_gso_type = -1;
}

/* n packets of one flow, each with contents of its own, the last one shorter. */
static void burst_fill(struct burst *b, unsigned int n, uint8_t first)
{
	static uint8_t packets[64][1500];

	gso_coalesce_reset(&b->coalescer);
	for (unsigned int i = 0; i < n; i++) {
		uint32_t len = build_udp(packets[i], 1000 - (i == n - 1) * 77, (uint8_t)(first + i));

		assert_true(gso_coalesce(&b->coalescer, packets[i], len));
	}
	gso_coalesce_finish(&b->coalescer);
}

static void burst_expect(struct burst *b, unsigned int n, uint8_t first)
{
	struct pollfd pollfd = { .fd = b->sock, .events = POLLIN };
	uint8_t data[2000], wanted[1000];

	for (unsigned int i = 0; i < n; i++) {
		ssize_t len = 1000 - (i == n - 1) * 77;

		assert_int_equal(poll(&pollfd, 1, 2000), 1);
		assert_int_equal(recv(b->sock, data, sizeof(data), 0), len);
		memset(wanted, first + (int)i, sizeof(wanted));
		assert_memory_equal(data, wanted, (size_t)len);
	}
	assert_int_equal(recv(b->sock, data, sizeof(data), 0), -1);
}

static void test_write_coalesced(void **state)
{
	struct burst b;

	(void)state;
	REQUIRE_NETNS();
	burst_open(&b);
	burst_fill(&b, 20, 1);
	assert_int_equal(b.coalescer.n_supers, 1);
	assert_int_equal(tun_write(&b.tun, &b.coalescer), 0);
	burst_expect(&b, 20, 1);
	if (b.tun.coalesce_udp)
		assert_int_equal(n_writes, 1);
	burst_close(&b);
}

static void test_refused_super_packet_goes_singly(void **state)
{
	struct burst b;

	(void)state;
	REQUIRE_NETNS();
	burst_open(&b);
	b.tun.coalesce_tcp = b.tun.coalesce_udp = true;
	refused_gso_type = VIRTIO_NET_HDR_GSO_UDP_L4;
	refusal = EINVAL;
	burst_fill(&b, 20, 1);
	assert_int_equal(tun_write(&b.tun, &b.coalescer), 0);
	assert_int_equal(n_writes, 21);
	burst_expect(&b, 20, 1);
	assert_false(b.tun.coalesce_udp);
	assert_false(b.coalescer.udp);
	assert_true(b.tun.coalesce_tcp && b.coalescer.tcp);

	/* One that was put together before it was known is not even tried. */
	n_writes = 0;
	b.coalescer.udp = true;
	burst_fill(&b, 20, 30);
	assert_int_equal(tun_write(&b.tun, &b.coalescer), 0);
	assert_int_equal(n_writes, 20);
	burst_expect(&b, 20, 30);

	/* And from now on none is. */
	b.coalescer.udp = false;
	burst_fill(&b, 20, 60);
	assert_int_equal(b.coalescer.n_supers, 20);
	assert_int_equal(tun_write(&b.tun, &b.coalescer), 0);
	burst_expect(&b, 20, 60);
	burst_close(&b);
}

/* Any other error is no reason to give coalescing up. */
static void test_packets_not_taken_are_counted(void **state)
{
	bool kernel_takes_udp;
	struct burst b;

	(void)state;
	REQUIRE_NETNS();
	burst_open(&b);
	kernel_takes_udp = b.tun.coalesce_udp;
	b.tun.coalesce_tcp = b.tun.coalesce_udp = true;
	refused_gso_type = VIRTIO_NET_HDR_GSO_UDP_L4;
	refusal = ENOMEM;
	burst_fill(&b, 20, 1);
	assert_int_equal(tun_write(&b.tun, &b.coalescer), 20);
	assert_true(b.tun.coalesce_udp && b.coalescer.udp);

	refused_gso_type = -1;
	run("ip link set wgx0 down");
	assert_int_equal(tun_write(&b.tun, &b.coalescer), 20);
	/* Before Linux 6.2 the kernel does not know the type, and says that first. */
	assert_int_equal(b.tun.coalesce_udp && b.coalescer.udp, kernel_takes_udp);
	burst_close(&b);
}

/* ------ TCP between two namespaces, by nothing but this module and gso.h ------ */

struct end {
	struct tun tun;
	int sock;
	size_t n_sent, n_got;
};

static unsigned int n_super_reads, n_super_writes;

/* One packet from one device, as segments of MTU size, to the other. False when none waits. */
static bool relay(struct tun *from, struct tun *to, struct gso_coalescer *coalescer)
{
	static uint8_t packet[TUN_READ_MAX], segments[64 * 2048];
	struct virtio_net_hdr hdr;
	struct gso_split split;
	int len = tun_read(from, &hdr, packet, sizeof(packet));

	assert_true(len >= 0);
	if (!len || gso_split_init(&split, &hdr, packet, (uint32_t)len))
		return len > 0;
	n_super_reads += split.n_segments > 1;
	gso_coalesce_reset(coalescer);
	for (uint32_t i = 0; i < split.n_segments; i++) {
		uint8_t *segment = segments + (i % 64) * 2048;

		if (i && i % 64 == 0) {
			gso_coalesce_finish(coalescer);
			assert_int_equal(tun_write(to, coalescer), 0);
			gso_coalesce_reset(coalescer);
		}
		assert_true(gso_coalesce(coalescer, segment, gso_split_segment(&split, i, segment)));
	}
	gso_coalesce_finish(coalescer);
	n_super_writes += coalescer->supers[0].n_packets > 1;
	assert_int_equal(tun_write(to, coalescer), 0);
	return true;
}

static uint8_t tcp_byte(size_t at)
{
	return (uint8_t)(at * 31 + at / 4093);
}

#define TCP_BYTES ((size_t)8 << 20)

static void tcp_send(struct end *end)
{
	static uint8_t data[65536];
	ssize_t len;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = tcp_byte(end->n_sent + i);
	len = send(end->sock, data, TCP_BYTES - end->n_sent < sizeof(data) ? TCP_BYTES - end->n_sent : sizeof(data),
		   MSG_NOSIGNAL);
	if (len > 0)
		end->n_sent += (size_t)len;
}

static void tcp_receive(struct end *end)
{
	static uint8_t data[65536];
	ssize_t len = recv(end->sock, data, sizeof(data), 0);

	for (ssize_t i = 0; i < len; i++, end->n_got++)
		if (data[i] != tcp_byte(end->n_got))
			fail_msg("byte %zu differs", end->n_got);
}

static void end_open(struct end *end, int i, const char *addr)
{
	char name[IFNAMSIZ];
	struct tun_features features = { 0 };

	memset(end, 0, sizeof(*end));
	go_to(i);
	create(name, "wgx0", 1, &end->tun.fd, &features);
	tun_init(&end->tun, end->tun.fd, &features);
	run("ip addr add %s dev wgx0 %s && ip link set wgx0 up", addr, strchr(addr, ':') ? "nodad" : "");
}

static void end_close(struct end *end)
{
	close(end->sock);
	tun_set_persistent(end->tun.fd, false);
	close(end->tun.fd);
}

/* Listens at b, connects from a; the packets of the handshake wait in the devices. Returns the listening socket. */
static int tcp_start(struct end *a, struct end *b, bool is_v6, uint16_t port)
{
	sa_family_t family = is_v6 ? AF_INET6 : AF_INET;
	struct sockaddr_in addr4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 addr6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr *addr = is_v6 ? (void *)&addr6 : (void *)&addr4;
	socklen_t len = is_v6 ? sizeof(addr6) : sizeof(addr4);
	int listener;

	end_open(a, 0, is_v6 ? "fd09:1::1/64" : "10.9.1.1/24");
	end_open(b, 1, is_v6 ? "fd09:1::2/64" : "10.9.1.2/24");
	inet_pton(AF_INET, "10.9.1.2", &addr4.sin_addr);
	inet_pton(AF_INET6, "fd09:1::2", &addr6.sin6_addr);
	listener = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(listener, addr, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	go_to(0);
	a->sock = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(connect(a->sock, addr, len), -1);
	b->sock = -1;
	return listener;
}

static void test_tcp_through_two_devices(void **state)
{
	(void)state;
	REQUIRE_NETNS();
	for (int turn = 0; turn < 4; turn++) {
		struct gso_coalescer coalescer;
		struct end a, b;
		int listener = tcp_start(&a, &b, turn & 1, (uint16_t)(5001 + turn));

		/* The second time against kernels that refuse TCP super-packets: rebuilt ones must be good too. */
		refused_gso_type = turn < 2 ? -1 : turn & 1 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
		refusal = EINVAL;
		assert_int_equal(gso_coalescer_init(&coalescer, true, true), 0);
		n_super_reads = n_super_writes = 0;
		while (b.n_got < TCP_BYTES) {
			struct pollfd pollfds[2] = {
				{ .fd = a.tun.fd, .events = POLLIN }, { .fd = b.tun.fd, .events = POLLIN },
			};

			if (a.n_sent < TCP_BYTES)
				tcp_send(&a);
			if (b.sock < 0)
				b.sock = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
			else
				tcp_receive(&b);
			if (b.n_got < TCP_BYTES && poll(pollfds, 2, 5000) < 1)
				fail_msg("stalled after %zu bytes", b.n_got);
			/* As after a restart: what was put together before is still met with a refusal. */
			if (turn >= 2)
				coalescer.tcp = true;
			relay(&a.tun, &b.tun, &coalescer);
			relay(&b.tun, &a.tun, &coalescer);
		}
		assert_true(n_super_reads > 0);
		assert_true(n_super_writes > 0);
		if (turn < 2)
			assert_true(a.tun.coalesce_tcp && b.tun.coalesce_tcp);
		else
			assert_false(b.tun.coalesce_tcp);
		close(listener);
		end_close(&a);
		end_close(&b);
		gso_coalescer_deinit(&coalescer);
		refused_gso_type = -1;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create_and_persist),
		cmocka_unit_test(test_multi_queue),
		cmocka_unit_test(test_create_fails),
		cmocka_unit_test(test_adopt),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_read_super_packet),
		cmocka_unit_test(test_write_coalesced),
		cmocka_unit_test(test_refused_super_packet_goes_singly),
		cmocka_unit_test(test_packets_not_taken_are_counted),
		cmocka_unit_test(test_tcp_through_two_devices),
	};

	return cmocka_run_group_tests(tests, enter_two_netns, NULL);
}
