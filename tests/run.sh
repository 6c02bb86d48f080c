#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Runs the test programs that are built, one line each, and adds up. The last line is "N passed, N failed, N skipped".
#
#   BUILD=build tests/run.sh [WHAT...]     WHAT: a group, or one program: unit/test_replay
#
# Groups: unit; valgrind (those unit tests that can watch for branches on secrets there); bpf; sim; netns (whole
# programs between network namespaces); fuzz. All but fuzz by default.
#
# Counted are cmocka's summaries, "ok"/"not ok"/"skip" lines, and a program's own closing line, which outweighs its
# lines. A program that ends badly without a failed test is one failure, and so is one that tests nothing; exit code
# 77 is a skip. What a program printed is in $BUILD/test-logs; it is shown when it failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

BUILD=${BUILD:-build}
logs=$BUILD/test-logs
limit_s=${TEST_LIMIT_S:-600}
parallel_units=2
fuzz_seconds=${FUZZ_SECONDS:-60}
wrapper=()

export BUILD WG_XDP="$PWD/$BUILD/wg-xdp"
export ASAN_OPTIONS="detect_leaks=1:strict_string_checks=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}"
export TSAN_OPTIONS="second_deadlock_stack=1${TSAN_OPTIONS:+:$TSAN_OPTIONS}"
[[ ! -e tests/tsan.supp ]] || TSAN_OPTIONS+=":suppressions=$PWD/tests/tsan.supp"
# ThreadSanitizer of GCC 12 and Clang 14 does not know the address layout of newer kernels with full randomisation.
[[ $BUILD != *tsan* ]] || wrapper=(setarch -R)

# Prints "passed failed skipped" for a finished program: its log and its exit code.
tally()
{
	awk -v rc="$2" '
		/^\[  PASSED  \] [0-9]+ test/ { passed += $4 }
		/^\[  FAILED  \] [0-9]+ test/ { failed += $4 }
		/^\[  SKIPPED \] [0-9]+ test/ { skipped += $4 }
		/^\[==========\]/ { cmocka = 1 }
		!cmocka && /^ok / { passed++ }
		!cmocka && /^not ok / { failed++ }
		!cmocka && /^skip / { skipped++ }
		/^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$/ { closed = 1; p = $1; f = $3; s = $5 }
		END {
			if (closed) { passed = p; failed = f; skipped = s }
			if (rc == 77 && !failed) { passed = 0; skipped += !skipped }
			else if (rc != 0 && !failed) failed = 1
			else if (!(passed + failed + skipped)) failed = 1
			print passed + 0, failed + 0, skipped + 0
		}' "$1"
}

# run NAME COMMAND...: one program, one line of progress. The result goes to a file, since this may be a background job.
run()
{
	local name=$1 log started=$EPOCHREALTIME rc passed failed skipped word=ok

	shift
	log=$logs/${name//\//-}.log
	"${wrapper[@]}" timeout --kill-after=10 "$limit_s" "$@" >"$log" 2>&1 </dev/null
	rc=$?
	read -r passed failed skipped < <(tally "$log" "$rc")
	((failed == 0)) || word=FAILED
	((passed > 0 || failed > 0)) || word=skipped
	printf '%-34s %-7s %5d passed %3d failed %3d skipped %7.1f s\n' "$name" "$word" "$passed" "$failed" "$skipped" \
		"$(((${EPOCHREALTIME/./} - ${started/./}) / 100000))e-1"
	if ((failed > 0)); then
		((rc != 124 && rc != 137)) || echo "    stopped after $limit_s s"
		echo "    exit code $rc; the end of $log:"
		grep -v '^\[ RUN  \|^\[       OK' "$log" | tail -n 40 | sed 's/^/    | /'
	fi
	# Why something was not tested must be seen, not looked for.
	((skipped == 0)) || grep -i 'skip' "$log" | grep -vi 'test(s)' | awk '!seen[$0]++' | sed 's/^/    /'
	echo "$passed $failed $skipped" >"$logs/${name//\//-}.result"
}

# Programs of a group, as paths.
programs()
{
	case $1 in
	unit) find "$BUILD/tests" -maxdepth 1 -type f -name 'test_*' -perm -u+x ;;
	valgrind) grep -ls RUNNING_ON_VALGRIND tests/unit/test_*.c | sed "s,^tests/unit/\(.*\)\.c$,$BUILD/tests/\1," ;;
	bpf | sim) find "$BUILD/tests/$1" -type f -name 'test_*' -perm -u+x ;;
	netns) find tests/netns -maxdepth 1 -type f -name '*.sh' -perm -u+x ;;
	fuzz) find "$BUILD/fuzz" -maxdepth 1 -type f -name 'fuzz_*' -perm -u+x ;;
	esac 2>/dev/null | sort
}

# A fuzzer is one test: it finds nothing for a while. What it learns goes to the build directory.
run_fuzz()
{
	local name=$1 program=$2 learned=$BUILD/fuzz-corpus/$1
	local corpus=("$learned")

	mkdir -p "$learned"
	[[ ! -d tests/fuzz/corpus/$name ]] || corpus+=("tests/fuzz/corpus/$name")
	[[ ! -d tests/fuzz/corpus/${name#fuzz_} ]] || corpus+=("tests/fuzz/corpus/${name#fuzz_}")
	# shellcheck disable=SC2016 # expanded by the inner shell
	run "fuzz/$name" bash -c '"$@" && echo "ok $0"' "$name" "$program" -max_total_time="$fuzz_seconds" -timeout=20 \
		-error_exitcode=1 -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$logs/" "${corpus[@]}"
}

run_group()
{
	local group=$1 only=${2-} program name found=0

	while read -r program; do
		[[ -n $program ]] || continue
		name=$(basename "$program")
		# A program whose source is gone is left over from an older build.
		[[ $group == netns || -e tests/${group/valgrind/unit}/$name.c ]] || continue
		[[ -z $only || ${name%.sh} == "${only%.sh}" ]] || continue
		found=1
		case $group in
		unit)
			while (($(jobs -rp | wc -l) >= parallel_units)); do wait -n; done
			run "unit/$name" "$program" &
			;;
		valgrind)
			if command -v valgrind >/dev/null; then
				run "$group/$name" valgrind -q --error-exitcode=9 "$program"
			else
				run "$group/$name" sh -c 'echo "skip valgrind is not installed"; exit 77'
			fi
			;;
		fuzz) run_fuzz "$name" "$program" ;;
		*) run "$group/${name%.sh}" "$program" ;;
		esac
	done < <(programs "$group")
	wait
	if ((!found)) && [[ -n $only ]]; then
		echo "no test program $group/$only"
		echo "0 1 0" >"$logs/$group-$only.result"
	fi
}

stop()
{
	trap - INT TERM
	jobs -p | xargs -r kill 2>/dev/null
	echo "interrupted" >&2
	exit 130
}

main()
{
	local what passed failed skipped

	rm -rf "$logs"
	mkdir -p "$logs"
	trap stop INT TERM
	(($# > 0)) || set -- unit valgrind bpf sim netns
	for what in "$@"; do
		case ${what%%/*} in
		unit | valgrind | bpf | sim | netns | fuzz) ;;
		*)
			echo "no test group '$what': the groups are unit, valgrind, bpf, sim, netns and fuzz" >&2
			exit 2
			;;
		esac
		if [[ $what == */* ]]; then
			run_group "${what%%/*}" "${what#*/}"
		else
			run_group "$what"
		fi
	done
	read -r passed failed skipped < <(find "$logs" -name '*.result' -exec cat {} + |
		awk '{ p += $1; f += $2; s += $3 } END { print p + 0, f + 0, s + 0 }')
	echo "$passed passed, $failed failed, $skipped skipped"
	((failed == 0 && passed + skipped > 0))
}

main "$@"
