"""A plan on a GPU: captured once as a CUDA graph, then one launch and one wait for each frame.

Where steps are to be timed one by one, or a library cannot be captured, the steps are enqueued one after the
other.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from time import perf_counter_ns

import numpy as np
from numpy.typing import NDArray

from x2c_edge.backends.base import Step
from x2c_edge.backends.device_layer import DeviceLayer, Launch, Moment


class DeviceRunner:
    """layer: its stream is the one that all steps use."""

    def __init__(self, layer: DeviceLayer, *, per_step: bool) -> None:
        self._layer, self._per_step = layer, per_step
        self._launch: Launch | None = None
        self._refused = False
        self._moments: list[Moment] = []

    def run(self, steps: Sequence[Step], durations_ns: NDArray[np.int64]) -> None:
        """See ``Runner``."""
        with self._layer.current():
            if self._per_step:
                self._run_timed(steps, durations_ns)
            else:
                self._run_whole(steps, durations_ns)

    def forget(self) -> None:
        """See ``Runner``."""
        self._launch = None

    def _run_whole(self, steps: Sequence[Step], durations_ns: NDArray[np.int64]) -> None:
        start = perf_counter_ns()
        if self._launch is not None:
            self._launch()
        else:
            for step in steps:
                step()
        self._layer.wait()
        durations_ns[-1] = perf_counter_ns() - start
        if self._launch is None and not self._refused:
            # After a run as it is, because what libraries set up at first use cannot be captured.
            self._try_to_capture(steps)

    def _try_to_capture(self, steps: Sequence[Step]) -> None:
        try:
            self._launch = self._layer.capture(steps)
        except RuntimeError as error:
            self._refused = True
            warnings.warn(
                f"the plan cannot be one CUDA graph ({' '.join(str(error).split())[:200]}); "
                "its steps are enqueued one by one",
                RuntimeWarning,
                stacklevel=2,
            )

    def _run_timed(self, steps: Sequence[Step], durations_ns: NDArray[np.int64]) -> None:
        while len(self._moments) <= len(steps):
            self._moments.append(self._layer.moment())
        self._moments[0].record()
        for step, moment in zip(steps, self._moments[1:], strict=False):
            step()
            moment.record()
        self._layer.wait()
        for i in range(len(steps)):
            durations_ns[i] = self._moments[i + 1].milliseconds_since(self._moments[i]) * 1e6
