"""Native kernels (csrc/). The docstrings are in csrc/bindings.cpp: ``help(x2c_edge._kernels)``."""

from collections.abc import Sequence
from typing import Any, Literal

from x2c_edge.frames import PixelFormat

def crop_normalize(
    frame: Any,
    affine: Any,
    out: Any,
    *,
    format: PixelFormat = "BGR",
    order: Literal["RGB", "BGR"] = "RGB",
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    taps: int = 1,
    threads: int = 1,
    stream: int = 0,
) -> None: ...
def cuda_built() -> bool: ...
def cuda_device_count() -> int: ...
def cpu_variants() -> list[str]: ...
def cpu_variant() -> str: ...
def set_cpu_variant(name: str) -> None: ...
