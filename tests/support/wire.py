# SPDX-License-Identifier: MIT
"""The bytes of docs/protocol.md in plain Python, sharing nothing with the programs."""
import base64
import hashlib
import re


def u64(number):
    return number.to_bytes(8, "big")


def sized(text):
    data = text.encode() if isinstance(text, str) else text
    return len(data).to_bytes(4, "big") + data


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def sha256(data):
    return hashlib.sha256(data).digest()


def base32(data):
    """Crockford's alphabet, lower case, zero bits at the end."""
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    digits = "0123456789abcdefghjkmnpqrstvwxyz"
    return "".join(digits[int(bits[i:i + 5], 2)] for i in range(0, len(bits), 5))


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def canonical(message):
    stamp = b""
    if "timestamp" in message:
        stamp = message["timestamp"].to_bytes(8, "big", signed=True)
    return (sized("chatchain.message.v1") + sized(message["sender"])
            + sized(message.get("recipient", "")) + sized(message.get("room", ""))
            + sized(message["text"]) + sized(stamp) + sized(message["key"]))


UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def message_id(message, digest):
    if UUID7.fullmatch(message["key"].lower()):
        hint = int(message["key"].replace("-", "")[:12], 16)
    else:
        hint = max(0, min(message.get("timestamp", 0) * 1000, 2**48 - 1))
    return base32(hint.to_bytes(6, "big") + digest[:16])


def chain_seed(cluster, origin, epoch):
    return sha256(sized("chatchain.chain.v1") + sized(cluster) + sized(origin) + bytes.fromhex(epoch))


def next_chain(previous, origin, epoch, seq, kind, stamp, digest):
    """Epoch and stamp in hex, chain values and digest as bytes."""
    return sha256(previous + sized(origin) + bytes.fromhex(epoch) + u64(seq) + sized(kind)
                  + bytes.fromhex(stamp) + digest)


def sorted_heads(heads):
    return sorted(heads, key=lambda head: (head[0].encode(), head[1]))


def heads_digest(heads):
    data = sized("chatchain.heads.v1")
    for origin, epoch, seq, chain in sorted_heads(heads):
        data += sized(origin) + bytes.fromhex(epoch) + u64(seq) + bytes.fromhex(chain)
    return sha256(data)


def token_vector(heads):
    data = b""
    heads = sorted_heads(heads)
    for origin in sorted({head[0] for head in heads}, key=str.encode):
        mine = [head for head in heads if head[0] == origin]
        data += varint(len(origin)) + origin.encode() + varint(len(mine))
        for _, epoch, seq, chain in mine:
            data += bytes.fromhex(epoch) + varint(seq) + bytes.fromhex(chain)[:8]
    return data


def seal(cluster, letter, payload):
    """The bytes of a token; letter is S, F or C."""
    tag = sha256(sized("chatchain.cluster.v1") + sized(cluster))[:4]
    data = b"\x01" + letter.encode() + tag + payload
    return data + sha256(data)[:4]


def token(cluster, letter, heads):
    return base64url(seal(cluster, letter, token_vector(heads)))


def take_varint(data, at):
    number = shift = 0
    while True:
        number |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return number, at


def token_heads(text):
    """{(origin, epoch): (seq, chain prefix)} of a session or feed token."""
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    assert data[0] == 1 and data[1:2] in (b"S", b"F") and sha256(data[:-4])[:4] == data[-4:]
    heads, at, end = {}, 6, len(data) - 4
    while at < end:
        size, at = take_varint(data, at)
        origin, at = data[at:at + size].decode(), at + size
        count, at = take_varint(data, at)
        for _ in range(count):
            epoch, at = data[at:at + 8].hex(), at + 8
            seq, at = take_varint(data, at)
            heads[origin, epoch] = (seq, data[at:at + 8].hex())
            at += 8
    return heads
