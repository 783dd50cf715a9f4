"""The weights that an ONNX file without them asks for, from a pack; read without the onnx package.

ONNX is a protobuf message: fields of (number << 3 | kind), kind 0 a varint, 1 eight bytes, 2 a length and as
many bytes, 5 four bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from x2c_edge.errors import NotFoundError
from x2c_edge.packs import NetSpec

_GRAPH: Final = 7  # of ModelProto
_INITIALIZER: Final = 5  # of GraphProto
_DIMS, _NAME, _LOCATION, _EXTERNAL = 1, 8, 14, 1  # of TensorProto


def wanted(graph: bytes) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that the file keeps elsewhere. ValueError if it is no ONNX file."""
    found: dict[str, tuple[int, ...]] = {}
    for number, body in _fields(graph):
        if number != _GRAPH or not isinstance(body, bytes):
            continue
        for inner, tensor in _fields(body):
            if inner != _INITIALIZER or not isinstance(tensor, bytes):
                continue
            name, dims, external = "", list[int](), False
            for field, value in _fields(tensor):
                if field == _NAME and isinstance(value, bytes):
                    name = value.decode()
                elif field == _DIMS:
                    dims += [value] if isinstance(value, int) else _packed(value)
                elif field == _LOCATION:
                    external = value == _EXTERNAL
            if external:
                found[name] = tuple(dims)
    return found


def weights(net: NetSpec, graph: bytes) -> dict[str, NDArray[Any]]:
    """What a graph wants, float32, from its net's file. NotFoundError if the two do not belong together."""
    try:
        there = load_file(net.file)
        given = {}
        for name, shape in wanted(graph).items():
            given[name] = np.asarray(there[name], np.float32, order="C")
            if given[name].shape != shape:
                raise ValueError(f"{name} is {given[name].shape}, not {shape}")
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise NotFoundError(
            f"{net.file}: not the weights of its graph ({error}); get the pack again"
        ) from None
    if not all(np.isfinite(array).all() for array in given.values()):
        raise NotFoundError(f"{net.file}: holds weights that are not finite; get the pack again")
    return given


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError("not an ONNX file")
        if at + size > len(data):
            raise ValueError("an ONNX file that was cut short")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("an ONNX file that was cut short")


def _packed(data: bytes) -> list[int]:
    numbers, at = [], 0
    while at < len(data):
        value, at = _varint(data, at)
        numbers.append(value)
    return numbers
