#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# TCP through the tunnel, one flow and four, over a plain veth: wg-xdp and wireguard-go in turn, round by round, since the
# machine's speed wanders. Prints medians, their ratios, and the CPU seconds of the whole box per GB.
#
#   ROUNDS [5], SECONDS_PER_RUN [5], FLOWS ["1 4"]
set -u
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

rounds=${ROUNDS:-5}
seconds=${SECONDS_PER_RUN:-5}
flows_list=${FLOWS:-1 4}
go=${WIREGUARD_GO:-$(bash "$root/tests/netns/fetch-wireguard-go.sh")} || exit 1
declare -A program=([wg-xdp]=$build/wg-xdp [wireguard-go]=$go)
json=$out/tcp.json

# one_run FLOWS: prints "Gbit/s CPU-s/GB" of one run through the tunnel that is up.
one_run() {
	local before after bytes report
	in_b iperf3 -s -1 -D --logfile /dev/null
	wait_for 5 sh -c 'nsenter --net=/var/run/netns/wgx-bench-b ss -Hltn "sport = :5201" | grep -q .' || return 1
	before=$(busy_ticks)
	report=$(in_a iperf3 -c 10.98.0.2 -t "$seconds" -P "$1" -J) || return 1
	after=$(busy_ticks)
	bytes=$(echo "$report" | awk '/"sum_received"/ { on = 1 } on && /"bytes"/ { gsub(/[^0-9]/, ""); print; exit }')
	awk -v bytes="$bytes" -v seconds="$seconds" -v ticks=$((after - before)) -v hz="$(getconf CLK_TCK)" \
		'BEGIN { printf "%.3f %.3f\n", bytes * 8 / seconds / 1e9, ticks / hz / (bytes / 1e9) }'
}

declare -A rates costs
for ((round = 1; round <= rounds; round++)); do
	for who in wg-xdp wireguard-go; do
		bench_tunnel "${program[$who]}" || { echo "bench: $who does not come up" >&2; exit 1; }
		for flows in $flows_list; do
			read -r rate cost < <(one_run "$flows") ||
				{ echo "bench: $who, $flows flow(s): no result" >&2; exit 1; }
			printf 'round %d  %-12s  %d flow(s)  %6.2f Gbit/s  %5.2f CPU-s/GB\n' \
				"$round" "$who" "$flows" "$rate" "$cost"
			rates[$who.$flows]+=" $rate"
			costs[$who.$flows]+=" $cost"
		done
	done
done
bench_end

{
	printf '{ %s, "seconds": %s,\n' "$(machine_json)" "$seconds"
	separator=''
	for flows in $flows_list; do
		for who in wg-xdp wireguard-go; do
			printf '%s  "%s %s flows": { "gbit_per_s": [%s], "cpu_s_per_gb": [%s] }' "$separator" "$who" "$flows" \
				"$(echo ${rates[$who.$flows]} | tr ' ' ,)" "$(echo ${costs[$who.$flows]} | tr ' ' ,)"
			separator=$',\n'
		done
	done
	printf '\n}\n'
} >"$json"

echo
echo "Medians of $rounds interleaved rounds, $("$go" --version 2>/dev/null | head -n 1):"
for flows in $flows_list; do
	# shellcheck disable=SC2086
	xr=$(median ${rates[wg-xdp.$flows]}) gr=$(median ${rates[wireguard-go.$flows]})
	# shellcheck disable=SC2086
	xc=$(median ${costs[wg-xdp.$flows]}) gc=$(median ${costs[wireguard-go.$flows]})
	awk -v f="$flows" -v xr="$xr" -v gr="$gr" -v xc="$xc" -v gc="$gc" 'BEGIN {
		printf "  %d flow(s): wg-xdp %.2f Gbit/s, %.2f CPU-s/GB; wireguard-go %.2f Gbit/s, %.2f CPU-s/GB: ",
			f, xr, xc, gr, gc
		printf "%.2fx the rate at %.2fx the CPU time\n", xr / gr, xc / gc }'
done
echo "  $json"
