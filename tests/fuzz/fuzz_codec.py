"""A seeded fuzzer of the frame codec: ``python tests/fuzz/fuzz_codec.py --frames 1000000 --seed 1``.

Each round makes one frame of a random message and abuses it in one way. Two things must hold: nothing but
FrameError escapes, and nothing is accepted that was not sent.
"""

from __future__ import annotations

import argparse
import math
import random
import struct
import time
from collections import Counter
from collections.abc import Callable

from x2c_edge.links.codec import (
    ABSENT,
    CmdF32,
    CmdU16,
    FrameError,
    Hello,
    HelloAck,
    Key,
    Message,
    Ping,
    Pong,
    Positions,
    SerialParser,
    Status,
    cobs_decode,
    cobs_encode,
    crc32c,
    decode,
    decode_authenticated,
    encode,
    encode_authenticated,
    to_serial,
)

KEY = Key(bytes(range(32)), 1)


class BrokenPromiseError(AssertionError):
    """The codec broke its promise."""


def number(rng: random.Random, bits: int) -> int:
    """Random, with the interesting ends often."""
    return rng.choice((0, 1, (1 << bits) - 1, rng.getrandbits(bits), rng.getrandbits(bits)))


def message(rng: random.Random) -> Message:
    """Any message that can be encoded."""
    head = {
        "run": number(rng, 32),
        "seq": number(rng, 32),
        "t_us": number(rng, 64),
        "flags": rng.getrandbits(8),
    }
    kind = rng.randrange(8)
    if kind == 0:
        steps = tuple(rng.choice((0, ABSENT, rng.getrandbits(16))) for _ in range(30))
        return CmdU16(**head, age_us=number(rng, 32), rate_hz=number(rng, 8), steps=steps)
    if kind == 1:
        bits = struct.pack("<30I", *(rng.getrandbits(32) for _ in range(30)))
        demands = tuple(x if math.isfinite(x) else 0.0 for x in struct.unpack("<30f", bits))
        return CmdF32(**head, age_us=number(rng, 32), rate_hz=number(rng, 8), demands=demands)
    if kind == 2:
        return Ping(**head, nonce=number(rng, 32))
    if kind == 3:
        return Hello(**head, nonce=number(rng, 64), rate_hz=number(rng, 8))
    if kind == 4:
        names = (
            "ack_run",
            "last_seq",
            "bitmap",
            "n_ok",
            "n_bad",
            "n_gap",
            "n_stale",
            "n_limited",
            "rx_age_us",
        )
        wide = {name: number(rng, 32) for name in names}
        small = {"state": number(rng, 8), "fault": number(rng, 8), "fault_arg": number(rng, 16)}
        temp = rng.randrange(-32768, 32768)
        return Status(**head, **wide, **small, supply_mv=number(rng, 16), temp_centi_c=temp)
    if kind == 5:
        steps = tuple(rng.getrandbits(16) for _ in range(30))
        return Positions(**head, applied_seq=number(rng, 32), steps=steps)
    if kind == 6:
        return Pong(**head, nonce=number(rng, 32), echo_t_us=number(rng, 64))
    return HelloAck(
        **head,
        nonce=number(rng, 64),
        challenge=number(rng, 64),
        hold_ms=number(rng, 16),
        neutral_ms=number(rng, 16),
        max_rate_hz=number(rng, 8),
    )


def damage(rng: random.Random, data: bytes) -> bytes:
    """One kind of damage: bits, bytes, a cut, an insertion, a repetition, a burst."""
    broken = bytearray(data)
    kind = rng.randrange(6)
    at = rng.randrange(len(broken)) if broken else 0
    if kind == 0:
        for _ in range(rng.randint(1, 8)):
            broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        broken[at] = rng.getrandbits(8)
    elif kind == 2:
        del broken[at : at + rng.randint(1, 16)]
    elif kind == 3:
        broken[at:at] = rng.randbytes(rng.randint(1, 16))
    elif kind == 4:
        broken += broken[at:]
    else:
        end = min(len(broken), at + rng.randint(1, 32))
        broken[at:end] = rng.randbytes(end - at)
    return bytes(broken)


def outcome(action: Callable[[], Message]) -> tuple[Message | None, str]:
    """The message, or None and the reason."""
    try:
        return action(), "accepted"
    except FrameError as error:
        return None, error.reason


def whole(rng: random.Random) -> str:
    """An undamaged frame comes back as it was, both ways of coding."""
    sent = message(rng)
    challenge = rng.getrandbits(64)
    if decode(cobs_decode(cobs_encode(encode(sent)))) != sent:
        raise BrokenPromiseError(f"round trip: {sent}")
    if decode_authenticated(encode_authenticated(sent, KEY, challenge), KEY, challenge) != sent:
        raise BrokenPromiseError(f"authenticated round trip: {sent}")
    return "accepted"


def rubbish(rng: random.Random) -> str:
    """Random bytes are no frame."""
    data = rng.randbytes(rng.randint(0, 200))
    got, reason = outcome(lambda: decode(data))
    if got is not None:
        raise BrokenPromiseError(f"rubbish accepted: {data.hex()}")
    return reason


def damaged(rng: random.Random) -> str:
    """A damaged frame is refused, or the damage changed nothing."""
    frame = encode(message(rng))
    broken = damage(rng, frame)
    got, reason = outcome(lambda: decode(broken))
    if got is not None and broken != frame:
        raise BrokenPromiseError(f"accepted: {broken.hex()} from {frame.hex()}")
    return reason


def damaged_coded(rng: random.Random) -> str:
    """The same after COBS: accepted only as what was sent."""
    sent = message(rng)
    broken = damage(rng, cobs_encode(encode(sent)))
    got, reason = outcome(lambda: decode(cobs_decode(broken)))
    if got is not None and got != sent:
        raise BrokenPromiseError(f"accepted: {broken.hex()} as {got}, sent {sent}")
    return reason


def forged(rng: random.Random) -> str:
    """Damage under a good CRC reaches the inner checks; what passes is finite and codes to itself."""
    broken = damage(rng, encode(message(rng))[:-4])
    frame = broken + struct.pack("<I", crc32c(broken))
    got, reason = outcome(lambda: decode(frame))
    if got is None:
        return reason
    if isinstance(got, CmdF32) and not all(map(math.isfinite, got.demands)):
        raise BrokenPromiseError(f"a value that is not finite: {frame.hex()}")
    if decode(encode(got)) != got or len(encode(got)) != len(frame):
        raise BrokenPromiseError(f"not stable: {frame.hex()}")
    return reason


def forged_authenticated(rng: random.Random) -> str:
    """Without the key, a good CRC does not help."""
    challenge = rng.getrandbits(64)
    signed = encode_authenticated(message(rng), KEY, challenge)[:-4]
    broken = damage(rng, signed)
    frame = broken + struct.pack("<I", crc32c(broken))
    got, reason = outcome(lambda: decode_authenticated(frame, KEY, challenge))
    if got is not None and broken != signed:
        raise BrokenPromiseError(f"forgery accepted: {frame.hex()}")
    return reason


def stream(rng: random.Random) -> str:
    """Frames between rubbish, in random pieces: every whole frame arrives, once, in order; nothing else."""
    parser = SerialParser()
    whole_ones: list[Message] = []
    all_ones: list[Message] = []
    line = bytearray()
    for _ in range(rng.randint(1, 6)):
        line += rng.randbytes(rng.choice((0, 0, 3, 40, 400)))
        one = message(rng)
        all_ones.append(one)
        coded = to_serial(encode(one))
        if rng.random() < 0.3:
            line += b"\0" + damage(rng, coded[1:-1]) + b"\0"
        else:
            whole_ones.append(one)
            line += coded
    got: list[Message] = []
    at = 0
    while at < len(line):
        size = rng.randint(1, 120)
        got += parser.feed(bytes(line[at : at + size]))
        at += size
        if len(parser._partial) > 178:
            raise BrokenPromiseError("the parser keeps too much")
    # Damage may have changed nothing, so what arrives lies between the whole frames and all of them.
    if not in_order(whole_ones, got):
        raise BrokenPromiseError(f"lost a frame in {line.hex()}")
    if not in_order(got, all_ones):
        raise BrokenPromiseError(f"accepted what was not sent in {line.hex()}")
    return "accepted"


def in_order(few: list[Message], many: list[Message]) -> bool:
    """Whether ``few`` is ``many`` with some left out."""
    rest = iter(many)
    return all(one in rest for one in few)


ROUNDS = (whole, rubbish, damaged, damaged_coded, forged, forged_authenticated, stream)


def fuzz(frames: int, seed: int) -> Counter[str]:
    """``frames`` rounds; how often each kind of round ended in which way. Raises BrokenPromiseError."""
    rng = random.Random(seed)
    counts: Counter[str] = Counter()
    for _ in range(frames):
        play = ROUNDS[rng.randrange(len(ROUNDS))]
        counts[f"{play.__name__}: {play(rng)}"] += 1
    return counts


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    start = time.perf_counter()
    counts = fuzz(arguments.frames, arguments.seed)
    seconds = time.perf_counter() - start
    print(
        f"{arguments.frames} frames, seed {arguments.seed}: no exception, no wrong accept ({seconds:.0f} s)"
    )
    for name, count in sorted(counts.items()):
        print(f"  {count:8d}  {name}")


if __name__ == "__main__":
    main()
