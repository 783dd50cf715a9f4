"""``zmq://HOST:PORT``: the robot's camera, one JPEG a message (docs/spec/links.md section 8).

The robot publishes single-part messages; a relay puts the time in front (two parts). Both are taken, so the
socket is read to the newest rather than conflated: a conflating socket that meets two parts loses one, and in
some builds of libzmq ends the process.
"""

from __future__ import annotations

import socket
import time
from typing import Final
from urllib.parse import parse_qsl

import numpy as np

from x2c_edge.capture.base import OpenSource, SourceSpec
from x2c_edge.capture.jpeg import MOST_BYTES, MOST_PER_S, decode_jpeg
from x2c_edge.capture.live import Live, Raw
from x2c_edge.capture.reopening import Reopening
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.frames import PixelFormat
from x2c_edge.schemes import parts_of
from x2c_edge.zeromq import Curve, Subscriber, read_curve, tcp

DEFAULT_PORT: Final = 5000
_QUEUE: Final = 16
_PATIENCE_S: Final = 0.1


class ZmqVideo:
    """A ``Device``; its time is the arrival's, because the messages carry none of a common clock."""

    format = "MJPG"
    fps = 30.0

    def __init__(self, endpoint: str, curve: Curve | None) -> None:
        self._subscriber = Subscriber(endpoint, queue=_QUEUE, most_bytes=MOST_BYTES, curve=curve)
        self._next_at = 0.0
        self.width = self.height = 0

    def grab(self) -> tuple[int, Raw] | None:
        """The newest message; TimeoutError when there is none yet."""
        time.sleep(min(max(0.0, self._next_at - time.monotonic()), _PATIENCE_S))
        refused = self._subscriber.refused
        parts = self._subscriber.newest(_PATIENCE_S)
        if parts is None:
            if self._subscriber.refused == refused:
                raise TimeoutError
            parts = [b""]  # a damaged picture, to be counted
        self._next_at = time.monotonic() + 1 / MOST_PER_S
        return time.monotonic_ns(), np.frombuffer(parts[-1], np.uint8)

    def decode(self, raw: Raw) -> tuple[Raw, PixelFormat] | None:
        image = decode_jpeg(raw)
        if image is None:
            return None
        self.height, self.width = image.shape[:2]
        return image, "BGR"

    def release(self) -> None:
        self._subscriber.close()


def zmq_source(text: str, spec: SourceSpec) -> OpenSource:
    """The source of ``zmq://HOST:PORT?curve=FILE``, not yet open."""
    parts = parts_of(text, "input")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    try:
        host, port = parts.hostname, parts.port or DEFAULT_PORT
    except ValueError:
        host, port = None, 0
    if host is None or parts.path not in ("", "/") or not set(options) <= {"curve"}:
        raise BadArgumentError(
            f"input '{text}': write zmq://HOST:PORT, with ?curve=FILE for an encrypted one"
        )

    def connect() -> ZmqVideo:
        try:
            socket.getaddrinfo(host, port)
        except OSError:
            raise NotFoundError(f"input {text}: no such host '{host}'; check the name") from None
        return ZmqVideo(
            tcp(host, port), read_curve(options["curve"], "server") if "curve" in options else None
        )

    return Reopening(Live(text, connect, patient=True))
