"""The CPU engine: nets on ONNX Runtime, without PyTorch.

A graph holds no weights (``convert.cpu_graphs``): they come from the pack's own files when it is opened.
"""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from x2c_edge import processor
from x2c_edge.backends.base import Buffer, Buffers
from x2c_edge.backends.engine_files import (
    NoEnginesError,
    engine_name,
    find_cpu_set,
    read_plans,
)
from x2c_edge.backends.graph_weights import weights
from x2c_edge.backends.host import HostMemory
from x2c_edge.errors import NotFoundError
from x2c_edge.packs import NetSpec, Pack

GRAPH: Final = "graph_"  # and the engine's name: the key of a pack's own graph among its files
# How long a thread looks for more work before it sleeps. Between the nets' operators that saves a sixth of a
# frame at two threads; a run's end stops it, so that other programs lose hardly anything.
SPIN_US: Final = 100
SPIN_SINCE: Final = (1, 27)  # ONNX Runtime releases that can limit it; without a limit it is tens of ms
PROVIDED: Final = ("x86_64", "AMD64", "aarch64", "arm64")  # by ONNX Runtime's wheels


def default_threads() -> int:
    """Half of the cores that we may use: the rest is for the camera, the actuation tick and the links, whose
    lateness would cost more than the nets' speed gains.
    """
    return min(max(1, processor.cores() // 2), processor.MOST_THREADS)


class CpuEngine(HostMemory):
    """Float32 on the CPU. Threads sleep when they wait for long, so that they do not get in each other's way,
    nor in other programs'."""

    name = "cpu"

    def __init__(self, graphs: Mapping[str, bytes], threads: int | None = None) -> None:
        """graphs: by engine name. NotFoundError without ONNX Runtime."""
        self._graphs = graphs
        self._ort = onnxruntime()
        self.threads = threads or default_threads()

    @property
    def device(self) -> str:
        plural = "s" if self.threads > 1 else ""
        return f"cpu, ONNX Runtime {self._ort.__version__}, {self.threads} thread{plural}"

    def bind(self, net: NetSpec, x: Buffers, out: Buffers, part: str = "") -> Callable[[], None]:
        name = engine_name(net.arch, part)
        if name not in self._graphs:
            raise NotFoundError(
                f"{net.file}: no CPU engine '{name}' came with it or was built; build it again"
            )
        session = self._opened(name, net)
        binding = session.io_binding()
        inputs, outputs = _tuple(x), _tuple(out)
        _require_ports(net, name, session.get_inputs(), inputs)
        _require_ports(net, name, session.get_outputs(), outputs)
        for port, array in zip(session.get_inputs(), inputs, strict=True):
            binding.bind_input(port.name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        for port, array in zip(session.get_outputs(), outputs, strict=True):
            binding.bind_output(port.name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        kept = (inputs, outputs)  # the binding knows their addresses only

        def run(kept: object = kept) -> None:
            session.run_with_iobinding(binding)

        try:
            run()  # the first run allocates, and meets types and shapes that the graph does not keep to
        except Exception as error:
            raise self._refused(net, name, error) from None
        return run

    def _opened(self, name: str, net: NetSpec) -> Any:
        options = self._ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.log_severity_level = 3
        spins = _release(self._ort.__version__) >= SPIN_SINCE
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spins else "0")
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(SPIN_US))
        options.add_session_config_entry("session.force_spinning_stop", "1")
        # Small pieces of work: a thread that has to wait for its core then has little that others wait for.
        options.add_session_config_entry("session.dynamic_block_base", "4")
        graph = self._graphs[name]
        try:
            given = weights(net, graph)
            values = [self._ort.OrtValue.ortvalue_from_numpy(array) for array in given.values()]
            options.add_external_initializers(list(given), values)
            return self._ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except NotFoundError:
            raise
        except Exception as error:
            raise self._refused(net, name, error) from None

    def _refused(self, net: NetSpec, name: str, error: Exception) -> NotFoundError:
        """One line for whatever ONNX Runtime raises: its classes have no common base."""
        reason = " ".join(str(error).split())[:200]
        return NotFoundError(
            f"{net.file}: ONNX Runtime {self._ort.__version__} refuses '{name}': {reason}; "
            "build it again, or use --backend torch"
        )


def onnxruntime() -> Any:
    """The module. NoEnginesError with the remedy where it is missing or cannot be loaded."""
    if importlib.util.find_spec("onnxruntime") is None:
        machine = platform.machine()
        if machine not in PROVIDED:
            raise NoEnginesError(f"ONNX Runtime is not made for this processor ({machine})")
        raise NoEnginesError("ONNX Runtime is not installed; run: pip install onnxruntime")
    try:
        import onnxruntime as ort
    except ImportError as error:
        reason = " ".join(str(error).split())[:160]
        raise NoEnginesError(
            f"ONNX Runtime cannot be loaded ({reason}); run: pip install --force-reinstall onnxruntime"
        ) from None
    return ort


def graphs_for(pack: Pack) -> dict[str, bytes]:
    """What runs this pack on a CPU: a set that was built here, else what came with the pack.

    NoEnginesError where there is neither or no ONNX Runtime; NotFoundError where there is only a set that
    does not fit any more. Both say what to do.
    """
    version = onnxruntime().__version__
    own = {key.removeprefix(GRAPH): entry.file for key, entry in pack.files.items() if key.startswith(GRAPH)}
    try:
        return read_plans(find_cpu_set(pack, version))
    except NotFoundError:
        if not own:
            raise
        return {name: file.read_bytes() for name, file in own.items()}


def _release(version: str) -> tuple[int, int]:
    """Major and minor of a version."""
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def _tuple(buffers: Buffers) -> tuple[Buffer, ...]:
    return buffers if isinstance(buffers, tuple) else (buffers,)


def _require_ports(net: NetSpec, name: str, ports: Any, given: tuple[Buffer, ...]) -> None:
    """The runtime is given bare addresses, so what lies there must be what it expects."""
    wanted = [tuple(port.shape) for port in ports]
    have = [array.shape for array in given]
    if wanted != have or not all(a.dtype == np.float32 and a.flags.c_contiguous for a in given):
        raise NotFoundError(f"{net.file}: engine '{name}' takes {wanted}, not {have}; get the pack again")
