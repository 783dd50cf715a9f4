"""Two-stage (X2CNet): the driver's motion moves the robot's own picture, and a net reads the controls off it.

Follows LivePortrait and the published live system (docs/spec/liveportrait.md sections 4 to 12). What depends
on the robot's picture alone comes precomputed from the pack.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from x2c_edge import _kernels
from x2c_edge.backends.base import Backend, Buffer
from x2c_edge.controls import N_CONTROLS, from_robot
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.face.crop_geometry import Square, anchor_roll, landmark_square, square_affine
from x2c_edge.frames import FaceCrop
from x2c_edge.nets.landmarks import LANDMARK_IDS, LEFT_EYE, OVAL, RIGHT_EYE
from x2c_edge.packs import Pack
from x2c_edge.pipelines.base import Measurement
from x2c_edge.pipelines.motion import FaceMotion, Row, reference_row, source_row
from x2c_edge.pipelines.plan import Plan
from x2c_edge.pipelines.reference import Reference
from x2c_edge.pipelines.tracker import Tracker

NETS: Final = ("single_stage", "motion", "warping", "generator", "stitching", "mapping")
FACE_PRESENT: Final = 0.35  # below it nothing after the tracker runs; the follower's own limit

# The crop of the motion extractor (section 11, "driving, VividFace live"). Its scale of 2.2 belongs to a
# set of 203 landmarks whose outline runs from temple to temple below the brows and whose highest points are
# the brows. Ours has the whole face oval; without the 13 oval points on the forehead its box spans the same
# parts of the face, so that the published scale and shift show the face at the same size and place.
CROP_SCALE: Final = 2.2
CROP_SHIFT: Final = 0.04  # of the square's side, towards the mouth
_FOREHEAD: Final = {*OVAL[:7], *OVAL[-6:]}
_BOX_POINTS: Final = [i for i, name in enumerate(LANDMARK_IDS) if name not in _FOREHEAD]
_EYES: Final = [LANDMARK_IDS.index(i) for i in (*RIGHT_EYE, *LEFT_EYE)]
_MOUTH_CORNERS: Final = [LANDMARK_IDS.index(i) for i in (61, 291)]
# The same for aim_crop.
_ROLES: Final = np.zeros(len(LANDMARK_IDS), np.uint8)
for _role, _points in ((1, _BOX_POINTS), (2, _EYES), (4, _MOUTH_CORNERS)):
    _ROLES[_points] |= _role


def motion_square(
    landmarks: NDArray[np.float64], scale: float = CROP_SCALE, shift: float = CROP_SHIFT
) -> Square:
    """What M sees, upright in the frame. landmarks: (L, 2) frame pixels; scale, shift: of the landmarks' box,
    a pack's own or the published ones."""
    roll = anchor_roll(landmarks[_EYES].mean(axis=0), landmarks[_MOUTH_CORNERS].mean(axis=0))
    return landmark_square(landmarks[_BOX_POINTS], roll).enlarged(scale, shift_y=shift).turned()


def motion_affine(square: Square, size: int) -> NDArray[np.float64]:
    """Affine (2, 3), crop pixel to frame pixel.

    The published crop is 512 pixels with the centre on index 256, then halved bilinearly (half-pixel
    convention); sampled at once that puts the centre on index size/2 - 1/4.
    """
    return square_affine(square, size, centre_index=size / 2 - 0.25)


class TwoStagePipeline:
    """Steps: track, crop, motion, keypoints; with a face and a reference also stitch, volume, dense motion,
    warp, tail, generator, resize, mapping, decode.

    The tracker is a single-stage net: it says whether and where a face is, and its controls are the
    measurement while there is no reference. Buffers are made here; a frame allocates its Measurement.

    On a GPU all steps run for every frame, in one launch: to ask the host whether there is a face would cost
    a wait in every frame, to save work in the few that have none. What is not wanted is not looked at.
    """

    name = "two-stage"

    def __init__(
        self, pack: Pack, backend: Backend, *, multiplier: bool = False, keep_face: bool = False
    ) -> None:
        """multiplier: scale the motion as section 6, step 6 (about 1 for any reference).
        keep_face: measurements bring the generated face.

        NotFoundError if the pack is no two-stage pack or does not fit together.
        """
        missing = [name for name in NETS if name not in pack.nets] + [
            name for name in ("source",) if name not in pack.files
        ]
        if missing:
            raise NotFoundError(f"pack '{pack.name}' has no {missing[0]}: not a two-stage pack; use another")
        self._tracker = Tracker(pack, backend, backend.threads)
        self.crop_size = self._tracker.crop_size
        self.crop_scale = self._tracker.crop_scale
        self._keep_face = keep_face
        self._backend, self._threads, self._stream = backend, backend.threads, backend.stream
        self._multiplier = multiplier
        self._name = pack.name
        self._angle_unit = pack.nets["mapping"].options.get("angle_unit", "degree")
        options = pack.nets["motion"].options
        self._crop_scale = float(options.get("crop_scale", CROP_SCALE))
        self._crop_shift = float(options.get("crop_shift", CROP_SHIFT))
        self._face_input, self._mapping_input = pack.nets["motion"].picture, pack.nets["mapping"].picture
        try:
            self._source = load_file(pack.files["source"].file)
            row = source_row(self._source)
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            raise NotFoundError(f"{pack.files['source'].file}: {error}; import the pack again") from None
        self._has_reference = False
        self._crop: FaceCrop | None = None
        try:
            self._make_buffers(pack, backend, row)
        except (KeyError, TypeError, ValueError) as error:
            raise NotFoundError(
                f"pack '{pack.name}': its nets and its source do not fit together ({error}); import it again"
            ) from None
        self.plan = Plan(backend)
        self._add_steps(pack, backend)

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

    def measure(self, crop: FaceCrop) -> Measurement:
        """Tracker's measurement, motion and, with a reference, the controls that belong on the robot."""
        self._crop = crop
        if self._tracker.show(crop):
            self.plan.forget()
        at_once = self.plan.at_once
        self.plan.run(0, None if at_once else self._after_track)
        tracked = self._tracker.measurement
        if not tracked.presence >= FACE_PRESENT or not np.isfinite(tracked.landmarks).all():
            return tracked
        if not at_once:
            self.plan.run(self._after_track, self._after_motion)
        if not self._has_reference:
            return self._measurement(tracked.values, relative=False)
        if not at_once:
            self.plan.run(self._after_motion)
        return self._measurement(self._values, relative=True)

    def _make_buffers(self, pack: Pack, backend: Backend, source: Row) -> None:
        motion, warping = pack.nets["motion"].config, pack.nets["warping"].config
        generator = pack.nets["generator"].config

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
        zoom = 2 ** len(generator["up_widths"]) * int(generator["shuffle"])
        k, bins = int(motion["keypoints"]), int(motion["bins"])
        face, picture = self._face_input.size, self._mapping_input.size
        self._face = backend.buffer((1, 3, face, face), narrow=not pack.nets["motion"].looks_twice)
        self._face_affine = backend.buffer((2, 3), dtype=np.float64)
        self._heads = backend.buffer((1, 3 * bins + 6 * k + 4))
        self._columns = np.cumsum([0, bins, bins, bins, 3, 3 * k, 1]).tolist()
        self._pair = backend.buffer((1, 6 * k))  # source keypoints, driving keypoints
        self._kp_source = self._pair[0, : 3 * k].reshape(k, 3)
        self._kp_moved = self._pair[0, 3 * k :].reshape(k, 3)
        backend.write(self._kp_source, self._source["x"].reshape(k, 3))
        self._kp_driving = backend.buffer((k, 3))
        self._motion_row = backend.buffer((13 + 3 * k,))
        self._motion_out = backend.outlet(self._motion_row)
        self._delta = backend.buffer((1, 3 * k + 2))
        channels = int(warping["channels"]) * int(warping["depth"])
        self._front = backend.buffer((1, (k + 1) * (1 + int(warping["compressed"])), *volume), narrow=True)
        self._logits = backend.buffer((1, k + 1, *volume), narrow=True)
        self._occlusion = backend.buffer((1, 1, height, width), narrow=True)
        self._warped = backend.buffer((1, channels, height, width), narrow=True)
        self._moved = backend.buffer((1, int(warping["out_channels"]), height, width), narrow=True)
        self._image = backend.buffer((1, 3, zoom * height, zoom * width), narrow=True)
        self._picture = backend.buffer((1, 3, picture, picture), narrow=not pack.nets["mapping"].looks_twice)
        self._raw = backend.buffer((1, N_CONTROLS))
        self._raw_out = backend.outlet(self._raw[0])
        self._values = np.zeros(N_CONTROLS)
        # Fills the background's group of the volume, which depends on the source alone.
        _kernels.motion_volume(
            self._compressed, self._kp_source, self._kp_source, self._front[0], stream=self._stream
        )

    def _add_steps(self, pack: Pack, backend: Backend) -> None:
        nets, plan = pack.nets, self.plan
        heads, dense, maps = nets["motion"], nets["warping"], (self._logits, self._occlusion)
        plan.add("track", self._track)
        self._after_track = len(plan.names)
        plan.add("crop", self._sample)
        plan.add("motion", backend.bind(heads, self._face, self._heads))
        plan.add("keypoints", self._relative)
        self._after_motion = len(plan.names)
        plan.add("stitch", backend.bind(nets["stitching"], self._pair, self._delta))
        plan.add("volume", self._volume)
        plan.add("dense motion", backend.bind(dense, self._front, maps, "dense motion"))
        plan.add("warp", self._warp)
        plan.add("tail", backend.bind(dense, (self._warped, self._occlusion), self._moved, "tail"))
        plan.add("generator", backend.bind(nets["generator"], self._moved, self._image))
        plan.add("resize", self._resize)
        self._map = backend.bind(nets["mapping"], self._picture, self._raw)
        plan.add("mapping", self._infer)
        plan.add("decode", self._decode, host=True)

    def _track(self) -> None:
        self._tracker.sample()
        self._tracker.infer()
        if not self.plan.at_once:
            self._tracker.decode()

    def _sample(self) -> None:
        """The affine goes from net to net: on a GPU the host does not see the landmarks in between."""
        assert self._crop is not None
        seen = self._tracker.input
        _kernels.aim_crop(
            self._tracker.points,
            seen.affine,
            self._face_affine,
            roles=_ROLES,
            crop_size=self.crop_size,
            out_size=self._face_input.size,
            scale=self._crop_scale,
            shift=self._crop_shift,
            stream=self._stream,
        )
        _kernels.crop_normalize(
            seen.image,
            self._face_affine,
            self._face[0],
            format=self._crop.frame.format,
            order=self._face_input.order,
            mean=self._face_input.mean,
            std=self._face_input.std,
            taps=0,
            threads=self._threads,
            stream=self._stream,
        )

    def _relative(self) -> None:
        """Section 6 into the second half of the stitching network's input; the motion itself besides."""
        row, at = self._heads[0], self._columns
        pitch, yaw, roll, t, exp, scale = (row[a:b] for a, b in pairwise(at))
        _kernels.relative_keypoints(
            pitch, yaw, roll, t, exp, scale, self._source_row, self._reference_row, self._kp_moved,
            motion=self._motion_row, stream=self._stream,
        )  # fmt: skip
        self._motion_out.fetch()

    def _volume(self) -> None:
        _kernels.stitch_keypoints(self._kp_moved, self._delta[0], self._kp_driving, stream=self._stream)
        _kernels.motion_volume(
            self._compressed, self._kp_driving, self._kp_source, self._front[0],
            background=False, threads=self._threads, stream=self._stream,
        )  # fmt: skip

    def _warp(self) -> None:
        _kernels.warp_volume(
            self._logits[0], self._kp_driving, self._kp_source, self._feature, self._warped[0],
            threads=self._threads, stream=self._stream,
        )  # fmt: skip

    def _resize(self) -> None:
        _kernels.face_to_mapping(
            self._image[0],
            self._picture[0],
            resize="area" if self._mapping_input.resize == "area" else "bilinear",
            order=self._mapping_input.order,
            mean=self._mapping_input.mean,
            std=self._mapping_input.std,
            threads=self._threads,
            stream=self._stream,
        )

    def _infer(self) -> None:
        self._map()
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

    def _robot_face(self) -> NDArray[np.uint8]:
        """(H, W, 3) 8-bit RGB, truncated as section 10 says."""
        image = self._backend.read(self._image[0]).astype(np.float32)
        picture = np.clip(image, 0.0, 1.0).transpose(1, 2, 0) * 255
        return np.ascontiguousarray(picture.astype(np.uint8))
