"""What strangers send to the program, made from honest examples; one ``case(rng)`` a door.

A case returns in a word how it ended, and raises for a broken promise: an error that is not one line for the
user, a picture of another size than was checked, a server that does not answer.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mcap.data_stream import RecordBuilder
from mcap.records import Chunk

from tests.record.recordings import smooth, write
from x2c_edge import packs
from x2c_edge.capture import http_push
from x2c_edge.capture.base import EndOfStream
from x2c_edge.capture.jpeg import MOST_PIXELS, decode_jpeg, jpeg_size
from x2c_edge.errors import UserError
from x2c_edge.record.recorded import Recorded
from x2c_edge.runtime import settings as config

Case = Callable[[random.Random], str]


class BrokenPromiseError(AssertionError):
    """A door let something through."""


@cache
def folder() -> Path:
    """For files that are written a million times: in memory where there is such a place."""
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    return Path(tempfile.mkdtemp(prefix="x2c-fuzz-", dir=place))


def damage(rng: random.Random, data: bytes, most: int = 4) -> bytes:
    """Some bytes changed, left out, repeated, put in or cut off."""
    broken = bytearray(data)
    for _ in range(rng.randint(1, most)):
        at = rng.randrange(len(broken) + 1)
        end = min(at + rng.choice((1, 2, 4, 16, 200)), len(broken))
        kind = rng.randrange(6)
        if kind == 0 and at < len(broken):
            broken[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF, rng.getrandbits(8)))
        elif kind == 1:
            del broken[at:end]
        elif kind == 2:
            broken[at:at] = broken[at:end] * rng.choice((1, 2, 50))
        elif kind == 3:
            broken[at:at] = rng.randbytes(rng.randint(1, 8))
        elif kind == 4:
            broken[at:end] = rng.choice((b"\0", b"\xff")) * (end - at)
        elif rng.random() < 0.2:
            del broken[at:]
    return bytes(broken)


def one_line(error: UserError) -> str:
    if "\n" in str(error) or len(str(error)) > 2000:
        raise BrokenPromiseError(f"not one line: {str(error)[:300]!r}")
    return "refused"


# --- JPEG -----------------------------------------------------------------------------------------


@cache
def jpegs() -> list[bytes]:
    picture = cv2.resize(np.random.default_rng(1).integers(0, 255, (6, 8, 3), np.uint8), (64, 48))
    options = ((), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 1))
    coded = [cv2.imencode(".jpg", picture, list(option))[1].tobytes() for option in options]
    return [*coded, cv2.imencode(".jpg", picture[..., 0])[1].tobytes()]


def jpeg_case(rng: random.Random) -> str:
    """A picture is None, or of the size that was found before it was decoded."""
    data = rng.choice(jpegs())
    if rng.random() < 0.5:  # between the segments, where a parser and the decoder may part
        marks = [at for at in range(len(data) - 1) if data[at] == 0xFF and data[at + 1] not in (0, 0xFF)]
        at = rng.choice(marks)
        size = struct.pack(">HH", rng.randint(0, 5000), rng.randint(0, 5000))
        pieces = (b"\xff", b"\xff\x01", b"\xff\xd0", b"\xff\xfe\x00\x02", b"\xff\xc0\x00\x11\x08" + size)
        data = data[:at] + b"".join(rng.choices(pieces, k=rng.randint(1, 6))) + data[at:]
    if rng.random() < 0.7:
        data = damage(rng, data[:-2]) + data[-2:]
    size = jpeg_size(data)
    picture = decode_jpeg(np.frombuffer(data, np.uint8))
    if picture is None:
        return "refused" if size is None else "not decoded"
    if size is None or picture.shape != (size[1], size[0], 3) or size[0] * size[1] > MOST_PIXELS:
        raise BrokenPromiseError(f"{size} was checked, {picture.shape} decoded: {data.hex()}")
    return "decoded"


# --- settings and manifests -----------------------------------------------------------------------

_SETTINGS = b"""[run]
rate = 60
link = ["udp://127.0.0.1:5000", "jsonl:-"]
budget_ms = 50.0
[motion.gain]
brows = 1.2
[safety.limits."Head Yaw"]
low = -0.2
high = 0.2
[safety.smoothing.brows]
min_cutoff = 1.0
beta = 3.0
"""
_SNIPPETS = (
    b"[", b"]", b"{", b"}", b"[[", b"]]", b"=", b".", b'"', b"'", b'"""', b"\n", b"#", b"a.b.c", b"inf",
    b"nan", b"-1e400", b"99999999999999999999", b"1979-05-27T07:32:00Z", b"true", b"\xef\xbb\xbf", b"\0",
    b"\xff", b"[" * 500, b"a." * 500, b"{a=" * 500, b"nets", b"size", b"file", b"../../x", b"low", b"high",
)  # fmt: skip


def _soup(rng: random.Random, text: bytes) -> bytes:
    broken = damage(rng, text) if rng.random() < 0.4 else text
    for _ in range(rng.randint(0, 4)):
        at = rng.randrange(len(broken) + 1)
        end = rng.choice((at, at, min(at + 5, len(broken))))
        broken = broken[:at] + rng.choice(_SNIPPETS) + broken[end:]
    return broken


def settings_case(rng: random.Random) -> str:
    """Settings, or one line."""
    path = folder() / "a.toml"
    path.write_bytes(_soup(rng, _SETTINGS))
    try:
        config.load(path)
    except UserError as error:
        return one_line(error)
    return "read"


@cache
def _manifest() -> bytes:
    return (packs.shipped_folder() / packs.DEFAULT_PACK / packs.MANIFEST).read_bytes()


def manifest_case(rng: random.Random) -> str:
    """A pack whose files are in its folder, or one line."""
    path = folder() / packs.MANIFEST
    path.write_bytes(_soup(rng, _manifest()))
    try:
        pack = packs.read_manifest(folder())
    except UserError as error:
        return one_line(error)
    for entry in (*pack.nets.values(), *pack.files.values()):
        if not entry.file.resolve().is_relative_to(folder().resolve()):
            raise BrokenPromiseError(f"{entry.file} is elsewhere")
    return "read"


# --- recordings -----------------------------------------------------------------------------------


@cache
def _recording() -> bytes:
    return write(folder() / "honest.mcap", smooth(12), flush_every=4).read_bytes()


@cache
def _bare() -> bytes:
    """The records of one chunk, before compression."""
    import zstandard

    data = _recording()
    at = 8
    while data[at] != 6:
        at += 9 + struct.unpack_from("<Q", data, at + 1)[0]
    content = data[at + 9 :]
    at = 28 + 4 + struct.unpack_from("<I", content, 28)[0]
    (length,) = struct.unpack_from("<Q", content, at)
    return zstandard.decompress(content[at + 8 : at + 8 + length], 1 << 24)


def recording_case(rng: random.Random) -> str:
    """Frames up to the damage, or one line."""
    data = _recording()
    if rng.random() < 0.5:
        data = damage(rng, data)
    else:  # under a good checksum, so that the records themselves are met
        inside = damage(rng, _bare())
        record = RecordBuilder()
        claimed = rng.choice((len(inside), len(inside), 0, 1 << 40))
        Chunk("", inside, 0, zlib.crc32(inside), 0, claimed).write(record)
        data = data[:8] + record.end() + (data[8:] if rng.random() < 0.5 else b"")
    path = folder() / "a.mcap"
    path.write_bytes(data)
    source = Recorded(path, pictures=True)
    try:
        source.open()
        with contextlib.suppress(EndOfStream):
            while source.read(0.0) is not None:
                pass
    except UserError as error:
        return one_line(error)
    finally:
        source.close()
    return "cut short" if source.cut_short else "read"


# --- HTTP -----------------------------------------------------------------------------------------


class _Listener:
    """A listening port that remembers what escaped from its threads."""

    def __init__(self) -> None:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = int(one.getsockname()[1])
        self.push = http_push.HttpPush("127.0.0.1", self.port, "/stream")
        self.escaped: list[BaseException] = []
        self.push._server.handle_error = self._remember  # type: ignore[method-assign]
        self.cases = 0

    def _remember(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            self.escaped.append(error)


@cache
def listener() -> _Listener:
    return _Listener()


def http_case(rng: random.Random) -> str:
    """An answer of HTTP or none; and honest pictures go on being taken."""
    door = listener()
    body = rng.choice(jpegs())
    length = rng.choice((str(len(body)), str(len(body)), "-1", "9" * 40, "0", "\u0663", "5e1"))
    request = b"POST /stream HTTP/1.1\r\nHost: a\r\nContent-Length: %s\r\n\r\n" % length.encode() + body
    request = damage(rng, request[:120], 3) + request[120:] if rng.random() < 0.8 else request
    if rng.random() < 0.2:
        request = request * 2
    answer = b""
    with socket.create_connection(("127.0.0.1", door.port), timeout=20) as one:
        with contextlib.suppress(OSError):  # it need not listen to the end
            one.sendall(request)
            one.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while piece := one.recv(65536):
                answer += piece
    if answer and not (answer.startswith(b"HTTP/1.") or b"Error code" in answer):  # HTTP/0.9 has no head
        raise BrokenPromiseError(f"answered {answer[:80]!r} to {request.hex()}")
    door.cases += 1
    if door.cases % 50 == 0:
        honest = http.client.HTTPConnection("127.0.0.1", door.port, timeout=20)
        honest.request("POST", "/stream", jpegs()[0])
        if honest.getresponse().status not in (200, 429):
            raise BrokenPromiseError("an honest picture was refused")
        honest.close()
    if door.escaped:
        raise BrokenPromiseError(f"{door.escaped[0]!r} escaped at {request.hex()}")
    return answer[9:12].decode("ascii", "replace") if answer.startswith(b"HTTP/1.") else "no answer"


CASES: dict[str, Case] = {
    "jpeg": jpeg_case,
    "settings": settings_case,
    "manifest": manifest_case,
    "mcap": recording_case,
    "http": http_case,
}
