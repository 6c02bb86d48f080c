# shellcheck shell=bash disable=SC2034 # the scripts that source this use what is set here
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# The stage of the tests between network namespaces, sourced by the scripts beside this file.
#
#   +--- wgx-0, where programs are started ---+   +---- wgx-1 -----+   +---- wgx-2 -----+
#   |  lo, and what the test says             |   |  wg1           |   |  wg2           |
#   +-----------------------------------------+   +----------------+   +----------------+
#
# Mount, PID and network namespaces are the script's own: /run and /etc/wireguard are empty, so no socket of ours is seen
# outside and none of others is seen here, and whatever still runs at the end ends with the script.
#
#   WG_XDP      the program (build/wg-xdp)
#   SCRIPT.sh [-v] [SECTION]...

here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
script=${0##*/}
WG_XDP=$(realpath -m "${WG_XDP:-$here/../../${BUILD:-build}/wg-xdp}")
export WG_XDP LC_ALL=C
unset LOG_LEVEL WG_PROCESS_FOREGROUND
PYTHON=/usr/bin/python3
[[ -x $PYTHON ]] || PYTHON=python3
: "${LIMIT_S:=400}"

skip_all() {
	echo "skip $*"
	echo "0 passed, 0 failed, 1 skipped"
	exit 0
}

# need PROGRAM...: or nothing here can be tested.
need() {
	local program

	for program in "$@"; do
		[[ -n $(command -v "$program") ]] || skip_all "$script: needs $program"
	done
}

# The script once more, inside; everything ends when it does, or after LIMIT_S.
enter() {
	if [[ -z $WGX_INSIDE ]]; then
		[[ $UID -eq 0 && -c /dev/net/tun && -x $WG_XDP ]] ||
			skip_all "$script: needs root, /dev/net/tun and $WG_XDP"
		WGX_INSIDE=1 exec timeout --foreground --kill-after=5 "$LIMIT_S" unshare --mount --net --pid --fork \
			--kill-child --mount-proc --propagation private -- bash "$0" "$@"
	fi
	verbose=0
	[[ $1 == -v ]] && verbose=1 && shift
	sections=("$@")
	n_passed=0 n_failed=0 n_skipped=0
	tmp=$(mktemp -d /tmp/wgx.XXXXXX)
	trap 'umount -l "$tmp"; rmdir "$tmp"' EXIT
	trap 'exit 130' INT TERM
	mount -t tmpfs -o mode=0755 tmpfs "$tmp"
	mount -t tmpfs -o mode=0755 tmpfs /run
	mkdir -p /run/netns /etc/wireguard
	# A copy: a build going on meanwhile does not change what is tested.
	install -m 0755 "$WG_XDP" "$tmp/wg-xdp"
	WG_XDP=$tmp/wg-xdp
	mount -t tmpfs -o mode=0700 tmpfs /etc/wireguard
	key1=$(wg genkey) key2=$(wg genkey) key3=$(wg genkey) psk=$(wg genpsk)
	pub1=$(wg pubkey <<< "$key1") pub2=$(wg pubkey <<< "$key2") pub3=$(wg pubkey <<< "$key3")
}

wanted() {
	[[ ${#sections[@]} -eq 0 || " ${sections[*]} " == *" $1 "* ]]
}

# ------ results ------

# check NAME COMMAND...: commands of a function are echoed to a log, and the first that fails ends it.
check() {
	local name=$1 status

	shift
	: > "$tmp/check.log"
	if [[ $verbose -eq 1 ]]; then
		(set -eEx; "$@") 2>&1 | tee "$tmp/check.log"
		status=${PIPESTATUS[0]}
	else
		(set -eEx; "$@") > "$tmp/check.log" 2>&1 < /dev/null
		status=$?
	fi
	if [[ $status -eq 77 ]]; then
		skip "$name" "$(sed -n 's/^skip //p' "$tmp/check.log" | tail -n 1)"
	elif [[ $status -eq 0 ]]; then
		echo "ok $name"
		n_passed=$((n_passed + 1))
	else
		echo "not ok $name"
		n_failed=$((n_failed + 1))
		tail -n 30 "$tmp/check.log" | sed "s/^/    | /; s|$key1|KEY1|; s|$key2|KEY2|; s|$key3|KEY3|; s|$psk|PSK|"
		grep -hv '^+' "$tmp"/agent-*.log 2>/dev/null | tail -n 12 | sed 's/^/    agent | /'
	fi
	return "$status"
}

skip() {
	echo "skip $1: $2"
	n_skipped=$((n_skipped + 1))
}

# Inside check: this one cannot be tested here.
skip_this() {
	echo "skip $*"
	exit 77
}

# Inside check: what a sanitizer's own memory and system calls make impossible.
not_with_sanitizer() {
	! ldd "$WG_XDP" | grep -qE 'lib[alt]san' || skip_this "not with a sanitizer: $*"
}

finish() {
	echo "$script: $SECONDS s"
	echo "$n_passed passed, $n_failed failed, $n_skipped skipped"
	exit $((n_failed > 0))
}

# ------ waiting ------

# wait_for SECONDS COMMAND...: until it succeeds, looked at every 50 ms.
wait_for() {
	{ local -; set +x; } 2>/dev/null
	local end

	end=$((${EPOCHREALTIME/./} + $(printf %.0f "$1e6")))
	shift
	until "$@"; do
		((${EPOCHREALTIME/./} < end)) || return 1
		sleep 0.05
	done 2>/dev/null
}

fails() {
	if "$@"; then return 1; fi
}

# What the helpers do themselves is not echoed: "local -" has the option back at the function's end.
is() {
	{ local -; set +x; } 2>/dev/null
	[[ $1 == "$2" ]] || { echo "expected: $2"; echo "     got: $1"; return 1; }
}

has() {
	{ local -; set +x; } 2>/dev/null
	[[ $2 == *"$1"* ]] || { echo "expected: ...$1..."; echo "     got: $2"; return 1; }
}

# ------ namespaces ------

in_ns() {
	{ local -; set +x; } 2>/dev/null
	local ns=$1

	shift
	nsenter "--net=/run/netns/wgx-$ns" -- "$@"
}
n0() { in_ns 0 "$@"; }
n1() { in_ns 1 "$@"; }
n2() { in_ns 2 "$@"; }
ip0() { ip -n wgx-0 "$@"; }
ip1() { ip -n wgx-1 "$@"; }
ip2() { ip -n wgx-2 "$@"; }
helper() { "$PYTHON" "$here/helper.py" "$@"; }
help_in() {
	{ local -; set +x; } 2>/dev/null
	local ns=$1

	shift
	in_ns "$ns" "$PYTHON" "$here/helper.py" "$@"
}

# end PID: what a function in the background has started there.
end() {
	pkill -P "$1" || true
	wait "$1" 2>/dev/null || true
}

sysctl_in() {
	in_ns "$1" bash -c "echo $3 > /proc/sys/${2//.//}"
}

# add_namespaces [NUMBER]...: 0, 1 and 2.
add_namespaces() {
	local ns

	[[ $# -gt 0 ]] || set -- 0 1 2
	for ns in "$@"; do
		ip netns add "wgx-$ns"
		# No address of ours is ever tentative, and no packet is sent that nobody asked for.
		sysctl_in $ns net.ipv6.conf.all.accept_dad 0
		sysctl_in $ns net.ipv6.conf.default.accept_dad 0
		sysctl_in $ns net.ipv6.conf.default.router_solicitations 0
		ip -n "wgx-$ns" link set lo up
	done
}

# veth NS NAME NS NAME: a cable.
veth() {
	ip -n "wgx-$1" link add "$2" type veth peer name "$4" netns "wgx-$3"
	ip -n "wgx-$1" link set "$2" up
	ip -n "wgx-$3" link set "$4" up
}

listens() {
	[[ -n $(in_ns "$1" ss -"$2"lnH "sport = :$3") ]]
}

# ------ tunnels ------

sock() { echo "/run/wireguard/$1.sock"; }

# start NS NAME [PROGRAM]: its log is $tmp/agent-NAME.log.
start() {
	LOG_LEVEL=verbose in_ns "$1" "${3:-$WG_XDP}" "$2" >> "$tmp/agent-$2.log" 2>&1
	[[ -S $(sock "$2") ]]
}

# start_moved NAME NS: sockets stay in wgx-0, the device goes to NS.
start_moved() {
	start 0 "$1"
	ip0 link set "$1" netns "wgx-$2"
}

is_gone() { [[ ! -e $(sock "$1") ]]; }

# stop NAME: as everybody may, by removing the socket.
stop() {
	{ local -; set +x; } 2>/dev/null
	local pids

	pids=$(pids_of "$1")
	rm -f "$(sock "$1")"
	wait_for 5 are_dead "$pids"
}

# The processes of a tunnel: all that have its name as last argument.
pids_of() {
	{ local -; set +x; } 2>/dev/null
	local dir args

	for dir in /proc/[0-9]*; do
		mapfile -d '' -t args < "$dir/cmdline" 2>/dev/null
		[[ ${#args[@]} -ge 2 && ${args[-1]} == "$1" && ${args[0]} =~ wg-xdp|wireguard-go ]] && echo "${dir#/proc/}"
	done 2>/dev/null
	return 0
}

# The one that holds the keys is the child of the other.
agent_of() {
	{ local -; set +x; } 2>/dev/null
	local pid parent pids

	pids=$(pids_of "$1")
	for pid in $pids; do
		parent=$(awk '$1 == "PPid:" { print $2 }' "/proc/$pid/status")
		[[ " ${pids//$'\n'/ } " == *" $parent "* ]] && echo "$pid" && return
	done
	return 1
}

monitor_of() {
	awk '$1 == "PPid:" { print $2 }' "/proc/$(agent_of "$1")/status"
}

are_dead() {
	local pid

	for pid in $1; do
		[[ ! -d /proc/$pid ]] || grep -q '^State:.Z' "/proc/$pid/status" || return 1
	done
}

stop_all() {
	local socket

	for socket in /run/wireguard/*.sock; do
		[[ -S $socket ]] || continue
		socket=${socket##*/}
		stop "${socket%.sock}"
	done
}

remove_namespaces() {
	local ns

	stop_all
	for ns in /run/netns/wgx-*; do
		[[ -e $ns ]] && ip netns delete "${ns##*/}"
	done
	return 0
}

endpoint_of() { # tunnel peer
	wg show "$1" endpoints | awk -v peer="$2" '$1 == peer { print $2 }'
}

# What only this program tells of itself.
extra() { printf 'wg_xdp=1\n\n' | helper uapi "$(sock "$1")"; }
is_up() { extra "$1" | grep -qx up=1; }

transfer_of() { # tunnel: "rx tx" of its only peer
	wg show "$1" transfer | cut -f 2,3 | tr '\t' ' '
}

# ping_ok NS ADDRESS [ARGS]: within a second.
ping_ok() {
	local ns=$1 address=$2

	shift 2
	in_ns "$ns" ping -n -c 1 -W 1 "$@" "$address"
}

flood() { # NS ADDRESS [N]
	in_ns "$1" ping -n -q -c "${3:-10}" -f -W 1 "$2"
}

# iperf SERVER_NS CLIENT_NS ADDRESS ARGS...
iperf() {
	local server=$1 client=$2 address=$3 pid

	shift 3
	in_ns "$server" timeout 40 iperf3 -s -1 -B "$address" &
	pid=$!
	wait_for 5 listens "$server" t 5201
	in_ns "$client" timeout 40 iperf3 -c "$address" --connect-timeout 3000 -f m "$@"
	wait $pid
}
