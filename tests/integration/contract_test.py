#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The HTTP contract, checked from outside: real programs on free ports, plain requests, exact answers.

    contract_test.py --bin-dir DIR [--via node|proxy] [-v] [TestCase.test ...]

Via the proxy the same rules are checked through a real chatchain-client, except for what only nodes have.
"""
import argparse
import concurrent.futures
import functools
import json
import pathlib
import re
import socket
import sys
import time
import unittest
from datetime import datetime, timezone
from urllib.parse import quote, urlencode

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))

from fake_peer import FakePeer, FakeRecords  # noqa: E402
from programs import Failure, Reserved, World, call, wait_ready, wait_until  # noqa: E402
from wire import (canonical, chain_seed, heads_digest, message_id, next_chain, sha256,  # noqa: E402
                  token, token_heads)

VIA = "node"
BIN_DIR = None
CLUSTER = "chatchain"
MIB = 1024 * 1024

ID = re.compile(r"[0-9a-hjkmnp-tv-z]{36}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
HEX16 = re.compile(r"[0-9a-f]{16}")
HEX64 = re.compile(r"[0-9a-f]{64}")
TOKEN = re.compile(r"[A-Za-z0-9_-]+")
PROBLEM_TITLES = {400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
                  406: "Not Acceptable", 412: "Precondition Failed", 413: "Content Too Large",
                  415: "Unsupported Media Type", 422: "Unprocessable Content",
                  503: "Service Unavailable"}

world = None
node = None   # the node behind everything that is not said otherwise
base = None   # where requests go: the node, or the proxy in front of it


def setUpModule():
    global world, node, base
    world = World(BIN_DIR)
    try:
        node = world.node("0")
        wait_ready(node.address)
        base = front(node)
    except BaseException:
        world.close()
        raise


def tearDownModule():
    world.close()


def front(*nodes, config=""):
    """Where clients of these nodes go: the first node itself, or a proxy of all of them."""
    if VIA == "node":
        return nodes[0].address
    proxy = world.proxy([each.address for each in nodes], config)
    wait_ready(proxy.address)
    return proxy.address


def _only(via, test):
    @functools.wraps(test)
    def run(self):
        if VIA != via:
            self.skipTest(f"the {via} only")
        test(self)
    return run


def only_node(test):
    return _only("node", test)


def only_proxy(test):
    return _only("proxy", test)


_names = 0


def fresh(prefix="u"):
    """A name that no other test uses."""
    global _names
    _names += 1
    return f"{prefix}-{_names}"


def message(**members):
    return {"sender": "user1", "recipient": "user2", "text": "Hello world!", **members}


def post(body, address=None, path="/messages", **headers):
    return call(address or base, "POST", path, body,
                {name.replace("_", "-"): value for name, value in headers.items()})


def get(target, address=None, **headers):
    return call(address or base, "GET", target, None,
                {name.replace("_", "-"): value for name, value in headers.items()})


def query(**params):
    return "/messages?" + urlencode([(name, value) for name, values in params.items()
                                     for value in (values if isinstance(values, list) else [values])])


def read_head(stream):
    """Status and headers of an answer on a raw socket's file; the body is not read."""
    line = stream.readline().decode("latin-1")
    if not line:
        raise Failure("the connection ended without an answer")
    status = int(line.split()[1])
    headers = {}
    while True:
        line = stream.readline().decode("latin-1").strip()
        if not line:
            return status, headers
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()


def connect(address):
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=15)


class ContractTest(unittest.TestCase):
    maxDiff = None

    def check_problem(self, answer, status, kind=None, field=None):
        """An error as the contract has it; `kind` is the end of its type, `field` one that it names."""
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer.type, "application/problem+json", answer)
        self.check_problem_body(answer.json, status, kind, field)

    def check_problem_body(self, problem, status, kind=None, field=None):
        self.assertLessEqual(set(problem), {"type", "title", "status", "detail", "errors"}, problem)
        self.assertEqual(problem["status"], status)
        self.assertTrue(problem["type"])
        self.assertEqual(problem["title"], PROBLEM_TITLES[status])
        self.assertTrue(problem["detail"])
        for error in problem.get("errors", []):
            self.assertEqual(set(error), {"field", "reason"}, problem)
            self.assertTrue(error["field"] and error["reason"], problem)
        if kind:
            self.assertTrue(problem["type"].endswith(kind), problem)
        if field:
            self.assertIn(field, [error["field"] for error in problem.get("errors", [])], problem)
            self.assertIn(field, problem["detail"])

    def check_message(self, shown, sent, copies=None):
        """A message object, against what was sent."""
        expected = {key: sent[key] for key in ("sender", "recipient", "room", "text", "timestamp")
                    if key in sent}
        self.assertRegex(shown["id"], ID)
        self.assertEqual(len(shown["id"]), 36)
        self.assertRegex(shown["accepted_at"], TIME)
        expected.update(id=shown["id"], accepted_at=shown["accepted_at"])
        if copies is not None:
            expected["copies"] = copies
        self.assertEqual(shown, expected)

    def check_headers(self, answer):
        """What every answer of /messages* carries; the proxy refuses some by itself, without a node."""
        if VIA == "proxy" and answer.status >= 400 and answer["ChatChain-Node"] is None:
            return
        self.assertEqual(answer["ChatChain-Node"], "0", answer)
        self.assertRegex(answer["ChatChain-Session"] or "", TOKEN, answer)
        if VIA == "proxy":
            self.assertRegex(answer["ChatChain-Attempts"] or "", r"^[1-9]\d*$", answer)
        else:
            self.assertIsNone(answer["ChatChain-Attempts"], answer)

    def send(self, address=None, key=None, status=201, **members):
        sent = message(**members)
        if "room" in members:
            del sent["recipient"]
        answer = post(sent, address, Idempotency_Key=key)
        self.assertEqual(answer.status, status, answer)
        self.check_message(answer.json, sent)
        return answer.json


class SendTest(ContractTest):
    def test_new_message(self):
        for sent in [message(timestamp=1697913600), message(), message(timestamp=0),
                     message(timestamp=-1), message(timestamp=2**53), message(timestamp=-2**53),
                     {"sender": "bot", "room": "releases", "text": "v1"},
                     message(sender="小明", recipient="Zoë", text="你好，世界！👋🏽\r\n\t\u0001\u007f\u0085"),
                     message(sender='q"\\/', text='"\\\u2028'),
                     message(sender="x" * 256, recipient="💣" * 64, text="é" * 32768)]:
            with self.subTest(sent=str(sent)[:80]):
                answer = post(sent)
                self.assertEqual(answer.status, 201, answer)
                self.assertEqual(answer.type, "application/json")
                self.check_message(answer.json, sent)
                self.check_headers(answer)
                self.assertEqual(answer["Location"], "/messages/" + answer.json["id"])
                self.assertIsNone(answer["Idempotent-Replayed"])
                read = get(answer["Location"])
                self.assertEqual(read.status, 200, read)
                self.assertEqual(read.json, answer.json)
                accepted = datetime.fromisoformat(answer.json["accepted_at"].replace("Z", "+00:00"))
                self.assertLess(abs((datetime.now(timezone.utc) - accepted).total_seconds()), 60)

    def test_id_is_that_of_the_protocol(self):
        for sent, key in [(message(timestamp=1697913600), "id-test-1"),
                          (message(text="其他"), "0195f1a2-b3c4-7d5e-8f60-718293a4b5c6")]:
            shown = self.send(key=key, **sent)
            content = {**sent, "key": key}
            self.assertEqual(shown["id"], message_id(content, sha256(canonical(content))))

    def test_malformed_is_400_and_changes_nothing(self):
        room = fresh("room")
        good = json.dumps({"sender": "a", "room": room, "text": "c"})[1:-1]
        bodies = {
            "nothing": b"",
            "not JSON": b"hello",
            "null": b"null",
            "a string": b'"x"',
            "a list": b"[]",
            "a list of messages": f"[{{{good}}}]",
            "cut": "{" + good,
            "garbage behind": f"{{{good}}}x",
            "two values": f"{{{good}}}{{{good}}}",
            "trailing comma": f"{{{good},}}",
            "comment": f"{{{good}}}//",
            "single quotes": b"{'sender':'a'}",
            "NaN": f'{{{good},"timestamp":NaN}}',
            "Infinity": f'{{{good},"timestamp":Infinity}}',
            "leading zero": f'{{{good},"timestamp":01}}',
            "raw NUL behind": f"{{{good}}}\0",
            "raw NUL and garbage": f"{{{good}}}\0}}{{",
            "raw NUL in a string": f'{{{good},"timestamp":"\0"}}',
            "raw line feed in a string": '{"sender":"a\n","room":"%s","text":"c"}' % room,
            "lone high surrogate": '{"sender":"a","room":"%s","text":"\\ud83d"}' % room,
            "lone low surrogate": '{"sender":"a","room":"%s","text":"\\ude00x"}' % room,
            "lone surrogate in a name": f'{{{good},"\\ud800":1}}',
            "invalid UTF-8": ('{"sender":"a","room":"%s","text":"' % room).encode() + b'\xff"}',
            "surrogate in UTF-8": ('{"sender":"a","room":"%s","text":"' % room).encode() + b'\xed\xa0\x80"}',
            "overlong": ('{"sender":"a","room":"%s","text":"' % room).encode() + b'\xc0\x80"}',
            "17 deep": f'{{{good},"timestamp":' + "[" * 16 + "]" * 16 + "}",
            "1 MiB of brackets": "[" * MIB,
            "duplicate member": f'{{{good},"text":"d"}}',
            "duplicate by an escape": f'{{{good},"s\\u0065nder":"d"}}',
            "duplicate in a nested object": f'{{{good},"timestamp":{{"a":1,"a":2}}}}',
            "unknown member": f'{{{good},"extra":1}}',
            "unknown member of 500 kB": '{%s,"%s":1}' % (good, "x" * 500_000),
            "member in another case": f'{{{good},"Timestamp":1}}',
            "id": f'{{{good},"id":"{"0" * 36}"}}',
            "key": f'{{{good},"key":"k"}}',
            "copies": f'{{{good},"copies":1}}',
        }
        for why, body in bodies.items():
            with self.subTest(why):
                answer = post(body)
                self.check_problem(answer, 400)
                self.assertLess(len(answer.body), 2000)
                self.check_headers(answer)
        self.assertEqual(get(query(room=room)).json["messages"], [])

    def test_a_bad_value_is_422_and_changes_nothing(self):
        room = fresh("room")
        ok = {"sender": "a", "room": room, "text": "c"}
        rows = [
            ("empty object", {}, "sender"),
            ("no sender", {"room": room, "text": "c"}, "sender"),
            ("no text", {"sender": "a", "room": room}, "text"),
            ("neither recipient nor room", {"sender": "a", "text": "c"}, "recipient"),
            ("both", {**ok, "recipient": "b"}, "recipient"),
            ("empty sender", {**ok, "sender": ""}, "sender"),
            ("empty text", {**ok, "text": ""}, "text"),
            ("empty room", {**ok, "room": ""}, "room"),
            ("empty recipient beside a room", {**ok, "recipient": ""}, "recipient"),
            ("sender null", {**ok, "sender": None}, "sender"),
            ("sender a number", {**ok, "sender": 1}, "sender"),
            ("sender a list", {**ok, "sender": ["a"]}, "sender"),
            ("text true", {**ok, "text": True}, "text"),
            ("room an object", {**ok, "room": {}}, "room"),
            ("recipient null", {"sender": "a", "recipient": None, "text": "c"}, "recipient"),
            ("sender of 257 bytes", {**ok, "sender": "n" * 257}, "sender"),
            ("sender of 257 bytes in 65 characters", {**ok, "sender": "💣" * 64 + "n"}, "sender"),
            ("room of 257 bytes", {**ok, "room": "n" * 257}, "room"),
            ("recipient of 257 bytes", {"sender": "a", "recipient": "n" * 257, "text": "c"}, "recipient"),
            ("text of 65537 bytes", {**ok, "text": "c" * 65537}, "text"),
            ("text of 65537 bytes in 32769 characters", {**ok, "text": "é" * 32768 + "c"}, "text"),
            ("text with U+0000", {**ok, "text": "a\u0000b"}, "text"),
            *((f"sender with U+{ord(c):04X}", {**ok, "sender": "a" + c}, "sender")
              for c in "\u0000\u0001\t\n\r\u001f\u007f\u0080\u0085\u009f"),
            ("room with a tab", {**ok, "room": "a\tb"}, "room"),
            *((f"timestamp {value!r}", {**ok, "timestamp": value}, "timestamp")
              for value in [1.5, -0.5, 1e30, -1e30, 2**53 + 1, -2**53 - 1, 2**63, 2**64 - 1, 2**64 + 1,
                            -2**63 - 1, 10**400, "1697913600", "NaN", "", None, True, [], {}]),
        ]
        for why, body, field in rows:
            with self.subTest(why):
                answer = post(body)
                self.check_problem(answer, 422, "invalid", field)
                self.check_headers(answer)
        with self.subTest("timestamp 1e999"):
            self.check_problem(post('{"sender":"a","room":"%s","text":"c","timestamp":1e999}' % room), 422,
                               "invalid", "timestamp")
        self.assertEqual(get(query(room=room)).json["messages"], [])

    def test_every_bad_field_is_named(self):
        answer = post({"sender": "a\n", "recipient": "b" * 257, "text": "\u0000", "timestamp": 2**53 + 1})
        self.check_problem(answer, 422, "invalid")
        self.assertEqual({error["field"] for error in answer.json["errors"]},
                         {"sender", "recipient", "text", "timestamp"})

    def test_query_parameters_are_refused(self):
        self.check_problem(post(message(), path="/messages?limit=5"), 400)
        self.check_problem(post({"messages": [message()]}, path="/messages/batch?x="), 400)

    def test_content_types(self):
        for content_type, ok in [("application/json", True), ("application/json; charset=utf-8", True),
                                 ("application/json;charset=UTF-8", True),
                                 ('application/json; charset="utf-8"', True),
                                 ("Application/JSON", True), ("application/json; charset=latin1", False),
                                 ("text/plain", False), ("application/x-www-form-urlencoded", False),
                                 ("application/problem+json", False), ("text/json", False),
                                 ("application/jsonx", False), ("", False)]:
            with self.subTest(content_type):
                for path, body in [("/messages", message()), ("/messages/batch", {"messages": [message()]})]:
                    answer = post(body, path=path, Content_Type=content_type)
                    if ok:
                        self.assertIn(answer.status, (200, 201), answer)
                    else:
                        self.check_problem(answer, 415)
        with self.subTest("none at all"):
            with connect(base) as raw:
                raw.sendall(b"POST /messages HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
                self.assertEqual(read_head(raw.makefile("rb"))[0], 415)

    def test_a_whole_url_as_the_target_is_its_path(self):
        shown = self.send()
        for target in (f"/messages/{shown['id']}", f"/messages?sender={shown['sender']}"):
            with connect(base) as raw:
                raw.sendall(f"GET http://chat.example:80{target} HTTP/1.1\r\nHost: chat.example\r\n"
                            "Connection: close\r\n\r\n".encode())
                stream = raw.makefile("rb")
                self.assertEqual(read_head(stream)[0], 200)
                self.assertIn(shown["id"].encode(), stream.read())

    def test_accept(self):
        for accept, ok in [(None, True), ("*/*", True), ("application/*", True), ("application/json", True),
                           ("text/html, application/json;q=0.5", True), ("text/html", False),
                           ("application/xml;q=0.9, image/*", False), ("application/json;q=0", False)]:
            with self.subTest(accept):
                for answer in [get(query(limit=1), Accept=accept), post(message(), Accept=accept)]:
                    if ok:
                        self.assertIn(answer.status, (200, 201), answer)
                    else:
                        self.check_problem(answer, 406)


class LargeBodyTest(ContractTest):
    def test_limits_are_exact(self):
        for path, limit, body in [("/messages", MIB, message(text=fresh())),
                                  ("/messages/batch", 8 * MIB, {"messages": [message(text=fresh())]})]:
            with self.subTest(path):
                text = json.dumps(body)
                answer = post(text + " " * (limit - len(text)), path=path)
                self.assertIn(answer.status, (200, 201), answer)
                self.check_problem(self.post_raw(path, text + " " * (limit + 1 - len(text))), 413)

    def post_raw(self, path, text):
        """As a client that sends all and only then reads: a refusal may come before."""
        try:
            return post(text, path=path)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Failure(f"{path}: the answer was lost: {error}") from None

    def offer(self, path, head, chunk, total):
        """Offers a body piece by piece until an answer comes; (status, headers, body, bytes sent)."""
        with connect(base) as raw:
            raw.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{head}\r\n"
                        .encode())
            stream = raw.makefile("rb")
            raw.settimeout(0.05)
            sent = 0
            deadline = time.monotonic() + 15
            while sent < total and time.monotonic() < deadline:
                try:
                    if raw.recv(1, socket.MSG_PEEK):
                        break
                except socket.timeout:
                    pass
                except ConnectionResetError:
                    break
                try:
                    sent += raw.send(chunk)
                except (socket.timeout, BrokenPipeError, ConnectionResetError):
                    pass
            raw.settimeout(15)
            status, headers = read_head(stream)
            body = stream.read(int(headers.get("content-length", 0)))
            return status, headers, body, sent

    def test_100_mb_are_refused_unread(self):
        for path in ["/messages", "/messages/batch"]:
            for why, head, chunk in [
                    ("by its length", "Content-Length: 100000000\r\n", b" " * 65536),
                    ("in chunks", "Transfer-Encoding: chunked\r\n", b"10000\r\n" + b" " * 65536 + b"\r\n")]:
                with self.subTest(f"{path} {why}"):
                    status, headers, body, sent = self.offer(path, head, chunk, 100_000_000)
                    self.assertEqual(status, 413)
                    self.assertEqual(headers["content-type"], "application/problem+json")
                    self.check_problem_body(json.loads(body), 413)
                    self.assertLess(sent, 30_000_000)
        self.assertEqual(get("/healthz").status, 200)

    def test_expect_is_refused_without_a_byte_of_the_body(self):
        with connect(base) as raw:
            raw.sendall(b"POST /messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                        b"Content-Length: 100000000\r\nExpect: 100-continue\r\n\r\n")
            self.assertEqual(read_head(raw.makefile("rb"))[0], 413)


class IdempotencyTest(ContractTest):
    def test_a_retry_is_the_same_message(self):
        for key in [fresh("key"), "k" * 256, "!~ \"'\\,;=", "0195f1a2-b3c4-7d5e-8f60-718293a4b5ff"]:
            with self.subTest(key[:20]):
                sent = message(sender=fresh(), timestamp=1697913600)
                first = post(sent, Idempotency_Key=key)
                self.assertEqual(first.status, 201, first)
                for _ in range(2):
                    again = post(sent, Idempotency_Key=key)
                    self.assertEqual(again.status, 200, again)
                    self.assertEqual(again["Idempotent-Replayed"], "true")
                    self.assertEqual(again.json, first.json)
                    self.check_headers(again)
                self.assertEqual(len(get(query(sender=sent["sender"])).json["messages"]), 1)

    def test_member_order_and_spelling_do_not_matter(self):
        sender, key = fresh(), fresh("key")
        first = post('{"sender":"%s","recipient":"b","text":"\\u00e9"}' % sender, Idempotency_Key=key)
        again = post('{ "text":"é", "recipient":"b",\n"s\\u0065nder":"%s"}' % sender, Idempotency_Key=key)
        self.assertEqual((first.status, again.status), (201, 200))
        self.assertEqual(first.json, again.json)

    def test_the_key_for_another_message_is_422_key_reused(self):
        sent = message(sender=fresh(), timestamp=5)
        key = fresh("key")
        self.assertEqual(post(sent, Idempotency_Key=key).status, 201)
        without = {name: value for name, value in sent.items() if name != "timestamp"}
        room = {"sender": sent["sender"], "room": sent["recipient"], "text": sent["text"], "timestamp": 5}
        for other in [{**sent, "text": "other"}, {**sent, "timestamp": 6}, without,
                      {**sent, "recipient": "other"}, room]:
            with self.subTest(other):
                answer = post(other, Idempotency_Key=key)
                self.check_problem(answer, 422, "key-reused")
                self.check_headers(answer)
        self.assertEqual(len(get(query(sender=sent["sender"])).json["messages"]), 1)
        self.assertEqual(post(sent, Idempotency_Key=key).status, 200)

    def test_the_key_belongs_to_its_sender(self):
        key = fresh("key")
        ids = {self.send(key=key, sender=fresh())["id"] for _ in range(3)}
        self.assertEqual(len(ids), 3)

    def test_without_a_key_each_request_is_a_message(self):
        sender = fresh()
        ids = {self.send(sender=sender)["id"] for _ in range(3)}
        self.assertEqual(len(ids), 3)

    def test_bad_keys(self):
        for key in ["", "k" * 257, "a\tb", "\xe9"]:
            with self.subTest(repr(key[:20])):
                answer = post(message(), Idempotency_Key=key)
                self.check_problem(answer, 422, "invalid", "Idempotency-Key")
        # Other control characters are no HTTP at all.
        self.check_problem(post(message(), Idempotency_Key="a\x7f"), 400)

    def test_two_keys_in_one_request(self):
        body = json.dumps(message()).encode()
        with connect(base) as raw:
            raw.sendall(b"POST /messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                        b"Idempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: %d\r\n\r\n"
                        % len(body) + body)
            self.assertEqual(read_head(raw.makefile("rb"))[0], 422)

    def test_one_key_in_flight_many_times_is_one_message(self):
        sent = message(sender=fresh())
        key = fresh("key")
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda _: post(sent, Idempotency_Key=key), range(24)))
        self.assertEqual(sorted(answer.status for answer in answers), [200] * 23 + [201])
        self.assertEqual(len({answer.json["id"] for answer in answers}), 1)
        self.assertEqual(len({answer.json["accepted_at"] for answer in answers}), 1)
        self.assertEqual(len(get(query(sender=sent["sender"])).json["messages"]), 1)

    def test_one_key_with_many_contents_is_one_message(self):
        sender, key = fresh(), fresh("key")
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda i: post(message(sender=sender, text=str(i)), Idempotency_Key=key),
                                    range(12)))
        self.assertEqual(sorted(answer.status for answer in answers), [201] + [422] * 11)


class AcksTest(ContractTest):
    @classmethod
    def setUpClass(cls):
        # A node whose only peer is dead, and two that live; short deadlines.
        cls.dead = Reserved()
        config = "[node]\nrequest_timeout_ms = 1000\n[client]\nrequest_timeout_ms = 1500\n"
        lonely = world.node("0", [cls.dead.address], config=config)
        port = Reserved()
        first = world.node("0", [port.address], config=config)
        port.release()
        second = world.node("1", [first.address], listen=port.address, config=config)
        for each in (lonely, first, second):
            wait_ready(each.address)
        cls.lonely = lonely
        cls.lonely_base = lonely.address
        if VIA == "proxy":
            proxy = world.proxy([lonely.address, cls.dead.address], config)
            wait_ready(proxy.address)
            cls.lonely_base = proxy.address
        cls.pair = (first, second)
        cls.pair_base = front(first, second, config=config)

    @classmethod
    def tearDownClass(cls):
        cls.dead.release()

    def test_of_one_node(self):
        for acks in ["1", "majority", "all"]:
            with self.subTest(acks):
                sent = message()
                answer = post(sent, ChatChain_Acks=acks)
                self.assertEqual(answer.status, 201, answer)
                self.check_message(answer.json, sent, copies=1)
        for acks in ["2", "0", "-1", "", "1.0", "most", "All", "1,1", "99999999999999999999"]:
            with self.subTest(acks):
                answer = post(message(), ChatChain_Acks=acks)
                self.check_problem(answer, 422, "invalid", "ChatChain-Acks")
                answer = post({"messages": [message()]}, path="/messages/batch", ChatChain_Acks=acks)
                self.check_problem(answer, 422, "invalid", "ChatChain-Acks")

    def test_a_dead_node_counts_as_configured_and_holds_nothing(self):
        sent = message(sender=fresh())
        answer = post(sent, self.lonely_base, ChatChain_Acks="1")
        self.assertEqual(answer.status, 201, answer)
        self.check_message(answer.json, sent, copies=1)
        for acks in ["2", "majority", "all"]:
            with self.subTest(acks):
                begin = time.monotonic()
                answer = post(sent, self.lonely_base, ChatChain_Acks=acks)
                self.assertEqual(answer.status, 202, answer)
                self.assertLess(time.monotonic() - begin, 5)
                self.check_message(answer.json, sent, copies=1)
                self.assertRegex(answer["ChatChain-Session"] or "", TOKEN)
                self.assertEqual(get("/messages/" + answer.json["id"], self.lonely_base).status, 200)
        self.check_problem(post(sent, self.lonely_base, ChatChain_Acks="3"), 422, "invalid", "ChatChain-Acks")

    def test_copies_on_a_live_pair(self):
        for acks, copies in [("2", 2), ("all", 2), ("majority", 2)]:
            with self.subTest(acks):
                sent = message()
                answer = post(sent, self.pair_base, ChatChain_Acks=acks)
                self.assertEqual(answer.status, 201, answer)
                self.check_message(answer.json, sent, copies=copies)
        shown = post(message(), self.pair_base).json
        self.assertNotIn("copies", shown)

    def test_a_batch_waits_for_each_item(self):
        batch = {"messages": [message(text=str(i)) for i in range(3)] + [{"sender": "x"}]}
        answer = post(batch, self.pair_base, "/messages/batch", ChatChain_Acks="2")
        self.assertEqual(answer.status, 200, answer)
        results = answer.json["results"]
        self.assertEqual([result["status"] for result in results], [201, 201, 201, 422])
        self.assertEqual([result["message"]["copies"] for result in results[:3]], [2, 2, 2])
        answer = post(batch, self.lonely_base, "/messages/batch", ChatChain_Acks="2")
        results = answer.json["results"]
        self.assertEqual([result["status"] for result in results], [202, 202, 202, 422])
        self.assertEqual([result["message"]["copies"] for result in results[:3]], [1, 1, 1])

    @only_node
    def test_read_your_writes_across_nodes(self):
        first, second = self.pair
        for writer, reader in [(first, second), (second, first)] * 5:
            answer = post(message(), writer.address)
            session = answer["ChatChain-Session"]
            read = get("/messages/" + answer.json["id"], reader.address, ChatChain_Session=session,
                       ChatChain_Consistency="strict")
            self.assertEqual(read.status, 200, read)
            self.assertIsNone(read["ChatChain-Stale"])
            mine = token_heads(read["ChatChain-Session"])
            for head, (seq, _) in token_heads(session).items():
                self.assertGreaterEqual(mine[head][0], seq)

    def test_a_cursor_works_at_another_node(self):
        first, second = self.pair
        room = fresh("room")
        sent = []
        for i in range(7):
            answer = post({"sender": "a", "room": room, "text": str(i)}, first.address)
            sent.append(answer.json["id"])
        session = answer["ChatChain-Session"]
        seen = []
        page = get(query(room=room, limit=2), first.address, ChatChain_Session=session)
        for reader in [second, first, second, first]:
            seen += [each["id"] for each in page.json["messages"]]
            if page.json["next"] is None:
                break
            page = get(query(room=room, limit=2, cursor=page.json["next"]), reader.address)
            self.assertEqual(page.status, 200, page)
        self.assertEqual(seen, sent)

    def test_a_key_is_known_at_the_other_node(self):
        first, second = self.pair
        sent, key = message(sender=fresh()), fresh("key")
        answer = post(sent, first.address, Idempotency_Key=key, ChatChain_Acks="2")
        self.assertEqual(answer.status, 201, answer)
        again = post(sent, second.address, Idempotency_Key=key)
        self.assertEqual(again.status, 200, again)
        self.assertEqual(again.json, {k: v for k, v in answer.json.items() if k != "copies"})
        self.check_problem(post({**sent, "text": "x"}, second.address, Idempotency_Key=key), 422, "key-reused")

    def test_digests_meet(self):
        first, second = self.pair
        post(message(), first.address)
        post(message(), second.address)

        def digests():
            return {get("/nodes", each.address).json["self"]["digest"] for each in (first, second)}
        wait_until(lambda: len(digests()) == 1, 15, "both nodes have one digest")

    @only_node
    def test_future_tokens_take_bounded_time(self):
        lonely = self.lonely.address
        ghost = token(CLUSTER, "S", [["ghost", "00000001a1b2c3d4", 5, "00" * 32]])
        first = get(query(limit=1), lonely)
        for target in [query(limit=1), "/messages/" + self.send(lonely)["id"]]:
            with self.subTest(target):
                begin = time.monotonic()
                stale = get(target, lonely, ChatChain_Session=ghost)
                self.assertLess(time.monotonic() - begin, 3)
                self.assertEqual(stale.status, 200, stale)
                self.assertEqual(stale["ChatChain-Stale"], "1", stale)
                self.assertIsNone(stale["ChatChain-Lost"], stale)
                # Merged with the one that was brought.
                self.assertIn(("ghost", "00000001a1b2c3d4"), token_heads(stale["ChatChain-Session"]))
                begin = time.monotonic()
                strict = get(target, lonely, ChatChain_Session=ghost, ChatChain_Consistency="strict")
                self.assertLess(time.monotonic() - begin, 3)
                self.check_problem(strict, 412)
        self.assertIsNone(first["ChatChain-Stale"])

        # Where every known peer was asked and has none of it, it is lost.
        first, second = self.pair
        begin = time.monotonic()
        lost = get(query(limit=1), first.address, ChatChain_Session=ghost)
        self.assertLess(time.monotonic() - begin, 3)
        self.assertEqual(lost.status, 200, lost)
        self.assertEqual(lost["ChatChain-Lost"], "1", lost)
        self.assertIsNone(lost["ChatChain-Stale"], lost)
        self.assertNotIn(("ghost", "00000001a1b2c3d4"), token_heads(lost["ChatChain-Session"]))


class BatchTest(ContractTest):
    def batch(self, items, **headers):
        return post({"messages": items}, path="/messages/batch", **headers)

    def test_each_item_is_judged_in_order(self):
        sender, room = fresh(), fresh("room")
        ok = {"sender": sender, "room": room, "text": "1"}
        items = [
            {**ok, "key": "k1"},
            {**ok, "text": ""},
            {**ok, "extra": 1},
            {**ok, "key": "k1"},
            {**ok, "key": "k1", "text": "other"},
            5,
            None,
            [],
            {**ok, "text": "2"},
            {**ok, "text": "2"},
            {**ok, "key": ""},
            {**ok, "key": "k" * 257},
            {**ok, "key": 5},
            {**ok, "timestamp": 1e30},
            {**ok, "stamp": "x"},
            {**ok, "stamp": 5},
            {"sender": sender, "recipient": "b", "room": room, "text": "x"},
            {**ok, "text": "3", "key": "k3", "timestamp": 7},
        ]
        wanted = [201, 422, 400, 200, 422, 400, 400, 400, 201, 201, 422, 422, 422, 422, 422, 422, 422, 201]
        answer = self.batch(items)
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.type, "application/json")
        self.check_headers(answer)
        self.assertEqual(set(answer.json), {"results"})
        results = answer.json["results"]
        self.assertEqual([result["status"] for result in results], wanted)
        for item, result in zip(items, results):
            with self.subTest(item):
                if result["status"] < 300:
                    self.assertEqual(set(result), {"status", "message"})
                    self.check_message(result["message"], item)
                else:
                    self.assertEqual(set(result), {"status", "problem"})
                    self.check_problem_body(result["problem"], result["status"])
        self.assertEqual(results[0]["message"], results[3]["message"])
        self.assertTrue(results[4]["problem"]["type"].endswith("key-reused"))
        stored = [each["text"] for each in get(query(room=room)).json["messages"]]
        self.assertEqual(stored, ["1", "2", "2", "3"])

    def test_a_number_out_of_range_fails_no_neighbour(self):
        ok = json.dumps(message())
        bad = ok[:-1] + ',"timestamp":1e999}'
        answer = post('{"messages":[%s,%s,%s]}' % (ok, bad, ok), path="/messages/batch")
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual([result["status"] for result in answer.json["results"]], [201, 422, 201])

    def test_thousand_but_no_more(self):
        sender = fresh()
        answer = self.batch([message(sender=sender, text=str(i)) for i in range(1000)])
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual([result["status"] for result in answer.json["results"]], [201] * 1000)
        self.assertEqual([result["message"]["text"] for result in answer.json["results"]],
                         [str(i) for i in range(1000)])
        self.check_problem(self.batch([message()] * 1001), 422, "invalid", "messages")
        self.check_problem(self.batch([]), 422, "invalid", "messages")

    def test_nearly_as_large_as_allowed(self):
        # More than a proxy sends to a node at once.
        sender, room = fresh(), fresh("room")
        items = [{"sender": sender, "room": room, "text": f"{i:03d}" + "x" * 60_000, "key": fresh()} for i in range(130)]
        first, again = self.batch(items), self.batch(items)
        for answer, status in [(first, 201), (again, 200)]:
            self.assertEqual(answer.status, 200, answer.body[:500])
            self.assertEqual([result["status"] for result in answer.json["results"]], [status] * len(items))
            self.assertEqual([result["message"]["text"][:3] for result in answer.json["results"]],
                             [item["text"][:3] for item in items])
        self.assertEqual([result["message"] for result in first.json["results"]],
                         [result["message"] for result in again.json["results"]])
        stored = [each["text"][:3] for each in get(query(room=room, limit=200)).json["messages"]]
        self.assertEqual(stored, [item["text"][:3] for item in items])

    def test_the_frame(self):
        for body, status in [({}, 422), ({"messages": None}, 422), ({"messages": {}}, 422),
                             ({"messages": "x"}, 422), ({"messages": [message()], "x": 1}, 400), ([], 400),
                             ({"messages": [message()], "key": "k"}, 400), ("{", 400), ("", 400),
                             ('{"messages":[],"messages":[]}', 400)]:
            with self.subTest(str(body)[:60]):
                self.check_problem(post(body, path="/messages/batch"), status)
        self.check_problem(self.batch([message()], Idempotency_Key="k"), 400)
        long = post('{"messages":[],"%s":1}' % ("x" * 500_000), path="/messages/batch")
        self.check_problem(long, 400)
        self.assertLess(len(long.body), 2000)

    def test_the_same_batch_again(self):
        items = [message(sender=fresh(), key=fresh("key")) for _ in range(5)]
        first, again = self.batch(items), self.batch(items)
        self.assertEqual([result["status"] for result in first.json["results"]], [201] * 5)
        self.assertEqual([result["status"] for result in again.json["results"]], [200] * 5)
        self.assertEqual([result["message"] for result in first.json["results"]],
                         [result["message"] for result in again.json["results"]])

    @only_node
    def test_stamps(self):
        items = [message(sender=fresh(), stamp="018b5389787b0003"), message(stamp="ffffffffffffffff")]
        results = self.batch(items).json["results"]
        self.assertEqual(results[0]["message"]["accepted_at"], "2023-10-21T18:40:00.123Z")
        self.assertEqual(results[1]["status"], 201)
        self.assertLess(results[1]["message"]["accepted_at"], "2200")


class StampTest(ContractTest):
    @only_node
    def test_a_given_stamp_is_taken_unless_far_ahead(self):
        answer = post(message(), ChatChain_Stamp="018b5389787b0003")
        self.assertEqual(answer.json["accepted_at"], "2023-10-21T18:40:00.123Z")
        now_ms = time.time() * 1000
        for ahead_ms, taken in [(-3_600_000, True), (30_000, True), (90_000, False)]:
            stamp_ms = int(now_ms) + ahead_ms
            answer = post(message(), ChatChain_Stamp=f"{stamp_ms << 16:016x}")
            shown = datetime.fromisoformat(answer.json["accepted_at"].replace("Z", "+00:00"))
            difference_ms = shown.timestamp() * 1000 - stamp_ms
            self.assertEqual(abs(difference_ms) < 2, taken, (ahead_ms, answer))
        for bad in ["", "5", "018b5389787b000", "018B5389787B0003", "018b5389787b00030", "zzzzzzzzzzzzzzzz"]:
            with self.subTest(bad):
                self.check_problem(post(message(), ChatChain_Stamp=bad), 422, "invalid", "ChatChain-Stamp")

    @only_node
    def test_accepted_at_becomes_earlier_never_later(self):
        sent, key = message(sender=fresh()), fresh("key")
        post(sent, Idempotency_Key=key, ChatChain_Stamp="018b5389787b0000")
        later = post(sent, Idempotency_Key=key, ChatChain_Stamp="018b538978ff0000")
        self.assertEqual((later.status, later.json["accepted_at"]), (200, "2023-10-21T18:40:00.123Z"))

    @only_node
    def test_deadline(self):
        self.assertEqual(post(message(), ChatChain_Deadline_Ms="3000").status, 201)
        for bad in ["", "x", "-1", "1.5"]:
            with self.subTest(bad):
                self.check_problem(post(message(), ChatChain_Deadline_Ms=bad), 422, "invalid",
                                   "ChatChain-Deadline-Ms")


class ListTest(ContractTest):
    @classmethod
    def setUpClass(cls):
        cls.room, cls.a, cls.b, cls.c = fresh("room"), fresh(), fresh(), fresh()
        cls.sent = []
        for i in range(12):
            sender, recipient = [(cls.a, cls.b), (cls.b, cls.a), (cls.a, cls.c), (cls.a, None)][i % 4]
            target = {"recipient": recipient} if recipient else {"room": cls.room}
            answer = post({"sender": sender, **target, "text": str(i), "timestamp": i})
            assert answer.status == 201, answer
            cls.sent.append(answer.json)

    def mine(self, **params):
        params.setdefault("participant", self.a)
        answer = get(query(**params))
        self.assertEqual(answer.status, 200, answer)
        return answer.json["messages"]

    def test_the_page(self):
        answer = get(query(participant=self.a))
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.type, "application/json")
        self.check_headers(answer)
        self.assertEqual(set(answer.json), {"messages", "next", "after"})
        self.assertIsNone(answer.json["next"])
        self.assertRegex(answer.json["after"], TOKEN)
        self.assertIsNone(answer["Link"])
        self.assertIsNone(answer["ChatChain-Stale"])
        self.assertIsNone(answer["ChatChain-Lost"])
        self.assertEqual(answer.json["messages"], self.sent)
        after = token_heads(answer.json["after"])
        self.assertTrue(after)

    def test_an_empty_page(self):
        answer = get(query(sender=fresh()))
        self.assertEqual(answer.json["messages"], [])
        self.assertIsNone(answer.json["next"])
        self.assertRegex(answer.json["after"], TOKEN)

    def test_filters(self):
        a, b, c = self.a, self.b, self.c
        def expected(matches):
            return [each["text"] for each in self.sent if matches(each)]
        for params, matches in [
                ({"sender": a}, lambda m: m["sender"] == a),
                ({"sender": b}, lambda m: m["sender"] == b),
                ({"recipient": a}, lambda m: m.get("recipient") == a),
                ({"room": self.room}, lambda m: m.get("room") == self.room),
                ({"participant": b}, lambda m: b in (m["sender"], m.get("recipient"))),
                ({"participant": [a, b]}, lambda m: {a, b} == {m["sender"], m.get("recipient")}),
                ({"participant": [b, a]}, lambda m: {a, b} == {m["sender"], m.get("recipient")}),
                ({"participant": [a, c]}, lambda m: {a, c} == {m["sender"], m.get("recipient")}),
                ({"participant": [b, c]}, lambda m: False),
                ({"sender": a, "recipient": b}, lambda m: m["sender"] == a and m.get("recipient") == b),
                ({"sender": a, "recipient": a}, lambda m: False),
                ({"sender": a, "room": self.room}, lambda m: m.get("room") == self.room),
                ({"sender": b, "room": self.room}, lambda m: False),
                ({"recipient": b, "participant": a}, lambda m: m.get("recipient") == b),
                ({"participant": self.room}, lambda m: False),
                ({"sender": a.upper()}, lambda m: False),
                ({"sender": a + " "}, lambda m: False)]:
            for order in ("asc", "desc"):
                with self.subTest(params=params, order=order):
                    answer = get(query(**params, order=order))
                    self.assertEqual(answer.status, 200, answer)
                    wanted = expected(matches)
                    if order == "desc":
                        wanted.reverse()
                    self.assertEqual([each["text"] for each in answer.json["messages"]], wanted)

    def test_since_and_until(self):
        times = [each["accepted_at"] for each in self.sent]
        for at in (times[0], times[5], times[-1]):
            with self.subTest(at):
                self.assertEqual([m["id"] for m in self.mine(since=at)],
                                 [m["id"] for m in self.sent if m["accepted_at"] >= at])
                self.assertEqual([m["id"] for m in self.mine(until=at)],
                                 [m["id"] for m in self.sent if m["accepted_at"] < at])
                self.assertEqual([m["id"] for m in self.mine(since=at, until=at)], [])
                moment = datetime.fromisoformat(at.replace("Z", "+00:00"))
                offset = datetime.fromtimestamp(moment.timestamp() + 3600, timezone.utc)
                there = offset.strftime("%Y-%m-%dT%H:%M:%S.") + at[20:23] + "+01:00"
                self.assertEqual(self.mine(since=there), self.mine(since=at))
                unencoded = get(f"/messages?participant={self.a}&since={there}")
                self.assertEqual(unencoded.json["messages"], self.mine(since=at))
        second = int(datetime.fromisoformat(times[0].replace("Z", "+00:00")).timestamp())
        self.assertEqual(self.mine(since=second), self.sent)
        self.assertEqual(self.mine(until=second), [])
        self.assertEqual(self.mine(since=-5, until=second + 3600), self.sent)

    def test_parameters(self):
        bad_time = 422
        for target, status, field in [
                ("limit=0", 422, "limit"), ("limit=1001", 422, "limit"), ("limit=-1", 422, "limit"),
                ("limit=x", 422, "limit"), ("limit=", 422, "limit"), ("limit=1.5", 422, "limit"),
                ("limit=1e1", 422, "limit"), ("limit=99999999999999999999", 422, "limit"),
                ("order=up", 422, "order"), ("order=", 422, "order"), ("order=ASC", 422, "order"),
                ("sender=", 422, "sender"), ("sender=" + "x" * 257, 422, "sender"),
                ("sender=a%0Ab", 422, "sender"), ("recipient=a%7F", 422, "recipient"),
                ("room=%C2%85", 422, "room"), ("participant=", 422, "participant"),
                ("participant=a&participant=b&participant=c", 422, "participant"),
                ("since=yesterday", bad_time, "since"), ("since=", bad_time, "since"),
                ("since=1.5", bad_time, "since"), ("since=1e30", bad_time, "since"),
                ("since=2026-11-21", bad_time, "since"), ("since=2026-02-30T00:00:00Z", bad_time, "since"),
                ("until=NaN", bad_time, "until"), ("until=9007199254740993", bad_time, "until"),
                ("limits=5", 400, None), ("Limit=5", 400, None), ("offset=5", 400, None), ("x", 400, None),
                ("after=x", 400, None), ("limit=5&limit=5", 400, None), ("sender=a&sender=a", 400, None),
                ("order=asc&order=desc", 400, None), ("since=1&since=1", 400, None),
                ("cursor=a&cursor=a", 400, None), ("%zz=1", 400, None), ("sender=%", 400, None),
                ("sender=%ff", 400, None), ("sender=%00", 400, None), ("=5", 400, None),
                ("cursor=", 400, None), ("cursor=garbage", 400, None), ("cursor=%ff", 400, None),
                ("x" * 20_000 + "=1", 400, None)]:
            with self.subTest(target[:60]):
                answer = get("/messages?" + target)
                self.check_problem(answer, status, None, field)
                self.assertLess(len(answer.body), 2000)
        for target in ["limit=1", "limit=1000", "order=asc", "sender=%E5%B0%8F", "since=-5", "since=0",
                       "since=2026-11-21T08:15:30.123456Z", "until=9007199254740992",
                       "participant=a&participant=a", "limit=5&", "&limit=5", ""]:
            with self.subTest(target):
                self.assertEqual(get("/messages?" + target).status, 200)

    def test_plus_is_a_space(self):
        sender = fresh() + " with spaces+plus"
        self.send(sender=sender)
        for encoded in [quote(sender), quote(sender, safe=" ").replace(" ", "+")]:
            with self.subTest(encoded):
                self.assertEqual(len(get("/messages?sender=" + encoded).json["messages"]), 1)

    def walk(self, target, limit, **headers):
        """All pages: texts, and each page's answer."""
        pages = []
        link = f"{target}&limit={limit}"
        while True:
            answer = get(link, **headers)
            self.assertEqual(answer.status, 200, answer)
            pages.append(answer)
            self.assertLessEqual(len(answer.json["messages"]), limit)
            if answer.json["next"] is None:
                self.assertIn("after", answer.json)
                self.assertIsNone(answer["Link"])
                return [m for page in pages for m in page.json["messages"]], pages
            self.assertEqual(set(answer.json), {"messages", "next"})
            self.assertEqual(len(answer.json["messages"]), limit)
            found = re.fullmatch(r'<(/messages\?[^>]+)>; rel="next"', answer["Link"] or "")
            self.assertTrue(found, answer["Link"])
            link = found.group(1)
            self.assertIn("cursor=" + answer.json["next"], link)
            by_hand = get(f"{target}&limit={limit}&cursor={answer.json['next']}")
            self.assertEqual(by_hand.json["messages"], get(link).json["messages"])

    def test_walks(self):
        for order in ("asc", "desc"):
            wanted = self.sent if order == "asc" else self.sent[::-1]
            for limit in (1, 5, 6, 11, 12, 13, 1000):
                with self.subTest(order=order, limit=limit):
                    walked, _ = self.walk(f"/messages?participant={self.a}&order={order}", limit)
                    self.assertEqual(walked, wanted)

    def test_a_walk_gives_what_its_first_page_covers_once_while_others_write(self):
        for order in ("asc", "desc"):
            with self.subTest(order):
                room = fresh("room")
                ids = [self.send(room=room, text=str(i))["id"] for i in range(9)]
                page = get(query(room=room, limit=2, order=order))
                seen = [m["id"] for m in page.json["messages"]]
                while page.json["next"]:
                    self.send(room=room, text="later")
                    page = get(query(room=room, limit=2, order=order, cursor=page.json["next"]))
                    seen += [m["id"] for m in page.json["messages"]]
                self.assertEqual([each for each in seen if each in ids], ids if order == "asc" else ids[::-1])
                self.assertEqual(len(seen), len(set(seen)))

    def test_a_cursor_goes_with_its_filters_and_order_only(self):
        cursor = get(query(participant=self.a, limit=3)).json["next"]
        ok = get(query(participant=self.a, cursor=cursor, limit=100))
        self.assertEqual([m["id"] for m in ok.json["messages"]], [m["id"] for m in self.sent[3:]])
        for params in [{}, {"participant": self.b}, {"participant": [self.a, self.b]}, {"sender": self.a},
                       {"participant": self.a, "order": "desc"}, {"participant": self.a, "since": 0}]:
            with self.subTest(params):
                self.check_problem(get(query(**params, cursor=cursor)), 400)
        last = get(query(participant=self.a))
        other = token("other", "C", [])
        for bad in [last.json["after"], last["ChatChain-Session"], cursor[:-1], cursor + "A",
                    cursor[:20] + ("A" if cursor[20] != "A" else "B") + cursor[21:], other, "x" * 20_000]:
            with self.subTest(bad[:30]):
                self.check_problem(get(query(participant=self.a, cursor=bad)), 400)

    def test_default_limit(self):
        room = fresh("room")
        answer = post({"messages": [{"sender": "a", "room": room, "text": str(i)} for i in range(101)]},
                      path="/messages/batch")
        self.assertEqual(answer.status, 200, answer)
        page = get(query(room=room)).json
        self.assertEqual(len(page["messages"]), 100)
        self.assertTrue(page["next"])
        self.assertEqual([m["text"] for m in page["messages"]], [str(i) for i in range(100)])
        newest = get(query(room=room, order="desc", limit=1)).json["messages"]
        self.assertEqual([m["text"] for m in newest], ["100"])

    def test_lines(self):
        room = fresh("room")
        items = [{"sender": "a", "room": room, "text": f"{i}\n小"} for i in range(700)]
        for part in (items[:350], items[350:]):
            self.assertEqual(post({"messages": part}, path="/messages/batch").status, 200)
        for accept in ["application/x-ndjson", "application/x-ndjson, application/json;q=0.5"]:
            with self.subTest(accept):
                answer = get(query(room=room), Accept=accept)
                self.assertEqual(answer.status, 200, answer)
                self.assertEqual(answer.type, "application/x-ndjson")
                self.check_headers(answer)
                self.assertTrue(answer.body.endswith(b"\n"))
                lines = [json.loads(line) for line in answer.body.decode().split("\n")[:-1]]
                self.assertEqual([line["text"] for line in lines], [item["text"] for item in items])
                self.check_message(lines[0], items[0])
        limited = get(query(room=room, limit=5, order="desc"), Accept="application/x-ndjson")
        self.assertEqual([json.loads(line)["text"] for line in limited.body.splitlines()],
                         [item["text"] for item in items[:-6:-1]])
        none = get(query(room=fresh("room")), Accept="application/x-ndjson")
        self.assertEqual((none.status, none.body), (200, b""))
        for wildcard in ["*/*", "application/*"]:
            self.assertEqual(get(query(room=room, limit=1), Accept=wildcard).type, "application/json")
        self.check_problem(get("/messages?limit=0", Accept="application/x-ndjson"), 422, None, "limit")
        self.check_problem(get("/messages?x=0", Accept="application/x-ndjson"), 400)

    def test_get_one(self):
        shown = self.sent[0]
        answer = get("/messages/" + shown["id"])
        self.assertEqual((answer.status, answer.json), (200, shown))
        self.check_headers(answer)
        for bad in ["0" * 36, shown["id"].upper(), shown["id"][:-1], shown["id"] + "0", "x",
                    "i" * 36, "%00", "%2F", "..", "a%0D%0Ab"]:
            with self.subTest(bad):
                answer = get("/messages/" + bad)
                self.assertIn(answer.status, (404, 400) if bad == "%00" else (404,), answer)
                self.check_problem(answer, answer.status)
                if bad != "%00":
                    self.check_headers(answer)
        self.check_problem(get(f"/messages/{shown['id']}?x=1"), 400)


class SessionTest(ContractTest):
    def test_the_token_of_an_answer_covers_what_it_says(self):
        answer = post(message())
        mine = token_heads(answer["ChatChain-Session"])
        status = get("/nodes", node.address).json["self"]
        self.assertEqual(set(mine), {(head[0], head[1]) for head in status["heads"]})
        for origin, epoch, seq, chain in status["heads"]:
            self.assertLessEqual(mine[origin, epoch][0], seq)
        following = get(query(limit=1), ChatChain_Session=answer["ChatChain-Session"])
        self.assertEqual(following.status, 200)
        self.assertIsNone(following["ChatChain-Stale"])
        self.assertIsNone(following["ChatChain-Lost"])

    def test_bad_tokens_are_400_everywhere(self):
        session = post(message())["ChatChain-Session"]
        feed = get(query(sender=fresh())).json["after"]
        shown = self.send()
        room = fresh("room")
        bad_tokens = {"empty": "", "garbage": "garbage", "not base64url": "a+b/c=", "cut": session[:-1],
                      "longer": session + "A", "padded": session + "=",
                      "changed": session[:12] + ("A" if session[12] != "A" else "B") + session[13:],
                      "a feed token": feed, "another cluster's": token("other", "S", []),
                      "another cluster's with the same heads":
                          token("other", "S", get("/nodes", node.address).json["self"]["heads"]),
                      "60 kB": "A" * 60_000}
        for why, bad in bad_tokens.items():
            for name, answer in [
                    ("list", get(query(limit=1), ChatChain_Session=bad)),
                    ("one", get("/messages/" + shown["id"], ChatChain_Session=bad)),
                    ("lines", get(query(limit=1), ChatChain_Session=bad, Accept="application/x-ndjson")),
                    ("send", post({"sender": "a", "room": room, "text": "x"}, ChatChain_Session=bad)),
                    ("batch", post({"messages": [{"sender": "a", "room": room, "text": "x"}]},
                                   path="/messages/batch", ChatChain_Session=bad))]:
                with self.subTest(f"{why}: {name}"):
                    if why == "60 kB" and answer.status == 431:
                        continue  # over the limit of header fields
                    self.check_problem(answer, 400)
        self.assertEqual(get(query(room=room)).json["messages"], [])

    def test_consistency(self):
        session = post(message())["ChatChain-Session"]
        strict = get(query(limit=1), ChatChain_Session=session, ChatChain_Consistency="strict")
        self.assertEqual(strict.status, 200, strict)
        self.assertEqual(get(query(limit=1), ChatChain_Consistency="strict").status, 200)
        for bad in ["eventual", "", "strict, strict"]:
            with self.subTest(bad):
                self.check_problem(get(query(limit=1), ChatChain_Consistency=bad), 422, "invalid",
                                   "ChatChain-Consistency")

    @only_node
    def test_what_exists_nowhere_is_lost(self):
        # A node without peers has asked all of them.
        heads = get("/nodes").json["self"]["heads"]
        for why, extra in [("another origin's", [["ghost", "00000001a1b2c3d4", 5, "00" * 32]]),
                           ("an older epoch's", [["0", "00000000a1b2c3d4", 5, "00" * 32]])]:
            with self.subTest(why):
                begin = time.monotonic()
                answer = get(query(limit=1), ChatChain_Session=token(CLUSTER, "S", heads + extra))
                self.assertLess(time.monotonic() - begin, 3)
                self.assertEqual(answer.status, 200, answer)
                self.assertEqual(answer["ChatChain-Lost"], "1", answer)
                self.assertNotIn((extra[0][0], extra[0][1]), token_heads(answer["ChatChain-Session"]))

    @only_node
    def test_a_token_beyond_the_own_epoch_is_answered_in_bounded_time(self):
        heads = get("/nodes").json["self"]["heads"]
        beyond = [[origin, epoch, seq + 1000, chain] for origin, epoch, seq, chain in heads]
        begin = time.monotonic()
        answer = get(query(limit=1), ChatChain_Session=token(CLUSTER, "S", beyond))
        self.assertLess(time.monotonic() - begin, 3)
        self.assertEqual(answer.status, 200, answer)
        self.assertTrue(answer["ChatChain-Lost"] == "1" or answer["ChatChain-Stale"] == "1", answer)
        self.send()

    @only_node
    def test_the_greatest_numbers_do_no_harm(self):
        greatest = [["ghost", "f" * 16, 2**63 - 1, "ff" * 32], ["0", "f" * 16, 2**63 - 1, "ff" * 32]]
        answer = get(query(limit=1), ChatChain_Session=token(CLUSTER, "S", greatest))
        self.assertEqual(answer.status, 200, answer)
        too_great = [["ghost", "f" * 16, 2**63, "ff" * 32]]
        self.check_problem(get(query(limit=1), ChatChain_Session=token(CLUSTER, "S", too_great)), 400)
        self.send()


class RouteTest(ContractTest):
    def routes(self):
        shared = {"/messages": {"GET", "HEAD", "POST"}, "/messages/batch": {"POST"},
                  "/messages/" + "0" * 36: {"GET", "HEAD"}, "/healthz": {"GET", "HEAD"},
                  "/readyz": {"GET", "HEAD"}, "/metrics": {"GET", "HEAD"}, "/version": {"GET", "HEAD"}}
        own = {"node": {"/nodes": {"GET", "HEAD"}, "/sync": {"POST"}},
               "proxy": {"/network": {"GET", "HEAD"}}}[VIA]
        return {**shared, **own}

    def test_405_with_allow(self):
        for path, methods in self.routes().items():
            for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"]:
                if method in methods or path == "/messages/batch" and method in ("GET", "HEAD"):
                    continue  # GET /messages/batch is GET /messages/{id}, or a method of the literal path
                with self.subTest(f"{method} {path}"):
                    answer = call(base, method, path)
                    self.assertEqual(answer.status, 405, answer)
                    allowed = {name.strip() for name in (answer["Allow"] or "").split(",")}
                    self.assertEqual(allowed - {"OPTIONS"}, methods)
                    if method != "HEAD":
                        self.check_problem(answer, 405)

    def test_404(self):
        only_there = ["/network"] if VIA == "node" else ["/nodes"]
        for path in ["/x", "/messages/", "/messages//", "/Messages", "/MESSAGES", "/messages/batch/",
                     "/messages/" + "0" * 36 + "/", "/healthz/", "/readyz/", "/metrics/", "/version/",
                     "//messages", "/messages/a/b", "/nodes/", "/%6Dessagesx", *only_there]:
            with self.subTest(path):
                self.check_problem(get(path), 404)
        post_only = "/network" if VIA == "node" else "/sync"
        self.check_problem(post({}, path=post_only), 404)

    def test_head_is_get_without_a_body(self):
        shown = self.send()
        targets = [query(limit=1), "/messages/" + shown["id"], "/healthz", "/readyz", "/version", "/metrics",
                   "/messages/" + "0" * 36, "/messages?x=1"]
        targets += ["/nodes"] if VIA == "node" else ["/network"]
        for target in targets:
            with self.subTest(target):
                got, head = get(target), call(base, "HEAD", target)
                self.assertEqual(head.status, got.status)
                self.assertEqual(head.body, b"")
                self.assertEqual(head["Content-Type"], got["Content-Type"])
                if target not in ("/metrics", "/network", "/nodes"):
                    self.assertEqual(head["Content-Length"], got["Content-Length"])

    def test_parameters_are_refused_where_there_are_none(self):
        for path in ["/healthz", "/readyz", "/metrics", "/version",
                     *(["/nodes"] if VIA == "node" else ["/network"])]:
            with self.subTest(path):
                self.check_problem(get(path + "?x=1"), 400)

    @only_node
    def test_every_answer_of_a_node_names_it(self):
        for why, answer in [
                ("list", get(query(limit=1))), ("healthz", get("/healthz")), ("readyz", get("/readyz")),
                ("metrics", get("/metrics")), ("version", get("/version")), ("nodes", get("/nodes")),
                ("404 path", get("/x")), ("405", call(base, "PUT", "/messages")),
                ("415", post(message(), Content_Type="text/plain")), ("400", get("/messages?x=1")),
                ("404 id", get("/messages/x")), ("sync 422", post({}, path="/sync")),
                ("413", post(" " * (MIB + 1))), ("bad path", get("/messages/%zz")),
                ("options", call(base, "OPTIONS", "/messages"))]:
            with self.subTest(why):
                self.assertEqual(answer["ChatChain-Node"], "0", answer)

    def test_options_without_cors(self):
        answer = call(base, "OPTIONS", "/messages", None,
                      {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"})
        self.assertEqual(answer.status, 204, answer)
        self.assertIsNone(answer["Access-Control-Allow-Origin"])
        self.assertIsNone(get(query(limit=1), Origin="https://evil.example")["Access-Control-Allow-Origin"])

    def test_cors(self):
        origins = 'cors_origins = ["https://chat.example"]\n'
        allowed = world.node("0", config=f"[node]\n{origins}")
        wait_ready(allowed.address)
        address = front(allowed, config=f"[client]\n{origins}")
        for origin, ok in [("https://chat.example", True), ("https://evil.example", False),
                           ("http://chat.example", False), ("https://chat.example.evil", False),
                           ("null", False)]:
            with self.subTest(origin):
                flight = call(address, "OPTIONS", "/messages", None, {
                    "Origin": origin, "Access-Control-Request-Method": "POST",
                    "Access-Control-Request-Headers": "content-type, idempotency-key, chatchain-session"})
                self.assertEqual(flight.status, 204, flight)
                answer = get(query(limit=1), address, Origin=origin)
                sent = post(message(), address, Origin=origin)
                wanted = origin if ok else None
                for each in (flight, answer, sent):
                    self.assertEqual(each["Access-Control-Allow-Origin"], wanted, each)
                if not ok:
                    continue
                self.assertIn("POST", flight["Access-Control-Allow-Methods"])
                for name in ("content-type", "idempotency-key", "chatchain-session"):
                    self.assertIn(name, flight["Access-Control-Allow-Headers"].lower())
                exposed = answer["Access-Control-Expose-Headers"].lower()
                for name in ("chatchain-session", "chatchain-node", "chatchain-stale", "chatchain-lost",
                             "chatchain-attempts", "location", "link", "retry-after"):
                    self.assertIn(name, exposed)


class StatusTest(ContractTest):
    def test_healthz_and_version(self):
        self.assertEqual(get("/healthz").status, 200)
        version = get("/version")
        self.assertEqual(version.status, 200)
        self.assertTrue(version.json["version"])

    def test_readyz(self):
        answer = get("/readyz")
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.json["state"], "ready")
        if VIA == "node":
            self.send()
            self.assertEqual(get("/readyz").json["heads"], get("/nodes").json["self"]["heads"])
            self.check_heads(get("/readyz").json["heads"])

    def check_heads(self, heads):
        for origin, epoch, seq, chain in heads:
            self.assertRegex(origin, r"^[A-Za-z0-9_-]{1,64}$")
            self.assertRegex(epoch, HEX16)
            self.assertRegex(chain, HEX64)
            self.assertGreaterEqual(seq, 1)

    def test_metrics(self):
        self.send()
        answer = get("/metrics")
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.type, "text/plain")
        text = answer.body.decode()
        self.assertTrue(text.endswith("\n"))
        types, samples = {}, set()
        sample = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*\})? '
                            r'(-?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|\+?Inf|NaN))')
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                self.assertNotIn(name, types, "TYPE given twice")
                self.assertIn(kind, ("counter", "gauge", "histogram", "summary"))
                types[name] = kind
            elif line.startswith("# HELP "):
                self.assertGreater(len(line.split(" ", 3)[3]), 3, line)
            elif line:
                found = sample.fullmatch(line)
                self.assertTrue(found, line)
                name = found.group(1)
                family = next((name[:-len(end)] for end in ("_bucket", "_sum", "_count")
                               if name.endswith(end) and name[:-len(end)] in types), name)
                self.assertIn(family, types, "no TYPE: " + line)
                self.assertTrue(name.startswith("chatchain_") or name.startswith("process_"), line)
                if types[family] == "counter":
                    self.assertTrue(name.endswith("_total"), line)
                self.assertNotIn(found.group(1, 2), samples, "twice: " + line)
                samples.add(found.group(1, 2))
        self.assertTrue(samples)

    @only_node
    def test_nodes(self):
        before = get("/nodes").json["self"]["messages"]
        self.send()
        answer = get("/nodes")
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(set(answer.json), {"self", "peers"})
        mine = answer.json["self"]
        self.assertLessEqual({"id", "address", "epoch", "version", "uptime_s", "state", "messages", "heads",
                              "digest", "forks"}, set(mine))
        self.assertEqual((mine["id"], mine["address"], mine["state"]), ("0", node.address, "ready"))
        self.assertEqual(mine["messages"], before + 1)
        self.assertRegex(mine["epoch"], HEX16)
        self.check_heads(mine["heads"])
        self.assertIn(("0", mine["epoch"]), [(head[0], head[1]) for head in mine["heads"]])
        self.assertEqual(mine["digest"], heads_digest(mine["heads"]).hex())
        self.assertEqual(mine["forks"], [])
        self.assertEqual(mine["version"], get("/version").json["version"])
        self.assertEqual(answer.json["peers"], [])

    @only_node
    def test_peers(self):
        dead, port = Reserved(), Reserved()
        first = world.node("0", [dead.address, port.address])
        port.release()
        second = world.node("1", [first.address], listen=port.address)

        def peers():
            return {peer["address"]: peer for peer in get("/nodes", first.address).json["peers"]}
        wait_until(lambda: peers()[second.address]["state"] == "up", 15, "the live peer is up")
        live, gone = peers()[second.address], peers()[dead.address]
        for peer in (live, gone):
            self.assertEqual(set(peer), {"id", "address", "state", "last_sync_at", "last_error", "lag"})
        self.assertEqual((live["id"], live["last_error"]), ("1", None))
        self.assertRegex(live["last_sync_at"], TIME)
        wait_until(lambda: peers()[dead.address]["state"] in ("suspect", "down"), 15, "the dead one is not up")
        self.assertTrue(peers()[dead.address]["last_error"])
        self.assertIsNone(gone["last_sync_at"])
        wait_ready(first.address)
        dead.release()

    @only_proxy
    def test_network(self):
        answer = get("/network")
        self.assertEqual(answer.status, 200, answer)
        network = answer.json
        self.assertEqual(set(network), {"nodes", "ready", "total", "converged", "strategy"})
        self.assertEqual((network["ready"], network["total"]), (1, 1))
        self.assertEqual(network["strategy"], {"read": "hedged", "write": "fanout"})
        self.assertIs(network["converged"], True)
        [only] = network["nodes"]
        self.assertEqual(set(only), {"id", "address", "state", "breaker", "latency_ms", "messages", "lag",
                                     "last_error"})
        self.assertEqual((only["id"], only["address"], only["state"]), ("0", node.address, "ready"))
        self.assertEqual(set(only["latency_ms"]), {"p50", "p99"})

    @only_proxy
    def test_with_every_node_dead(self):
        dead = Reserved()
        proxy = world.proxy([dead.address])
        for why, answer in [("send", post(message(), proxy.address)),
                            ("batch", post({"messages": [message()]}, proxy.address, "/messages/batch")),
                            ("list", get(query(limit=1), proxy.address)),
                            ("one", get("/messages/" + "0" * 36, proxy.address))]:
            with self.subTest(why):
                self.check_problem(answer, 503)
                self.assertRegex(answer["Retry-After"] or "", r"^\d+$")
                self.assertIn(dead.address, answer.json["detail"])
        self.check_problem(post("{", proxy.address), 400)
        self.check_problem(post({**message(), "text": ""}, proxy.address), 422, "invalid", "text")
        self.assertEqual(get("/healthz", proxy.address).status, 200)
        self.assertEqual(get("/readyz", proxy.address).status, 503)
        network = get("/network", proxy.address)
        self.assertEqual(network.status, 200)
        self.assertEqual((network.json["ready"], network.json["total"]), (0, 1))
        self.assertTrue(network.json["nodes"][0]["last_error"])
        dead.release()


class RestartTest(ContractTest):
    def test_what_was_acknowledged_is_there_after_a_restart(self):
        data = world.data_dir()
        first = world.node("0", data_dir=data)
        wait_ready(first.address)
        sent, key = message(sender=fresh(), timestamp=5), fresh("key")
        created = post(sent, first.address, Idempotency_Key=key)
        epoch = get("/nodes", first.address).json["self"]["epoch"]
        page = get(query(limit=1), first.address)
        post(message(), first.address)
        cursor = get(query(limit=1), first.address).json["next"]
        self.assertEqual(world.end(first), 0)

        again = world.node("0", data_dir=data)
        wait_ready(again.address)
        address = front(again)
        self.assertEqual(get("/messages/" + created.json["id"], address).json, created.json)
        replay = post(sent, address, Idempotency_Key=key)
        self.assertEqual((replay.status, replay.json), (200, created.json))
        self.check_problem(post({**sent, "text": "x"}, address, Idempotency_Key=key), 422, "key-reused")
        session = get(query(limit=1), address, ChatChain_Session=page["ChatChain-Session"],
                      ChatChain_Consistency="strict")
        self.assertEqual((session.status, session["ChatChain-Lost"]), (200, None), session)
        self.assertEqual(get(query(limit=1, cursor=cursor), address).status, 200)
        post(message(), address)
        mine = get("/nodes", again.address).json["self"]
        self.assertNotEqual(mine["epoch"], epoch)
        self.assertGreater(mine["epoch"][:8], epoch[:8])
        self.assertEqual(len(mine["heads"]), 2)
        self.assertEqual(mine["messages"], 3)

    def test_after_a_kill_too(self):
        data = world.data_dir()
        first = world.node("0", data_dir=data)
        wait_ready(first.address)
        sender = fresh()
        ids = [post(message(sender=sender), first.address).json["id"] for _ in range(20)]
        world.programs.remove(first)
        first.kill()
        again = world.node("0", data_dir=data)
        wait_ready(again.address)
        shown = get(query(sender=sender), front(again)).json["messages"]
        self.assertEqual([each["id"] for each in shown], ids)


class SyncTest(ContractTest):
    """POST /sync, as a peer of another program would use it."""

    def sync(self, address=None, **members):
        body = {"v": 1, "cluster": CLUSTER, "node": "tester", "have": [], "limit": 1000,
                "max_bytes": 8 * MIB, "wait_ms": 0, "relay": True, **members}
        return post({name: value for name, value in body.items() if value is not ...}, address or node.address,
                    "/sync")

    def check_records(self, records, have=()):
        """Digest and chain of every record, computed anew. Returns the heads reached."""
        heads = {(origin, epoch): (seq, bytes.fromhex(chain)) for origin, epoch, seq, chain in have}
        for record in records:
            self.assertLessEqual({"origin", "epoch", "seq", "kind", "stamp", "digest", "chain"}, set(record))
            key = (record["origin"], record["epoch"])
            seq, chain = heads.get(key, (0, chain_seed(CLUSTER, *key)))
            self.assertEqual(record["seq"], seq + 1)
            self.assertRegex(record["stamp"], HEX16)
            if "message" in record:
                self.assertEqual(record["digest"], sha256(canonical(record["message"])).hex())
            chain = next_chain(chain, *key, record["seq"], record["kind"], record["stamp"],
                               bytes.fromhex(record["digest"]))
            self.assertEqual(record["chain"], chain.hex())
            heads[key] = (record["seq"], chain)
        return [[origin, epoch, seq, chain.hex()] for (origin, epoch), (seq, chain) in heads.items()]

    @only_node
    def test_a_pull(self):
        shown = self.send(sender=fresh(), timestamp=5)
        answer = self.sync()
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.type, "application/json")
        body = answer.json
        self.assertLessEqual({"v", "node", "now", "heads", "forks", "more", "records"}, set(body))
        self.assertEqual((body["v"], body["node"], body["forks"]), (1, "0", []))
        self.assertLess(abs(body["now"] - time.time() * 1000), 10_000)
        records, have = body["records"], []
        have = self.check_records(records)
        while body["more"]:
            body = self.sync(have=have).json
            have = self.check_records(body["records"], have)
            records += body["records"]
        self.assertEqual(sorted(have), sorted(body["heads"]))
        [mine] = [r for r in records if r["message"]["sender"] == shown["sender"]]
        self.assertEqual(message_id(mine["message"], bytes.fromhex(mine["digest"])), shown["id"])
        self.assertEqual(self.sync(have=have).json["records"], [])

    @only_node
    def test_bounds(self):
        for _ in range(3):
            self.send()
        body = self.sync(limit=2).json
        self.assertEqual((len(body["records"]), body["more"]), (2, True))
        body = self.sync(max_bytes=1).json
        self.assertEqual((len(body["records"]), body["more"]), (1, True))
        have = self.check_records(body["records"])
        again = self.sync(have=have, limit=1).json["records"]
        self.check_records(again, have)
        self.assertEqual(self.sync(limit=10**9, max_bytes=10**12).status, 200)

    @only_node
    def test_a_long_poll_ends_with_the_first_record(self):
        have = self.sync().json["heads"]
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            begin = time.monotonic()
            waiting = pool.submit(self.sync, have=have, wait_ms=10_000)
            shown = self.send(sender=fresh())
            answer = waiting.result()
        self.assertLess(time.monotonic() - begin, 5)
        records = answer.json["records"]
        self.check_records(records, have)
        self.assertIn(shown["sender"], [record["message"]["sender"] for record in records])
        begin = time.monotonic()
        self.assertEqual(self.sync(have=self.sync().json["heads"], wait_ms=300).json["records"], [])
        self.assertGreaterEqual(time.monotonic() - begin, 0.25)

    @only_node
    def test_refusals(self):
        self.check_problem(self.sync(cluster="other"), 403)
        self.check_problem(self.sync(cluster=""), 403)
        head = ["0", "00000001a1b2c3d4", 1, "a" * 64]
        for member, values in {"v": [..., 2, "1"], "cluster": [..., 5], "node": [..., "", "a b", 5],
                               "have": [..., {}, [1], [head[:3]], [[*head, 1]], [["0", "1", 1, "a" * 64]],
                                        [["0", head[1], 0, head[3]]], [["0", head[1], 2**63, head[3]]],
                                        [["0", head[1], 1, "A" * 64]], [head, head]],
                               "limit": [0, "5", 1.5], "max_bytes": [0, None], "wait_ms": [-1, "0"],
                               "relay": [1, None]}.items():
            for value in values:
                with self.subTest(f"{member}: {value}"):
                    self.check_problem(self.sync(**{member: value}), 422, "invalid", member)
        for body in ["", "[]", "{", '{"v":1,"v":1}']:
            with self.subTest(body):
                self.check_problem(post(body, node.address, "/sync"), 400)
        self.check_problem(post("{}", node.address, "/sync", Content_Type="text/plain"), 415)

    @only_node
    def test_unknown_members_are_ignored(self):
        self.assertEqual(self.sync(future={"a": [1]}, instance="x", epoch="00000001a1b2c3d4", forks=[]).status,
                         200)

    @only_node
    def test_a_fork_is_named_and_not_sent(self):
        alone = world.node("0")
        self.send(alone.address)
        self.send(alone.address)
        # The head of a clone: same position, another chain. It names an epoch that is not the node's own.
        records = FakeRecords(CLUSTER, "fork", "00000001a1b2c3d4")
        records.message(message(text="one branch"), "k")
        with FakePeer("9", CLUSTER, records) as peer:
            holder = world.node("1", [peer.address])
            wait_until(lambda: get("/nodes", holder.address).json["self"]["messages"] == 1, 15, "pulled")
            other = FakeRecords(CLUSTER, "fork", "00000001a1b2c3d4")
            other.message(message(text="the other"), "k")
            body = self.sync(holder.address, have=other.heads()).json
            self.assertEqual([r for r in body["records"] if r["origin"] == "fork"], [])
            self.assertEqual(body["forks"], [["fork", "00000001a1b2c3d4"]])

            def status():
                return get("/nodes", holder.address).json["self"]
            wait_until(lambda: status()["forks"] == [["fork", "00000001a1b2c3d4"]], 15, "frozen")
            # Neither branch is lost: the holder announces its own copy in its own log.
            wait_until(lambda: any(h[0] == "1" for h in status()["heads"]), 15, "announced anew")
            self.assertNotIn("fork", [head[0] for head in status()["heads"]])
            self.assertEqual(status()["digest"], heads_digest(status()["heads"]).hex())
            shown = get("/messages", holder.address).json["messages"]
            self.assertEqual([m["text"] for m in shown], ["one branch"])

    @only_node
    def test_unknown_kinds_are_kept_and_relayed_and_not_shown(self):
        records = FakeRecords(CLUSTER, "newer", "00000001a1b2c3d4")
        records.message(message(text="first"), "k1", future={"x": 1})
        records.unknown("x.example", b"\x00\xff\x01payload")
        records.message(message(text="second"), "k2")
        with FakePeer("9", CLUSTER, records) as peer:
            holder = world.node("0", [peer.address])

            def texts():
                return [m["text"] for m in get("/messages", holder.address).json["messages"]]
            wait_until(lambda: len(texts()) == 2, 15, "both messages are here")
            self.assertEqual(texts(), ["first", "second"])
            body = self.sync(holder.address).json
            self.check_records(body["records"])
            wanted = [{key: value for key, value in record.items()} for record in records.list]
            for record in wanted:
                record.get("message", {}).pop("future", None)
            self.assertEqual(body["records"], wanted)
            mine = get("/nodes", holder.address).json["self"]
            self.assertEqual(mine["messages"], 2)
            self.assertEqual(mine["heads"], records.heads())
            # Through a third node unchanged.
            third = world.node("2", [holder.address])
            wait_until(lambda: get("/nodes", third.address).json["self"]["digest"] == mine["digest"], 15,
                       "the third node has all")
            self.assertEqual(self.sync(third.address).json["records"], wanted)

    @only_node
    def test_bad_records_are_not_taken_and_others_go_on(self):
        def broken(record, **changes):
            record.update(changes)
        good = FakeRecords(CLUSTER, "good", "00000001a1b2c3d4")
        for i in range(3):
            good.message(message(sender="good", text=str(i)), f"k{i}")
        faults = {
            "chain": lambda r: broken(r, chain="ab" * 32),
            "digest": lambda r: broken(r, digest="ab" * 32),
            "stamp": lambda r: broken(r, stamp="0000000000000001"),
            "kind": lambda r: broken(r, kind="other"),
            "seq": lambda r: broken(r, seq=7),
            "text": lambda r: r["message"].update(text="changed"),
            "invalid": lambda r: r["message"].update(sender="a\n"),
            "nokey": lambda r: r["message"].pop("key"),
            "nobody": lambda r: r.pop("message"),
            "garbage": lambda r: r.clear(),
        }
        lists = [good]
        for name, fault in faults.items():
            bad = FakeRecords(CLUSTER, "bad-" + name, "00000001a1b2c3d4")
            for i in range(3):
                bad.message(message(sender=name, text=str(i)), f"k{i}")
            fault(bad.list[1])
            lists.append(bad)
        with FakePeer("9", CLUSTER, *lists) as peer:
            holder = world.node("0", [peer.address])

            def mine():
                return get("/nodes", holder.address).json["self"]
            wait_until(lambda: mine()["messages"] >= 3 + len(faults), 15, "what is good is here")
            # Two more rounds: nothing after a bad record has come in.
            asked = peer.asked
            wait_until(lambda: peer.asked >= asked + 3, 15, "asked again")
            self.assertEqual(mine()["messages"], 3 + len(faults))
            self.assertEqual({head[0]: head[2] for head in mine()["heads"]},
                             {"good": 3, **{"bad-" + name: 1 for name in faults}})

    @only_node
    def test_another_clusters_peer_is_not_pulled_from(self):
        records = FakeRecords("other", "far", "00000001a1b2c3d4")
        records.message(message(text="far"), "k")
        with FakePeer("9", CLUSTER, records) as peer:  # it lies about its cluster
            holder = world.node("0", [peer.address])
            wait_until(lambda: peer.asked >= 3, 15, "asked")
            self.assertEqual(get("/nodes", holder.address).json["self"]["messages"], 0)

    @only_node
    def test_what_the_puller_holds_by_another_record_comes_without_its_body(self):
        port = Reserved()
        first = world.node("0", [port.address])
        port.release()
        second = world.node("1", [first.address], listen=port.address)
        sent, key = message(sender=fresh()), fresh("key")
        headers = {"Idempotency_Key": key, "ChatChain_Stamp": "018b5389787b0000"}
        # At both at once, as a proxy does: two records of one message.
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda each: post(sent, each.address, **headers), (first, second)))
        self.assertEqual(len({answer.json["id"] for answer in answers}), 1)

        def status(each):
            return get("/nodes", each.address).json["self"]
        wait_until(lambda: status(first)["digest"] == status(second)["digest"], 15, "they agree")
        heads = status(first)["heads"]
        self.assertEqual(status(first)["messages"], 1)
        if len(heads) == 2:  # else one heard of it before it was asked itself
            body = self.sync(first.address, have=heads[:1]).json
            [record] = body["records"]
            self.assertNotIn("message", record)
            self.check_records([record], heads[:1])


class HttpTest(ContractTest):
    """Framing that a careless server lets through."""

    def raw(self, data):
        with connect(base) as connection:
            connection.sendall(data)
            return read_head(connection.makefile("rb"))[0]

    def test_bad_framing_is_refused(self):
        body = json.dumps(message()).encode()
        head = b"POST /messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        length = b"Content-Length: %d\r\n" % len(body)
        for why, data in {
                "two lengths": head + length + b"Content-Length: 1\r\n\r\n" + body,
                "length and chunked": head + length + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                "negative length": head + b"Content-Length: -1\r\n\r\n",
                "length with a sign": head + b"Content-Length: +5\r\n\r\n" + body,
                "unknown coding": head + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
                "blank before the colon": head + b"X : y\r\n" + length + b"\r\n" + body,
                "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
                "two hosts": b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
                "NUL in a field": b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
                "not HTTP": b"hello\r\n\r\n",
                "HTTP/2": b"GET /healthz HTTP/2.0\r\nHost: a\r\n\r\n"}.items():
            with self.subTest(why):
                self.assertIn(self.raw(data), (400, 501, 505))

    def test_keep_alive_and_pipelining(self):
        with connect(base) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
            stream = connection.makefile("rb")
            for _ in range(3):
                status, headers = read_head(stream)
                self.assertEqual(status, 200)
                stream.read(int(headers["content-length"]))


def main():
    global BIN_DIR, VIA
    parser = argparse.ArgumentParser(description="Checks the HTTP contract against the real programs.")
    parser.add_argument("--bin-dir", required=True)
    parser.add_argument("--via", choices=["node", "proxy"], default="node")
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("tests", nargs="*")
    options = parser.parse_args()
    BIN_DIR, VIA = options.bin_dir, options.via
    unittest.main(argv=[sys.argv[0], *options.tests], verbosity=2 if options.verbose else 1)


if __name__ == "__main__":
    main()
