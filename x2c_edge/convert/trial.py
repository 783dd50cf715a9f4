"""Exported nets in the place of the engines that they will be, run by ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import onnx

from x2c_edge.backends.base import Backend, Buffers
from x2c_edge.backends.engine_files import engine_name
from x2c_edge.backends.host import HostMemory
from x2c_edge.convert.onnx_types import worked_in_floats
from x2c_edge.packs import NetSpec

_DTYPES: Final[Mapping[str, type[np.generic]]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
}


class Trial(HostMemory):
    """Runs the nets of ``files`` (by engine name) as they were exported, and all others on ``inner``."""

    name = device = "onnxruntime"

    def __init__(self, files: Mapping[str, bytes], inner: Backend) -> None:
        self._files, self._inner = files, inner
        self.threads = inner.threads

    def bind(self, net: NetSpec, x: Buffers, out: Buffers, part: str = "") -> Callable[[], None]:
        name = engine_name(net.arch, part)
        if name not in self._files:
            return self._inner.bind(net, x, out, part)
        opened = session(self._files[name], self.threads)
        inputs, outputs = (a if isinstance(a, tuple) else (a,) for a in (x, out))
        ports, names = opened.get_inputs(), [port.name for port in opened.get_outputs()]

        def run() -> None:
            feed = {p.name: a.astype(_DTYPES[p.type]) for p, a in zip(ports, inputs, strict=True)}
            for target, value in zip(outputs, opened.run(names, feed), strict=True):
                np.copyto(target, value)

        return run


def session(file: bytes, threads: int) -> Any:
    """The graph, opened on the CPU; what it gives as halves is worked out in floats and rounded."""
    import onnxruntime  # only int8 needs it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    graph = worked_in_floats(onnx.load_from_string(file))
    # On arm64 ONNX Runtime lays halves and bytes out channels-last, pools too, and then has no such kernel
    # (1.23; found by the emulated tests): it could not open what it had made.
    return onnxruntime.InferenceSession(
        graph.SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["NhwcTransformer"],
    )
