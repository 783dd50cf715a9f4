"""A face to the robot's 30 controls, for a program of one's own: no robot, no threads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from x2c_edge.errors import BadArgumentError
from x2c_edge.frames import Expression, Frame
from x2c_edge.runtime.build_vision import build_vision, choose, open_device
from x2c_edge.runtime.settings import Settings


class FaceReader:
    """Follows one person's face from frame to frame, as ``x2c-edge run --fast`` does.

    gear: the pipeline in use. Not thread-safe. NotFoundError and BadArgumentError as the program's.
    """

    def __init__(self, settings: Settings | None = None, *, unrelated: bool = False) -> None:
        """unrelated: every frame is a picture of its own, read absolutely; nothing is followed or learnt."""
        settings = settings or Settings()
        chosen = choose(settings)
        backend = open_device(settings, chosen.pack)
        self._seeing = build_vision(settings, chosen, backend, unrelated=unrelated)
        self._unrelated = unrelated
        self.gear = self._seeing.gears[0]
        self.device = f"{backend.name} on {backend.device}"

    def read(self, frame: Frame) -> Expression | None:
        """What the robot should wear, not yet made safe; None without a face. Frames come in time's order.

        ``Expression.values``: (30,) float64 in the order of ``NAMES``, paper units.
        """
        if self._unrelated:  # vision tells a new picture by its array, and the caller may use one for all
            frame = replace(frame, image=frame.image.copy(order="C"))
        return self._seeing.vision.process(frame, self.gear).expression

    @property
    def advice(self) -> str:
        """Why no face is found, if that is known."""
        return self._seeing.vision.advice


class PictureReader:
    """Pictures of anybody to 30 controls, each by itself."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._reader = FaceReader(settings, unrelated=True)
        self._seq = 0

    def read(self, picture: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        """picture: (H, W, 3) uint8, BGR, one face. (30,) paper units, not yet safe; None without a face."""
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise BadArgumentError(
                f"a picture of shape {picture.shape} and dtype {picture.dtype}; give (H, W, 3) uint8, BGR"
            )
        self._seq += 1
        expression = self._reader.read(Frame(self._seq, self._seq, np.ascontiguousarray(picture)))
        return None if expression is None else expression.values
