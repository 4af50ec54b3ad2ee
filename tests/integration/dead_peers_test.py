#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Heartbeats, and clients that are gone without a word: node and proxy close them within 45 s, and keep those that live.

In a network namespace of its own, where packets can be dropped. Takes most of a minute, nearly all of it waiting: the
times are the real ones. Exit code 77 where there are no namespaces, or no nft.

    dead_peers_test.py --bin-dir DIR
"""
import argparse
import base64
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))

from programs import Failure, World, call, wait_ready, wait_until  # noqa: E402

SKIPPED = 77
HEARTBEAT_S = 15
NOTICED_S = 45
SLACK_S = 5  # of this test's own looks, on a busy machine
INSIDE = "CHATCHAIN_TEST_IN_NAMESPACE"


def port_of(address):
    return int(address.rsplit(":", 1)[1])


class Client:
    """A connection that is read by a thread, for as long as it is alive."""

    def __init__(self, name, address, request):
        self.name = name
        self.server_port = port_of(address)
        self.socket = socket.create_connection(("127.0.0.1", self.server_port), timeout=20)
        self.port = self.socket.getsockname()[1]
        self.signs = [time.monotonic()]  # when something came
        self.input = b""
        self.ended = False
        self.alive = True
        self.socket.sendall(request)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            try:
                part = self.socket.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                break
            if not self.alive:
                return
            if not part:
                break
            self.signs.append(time.monotonic())
            self.input += part
            self.on_input()
        self.ended = True

    def on_input(self):
        pass


class Stream(Client):
    def __init__(self, name, address, room):
        super().__init__(name, address, f"GET /messages/stream?room={room} HTTP/1.1\r\nHost: t\r\n\r\n".encode())

    def begun(self):
        return b"\nid: " in self.input


class WebSocket(Client):
    def __init__(self, name, address, room):
        self.frames_at = None
        key = base64.b64encode(os.urandom(16)).decode()
        super().__init__(name, address, (
            "GET /ws HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())
        self.texts = []
        wait_until(lambda: self.frames_at is not None, 10, "the WebSocket is open")
        self.send(1, f'{{"op":"subscribe","room":"{room}"}}'.encode())

    def send(self, opcode, payload):
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        self.socket.sendall(bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + masked)

    def on_input(self):
        if self.frames_at is None:
            if b"\r\n\r\n" not in self.input:
                return
            self.input = self.input.split(b"\r\n\r\n", 1)[1]
            self.frames_at = True
        while len(self.input) >= 2:
            opcode, size, head = self.input[0] & 15, self.input[1] & 127, 2
            if size == 126:
                if len(self.input) < 4:
                    return
                size, head = struct.unpack(">H", self.input[2:4])[0], 4
            if len(self.input) < head + size:
                return
            payload, self.input = self.input[head:head + size], self.input[head + size:]
            if opcode == 9:
                self.send(10, payload)
            elif opcode == 1:
                self.texts.append(payload)

    def begun(self):
        return any(b'"subscribed"' in text for text in self.texts)


def held(server_port, client_port):
    """Whether the server still has its end of the connection."""
    for line in pathlib.Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        local, remote = (int(fields[i].split(":")[1], 16) for i in (1, 2))
        if (local, remote) == (server_port, client_port):
            return fields[9] != "0"
    return False


def drop(clients):
    ports = ",".join(str(client.port) for client in clients)
    rules = ("add table inet t\nadd chain inet t c { type filter hook input priority 0; }\n"
             f"add rule inet t c tcp dport {{ {ports} }} drop\nadd rule inet t c tcp sport {{ {ports} }} drop\n")
    subprocess.run(["nft", "-f", "-"], input=rules.encode(), check=True)


def send(address, room, text, count=1):
    messages = [{"sender": "s", "room": room, "text": text} for _ in range(count)]
    answer = call(address, "POST", "/messages/batch", {"messages": messages})
    if answer.status != 200:
        raise Failure(f"{answer}")


def subscribers(address):
    page = call(address, "GET", "/metrics").body.decode()
    return int(re.search(r"^chatchain_feed_subscribers (\d+)$", page, re.M)[1])


def curl(address, room):
    process = subprocess.Popen(["curl", "-sN", f"http://{address}/messages/stream?room={room}"],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.stdout.readline()  # subscribed
    inodes = {os.readlink(path)[8:-1] for path in pathlib.Path(f"/proc/{process.pid}/fd").iterdir()
              if os.readlink(path).startswith("socket:")}
    for line in pathlib.Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if fields[9] in inodes:
            process.port = int(fields[1].split(":")[1], 16)
    return process


def test(world):
    node = world.node("0")
    proxy = world.proxy([node.address])
    wait_ready(proxy.address)
    alive, dropped, mute, stopped = [], [], [], []
    for who, address in (("node", node.address), ("proxy", proxy.address)):
        alive += [Stream(f"{who}: stream", address, "quiet"), WebSocket(f"{who}: WebSocket", address, "quiet")]
        dropped += [Stream(f"{who}: stream without packets", address, "quiet"),
                    WebSocket(f"{who}: WebSocket without packets", address, "quiet")]
        mute.append(WebSocket(f"{who}: WebSocket without pongs", address, "quiet"))
        stopped.append((f"{who}: curl that is stopped", curl(address, "big"), port_of(address)))
    for client in alive + dropped + mute:
        wait_until(client.begun, 20, f"{client.name} follows")
    begin = time.monotonic()
    drop(dropped)
    for client in mute + dropped:
        client.alive = False
    for _, process, _ in stopped:
        process.send_signal(signal.SIGSTOP)
    # More than the kernel takes on both sides.
    for _ in range(8):
        send(node.address, "big", "x" * 60000, 100)
    dead = [(client.name, client.server_port, client.port) for client in dropped + mute]
    dead += [(name, server_port, process.port) for name, process, server_port in stopped]
    noticed = {}

    def look():
        for name, server_port, port in dead:
            if name not in noticed and not held(server_port, port):
                noticed[name] = time.monotonic() - begin
        return len(noticed) == len(dead)
    try:
        wait_until(look, NOTICED_S + SLACK_S, "the dead are noticed")
    except Failure as failure:
        raise Failure(f"{failure}: still held: {[name for name, *_ in dead if name not in noticed]}") from None
    for name, seconds in sorted(noticed.items(), key=lambda item: item[1]):
        print(f"{seconds:5.1f} s  {name}")
    for address in (node.address, proxy.address):
        # The proxy follows its node by polls, and one may be between two.
        wait_until(lambda: subscribers(address) in ((2, 3) if address == node.address else (2,)), 10,
                   f"only those who live follow {address}")
    # Those who live had a sign at least every 15 s, and still follow.
    wait_until(lambda: time.monotonic() - begin > 2 * HEARTBEAT_S + 2, 60, "two heartbeats")
    send(node.address, "quiet", "still there")
    for client in alive:
        wait_until(lambda: b"still there" in client.input + b"".join(getattr(client, "texts", [])), 10,
                   f"{client.name} has the message")
        gaps = [b - a for a, b in zip(client.signs, client.signs[1:])]
        if max(gaps) > HEARTBEAT_S + SLACK_S or client.ended:
            raise Failure(f"{client.name}: silent for {max(gaps):.1f} s; ended: {client.ended}")
    for _, process, _ in stopped:
        process.kill()
        process.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin-dir", required=True)
    options = parser.parse_args()
    if INSIDE not in os.environ:
        for missing in [tool for tool in ("nft", "ip", "unshare", "curl") if not shutil.which(tool)]:
            print(f"skipped: {missing} is not installed")
            return SKIPPED
        for unshare in (["unshare", "--net"], ["unshare", "--net", "--map-root-user"]):
            if subprocess.run([*unshare, "ip", "link", "set", "lo", "up"], capture_output=True,
                              check=False).returncode == 0:
                break
        else:
            print("skipped: no network namespaces here")
            return SKIPPED
        os.environ[INSIDE] = "1"
        os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    if subprocess.run(["nft", "list", "ruleset"], capture_output=True, check=False).returncode != 0:
        print("skipped: nft does not work here")
        return SKIPPED
    with World(options.bin_dir) as world:
        test(world)
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
