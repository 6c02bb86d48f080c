#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Prints the path of a wireguard-go that knows offloads (0.0.20231211 or later): the installed one, or Debian 12's
# backport, unpacked below the build directory. Exit code 1, and why, when there is none to be had.
#
# The system's apt configuration is read, never changed: lists, state and cache are our own.
set -uo pipefail

build=$(realpath -m "${BUILD:-$(dirname "$0")/../../build}")
target=$build/wireguard-go
wanted=0.0.20231211

fail() {
	echo "$*" >&2
	exit 1
}

is_recent() {
	dpkg --compare-versions "$1" ge $wanted
}

# "URI" of the archive that has bookworm's main, as this system knows it, in either format of sources.
archive_uri() {
	local file

	for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[[ -e $file ]] && sed -n 's/^deb \(\[[^]]*\] \)\?\([^ ]*\) bookworm main.*/\2/p' "$file"
	done
	for file in /etc/apt/sources.list.d/*.sources; do
		[[ -e $file ]] && awk -v RS= '/\nSuites:([^\n]* )?bookworm( |\n|$)/ && /\nComponents:([^\n]* )?main( |\n|$)/ {
			if (match($0, /\nURIs: *[^ \n]+/)) {
				uri = substr($0, RSTART, RLENGTH)
				sub(/^\nURIs: */, "", uri)
				print uri
			}
		}' "$file"
	done
}

keyring() {
	local file

	for file in /usr/share/keyrings/debian-archive-keyring.gpg /etc/apt/trusted.gpg; do
		[[ -e $file ]] && echo "$file" && return
	done
	return 1
}

unpack_backport() {
	local uri key
	local options

	uri=$(archive_uri | head -n 1)
	[[ -n $uri ]] || fail "the installed wireguard-go is older than $wanted, and this is no Debian 12 with a known archive"
	key=$(keyring) || fail "no keyring of the Debian archive"
	mkdir -p "$target"/{lists/partial,cache/archives/partial,state} || exit 1
	echo "deb [signed-by=$key] $uri bookworm-backports main" > "$target/sources.list"
	: > "$target/state/status"
	options=(-q -o Dir::Etc::sourcelist="$target/sources.list" -o Dir::Etc::sourceparts=-
		-o Dir::State="$target/state" -o Dir::State::lists="$target/lists" -o Dir::State::status="$target/state/status"
		-o Dir::Cache="$target/cache" -o APT::Sandbox::User=root -o Acquire::Languages=none
		-o Acquire::http::Timeout=20 -o Acquire::Retries=1)
	timeout 120 apt-get "${options[@]}" update >&2 || fail "bookworm-backports cannot be reached"
	(cd "$target" && timeout 60 apt-get "${options[@]}" download wireguard-go >&2) ||
		fail "bookworm-backports has no wireguard-go that can be downloaded"
	dpkg-deb -x "$(find "$target" -maxdepth 1 -name 'wireguard-go_*.deb' | sort -V | tail -n 1)" "$target/root" ||
		fail "the package cannot be unpacked"
	rm -rf "$target/lists" "$target/cache" "$target/state"
}

installed=$(dpkg-query -W -f='${Version}' wireguard-go 2>/dev/null)
if [[ -n $installed ]] && is_recent "$installed"; then
	command -v wireguard-go
	exit
fi
[[ -x $target/root/usr/bin/wireguard-go ]] || unpack_backport
echo "$target/root/usr/bin/wireguard-go"
