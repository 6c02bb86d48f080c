#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Installs what building and testing need and this machine lacks, on Debian 12/13 and Ubuntu 24.04. Does nothing,
# quickly and without privileges, when everything is there.
#
#   tools/deps.sh [build|test|lint|kernels ...]     default: all groups but kernels
#   tools/deps.sh --list [group ...]        prints the names only
#   tools/deps.sh --check [group ...]       prints what is missing; fails if anything is
set -euo pipefail

# One name per word; "a|b": whichever the distribution has.
build="clang llvm gcc libc6-dev make pkg-config libbpf-dev libxdp-dev libelf-dev zlib1g-dev libsodium-dev libnl-3-dev
	libnl-route-3-dev liburcu-dev libcap-ng-dev libseccomp-dev bpftool|linux-tools-generic"
# Packaged for x86-64 only; without it the portable AEAD does all the work.
build_amd64="libipsec-mb-dev"
test="libcmocka-dev libjson-c-dev iproute2 iputils-ping iperf3 wireguard-tools wireguard-go tcpdump nftables util-linux
	procps ethtool python3 valgrind"
lint="clang-tidy clang-format cppcheck sparse shellcheck libclang-rt-dev git"
# For booting other kernels: tests/kernels. virtiofsd was part of qemu-system-common before it was a package.
kernels="qemu-system-x86 virtiofsd|qemu-system-common busybox-static kmod xz-utils debian-archive-keyring netcat-openbsd"

die()
{
	echo "deps: $*" >&2
	exit 1
}

architecture()
{
	dpkg --print-architecture
}

# The names of the groups asked for.
wanted()
{
	local group

	for group in "$@"; do
		case $group in
		build)
			echo "$build"
			[[ $(architecture) != amd64 ]] || echo "$build_amd64"
			;;
		test) echo "$test" ;;
		lint) echo "$lint" ;;
		kernels) echo "$kernels" ;;
		esac
	done
}

# Can apt install it? A name that only others provide (Ubuntu's bpftool) counts as not.
has_candidate()
{
	[[ $(apt-cache policy "$1" 2>/dev/null) =~ Candidate:\ [^\(] ]]
}

# "a|b" to the one to install.
choose()
{
	local name

	for name in ${1//|/ }; do
		if has_candidate "$name"; then
			echo "$name"
			return
		fi
	done
	echo "${1%%|*}"
}

# Prints those words of $@ of which no alternative is installed.
missing()
{
	local installed word name

	installed=" $(dpkg-query -W -f='${db:Status-Status}:${Package}\n' 2>/dev/null |
		sed -n 's/^installed://p' | tr '\n' ' ') "
	for word in "$@"; do
		for name in ${word//|/ }; do
			[[ $installed != *" $name "* ]] || continue 2
		done
		echo "$word"
	done
}

install_packages()
{
	local sudo="" word
	local names=()

	if ((EUID != 0)); then
		command -v sudo >/dev/null || die "not root and no sudo; as root, run: apt-get install $*"
		sudo=sudo
	fi
	echo "deps: missing: $*"
	$sudo apt-get -q update || die "apt-get update failed; see above"
	for word in "$@"; do
		names+=("$(choose "$word")")
	done
	$sudo env DEBIAN_FRONTEND=noninteractive \
		apt-get -q -y --no-install-recommends install "${names[@]}" </dev/null ||
		die "apt-get could not install: ${names[*]}"
}

main()
{
	local action=install
	local group words lacking

	case ${1-} in
	--list | --check)
		action=${1#--}
		shift
		;;
	esac
	(($# > 0)) || set -- build test lint
	for group in "$@"; do
		[[ $group =~ ^(build|test|lint|kernels)$ ]] ||
			die "no group '$group': the groups are build, test, lint and kernels"
	done
	if ! command -v dpkg-query >/dev/null; then
		echo "deps: not a Debian or Ubuntu system: install what the lists in tools/deps.sh name, by hand" >&2
		exit 0
	fi
	read -r -d '' -a words < <(wanted "$@") || true
	if [[ $action == list ]]; then
		printf '%s\n' "${words[@]}"
		return
	fi
	mapfile -t lacking < <(missing "${words[@]}")
	((${#lacking[@]} > 0)) || return 0
	if [[ $action == check ]]; then
		printf '%s\n' "${lacking[@]}"
		return 1
	fi
	install_packages "${lacking[@]}"
}

main "$@"
