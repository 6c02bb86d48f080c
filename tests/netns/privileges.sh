#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# What the agent may do, who has the keys, and what happens when the agent dies.
#
#   wgx-1 wg1, veth1 10.9.0.1 == veth2 10.9.0.2, wg2 wgx-2
#   wgx-1 has a default route over the cable: what misses the tunnel would be seen there.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
need wg ip ss ping tcpdump setpriv "$PYTHON"
enter "$@"

hex() { base64 -d <<< "$1" | od -An -vtx1 | tr -d ' \n'; }

set_up_pair() {
	add_namespaces
	veth 1 veth1 2 veth2
	ip1 address add 10.9.0.1/24 dev veth1
	ip2 address add 10.9.0.2/24 dev veth2
	ip1 route add default via 10.9.0.2
	ip2 route add default via 10.9.0.1
	start 1 wg1
	start 2 wg2
	wg set wg1 private-key <(echo "$key1") listen-port 1 peer "$pub2" preshared-key <(echo "$psk") \
		allowed-ips 192.168.7.2/32 endpoint 10.9.0.2:2
	wg set wg2 private-key <(echo "$key2") listen-port 2 peer "$pub1" preshared-key <(echo "$psk") \
		allowed-ips 192.168.7.1/32
	ip1 address add 192.168.7.1/24 dev wg1
	ip2 address add 192.168.7.2/24 dev wg2
	ip1 link set wg1 up
	ip2 link set wg2 up
	wait_for 2 listens 1 u 1
	wait_for 2 listens 2 u 2
	ping_ok 1 192.168.7.2
}

status_of() { awk -v field="$2:" '$1 == field { $1 = ""; print substr($0, 2) }' "/proc/$1/status"; }

# Every thread, in case one was started before the privileges went.
case_agent_is_nobody() {
	local agent thread field

	not_with_sanitizer "system calls are not confined"
	agent=$(agent_of wg1)
	[[ $(find "/proc/$agent/task" -mindepth 1 -maxdepth 1 | wc -l) -ge 3 ]]
	for thread in /proc/"$agent"/task/*; do
		thread=$agent/task/${thread##*/}
		for field in CapInh CapPrm CapEff CapBnd CapAmb; do
			is "$(status_of "$thread" $field)" 0000000000000000
		done
		is "$(status_of "$thread" NoNewPrivs)" 1
		is "$(status_of "$thread" Seccomp)" 2
		fails grep -qw 0 <(status_of "$thread" Uid; status_of "$thread" Gid)
		is "$(status_of "$thread" Groups | tr -d ' ')" ""
	done
}

case_not_dumpable() {
	local agent uid

	agent=$(agent_of wg1)
	uid=$(status_of "$agent" Uid | cut -d ' ' -f 1)
	# What belongs to a process that is not dumpable belongs to root in /proc.
	is "$(stat -c %u "/proc/$agent/environ")" 0
	fails setpriv --reuid="$uid" --regid="$uid" --clear-groups --bounding-set=-all head -c 1 "/proc/$agent/environ"
	is "$(awk '/^Max core file size/ { print $5, $6 }' "/proc/$agent/limits")" "0 0"
}

case_locked() {

	not_with_sanitizer "much more memory is there than ours"
	[[ $(status_of "$(agent_of wg1)" VmLck) != "0 kB" ]]
}

case_command_lines() {
	local pid

	for pid in $(pids_of wg1); do
		for key in "$key1" "$psk" "$(hex "$key1")" "$(hex "$psk")"; do
			fails grep -qaF "$key" "/proc/$pid/cmdline" "/proc/$pid/environ"
		done
	done
}

# In binary, as hexadecimal and as base64 text.
needles() {
	local key

	for key in "$@"; do
		hex "$key"
		echo
		hex "$key" | od -An -vtx1 | tr -d ' \n'
		echo
		printf %s "$key" | od -An -vtx1 | tr -d ' \n'
		echo
	done
}

case_monitor_memory() {
	local status=0

	not_with_sanitizer "its shadow memory is too large to search"
	# The same search finds it where it must be.
	needles "$key1" | helper memory "$(agent_of wg1)"
	needles "$psk" | helper memory "$(agent_of wg1)"
	needles "$key1" "$psk" "$key2" | helper memory "$(monitor_of wg1)" || status=$?
	is $status 1
}

# The text of a request is wiped when it has been read; what is sent is wiped when it has been sent.
case_agent_text() {
	local status=0

	not_with_sanitizer "its shadow memory is too large to search"
	wg showconf wg1 > /dev/null
	needles "$key1" "$psk" | sed -n 'n;p;n;p' | helper memory "$(agent_of wg1)" || status=$?
	is $status 1
}

case_log() {
	local key

	[[ -s $tmp/agent-wg1.log ]]
	for key in "$key1" "$key2" "$psk"; do
		fails grep -qF -e "$key" -e "$(hex "$key")" <(grep -hv '^+' "$tmp"/agent-*.log)
	done
}

# ------ death ------

start_capture() { # on the cable; leaves its process in $capture
	rm -f "$tmp/tcpdump.log" "$tmp/cable.pcap"
	in_ns 2 tcpdump -i veth2 -n -p -U -s 200 -w "$tmp/cable.pcap" 2> "$tmp/tcpdump.log" &
	capture=$!
	wait_for 5 grep -q "listening on" "$tmp/tcpdump.log"
}

captured() { tcpdump -n -r "$tmp/cable.pcap" "$@" 2>/dev/null; }

other_agent() { # TUNNEL OLD
	local agent

	agent=$(agent_of "$1") && [[ $agent != "$2" ]]
}

loses_nothing_else() {
	is "$(wg showconf "$1")" "$2"
	ip -n "wgx-$3" -o link show "$1" | grep -q '[<,]UP[,>]'
	has "dev $1" "$(ip -n "wgx-$3" route get "$4")"
}

# kill_agent TUNNEL NS FAR: under traffic both ways.
kill_agent() {
	local tunnel=$1 ns=$2 far=$3 agent config killed capture flood1 flood2

	config=$(wg showconf "$tunnel")
	agent=$(agent_of "$tunnel")
	start_capture
	in_ns 1 ping -n -q -i 0.005 -c 600 -W 1 192.168.7.2 > "$tmp/flood1" &
	flood1=$!
	in_ns 2 ping -n -q -i 0.005 -c 600 -W 1 192.168.7.1 > "$tmp/flood2" &
	flood2=$!
	wait_for 2 more_than 50
	killed=$(date +%s)
	kill -9 "$agent"
	has "dev $tunnel" "$(ip -n "wgx-$ns" route get "$far")"
	# Who asks now, waits a little, and is answered.
	is "$(timeout 5 wg show "$tunnel" listen-port)" "$(sed -n 's/^ListenPort = //p' <<< "$config")"
	wait_for 2 other_agent "$tunnel" "$agent"
	wait_for 8 ping_ok "$ns" "$far"
	wait_for 1 handshaken "$tunnel" "$killed"
	loses_nothing_else "$tunnel" "$config" "$ns" "$far"
	# The other direction, too.
	ping_ok $((3 - ns)) "192.168.7.$ns"
	wait $flood1 $flood2 || true
	end $capture
	# The capture has seen the tunnel, and nothing else.
	[[ $(captured udp port 2 | wc -l) -gt 100 ]]
	is "$(captured not udp port 1 and not udp port 2 and not arp and not src net fe80::/10)" ""
	is "$(captured 'icmp[icmptype] = icmp-unreach or net 192.168.7.0/24')" ""
	cat "$tmp/flood1" "$tmp/flood2"
}

more_than() { [[ $(captured udp port 2 | wc -l) -gt $1 ]]; }
handshaken() { [[ $(wg show "$1" latest-handshakes | cut -f 2) -ge $2 ]]; }

has_refused() { [[ $(extra "$1" | sed -n "s/^drop_$2=//p") -gt 0 ]]; }

# What was sent before the death is as old afterwards; else a stranger could move the endpoint with a recording.
case_replay() {
	local agent capture

	start_capture
	wg set wg1 private-key <(echo "$key3")
	wg set wg1 private-key <(echo "$key1")
	ping_ok 1 192.168.7.2
	# The successor knows what happened up to a second ago.
	sleep 1.5
	end $capture
	agent=$(agent_of wg2)
	kill -9 "$agent"
	wait_for 2 other_agent wg2 "$agent"
	wait_for 2 is_up wg2
	help_in 1 replay "$tmp/cable.pcap" 10.9.0.2 2
	wait_for 2 has_refused wg2 handshake-replayed
	is "$(endpoint_of wg2 "$pub1")" 10.9.0.1:1
	wait_for 8 ping_ok 2 192.168.7.1
}

case_often() {
	local agent

	for _ in {1..4}; do
		agent=$(agent_of wg1)
		kill -9 "$agent"
		wait_for 5 other_agent wg1 "$agent"
	done
	wait_for 8 ping_ok 1 192.168.7.2
	case_agent_is_nobody
}

# Without its monitor an agent cannot go on; the device stays, so that nothing leaves the machine another way.
case_monitor_dies() {
	local agent

	agent=$(agent_of wg1)
	kill -9 "$(monitor_of wg1)"
	wait_for 3 are_dead "$agent"
	has "dev wg1" "$(ip1 route get 192.168.7.2)"
	fails ping_ok 1 192.168.7.2
	start 1 wg1
	wg set wg1 private-key <(echo "$key1") listen-port 1 peer "$pub2" preshared-key <(echo "$psk") \
		allowed-ips 192.168.7.2/32 endpoint 10.9.0.2:2
	wait_for 3 ping_ok 1 192.168.7.2
	stop wg1
	fails ip1 link show wg1
}

if check "pair" set_up_pair; then
	check "the agent is nobody, with no capability, no_new_privs and seccomp" case_agent_is_nobody
	check "the agent is not dumpable" case_not_dumpable
	check "the agent's secrets are locked into memory" case_locked
	check "no key in command lines and environments" case_command_lines
	check "no key in the monitor's memory" case_monitor_memory
	check "no key as text in the agent's memory" case_agent_text
	check "killed under traffic: the side that has the endpoint" kill_agent wg1 1 192.168.7.2
	check "killed under traffic: the side that has learnt it" kill_agent wg2 2 192.168.7.1
	check "an initiation recorded before is refused afterwards" case_replay
	check "killed again and again" case_often
	check "no key in the monitor's memory, after restarts" case_monitor_memory
	check "no key in the verbose log" case_log
	check "the monitor is killed" case_monitor_dies
fi
remove_namespaces
finish
