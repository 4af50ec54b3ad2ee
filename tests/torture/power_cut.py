#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Power cuts: the file system below a node under load is shut down, so that whatever was not synced
is gone, and mounted again. Every acknowledged message must be there, and the database sound. kill -9
cannot show that: what a killed process has written stays in the kernel.

The same is done to a node that syncs as PRAGMA synchronous=NORMAL has it, its log at checkpoints
only, and to one whose syncs do nothing (fault_shim.cc); both must lose messages: else
the cuts do not cut.

Needs root, loop devices and xfsprogs; exit code 77 elsewhere. All mounts are in a namespace that
ends with this program."""
import argparse
import pathlib
import random
import shutil
import sqlite3
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
sys.path.insert(0, str(HERE))
import check_history  # noqa: E402
import clients  # noqa: E402
import faults  # noqa: E402
import history  # noqa: E402
import isolation  # noqa: E402
import programs  # noqa: E402

TOOLS = ("xfs_io", "mkfs.ext4", "mount", "umount", "ip")
DISK = "256M"
WRITERS = 8
BEFORE_A_CUT = 150  # acknowledged messages
PATIENCE_S = 60


def run(*command):
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


class Disk:
    """An ext4 in a file."""

    def __init__(self, directory, name):
        self.image = directory / (name + ".img")
        self.path = directory / name
        self.path.mkdir()
        run("truncate", "--size", DISK, self.image)
        run("mkfs.ext4", "-q", self.image)
        self.mounted = False

    def mount(self):
        run("mount", "-o", "loop", self.image, self.path)
        self.mounted = True

    def cut(self):
        # Without flushing anything: xfs_io's -f would do that.
        run("xfs_io", "-x", "-c", "shutdown", self.path)

    def unmount(self):
        if self.mounted:
            run("umount", self.path)
            self.mounted = False


def integrity(data_dir, scratch):
    """What SQLite says of a copy: looking must not repair anything. The log of a database that was
    in use is found beside it."""
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(data_dir, scratch)
    path = scratch / "chatchain.db"
    if not path.exists():
        return "there is no database"
    connection = sqlite3.connect(path)
    try:
        return connection.execute("PRAGMA integrity_check").fetchone()[0]
    except sqlite3.DatabaseError as error:
        return str(error)
    finally:
        connection.close()


class Losing(Exception):
    """The node cannot even start on what is left."""


class Experiment:
    def __init__(self, world, name, environment, seed):
        self.world = world
        self.name = name
        self.environment = environment
        self.rng = random.Random(f"{seed} {name}")
        self.seed = seed
        self.disk = Disk(world.directory, name)
        self.record = history.History(world.directory / (name + ".jsonl"))
        self.unsound = []

    def begin(self):
        """A database that is on disk, whatever happens to it later."""
        self.disk.mount()
        self.world.end(self._start())
        self.disk.unmount()

    def cut_once(self, number):
        self.disk.mount()
        node = self._start()
        writers = [clients.Client(f"w{number}-{i}", self.seed, self.record, [("n0", node.address)],
                                  reads=False, retry=False).start() for i in range(WRITERS)]
        goal = self.record.acknowledged + BEFORE_A_CUT + self.rng.randrange(BEFORE_A_CUT)
        programs.wait_until(lambda: self.record.acknowledged >= goal, PATIENCE_S, "load")
        cut = history.now()
        self.disk.cut()
        for writer in writers:
            writer.stop()
        self.world.discard(node)
        for writer in writers:
            writer.join(PATIENCE_S)
        # A machine without power answers nobody. Here the program lives on for a moment, and a sync
        # that was under way may be told that all is well (ext4 looks for a shutdown only before).
        self.record.write("nemesis", time=cut, until=history.now(), what="power cut")
        self.disk.unmount()

        self.disk.mount()
        said = integrity(self.disk.path / "data", self.world.directory / "copy")
        if said != "ok":
            self.unsound.append(f"after cut {number}: {said}")
        node = self._start()
        start = history.now()
        messages = clients.read_everything(node.address)
        self.record.write("final", start=start, end=history.now(), at="n0", healing=number,
                          messages=messages, forks=[])
        self.world.end(node)
        self.disk.unmount()

    def _start(self):
        try:
            return self.world.node(data_dir=self.disk.path / "data", environment=self.environment)
        except programs.Failure as failure:
            raise Losing(str(failure)) from None

    def problems(self):
        self.record.close()
        lines, truncated = check_history.read_history(self.record.path)
        checker = check_history.Checker()
        found = ([truncated] if truncated else []) + checker.check(lines)
        return found + ["unsound: " + what for what in self.unsound]

    def close(self):
        self.disk.unmount()


def control(world, options, name, mode):
    """Whether a node whose syncs are not what they should be loses messages by one cut."""
    shim = faults.Faults(options.bin_dir.resolve() / "libchatchain-fault-shim.so",
                         world.directory / (name + "-faults"))
    experiment = Experiment(world, name, shim.environment, options.seed)
    try:
        experiment.begin()
        shim.sync(mode)
        experiment.cut_once(0)
        problems = experiment.problems()
        lost = [problem for problem in problems if problem.startswith("lost")]
        print(f"{name}, one cut: {len(lost)} of {experiment.record.acknowledged} lost")
    except Losing as loss:
        problems = lost = [f"unsound: the node cannot start any more: {loss}"]
        print(f"{name}, one cut: the node cannot start any more")
    finally:
        world.discard_all()
        experiment.close()
    if not lost:
        print(f"{name}: a node that does not sync its commits lost nothing: these cuts prove nothing")
        return False
    # Checkpoints are synced: what is lost is the end of the log, and nothing is torn.
    torn = [problem for problem in problems if problem.startswith("unsound")]
    if mode == faults.NORMAL and torn:
        print("\n".join(torn))
        return False
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--bin-dir", type=pathlib.Path, required=True)
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    if not isolation.inside():
        missing = isolation.why_impossible(TOOLS)
        if missing:
            print(f"skipped: {missing}")
            return isolation.SKIPPED
        isolation.enter()
    isolation.begin()
    print(f"seed {options.seed}")

    with programs.World(options.bin_dir) as world:
        experiment = Experiment(world, "synced", None, options.seed)
        try:
            experiment.disk.mount()
        except subprocess.CalledProcessError as error:
            print(f"skipped: an ext4 in a file cannot be mounted here: {error.stderr.decode()}")
            return isolation.SKIPPED
        experiment.disk.unmount()
        try:
            experiment.begin()
            for number in range(options.cuts):
                experiment.cut_once(number)
            found = experiment.problems()
            for problem in found[:20]:
                print(problem)
            print(f"{options.cuts} cuts, {experiment.record.acknowledged} acknowledged, "
                  f"{len(found)} problems")
        finally:
            world.discard_all()
            experiment.close()
        if found:
            return 1

        for name, mode in (("normal", faults.NORMAL), ("unsynced", faults.PRETEND)):
            if not control(world, options, name, mode):
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
