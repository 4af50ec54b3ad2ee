#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Long polls that wait, at a node and at a proxy: a thousand of them hold no thread, slow nobody down, and are answered,
ended, bounded and freed as they should.

    polls_test.py --bin-dir DIR [-v] [TestCase.test ...]
"""
import argparse
import json
import pathlib
import re
import resource
import selectors
import signal
import socket
import statistics
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))

from programs import Failure, World, call, wait_ready, wait_until  # noqa: E402

BIN_DIR = None
MANY = 1000
WAIT_S = 30
QUICK_S = 1.0  # as a rule, on a machine that is busy with other tests
SLACK_S = 15  # of what must not last as long as a poll may wait

world = None


def setUpModule():
    global world
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * MANY)), hard))
    world = World(BIN_DIR)


def tearDownModule():
    world.close()


class Poll:
    """One connection that polls; its answers are read by Polls."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=WAIT_S)
        self.input = b""
        self.answers = []  # (status, headers as text, body)

    def ask(self, **parameters):
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        self.socket.sendall(f"GET /messages/poll?{query} HTTP/1.1\r\nHost: test\r\n\r\n".encode())

    def read(self):
        """Takes what has come. False at the end of the connection."""
        part = self.socket.recv(65536)
        self.input += part
        while b"\r\n\r\n" in self.input:
            head, rest = self.input.split(b"\r\n\r\n", 1)
            length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
            if len(rest) < length:
                break
            self.answers.append((int(head.split()[1]), head.decode(), rest[:length]))
            self.input = rest[length:]
        return bool(part)

    @property
    def last(self):
        return json.loads(self.answers[-1][2])

    def close(self):
        self.socket.close()


def await_answers(polls, count, seconds=WAIT_S):
    """Until each has `count` answers."""
    with selectors.DefaultSelector() as selector:
        for poll in polls:
            selector.register(poll.socket, selectors.EVENT_READ, poll)
        open_ones = set(polls)
        deadline = time.monotonic() + seconds
        while any(len(poll.answers) < count for poll in open_ones):
            if time.monotonic() > deadline:
                waiting = sum(len(poll.answers) < count for poll in polls)
                raise Failure(f"{waiting} of {len(polls)} polls without answer {count} after {seconds} s")
            for key, _ in selector.select(0.5):
                if not key.data.read():
                    selector.unregister(key.data.socket)
                    open_ones.discard(key.data)


def metric(address, name):
    page = call(address, "GET", "/metrics").body.decode()
    return float(re.search(rf"^{name} (\S+)$", page, re.M)[1])


def waiting(address):
    return metric(address, "chatchain_feed_waiting_polls")


def await_waiting(address, count):
    wait_until(lambda: waiting(address) == count, WAIT_S, f"{count} polls wait")


def threads(program):
    return len(list(pathlib.Path(f"/proc/{program.process.pid}/task").iterdir()))


def send(address, room, text):
    answer = call(address, "POST", "/messages", {"sender": "s", "room": room, "text": text})
    if answer.status != 201:
        raise Failure(f"{answer}")
    return answer.json["id"]


class PollsAtNode(unittest.TestCase):
    IN_FLIGHT = "chatchain_http_in_flight"
    CONNECTIONS = "chatchain_http_connections"

    def setUp(self):
        self.start()
        self.polls = []

    def start(self, config=""):
        self.server = world.node("0", config=config and f"[node]\n{config}\n")
        self.address = self.server.address
        wait_ready(self.address)

    def end(self):
        world.end(self.server)

    def tearDown(self):
        for poll in self.polls:
            poll.close()
        self.end()

    def many(self, count, **parameters):
        polls = [Poll(self.address) for _ in range(count)]
        self.polls += polls
        for poll in polls:
            poll.ask(**parameters)
        return polls

    def test_a_thousand_wait_without_threads_and_one_commit_answers_all(self):
        now = call(self.address, "GET", "/messages/poll?wait_ms=0").json["after"]
        polls = self.many(MANY, after=now, room="wanted", wait_ms=30000)
        await_waiting(self.address, MANY)
        self.assertEqual(metric(self.address, self.IN_FLIGHT), 1)  # the question itself
        self.assertLess(threads(self.server), 64)
        # They count for nothing: neither writes nor reads of others are refused or slow.
        took = []
        for number in range(50):
            begin = time.monotonic()
            send(self.address, "other", str(number))
            self.assertEqual(call(self.address, "GET", "/messages?limit=1").status, 200)
            took.append(time.monotonic() - begin)
        # Single ones may meet a disk or a processor that others keep busy.
        self.assertLess(statistics.median(took), QUICK_S)
        self.assertEqual(waiting(self.address), MANY)
        wanted = send(self.address, "wanted", "here")
        await_answers(polls, 1)
        for poll in polls:
            self.assertEqual(poll.answers[0][0], 200)
            self.assertEqual([message["id"] for message in poll.last["messages"]], [wanted])
            self.assertIn("chatchain-session", poll.answers[0][1].lower())
        self.assertEqual(len({poll.last["after"] for poll in polls}), 1)
        self.assertEqual(waiting(self.address), 0)
        self.assertLess(threads(self.server), 64)
        # The same connections go on from there, and miss nothing.
        after = polls[0].last["after"]
        for poll in polls[:50]:
            poll.ask(after=after, wait_ms=30000)
        await_waiting(self.address, 50)
        again = send(self.address, "wanted", "again")
        await_answers(polls[:50], 2)
        self.assertEqual({poll.last["messages"][0]["id"] for poll in polls[:50]}, {again})

    def test_a_poll_ends_at_its_time_and_its_position_moves(self):
        begin = time.monotonic()
        polls = self.many(100, room="nothing", wait_ms=2000)
        send(self.address, "other", "left out")
        await_answers(polls, 1)
        self.assertGreaterEqual(time.monotonic() - begin, 2)
        self.assertLess(time.monotonic() - begin, 2 + SLACK_S)
        for poll in polls:
            self.assertEqual(poll.last["messages"], [])
        # The message that was left out is covered.
        polls[0].ask(after=polls[0].last["after"], wait_ms=0)
        await_answers(polls[:1], 2)
        self.assertEqual(polls[0].last["messages"], [])

    def test_clients_that_go_away_are_freed(self):
        polls = self.many(300, wait_ms=30000)
        await_waiting(self.address, 300)
        for poll in polls[:150]:
            poll.close()
        for poll in polls[150:]:
            poll.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            poll.close()  # with a reset
        await_waiting(self.address, 0)
        wait_until(lambda: metric(self.address, self.CONNECTIONS) <= 2, WAIT_S, "they are closed")
        send(self.address, "r", "still well")

    def test_no_more_than_may_wait(self):
        self.end()
        self.start("max_waiting_polls = 10")
        self.many(10, wait_ms=30000)
        await_waiting(self.address, 10)
        refused = call(self.address, "GET", "/messages/poll?wait_ms=30000")
        self.assertEqual(refused.status, 503)
        self.assertIsNotNone(refused["Retry-After"])
        self.assertIn("too many polls", refused.json["detail"])
        # Who does not wait is not refused.
        self.assertEqual(call(self.address, "GET", "/messages/poll?wait_ms=0").status, 200)
        self.polls.pop().close()
        await_waiting(self.address, 9)
        self.many(1, wait_ms=30000)
        await_waiting(self.address, 10)

    def test_a_program_that_stops_answers_those_that_wait(self):
        polls = self.many(100, wait_ms=30000)
        await_waiting(self.address, 100)
        self.server.process.send_signal(signal.SIGTERM)
        await_answers(polls, 1, seconds=SLACK_S)
        self.assertEqual({(poll.answers[0][0], len(poll.last["messages"])) for poll in polls}, {(200, 0)})
        self.assertEqual(self.server.process.wait(10), 0)

    def test_a_burst_is_given_up_to_the_limit_and_none_is_lost(self):
        now = call(self.address, "GET", "/messages/poll?wait_ms=0").json["after"]
        poll = self.many(1, after=now, limit=7, wait_ms=30000)[0]
        await_waiting(self.address, 1)
        batch = [{"sender": "s", "room": "r", "text": str(number)} for number in range(100)]
        self.assertEqual(call(self.address, "POST", "/messages/batch", {"messages": batch}).status, 200)
        seen = []
        count = 0
        while len(seen) < 100:
            count += 1
            await_answers([poll], count)
            self.assertLessEqual(len(poll.last["messages"]), 7)
            seen += [message["text"] for message in poll.last["messages"]]
            poll.ask(after=poll.last["after"], limit=7, wait_ms=30000)
        self.assertEqual(seen, [str(number) for number in range(100)])


class PollsAtProxy(PollsAtNode):
    """The same before two nodes, and that what waits survives the one that is followed."""
    IN_FLIGHT = "chatchain_proxy_requests_in_flight"
    CONNECTIONS = "chatchain_proxy_connections_open"

    def start(self, config=""):
        first = world.node("0")
        self.nodes = [first, world.node("1", peers=[first.address], config="[node]\nsync_interval_ms = 20\n")]
        self.server = world.proxy([node.address for node in self.nodes], config=config and f"[client]\n{config}\n")
        self.address = self.server.address
        wait_until(lambda: call(self.address, "GET", "/network").json["ready"] == 2, WAIT_S, "both nodes are ready")

    def end(self):
        world.end(self.server)
        for node in self.nodes:
            world.end(node)

    def test_polls_outlive_the_node_that_is_followed(self):
        polls = self.many(50, room="wanted", wait_ms=30000)
        await_waiting(self.address, 50)
        followed = call(self.address, "GET", "/messages/poll?wait_ms=1")["ChatChain-Node"]
        victim = self.nodes.pop(int(followed))
        world.kill(victim)
        wanted = send(self.address, "wanted", "still here")
        await_answers(polls, 1)
        for poll in polls:
            self.assertEqual([message["id"] for message in poll.last["messages"]], [wanted])

    def test_where_no_node_answers_polls_say_so(self):
        now = call(self.address, "GET", "/messages/poll?wait_ms=0").json["after"]
        polls = self.many(10, after=now, wait_ms=3000)
        await_waiting(self.address, 10)
        while self.nodes:
            world.kill(self.nodes.pop())
        await_answers(polls, 1)
        for poll in polls:
            self.assertEqual(poll.answers[0][0], 503)
            self.assertIn("no node could answer", poll.last["detail"])


def main():
    global BIN_DIR
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin-dir", required=True)
    options, rest = parser.parse_known_args()
    BIN_DIR = options.bin_dir
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
