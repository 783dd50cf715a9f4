"""What importing packs and building engines need beyond running them."""

from __future__ import annotations

import importlib.util

from x2c_edge.backends.engine_files import Precision, Target
from x2c_edge.errors import NotFoundError


def require_exporter(precision: Precision, target: Target) -> None:
    """NotFoundError with the command that installs what is missing."""
    needed = ("torch", "onnx", *(("onnxruntime",) if precision == "int8" else ()))
    _require("building engines", needed, "torch,onnx" if target == "cpu" else "torch,tensorrt")


def require_importer() -> None:
    """The same for ``packs import``."""
    _require("packs import", ("torch", "tomli_w"), "torch")


def require_graph_maker() -> None:
    """The same for ``packs replace-net``, which also makes the CPU engine's graphs."""
    _require("packs replace-net", ("torch", "tomli_w", "onnx"), "torch,onnx")


def _require(what: str, needed: tuple[str, ...], extras: str) -> None:
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise NotFoundError(f"{what} needs {' and '.join(missing)}; run: pip install 'x2c-edge[{extras}]'")
