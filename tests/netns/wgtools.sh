#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Stock wg and wg-quick drive this program, and its socket speaks exactly what they expect.
#
#   wgx-1 wg1, veth1 10.9.0.1 fd09::1 == veth2 10.9.0.2 fd09::2, wg2 wgx-2

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
need wg wg-quick ip ss ping nft "$PYTHON"
enter "$@"
export WG_QUICK_USERSPACE_IMPLEMENTATION=$WG_XDP

hex() { base64 -d <<< "$1" | od -An -vtx1 | tr -d ' \n'; }

# uapi TUNNEL FORMAT [ARGUMENT]...: what comes back.
uapi() {
	local name=$1 format=$2

	shift 2
	# shellcheck disable=SC2059
	printf "$format" "$@" | helper uapi "$(sock "$name")"
}

set_up_far() {
	add_namespaces
	veth 1 veth1 2 veth2
	ip1 address add 10.9.0.1/24 dev veth1
	ip1 address add fd09::1/64 dev veth1 nodad
	ip2 address add 10.9.0.2/24 dev veth2
	ip2 address add fd09::2/64 dev veth2 nodad
	ip1 route add default via 10.9.0.2
	ip1 route add default via fd09::2
	start 2 wg2
	wg set wg2 listen-port 2 private-key <(echo "$key2") peer "$pub1" preshared-key <(echo "$psk") \
		allowed-ips 192.168.7.1/32,fd07::1/128
	ip2 address add 192.168.7.2/24 dev wg2
	ip2 address add fd07::2/64 dev wg2 nodad
	ip2 link set wg2 up
}

config() { # NAME, further lines of [Interface] on stdin
	(
		umask 077
		cat > "/etc/wireguard/$1.conf" <<-EOF
			[Interface]
			PrivateKey = $key1
			ListenPort = 1
			Address = 192.168.7.1/24, fd07::1/64
			$(cat)

			[Peer]
			PublicKey = $pub2
			PresharedKey = $psk
			Endpoint = 10.9.0.2:2
			AllowedIPs = 192.168.7.2/32, fd07::2/128
			PersistentKeepalive = 25
		EOF
	)
}

world() { # what may have changed in wgx-1
	n1 ip -o link | sed 's/^[0-9]*: //'
	n1 ip -o address show scope global | sed 's/^[0-9]*: //; s/ *valid_lft.*//'
	n1 ip rule
	n1 ip -6 rule
	n1 ip route show table all
	n1 ip -6 route show table all
	n1 nft list ruleset
	find /run/wireguard -name '*.sock'
}

case_genkey() {
	local key

	for _ in {1..20}; do
		key=$("$WG_XDP" genkey)
		is "$("$WG_XDP" pubkey <<< "$key")" "$(wg pubkey <<< "$key")"
		key=$(wg genkey)
		is "$("$WG_XDP" pubkey <<< "$key")" "$(wg pubkey <<< "$key")"
	done
	fails "$WG_XDP" pubkey <<< "${key:1}"
	fails "$WG_XDP" pubkey <<< "${key}x"
}

case_quick() {
	world > "$tmp/before"
	config wgq <<-'EOF'
		MTU = 1400
		PostUp = echo "%i up" > /run/post-up
		PreDown = echo "%i down" > /run/pre-down
	EOF
	n1 wg-quick up wgq
	is "$(cat /run/post-up)" "wgq up"
	has "mtu 1400" "$(ip1 link show wgq)"
	has "192.168.7.1/24" "$(ip1 address show wgq)"
	ping_ok 1 192.168.7.2
	ping_ok 1 fd07::2
	fails n1 wg-quick up wgq
	n1 wg-quick down wgq
	is "$(cat /run/pre-down)" "wgq down"
	wait_for 2 is_gone wgq
	world > "$tmp/after"
	diff "$tmp/before" "$tmp/after"
}

case_quick_default_route() {
	world > "$tmp/before"
	config wgq < /dev/null
	sed -i 's/^AllowedIPs.*/AllowedIPs = 0.0.0.0\/0, ::\/0/' /etc/wireguard/wgq.conf
	n1 wg-quick up wgq
	has "dev wgq" "$(ip1 route get 192.0.2.1)"
	has "dev wgq" "$(ip1 route get 2001:db8::1)"
	ping_ok 1 192.168.7.2
	ping_ok 1 fd07::2
	is "$(wg show wgq fwmark)" 0xca6c
	n1 wg-quick down wgq
	wait_for 2 is_gone wgq
	world > "$tmp/after"
	diff "$tmp/before" "$tmp/after"
}

case_quick_save() {
	config wgq <<< "SaveConfig = true"
	n1 wg-quick up wgq
	wg set wgq peer "$pub3" allowed-ips 10.77.0.0/16 endpoint 10.9.0.2:77
	n1 wg-quick save wgq
	has "$pub3" "$(cat /etc/wireguard/wgq.conf)"
	has "10.77.0.0/16" "$(cat /etc/wireguard/wgq.conf)"
	wg set wgq peer "$pub3" remove
	n1 wg-quick down wgq
	wait_for 2 is_gone wgq
	fails grep -q "$pub3" /etc/wireguard/wgq.conf
	has "$pub2" "$(cat /etc/wireguard/wgq.conf)"
	rm /etc/wireguard/wgq.conf
}

case_strip() {
	config wgq <<< "MTU = 1400"
	is "$("$WG_XDP" strip wgq | grep -v '^$')" "$(wg-quick strip wgq | grep -v '^$')"
	"$WG_XDP" strip wgq | fails grep -qi 'MTU\|Address'
}

# A session is what a handshake made: as long as no other is made, nothing was lost.
case_syncconf() {
	local handshake pid

	config wgq < /dev/null
	n1 wg-quick up wgq
	ping_ok 1 192.168.7.2
	handshake=$(wg show wgq latest-handshakes)
	n1 ping -n -q -i 0.01 -c 200 -W 1 192.168.7.2 > "$tmp/ping" &
	pid=$!
	for _ in {1..5}; do
		wg syncconf wgq <(wg-quick strip wgq)
		wg syncconf wgq <(wg-quick strip wgq; printf '[Peer]\nPublicKey = %s\nAllowedIPs = 10.66.0.0/16\n' "$pub3")
		is "$(wg show wgq peers | wc -l)" 2
		"$WG_XDP" syncconf wgq <(wg-quick strip wgq)
		is "$(wg show wgq peers)" "$pub2"
	done
	wait $pid
	has "200 received" "$(cat "$tmp/ping")"
	is "$(wg show wgq latest-handshakes)" "$handshake"
}

case_fields() {
	local field

	wg set wgq fwmark 0x1234 peer "$pub3" allowed-ips 10.66.0.0/16,fd66::/64 endpoint '[fd09::2]:99'
	for field in public-key private-key listen-port fwmark peers preshared-keys endpoints allowed-ips \
		latest-handshakes transfer persistent-keepalive dump; do
		is "$("$WG_XDP" show wgq $field | sort)" "$(wg show wgq $field | sort)"
		# wg leaves out the interface where a peer is not its first.
		is "$("$WG_XDP" show all $field | sed 's/^wg[q2]\t//' | sort)" \
			"$(wg show all $field | sed 's/^wg[q2]\t//' | sort)"
	done
	is "$("$WG_XDP" show interfaces | tr ' ' '\n' | sort)" "$(wg show interfaces | tr ' ' '\n' | sort)"
	is "$("$WG_XDP" showconf wgq)" "$(wg showconf wgq)"
	for field in 'public key' 'listening port: 1$' 'fwmark: 0x1234' 'endpoint: \[fd09::2\]:99' \
		'allowed ips: 10.66.0.0/16, fd66::/64' 'every 25 seconds' 'transfer: '; do
		"$WG_XDP" show wgq | grep -q "$field"
		wg show wgq | grep -q "$field"
	done
	wg set wgq fwmark 0 peer "$pub3" remove
}

case_second_start() {
	local pids

	pids=$(pids_of wgq)
	fails n1 "$WG_XDP" wgq 2> "$tmp/out"
	has "already runs" "$(cat "$tmp/out")"
	fails n2 "$WG_XDP" wgq
	is "$(pids_of wgq)" "$pids"
	ping_ok 1 192.168.7.2
}

state_of() { wg showconf "$1"; wg show "$1" listen-port; }

# An error in the last line: nothing of what stood before it is done.
case_atomic() {
	local before reply line

	before=$(state_of wgq)
	for line in "allowed_ip=10.0.0.0/33" "endpoint=10.0.0.1" "persistent_keepalive_interval=65536" "nonsense=1" \
		"preshared_key=00" "replace_allowed_ips=false" "protocol_version=2"; do
		reply=$(uapi wgq 'set=1\nprivate_key=%s\nfwmark=77\nreplace_peers=true\npublic_key=%s\n%s\n\n' \
			"$(hex "$key3")" "$(hex "$pub3")" "$line")
		[[ $reply =~ ^errno=-[1-9][0-9]*$ ]]
		is "$(state_of wgq)" "$before"
	done
	ping_ok 1 192.168.7.2
}

case_busy_port() {
	local before pid

	before=$(state_of wgq)
	help_in 1 udp-recv 0.0.0.0 4444 20 &
	pid=$!
	wait_for 2 listens 1 u 4444
	fails wg set wgq listen-port 4444 peer "$pub3" allowed-ips 10.66.0.0/16 2> "$tmp/out"
	has "Address already in use" "$(cat "$tmp/out")"
	is "$(state_of wgq)" "$before"
	fails "$WG_XDP" set wgq listen-port 4444 peer "$pub3" 2> "$tmp/out"
	has "4444" "$(cat "$tmp/out")"
	is "$(uapi wgq 'set=1\nlisten_port=4444\nfwmark=3\n\n')" errno=-98
	is "$(state_of wgq)" "$before"
	ping_ok 1 192.168.7.2
	end $pid
	# Free again: the same command works, and the far end follows.
	wait_for 2 fails listens 1 u 4444
	wg set wgq listen-port 4444
	ping_ok 1 192.168.7.2
	has ":4444" "$(wg show wg2 endpoints)"
	wg set wgq listen-port 1
}

case_errno_signs() {
	is "$(uapi wgq 'set=1\nnonsense=1\n\n')" errno=-22
	has "errno=0" "$(uapi wgq 'get=1\n\n')"
	# A get with anything before its empty line is an error, and wg reads only digits there.
	is "$(uapi wgq 'get=1\nprivate_key=1\n\n' | head -n 1)" errno=22
	is "$(uapi wgq 'set=1\n\n')" errno=0
	has "(closed)" "$(uapi wgq 'frobnicate=1\n\n')"
	# Several operations on one connection.
	is "$(uapi wgq 'set=1\n\nset=1\nnonsense=1\n\nset=1\n\n' | tr -s '\n' ' ')" "errno=0 errno=-22 errno=0 "
}

case_get_format() {
	local reply

	reply=$(uapi wgq 'get=1\n\n')
	is "$(head -n 1 <<< "$reply")" "private_key=$(hex "$key1")"
	has "public_key=$(hex "$pub2")" "$reply"
	has "preshared_key=$(hex "$psk")" "$reply"
	has $'\nprotocol_version=1\n' "$reply"
	has $'\nendpoint=10.9.0.2:2\n' "$reply"
	has $'\nallowed_ip=192.168.7.2/32\nallowed_ip=fd07::2/128\n' "$reply"$'\n'
	has $'\npersistent_keepalive_interval=25\n' "$reply"
	[[ $reply =~ last_handshake_time_sec=[1-9] ]]
	is "$(tail -n 1 <<< "$reply")" errno=0
}

case_bytewise() {
	printf 'set=1\nfwmark=99\npublic_key=%s\nallowed_ip=10.66.0.0/16\n\nget=1\n\n' "$(hex "$pub3")" |
		helper uapi "$(sock wgq)" --bytewise > "$tmp/out"
	is "$(head -n 1 "$tmp/out")" errno=0
	has fwmark=99 "$(cat "$tmp/out")"
	has allowed_ip=10.66.0.0/16 "$(cat "$tmp/out")"
	wg set wgq fwmark 0 peer "$pub3" remove
}

# Without its newline, without its empty line: nothing happens, and the next connection is served at once.
case_half_a_request() {
	local before

	before=$(state_of wgq)
	has "(silence)" "$(uapi wgq 'set=1\nfwmark=9')"
	is "$(state_of wgq)" "$before"
	has "(silence)" "$(uapi wgq 'set=1\nfwmark=9\n')"
	is "$(state_of wgq)" "$before"
	uapi wgq 'set=1\nfwmark=9\npublic_key=' &
	wg show wgq > /dev/null
	wait $!
	is "$(state_of wgq)" "$before"
}

long_line() { # LENGTH
	printf 'set=1\nfwmark='
	head -c $(($1 - 7)) /dev/zero | tr '\0' 0
	printf '\n\n'
}

# No line of the protocol is as long as this one; what is longer ends the connection, and nothing else.
case_long_lines() {
	long_line 65000 | helper uapi "$(sock wgq)" | grep '^errno='
	long_line 70000 | helper uapi "$(sock wgq)" > "$tmp/out"
	[[ $(cat "$tmp/out") == *"(closed)"* || $(cat "$tmp/out") =~ errno=-[1-9] ]]
	head -c 3000000 /dev/zero | helper uapi "$(sock wgq)" || true
	is "$(wg show wgq fwmark)" off
	ping_ok 1 192.168.7.2
}

case_many_connections() {
	"$PYTHON" - "$(sock wgq)" <<-'EOF'
		import socket, sys
		held = []
		for i in range(200):
		    s = socket.socket(socket.AF_UNIX)
		    s.settimeout(2)
		    try:
		        s.connect(sys.argv[1])
		        s.send(b"set=1\nfwm")
		    except OSError:
		        break
		    held.append(s)
	EOF
	# They were closed with their owner: there is room again.
	wait_for 2 wg show wgq > /dev/null
	ping_ok 1 192.168.7.2
}

case_socket_file() {
	is "$(stat -c '%a %U' "$(sock wgq)" | sed 's/^[67]00 /x00 /')" "x00 root"
	fails setpriv --reuid=65534 --regid=65534 --clear-groups wg show wgq
}

case_remove_socket() {
	local pids

	pids=$(pids_of wgq)
	[[ -n $pids ]]
	rm "$(sock wgq)"
	wait_for 2 are_dead "$pids"
	fails ip1 link show wgq
}

case_delete_link() {
	local pids

	start 1 wgd
	ip1 link set wgd up
	pids=$(pids_of wgd)
	ip1 link delete wgd
	wait_for 2 are_dead "$pids"
	is_gone wgd
	# And when it was never up.
	start 1 wgd
	pids=$(pids_of wgd)
	ip1 link delete wgd
	wait_for 2 are_dead "$pids"
	is_gone wgd
}

case_sigterm() {
	local pids

	start 1 wgd
	pids=$(pids_of wgd)
	kill "$(monitor_of wgd)"
	wait_for 2 are_dead "$pids"
	is_gone wgd
	fails ip1 link show wgd
}

case_foreground() {
	local pid

	n1 "$WG_XDP" -f wgf &
	pid=$!
	wait_for 3 wg show wgf
	kill "$(monitor_of wgf)"
	wait $pid
	WG_PROCESS_FOREGROUND=1 n1 "$WG_XDP" wgf &
	pid=$!
	wait_for 3 wg show wgf
	ip1 link delete wgf
	wait $pid
}

# A file that nobody serves is in the way of nobody.
case_stale_socket() {
	"$PYTHON" -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$(sock wgs)"
	[[ -S $(sock wgs) ]]
	start 1 wgs
	wg show wgs
	stop wgs
}

case_rename() {
	start 1 wgr
	ip1 link set wgr name wgr2
	ip1 link set wgr2 up
	wg set wgr private-key <(echo "$key3")
	stop wgr
	fails ip1 link show wgr2
}

check "genkey and pubkey agree with wg's" case_genkey
if check "far end" set_up_far; then
	check "wg-quick up and down" case_quick
	check "wg-quick with the default route" case_quick_default_route
	check "wg-quick save" case_quick_save
	check "wg-quick strip" case_strip
	check "syncconf keeps sessions, without loss" case_syncconf
	check "show's fields are those of wg" case_fields
	check "a second start is refused" case_second_start
	check "set is done whole or not at all" case_atomic
	check "a busy port changes nothing" case_busy_port
	check "errno: negative for set, positive for get" case_errno_signs
	check "what get answers" case_get_format
	check "a byte at a time" case_bytewise
	check "half a request" case_half_a_request
	check "long lines" case_long_lines
	check "many connections" case_many_connections
	check "the socket is root's alone" case_socket_file
	check "removing the socket ends the tunnel" case_remove_socket
	check "deleting the link ends the tunnel" case_delete_link
	check "SIGTERM ends the tunnel" case_sigterm
	check "in the foreground" case_foreground
	check "a stale socket" case_stale_socket
	check "a renamed device" case_rename
fi
remove_namespaces
finish
