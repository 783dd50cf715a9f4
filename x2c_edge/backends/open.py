"""Choose a backend by name."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from x2c_edge.errors import BadArgumentError, NotFoundError, nearest

if TYPE_CHECKING:
    from x2c_edge.backends.base import Backend

BACKENDS = ("auto", "torch", "tensorrt")


def open_backend(name: str = "auto", threads: int | None = None) -> Backend:
    """The backend called ``name``; "auto" takes the best that works here."""
    if name not in BACKENDS:
        raise BadArgumentError(f"backend '{name}'{nearest(name, BACKENDS)}: choose {', '.join(BACKENDS)}")
    if name == "tensorrt":
        raise NotFoundError("backend 'tensorrt': not built yet in this version; use --backend torch")
    if importlib.util.find_spec("torch") is None:
        raise NotFoundError("PyTorch is not installed; run: pip install 'x2c-edge[torch]'")
    from x2c_edge.backends.torch_backend import TorchBackend

    return TorchBackend(threads)
