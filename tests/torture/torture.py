#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Real nodes and proxies under load and under a nemesis (nemesis.py); what every client asked and was
told is written as a history, which check_history.py judges afterwards.

Everybody can run it. As root, where namespaces are permitted, each program is in a network of its
own, which also loses single packets, and one node has a disk that is really full at times; otherwise
it says what it leaves out."""
import argparse
import pathlib
import random
import subprocess
import sys
from collections import deque

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
sys.path.insert(0, str(HERE))
import clients  # noqa: E402
import history  # noqa: E402
import isolation  # noqa: E402
import machines  # noqa: E402
import programs  # noqa: E402
from nemesis import Nemesis  # noqa: E402

NODES = ("n0", "n1", "n2")
PROXIES = ("p0", "p1")
JOIN_S = 60
CONVERGE_S = 60
FOLLOW_S = 60
READ_S = 60
FOLLOWERS = ("poll", "stream", "socket")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--bin-dir", type=pathlib.Path, required=True)
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32),
                        help="of what is sent and what is done; not of when things happen")
    parser.add_argument("--network", choices=["auto", "namespaces", "relays"], default="auto")
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--history", type=pathlib.Path, help="default: beside the binaries")
    options = parser.parse_args()
    options.bin_dir = options.bin_dir.resolve()
    options.history = (options.history or options.bin_dir.parent / f"torture-{options.network}.jsonl").resolve()
    return options


class Run:
    def __init__(self, options, world, isolated):
        self.options = options
        self.record = history.History(options.history)
        network = machines.network_for("namespaces" if isolated else "relays", options.bin_dir,
                                       NODES, PROXIES)
        self.cluster = machines.Machines(world, network, NODES, PROXIES, small_disks=isolated)
        self.care = clients.Care()
        self.nemesis = Nemesis(options.seed, self.record, self.cluster, self.care)
        at_proxies = [(proxy.name, proxy.address) for proxy in self.cluster.proxies]
        at_nodes = [(node.name, node.address) for node in self.cluster.nodes]
        rooms, shared = clients.Rooms(2), deque(maxlen=20)
        self.clients = [
            clients.Client(f"c{i}", options.seed, self.record, at_proxies, self.care, rooms, i % 2,
                           shared, pause=0.02) for i in range(options.clients)]
        # And some who know the nodes: with the same promises.
        self.clients.append(clients.Client("at-nodes", options.seed, self.record,
                                           at_nodes + at_proxies, self.care, rooms, 0, shared, pause=0.02))
        self.clients += [
            clients.DirectWriter(f"d{i}", options.seed, self.record, at_nodes[i],
                                 lambda node=node: node.incarnation, self.care)
            for i, node in enumerate(self.cluster.nodes)]
        self.followers = [
            clients.Follower(f"{way}-{where}", options.seed, self.record, way, targets)
            for way in FOLLOWERS
            for where, targets in (("proxies", at_proxies), ("nodes", at_nodes),
                                   ("both", at_proxies + at_nodes))]

    def torment(self):
        for worker in (*self.clients, *self.followers):
            worker.start()
        until = history.now() + 60 * self.options.minutes
        pause = self.clients[0].stopping  # that nobody has set yet
        while history.now() < until:
            self.nemesis.step(pause.wait)
            before = self.record.acknowledged
            programs.wait_until(lambda: self.record.acknowledged > before, JOIN_S,
                                "something acknowledged after healing")
        self.cluster.heal()

    def finish(self):
        for worker in self.clients:
            worker.stop()
        for worker in self.clients:
            worker.join(JOIN_S)
        self.cluster.await_equal_digests(CONVERGE_S)
        for machine in self.cluster.all:
            start = history.now()
            messages = programs.wait_until(lambda m=machine: clients.read_everything(m.address),
                                           READ_S, f"all messages of {machine.name}")
            nodes = machine.ask("/nodes") if machine in self.cluster.nodes else None
            self.record.write("final", start=start, end=history.now(), at=machine.name,
                              messages=messages, forks=nodes["self"]["forks"] if nodes else [])
            for follower in self.followers:
                follower.goal = {message["id"] for message in messages}

        def all_followed():
            return all(follower.goal <= follower.seen for follower in self.followers)
        try:
            programs.wait_until(all_followed, FOLLOW_S, "followers have everything")
        except programs.Failure:
            pass  # the checker will name what they missed
        for follower in self.followers:
            follower.stop()
        for follower in self.followers:
            follower.join(JOIN_S)
        self.record.close()

    def check(self):
        done = subprocess.run([sys.executable, "-B", HERE / "check_history.py", self.options.history],
                              check=False)
        counts = ", ".join(f"{what} {count}" for what, count in sorted(self.nemesis.counts.items()))
        print(f"faults: {sum(self.nemesis.counts.values())} ({counts})")
        return done.returncode

    def logs(self):
        for machine in self.cluster.all:
            print(machine.log(), file=sys.stderr)


def main():
    options = arguments()
    missing = isolation.why_impossible(machines.Namespaces.TOOLS)
    if options.network != "relays" and not isolation.inside():
        if missing is None:
            isolation.enter()
        if options.network == "namespaces":
            print(f"skipped: {missing}")
            return isolation.SKIPPED
        print(f"left out: lost packets and a full disk, because {missing}")
    isolated = isolation.inside()
    if isolated:
        isolation.begin()
    print(f"seed {options.seed}, network of {'namespaces' if isolated else 'relays'}, "
          f"history {options.history}", flush=True)
    with programs.World(options.bin_dir) as world:
        run = Run(options, world, isolated)
        try:
            run.torment()
            run.finish()
            status = run.check()
        except BaseException:
            run.record.flush()
            run.logs()
            raise
        finally:
            if sys.exc_info()[0] is None and status != 0:
                run.logs()
            run.cluster.close()
    return status


if __name__ == "__main__":
    sys.exit(main())
