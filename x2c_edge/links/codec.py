"""The frame codec of the serial and UDP links: bytes <-> messages. Pure; no clocks, no I/O.

Format: docs/spec/links.md sections 2.4 (quantisation), 3 (frames), 4 (COBS on serial) and
5.2 (authentication). Everything is little-endian: ``header | body | [trailer] | crc32c``.

Bytes that are wrong in any way raise :class:`FrameError`; a message that cannot be encoded (a
non-finite value, a field too large) raises ``ValueError``. Nothing else escapes.
"""

from __future__ import annotations

import hmac
import math
import struct
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from x2c_edge.controls import HIGH, LOW, N_CONTROLS, NAMES, from_robot, to_robot
from x2c_edge.frames import Command

Reason = Literal["crc", "version", "flags", "layout", "length", "type", "nonfinite", "cobs", "auth"]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)

VERSION: Final = 1
AUTH_FLAG: Final = 0x8000
MAX_BLOCK: Final = 178  # bytes between two zeros on a serial line; longer is rubbish (4.2 rule 1)
MAX_FRAME: Final = 172  # CMD_F32 with its authentication trailer
ABSENT: Final = 65535
STEPS: Final = 65534

STATES: Final = ("BOOT", "WAIT", "ACTIVE", "HOLD", "NEUTRAL", "FAULT", "ESTOP")
# fmt: off
FAULTS: Final = (
    "none", "version", "layout", "range", "overheat", "overcurrent", "supply", "motor offline",
    "e-stop", "watchdog", "foreign run", "auth", "internal",
)
# fmt: on
FAULT_FOREIGN_RUN: Final = FAULTS.index("foreign run")


class FrameError(Exception):
    """Bytes that are not a frame we may use; ``reason`` is the counter they belong to."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"frame refused: {reason}")
        self.reason: Reason = reason


# --- CRC-32C ---------------------------------------------------------------------------------------


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


_CRC_TABLE: Final = _crc_table()


def crc32c(data: bytes | memoryview) -> int:
    """CRC-32/ISCSI of ``data`` (0xE3069283 for b"123456789")."""
    table = _CRC_TABLE
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


# --- COBS ------------------------------------------------------------------------------------------


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


# --- layout and quantisation -----------------------------------------------------------------------

# The wire's ranges in the robot's units (degrees) are whole numbers; rint undoes the trip through radians.
_WIRE_LOW: Final = np.rint(to_robot(LOW))
_WIRE_HIGH: Final = np.rint(to_robot(HIGH))
_WIRE_SPAN: Final = _WIRE_HIGH - _WIRE_LOW

LAYOUT_TEXT: Final = "".join(
    f"{i}:{name}:{int(low)}:{int(high)}\n"
    for i, (name, low, high) in enumerate(zip(NAMES, _WIRE_LOW, _WIRE_HIGH, strict=True))
)
LAYOUT_CRC: Final = crc32c(LAYOUT_TEXT.encode("ascii"))
LAYOUT_ID: Final = LAYOUT_CRC & 0xFFFF


def quantise(robot_values: ArrayLike) -> tuple[int, ...]:
    """(30,) values in the robot's units -> 30 steps 0..65534, clamped to the wire range.

    NaN means *absent* and becomes 65535; an infinite value raises ValueError.
    """
    values = np.asarray(robot_values, dtype=np.float64)
    if values.shape != (N_CONTROLS,) or np.isinf(values).any():
        raise ValueError(f"robot_values: ({N_CONTROLS},) without infinities expected")
    steps = np.floor((np.clip(values, _WIRE_LOW, _WIRE_HIGH) - _WIRE_LOW) / _WIRE_SPAN * STEPS + 0.5)
    steps[np.isnan(values)] = ABSENT
    return tuple(steps.astype(np.uint16).tolist())


def dequantise(steps: Sequence[int]) -> NDArray[np.float64]:
    """30 steps -> (30,) float64 in the robot's units, NaN where absent."""
    q = np.asarray(steps, dtype=np.float64)
    values = _WIRE_LOW + _WIRE_SPAN * q / STEPS
    values[q == ABSENT] = np.nan
    return values


# --- messages --------------------------------------------------------------------------------------

_HEADER: Final = struct.Struct("<BBHIIQ")
_CRC: Final = struct.Struct("<I")
_COMMAND_U16: Final = struct.Struct(f"<IBBH{N_CONTROLS}H")
_COMMAND_F32: Final = struct.Struct(f"<IBBH{N_CONTROLS}f")
_PING: Final = struct.Struct("<I")
_HELLO: Final = struct.Struct("<QIBBH")
_STATUS: Final = struct.Struct("<IIIBBHIIIIIHhI")
_PONG: Final = struct.Struct("<IQ")
_HELLO_ACK: Final = struct.Struct("<QQIBBHHBB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message(ABC):
    """The header that every frame has.

    run: random number of the sender's life. seq: +1 per frame, wraps at 2**32. t_us: capture time of
    the data, microseconds of the sender's monotonic clock. flags: ``frames.Flag`` bits, 0..255;
    whether a frame is authenticated is no property of the message, but of how it is coded.
    """

    TYPE: ClassVar[int]
    BODY: ClassVar[struct.Struct]

    run: int
    seq: int
    t_us: int
    flags: int = 0

    @abstractmethod
    def _body(self) -> tuple[float, ...]:
        """The body's numbers, in the order of ``BODY``."""

    @classmethod
    @abstractmethod
    def _fields(cls, body: tuple[float, ...]) -> dict[str, object]:
        """The inverse of ``_body``: the fields that are not in the header."""


def _check_layout(n: float, layout_id: float) -> None:
    if n != N_CONTROLS or layout_id != LAYOUT_ID:
        raise FrameError("layout")


@dataclass(frozen=True, slots=True, kw_only=True)
class CmdU16(Message):
    """Command, quantised. steps: 30 of 0..65534, 65535 = leave this control alone."""

    TYPE = 0x01
    BODY = _COMMAND_U16

    age_us: int
    rate_hz: int
    steps: tuple[int, ...]

    @property
    def robot_values(self) -> NDArray[np.float64]:
        """(30,) in the robot's units (degrees), NaN where absent."""
        return dequantise(self.steps)

    @property
    def values(self) -> NDArray[np.float64]:
        """(30,) in paper units (radians), NaN where absent."""
        return from_robot(self.robot_values)

    def _body(self) -> tuple[float, ...]:
        return (self.age_us, N_CONTROLS, self.rate_hz, LAYOUT_ID, *self.steps)

    @classmethod
    def _fields(cls, body: tuple[float, ...]) -> dict[str, object]:
        _check_layout(body[1], body[3])
        return {"age_us": body[0], "rate_hz": body[2], "steps": body[4:]}


@dataclass(frozen=True, slots=True, kw_only=True)
class CmdF32(Message):
    """Command as 32-bit floats. demands: 30 finite numbers in the robot's units (degrees)."""

    TYPE = 0x02
    BODY = _COMMAND_F32

    age_us: int
    rate_hz: int
    demands: tuple[float, ...]

    @property
    def robot_values(self) -> NDArray[np.float64]:
        """(30,) in the robot's units (degrees)."""
        return np.array(self.demands, dtype=np.float64)

    @property
    def values(self) -> NDArray[np.float64]:
        """(30,) in paper units (radians)."""
        return from_robot(self.demands)

    def _body(self) -> tuple[float, ...]:
        if not all(map(math.isfinite, self.demands)):
            raise ValueError("a non-finite value is never encoded")
        return (self.age_us, N_CONTROLS, self.rate_hz, LAYOUT_ID, *self.demands)

    @classmethod
    def _fields(cls, body: tuple[float, ...]) -> dict[str, object]:
        _check_layout(body[1], body[3])
        if not all(map(math.isfinite, body[4:])):
            raise FrameError("nonfinite")
        return {"age_us": body[0], "rate_hz": body[2], "demands": body[4:]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping(Message):
    """Host to robot: answer with a Pong."""

    TYPE = 0x03
    BODY = _PING

    nonce: int

    def _body(self) -> tuple[float, ...]:
        return (self.nonce,)

    @classmethod
    def _fields(cls, body: tuple[float, ...]) -> dict[str, object]:
        return {"nonce": body[0]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello(Message):
    """Host to robot: who are you, and what is the challenge?"""

    TYPE = 0x10
    BODY = _HELLO

    nonce: int
    rate_hz: int

    def _body(self) -> tuple[float, ...]:
        return (self.nonce, LAYOUT_CRC, N_CONTROLS, self.rate_hz, 0)

    @classmethod
    def _fields(cls, body: tuple[float, ...]) -> dict[str, object]:
        nonce, layout_crc, n, rate_hz, _ = body
        if n != N_CONTROLS or layout_crc != LAYOUT_CRC:
            raise FrameError("layout")
        return {"nonce": nonce, "rate_hz": rate_hz}


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Message):
    """Robot to host: what it received, what it does, how it is (section 3)."""

    TYPE = 0x81
    BODY = _STATUS

    ack_run: int = 0
    last_seq: int = 0
    bitmap: int = 0
    state: int = 0
    fault: int = 0
    fault_arg: int = 0
    n_ok: int = 0
    n_bad: int = 0
    n_gap: int = 0
    n_stale: int = 0
    n_limited: int = 0
    supply_mv: int = 0
    temp_centi_c: int = -32768
    rx_age_us: int = 0

    @property
    def state_name(self) -> str:
        """``"ACTIVE"`` and so on; the number for one that this version does not know."""
        return STATES[self.state] if self.state < len(STATES) else str(self.state)

    @property
    def fault_name(self) -> str:
        """``"overheat"`` and so on; the number for one that this version does not know."""
        return FAULTS[self.fault] if self.fault < len(FAULTS) else str(self.fault)

    @property
    def supply_v(self) -> float | None:
        """Volts, None when the robot does not know."""
        return self.supply_mv / 1000 if self.supply_mv else None

    @property
    def temp_c(self) -> float | None:
        """The hottest board in degrees Celsius, None when the robot does not know."""
        return None if self.temp_centi_c == -32768 else self.temp_centi_c / 100

    def _body(self) -> tuple[float, ...]:
        # fmt: off
        return (
            self.ack_run, self.last_seq, self.bitmap, self.state, self.fault, self.fault_arg, self.n_ok,
            self.n_bad, self.n_gap, self.n_stale, self.n_limited, self.supply_mv, self.temp_centi_c,
            self.rx_age_us,
        )
        # fmt: on

    @classmethod
    def _fields(cls, body: tuple[float, ...]) -> dict[str, object]:
        return dict(zip(_STATUS_FIELDS, body, strict=True))


# fmt: off
_STATUS_FIELDS: Final = (
    "ack_run", "last_seq", "bitmap", "state", "fault", "fault_arg", "n_ok", "n_bad", "n_gap", "n_stale",
    "n_limited", "supply_mv", "temp_centi_c", "rx_age_us",
)
# fmt: on


@dataclass(frozen=True, slots=True, kw_only=True)
class Positions(Message):
    """Robot to host: measured positions. steps: 30 of 0..65534, 65535 = unknown."""

    TYPE = 0x82
    BODY = _COMMAND_U16

    applied_seq: int
    steps: tuple[int, ...]

    @property
    def robot_values(self) -> NDArray[np.float64]:
        """(30,) in the robot's units (degrees), NaN where unknown."""
        return dequantise(self.steps)

    @property
    def values(self) -> NDArray[np.float64]:
        """(30,) in paper units (radians), NaN where unknown."""
        return from_robot(self.robot_values)

    def _body(self) -> tuple[float, ...]:
        return (self.applied_seq, N_CONTROLS, 0, LAYOUT_ID, *self.steps)

    @classmethod
    def _fields(cls, body: tuple[float, ...]) -> dict[str, object]:
        _check_layout(body[1], body[3])
        return {"applied_seq": body[0], "steps": body[4:]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong(Message):
    """Robot to host: the answer to a Ping. echo_t_us is the Ping's t_us."""

    TYPE = 0x83
    BODY = _PONG

    nonce: int
    echo_t_us: int

    def _body(self) -> tuple[float, ...]:
        return (self.nonce, self.echo_t_us)

    @classmethod
    def _fields(cls, body: tuple[float, ...]) -> dict[str, object]:
        return {"nonce": body[0], "echo_t_us": body[1]}


@dataclass(frozen=True, slots=True, kw_only=True)
class HelloAck(Message):
    """Robot to host: the answer to a Hello. challenge is 0 on a link without authentication."""

    TYPE = 0x90
    BODY = _HELLO_ACK

    nonce: int
    challenge: int
    hold_ms: int
    neutral_ms: int
    max_rate_hz: int

    def _body(self) -> tuple[float, ...]:
        # fmt: off
        return (
            self.nonce, self.challenge, LAYOUT_CRC, VERSION, N_CONTROLS, self.hold_ms, self.neutral_ms,
            self.max_rate_hz, 0,
        )
        # fmt: on

    @classmethod
    def _fields(cls, body: tuple[float, ...]) -> dict[str, object]:
        nonce, challenge, layout_crc, version, n, hold_ms, neutral_ms, max_rate_hz, _ = body
        if version != VERSION:
            raise FrameError("version")
        if n != N_CONTROLS or layout_crc != LAYOUT_CRC:
            raise FrameError("layout")
        return {
            "nonce": nonce,
            "challenge": challenge,
            "hold_ms": hold_ms,
            "neutral_ms": neutral_ms,
            "max_rate_hz": max_rate_hz,
        }


_TYPES: Final[dict[int, type[Message]]] = {
    kind.TYPE: kind for kind in (CmdU16, CmdF32, Ping, Hello, Status, Positions, Pong, HelloAck)
}
_MIN_FRAME: Final = _HEADER.size + _CRC.size


# --- frames ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Key:
    """The shared secret of one host-robot pair: 32 bytes, and its number (for rotation)."""

    secret: bytes
    key_id: int = 1

    def __repr__(self) -> str:
        return f"Key(key_id={self.key_id})"  # the secret never reaches a log


_TAG_CONTEXT: Final = b"x2c-link-v1\0"
_TAG_SIZE: Final = 16
_TRAILER_SIZE: Final = 4 + _TAG_SIZE


def _tag(key: Key, kind: int, challenge: int, signed: bytes) -> bytes:
    # Greetings come before the challenge is known; the direction keeps a frame from being reflected.
    greeting = kind in (Hello.TYPE, HelloAck.TYPE)
    context = struct.pack("<BQ", kind >> 7, 0 if greeting else challenge)
    return hmac.digest(key.secret, _TAG_CONTEXT + context + signed, "sha256")[:_TAG_SIZE]


def _head_and_body(message: Message, extra_flags: int) -> bytes:
    if message.flags & ~0xFF:
        raise ValueError(f"flags: {message.flags:#06x} has bits outside 0x00ff")
    try:
        header = _HEADER.pack(
            VERSION, message.TYPE, message.flags | extra_flags, message.run, message.seq, message.t_us
        )
        return header + message.BODY.pack(*message._body())
    except (struct.error, OverflowError) as error:
        raise ValueError(f"{type(message).__name__}: {error}") from error


def encode(message: Message) -> bytes:
    """The frame of ``message``, without delimiters and without authentication."""
    data = _head_and_body(message, 0)
    return data + _CRC.pack(crc32c(data))


def encode_authenticated(message: Message, key: Key, challenge: int) -> bytes:
    """The frame with the AUTH flag and a tag. ``challenge`` is ignored for Hello and HelloAck."""
    data = _head_and_body(message, AUTH_FLAG) + struct.pack("<I", key.key_id)
    data += _tag(key, message.TYPE, challenge, data)
    return data + _CRC.pack(crc32c(data))


def decode(frame: bytes) -> Message:
    """The message in an unauthenticated frame. FrameError: see ``Reason``; AUTH counts as flags."""
    return _decode(frame, None, 0)


def decode_authenticated(frame: bytes, key: Key, challenge: int) -> Message:
    """The message in a frame that must carry a good tag; anything else is FrameError("auth")."""
    return _decode(frame, key, challenge)


def _decode(frame: bytes, key: Key | None, challenge: int) -> Message:
    if not _MIN_FRAME <= len(frame) <= MAX_FRAME:
        raise FrameError("length")
    if crc32c(frame[:-4]) != int.from_bytes(frame[-4:], "little"):
        raise FrameError("crc")
    version, type_code, flags, run, seq, t_us = _HEADER.unpack_from(frame)
    if version != VERSION:
        raise FrameError("version")
    if flags & 0xFF00 & ~(AUTH_FLAG if key else 0):
        raise FrameError("flags")
    if key and not flags & AUTH_FLAG:
        raise FrameError("auth")
    kind = _TYPES.get(type_code)
    if kind is None:
        raise FrameError("type")
    body_end = _HEADER.size + kind.BODY.size
    signed_end = body_end + 4
    if len(frame) != body_end + 4 + (_TRAILER_SIZE if key else 0):
        raise FrameError("length")
    if key:
        trailer_ok = frame[body_end:signed_end] == struct.pack("<I", key.key_id)
        tag = _tag(key, type_code, challenge, frame[:signed_end])
        if not (hmac.compare_digest(tag, frame[signed_end:-4]) and trailer_ok):
            raise FrameError("auth")
    fields = kind._fields(kind.BODY.unpack_from(frame, _HEADER.size))
    return kind(run=run, seq=seq, t_us=t_us, flags=flags & 0xFF, **fields)


def message_of_command(command: Command, *, run: int, seq: int, rate_hz: int, now_ns: int) -> CmdU16:
    """The CMD_U16 message of one command. ``now_ns``: when it is handed to the port.

    t_us is the capture time of the expression that is followed. In every other state the pose is the
    supervisor's own, made when the command was, so t_us is its send time: otherwise a receiver would
    count a deliberate hold or return as late data. ValueError for a value that is not finite.
    """
    if not np.isfinite(command.values).all():
        raise ValueError("a non-finite value is never encoded")
    t_ns = command.t_capture_ns if command.state == "FOLLOWING" else None
    if t_ns is None:
        t_ns = command.t_send_ns
    return CmdU16(
        run=run,
        seq=seq & 0xFFFFFFFF,
        t_us=t_ns // 1000,
        flags=command.flags,
        age_us=min(max(now_ns - t_ns, 0) // 1000, 0xFFFFFFFF),
        rate_hz=rate_hz,
        steps=quantise(to_robot(command.values)),
    )


def encode_command(command: Command, *, run: int, rate_hz: int, now_ns: int, seq: int | None = None) -> bytes:
    """The CMD_U16 frame of one command; ``seq`` is the link's own count, by default the command's."""
    wire_seq = command.seq if seq is None else seq
    return encode(message_of_command(command, run=run, seq=wire_seq, rate_hz=rate_hz, now_ns=now_ns))


# --- serial ----------------------------------------------------------------------------------------


def to_serial(frame: bytes) -> bytes:
    """A frame as it goes over a serial line: ``00 | COBS | 00``."""
    return b"\0" + cobs_encode(frame) + b"\0"


class SerialParser:
    """Cuts a serial stream into messages; keeps one partial block and nothing else (4.2 rules 1-3).

    ok: frames accepted. bad: refused blocks by reason.
    """

    __slots__ = ("_overlong", "_partial", "bad", "ok")

    def __init__(self) -> None:
        self._partial = b""
        self._overlong = False
        self.ok = 0
        self.bad: Counter[Reason] = Counter()

    @property
    def n_bad(self) -> int:
        """Refused blocks, all reasons."""
        return self.bad.total()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that ``data`` completes, in order."""
        messages = []
        *blocks, tail = data.split(b"\0")
        for block in blocks:
            block, self._partial = self._partial + block, b""
            if self._overlong:
                self._overlong = False
            elif len(block) > MAX_BLOCK:
                self.bad["length"] += 1
            elif block:
                try:
                    messages.append(decode(cobs_decode(block)))
                    self.ok += 1
                except FrameError as error:
                    self.bad[error.reason] += 1
        if not self._overlong:
            self._partial += tail[: MAX_BLOCK + 1]
            if len(self._partial) > MAX_BLOCK:
                self._overlong, self._partial = True, b""
                self.bad["length"] += 1
        return messages
