"""Milliseconds of a frame on a machine that is not here: a roofline over the layers of a pack's nets.

A layer takes as long as its operations or its bytes do, whichever is longer, and a launch:

    max(bytes / bandwidth, flop / (peak * efficiency)) + launch

The steps between the nets are kernels that move bytes: each reads and writes what its neighbours hold, once.
Camera, copy and wire are not in it. How wrong the model is on a machine that can be asked: ``compared``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from x2c_edge.errors import NotFoundError
from x2c_edge.packs import NetSpec, Pack, open_pack
from x2c_edge.runtime.boards import PRECISIONS, Board, board
from x2c_edge.runtime.gears import PIPELINE_NETS

if TYPE_CHECKING:
    from x2c_edge.nets.cost import Layer, NetCost
    from x2c_edge.nets.engine_nets import EngineNet

_BYTES: Final = {"fp32": 4, "fp16": 2, "int8": 1}
TRACKER: Final = "single_stage"
# Parts of the nets that are two engines, by engine.
_PARTS: Final = {"dense_motion": "dense motion", "direct_motion": "dense motion", "warp_tail": "tail"}
_MOTION: Final = (TRACKER, "motion", "face_motion", "stitching")
ENGINES: Final[Mapping[str, tuple[str, ...]]] = {  # that run for a frame, by gear
    "two-stage": (*_MOTION, "dense_motion", "warp_tail", "generator", "mapping"),
    "direct": (*_MOTION, "direct_motion", "direct"),
    "single-stage": (TRACKER,),
}


@dataclass(frozen=True, slots=True)
class StepTime:
    """bytes: all that its layers read and write, in this precision."""

    name: str
    flop: int
    bytes: int
    seconds: float


def net_time(net: NetCost, machine: Board, precision: str) -> StepTime:
    """Of one pass, batch 1."""
    used = "fp32" if net.wide else precision
    size = _BYTES[used]

    def of(layer: Layer) -> float:
        moved = size * (layer.read + layer.written + layer.weights) / machine.bandwidth
        return max(moved, layer.flop / (machine.peak[used] * machine.efficiency)) + machine.launch_s

    moved = sum(layer.read + layer.written + layer.weights for layer in net.layers)
    return StepTime(net.name, net.flop, size * moved, sum(map(of, net.layers)))


def kernels_time(nets: Sequence[NetCost], machine: Board, precision: str) -> StepTime:
    """The kernels around these nets: what one writes, a net reads, and the other way round.

    Each moves at the least what the nets' inputs and outputs hold, twice: read by one side, written by the
    other. At most float16: kernels compute on pixels and maps, never on int8.
    """
    size = 4 if precision == "fp32" else 2
    moved = 2 * size * sum(net.inputs + net.outputs for net in nets)
    launches = (len(nets) + 1) * machine.launch_s
    return StepTime("kernels", 0, moved, moved / machine.bandwidth + launches)


def gears_of(pack: Pack, nets: Sequence[NetCost]) -> dict[str, list[NetCost]]:
    """The nets that run for a frame, by gear, best first; the tracker is part of every one."""
    return {
        gear: [net for net in nets if net.name in ENGINES[gear]]
        for gear, net in PIPELINE_NETS
        if net in pack.nets
    }


def predicted(nets: Sequence[NetCost], machine: Board, precision: str) -> list[StepTime]:
    """A row for each net, one for all kernels."""
    return [
        *(net_time(net, machine, precision) for net in nets),
        kernels_time(nets, machine, precision),
    ]


def prediction(pack_name: str | None, board_name: str) -> list[str]:
    """Lines to print: ``table`` of a board, or ``compared`` for "here".

    BadArgumentError for another board, NotFoundError for a pack that is not there or without PyTorch, which
    counts.
    """
    where = None if board_name == "here" else board(board_name)
    if importlib.util.find_spec("torch") is None:
        raise NotFoundError("--predict needs PyTorch to count: pip install 'x2c-edge[torch]'")
    pack = open_pack(pack_name)
    return compared(pack) if where is None else table(pack, where, PRECISIONS)


def table(pack: Pack, machine: Board, precisions: Sequence[str]) -> list[str]:
    """The lines that ``x2c-edge profile --predict BOARD`` prints."""
    from x2c_edge.nets.cost import cost

    nets = [cost(net) for _, net in nets_of(pack)]
    lines = [
        f"{machine.name}, {pack.name} pack: PREDICTED, nothing of it was measured",
        f"roofline; {machine.bandwidth / 1e9:g} GB/s, {machine.efficiency:.0%} of the peak, "
        f"{machine.launch_s * 1e6:g} us a layer; camera and wire not included",
        f"{'':22s}{'GFLOP':>9s}{'MB fp16':>9s}" + "".join(f"{p:>9s}" for p in precisions) + "   ms",
    ]
    for gear, used in gears_of(pack, nets).items():
        columns = [predicted(used, machine, precision) for precision in precisions]
        sizes = predicted(used, machine, "fp16")
        for row, size in zip(zip(*columns, strict=True), sizes, strict=True):
            times = "".join(f"{step.seconds * 1e3:9.3f}" for step in row)
            lines.append(f"  {size.name:20s}{size.flop / 1e9:9.3f}{size.bytes / 1e6:9.2f}{times}")
        totals = "".join(f"{sum(step.seconds for step in column) * 1e3:9.3f}" for column in columns)
        flop, moved = sum(s.flop for s in sizes), sum(s.bytes for s in sizes)
        lines.append(f"{gear:22s}{flop / 1e9:9.3f}{moved / 1e6:9.2f}{totals}")
    return lines


def compared(pack: Pack, rounds: int = 15) -> list[str]:
    """The same model on this processor, one thread, with its peak and bandwidth measured now, beside the time
    that the CPU engine takes for each net; and how far apart they are."""
    from x2c_edge.backends.cpu_engine import CpuEngine, graphs_for
    from x2c_edge.nets import cost

    engine = CpuEngine(graphs_for(pack), threads=1)
    peak, bandwidth = cost.peak_here(), cost.bandwidth_here()
    here = Board("this processor", {"fp32": peak}, bandwidth, 0.0, 1.0)
    lines = [
        f"this processor, one thread, {pack.name} pack: {peak / 1e9:.1f} GFLOP/s of a matrix product, "
        f"{bandwidth / 1e9:.1f} GB/s of a copy, both measured now",
        f"{'':22s}{'predicted':>10s}{'measured':>10s}   ms of processor time, measured / predicted",
    ]
    total_predicted = total_measured = 0.0
    for spec, net in nets_of(pack):
        predicted_s = net_time(cost.cost(net), here, "fp32").seconds
        x, out = (tuple(engine.buffer(port.shape) for port in side) for side in (net.inputs, net.outputs))
        measured_s = cost.median_seconds(engine.bind(spec, x, out, _PARTS.get(net.name, "")), rounds)
        total_predicted += predicted_s
        total_measured += measured_s
        lines.append(_row(net.name, predicted_s, measured_s))
    return [*lines, _row("all nets", total_predicted, total_measured)]


def nets_of(pack: Pack) -> list[tuple[NetSpec, EngineNet]]:
    """The nets of a pack as engines run them, and the manifest's net that each is a part of.

    NotFoundError for a file that does not fit its manifest.
    """
    from x2c_edge.nets.engine_nets import engine_nets, opened, volume_shape

    source = pack.files.get("source")
    volume = volume_shape(source.file) if source is not None else ()
    return [
        (spec, net)
        for spec in pack.nets.values()
        for net in engine_nets(
            opened(spec.arch, spec.config, spec.file), spec.input.size if spec.input else 0, volume
        )
    ]


def _row(name: str, predicted_s: float, measured_s: float) -> str:
    ratio = measured_s / predicted_s
    return f"{name:22s}{predicted_s * 1e3:10.3f}{measured_s * 1e3:10.3f}   {ratio:.2f}"
