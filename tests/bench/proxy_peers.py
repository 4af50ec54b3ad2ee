# SPDX-License-Identifier: MIT
"""What the proxy is compared with on the same machine in the same run: `bench.py --peers`.

A peer is a class with
  name                  as the table shows it
  missing()             why it cannot be measured here, or None
  Peer(bin_dir, work_dir, node, ids)  prepares; node: the address of a node, ids: a file of targets for it
  round(seconds)        one short round: a list of (measurement, connections, result as load.run_wrk gives it)
  close()               stops what it has started
and stands in PROXY_PEERS.
"""
import contextlib
import json
import shutil
import socket
import subprocess

import load
import proxy
from peers import PostgresServer
from programs import BenchError, free_ports, wait_until

CONNECTIONS = proxy.CONNECTIONS


def start_server(command, work_dir, log):
    """A process that dies with us; what it says goes to the file `log`."""
    with log.open("w") as output:
        return subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *map(str, command)], cwd=work_dir,
                                stdin=subprocess.DEVNULL, stdout=output, stderr=output)


def stop_server(process, patience_s=20):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


NGINX_CONFIG = """
worker_processes 2; daemon off; pid {dir}/pid;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  upstream node {{ server {node}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://node; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""


class Nginx:
    """A reverse proxy to one node, with kept connections on both sides."""
    name = "nginx"

    @staticmethod
    def _program():
        return shutil.which("nginx") or shutil.which("/usr/sbin/nginx")

    @classmethod
    def missing(cls):
        return None if cls._program() else "not installed (Debian package nginx-light)"

    def __init__(self, bin_dir, work_dir, node, ids):
        del bin_dir
        self._ids = ids
        directory = work_dir / "nginx"
        directory.mkdir()
        port = free_ports(1)[0]
        config = directory / "nginx.conf"
        config.write_text(NGINX_CONFIG.format(dir=directory, node=node, port=port))
        self._address = f"127.0.0.1:{port}"
        self._server = start_server([self._program(), "-e", directory / "error.log", "-c", config], directory,
                                    directory / "output")
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            wait_until(lambda: listens(port), 10, "nginx listens")
            undo.pop_all()

    def round(self, seconds):
        yield proxy.ID_READ, CONNECTIONS, load.read(self._address, CONNECTIONS, seconds, self._ids)

    def close(self):
        stop_server(self._server)


NATS_CONFIG = """
server_name: n{index}
listen: 127.0.0.1:{port}
jetstream {{ store_dir: "{dir}/store-{index}" }}
cluster {{ name: bench, listen: 127.0.0.1:{route}, routes: [{routes}] }}
"""


class Nats:
    """Three servers, one stream of files on all three. They acknowledge before they fsync."""
    name = "nats jetstream R3"
    SERVERS = 3

    @staticmethod
    def missing():
        return None if shutil.which("nats-server") else "not installed (Debian package nats-server)"

    def __init__(self, bin_dir, work_dir, node, ids):
        del node, ids
        self._load = bin_dir / "chatchain-bench-nats-load"
        directory = work_dir / "nats"
        directory.mkdir()
        self._servers = []
        ports = free_ports(2 * self.SERVERS)
        self._port, routes = ports[0], ports[self.SERVERS:]
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            for index in range(self.SERVERS):
                config = directory / f"server-{index}.conf"
                config.write_text(NATS_CONFIG.format(
                    index=index, port=ports[index], route=routes[index], dir=directory,
                    routes=", ".join(f"nats://127.0.0.1:{route}" for route in routes)))
                self._servers.append(start_server(["nats-server", "-c", config], directory,
                                                  directory / f"output-{index}"))
            # Nobody answers before the servers have chosen a leader.
            wait_until(self._create_stream, 60, "NATS takes a stream", pause_s=0.5)
            undo.pop_all()

    def _create_stream(self):
        config = json.dumps({"name": "chat", "subjects": ["chat"], "storage": "file", "num_replicas": self.SERVERS})
        request = ('CONNECT {"verbose":false}\r\nSUB _INBOX.create 1\r\n'
                   f"PUB $JS.API.STREAM.CREATE.chat _INBOX.create {len(config)}\r\n{config}\r\n")
        answer = b""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=5) as connection:
            connection.sendall(request.encode())
            while b"stream_create_response" not in answer:
                part = connection.recv(65536)
                if not part:
                    break
                answer += part
        return b'"config"' in answer or b"already in use" in answer

    def round(self, seconds):
        done = subprocess.run([self._load, "127.0.0.1", str(self._port), "chat", str(CONNECTIONS), str(seconds)],
                              capture_output=True, text=True, timeout=seconds + 60, check=False)
        if done.returncode != 0:
            raise BenchError(done.stderr.strip())
        result = json.loads(done.stdout)
        result["rate"] = result["requests"] / result["seconds"]
        yield proxy.WRITE, CONNECTIONS, result

    def close(self):
        for server in self._servers:
            stop_server(server)


class ReplicatedPostgres:
    """A server with two streaming standbys, each commit on the disk of one of them at least."""
    name = "postgresql, 2 standbys"

    @staticmethod
    def missing():
        return PostgresServer.missing()

    def __init__(self, bin_dir, work_dir, node, ids):
        del bin_dir, node, ids
        directory = work_dir / "postgresql"
        self._servers = []
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            primary = PostgresServer(directory / "primary")
            self._servers.append(primary)
            primary.init()
            primary.start()
            for name in ("s1", "s2"):
                standby = PostgresServer(directory / name)
                self._servers.append(standby)
                standby.copy_of(primary, name)
                standby.start()
            primary.psql("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (s1, s2)'")
            primary.psql("SELECT pg_reload_conf()")
            wait_until(lambda: primary.psql(
                "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'").strip() == "2",
                60, "both standbys follow")
            primary.make_table(1000)
            self._primary = primary
            undo.pop_all()

    def round(self, seconds):
        yield proxy.WRITE_COPIES, CONNECTIONS, self._primary.bench("write_1000.sql", seconds)

    def close(self):
        for server in reversed(self._servers):
            server.stop()


PROXY_PEERS = [Nginx, Nats, ReplicatedPostgres]
