# SPDX-License-Identifier: MIT
"""The clients of a run: they write to and read from programs that fail, and put down in a history
what they asked and what they were told. Each has a thread of its own."""
import base64
import http.client
import itertools
import json
import os
import random
import socket
import struct
import threading
import urllib.parse

import history

TRY_S = 7          # one try; a proxy gives up after 5
GIVE_UP_S = 40     # one message, over all its tries
LEAVE_ALONE_S = 0.3  # what has just failed
SILENCE_S = 20     # of a stream, whose heartbeat comes every 15
ROOM_SIZE = 60     # messages, roughly: a room can always be read whole, and often
TEXTS = ["", " \t\n\r line ends", " \"quotes\" \\ and / \b\f\x01\x7f", " Grüße aus Köln",
         " \U0001F600 中文 عر", "  trailing space ", "x" * 3000]


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)

    def __getitem__(self, name):
        return self.headers.get(name)


class Connection:
    """A connection that is kept and opened again after a failure. Of one thread."""

    def __init__(self, address, timeout=TRY_S):
        self.address = address
        self._http = http.client.HTTPConnection(address, timeout=timeout)

    def request(self, method, target, body=None, headers=None):
        """None: no answer, so nobody knows what was done."""
        headers = dict(headers or {})
        if body is not None:
            body = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        try:
            self._http.request(method, target, body, headers)
            response = self._http.getresponse()
            return Answer(response.status, response.headers, response.read())
        except (OSError, http.client.HTTPException):
            self._http.close()
            return None

    def close(self):
        self._http.close()


class Care:
    """How many copies a sender has to ask for. Before a disk is destroyed, two: what only that disk
    has is allowed to go with it, and acknowledged messages must not be among it."""

    def __init__(self):
        self._changed = threading.Condition()
        self._needs = None
        self._in_flight = 0  # sends that asked for one copy

    def begin(self):
        with self._changed:
            if self._needs is None:
                self._in_flight += 1
            return self._needs

    def end(self, needs):
        if needs is None:
            with self._changed:
                self._in_flight -= 1
                self._changed.notify_all()

    def ask_for_two(self, patience):
        """Returns when no send of one copy is under way; False: not in time."""
        with self._changed:
            self._needs = 2
            return self._changed.wait_for(lambda: self._in_flight == 0, patience)

    def ask_for_one(self):
        with self._changed:
            self._needs = None


class Rooms:
    """Rooms that clients share, each used for a while. Thread-safe."""

    def __init__(self, groups):
        self._counters = [itertools.count() for _ in range(groups)]
        self._names = [f"room-{group}-0" for group in range(groups)]

    def for_send(self, group):
        name = f"room-{group}-{next(self._counters[group]) // ROOM_SIZE}"
        self._names[group] = name
        return name

    def for_read(self, group, rng):
        newest = int(self._names[group].rsplit("-", 1)[1])
        if rng.random() < 0.3:
            newest = rng.randrange(newest + 1)
        return f"room-{group}-{newest}"


def new_message(rng, sender, room):
    message = {"sender": sender, "room": room, "text": f"{rng.getrandbits(64):016x}{rng.choice(TEXTS)}"}
    if rng.random() < 0.5:
        message["timestamp"] = rng.randrange(-5, 2_000_000_000)
    return message


class Worker:
    """A thread that runs run() and is asked to stop."""

    def __init__(self, name):
        self.name = name
        self.stopping = threading.Event()
        self.error = None
        self._thread = threading.Thread(target=self._guarded, name=name, daemon=True)

    def start(self):
        self._thread.start()
        return self

    def stop(self):
        self.stopping.set()

    def join(self, patience):
        self._thread.join(patience)
        if self._thread.is_alive():
            self.error = self.error or RuntimeError("does not end")
        if self.error:
            raise RuntimeError(f"{self.name}: {self.error!r}") from self.error

    def _guarded(self):
        try:
            self.run()
        except Exception as error:  # a bug of the test must fail the test
            self.error = error
            raise


class Client(Worker):
    """Sends, reads and sends again, with one session token, at addresses that it takes in turn.
    `targets`: [(name, address)]. With `reads` false it only sends."""

    def __init__(self, name, seed, record, targets, care=None, rooms=None, group=0, shared=None,
                 reads=True, retry=True, pause=0.0):
        super().__init__(name)
        self.rng = random.Random(f"{seed} {name}")
        self.record = record
        self.targets = targets
        self.connections = [Connection(address) for _, address in targets]
        self.not_before = [0.0] * len(targets)
        self.care = care or Care()
        self.rooms = rooms or Rooms(1)
        self.group = group if rooms else 0
        # Messages that two clients send at once, each with the same key.
        self.shared = shared
        self.reads = reads
        self.retry = retry
        self.pause = pause
        self.token = None
        self.mine = []  # (message, key, id) that were acknowledged

    def run(self):
        while not self.stopping.is_set():
            kind = self.rng.random()
            if not self.reads or kind < 0.6:
                self._send_one()
            elif kind < 0.85:
                self._list()
            elif self.mine and kind < 0.95:
                self._get()
            elif self.mine:
                message, key, _ = self.rng.choice(self.mine)
                self._send(message, key)
            self.stopping.wait(self.pause)
        for connection in self.connections:
            connection.close()

    def _pick(self):
        order = list(range(len(self.targets)))
        self.rng.shuffle(order)
        ready = [i for i in order if history.now() >= self.not_before[i]]
        return (ready or order)[0]

    def _headers(self):
        return {"ChatChain-Session": self.token} if self.token else {}

    def _ask(self, i, method, target, body=None, headers=None):
        start = history.now()
        answer = self.connections[i].request(method, target, body, headers or self._headers())
        fields = {"start": start, "end": history.now(), "at": self.targets[i][0],
                  "session": self.name}
        if answer is None or answer.status >= 500:
            self.not_before[i] = history.now() + LEAVE_ALONE_S
        elif answer["ChatChain-Session"]:
            self.token = answer["ChatChain-Session"]
        if answer is not None and answer["ChatChain-Stale"]:
            fields["stale"] = True
        if answer is not None and answer["ChatChain-Lost"]:
            fields["lost"] = True
        return answer, fields

    def _send_one(self):
        if self.shared and self.rng.random() < 0.5:
            try:
                message, key = self.shared.popleft()
                return self._send(message, key)
            except IndexError:
                pass
        message = new_message(self.rng, self.name, self.rooms.for_send(self.group))
        key = f"key-{self.rng.getrandbits(96):024x}"
        if self.shared is not None and self.rng.random() < 0.15:
            self.shared.append((message, key))
        self._send(message, key)

    def _send(self, message, key):
        begun = history.now()
        while not self._try(message, key):
            if not self.retry or self.stopping.is_set() or history.now() - begun > GIVE_UP_S:
                return False
            self.stopping.wait(0.02)
        return True

    def _try(self, message, key, **more):
        """`more`: for the history."""
        needs = self.care.begin()
        try:
            headers = {"Idempotency-Key": key, **self._headers()}
            if needs:
                headers["ChatChain-Acks"] = str(needs)
            answer, fields = self._ask(self._pick(), "POST", "/messages", message, headers)
            fields.update(message=message, key=key, status=answer.status if answer else 0, **more)
            if needs:
                fields["needs"] = needs
            if fields["status"] in (200, 201, 202):
                fields["answer"] = answer.json
            elif fields["status"] >= 400:
                fields["said"] = answer.body[:200].decode(errors="replace")
            self.record.write("send", **fields)
        finally:
            self.care.end(needs)
        if fields["status"] not in (200, 201):
            return False
        if len(self.mine) < 1000:
            self.mine.append((message, key, fields["answer"]["id"]))
        return True

    def _list(self):
        room = self.rooms.for_read(self.group, self.rng)
        answer, fields = self._ask(self._pick(), "GET",
                                   "/messages?limit=1000&room=" + urllib.parse.quote(room))
        if answer is None or answer.status != 200:
            return
        page = answer.json
        if page["next"] is None:  # else it is not the whole room
            self.record.write("list", room=room, messages=page["messages"], **fields)

    def _get(self):
        wanted = self.rng.choice(self.mine)[2]
        answer, fields = self._ask(self._pick(), "GET", "/messages/" + wanted)
        if answer is None or answer.status not in (200, 404):
            return
        if answer.status == 200:
            fields["message"] = answer.json
        self.record.write("get", id=wanted, status=answer.status, **fields)


class DirectWriter(Client):
    """Sends to one node only, one message after the other: all that is known of their order is the
    order of that node's log. `incarnation()`: how often the node was started."""

    def __init__(self, name, seed, record, target, incarnation, care):
        super().__init__(name, seed, record, [target], care, reads=False, pause=0.05)
        self._incarnation = incarnation
        self._label = None
        self._number = 0

    def _send_one(self):
        label = f"direct-{self.targets[0][0]}-{self._incarnation()}"
        if label != self._label:
            self._label, self._number = label, 0
        self._number += 1
        message = {"sender": label, "recipient": "all", "text": f"{label}#{self._number}"}
        # The next may only follow when this one is settled.
        while not self._send(message, message["text"]) and not self.stopping.is_set():
            pass

    def _try(self, message, key, **more):
        return super()._try(message, key, process=self._incarnation(), **more)


class Follower(Worker):
    """Follows everything from the beginning, going on elsewhere with its last token when the
    connection ends or its time is over. `way`: poll, stream or socket."""

    def __init__(self, name, seed, record, way, targets):
        super().__init__(name)
        self.rng = random.Random(f"{seed} {name}")
        self.record = record
        self.follow = {"poll": self._poll, "stream": self._stream, "socket": self._socket}[way]
        self.targets = targets
        self.token = "begin"
        self.seen = set()
        self._open = None  # the socket to be shut down by stop()
        self._behind = False

    def run(self):
        at = self.rng.randrange(len(self.targets))
        while not self.stopping.is_set():
            name, address = self.targets[at]
            self._behind = False
            self._write("connect", at=name)
            until = history.now() + self.rng.uniform(3, 15)
            try:
                self.follow(address, until)
            except (OSError, http.client.HTTPException, ValueError, struct.error):
                pass
            finally:
                self._open = None
            at = (at + 1) % len(self.targets)
            self.stopping.wait(LEAVE_ALONE_S)

    def stop(self):
        super().stop()
        opened = self._open
        if opened is not None:
            try:
                opened.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended by itself

    def _write(self, kind, **fields):
        self.record.write("feed", time=history.now(), follower=self.name, kind=kind, **fields)

    def _take(self, message, token):
        self._write("message", message=message)
        self.seen.add(message["id"])
        if token:
            self.token = token

    def _status(self, behind):
        if behind != self._behind:
            self._behind = behind
            self._write("behind" if behind else "caught_up")

    def _over(self, until):
        return self.stopping.is_set() or history.now() >= until

    def _poll(self, address, until):
        connection = Connection(address)
        while not self._over(until):
            answer = connection.request("GET", "/messages/poll?limit=200&wait_ms=1000&after=" + self.token)
            if answer is None or answer.status != 200:
                break
            page = answer.json
            self._status(page.get("behind", False))
            if page.get("gap"):
                self._write("gap")
            for message in page["messages"]:
                self._take(message, None)
            self.token = page["after"]
        connection.close()

    def _stream(self, address, until):
        connection = http.client.HTTPConnection(address, timeout=SILENCE_S)
        connection.connect()
        self._open = connection.sock
        last = {} if self.token == "begin" else {"Last-Event-ID": self.token}
        connection.request("GET", "/messages/stream?after=begin", headers=last)
        response = connection.getresponse()
        fields = {}
        while response.status == 200 and not self._over(until):
            line = response.readline()
            if not line:
                break
            line = line.decode().rstrip("\n")
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
                continue
            event = fields.get("event")
            if event == "message":
                self._take(json.loads(fields["data"]), fields["id"])
            elif event == "status":
                self._status(json.loads(fields["data"])["behind"])
            elif event == "gap":
                self._write("gap")
            self.token = fields.get("id", self.token)
            fields = {}
        connection.close()

    def _socket(self, address, until):
        host, port = address.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=SILENCE_S) as opened:
            self._open = opened
            opened.sendall((f"GET /ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n"
                            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
                            + base64.b64encode(os.urandom(16)).decode() + "\r\n\r\n").encode())
            with opened.makefile("rb") as stream:
                if b" 101 " not in stream.readline():
                    return
                while stream.readline() not in (b"\r\n", b""):
                    pass
                self._frame(opened, 1, json.dumps({"op": "subscribe", "after": self.token}).encode())
                while not self._over(until):
                    opcode, payload = self._read_frame(stream)
                    if opcode == 9:
                        self._frame(opened, 10, payload)
                    elif opcode == 1:
                        self._hear(json.loads(payload))
                    elif opcode == 8:
                        return

    def _hear(self, said):
        op = said["op"]
        if op == "message":
            self._take(said["message"], said["token"])
        elif op == "status":
            self._status(said["behind"])
        elif op == "gap":
            self._write("gap")
        elif op == "subscribed":
            self.token = said["token"]
        elif op == "error":
            raise ValueError(said)

    @staticmethod
    def _frame(opened, opcode, payload):
        mask = os.urandom(4)
        size = struct.pack(">B", 0x80 | len(payload)) if len(payload) < 126 else \
            struct.pack(">BH", 0xFE, len(payload))
        opened.sendall(bytes([0x80 | opcode]) + size + mask
                       + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload)))

    @staticmethod
    def _read_frame(stream):
        """(opcode, payload); the other side does not fragment."""
        opcode, size = struct.unpack(">BB", stream.read(2))
        if size == 126:
            size, = struct.unpack(">H", stream.read(2))
        elif size == 127:
            size, = struct.unpack(">Q", stream.read(8))
        return opcode & 15, stream.read(size)


def read_everything(address, timeout=60):
    """Every message of one program, as an export; None if it does not say all."""
    connection = Connection(address, timeout)
    answer = connection.request("GET", "/messages", headers={"Accept": "application/x-ndjson"})
    connection.close()
    if answer is None or answer.status != 200:
        return None
    return [json.loads(line) for line in answer.body.decode().splitlines()]
