# SPDX-License-Identifier: MIT
"""Load: wrk for rates, plain connections for filling a node and for watching a message travel."""
import http.client
import itertools
import json
import pathlib
import queue
import random
import re
import secrets
import subprocess
import threading
import time

from programs import BenchError

WRK_SCRIPT = pathlib.Path(__file__).with_name("wrk.lua")
WRK_TIMEOUT_S = 10  # a single answer
NAMES = 1000
BATCH = 1000
TEXT = ("message {}{:02d}-{:09d} of a bench run, about as long as what people write: some ten words")


def run_wrk(address, connections, seconds, *arguments):
    """One run; fails unless every answer was the expected one."""
    # One thread of wrk saturates these servers from one connection, two from many.
    threads = 1 if connections < 16 else 2
    command = ["wrk", "--connections", str(connections), "--threads", str(threads), "--duration",
               f"{max(1, round(seconds))}s", "--timeout", f"{WRK_TIMEOUT_S}s", "--script", str(WRK_SCRIPT),
               f"http://{address}/messages", "--", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("BENCH ")]
    if done.returncode != 0 or not lines:
        raise BenchError(f"wrk failed: {done.stdout[-500:]} {done.stderr[-500:]}")
    result = json.loads(lines[-1][len("BENCH "):])
    for kind in ("bad_answers", "failed_answers", "socket_errors", "timeouts"):
        if result[kind] != 0:
            raise BenchError(f"{result[kind]} {kind.replace('_', ' ')} of {result['requests']} requests: "
                             + " ".join(command))
    if result["requests"] == 0:
        raise BenchError("no request was answered: " + " ".join(command))
    result["rate"] = result["requests"] / result["seconds"]
    return result


def write(address, connections, seconds, check=False, header=None):
    """`header`: one more, as "Name:value"."""
    return run_wrk(address, connections, seconds, "write", secrets.token_hex(4), *(["check"] if check else []),
                   *([header] if header else []))


def read(address, connections, seconds, targets_file, check=False):
    return run_wrk(address, connections, seconds, "read", targets_file, *(["check"] if check else []))


class Client:
    """One keep-alive connection."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self._connection = http.client.HTTPConnection(host, int(port), timeout=60)

    def call(self, method, path, body=None):
        headers = {"Content-Type": "application/json"} if body is not None else {}
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        return response.status, response.read()

    def close(self):
        self._connection.close()


def message(run, thread, count):
    return (f'{{"sender":"user{random.randrange(NAMES):03d}","recipient":"user{random.randrange(NAMES):03d}",'
            f'"timestamp":1763712000,"text":"{TEXT.format(run, thread, count)}"}}')


class Progress:
    """A line that is drawn anew on a terminal, and now and then in a log."""

    def __init__(self, what, total, stream):
        self._what, self._total, self._stream = what, total, stream
        self._live = stream.isatty()
        self._next_share = 0
        self._begin = time.monotonic()

    def show(self, done):
        share = done / self._total
        if not self._live and share < self._next_share:
            return
        self._next_share = share + 0.25
        rate = done / max(1e-9, time.monotonic() - self._begin)
        line = f"    {self._what}: {done:,} of {self._total:,} ({rate:,.0f}/s)"
        end = "\r" if self._live and done < self._total else "\n"
        print(line, end=end, file=self._stream, flush=True)


def fill(address, total, stream, connections=4, keep_ids=10_000):
    """Stores `total` messages through POST /messages/batch. Returns ids, evenly spread over them."""
    run = secrets.token_hex(4)
    batches = itertools.count()
    ids, errors, lock = [], [], threading.Lock()
    progress, done = Progress("storing messages", total, stream), 0
    id_pattern = re.compile(rb'"id":"([0-9a-z]{36})"')

    def work(thread):
        nonlocal done
        client = Client(address)
        try:
            while not errors:
                first = next(batches) * BATCH
                if first >= total:
                    return
                count = min(BATCH, total - first)
                body = '{"messages":[' + ",".join(message(run, thread, first + i) for i in range(count)) + "]}"
                status, answer = client.call("POST", "/messages/batch", body)
                if status != 200 or answer.count(b'"status":201') != count:
                    raise BenchError(f"POST /messages/batch answered {status}: {answer[:200]!r}")
                wanted = max(1, keep_ids * count // total)
                kept = [match.group(1).decode() for match in itertools.islice(id_pattern.finditer(answer), wanted)]
                with lock:
                    ids.extend(kept)
                    done += count
                    progress.show(done)
        except (BenchError, OSError, http.client.HTTPException) as error:
            errors.append(error)
        finally:
            client.close()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise BenchError(f"storing messages failed: {errors[0]}")
    random.shuffle(ids)
    return ids


def replication_lag(writer, readers, rate, seconds, deadline_s=10):
    """Sends about `rate` messages/s to `writer`; the ms from each 201 until each reader shows it.

    A reader is asked for the oldest messages that it has not shown yet about every millisecond, which is
    the resolution of the figures."""
    stop, errors = threading.Event(), []
    queues = [queue.Queue() for _ in readers]
    lags_ms = [[] for _ in readers]

    def watch(index):
        client, waiting = Client(readers[index]), []
        try:
            while not errors:
                while not queues[index].empty():
                    waiting.append(queues[index].get())
                if not waiting:
                    if stop.is_set() and queues[index].empty():
                        return
                    time.sleep(0.0005)
                    continue
                for entry in list(waiting):
                    message_id, since = entry
                    status, _ = client.call("GET", "/messages/" + message_id)
                    now = time.monotonic()
                    if status == 200:
                        lags_ms[index].append((now - since) * 1000)
                        waiting.remove(entry)
                    elif status != 404 or now - since > deadline_s:
                        raise BenchError(f"{readers[index]} does not show {message_id} after "
                                         f"{now - since:.1f} s (status {status})")
                if waiting:
                    time.sleep(0.001)
        except (BenchError, OSError, http.client.HTTPException) as error:
            errors.append(error)
        finally:
            client.close()

    watchers = [threading.Thread(target=watch, args=(i,)) for i in range(len(readers))]
    for watcher in watchers:
        watcher.start()
    client, run = Client(writer), secrets.token_hex(4)
    begin = time.monotonic()
    try:
        for count in range(max(1, int(rate * seconds))):
            time.sleep(max(0, begin + count / rate - time.monotonic()))
            status, answer = client.call("POST", "/messages", message(run, 0, count))
            since = time.monotonic()
            if status != 201 or errors:
                break
            message_id = json.loads(answer)["id"]
            for each in queues:
                each.put((message_id, since))
        if status != 201:
            errors.append(BenchError(f"POST /messages answered {status}"))
    finally:
        stop.set()
        client.close()
        for watcher in watchers:
            watcher.join()
    if errors:
        raise BenchError(f"measuring the replication lag failed: {errors[0]}")
    return [lag for lags in lags_ms for lag in lags]
