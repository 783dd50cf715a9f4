"""The robot as a receiver of datagrams."""

from __future__ import annotations

import contextlib
import math
import secrets
import select
import socket
import time
from typing import Any, Final

from x2c_edge.errors import NotFoundError
from x2c_edge.links.codec import (
    FrameError,
    Key,
    Message,
    decode,
    decode_authenticated,
    encode,
    encode_authenticated,
)
from x2c_edge.links.udp_link import DEFAULT_HOST, DEFAULT_PORT, read_key
from x2c_edge.links.uri import address_of, number_of, options_of
from x2c_edge.robot.endpoint import Arrival, Endpoint, arrival_of
from x2c_edge.robot.faults import Faults

_DATAGRAM_MOST: Final = 256
_BATCH: Final = 256  # pieces read in one go, so that a flood cannot keep the robot from moving
_FLOOD_PER_S: Final = 500  # bad datagrams a second; beyond it they are dropped unread


class UdpEndpoint(Endpoint):
    """One socket; with a key only authenticated datagrams count, under a challenge that is ours."""

    def __init__(self, uri: str, faults: Faults) -> None:
        super().__init__(uri)
        self._faults = faults
        options = options_of(uri, {"key", "key_id"})
        self._address = address_of(uri, DEFAULT_HOST, DEFAULT_PORT)
        key_id = int(number_of(uri, options, "key_id", 1, 0, 255, whole=True))
        self._key: Key | None = read_key(options.get("key"), key_id)
        self._challenge = secrets.randbits(64)
        self._host: Any = None
        self._flood_until = 0.0
        self._bad_in_second = 0
        self._second = 0

    def open(self) -> None:
        try:
            family, kind, proto, _, address = socket.getaddrinfo(*self._address, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(family, kind, proto)
            self._socket.setblocking(False)
            self._socket.bind(address)
        except OSError as error:
            raise NotFoundError(f"udp {self._address[0]}:{self._address[1]}: {error.strerror}") from None

    def receive(self, timeout_s: float) -> list[Arrival]:
        arrivals: list[Arrival] = []
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.poll(math.ceil(timeout_s * 1000))
        for _ in range(_BATCH):
            try:
                data, sender = self._socket.recvfrom(_DATAGRAM_MOST)
            except OSError:  # nothing more, or an ICMP answer to telemetry
                break
            if self._flooded():
                self._bad["flood"] += 1
                continue
            for piece in self._faults.damage(data):
                try:
                    message = self._decode(piece)
                except FrameError as error:
                    self._bad[error.reason] += 1
                    self._bad_in_second += 1
                    continue
                self._host = sender
                arrivals.append(arrival_of(message))
        return arrivals

    def _flooded(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._bad_in_second = second, 0
        return self._key is not None and self._bad_in_second > _FLOOD_PER_S

    def _decode(self, piece: bytes) -> Message:
        if self._key is None:
            return decode(piece)
        return decode_authenticated(piece, self._key, self._challenge)

    @property
    def challenge(self) -> int:
        """What to put into a HelloAck; 0 without a key."""
        return self._challenge if self._key else 0

    def send(self, message: Message) -> None:
        if self._host is None:
            return
        frame = encode_authenticated(message, self._key, self._challenge) if self._key else encode(message)
        with contextlib.suppress(OSError):
            self._socket.sendto(frame, self._host)

    def renew(self) -> None:
        self._challenge = secrets.randbits(64)

    def close(self) -> None:
        self._socket.close()
        self._host = None
