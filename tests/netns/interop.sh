#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# With other implementations at the far end: every wireguard-go there is, and this program itself.
#
#   wgx-1 wg1 (wg-xdp), veth1 10.9.0.1 fd09::1 == veth2 10.9.0.2 fd09::2, wg2 (the other) wgx-2
#   wgx-3 wg3 == wgx-4 wg4 and wgx-5 wg5 == wgx-6 wg6: two flows that go on meanwhile, until sessions are renewed
#
#   Sections: "installed", "recent" (with offloads) and "self" name the far end; "renewal" the two flows.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
need wg ip ss ping "$PYTHON"
if [[ -z $WGX_INSIDE ]]; then
	# Here is the network, inside there is none.
	GO_RECENT=$(bash "$here/fetch-wireguard-go.sh" 2> >(tail -n 1 >&2))
	export GO_RECENT
fi
enter "$@"
go_installed=$(command -v wireguard-go)
[[ $go_installed != "$GO_RECENT" ]] || go_installed=

echo "$psk" > "$tmp/psk"

# ------ a cable with a tunnel ------

# cable N FAR: between wgx-N and wgx-FAR.
cable() {
	add_namespaces "$1" "$2"
	veth "$1" "veth$1" "$2" "veth$2"
	ip -n "wgx-$1" address add 10.9.0.1/24 dev "veth$1"
	ip -n "wgx-$1" address add fd09::1/64 dev "veth$1" nodad
	ip -n "wgx-$2" address add 10.9.0.2/24 dev "veth$2"
	ip -n "wgx-$2" address add fd09::2/64 dev "veth$2" nodad
}

# tunnel N PROGRAM KEY PORT HOST: wgN in wgx-N, up.
tunnel() {
	start "$1" "wg$1" "$2"
	wg set "wg$1" private-key <(echo "$3") listen-port "$4"
	ip -n "wgx-$1" address add "192.168.7.$5/24" dev "wg$1"
	ip -n "wgx-$1" address add "fd07::$5/64" dev "wg$1" nodad
	ip -n "wgx-$1" link set "wg$1" up
	wait_for 5 listens "$1" u "$4"
}

set_up_pair() { # PROGRAM
	cable 1 2
	tunnel 1 "$WG_XDP" "$key1" 1 1
	tunnel 2 "$1" "$key2" 2 2
}

# peers OUTER PSK INITIATOR: anew on both sides; only the initiator is told where the other one is.
peers() {
	local near=10.9.0.1 far=10.9.0.2 file=/dev/null

	[[ $2 != psk ]] || file=$tmp/psk
	[[ $1 != v6 ]] || near='[fd09::1]' far='[fd09::2]'
	wg set wg1 peer "$pub2" remove
	wg set wg2 peer "$pub1" remove
	wg set wg1 peer "$pub2" preshared-key "$file" allowed-ips 192.168.7.2/32,fd07::2/128
	wg set wg2 peer "$pub1" preshared-key "$file" allowed-ips 192.168.7.1/32,fd07::1/128
	if [[ $3 == we ]]; then
		wg set wg1 peer "$pub2" endpoint $far:2
	else
		wg set wg2 peer "$pub1" endpoint $near:1
	fi
}

case_handshake() {
	local asker=1 asked=2

	peers "$1" "$2" "$3"
	[[ $3 == we ]] || asker=2 asked=1
	ping_ok $asker 192.168.7.$asked
	ping_ok $asker fd07::$asked
	ping_ok $asked 192.168.7.$asker
	ping_ok $asked fd07::$asker
	[[ $(wg show wg1 latest-handshakes | cut -f 2) -gt 0 ]]
	[[ $(wg show wg2 latest-handshakes | cut -f 2) -gt 0 ]]
}

case_wrong_psk() {
	peers v4 psk we
	wg set wg2 peer "$pub1" preshared-key <(echo "$key3")
	fails ping_ok 1 192.168.7.2
	is "$(wg show wg1 latest-handshakes | cut -f 2)" 0
	peers v4 psk we
	ping_ok 1 192.168.7.2
}

case_roaming_here() {
	peers v4 psk we
	ping_ok 1 192.168.7.2
	wg set wg1 listen-port 11
	ping_ok 1 192.168.7.2
	is "$(endpoint_of wg2 "$pub1")" 10.9.0.1:11
	ip1 address add 10.9.0.11/24 dev veth1
	sysctl_in 1 net.ipv4.conf.veth1.promote_secondaries 1
	ip1 address del 10.9.0.1/24 dev veth1
	wait_for 2 ping_ok 1 192.168.7.2
	is "$(endpoint_of wg2 "$pub1")" 10.9.0.11:11
	ping_ok 2 192.168.7.1
	wg set wg1 peer "$pub2" endpoint '[fd09::2]:2'
	ping_ok 1 192.168.7.2
	is "$(endpoint_of wg2 "$pub1")" '[fd09::1]:11'
	ip1 address add 10.9.0.1/24 dev veth1
	ip1 address del 10.9.0.11/24 dev veth1
	wg set wg1 listen-port 1
}

case_roaming_there() {
	peers v4 psk we
	ping_ok 1 192.168.7.2
	wg set wg2 listen-port 22
	ping_ok 2 192.168.7.1
	is "$(endpoint_of wg1 "$pub2")" 10.9.0.2:22
	wg set wg2 peer "$pub1" endpoint '[fd09::1]:1'
	ping_ok 2 192.168.7.1
	is "$(endpoint_of wg1 "$pub2")" '[fd09::2]:22'
	ping_ok 1 192.168.7.2
	wg set wg2 listen-port 2
}

received_by() { transfer_of "$1" | cut -d ' ' -f 1; }
received_more() { [[ $(received_by "$1") -gt $2 ]]; }

case_keepalive() {
	local before

	peers v4 psk we
	wg set wg1 peer "$pub2" persistent-keepalive 1
	ping_ok 1 192.168.7.2
	before=$(received_by wg2)
	wait_for 4 received_more wg2 $((before + 63))
	wg set wg1 peer "$pub2" persistent-keepalive 0
	wg set wg2 peer "$pub1" persistent-keepalive 1
	before=$(received_by wg1)
	wait_for 4 received_more wg1 $((before + 63))
	wg set wg2 peer "$pub1" persistent-keepalive 0
}

# stream FROM TO ADDRESS BYTES SEED
stream() {
	local pid received sent

	help_in "$2" tcp-recv "$3" "2${5}00" 90 > "$tmp/received$5" &
	pid=$!
	wait_for 5 listens "$2" t "2${5}00"
	help_in "$1" tcp-send "$3" "2${5}00" "$4" "$5" > "$tmp/sent$5"
	wait $pid
	sent=$(cat "$tmp/sent$5") received=$(cat "$tmp/received$5")
	is "$received" "$sent"
	is "${sent%% *}" "$4"
}

case_stream() { # OUTER INNER BYTES
	local address=192.168.7.

	[[ $2 == v4 ]] || address=fd07::
	peers "$1" psk we
	stream 1 2 ${address}2 "$3" 1
	stream 2 1 ${address}1 "$3" 2
}

case_both_ways() {
	local pid

	peers v4 psk we
	ping_ok 1 192.168.7.2
	stream 1 2 192.168.7.2 "$1" 3 &
	pid=$!
	stream 2 1 fd07::1 "$1" 4
	wait $pid
}

case_big_mtu() {
	peers v4 psk we
	ip1 link set veth1 mtu 9000
	ip2 link set veth2 mtu 9000
	ip1 link set wg1 mtu 8920
	ip2 link set wg2 mtu 8920
	ping_ok 1 192.168.7.2 -s 8892 -M "do"
	ping_ok 2 192.168.7.1 -s 8892 -M "do"
	ping_ok 1 fd07::2 -s 8872 -M "do"
	stream 1 2 192.168.7.2 100000000 5
	stream 2 1 192.168.7.1 100000000 6
	ip1 link set wg1 mtu 1420
	ip2 link set wg2 mtu 1420
	ip1 link set veth1 mtu 1500
	ip2 link set veth2 mtu 1500
}

# Of 200 packets that wait for a session the last 128 arrive, in order.
case_staged() {
	local pid

	peers v4 psk we
	ip2 link set veth2 down
	help_in 2 udp-recv 192.168.7.2 3333 15 128 > "$tmp/staged" &
	pid=$!
	wait_for 2 listens 2 u 3333
	help_in 1 udp-send 192.168.7.2 3333 staged 200
	ip2 link set veth2 up
	wait $pid
	is "$(cat "$tmp/staged")" "$(seq -f 'staged %g' 72 199)"
	ip2 address replace fd09::2/64 dev veth2 nodad
}

# ------ what goes on meanwhile ------

# A session is renewed after 120 s by whoever began it, and nothing is lost. 20 datagrams a second for 130 s.
start_flow() { # FROM TO
	help_in "$2" udp-recv 192.168.7.2 3333 140 2600 > "$tmp/flow$2" &
	wait_for 5 listens "$2" u 3333
	help_in "$1" udp-send 192.168.7.2 3333 flow 2600 130 2>&1 &
}

set_up_flow() { # NEAR FAR NEAR_PROGRAM FAR_PROGRAM
	cable "$1" "$2"
	tunnel "$1" "$3" "$key1" 1 1
	tunnel "$2" "$4" "$key2" 2 2
	wg set "wg$1" peer "$pub2" endpoint 10.9.0.2:2 allowed-ips 192.168.7.2/32
	wg set "wg$2" peer "$pub1" allowed-ips 192.168.7.1/32
	ping_ok "$1" 192.168.7.2
	wg show "wg$1" latest-handshakes | cut -f 2 > "$tmp/begun$1"
}

case_renewal() { # NEAR FAR
	wait_for 145 flow_is_over "$2"
	is "$(cat "$tmp/flow$2")" "$(seq -f 'flow %g' 0 2599)"
	(($(wg show "wg$1" latest-handshakes | cut -f 2) >= $(cat "$tmp/begun$1") + 115))
}

flow_is_over() { [[ $(wc -l < "$tmp/flow$1") -eq 2600 ]] || ! listens "$1" u 3333; }

# ------ the far ends ------

common_cases() { # NAME
	local outer with who

	# In this order: a buffer that has held an IPv4 address makes wireguard-go 0.0.20231211 send its next IPv6 datagram to
	# an address of which only the first four bytes are right.
	for outer in v6 v4; do
		for with in "no psk" psk; do
			for who in we they; do
				check "$1: $outer outer, $with, $who initiate" case_handshake $outer "$with" $who
			done
		done
	done
	check "$1: a wrong preshared key" case_wrong_psk
	check "$1: roaming here" case_roaming_here
	check "$1: roaming there" case_roaming_there
	check "$1: persistent keepalive, both ways" case_keepalive
	check "$1: big MTU" case_big_mtu
	check "$1: 128 staged packets" case_staged
}

section_installed() {
	if [[ -z $go_installed ]]; then
		skip "wireguard-go, installed" "there is none, or it is the recent one"
		return
	fi
	check "wireguard-go, installed" set_up_pair "$go_installed" || return
	common_cases "wireguard-go, installed"
	check "wireguard-go, installed: 200 MB each way" case_stream v4 v4 200000000
}

section_recent() {
	if [[ -z $GO_RECENT ]]; then
		skip "wireguard-go with offloads" "not to be had here"
		return
	fi
	check "wireguard-go with offloads" set_up_pair "$GO_RECENT" || return
	common_cases "wireguard-go with offloads"
	check "wireguard-go with offloads: 1 GB each way, v4" case_stream v4 v4 1000000000
	check "wireguard-go with offloads: 200 MB each way, v6 in v6" case_stream v6 v6 200000000
}

section_self() {
	check "wg-xdp" set_up_pair "$WG_XDP" || return
	common_cases "wg-xdp"
	check "wg-xdp: 1 GB both ways at once" case_both_ways 1000000000
	check "wg-xdp: 200 MB each way, v6 in v6" case_stream v6 v6 200000000
}

end_pair() {
	stop wg1
	stop wg2
	ip netns delete wgx-1
	ip netns delete wgx-2
}

renewal=0
other=${GO_RECENT:-$go_installed}
if wanted renewal && [[ -z $other ]]; then
	skip "sessions are renewed" "there is no wireguard-go"
elif wanted renewal && check "flows" set_up_flow 3 4 "$WG_XDP" "$other" && check "flows" set_up_flow 5 6 "$other" "$WG_XDP"
then
	renewal=1
	start_flow 3 4
	start_flow 5 6
fi
for section in installed recent self; do
	if wanted $section; then
		"section_$section"
		end_pair 2> /dev/null
	fi
done
if [[ $renewal -eq 1 ]]; then
	check "a session we began is renewed without loss" case_renewal 3 4
	check "a session they began is renewed without loss" case_renewal 5 6
fi
remove_namespaces
finish
