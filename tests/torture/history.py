# SPDX-License-Identifier: MIT
"""The history of a run: one JSON object a line, written as things happen, checked afterwards by
check_history.py. Times are seconds of one clock that only goes forward.

  send   one try to send a message
         start end at session? message{sender,recipient|room,text,timestamp?} key
         status (0: no answer)  answer? (the message object)
         needs?  how many copies the sender asked for: only 200 and 201 acknowledge it then
         process?  which start of the program was asked: positions are in order within one
  list   every message of one room, as one answer gave it
         start end at session? room messages stale? lost?
  get    one message by its id
         start end at session? id status message? stale? lost?
  feed   what a follower of everything was told, in its order: kind is
         message (message), behind, caught_up, gap or connect (at)
         time follower kind
  nemesis  what was done to the programs: time what; disk_lost: a node's name, where its disk, or
         what was written to it since a copy, was destroyed
  final  every message of one program, after all was healed
         start end at messages forks
  end    the last line: nothing was cut off

A session hands its token back with every request. Every text is sent as one message only, by tries
that all have its key; a sender named direct-... sends to one node only, one message after the
other, with texts that end in #1, #2, ...
"""
import json
import threading
import time


def now():
    return time.monotonic()


class History:
    """Thread-safe."""

    def __init__(self, path):
        self.path = path
        self._file = open(path, "w", encoding="utf-8")
        self._lock = threading.Lock()
        self.acknowledged = 0

    def write(self, op, **fields):
        line = json.dumps({"op": op, **fields}, ensure_ascii=False, separators=(",", ":"))
        with self._lock:
            self._file.write(line + "\n")
            if op == "send" and fields["status"] in (200, 201):
                self.acknowledged += 1

    def flush(self):
        with self._lock:
            self._file.flush()

    def close(self):
        self.write("end")
        with self._lock:
            self._file.close()
