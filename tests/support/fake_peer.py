# SPDX-License-Identifier: MIT
"""A node's peer that says whatever a test wants it to: answers POST /sync from a list of records."""
import base64
import http.server
import json
import threading
import time

from wire import canonical, chain_seed, next_chain, sha256


class FakeRecords:
    """One epoch of one origin, properly chained; change `list` afterwards to break it."""

    def __init__(self, cluster, origin, epoch):
        self.origin, self.epoch = origin, epoch
        self.list = []
        self._chain = chain_seed(cluster, origin, epoch)

    def _append(self, kind, digest, body):
        seq = len(self.list) + 1
        stamp = f"{(1697913600000 + seq) << 16:016x}"
        self._chain = next_chain(self._chain, self.origin, self.epoch, seq, kind, stamp, digest)
        self.list.append({"origin": self.origin, "epoch": self.epoch, "seq": seq, "kind": kind,
                          "stamp": stamp, "digest": digest.hex(), "chain": self._chain.hex(), **body})

    def message(self, message, key, **ignored):
        """`ignored`: members that only a newer version knows."""
        content = {**message, "key": key}
        self._append("message", sha256(canonical(content)), {"message": {**content, **ignored}})

    def unknown(self, kind, payload):
        self._append(kind, sha256(payload), {"payload": base64.b64encode(payload).decode()})

    def heads(self):
        return [[self.origin, self.epoch, len(self.list), self._chain.hex()]]


class FakePeer:
    def __init__(self, node_id, cluster, *lists):
        self.asked = 0
        self._closing = threading.Event()
        peer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):  # noqa: N802
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                have = {(head[0], head[1]): head[2] for head in request["have"]}
                records = [record for each in lists for record in
                           each.list[have.get((each.origin, each.epoch), 0):]]
                if not records:  # as a peer does that has nothing: hold the question for a while
                    peer._closing.wait(min(request.get("wait_ms", 0), 500) / 1000)
                peer.asked += 1
                self.answer({"v": 1, "node": node_id, "now": int(time.time() * 1000),
                             "heads": [head for each in lists for head in each.heads()], "forks": [],
                             "more": False, "records": records, "future": True})

            def answer(self, body):
                data = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = "127.0.0.1:%d" % self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
