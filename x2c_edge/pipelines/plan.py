"""A pipeline's fixed list of named steps (docs/spec/program.md section 3), timed singly or as one launch."""

from __future__ import annotations

from time import perf_counter_ns
from typing import Final

import numpy as np
from numpy.typing import NDArray

from x2c_edge.backends.base import Backend, Step

WHOLE: Final = "device"


class Plan:
    """Steps in order. ``durations_ns[i]`` is what step ``names[i]`` took in the last run; 0 if it was not
    part of that.

    On a GPU a run is always a whole one: first the device's steps, with one wait after them, then the
    host's. A step called "device" stands where the wait is; it has the time of all steps before it when
    they are not timed singly.
    """

    def __init__(self, backend: Backend | None = None) -> None:
        self.names: list[str] = []
        self._steps: list[Step] = []
        self._runner = backend.runner() if backend is not None else None
        self._on_device: list[Step] = []
        self.durations_ns: NDArray[np.int64] = np.zeros(0, np.int64)

    @property
    def at_once(self) -> bool:
        """Whether a run is always a whole one, and results are there only after it."""
        return self._runner is not None

    def add(self, name: str, step: Step, *, host: bool = False) -> None:
        """host: the step looks at results; every step after it must, too."""
        if self._runner is not None:
            if host and WHOLE not in self.names:
                self._append(WHOLE, lambda: None)
            elif not host:
                self._on_device.append(step)
        self._append(name, step)

    def run(self, start: int = 0, stop: int | None = None) -> None:
        """Run every step once, or those from start to before stop; a start above 0 continues a run."""
        if start == 0:
            self.durations_ns[:] = 0
        if self._runner is not None:
            start = len(self._on_device) + 1
            self._runner.run(self._on_device, self.durations_ns[:start])
        before = perf_counter_ns()
        for i in range(start, len(self._steps) if stop is None else stop):
            self._steps[i]()
            after = perf_counter_ns()
            self.durations_ns[i] = after - before
            before = after

    def forget(self) -> None:
        """What a device captured of the steps is void: something that they work on was replaced."""
        if self._runner is not None:
            self._runner.forget()

    def _append(self, name: str, step: Step) -> None:
        self.names.append(name)
        self._steps.append(step)
        self.durations_ns = np.zeros(len(self.names), np.int64)
