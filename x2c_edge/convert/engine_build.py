"""One ONNX file to one TensorRT engine. Every release from 8.6 on; ``tensorrt_rtx`` builds without a GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from x2c_edge.backends import trt_versions
from x2c_edge.backends.engine_files import Precision
from x2c_edge.convert.onnx_export import port_dtypes
from x2c_edge.errors import NotFoundError
from x2c_edge.nets.engine_nets import EngineNet

Progress = Callable[[float], None]  # the share that is done, 0..1, never less than before


@dataclass(frozen=True, slots=True)
class Built:
    """plan: the engine file's bytes. timing_cache: to give to the next build."""

    plan: bytes
    timing_cache: bytes


class EngineBuilder:
    """Builds engines one after the other and carries the timing cache along.

    trt: the module. workspace_bytes: what the tactics that are tried may use.
    """

    def __init__(self, trt: Any, workspace_bytes: int, timing_cache: bytes = b"") -> None:
        self._trt = trt
        self._workspace = workspace_bytes
        self.timing_cache = timing_cache
        self._logger = trt.Logger(trt.Logger.ERROR)

    def build(
        self, net: EngineNet, onnx: bytes, precision: Precision, progress: Progress | None = None
    ) -> bytes:
        """The engine file. NotFoundError with TensorRT's reason if it cannot be built."""
        trt = self._trt
        builder = trt.Builder(self._logger)
        network = builder.create_network(trt_versions.network_flags(trt))
        parser = trt.OnnxParser(network, self._logger)  # holds the weights until the build is done
        trt_versions.set_parser_flags(trt, parser)
        if not parser.parse(onnx):
            reasons = [parser.get_error(i).desc() for i in range(parser.num_errors)]
            raise NotFoundError(
                f"engine '{net.name}': TensorRT {trt.__version__} refuses it: {_line(reasons)}"
            )
        check_ports(net, precision, trt_versions.network_tensors(network))
        config = builder.create_builder_config()
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, self._workspace)
        # Auxiliary streams would not have the priority of the stream that the engine is given.
        config.max_aux_streams = 0
        trt_versions.set_precision(trt, config, network, precision)
        cache = config.create_timing_cache(self.timing_cache)
        if not config.set_timing_cache(cache, False):  # of another device
            cache = config.create_timing_cache(b"")
            config.set_timing_cache(cache, False)
        if progress is not None and trt_versions.reports_progress(trt):
            config.progress_monitor = _monitor(trt, progress)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise NotFoundError(
                f"engine '{net.name}': TensorRT {trt.__version__} found no way to run it in "
                f"{self._workspace >> 20} MiB; close other programs and try again"
            )
        self.timing_cache = bytes(memoryview(config.get_timing_cache().serialize()))
        if progress is not None:
            progress(1.0)
        return bytes(memoryview(plan))


def check_ports(
    net: EngineNet,
    precision: Precision,
    tensors: Mapping[str, tuple[bool, tuple[int, ...], np.dtype[Any]]],
) -> None:
    """NotFoundError if names, shapes or types are not the ones that the runtime will ask for."""
    dtypes = port_dtypes(net, precision)
    expected = {p.name: (True, p.shape, dtypes[p.name]) for p in net.inputs}
    expected |= {p.name: (False, p.shape, dtypes[p.name]) for p in net.outputs}
    for name in expected.keys() | tensors.keys():
        if expected.get(name) != tensors.get(name):
            raise NotFoundError(
                f"engine '{net.name}': tensor '{name}' is {tensors.get(name)} for TensorRT, "
                f"{expected.get(name)} for this program; please report it"
            )


class PhaseTree:
    """TensorRT's nested phases to one share that is done.

    A phase of n steps: each step that is complete counts 1/n, and a phase inside counts within the step
    that runs meanwhile. Unknown work ahead makes this rough, so it is kept from going back.
    """

    def __init__(self) -> None:
        self._phases: dict[str, tuple[str | None, int, int]] = {}  # parent, steps, done
        self.share = 0.0

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        self._phases[phase] = (parent, max(steps, 1), 0)

    def step(self, phase: str, step: int) -> float:
        """A step (0-based) is complete. The share of the whole that is done."""
        parent, steps, _ = self._phases[phase]
        self._phases[phase] = (parent, steps, step + 1)
        share, inside = 0.0, 1.0
        for name in self._path(phase):
            _, steps, done = self._phases[name]
            share += inside * min(done, steps) / steps
            inside /= steps
        self.share = max(self.share, min(share, 1.0))
        return self.share

    def finish(self, phase: str) -> None:
        self._phases.pop(phase, None)

    def _path(self, phase: str) -> list[str]:
        """From the outermost phase to this one."""
        path = [phase]
        while (parent := self._phases[path[0]][0]) in self._phases and parent is not None:
            path.insert(0, parent)
        return path


def _monitor(trt: Any, progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.tree = PhaseTree()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.tree.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            progress(self.tree.step(phase_name, step))
            return True  # go on

        def phase_finish(self, phase_name: str) -> None:
            self.tree.finish(phase_name)

    return Monitor()


def _line(reasons: list[str]) -> str:
    return " ".join(" ".join(reasons).split())[:300] or "no reason given"
