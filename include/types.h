/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Fixed-width types for what BPF programs and user space share.
 *
 * BPF programs get them from the trimmed vmlinux.h, everybody else from the kernel's uapi headers.
 */
#ifndef WG_XDP_TYPES_H
#define WG_XDP_TYPES_H

#ifdef __bpf__
#include "vmlinux.h"
#else
#include <linux/types.h>
#endif

/* Placed after each shared struct: both compilers must agree on its size, in bytes. */
#define SIZE_IS(type, size) _Static_assert(sizeof(type) == (size), "size of " #type)

#endif
