"""A pipeline's fixed list of named steps (design, section 3), timed one by one."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns

import numpy as np
from numpy.typing import NDArray

Step = Callable[[], object]


class Plan:
    """Steps in order. ``durations_ns[i]`` is what step ``names[i]`` took in the last run; 0 if it was not
    part of that."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._steps: list[Step] = []
        self.durations_ns: NDArray[np.int64] = np.zeros(0, np.int64)

    def add(self, name: str, step: Step) -> None:
        self.names.append(name)
        self._steps.append(step)
        self.durations_ns = np.zeros(len(self.names), np.int64)

    def run(self, start: int = 0, stop: int | None = None) -> None:
        """Run every step once, or those from start to before stop; a start above 0 continues a run."""
        if start == 0:
            self.durations_ns[:] = 0
        before = perf_counter_ns()
        for i in range(start, len(self._steps) if stop is None else stop):
            self._steps[i]()
            after = perf_counter_ns()
            self.durations_ns[i] = after - before
            before = after
