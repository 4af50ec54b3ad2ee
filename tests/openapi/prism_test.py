#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Sends requests through a validating proxy (Prism) to a real node and a real chatchain-client, and fails
on every answer that docs/openapi.yaml does not describe.

    prism_test.py --bin-dir DIR --prism PATH
"""
import argparse
import http.server
import json
import pathlib
import subprocess
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

from programs import Failure, Reserved, World, call, wait_ready, wait_until  # noqa: E402
from wire import token  # noqa: E402

START_S = 60
JSON = "application/json"


class Prism:
    """Prism in front of one address. `strict`: requests are held to the document as well."""

    def __init__(self, binary, upstream, strict):
        port = Reserved()
        self.address = port.address
        port.release()
        self.process = subprocess.Popen(
            [str(binary), "proxy", str(ROOT / "docs" / "openapi.yaml"), f"http://{upstream}", "--errors",
             "--validate-request", "true" if strict else "false", "--port", self.address.split(":")[1]],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines = []
        self._reader = threading.Thread(target=lambda: self.lines.extend(self.process.stdout), daemon=True)
        self._reader.start()

        def ready():
            if self.process.poll() is not None:
                raise Failure("Prism ended:\n" + "".join(self.lines))
            return any("is listening" in line for line in self.lines)
        try:
            wait_until(ready, START_S, "Prism listens")
        except Failure:
            self.close()
            raise

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(10)
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def violations(answer):
    """What Prism found: in a header, or instead of the answer."""
    found = json.loads(answer["sl-violations"] or "[]")
    if b"stoplight.io/prism" in answer.body:
        found.append(answer.json)
    return found


def message(**members):
    return {"sender": "user1", "recipient": "user2", "text": "Hello world!", **members}


def nested(levels):
    return json.loads("[" * levels + "]" * levels)


class Check:
    def __init__(self):
        self.count = 0
        self.failures = []

    def that(self, where, address, method, target, wanted, body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = call(address, method, target, body, headers, timeout=30)
        self.count += 1
        found = violations(answer)
        label = f"{where}: {method} {target[:80]} {str(body)[:80] if body is not None else ''} {headers}"
        if found:
            self.failures.append(f"{label}: {answer.status}, not as documented: {json.dumps(found)[:1500]}")
        elif answer.status >= 400 and target != "/readyz" and answer.type != "application/problem+json":
            # Prism takes any JSON for it.
            self.failures.append(f"{label}: {answer.status} as {answer.type}")
        elif answer.status != wanted:
            self.failures.append(f"{label}: {answer.status} instead of {wanted}: {answer.body[:300]!r}")
        return answer


def shared_requests(check, where, at, strict):
    """What both programs answer; with `strict` only what the document allows to ask."""
    def ask(*arguments, **headers):
        return check.that(where, at, *arguments, **headers)

    for body in [message(), message(timestamp=1697913600), message(timestamp=-2**53),
                 message(sender="小明", text="👋🏽\n"), {"sender": "a", "room": "r", "text": "x" * 65536}]:
        ask("POST", "/messages", 201, body)
    ask("POST", "/messages", 201, message(), Idempotency_Key=f"k-{where}")
    first = ask("POST", "/messages", 200, message(), Idempotency_Key=f"k-{where}")
    ask("POST", "/messages", 422, message(text="other"), Idempotency_Key=f"k-{where}")
    ask("POST", "/messages", 201, message(), ChatChain_Acks="1", ChatChain_Deadline_Ms="4000")
    ask("POST", "/messages", 201, message(), ChatChain_Acks="all")
    ask("POST", "/messages", 422, message(), ChatChain_Acks="9")
    ask("POST", "/messages", 201, message(), ChatChain_Session=first["ChatChain-Session"],
        ChatChain_Consistency="strict")
    ask("POST", "/messages", 400, message(), ChatChain_Session="garbage")

    ask("POST", "/messages/batch", 200, {"messages": [message(key="b1"), message(room="r", key="b2")]}
        if not strict else {"messages": [message(key="b1"), {"sender": "a", "room": "r", "text": "b"}]})
    ask("POST", "/messages/batch", 200, {"messages": [message(key="b1"), message(key="b1", text="other")]},
        ChatChain_Acks="majority")

    for target in ["/messages", "/messages?limit=2", "/messages?order=desc&limit=1", "/messages?sender=user1",
                   "/messages?room=r&since=0&until=9007199254740992", "/messages?recipient=user2",
                   "/messages?participant=user1&participant=user2&since=2020-01-01T00:00:00Z",
                   "/messages?sender=nobody"]:
        ask("GET", target, 200)
        ask("GET", target, 200, Accept="application/x-ndjson")
    page = ask("GET", "/messages?limit=1", 200).json
    ask("GET", f"/messages?limit=3&cursor={page['next']}", 200)
    ask("GET", f"/messages?order=desc&cursor={page['next']}", 400)
    ask("GET", "/messages?cursor=garbage", 400)
    ask("GET", "/messages", 400, ChatChain_Session="garbage")
    ask("GET", "/messages?limit=1", 200, ChatChain_Session=first["ChatChain-Session"])
    ghost = token("chatchain", "S", [["ghost", "00000001a1b2c3d4", 5, "00" * 32]])
    ask("GET", "/messages?limit=1", 200, ChatChain_Session=ghost)
    ask("GET", "/messages/" + first.json["id"], 200)
    ask("GET", "/messages/" + first.json["id"], 200, ChatChain_Session=ghost)
    ask("GET", "/messages/" + "0" * 36, 404)
    for path in ["/healthz", "/readyz", "/version", "/metrics"]:
        ask("GET", path, 200)
    if strict:
        return

    # Prism reads and writes JSON anew, so what is no JSON, or none in JavaScript, cannot be sent through it.
    for body in ["[]", "null", "5", json.dumps(message(extra=1)), json.dumps(message(timestamp=nested(17))),
                 '{"sender":"\\ud800","recipient":"b","text":"c"}']:
        ask("POST", "/messages", 400, body)
        ask("POST", "/messages/batch", 400, body)
    for body in [{}, message(text=""), message(room="r"), message(sender=1), message(timestamp=1.5),
                 message(timestamp=2**53 + 2), message(timestamp="NaN"), message(text="x" * 65537),
                 message(sender="\u0085")]:
        ask("POST", "/messages", 422, body)
        ask("POST", "/messages/batch", 200, {"messages": [message(), body, message()]})
    ask("POST", "/messages/batch", 200, {"messages": [5, None, [], message(key=""), message(stamp="x"),
                                                      message(extra=1)]})
    for body in [{}, {"messages": []}, {"messages": {}}, {"messages": [message()] * 1001}]:
        ask("POST", "/messages/batch", 422, body)
    ask("POST", "/messages/batch", 400, {"messages": [message()]}, Idempotency_Key="k")
    ask("POST", "/messages", 422, message(), Idempotency_Key="k" * 257)
    ask("POST", "/messages", 422, message(), ChatChain_Acks="many")
    ask("POST", "/messages?x=1", 400, message())
    for path in ["/messages", "/messages/batch"]:
        ask("POST", path, 415, "x", Content_Type="text/plain")
        ask("POST", path, 406, message() if path == "/messages" else {"messages": [message()]},
            Accept="text/html")
    ask("POST", "/messages", 413, message(text="x" * 1024 * 1024))
    ask("POST", "/messages/batch", 413, {"messages": [message(text="x" * 8 * 1024 * 1024)]})
    for target, status in [("limit=0", 422), ("limit=x", 422), ("order=up", 422), ("sender=", 422),
                           ("since=yesterday", 422), ("limits=5", 400), ("limit=5&limit=5", 400),
                           ("cursor=", 400),
                           ("participant=a&participant=b&participant=c", 422)]:
        ask("GET", "/messages?" + target, status)
    ask("GET", "/messages", 406, Accept="text/html")
    ask("GET", "/messages", 422, ChatChain_Consistency="none")
    ask("GET", "/messages/x", 404)
    ask("GET", "/messages/" + first.json["id"], 406, Accept="text/html")
    ask("GET", "/messages/" + first.json["id"] + "?x=1", 400)
    for path in ["/healthz", "/readyz", "/version", "/metrics"]:
        ask("GET", path + "?x=1", 400)


def node_requests(check, where, at, strict):
    def ask(*arguments, **headers):
        return check.that(where, at, *arguments, **headers)

    status = ask("GET", "/nodes", 200).json["self"]
    sync = {"v": 1, "cluster": "chatchain", "node": "tester", "have": []}
    ask("POST", "/sync", 200, sync)
    ask("POST", "/sync", 200, {**sync, "limit": 1, "max_bytes": 1, "wait_ms": 0, "relay": False})
    ask("POST", "/sync", 200, {**sync, "have": status["heads"], "instance": "x", "epoch": status["epoch"],
                               "forks": [], "future": 1})
    ask("POST", "/sync", 403, {**sync, "cluster": "other"})
    ask("POST", "/messages", 201, message(), ChatChain_Stamp="018b5389787b0000")
    if strict:
        return
    ask("GET", "/nodes?x=1", 400)
    for bad in [{**sync, "v": 2}, {**sync, "have": [1]}, {}, {**sync, "node": ""}, {**sync, "limit": 0}]:
        ask("POST", "/sync", 422, bad)
    ask("POST", "/sync", 400, "[]")
    ask("POST", "/sync", 415, "{}", Content_Type="text/plain")
    ask("POST", "/messages", 422, message(), ChatChain_Stamp="x")
    ask("POST", "/messages", 422, message(), ChatChain_Deadline_Ms="x")


def proxy_requests(check, where, at, strict):
    check.that(where, at, "GET", "/network", 200)
    page = check.that(where, at, "GET", "/", 200, Accept="text/html")
    check.that(where, at, "GET", "/", 304, If_None_Match=page["ETag"])
    check.that(where, at, "GET", "/web/main.js", 200, Accept="text/javascript")
    if not strict:
        check.that(where, at, "GET", "/network?x=1", 400)
        check.that(where, at, "GET", "/web/none.js", 404)


def lonely_requests(check, where, at):
    """A node whose only peer is dead."""
    ghost = token("chatchain", "S", [["ghost", "00000001a1b2c3d4", 5, "00" * 32]])
    shown = check.that(where, at, "POST", "/messages", 202, message(), ChatChain_Acks="2").json
    check.that(where, at, "GET", "/messages", 200, ChatChain_Session=ghost)
    for target in ["/messages", "/messages/" + shown["id"]]:
        check.that(where, at, "GET", target, 412, ChatChain_Session=ghost, ChatChain_Consistency="strict")
    check.that(where, at, "GET", "/nodes", 200)


def dead_requests(check, where, at):
    """A proxy whose only node is dead."""
    for method, target, status, body in [
            ("POST", "/messages", 503, message()), ("POST", "/messages/batch", 503, {"messages": [message()]}),
            ("GET", "/messages", 503, None), ("GET", "/messages/" + "0" * 36, 503, None),
            ("GET", "/readyz", 503, None), ("GET", "/healthz", 200, None), ("GET", "/metrics", 200, None),
            ("GET", "/network", 200, None)]:
        check.that(where, at, method, target, status, body)


def prove_that_it_can_fail(prism):
    """Answers that the document does not have must be found."""
    problem = {"type": "about:blank", "title": "x", "status": 400, "detail": "x"}
    good = {"program": "chatchain-node", "version": "1"}
    answers = {
        "status 418": (418, problem, "application/problem+json"),
        "status 202": (202, good, JSON),
        "another member": (200, {**good, "more": 1}, JSON),
        "a missing member": (200, {"program": "chatchain-node"}, JSON),
        "a wrong type": (200, {**good, "version": 1}, JSON),
        "a problem with another member": (400, {**problem, "hint": 1}, "application/problem+json"),
        "HTML": (200, "x", "text/html"),
    }
    current = [None]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802
            status, body, content_type = current[0]
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        with Prism(prism, "127.0.0.1:%d" % server.server_address[1], strict=False) as front:
            current[0] = (200, good, JSON)
            if violations(call(front.address, "GET", "/version")):
                raise Failure("a good answer was found bad")
            missed = []
            for why, answer in answers.items():
                current[0] = answer
                if not violations(call(front.address, "GET", "/version")):
                    missed.append(why)
            if missed:
                raise Failure("not found by the validating proxy: " + ", ".join(missed))
            return len(answers)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin-dir", required=True)
    parser.add_argument("--prism", required=True, type=pathlib.Path)
    options = parser.parse_args()
    prism = options.prism.resolve()

    found = prove_that_it_can_fail(prism)
    check = Check()
    dead = Reserved()
    with World(options.bin_dir) as world:
        node = world.node("0")
        lonely = world.node("0", [dead.address], config="[node]\nrequest_timeout_ms = 1000\n")
        proxy = world.proxy([node.address])
        nobody = world.proxy([dead.address])
        for each in (node, proxy):
            wait_ready(each.address)
        for strict in (True, False):
            mode = "strict" if strict else "any request"
            with Prism(prism, node.address, strict) as front:
                shared_requests(check, f"node, {mode}", front.address, strict)
                node_requests(check, f"node, {mode}", front.address, strict)
            with Prism(prism, proxy.address, strict) as front:
                shared_requests(check, f"proxy, {mode}", front.address, strict)
                proxy_requests(check, f"proxy, {mode}", front.address, strict)
        with Prism(prism, lonely.address, strict=True) as front:
            lonely_requests(check, "lonely node", front.address)
        with Prism(prism, nobody.address, strict=True) as front:
            dead_requests(check, "proxy without nodes", front.address)
    dead.release()
    for failure in check.failures:
        print(failure, file=sys.stderr)
    print(f"{found} wrong answers found as they must be; {check.count} real answers checked, "
          f"{len(check.failures)} not as documented")
    return 1 if check.failures else 0


if __name__ == "__main__":
    sys.exit(main())
