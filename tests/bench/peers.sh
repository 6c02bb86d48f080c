#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Ten thousand peers on one device: how long setconf and show dump take, memory per peer, CPU while idle.
#
#   PEERS [10000]
set -u
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

peers=${PEERS:-10000}
conf=$(mktemp)
trap 'rm -f "$conf"; bench_end' EXIT
ip netns add wgx-bench-a

{
	printf '[Interface]\nPrivateKey = %s\nListenPort = 51001\n' "$(wg genkey)"
	# Any 32 bytes are a public key.
	head -c $((peers * 32)) /dev/urandom | od -An -v -tx1 -w32 | tr -d ' ' | awk '
		BEGIN { map = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" }
		function value(c) { return index("0123456789abcdef", c) - 1 }
		{
			text = ""
			for (i = 1; i <= 63; i += 3) {
				n = value(substr($0, i, 1)) * 256 + value(substr($0, i + 1, 1)) * 16 + \
					value(substr($0, i + 2, 1))
				text = text substr(map, int(n / 64) + 1, 1) substr(map, n % 64 + 1, 1)
			}
			# 256 bits: 21 groups of 12, then 4 bits more, one character, and the padding.
			text = text substr(map, value(substr($0, 64, 1)) * 4 + 1, 1) "="
			printf "[Peer]\nPublicKey = %s\nAllowedIPs = 10.%d.%d.%d/32\n", text,
				int(NR / 65536) % 256, int(NR / 256) % 256, NR % 256
		}'
} >"$conf"

LOG_LEVEL=silent nsenter --net=/var/run/netns/wgx-bench-a "$build/wg-xdp" -f wgxba >/dev/null 2>&1 &
monitor=$!
wait_for 10 wg show wgxba
agent=$(pgrep -P "$monitor" | head -n 1)
rss() { awk '/VmRSS/ { print $2 * 1024 }' "/proc/$agent/status"; }
now() { date +%s%N; }

rss_before=$(rss)
t0=$(now)
wg setconf wgxba "$conf" || exit 1
t1=$(now)
lines=$(wg show wgxba dump | wc -l)
t2=$(now)
[ "$lines" -eq $((peers + 1)) ] || { echo "bench: $lines lines of dump, expected $((peers + 1))" >&2; exit 1; }
ip -n wgx-bench-a link set wgxba up
wait_for 10 sh -c 'wg show wgxba listen-port | grep -qv "^0"'
rss_after=$(rss)
ticks() { awk '{ print $14 + $15 }' "/proc/$agent/stat"; }
sleep 2 # let it come to rest; what is measured next is rest
idle_before=$(ticks)
sleep 5
idle_after=$(ticks)
awk -v n="$peers" -v set=$((t1 - t0)) -v dump=$((t2 - t1)) -v mem=$((rss_after - rss_before)) \
	-v idle=$((idle_after - idle_before)) -v hz="$(getconf CLK_TCK)" -v file="$out/peers.json" \
	-v machine="$(machine_json)" 'BEGIN {
	printf "%d peers: setconf %.2f s, show dump %.2f s, %.2f KiB per peer, idle CPU %.1f %%\n",
		n, set / 1e9, dump / 1e9, mem / n / 1024, idle / hz / 5 * 100
	printf "{ %s, \"peers\": %d, \"setconf_s\": %.3f, \"dump_s\": %.3f, ",
		machine, n, set / 1e9, dump / 1e9 > file
	printf "\"bytes_per_peer\": %d, \"idle_cpu_percent\": %.2f }\n", mem / n, idle / hz / 5 * 100 > file }'
