"""The same clip through the pipeline on any backend: what engines are calibrated and judged by."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from x2c_edge import retarget
from x2c_edge.backends.base import Backend, Buffer, Buffers
from x2c_edge.backends.engine_files import Target, engine_name
from x2c_edge.backends.host import HostMemory
from x2c_edge.capture.base import EndOfStream
from x2c_edge.capture.open import SourceSpec, open_source
from x2c_edge.controls import NAMES
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.face.follow import FaceFollower
from x2c_edge.frames import FaceCrop
from x2c_edge.nets.landmarks import LANDMARK_IDS
from x2c_edge.packs import NetSpec, Pack
from x2c_edge.pipelines.base import Pipeline
from x2c_edge.pipelines.direct import DirectPipeline
from x2c_edge.pipelines.reference import Reference
from x2c_edge.pipelines.rotation import angles
from x2c_edge.pipelines.single_stage import SingleStagePipeline
from x2c_edge.pipelines.two_stage import TwoStagePipeline

CROPS: Final = 12
SPACING: Final = 5  # frames of the clip from one crop to the next

# The largest error of any control that an engine set may have, in control units (most controls span 1).
# For scale, exported nets in ONNX Runtime: the default pack 1e-6, 4e-4 and 0.05; the two-stage chain with the
# golden vectors' random weights, which exaggerate what is put in, 3e-5, 0.03 and 0.15.
TOLERANCES: Final = {"fp32": 1e-3, "fp16": 0.05, "int8": 0.1}


def pipeline_of(pack: Pack, backend: Backend) -> Pipeline:
    """The pack's own pipeline, its best."""
    if pack.pipeline == "two-stage":
        return TwoStagePipeline(pack, backend)
    return SingleStagePipeline(pack, backend)


def pipelines_of(pack: Pack, backend: Backend) -> list[Pipeline]:
    """The pack's best pipeline, and every other that has engines of its own."""
    pipelines: list[Pipeline] = [pipeline_of(pack, backend)]
    if "direct" in pack.nets:
        pipelines.append(DirectPipeline(pack, backend))
    return pipelines


def crops_of(clip: str, pipeline: Pipeline) -> list[FaceCrop]:
    """The followed face in every fifth frame of a video or folder; at most twelve crops.

    NotFoundError if there is no face in it. BadArgumentError for a still: in twelve crops of one picture a
    net that always says the same passes for a good one.
    """
    follower = FaceFollower(LANDMARK_IDS, crop_size=pipeline.crop_size, crop_scale=pipeline.crop_scale)
    source = open_source(SourceSpec(input=clip))
    crops: list[FaceCrop] = []
    pictures: set[bytes] = set()
    number = 0
    try:
        while len(crops) < CROPS:
            frame = source.read(1.0)
            if frame is None or (crop := follower.locate(frame)) is None:
                continue
            seen = pipeline.measure(crop)
            if follower.update(crop, seen.landmarks, seen.presence):
                if number % SPACING == 0:
                    crops.append(crop)
                    pictures.add(hashlib.sha256(frame.image.tobytes()).digest())
                number += 1
    except EndOfStream:
        pass
    finally:
        source.close()
    if not crops:
        raise NotFoundError(f"clip {clip}: no face is found in it; give another with --clip")
    if len(pictures) == 1:
        raise BadArgumentError(
            f"clip {clip}: one picture; give a few seconds of a face that moves with --clip"
        )
    return crops


def rehearse(pipeline: Pipeline, crops: Sequence[FaceCrop]) -> NDArray[np.float64]:
    """(N, 30) controls in paper units, head and neck from the pose; the first crop is the reference."""
    pipeline.refer_to(None)
    first = pipeline.measure(crops[0])
    if first.motion is not None:
        pipeline.refer_to(Reference(first.values, first.rotation, first.motion))
    rows = np.empty((len(crops), len(NAMES)))
    for row, crop in zip(rows, crops, strict=True):
        seen = pipeline.measure(crop)
        row[:] = seen.values
        if not seen.relative:
            retarget.head_controls(*angles(seen.rotation), row)
    return rows


def rehearsed(pack: Pack, backend: Backend, crops: Sequence[FaceCrop]) -> NDArray[np.float64]:
    """``rehearse`` of each of ``pipelines_of``, one below the other."""
    return np.concatenate([rehearse(pipeline, crops) for pipeline in pipelines_of(pack, backend)])


@dataclass(frozen=True, slots=True, eq=False)
class Parity:
    """Errors of a backend against the reference on a clip: (30,) each, in control units."""

    largest: NDArray[np.float64]
    mean: NDArray[np.float64]
    frames: int

    @staticmethod
    def of(candidate: NDArray[np.float64], reference: NDArray[np.float64]) -> Parity:
        """Both (N, 30)."""
        errors = np.abs(candidate - reference)
        return Parity(errors.max(axis=0), errors.mean(axis=0), len(errors))

    @property
    def worst(self) -> tuple[str, float]:
        """The control with the largest error; one that is not a number is the worst of all."""
        i = int(np.argmax(np.where(np.isnan(self.largest), np.inf, self.largest)))
        return NAMES[i], float(self.largest[i])

    def require(self, precision: str, target: Target = "gpu") -> None:
        """NotFoundError if an engine set with these errors must not be installed."""
        name, error = self.worst
        if not error <= TOLERANCES[precision]:
            other = f"try --precision {'fp32' if precision == 'fp16' else 'fp16'}"
            raise NotFoundError(
                f"the {precision} engines differ from PyTorch by {error:.2g} in '{name}', "
                f"{TOLERANCES[precision]:.2g} is allowed; nothing was installed; "
                + (other if target == "gpu" else "use --backend torch, and please report it")
            )

    def to_json(self) -> dict[str, Any]:
        return {
            "frames": self.frames,
            "controls": {
                name: {"largest": float(big), "mean": float(mean)}
                for name, big, mean in zip(NAMES, self.largest, self.mean, strict=True)
            },
        }


class Listening(HostMemory):
    """A backend on the CPU that keeps copies of what every net was given. samples: by engine, the inputs in
    order."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self.name, self.threads, self.device = inner.name, inner.threads, inner.device
        self.samples: dict[str, list[tuple[Buffer, ...]]] = {}

    def bind(self, net: NetSpec, x: Buffers, out: Buffers, part: str = "") -> Callable[[], None]:
        run = self._inner.bind(net, x, out, part)
        heard = self.samples.setdefault(engine_name(net.arch, part), [])
        inputs = x if isinstance(x, tuple) else (x,)

        def listen() -> None:
            heard.append(tuple(array.copy() for array in inputs))
            run()

        return listen
