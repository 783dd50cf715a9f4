"""Open a foreign checkpoint without running anything that it holds.

Everything goes through torch's weights-only unpickler, which knows tensors and plain containers. The
mapping checkpoint also holds its training options as an object of some third-party class; the names of
such classes are read from the file first (without unpickling), and an inert container stands in for
each. A name from the standard library or from torch that is not plain data is a program, and the file
is refused.
"""

from __future__ import annotations

import _compat_pickle
import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from x2c_edge.errors import NotFoundError

# Names from the standard library that configuration objects are pickled with. None of them is ever
# called either: the stand-in is.
_PLAIN_DATA: Final = {
    "argparse.Namespace",
    "types.SimpleNamespace",
    "copyreg._reconstructor",
    "operator.getitem",
    *(f"collections.{name}" for name in ("defaultdict", "deque", "Counter", "OrderedDict")),
    *(f"pathlib.{name}" for name in ("Path", "PosixPath", "PurePath", "PurePosixPath", "WindowsPath")),
    *(f"datetime.{name}" for name in ("date", "datetime", "time", "timedelta", "timezone")),
    *(
        f"{module}.{name}"
        for module in ("builtins", "__builtin__")
        for name in (
            "bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object",
            "range", "set", "slice", "str", "tuple", "type", "unicode", "long", "xrange",
        )
    ),
}  # fmt: skip
# torch.save writes the names that Python 2 had for some modules: subprocess is "commands".
_OLD_MODULES: Final = {*_compat_pickle.IMPORT_MAPPING, *_compat_pickle.REVERSE_IMPORT_MAPPING.values()}
_ACTIVE_MODULES: Final = (sys.stdlib_module_names | _OLD_MODULES | {"torch", "__builtin__"}) - {"typing"}


class _Inert:
    """Stands in for any class of the file: takes every argument, does nothing, holds what is put in."""

    def __new__(cls, *args: object, **kwargs: object) -> Any:
        # The unpickler fills only exact built-in containers; this one also takes attributes.
        return OrderedDict()


def read(path: Path) -> Mapping[str, Any]:
    """The checkpoint's top-level dictionary, tensors on the CPU.

    NotFoundError in one line if the file is missing, damaged, holds code, or is no checkpoint.
    """
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise NotFoundError(f"{path}: {error.strerror}") from None
    _recognise_other_kinds(path, head)
    zipped = zipfile.is_zipfile(path)
    if zipped:
        _require_plain_zip(path)
    foreign = _foreign_names(path) if zipped else []
    try:
        with torch.serialization.safe_globals([(_Inert, name) for name in foreign]):
            # mmap reads only the zip form; the older one is read whole
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error) or "reduce" in str(error):
            raise NotFoundError(
                f"{path}: holds pickled code, not only weights; it was not run; get the file from its author"
            ) from None
        raise _damaged(path) from None
    except (RuntimeError, EOFError, OSError, KeyError, ValueError, TypeError, IndexError, AttributeError):
        raise _damaged(path) from None
    except (AssertionError, ImportError, MemoryError, OverflowError, RecursionError):
        raise _damaged(path) from None
    if not isinstance(content, dict):
        raise NotFoundError(f"{path}: holds a {type(content).__name__}, not a dictionary of weights")
    return content


def _require_plain_zip(path: Path) -> None:
    """torch.save does not compress. What is compressed may be a thousand times as large once it is read."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        raise _damaged(path) from None
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise NotFoundError(f"{path}: is compressed, as torch.save leaves no file; get it from its author")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise _damaged(path)


def _foreign_names(path: Path) -> list[str]:
    """Global names of the file that torch does not know; NotFoundError if one of them is a program."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except (RuntimeError, ValueError, pickle.UnpicklingError, EOFError, AssertionError):
        raise _damaged(path) from None
    for name in sorted(names):
        if name.split(".")[0] in _ACTIVE_MODULES and name not in _PLAIN_DATA:
            raise NotFoundError(
                f"{path}: holds pickled code ({name}), not only weights; it was not run; "
                "get the file from its author"
            )
    return names


def _recognise_other_kinds(path: Path, head: bytes) -> None:
    what, zipped = "", head.startswith(b"PK")  # a zip begins with its own name, whatever that is
    if not head:
        what = "is empty; download it again"
    elif head.startswith(b"version https://git-lfs"):
        what = "is a Git LFS pointer, not the file itself; run: git lfs pull"
    elif head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        what = "is a web page, not a checkpoint; download the file itself"
    elif path.suffix == ".onnx" or (b"onnx" in head.lower() and not zipped):
        what = "is an ONNX file (landmark.onnx is not needed); give the .pth files"
    if what:
        raise NotFoundError(f"{path}: {what}")


def _damaged(path: Path) -> NotFoundError:
    return NotFoundError(
        f"{path}: not a readable PyTorch checkpoint (cut short or damaged); download it again"
    )
