"""A driver for the supervisor: a clock, expressions, and ticks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from x2c_edge.controls import INDEX, NEUTRAL
from x2c_edge.frames import Command, Expression
from x2c_edge.safety.supervisor import Supervisor


class Driver:
    """Time goes on by one tick at a time, 60 to the second unless told otherwise."""

    def __init__(self, supervisor: Supervisor, rate_hz: float = 60.0) -> None:
        self.supervisor = supervisor
        self.rate_hz = rate_hz
        self.now = 1_000_000_000
        self.frame = 0

    def ready(self) -> Driver:
        self.supervisor.link_up(self.now)
        self.supervisor.reference_ready(self.now)
        return self

    def pose(self, **changes: float) -> np.ndarray:
        """Neutral with some controls set: ``pose(Jaw_Pitch=0.7)``."""
        values = NEUTRAL.copy()
        for name, value in changes.items():
            values[INDEX[name.replace("_", " ")]] = value
        return values

    def offer(self, values: np.ndarray, age_s: float = 0.0, presence: float = 1.0) -> None:
        self.frame += 1
        expression = Expression(
            self.frame, self.now - round(age_s * 1e9), "test", values, presence, np.zeros((0, 2))
        )
        self.supervisor.offer(expression, self.now)

    def tick(self) -> Command | None:
        self.now += round(1e9 / self.rate_hz)
        return self.supervisor.tick(self.now)

    def follow(self, values: np.ndarray) -> Command:
        """The command of a tick right after an expression, however long the tick."""
        self.now += round(1e9 / self.rate_hz)
        self.offer(values)
        command = self.supervisor.tick(self.now)
        assert command is not None
        return command

    def run(
        self, seconds: float, values: np.ndarray | Callable[[int], np.ndarray] | None = None
    ) -> list[Command]:
        """The commands of ``seconds``; with ``values`` a fresh expression arrives at every second tick."""
        commands = []
        for k in range(round(seconds * self.rate_hz)):
            if values is not None and k % 2 == 0:
                self.offer(values(k) if callable(values) else values)
            command = self.tick()
            if command is not None:
                commands.append(command)
        return commands
