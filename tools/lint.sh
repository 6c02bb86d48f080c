#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# What can be said about the code without running it. One line per check, "ok NAME" or "not ok NAME" after what is
# wrong; a tool that is not installed is a skip. The last line is "N passed, N failed, N skipped".
#
#   tools/lint.sh [CHECK...]      default: all of them, in the order of the list below
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

checks="spdx products lengths columns shell layering purity warnings-gcc warnings-clang clang-tidy cppcheck"
BUILD=${BUILD:-build}
allow=tools/lint-allow
spdx='SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause'
n_passed=0 n_failed=0 n_skipped=0

# Everything that is or will be tracked; without git, everything there is.
files()
{
	if git rev-parse --git-dir >/dev/null 2>&1; then
		git ls-files --cached --others --exclude-standard
	else
		find . -path './build*' -prune -o -type f -print | sed 's,^\./,,'
	fi | while read -r file; do [[ ! -f $file ]] || echo "$file"; done | sort
}

c_files()
{
	files | grep -E '^(bpf|include|user|tools|tests)/.*\.[ch]$'
}

# Scripts, and what they source.
shell_files()
{
	local file

	files | while read -r file; do
		! head -n 1 "$file" 2>/dev/null | grep -qaE '^#!.*/(ba)?sh|^# shellcheck shell=' || echo "$file"
	done
}

# Is this exception written down? tools/lint-allow: "path reason..." or "path:function reason...".
is_allowed()
{
	awk -v what="$1" '$1 == what && NF > 1 { found = 1 } END { exit !found }' "$allow"
}

# Each check prints what is wrong and succeeds if that is nothing.

check_spdx()
{
	local file bad=0

	while read -r file; do
		case $file in
		LICENSE* | *.md | *.json | *.txt | tests/fuzz/corpus/*) continue ;;
		esac
		if ! head -n 2 "$file" | grep -qaF "$spdx"; then
			echo "$file: no SPDX line among the first two"
			bad=1
		fi
	done < <(files)
	return $bad
}

check_products()
{
	local found

	found=$(files | grep -v '^tests/fuzz/corpus/' | grep -E '(^|/)build[^/]*/|\.(o|a|so|skel\.h|pyc|log|orig|rej)$')
	[[ -z $found ]] || printf '%s: is generated, not ignored\n' "$found"
	[[ -z $found ]]
}

# A test program holds all cases of its module, so it may be longer.
check_lengths()
{
	local file name lines bad=0

	while read -r file name lines; do
		if [[ $name == - ]]; then
			[[ $file != tests/* || $lines -gt 1000 ]] || continue
			is_allowed "$file" || { echo "$file: $lines lines, more than 600 (tests: 1000)"; bad=1; }
		else
			is_allowed "$file:$name" || { echo "$file: $name() has $lines lines, more than 80"; bad=1; }
		fi
	done < <(c_files | xargs awk '
		FNR == 1 { if (lines > 600) print last, "-", lines; last = FILENAME; inside = 0 }
		{ lines = FNR }
		/^[A-Za-z_].*\(/ && !/;[ \t]*$/ { name = $0; sub(/\(.*/, "", name); sub(/.*[ \t*]/, "", name) }
		/^\{/ { inside = 1; start = FNR }
		/^\}/ && inside { if (FNR - start - 1 > 80) print FILENAME, name, FNR - start - 1; inside = 0 }
		END { if (lines > 600) print last, "-", lines }')
	return $bad
}

check_columns()
{
	local file bad=0

	while read -r file; do
		expand -t 8 "$file" | awk -v file="$file" '
			length($0) > 127 { printf "%s:%d: %d columns\n", file, NR, length($0); bad = 1 }
			END { exit bad }' || bad=1
		grep -nE '[[:blank:]]+$' "$file" | sed "s,:.*,: blanks at the end,;s,^,$file:," | grep . && bad=1
	done < <(c_files; shell_files; echo Makefile)
	return $bad
}

check_shell()
{
	command -v shellcheck >/dev/null || return 77
	shell_files | xargs shellcheck -x -P SCRIPTDIR -S warning
}

check_layering()
{
	make -s layering
}

# Level 1 is pure: its objects ask nothing of the kernel but, in secret.c, for locked memory.
check_purity()
{
	local name object calls bad=0
	local forbidden='socket|bind|connect|send|sendto|sendmsg|recv|recvmsg|read|write|open|openat|close|ioctl|poll'
	forbidden+='|select|epoll_.*|clock_gettime|gettimeofday|time|getrandom|random|rand|randombytes_.*'
	forbidden+='|printf|puts|syslog|fopen|log_.*'

	make -s "$BUILD/libwgxdp.a" || return 1
	while read -r name; do
		object=$(find "$BUILD/obj/user" -name "$name.o")
		[[ -n $object ]] || continue
		calls=$(nm -u "$object" | awk '{ sub(/@.*/, "", $2); print $2 }' | grep -xE "$forbidden" | tr '\n' ' ')
		[[ -n $calls ]] || continue
		is_allowed "user/$name:calls" || { echo "user/$name: level 1 calls $calls"; bad=1; }
	done < <(awk -v print_level=1 -f tools/layering.awk)
	return $bad
}

extra_warnings="-Wshadow -Wundef -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla"

# build_with COMPILER FLAGS: the program with more warnings than usual, the tests with the usual ones.
build_with()
{
	make -s -k -j"$(nproc)" BUILD="build-lint-$1" CC="$1" CPPFLAGS="$2" all &&
		make -s -k -j"$(nproc)" BUILD="build-lint-$1" CC="$1" tests
}

check_warnings-gcc()
{
	build_with gcc "$extra_warnings -Wduplicated-cond -Wlogical-op"
}

check_warnings-clang()
{
	command -v clang >/dev/null || return 77
	build_with clang "$extra_warnings"
}

check_clang-tidy()
{
	local flags=(-std=gnu17 -Iinclude -Iuser "-I$BUILD/bpf" -I/usr/include/libnl3 '-DWG_XDP_VERSION="lint"')

	command -v clang-tidy >/dev/null || return 77
	c_files | grep -E '^(user|tools)/.*\.c$' |
		xargs -P "$(nproc)" -I{} clang-tidy --quiet {} -- "${flags[@]}" 2>/dev/null
}

# Byte-order conversions that do nothing here look like self-assignments to it, and out parameters in structs like
# uninitialised variables; clang's analyzer does better at those.
check_cppcheck()
{
	command -v cppcheck >/dev/null || return 77
	# shellcheck disable=SC2046 # paths without blanks
	cppcheck --quiet --std=c11 --enable=warning,portability --inline-suppr --error-exitcode=1 -j "$(nproc)" \
		--suppress=missingIncludeSystem --suppress=unknownMacro --suppress=selfAssignment \
		--suppress=arrayIndexThenCheck --suppress=uninitvar -Iinclude -Iuser \
		$(c_files | grep -E '^(user|tools)/.*\.c$')
}

report()
{
	local name=$1 rc=$2

	case $rc in
	0) n_passed=$((n_passed + 1)) && echo "ok $name" ;;
	77) n_skipped=$((n_skipped + 1)) && echo "skip $name its tool is not installed" ;;
	*) n_failed=$((n_failed + 1)) && echo "not ok $name" ;;
	esac
}

(($# > 0)) || read -r -a list <<<"$checks"
(($# == 0)) || list=("$@")
for name in "${list[@]}"; do
	if [[ " $checks " != *" $name "* ]]; then
		echo "no check '$name'; there are: $checks" >&2
		exit 2
	fi
	"check_$name"
	report "$name" $?
done
echo "$n_passed passed, $n_failed failed, $n_skipped skipped"
((n_failed == 0))
