#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# wg-xdp against the kernel's own WireGuard. Each case has a pair of namespaces of its own:
#
#      namespace wgx-kernels-N-x                     namespace wgx-kernels-N-k
#      wgxN 10.77.0.1 fd77::1   ==== WireGuard ====  wgkN 10.77.0.2 fd77::2
#      wg-xdp, port 1000                             the kernel, port 2000
#      eth0 192.0.2.1 2001:db8::1  ---- veth ----    eth0 192.0.2.2 2001:db8::2
#
#   tests/kernels/in-guest.sh [-l] [CASE]...
#
# Prints "ok NAME", "not ok NAME" or "skip NAME why", and "N passed, N failed, N skipped" at the end. Meant for an
# emulated machine, where all is slow: it waits for events, and no case depends on speed. Runs on any machine whose
# kernel has WireGuard.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

build=${BUILD:-build}
program=$(realpath "$build")/wg-xdp
flood=$(realpath "$build")/tests/kernels/flood
case_limit_s=240
work=""
. tests/kernels/stage.sh

# "GROUP NAME FUNCTION [ARGUMENT]...". Cases of the group "beside" wait most of their time, and run beside the others.
# Those that load a whole kernel come last, alone: its WireGuard is under load for all devices at once.
cases()
{
	local by outer psk

	for by in x k; do
		echo "beside rekey_by_$by rekey $by"
		echo "beside passive_keepalive_of_$by passive_keepalive $by"
	done
	for by in x k; do
		for outer in v4 v6; do
			for psk in "" _psk; do
				echo "serial handshake_by_${by}_over_$outer$psk handshake $by $outer $psk"
			done
		done
	done
	for by in x k; do
		echo "serial counters_ping_from_$by counters $by"
		echo "serial handshake_dscp_by_$by handshake_dscp $by"
		echo "serial roaming_of_$by roaming $by"
		echo "serial persistent_keepalive_of_$by persistent_keepalive $by"
	done
	for outer in v4 v6; do
		echo "serial ecn_over_$outer ecn $outer"
		echo "serial fragments_over_$outer fragments $outer"
		echo "serial tcp_over_$outer tcp $outer"
	done
	echo "serial default_route default_route"
	echo "serial new_private_keys new_private_keys"
	for by in tun udp_sock netlink netconf privileged monitor sandbox; do
		echo "serial unit_test_$by unit_test tests/test_$by"
	done
	echo "serial unit_test_xdp_ingress unit_test tests/bpf/test_xdp_ingress"
	for by in x k; do
		echo "alone cookies_of_x_handshake_by_$by cookies x $by"
		echo "alone cookies_of_k_handshake_by_$by cookies k $by"
	done
	echo "alone kernel_log kernel_log"
}

# ------ The cases; "by" is x (wg-xdp) or k (the kernel) ------

handshake()
{
	local by=$1 outer=$2 with_psk=${3-} to now

	to=$(other "$by")
	stage
	join "$by" "$outer" "$with_psk"
	reach "$by"
	reach "$to"
	(($(counted "$(from "$by")" initiation) >= 1)) || fail "no initiation"
	(($(counted "$(from "$to")" initiation) == 0)) || fail "an initiation from the side without an endpoint"
	must is_equal "$(address "$by" "$outer"):$(port "$by")" show "$to" endpoints
	now=$(date +%s)
	for to in x k; do
		(($(show $to latest-handshakes) > now - 60)) ||
			fail "$to: latest handshake $(show $to latest-handshakes), now $now"
		[[ -z $with_psk ]] || must is_equal "$(cat "$dir/psk")" show $to preshared-keys
	done
	must_mirror
}

# 148 for an initiation, 92 for a response, 128 for each of ten pings; 32 if the session was confirmed by itself.
counters()
{
	local by=$1 received sent

	stage
	join "$by" v4
	must at "$by" ping -n -c 10 -f -W 30 "$(inner "$(other "$by")")"
	must_mirror
	read -r received sent < <(show "$by" transfer)
	((received == 1372)) || fail "the initiator has received $received, not 1372"
	((sent == 1428 || sent == 1460)) || fail "the initiator has sent $sent, not 1428 or 1460"
	must at "$by" ping -n -c 5 -i 0.2 -s 1000 -W 30 "$(inner6 "$(other "$by")")"
	must_mirror
	read -r received _ < <(show "$by" transfer)
	# 1048 bytes are padded to 1056, and 32 added.
	((received == 1372 + 5 * 1088)) || fail "the initiator has received $received, not $((1372 + 5 * 1088))"
}

handshake_dscp()
{
	local by=$1 direction

	stage
	join "$by" v4
	reach "$by"
	must at "$by" wg set "$(interface "$by")" peer "$(public_key "$(other "$by")")" remove
	join "$by" v6
	reach "$by"
	for direction in out in; do
		local n=$(($(counted $direction initiation) + $(counted $direction response)))

		((n >= 2)) || fail "$direction: $n handshake messages in two handshakes"
		must is_equal "$n" counted $direction handshake_af41
	done
}

# The session of 120 s ago is replaced without a packet lost, by the side that began it.
rekey()
{
	local by=$1 to first n

	to=$(other "$by")
	stage
	join "$by" v4
	must at "$by" ping -n -c 1 -W 30 "$(inner "$to")"
	within 10 is_shaken k || fail "no handshake"
	within 10 is_shaken x || fail "no handshake"
	first=$(show "$by" latest-handshakes)
	must at "$by" ping -n -q -i 1 -c 134 -W 15 "$(inner6 "$to")" >"$dir/ping"
	tail -n 3 "$dir/ping"
	grep -q ' 0% packet loss' "$dir/ping" || fail "packets were lost"
	n=$(counted "$(from "$by")" initiation)
	((n == 2)) || fail "$n initiations, not 2"
	must is_equal 0 counted "$(from "$to")" initiation
	for to in x k; do
		n=$(($(show $to latest-handshakes) - first))
		((n >= 119 && n <= 130)) || fail "$to: renewed $n s after the first handshake"
	done
	must_mirror
}

# Who has received data and has nothing to say sends a keepalive after 10 s; nobody answers that.
passive_keepalive()
{
	local by=$1 to n since

	to=$(other "$by")
	stage
	join "$to" v4
	reach "$to"
	at "$by" nft 'table inet quiet { chain c { type filter hook input priority 0; udp dport 9 drop; }; }' ||
		fail "no rule"
	n=$(counted "$(from "$by")" keepalive)
	must at "$to" bash -c "echo >/dev/udp/$(inner "$by")/9"
	since=$SECONDS
	within 30 has_counted "$(from "$by")" keepalive $((n + 1)) || fail "no keepalive in 30 s"
	((SECONDS - since >= 9)) || fail "a keepalive after $((SECONDS - since)) s already"
	n=$(($(counted in keepalive) + $(counted out keepalive)))
	sleep 14
	must is_equal "$n" echo $(($(counted in keepalive) + $(counted out keepalive)))
	must_mirror
}

persistent_keepalive()
{
	local by=$1 to n

	to=$(other "$by")
	stage
	join "$by" v4
	# It begins by itself.
	must at "$by" wg set "$(interface "$by")" peer "$(public_key "$to")" persistent-keepalive 1
	within 30 has_counted "$(from "$by")" keepalive 4 ||
		fail "$(counted "$(from "$by")" keepalive) keepalives in 30 s"
	is_shaken x || fail "no handshake"
	is_shaken k || fail "no handshake"
	must at "$by" wg set "$(interface "$by")" peer "$(public_key "$to")" persistent-keepalive off
	sleep 1.5
	n=$(counted "$(from "$by")" keepalive)
	sleep 3
	must is_equal "$n" counted "$(from "$by")" keepalive
	must is_equal 0 counted "$(from "$to")" keepalive
	must_mirror
}

# Port, address, family: the other side follows each packet, without a new handshake.
roaming()
{
	local by=$1 to ns n

	to=$(other "$by")
	ns=wgx-kernels-$number-$by
	stage
	join "$by" v4
	reach "$by"
	must at "$by" wg set "$(interface "$by")" listen-port 9999
	reach "$by"
	must is_equal "$(address "$by" v4):9999" show "$to" endpoints
	# The first address takes others of its network along when it goes.
	must ip -netns "$ns" address del "$(address "$by" v4)/24" dev eth0
	must ip -netns "$ns" address add 192.0.2.77/24 dev eth0
	reach "$by"
	must is_equal 192.0.2.77:9999 show "$to" endpoints
	reach "$to"
	must at "$by" wg set "$(interface "$by")" peer "$(public_key "$to")" \
		endpoint "$(address "$to" v6):$(port "$to")"
	reach "$by"
	must is_equal "$(address "$by" v6):9999" show "$to" endpoints
	reach "$to"
	n=$(($(counted in initiation) + $(counted out initiation)))
	((n == 1)) || fail "$n initiations, not 1"
	must_mirror
}

# RFC 6040: the inner mark is copied outside, and a CE met on the way arrives inside.
ecn()
{
	local outer=$1 by to v

	stage
	join x "$outer"
	reach x
	for by in x k; do
		to=$(other $by)
		at $by nft -f - <<-END || fail "no rules"
			table inet marker {
				counter copied { }
				chain c {
					type filter hook postrouting priority 0
					oifname != "eth0" return
					udp dport $(port "$to") ip ecn ect0 counter name copied ip ecn set ce
					udp dport $(port "$to") ip6 ecn ect0 counter name copied ip6 ecn set ce
				}
			}
		END
		at "$to" nft -f - <<-END || fail "no rules"
			table inet inside {
				counter ce { }
				chain c {
					type filter hook prerouting priority 0
					iifname != "$(interface "$to")" return
					ip ecn ce icmp type echo-request counter name ce
					ip6 ecn ce icmpv6 type echo-request counter name ce
				}
			}
		END
		must at $by ping -n -c 4 -i 0.3 -W 15 -Q 2 "$(inner "$to")"
		must at $by ping -n -c 4 -i 0.3 -W 15 -Q 2 "$(inner6 "$to")"
		v=$(at $by nft list counter inet marker copied | awk '$1 == "packets" { print $2 }')
		((v >= 8)) || fail "$by: $v of 8 packets had the inner mark outside"
		v=$(at "$to" nft list counter inet inside ce | awk '$1 == "packets" { print $2 }')
		((v == 8)) || fail "$to: $v of 8 packets had the outer CE inside"
		at $by nft delete table inet marker
		at "$to" nft delete table inet inside
	done
}

# snmp SIDE v4|v6 NAME: one of the stack's counters
# shellcheck disable=SC2016 # awk's own variables
snmp()
{
	if [[ $2 == v4 ]]; then
		at "$1" awk -v name="$3" '$1 == "Ip:" { if (!n) { for (n = 1; $n != name; n++); } else print $n }' \
			/proc/net/snmp
	else
		at "$1" awk -v name="Ip6$3" '$1 == name { print $2 }' /proc/net/snmp6
	fi
}

# Inner packets as large as outer ones: those are cut up, and put together before they are opened.
fragments()
{
	local outer=$1 by to n

	stage
	join x "$outer"
	must in_x ip link set "$x_if" mtu 1500
	must in_k ip link set "$k_if" mtu 1500
	for by in x k; do
		to=$(other $by)
		must at $by ping -n -c 3 -i 0.3 -W 15 -M "do" -s 1472 "$(inner "$to")"
		must at $by ping -n -c 3 -i 0.3 -W 15 -s 1452 "$(inner6 "$to")"
		n=$(snmp $by "$outer" FragCreates)
		((n >= 12)) || fail "$by: $n fragments sent"
		n=$(snmp "$to" "$outer" ReasmOKs)
		((n >= 6)) || fail "$to: $n packets reassembled"
	done
	must_mirror
}

is_listening() { [[ -n $(at "$1" ss -Hltn 'sport = 5000') ]]; }

# transfer FROM TO-ADDRESS
transfer()
{
	local by=$1 to address=$2 receiver

	to=$(other "$by")
	at "$to" timeout 100 nc -N -l "$address" 5000 >"$dir/received" </dev/null &
	receiver=$!
	within 10 is_listening "$to" || fail "no listener"
	must at "$by" timeout 100 nc -N "$address" 5000 <"$dir/data"
	wait $receiver
	must is_equal "$(sha256sum <"$dir/data")" sha256sum <"$dir/received"
}

tcp()
{
	local outer=$1

	stage
	join x "$outer"
	head -c 3000000 /dev/urandom >"$dir/data"
	transfer x "$(inner k)"
	transfer k "$(inner x)"
	transfer x "$(inner6 k)"
	transfer k "$(inner6 x)"
}

# As wg-quick does it for /0: without wg-xdp's mark, its own packets would go into the tunnel.
default_route()
{
	stage
	join x v4
	must in_x wg set "$x_if" fwmark 51820 peer "$(public_key k)" allowed-ips 0.0.0.0/0,::/0
	must ip -netns "$k_ns" address add 198.51.100.1/32 dev lo
	must ip -netns "$k_ns" address add 2001:db8:1::1/128 dev lo
	must ip -netns "$x_ns" rule add not fwmark 51820 table 51820
	must ip -netns "$x_ns" -6 rule add not fwmark 51820 table 51820
	must ip -netns "$x_ns" route add default dev "$x_if" table 51820
	must ip -netns "$x_ns" -6 route add default dev "$x_if" table 51820
	must in_x ping -n -c 3 -i 0.3 -W 15 198.51.100.1
	must in_x ping -n -c 3 -i 0.3 -W 15 2001:db8:1::1
	# Nothing of its own either: a link-local address would send what the kernel has no allowed IPs for.
	must_mirror
}

# A new identity is in use at once, whoever has it.
new_private_keys()
{
	local by to old

	stage
	join x v4
	reach x
	for by in x k; do
		to=$(other $by)
		old=$(public_key $by)
		(umask 077 && wg genkey >"$dir/$by.key")
		wg pubkey <"$dir/$by.key" >"$dir/$by.pub"
		must at $by wg set "$(interface $by)" private-key "$dir/$by.key"
		must at "$to" wg set "$(interface "$to")" peer "$old" remove peer "$(public_key $by)" \
			allowed-ips "$(inner $by)/32,$(inner6 $by)/128" endpoint "$(address $by v4):$(port $by)"
		reach "$to"
		reach $by
	done
}

# A flood makes one side ask for cookies; a handshake still comes about, by mac2.
cookies()
{
	local flooded=$1 by=$2 peer ns address

	[[ -x $flood ]] || skip "$flood is not built"
	peer=$(other "$flooded")
	ns=wgx-kernels-$number-$peer
	stage
	join "$by" v4
	must ip -netns "$ns" address add 192.0.2.66/24 dev eth0
	address=$(address "$flooded" v4)
	at "$peer" "$flood" "$(public_key "$flooded")" 192.0.2.66 "$address" "$(port "$flooded")" 1500 400 120 &
	flooder=$!
	within 30 has_counted "$(from "$flooded")" cookie 10 || fail "no cookie replies: not under load"
	at "$by" ping -n -q -i 1 -w 60 "$(inner "$(other "$by")")" >/dev/null &
	if ! within 60 is_shaken x || ! within 10 is_shaken k; then
		fail "no handshake in 60 s"
	fi
	kill $flooder $!
	wait $flooder
	if [[ $flooded == "$by" ]]; then
		(($(counted "$(from "$peer")" response_mac2) >= 1)) || fail "no response with mac2"
	else
		(($(counted "$(from "$peer")" initiation_mac2) >= 1)) || fail "no initiation with mac2"
	fi
}

unit_test()
{
	local test=$build/$1 status

	[[ -x $test ]] || skip "$test is not built"
	timeout 200 "$test" 2>&1 | tee "$dir/unit"
	status=${PIPESTATUS[0]}
	((status == 0)) || exit "$status"
	grep -q 'PASSED  \] [1-9]' "$dir/unit" || skip "nothing of $test can be run here"
	sed -n 's/.*\[  SKIPPED \] \([0-9]*\) test.*/NOTE: \1 skipped/p' "$dir/unit" | grep -v ' 0 skipped'
	return 0
}

# Whatever was asked of the kernel, it must not have complained.
kernel_log()
{
	! dmesg | grep -E 'BUG:|WARNING:|Oops|protection fault|soft lockup|blocked for more|waiting for .* to become' ||
		fail "the kernel complained"
}

# ------ Running them ------

# run_case NUMBER NAME FUNCTION [ARGUMENT]...: prints one line, and why where it was not ok.
run_case()
{
	local number=$1 name=$2 dir=$work/$1 since=$SECONDS status

	shift 2
	mkdir "$dir"
	(
		agent=""
		"$@"
	) >"$dir/log" 2>&1 </dev/null &
	local pid=$! watchdog
	(sleep $case_limit_s && echo "FAILED: not done in $case_limit_s s" >>"$dir/log" && kill $pid) >/dev/null 2>&1 &
	watchdog=$!
	wait $pid
	status=$?
	kill $watchdog 2>/dev/null
	wait $watchdog 2>/dev/null
	case $status in
	0) echo "ok $name" >"$dir/result" ;;
	77) echo "skip $name $(sed -n 's/^SKIP: //p' "$dir/log" | tail -n 1)" >"$dir/result" ;;
	*) echo "not ok $name" >"$dir/result" ;;
	esac
	echo "$(<"$dir/result") ($((SECONDS - since)) s)$(sed -n 's/^NOTE:/,/p' "$dir/log")"
	((status == 0 || status == 77)) || tail -n 60 "$dir/log" | sed 's/^/    | /'
}

main()
{
	local group name call number=0 beside=() passed failed skipped

	if [[ ${1-} == -l ]]; then
		cases | cut -d ' ' -f 2
		return
	fi
	if ((EUID != 0)) || [[ ! -x $program ]]; then
		echo "in-guest: needs root, and $program" >&2
		return 2
	fi
	# Where no udev has made /dev/net/tun.
	[[ -c /dev/net/tun ]] || modprobe -q tun
	if ! ip link add wgx-kernels0 type wireguard 2>/dev/null; then
		echo "skip all this kernel has no WireGuard"
		echo "0 passed, 0 failed, 1 skipped"
		return 0
	fi
	ip link del wgx-kernels0
	work=$(mktemp -d)
	trap 'jobs -p | xargs -r kill 2>/dev/null; wait; rm -rf "$work"' EXIT
	trap 'exit 130' INT TERM
	while read -r group name call; do
		((++number))
		[[ $# -eq 0 || " $* " == *" $name "* ]] || continue
		if [[ $group == beside ]]; then
			# shellcheck disable=SC2086 # a function and its arguments
			run_case $number "$name" $call &
			beside+=($!)
			continue
		fi
		if [[ $group == alone ]]; then
			((${#beside[@]} == 0)) || wait "${beside[@]}"
			beside=()
		fi
		# shellcheck disable=SC2086
		run_case $number "$name" $call
	done < <(cases)
	((${#beside[@]} == 0)) || wait "${beside[@]}"
	passed=$(cat "$work"/*/result 2>/dev/null | grep -c '^ok ')
	failed=$(cat "$work"/*/result 2>/dev/null | grep -c '^not ok ')
	skipped=$(cat "$work"/*/result 2>/dev/null | grep -c '^skip ')
	echo "$passed passed, $failed failed, $skipped skipped"
	((failed == 0 && passed > 0))
}

main "$@"
