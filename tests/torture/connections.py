#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Connections as the internet makes them, against a real node and a real proxy: thousands that are
idle, a burst at once, clients that send or read slowly, a flood that never ends, and a program that
runs out of descriptors. Says what it measured; fails where a bound is broken.

With --full the numbers are those that the programs are made for (about three minutes)."""
import argparse
import json
import os
import pathlib
import resource
import selectors
import socket
import statistics
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
import programs  # noqa: E402

IDLE_THREADS = 64
IDLE_RSS_MIB = 200
IDLE_ANSWER_MS = 50
BURST_S = 1
SLOW_P99_MS = 100
HEAD_TIMEOUT_S = 10
BODY_TIMEOUT_S = 30
MARGIN_S = 4
LATE_S = 10            # what a machine that does other things may add
GROWTH_MIB = 8         # of a program that has served many connections before
SCARCE = 128           # descriptors
SCARCE_CPU = 0.5       # of one processor, while it cannot accept
PATIENCE_S = 60


def process_status(pid, name):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        for line in file:
            if line.startswith(name + ":"):
                return int(line.split()[1])
    raise KeyError(name)


def descriptors(pid):
    return len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def connect(address, receive_buffer=None):
    host, port = address.rsplit(":", 1)
    opened = socket.socket()
    if receive_buffer:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    opened.settimeout(PATIENCE_S)
    opened.connect((host, int(port)))
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


def request(target, method="GET", body=None):
    head = f"{method} {target} HTTP/1.1\r\nHost: test\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return (head + "\r\n" + (body or "")).encode()


def read_answer(opened):
    """The status of one answer with a Content-Length; 0: it was closed."""
    data = b""
    while True:
        head, end, rest = data.partition(b"\r\n\r\n")
        if end:
            length = 0
            for line in head.split(b"\r\n"):
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            if len(rest) >= length:
                return int(head.split()[1])
        more = opened.recv(1 << 16)
        if not more:
            return 0
        data += more


def ask(opened, *arguments):
    begun = time.monotonic()
    opened.sendall(request(*arguments))
    return read_answer(opened), (time.monotonic() - begun) * 1000


def message(text):
    return json.dumps({"sender": "ann", "recipient": "bob", "text": text})


class Checks:
    def __init__(self):
        self.failed = []

    def at_most(self, what, value, bound, unit):
        good = value <= bound
        print(f"  {what}: {value:.1f} {unit} (at most {bound}){'' if good else '  <-- FAILED'}",
              flush=True)
        if not good:
            self.failed.append(what)

    def holds(self, what, good):
        print(f"  {what}{'' if good else '  <-- FAILED'}", flush=True)
        if not good:
            self.failed.append(what)


def idle(program, checks, count):
    pid = program.process.pid
    connections = []
    for _ in range(count):
        connections.append(connect(program.address))
        status, _ = ask(connections[-1], "/healthz")
        if status != 200:
            raise programs.Failure(f"idle connection {len(connections)} got {status}")
    checks.at_most(f"threads with {count} idle connections", process_status(pid, "Threads"),
                   IDLE_THREADS, "threads")
    checks.at_most("resident memory", process_status(pid, "VmRSS") / 1024, IDLE_RSS_MIB, "MiB")
    taken = []
    for _ in range(15):
        begun = time.monotonic()
        with connect(program.address) as opened:
            status, _ = ask(opened, "/messages?limit=1")
            taken.append((time.monotonic() - begun) * 1000)
            checks.failed += [] if status == 200 else [f"a new request got {status}"]
    checks.at_most("a new connection and its answer, median of 15", statistics.median(taken),
                   IDLE_ANSWER_MS, "ms")
    for opened in connections:
        opened.close()


def burst(program, checks, count):
    """The best of three: the client, which is as busy, is measured along with the program."""
    bursts = [burst_once(program, count) for _ in range(3)]
    checks.holds(f"3 times {count} connects at once, all answered",
                 all(good == count for good, _ in bursts))
    checks.at_most("the slowest of them", min(slowest for _, slowest in bursts), BURST_S, "s")


def burst_once(program, count):
    """(how many were answered with 200, after how many seconds the last)"""
    host, port = program.address.rsplit(":", 1)
    begun = time.monotonic()
    slowest = good = 0
    with selectors.DefaultSelector() as selector:
        for _ in range(count):
            opened = socket.socket()
            opened.setblocking(False)
            opened.connect_ex((host, int(port)))
            selector.register(opened, selectors.EVENT_WRITE)
        while selector.get_map() and time.monotonic() - begun < PATIENCE_S:
            for key, events in selector.select(1):
                opened = key.fileobj
                if events & selectors.EVENT_WRITE:
                    if opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0:
                        selector.unregister(opened)
                        continue
                    opened.send(request("/healthz"))
                    selector.modify(opened, selectors.EVENT_READ)
                    continue
                good += opened.recv(1 << 12).startswith(b"HTTP/1.1 200 ")
                slowest = time.monotonic() - begun
                selector.unregister(opened)
                opened.close()
    return good, slowest


def slow(program, checks, count, seconds):
    """A third sends its head byte by byte, a third its body, a third never reads."""
    head = request("/messages?limit=1")
    body = request("/messages", "POST", message("x" * 500))
    large = request("/messages?limit=1000") * 12
    slow_ones = []
    for i in range(count):
        opened = connect(program.address, 4096 if i % 3 == 2 else None)
        if i % 3 == 2:
            opened.sendall(large)
        slow_ones.append([opened, (head, body, b"")[i % 3], 0 if i % 3 == 0 else 150, False])
    taken = []
    begun = time.monotonic()
    next_bytes = begun
    with connect(program.address) as opened:
        while time.monotonic() - begun < seconds:
            status, ms = ask(opened, "/messages?limit=10")
            taken.append(ms)
            checks.failed += [] if status == 200 else [f"another's request got {status}"]
            if time.monotonic() >= next_bytes:
                next_bytes += 0.5
                for each in slow_ones:
                    if each[1] and not each[3] and each[2] < len(each[1]) - 1:
                        try:
                            each[0].send(each[1][0 if each[2] == 150 else each[2]:each[2] + 1])
                            each[2] += 1
                        except OSError:
                            each[3] = True  # it was told, and closed
    checks.at_most(f"p99 of others beside {count} slow clients", statistics.quantiles(taken, n=100)[98],
                   SLOW_P99_MS, "ms")
    if seconds > BODY_TIMEOUT_S:
        told = 0
        for opened, _, _, _ in slow_ones[0::3] + slow_ones[1::3]:
            opened.settimeout(LATE_S)
            try:
                told += read_answer(opened) == 408
            except OSError:
                pass
        checks.holds(f"{told} slow senders were told 408", told == len(slow_ones[0::3] + slow_ones[1::3]))
        closed = 0
        for opened, _, _, _ in slow_ones[2::3]:
            opened.settimeout(LATE_S)
            try:
                while opened.recv(1 << 20):
                    pass
                closed += 1
            except ConnectionError:
                closed += 1
            except OSError:
                pass
        checks.holds(f"{closed} who did not read were closed", closed == len(slow_ones[2::3]))
    for opened, _, _, _ in slow_ones:
        opened.close()


def flood(program, checks, count):
    """Connections of every kind that come and go."""
    pid = program.process.pid

    def some(number):
        for i in range(number):
            opened = connect(program.address)
            kind = i % 5
            if kind == 0:
                ask(opened, "/healthz")
            elif kind == 1:
                ask(opened, "/messages?limit=1")
            elif kind == 2:
                opened.sendall(b"GET /messages HTT")
            elif kind == 3:
                opened.sendall(b"nonsense\r\n")
            # With RST, which leaves no port waiting.
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            opened.close()
    some(max(1000, count // 10))
    programs.wait_until(lambda: open_connections(program) <= 1, PATIENCE_S, "all are gone")
    descriptors_before, rss_before = descriptors(pid), process_status(pid, "VmRSS")
    some(count)
    programs.wait_until(lambda: open_connections(program) <= 1, PATIENCE_S, "all are gone")
    checks.at_most(f"descriptors more after {count} connects", descriptors(pid) - descriptors_before,
                   2, "")
    checks.at_most("resident memory more", (process_status(pid, "VmRSS") - rss_before) / 1024,
                   GROWTH_MIB, "MiB")


def open_connections(program):
    """As it says itself, that of the question included."""
    said = programs.call(program.address, "GET", "/metrics").body.decode()
    for line in said.splitlines():
        if line.split("{")[0].split()[0] in ("chatchain_http_connections_open",
                                             "chatchain_http_connections",
                                             "chatchain_proxy_connections_open"):
            return float(line.split()[-1])
    raise programs.Failure("no metric counts connections")


def scarce(program, checks):
    """REQUIRES: it runs with SCARCE descriptors."""
    checks.holds("it says that it has few descriptors",
                 any("limit of open files" in line for line in program.lines))
    known = connect(program.address)
    checks.holds("a write before", ask(known, "/messages", "POST", message("before"))[0] == 201)
    flood_of = []
    for _ in range(4 * SCARCE):
        opened = connect(program.address)  # the kernel takes it in any case
        opened.sendall(request("/healthz"))
        flood_of.append(opened)
    begun, cpu_before = time.monotonic(), cpu_s(program.process.pid)
    statuses = []
    number = 0
    while time.monotonic() - begun < 2:
        number += 1
        statuses.append(ask(known, "/messages?limit=5")[0])
        statuses.append(ask(known, "/messages", "POST", message(f"meanwhile {number}"))[0])
        time.sleep(0.05)  # its own work must not look like spinning
    spent = (cpu_s(program.process.pid) - cpu_before) / (time.monotonic() - begun)
    good = sum(status in (200, 201) for status in statuses)
    checks.holds(f"{good} of {len(statuses)} requests of a connection it has were answered",
                 good == len(statuses))
    checks.at_most("processors busy meanwhile", spent, SCARCE_CPU, "")
    for opened in flood_of:
        opened.close()

    def recovered():
        try:
            with connect(program.address) as opened:
                return ask(opened, "/messages?limit=1")[0] == 200
        except OSError:
            return False
    programs.wait_until(recovered, PATIENCE_S, "new connections are served again")
    checks.holds("new connections are served again", True)
    known.close()


def limited(program, checks, limit):
    held = []

    def one_more():
        opened = connect(program.address)
        if ask(opened, "/healthz")[0] == 200:
            held.append(opened)
        else:
            opened.close()  # those who asked before are not all gone yet
        return len(held) == limit
    programs.wait_until(one_more, PATIENCE_S, "all connections that there may be")
    with connect(program.address) as opened:
        opened.sendall(request("/healthz"))
        data = b""
        while more := opened.recv(1 << 12):
            data += more
    checks.holds("one connection too many gets 503, Retry-After and a close",
                 data.startswith(b"HTTP/1.1 503 ") and b"Retry-After:" in data)
    for opened in held:
        opened.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--bin-dir", type=pathlib.Path, required=True)
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args()
    full = options.full
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    idle_count = min(10_000 if full else 2_000, hard - 200)
    checks = Checks()
    with programs.World(options.bin_dir) as world:
        node = world.node()
        for i in range(600):
            programs.call(node.address, "POST", "/messages", message(f"{i} " + "x" * 2000))
        for start in (lambda: node, lambda: world.proxy([node.address])):
            program = start()  # not before: the proxy keeps connections to the node
            programs.wait_ready(program.address)
            print(f"{program.name}:")
            idle(program, checks, idle_count)
            burst(program, checks, 1_000)
            slow(program, checks, 501 if full else 150,
                 BODY_TIMEOUT_S + MARGIN_S if full else 3)
            flood(program, checks, 100_000 if full else 4_000)
        few = ("prlimit", f"--nofile={SCARCE}:{SCARCE}")
        node = world.node("1", prefix=few)
        for program in (node, world.proxy([node.address], prefix=few)):
            programs.wait_ready(program.address)
            print(f"{program.name} with {SCARCE} descriptors:")
            scarce(program, checks)
        small = 20
        node = world.node("2", config=f"[node]\nmax_connections = {small}\n")
        proxy = world.proxy([node.address], config=f"[client]\nmax_connections = {small}\n")
        programs.wait_ready(proxy.address)
        print(f"proxy with {small} connections:")
        limited(proxy, checks, small)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for what in checks.failed:
        print(f"failed: {what}")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
