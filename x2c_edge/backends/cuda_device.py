"""What the program knows of a GPU; ``pycuda_layer`` and ``torch_backend`` ask their library for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CudaDevice:
    """name: "Orin". capability: "8.7". integrated: it shares the memory of the CPU."""

    name: str
    capability: str
    integrated: bool
    memory_bytes: int
