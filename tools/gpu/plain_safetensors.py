"""``safetensors`` where it is not installed: enough of it, in pure Python, for a pack's files.

For machines that have PyTorch and NumPy alone (tools/gpu/gpu_check.py). ``provide()`` puts it into
``sys.modules`` if the real one is missing.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I8": "|i1", "U8": "|u1"}
_NAMES = {np.dtype(code): name for name, code in _TYPES.items()}


class SafetensorError(Exception):
    """A file that is none."""


def load_arrays(file: str | Path) -> dict[str, np.ndarray]:
    """Name to array. SafetensorError."""
    data = Path(file).read_bytes()
    try:
        length = int.from_bytes(data[:8], "little")
        entries = json.loads(data[8 : 8 + length])
        entries.pop("__metadata__", None)
        arrays = {}
        for name, entry in entries.items():
            start, stop = (8 + length + offset for offset in entry["data_offsets"])
            flat = np.frombuffer(data[start:stop], _TYPES[entry["dtype"]])
            arrays[name] = flat.reshape(entry["shape"]).copy()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SafetensorError(f"{file}: {error}") from None
    return arrays


def save_arrays(arrays: dict[str, np.ndarray], file: str | Path) -> None:
    """The inverse. KeyError for a type that packs do not have."""
    entries, parts, at = {}, [], 0
    for name, array in arrays.items():
        part = np.ascontiguousarray(array).tobytes()
        entries[name] = {
            "dtype": _NAMES[array.dtype], "shape": list(array.shape), "data_offsets": [at, at + len(part)],
        }  # fmt: skip
        parts.append(part)
        at += len(part)
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    Path(file).write_bytes(len(header).to_bytes(8, "little") + header + b"".join(parts))


def provide() -> bool:
    """True if this stands in for a missing package."""
    if importlib.util.find_spec("safetensors") is not None:
        return False
    import torch

    def load_tensors(file: str | Path) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(array) for name, array in load_arrays(file).items()}

    parts: dict[str, dict[str, Any]] = {
        "safetensors": {"SafetensorError": SafetensorError, "safe_open": None},
        "safetensors.numpy": {"load_file": load_arrays, "save_file": save_arrays},
        "safetensors.torch": {"load_file": load_tensors},
    }
    for name, members in parts.items():
        module = types.ModuleType(name)
        module.__path__ = []
        vars(module).update(members)
        sys.modules[name] = module
    return True
