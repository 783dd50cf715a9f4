"""What a net costs: operations and elements moved, layer by layer, counted from shapes.

A layer is a convolution or a matrix product; what stands between two of them (bias, activation, sum) counts
as fused into the one before it, as TensorRT and ONNX Runtime do it. Shapes come from a pass over PyTorch's
"meta" device, which computes nothing, so that large nets are counted in seconds.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from x2c_edge.nets.engine_nets import EngineNet, Port

_PRODUCTS = {"mm", "addmm", "bmm", "baddbmm"}


@dataclass(frozen=True, slots=True)
class Layer:
    """flop: two for each multiplication and its addition. read, written, weights: elements."""

    flop: int
    read: int
    written: int
    weights: int


@dataclass(frozen=True, slots=True)
class NetCost:
    """inputs, outputs: elements that enter and leave. wide: float32 in every precision."""

    name: str
    layers: tuple[Layer, ...]
    inputs: int
    outputs: int
    wide: bool

    @property
    def flop(self) -> int:
        return sum(layer.flop for layer in self.layers)

    @property
    def weights(self) -> int:
        return sum(layer.weights for layer in self.layers)


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.layers: list[Layer] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        with self:  # an operation that is made of others is counted as those
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        result = func(*args, **kwargs)
        name = func.overloadpacket.__name__
        if name == "convolution":
            self.layers.append(_convolution(args[0], args[1], result, transposed=bool(args[6])))
        elif name in _PRODUCTS:
            left, right = [a for a in args if isinstance(a, Tensor)][-2:]
            flop = 2 * result.numel() * left.shape[-1]
            self.layers.append(Layer(flop, left.numel(), result.numel(), right.numel()))
        return result


def _convolution(x: Tensor, weight: Tensor, result: Tensor, *, transposed: bool) -> Layer:
    """weight: (out, in / groups, ...), and with transposed (in, out / groups, ...): each of its taps meets
    every position of the output, or of the input."""
    positions = x if transposed else result
    flop = 2 * positions.numel() * weight[0].numel()
    return Layer(flop, x.numel(), result.numel(), weight.numel())


def cost(net: EngineNet) -> NetCost:
    """Leaves the net's weights as they are."""
    module = deepcopy(net.module).to("meta")
    with torch.inference_mode(), _Counter() as counter:
        module(*[torch.zeros(port.shape, device="meta") for port in net.inputs])
    return NetCost(net.name, tuple(counter.layers), _elements(net.inputs), _elements(net.outputs), net.wide)


def _elements(ports: Sequence[Port]) -> int:
    return sum(math.prod(port.shape) for port in ports)


def peak_here(rounds: int = 9) -> float:
    """Operations a second of one thread in a product of matrices that fit into the cache, float32."""
    n = 512
    left, right = torch.rand(n, n), torch.rand(n, n)
    return 2 * n**3 / median_seconds(lambda: left @ right, rounds)


def bandwidth_here(rounds: int = 9) -> float:
    """Bytes a second, read and written, of one thread that copies more than any cache holds."""
    source = torch.zeros(1 << 26, dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * source.numel() / median_seconds(lambda: target.copy_(source), rounds)


def median_seconds(work: Callable[[], object], rounds: int) -> float:
    """Of this thread's processor time, so that what other programs take meanwhile does not count."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times = []
    try:
        with torch.inference_mode():
            for _ in range(2):
                work()
            for _ in range(rounds):
                start = time.thread_time()
                work()
                times.append(time.thread_time() - start)
    finally:
        torch.set_num_threads(threads)
    return statistics.median(times)
