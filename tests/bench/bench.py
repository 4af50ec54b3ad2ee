#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures a node: durable writes, reads, catch-up, replication lag and size, with few and with many stored
messages; and the proxy in front of three nodes. Prints a table, and bars as PASS or BELOW; writes all figures as JSON.

What is compared is measured in turns of short rounds, and the median over the rounds counts: on a machine
that others use too, ratios within a run mean something where absolute figures do not.
Run it by scripts/bench.sh, which builds what it needs.
"""
import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import load
import proxy
from peers import PEERS
from programs import (BenchError, Node, Program, copy_directory, directory_bytes, start_cluster, wait_until)
from proxy_peers import PROXY_PEERS

WRITE_CONNECTIONS = (1, 16, 64, 256)
COMPARED_CONNECTIONS = 64  # where bars and reference points are
PAGE = "/messages?order=desc&limit=50"
# Pages with the same 50 messages under 100,000 different names, since none of them is that old.
DISTINCT_PAGES = 100_000
MIB = 1 << 20
SKIPPED = 77  # for ctest


@dataclasses.dataclass(frozen=True)
class Plan:
    scales: tuple        # stored messages
    rounds: int
    seconds: float       # of one load run
    connections: tuple = WRITE_CONNECTIONS
    catch_up_rounds: int = 3
    lag_seconds: float = 20
    lag_rate: float = 50  # messages/s
    # A store of so few messages would be multiplied by a round: each run begins with a fresh copy.
    fresh_up_to: int = 20_000
    # Count every answer by its status in the rounds too; else once before them, because it slows wrk down.
    check_all: bool = False


FULL = Plan(scales=(10_000, 1_000_000), rounds=5, seconds=4)
QUICK = Plan(scales=(10_000, 100_000), rounds=3, seconds=2, catch_up_rounds=2, lag_seconds=6)
SMOKE = Plan(scales=(50, 200), rounds=1, seconds=0.2, connections=(COMPARED_CONNECTIONS,), catch_up_rounds=1,
             lag_seconds=0.2, fresh_up_to=100, check_all=True)


def say(text):
    print(text, file=sys.stderr, flush=True)


class Results:
    """Figures by (measurement, who, stored messages, connections), one a round."""

    def __init__(self):
        self._rows = {}

    def add(self, measurement, who, stored, connections, value, unit, **extra):
        row = self._rows.setdefault((measurement, who, stored, connections), {
            "measurement": measurement, "who": who, "stored": stored, "connections": connections, "unit": unit,
            "rounds": [], "extra": {}})
        row["rounds"].append(value)
        for name, figure in extra.items():
            row["extra"].setdefault(name, []).append(figure)
        say(f"    {measurement}, {who}, {stored or 0:,} stored, {connections or '-'} connections: "
            f"{value:,.1f} {unit}")

    def rounds(self, *key):
        return self._rows[key]["rounds"] if key in self._rows else None

    def median(self, *key):
        rounds = self.rounds(*key)
        return statistics.median(rounds) if rounds else None

    def most(self, *key):
        return max(self.rounds(*key) or (0,))

    def extra(self, name, *key):
        figures = self._rows.get(key, {"extra": {}})["extra"].get(name)
        return statistics.median(figures) if figures else None

    def median_ratio(self, key, other_key):
        """The median of the ratios within each round."""
        pairs = zip(self.rounds(*key) or (), self.rounds(*other_key) or ())
        ratios = [mine / other for mine, other in pairs if other > 0]
        return statistics.median(ratios) if ratios else None

    def rows(self):
        for row in self._rows.values():
            yield {**row, "median": statistics.median(row["rounds"]),
                   **{name: statistics.median(figures) for name, figures in row["extra"].items()}}


class Store:
    """A node with so many messages. `pristine` is its directory as the clean stop after filling left it."""

    def __init__(self, bench, stored):
        self._bench = bench
        self.stored = stored
        self._dir = bench.work_dir / f"store-{stored}"
        self._dir.mkdir()
        self.pristine = self._dir / "pristine"
        self._data = self._dir / "data"
        self.ids_file = self._dir / "ids"
        self._node = None
        self.fresh_each_time = stored <= bench.plan.fresh_up_to

    def fill(self):
        say(f"==> a node with {self.stored:,} messages")
        results = self._bench.results
        with Node(self._bench.bin_dir, self.pristine) as node:
            begin = time.monotonic()
            ids = load.fill(node.address, self.stored, sys.stderr)
            results.add("fill by batches of 1000", "node", self.stored, 4,
                        self.stored / (time.monotonic() - begin), "messages/s")
            results.add("resident memory after filling", "node", self.stored, None,
                        node.usage()["resident_peak_bytes"] / MIB, "MiB")
            results.add("WAL high-water mark, filling", "node", self.stored, None, node.wal_bytes() / MIB, "MiB")
            results.add("clean stop", "node", self.stored, None, node.stop(), "s")
        results.add("disk after a clean stop", "node", self.stored, None,
                    directory_bytes(self.pristine) / self.stored, "bytes/message")
        self.ids_file.write_text("".join(f"/messages/{each}\n" for each in ids))

    def node(self):
        """The running node; small stores are as they were after filling."""
        if self.fresh_each_time and self._node is not None:
            self.stop()
        if self._node is None:
            if self.fresh_each_time or not self._data.exists():
                copy_directory(self.pristine, self._data)
            self._node = Node(self._bench.bin_dir, self._data)
            self._bench.results.add("start until listening", "node", self.stored, None,
                                    self._node.listening_since - self._node.started_at, "s")
        return self._node

    def stop(self):
        if self._node is not None:
            node, self._node = self._node, None
            usage = node.usage()
            add = self._bench.results.add
            add("resident memory", "node", self.stored, None, usage["resident_bytes"] / MIB, "MiB")
            add("resident memory, most", "node", self.stored, None, usage["resident_peak_bytes"] / MIB, "MiB")
            add("threads", "node", self.stored, None, usage["threads"], "threads")
            add("WAL high-water mark", "node", self.stored, None, node.wal_bytes() / MIB, "MiB")
            node.stop()

    def kill(self):
        if self._node is not None and self._node.process.poll() is None:
            self._node.process.kill()
            self._node.process.wait()


class Bench:
    def __init__(self, plan, bin_dir, work_dir, with_peers, soak_minutes):
        self.plan = plan
        self.scales = plan.scales
        self.bin_dir = bin_dir
        self.work_dir = work_dir
        self.results = Results()
        self.notes = []
        self._soak_minutes = soak_minutes
        self._with_peers = with_peers

    def run(self):
        with contextlib.ExitStack() as stack:
            self.results.add("disk: append and fdatasync 4 KiB", "this machine", None, 1, self._fsync_rate(), "syncs/s")
            self.pages_file = self.work_dir / "pages"
            self.pages_file.write_text(PAGE + "\n")
            self.distinct_pages_file = self.work_dir / "distinct-pages"
            self.distinct_pages_file.write_text(
                "".join(f"{PAGE}&since={1 + i}\n" for i in range(DISTINCT_PAGES)))
            self.stores = [Store(self, stored) for stored in self.plan.scales]
            for store in self.stores:
                stack.callback(store.kill)
                store.fill()
            for store in self.stores if not self.plan.check_all else ():
                self._check_answers(store)
            peers = self._start_peers(stack)
            self.null = stack.enter_context(Program([self.bin_dir / "chatchain-bench-null-server"], self.work_dir))
            if not self.plan.check_all:
                load.write(self.null.address, COMPARED_CONNECTIONS, 1, check=True)
            for number in range(self.plan.rounds):
                say(f"==> round {number + 1} of {self.plan.rounds}")
                self._writes()
                self._reads()
                for peer in peers:
                    for stored in self.plan.scales:
                        for measurement, connections, rate, extra in peer.round(stored, self.plan.seconds):
                            self.results.add(measurement, peer.name, stored, connections, rate, "1/s", **extra)
            for store in self.stores:
                store.stop()
        for store in self.stores:
            self._catch_up(store)
        for store in self.stores:
            self._lag(store)
        self.run_proxy()
        if self._soak_minutes:
            self._soak(self.stores[-1])

    def _fsync_rate(self):
        """What one writer alone can have of this disk."""
        path = self.work_dir / "fsync"
        file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        count, begin = 0, time.monotonic()
        while count < 2000 and time.monotonic() - begin < min(2, self.plan.seconds):
            os.write(file, b"x" * 4096)
            os.fdatasync(file)
            count += 1
        rate = count / (time.monotonic() - begin)
        os.close(file)
        path.unlink()
        return rate

    def _check_answers(self, store):
        """Every answer by its status; the rounds only count those of 400 and more, which costs less."""
        say(f"==> checking answers, {store.stored:,} stored")
        node = store.node()
        before = node.messages()
        result = load.write(node.address, COMPARED_CONNECTIONS, 1, check=True)
        if node.messages() < before + result["requests"]:
            raise BenchError("the node answered 201 more often than it stored")
        for targets in (self.pages_file, self.distinct_pages_file, store.ids_file):
            load.read(node.address, COMPARED_CONNECTIONS, 1, targets, check=True)

    def _start_peers(self, stack):
        peers = []
        if not self._with_peers:
            return peers
        for kind in PEERS:
            missing = kind.missing()
            if missing:
                self.notes.append(f"{kind.name}: {missing}")
                say(f"==> {kind.name} is not compared: {missing}")
                continue
            say(f"==> preparing {kind.name}")
            peer = kind(self)
            stack.callback(peer.close)
            peers.append(peer)
        return peers

    def _writes(self):
        for connections in self.plan.connections:
            for store in self.stores:
                self._node_writes(store, connections)
            result = load.write(self.null.address, connections, self.plan.seconds, check=self.plan.check_all)
            for store in self.stores:  # stores nothing, so it is the same for all
                self.results.add("write", "no store", store.stored, connections, result["rate"], "1/s",
                                 p50_ms=result["p50_ms"], p99_ms=result["p99_ms"])

    def _node_writes(self, store, connections):
        node = store.node()
        stored_before, before = node.messages(), node.counters()
        result = load.write(node.address, connections, self.plan.seconds, check=self.plan.check_all)
        after, stored = node.counters(), node.messages() - stored_before
        # Each request was answered below 400: an answer other than 201 would have stored nothing.
        if stored < result["requests"]:
            raise BenchError(f"{result['requests']} writes were acknowledged, {stored} are stored")
        commits = after["chatchain_node_commits_total"] - before["chatchain_node_commits_total"]
        jobs = after["chatchain_node_committed_jobs_total"] - before["chatchain_node_committed_jobs_total"]
        group = jobs / max(1, commits)
        self.results.add("write", "node", store.stored, connections, result["rate"], "1/s",
                         p50_ms=result["p50_ms"], p99_ms=result["p99_ms"], group=group)
        if connections != COMPARED_CONNECTIONS:
            return
        database = self.work_dir / f"reference-{store.stored}.db"
        if store.fresh_each_time:
            for path in self.work_dir.glob(database.name + "*"):
                path.unlink()
        done = subprocess.run(
            [self.bin_dir / "chatchain-sqlite-reference", database, str(store.stored), f"{max(1, group):.3f}",
             str(self.plan.seconds)], capture_output=True, text=True, timeout=600, check=False)
        if done.returncode != 0:
            raise BenchError(done.stderr.strip())
        reference = json.loads(done.stdout)
        self.results.add("write", "bare SQLite", store.stored, connections,
                         reference["rows"] / reference["seconds"], "1/s",
                         group=reference["rows"] / max(1, reference["commits"]))

    def _reads(self):
        for store in self.stores:
            node = store.node()
            for name, targets in (("page", self.pages_file), ("page, no two alike", self.distinct_pages_file),
                                  ("by id", store.ids_file)):
                result = load.read(node.address, COMPARED_CONNECTIONS, self.plan.seconds, targets,
                                   check=self.plan.check_all)
                self.results.add(name, "node", store.stored, COMPARED_CONNECTIONS, result["rate"], "1/s",
                                 p50_ms=result["p50_ms"], p99_ms=result["p99_ms"])

    def _catch_up(self, store):
        say(f"==> catching up with {store.stored:,} messages")
        source = self.work_dir / "catch-up-source"
        copy_directory(store.pristine, source)
        with Node(self.bin_dir, source, 0) as full:
            wanted = full.self_status()
            for _ in range(self.plan.catch_up_rounds):
                target = self.work_dir / "catch-up-target"
                with Node(self.bin_dir, target, 1, [full.address]) as empty:
                    wait_until(lambda: empty.self_status()["digest"] == wanted["digest"],
                               60 + store.stored / 1000, "the digests are equal")
                    seconds = time.monotonic() - empty.listening_since
                    self.results.add("catch-up", "node", store.stored, 1, wanted["messages"] / seconds,
                                     "records/s", seconds=seconds,
                                     resident_peak_mib=empty.usage()["resident_peak_bytes"] / MIB)
                shutil.rmtree(target)
        shutil.rmtree(source)

    def _lag(self, store):
        say(f"==> replication lag, {store.stored:,} stored")
        directories = [self.work_dir / f"lag-{i}" for i in range(3)]
        for directory in directories:
            copy_directory(store.pristine, directory)
        nodes = start_cluster(self.bin_dir, directories)
        try:
            for node in nodes:
                wait_until(lambda each=node: self._is_ready(each), 60, "ready")
            lags = load.replication_lag(nodes[0].address, [node.address for node in nodes[1:]],
                                        self.plan.lag_rate, self.plan.lag_seconds)
            lags.sort()
            for name, share in (("p50", 0.5), ("p99", 0.99)):
                self.results.add(f"replication lag, {name}", "3 nodes", store.stored, 1,
                                 lags[min(len(lags) - 1, int(share * len(lags)))], "ms")
        finally:
            for node in nodes:
                node.stop()
        for directory in directories:
            shutil.rmtree(directory)

    def run_proxy(self):
        say("==> the proxy, three nodes")
        proxy.ProxyBench(self.bin_dir, self.work_dir, self.plan, self.results,
                         PROXY_PEERS if self._with_peers else (), self._note).run()

    def _note(self, text):
        self.notes.append(text)
        say(f"==> not compared: {text}")

    @staticmethod
    def _is_ready(node):
        return json.loads(node.get("/readyz", (200, 503)))["state"] == "ready"

    def _soak(self, store):
        """Writes without a pause beside readers: does the WAL stay small, does the last minute keep up?"""
        say(f"==> {self._soak_minutes} minutes of writes beside readers")
        with tempfile.TemporaryDirectory(dir=self.work_dir) as directory:
            data = pathlib.Path(directory) / "data"
            copy_directory(store.pristine, data)
            with Node(self.bin_dir, data) as node:
                for _ in range(self._soak_minutes):
                    reader = subprocess.Popen(
                        ["wrk", "-c", "8", "-t", "1", "-d", "60s", f"http://{node.address}{PAGE}"],
                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                    try:
                        result = load.write(node.address, COMPARED_CONNECTIONS, 60)
                    finally:
                        reader.kill()
                        reader.wait()
                    self.results.add("soak: writes a minute beside 8 readers", "node", store.stored,
                                     COMPARED_CONNECTIONS, result["rate"], "1/s", p99_ms=result["p99_ms"])
                self.results.add("soak: WAL high-water mark", "node", store.stored, None, node.wal_bytes() / MIB,
                                 "MiB")

    # What is demanded, and what was reached.
    def bars(self):
        results, many = self.results, self.plan.scales[-1]
        few, at = self.plan.scales[0], COMPARED_CONNECTIONS
        bars = []

        def bar(name, value, sense, limit):
            if value is not None:  # None, and 0 where only the proxy was measured: not measured
                passed = value >= limit if sense == "at least" else value <= limit
                bars.append({"name": name, "value": value, "sense": sense, "limit": limit, "passed": passed})

        def cost(measurement):
            ratio = results.median_ratio((measurement, "node", few, at), (measurement, "node", many, at))
            bar(f"{measurement}: cost at {many:,} / cost at {few:,} messages", ratio, "at most", 1.3)

        for stored in self.plan.scales:
            ratio = results.median_ratio(("write", "node", stored, at), ("write", "no store", stored, at))
            bar(f"durable / no-store writes, {stored:,} stored", ratio, "at least", 0.3)
            bar(f"durable / no-store writes, {stored:,} stored (next aim)", ratio, "at least", 0.5)
        cost("write")
        cost("page")
        cost("page, no two alike")
        for stored in self.plan.scales:
            bar(f"catch-up of {stored:,} (records/s)", results.median("catch-up", "node", stored, 1), "at least",
                30_000)
        resident_mib = max(results.most(name, "node", many, None)
                           for name in ("resident memory, most", "resident memory after filling"))
        bar(f"resident memory, most, {many:,} stored (MB)", resident_mib * MIB / 1e6 or None, "at most", 150)
        key = ("write", "node", many, at)
        p50, p99 = results.extra("p50_ms", *key), results.extra("p99_ms", *key)
        bar(f"writes, {many:,} stored: p99 / p50", p99 / p50 if p50 else None, "at most", 5)
        bar("WAL high-water mark (MB)", max(
            results.most(name, "node", stored, None) * MIB / 1e6 for stored in self.plan.scales
            for name in ("WAL high-water mark", "WAL high-water mark, filling")) or None, "at most", 64)
        soak = results.rounds("soak: writes a minute beside 8 readers", "node", many, at)
        if soak:
            bar("soak: last minute / first minute", soak[-1] / soak[0], "at least", 0.9)
            bar("soak: WAL high-water mark (MB)",
                results.median("soak: WAL high-water mark", "node", many, None) * MIB / 1e6, "at most", 64)
        proxy.ProxyBench.bars(results, bar)
        for row in list(results.rows()):
            if row["who"].startswith("postgresql") and row["stored"]:
                limit = {"write": 1.3, "page": 1.0}[row["measurement"]]
                mine = (row["measurement"], "node", row["stored"], at)
                bar(f"{row['measurement']}: node / {row['who']}, {row['stored']:,} stored",
                    results.median_ratio(mine, (row["measurement"], row["who"], row["stored"], at)), "at least", limit)
        return bars

    def ratios(self):
        """Worth knowing, not demanded."""
        results, at = self.results, COMPARED_CONNECTIONS
        found = []
        for stored in self.plan.scales:
            ratio = results.median_ratio(("write", "node", stored, at), ("write", "bare SQLite", stored, at))
            if ratio:
                found.append({"name": f"durable writes / bare SQLite rows in equal groups, {stored:,} stored",
                              "value": ratio})
        floor = results.median_ratio(("small answer, ours", "http floor", self.plan.scales[0], at),
                                     ("small answer, stock", "http floor", self.plan.scales[0], at))
        if floor:
            found.append({"name": "http floor / cpp-httplib's own server", "value": floor})
        return found


def figure(value):
    if value is None:
        return ""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:,.2f}" if abs(value) < 10 else f"{value:,.1f}"


def print_table(rows, ratios, bars, notes):
    columns = ["measurement", "who", "stored", "conns", "median", "unit", "p50 ms", "p99 ms", "least", "most"]
    lines = [[row["measurement"], row["who"], f"{row['stored']:,}" if row["stored"] else "",
              str(row["connections"] or ""), figure(row["median"]), row["unit"], figure(row.get("p50_ms")),
              figure(row.get("p99_ms")), figure(min(row["rounds"])), figure(max(row["rounds"]))] for row in rows]
    lines.sort(key=lambda line: (line[0], line[2].replace(",", "").zfill(9), line[3].zfill(4), line[1]))
    widths = [max(len(line[i]) for line in [columns] + lines) for i in range(len(columns))]
    words = (0, 1, 5)
    for line in [columns] + lines:
        print("  ".join(cell.ljust(width) if i in words else cell.rjust(width)
                        for i, (cell, width) in enumerate(zip(line, widths))).rstrip())
    print()
    for ratio in ratios:
        print(f"       {ratio['name']}: {figure(ratio['value'])}")
    for bar in bars:
        verdict = "PASS " if bar["passed"] else "BELOW"
        print(f"{verdict}  {bar['name']}: {figure(bar['value'])} ({bar['sense']} {figure(bar['limit'])})")
    for note in notes:
        print(f"note   {note}")


def machine():
    with open("/proc/meminfo", encoding="ascii") as meminfo:
        memory_kib = int(meminfo.readline().split()[1])
    return {"system": platform.platform(), "processors": os.cpu_count(), "memory_bytes": memory_kib * 1024}


def commit_of(directory):
    """What was measured; None outside of a repository."""
    done = subprocess.run(["git", "-c", "safe.directory=*", "describe", "--always", "--dirty", "--abbrev=12"],
                          cwd=directory, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def check_shape(report, plan):
    """What a smoke run must have produced: every measurement at every scale, with sane figures."""
    present = {(row["measurement"], row["who"], row["stored"]) for row in report["results"]}
    for stored in plan.scales:
        for measurement, who in (("write", "node"), ("write", "no store"), ("write", "bare SQLite"), ("page", "node"),
                                 ("page, no two alike", "node"), ("by id", "node"), ("catch-up", "node"),
                                 ("replication lag, p50", "3 nodes"), ("replication lag, p99", "3 nodes"),
                                 ("resident memory, most", "node"), ("threads", "node"),
                                 ("WAL high-water mark", "node"), ("disk after a clean stop", "node")):
            if (measurement, who, stored) not in present:
                raise BenchError(f"the report has no {measurement} of {who} at {stored} messages")
    for measurement in (proxy.WRITE, proxy.WRITE_COPIES, proxy.WRITE_PAUSED, proxy.PAGE_READ, proxy.ID_READ):
        if (measurement, "proxy, 3 nodes", None) not in present:
            raise BenchError(f"the report has no {measurement} of the proxy")
    for row in report["results"]:
        if not row["rounds"] or row["median"] < 0 or (row["unit"] == "1/s" and row["median"] <= 0):
            raise BenchError(f"the report has no figure in {row}")
    if len(report["bars"]) < 8 or not all({"name", "value", "limit", "passed"} <= set(bar) for bar in report["bars"]):
        raise BenchError("the report's bars are incomplete")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--bin-dir", type=pathlib.Path, default="build/release/bin", help="the built programs")
    parser.add_argument("--work-dir", type=pathlib.Path, default=None,
                        help="data goes to a new directory in here, on the disk that is to be measured, and is "
                        "removed again; by default beside --bin-dir")
    parser.add_argument("--output", type=pathlib.Path, default=None, help="the JSON file; by default bench.json "
                        "beside --bin-dir")
    parser.add_argument("--quick", action="store_true", help="10^4 and 10^5 messages, shorter runs")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes; checks the report instead of printing it")
    parser.add_argument("--scale", action="append", type=int, metavar="MESSAGES",
                        help="stored messages, in place of the usual two; may be given again")
    parser.add_argument("--rounds", type=int, help="short rounds, of which the median counts")
    parser.add_argument("--seconds", type=float, help="length of one load run")
    parser.add_argument("--peers", action="store_true", help="compare with what else is installed (PostgreSQL, nginx, NATS, "
                        "cpp-httplib's own server)")
    parser.add_argument("--only-proxy", action="store_true", help="the proxy in front of three nodes, and no more")
    parser.add_argument("--soak-minutes", type=int, default=0, help="at the end, write for so long beside readers")
    return parser.parse_args()


def plan_of(options):
    plan = SMOKE if options.smoke else QUICK if options.quick else FULL
    if options.scale:
        plan = dataclasses.replace(plan, scales=tuple(sorted(set(options.scale))))
    if options.rounds:
        plan = dataclasses.replace(plan, rounds=options.rounds)
    if options.seconds:
        plan = dataclasses.replace(plan, seconds=options.seconds)
    return plan


def main():
    options = parse_arguments()
    plan = plan_of(options)
    if shutil.which("wrk") is None:
        say("bench.py needs wrk (Debian package wrk)")
        return SKIPPED if options.smoke else 1
    bin_dir = options.bin_dir.resolve()
    parent = (options.work_dir or bin_dir.parent).resolve()
    parent.mkdir(parents=True, exist_ok=True)
    output = options.output or (parent if options.smoke else bin_dir.parent) / "bench.json"
    # Ends like Ctrl-C, so that everything is stopped and removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    begin = time.monotonic()
    work_dir = pathlib.Path(tempfile.mkdtemp(prefix="bench-", dir=parent))
    work_dir.chmod(0o755)  # a database server may have to run as somebody else
    bench = Bench(plan, bin_dir, work_dir, options.peers, options.soak_minutes)
    started = datetime.datetime.now(datetime.timezone.utc)
    load_before = os.getloadavg()
    try:
        if options.only_proxy:
            bench.run_proxy()
        else:
            bench.run()
    except BenchError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    finally:
        shutil.rmtree(work_dir, ignore_errors=True)
    bars, ratios = bench.bars(), bench.ratios()
    report = {"version": 1, "commit": commit_of(pathlib.Path(__file__).parent),
              "started_at": started.isoformat(timespec="seconds"), "seconds": round(time.monotonic() - begin, 1),
              "machine": machine(), "load_before": load_before, "load_after": os.getloadavg(),
              "plan": dataclasses.asdict(plan), "results": list(bench.results.rows()), "ratios": ratios, "bars": bars,
              "notes": bench.notes}
    output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if options.smoke:
        check_shape(json.loads(output.read_text(encoding="utf-8")), plan)
        say(f"ok: every measurement ran and {output} has its shape")
        return 0
    print_table(report["results"], ratios, bars, bench.notes)
    print(f"\n{output}: all rounds; {report['seconds']:.0f} s, load average {load_before[0]:.1f} before, "
          f"{report['load_after'][0]:.1f} after")
    return 0


if __name__ == "__main__":
    sys.exit(main())
