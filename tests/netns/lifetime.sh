#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# What outlives what: namespaces, devices, processes, and what an agent holds.
#
# A namespace's end shows in a cable: it takes its end along, and with it the other one, which is in wgx-0.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
need wg ip ss ping "$PYTHON"
enter "$@"

probe() { # NS: puts an end there
	veth 0 "probe$1" "$1" probe
}

namespace_is_gone() { # NS
	! ip0 link show "probe$1" > /dev/null 2>&1
}

configure() { # TUNNEL NS KEY PORT PEER ENDPOINT
	wg set "$1" private-key <(echo "$3") listen-port "$4" peer "$5" endpoint "$6" \
		allowed-ips "192.168.241.0/24,fd00::/112"
	ip -n "wgx-$2" address add "192.168.241.$2/24" dev "$1"
	ip -n "wgx-$2" address add "fd00::$2/112" dev "$1" nodad
	ip -n "wgx-$2" link set "$1" up
}

# The programs outside, the devices inside: with the namespace goes the device, and with it the tunnel.
case_f1_moved() {
	local pids

	add_namespaces
	probe 1
	probe 2
	start_moved wg1 1
	start_moved wg2 2
	configure wg1 1 "$key1" 1 "$pub2" '[::1]:2'
	configure wg2 2 "$key2" 2 "$pub1" '[::1]:1'
	wait_for 2 listens 0 u 2
	ping_ok 1 fd00::2
	pids="$(pids_of wg1) $(pids_of wg2)"
	ip netns delete wgx-1
	ip netns delete wgx-2
	wait_for 5 namespace_is_gone 1
	wait_for 5 namespace_is_gone 2
	wait_for 5 are_dead "$pids"
	is_gone wg1
	is_gone wg2
}

# The programs inside: a process keeps its namespace, until the tunnel is ended.
case_f1_inside() {
	add_namespaces
	probe 1
	probe 2
	veth 1 veth1 2 veth2
	ip1 address add fd00:aa::1/64 dev veth1 nodad
	ip2 address add fd00:aa::2/64 dev veth2 nodad
	start 1 wg1
	start 2 wg2
	configure wg1 1 "$key1" 1 "$pub2" '[fd00:aa::2]:2'
	configure wg2 2 "$key2" 2 "$pub1" '[fd00:aa::1]:1'
	wait_for 2 listens 2 u 2
	ping_ok 1 fd00::2
	ip netns delete wgx-1
	ip netns delete wgx-2
	stop wg1
	stop wg2
	wait_for 5 namespace_is_gone 1
	wait_for 5 namespace_is_gone 2
}

case_f2() {
	add_namespaces
	probe 1
	probe 2
	start 1 wg1
	start 2 wg2
	ip1 link set wg1 netns wgx-2
	ip2 link set wg2 netns wgx-1
	ip1 link set wg2 up
	ip2 link set wg1 up
	ip netns delete wgx-1
	ip netns delete wgx-2
	stop wg1
	wait_for 5 namespace_is_gone 1
	stop wg2
	wait_for 5 namespace_is_gone 2
}

case_f2_back() {
	start 0 wg1
	ip0 link set wg1 netns wgx-1
	ip1 link set wg1 up
	ip1 link set wg1 netns wgx-0
	ip0 link set wg1 up
	wait_for 2 is_up wg1
	stop wg1
	fails ip0 link show wg1
}

set_up_pair() {
	add_namespaces
	start_moved wg1 1
	start_moved wg2 2
	configure wg1 1 "$key1" 1 "$pub2" 127.0.0.1:2
	configure wg2 2 "$key2" 2 "$pub1" 127.0.0.1:1
	wait_for 2 listens 0 u 2
	ping_ok 1 192.168.241.2
}

fds_of() { find "/proc/$1/fd" -mindepth 1 | wc -l; }
# Not what is resident: random indices come to touch every page of their table.
memory_of() { awk '$1 == "VmData:" { print $2 }' "/proc/$1/status"; }

# Peers come with sessions, and go; ports change; keys change.
churn() {
	local i

	for ((i = 0; i < $1; i++)); do
		wg set wg2 peer "$pub1" remove
		wg set wg1 listen-port $((i % 2 * 10 + 1)) peer "$pub2" remove
		wg setconf wg1 "$tmp/many.conf"
		wg set wg1 private-key <(echo "$key1") peer "$pub2" endpoint 127.0.0.1:2 allowed-ips 192.168.241.0/24
		wg set wg2 private-key <(echo "$key3")
		wg set wg2 private-key <(echo "$key2") peer "$pub1" endpoint "127.0.0.1:$(wg show wg1 listen-port)" \
			allowed-ips 192.168.241.0/24
		ping -n -q -c 1 -W 2 -I wg1 192.168.241.2 > /dev/null
	done
}

case_f3() {
	local i agent1 agent2 fds1 fds2 memory1 memory2

	set_up_pair
	{
		printf '[Interface]\nListenPort=1\n'
		for i in {1..50}; do
			printf '[Peer]\nPublicKey=%s\nAllowedIPs=10.%d.0.0/16\n' "$(wg genkey | wg pubkey)" "$i"
		done
	} > "$tmp/many.conf"
	agent1=$(agent_of wg1)
	agent2=$(agent_of wg2)
	n1 bash -c "$(declare -f churn); tmp=$tmp pub1=$pub1 pub2=$pub2 key1=$key1 key2=$key2 key3=$key3; churn 200"
	fds1=$(fds_of "$agent1") fds2=$(fds_of "$agent2")
	memory1=$(memory_of "$agent1") memory2=$(memory_of "$agent2")
	n1 bash -c "$(declare -f churn); tmp=$tmp pub1=$pub1 pub2=$pub2 key1=$key1 key2=$key2 key3=$key3; churn 100"
	# What was retired goes with the next housekeeping.
	wait_for 3 is "$(fds_of "$agent1") $(fds_of "$agent2")" "$fds1 $fds2"
	not_with_sanitizer "it keeps freed memory for a while; descriptors did not grow"
	echo "memory: $memory1 to $(memory_of "$agent1"), $memory2 to $(memory_of "$agent2") KiB"
	(($(memory_of "$agent1") < memory1 + 1024))
	(($(memory_of "$agent2") < memory2 + 1024))
}

case_f4() {
	local pids

	pids="$(pids_of wg1) $(pids_of wg2)"
	stop wg1
	ip2 link delete wg2
	wait_for 5 are_dead "$pids"
	wait_for 1 is_gone wg2
	fails ip1 link show wg1
	fails listens 0 u 1
	fails listens 0 u 2
	is "$(find /run/wireguard -mindepth 1 ! -name '*.lock' ! -name .lock)" ""
}

check "F1 namespaces go, and with them the devices that were moved there" case_f1_moved
remove_namespaces
check "F1 namespaces of the programs go with the tunnels" case_f1_inside
remove_namespaces
check "F2 crosswise: no circle holds a namespace" case_f2
remove_namespaces
add_namespaces
check "F2 moved away and back" case_f2_back
remove_namespaces
check "F3 an agent's descriptors and memory do not grow" case_f3
check "F4 nothing is left: processes, sockets, files" case_f4
remove_namespaces
finish
