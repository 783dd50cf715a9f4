"""The real-face set (``shared/data/faces``) as training samples for the single-stage network.

Its README defines the crops and labels. Here: JPEG decoding, label controls from the retargeting
table, the augmented upright crop with its labels, and crops that hold no face.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from x2c_edge import retarget
from x2c_edge.errors import NotFoundError
from x2c_edge.nets.landmarks import LANDMARK_IDS
from x2c_edge.packs import NetInput, sha256_of

IDS = list(LANDMARK_IDS)
MEAN, STD = 0.45, 0.25  # of the nets' input, every channel
CROP_SCALE = 1.4  # side of the crop / longer side of the landmark box in the upright frame
_RIGHT_EYE = [LANDMARK_IDS.index(i) for i in (33, 133)]
_LEFT_EYE = [LANDMARK_IDS.index(i) for i in (362, 263)]
Array = NDArray[np.float64]


def default_folder() -> Path:
    return Path(__file__).resolve().parents[3] / "shared" / "data" / "faces"


@dataclass(frozen=True)
class FaceSet:
    """One split. N samples; controls and angles from the mean of the two labellings."""

    split: str
    images: list[NDArray[np.uint8]]  # 192x192 BGR
    points: Array  # (N, L, 2) in crop pixels
    blendshapes: Array  # (N, 52)
    controls: Array  # (N, 30) label controls, absolute, head and neck at neutral
    mirrored_controls: Array  # the same for the mirror image
    rotation: Array  # (N, 3, 3) head rotation relative to the view line, y up
    identity_id: NDArray[np.int16]
    source_id: NDArray[np.int16]
    clip_id: NDArray[np.int16]
    frame_id: NDArray[np.int32]
    names: list[str]


def load(split: str, folder: Path | None = None) -> FaceSet:
    """Decode one split ("train", "val" or "test") into memory (about 110 kB a sample).

    NotFoundError where the set is not.
    """
    folder = folder or default_folder()
    try:
        pack = np.load(folder / f"crops_{split}.npz")
        labels = np.load(folder / "labels.npz")
        names: list[str] = json.loads((folder / "blendshape_names.json").read_text())
    except OSError as error:
        raise _not_there(error) from None
    rows = pack["index"]
    jpeg, offset = pack["jpeg"], pack["offset"]
    images = [cv2.imdecode(jpeg[a:b], cv2.IMREAD_COLOR) for a, b in pairwise(offset)]
    mesh = labels["landmarks"][rows].astype(np.float64)
    both = (labels["blendshapes"][rows].astype(np.float64) + labels["blendshapes_crop"][rows]) / 2
    nose = retarget.nose_distance(mesh, labels["pose"][rows, :3, :3])
    return FaceSet(
        split=split,
        images=images,
        points=mesh[:, IDS, :2],
        blendshapes=both,
        controls=retarget.face_controls(both, names, nose),
        mirrored_controls=retarget.face_controls(both[:, mirror_columns(names)], names, nose),
        rotation=rotation_from_angles(np.radians(labels["ypr_crop"][rows].astype(np.float64))),
        identity_id=labels["identity_id"][rows],
        source_id=labels["source_id"][rows],
        clip_id=labels["clip_id"][rows],
        frame_id=labels["frame_id"][rows],
        names=names,
    )


def digest(folder: Path) -> str:
    """Tells one set from another by its labels. NotFoundError where the set is not."""
    try:
        return sha256_of(folder / "labels.npz")[:12]
    except OSError as error:
        raise _not_there(error) from None


def _not_there(error: OSError) -> NotFoundError:
    return NotFoundError(
        f"{error.filename}: {error.strerror}; give the folder of the real-face set with --folder"
    )


def face_input(size: int) -> NetInput:
    """How the nets that see human faces take a crop."""
    return NetInput(size, "RGB", (MEAN,) * 3, (STD,) * 3)


def label_controls(faces: FaceSet) -> Array:
    """(N, 30): the label controls, head and neck from the label's pose."""
    labels = faces.controls.copy()
    truth = angles_from_rotation(faces.rotation)
    retarget.head_controls(truth[:, 0], truth[:, 1], truth[:, 2], labels)
    return labels


def pearson(found: Array, labels: Array) -> Array:
    """Pearson r of every column of two arrays (N, C): (C,)."""
    return np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(found.T, labels.T, strict=True)])


def mirror_columns(names: list[str]) -> list[int]:
    """For every blendshape, the column of its mirror twin."""

    def twin(name: str) -> str:
        if name.endswith("Left"):
            return name[:-4] + "Right"
        return name[:-5] + "Left" if name.endswith("Right") else name

    # The sideways ones are named for the side they go to, so they swap like the rest.
    return [names.index(twin(name)) for name in names]


def rotation_from_angles(ypr: Array) -> Array:
    """(N, 3) yaw, pitch, roll in radians (README of the set) to rotations Ry(yaw) Rx(-pitch) Rz(roll)."""
    y, p, r = ypr[:, 0], ypr[:, 1], ypr[:, 2]
    zero, one = np.zeros_like(y), np.ones_like(y)
    ry = np.stack([np.cos(y), zero, np.sin(y), zero, one, zero, -np.sin(y), zero, np.cos(y)], 1)
    rx = np.stack([one, zero, zero, zero, np.cos(p), np.sin(p), zero, -np.sin(p), np.cos(p)], 1)
    return np.asarray(ry.reshape(-1, 3, 3) @ rx.reshape(-1, 3, 3) @ roll_matrix(r))


def roll_matrix(angle: Array) -> Array:
    """(N,) radians anticlockwise in the picture to rotations about the view line (y up)."""
    c, s, zero = np.cos(angle), np.sin(angle), np.zeros_like(angle)
    return np.stack([c, -s, zero, s, c, zero, zero, zero, zero + 1], 1).reshape(-1, 3, 3)


def angles_from_rotation(rotation: Array) -> Array:
    """Inverse of ``rotation_from_angles``; (N, 3) radians."""
    return np.stack(
        [
            np.arctan2(rotation[:, 0, 2], rotation[:, 2, 2]),
            np.arcsin(np.clip(rotation[:, 1, 2], -1, 1)),
            np.arctan2(rotation[:, 1, 0], rotation[:, 1, 1]),
        ],
        1,
    )


@dataclass(frozen=True)
class Jitter:
    """What the follower may get wrong: standard deviations of the crop's error."""

    scale: float = 0.0
    rotation_deg: float = 0.0
    shift: float = 0.0


def crop_affine(points: Array, size: int, jitter: Jitter, rng: np.random.Generator) -> tuple[Array, float]:
    """Crop pixel -> picture pixel (2, 3), and the crop's rotation in the picture (radians, y down).

    The crop is upright (eyes level), centred on the box of the landmarks in the upright frame, its
    side CROP_SCALE times that box's longer side.
    """
    eyes = points[_LEFT_EYE].mean(0) - points[_RIGHT_EYE].mean(0)
    angle = float(np.arctan2(eyes[1], eyes[0])) + np.radians(jitter.rotation_deg) * rng.standard_normal()
    c, s = np.cos(angle), np.sin(angle)
    upright = points @ np.array([[c, -s], [s, c]])  # rows: R(-angle) p
    low, high = upright.min(0), upright.max(0)
    side = CROP_SCALE * float((high - low).max())
    centre = (low + high) / 2 + side * jitter.shift * rng.standard_normal(2)
    k = side * float(np.exp(jitter.scale * rng.standard_normal())) / size
    return similarity(centre, angle, k, size), angle


def similarity(upright_centre: Array, angle: float, k: float, size: int) -> Array:
    """Affine of a crop: pixel u -> R(angle) (centre + k (u - (size - 1) / 2))."""
    c, s = np.cos(angle), np.sin(angle)
    rotation = np.array([[c, -s], [s, c]])
    offset = rotation @ (upright_centre - k * (size - 1) / 2)
    return np.column_stack([rotation * k, offset])


def to_crop(points: Array, affine: Array) -> Array:
    """Picture pixels to crop pixels."""
    return np.asarray((points - affine[:, 2]) @ np.linalg.inv(affine[:, :2]).T)


def sample(image: NDArray[np.uint8], affine: Array, size: int) -> NDArray[np.uint8]:
    """Bilinear crop, black outside."""
    return cv2.warpAffine(image, affine, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def roughen(crop: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """What cameras do to a picture: blur, low resolution, compression; and things before the face."""
    size = crop.shape[0]
    kind = rng.random()
    if kind < 0.15:
        crop = cv2.GaussianBlur(crop, (0, 0), rng.uniform(0.4, 1.6))
    elif kind < 0.35:
        small = int(size * rng.uniform(0.3, 0.9))
        mode = cv2.INTER_AREA if rng.random() < 0.5 else cv2.INTER_LINEAR
        crop = cv2.resize(cv2.resize(crop, (small, small), interpolation=mode), (size, size))
    elif kind < 0.45:
        ok, data = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(20, 80))])
        crop = cv2.imdecode(data, cv2.IMREAD_COLOR) if ok else crop
    if rng.random() < 0.2:
        w, h = rng.integers(size // 12, size // 3, 2)
        x, y = rng.integers(-size // 8, size, 2)
        colour = rng.integers(0, 256, 3).tolist()
        cv2.rectangle(crop, (int(x), int(y)), (int(x + w), int(y + h)), colour, -1)
    return crop


def no_face(image: NDArray[np.uint8], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A crop that must not count as a face, cut from a face picture: corner, miss, zoom or upside down."""
    half = image.shape[0] / 2
    kind = rng.random()
    angle = rng.uniform(-0.6, 0.6)
    if kind < 0.45:  # a corner: background, hair, shoulder
        side = rng.uniform(25, 60)
        corner = rng.choice([-1.0, 1.0], 2) * (half - side / 2)
        target = half + corner
    elif kind < 0.65:  # the face is at the edge or cut in half
        side = rng.uniform(110, 160)
        direction = rng.uniform(0, 2 * np.pi)
        target = half + side * rng.uniform(0.6, 0.9) * np.array([np.cos(direction), np.sin(direction)])
    elif kind < 0.8:  # much too near or too far
        side = rng.uniform(25, 50) if rng.random() < 0.5 else rng.uniform(330, 600)
        target = half + rng.uniform(-15, 15, 2)
    elif kind < 0.95:  # on its side or upside down
        side = rng.uniform(110, 160)
        angle += rng.choice([-1, 1]) * rng.uniform(np.pi / 2, np.pi)
        target = np.full(2, half)
    else:  # noise or a plain wall
        level = rng.uniform(0, 255, 3)
        grain = rng.standard_normal((size, size, 3)) * rng.uniform(0, 60)
        return np.clip(level + cv2.GaussianBlur(grain, (0, 0), rng.uniform(0.3, 6)), 0, 255).astype(np.uint8)
    c, s = np.cos(angle), np.sin(angle)
    upright = np.array([[c, s], [-s, c]]) @ target
    return sample(image, similarity(upright, float(angle), side / size, size), size)
