# SPDX-License-Identifier: MIT
"""What others do on the same machine in the same run: `bench.py --peers`.

A peer is a class with
  name                  as the table shows it
  missing()             why it cannot be measured here, or None
  Peer(context)         prepares; context: work_dir, bin_dir, scales (numbers of stored messages)
  round(stored, seconds)  one short round: a list of (measurement, connections, rate, extra figures)
  close()               stops and removes what it has started
and stands in PEERS. Measurements of the same name and number of connections are compared with the node's.
"""
import contextlib
import glob
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import time

import load
from programs import BenchError, Program, free_ports

CONNECTIONS = 64

# The row that the node stores, one unique index on the id, which begins with the time: so the latest 50 are
# the end of that index.
POSTGRES_TABLE = """
CREATE TABLE {table}(id bytea NOT NULL, sender text NOT NULL, recipient text, room text, text text NOT NULL,
  "timestamp" bigint, key text NOT NULL, stamp bigint NOT NULL);
CREATE UNIQUE INDEX {table}_by_id ON {table}(id);
"""
POSTGRES_TEXT = "message of a bench run, about as long as what people write: some ten words, some more"
POSTGRES_ROW = """substring(int8send((extract(epoch from clock_timestamp())*1000)::bigint) from 3)
  || int8send({high}) || int8send({low}), 'user' || {sender}, 'user' || {recipient}, '{text} ' || {low}, 1763712000,
  '019a0000-0000-7000-8000-' || {low}, (extract(epoch from clock_timestamp())*65536000)::bigint"""
POSTGRES_COLUMNS = 'id, sender, recipient, text, "timestamp", key, stamp'


class PostgresServer:
    """A cluster of its own, as Debian configures it: fsync and synchronous_commit on."""

    @staticmethod
    def bin_dir():
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[4]))
        return pathlib.Path(found[-1]) if found else None

    @classmethod
    def missing(cls):
        bin_dir = cls.bin_dir()
        if bin_dir is None:
            return "not installed (Debian package postgresql)"
        for program in ("initdb", "postgres", "psql", "pgbench", "pg_basebackup"):
            if not (bin_dir / program).exists():
                return f"{bin_dir / program} is not there (Debian package postgresql)"
        return None

    def __init__(self, directory):
        self._bin = self.bin_dir()
        self._dir = directory
        self._data = directory / "data"
        self._server = None
        self.port = None
        directory.mkdir(parents=True)
        # The server refuses to run as root.
        self._user = {}
        if os.geteuid() == 0:
            try:
                account = pwd.getpwnam("postgres")
            except KeyError:
                account = pwd.getpwnam("nobody")
            self._user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            os.chown(directory, account.pw_uid, account.pw_gid)

    def _run(self, program, *arguments, timeout=120):
        command = [str(self._bin / program), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, cwd=self._dir,
                              **self._user)
        if done.returncode != 0:
            raise BenchError(f"{program} failed: {(done.stderr or done.stdout)[-500:]}")
        return done.stdout

    def init(self):
        self._run("initdb", "--auth", "trust", "--username", "bench", "--encoding", "UTF8", "-D", self._data)

    def copy_of(self, primary, name):
        """A standby of a running server, known to it by that name."""
        self._run("pg_basebackup", "-D", self._data, "-R", "-X", "stream", "-c", "fast", "-d",
                  f"host=127.0.0.1 port={primary.port} user=bench application_name={name}")

    def start(self):
        for _ in range(5):
            self.port = free_ports(1)[0]
            self._server = subprocess.Popen(
                ["setpriv", "--pdeathsig", "INT", str(self._bin / "postgres"), "-D", str(self._data), "-p",
                 str(self.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
                 "-c", "fsync=on", "-c", "synchronous_commit=on"],
                cwd=self._dir, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=(self._dir / "log").open("w"), **self._user)
            end = time.monotonic() + 30
            while self._server.poll() is None and time.monotonic() < end:
                with contextlib.suppress(BenchError):
                    self.psql("SELECT 1")
                    return
                time.sleep(0.1)
            self.stop()
        raise BenchError("postgresql does not start: " + (self._dir / "log").read_text()[-500:])

    def _client(self):
        return ("-h", "127.0.0.1", "-p", self.port, "-U", "bench")

    def psql(self, sql, timeout=600):
        return self._run("psql", *self._client(), "-d", "postgres", "-qAt", "-v", "ON_ERROR_STOP=1", "-c", sql,
                         timeout=timeout)

    def make_table(self, stored):
        """A table of so many messages, and scripts for pgbench: write_N.sql, page_N.sql."""
        table = f"messages_{stored}"
        self.psql(POSTGRES_TABLE.format(table=table))
        row = POSTGRES_ROW.format(high="i", low="i * 7919", sender="i % 1000", recipient="i * 31 % 1000",
                                  text=POSTGRES_TEXT)
        self.psql(f"INSERT INTO {table}({POSTGRES_COLUMNS}) SELECT {row} "
                  f"FROM generate_series(1::bigint, {stored}) i")
        self.psql(f"VACUUM ANALYZE {table}")
        self.psql("CHECKPOINT")
        values = POSTGRES_ROW.format(high=":high::bigint", low=":low::bigint", sender=":sender",
                                     recipient=":recipient", text=POSTGRES_TEXT)
        (self._dir / f"write_{stored}.sql").write_text(
            "\\set high random(0, 9223372036854775806)\n"
            "\\set low random(0, 9223372036854775806)\n"
            "\\set sender random(0, 999)\n\\set recipient random(0, 999)\n"
            f"INSERT INTO {table}({POSTGRES_COLUMNS}) VALUES ({' '.join(values.split())});\n")
        (self._dir / f"page_{stored}.sql").write_text(
            f"SELECT {POSTGRES_COLUMNS} FROM {table} ORDER BY id DESC LIMIT 50;\n")

    def bench(self, script, seconds):
        """One run of pgbench: {"rate", "mean_ms"}."""
        output = self._run("pgbench", *self._client(), "-n", "-M", "prepared", "-c", CONNECTIONS, "-j", 2,
                           "-T", max(1, round(seconds)), "-f", self._dir / script, "postgres",
                           timeout=seconds + 60)
        rate = re.search(r"^tps = ([\d.]+)", output, re.M)
        failed = re.search(r"^number of failed transactions: (\d+)", output, re.M)
        latency = re.search(r"^latency average = ([\d.]+) ms", output, re.M)
        if not rate or not latency or (failed and int(failed[1]) > 0):
            raise BenchError(f"pgbench: {output[-500:]}")
        return {"rate": float(rate[1]), "mean_ms": float(latency[1])}

    def stop(self):
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(signal.SIGINT)  # "fast": clients are not waited for
            try:
                self._server.wait(60)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()


class Postgres:
    """One server beside one node."""
    name = "postgresql"

    @staticmethod
    def missing():
        return PostgresServer.missing()

    def __init__(self, context):
        self.name = f"postgresql {PostgresServer.bin_dir().parent.name}"
        self._dir = context.work_dir / "postgresql"
        self._server = PostgresServer(self._dir)
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            self._server.init()
            self._server.start()
            for stored in context.scales:
                self._server.make_table(stored)
            undo.pop_all()

    def round(self, stored, seconds):
        for measurement, script in (("write", f"write_{stored}.sql"), ("page", f"page_{stored}.sql")):
            result = self._server.bench(script, seconds)
            yield measurement, CONNECTIONS, result["rate"], {"mean_ms": result["mean_ms"]}

    def close(self):
        self._server.stop()
        shutil.rmtree(self._dir, ignore_errors=True)


class HttpFloor:
    """Our HTTP floor against cpp-httplib's own server, the same small answer."""
    name = "http floor"

    @staticmethod
    def missing():
        return None

    def __init__(self, context):
        self._first_scale = context.scales[0]
        self._targets = context.work_dir / "floor-targets"
        self._targets.write_text("/small\n")
        self._servers = []
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            for kind in ("ours", "stock"):
                self._servers.append((kind, Program([context.bin_dir / "chatchain-bench-floor", kind], context.work_dir)))
            undo.pop_all()

    def round(self, stored, seconds):
        if stored != self._first_scale:  # nothing is stored: once a round is enough
            return
        for kind, server in self._servers:
            result = load.read(server.address, CONNECTIONS, seconds, self._targets)
            yield f"small answer, {kind}", CONNECTIONS, result["rate"], {
                "p50_ms": result["p50_ms"], "p99_ms": result["p99_ms"]}

    def close(self):
        for _, server in self._servers:
            server.process.kill()  # they hold nothing, and the stock one knows no other end
            server.process.wait()


PEERS = [Postgres, HttpFloor]
