# SPDX-License-Identifier: MIT
"""The real programs, for black-box tests: started on free ports, in a directory of their own, and
ended without a trace. Nothing here sleeps: everything waits for an event, with a deadline."""
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

START_S = 20
STOP_S = 12  # the contract says that SIGTERM is done within 10
POLL_S = 0.02


class Failure(AssertionError):
    pass


def wait_until(condition, seconds, what):
    """Returns the first true value of condition(); fails at the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise Failure(f"not within {seconds} s: {what}")
        time.sleep(POLL_S)


class Reserved:
    """A port that nobody listens on and nobody else gets: connections to it are refused, until a
    program that binds with SO_REUSEADDR, as ours do, listens there."""

    def __init__(self):
        self.socket = socket.socket()
        # Port 0 first without SO_REUSEADDR: only a port that nobody else holds counts.
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]

    def release(self):
        self.socket.close()


class Program:
    """One running program. `arguments` without the program's name; `environment` is added to the
    test's own; `prefix` is a command that becomes the program, e.g. in another namespace."""

    def __init__(self, binary, arguments, directory, name, environment=None, prefix=()):
        self.name = name
        self.lines = []
        self.address = None
        self._changed = threading.Condition()
        environment = {key: value for key, value in os.environ.items()
                       if not key.startswith("CHATCHAIN_")} | (environment or {})
        self.process = subprocess.Popen([*prefix, str(binary), *arguments], cwd=directory,
                                        env=environment, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True, errors="replace")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        with self._changed:
            if not self._changed.wait_for(lambda: self.address or self._ended, START_S) \
                    or self.address is None:
                self.kill()
                raise Failure(f"{name} did not say where it listens:\n{self.log()}")

    _ended = False

    def _read(self):
        for line in self.process.stderr:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                if self.address is None and "listening on " in line:
                    self.address = line.split("listening on ", 1)[1].split()[0].rstrip(".,")
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def log(self):
        return "\n".join(f"  {self.name}: {line}" for line in self.lines[-40:])

    def stop(self):
        """Asks it to end, as an operator does; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure(f"{self.name} did not end within {STOP_S} s of SIGTERM:\n{self.log()}") \
                from None
        self._reader.join(STOP_S)
        self.process.stderr.close()
        return code

    def kill(self):
        self.process.kill()
        self.process.wait()
        self._reader.join(STOP_S)
        self.process.stderr.close()


class World:
    """A directory and the programs in it; all of it is gone at the end."""

    def __init__(self, bin_dir):
        self.bin_dir = pathlib.Path(bin_dir).resolve()
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="chatchain-test-"))
        self.programs = []
        self._count = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends everything; raises if a program did not end well."""
        failures = []
        for program in reversed(self.programs):
            try:
                code = program.stop()
                if code != 0:
                    failures.append(f"{program.name} ended with {code}:\n{program.log()}")
            except Failure as failure:
                failures.append(str(failure))
        self.programs.clear()
        shutil.rmtree(self.directory, ignore_errors=True)
        if failures:
            raise Failure("\n".join(failures))

    def _start(self, binary, arguments, name, environment=None, prefix=()):
        program = Program(self.bin_dir / binary, arguments, self.directory, name, environment,
                          prefix)
        self.programs.append(program)
        return program

    def _number(self):
        self._count += 1
        return self._count

    def config(self, text):
        path = self.directory / f"config-{self._number()}.toml"
        path.write_text(text, encoding="utf-8")
        return path

    def data_dir(self):
        return self.directory / f"data-{self._number()}"

    def node(self, node_id="0", peers=(), listen="127.0.0.1:0", config="", data_dir=None,
             environment=None, prefix=()):
        arguments = ["--node-id", node_id, "--peers", ",".join(peers), "--listen", listen,
                     "--data-dir", str(data_dir or self.data_dir())]
        if config:
            arguments += ["--config", str(self.config(config))]
        return self._start("chatchain-node", arguments, f"node {node_id}", environment, prefix)

    def proxy(self, nodes, config="", listen="127.0.0.1:0", environment=None, prefix=()):
        arguments = ["--nodes", ",".join(nodes), "--listen", listen]
        if config:
            arguments += ["--config", str(self.config(config))]
        return self._start("chatchain-client", arguments, "proxy", environment, prefix)

    def kill(self, program):
        self.programs.remove(program)
        program.kill()

    def end(self, program):
        self.programs.remove(program)
        return program.stop()

    def discard(self, program):
        """kill -9, and no questions."""
        self.programs.remove(program)
        program.kill()

    def discard_all(self):
        for program in list(self.programs):
            self.discard(program)


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers  # http.client.HTTPMessage
        self.body = body

    def __getitem__(self, name):
        return self.headers.get(name)

    @property
    def type(self):
        return (self["Content-Type"] or "").split(";")[0].strip()

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {dict(self.headers.items())} {self.body[:300]!r}"


def call(address, method, target, body=None, headers=None, timeout=15):
    """One request on a connection of its own. A dict or list is sent as JSON."""
    headers = dict(headers or {})
    if isinstance(body, (dict, list)):
        body = json.dumps(body).encode()
    elif isinstance(body, str):
        body = body.encode()
    if body is not None and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = "application/json"
    headers = {name: value for name, value in headers.items() if value is not None}
    connection = http.client.HTTPConnection(address, timeout=timeout)
    try:
        connection.request(method, target, body, headers)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def wait_ready(address, seconds=START_S):
    def ready():
        try:
            return call(address, "GET", "/readyz").status == 200
        except OSError:
            return False
    wait_until(ready, seconds, f"{address} is ready")
