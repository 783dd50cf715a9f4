"""The robot's end of every transport: where commands arrive, and where telemetry leaves.

Each endpoint turns what arrives into demands (for a ``Receiver``) and, where the transport has a way back,
frames that want an answer; it counts what it refuses.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import queue
import secrets
import select
import socket
import termios
import time
import tty
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit

import numpy as np

from x2c_edge.controls import N_CONTROLS, from_robot
from x2c_edge.errors import BadArgumentError, NotFoundError, nearest
from x2c_edge.links.codec import (
    CmdF32,
    CmdU16,
    FrameError,
    Hello,
    HelloAck,
    Key,
    Message,
    SerialParser,
    decode,
    decode_authenticated,
    encode,
    encode_authenticated,
    to_serial,
)
from x2c_edge.links.uri import address_of, number_of, options_of
from x2c_edge.robot.faults import Faults
from x2c_edge.robot.receiver import Demand

SCHEMES: Final = ("serial", "udp", "zmq", "tritium")
_DATAGRAM_MOST: Final = 256
_BATCH: Final = 256  # pieces read in one go, so that a flood cannot keep the robot from moving
_FLOOD_PER_S: Final = 500  # bad datagrams a second; beyond it they are dropped unread
_MESSAGES_MOST: Final = 64

Arrival = Demand | Message


class Endpoint(Protocol):
    """where: what the host's ``--link`` should be, known after ``open``."""

    where: str

    @property
    def bad(self) -> Counter[str]:
        """Refused pieces by reason."""

    def open(self) -> None:
        """Listen. NotFoundError when that is impossible."""

    def receive(self, timeout_s: float) -> list[Arrival]:
        """What arrived, in order; waits for the first."""

    def send(self, message: Message) -> None:
        """Telemetry; dropped when the host does not read."""

    def renew(self) -> None:
        """The run is over: make recordings of it worthless, where the transport can."""

    def close(self) -> None:
        """Be gone, as after pulling the plug; ``open`` comes back."""


def make_endpoint(uri: str, faults: Faults) -> Endpoint:
    """The endpoint of a link URI. BadArgumentError for one that cannot be understood."""
    scheme = uri.partition(":")[0]
    if scheme == "serial":
        options_of(uri, {"baud", "settle"})
        return SerialEndpoint(uri, faults)
    if scheme == "udp":
        return UdpEndpoint(uri, faults)
    if scheme in ("zmq", "tritium"):
        if faults.wants("flip", "noise"):
            raise BadArgumentError(
                f"link '{uri}': TCP carries no damaged bits; flip and noise need serial or udp"
            )
        return ZmqEndpoint(uri, faults) if scheme == "zmq" else TritiumEndpoint(uri, faults)
    raise BadArgumentError(
        f"link '{uri}': unknown scheme '{scheme}'{nearest(scheme, SCHEMES)}; the robot listens on "
        + ", ".join(f"{known}:" for known in SCHEMES)
    )


def _demand(message: CmdU16 | CmdF32) -> Demand:
    t_s = message.t_us / 1e6
    return Demand(
        run=message.run,
        seq=message.seq,
        values=message.values,
        flags=message.flags,
        rate_hz=message.rate_hz,
        t_s=t_s,
        sent_s=t_s + message.age_us / 1e6,
    )


def _arrival(message: Message) -> Arrival:
    return _demand(message) if isinstance(message, CmdU16 | CmdF32) else message


class SerialEndpoint:
    """A pseudo-terminal, under a symbolic link when the URI names one."""

    def __init__(self, uri: str, faults: Faults) -> None:
        self._faults = faults
        path = unquote(urlsplit(uri).path)
        self._link = Path(path) if path not in ("", "/") else None
        if self._link is not None and self._link.exists() and not self._link.is_symlink():
            raise BadArgumentError(f"link '{uri}': {self._link} exists; name a path that the sim may make")
        self._parser = SerialParser()
        self._master = -1
        self._rest = b""
        self.where = uri

    @property
    def bad(self) -> Counter[str]:
        return Counter({str(reason): n for reason, n in self._parser.bad.items()})

    def open(self) -> None:
        self._master, slave = os.openpty()
        tty.setraw(slave)
        name = os.ttyname(slave)
        # The slave stays closed here: the host's opening and leaving are seen as on a real port.
        os.close(slave)
        os.set_blocking(self._master, False)
        if self._link is None:
            self.where = f"serial://{name}?settle=0"
            return
        try:
            with contextlib.suppress(FileNotFoundError):
                self._link.unlink()
            self._link.symlink_to(name)
        except OSError as error:
            os.close(self._master)
            raise NotFoundError(f"{self._link}: cannot be made: {error.strerror}") from None
        self.where = f"serial://{self._link}?settle=0"

    def receive(self, timeout_s: float) -> list[Arrival]:
        poll = select.poll()
        poll.register(self._master, select.POLLIN)
        events = poll.poll(math.ceil(timeout_s * 1000))
        if not events:
            return []
        if not events[0][1] & select.POLLIN:  # nobody has the port open
            time.sleep(timeout_s)
            return []
        try:
            data = os.read(self._master, 4096)
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EAGAIN):
                raise
            time.sleep(timeout_s)
            return []
        return [_arrival(m) for piece in self._faults.damage(data) for m in self._parser.feed(piece)]

    def send(self, message: Message) -> None:
        block = self._rest + to_serial(encode(message))
        try:
            taken = os.write(self._master, block)
        except OSError:
            taken = 0
        # A block that went out in part must be finished, or the next one is lost too.
        self._rest = block[taken:] if 0 < taken < len(block) else b""

    def renew(self) -> None:
        return

    def close(self) -> None:
        with contextlib.suppress(termios.error):
            termios.tcflush(self._master, termios.TCIOFLUSH)
        os.close(self._master)
        self._rest = b""
        if self._link is not None:
            with contextlib.suppress(FileNotFoundError):
                self._link.unlink()


class UdpEndpoint:
    """One socket; with a key only authenticated datagrams count, under a challenge that is ours."""

    def __init__(self, uri: str, faults: Faults) -> None:
        from x2c_edge.links.udp_link import DEFAULT_HOST, DEFAULT_PORT, read_key

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
        self.bad: Counter[str] = Counter()
        self.where = uri

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
                self.bad["flood"] += 1
                continue
            for piece in self._faults.damage(data):
                try:
                    message = self._decode(piece)
                except FrameError as error:
                    self.bad[error.reason] += 1
                    self._bad_in_second += 1
                    continue
                self._host = sender
                arrivals.append(_arrival(message))
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


class ZmqEndpoint:
    """A subscriber as the authors' robot script should be: read to the newest, accepts 30 and 31 parts."""

    def __init__(self, uri: str, faults: Faults) -> None:
        from x2c_edge.links.zmq_link import DEFAULT_HOST, DEFAULT_PORT, MOST_PART_BYTES
        from x2c_edge.zeromq import Subscriber, read_curve, tcp

        options = options_of(uri, {"variant", "curve"})
        host, port = address_of(uri, DEFAULT_HOST, DEFAULT_PORT)
        curve = read_curve(options["curve"], "server") if "curve" in options else None
        self._address = tcp("127.0.0.1" if host == "*" else host, port)
        self._connect = partial(Subscriber, queue=1000, most_bytes=MOST_PART_BYTES, curve=curve)
        self._faults = faults
        self._seq = 0
        self.bad: Counter[str] = Counter()
        self.skipped = 0
        self.where = uri

    def open(self) -> None:
        self._subscriber = self._connect(self._address)

    def receive(self, timeout_s: float) -> list[Arrival]:
        from x2c_edge.links.zmq_link import decode_parts

        parts = self._subscriber.newest(timeout_s)
        if parts is None:
            return []
        try:
            time_s, robot_values = decode_parts(parts)
        except FrameError as error:
            self.bad[error.reason] += 1
            return []
        values = from_robot(robot_values)
        arrivals: list[Arrival] = []
        for _ in range(self._faults.passes()):
            self._seq += 1
            arrivals.append(Demand(0, self._seq, values, rate_hz=60, t_s=time_s, sent_s=time_s))
        return arrivals

    def send(self, message: Message) -> None:
        return

    def renew(self) -> None:
        return

    def close(self) -> None:
        self.skipped += self._subscriber.skipped
        self._subscriber.close()


class TritiumEndpoint:
    """The robot's gateway and the script behind it."""

    def __init__(self, uri: str, faults: Faults) -> None:
        from x2c_edge.links.tritium_link import DEFAULT_PORT, DEFAULT_RATE, read_token

        options = options_of(uri, {"rate"})
        self._address = address_of(uri, "127.0.0.1", DEFAULT_PORT)
        self._rate_hz = int(number_of(uri, options, "rate", DEFAULT_RATE, 1, 255, whole=True))
        self._token = read_token()
        self._faults = faults
        self._messages: queue.Queue[tuple[object, object]] = queue.Queue(_MESSAGES_MOST)
        self._silent_until = 0.0
        self.bad: Counter[str] = Counter()
        self.where = uri

    def open(self) -> None:
        from x2c_edge.links.websocket import Server

        self._silent_until = 0.0
        self._server = Server(*self._address, admit=self._admit, answer=self._answer)

    def _admit(self, headers: Mapping[str, str]) -> bool:
        given = headers.get("x-tritium-token", "")
        if secrets.compare_digest(given.encode(), self._token.encode()):
            return True
        self.bad["auth"] += 1
        return False

    def be_silent(self, seconds: float) -> None:
        """Answer nothing for so long."""
        self._silent_until = time.monotonic() + seconds

    def _answer(self, text: str) -> str | None:
        """In the connection's thread: hand the message on, answer the request."""
        while (left_s := self._silent_until - time.monotonic()) > 0:
            time.sleep(min(left_s, 0.05))
        try:
            request = json.loads(text)
            request_id = request["request_id"]
            document, given = request["document"], request["variable_values"]["input"]
            if request["type"] != "graphql" or "postMessage" not in document:
                raise ValueError("only postMessage is known here")
            channel, message = given["channel"], given["message"]
        except (ValueError, KeyError, TypeError, RecursionError):
            self.bad["type"] += 1
            return None
        with contextlib.suppress(queue.Full):
            self._messages.put_nowait((channel, message))
        return json.dumps(
            {"type": "graphql_response", "request_id": request_id, "data": {"data": {"postMessage": None}}}
        )

    def receive(self, timeout_s: float) -> list[Arrival]:
        from x2c_edge.links.tritium_link import CHANNEL

        arrivals: list[Arrival] = []
        for _ in range(_MESSAGES_MOST):
            try:
                channel, message = self._messages.get(timeout=0.0 if arrivals else max(timeout_s, 0.001))
            except queue.Empty:
                break
            if channel != CHANNEL:
                continue
            try:
                demand = _script_demand(message, self._rate_hz)
            except FrameError as error:
                self.bad[error.reason] += 1
                continue
            arrivals += [demand] * self._faults.passes()
        return arrivals

    def send(self, message: Message) -> None:
        return

    def renew(self) -> None:
        return

    def close(self) -> None:
        self._server.close()


def _script_demand(message: object, rate_hz: int) -> Demand:
    """The channel message of docs/spec/links.md section 7.3. FrameError for any other."""
    if not isinstance(message, dict) or message.get("v") != 1:
        raise FrameError("version")
    try:
        run, seq, flags = int(message["run"], 16), message["seq"], message["flags"]
        t_s, numbers = message["t"], message["c"]
    except (KeyError, ValueError, TypeError):
        raise FrameError("layout") from None
    integers = all(type(n) is int and 0 <= n < 1 << 32 for n in (run, seq, flags))
    if not isinstance(numbers, list) or len(numbers) != N_CONTROLS:
        raise FrameError("length")
    if not integers or not all(type(n) in (int, float) and math.isfinite(n) for n in (*numbers, t_s)):
        raise FrameError("nonfinite")
    values = from_robot(np.array(numbers, dtype=np.float64))
    return Demand(run, seq, values, flags=flags & 0xFF, rate_hz=rate_hz, t_s=float(t_s), sent_s=float(t_s))


def hello_ack(
    hello: Hello, endpoint: Endpoint, *, run: int, seq: int, hold_ms: int, neutral_ms: int
) -> HelloAck:
    """The answer to a greeting."""
    return HelloAck(
        run=run,
        seq=seq,
        t_us=time.monotonic_ns() // 1000,
        nonce=hello.nonce,
        challenge=endpoint.challenge if isinstance(endpoint, UdpEndpoint) else 0,
        hold_ms=hold_ms,
        neutral_ms=neutral_ms,
        max_rate_hz=60,
    )
