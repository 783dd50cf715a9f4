"""The motion path: what the gears share that move the robot's picture, up to its warped features.

Follows LivePortrait and the published live system (docs/spec/liveportrait.md sections 4 to 8). What depends
on the robot's picture alone comes precomputed from the pack.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import pairwise
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from x2c_edge import _kernels
from x2c_edge.backends.base import Backend, Buffer
from x2c_edge.controls import N_CONTROLS, from_robot
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.frames import FaceCrop
from x2c_edge.packs import Pack
from x2c_edge.pipelines.base import Measurement
from x2c_edge.pipelines.motion import FaceMotion, Row, reference_row, source_row
from x2c_edge.pipelines.motion_crop import CROP_SCALE, CROP_SHIFT, ROLES
from x2c_edge.pipelines.plan import Plan
from x2c_edge.pipelines.reference import Reference
from x2c_edge.pipelines.tracker import Tracker

FACE_PRESENT: Final = 0.35  # below it nothing after the tracker runs; the follower's own limit


class MotionPipeline(ABC):
    """Steps: track, crop, motion, keypoints; with a face and a reference also stitch, volume, dense motion,
    warp, what the gear adds, and decode.

    The tracker is a single-stage net: it says whether and where a face is, and its controls are the
    measurement while there is no reference. Buffers are made here; a frame allocates its Measurement.

    On a GPU all steps run for every frame, in one launch: to ask the host whether there is a face would cost
    a wait in every frame, to save work in the few that have none. What is not wanted is not looked at.
    """

    name: ClassVar[str]
    nets: ClassVar[tuple[str, ...]]  # what a pack must have
    dense: ClassVar[str]  # the net whose dense motion it is
    reader: ClassVar[str]  # the net that says the controls
    _read: Callable[[], None]  # the step that leaves them in ``_raw``
    deformation: Buffer | None = None  # (D, H, W, 3), where the dense motion itself is wanted

    def __init__(
        self, pack: Pack, backend: Backend, *, multiplier: bool = False, keep_face: bool = False
    ) -> None:
        """multiplier: scale the motion as section 6, step 6 (about 1 for any reference).
        keep_face: measurements bring the generated face.

        NotFoundError if the pack is no two-stage pack or does not fit together.
        """
        missing = [name for name in self.nets if name not in pack.nets] + [
            name for name in ("source",) if name not in pack.files
        ]
        if missing:
            raise NotFoundError(
                f"pack '{pack.name}' has no {missing[0]}: not a {self.name} pack; use another"
            )
        self._tracker = Tracker(pack, backend, backend.threads)
        self.crop_size = self._tracker.crop_size
        self.crop_scale = self._tracker.crop_scale
        self._keep_face = keep_face
        self._backend, self._threads, self._stream = backend, backend.threads, backend.stream
        self._multiplier = multiplier
        self._name = pack.name
        reader = pack.nets[self.reader]
        self._angle_unit = reader.options.get("angle_unit", "degree")
        options = pack.nets["motion"].options
        self._crop_scale = float(options.get("crop_scale", CROP_SCALE))
        self._crop_shift = float(options.get("crop_shift", CROP_SHIFT))
        self._face_input = pack.nets["motion"].picture
        try:
            self._source = load_file(pack.files["source"].file)
            row = source_row(self._source)
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            raise NotFoundError(f"{pack.files['source'].file}: {error}; import the pack again") from None
        self._has_reference = False
        try:
            self._make_buffers(pack, backend, row)
            self._make_own_buffers(pack, backend)
        except (KeyError, TypeError, ValueError) as error:
            raise NotFoundError(
                f"pack '{pack.name}': its nets and its source do not fit together ({error}); import it again"
            ) from None
        # Fills the background's group of the volume, which depends on the source alone.
        _kernels.motion_volume(
            self._compressed, self.kp_source, self.kp_source, self.front[0], stream=self._stream
        )
        self.plan = Plan(backend)
        self._add_steps(pack, backend)
        self._add_own_steps(pack, backend)
        self.plan.add("decode", self._decode, host=True)

    def refer_to(self, reference: Reference | None) -> None:
        """BadArgumentError if the reference holds no motion or one of another model."""
        self._has_reference = False
        if reference is None:
            return
        if reference.motion is None:
            raise BadArgumentError(
                "the reference was taken by the single-stage pipeline and holds no motion; calibrate again"
            )
        if reference.motion.exp.size != self._source["exp"].size:
            raise BadArgumentError(
                f"the reference's motion is not one of pack '{self._name}'; calibrate again"
            )
        row = reference_row(self._source, reference.motion, multiplier=self._multiplier)
        self._backend.write(self._reference_row, row)
        self._has_reference = True

    def glance(self, crop: FaceCrop) -> Measurement:
        """The tracker's measurement alone, where the plan does not run as a whole."""
        if self._tracker.show(crop):
            self.plan.forget()
        self.plan.run(0, None if self.plan.at_once else self._after_track)
        return self._tracker.measurement

    def measure(self, crop: FaceCrop) -> Measurement:
        """Tracker's measurement, motion and, with a reference, the controls that belong on the robot."""
        at_once = self.plan.at_once
        tracked = self.glance(crop)
        if not tracked.presence >= FACE_PRESENT or not np.isfinite(tracked.landmarks).all():
            return tracked
        if not at_once:
            self.plan.run(self._after_track, self._after_motion)
        if not self._has_reference:
            return self._measurement(tracked.values, relative=False)
        if not at_once:
            self.plan.run(self._after_motion)
        return self._measurement(self._values, relative=True)

    def driven(self, heads: NDArray[np.float32]) -> NDArray[np.float64]:
        """(30,) controls, paper units, for M's heads as the caller would have them (columns): what a gear is
        distilled from. On a CPU, with a reference."""
        self._backend.write(self.heads[0], heads)
        self.plan.run(self._from_keypoints)
        return np.array(self._values)

    @abstractmethod
    def _make_own_buffers(self, pack: Pack, backend: Backend) -> None:
        """What the gear needs behind the warped features."""

    @abstractmethod
    def _add_own_steps(self, pack: Pack, backend: Backend) -> None:
        """From the warped features to ``_raw``."""

    def _robot_face(self) -> NDArray[np.uint8] | None:
        """(H, W, 3) 8-bit RGB: the picture that the gear made, if it makes one."""
        return None

    def _make_buffers(self, pack: Pack, backend: Backend, source: Row) -> None:
        motion, dense = pack.nets["motion"].config, pack.nets[self.dense].config

        def constant(values: NDArray[np.float32], *, narrow: bool = False) -> Buffer:
            buffer = backend.buffer(values.shape, narrow=narrow)
            backend.write(buffer, values)
            return buffer

        feature = self._source["feature"][0]
        self._feature = constant(feature.transpose(1, 2, 3, 0), narrow=True)  # as warp_volume reads it
        self._compressed = constant(self._source["compressed"][0], narrow=True)
        self._source_row = constant(source)
        reference = np.zeros(self._source["exp"].size * 2 + 14, np.float32)
        reference[self._source["exp"].size + 12] = 1.0  # its scale, divided by before there is one
        self._reference_row = constant(reference)
        volume = feature.shape[1:]
        height, width = volume[1:]
        k, bins = int(motion["keypoints"]), int(motion["bins"])
        face = self._face_input.size
        self._face = backend.buffer((1, 3, face, face), narrow=not pack.nets["motion"].looks_twice)
        self._face_affine = backend.buffer((2, 3), dtype=np.float64)
        self.heads = backend.buffer((1, 3 * bins + 6 * k + 4))
        self._columns = np.cumsum([0, bins, bins, bins, 3, 3 * k, 1]).tolist()
        self._pair = backend.buffer((1, 6 * k))  # source keypoints, driving keypoints
        self.kp_source = self._pair[0, : 3 * k].reshape(k, 3)
        self._kp_moved = self._pair[0, 3 * k :].reshape(k, 3)
        backend.write(self.kp_source, self._source["x"].reshape(k, 3))
        self.kp_driving = backend.buffer((k, 3))
        self._motion_row = backend.buffer((13 + 3 * k,))
        self._motion_out = backend.outlet(self._motion_row)
        self._delta = backend.buffer((1, 3 * k + 2))
        channels = int(dense["channels"]) * int(dense["depth"])
        self.front = backend.buffer((1, (k + 1) * (1 + int(dense["compressed"])), *volume), narrow=True)
        self._logits = backend.buffer((1, k + 1, *volume), narrow=True)
        self.occlusion = backend.buffer((1, 1, height, width), narrow=True)
        self.warped = backend.buffer((1, channels, height, width), narrow=True)
        self._raw = backend.buffer((1, N_CONTROLS))
        self._raw_out = backend.outlet(self._raw[0])
        self._values = np.zeros(N_CONTROLS)

    def _add_steps(self, pack: Pack, backend: Backend) -> None:
        nets, plan = pack.nets, self.plan
        plan.add("track", self._track)
        self._after_track = len(plan.names)
        plan.add("crop", self._sample)
        seen = (self._face, self._tracker.row) if nets["motion"].hears_tracker else self._face
        plan.add("motion", backend.bind(nets["motion"], seen, self.heads))
        self._from_keypoints = len(plan.names)
        plan.add("keypoints", self._relative)
        self._after_motion = len(plan.names)
        plan.add("stitch", backend.bind(nets["stitching"], self._pair, self._delta))
        plan.add("volume", self._volume)
        maps = (self._logits, self.occlusion)
        plan.add("dense motion", backend.bind(nets[self.dense], self.front, maps, "dense motion"))
        plan.add("warp", self._warp)

    def _track(self) -> None:
        self._tracker.sample()
        self._tracker.infer()
        if not self.plan.at_once:
            self._tracker.decode()

    def _sample(self) -> None:
        """The affine goes from net to net: on a GPU the host does not see the landmarks in between."""
        seen = self._tracker.input
        _kernels.aim_crop(
            self._tracker.points,
            seen.affine,
            self._face_affine,
            roles=ROLES,
            crop_size=self.crop_size,
            out_size=self._face_input.size,
            scale=self._crop_scale,
            shift=self._crop_shift,
            stream=self._stream,
        )
        self._tracker.cut(self._face_affine, self._face[0], self._face_input, self._threads)

    def _relative(self) -> None:
        """Section 6 into the second half of the stitching network's input; the motion itself besides."""
        row, at = self.heads[0], self._columns
        pitch, yaw, roll, t, exp, scale = (row[a:b] for a, b in pairwise(at))
        _kernels.relative_keypoints(
            pitch, yaw, roll, t, exp, scale, self._source_row, self._reference_row, self._kp_moved,
            motion=self._motion_row, stream=self._stream,
        )  # fmt: skip
        self._motion_out.fetch()

    def _volume(self) -> None:
        _kernels.stitch_keypoints(self._kp_moved, self._delta[0], self.kp_driving, stream=self._stream)
        _kernels.motion_volume(
            self._compressed, self.kp_driving, self.kp_source, self.front[0],
            background=False, threads=self._threads, stream=self._stream,
        )  # fmt: skip

    def _warp(self) -> None:
        _kernels.warp_volume(
            self._logits[0], self.kp_driving, self.kp_source, self._feature, self.warped[0],
            deformation=self.deformation, threads=self._threads, stream=self._stream,
        )  # fmt: skip

    def _infer(self) -> None:
        self._read()
        self._raw_out.fetch()

    def _decode(self) -> None:
        if self.plan.at_once:
            self._tracker.decode()
        raw = self._raw_out.values.astype(np.float64)
        self._values = from_robot(raw) if self._angle_unit == "degree" else raw

    def _measurement(self, values: NDArray[np.float64], *, relative: bool) -> Measurement:
        tracked = self._tracker.measurement
        return Measurement(
            values=values,
            rotation=tracked.rotation,
            landmarks=tracked.landmarks,
            presence=tracked.presence,
            sharpness=tracked.sharpness,
            relative=relative,
            motion=FaceMotion.from_row(self._motion_out.values),
            robot_face=self._robot_face() if relative and self._keep_face else None,
            tracked=tracked.values if relative else None,
        )
