"""The single-stage net on a crop: whether and where a face is, its pose, and controls."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from x2c_edge import _kernels
from x2c_edge.backends.base import Backend, Buffer
from x2c_edge.controls import N_CONTROLS
from x2c_edge.errors import NotFoundError
from x2c_edge.frames import FaceCrop
from x2c_edge.nets.landmarks import LANDMARK_IDS
from x2c_edge.packs import NetInput, NetSpec, Pack
from x2c_edge.pipelines.base import Measurement
from x2c_edge.pipelines.rotation import about_view, rotation_matrix


class Tracker:
    """``show`` a crop, then ``sample``, ``infer`` and ``decode``, in this order: steps of a plan.

    Buffers are made here; a frame allocates only its Measurement. ``measurement`` is there after ``decode``.
    """

    def __init__(self, pack: Pack, backend: Backend, threads: int = 1) -> None:
        """NotFoundError if the pack has no single-stage net."""
        if "single_stage" not in pack.nets:
            raise NotFoundError(f"pack '{pack.name}' has no single-stage net; use another pack or pipeline")
        net = pack.nets["single_stage"]
        self.crop_size = net.picture.size
        self.crop_scale = _crop_scale(pack, net)
        self._input = net.picture
        self._threads = threads
        points = len(LANDMARK_IDS)
        self.input = backend.crop_input()
        self._stream = backend.stream
        self._x = backend.buffer((1, 3, self.crop_size, self.crop_size))
        self.row = backend.buffer((1, 1 + 2 * points + 3 + N_CONTROLS))  # all that the net says
        self.points = self.row[0, 1 : 1 + 2 * points]  # where a later step can read the landmarks
        self._results = backend.outlet(self.row[0]), backend.outlet(self._x[0, 1])
        self._crop: FaceCrop | None = None
        self._run_net = backend.bind(net, self._x, self.row)

    def show(self, crop: FaceCrop) -> bool:
        """What to look at next. True if a device must capture its steps anew."""
        self._crop = crop
        return self.input.show(crop.frame, crop.affine)

    def sample(self) -> None:
        """The crop's pixels, normalised."""
        self.input.send()
        self.cut(self.input.affine, self._x[0], self._input, self._threads)

    def cut(self, affine: Buffer, out: Buffer, picture: NetInput, threads: int) -> None:
        """A crop of the frame that is shown, as a net takes it. affine: (2, 3) float64, crop to frame."""
        assert self._crop is not None
        _kernels.crop_normalize(
            self.input.image,
            affine,
            out,
            format=self._crop.frame.format,
            order=picture.order,
            mean=picture.mean,
            std=picture.std,
            taps=0,
            threads=threads,
            stream=self._stream,
        )

    def infer(self) -> None:
        """The net; what the host reads of it is on its way."""
        self._run_net()
        for result in self._results:
            result.fetch()

    def decode(self) -> None:
        """The results that are there into ``measurement``."""
        assert self._crop is not None
        seen, plane = (result.values for result in self._results)
        row = seen.astype(np.float64)
        points = 2 * len(LANDMARK_IDS)
        half = self.crop_size / 2
        crop_points = row[1 : 1 + points].reshape(-1, 2) * half + (self.crop_size - 1) / 2
        affine = self._crop.affine
        yaw, pitch, roll = row[1 + points : 4 + points]
        turn = math.atan2(affine[1, 0], affine[0, 0])  # the crop's rotation in the frame, y down
        self.measurement = Measurement(
            values=row[4 + points :],
            rotation=about_view(-turn) @ rotation_matrix(yaw, pitch, roll),
            landmarks=crop_points @ affine[:, :2].T + affine[:, 2],
            presence=1.0 / (1.0 + math.exp(-min(max(row[0], -40.0), 40.0))),
            sharpness=sharpness(plane),
        )


def _crop_scale(pack: Pack, net: NetSpec) -> float:
    scale = net.options.get("crop_scale")
    if not (isinstance(scale, int | float) and 0.1 < scale < 10):  # NaN is not, either
        raise NotFoundError(
            f"{pack.path}: the manifest's options.crop_scale of single_stage is {scale!r}, not a number "
            "such as 1.4; get the pack again"
        )
    return float(scale)


def sharpness(plane: NDArray[np.float32]) -> float:
    """Mean absolute difference of neighbours over the standard deviation; about 0.05 when blurred."""
    step = float(np.abs(plane[::2, 1:] - plane[::2, :-1]).mean())
    return step / (float(plane[::2].std()) + 1e-6)
