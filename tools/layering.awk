# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# The dependency rule: a file includes only files of its own level or below; level 1 asks nothing of the system; level 3
# never sees what knows keys. Direct includes count. A file without a row of its own has the level of its name's
# beginning: control_link that of control. Usage: awk -f layering.awk user/*.[ch] user/crypto/*.[ch] include/*.h

BEGIN {
	level(0, "types vmlinux messages maps drop_reason blake2s")
	level(1, "aead aead_backend aead_sodium aead_ipsecmb x25519 hash secret noise keypair replay cookie ratelimiter")
	level(1, "allowedips index_table timers encoding gso inner checksum")
	level(2, "endpoint peer device device_config timer_queue uapi_text log rcu")
	level(3, "pkt umem xsk outer rcu tun udp_sock udp_rx udp_tx netlink netconf netconf_request bpf_ctl")
	level(3, "privileged privileged_ops sandbox background uapi_listener")
	level(4, "receive send handshake worker control uapi config stats state expiry monitor main")
	# For whoever wants to look at the objects of a level.
	if (print_level) {
		for (name in of) if (of[name] == print_level) print name
		exit
	}
	n = split("noise keypair cookie", list); for (i = 1; i <= n; i++) keyed[list[i]] = 1
	# A look at the world. Header layouts and address families (netinet/, sys/socket.h) are only shapes.
	system_io = "^(sys/(epoll|ioctl|stat|un|select|timerfd|eventfd|time|random|signalfd)\\.h|net/|netlink/|" \
		    "linux/(if|netlink|rtnetlink|bpf)|(unistd|fcntl|poll|time|pthread|syslog|netdb|signal)\\.h|bpf/|xdp/)"
	allowed["secret<pthread.h"] = "one arena for all threads"
	allowed["secret<unistd.h"] = "the page size"
	allowed["aead<time.h"] = "measures the back ends, once, to choose one"
}

function level(n, names,    i, list)
{
	split(names, list, " ")
	for (i in list) of[list[i]] = n
}

# The row for a name; "" if there is none.
function row(name)
{
	while (!(name in of) && sub(/_[a-z0-9]*$/, "", name))
		;
	return name in of ? name : ""
}

function complain(text)
{
	printf "%s:%d: %s\n", FILENAME, FNR, text
	bad++
}

FNR == 1 {
	base = FILENAME; sub(/.*\//, "", base); sub(/\.[ch]$/, "", base)
	files++
	base = row(base) != "" ? row(base) : base
	if (!(base in of))
		complain("this file has no level: give it one in tools/layering.awk")
}

/^[ \t]*#[ \t]*include[ \t]*"/ {
	split($0, part, "\"")
	name = part[2]; sub(/.*\//, "", name); sub(/\.h$/, "", name)
	if (name ~ /\.skel$/ && of[base] >= 3) next
	name = row(name)
	if (name == "") complain("includes " part[2] ", which has no level")
	else if (of[name] > of[base]) complain("level " of[base] " includes " part[2] ", level " of[name])
	else if (of[base] == 3 && (name in keyed)) complain("level 3 includes " part[2] ": I/O knows no keys")
}

/^[ \t]*#[ \t]*include[ \t]*</ {
	split($0, part, /[<>]/)
	if (of[base] == 1 && part[2] ~ system_io && !((base "<" part[2]) in allowed))
		complain("level 1 includes <" part[2] ">: pure code has no system around it")
}

END {
	if (bad) exit 1
	if (!print_level) printf "layering: %d files, no include points upwards\n", files
}
