"""What robots and hosts say to each other, and the body of each message in numbers."""

from __future__ import annotations

import math
import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from x2c_edge.controls import N_CONTROLS, from_robot
from x2c_edge.links.codec.refusal import FrameError
from x2c_edge.links.codec.steps import LAYOUT_CRC, LAYOUT_ID, dequantise

VERSION: Final = 1
STATES: Final = ("BOOT", "WAIT", "ACTIVE", "HOLD", "NEUTRAL", "FAULT", "ESTOP")
# fmt: off
FAULTS: Final = (
    "none", "version", "layout", "range", "overheat", "overcurrent", "supply", "motor offline",
    "e-stop", "watchdog", "foreign run", "auth", "internal",
)
# fmt: on
FAULT_FOREIGN_RUN: Final = FAULTS.index("foreign run")

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
    def to_body(self) -> tuple[float, ...]:
        """The body's numbers, in the order of ``BODY``."""

    @classmethod
    @abstractmethod
    def fields_of(cls, body: tuple[float, ...]) -> dict[str, object]:
        """The inverse of ``to_body``: the fields that are not in the header."""


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

    def to_body(self) -> tuple[float, ...]:
        return (self.age_us, N_CONTROLS, self.rate_hz, LAYOUT_ID, *self.steps)

    @classmethod
    def fields_of(cls, body: tuple[float, ...]) -> dict[str, object]:
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

    def to_body(self) -> tuple[float, ...]:
        if not all(map(math.isfinite, self.demands)):
            raise ValueError("a non-finite value is never encoded")
        return (self.age_us, N_CONTROLS, self.rate_hz, LAYOUT_ID, *self.demands)

    @classmethod
    def fields_of(cls, body: tuple[float, ...]) -> dict[str, object]:
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

    def to_body(self) -> tuple[float, ...]:
        return (self.nonce,)

    @classmethod
    def fields_of(cls, body: tuple[float, ...]) -> dict[str, object]:
        return {"nonce": body[0]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello(Message):
    """Host to robot: who are you, and what is the challenge?"""

    TYPE = 0x10
    BODY = _HELLO

    nonce: int
    rate_hz: int

    def to_body(self) -> tuple[float, ...]:
        return (self.nonce, LAYOUT_CRC, N_CONTROLS, self.rate_hz, 0)

    @classmethod
    def fields_of(cls, body: tuple[float, ...]) -> dict[str, object]:
        nonce, layout_crc, n, rate_hz, _ = body
        if n != N_CONTROLS or layout_crc != LAYOUT_CRC:
            raise FrameError("layout")
        return {"nonce": nonce, "rate_hz": rate_hz}


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Message):
    """Robot to host: what it received, what it does, how it is (docs/spec/links.md section 3)."""

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

    def to_body(self) -> tuple[float, ...]:
        # fmt: off
        return (
            self.ack_run, self.last_seq, self.bitmap, self.state, self.fault, self.fault_arg, self.n_ok,
            self.n_bad, self.n_gap, self.n_stale, self.n_limited, self.supply_mv, self.temp_centi_c,
            self.rx_age_us,
        )
        # fmt: on

    @classmethod
    def fields_of(cls, body: tuple[float, ...]) -> dict[str, object]:
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

    def to_body(self) -> tuple[float, ...]:
        return (self.applied_seq, N_CONTROLS, 0, LAYOUT_ID, *self.steps)

    @classmethod
    def fields_of(cls, body: tuple[float, ...]) -> dict[str, object]:
        _check_layout(body[1], body[3])
        return {"applied_seq": body[0], "steps": body[4:]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong(Message):
    """Robot to host: the answer to a Ping. echo_t_us is the Ping's t_us."""

    TYPE = 0x83
    BODY = _PONG

    nonce: int
    echo_t_us: int

    def to_body(self) -> tuple[float, ...]:
        return (self.nonce, self.echo_t_us)

    @classmethod
    def fields_of(cls, body: tuple[float, ...]) -> dict[str, object]:
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

    def to_body(self) -> tuple[float, ...]:
        # fmt: off
        return (
            self.nonce, self.challenge, LAYOUT_CRC, VERSION, N_CONTROLS, self.hold_ms, self.neutral_ms,
            self.max_rate_hz, 0,
        )
        # fmt: on

    @classmethod
    def fields_of(cls, body: tuple[float, ...]) -> dict[str, object]:
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


MESSAGES: Final[dict[int, type[Message]]] = {
    kind.TYPE: kind for kind in (CmdU16, CmdF32, Ping, Hello, Status, Positions, Pong, HelloAck)
}
