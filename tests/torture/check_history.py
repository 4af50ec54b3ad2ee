#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks the history of a run (see history.py) against what ChatChain promises. It knows nothing but
the history: not the programs, not what was done to them, except which disks were destroyed.

  check_history.py FILE    prints what is wrong, one problem a line; exit code 1 if anything is

Each problem begins with the rule that it breaks:

  truncated            the history has no end, or a line is no JSON
  nothing-tested       no final read, or nothing acknowledged before one
  lost                 acknowledged, and not in a final read
  doubled              a message, or its text, twice in one answer
  changed              shown otherwise than it was sent
  made-up              shown, and never sent by anybody
  id-reused            one id, two messages
  two-results          the same message, acknowledged or shown with two ids
  finals-differ        two programs show different messages, or another order, after healing
  forked               a position was issued twice (no fault of these runs can excuse that)
  refused              a good message was answered with a 4xx
  own-write-not-read   a session does not see what it has written
  read-went-back       a session does not see what it has seen
  place-moved-later    accepted_at of a message grew within a session
  unordered            a list that is not in the order of places
  feed-missed          a follower never got a message that is there
  feed-repeated        a follower got one twice, and was not told `behind` or `gap`
  feed-phantom         a follower got a message that is not there
  feed-order           a follower saw in another order what one process took one after the other

What excuses: an answer marked `stale` or `lost` says itself that it may be old, and after `lost` a
session holds on to that answer only. A message that nobody acknowledged may be lost with a disk.
Answers that came after a power cut, from a program that was not yet ended, count for nothing.
"""
import json
import re
import sys
from collections import Counter

CONTENT = ("sender", "recipient", "room", "text", "timestamp")
# 413 and the like would be errors of the test; 429 and 412 are promises kept.
REFUSALS = {400, 401, 403, 404, 405, 409, 413, 415, 422}
DIRECT = re.compile(r"(direct-[^#]*)#(\d+)")


def content(message):
    return tuple(message.get(name) for name in CONTENT)


def read_history(path):
    """(lines, problem or None)"""
    lines = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                lines.append(json.loads(line))
            except ValueError:
                return lines, f"truncated: line {number} is no JSON"
    if not lines or lines[-1]["op"] != "end":
        return lines, "truncated: the history has no end"
    return lines, None


class Session:
    """What one session has a right to see, by room: {id: written by itself}."""

    def __init__(self):
        self.rooms = {}
        self.places = {}  # id -> accepted_at

    def expect(self, message, own):
        room = self.rooms.setdefault(message.get("room"), {})
        room[message["id"]] = room.get(message["id"], False) or own

    def forget(self):
        self.rooms.clear()
        self.places.clear()


class Follower:
    def __init__(self):
        self.ids = set()
        self.excused = False
        self.numbers = {}  # direct sender -> last number


class Checker:
    def __init__(self):
        self.problems = []
        self.counts = Counter()
        self._sent = {}          # text -> content
        self._id_of = {}         # text -> id
        self._text_of = {}       # id -> text
        self._acknowledged = {}  # text -> time of the first acknowledgement
        self._first_try = {}     # text -> start of the first try
        self._processes = {}     # text -> which were asked to take it
        self._sessions = {}
        self._followers = {}
        self._first_final = None
        self._last_final_texts = None
        self._disks_lost = []
        self._without_power = []  # (from, until)

    def check(self, lines):
        # What was tried is known before it is seen: lines are written when an operation ends.
        for line in lines:
            if line["op"] == "nemesis" and line.get("disk_lost"):
                self._disks_lost.append(line["time"])
            elif line["op"] == "nemesis" and line.get("what") == "power cut":
                self._without_power.append((line["time"], line["until"]))
        for line in lines:
            if line["op"] == "send":
                self._learn(line)
        for line in lines:
            self.counts[line["op"]] += 1
            handler = getattr(self, "_on_" + line["op"], None)
            if handler:
                handler(line)
        self._check_followers()
        if self._first_final is None:
            self._problem("nothing-tested", "there is no final read")
        elif not any(at < self._first_final["start"] for at in self._acknowledged.values()):
            self._problem("nothing-tested", "nothing was acknowledged before the final read")
        return self.problems

    def _problem(self, rule, what):
        self.counts["problem " + rule] += 1
        self.problems.append(f"{rule}: {what}")

    # What was sent, and what became of it.

    def _learn(self, send):
        text = send["message"]["text"]
        self._sent[text] = content(send["message"])
        self._first_try[text] = min(send["start"], self._first_try.get(text, send["start"]))
        self._processes.setdefault(text, set()).add(send.get("process"))
        if self._is_acknowledged(send):
            before = self._acknowledged.get(text, send["end"])
            self._acknowledged[text] = min(send["end"], before)

    def _is_acknowledged(self, send):
        if any(begin <= send["end"] <= end for begin, end in self._without_power):
            return False
        return send["status"] in (200, 201) or (send["status"] == 202 and "needs" not in send)

    def _on_send(self, send):
        if send["status"] in REFUSALS:
            self._problem("refused", f"{send['status']} at {send['at']} for {send['message']}")
        if send["status"] == 202:
            self.counts["202"] += 1
        if not self._is_acknowledged(send):
            return
        self.counts["acknowledged"] += 1
        self._see(send["answer"], "acknowledgement of " + send["at"])
        if send["answer"]["text"] != send["message"]["text"]:
            self._problem("changed", f"{send['message']} was acknowledged as {send['answer']}")
        session = self._session(send)
        if session is not None:
            session.expect(send["answer"], own=True)

    def _see(self, message, where):
        """Every message that anybody is shown goes through here."""
        text, shown_id = message["text"], message["id"]
        sent = self._sent.get(text)
        if sent is None:
            self._problem("made-up", f"{where} shows {message}")
        elif sent != content(message):
            self._problem("changed", f"{where} shows {message}, sent was {sent}")
        if self._id_of.setdefault(text, shown_id) != shown_id:
            self._problem("two-results", f"{where} shows {message}, known as {self._id_of[text]}")
        if self._text_of.setdefault(shown_id, text) != text:
            self._problem("id-reused", f"{where} shows {message}; the id was another's")

    def _see_list(self, messages, where):
        for message in messages:
            self._see(message, where)
        for name in ("id", "text"):
            for value, count in Counter(message[name] for message in messages).items():
                if count > 1:
                    self._problem("doubled", f"{where} shows {name} {value} {count} times")
        for before, after in zip(messages, messages[1:]):
            if after["accepted_at"] < before["accepted_at"]:
                self._problem("unordered", f"{where} shows {after['id']} behind {before['id']}")
                break

    # Sessions.

    def _session(self, line):
        name = line.get("session")
        return None if name is None else self._sessions.setdefault(name, Session())

    def _told(self, session, line):
        """True where the answer says itself that it may be old."""
        if line.get("lost"):
            self.counts["lost"] += 1
            session.forget()
        if line.get("stale"):
            self.counts["stale"] += 1
        return bool(line.get("stale") or line.get("lost"))

    def _took(self, session, message, told, where):
        before = session.places.get(message["id"])
        if before is not None and message["accepted_at"] > before and not told:
            self._problem("place-moved-later",
                          f"{where}: {message['id']} from {before} to {message['accepted_at']}")
        if before is None or message["accepted_at"] < before:
            session.places[message["id"]] = message["accepted_at"]
        session.expect(message, own=False)

    def _missing(self, session_name, own, message_id, where):
        rule = "own-write-not-read" if own else "read-went-back"
        self._problem(rule, f"session {session_name} at {where}: {message_id} "
                            f"({self._text_of.get(message_id, '?')})")

    def _on_list(self, line):
        where = f"list of {line['room']} at {line['at']} ({line['start']:.3f})"
        self._see_list(line["messages"], where)
        session = self._session(line)
        if session is None:
            return
        told = self._told(session, line)
        shown = {message["id"] for message in line["messages"]}
        if not told:
            for message_id, own in session.rooms.get(line["room"], {}).items():
                if message_id not in shown:
                    self._missing(line["session"], own, message_id, where)
        for message in line["messages"]:
            self._took(session, message, told, where)

    def _on_get(self, line):
        where = f"get at {line['at']} ({line['start']:.3f})"
        session = self._session(line)
        told = session is not None and self._told(session, line)
        if line["status"] == 200:
            self._see(line["message"], where)
            if line["message"]["id"] != line["id"]:
                self._problem("changed", f"{where} of {line['id']} shows {line['message']}")
            if session is not None:
                self._took(session, line["message"], told, where)
        elif session is not None and not told:
            for room in session.rooms.values():
                if line["id"] in room:
                    self._missing(line["session"], room[line["id"]], line["id"], where)

    # Followers.

    def _on_feed(self, line):
        follower = self._followers.setdefault(line["follower"], Follower())
        kind = line["kind"]
        if kind != "message":
            self.counts["feed " + kind] += 1
        if kind in ("behind", "gap"):
            follower.excused = True
        elif kind in ("caught_up", "connect"):
            follower.excused = False
        if kind != "message":
            return
        message = line["message"]
        where = "feed of " + line["follower"]
        self._see(message, where)
        if message["id"] in follower.ids:
            if not follower.excused:
                self._problem("feed-repeated", f"{where}: {message['id']} ({message['text']})")
            return
        follower.ids.add(message["id"])
        match = DIRECT.fullmatch(message["text"])
        # Tries at two processes: which of their logs it is in cannot be told from here.
        if match and len(self._processes.get(message["text"], ())) == 1:
            number = int(match[2])
            if number < follower.numbers.get(match[1], 0):
                self._problem("feed-order", f"{where}: {message['text']} after "
                                            f"#{follower.numbers[match[1]]}")
            follower.numbers[match[1]] = number

    def _check_followers(self):
        if self._last_final_texts is None:
            return
        for name, follower in self._followers.items():
            seen = {self._text_of[message_id] for message_id in follower.ids}
            for text in self._last_final_texts - seen:
                self._problem("feed-missed", f"feed of {name}: {text}")
            for text in seen - self._last_final_texts:
                if not self._may_be_gone(text):
                    self._problem("feed-phantom", f"feed of {name}: {text}")

    def _may_be_gone(self, text):
        return text not in self._acknowledged and \
            any(lost >= self._first_try.get(text, lost) for lost in self._disks_lost)

    # The end.

    def _on_final(self, line):
        where = f"final read of {line['at']}"
        self._see_list(line["messages"], where)
        for fork in line.get("forks") or []:
            self._problem("forked", f"{where}: {fork}")
        texts = {message["text"] for message in line["messages"]}
        for text, at in self._acknowledged.items():
            if at < line["start"] and text not in texts:
                self._problem("lost", f"{where}: {text} ({self._id_of.get(text)}), "
                                      f"acknowledged at {at:.3f}")
        # A history may have several healings (power cuts); those of one follow each other.
        first = self._first_final
        if first is None or line.get("healing") != first.get("healing"):
            self._first_final = first = line
        if [m["id"] for m in line["messages"]] != [m["id"] for m in first["messages"]]:
            self._problem("finals-differ", f"{line['at']} shows {len(line['messages'])}, "
                                           f"{first['at']} {len(first['messages'])}")
        self._last_final_texts = texts


def main():
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return 0 if "--help" in sys.argv or "-h" in sys.argv else 2
    lines, truncated = read_history(sys.argv[1])
    checker = Checker()
    problems = ([truncated] if truncated else []) + checker.check(lines)
    shown = Counter()
    for problem in problems:
        rule = problem.split(":")[0]
        shown[rule] += 1
        if shown[rule] <= 10:
            print(problem)
    for rule, count in shown.items():
        if count > 10:
            print(f"{rule}: {count} in all")
    counts = ", ".join(f"{name} {count}" for name, count in sorted(checker.counts.items())
                       if not name.startswith("problem"))
    print(f"checked: {counts}; problems: {len(problems)}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
