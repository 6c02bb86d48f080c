#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What the scripts here need and a shell has not: single datagrams, hashed streams, raw UAPI, another process's memory.

  udp-recv ADDRESS PORT SECONDS [N]    prints what N (1) datagrams hold; exit code 1 when fewer come
  udp-send ADDRESS PORT TEXT [N] [SECONDS]    N datagrams "TEXT 0", "TEXT 1"...; spread over so many seconds
  tcp-recv ADDRESS PORT SECONDS        one connection; prints the number of bytes and their SHA-256
  tcp-send ADDRESS PORT BYTES SEED     pseudo-random data; prints the same
  uapi SOCKET [--bytewise]             sends stdin, prints what comes until the other side is silent or closes
  replay PCAP ADDRESS PORT             sends the last initiation to that port once more, from a port of its own
  memory PID                           exit code 0 when that process's memory holds one of stdin's lines (hex)
"""
import hashlib
import random
import re
import socket
import sys
import time

BLOCK = 1 << 20


def address_family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def udp_recv(address, port, seconds, n="1"):
    sock = socket.socket(address_family(address), socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind((address, int(port)))
    deadline = time.monotonic() + float(seconds)
    for _ in range(int(n)):
        left = deadline - time.monotonic()
        sock.settimeout(max(left, 0.001))
        try:
            data = sock.recv(65535)
        except socket.timeout:
            return 1
        print(data.decode(errors="replace"), flush=True)
    return 0


def udp_send(address, port, text, n="", seconds="0"):
    sock = socket.socket(address_family(address), socket.SOCK_DGRAM)
    sock.connect((address, int(port)))
    start = time.monotonic()
    for i in range(int(n or 1)):
        delay = start + float(seconds) * i / int(n or 1) - time.monotonic()
        if delay > 0:
            time.sleep(delay)
        try:
            sock.send(f"{text} {i}".encode() if n else text.encode())
        except OSError as error:
            print(f"{error} at datagram {i}", file=sys.stderr)
    return 0


def tcp_recv(address, port, seconds):
    server = socket.create_server((address, int(port)), family=address_family(address))
    server.settimeout(float(seconds))
    sock, _ = server.accept()
    sock.settimeout(float(seconds))
    digest, n_bytes = hashlib.sha256(), 0
    buffer = bytearray(BLOCK)
    while True:
        n = sock.recv_into(buffer)
        if not n:
            break
        digest.update(memoryview(buffer)[:n])
        n_bytes += n
    print(n_bytes, digest.hexdigest())
    return 0


def tcp_send(address, port, n_bytes, seed):
    # Windows of one random area at random offsets: no period that a fault could hide in, and no time spent on it.
    source = random.Random(seed)
    area = memoryview(source.randbytes(4 * BLOCK))
    left = int(n_bytes)
    digest = hashlib.sha256()
    sock = socket.create_connection((address, int(port)), timeout=20)
    sock.settimeout(60)
    while left:
        offset = source.randrange(3 * BLOCK)
        data = area[offset:offset + min(left, BLOCK)]
        sock.sendall(data)
        digest.update(data)
        left -= len(data)
    sock.shutdown(socket.SHUT_WR)
    print(n_bytes, digest.hexdigest())
    return 0


def uapi(path, how=""):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(path)
    request = sys.stdin.buffer.read()
    try:
        if how == "--bytewise":
            for i in range(len(request)):
                sock.sendall(request[i:i + 1])
        else:
            sock.sendall(request)
    except OSError as error:
        print(f"send: {error.strerror}", file=sys.stderr)
    sock.settimeout(1)
    reply = b""
    n_requests = len(re.findall(rb"^(?:get|set|wg_xdp)=1$", request, re.M))
    while reply.count(b"\nerrno=") + reply.startswith(b"errno=") < n_requests or not reply.endswith(b"\n\n"):
        try:
            data = sock.recv(65536)
        except socket.timeout:
            reply += b"(silence)\n"
            break
        except ConnectionResetError:
            data = b""
        if not data:
            reply += b"(closed)\n"
            break
        reply += data
    sys.stdout.write(reply.decode(errors="replace"))
    return 0


def replay(pcap, address, port):
    with open(pcap, "rb") as file:
        data = file.read()
    position, initiation = 24, None
    while position + 16 <= len(data):
        length = int.from_bytes(data[position + 8:position + 12], sys.byteorder)
        udp = data[position + 16 + 14 + 20:position + 16 + length]
        if udp[2:6] == int(port).to_bytes(2, "big") + (8 + 148).to_bytes(2, "big") and udp[8:12] == b"\1\0\0\0":
            initiation = udp[8:]
        position += 16 + length
    if initiation is None:
        print("no initiation was captured")
        return 1
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.sendto(initiation, (address, int(port)))
    return 0


def memory(pid):
    needles = [bytes.fromhex(line) for line in sys.stdin.read().split()]
    n_read = 0
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for line in maps:
            start, end = (int(x, 16) for x in line.split()[0].split("-"))
            if "r" not in line.split()[1] or "[v" in line:
                continue
            tail = b""
            for position in range(start, end, 16 * BLOCK):
                try:
                    mem.seek(position)
                    data = mem.read(min(16 * BLOCK, end - position))
                except OSError:
                    break
                n_read += len(data)
                if any(needle in tail + data for needle in needles):
                    print(f"found in {line.strip()}")
                    return 0
                tail = data[-64:]
    print(f"not found in {n_read} bytes")
    return 1 if n_read else 2


COMMANDS = {"udp-recv": udp_recv, "udp-send": udp_send, "tcp-recv": tcp_recv, "tcp-send": tcp_send, "uapi": uapi,
            "replay": replay, "memory": memory}

if __name__ == "__main__":
    sys.exit(COMMANDS[sys.argv[1]](*sys.argv[2:]))
