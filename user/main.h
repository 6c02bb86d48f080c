/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* `wg-xdp [-f] NAME`: the command line and the environment of wireguard-go, as wg-quick and others use it. */
#ifndef WG_XDP_MAIN_H
#define WG_XDP_MAIN_H

/* The Makefile knows better. */
#ifndef WG_XDP_VERSION
#define WG_XDP_VERSION "0"
#endif

/* Returns the exit code; without -f as soon as the tunnel can be used. */
int daemon_main(int argc, char **argv);

#endif
