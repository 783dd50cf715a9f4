"""What NVIDIA publishes about the boards: what a prediction is made from.

Peaks are computed from streaming multiprocessors (SM) and clock, dense, without sparsity; they agree with the
published totals, which count zeros that sparsity skips (half of "sparse INT8 TOPS" is the dense figure):

Orin Nano 8 GB   Jetson Orin Nano Series data sheet, DS-11105: 1024 CUDA cores (8 SM), 625 MHz, 68 GB/s; in
                 the "Super" mode of JetPack 6.1 and later 1020 MHz, 102 GB/s, 67 sparse INT8 TOPS.
Orin NX 16 GB    Jetson Orin NX Series data sheet, DS-10712: 1024 CUDA cores (8 SM), 918 MHz, 102.4 GB/s.
AGX Orin 64 GB   Jetson AGX Orin Series technical brief v1.2: 2048 CUDA cores (16 SM), 1.3 GHz, 204.8 GB/s,
                 5.3 FP32 TFLOPS, 170 sparse INT8 TOPS of the GPU.
Thor T5000       Jetson Thor Series modules data sheet: 2560 CUDA cores (20 SM), 1.57 GHz, 273 GB/s, 2070
                 sparse FP4 TFLOPS (an eighth of it is dense FP16).

The sheets themselves were not at hand when this was written: the figures come from pages that quote them
(Orin Nano, Thor's SM and clock) and from memory (Orin NX, AGX Orin, Thor's bandwidth). Check them before a
prediction is relied on.

An SM does 128 float32 multiply-adds a clock. Its tensor cores do 1024 of float16 on Orin (Ampere) and 4096 on
Thor (Blackwell), and twice as many of int8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from x2c_edge.errors import BadArgumentError, nearest

PRECISIONS: Final = ("fp32", "fp16", "int8")
_FLOP_PER_CLOCK: Final = {
    "ampere": {"fp32": 256, "fp16": 2048, "int8": 4096},
    "blackwell": {"fp32": 256, "fp16": 8192, "int8": 16384},
}


@dataclass(frozen=True, slots=True)
class Board:
    """peak: operations a second by precision. bandwidth: bytes a second between memory and GPU.

    launch_s: from one layer's end to the next one's begin. efficiency: share of the peak that a layer gets.
    """

    name: str
    peak: dict[str, float]
    bandwidth: float
    launch_s: float
    efficiency: float


# Not published, and not measured by us: a node of a CUDA graph and a well-shaped convolution, at a guess.
LAUNCH_S: Final = 3e-6
EFFICIENCY: Final = 0.4


def _jetson(name: str, kind: str, multiprocessors: int, clock_hz: float, bandwidth: float) -> Board:
    peak = {p: multiprocessors * clock_hz * flop for p, flop in _FLOP_PER_CLOCK[kind].items()}
    return Board(name, peak, bandwidth, LAUNCH_S, EFFICIENCY)


BOARDS: Final = {
    "orin-nano": _jetson("Orin Nano 8 GB", "ampere", 8, 625e6, 68e9),
    "orin-nano-super": _jetson("Orin Nano 8 GB, Super", "ampere", 8, 1020e6, 102e9),
    "orin-nx": _jetson("Orin NX 16 GB", "ampere", 8, 918e6, 102.4e9),
    "agx-orin": _jetson("AGX Orin 64 GB", "ampere", 16, 1300e6, 204.8e9),
    "thor": _jetson("Thor T5000", "blackwell", 20, 1570e6, 273e9),
}


def board(name: str) -> Board:
    """BadArgumentError for a board that is not known."""
    if name not in BOARDS:
        known = ", ".join([*BOARDS, "here"])
        raise BadArgumentError(f"--predict {name}: not one of {known}{nearest(name, BOARDS)}")
    return BOARDS[name]
