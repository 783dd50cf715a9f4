"""A plan on a GPU: captured once as a CUDA graph, then one launch and one wait for each frame.

Captures are the caller's (PyTorch's own for its nets, the extension's for engines). Where steps are to be
timed one by one, or a library cannot be captured, the steps are enqueued one after the other.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Sequence
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from x2c_edge.backends.base import Step

Launch = Callable[[], object]
Capture = Callable[[Sequence[Step]], Launch]  # RuntimeError if it cannot be done


class DeviceRunner:
    """cuda: ``x2c_edge._kernels``. stream: its CudaStream, the one that all steps use."""

    def __init__(self, cuda: Any, stream: Any, capture: Capture, *, per_step: bool) -> None:
        self._cuda, self._stream, self._capture, self._per_step = cuda, stream, capture, per_step
        self._launch: Launch | None = None
        self._refused = False
        self._moments: list[Any] = []

    def run(self, steps: Sequence[Step], durations_ns: NDArray[np.int64]) -> None:
        """See ``Runner``."""
        if self._per_step:
            self._run_timed(steps, durations_ns)
            return
        start = perf_counter_ns()
        if self._launch is not None:
            self._launch()
        else:
            for step in steps:
                step()
        self._stream.wait()
        durations_ns[-1] = perf_counter_ns() - start
        if self._launch is None and not self._refused:
            # After a run as it is, because what libraries set up at first use cannot be captured.
            self._try_to_capture(steps)

    def forget(self) -> None:
        """See ``Runner``."""
        self._launch = None

    def _try_to_capture(self, steps: Sequence[Step]) -> None:
        try:
            self._launch = self._capture(steps)
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
            self._moments.append(self._cuda.CudaEvent())
        handle = self._stream.handle
        self._moments[0].record(handle)
        for step, moment in zip(steps, self._moments[1:], strict=False):
            step()
            moment.record(handle)
        self._stream.wait()
        for i in range(len(steps)):
            durations_ns[i] = self._moments[i + 1].milliseconds_since(self._moments[i]) * 1e6


def capture_on(stream: Any) -> Capture:
    """Captures with the CUDA runtime alone: for steps that allocate nothing."""

    def capture(steps: Sequence[Step]) -> Launch:
        gc.collect()  # what it frees would spoil the capture
        stream.begin_capture()
        try:
            for step in steps:
                step()
        except BaseException:
            stream.abandon_capture()
            raise
        graph, handle = stream.end_capture(), stream.handle
        return lambda: graph.launch(handle)

    return capture
