#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Computes every published test vector from docs/protocol.md alone, with nothing but hashlib, and
checks that the document shows each of them.

    protocol_vectors.py VECTORS.json PROTOCOL.md
"""
import base64
import json
import pathlib
import re
import sys
from datetime import datetime

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))

from wire import (base64url, canonical, chain_seed, heads_digest, message_id, next_chain, seal,  # noqa: E402
                  sha256, sized, token_vector)


def check_messages(vectors, fail):
    digests = {}
    for vector in vectors:
        message, name = vector["message"], vector["name"]
        data = canonical(message)
        digest = sha256(data)
        fail(name, "canonical", vector["canonical"], data.hex())
        fail(name, "digest", vector["digest"], digest.hex())
        fail(name, "id", vector["id"], message_id(message, digest))
        digests[name] = digest
    return digests


def check_chain(what, vector, digests, fail):
    chain = chain_seed(vector["cluster"], vector["origin"], vector["epoch"])
    fail(what, "seed", vector["seed"], chain.hex())
    for record in vector["records"]:
        name = f"{what} record {record['seq']}"
        if "message" in record:
            digest = digests[record["message"]]
        else:
            payload = base64.b64decode(record["payload"])
            digest = sha256(payload)
        if "seals" in record:
            epoch, seq, end = record["seals"]
            fail(name, "payload", payload.hex(), epoch + f"{seq:016x}" + end)
        fail(name, "digest", record["digest"], digest.hex())
        chain = next_chain(chain, vector["origin"], vector["epoch"], record["seq"], record["kind"],
                           record["stamp"], digest)
        fail(name, "chain", record["chain"], chain.hex())


def check_heads(vector, fail):
    fail("heads", "digest", vector["digest"], heads_digest(vector["heads"]).hex())


def time_ms(text):
    if re.fullmatch(r"-?[0-9]+", text):
        return int(text) * 1000
    return round(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


def query_hash(params):
    def one(name):
        return next((value for key, value in params if key == name), "")

    def bound(name):
        return str(time_ms(one(name))) if one(name) else ""

    participants = sorted((v for k, v in params if k == "participant"), key=str.encode)
    data = b"".join(sized(part) for part in [one("sender"), one("recipient"), one("room"),
                                             *participants, bound("since"), bound("until"),
                                             one("order") or "asc"])
    return sha256(data)[:8]


def check_token(vector, fail):
    letter = {"session": "S", "feed": "F", "cursor": "C"}[vector["type"]]
    payload = b""
    if vector["type"] == "cursor":
        bits = "".join(f"{'0123456789abcdefghjkmnpqrstvwxyz'.index(c):05b}" for c in vector["after_id"])
        after_id = int(bits[:176], 2).to_bytes(22, "big")
        hashed = query_hash(vector["query"])
        fail(vector["name"], "query_hash", vector["query_hash"], hashed.hex())
        payload = bytes.fromhex(vector["after_stamp"]) + after_id + hashed
    data = seal(vector["cluster"], letter, payload + token_vector(vector["heads"]))
    fail(vector["name"], "bytes", vector["bytes"], data.hex())
    fail(vector["name"], "token", vector["token"], base64url(data))


def check_sync(vector, fail):
    body = json.dumps({"v": 1, "cluster": vector["cluster"], "node": vector["node"], "have": [], "limit": 1000,
                       "max_bytes": 8388608, "wait_ms": 0, "relay": True}, separators=(",", ":"))[:-1]
    checksum = sha256(body.encode())[:8].hex()
    fail("sync", "checksum", vector["checksum"], checksum)
    fail("sync", "body", vector["body"], f'{body},"checksum":"{checksum}"}}')


def check_document(vectors, text, fail):
    shown = []
    for vector in vectors["messages"]:
        shown += [(vector["name"], part, vector[part]) for part in ("canonical", "digest", "id")]
    for what in ("chain", "seal"):
        shown += [(what, part, vectors[what][part]) for part in ("epoch", "seed")]
        for record in vectors[what]["records"]:
            name = f"{what} record {record['seq']}"
            shown += [(name, part, record[part]) for part in ("stamp", "digest", "chain", "payload")
                      if part in record]
    shown.append(("heads", "digest", vectors["heads"]["digest"]))
    for head in vectors["heads"]["heads"]:
        shown += [("heads", "epoch", head[1]), ("heads", "chain", head[3])]
    for vector in vectors["tokens"]:
        shown += [(vector["name"], part, vector[part]) for part in ("bytes", "token", "query_hash")
                  if part in vector]
    shown.append(("sync", "body", vectors["sync"]["body"]))
    for name, part, value in shown:
        if value not in text:
            fail(name, f"{part} in the document", value, "not there")
    # And nothing else that looks like one: a digest, an id or a token of an older version.
    known = {value for _, _, value in shown}
    for value in re.findall(r"(?<![\w-])(?:[0-9a-f]{64,}|[0-9a-hjkmnp-tv-z]{36}|A[UV][\w-]{12,})(?![\w-])",
                            text):
        if value not in known and len(set(value)) > 2:
            fail("document", "a value that is no vector", value, "not in the file")


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        vectors = json.load(file)
    with open(sys.argv[2], encoding="utf-8") as file:
        document = file.read()
    failures = []
    compared = 0

    def fail(name, part, published, computed):
        nonlocal compared
        compared += 1
        if published != computed:
            failures.append(f"{name}: {part}: published {published}, computed {computed}")

    digests = check_messages(vectors["messages"], fail)
    check_chain("chain", vectors["chain"], digests, fail)
    check_chain("seal", vectors["seal"], digests, fail)
    check_heads(vectors["heads"], fail)
    for vector in vectors["tokens"]:
        check_token(vector, fail)
    check_sync(vectors["sync"], fail)
    check_document(vectors, document, fail)
    for failure in failures:
        print(failure, file=sys.stderr)
    print(f"{compared} values compared, {len(failures)} differ")
    return 1 if failures or compared < 40 else 0


if __name__ == "__main__":
    sys.exit(main())
