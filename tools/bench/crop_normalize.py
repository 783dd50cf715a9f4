"""crop_normalize against what people write instead: cvtColor, warpAffine, NumPy normalise, transpose.

    python -m tools.bench.crop_normalize [--write docs/benchmarks.md]

Both make the same tilted face crop, (3, size, size) float32 RGB, from a 1280x720 frame.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.bench.common import interleaved, machine, markdown_table, replace_section
from x2c_edge import _kernels
from x2c_edge.frames import PixelFormat

WIDTH, HEIGHT = 1280, 720
FACE = 400.0  # side of the crop in the frame, pixels
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SHAPES: dict[PixelFormat, tuple[int, ...]] = {
    "BGR": (HEIGHT, WIDTH, 3),
    "RGB": (HEIGHT, WIDTH, 3),
    "YUYV": (HEIGHT, WIDTH, 2),
    "NV12": (HEIGHT * 3 // 2, WIDTH),
}
TO_RGB: dict[PixelFormat, int] = {"YUYV": cv2.COLOR_YUV2RGB_YUYV, "NV12": cv2.COLOR_YUV2RGB_NV12}


def face_affine(size: int) -> NDArray[np.float64]:
    """Crop pixel to frame pixel: a face in the middle of the frame, tilted by 12 degrees."""
    scale = FACE / size
    c, s = scale * math.cos(math.radians(12)), scale * math.sin(math.radians(12))
    linear = np.array([[c, -s], [s, c]])
    centre = np.array([WIDTH / 2, HEIGHT / 2]) - linear @ np.array([size / 2, size / 2])
    return np.column_stack([linear, centre])


def usual_way(frame: NDArray[np.uint8], pixels: PixelFormat, size: int) -> Callable[[], NDArray[np.float32]]:
    affine = face_affine(size)
    mean, std = np.array(MEAN, np.float32), np.array(STD, np.float32)

    def run() -> NDArray[np.float32]:
        image = cv2.cvtColor(frame, TO_RGB[pixels]) if pixels in TO_RGB else frame
        crop = cv2.warpAffine(image, affine, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        if pixels == "BGR":
            crop = crop[..., ::-1]
        normal = (crop.astype(np.float32) / np.float32(255) - mean) / std
        return np.ascontiguousarray(normal.transpose(2, 0, 1))

    return run


def our_way(frame: NDArray[np.uint8], pixels: PixelFormat, size: int, threads: int) -> Callable[[], object]:
    affine = face_affine(size)
    out = np.empty((3, size, size), np.float32)
    return lambda: _kernels.crop_normalize(
        frame, affine, out, format=pixels, mean=MEAN, std=STD, threads=threads
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--write", type=Path, help="put the table into this page")
    arguments = parser.parse_args()

    rng = np.random.default_rng(0)
    rows = []
    for size in (128, 256):
        for threads in (1, 2):
            cv2.setNumThreads(threads)
            for pixels, shape in SHAPES.items():
                frame = rng.integers(0, 256, shape, dtype=np.uint8)
                times = interleaved(
                    {"usual": usual_way(frame, pixels, size), "ours": our_way(frame, pixels, size, threads)},
                    rounds=arguments.rounds,
                )
                rows.append(
                    [
                        f"{pixels} → {size}×{size}",
                        str(threads),
                        f"{times['usual'] * 1e6:.0f}",
                        f"{times['ours'] * 1e6:.0f}",
                        f"**{times['usual'] / times['ours']:.1f}×**",
                    ]
                )
    table = markdown_table(
        ["crop from 1280×720", "threads", "OpenCV + NumPy, µs", "ours, µs", "faster"], rows
    )
    caption = (
        f"`python -m tools.bench.crop_normalize`, medians of {arguments.rounds} interleaved runs; "
        f"{machine()}, OpenCV {cv2.__version__}, NumPy {np.__version__}, kernels {_kernels.cpu_variant()}."
    )
    print(table + "\n" + caption)
    if arguments.write:
        replace_section(arguments.write, "crop_normalize", table + "\n" + caption)


if __name__ == "__main__":
    main()
