#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# What the kernel module's own test asserts, held against this program; README.md says what had to be put differently.
# The lifetime of namespaces is in lifetime.sh.
#
#   Sections and their topologies (lib.sh draws the namespaces):
#   A, B   wgx-1 wg1 ...lo of wgx-0... wg2 wgx-2; later wgi1 and wgi2, a tunnel within the tunnel
#   C      wgx-1 wg1, vethc 192.168.1.100 == vethrc wgx-0 vethrs == veths 10.0.0.100, wg2 wgx-2: SNAT in the middle
#   D      wgx-1 wg1, veth1 (veth3) == veth2 (veth4), wg2 wgx-2
#   E      one device in wgx-0, nobody to talk to

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
need wg ip ss ping iperf3 nft "$PYTHON"
enter "$@"

# ------ A: over the loopback of the namespace the program was started in ------

case_a1() {
	start_moved wg1 1
	start_moved wg2 2
	ip1 address add 192.168.241.1/24 dev wg1
	ip1 address add fd00::1/112 dev wg1 nodad
	ip2 address add 192.168.241.2/24 dev wg2
	ip2 address add fd00::2/112 dev wg2 nodad
	ip1 link show wg1
	ip2 link show wg2
	fails ip0 link show wg1
}

case_a2() {
	local key

	key=$("$WG_XDP" genkey)
	is "$("$WG_XDP" pubkey <<< "$key")" "$(wg pubkey <<< "$key")"
	[[ $("$WG_XDP" genpsk) =~ ^[A-Za-z0-9+/]{43}=$ ]]
}

case_a3() {
	wg set wg1 private-key <(echo "$key1") listen-port 1 \
		peer "$pub2" preshared-key <(echo "$psk") allowed-ips 192.168.241.2/32,fd00::2/128
	wg set wg2 private-key <(echo "$key2") listen-port 2 \
		peer "$pub1" preshared-key <(echo "$psk") allowed-ips 192.168.241.1/32,fd00::1/128
	ip1 link set wg1 up
	ip2 link set wg2 up
	wait_for 2 listens 0 u 1
	wait_for 2 listens 0 u 2
	fails listens 1 u 1
}

case_a4() {
	wg set wg1 peer "$pub2" endpoint 127.0.0.1:2
	wg set wg2 peer "$pub1" endpoint 127.0.0.1:1
	flood 2 192.168.241.1
}

link_counters() { # NS DEVICE: bytes and packets in, bytes and packets out
	in_ns "$1" cat /proc/net/dev | sed 's/:/ /' | awk -v device="$2" '$1 == device { print $2, $3, $10, $11 }'
}

case_a5() {
	is "$(link_counters 1 wg1)" "840 10 840 10"
	is "$(link_counters 2 wg2)" "840 10 840 10"
}

# 148 and 92 of handshake, ten times 128, and 32 if there was time for a keepalive to confirm the session.
case_a6() {
	local rx tx

	read -r rx tx <<< "$(transfer_of wg2)"
	is "$rx" 1372
	[[ $tx -eq 1428 || $tx -eq 1460 ]]
	is "$(transfer_of wg1)" "$tx $rx"
}

case_a7() {
	[[ $(wg show wg1 latest-handshakes | cut -f 2) -gt 0 ]]
	[[ $(wg show wg2 latest-handshakes | cut -f 2) -gt 0 ]]
}

set_mtu() {
	ip1 link set wg1 mtu "$1"
	ip2 link set wg2 mtu "$1"
}

set_outer() { # HOST: both endpoints there
	wg set wg1 peer "$pub2" endpoint "$1:2"
	wg set wg2 peer "$pub1" endpoint "$1:1"
}

# Block B. Bytes are limited, not time: the suite is to be quick on slow machines, too.
block() {
	local how=$1

	check "B1 ping v4 from ns2 ($how)" flood 2 192.168.241.1
	check "B2 ping v4 from ns1 ($how)" flood 1 192.168.241.2
	check "B3 ping v6 from ns2 ($how)" flood 2 fd00::1
	check "B4 ping v6 from ns1 ($how)" flood 1 fd00::2
	check "B5 TCP v4 ns1 to ns2 ($how)" iperf 2 1 192.168.241.2 -Z -n 150M
	check "B6 TCP v6 ns2 to ns1 ($how)" iperf 1 2 fd00::1 -Z -n 150M
	check "B7 UDP v4 ns2 to ns1 ($how)" iperf 1 2 192.168.241.1 -u -b 0 -n 40M
	check "B8 UDP v6 ns1 to ns2 ($how)" iperf 2 1 fd00::2 -u -b 0 -n 40M
	check "B9 parallel TCP v4 ($how)" iperf 2 1 192.168.241.2 -P 5 -n 60M
}

case_a8() {
	set_outer '[::1]'
	flood 2 192.168.241.1
	has '[::1]:1' "$(endpoint_of wg2 "$pub1")"
	set_outer 127.0.0.1
	flood 1 192.168.241.2
	has 127.0.0.1:2 "$(endpoint_of wg1 "$pub2")"
}

big_mtu=$((34816 - 1500 + 1420))

case_a9() {
	set_mtu $big_mtu
	ping_ok 1 192.168.241.2 -s 30000
	set_mtu 1420
	ping_ok 1 192.168.241.2 -s 1392 -M "do"
}

# 1297 bytes inside must not be padded to 1312 but to 1299: 1359 outside.
case_a10() {
	set_mtu 1300
	n0 nft -f - <<-'N'
		table ip a10 { chain in { type filter hook input priority 0; ip length 1360 drop; }; }
	N
	# MTU and route are made known to the program: a moment later, not at once.
	wait_for 3 fails ping_ok 2 192.168.241.1 -s 1270
	ip1 route add 192.168.241.2/32 dev wg1 mtu 1299
	ip2 route add 192.168.241.1/32 dev wg2 mtu 1299
	wait_for 3 ping_ok 2 192.168.241.1 -s 1269
	ping_ok 2 192.168.241.1 -s 1269
	ip1 route del 192.168.241.2/32 dev wg1 mtu 1299
	ip2 route del 192.168.241.1/32 dev wg2 mtu 1299
	n0 nft delete table ip a10
	set_mtu 1420
}

case_a11() {
	ip0 -4 address del 127.0.0.1/8 dev lo
	ip0 -4 address add 127.212.121.99/8 dev lo
	wg set wg1 listen-port 9999
	wg set wg1 peer "$pub2" endpoint 127.0.0.1:2
	ping_ok 1 fd00::2
	is "$(endpoint_of wg2 "$pub1")" 127.212.121.99:9999
}

case_a12() {
	wg set wg1 listen-port 9998
	wg set wg1 peer "$pub2" endpoint '[::1]:2'
	ping_ok 1 192.168.241.2
	is "$(endpoint_of wg2 "$pub1")" '[::1]:9998'
}

datagram_arrives() {
	local pid

	help_in 1 udp-recv 192.168.241.1 1111 1 &
	pid=$!
	wait_for 1 listens 1 u 1111
	help_in 2 udp-send 192.168.241.1 1111 X
	wait $pid
}

case_a13() {
	wg set wg1 peer "$pub2" allowed-ips 192.168.241.0/24
	datagram_arrives
}

case_a14() {
	wg set wg1 peer "$pub3" allowed-ips 192.168.241.2/32
	wg set wg2 listen-port 9997
	fails datagram_arrives
}

case_a15() {
	is "$(endpoint_of wg1 "$pub2")" '[::1]:9997'
}

case_a16() {
	wg set wg1 peer "$pub3" remove
	is "$(wg show wg1 peers)" "$pub2"
	datagram_arrives
}

case_a17() {
	wg set wg1 private-key <(echo "$key1") peer "$pub2" preshared-key <(echo "$psk") \
		allowed-ips 192.168.241.2/32 endpoint 127.0.0.1:2
	wg set wg2 private-key <(echo "$key2") listen-port 2 \
		peer "$pub1" preshared-key <(echo "$psk") allowed-ips 192.168.241.1/32
	ping_ok 1 192.168.241.2
}

case_a18() {
	wg set wg1 private-key <(echo "$key3")
	wg set wg2 peer "$pub3" preshared-key <(echo "$psk") allowed-ips 192.168.241.1/32 peer "$pub1" remove
	ping_ok 1 192.168.241.2
}

# The inner tunnel is called wgi1 and wgi2, sockets in wgx-1 and wgx-2, endpoints inside the outer one's fd00::/112.
set_up_inner() {
	wg set wg1 private-key <(echo "$key1") listen-port 1 \
		peer "$pub2" preshared-key <(echo "$psk") allowed-ips fd00::2/128 endpoint 127.0.0.1:2
	wg set wg2 private-key <(echo "$key2") listen-port 2 \
		peer "$pub1" preshared-key <(echo "$psk") allowed-ips fd00::1/128 endpoint 127.212.121.99:1
	wg set wg2 peer "$pub3" remove
	ip1 -4 address flush dev wg1
	ip2 -4 address flush dev wg2
	ip1 -6 address flush dev wg1
	ip2 -6 address flush dev wg2
	ip1 address add fd00:aa::1/112 dev wg1 nodad
	ip2 address add fd00:aa::2/112 dev wg2 nodad
	wg set wg1 peer "$pub2" allowed-ips fd00:aa::2/128
	wg set wg2 peer "$pub1" allowed-ips fd00:aa::1/128
	ping_ok 1 fd00:aa::2
	start 1 wgi1
	start 2 wgi2
	wg set wgi1 private-key <(echo "$key1") listen-port 5 \
		peer "$pub2" allowed-ips 192.168.241.2/32,fd00::2/128 endpoint '[fd00:aa::2]:5'
	wg set wgi2 private-key <(echo "$key2") listen-port 5 \
		peer "$pub1" allowed-ips 192.168.241.1/32,fd00::1/128 endpoint '[fd00:aa::1]:5'
	ip1 address add 192.168.241.1/24 dev wgi1
	ip1 address add fd00::1/112 dev wgi1 nodad
	ip2 address add 192.168.241.2/24 dev wgi2
	ip2 address add fd00::2/112 dev wgi2 nodad
	ip1 link set wgi1 mtu 1340 up
	ip2 link set wgi2 mtu 1340 up
	wait_for 2 listens 1 u 5
	wait_for 2 listens 2 u 5
}

case_a20() {
	ip1 link set wgi1 netns wgx-0
	ip0 address add 192.168.241.1/24 dev wgi1
	ip0 link set wgi1 up
	wait_for 2 listens 1 u 5
	ping_ok 0 192.168.241.2
}

sent_by_wgi1() { transfer_of wgi1 | cut -d ' ' -f 2; }

is_quiet() {
	local before

	before=$(sent_by_wgi1)
	sleep 0.3
	(($(sent_by_wgi1) - before < 20000))
}

# wgi1 sends into wg1, whose socket in wgx-0 sends into wgi1. README.md says why this cannot be noticed.
case_a21() {
	local agents memory

	wg set wg1 peer "$pub2" endpoint 192.168.241.2:7
	ip2 link delete wg2
	ip2 link delete wgi2
	agents=$(agent_of wg1)$'\n'$(agent_of wgi1)
	fails n0 ping -n -q -W 1 -c 10 -f 192.168.241.2
	timeout 2 wg show wgi1 transfer
	timeout 2 wg show wg1 transfer
	for memory in $agents; do
		(($(awk '$1 == "RssAnon:" { print $2 }' "/proc/$memory/status") < 64 << 10))
	done
	timeout 2 wg set wg1 peer "$pub2" endpoint 127.0.0.1:2
	wait_for 3 is_quiet
	is "$(agent_of wg1)"$'\n'"$(agent_of wgi1)" "$agents"
}

section_a() {
	add_namespaces
	check "A1 sockets stay where the device was created" case_a1
	check "A2 genkey, pubkey, genpsk" case_a2
	check "A3 one set configures all, before the link is up" case_a3
	check "A4 the first flood of pings gets through" case_a4
	check "A5 the link counts the packets inside" case_a5
	check "A6 transfer is exact, and the same on both sides" case_a6
	check "A7 latest handshake is set" case_a7
	block "v4 outer"
	set_mtu $big_mtu
	block "v4 outer, MTU $big_mtu"
	set_mtu 1420
	check "A8 endpoint v4 to v6 and back" case_a8
	set_outer '[::1]'
	block "v6 outer"
	set_mtu $big_mtu
	block "v6 outer, MTU $big_mtu"
	set_mtu 1420
	set_outer 127.0.0.1
	check "A9 MTU up and down" case_a9
	check "A10 padding respects route MTU" case_a10
	check "A11 roaming v4" case_a11
	check "A12 roaming to v6" case_a12
	check "A13 replaced allowed IPs let a datagram through" case_a13
	check "A14 a more specific owner's do not" case_a14
	check "A15 the refused packet moved the endpoint" case_a15
	check "A16 the second peer can be removed" case_a16
	check "A17 everything set again" case_a17
	check "A18 a new private key means a handshake at once" case_a18
	if check "A19 a tunnel within the tunnel" set_up_inner; then
		block "inner tunnel"
		check "A20 the inner device moves while in use" case_a20
		check "A21 a routing loop harms nobody, and ends with its cause" case_a21
	fi
	remove_namespaces
}

# ------ C: a router that translates addresses ------

set_up_nat() {
	add_namespaces
	veth 0 vethrc 1 vethc
	veth 0 vethrs 2 veths
	ip0 address add 192.168.1.1/24 dev vethrc
	ip0 address add 10.0.0.1/24 dev vethrs
	ip1 address add 192.168.1.100/24 dev vethc
	ip1 route add default via 192.168.1.1
	ip2 address add 10.0.0.100/24 dev veths
	sysctl_in 0 net.ipv4.ip_forward 1
	n0 nft -f - <<-'N'
		table ip nat { chain post { type nat hook postrouting priority srcnat;
			ip saddr 192.168.1.0/24 ip daddr 10.0.0.0/24 snat to 10.0.0.1; }; }
	N
	start 1 wg1
	start 2 wg2
	wg set wg1 private-key <(echo "$key1") listen-port 1 \
		peer "$pub2" preshared-key <(echo "$psk") allowed-ips 192.168.241.2/32
	wg set wg2 private-key <(echo "$key2") listen-port 2 \
		peer "$pub1" preshared-key <(echo "$psk") allowed-ips 192.168.241.1/32
	ip1 address add 192.168.241.1/24 dev wg1
	ip2 address add 192.168.241.2/24 dev wg2
	ip1 link set wg1 up
	ip2 link set wg2 up
	wait_for 2 listens 1 u 1
	wait_for 2 listens 2 u 2
}

case_c1() {
	wg set wg1 peer "$pub2" endpoint 10.0.0.100:2 persistent-keepalive 1
	ping_ok 1 192.168.241.2
}

case_c3() {
	is "$(endpoint_of wg2 "$pub1")" 10.0.0.1:1
}

# The mapping is forgotten after 2 s without a packet.
case_c4() {
	[[ -e /proc/sys/net/netfilter/nf_conntrack_udp_timeout ]] ||
		skip_this "this kernel cannot shorten conntrack's UDP timeout"
	sysctl_in 0 net.netfilter.nf_conntrack_udp_timeout 2
	sysctl_in 0 net.netfilter.nf_conntrack_udp_timeout_stream 2
	sleep 3
	ping_ok 2 192.168.241.1
}

case_c5() {
	wg set wg1 peer "$pub2" persistent-keepalive 0
	is "$(wg show wg1 persistent-keepalive)" "$pub2	off"
}

# Marks every packet that leaves, and has it routed anew.
mark_output() {
	n1 nft -f - <<-'N'
		table ip mangle { chain out { type route hook output priority mangle; meta mark set 1; }; }
	N
}

case_c8() {
	ping_ok 1 192.168.241.2 -I wg1
	n1 nft delete table ip mangle
}

case_c9() {
	wg set wg1 peer "$pub3" allowed-ips 192.168.242.2/32 endpoint 192.168.241.2:5
	ip1 address add 192.168.242.1/24 dev wg1
	start 2 wg3
	ip2 address add 192.168.242.2/24 dev wg3
	wg set wg3 private-key <(echo "$key3") listen-port 5 peer "$pub1" allowed-ips 192.168.242.1/32
	ip2 link set wg3 up
	wait_for 2 listens 2 u 5
	ping_ok 1 192.168.242.2
}

case_c10() {
	ip2 link delete wg3
	wg set wg1 peer "$pub3" endpoint 192.168.242.2:5
	fails ping_ok 1 192.168.242.2
	wg set wg1 peer "$pub3" remove
	ip1 address del 192.168.242.1/24 dev wg1
	ping_ok 1 192.168.241.2
}

set_up_default_route() {
	local family

	ip1 -6 address add fc00::9/96 dev vethc nodad
	ip1 -6 route add default via fc00::1
	ip2 address add 192.168.99.7/32 dev wg2
	ip2 address add abab::1111/128 dev wg2 nodad
	ip1 address add fd00::1/112 dev wg1 nodad
	ip2 route add fd00::/112 dev wg2
	wg set wg2 peer "$pub1" allowed-ips 192.168.241.1/32,fd00::1/128
	wg set wg1 fwmark 51820 peer "$pub2" allowed-ips 192.168.99.7,abab::1111
	for family in -6 -4; do
		ip1 $family route add default dev wg1 table 51820
		ip1 $family rule add not fwmark 51820 table 51820
		ip1 $family rule add table main suppress_prefixlength 0
	done
	sysctl_in 1 net.ipv4.conf.vethc.rp_filter 0
}

case_c11() {
	set_up_default_route
	flood 1 192.168.99.7 100
}

case_c12() {
	flood 1 abab::1111 100
}

case_c13() {
	n2 nft -f - <<-'N'
		table ip nat { chain post { type nat hook postrouting priority srcnat;
			ip saddr 10.0.0.0/24 ip daddr 192.168.241.0/24 snat to 192.168.241.2; }; }
	N
	sysctl_in 2 net.ipv4.ip_forward 1
	ip0 route add 192.168.241.1 via 10.0.0.100
	wg set wg2 peer "$pub1" remove
	n0 ping -n -W 1 -c 1 192.168.241.1 > "$tmp/ping" || true
	has "icmp_seq=1 Destination Host Unreachable" "$(cat "$tmp/ping")"
}

section_c() {
	check "C  router, SNAT, tunnel" set_up_nat || return
	check "C1 ping from behind NAT" case_c1
	check "C2 ping to behind NAT" ping_ok 2 192.168.241.1
	check "C3 the endpoint is the router's" case_c3
	check "C4 keepalives hold the mapping" case_c4
	check "C5 keepalive off" case_c5
	check "C6 ping bound to the device" ping_ok 1 192.168.241.2 -I wg1
	mark_output
	check "C7 ping when a mark has it rerouted" ping_ok 1 192.168.241.2
	check "C8 the same bound to the device" case_c8
	check "C9 a peer inside the tunnel" case_c9
	check "C10 an endpoint inside its own allowed IPs" case_c10
	check "C11 default route by fwmark, v4" case_c11
	check "C12 default route by fwmark, v6" case_c12
	check "C13 the ICMP error finds its way back through NAT" case_c13
	remove_namespaces
}

# ------ D: source addresses ------

set_up_direct() {
	add_namespaces
	sysctl_in 1 net.ipv4.conf.all.rp_filter 0
	sysctl_in 2 net.ipv4.conf.all.rp_filter 0
	sysctl_in 1 net.ipv4.conf.default.rp_filter 0
	sysctl_in 2 net.ipv4.conf.default.rp_filter 0
	veth 1 veth1 2 veth2
	# Removing the first address of a subnet leaves the others.
	sysctl_in 1 net.ipv4.conf.veth1.promote_secondaries 1
	start 1 wg1
	start 2 wg2
	wg set wg1 private-key <(echo "$key1") listen-port 1 \
		peer "$pub2" preshared-key <(echo "$psk") allowed-ips 192.168.241.2/32
	wg set wg2 private-key <(echo "$key2") listen-port 2 \
		peer "$pub1" preshared-key <(echo "$psk") allowed-ips 192.168.241.1/32
	ip1 address add 192.168.241.1/24 dev wg1
	ip2 address add 192.168.241.2/24 dev wg2
	ip1 link set wg1 up
	ip2 link set wg2 up
	wait_for 2 listens 1 u 1
	wait_for 2 listens 2 u 2
}

case_d1() {
	ip1 address add 10.0.0.1/24 dev veth1
	ip2 address add 10.0.0.2/24 dev veth2
	wg set wg1 peer "$pub2" endpoint 10.0.0.2:2
	ping_ok 1 192.168.241.2
	ip1 address add 10.0.0.10/24 dev veth1
	ip1 address del 10.0.0.1/24 dev veth1
	ping_ok 1 192.168.241.2
}

case_d2() {
	ip1 address add fd00:aa::1/96 dev veth1 nodad
	ip2 address add fd00:aa::2/96 dev veth2 nodad
	wg set wg1 peer "$pub2" endpoint '[fd00:aa::2]:2'
	ping_ok 1 192.168.241.2
	ip1 address add fd00:aa::10/96 dev veth1 nodad
	ip1 address del fd00:aa::1/96 dev veth1
	ping_ok 1 192.168.241.2
}

set_up_several_addresses() {
	ip1 address flush dev veth1 scope global
	ip2 address flush dev veth2 scope global
	ip1 address add 10.0.0.1/24 dev veth1
	ip1 address add 10.0.0.2/24 dev veth1
	ip1 address add fd00:aa::1/96 dev veth1 nodad
	ip1 address add fd00:aa::2/96 dev veth1 nodad
	ip2 address add 10.0.0.3/24 dev veth2
	ip2 address add fd00:aa::3/96 dev veth2 nodad
}

endpoint_stays() {
	wg set wg2 peer "$pub1" endpoint "$1"
	ping_ok 2 192.168.241.1
	is "$(endpoint_of wg2 "$pub1")" "$1"
}

case_d3() {
	set_up_several_addresses
	endpoint_stays 10.0.0.1:1
}

case_d7() {
	veth 1 idle1 0 idle0
	ip1 address add 10.50.0.1/24 dev idle1
	ip2 route add 10.50.0.0/24 dev veth2
	endpoint_stays 10.50.0.1:1
	ip1 link delete idle1
}

case_d8() {
	ip1 address flush dev veth1 scope global
	ip2 address flush dev veth2 scope global
	veth 1 veth3 2 veth4
	ip1 address add 10.0.0.1/24 dev veth1
	ip2 address add 10.0.0.2/24 dev veth2
	ip1 address add 10.0.0.3/24 dev veth3
	ip1 route flush dev veth1
	ip1 route flush dev veth3
	ip1 route add 10.0.0.0/24 dev veth1 src 10.0.0.1 metric 2
	wg set wg1 peer "$pub2" endpoint 10.0.0.2:2
	ping_ok 1 192.168.241.2
	is "$(endpoint_of wg2 "$pub1")" 10.0.0.1:1
}

pinged_from() {
	ping_ok 1 192.168.241.2 && [[ $(endpoint_of wg2 "$pub1") == "$1" ]]
}

case_d9() {
	ip1 route add 10.0.0.0/24 dev veth3 src 10.0.0.3 metric 1
	# The program learns of the route from an event.
	wait_for 2 pinged_from 10.0.0.3:1
}

sent_by_wg1() { transfer_of wg1 | cut -d ' ' -f 2; }
has_sent() { [[ $(sent_by_wg1) -gt 0 ]]; }

fresh_wg1() {
	stop wg1
	start 1 wg1
}

case_d10() {
	fresh_wg1
	wg set wg1 private-key <(echo "$key1") peer "$pub2" endpoint 10.0.0.2:2 persistent-keepalive 1
	is "$(sent_by_wg1)" 0
	ip1 link set wg1 up
	wait_for 0.9 has_sent
}

case_d11() {
	fresh_wg1
	wg set wg1 peer "$pub2" endpoint 10.0.0.2:2 persistent-keepalive 1
	ip1 link set wg1 up
	wait_for 1 is_up wg1
	is "$(sent_by_wg1)" 0
	wg set wg1 private-key <(echo "$key1")
	wait_for 0.9 has_sent
}

section_d() {
	check "D  two cables, tunnel" set_up_direct || return
	check "D1 the local v4 address is replaced" case_d1
	check "D2 the local v6 address is replaced" case_d2
	check "D3 answers come from the address asked: 10.0.0.1" case_d3
	check "D4 fd00:aa::1" endpoint_stays '[fd00:aa::1]:1'
	check "D5 10.0.0.2" endpoint_stays 10.0.0.2:1
	check "D6 fd00:aa::2" endpoint_stays '[fd00:aa::2]:1'
	check "D7 an address of another interface" case_d7
	check "D8 the route's source address" case_d8
	check "D9 a better route takes over" case_d9
	check "D10 keepalive: nothing while down, at once when up" case_d10
	check "D11 keepalive: nothing without a key, at once with one" case_d11
	remove_namespaces
}

# ------ E: configuration ------

pub_of() { wg genkey | wg pubkey; }

case_e1() {
	{
		printf '[Interface]\nPrivateKey=%s\n[Peer]\nPublicKey=%s\n' "$key1" "$pub2"
		awk 'BEGIN { for (a = 1; a < 256; a++) for (b = 0; b < 256; b++)
			printf "AllowedIPs=%d.%d.0.0/16,%02x%02x::/128\n", a, b, a, b }'
	} > "$tmp/e1.conf"
	wg setconf wg1 "$tmp/e1.conf"
	is "$(wg show wg1 allowed-ips | wc -w)" 130561
}

case_e2() {
	local i

	printf '[Interface]\nPrivateKey=%s\n' "$key1" > "$tmp/e2.conf"
	for i in {1..40}; do
		printf '[Peer]\nPublicKey=%s\n' "$(pub_of)"
		awk -v i="$i" 'BEGIN { for (j = 0; j < 26; j++)
			printf "AllowedIPs=%d.%d.0.0/16,%02x:%02x::/64\n", i, j, i, j }'
	done >> "$tmp/e2.conf"
	wg setconf wg1 "$tmp/e2.conf"
	is "$(wg show wg1 allowed-ips | wc -l)" 40
	is "$(wg show wg1 allowed-ips | awk 'NF != 53')" ""
}

case_e3() {
	local i

	for i in {1..29}; do
		printf '[Peer]\nPublicKey=%s\n' "$(pub_of)"
	done > "$tmp/e3.conf"
	printf '[Peer]\nPublicKey=%s\nAllowedIPs=255.2.3.4/32,abcd::255/128\n' "$(pub_of)" >> "$tmp/e3.conf"
	wg setconf wg1 "$tmp/e3.conf"
	is "$(wg showconf wg1 | grep -c '^\[Peer\]')" 30
	has "AllowedIPs = 255.2.3.4/32, abcd::255/128" "$(wg showconf wg1)"
	fails grep -q PrivateKey <(wg showconf wg1)
}

only_peer() {
	wg setconf wg1 <(printf '[Peer]\nPublicKey=%s\n' "$1")
}

case_e4() {
	only_peer "$pub2"
	is "$(wg show wg1 allowed-ips)" "$pub2	(none)"
	wg set wg1 peer "$pub3" allowed-ips "$(seq -s, -f 'abcd::%g/128' 197 | sed 's/,$//')"
	is "$(wg show wg1 allowed-ips | wc -w)" 200
	is "$(wg show wg1 allowed-ips | awk -v peer="$pub3" '$1 == peer { print NF - 1 }')" 197
}

case_e5() {
	local gone=(10.0.1.0/24 10.0.77.0/24 10.0.196.0/24 fd00:1::/64 fd00:77::/64 fd00:196::/64) list prefix

	only_peer "$pub2"
	list=$(seq -s, -f '10.0.%g.0/24' 197),$(seq -s, -f 'fd00:%g::/64' 197)
	wg set wg1 peer "$pub2" allowed-ips "$list"
	is "$(wg show wg1 allowed-ips | wc -w)" 395
	printf 'set=1\npublic_key=%s\nupdate_only=true\n' "$(base64 -d <<< "$pub2" | od -An -vtx1 | tr -d ' \n')" \
		> "$tmp/e5"
	printf 'allowed_ip=-%s\n' "${gone[@]}" >> "$tmp/e5"
	echo >> "$tmp/e5"
	is "$(helper uapi "$(sock wg1)" < "$tmp/e5")" "errno=0"
	is "$(wg show wg1 allowed-ips | wc -w)" 389
	for prefix in "${gone[@]}"; do
		fails grep -qwF "$prefix" <(wg show wg1 allowed-ips)
	done
	"$WG_XDP" set wg1 peer "$pub2" allowed-ips -10.0.2.0/24,-fd00:2::/64
	is "$(wg show wg1 allowed-ips | wc -w)" 387
}

case_e7() {
	only_peer "$pub2"
	wg set wg1 private-key <(echo "$key1") peer "$pub2" preshared-key <(echo "$psk")
	is "$(wg show wg1 private-key)" "$key1"
	is "$(wg show wg1 preshared-keys)" "$pub2	$psk"
}

case_e8() {
	wg set wg1 private-key /dev/null peer "$pub2" preshared-key /dev/null
	is "$(wg show wg1 private-key)" "(none)"
	is "$(wg show wg1 preshared-keys)" "$pub2	(none)"
}

case_e9() {
	only_peer "$pub1"
	wg set wg1 private-key <(echo "$key1")
	is "$(wg show wg1 public-key)" "$pub1"
	is "$(wg show wg1 peers)" ""
}

case_e10() {
	wg set wg1 peer "$pub1" allowed-ips 10.0.0.0/8
	is "$(wg show wg1 peers)" ""
}

case_e11() {
	wg set wg1 private-key <(echo "$key2")
	wg set wg1 peer "$pub1"
	is "$(wg show wg1 peers)" "$pub1"
}

case_e12() {
	local unclamped="/${key1:1}" i

	# Its first character holds the low bits: "/" is 63, of which clamping leaves 62, "+".
	wg set wg1 private-key <(printf '%sx=\n' "${unclamped:0:42}" | sed 's/x=$/s=/')
	i=$(wg show wg1 private-key | base64 -d | od -An -vtu1 -N1)
	((i % 8 == 0))
	((0x$(wg show wg1 private-key | base64 -d | tail -c 1 | od -An -vtx1 | tr -d ' ') >> 6 == 1))
	has + "$(wg show wg1 private-key | cut -c 1-2)"
}

case_e13() {
	only_peer "$pub2"
	wg set wg1 peer "$pub2" allowed-ips 0.0.0.0/0,10.0.0.0/8,100.0.0.0/10,172.16.0.0/12,192.168.0.0/16
	is "$(wg show wg1 allowed-ips | wc -w)" 6
	wg set wg1 peer "$pub2" allowed-ips 0.0.0.0/0
	is "$(wg show wg1 allowed-ips)" "$pub2	0.0.0.0/0"
}

case_e14() {
	wg set wg1 peer "$pub2" allowed-ips ::/0,1700::/111,5000::/4,e000::/37,9000::/75
	is "$(wg show wg1 allowed-ips | wc -w)" 6
	wg set wg1 peer "$pub2" allowed-ips ::/0
	is "$(wg show wg1 allowed-ips)" "$pub2	::/0"
	wg set wg1 peer "$pub2" remove
	is "$(wg show wg1 peers)" ""
}

# The points of small order, and the same values that are not reduced (RFC 7748, section 7).
low_order_points=(
	0000000000000000000000000000000000000000000000000000000000000000
	0100000000000000000000000000000000000000000000000000000000000000
	e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800
	5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157
	ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f
	edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f
	eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f
)

to_base64() { # from hexadecimal
	local escaped

	escaped=$(sed 's/../\\x&/g' <<< "$1")
	# shellcheck disable=SC2059 # the format is the data
	printf "$escaped" | base64 -w 0
}

case_e15() {
	local point

	wg setconf wg1 <(printf '[Interface]\nPrivateKey=%s\n' "$key1")
	for point in "${low_order_points[@]}"; do
		wg set wg1 peer "$(to_base64 "$point")" persistent-keepalive 1 endpoint 127.0.0.1:1111
	done
	is "$(wg show wg1 peers | wc -l)" 7
}

case_e16() {
	local pid

	help_in 0 udp-recv 127.0.0.1 1111 2 &
	pid=$!
	wait_for 1 listens 0 u 1111
	ip0 link set wg1 up
	wait_for 1 is_up wg1
	fails wait $pid
	# Were it not for the keys, something would have come.
	wg set wg1 peer "$pub2" persistent-keepalive 1 endpoint 127.0.0.1:1111
	help_in 0 udp-recv 127.0.0.1 1111 7
}

set_up_alone() {
	add_namespaces
	start 0 wg1
}

section_e() {
	check "E  one device" set_up_alone || return
	check "E1 130560 allowed IPs" case_e1
	check "E2 40 peers with 52 allowed IPs each" case_e2
	check "E3 29 empty peers and one that is not" case_e3
	check "E4 197 v6 prefixes; none" case_e4
	check "E5 six of 394 prefixes removed by one set" case_e5
	check "E6 a device that does not exist" fails wg show doesnotexist
	check "E7 keys read back equal" case_e7
	check "E8 /dev/null clears keys" case_e8
	check "E9 a private key whose public key is a peer's" case_e9
	check "E10 one's own public key is no peer" case_e10
	check "E11 after a change of key it is" case_e11
	check "E12 a private key reads back clamped" case_e12
	check "E13 overlapping v4 prefixes, replaced" case_e13
	check "E14 overlapping v6 prefixes, replaced, peer removed" case_e14
	check "E15 points of small order as peers" case_e15
	check "E16 nothing is sent to them" case_e16
	remove_namespaces
}

for section in A C D E; do
	if wanted $section; then "section_${section,}"; fi
done
finish
