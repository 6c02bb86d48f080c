# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# What the benchmarks share: a pair of namespaces with a tunnel between them, and the CPU time of the whole box.
#
#   wgx-bench-a                          wgx-bench-b
#   wgxba 10.98.0.1  ---- tunnel ----    wgxbb 10.98.0.2
#   va    10.99.0.1  ----  veth  ----    vb    10.99.0.2
#
# Both agents put their sockets into one mount namespace of our own, so that nothing else on the machine sees them.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=$(realpath -m "${BUILD:-$root/build}")
out=${BENCH_OUT:-$build/bench-results}
mkdir -p "$out"

if [ -z "${WG_XDP_BENCH_INSIDE:-}" ]; then
	WG_XDP_BENCH_INSIDE=1 exec unshare -m --propagation slave bash "$0" "$@"
fi
mkdir -p /run/wireguard && mount -t tmpfs -o mode=0755 tmpfs /run/wireguard

in_a() { nsenter --net=/var/run/netns/wgx-bench-a "$@"; }
in_b() { nsenter --net=/var/run/netns/wgx-bench-b "$@"; }

bench_end() {
	local n
	rm -f /run/wireguard/wgxba.sock /run/wireguard/wgxbb.sock
	for n in a b; do
		ip netns pids wgx-bench-$n 2>/dev/null | xargs -r kill 2>/dev/null
	done
	wait 2>/dev/null
	for n in a b; do
		ip netns del wgx-bench-$n 2>/dev/null
	done
	return 0
}
trap bench_end EXIT
trap 'exit 130' INT TERM

# wait_for SECONDS COMMAND...: until COMMAND succeeds.
wait_for() {
	local end=$(($(date +%s%N) + $1 * 1000000000))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s%N)" -lt $end ] || { echo "bench: gave up waiting for: $*" >&2; return 1; }
		sleep 0.05
	done
}

# bench_tunnel COMMAND: starts COMMAND NAME at both ends (as wireguard-go is started) and brings the tunnel up.
bench_tunnel() {
	local n ka kb
	bench_end
	for n in a b; do
		ip netns add wgx-bench-$n
		ip -n wgx-bench-$n link set lo up
	done
	ip link add va netns wgx-bench-a type veth peer name vb netns wgx-bench-b
	ip -n wgx-bench-a address add 10.99.0.1/24 dev va
	ip -n wgx-bench-b address add 10.99.0.2/24 dev vb
	ip -n wgx-bench-a link set va up
	ip -n wgx-bench-b link set vb up
	WG_PROCESS_FOREGROUND=1 LOG_LEVEL=silent in_a "$1" -f wgxba >/dev/null 2>&1 &
	WG_PROCESS_FOREGROUND=1 LOG_LEVEL=silent in_b "$1" -f wgxbb >/dev/null 2>&1 &
	wait_for 10 wg show wgxba && wait_for 10 wg show wgxbb || return 1
	ka=$(wg genkey) kb=$(wg genkey)
	wg set wgxba private-key <(echo "$ka") listen-port 51001 peer "$(echo "$kb" | wg pubkey)" \
		allowed-ips 10.98.0.2/32 endpoint 10.99.0.2:51002
	wg set wgxbb private-key <(echo "$kb") listen-port 51002 peer "$(echo "$ka" | wg pubkey)" \
		allowed-ips 10.98.0.1/32
	ip -n wgx-bench-a address add 10.98.0.1/24 dev wgxba
	ip -n wgx-bench-b address add 10.98.0.2/24 dev wgxbb
	ip -n wgx-bench-a link set wgxba mtu 1420 up
	ip -n wgx-bench-b link set wgxbb mtu 1420 up
	wait_for 10 in_a ping -c 1 -W 1 10.98.0.2
}

# Busy time of the whole box since boot, in clock ticks: user, nice, system, irq, softirq.
busy_ticks() {
	awk '/^cpu / { print $2 + $3 + $4 + $7 + $8 }' /proc/stat
}

# median NUMBER...
median() {
	printf '%s\n' "$@" | sort -g | awk '
		{ v[NR] = $1 }
		END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

machine_json() {
	printf '"date": "%s", "kernel": "%s", "cpu": "%s", "cores": %s, "commit": "%s"' "$(date -u +%FT%TZ)" "$(uname -r)" \
		"$(awk -F': ' '/model name/ { print $2; exit }' /proc/cpuinfo)" "$(nproc)" \
		"$(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo none)"
}
