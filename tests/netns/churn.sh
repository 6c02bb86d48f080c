#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Everything at once: traffic both ways through two workers at each end, while peers come and go, keys, ports, marks and
# addresses change, and others read. Meant for builds with sanitizers (WG_XDP=build-tsan/wg-xdp, build-asan/wg-xdp), whose
# reports fail it; with any build the tunnel must work afterwards and the agents must be the same processes.
#
#   wgx-churn-a: wgxca 10.98.0.1 - va 10.99.0.1   ----   vb 10.99.0.2 - wgxcb 10.98.0.2 :wgx-churn-b
#
#   SECONDS_OF_CHURN [8]
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
WG_XDP=$(realpath "${WG_XDP:-$root/build/wg-xdp}")
churn=${SECONDS_OF_CHURN:-8}
if [ -z "${WGX_CHURN_INSIDE:-}" ]; then
	WGX_CHURN_INSIDE=1 WG_XDP=$WG_XDP exec unshare -m --propagation slave bash "$0" "$@"
fi
mkdir -p /run/wireguard && mount -t tmpfs -o mode=0755 tmpfs /run/wireguard
tmp=$(mktemp -d)
passed=0 failed=0

in_a() { nsenter --net=/var/run/netns/wgx-churn-a "$@"; }
in_b() { nsenter --net=/var/run/netns/wgx-churn-b "$@"; }

check() {
	local name=$1
	shift
	if "$@"; then
		echo "ok $name"
		passed=$((passed + 1))
	else
		echo "not ok $name"
		failed=$((failed + 1))
	fi
}

# No mercy for what does not end by itself in time, but a sanitizer's report at the end must be waited for.
finish() {
	local n
	trap - EXIT
	for n in a b; do
		ip netns pids wgx-churn-$n 2>/dev/null | xargs -r kill 2>/dev/null
	done
	wait
	for n in a b; do
		ip netns del wgx-churn-$n 2>/dev/null
	done
	rm -rf "$tmp"
}
trap finish EXIT
trap 'exit 130' INT TERM

wait_for() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}

for n in a b; do
	ip netns add wgx-churn-$n
	ip -n wgx-churn-$n link set lo up
done
ip link add va netns wgx-churn-a type veth peer name vb netns wgx-churn-b
for end in "a 1" "b 2"; do
	set -- $end
	ip -n wgx-churn-"$1" address add 10.99.0."$2"/24 dev v"$1"
	ip -n wgx-churn-"$1" link set v"$1" up
	WG_THREADS=2 LOG_LEVEL=error nsenter --net=/var/run/netns/wgx-churn-"$1" "$WG_XDP" -f wgxc"$1" >"$tmp/log.$1" 2>&1 &
	declare "monitor_$1=$!"
	wait_for 20 wg show wgxc"$1" || { cat "$tmp/log.$1"; exit 1; }
	ip -n wgx-churn-"$1" address add 10.98.0."$2"/24 dev wgxc"$1"
	ip -n wgx-churn-"$1" link set wgxc"$1" mtu 1420 up
done
# shellcheck disable=SC2154 # set by declare
agent_a=$(pgrep -P "$monitor_a") agent_b=$(pgrep -P "$monitor_b")
ka=$(wg genkey) kb=$(wg genkey)
pa=$(echo "$ka" | wg pubkey) pb=$(echo "$kb" | wg pubkey)
configure() {
	wg set wgxca private-key <(echo "$ka") listen-port 51001 fwmark 0 \
		peer "$pb" allowed-ips 10.98.0.2/32 endpoint 10.99.0.2:51002
	wg set wgxcb private-key <(echo "$kb") listen-port 51002 fwmark 0 \
		peer "$pa" allowed-ips 10.98.0.1/32 endpoint 10.99.0.1:51001
}
configure
check "the tunnel works before" wait_for 20 in_a ping -c 1 -W 1 10.98.0.2

# Traffic for as long as the churn lasts: small packets, large ones, both ways.
in_a ping -q -f -w $((churn + 1)) 10.98.0.2 >/dev/null 2>&1 &
in_b ping -q -f -s 3000 -w $((churn + 1)) 10.98.0.1 >/dev/null 2>&1 &
in_b iperf3 -s -1 >/dev/null 2>&1 &
wait_for 5 sh -c 'nsenter --net=/var/run/netns/wgx-churn-b ss -Hltn "sport = :5201" | grep -q .'
timeout $((churn + 1)) nsenter --net=/var/run/netns/wgx-churn-a iperf3 -c 10.98.0.2 -t "$churn" -P 2 >/dev/null 2>&1 &

end=$((SECONDS + churn)) rounds=0
while [ $SECONDS -lt $end ]; do
	rounds=$((rounds + 1))
	other=$(wg genkey | wg pubkey)
	wg set wgxca peer "$other" allowed-ips "10.50.$((rounds % 250)).0/24,fd50::$rounds/128" \
		endpoint 10.99.0.2:9 persistent-keepalive 1
	wg set wgxcb peer "$other" preshared-key <(wg genpsk) allowed-ips 10.98.0.0/24
	wg show all dump >/dev/null
	wg set wgxcb peer "$other" remove
	case $((rounds % 8)) in
	1) wg set wgxca listen-port $((52000 + rounds % 100)) ;;
	2) wg set wgxcb private-key <(wg genkey) ;;
	3) configure ;;
	4) wg set wgxcb peer "$pa" remove ;;
	5) wg set wgxca fwmark $((rounds + 1)) ;;
	6) ip -n wgx-churn-b link set wgxcb down; ip -n wgx-churn-b link set wgxcb up ;;
	7) wg set wgxca peer "$other" remove; configure ;;
	esac
done
echo "# $rounds rounds of changes in $churn s"
wg showconf wgxca | awk '/PublicKey/ { print $3 }' | grep -v "$pb" | while read -r key; do
	wg set wgxca peer "$key" remove
done
configure
check "the tunnel works after" wait_for 20 in_a ping -c 1 -W 1 10.98.0.2
check "the agents have not been restarted" test "$agent_a $agent_b" = "$(pgrep -P "$monitor_a") $(pgrep -P "$monitor_b")"

rm /run/wireguard/wgxca.sock
kill "$monitor_b"
wait "$monitor_a"
check "a ends cleanly when its socket goes" test $? = 0
wait "$monitor_b"
check "b ends cleanly when told to" test $? = 0
check "no report of a sanitizer" sh -c "! grep -hE 'Sanitizer|runtime error' '$tmp'/log.*"
[ $failed = 0 ] || sed 's/^/# /' "$tmp"/log.* | head -n 100
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
