"""Robots that come, or come back, while commands already go elsewhere: to another robot, or to a file.

Such a robot is at neutral (R6 brings it there half a second after its last command), and the run's pose is
not. So it is told neutral until the run has eased there, and then starts softly with all others (R10).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from x2c_edge.frames import Command, Flag
from x2c_edge.links.base import LinkStatus
from x2c_edge.links.registry import moves_a_robot

_STILL_THERE_NS: Final = 500_000_000  # after so long without commands a robot goes to neutral (R6)


class Newcomers:
    """Of one run's links; used by the thread that ticks. rest: (30,) paper units."""

    def __init__(self, uris: Sequence[str], rest: NDArray[np.float64]) -> None:
        self._rest = rest
        self._robots = {number for number, uri in enumerate(uris) if moves_a_robot(uri)}
        self._apart = set(self._robots)  # not at the run's pose
        self._waiting: set[int] = set()  # those of them that take commands
        self._lost_ns: dict[int, int] = {}

    def look(self, statuses: Sequence[LinkStatus], now_ns: int) -> bool:
        """How the links are now; whether a robot has come that is not at the run's pose."""
        came = False
        for number in self._robots:
            lost_ns = self._lost_ns.get(number, now_ns)
            if now_ns - lost_ns >= _STILL_THERE_NS:
                self._apart.add(number)
            if statuses[number].state != "up":
                self._lost_ns[number] = lost_ns
                self._waiting.discard(number)
                continue
            self._lost_ns.pop(number, None)
            if number in self._apart - self._waiting:
                self._waiting.add(number)
                came = True
        return came

    def admit(self) -> None:
        """The run is at neutral: whoever waits goes with it from now on."""
        self._apart -= self._waiting
        self._waiting.clear()

    def told(self, number: int, command: Command) -> Command:
        """What the link of this number is told in the place of ``command``."""
        if number not in self._apart or command.flags & Flag.END:
            return command
        return replace(
            command,
            state="RETURNING",
            flags=Flag.NEUTRAL,
            values=self._rest,
            frame_seq=None,
            t_capture_ns=None,
            pipeline=None,
        )
