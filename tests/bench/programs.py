# SPDX-License-Identifier: MIT
"""The servers that a bench run starts: each listens on a free port of the loopback, and stops by itself.

Every wait has a deadline; a program that misses one is killed and the run fails with its last words.
"""
import collections
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time

START_DEADLINE_S = 120  # checking and counting a large database takes a while
STOP_DEADLINE_S = 60    # so does the last checkpoint


class BenchError(Exception):
    """The run cannot go on, or its figures are worth nothing."""


def clean_environment():
    """Ours, without what would configure the programs under measurement."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CHATCHAIN_")}


def free_ports(count):
    """Ports that nobody has right now. Somebody may take one before it is used: then try again."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Program:
    """A server process that says `listening on HOST:PORT` on standard error."""

    def __init__(self, command, work_dir):
        self.name = pathlib.Path(command[0]).name
        self.address = None
        self.listening_since = None  # time.monotonic()
        self._last_lines = collections.deque(maxlen=20)
        self._listens = threading.Event()
        self.started_at = time.monotonic()
        # The signal at our death, however it comes, so that nothing is left behind.
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *map(str, command)], cwd=work_dir, env=clean_environment(),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        if not self._listens.wait(START_DEADLINE_S) or self.address is None:
            self._give_up("did not start to listen")

    def _read_log(self):
        for line in self.process.stderr:
            if line.startswith("listening on "):
                self.listening_since = time.monotonic()
                self.address = line.split()[-1]
                self._listens.set()
            else:
                self._last_lines.append(line.rstrip())
        self._listens.set()

    def _give_up(self, why):
        self.process.kill()
        self.process.wait()
        self._reader.join(5)
        raise BenchError(f"{self.name} {why}: " + " | ".join(self._last_lines))

    def stop(self):
        """A clean stop; returns how long it took (s)."""
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._give_up(f"did not stop within {STOP_DEADLINE_S} s")
        self._reader.join(5)
        if status != 0:
            raise BenchError(f"{self.name} ended with status {status}: " + " | ".join(self._last_lines))
        return time.monotonic() - begin

    def __enter__(self):
        return self

    def __exit__(self, error_type, *_):
        if self.process.poll() is None:
            if error_type is None:
                self.stop()
            else:
                self.process.kill()
                self.process.wait()

    def usage(self):
        """Resident memory (bytes; now and at most), threads."""
        fields = {}
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            fields[name] = value.split()
        return {"resident_bytes": int(fields["VmRSS"][0]) * 1024,
                "resident_peak_bytes": int(fields["VmHWM"][0]) * 1024,
                "threads": int(fields["Threads"][0])}

    def get(self, path, expected=(200,)):
        host, port = self.address.rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status not in expected:
            raise BenchError(f"{self.name}: GET {path} answered {response.status}")
        return body


class Node(Program):
    def __init__(self, bin_dir, data_dir, node_id=0, peers=(), listen="127.0.0.1:0"):
        self.data_dir = pathlib.Path(data_dir)
        super().__init__([bin_dir / "chatchain-node", "--node-id", node_id, "--peers", ",".join(peers),
                          "--listen", listen, "--data-dir", self.data_dir, "--log-level", "warn"],
                         self.data_dir.parent)

    def self_status(self):
        return json.loads(self.get("/nodes"))["self"]

    def messages(self):
        return self.self_status()["messages"]

    def counters(self):
        """Metrics without labels, by name."""
        values = {}
        for line in self.get("/metrics").decode().splitlines():
            name, _, value = line.partition(" ")
            if line and line[0] != "#" and "{" not in name:
                values[name] = float(value)
        return values

    def wal_bytes(self):
        """The file never shrinks while the node runs: its size is its high-water mark."""
        wal = self.data_dir / "chatchain.db-wal"
        return wal.stat().st_size if wal.exists() else 0


class ClientProxy(Program):
    def __init__(self, bin_dir, work_dir, nodes):
        super().__init__([bin_dir / "chatchain-client", "--config", "", "--listen", "127.0.0.1:0", "--nodes",
                          ",".join(nodes), "--log-level", "error"], work_dir)

    def network(self):
        return json.loads(self.get("/network"))


def directory_bytes(directory):
    """As `du` counts: whole blocks."""
    return sum(path.lstat().st_blocks * 512 for path in pathlib.Path(directory).rglob("*"))


def start_cluster(bin_dir, data_dirs):
    """Nodes that all know each other, so their ports must be known before they start."""
    for attempt in range(5):
        addresses = [f"127.0.0.1:{port}" for port in free_ports(len(data_dirs))]
        nodes = []
        try:
            for i, (address, data_dir) in enumerate(zip(addresses, data_dirs)):
                peers = [other for other in addresses if other != address]
                nodes.append(Node(bin_dir, data_dir, i, peers, address))
            return nodes
        except BenchError as error:
            for node in nodes:
                node.stop()
            if "address already in use" not in str(error) or attempt == 4:
                raise
    return []


def copy_directory(source, target):
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", "--reflink=auto", str(source), str(target)], check=True, timeout=600)


def wait_until(condition, deadline_s, what, pause_s=0.01):
    """Polls; returns what `condition` gave as soon as it is true."""
    end = time.monotonic() + deadline_s
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= end:
            raise BenchError(f"not within {deadline_s} s: {what}")
        time.sleep(pause_s)
