#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Boots Debian's own kernels in QEMU and runs tests/kernels/in-guest.sh, or another command, under each of them.
#
#   tests/kernels/run.sh [SERIES|VERSION]...             default: 6.1 6.12
#   tests/kernels/run.sh -c 'COMMAND' [SERIES|VERSION]   COMMAND in the project's directory instead of the tests
#
# The guest sees this machine's files, read-only under an overlay in memory: what is written there is gone with it.
# Kernels are fetched once and stay in ${XDG_CACHE_HOME:-~/.cache}/wg-xdp/kernels; the package lists that takes are in
# there too, so the system's own apt is read, never changed.
#
#   BUILD=build      the build directory to test
#   CASES="..."      only those of in-guest.sh's cases
#   GUEST_LIMIT_S    2400: a guest that needs longer has failed
#   GUEST_CPUS       1; 2 with KVM
#   GUEST_MEMORY_MIB 1536
#   DEBIAN_MIRROR    where to fetch kernels, if the system's sources name no Debian archive
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

project=$PWD
build=${BUILD:-build}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/wg-xdp/kernels
limit_s=${GUEST_LIMIT_S:-2400}
cpus=${GUEST_CPUS:-}
memory_mib=${GUEST_MEMORY_MIB:-1536}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
# Enough to find the root; the rest is loaded from there.
boot_modules="virtio_pci virtio_console virtiofs overlay"
work=""
pids=()

die()
{
	echo "kernels: $*" >&2
	exit 2
}

stop_all()
{
	local pid

	for pid in "${pids[@]}"; do
		kill "$pid" 2>/dev/null
	done
	wait 2>/dev/null
	pids=()
}

clean_up()
{
	trap - EXIT INT TERM
	stop_all
	[[ -z $work ]] || rm -rf "$work"
}

check_machine()
{
	local program

	((EUID == 0)) || die "needs root: a mount namespace and virtiofsd"
	[[ $(uname -m) == x86_64 ]] || die "boots x86-64 kernels only, and this is $(uname -m)"
	for program in qemu-system-x86_64 busybox modprobe depmod dpkg apt-get; do
		command -v $program >/dev/null || die "no program '$program': run 'tools/deps.sh kernels'"
	done
	! ldd "$(command -v busybox)" >/dev/null 2>&1 || die "busybox is not static: install busybox-static"
	[[ -n $(virtiofsd_program) ]] || die "no virtiofsd: install virtiofsd, or on Debian 12 qemu-system-common"
}

# ------ Getting a kernel ------

# The archives the system already trusts for Debian packages.
mirrors()
{
	if [[ -n ${DEBIAN_MIRROR-} ]]; then
		echo "$DEBIAN_MIRROR"
		return
	fi
	# shellcheck disable=SC2016 # apt's own variables
	apt-get indextargets --format '$(ORIGIN) $(RELEASE) $(REPO_URI)' |
		awk '$1 == "Debian" && $2 !~ /security/ { print $3 }' | sort -u
}

# Where a series is to be found.
suites()
{
	case $1 in
	6.1 | 6.1.*) echo "bookworm" ;;
	*) echo "bookworm-backports trixie" ;;
	esac
}

# apt with a configuration of our own for one suite: lists and state in the cache, sources from $1.
own_apt()
{
	local dir=$1 program=$2

	shift 2
	"$program" -qq -o "Dir::Etc::sourcelist=$dir/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o Dir::Etc::preferencesparts=/dev/null -o "Dir::State=$dir/state" -o "Dir::Cache=$dir/cache" \
		-o Dir::State::status=/dev/null -o APT::Sandbox::User=root -o APT::Architecture=amd64 \
		-o APT::Architectures=amd64 "$@"
}

# The newest cloud kernel of series $2 that the lists in $1 know.
newest()
{
	own_apt "$1" apt-cache search --names-only "^linux-image-${2//./\\.}\\.[^ ]*-cloud-amd64\$" |
		sed 's/^linux-image-\([^ ]*\) .*/\1/' | sort -V | tail -n 1
}

# Fetches the newest kernel of a series and unpacks it into $cache/VERSION. Prints VERSION.
fetch()
{
	local series=$1 suite mirror dir version

	for suite in $(suites "$series"); do
		dir=$cache/.apt/$suite
		mkdir -p "$dir"/{state/lists/partial,cache/archives/partial}
		for mirror in $(mirrors); do
			echo "deb [arch=amd64 signed-by=$keyring] $mirror $suite main"
		done >"$dir/sources.list"
		[[ -s $dir/sources.list ]] || die "apt's sources name no Debian archive: set DEBIAN_MIRROR"
		echo "kernels: looking for Linux $series in $suite" >&2
		own_apt "$dir" apt-get update >&2 || continue
		version=$(newest "$dir" "$series")
		[[ -n $version ]] || continue
		unpack "$dir" "$version" >&2 || die "cannot fetch linux-image-$version"
		echo "$version"
		return 0
	done
	die "no cloud kernel of series $series in $(suites "$series")"
}

unpack()
{
	local dir=$1 version=$2 fresh=$cache/.unpack.$$

	rm -rf "$fresh"
	mkdir -p "$fresh/root" || return 1
	echo "kernels: fetching linux-image-$version"
	(cd "$fresh" && own_apt "$dir" apt-get download "linux-image-$version") || return 1
	dpkg -x "$fresh"/*.deb "$fresh/root" || return 1
	# Packages since Debian 13 have it below /usr.
	[[ -d $fresh/root/lib/modules ]] || ln -s usr/lib "$fresh/root/lib"
	depmod -b "$fresh/root" "$version" && mv "$fresh/root" "$cache/$version" && rm -rf "$fresh"
}

# A series or a version to a version that is in the cache.
provide()
{
	local want=$1 found

	mkdir -p "$cache"
	if [[ -d $cache/$want ]]; then
		echo "$want"
		return
	fi
	found=$(find "$cache" -mindepth 1 -maxdepth 1 -type d -name "$want.*-cloud-amd64" -printf '%f\n' |
		sort -V | tail -n 1)
	if [[ -n $found ]]; then
		echo "$found"
	else
		(
			flock 9
			fetch "$want"
		) 9>"$cache/.lock"
	fi
}

# ------ What the guest starts from ------

# Process 1: the machine's root under an overlay, then over to it.
write_init()
{
	cat <<-'END'
		#!/bin/busybox sh
		/bin/busybox --install -s /bin
		mount -t proc proc /proc
		mount -t sysfs sysfs /sys
		mount -t devtmpfs dev /dev
		exec >/dev/console 2>&1
		for module in /modules/*; do
			insmod $module || echo "cannot load $module"
		done
		mount -t virtiofs -o ro machine /lower && mount -t tmpfs -o size=75% upper /upper || reboot -f
		mkdir /upper/data /upper/work
		mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work root /root || reboot -f
		version=$(uname -r)
		mkdir -p /root/lib/modules/$version
		mount --bind "/lower$(cat /kernel)/lib/modules/$version" /root/lib/modules/$version
		mount -t tmpfs run /root/run
		cp /second /root/run/second
		for dir in proc sys dev; do
			mount --move /$dir /root/$dir
		done
		exec switch_root /root /bin/bash /run/second
	END
}

# Process 1 on the machine's root. Output takes a pipe, since a virtio port can be opened only once.
write_second()
{
	declare -p project command build
	cat <<-'END'
		export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
		export HOME=/root LANG=C.UTF-8 BUILD=$build
		mkdir -p /run/lock /dev/pts /dev/shm
		ln -s /proc/self/fd /dev/fd
		ln -s fd/0 /dev/stdin
		ln -s fd/1 /dev/stdout
		ln -s fd/2 /dev/stderr
		mount -t devpts devpts /dev/pts
		mount -t tmpfs shm /dev/shm
		mount -t bpf bpf /sys/fs/bpf
		mount -t cgroup2 cgroup2 /sys/fs/cgroup
		mount -t tracefs tracefs /sys/kernel/tracing
		hostname guest
		ip link set lo up
		ulimit -l unlimited
		# Ports come up a little after their driver; the first number is the device's.
		for n in {1..100}; do
			port=$(compgen -G '/dev/vport*p2') && break
			sleep 0.1
		done
		mkfifo /run/output
		cat /run/output >"${port%2}1" &
		(cd "$project" && exec setsid bash -c "$command") </dev/null >/run/output 2>&1
		echo $? >"$port"
		# Something may have been left running, with the pipe open.
		for n in {1..20}; do
			kill -0 $! 2>/dev/null || break
			sleep 0.1
		done
		echo b >/proc/sysrq-trigger
		sleep 60
	END
}

make_initramfs()
{
	local version=$1 out=$2 root=$work/initramfs module n=100

	rm -rf "$root"
	mkdir -p "$root"/{bin,dev,proc,sys,lower,upper,root,modules}
	cp "$(command -v busybox)" "$root/bin/busybox"
	while read -r module; do
		# busybox loads plain ones only, and the shell there takes them by name.
		((++n))
		case $module in
		*.xz) xz -dc "$module" >"$root/modules/$n.ko" ;;
		*.zst) zstd -qdc "$module" >"$root/modules/$n.ko" ;;
		*) cp "$module" "$root/modules/$n.ko" ;;
		esac
	done < <(for module in $boot_modules; do
		modprobe -d "$cache/$version" -S "$version" --show-depends "$module"
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }')
	echo "$cache/$version" >"$root/kernel"
	write_init >"$root/init"
	write_second >"$root/second"
	chmod 755 "$root/init"
	(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) >"$out"
}

# ------ Running a guest ------

virtiofsd_program()
{
	local program

	for program in /usr/libexec/virtiofsd /usr/lib/qemu/virtiofsd; do
		if [[ -x $program ]]; then
			echo "$program"
			return
		fi
	done
}

# The machine's root by virtiofs; read-only, in a mount namespace of its own. Bind mounts do not carry what is mounted
# below, so the file systems of the project and of the kernels are added where they are not the root's.
share_root()
{
	local program options n

	program=$(virtiofsd_program)
	options=(--shared-dir="$work/root" --cache=always --sandbox=chroot)
	[[ $program != */qemu/* ]] || options=(-o source="$work/root" -o cache=always -o sandbox=chroot)
	mkdir -p "$work/root"
	# shellcheck disable=SC2016 # expanded by the inner shell
	unshare --mount sh -c '
		root=$1 mounts=$2
		shift 2
		mount --bind / "$root" && mount -o remount,bind,ro "$root" || exit
		for m in $mounts; do
			mount --bind "$m" "$root$m" && mount -o remount,bind,ro "$root$m" || exit
		done
		exec "$@"' share "$work/root" "$(stat -c %m "$project" "$cache" | sort -u | grep -vx /)" \
		nice -n 19 "$program" --socket-path="$work/fs.sock" "${options[@]}" >"$work/virtiofsd.log" 2>&1 &
	pids+=($!)
	for ((n = 0; n < 100; n++)); do
		[[ ! -S $work/fs.sock ]] || return 0
		sleep 0.1
	done
	cat "$work/virtiofsd.log" >&2
	die "virtiofsd does not start"
}

start_qemu()
{
	local version=$1
	local accel="tcg,thread=single" n=${cpus:-1}

	# A KVM without the processor's help opens, and then meets instructions it cannot emulate.
	if [[ -w /dev/kvm ]] && grep -qwE 'vmx|svm' /proc/cpuinfo; then
		accel=kvm n=${cpus:-2}
	fi
	# QEMU 7.2 emulates two things wrong that Linux 6.12 does: the flags after an unlocked cmpxchg16b (so there is
	# no cx16), and code changed by one processor while another runs it (so they do not run at once).
	nice -n 19 qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot -nic none \
		-machine pc,memory-backend=mem -accel "$accel" -cpu max,-cx16 -smp "$n" -m "$memory_mib" \
		-object "memory-backend-memfd,id=mem,size=${memory_mib}M,share=on" \
		-chardev "socket,id=fs,path=$work/fs.sock" -device vhost-user-fs-pci,chardev=fs,tag=machine \
		-kernel "$cache/$version/boot/vmlinuz-$version" -initrd "$work/initramfs.cpio" \
		-append "console=ttyS0 panic=-1 quiet" \
		-chardev "file,id=console,path=$work/console" -serial chardev:console -device virtio-serial-pci \
		-chardev "file,id=output,path=$work/output" -device virtserialport,chardev=output,nr=1 \
		-chardev "file,id=status,path=$work/status" -device virtserialport,chardev=status,nr=2 \
		</dev/null >"$work/qemu.log" 2>&1 &
	qemu=$!
	pids+=("$qemu")
}

# Boots one kernel. Shows the output as it comes; the status is the command's, or 125 without one.
boot()
{
	local version=$1 end=$((SECONDS + limit_s)) qemu tail status=""

	rm -f "$work"/{output,status,fs.sock}
	: >"$work/output"
	make_initramfs "$version" "$work/initramfs.cpio"
	share_root
	start_qemu "$version"
	tail -n +1 -s 0.2 -f --pid="$qemu" "$work/output" 2>/dev/null &
	tail=$!
	pids+=("$tail")
	while kill -0 "$qemu" 2>/dev/null; do
		if ((SECONDS >= end)); then
			echo "kernels: Linux $version: not done after $limit_s s" >&2
			break
		fi
		sleep 0.5
	done
	kill "$qemu" 2>/dev/null
	wait "$tail" 2>/dev/null
	stop_all
	[[ ! -e $work/status ]] || status=$(<"$work/status")
	if [[ -z $status ]]; then
		echo "kernels: Linux $version: the guest has gone without a result; what it said last:" >&2
		tail -n 50 "$work/console" "$work/qemu.log" "$work/virtiofsd.log" >&2
		return 125
	fi
	return "$status"
}

main()
{
	local command="" want version rc worst=0 started

	if [[ ${1-} == -c ]]; then
		command=${2:?"-c needs a command"}
		shift 2
	fi
	(($# > 0)) || set -- 6.1 6.12
	check_machine
	[[ -n $command ]] || command="tests/kernels/in-guest.sh ${CASES-}"
	trap clean_up EXIT
	trap 'exit 130' INT TERM
	work=$(mktemp -d)
	for want in "$@"; do
		version=$(provide "$want") || exit 2
		echo "== Linux $version"
		started=$SECONDS
		boot "$version"
		rc=$?
		echo "== Linux $version: exit code $rc after $((SECONDS - started)) s"
		((rc == 0)) || worst=$rc
	done
	return "$worst"
}

main "$@"
