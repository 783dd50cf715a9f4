"""What a host knows of one run, and what that allows it to send. Pure: time is an argument.

Rules 4.3.3 (window), 4.3.6 (refusals) and 4.2.5 (runs) of docs/spec/links.md.
"""

from __future__ import annotations

import math
import secrets

from x2c_edge.links.codec import FAULTS, STATES, Message, Ping, Status

WINDOW_S = 0.3
PROBE_NS = 100_000_000
PING_NS = 1_000_000_000
RUN_ALIVE_US = 500_000  # neutral_ms: after that long without a command a robot adopts another run

_WAIT, _FAULT, _ESTOP = STATES.index("WAIT"), STATES.index("FAULT"), STATES.index("ESTOP")
_OTHER_FORMAT = (FAULTS.index("version"), FAULTS.index("layout"))
_MOD = 1 << 32


def window_frames(rate_hz: int) -> int:
    """How many frames may be on their way at once."""
    return math.ceil(WINDOW_S * rate_hz)


class Conversation:
    """One run: frames out are numbered, STATUS in is remembered."""

    def __init__(self, rate_hz: int) -> None:
        self.run = secrets.randbelow(_MOD - 1) + 1
        self.status: Status | None = None
        self._window = window_frames(rate_hz)
        self._next_seq = 0
        self._acked = _MOD - 1
        self._command_ns: int | None = None
        self._ping_ns: int | None = None

    def take_seq(self) -> int:
        """The number of the next frame."""
        seq = self._next_seq
        self._next_seq = (seq + 1) % _MOD
        return seq

    def hear(self, message: Message) -> None:
        """Learn from what the robot says."""
        if isinstance(message, Status):
            self.status = message
            if message.ack_run == self.run and self._behind(message.last_seq) < _MOD // 2:
                self._acked = message.last_seq

    def refusal(self) -> str:
        """Why the robot takes no commands from us now, or an empty string."""
        status = self.status
        if status is None:
            return ""
        if status.fault in _OTHER_FORMAT:
            return f"the robot expects another {status.fault_name} of the frame format"
        if status.state == _FAULT:
            return f"the robot reports FAULT: {status.fault_name} ({status.fault_arg})"
        if status.state == _ESTOP:
            return "the robot's emergency stop is active"
        # A run that fell silent or ended makes room for ours: only a live one is someone else's.
        foreign = status.ack_run not in (0, self.run)
        if foreign and status.state != _WAIT and status.rx_age_us < RUN_ALIVE_US:
            return f"the robot follows another sender (run {status.ack_run:08x})"
        return ""

    def window_full(self) -> bool:
        """Whether too many frames are unacknowledged; never without telemetry."""
        return self.status is not None and self._behind(self._acked) >= self._window

    def command_delay_s(self, now_ns: int, *, windowed: bool) -> float:
        """Seconds until the next command may leave; infinite while the robot refuses us."""
        if self.refusal():
            return math.inf
        if not windowed or not self.window_full() or self._command_ns is None:
            return 0.0
        return max(0, self._command_ns + PROBE_NS - now_ns) / 1e9

    def command_sent(self, now_ns: int) -> None:
        """A command left (for the pace of the probes)."""
        self._command_ns = now_ns

    def ping_delay_s(self, now_ns: int) -> float:
        """Seconds until the next ping is due; pings replace commands while the robot refuses us."""
        if not self.refusal():
            return math.inf
        return 0.0 if self._ping_ns is None else max(0, self._ping_ns + PING_NS - now_ns) / 1e9

    def ping(self, now_ns: int) -> Ping:
        """The ping that is due."""
        self._ping_ns = now_ns
        return Ping(run=self.run, seq=self.take_seq(), t_us=now_ns // 1000, nonce=secrets.randbits(32))

    def _behind(self, seq: int) -> int:
        return (self._next_seq - 1 - seq) % _MOD
