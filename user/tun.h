/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The tunnel device: a TUN with virtio_net_hdr, one queue per worker.
 *
 * What a queue's fd tells, in whatever namespace the device is (seen on Linux 6.18, kept by tests/unit/test_tun.c):
 * - Coming up wakes EPOLLOUT, edge-triggered too, but only if the fd was polled while the device was down. Registering
 *   polls it, tun_is_up() polls it: call that whenever the device is found to be down.
 * - Going down is not told at all: netlink.h does. Writes then answer EIO; what was queued can still be read.
 * - Deletion wakes EPOLLERR; from then on reads and writes answer EBADFD. Moving to another namespace takes the device
 *   down and is not told.
 */
#ifndef WG_XDP_TUN_H
#define WG_XDP_TUN_H

#include <linux/virtio_net.h>
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gso.h"

/* 1500 less the largest outer headers: IPv6 40, UDP 8, data message 32 bytes. */
#define TUN_DEFAULT_MTU 1420

#define TUN_READ_MAX (GSO_MAX_SIZE + 1)

/* What the kernel lets us do; found out when the device is made. */
struct tun_features {
	bool tso; /* TSO4 and TSO6 */
	bool uso; /* UDP segmentation, Linux 6.2 */
};

struct tun {
	int fd;
	bool coalesce_tcp, coalesce_udp; /* cleared at run time when the kernel answers EINVAL to a coalesced write */
};

/*
 * Makes or adopts the device name ("%d" in it is the kernel's choice) with n queues, non-blocking; fds gets them. Sets
 * offloads, txqueuelen, MTU (unless it has one of its own), no link-local address, and persistence (so that the device,
 * and with it the routes, outlive a killed process: nothing leaves in cleartext). Privileged. Returns 0 or -errno: -ENOENT
 * no /dev/net/tun, -EBUSY in use, -EINVAL another kind of device, or n > 1 and one left behind by a run with a single queue.
 */
int tun_create(char name[static IFNAMSIZ], unsigned int n, int *fds, struct tun_features *features);
/* For WG_TUN_FD: reads name and features of a queue somebody else has opened; -EINVAL when without IFF_VNET_HDR. */
int tun_adopt(int fd, char name[static IFNAMSIZ], struct tun_features *features);
/* Ends persistence: the device goes when the last queue is closed. */
int tun_set_persistent(int fd, bool persistent);

void tun_init(struct tun *tun, int fd, const struct tun_features *features);

/*
 * Reads one (super-)packet of at most TUN_READ_MAX bytes. Returns its length; 0 when none waits; -EBADFD when the device
 * is gone, other -errno.
 */
int tun_read(struct tun *tun, struct virtio_net_hdr *hdr, uint8_t *packet, size_t size);

/*
 * Writes a burst that gso_coalesce_finish() has completed. Where the kernel refuses a coalesced packet (EINVAL), switches
 * coalescing of that kind off and writes its packets one by one. Returns how many inner packets the device did not take.
 */
unsigned int tun_write(struct tun *tun, struct gso_coalescer *burst);
/* Writes one packet as it is: complete, not coalesced. Returns 0 or -errno. */
int tun_write_packet(struct tun *tun, const uint8_t *packet, size_t len);

/* Is the device up? Works whatever network namespace the device has been moved to. */
bool tun_is_up(int fd);

#endif
