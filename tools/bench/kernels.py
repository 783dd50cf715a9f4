"""The two-stage pipeline's kernels against the plain operations, sizes of the published model.

    python -m tools.bench.kernels [--write docs/benchmarks.md]

``motion_volume`` and ``warp_volume`` against nets/warping.py (what the specification says, in PyTorch
operations), ``face_to_mapping`` against OpenCV and NumPy. Results are checked against each other first.
"""

from __future__ import annotations

import argparse
import ctypes
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from tools.bench.common import interleaved, machine, markdown_table, replace_section
from x2c_edge import _kernels
from x2c_edge.nets.warping import WarpingConfig, WarpingNetwork

SIDE, GENERATED, MAPPED = 64, 512, 224
MEAN, STD = (0.4885, 0.4294, 0.3233), (0.1382, 0.1195, 0.1087)

Floats = NDArray[np.float32]


class Case:
    """One kernel beside the plain way to the same numbers."""

    def __init__(
        self, name: str, plain: Callable[[], object], ours: Callable[[int], object], out: Floats, moved: int
    ) -> None:
        self.name, self.plain, self.ours, self.out = name, plain, ours, out
        self.moved = moved  # bytes that must be read and written at least

    def difference(self) -> float:
        """Largest difference of the two results."""
        self.out.fill(np.nan)
        self.ours(2)
        return float(np.abs(np.asarray(self.plain()).reshape(self.out.shape) - self.out).max())


def cases() -> list[Case]:
    rng = np.random.default_rng(0)
    config = WarpingConfig()
    count, size = config.keypoints, (config.depth, SIDE, SIDE)
    driving = rng.uniform(-0.8, 0.8, (count, 3)).astype(np.float32)
    source = (driving + rng.normal(scale=0.05, size=driving.shape)).astype(np.float32)
    compressed = rng.normal(size=(config.compressed, *size)).astype(np.float32)
    logits = rng.normal(scale=2, size=(count + 1, *size)).astype(np.float32)
    feature = rng.normal(size=(config.channels, *size)).astype(np.float32)
    channels_last = np.ascontiguousarray(np.moveaxis(feature, 0, -1))
    image = rng.uniform(0, 1, (3, GENERATED, GENERATED)).astype(np.float32)
    net = WarpingNetwork(WarpingConfig(base=1, cap=1, levels=1))  # its weights are not used
    t_driving, t_source, t_compressed, t_logits, t_feature = (
        torch.from_numpy(a)[None] for a in (driving, source, compressed, logits, feature)
    )
    front = np.empty((config.front_channels, *size), np.float32)
    warped = np.empty((config.channels * config.depth, SIDE, SIDE), np.float32)
    mapped = np.empty((3, MAPPED, MAPPED), np.float32)
    mean, std = np.array(MEAN, np.float32), np.array(STD, np.float32)

    def plain_face() -> Floats:
        picture = np.ascontiguousarray(image.transpose(1, 2, 0)[..., ::-1])
        small = cv2.resize(picture, (MAPPED, MAPPED), interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(((small - mean) / std).transpose(2, 0, 1))

    return [
        Case(
            "motion_volume",
            lambda: net.front_end(t_compressed, t_driving, t_source),
            lambda threads: _kernels.motion_volume(compressed, driving, source, front, threads=threads),
            front,
            compressed.nbytes + front.nbytes,
        ),
        Case(
            "warp_volume",
            lambda: net.warp(t_feature, net.deformation(t_logits, t_driving, t_source)),
            lambda threads: _kernels.warp_volume(
                logits, driving, source, channels_last, warped, threads=threads
            ),
            warped,
            logits.nbytes + feature.nbytes + warped.nbytes,
        ),
        Case(
            "face_to_mapping",
            plain_face,
            lambda threads: _kernels.face_to_mapping(
                image, mapped, order="BGR", mean=MEAN, std=STD, threads=threads
            ),
            mapped,
            image.nbytes + mapped.nbytes,
        ),
    ]


def temporary_bytes(run: Callable[[], object], result: int) -> int:
    """How far the process's memory grows beyond the result while ``run`` runs (Linux, glibc)."""
    run()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak
    before = _status("VmRSS")
    kept = run()
    peak = _status("VmHWM")
    del kept
    return max(0, peak - before - result)


def _status(key: str) -> int:
    found = re.search(rf"^{key}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--write", type=Path, help="put the table into this page")
    arguments = parser.parse_args()

    rows = []
    with torch.inference_mode():
        for case in cases():
            difference = case.difference()
            memory = [
                temporary_bytes(case.plain, case.out.nbytes),
                temporary_bytes(lambda case=case: case.ours(1), 0),  # type: ignore[misc]
            ]
            for threads in (1, 2):
                torch.set_num_threads(threads)
                cv2.setNumThreads(threads)
                copy_from, copy_to = (
                    np.ones(case.moved // 8, np.float32),
                    np.empty(case.moved // 8, np.float32),
                )
                times = interleaved(
                    {
                        "plain": case.plain,
                        "ours": lambda case=case, threads=threads: case.ours(threads),  # type: ignore[misc]
                        "copy": lambda to=copy_to, start=copy_from: np.copyto(to, start),  # type: ignore[misc]
                    },
                    rounds=arguments.rounds,
                    warmup=3,
                )
                rows.append(
                    [
                        f"`{case.name}`",
                        str(threads),
                        f"{times['plain'] * 1e3:.2f}",
                        f"{times['ours'] * 1e3:.2f}",
                        f"**{times['plain'] / times['ours']:.1f}×**",
                        f"{times['copy'] * 1e3:.2f}",
                        f"{memory[0] / 1e6:.0f}",
                        f"{memory[1] / 1e6:.1f}",
                        f"{difference:.1e}",
                    ]
                )
    table = markdown_table(
        [
            "kernel",
            "threads",
            "plain, ms",
            "ours, ms",
            "faster",
            "floor, ms",
            "plain temporaries, MB",
            "ours, MB",
            "largest difference",
        ],
        rows,
    )
    caption = (
        f"`python -m tools.bench.kernels`, medians of {arguments.rounds} interleaved runs; {machine()}, "
        f"PyTorch {torch.__version__}, OpenCV {cv2.__version__}, kernels {_kernels.cpu_variant()}, float32. "
        "The floor is one thread's copy of as many bytes as the kernel must read and write at least "
        f"({', '.join(f'{case.name} {case.moved / 1e6:.1f} MB' for case in cases())})."
    )
    print(table + "\n" + caption)
    if arguments.write:
        replace_section(arguments.write, "two_stage_kernels", table + "\n" + caption)


if __name__ == "__main__":
    main()
