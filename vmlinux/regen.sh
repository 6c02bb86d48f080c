#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Makes vmlinux/vmlinux.h again: from the running kernel's BTF, only the types named here. Everything named belongs to
# the kernel's stable interface to programs or to a packet on the wire, so which kernel it was taken from does not
# matter.
#
#   vmlinux/regen.sh [BTF-FILE]        default: /sys/kernel/btf/vmlinux
set -euo pipefail

btf=${1:-/sys/kernel/btf/vmlinux}
here=$(dirname "$(readlink -f "$0")")

# Words: a typedef's or a tagged type's name; @NAME is the untagged enum that has the constant NAME.
types="__u8 __u16 __u32 __u64 __s8 __s16 __s32 __s64 __le16 __le32 __le64 __be16 __be32 __be64 __sum16 __wsum bool
	bpf_map_type xdp_action xdp_md __sk_buff @false @BPF_ANY @BPF_F_RDONLY
	ethhdr vlan_hdr iphdr in6_addr ipv6hdr udphdr"

dump=$(mktemp)
trap 'rm -f "$dump"' EXIT
bpftool btf dump file "$btf" format c >"$dump"

{
	cat <<-'HEAD'
	/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
	/* The kernel's types that bpf/ uses. Generated: change the list in regen.sh and run it. */
	#ifndef WG_XDP_VMLINUX_H
	#define WG_XDP_VMLINUX_H
	HEAD
	awk -v types="$types" '
		BEGIN { after_block = 1; n = split(types, list); for (i = 1; i <= n; i++) wanted[list[i]] = 1 }
		function finish() {
			if (take || (anonymous in wanted)) {
				printf "\n%s", block
				after_block = 1
				seen[take ? name : anonymous] = 1
			}
			block = ""; take = 0; anonymous = ""
		}
		/^typedef [^{(]*;$/ {
			name = $NF; sub(/;$/, "", name)
			if ((name in wanted) && !(name in seen)) {
				print (after_block ? "\n" : "") $0
				seen[name] = 1; after_block = 0
			}
			next
		}
		!inside && /^(struct|union|enum) .*\{$/ {
			inside = 1; name = $2; take = (name in wanted) && !(name in seen)
		}
		inside {
			block = block $0 "\n"
			if (name == "{" && ("@" $1) in wanted) anonymous = "@" $1
			if (/^}/) { inside = 0; finish() }
		}
		END {
			for (name in wanted)
				if (!(name in seen)) { print "regen: no type " name > "/dev/stderr"; bad = 1 }
			exit bad
		}' "$dump"
	printf '\n#endif\n'
} >"$here/vmlinux.h.new"
mv "$here/vmlinux.h.new" "$here/vmlinux.h"
