# shellcheck shell=bash disable=SC2154 # in-guest.sh, which sources this, sets them
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# What the cases of in-guest.sh are made of. A case is a subshell: the first thing that is wrong ends it. Its number
# and its directory are in $number and $dir; "side" is x (wg-xdp) or k (the kernel).

sockets=/var/run/wireguard

fail()
{
	echo "FAILED: $*"
	exit 1
}

skip()
{
	echo "SKIP: $*"
	exit 77
}

must()
{
	echo "+ $*"
	"$@" || fail "'$*' ended with exit code $?"
}

in_x() { nsenter --net="/var/run/netns/$x_ns" "$@"; }
in_k() { nsenter --net="/var/run/netns/$k_ns" "$@"; }

# at SIDE COMMAND...
at()
{
	local side=$1

	shift
	"in_$side" "$@"
}

other() { if [[ $1 == x ]]; then echo k; else echo x; fi; }
interface() { if [[ $1 == x ]]; then echo "$x_if"; else echo "$k_if"; fi; }
public_key() { cat "$dir/$1.pub"; }
inner() { if [[ $1 == x ]]; then echo 10.77.0.1; else echo 10.77.0.2; fi; }
inner6() { if [[ $1 == x ]]; then echo fd77::1; else echo fd77::2; fi; }
port() { if [[ $1 == x ]]; then echo 1000; else echo 2000; fi; }

# address SIDE v4|v6, as wg(8) writes it
address()
{
	local host=1

	[[ $1 == x ]] || host=2
	if [[ $2 == v4 ]]; then echo "192.0.2.$host"; else echo "[2001:db8::$host]"; fi
}

# show SIDE FIELD: of the only peer
show() { at "$1" wg show "$(interface "$1")" "$2" | cut -f 2-; }

# within SECONDS COMMAND...: until it succeeds
within()
{
	local end=$((SECONDS + $1))

	shift
	until "$@"; do
		((SECONDS < end)) || return 1
		sleep 0.2
	done
}

is_equal() { [[ $("${@:2}") == "$1" ]]; }
is_shaken() { (($(show "$1" latest-handshakes) > 0)); }

# What the kernel has counted as sent is what wg-xdp has counted as received, and the reverse.
is_mirrored() { [[ $(show x transfer) == "$(show k transfer | awk '{ print $2 "\t" $1 }')" ]]; }

must_mirror()
{
	within 10 is_mirrored || fail "received and sent: wg-xdp $(show x transfer), kernel $(show k transfer)"
	echo "received and sent at wg-xdp's: $(show x transfer)"
}

# reach SIDE [OPTION]...: pings the other side, in both families.
reach()
{
	local side=$1 to

	shift
	to=$(other "$side")
	must at "$side" ping -n -c 3 -i 0.3 -W 15 "$@" "$(inner "$to")"
	must at "$side" ping -n -c 3 -i 0.3 -W 15 "$@" "$(inner6 "$to")"
}

# Counters of what passes wg-xdp's eth0, by the lengths of the messages.
install_counters()
{
	local direction

	for direction in out in; do
		echo "table inet $direction {"
		printf 'counter %s { }\n' initiation initiation_mac2 response response_mac2 cookie keepalive \
			handshake_af41
		if [[ $direction == out ]]; then
			echo 'chain c { type filter hook postrouting priority 300;
				oifname != "eth0" return'
		else
			echo 'chain c { type filter hook prerouting priority -300;
				iifname != "eth0" return'
		fi
		echo 'udp length 156 counter name initiation
			udp length 156 @th,1120,128 != 0 counter name initiation_mac2
			udp length 100 counter name response
			udp length 100 @th,672,128 != 0 counter name response_mac2
			udp length 72 counter name cookie
			udp length 40 counter name keepalive
			udp length { 100, 156 } ip dscp af41 ip ecn not-ect counter name handshake_af41
			udp length { 100, 156 } ip6 dscp af41 ip6 ecn not-ect counter name handshake_af41'
		printf '}\n}\n'
	done | in_x nft -f -
}

# counted out|in NAME: how many packets; out is from wg-xdp to the kernel.
counted() { in_x nft list counter inet "$1" "$2" | awk '$1 == "packets" { print $2 }'; }

from() { if [[ $1 == x ]]; then echo out; else echo in; fi; }
has_counted() { (($(counted "$1" "$2") >= $3)); }

has_started() { [[ -S $sockets/$x_if.sock ]] || ! kill -0 "$agent"; }

start_wg_xdp()
{
	LOG_LEVEL=verbose in_x "$program" -f "$x_if" >"$dir/agent.log" 2>&1 &
	agent=$!
	within 30 has_started || fail "wg-xdp has not made its socket"
	kill -0 "$agent" || fail "wg-xdp has ended"
}

# Namespaces, cable, both tunnels with their addresses; no keys yet.
stage()
{
	local host side

	x_ns=wgx-kernels-$number-x k_ns=wgx-kernels-$number-k x_if=wgx$number k_if=wgk$number
	trap unstage EXIT
	must ip netns add "$x_ns"
	must ip netns add "$k_ns"
	must ip -netns "$x_ns" link add eth0 type veth peer name eth0 netns "$k_ns"
	start_wg_xdp
	must ip -netns "$k_ns" link add "$k_if" type wireguard
	for side in x k; do
		host=1
		[[ $side == x ]] || host=2
		at $side sysctl -q net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0
		ip -netns "wgx-kernels-$number-$side" -batch - <<-END || fail "no addresses"
			link set lo up
			address add 192.0.2.$host/24 dev eth0
			address add 2001:db8::$host/64 dev eth0 nodad
			link set eth0 up
			address add 10.77.0.$host/24 dev $(interface $side)
			address add fd77::$host/64 dev $(interface $side) nodad
			link set $(interface $side) up mtu 1420
		END
		(umask 077 && wg genkey >"$dir/$side.key")
		wg pubkey <"$dir/$side.key" >"$dir/$side.pub"
	done
	install_counters || fail "no counters"
}

unstage()
{
	local status=$?

	trap - EXIT
	if ((status != 0 && status != 77)); then
		echo "--- $(in_x wg show "$x_if" 2>&1)"
		echo "--- $(in_k wg show "$k_if" 2>&1)"
		echo "--- counters"
		in_x nft list counters | awk '$1 == "table" { t = $3 } $1 == "counter" { n = $2 }
			$2 > 0 && $1 == "packets" { print t, n, $2 }'
		echo "--- wg-xdp's log"
		tail -n 25 "$dir/agent.log"
	fi
	if [[ -n ${agent-} ]]; then
		kill "$agent" 2>/dev/null
		wait "$agent"
	fi
	ip netns del "$x_ns"
	ip netns del "$k_ns"
	exit "$status"
}

# join INITIATOR v4|v6 [psk]: only the initiator knows where the other side is.
join()
{
	local by=$1 outer=$2 side to psk=()

	if [[ -n ${3-} ]]; then
		(umask 077 && wg genpsk >"$dir/psk")
		psk=(preshared-key "$dir/psk")
	fi
	for side in x k; do
		to=$(other $side)
		must at $side wg set "$(interface $side)" private-key "$dir/$side.key" listen-port "$(port $side)" \
			peer "$(public_key "$to")" "${psk[@]}" allowed-ips "$(inner "$to")/32,$(inner6 "$to")/128"
	done
	to=$(other "$by")
	must at "$by" wg set "$(interface "$by")" peer "$(public_key "$to")" \
		endpoint "$(address "$to" "$outer"):$(port "$to")"
}
