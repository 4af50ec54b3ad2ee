#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The checker of histories against histories made by hand: a good one, what excuses, and at least
one bad one for each of its rules."""
import json
import pathlib
import re
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import check_history  # noqa: E402


def message(number, room="r", at="01.000", sender="ann", **more):
    return {"id": f"id{number}", "sender": sender, "room": room, "text": f"text {number}",
            "accepted_at": f"2026-11-21T08:15:{at}Z", **more}


def outgoing(shown):
    return {name: shown[name] for name in ("sender", "room", "recipient", "text", "timestamp")
            if name in shown}


def send(time, shown, session="s", status=201, **more):
    line = {"op": "send", "start": time, "end": time + 0.5, "at": "n0", "session": session,
            "message": outgoing(shown), "key": "k " + shown["text"], "status": status, **more}
    if status in (200, 201, 202):
        line.setdefault("answer", shown)
    return line


def listed(time, *shown, session="s", room="r", **more):
    return {"op": "list", "start": time, "end": time + 0.5, "at": "n1", "session": session,
            "room": room, "messages": list(shown), **more}


def got(time, wanted, shown=None, session="s", **more):
    line = {"op": "get", "start": time, "end": time + 0.5, "at": "n1", "session": session,
            "id": wanted, "status": 200 if shown else 404, **more}
    if shown:
        line["message"] = shown
    return line


def fed(kind, shown=None, follower="f"):
    line = {"op": "feed", "time": 3, "follower": follower, "kind": kind}
    return line | ({"message": shown} if shown else {})


def final(time, *shown, at="n0", forks=(), **more):
    return {"op": "final", "start": time, "end": time + 0.5, "at": at, "messages": list(shown),
            "forks": list(forks), **more}


END = {"op": "end"}
A, B, C = message(1), message(2, at="02.000"), message(3, at="03.000")


def direct(number, at="01.000"):
    return message(f"d{number}", at=at) | {"text": f"direct-n0-1#{number}"}


def rules_of(*lines):
    checker = check_history.Checker()
    return {problem.split(":")[0] for problem in checker.check([*lines, END])}


class Good(unittest.TestCase):
    def test_a_whole_history(self):
        self.assertEqual(rules_of(
            send(1, A), send(2, B, status=0), send(3, B), send(3, B, session="t", status=200),
            send(4, C, status=503), listed(5, A, B), listed(6, A, B, C), got(7, "id3", C),
            fed("connect"), fed("message", B), fed("message", A), fed("message", C),
            final(9, A, B, C), final(9, A, B, C, at="n1")), set())

    def test_what_nobody_acknowledged_may_be_there_or_not(self):
        self.assertEqual(rules_of(send(1, A), send(2, B, status=0), final(9, A)), set())
        self.assertEqual(rules_of(send(1, A), send(2, B, status=0), final(9, A, B)), set())

    def test_acknowledged_after_the_final_read_began(self):
        self.assertEqual(rules_of(send(1, A), send(9, B), final(9, A)), set())

    def test_an_answer_that_says_itself_that_it_is_old(self):
        self.assertEqual(rules_of(send(1, A), listed(2, stale=True), listed(3, A), final(9, A)), set())
        self.assertEqual(rules_of(send(1, A), listed(2, lost=True), listed(3), final(9, A)), set())
        self.assertEqual(rules_of(send(1, A), got(2, "id1", stale=True), final(9, A)), set())

    def test_another_session_and_another_room_expect_nothing(self):
        self.assertEqual(rules_of(send(1, A), listed(2, session="t"), listed(3, room="q"),
                                  got(4, "id1", session="t"), final(9, A)), set())

    def test_a_place_that_moves_earlier(self):
        self.assertEqual(rules_of(send(1, B), listed(2, B | {"accepted_at": A["accepted_at"]}),
                                  final(9, B)), set())

    def test_repeats_that_the_other_side_announced(self):
        for kind in ("behind", "gap"):
            self.assertEqual(rules_of(send(1, A), fed("connect"), fed("message", A), fed(kind),
                                      fed("message", A), fed("caught_up"), final(9, A)), set())

    def test_a_message_that_two_processes_may_have_taken_has_no_order(self):
        first, second = direct(1), direct(2)
        self.assertEqual(rules_of(
            send(1, first, process=1), send(2, second, status=0, process=1),
            send(3, second, process=2), fed("message", second), fed("message", first),
            final(9, first, second)), set())

    def test_what_only_a_destroyed_disk_had(self):
        lost = {"op": "nemesis", "time": 2, "what": "wipe", "disk_lost": "n0"}
        self.assertEqual(rules_of(send(1, A), send(1, B, status=0), fed("message", A),
                                  fed("message", B), lost, final(9, A)), set())

    def test_two_copies_that_were_asked_for_and_not_yet_there(self):
        self.assertEqual(rules_of(send(1, A), send(2, B, status=202, needs=2), final(9, A)), set())

    def test_answers_without_power(self):
        cut = {"op": "nemesis", "time": 2, "until": 3, "what": "power cut"}
        self.assertEqual(rules_of(send(1, A), send(2, B), cut, final(9, A)), set())

    def test_each_healing_has_its_own_final_reads(self):
        self.assertEqual(rules_of(send(1, A), final(2, A, healing=0), send(3, B),
                                  final(4, A, B, healing=1)), set())


class Bad(unittest.TestCase):
    tested = set()

    def expect(self, rule, *lines):
        Bad.tested.add(rule)
        self.assertEqual(rules_of(*lines), {rule})

    def test_lost(self):
        self.expect("lost", send(1, A), send(2, B), final(9, A))
        self.expect("lost", send(1, A), send(2, B, status=200), final(9, A))
        self.expect("lost", send(1, A), send(2, B, status=202), final(9, A))
        # At one program only: then they differ as well.
        self.assertIn("lost", rules_of(send(1, A), final(9, A), final(9, at="n1")))

    def test_acknowledged_and_lost_with_a_disk(self):
        lost = {"op": "nemesis", "time": 2, "what": "wipe", "disk_lost": "n0"}
        self.expect("lost", send(1, A), send(1, B), lost, final(9, A))

    def test_doubled(self):
        self.expect("doubled", send(1, A), listed(2, A, A), final(9, A))
        self.expect("doubled", send(1, A), final(9, A, A))

    def test_two_messages_of_one_text(self):
        self.assertEqual(rules_of(send(1, A), final(9, A, A | {"id": "id9"})),
                         {"doubled", "two-results"})

    def test_changed(self):
        self.expect("changed", send(1, A), final(9, A | {"sender": "bob"}))
        self.expect("changed", send(1, A), listed(2, A | {"timestamp": 0}), final(9, A))
        self.expect("changed", send(1, A, answer=B), send(1, B), final(9, A, B))
        self.expect("changed", send(1, A), send(1, B), got(2, "id1", B, session=None), final(9, A, B))

    def test_unacknowledged_and_changed(self):
        self.expect("changed", send(1, A), send(2, B, status=0), final(9, A, B | {"room": "q"}))

    def test_made_up(self):
        self.expect("made-up", send(1, A), final(9, A, B))
        self.expect("made-up", send(1, A), listed(2, A, B, session=None), final(9, A))

    def test_id_reused(self):
        self.expect("id-reused", send(1, A), send(2, C | {"id": "id1"}, status=0),
                    listed(3, C | {"id": "id1"}, session=None), final(9, A))

    def test_two_results(self):
        self.expect("two-results", send(1, A), send(2, A | {"id": "id9"}, session="t", status=200),
                    final(9, A))

    def test_finals_differ(self):
        self.expect("finals-differ", send(1, A), send(2, B, status=0), final(9, A, B),
                    final(9, A, at="n1"))
        same_time = B | {"accepted_at": A["accepted_at"]}
        self.expect("finals-differ", send(1, A), send(2, same_time), final(9, A, same_time),
                    final(9, same_time, A, at="n1"))

    def test_forked(self):
        self.expect("forked", send(1, A), final(9, A, forks=[["0", "0001"]]))

    def test_refused(self):
        self.expect("refused", send(1, A), send(2, B, status=422), final(9, A))

    def test_own_write_not_read(self):
        self.expect("own-write-not-read", send(1, A), listed(2), final(9, A))
        self.expect("own-write-not-read", send(1, A), got(2, "id1"), final(9, A))
        # An excuse holds for its own answer only.
        self.expect("own-write-not-read", send(1, A), listed(2, stale=True), listed(3), final(9, A))

    def test_read_went_back(self):
        self.expect("read-went-back", send(1, A, session="t"), listed(2, A), listed(3), final(9, A))
        self.expect("read-went-back", send(1, A, session="t"), got(2, "id1", A), listed(3),
                    final(9, A))
        # What the answer that said `lost` showed counts again.
        self.expect("read-went-back", send(1, A, session="t"), listed(2, A, lost=True), listed(3),
                    final(9, A))

    def test_place_moved_later(self):
        self.expect("place-moved-later", send(1, A), listed(2, A),
                    listed(3, A | {"accepted_at": C["accepted_at"]}), final(9, A))

    def test_unordered(self):
        self.expect("unordered", send(1, A), send(1, B), listed(2, B, A), final(9, A, B))

    def test_feed_missed(self):
        self.expect("feed-missed", send(1, A), send(1, B), fed("message", A), final(9, A, B))
        self.expect("feed-missed", send(1, A), fed("connect"), fed("gap"), final(9, A))

    def test_feed_repeated(self):
        self.expect("feed-repeated", send(1, A), fed("message", A), fed("message", A), final(9, A))
        self.expect("feed-repeated", send(1, A), fed("behind"), fed("message", A), fed("caught_up"),
                    fed("message", A), final(9, A))

    def test_feed_phantom(self):
        self.expect("feed-phantom", send(1, A), send(1, B, status=0), fed("message", A),
                    fed("message", B), final(9, A))

    def test_feed_order(self):
        first, second = direct(1), direct(2)
        self.expect("feed-order", send(1, first), send(2, second), fed("message", second),
                    fed("message", first), final(9, first, second))

    def test_nothing_tested(self):
        self.expect("nothing-tested", send(1, A))
        self.expect("nothing-tested", send(1, A, status=0), final(9, A))

    def test_truncated(self):
        Bad.tested.add("truncated")
        whole = [json.dumps(line) for line in (send(1, A), final(9, A), END)]
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            for text, good in (("\n".join(whole), True), ("\n".join(whole[:2]), False), ("", False),
                               ("\n".join(whole)[:-3], False)):
                file.seek(0)
                file.truncate()
                file.write(text)
                file.flush()
                _, problem = check_history.read_history(file.name)
                self.assertEqual(problem is None, good, text)
                self.assertTrue(good or problem.startswith("truncated"))

    @classmethod
    def tearDownClass(cls):
        documented = set(re.findall(r"^  ([a-z-]+) {2,}\S", check_history.__doc__, re.M))
        assert documented == cls.tested, documented ^ cls.tested


if __name__ == "__main__":
    unittest.main()
