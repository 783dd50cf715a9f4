"""The contract that every link keeps."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal, Protocol

from x2c_edge.frames import Command

LinkState = Literal["closed", "opening", "up", "down"]


class RobotReport(Protocol):
    """What a robot says of itself, whatever the way it came."""

    @property
    def state_name(self) -> str:
        """``"ACTIVE"`` and so on; ``"FAULT"`` and ``"ESTOP"`` end a run's commands."""

    @property
    def fault_name(self) -> str:
        """What is broken, in a few words."""

    @property
    def supply_v(self) -> float | None:
        """Volts, None when the robot does not know."""

    @property
    def temp_c(self) -> float | None:
        """The hottest board in degrees Celsius, None when the robot does not know."""


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """What a link knows of itself; a snapshot.

    state: ``up`` when commands leave, ``down`` when they do not (it keeps trying), ``opening`` before
    the first could leave. sent: commands written whole. dropped: commands that a newer one replaced
    or that could not be kept. errors: failures of any kind. reconnects: successful reopenings.
    last_error: one line, empty when there was none. robot: the robot's last report, None on a link
    without a way back.
    """

    uri: str
    state: LinkState
    sent: int = 0
    dropped: int = 0
    errors: int = 0
    reconnects: int = 0
    last_error: str = ""
    robot: RobotReport | None = None

    @property
    def robot_fault(self) -> str:
        """What the robot reports as broken, in a few words; empty when nothing is, or it cannot say."""
        if self.robot is None or self.robot.state_name not in ("FAULT", "ESTOP"):
            return ""
        return "e-stop" if self.robot.state_name == "ESTOP" else self.robot.fault_name


def unix_time_of(command: Command) -> float:
    """When the command was made, in Unix seconds, so that its waiting here counts as age."""
    age_s = (time.monotonic_ns() - command.t_send_ns) / 1e9
    return time.time() - min(max(age_s, 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class LinkNeeds:
    """What a run asks of a link.

    rate_hz: commands per second, 1..255. lossless: a file waits rather than drops (``--fast``); it changes
    nothing for a robot, which always gets the newest.
    """

    rate_hz: int
    lossless: bool = False


class Link(Protocol):
    """One way to the robot. ``open``, ``send`` and ``close`` are called from one thread at a time."""

    @property
    def uri(self) -> str:
        """How the user named it."""

    def open(self) -> None:
        """Make it ready. NotFoundError when it is not there or may not be used."""

    def send(self, command: Command) -> None:
        """Take the newest command and return at once; an older one still waiting is dropped."""

    def status(self) -> LinkStatus:
        """A snapshot; may be called from any thread."""

    def close(self, timeout_s: float) -> None:
        """Write the last command, waiting ``timeout_s`` at most, then let go of everything."""
