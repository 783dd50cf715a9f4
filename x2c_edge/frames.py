"""What travels between the stages: Frame -> FaceCrop -> Expression -> Command.

All are frozen; a stage that changes something makes a new one. Times are nanoseconds of the run's
clock: ``time.monotonic_ns()`` live, the file's own timestamps under ``--fast``.

Pixel coordinates are indices: (0, 0) is the *centre* of the top left pixel, x to the right, y down
(docs/spec/liveportrait.md section 11).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from x2c_edge.controls import NAMES

PixelFormat = Literal["BGR", "RGB", "YUYV", "NV12"]


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture from a source.

    image: uint8, C-contiguous. BGR and RGB (H, W, 3); YUYV (H, W, 2), W even; NV12 (H*3/2, W), H and
    W even: H rows of luma, then H/2 rows of interleaved chroma.
    t_capture_ns: when the sensor delivered it (not when it was decoded).
    """

    seq: int
    t_capture_ns: int
    image: NDArray[np.uint8]
    format: PixelFormat = "BGR"

    @property
    def height(self) -> int:
        rows = int(self.image.shape[0])
        return rows * 2 // 3 if self.format == "NV12" else rows

    @property
    def width(self) -> int:
        return int(self.image.shape[1])


@dataclass(frozen=True, slots=True)
class FaceCrop:
    """Where the face is in a frame: an affine, never copied pixels.

    affine: (2, 3) float64, maps *crop* pixel (x, y, 1) to *frame* pixel.
    size: the crop is size x size pixels.
    score: how sure the tracker is that a face is there, 0..1.
    """

    frame: Frame
    affine: NDArray[np.float64]
    size: int
    score: float


@dataclass(frozen=True, slots=True)
class Expression:
    """What a pipeline saw.

    values: (30,) float64, paper units, relative to the driver's neutral around the robot's neutral;
    not yet limited in any way.
    landmarks: (L, 2) float64 in frame pixels, for following and for drawing.
    presence: 0..1, the network's own opinion that the crop holds a face.
    """

    frame_seq: int
    t_capture_ns: int
    pipeline: str
    values: NDArray[np.float64]
    presence: float
    landmarks: NDArray[np.float64]


State = Literal["STARTING", "NEUTRAL", "FOLLOWING", "HOLDING", "RETURNING", "FAULT", "STOPPED"]


class Flag:
    """Command flags, the bits of docs/spec/links.md section 3."""

    HOLD = 0x0001
    NEUTRAL = 0x0002
    DEGRADED = 0x0004
    FACE_LOST = 0x0008
    CLAMPED = 0x0010
    SLEWED = 0x0020
    END = 0x0040
    TEST = 0x0080


@dataclass(frozen=True, slots=True)
class Command:
    """What is sent to the robot: always finite, inside the envelope, within the slew limits.

    values: (30,) float64, paper units. frame_seq, t_capture_ns and pipeline name the expression that
    it follows; None when it follows none (neutral, easing).
    """

    seq: int
    t_send_ns: int
    state: State
    flags: int
    values: NDArray[np.float64]
    frame_seq: int | None = None
    t_capture_ns: int | None = None
    pipeline: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The ``jsonl:`` line's content (docs/spec/program.md section 8)."""
        return {
            "seq": self.seq,
            "frame_seq": self.frame_seq,
            "t_capture_ns": self.t_capture_ns,
            "t_send_ns": self.t_send_ns,
            "state": self.state,
            "pipeline": self.pipeline,
            "controls": {name: float(value) for name, value in zip(NAMES, self.values, strict=True)},
        }
