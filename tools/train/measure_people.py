"""What people are like at rest, as a pack's nets see them, and how strongly its nets answer: the pack's
file ``people`` (``x2c_edge.pipelines.people``).

    python -m tools.train.measure_people --pack default

Rest is judged by the labels: frontal, and no blendshape of an expression beyond what calm faces have. The
average person and the deviations between people come from the training people, each person counting once;
the gains from the validation people, whom the nets have not seen. Three minutes on one core.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import typer
from numpy.typing import NDArray

from tools._errors import user_errors
from tools.dataset import face_dataset as data
from tools.evaluate.two_stage_report import absolute, average_neutral, measured
from x2c_edge import packs, retarget
from x2c_edge.backends.open import open_backend
from x2c_edge.controls import N_CONTROLS, NEUTRAL, TWIN
from x2c_edge.errors import NotFoundError
from x2c_edge.pipelines.motion import FaceMotion
from x2c_edge.pipelines.people import People
from x2c_edge.pipelines.reference import Reference
from x2c_edge.whole_file import write_whole

Array = NDArray[np.float64]

# More than this of a blendshape is an expression; about the 75th percentile of photographs that are called
# neutral. Brows and lids differ between people's rests, so they have room.
CALM: Final = {
    "jawOpen": 0.08, "mouthSmile": 0.15, "eyeBlink": 0.25, "mouthPucker": 0.4, "mouthFunnel": 0.15,
    "browInnerUp": 0.35, "browOuterUp": 0.3, "mouthUpperUp": 0.15, "mouthLowerDown": 0.15,
    "mouthFrown": 0.1,
}  # fmt: skip
FRONTAL_DEG: Final = 15.0
SLOPE: Final = 1.15  # to be reached: filter and soft starts take some of it again
MOST_GAIN: Final = 1.5  # what is hardly seen would only be made to tremble


def at_rest(faces: data.FaceSet) -> NDArray[np.bool_]:
    """(N,): frontal and calm, by the labels. NotFoundError for a set that lacks one of ``CALM``."""
    calm = np.ones(len(faces.images), bool)
    for name, most in CALM.items():
        columns = [i for i, column in enumerate(faces.names) if column.startswith(name)]
        if not columns:
            raise NotFoundError(f"the set of faces has no labels '{name}...'")
        calm &= faces.blendshapes[:, columns].mean(1) < most
    yaw_pitch = np.abs(data.angles_from_rotation(faces.rotation)[:, :2]).max(1)
    return np.asarray(calm & (yaw_pitch < np.radians(FRONTAL_DEG)))


def rests(values: Array, identity: NDArray[np.int16]) -> tuple[Array, Array, Array]:
    """Mean, deviation between people and within one, each (30,), of resting faces (N, 30)."""
    people = [values[identity == who] for who in np.unique(identity)]
    means = np.stack([own.mean(0) for own in people])
    several = [own - own.mean(0) for own in people if len(own) > 1]
    free = sum(len(own) - 1 for own in several)
    within = np.sqrt(np.sum([(own**2).sum(0) for own in several], axis=0) / max(free, 1))
    # A mean of n moments still has within^2 / n in it, which is not the person's.
    noise = np.mean([1 / len(own) for own in people]) * within**2
    between = np.sqrt(np.maximum(means.var(0, ddof=1) - noise, 1e-4))
    return means.mean(0), between, np.maximum(within, 0.01)


def gains(found: Array, labels: Array, clip_id: NDArray[np.int16]) -> Array:
    """(30,): what makes the answers move as much as the labels do, both sides of the face alike.

    The slope of the answers on the labels within each clip, since what one person differs from another is
    no expression. clip_id: (N,), -1 for a picture that belongs to no clip, which says nothing about motion.
    """
    together, spread = np.zeros(N_CONTROLS), np.zeros(N_CONTROLS)
    for clip in np.unique(clip_id[clip_id >= 0]):
        mine = clip_id == clip
        moved = labels[mine] - labels[mine].mean(0)
        together += (moved * (found[mine] - found[mine].mean(0))).sum(0)
        spread += (moved**2).sum(0)
    together, spread = together + together[TWIN], spread + spread[TWIN]
    slope = together / np.maximum(spread, 1e-9)
    return np.where(spread > 1e-6, np.clip(SLOPE / np.maximum(slope, 1e-3), 1.0, MOST_GAIN), 1.0)


def average_motion(pack: packs.Pack) -> FaceMotion | None:
    """A pack that this project trained puts nobody's face at ``exp`` 0; published ones have no such place."""
    if "motion" not in pack.nets or not pack.trained_by.startswith("python -m tools.train.default_pack"):
        return None
    return average_neutral().motion


def measure(pack: packs.Pack, train: data.FaceSet, val: data.FaceSet, threads: int = 1) -> People:
    """The table of one pack."""
    from x2c_edge.pipelines.direct import DirectPipeline
    from x2c_edge.pipelines.single_stage import SingleStagePipeline
    from x2c_edge.pipelines.two_stage import TwoStagePipeline

    backend = open_backend("torch", threads)
    calm, everybody = np.flatnonzero(at_rest(train)), np.arange(len(val.images))
    if len(np.unique(train.identity_id[calm])) < 2:
        raise NotFoundError(
            "fewer than two people of the train split are at rest; give a set with more faces"
        )
    single = SingleStagePipeline(pack, backend)
    seen = np.stack([m.values for m in measured(single, train, calm)])
    rest, between, within = rests(seen, train.identity_id[calm])
    pose, _, _ = rests(train.controls[calm], train.identity_id[calm])
    people = nobody_looks_away(People(pose, rest, between, within))
    labels = data.label_controls(val)
    gain = {"single-stage": gains(absolute(measured(single, val, everybody)), labels, val.clip_id)}
    motion = average_motion(pack)
    if motion is None:
        return replace(people, gain=gain)
    two_stage = TwoStagePipeline(pack, backend)
    two_stage.refer_to(Reference(people.rest, np.eye(3), motion))
    drawn, _, _ = rests(
        np.stack([m.values for m in measured(two_stage, train, calm)]), train.identity_id[calm]
    )
    found = np.stack([m.values for m in measured(two_stage, val, everybody)])
    gain["two-stage"] = gains(found, labels, val.clip_id)
    if "direct" in pack.nets:
        direct = DirectPipeline(pack, backend)
        direct.refer_to(Reference(people.rest, np.eye(3), motion))
        short = np.stack([m.values for m in measured(direct, val, everybody)])
        gain["direct"] = gains(short, labels, val.clip_id)
    return nobody_looks_away(replace(people, gain=gain, motion=motion, drawn=drawn))


def nobody_looks_away(people: People) -> People:
    """Where one looks and how one holds the head is no feature of a face: straight, and never learnt."""
    fixed = [k for k in range(N_CONTROLS) if k not in retarget.FACE_CONTROLS or k in retarget.GAZE_CONTROLS]
    columns = {name: getattr(people, name).copy() for name in ("pose", "rest", "between", "drawn")}
    for name, values in columns.items():
        values[fixed] = 0.0 if name == "between" else NEUTRAL[fixed]
    return replace(people, **columns)


def write(pack: packs.Pack, people: People) -> packs.Pack:
    """Put the table into the pack's folder and its manifest.

    Every table has a name of its own, so that the pack opens wherever this stops. NotFoundError when the
    pack was changed since it was opened, or cannot be written.
    """
    table = json.dumps(people.to_json(), indent=1).encode() + b"\n"
    digest = hashlib.sha256(table).hexdigest()
    path = pack.path / f"people-{digest[:12]}.json"
    write_whole(path, table)
    try:
        packs.write_manifest(replace(pack, files=pack.files | {"people": packs.PackFile(path, digest)}))
    finally:
        now = packs.read_manifest(pack.path)
        used = {entry.file for entry in now.files.values()}
        older = [pack.files["people"].file] if "people" in pack.files else []
        for file in {path, *older} - used:
            file.unlink(missing_ok=True)
    return now


def main(
    pack: str = "default",
    folder: Path = typer.Option(data.default_folder(), help="the real-face set"),
) -> None:
    """Measure and write."""
    with user_errors():
        opened = packs.open_pack(pack)
        people = measure(opened, data.load("train", folder), data.load("val", folder))
        print(f"written to {write(opened, people).files['people'].file}")
    for name, gain in people.gain.items():
        print(f"{name}: mean gain {gain[list(retarget.FACE_CONTROLS)].mean():.2f}")


if __name__ == "__main__":
    typer.run(main)
