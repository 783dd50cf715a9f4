"""Which products of a pack's nets become int8: all, if its controls allow it, else the least sensitive.

1. Every net in int8, the chain run on the clip: if no control is off by more than ``ALLOWED``, that is all.
2. Each product alone in int8: the error of its net's outputs (``int8_errors``).
3. Each net alone in int8, the chain run: what an error of its outputs does to the controls. Errors of many
   roundings add up as squares, so a product's part of the controls' error follows from 2 and 3.
4. The products with the largest parts stay in float16, as few as the sum of the squares asks for; the chain
   is run, and more are spared until the largest error that is seen is allowed.

Everything is measured with ONNX Runtime on the CPU, before an engine is built; the engines themselves pass
the gate afterwards (``rehearsal.Parity``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import onnx
from numpy.typing import NDArray

from x2c_edge.convert import onnx_int8
from x2c_edge.convert.int8_errors import Product, errors_of
from x2c_edge.convert.onnx_export import exported, graph_of, half_of, int8_file
from x2c_edge.convert.rehearsal import TOLERANCES, Parity
from x2c_edge.nets.engine_nets import EngineNet

ALLOWED: Final = 0.8 * TOLERANCES["int8"]  # the device's own arithmetic differs a little
SAMPLES: Final = 2  # inputs of a net that every product is tried on
ROUNDS: Final = 8

Arrays = Mapping[str, NDArray[Any]]
Judge = Callable[[Mapping[str, bytes]], Parity]  # of the chain, with these nets in the place of PyTorch's
Report = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Mixed:
    """files: by engine name. error: the largest of a control. spared: by net, results of the products that
    stay in float16. int8_share: of the multiplications that could be int8."""

    files: dict[str, bytes]
    error: float
    spared: dict[str, list[str]]
    int8_share: float


@dataclass(frozen=True, slots=True)
class _Part:
    """A product's part of the controls' error."""

    net: str
    product: Product
    error: float


class _Net:
    """A net, its float32 graph, and the ranges of its activations."""

    def __init__(self, net: EngineNet, samples: Sequence[Arrays]) -> None:
        self.net, self.samples = net, samples
        self._graph = graph_of(net, "int8").SerializeToString()
        self.spans = {} if net.wide else onnx_int8.ranges(self.graph(), samples)

    def graph(self) -> onnx.ModelProto:
        return onnx.load_from_string(self._graph)

    def file(self, spared: Sequence[str] = ()) -> bytes:
        if self.net.wide:
            return exported(self.net, "int8", self.samples)
        return int8_file(self.net, self.graph(), self.spans, spared)

    def products(self, threads: int) -> list[Product]:
        if self.net.wide:
            return []
        names = [node.output[0] for node in onnx_int8.products(half_of(self.net, self.graph()))]
        return errors_of(self.graph(), names, self.spans, self.samples[-SAMPLES:], threads) if names else []


def mixed(
    nets: Sequence[EngineNet],
    samples: Mapping[str, Sequence[Arrays]],
    judge: Judge,
    report: Report,
    threads: int = 1,
    allowed: float = ALLOWED,
) -> Mixed:
    """samples: inputs of every net on the clip, by engine name. ValueError if a net cannot be int8.

    Where float16 itself is not good enough, the result is float16, and its error says so.
    """
    opened = {}
    for i, net in enumerate(nets):
        report(f"export {net.name}", i / len(nets))
        opened[net.name] = _Net(net, samples[net.name])
    report("try int8", 0.0)
    files = {name: net.file() for name, net in opened.items()}
    error = judge(files).worst[1]
    if error <= allowed:
        return Mixed(files, error, {name: [] for name in files}, 1.0)
    parts = _parts(opened, files, judge, report, threads)
    report("try float16", 0.0)
    floor = judge({n.name: exported(n, "fp16") for n in nets}).worst[1]
    target, count = allowed, 0
    for turn in range(ROUNDS):
        count = min(max(_fewest(parts, floor, target), count + 1), len(parts))
        spared = {name: [p.product.name for p in parts[:count] if p.net == name] for name in opened}
        report("try a mixture", turn / ROUNDS)
        files = {name: net.file(spared[name]) for name, net in opened.items()}
        error = judge(files).worst[1]
        if error <= allowed or count == len(parts):
            break
        target *= allowed / error
    work = sum(part.product.work for part in parts)
    kept = sum(part.product.work for part in parts[count:])
    return Mixed(files, error, spared, kept / work if work else 0.0)


def _parts(
    opened: Mapping[str, _Net], files: Mapping[str, bytes], judge: Judge, report: Report, threads: int
) -> list[_Part]:
    """The largest first."""
    parts: list[_Part] = []
    for i, (name, net) in enumerate(opened.items()):
        report(f"round {name}", i / len(opened))
        products = net.products(threads)
        total = math.sqrt(sum(p.error**2 for p in products))
        if total > 0:
            gain = judge({name: files[name]}).worst[1] / total
            parts += [_Part(name, p, gain * p.error) for p in products]
    return sorted(parts, key=lambda part: part.error, reverse=True)


def _fewest(parts: Sequence[_Part], floor: float, target: float) -> int:
    """How many of the largest must go so that the others' squares, with float16's own, make no more than
    ``target``."""
    left = math.fsum(part.error**2 for part in parts)
    for i, part in enumerate(parts):
        if math.sqrt(max(left, 0.0) + floor**2) <= target:
            return i
        left -= part.error**2
    return len(parts)
