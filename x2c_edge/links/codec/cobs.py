"""Consistent overhead byte stuffing: frames without zero bytes, so that a zero can end them."""

from __future__ import annotations

from x2c_edge.links.codec.refusal import FrameError


def cobs_encode(data: bytes) -> bytes:
    """``data`` without any zero byte; one byte longer for every frame of ours."""
    coded = bytearray()
    runs = data.split(b"\0")
    for k, run in enumerate(runs):
        last = k == len(runs) - 1
        while len(run) >= 254:
            coded.append(255)
            coded += run[:254]
            run = run[254:]
            if last and not run:
                return bytes(coded)
        coded.append(len(run) + 1)
        coded += run
    return bytes(coded)


def cobs_decode(coded: bytes) -> bytes:
    """The inverse of :func:`cobs_encode`. A zero, or a code that points past the end: FrameError."""
    data = bytearray()
    at, end = 0, len(coded)
    if b"\0" in coded or end == 0:
        raise FrameError("cobs")
    while at < end:
        code = coded[at]
        after = at + code
        if after > end:
            raise FrameError("cobs")
        data += coded[at + 1 : after]
        if code != 255 and after < end:
            data.append(0)
        at = after
    return bytes(data)
