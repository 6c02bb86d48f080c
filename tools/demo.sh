#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# A tunnel between two network namespaces of this machine, with traffic in it. Every command is shown before it runs.
#
#      namespace wgx-demo-a                          namespace wgx-demo-b
#      wgxa 10.99.0.1 fd99::1   ==== WireGuard ====  wgxb 10.99.0.2 fd99::2
#      eth0 192.0.2.1           ------- veth ------  eth0 192.0.2.2
#
# Needs root. Takes about ten seconds, leaves nothing behind, fails if a ping does. WG_XDP=PROGRAM runs another
# implementation with wireguard-go's command line; SECONDS_OF_TCP=N measures longer.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

program=${WG_XDP:-$PWD/${BUILD:-build}/wg-xdp}
seconds=${SECONDS_OF_TCP:-3}
sockets=/var/run/wireguard
a=wgx-demo-a
b=wgx-demo-b
work=""
pids=()
owns_namespaces=0

die()
{
	echo "demo: $*" >&2
	exit 1
}

say()
{
	if [[ -t 1 ]]; then printf '\n\033[1m# %s\033[0m\n' "$*"; else printf '\n# %s\n' "$*"; fi
}

# Shows a command, runs it, and gives up if it fails.
run()
{
	printf '$ %s\n' "${*@Q}" | sed "s/'\([A-Za-z0-9_.,:=%@/+-]*\)'/\1/g"
	"$@" || die "this command failed, with exit code $?"
}

# inside NAMESPACE COMMAND...: unlike "ip netns exec", this leaves /sys/fs/bpf visible.
inside()
{
	local namespace=$1

	shift
	run nsenter --net="/var/run/netns/$namespace" "$@"
}

# Runs in a trap, so it must cope with whatever has been made so far.
clean_up()
{
	local pid i

	trap - EXIT INT TERM
	for pid in "${pids[@]}"; do
		kill "$pid" 2>/dev/null
	done
	for pid in "${pids[@]}"; do
		for ((i = 0; i < 50; i++)); do
			kill -0 "$pid" 2>/dev/null || break
			sleep 0.1
		done
		kill -9 "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	if ((owns_namespaces)); then
		ip netns del $a 2>/dev/null
		ip netns del $b 2>/dev/null
		rm -f "$sockets/wgxa.sock" "$sockets/wgxb.sock"
	fi
	[[ -z $work ]] || rm -rf "$work"
}

check_machine()
{
	((EUID == 0)) || die "needs root: namespaces and tunnel devices are made"
	command -v "$program" >/dev/null || die "no program '$program': run 'make'"
	[[ -c /dev/net/tun ]] || die "no /dev/net/tun: load the module with 'modprobe tun'"
	if [[ -e /var/run/netns/$a || -e /var/run/netns/$b ]]; then
		die "a namespace $a or $b exists; if no other demo is running: ip netns del $a; ip netns del $b"
	fi
	if [[ -e $sockets/wgxa.sock || -e $sockets/wgxb.sock ]]; then
		die "a tunnel wgxa or wgxb exists; if no other demo is running, remove its socket in $sockets"
	fi
}

make_network()
{
	say "Two namespaces, joined by a cable"
	owns_namespaces=1
	run ip netns add $a
	run ip netns add $b
	run ip -netns $a link add eth0 type veth peer name eth0 netns $b
	run ip -netns $a address add 192.0.2.1/24 dev eth0
	run ip -netns $b address add 192.0.2.2/24 dev eth0
	run ip -netns $a link set eth0 up
	run ip -netns $b link set eth0 up
}

# wg(8) configures any implementation; without it, wg-xdp understands the same words.
tool()
{
	if command -v wg >/dev/null; then echo wg; else echo "$program"; fi
}

make_keys()
{
	local name

	say "A key pair for each (private keys stay in files)"
	for name in a b; do
		echo "\$ $(tool) genkey > $name.key; $(tool) pubkey < $name.key > $name.pub"
		"$(tool)" genkey >"$work/$name.key" || die "no key"
		"$(tool)" pubkey <"$work/$name.key" >"$work/$name.pub" || die "no public key"
	done
}

# start NAMESPACE TUNNEL: in the foreground of a background job, so that we know what to end.
start()
{
	local namespace=$1 tunnel=$2 i

	echo "\$ LOG_LEVEL=verbose nsenter --net=/var/run/netns/$namespace $program -f $tunnel &"
	LOG_LEVEL=verbose nsenter --net="/var/run/netns/$namespace" "$program" -f "$tunnel" >"$work/$tunnel.log" 2>&1 &
	pids+=($!)
	for ((i = 0; i < 100; i++)); do
		[[ ! -S $sockets/$tunnel.sock ]] || return 0
		kill -0 "${pids[-1]}" 2>/dev/null || break
		sleep 0.1
	done
	cat "$work/$tunnel.log" >&2
	die "$program has not made $sockets/$tunnel.sock"
}

# configure NAMESPACE TUNNEL OWN-NAME OWN-HOST PEER-NAME PEER-HOST
configure()
{
	local namespace=$1 tunnel=$2 name=$3 host=$4 peer=$5 peer_host=$6

	run "$(tool)" set "$tunnel" private-key "$work/$name.key" listen-port 51820 peer "$(cat "$work/$peer.pub")" \
		endpoint "192.0.2.$peer_host:51820" allowed-ips "10.99.0.$peer_host/32,fd99::$peer_host/128"
	run ip -netns "$namespace" address add "10.99.0.$host/24" dev "$tunnel"
	run ip -netns "$namespace" address add "fd99::$host/64" dev "$tunnel" nodad
	run ip -netns "$namespace" link set "$tunnel" up
}

make_tunnel()
{
	say "A tunnel in each"
	start $a wgxa
	start $b wgxb
	configure $a wgxa a 1 b 2
	configure $b wgxb b 2 a 1
}

# What the program says it has chosen: AEAD, data path, offloads.
show_choices()
{
	say "What was chosen here"
	grep -hiE 'aead|chacha|data ?path|offload|xdp' "$work/wgxa.log" || echo "($program does not say)"
}

send_traffic()
{
	say "Ping through it, both families, small and large"
	inside $a ping -c 3 -i 0.2 -W 5 10.99.0.2
	inside $a ping -c 3 -i 0.2 -W 5 fd99::2
	inside $b ping -c 2 -i 0.2 -W 5 -s 8000 10.99.0.1
	command -v iperf3 >/dev/null || return 0

	say "TCP through it, $seconds s each way"
	echo "\$ nsenter --net=/var/run/netns/$b iperf3 -s &"
	nsenter --net=/var/run/netns/$b iperf3 -s >/dev/null 2>&1 &
	pids+=($!)
	for _ in {1..50}; do
		[[ -z $(ip netns exec $b ss -Hltn 'sport = 5201') ]] || break
		sleep 0.1
	done
	inside $a iperf3 -f m -i 0 -t "$seconds" -c 10.99.0.2
	inside $a iperf3 -f m -i 0 -t "$seconds" -c fd99::2 -R
}

show_state()
{
	say "What it looks like"
	if command -v wg >/dev/null; then
		run wg show wgxa
	fi
	if [[ $(basename "$program") == wg-xdp* ]]; then
		run "$program" show wgxb
	fi
}

check_machine
trap clean_up EXIT
trap 'exit 130' INT TERM
umask 077
work=$(mktemp -d)
make_network
make_keys
make_tunnel
show_choices
send_traffic
show_state
say "It works. Cleaning up."
