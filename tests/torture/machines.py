# SPDX-License-Identifier: MIT
"""The programs of a run, each on a machine of its own as far as the system allows: its place in a
network that fails on command, its disk, its clock."""
import os
import pathlib
import shutil
import signal
import subprocess
from collections import deque

import faults
import programs

# A program ends with the test, however that ends.
LEASH = ("setpriv", "--pdeathsig", "KILL")
DISK = 2 << 30     # bytes of a small disk while it is not full
SETTLE_S = 30
LOG_LINES = 400    # of a program, for a run that fails


def run(*command):
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


class Died(programs.Failure):
    pass


class Relays:
    """A network for everybody: the programs talk through chatchain-fault-links."""

    name = "relays"
    can_lose = False  # single packets

    def __init__(self, bin_dir, nodes, proxies):
        self._reserved = {name: programs.Reserved() for name in (*nodes, *proxies)}
        pairs = [(a, b) for a in (*nodes, *proxies) for b in nodes if a != b]
        ports = [self._reserved[b].address.rsplit(":", 1)[1] for _, b in pairs]
        self._process = subprocess.Popen([bin_dir / "chatchain-fault-links", *ports], text=True,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        said = self._process.stdout.readline().split()[1:]
        self._links = {pair: (i, f"127.0.0.1:{port}") for i, (pair, port) in enumerate(zip(pairs, said))}

    def listen(self, name):
        return self._reserved[name].address

    def address(self, name):
        """For clients; nothing is between."""
        return self._reserved[name].address

    def peer(self, name, other):
        return self._links[name, other][1]

    def prefix(self, _):
        return LEASH

    def _set(self, pair, fault):
        if pair in self._links:
            self._process.stdin.write(f"{self._links[pair][0]} {fault}\n")
            self._process.stdin.flush()
            if self._process.stdout.readline() != "ok\n":
                raise programs.Failure("chatchain-fault-links has ended")

    def cut(self, a, b, rng):
        fault = rng.choice(["cut", "stall"])
        self._set((a, b), fault)
        self._set((b, a), fault)

    def one_way(self, source, target):
        """What `target` says does not reach `source`."""
        self._set((source, target), "no-answers")

    def heal(self):
        for pair in self._links:
            self._set(pair, "none")

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        for reserved in self._reserved.values():
            reserved.release()


class Namespaces:
    """Each program in a network namespace, all on one bridge; packets are dropped by nftables.
    REQUIRES: isolation.begin()."""

    name = "namespaces"
    can_lose = True
    TOOLS = ("ip", "nft")

    def __init__(self, nodes, proxies):
        # `ip netns` keeps its names there; these are to be gone with the run.
        run("mount", "-t", "tmpfs", "tmpfs", "/run")
        run("ip", "link", "add", "bridge0", "type", "bridge")
        run("ip", "address", "add", "10.77.0.254/24", "dev", "bridge0")
        run("ip", "link", "set", "bridge0", "up")
        self._hosts = {}
        for number, name in enumerate((*nodes, *proxies), 1):
            self._hosts[name] = f"10.77.0.{number}"
            run("ip", "netns", "add", name)
            run("ip", "link", "add", "to-" + name, "type", "veth", "peer", "name", "eth0",
                "netns", name)
            run("ip", "link", "set", "to-" + name, "master", "bridge0", "up")
            self._inside(name, "ip", "address", "add", self._hosts[name] + "/24", "dev", "eth0")
            self._inside(name, "ip", "link", "set", "eth0", "up")
            self._inside(name, "ip", "link", "set", "lo", "up")
            self._inside(name, "nft", "add", "table", "inet", "faults")
            self._inside(name, "nft", "add", "chain", "inet", "faults", "input",
                         "{ type filter hook input priority 0; }")

    def _inside(self, name, *command):
        run("ip", "netns", "exec", name, *command)

    def _rule(self, name, *rule):
        self._inside(name, "nft", "add", "rule", "inet", "faults", "input", *rule)

    def listen(self, name):
        return self._hosts[name] + ":8080"

    def address(self, name):
        return self.listen(name)

    def peer(self, _, other):
        return self.listen(other)

    def prefix(self, name):
        return (*LEASH, "ip", "netns", "exec", name)

    def cut(self, a, b, _rng):
        self.one_way(a, b)
        self.one_way(b, a)

    def one_way(self, source, target):
        """What `target` says does not reach `source`."""
        self._rule(source, "ip", "saddr", self._hosts[target], "drop")

    def lose(self, name, percent):
        """Of the packets that reach it, from whomever."""
        self._rule(name, "numgen", "random", "mod", "100", "<", str(percent), "drop")

    def heal(self):
        for name in self._hosts:
            self._inside(name, "nft", "flush", "chain", "inet", "faults", "input")

    def close(self):
        pass  # all of it goes with the namespaces


class Machine:
    """A program with a name, started again and again at the same address. `launch(environment)`
    starts it."""

    def __init__(self, name, world, network, launch, shim):
        self.name = name
        self.world = world
        self.address = network.address(name)
        self.faults = faults.Faults(shim, world.directory / (name + ".faults"))
        self.incarnation = 0
        self.program = None
        self.said = deque(maxlen=LOG_LINES)  # by all its incarnations
        self._launch = launch
        self._paused = False

    def start(self):
        self.incarnation += 1
        self.program = self._launch(self.faults.environment)

    def kill(self):
        self.check()
        self.world.discard(self.program)
        self._ended()

    def drain(self):
        self.check()
        code = self.world.end(self.program)
        self._ended()
        if code != 0:
            raise Died(f"{self.name} ended with {code} after SIGTERM")

    def _ended(self):
        self.said.extend(self.program.lines)
        self.program = None

    def log(self):
        lines = [*self.said, *(self.program.lines if self.program else [])]
        return "\n".join(f"  {self.name}: {line}" for line in lines[-LOG_LINES:])

    def pause(self):
        self.program.process.send_signal(signal.SIGSTOP)
        self._paused = True

    def resume(self):
        self.program.process.send_signal(signal.SIGCONT)
        self._paused = False

    def check(self):
        """It must not have ended by itself."""
        if self.program is not None and self.program.process.poll() is not None:
            raise Died(f"{self.name} ended by itself with {self.program.process.returncode}:\n"
                       f"{self.log()}")

    def bring_back(self):
        """To how it should be, whatever was done to it."""
        self.check()
        if self.program is None:
            self.start()
        elif self._paused:
            self.resume()

    def ask(self, path):
        """The JSON of an answer, whatever its status; None if there is none."""
        try:
            return programs.call(self.address, "GET", path, timeout=5).json
        except (OSError, ValueError):
            return None


class NodeMachine(Machine):
    """A node; its data lie in a directory of their own, on a disk of its own where `small_disk`."""

    def __init__(self, name, world, network, peers, shim, small_disk):
        self.mount = world.directory / name
        self.mount.mkdir()
        self.data = self.mount / "data"
        self.backup = world.directory / (name + "-backup")
        self.small_disk = small_disk
        if small_disk:
            run("mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", self.mount)
        addresses = [network.peer(name, peer) for peer in peers]

        def launch(environment):
            return world.node(name, addresses, network.listen(name),
                              "[node]\nsync_interval_ms = 200\n", self.data, environment,
                              network.prefix(name))
        super().__init__(name, world, network, launch, shim)

    # REQUIRES, all three: it does not run.

    def save(self):
        shutil.rmtree(self.backup, ignore_errors=True)
        shutil.copytree(self.data, self.backup)

    def restore(self):
        shutil.rmtree(self.data)
        shutil.copytree(self.backup, self.data)

    def wipe(self):
        shutil.rmtree(self.data)

    # REQUIRES: small_disk.

    def fill_disk(self):
        """Not a byte is left."""
        for tries_left in reversed(range(100)):
            disk = os.statvfs(self.mount)
            used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
            try:
                return run("mount", "-o", f"remount,size={used}", self.mount)
            except subprocess.CalledProcessError:
                # The node has written meanwhile: a disk cannot be smaller than what is on it.
                if tries_left == 0:
                    raise

    def free_disk(self):
        run("mount", "-o", f"remount,size={DISK}", self.mount)

    def state(self):
        ready = self.ask("/readyz")
        return ready and ready["state"]

    def heads(self):
        """{(origin, epoch): seq}, or None."""
        nodes = self.ask("/nodes")
        return nodes and {(head[0], head[1]): head[2] for head in nodes["self"]["heads"]}

    def unmount(self):
        if self.small_disk:
            run("umount", self.mount)


class Machines:
    """Nodes and proxies, all started and ready when this is made."""

    def __init__(self, world, network, nodes, proxies, small_disks):
        shim = world.bin_dir / "libchatchain-fault-shim.so"
        self.world = world
        self.network = network
        self.nodes = [NodeMachine(name, world, network, [n for n in nodes if n != name], shim,
                                  small_disks and name == nodes[-1]) for name in nodes]
        self.proxies = []
        for name in proxies:
            def launch(environment, name=name):
                return world.proxy([network.peer(name, node) for node in nodes],
                                   listen=network.listen(name), environment=environment,
                                   prefix=network.prefix(name))
            self.proxies.append(Machine(name, world, network, launch, shim))
        for machine in self.all:
            machine.start()
        for machine in self.all:
            programs.wait_ready(machine.address)

    @property
    def all(self):
        return [*self.nodes, *self.proxies]

    def heal(self):
        self.network.heal()
        for machine in self.all:
            machine.faults.clear_disk()
            machine.faults.clock(0)
            machine.bring_back()
        for machine in self.all:
            programs.wait_ready(machine.address, SETTLE_S)

    def await_equal_digests(self, patience):
        def equal():
            said = [node.ask("/nodes") for node in self.nodes]
            return all(said) and len({answer["self"]["digest"] for answer in said}) == 1
        programs.wait_until(equal, patience, "equal digests after healing")

    def close(self):
        self.world.discard_all()
        self.network.close()
        for node in self.nodes:
            node.unmount()


def network_for(kind, bin_dir, nodes, proxies):
    if kind == Namespaces.name:
        return Namespaces(nodes, proxies)
    return Relays(pathlib.Path(bin_dir).resolve(), nodes, proxies)
