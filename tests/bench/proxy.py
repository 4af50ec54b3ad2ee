# SPDX-License-Identifier: MIT
"""Measures the proxy in front of three nodes: writes (healthy, two copies, one node paused) and reads, each beside
what it is compared with.

Everything runs on the same machine, so three nodes share what one would have for itself: ratios count.
"""
import contextlib
import shutil
import signal

import load
from programs import ClientProxy, start_cluster, wait_until

CONNECTIONS = 64
NODES = 3
PAGE = "/messages?order=desc&limit=50"
FILLED = 2000      # messages there at the beginning
CONVERGED_S = 60
SETTLED_S = 1      # after a node was paused, what the bars leave out

WRITE = "write, fan-out"
WRITE_COPIES = "write, two copies"
WRITE_PAUSED = "write, one node paused"
PAGE_READ = "page, through the proxy"
ID_READ = "by id, through the proxy"


class ProxyBench:
    """`peers`: see peers.PROXY_PEERS; each is measured in every round."""

    def __init__(self, bin_dir, work_dir, plan, results, peer_kinds, note):
        self._bin_dir = bin_dir
        self._dir = work_dir / "proxy"
        self._plan = plan
        self._results = results
        self._peer_kinds = peer_kinds
        self._note = note

    def run(self):
        self._dir.mkdir()
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, self._dir, ignore_errors=True)
            self._nodes = start_cluster(self._bin_dir, [self._dir / f"node-{i}" for i in range(NODES)])
            for node in self._nodes:
                stack.push(node)
            self._proxy = stack.enter_context(
                ClientProxy(self._bin_dir, self._dir, [node.address for node in self._nodes]))
            # What a reverse proxy of one node is compared with.
            one_dir = self._dir / "one"
            one_dir.mkdir()
            self._one = stack.enter_context(
                ClientProxy(self._bin_dir, one_dir, [self._nodes[0].address]))
            wait_until(lambda: self._proxy.network()["ready"] == NODES, CONVERGED_S, "all nodes are ready")
            wait_until(lambda: self._one.network()["ready"] == 1, CONVERGED_S, "the one node is ready")
            ids = load.fill(self._proxy.address, FILLED, open("/dev/null", "w", encoding="ascii"))
            self._await_converged()
            self._ids = self._dir / "ids"
            self._ids.write_text("".join(f"/messages/{each}\n" for each in ids))
            self._page = self._dir / "page"
            self._page.write_text(PAGE + "\n")
            peers = self._start_peers(stack)
            if not self._plan.check_all:
                load.write(self._proxy.address, CONNECTIONS, 1, check=True)
                load.read(self._proxy.address, CONNECTIONS, 1, self._ids, check=True)
            for number in range(self._plan.rounds):
                self._writes(paused=self._nodes[number % NODES])
                self._reads()
                for peer in peers:
                    for measurement, connections, result in peer.round(self._plan.seconds):
                        self._add(measurement, peer.name, result, connections)

    def _start_peers(self, stack):
        peers = []
        for kind in self._peer_kinds:
            missing = kind.missing()
            if missing:
                self._note(f"{kind.name}: {missing}")
                continue
            peer = kind(self._bin_dir, self._dir, self._nodes[0].address, self._ids)
            stack.callback(peer.close)
            peers.append(peer)
        return peers

    def _add(self, measurement, who, result, connections=CONNECTIONS):
        extra = {name: result[name] for name in ("p50_ms", "p99_ms", "mean_ms") if name in result}
        self._results.add(measurement, who, None, connections, result["rate"], "1/s", **extra)

    def _await_converged(self):
        wait_until(lambda: len({node.self_status()["digest"] for node in self._nodes}) == 1, CONVERGED_S,
                   "the nodes hold the same log")

    def _write(self, measurement, seconds=None, header=None):
        # What is not 201 (202: too few copies) counts as an error where every answer is looked at.
        result = load.write(self._proxy.address, CONNECTIONS, seconds or self._plan.seconds,
                            check=self._plan.check_all or header is not None, header=header)
        if measurement:
            self._add(measurement, "proxy, 3 nodes", result)
        self._await_converged()

    def _writes(self, paused):
        self._write(WRITE)
        self._write(WRITE_COPIES, header="ChatChain-Acks:2")
        paused.process.send_signal(signal.SIGSTOP)
        try:
            load.write(self._proxy.address, CONNECTIONS, SETTLED_S)
            result = load.write(self._proxy.address, CONNECTIONS, self._plan.seconds, check=self._plan.check_all)
        finally:
            paused.process.send_signal(signal.SIGCONT)
        self._add(WRITE_PAUSED, "proxy, 3 nodes", result)
        wait_until(lambda: self._proxy.network()["ready"] == NODES, CONVERGED_S, "the paused node is ready again")
        self._await_converged()

    def _reads(self):
        for measurement, targets in ((PAGE_READ, self._page), (ID_READ, self._ids)):
            for who, address in (("the node itself", self._nodes[0].address), ("proxy, 3 nodes", self._proxy.address),
                                 ("proxy, 1 node", self._one.address)):
                self._add(measurement, who, load.read(address, CONNECTIONS, self._plan.seconds, targets,
                                                      check=self._plan.check_all))

    @staticmethod
    def bars(results, bar):
        mine = "proxy, 3 nodes"

        def key(measurement, who=mine):
            return measurement, who, None, CONNECTIONS

        def p99(measurement):
            return results.extra("p99_ms", *key(measurement))

        healthy = p99(WRITE)
        if healthy is None:
            return
        bar("proxy: fan-out writes, p99 / p50", healthy / results.extra("p50_ms", *key(WRITE)), "at most", 5)
        bar("proxy: writes, one node paused / healthy", results.median_ratio(key(WRITE_PAUSED), key(WRITE)),
            "at least", 0.8)
        bar("proxy: p99 of writes, one node paused / healthy", p99(WRITE_PAUSED) / healthy, "at most", 2)
        bar("proxy: latest 50, proxy / the same node directly",
            results.median_ratio(key(PAGE_READ), key(PAGE_READ, "the node itself")), "at least", 0.7)
        bar("proxy: by id, proxy / nginx, each before the same node",
            results.median_ratio(key(ID_READ, "proxy, 1 node"), key(ID_READ, "nginx")), "at least", 0.8)
        nats = results.median_ratio(key(WRITE), key(WRITE, "nats jetstream R3"))
        bar("proxy: fan-out writes / NATS JetStream R3", nats, "at least", 1.2)
        bar("proxy: fan-out writes / NATS JetStream R3 (aim)", nats, "at least", 2)
        bar("proxy: writes with two copies / PostgreSQL with two standbys, ANY 1",
            results.median_ratio(key(WRITE_COPIES), key(WRITE_COPIES, "postgresql, 2 standbys")), "at least", 1)
