"""New people for the real-face set: two people with nearly the same expression and pose, morphed into one.

    python -m tools.dataset.morphed_faces --count 20000 --out build/morphs.npz

Breadth of people is what the set lacks (``shared/data/faces/BASELINE.md``). A morph has the geometry in
between (both pictures are warped to it by their 478 landmarks) and a mixture of both textures inside the
face; its labels are mixed with the same share. Only the train split is used, so the other splits' people stay
unseen.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator

from tools.dataset import face_dataset as data
from tools.dataset.pair_shards import written_beside

Array = NDArray[np.float64]
Pixels = NDArray[np.uint8]
SIDE = 192  # of the set's crops
CANDIDATES = 400  # partners to choose the most similar from
LEAST_SHARE = 0.15  # of either person
POSE_UNIT = np.radians(5)  # a head turned by so much is as unlike as one spread of every blendshape
QUALITY = 92
GRID = np.linspace(0, SIDE - 1, SIDE // 2)  # where the warp is worked out; between them it is nearly straight
_PLACES = np.stack(np.meshgrid(GRID, GRID), -1).reshape(-1, 2)
_FINER = np.array([[(len(GRID) - 1) / (SIDE - 1), 0, 0], [0, (len(GRID) - 1) / (SIDE - 1), 0]])
_EDGE = np.array([(x, y) for x in (0, 64, 128, 191) for y in (0, 64, 128, 191) if {x, y} & {0, 191}], float)


def morph(one: Pixels, other: Pixels, mesh_one: Array, mesh_other: Array, share: float) -> Pixels:
    """Two 192x192 crops and their meshes (M, 2), pixels, to the face ``share`` of the way to the other.

    Outside the face there is only ``one``, moved along.
    """
    mesh = (1 - share) * mesh_one + share * mesh_other
    target = np.concatenate([mesh, _EDGE])
    sources = np.column_stack([np.concatenate([mesh_one, _EDGE]), np.concatenate([mesh_other, _EDGE])])
    coarse = LinearNDInterpolator(target, sources, fill_value=0)(_PLACES).reshape(len(GRID), len(GRID), 4)
    maps = cv2.warpAffine(coarse.astype(np.float32), _FINER, (SIDE, SIDE), flags=cv2.WARP_INVERSE_MAP)
    warped = [
        cv2.remap(image, maps[..., i], maps[..., i + 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        for image, i in ((one, 0), (other, 2))
    ]
    hull = cv2.convexHull(mesh.astype(np.float32)).round().astype(np.int32)
    inside = cv2.fillConvexPoly(np.zeros((SIDE, SIDE), np.float32), hull, 1.0)
    weight = share * cv2.GaussianBlur(inside, (0, 0), 4.0)[..., None]
    mixed = (1 - weight) * warped[0] + weight * warped[1]
    return np.clip(mixed.round(), 0, 255).astype(np.uint8)


def pairs(faces: data.FaceSet, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(count, 2) rows of different people who look alike in expression and pose."""
    spread = faces.blendshapes.std(0)
    shapes = (faces.blendshapes / np.maximum(spread, 0.02))[:, spread > 0.002]
    features = np.column_stack([shapes, data.angles_from_rotation(faces.rotation) / POSE_UNIT])
    scale = np.r_[np.full(shapes.shape[1], shapes.shape[1] ** -0.5), np.ones(3)]
    features *= scale
    found = np.empty((count, 2), np.int64)
    for row in found:
        row[0] = rng.integers(len(features))
        partners = rng.integers(0, len(features), CANDIDATES)
        partners = partners[faces.identity_id[partners] != faces.identity_id[row[0]]]
        row[1] = partners[np.argmin(np.square(features[partners] - features[row[0]]).sum(1))]
    return found


def load(file: Path, faces: data.FaceSet) -> data.FaceSet:
    """The morphs of a file that was made from ``faces``, as samples like theirs."""
    pack = np.load(file)
    jpeg, offset = pack["jpeg"], pack["offset"]  # read once
    images = [cv2.imdecode(jpeg[a:b], cv2.IMREAD_COLOR) for a, b in pairwise(offset)]
    one, other = pack["pair"].T
    share = pack["share"]

    def mixed(values: Array) -> Array:
        s = share.reshape(-1, *[1] * (values.ndim - 1))
        return (1 - s) * values[one] + s * values[other]

    angles = mixed(data.angles_from_rotation(faces.rotation))
    return replace(
        faces,
        images=images,
        points=mixed(faces.points),
        blendshapes=mixed(faces.blendshapes),
        controls=mixed(faces.controls),
        mirrored_controls=mixed(faces.mirrored_controls),
        rotation=data.rotation_from_angles(angles),
        identity_id=faces.identity_id[one],
        source_id=faces.source_id[one],
        clip_id=faces.clip_id[one],
        frame_id=faces.frame_id[one],
    )


def joined(one: data.FaceSet, other: data.FaceSet) -> data.FaceSet:
    """Both sets' samples."""
    both = {
        name: np.concatenate([getattr(one, name), getattr(other, name)])
        for name in (
            *("points", "blendshapes", "controls", "mirrored_controls", "rotation"),
            *("identity_id", "source_id", "clip_id", "frame_id"),
        )
    }
    return replace(one, images=[*one.images, *other.images], **both)


def main(
    count: int = typer.Option(20000, help="morphs to make"),
    out: Path = typer.Option(Path("build/morphs.npz"), help="the file to write"),
    seed: int = 1,
    folder: Path = typer.Option(data.default_folder(), help="the real-face set"),
) -> None:
    """Make morphs of the train split."""
    cv2.setNumThreads(1)  # the pictures are small: more threads wait for each other longer than they work
    rng = np.random.default_rng(seed)
    faces = data.load("train", folder)
    rows = np.load(folder / "crops_train.npz")["index"]
    meshes = np.load(folder / "labels.npz")["landmarks"][rows, :, :2].astype(np.float64)
    chosen = pairs(faces, count, rng)
    share = rng.uniform(LEAST_SHARE, 1 - LEAST_SHARE, count)
    files = []
    for (a, b), s in zip(chosen, share, strict=True):
        picture = morph(faces.images[a], faces.images[b], meshes[a], meshes[b], s)
        files.append(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])
        if len(files) % 1000 == 0:
            print(f"{len(files)} of {count}", flush=True)
    offset = np.concatenate([[0], np.cumsum([len(f) for f in files])])
    out.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(out) as file:
        np.savez(file, jpeg=np.concatenate(files), offset=offset, pair=chosen, share=share)
    print(f"wrote {out}: {count} faces, {offset[-1] / 1e6:.0f} MB")


if __name__ == "__main__":
    typer.run(main)
