#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# `wg-xdp up` and `down`, end to end: what they set up, and that they leave nothing behind.
#
#   +------------ this script's namespace -------------+         +--------- far ----------+
#   |  wg0 (or what the case says)                     |         |  far0 192.168.77.2/24  |
#   |                                                  |         |                        |
#   |  nic0 10.9.0.1/24 fd09::1/64 ====================|==veth===|== nicf 10.9.0.2/24     |
#   |  nic1 10.8.0.1/24 (a veth whose other end is idle)|         |       fd09::2/64       |
#   +--------------------------------------------------+         +------------------------+
#              inside: an empty namespace, for --netns
#
# Mount, PID and network namespaces are the script's own: /etc and /run are copies, so the host is never touched, and
# whatever still runs at the end ends with it.
#
#   WG_XDP         the program (build/wg-xdp)
#   WG_XDP_DAEMON  another user-space WireGuard in place of wg-xdp's own agent
#   up.sh [-v] [CASE]...

WG_XDP=$(realpath "${WG_XDP:-${BUILD:-build}/wg-xdp}")
export WG_XDP

if [[ -z $UP_SH_INSIDE ]]; then
	if [[ $UID -ne 0 || ! -c /dev/net/tun || ! -x $WG_XDP ]]; then
		echo "skip: needs root, /dev/net/tun and $WG_XDP"
		echo "0 passed, 0 failed, 1 skipped"
		exit 0
	fi
	UP_SH_INSIDE=1 exec unshare --mount --net --pid --fork --kill-child --mount-proc --propagation private \
		-- bash "$0" "$@"
fi

verbose=0
[[ $1 == -v ]] && verbose=1 && shift
tmp=$(mktemp -d /tmp/wgx-up.XXXXXX)
trap 'umount -l /etc /run 2>/dev/null; umount -l "$tmp" 2>/dev/null; rmdir "$tmp"' EXIT
export LC_ALL=C
unset LOG_LEVEL

# ------ the stage ------

build_stage() {
	mount -t tmpfs -o mode=0755 tmpfs "$tmp"
	cp -a /etc "$tmp/etc"
	rm -rf "$tmp/etc/wireguard" "$tmp/etc/wg-xdp" "$tmp/etc/netns" "$tmp/etc/resolvconf"
	mkdir -m 0700 "$tmp/etc/wireguard"
	mkdir "$tmp/bin"
	mount --bind "$tmp/etc" /etc
	mount -t tmpfs -o mode=0755 tmpfs /run
	install -m 0755 "$WG_XDP" "$tmp/wg-xdp"
	WG_XDP=$tmp/wg-xdp
	export PATH="$tmp/bin:$PATH"
	printf '#!/bin/sh\necho "$@" >> %s/resolvconf.log\n[ "$1" != -a ] || cat >> %s/resolvconf.log\n' "$tmp" "$tmp" \
		> "$tmp/bin/resolvconf"
	chmod 0755 "$tmp/bin/resolvconf"

	ip netns add far
	ip netns add inside
	ip link set lo up
	ip link add nic0 type veth peer name nicf netns far
	ip link add nic1 type veth peer name nic1p netns inside
	ip -n inside link set nic1p up
	ip address add 10.9.0.1/24 dev nic0
	ip address add fd09::1/64 dev nic0 nodad
	ip address add 10.8.0.1/24 dev nic1
	ip link set nic0 up
	ip link set nic1 up
	ip -n far link set lo up
	ip -n far address add 10.9.0.2/24 dev nicf
	ip -n far address add fd09::2/64 dev nicf nodad
	ip -n far link set nicf up
	ip route add default via 10.9.0.2
	ip -6 route add default via fd09::2
	# The link-local addresses' duplicate detection ends by an event, not after a time we could know.
	until [[ -z $(ip -6 address show tentative; ip -n far -6 address show tentative) ]]; do sleep 0.1; done

	key=$($WG_XDP genkey)
	far_key=$($WG_XDP genkey)
	public_key=$($WG_XDP pubkey <<< "$key")
	far_public_key=$($WG_XDP pubkey <<< "$far_key")
}

# The far end of a real tunnel: 192.168.77.2 by key $far_key on port 7777.
start_far() {
	nsenter --net=/run/netns/far "${WG_XDP_DAEMON:-$WG_XDP}" far0
	$WG_XDP set far0 listen-port 7777 private-key <(echo "$far_key") peer "$public_key" allowed-ips 192.168.77.1/32
	ip -n far address add 192.168.77.2/24 dev far0
	ip -n far link set far0 up
}

stop_far() {
	ip -n far link delete far0
	wait_gone far0
}

wait_gone() {
	for _ in $(seq 100); do
		[[ ! -e /run/wireguard/$1.sock ]] && return
		sleep 0.05
	done
	return 1
}

# config PATH: from stdin, private.
config() {
	mkdir -p "${1%/*}"
	(umask 077; cat > "$1")
}

# One peer at the far end; $1: path, further lines for [Interface] on stdin.
far_config() {
	config "$1" <<-EOF2
		[Interface]
		PrivateKey = $key
		$(cat)

		[Peer]
		PublicKey = $far_public_key
		Endpoint = 10.9.0.2:7777
		AllowedIPs = 192.168.77.2/32
		PersistentKeepalive = 5
	EOF2
}

# ------ what may have changed ------

snapshot() {
	ip -o link | sed 's/^[0-9]*: //'
	ip -o -n inside link | sed 's/^[0-9]*: //'
	ip address | grep -w "inet6\\?"
	ip rule
	ip -6 rule
	ip route show table all
	ip -6 route show table all
	ip -n inside route show table all
	tc qdisc show
	nft list ruleset 2>/dev/null || true
	cat /proc/sys/net/ipv4/conf/all/src_valid_mark
	find /etc/wireguard /etc/wg-xdp /etc/netns /run/wireguard /run/wg-xdp -mindepth 1 ! -name .lock ! -type d \
		-exec md5sum {} + 2>/dev/null | sort
	find /etc/wg-xdp /etc/netns 2>/dev/null | sort
}

remember() {
	snapshot > "$tmp/before"
}

unchanged() {
	snapshot > "$tmp/after"
	diff -u "$tmp/before" "$tmp/after"
}

# up_fails CODE PATTERN ARGUMENT...: exit code, message, and nothing left behind.
up_fails() {
	local code=$1 pattern=$2 got=0
	shift 2
	remember
	$WG_XDP up "$@" > "$tmp/out" 2>&1 || got=$?
	cat "$tmp/out"
	[[ $got -eq $code ]]
	grep -qe "$pattern" "$tmp/out"
	unchanged
}

# "!" would hide the result from set -e.
not() {
	if "$@"; then
		return 1
	fi
}

has() {
	grep -qF -- "$1" <<< "$2"
}

hasnt() {
	not grep -qF -- "$1" <<< "$2"
}

# ------ cases: which tunnel, device, configuration ------

case_up_by_name() {
	far_config /etc/wireguard/vpn7.conf <<< "Address = 192.168.77.1/24"
	remember
	out=$($WG_XDP up vpn7)
	has "vpn7 is up on nic0" "$out" # found by the route to the peer
	has "$public_key" "$out"
	has "192.168.77.1/24" "$(ip address show dev vpn7)"
	has "UP" "$(ip -o link show dev vpn7)"
	[[ $(stat -c %a /run/wg-xdp /run/wg-xdp/vpn7 | xargs) == "700 600" ]]
	not grep -q "$key" /run/wg-xdp/vpn7
	$WG_XDP down vpn7
	unchanged
}

case_up_by_own_directory() {
	far_config /etc/wg-xdp/vpn8.conf <<< ""
	remember
	$WG_XDP up vpn8
	$WG_XDP down vpn8
	unchanged
}

case_up_by_path() {
	far_config "$tmp/dir/path0.conf" <<< ""
	remember
	(cd "$tmp/dir" && $WG_XDP up ./path0.conf)
	ip link show dev path0
	$WG_XDP down "$tmp/dir/path0.conf"
	unchanged
}

case_up_nic_with_config() {
	far_config /etc/wg-xdp/nic1.conf <<< ""
	remember
	out=$($WG_XDP up nic1) # named after the file, which is the NIC's own name: first free wgN
	has "wg0 is up on nic1" "$out"
	$WG_XDP down nic1
	unchanged
}

case_up_nic_with_wg0_config() {
	far_config /etc/wireguard/wg0.conf <<< ""
	remember
	has "wg0 is up on nic1" "$($WG_XDP up nic1)"
	$WG_XDP down wg0
	unchanged
}

case_up_nic_config_option() {
	far_config /etc/wireguard/opt1.conf <<< ""
	remember
	has "opt1 is up on nic1" "$($WG_XDP up nic1 --config opt1)"
	$WG_XDP down opt1
	has "opt1 is up on nic1" "$($WG_XDP up --config /etc/wireguard/opt1.conf nic1)"
	$WG_XDP down opt1
	unchanged
}

case_up_nic_from_nothing() {
	remember
	out=$($WG_XDP up nic0)
	has "wg0 is up on nic0" "$out"
	[[ $(stat -c %a /etc/wg-xdp/nic0.conf) == 600 && $(stat -c %a /etc/wg-xdp) == 700 ]]
	new_key=$(sed -n 's/^PrivateKey = //p' /etc/wg-xdp/nic0.conf)
	has "$($WG_XDP pubkey <<< "$new_key")" "$out"
	hasnt "$new_key" "$out"
	has "51820" "$out"
	has "wg-xdp set wg0 peer" "$out"
	$WG_XDP down nic0
	# The key is kept, and the next up takes it.
	has "$($WG_XDP pubkey <<< "$new_key")" "$($WG_XDP up nic0)"
	$WG_XDP down nic0
	rm -r /etc/wg-xdp
	unchanged
}

case_up_nic_from_nothing_other_port() {
	$WG_XDP up nic0
	has "51821" "$($WG_XDP up nic1)" # 51820 is taken
	[[ -e /run/wireguard/wg1.sock ]]
	$WG_XDP down nic1
	$WG_XDP down nic0
}

case_up_name_option() {
	far_config /etc/wireguard/n1.conf <<< ""
	remember
	has "other is up on nic0" "$($WG_XDP up --name other n1)"
	has "other is down" "$($WG_XDP down other)"
	unchanged
}

case_up_first_free_name() {
	remember
	ip link add wg0 type veth peer name wg0p
	has "wg1 is up on nic0" "$($WG_XDP up nic0)"
	$WG_XDP down nic0
	ip link delete wg0
	rm -r /etc/wg-xdp
	unchanged
}

case_two_tunnels_on_one_nic() {
	far_config /etc/wireguard/a.conf <<< "Table = off"
	far_config /etc/wireguard/b.conf <<< "Table = off"
	remember
	$WG_XDP up nic0 --config a
	$WG_XDP up nic0 --config b
	code=0
	$WG_XDP down nic0 2> "$tmp/out" || code=$?
	[[ $code -eq 2 ]]
	grep -q "name one of them: . ." "$tmp/out"
	$WG_XDP down a
	$WG_XDP down nic0
	unchanged
}

# ------ cases: namespaces ------

case_netns() {
	start_far
	far_config /etc/wireguard/ns0.conf <<-EOF2
		Address = 192.168.77.1/24, fd77::1/64
		DNS = 192.168.77.53
		ListenPort = 7070
		PostUp = ip -o link show %i > $tmp/hook.log
	EOF2
	sed -i 's|^AllowedIPs.*|AllowedIPs = 0.0.0.0/0, ::/0|' /etc/wireguard/ns0.conf
	remember
	$WG_XDP up --netns inside --wait ns0
	not ip link show dev ns0
	has "192.168.77.1/24" "$(ip -n inside address show dev ns0)"
	has "fd77::1/64" "$(ip -n inside address show dev ns0)"
	has "default dev ns0" "$(ip -n inside route)"
	has "default dev ns0" "$(ip -n inside -6 route)"
	[[ $(ip -n inside rule | wc -l) -eq 3 ]] # nothing can loop there, so no marks
	has ":7070 " "$(ss -lun)"
	has "ns0" "$(cat "$tmp/hook.log")" # hooks run where the device is
	grep -q "nameserver 192.168.77.53" /etc/netns/inside/resolv.conf
	nsenter --net=/run/netns/inside ping -c 1 -W 5 192.168.77.2
	$WG_XDP down ns0
	stop_far
	sed -i '/far0/d' "$tmp/before"
	unchanged
}

case_netns_gone() {
	ip netns add doomed
	far_config /etc/wireguard/ns1.conf <<< "Address = 192.168.77.1/24"
	remember
	$WG_XDP up --netns doomed ns1
	ip netns delete doomed
	$WG_XDP down ns1
	unchanged
}

case_netns_unknown() {
	far_config /etc/wireguard/ns2.conf <<< ""
	up_fails 7 "no network namespace .nowhere" --netns nowhere ns2
}

# ------ cases: wg-quick's keys ------

case_hooks() {
	log=$tmp/hooks.log
	rm -f "$log"
	far_config /etc/wireguard/hk0.conf <<-EOF2
		PreUp = echo "pre-up %i" \$(ip -o link show %i | grep -c 'state DOWN') >> $log
		PostUp = echo "post-up %i %i 1" >> $log; echo "post-up 2" >> $log
		PostUp = [[ -n bash ]] && echo "post-up 3" >> $log
		PreDown = echo "pre-down %i" \$(ip -o link show %i | wc -l) >> $log
		PostDown = echo "post-down %i" \$(ip -o link show %i 2>/dev/null | wc -l) >> $log
	EOF2
	remember
	$WG_XDP up hk0 2> "$tmp/out"
	grep -qF "[#] echo \"post-up hk0 hk0 1\"" "$tmp/out"
	# What up has noted counts, not what the file has become.
	sed -i 's/pre-down/changed/; s/post-down/changed/' /etc/wireguard/hk0.conf
	$WG_XDP down hk0
	diff -u - "$log" <<-EOF2
		pre-up hk0 1
		post-up hk0 hk0 1
		post-up 2
		post-up 3
		pre-down hk0 1
		post-down hk0 0
	EOF2
	sed -i 's/changed/pre-down/; 0,/pre-down/! s/pre-down/post-down/' /etc/wireguard/hk0.conf
	sed -i '/wireguard\/hk0.conf/d' "$tmp/before"
	snapshot | sed '/wireguard\/hk0.conf/d' | diff -u "$tmp/before" -
}

case_failing_hooks() {
	far_config /etc/wireguard/hk1.conf <<-EOF2
		PreUp = touch /etc/wireguard/trace
		PostUp = exit 3
		PostDown = rm /etc/wireguard/trace
	EOF2
	up_fails 1 "the hook .exit 3. failed with 3" hk1
	far_config /etc/wireguard/hk2.conf <<< "PreUp = false"
	up_fails 1 "the hook .false. failed" hk2
	far_config /etc/wireguard/hk4.conf <<-EOF2
		PostUp = touch /etc/wireguard/trace1 /etc/wireguard/trace2
		PostUp = false
		PreDown = rm /etc/wireguard/trace1
		PostDown = rm /etc/wireguard/trace2
	EOF2
	up_fails 1 "the hook .false. failed" hk4
	# On the way down a hook can stop nothing.
	far_config /etc/wireguard/hk3.conf <<< "PreDown = false"
	remember
	$WG_XDP up hk3
	code=0
	$WG_XDP down hk3 || code=$?
	[[ $code -eq 1 ]]
	unchanged
}

case_interrupted() {
	far_config /etc/wireguard/int0.conf <<< 'PreUp = kill -TERM $PPID'
	up_fails 1 "interrupted by Terminated" int0
}

case_routes_auto() {
	config /etc/wireguard/rt0.conf <<-EOF2
		[Interface]
		PrivateKey = $key
		Address = 192.168.77.1/24
		[Peer]
		PublicKey = $far_public_key
		AllowedIPs = 192.168.77.0/25, 172.20.0.0/16, fd55::/32, 172.20.0.0/16
	EOF2
	remember
	$WG_XDP up rt0
	routes=$(ip route show dev rt0)
	has "172.20.0.0/16" "$routes"
	hasnt "192.168.77.0/25" "$routes" # the address's own route covers it
	has "fd55::/32" "$(ip -6 route show dev rt0)"
	$WG_XDP down rt0
	unchanged
}

case_table_off_and_number() {
	far_config /etc/wireguard/rt1.conf <<< "Table = off"
	remember
	$WG_XDP up rt1
	[[ -z $(ip route show dev rt1) ]]
	$WG_XDP down rt1
	unchanged
	far_config /etc/wireguard/rt2.conf <<< "Table = 1234"
	sed -i 's|^AllowedIPs.*|AllowedIPs = 0.0.0.0/0, 10.77.0.0/16|' /etc/wireguard/rt2.conf
	remember
	$WG_XDP up rt2
	routes=$(ip route show table 1234)
	has "default dev rt2" "$routes"
	has "10.77.0.0/16 dev rt2" "$routes"
	[[ $(ip rule | wc -l) -eq 3 ]]
	$WG_XDP down rt2
	unchanged
}

case_default_route() {
	far_config /etc/wireguard/df0.conf <<< "Address = 192.168.77.1/24, fd77::1/64"
	sed -i 's|^AllowedIPs.*|AllowedIPs = 0.0.0.0/0, ::/0|' /etc/wireguard/df0.conf
	ip route add 198.51.100.0/24 dev nic1 table 51820
	remember
	$WG_XDP up df0
	# 51820 has a route already, so 51821 is the first free one.
	has "not from all fwmark 0xca6d lookup 51821" "$(ip rule)"
	has "not from all fwmark 0xca6d lookup 51821" "$(ip -6 rule)"
	has "from all lookup main suppress_prefixlength 0" "$(ip rule)"
	has "from all lookup main suppress_prefixlength 0" "$(ip -6 rule)"
	has "default dev df0" "$(ip route show table 51821)"
	has "dev df0" "$(ip route get 8.8.8.8)"
	has "dev nic0" "$(ip route get 8.8.8.8 mark 51821)"
	has "dev df0" "$(ip -6 route get 2001:db8::1)"
	has "dev nic0" "$(ip route get 10.9.0.7)" # the main table's other routes stay in force
	has "fwmark: 0xca6d" "$($WG_XDP show df0)"
	[[ $(cat /proc/sys/net/ipv4/conf/all/src_valid_mark) -eq 1 ]]
	if nft list ruleset > "$tmp/out" 2>&1; then
		grep -q 'iifname != "df0" ip daddr 192.168.77.1 fib saddr type != local drop' "$tmp/out"
		grep -q 'iifname != "df0" ip6 daddr fd77::1 fib saddr type != local drop' "$tmp/out"
	fi
	$WG_XDP down df0
	unchanged
	ip route flush table 51820
}

case_default_route_fwmark() {
	far_config /etc/wireguard/df1.conf <<< "FwMark = 0x1234"
	sed -i 's|^AllowedIPs.*|AllowedIPs = 0.0.0.0/0|' /etc/wireguard/df1.conf
	remember
	$WG_XDP up df1
	has "not from all fwmark 0x1234 lookup 4660" "$(ip rule)"
	hasnt "4660" "$(ip -6 rule)"
	$WG_XDP down df1
	unchanged
}

# Two of them, taken down in the order they came: each takes its own rules only.
case_default_routes_of_two() {
	far_config /etc/wireguard/df2.conf <<< ""
	far_config /etc/wireguard/df3.conf <<< ""
	sed -i 's|^AllowedIPs.*|AllowedIPs = 0.0.0.0/0|' /etc/wireguard/df2.conf /etc/wireguard/df3.conf
	remember
	$WG_XDP up df2
	ip rule > "$tmp/rules"
	$WG_XDP up df3
	$WG_XDP down df2
	rules=$(ip rule | sort -n)
	hasnt "lookup 51820" "$rules"
	has "lookup 51821" "$rules"
	# The rule for the main table still stands before the one for the tunnel's.
	[[ $(awk '/suppress/ { s = NR } /51821/ { t = NR } END { print s < t }' <<< "$rules") -eq 1 ]]
	[[ $(cat /proc/sys/net/ipv4/conf/all/src_valid_mark) -eq 1 ]]
	$WG_XDP down df3
	unchanged
}

case_firewall_fallbacks() {
	printf '#!/bin/sh\nexit 1\n' > "$tmp/bin/nft"
	chmod 0755 "$tmp/bin/nft"
	far_config /etc/wireguard/fw0.conf <<< "Address = 192.168.77.1/24"
	sed -i 's|^AllowedIPs.*|AllowedIPs = 0.0.0.0/0|' /etc/wireguard/fw0.conf
	if iptables-save > /dev/null 2>&1 && command -v iptables-restore > /dev/null; then
		iptables-save > /dev/null
		$WG_XDP up fw0
		has "wg-quick(8) rule for fw0" "$(iptables-save)"
		$WG_XDP down fw0
		hasnt "fw0" "$(iptables-save)"
	fi
	cp "$tmp/bin/nft" "$tmp/bin/iptables-restore"
	$WG_XDP up fw0 2> "$tmp/out"
	grep -q "leak protection by firewall is off for IPv4" "$tmp/out"
	$WG_XDP down fw0
	rm "$tmp/bin/nft" "$tmp/bin/iptables-restore"
}

case_mtu() {
	mtu_of() { ip -o link show dev "$1" | sed 's/.* mtu \([0-9]*\) .*/\1/'; }
	far_config /etc/wireguard/mt0.conf <<< ""
	remember
	ip link set nic0 mtu 1444
	$WG_XDP up mt0
	[[ $(mtu_of mt0) -eq 1364 ]] # the device's, less 80
	$WG_XDP down mt0
	ip route add 10.9.0.2/32 dev nic0 mtu 1300
	$WG_XDP up mt0
	[[ $(mtu_of mt0) -eq 1220 ]] # the route's, less 80
	$WG_XDP down mt0
	# The least of all peers.
	printf '[Peer]\nPublicKey = %s\nEndpoint = 10.8.0.7:1\n' "$public_key" >> /etc/wireguard/mt0.conf
	$WG_XDP up mt0
	[[ $(mtu_of mt0) -eq 1220 ]]
	$WG_XDP down mt0
	ip route delete 10.9.0.2/32
	far_config /etc/wireguard/mt0.conf <<< "MTU = 1333"
	$WG_XDP up mt0
	[[ $(mtu_of mt0) -eq 1333 ]]
	$WG_XDP down mt0
	# No endpoint: the default route's device.
	config /etc/wireguard/mt0.conf <<< $'[Interface]\nPrivateKey = '"$key"
	$WG_XDP up mt0
	[[ $(mtu_of mt0) -eq 1364 ]]
	$WG_XDP down mt0
	ip link set nic0 mtu 1500
	sed -i '/wireguard\/mt0.conf/d' "$tmp/before"
	snapshot | sed '/wireguard\/mt0.conf/d' | diff -u "$tmp/before" -
}

case_dns() {
	rm -f "$tmp/resolvconf.log"
	far_config /etc/wireguard/dns0.conf <<< "DNS = 192.0.2.53, 2001:db8::53, example.org"
	remember
	$WG_XDP up dns0
	$WG_XDP down dns0
	diff -u - "$tmp/resolvconf.log" <<-EOF2
		-a dns0 -m 0 -x
		nameserver 192.0.2.53
		nameserver 2001:db8::53
		search example.org
		-d dns0 -f
	EOF2
	unchanged
}

case_dns_without_resolvconf() {
	command -v resolvectl && exit 77
	mv "$tmp/bin/resolvconf" "$tmp/resolvconf"
	trap 'mv "$tmp/resolvconf" "$tmp/bin/resolvconf"' EXIT
	command -v resolvconf && exit 77
	far_config /etc/wireguard/dns1.conf <<< "DNS = 192.0.2.53"
	up_fails 5 "install openresolv" dns1
}

case_save_config() {
	far_config /etc/wireguard/sv0.conf <<-EOF2
		Address = 192.168.77.1/24
		ListenPort = 7171
		MTU = 1401
		DNS = 192.0.2.53
		Table = 77
		SaveConfig = true
		PostUp = true %i
	EOF2
	remember
	$WG_XDP up sv0
	ip address add 192.168.78.1/24 dev sv0
	$WG_XDP set sv0 peer "$public_key" remove || true
	other=$($WG_XDP genkey | $WG_XDP pubkey)
	$WG_XDP set sv0 peer "$other" allowed-ips 10.66.0.0/16
	$WG_XDP down sv0
	[[ $(stat -c %a /etc/wireguard/sv0.conf) == 600 ]]
	for line in "PrivateKey = $key" "Address = 192.168.77.1/24" "Address = 192.168.78.1/24" "ListenPort = 7171" \
		    "MTU = 1401" "DNS = 192.0.2.53" "Table = 77" "SaveConfig = true" "PostUp = true %i" \
		    "PublicKey = $far_public_key" "PublicKey = $other" "AllowedIPs = 10.66.0.0/16"; do
		grep -qxF "$line" /etc/wireguard/sv0.conf
	done
	$WG_XDP strip sv0
	cp /etc/wireguard/sv0.conf "$tmp/saved"
	$WG_XDP up sv0
	$WG_XDP down sv0
	diff -u <(sort "$tmp/saved") <(sort /etc/wireguard/sv0.conf)
	[[ -z $(find /etc/wireguard -name 'sv0.conf?*') ]]
}

# ------ cases: is it usable? ------

case_wait_for_handshake() {
	start_far
	far_config /etc/wireguard/wt0.conf <<< "Address = 192.168.77.1/24"
	$WG_XDP up --wait=10 wt0
	ping -c 1 -W 5 192.168.77.2
	$WG_XDP down wt0
	stop_far
	up_fails 1 "no peer has answered within 1 s" --wait=1 wt0
}

# ------ cases: what goes wrong ------

case_unknown_names() {
	up_fails 7 "neither a network device nor a configuration" nothing7
	up_fails 7 "there is no file" /etc/wireguard/nothing7.conf
	up_fails 7 "there is no configuration .nothing7" nic0 --config nothing7
	up_fails 7 "no network device .nothing7" nothing7 --config /etc/hostname
	code=0
	$WG_XDP down nothing7 2> "$tmp/out" || code=$?
	[[ $code -eq 7 ]]
	grep -q "there is no tunnel .nothing7" "$tmp/out"
	code=0
	$WG_XDP down nic1 2> "$tmp/out" || code=$?
	[[ $code -eq 7 ]]
	grep -q "carries no tunnel" "$tmp/out"
	far_config "$tmp/dir/a name.conf" <<< ""
	up_fails 4 "must be named TUNNEL.conf" nic0 --config "$tmp/dir/a name.conf"
	up_fails 2 "cannot be a tunnel's name" nic0 --name "a/b"
	up_fails 2 "Usage" --wait=x nic0
	up_fails 2 "Usage"
}

case_wrong_configs() {
	config /etc/wireguard/bad.conf <<< $'[Interface]\nPrivateKey = short'
	up_fails 4 "bad.conf:2" bad
	config /etc/wireguard/bad.conf <<< $'[Interface]\nPrivateKey = '"$key"$'\nAddress = 10.0.0.1/33'
	up_fails 4 "10.0.0.1/33" bad
	config /etc/wireguard/bad.conf <<< $'[Interface]\nColour = blue'
	up_fails 4 "bad.conf:2" bad
	config /etc/wireguard/bad.conf <<< $'[Interface]\n[Peer]\nPublicKey = '"$public_key"$'\nAllowedIPs = 10.0.0.0/x'
	up_fails 4 "10.0.0.0/x" bad
	config /etc/wireguard/bad.conf <<< $'[Interface]\n[Peer]\nPublicKey = '"$public_key"$'\nEndpoint = nowhere'
	up_fails 4 "bad.conf:4" bad
	not grep -q "$key" "$tmp/out"
}

case_world_readable() {
	far_config /etc/wireguard/wr0.conf <<< ""
	chmod 0644 /etc/wireguard/wr0.conf
	chmod 0755 /etc/wireguard
	$WG_XDP up wr0 2> "$tmp/out"
	grep -q "wr0.conf. is world accessible" "$tmp/out"
	$WG_XDP down wr0
	chmod 0700 /etc/wireguard
	$WG_XDP up wr0 2> "$tmp/out"
	not grep -q "world accessible" "$tmp/out"
	$WG_XDP down wr0
}

case_busy() {
	far_config /etc/wireguard/bs0.conf <<< "ListenPort = 7272"
	far_config /etc/wireguard/bs1.conf <<< "ListenPort = 7272"
	$WG_XDP up bs0
	up_fails 6 "port 7272 is in use by the tunnel .bs0" bs1
	up_fails 6 "bs0. is up already" bs0
	up_fails 6 "bs0.conf is in use by the tunnel .bs0" nic0 --config bs0
	far_config /etc/wireguard/bs2.conf <<< ""
	up_fails 6 "bs0. is up already" --name bs0 bs2
	up_fails 6 "network device .nic1. exists" --name nic1 bs2
	sed -i 's|^AllowedIPs.*|AllowedIPs = 10.9.0.0/24|' /etc/wireguard/bs2.conf
	up_fails 6 "cannot route 10.9.0.0/24" bs2
	$WG_XDP down bs0
}

# Of several at once for one name, one wins, and the others take nothing of it away.
case_at_once() {
	far_config /etc/wireguard/ao0.conf <<< "Address = 192.168.77.1/24"
	remember
	for i in 1 2 3 4; do
		(code=0; $WG_XDP up ao0 > "$tmp/out.$i" 2>&1 || code=$?; echo "$code" > "$tmp/code.$i") &
	done
	wait
	cat "$tmp"/out.?
	[[ $(sort "$tmp"/code.? | xargs) == "0 6 6 6" ]]
	has "192.168.77.1/24" "$(ip address show dev ao0)"
	$WG_XDP show ao0
	$WG_XDP down ao0
	unchanged
}

case_down_during_up() {
	far_config /etc/wireguard/ao1.conf <<-EOF2
		PreUp = $WG_XDP down %i 2> $tmp/out; echo \$? > $tmp/code
	EOF2
	remember
	$WG_XDP up ao1
	[[ $(cat "$tmp/code") -eq 6 ]]
	grep -q "another wg-xdp is just taking .ao1" "$tmp/out"
	$WG_XDP down ao1
	unchanged
}

case_no_privileges() {
	code=0
	setpriv --reuid=65534 --regid=65534 --clear-groups "$WG_XDP" up nic0 2> "$tmp/out" || code=$?
	[[ $code -eq 3 ]]
	grep -q "must be root" "$tmp/out"
	remember
	code=0
	setpriv --bounding-set=-net_admin --inh-caps=-net_admin "$WG_XDP" up nic0 2> "$tmp/out" || code=$?
	[[ $code -eq 3 ]]
	grep -q "CAP_NET_ADMIN" "$tmp/out"
	unchanged
}

case_no_tun() {
	remember
	code=0
	unshare --mount sh -c "mount -t tmpfs tmpfs /dev/net && $WG_XDP up nic0" 2> "$tmp/out" || code=$?
	[[ $code -eq 5 ]]
	grep -q "/dev/net/tun" "$tmp/out"
	unchanged
}

case_old_kernel() {
	setarch --uname-2.6 "$WG_XDP" up nic0 2> "$tmp/out"
	grep -q "is older than 5.15" "$tmp/out"
	$WG_XDP down nic0
}

case_daemon_does_not_start() {
	WG_XDP_DAEMON=/bin/false up_fails 1 "did not start" nic0
	WG_XDP_DAEMON=/bin/true up_fails 1 "has ended at once" nic0
}

kill_daemon() {
	local pid
	for pid in /proc/[0-9]*; do
		if tr '\0' '\n' < "$pid/cmdline" 2>/dev/null | grep -qx "$1"; then
			kill -9 "${pid#/proc/}" || true # its parent may have taken it along
			while [[ -d $pid ]]; do sleep 0.01; done
		fi
	done
}

case_dead_daemon() {
	far_config /etc/wireguard/dd0.conf <<< "Address = 192.168.77.1/24"
	sed -i 's|^AllowedIPs.*|AllowedIPs = 0.0.0.0/0|' /etc/wireguard/dd0.conf
	remember
	$WG_XDP up dd0
	kill_daemon dd0
	has "lookup 51820" "$(ip rule)"
	$WG_XDP down dd0
	unchanged
	$WG_XDP up dd0
	kill_daemon dd0
	$WG_XDP up dd0 2> "$tmp/out"
	grep -q "has ended without having been taken down" "$tmp/out"
	[[ $(ip rule | grep -c 51820) -eq 1 ]]
	$WG_XDP down dd0
	unchanged
}

# A tunnel that somebody has made by hand.
case_down_of_foreign() {
	remember
	"${WG_XDP_DAEMON:-$WG_XDP}" hand0
	$WG_XDP set hand0 fwmark 777
	ip link set hand0 up
	ip route add default dev hand0 table 777
	ip rule add not fwmark 777 table 777
	ip rule add table main suppress_prefixlength 0
	$WG_XDP down hand0
	unchanged
}

# ------ the run ------

clean_up() {
	local state
	for state in /run/wg-xdp/*; do
		[[ -e $state ]] && $WG_XDP down "${state##*/}" > /dev/null 2>&1
	done
	rm -rf /etc/wireguard/* /etc/wg-xdp /etc/netns
}

run_case() {
	local status
	if [[ $verbose -eq 1 ]]; then
		(set -ex; "case_$1") 2>&1 | tee "$tmp/log"
		status=${PIPESTATUS[0]}
	else
		(set -ex; "case_$1") > "$tmp/log" 2>&1
		status=$?
	fi
	case $status in
	0) echo "ok $1"; passed=$((passed + 1)) ;;
	77) echo "skip $1"; skipped=$((skipped + 1)) ;;
	*) echo "not ok $1"; sed 's/^/# /' "$tmp/log"; failed=$((failed + 1)) ;;
	esac
	clean_up
}

build_stage || exit 1
passed=0 failed=0 skipped=0
cases=("$@")
[[ ${#cases[@]} -gt 0 ]] || mapfile -t cases < <(sed -n 's/^case_\([a-z0-9_]*\)().*/\1/p' "$0")
for name in "${cases[@]}"; do
	run_case "$name"
done
echo "$passed passed, $failed failed, $skipped skipped"
[[ $failed -eq 0 ]]
