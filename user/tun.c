// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The tunnel device: opening it, and moving super-packets in and out.
 *
 * One read or write is one packet, however large: offloads are what makes a TUN device fast. Where the kernel refuses
 * one, the same bytes go the plain way and nothing is lost.
 */
#include "tun.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"

/* Linux 6.2 */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

#define TXQUEUELEN_MIN 1000

/* ------ Opening ------ */

static int open_control(int *fd)
{
	*fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (*fd >= 0)
		return 0;
	return errno == ENODEV || errno == ENXIO ? -ENOENT : -errno;
}

static int set_offloads(int fd, struct tun_features *features)
{
	unsigned int csum = TUN_F_CSUM;
	unsigned int tso = csum | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	unsigned int uso = tso | TUN_F_USO4 | TUN_F_USO6;
	int hdr_size = sizeof(struct virtio_net_hdr);

	*features = (struct tun_features){ 0 };
	if (ioctl(fd, TUNSETVNETHDRSZ, &hdr_size))
		return -errno;
	if (!ioctl(fd, TUNSETOFFLOAD, uso))
		features->tso = features->uso = true;
	else if (!ioctl(fd, TUNSETOFFLOAD, tso))
		features->tso = true;
	else if (ioctl(fd, TUNSETOFFLOAD, csum))
		return -errno;
	return 0;
}

/* A longer queue is somebody's choice and stays. */
static int set_mtu(int fd, struct ifreq *ifr)
{
	ifr->ifr_mtu = TUN_DEFAULT_MTU;
	return ioctl(fd, SIOCSIFMTU, ifr);
}

static int set_link_defaults(const char name[static IFNAMSIZ])
{
	struct ifreq ifr = { 0 };
	int fd, err = 0;

	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	memcpy(ifr.ifr_name, name, IFNAMSIZ);
	if (ioctl(fd, SIOCGIFTXQLEN, &ifr)) {
		err = -errno;
	} else if (ifr.ifr_qlen < TXQUEUELEN_MIN) {
		ifr.ifr_qlen = TXQUEUELEN_MIN;
		if (ioctl(fd, SIOCSIFTXQLEN, &ifr))
			err = -errno;
	}
	/* 1500 is what every TUN device is born with: one that has it has not been given another by anybody. */
	if (!err && (ioctl(fd, SIOCGIFMTU, &ifr) || (ifr.ifr_mtu == ETH_DATA_LEN && set_mtu(fd, &ifr))))
		err = -errno;
	close(fd);
	return err;
}

/*
 * No link-local address, as the kernel's WireGuard: with it, an idle tunnel would send router solicitations, and a peer with
 * a default route would get a handshake nobody asked for. A kernel without IPv6 or a read-only /proc does not matter.
 */
static void set_addr_gen_mode_none(const char *name)
{
	char path[sizeof("/proc/sys/net/ipv6/conf//addr_gen_mode") + IFNAMSIZ];
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/addr_gen_mode", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, "1", 1) != 1)
		log_verbose("cannot write %s: %s", path, strerror(errno));
	close(fd);
}

/* name gets what the kernel made of it. */
static int attach_queue(int fd, char name[static IFNAMSIZ], short flags)
{
	struct ifreq ifr = { .ifr_flags = flags };

	memcpy(ifr.ifr_name, name, IFNAMSIZ);
	ifr.ifr_name[IFNAMSIZ - 1] = '\0';
	if (ioctl(fd, TUNSETIFF, &ifr))
		return -errno;
	memcpy(name, ifr.ifr_name, IFNAMSIZ);
	name[IFNAMSIZ - 1] = '\0';
	return 0;
}

static int open_queue(int *fd, char name[static IFNAMSIZ], bool multi_queue)
{
	short flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | (multi_queue ? IFF_MULTI_QUEUE : 0);
	int err;

	err = open_control(fd);
	if (err)
		return err;
	err = attach_queue(*fd, name, flags);
	/* A device left behind by a run with more workers serves one as well. */
	if (err == -EINVAL && !multi_queue)
		err = attach_queue(*fd, name, flags | IFF_MULTI_QUEUE);
	if (err)
		close(*fd);
	return err;
}

static int count_queues(struct nl_msg *msg, void *arg)
{
	struct nlattr *link[IFLA_MAX + 1], *info[IFLA_INFO_MAX + 1], *data[IFLA_TUN_MAX + 1];
	unsigned int *n_queues = arg;

	if (nlmsg_parse(nlmsg_hdr(msg), sizeof(struct ifinfomsg), link, IFLA_MAX, NULL) || !link[IFLA_LINKINFO] ||
	    nla_parse_nested(info, IFLA_INFO_MAX, link[IFLA_LINKINFO], NULL) || !info[IFLA_INFO_KIND] ||
	    !info[IFLA_INFO_DATA] || strcmp(nla_get_string(info[IFLA_INFO_KIND]), "tun") ||
	    nla_parse_nested(data, IFLA_TUN_MAX, info[IFLA_INFO_DATA], NULL))
		return NL_OK;
	if (data[IFLA_TUN_NUM_QUEUES])
		*n_queues += nla_get_u32(data[IFLA_TUN_NUM_QUEUES]);
	if (data[IFLA_TUN_NUM_DISABLED_QUEUES])
		*n_queues += nla_get_u32(data[IFLA_TUN_NUM_DISABLED_QUEUES]);
	return NL_OK;
}

/*
 * Has a multi-queue device queues already? The kernel would add ours to another process's, and each would get a share
 * of the packets. (A device with a single queue answers EBUSY by itself.)
 */
static bool is_in_use(const char *name)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC };
	struct nl_sock *sock = nl_socket_alloc();
	struct nl_msg *msg = nlmsg_alloc_simple(RTM_GETLINK, 0);
	unsigned int n_queues = 0;

	if (sock && msg && !nl_connect(sock, NETLINK_ROUTE) && !nlmsg_append(msg, &ifi, sizeof(ifi), NLMSG_ALIGNTO) &&
	    !nla_put_string(msg, IFLA_IFNAME, name)) {
		nl_socket_modify_cb(sock, NL_CB_VALID, NL_CB_CUSTOM, count_queues, &n_queues);
		if (nl_send_auto(sock, msg) >= 0)
			nl_recvmsgs_default(sock); /* an error: there is no such device */
	}
	nlmsg_free(msg);
	nl_socket_free(sock);
	return n_queues > 0;
}

int tun_create(char name[static IFNAMSIZ], unsigned int n, int *fds, struct tun_features *features)
{
	unsigned int n_open = 0;
	int err;

	if (is_in_use(name))
		return -EBUSY;
	do {
		err = open_queue(&fds[n_open], name, n > 1);
		if (err)
			goto err_close;
	} while (++n_open < n);
	err = set_offloads(fds[0], features);
	if (!err)
		err = set_link_defaults(name);
	set_addr_gen_mode_none(name);
	/* Last: a device of ours goes away again when something has failed, one that was there before stays. */
	if (!err)
		err = tun_set_persistent(fds[0], true);
	if (err)
		goto err_close;
	return 0;

err_close:
	while (n_open)
		close(fds[--n_open]);
	return err;
}

int tun_adopt(int fd, char name[static IFNAMSIZ], struct tun_features *features)
{
	const short wanted = IFF_TUN | IFF_VNET_HDR;
	struct ifreq ifr = { 0 };
	int flags;

	if (ioctl(fd, TUNGETIFF, &ifr))
		return -errno;
	/* IFF_NO_PI cannot be asked for: in the answer its bit means that no filter is attached. */
	if ((ifr.ifr_flags & (wanted | IFF_TAP)) != wanted)
		return -EINVAL;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) || fcntl(fd, F_SETFD, FD_CLOEXEC))
		return -errno;
	memcpy(name, ifr.ifr_name, IFNAMSIZ);
	name[IFNAMSIZ - 1] = '\0';
	return set_offloads(fd, features);
}

int tun_set_persistent(int fd, bool persistent)
{
	return ioctl(fd, TUNSETPERSIST, persistent ? 1UL : 0UL) ? -errno : 0;
}

void tun_init(struct tun *tun, int fd, const struct tun_features *features)
{
	*tun = (struct tun){ .fd = fd, .coalesce_tcp = features->tso, .coalesce_udp = features->uso };
}

bool tun_is_up(int fd)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLOUT };

	return poll(&pollfd, 1, 0) == 1 && (pollfd.revents & POLLOUT) && !(pollfd.revents & POLLERR);
}

/* ------ Reading and writing ------ */

int tun_read(struct tun *tun, struct virtio_net_hdr *hdr, uint8_t *packet, size_t size)
{
	struct iovec iov[2] = {
		{ .iov_base = hdr, .iov_len = sizeof(*hdr) },
		{ .iov_base = packet, .iov_len = size },
	};
	ssize_t len = readv(tun->fd, iov, 2);

	if (len < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	return len > (ssize_t)sizeof(*hdr) ? (int)(len - (ssize_t)sizeof(*hdr)) : -EIO;
}

static int write_iov(int fd, const struct iovec *iov, int n_iov)
{
	ssize_t len;

	do
		len = writev(fd, iov, n_iov);
	while (len < 0 && errno == EINTR);
	return len < 0 ? -errno : 0;
}

int tun_write_packet(struct tun *tun, const uint8_t *packet, size_t len)
{
	struct virtio_net_hdr hdr = { 0 };
	struct iovec iov[2] = {
		{ .iov_base = &hdr, .iov_len = sizeof(hdr) },
		{ .iov_base = (void *)packet, .iov_len = len },
	};

	return write_iov(tun->fd, iov, 2);
}

/* Returns how many packets of the super-packet were not taken. */
static unsigned int write_singly(struct tun *tun, const struct gso_super *super)
{
	uint8_t packet[GSO_MAX_SIZE];
	unsigned int n_lost = 0;

	for (uint32_t i = 0; i < super->n_packets; i++) {
		uint32_t len = gso_super_packet(super, i, packet);

		if (tun_write_packet(tun, packet, len))
			n_lost++;
	}
	return n_lost;
}

static bool is_udp(const struct gso_super *super)
{
	return super->hdr.gso_type == VIRTIO_NET_HDR_GSO_UDP_L4;
}

static void coalesce_off(struct tun *tun, struct gso_coalescer *burst, const struct gso_super *super)
{
	if (is_udp(super))
		tun->coalesce_udp = burst->udp = false;
	else
		tun->coalesce_tcp = burst->tcp = false;
	log_info("coalescing of inner %s packets is off: the kernel refused one; receiving costs more",
		 is_udp(super) ? "UDP" : "TCP");
}

static unsigned int write_super(struct tun *tun, struct gso_coalescer *burst, const struct gso_super *super)
{
	bool is_coalesced = super->n_packets > 1;
	int err;

	if (is_coalesced && !(is_udp(super) ? tun->coalesce_udp : tun->coalesce_tcp))
		return write_singly(tun, super);
	err = write_iov(tun->fd, super->iov, super->n_iov);
	if (err == -EINVAL && is_coalesced) {
		coalesce_off(tun, burst, super);
		return write_singly(tun, super);
	}
	return err ? super->n_packets : 0;
}

unsigned int tun_write(struct tun *tun, struct gso_coalescer *burst)
{
	unsigned int n_lost = 0;

	for (uint32_t i = 0; i < burst->n_supers; i++)
		n_lost += write_super(tun, burst, &burst->supers[i]);
	return n_lost;
}
