#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The command line `chatchain`, as people and scripts use it: the real program against real nodes and a proxy.

    terminal_test.py --bin-dir DIR [-v] [TestCase.test ...]
"""
import argparse
import contextlib
import json
import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))

from programs import Failure, Reserved, World, call, wait_ready, wait_until  # noqa: E402

BIN_DIR = None
ID = re.compile(r"[0-9a-hjkmnp-tv-z]{36}")
WAIT_S = 20

world = None
node = None
proxy = None


def setUpModule():
    global world, node, proxy
    world = World(BIN_DIR)
    try:
        node = world.node("0")
        proxy = world.proxy([node.address])
        wait_ready(proxy.address)
    except BaseException:
        world.close()
        raise


def tearDownModule():
    world.close()


def environment(**extra):
    clean = {key: value for key, value in os.environ.items()
             if not key.startswith("CHATCHAIN_") and key != "NO_COLOR"}
    return {**clean, "CHATCHAIN_URL": f"http://{proxy.address}", "TZ": "UTC", "TERM": "xterm", **extra}


def command(*arguments):
    return [str(pathlib.Path(BIN_DIR) / "chatchain"), *arguments]


def run(*arguments, stdin=b"", env=None, stdout=subprocess.PIPE, timeout=30, **options):
    done = subprocess.run(command(*arguments), input=stdin, stdout=stdout, stderr=subprocess.PIPE,
                          env=env or environment(), timeout=timeout, check=False, **options)
    done.out = (done.stdout or b"").decode()
    done.err = done.stderr.decode()
    return done


def send(*arguments, **options):
    done = run("send", *arguments, **options)
    if done.returncode != 0:
        raise Failure(f"send {arguments}: {done.returncode} {done.err}")
    return done.out.strip()


def json_lines(text):
    return [json.loads(line) for line in text.splitlines()]


class Tail:
    """A running `chatchain tail`, its output read line by line as it comes."""

    def __init__(self, *arguments, env=None):
        self.lines = []
        self.errors = []
        self.process = subprocess.Popen(command("tail", *arguments), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env=env or environment())
        self._readers = [threading.Thread(target=self._read, args=pair, daemon=True)
                         for pair in ((self.process.stdout, self.lines), (self.process.stderr, self.errors))]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(pipe, lines):
        for line in pipe:
            lines.append(line.decode().rstrip("\n"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        self.process.kill()
        return self.wait()

    def wait(self):
        code = self.process.wait(WAIT_S)
        for reader in self._readers:
            reader.join(WAIT_S)
        for pipe in (self.process.stdout, self.process.stderr):
            pipe.close()
        return code

    def await_lines(self, count):
        wait_until(lambda: len(self.lines) >= count, WAIT_S, f"{count} lines, not {self.lines}")
        return list(self.lines)

    def await_error(self, text):
        wait_until(lambda: any(text in line for line in self.errors), WAIT_S, f"{text}: {self.errors}")


class Sending(unittest.TestCase):
    def test_text_from_arguments_and_standard_input(self):
        first = send("--from", "a", "--to", "words", "hello", "there")
        self.assertRegex(first, f"^{ID.pattern}$")
        send("--from", "a", "--to", "words", stdin="two\nlines\n".encode())
        send("--from", "a", "--to", "words", "-", stdin="größer 你好".encode())
        send("--from", "a", "--to", "words", "--", "--not", "an option")
        shown = json_lines(run("history", "--to", "words", "--json").out)
        self.assertEqual([message["text"] for message in shown],
                         ["hello there", "two\nlines", "größer 你好", "--not an option"])
        self.assertEqual(shown[0]["id"], first)

    def test_key_timestamp_room_and_json(self):
        arguments = ["--from", "b", "--room", "keyed", "--key", "k 1", "--timestamp", "12", "--json", "once"]
        first = json.loads(run("send", *arguments).out)
        again = json.loads(run("send", *arguments).out)
        self.assertEqual(first, again)
        self.assertEqual((first["room"], first["timestamp"], first["text"]), ("keyed", 12, "once"))
        self.assertEqual(len(run("history", "--room", "keyed").out.splitlines()), 1)
        # Without a key, each is a message of its own.
        self.assertNotEqual(send("--from", "b", "--room", "twice", "same"),
                            send("--from", "b", "--room", "twice", "same"))

    def test_sender_from_the_environment(self):
        env = environment(CHATCHAIN_FROM="envy")
        send("--room", "env", "hi", env=env)
        self.assertEqual(json_lines(run("history", "--room", "env", "--json").out)[0]["sender"], "envy")

    def test_refused_is_3_and_says_why(self):
        send("--from", "c", "--to", "d", "--key", "used", "one text")
        done = run("send", "--from", "c", "--to", "d", "--key", "used", "another text")
        self.assertEqual(done.returncode, 3)
        self.assertEqual(done.out, "")
        self.assertIn("key", done.err)

    def test_fewer_copies_than_asked_is_4(self):
        nobody = Reserved()
        alone = world.node("1", peers=[nobody.address])
        try:
            wait_ready(alone.address)
            done = run("send", "--from", "a", "--to", "b", "--acks", "all", "hi", "--url", alone.address)
            self.assertEqual((done.returncode, bool(ID.match(done.out))), (4, True), done.err)
            self.assertIn("only 1", done.err)
            self.assertEqual(run("send", "--from", "a", "--to", "b", "--acks", "9", "hi", "--url",
                                 alone.address).returncode, 3)
        finally:
            world.end(alone)
            nobody.release()

    def test_a_try_that_failed_is_repeated_under_the_same_key(self):
        directory = world.data_dir()
        late = world.node("2", data_dir=directory)
        address = late.address
        wait_ready(address)
        world.end(late)
        process = subprocess.Popen(command("send", "--from", "a", "--to", "b", "later", "--url", address),
                                   env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        said = process.stderr.readline().decode()
        self.assertIn("trying again", said)
        key = said.rstrip().rsplit(" ", 1)[1]
        late = world.node("2", listen=address, data_dir=directory)
        out, _ = process.communicate(timeout=WAIT_S)
        self.assertEqual(process.returncode, 0)
        again = run("send", "--from", "a", "--to", "b", "later", "--key", key, "--url", address)
        self.assertEqual(again.out, out.decode())
        self.assertEqual(len(run("history", "--url", address).out.splitlines()), 1)
        world.end(late)


class Usage(unittest.TestCase):
    def test_wrong_usage_is_2_and_names_the_mistake(self):
        for arguments, named in [
                ([], "no command"), (["sned"], "did you mean \"send\""), (["send"], "--from"),
                (["send", "--from", "a", "hi"], "--to NAME or --room"),
                (["send", "--from", "a", "--to", "b", "--room", "c", "hi"], "--to NAME or --room"),
                (["send", "--from", "a", "--to", "b", "--frmo", "c", "hi"], "did you mean \"--from\""),
                (["send", "--from", "a\nb", "--to", "b", "hi"], "control"),
                (["send", "--from", "a", "--to", "b", ""], "text"),
                (["send", "--from", "a", "--to", "b", "--acks", "many", "hi"], "majority"),
                (["send", "--from", "a", "--to", "b", "--timestamp", "noon", "hi"], "whole number"),
                (["history", "extra"], "unexpected"), (["history", "--limit", "0"], "--limit"),
                (["history", "--limit", "1001"], "--order"), (["history", "--since", "yesterday"], "--since"),
                (["history", "--json", "--json"], "more than once"),
                (["history", "--show-cursor"], "--order"),
                (["history", "--participant", "a", "--participant", "b", "--participant", "c"], "twice"),
                (["tail", "--last", "3", "--after", "begin"], "give one"), (["tail", "--timeout"], "timeout"),
                (["network", "--url", "https://127.0.0.1"], "TLS"), (["network", "--url", "ftp://x"], "http://"),
                (["network", "--url", "http://127.0.0.1:99999"], "127.0.0.1:99999")]:
            with self.subTest(arguments=arguments):
                done = run(*arguments)
                self.assertEqual((done.returncode, done.out), (2, ""), done.err)
                self.assertTrue(done.err.startswith("chatchain: "), done.err)
                self.assertIn(named, done.err)

    def test_help_and_version(self):
        for arguments in (["--help"], ["-h"], ["help"], ["send", "--help"], ["tail", "-h"], ["--version"]):
            done = run(*arguments)
            self.assertEqual((done.returncode, done.err), (0, ""))
            self.assertIn("chatchain", done.out)

    def test_nobody_there_is_1_and_says_what_to_do(self):
        nobody = Reserved()
        for arguments in (["history"], ["network"], ["tail"], ["send", "--from", "a", "--to", "b", "hi"]):
            done = run(*arguments, "--url", nobody.address, "--timeout", "1")
            self.assertEqual((done.returncode, done.out), (1, ""), done.err)
            self.assertIn("--url", done.err)
        self.assertIn("--key", done.err)  # how to be sure of what was sent
        nobody.release()

    def test_a_file_that_is_full_or_closed_is_told(self):
        send("--from", "a", "--to", "full", "hi")
        with open("/dev/full", "wb") as full:
            done = run("history", "--to", "full", stdout=full)
            self.assertEqual(done.returncode, 1)
            self.assertIn("no space", done.err)
        shell = ["bash", "-c", '"$@" >&-', "bash"]
        before = len(json_lines(run("history", "--json", "--limit", "all").out))
        for arguments in (["history"], ["send", "--from", "a", "--to", "b", "hi"], ["network"]):
            done = subprocess.run(shell + command(*arguments), env=environment(), capture_output=True,
                                  stdin=subprocess.DEVNULL, timeout=30, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"standard output", done.stderr)
        # What could not be told was not sent.
        self.assertEqual(len(json_lines(run("history", "--json", "--limit", "all").out)), before)

    def test_a_reader_that_leaves_ends_it_quietly(self):
        for number in range(3):
            send("--from", "a", "--to", "pipe", str(number))
        done = subprocess.run(["bash", "-c", '"$@" | head -n 1; echo ${PIPESTATUS[0]}', "bash"]
                              + command("tail", "--after", "begin", "--to", "pipe"), env=environment(),
                              capture_output=True, timeout=30, check=False, text=True)
        self.assertEqual(len(done.stdout.splitlines()), 2)
        self.assertIn(done.stdout.splitlines()[1], ("141", "1"))
        self.assertIn(done.stderr.strip(), ("", "chatchain: nobody reads standard output any more"))


class Reading(unittest.TestCase):
    def setUp(self):
        self.room = self.id().rsplit(".", 1)[1]

    def test_orders_limits_and_cursors(self):
        for number in range(130):
            send_fast(self.room, str(number))

        def texts(*arguments):
            return [line.split()[-1] for line in run("history", "--room", self.room, *arguments).out.splitlines()]
        self.assertEqual(texts(), [str(n) for n in range(80, 130)])
        self.assertEqual(texts("-n", "3"), ["127", "128", "129"])
        self.assertEqual(texts("--limit", "3", "--order", "asc"), ["0", "1", "2"])
        self.assertEqual(texts("--limit", "2", "--order", "desc"), ["129", "128"])
        self.assertEqual(texts("--limit", "all"), [str(n) for n in range(130)])
        self.assertEqual(texts("--limit", "120", "--order", "latest"), [str(n) for n in range(10, 130)])
        # Page by page by cursors, then on with the feed.
        seen, arguments = [], []
        while True:
            lines = json_lines(run("history", "--room", self.room, "--order", "asc", "--limit", "50", "--json",
                                   "--show-cursor", *arguments).out)
            seen += [message["text"] for message in lines[:-1]]
            if "after" in lines[-1]:
                break
            arguments = ["--cursor", lines[-1]["next"]]
        self.assertEqual(seen, [str(n) for n in range(130)])
        send_fast(self.room, "after")
        done = run("tail", "--room", self.room, "--after", lines[-1]["after"], "--limit", "1", "--json")
        self.assertEqual([message["text"] for message in json_lines(done.out)], ["after"])
        self.assertEqual(run("history", "--cursor", "nonsense").returncode, 3)

    def test_filters(self):
        send("--from", "f1", "--to", "f2", "one")
        middle = call(proxy.address, "GET", "/messages?order=desc&limit=1").json["messages"][0]["accepted_at"]
        send("--from", "f2", "--to", "f1", "two")
        send("--from", "f1", "--to", "f3", "three")

        def texts(*arguments):
            return [message["text"] for message in json_lines(run("history", "--json", *arguments).out)]
        self.assertEqual(texts("--from", "f1"), ["one", "three"])
        self.assertEqual(texts("--to", "f1"), ["two"])
        self.assertEqual(texts("--participant", "f1"), ["one", "two", "three"])
        self.assertEqual(texts("--participant", "f1", "--participant", "f2"), ["one", "two"])
        self.assertEqual(texts("--participant", "f1", "--since", "10m"), ["one", "two", "three"])
        self.assertEqual(texts("--participant", "f1", "--until", middle), [])
        self.assertEqual(texts("--participant", "f1", "--until", "2020-01-01"), [])
        self.assertEqual(texts("--participant", "f1,f2"), [])  # a comma is part of a name

    def test_hostile_text_cannot_drive_a_terminal(self):
        evil = "\x1b]0;owned\x07\x1b[2J\r\x08\x7f\u009b31m\u202eslaw\u2028\nname: fake"
        call(proxy.address, "POST", "/messages", {"sender": "e\u202evil", "room": self.room, "text": evil})
        for arguments in (["history"], ["history", "--json"], ["tail", "--after", "begin", "--limit", "1"],
                          ["tail", "--after", "begin", "--limit", "1", "--json"]):
            out = run(*arguments, "--room", self.room).out
            self.assertEqual(out.count("\n"), 1)
            self.assertTrue(out.endswith("\n"))
            for character in out[:-1]:
                self.assertFalse(ord(character) < 0x20 or 0x7f <= ord(character) <= 0x9f, repr(out))
                self.assertNotIn(character, "\u202e\u2028")
            if "--json" in arguments:
                self.assertEqual(json.loads(out)["text"], evil)
            else:
                self.assertIn("\\x1b]0;owned\\x07\\x1b[2J\\r\\x08\\x7f\\x9b31m\\u{202e}slaw\\u{2028}\\nname", out)
        # So does what a server says of them.
        done = run("history", "--room", self.room, "--cursor", "\x1b[2J\x07")
        self.assertEqual(done.returncode, 3)
        self.assertNotIn("\x1b", done.err)

    def test_columns_are_aligned_by_width(self):
        for sender, text in (("小明", "hi"), ("Zoe\u0301", "there"), ("a-longer-name", "x")):
            send("--from", sender, "--room", self.room, text)
        lines = run("history", "--room", self.room).out.splitlines()
        where = "#" + self.room
        # 小明 takes four columns, é from two code points one.
        self.assertEqual([line.index(where) for line in lines],
                         [21 + 15 - 2, 21 + 15 + 1, 21 + 15])
        self.assertRegex(lines[0], r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  小明 {11}#")

    def test_colour_only_on_a_terminal(self):
        send("--from", "a", "--room", self.room, "hi")
        self.assertNotIn("\x1b", run("history", "--room", self.room).out)

        def on_terminal(**extra):
            master, slave = pty.openpty()
            try:
                run("history", "--room", self.room, stdout=slave, env=environment(**extra))
                self.assertTrue(select.select([master], [], [], WAIT_S)[0])
                return os.read(master, 65536).decode()
            finally:
                os.close(master)
                os.close(slave)
        self.assertIn("\x1b[", on_terminal())
        self.assertNotIn("\x1b", on_terminal(NO_COLOR="1"))
        self.assertNotIn("\x1b", on_terminal(TERM="dumb"))

    def test_network(self):
        wait_until(lambda: json.loads(run("network", "--json").out)["nodes"][0]["id"], WAIT_S, "a node is known")
        done = run("network")
        self.assertEqual(done.returncode, 0, done.err)
        self.assertEqual(done.out.split()[0], "NODE")
        self.assertIn(node.address, done.out)
        self.assertIn("1 of 1 nodes ready", done.out)
        self.assertEqual(run("network", "--url", node.address).returncode, 3)
        nobody = Reserved()
        lonely = world.proxy([nobody.address])
        wait_until(lambda: run("network", "--url", lonely.address).returncode == 4, WAIT_S, "no node is ready")
        world.end(lonely)
        nobody.release()


class Following(unittest.TestCase):
    def setUp(self):
        self.room = self.id().rsplit(".", 1)[1]
        self.state = str(world.directory / f"{self.room}.state")

    def test_last_ones_then_new_ones(self):
        for number in range(5):
            send_fast(self.room, str(number))
        with Tail("--room", self.room, "--last", "2", "--json") as tail:
            tail.await_lines(2)
            send_fast(self.room, "5")
            send_fast("elsewhere", "no")
            send_fast(self.room, "6")
            self.assertEqual([json.loads(line)["text"] for line in tail.await_lines(4)], ["3", "4", "5", "6"])
            tail.process.send_signal(signal.SIGINT)
            self.assertEqual(tail.wait(), -signal.SIGINT)
        self.assertEqual(tail.errors, [])
        done = run("tail", "--room", self.room, "--since", "1h", "--limit", "7")
        self.assertEqual((done.returncode, len(done.out.splitlines())), (0, 7))

    def test_it_goes_on_from_its_state_after_every_kill(self):
        expected = [str(number) for number in range(60)]
        got = []
        with Tail("--room", self.room, "--state", self.state, "--json") as tail:
            wait_until(lambda: os.path.exists(self.state), WAIT_S, "the state is there")
            self.assertEqual(tail.lines, [])
        for begin in range(0, 60, 10):
            for number in range(begin, begin + 5):
                send_fast(self.room, str(number))
            how = signal.SIGKILL if begin % 20 else signal.SIGTERM
            with Tail("--room", self.room, "--state", self.state, "--json") as tail:
                for number in range(begin + 5, begin + 10):
                    send_fast(self.room, str(number))
                tail.await_lines(7)
                tail.process.send_signal(how)
                tail.wait()
                got.append([json.loads(line)["text"] for line in tail.lines])
        with Tail("--room", self.room, "--state", self.state, "--json") as tail:
            send_fast(self.room, "end")
            wait_until(lambda: tail.lines and json.loads(tail.lines[-1])["text"] == "end", WAIT_S, "the last one")
        got.append([json.loads(line)["text"] for line in tail.lines])
        # SIGKILL between printing and remembering repeats that one message; SIGTERM nothing.
        told = []
        for number, run_of_it in enumerate(got):
            repeated = [text for text in run_of_it if text in told]
            killed = number > 0 and (number - 1) % 2 == 1
            self.assertLessEqual(len(repeated), 1 if killed else 0, (number, got))
            told += [text for text in run_of_it if text not in told]
        self.assertEqual(told, expected + ["end"])
        self.assertEqual(list(pathlib.Path(self.state).parent.glob(f"{self.room}.state.new")), [])

    def test_a_state_is_for_one_and_for_its_filters(self):
        with Tail("--room", self.room, "--state", self.state):
            wait_until(lambda: os.path.exists(self.state), WAIT_S, "the state is there")
            done = run("tail", "--room", self.room, "--state", self.state)
            self.assertEqual(done.returncode, 1)
            self.assertIn("in use", done.err)
        done = run("tail", "--room", "another", "--state", self.state)
        self.assertEqual(done.returncode, 1)
        self.assertIn("other filters", done.err)
        pathlib.Path(self.state).write_text("precious", encoding="utf-8")
        done = run("tail", "--room", self.room, "--state", self.state)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no state file", done.err)
        self.assertEqual(pathlib.Path(self.state).read_text(encoding="utf-8"), "precious")
        done = run("tail", "--state", "/nowhere/at/all")
        self.assertEqual(done.returncode, 1)
        self.assertIn("/nowhere/at/all", done.err)

    def test_a_bad_position_is_refused(self):
        session = call(proxy.address, "GET", "/messages")["ChatChain-Session"]
        for token in ("nonsense", session):
            done = run("tail", "--after", token)
            self.assertEqual(done.returncode, 3, done.err)

    def test_a_slow_reader_can_be_interrupted(self):
        for _ in range(4):
            send_fast(self.room, "x" * 60000)
        process = subprocess.Popen(command("tail", "--room", self.room, "--after", "begin"), env=environment(),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.assertTrue(process.stdout.read(1))
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(WAIT_S), -signal.SIGTERM)
        process.stdout.close()

    def test_nodes_that_are_killed_are_not_noticed_and_a_proxy_that_is_away_is_waited_for(self):
        with contextlib.ExitStack() as stack:
            ports = [Reserved() for _ in range(2)]
            addresses = [port.address for port in ports]
            for port in ports:
                port.release()
            data = [world.data_dir(), world.data_dir()]

            def start(i):
                return world.node(f"k{i}", peers=[addresses[1 - i]], listen=addresses[i], data_dir=data[i])

            nodes = [start(0), start(1)]
            front = world.proxy(addresses)
            wait_ready(front.address)
            env = environment(CHATCHAIN_URL=front.address)
            tail = stack.enter_context(Tail("--state", self.state, "--json", env=env))
            wait_until(lambda: os.path.exists(self.state), WAIT_S, "the state is there")
            sent = []

            def more(count):
                for _ in range(count):
                    sent.append(send("--from", "k", "--room", self.room, str(len(sent)), env=env))
            more(5)
            tail.await_lines(5)
            for i in (0, 1):
                world.kill(nodes[i])
                more(5)
                tail.await_lines(len(sent))
                nodes[i] = start(i)
                wait_ready(addresses[i])
                digests = lambda: {call(each, "GET", "/nodes").json["self"]["digest"] for each in addresses}
                wait_until(lambda: len(digests()) == 1, WAIT_S, "the nodes agree")
            self.assertEqual(tail.errors, [])
            # The proxy itself goes, and comes back.
            listen = front.address
            world.kill(front)
            tail.await_error("trying again")
            front = world.proxy(addresses, listen=listen)
            tail.await_error("connected again")
            more(5)
            tail.await_lines(len(sent))
            tail.kill()
            # Each once, in the order in which a node got them: one that has just come back may have pulled one later
            # than it was sent the next.
            self.assertCountEqual([json.loads(line)["id"] for line in tail.lines], sent)
            for program in (front, *nodes):
                world.end(program)


def send_fast(room, text):
    """As `chatchain send` does, without a process for each."""
    answer = call(proxy.address, "POST", "/messages", {"sender": "fast", "room": room, "text": text})
    if answer.status != 201:
        raise Failure(f"{answer}")


def main():
    global BIN_DIR
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin-dir", required=True)
    options, rest = parser.parse_known_args()
    BIN_DIR = options.bin_dir
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
