# SPDX-License-Identifier: MIT
"""What is done to the programs of a run. Each fault begins, lasts a while, and is undone by what it
gave back; all of it is put down in the history."""
import random
import shutil
from collections import Counter

import faults
import history
import programs

HOUR_S = 3600
REPLICATED_S = 20
RECOVER_S = 15


class Nemesis:
    def __init__(self, seed, record, cluster, care):
        self.rng = random.Random(f"{seed} nemesis")
        self.record = record
        self.cluster = cluster
        self.care = care
        self.counts = Counter()
        everywhere = [self.kill, self.pause, self.shift_clock, self.drain]
        at_nodes = [self.isolate, self.cut_link, self.deafen, self.failing_sync, self.failing_write,
                    self.failing_read, self.no_space]
        if cluster.network.can_lose:
            at_nodes.append(self.lose_packets)
            everywhere.append(self.lose_packets)
        if any(node.small_disk for node in cluster.nodes):
            at_nodes.append(self.full_disk)
        self.at = {True: everywhere + at_nodes, False: everywhere}
        self.destructive = [self.wipe, self.restore]

    def step(self, wait):
        """Some faults at once, or a disk destroyed; `wait` lets them last."""
        if self.rng.random() < 0.12:
            self.rng.choice(self.destructive)(self.rng.choice(self.cluster.nodes))
            return
        count = self.rng.choice([1, 1, 2, 3])
        undo = []
        for machine in self.rng.sample(self.cluster.all, count):
            fault = self.rng.choice(self.at[machine in self.cluster.nodes])
            if fault == self.full_disk and not machine.small_disk:
                fault = self.no_space
            undo.append(fault(machine))
        wait(self.rng.uniform(0.3, 3))
        for heal in undo:
            heal()
        self._note("healed")
        for machine in self.cluster.all:
            machine.bring_back()

    def _note(self, what, **more):
        self.record.write("nemesis", time=history.now(), what=what, **more)

    def _begin(self, what, machine):
        self.counts[what] += 1
        self._note(f"{what} {machine.name}")

    # Programs.

    def kill(self, machine):
        self._begin("kill", machine)
        machine.kill()
        return machine.start

    def pause(self, machine):
        self._begin("pause", machine)
        machine.pause()
        return machine.resume

    def drain(self, machine):
        self._begin("drain", machine)
        machine.drain()
        return machine.start

    def shift_clock(self, machine):
        self._begin("clock", machine)
        machine.faults.clock(self.rng.choice([-1, 1]) * self.rng.choice([0.5, 20, 90, HOUR_S, 26 * HOUR_S]))
        return lambda: machine.faults.clock(0)

    # The network.

    def isolate(self, machine):
        self._begin("isolate", machine)
        for other in self.cluster.all:
            if other is not machine:
                self.cluster.network.cut(machine.name, other.name, self.rng)
        return self.cluster.network.heal

    def cut_link(self, machine):
        self._begin("cut", machine)
        other = self.rng.choice([node for node in self.cluster.nodes if node is not machine])
        self.cluster.network.cut(machine.name, other.name, self.rng)
        return self.cluster.network.heal

    def deafen(self, machine):
        self._begin("one way", machine)
        other = self.rng.choice([node for node in self.cluster.nodes if node is not machine])
        self.cluster.network.one_way(machine.name, other.name)
        return self.cluster.network.heal

    def lose_packets(self, machine):
        self._begin("loss", machine)
        self.cluster.network.lose(machine.name, self.rng.choice([1, 5, 20, 40]))
        return self.cluster.network.heal

    # Disks.

    def _restart_for(self, machine):
        """What an operator does when a disk has failed and works again."""
        def undo():
            machine.faults.clear_disk()
            machine.kill()
            machine.start()
        return undo

    def failing_sync(self, machine):
        self._begin("failed sync", machine)
        machine.faults.sync(faults.EIO)
        return self._restart_for(machine)

    def failing_write(self, machine):
        self._begin("failed write", machine)
        machine.faults.write(faults.EIO)
        return self._restart_for(machine)

    def failing_read(self, machine):
        self._begin("failed read", machine)
        machine.faults.read(faults.EIO)
        return self._restart_for(machine)

    def _await_writable(self, node):
        programs.wait_until(lambda: node.state() in ("ready", "catching_up"), RECOVER_S,
                            f"{node.name} writes again, by itself, now that there is space")

    def no_space(self, machine):
        self._begin("no space", machine)
        machine.faults.write(faults.ENOSPC)

        def undo():
            machine.faults.clear_disk()
            self._await_writable(machine)
        return undo

    def full_disk(self, machine):
        self._begin("full disk", machine)
        machine.fill_disk()

        def undo():
            machine.free_disk()
            self._await_writable(machine)
        return undo

    # Lost disks. Acknowledged messages are not to be lost with one, so they are on two by then.

    def _with_two_copies(self, node, destroy):
        """destroy() happens when each message that the node has acknowledged is elsewhere as well,
        and each that it acknowledges until then was asked for in two copies."""
        self.cluster.heal()
        try:
            if not self.care.ask_for_two(REPLICATED_S):
                raise programs.Failure("the clients do not finish their sends")
            heads = programs.wait_until(node.heads, REPLICATED_S, f"{node.name} shows its heads")
            other = self.rng.choice([n for n in self.cluster.nodes if n is not node])

            def has_all():
                has = other.heads()
                return has and all(has.get(position, 0) >= seq for position, seq in heads.items())
            programs.wait_until(has_all, REPLICATED_S, f"{other.name} has what {node.name} has")
            node.kill()
            # The time of the loss: what nobody had acknowledged by now may be gone.
            self._note("disk lost", disk_lost=node.name)
            destroy()
            node.start()
        finally:
            self.care.ask_for_one()

    def wipe(self, node):
        self._begin("wipe", node)
        self._with_two_copies(node, node.wipe)
        shutil.rmtree(node.backup, ignore_errors=True)

    def restore(self, node):
        """An older copy comes back; the first time, one is taken."""
        if not node.backup.exists():
            self._begin("backup", node)
            node.kill()
            node.save()
            node.start()
            return
        self._begin("restore", node)
        self._with_two_copies(node, node.restore)
