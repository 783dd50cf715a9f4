"""Vision put together from the settings: gears, follower, the driver's neutral, retargeting."""

from __future__ import annotations

from dataclasses import dataclass

from x2c_edge.backends.base import Backend
from x2c_edge.backends.open import engines_for, open_backend
from x2c_edge.face.detect import yunet_passes
from x2c_edge.face.follow import FaceFollower
from x2c_edge.nets.landmarks import LANDMARK_IDS
from x2c_edge.packs import Pack, open_pack
from x2c_edge.pipelines.neutral import Way, keeper_for
from x2c_edge.pipelines.people import People, people_of
from x2c_edge.pipelines.reference import Reference
from x2c_edge.pipelines.retargeter import Retargeter
from x2c_edge.runtime.gears import gears_of, open_pipeline
from x2c_edge.runtime.latency import LatencyBook
from x2c_edge.runtime.settings import Settings
from x2c_edge.runtime.trace import Trace
from x2c_edge.runtime.vision import Vision


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the settings name, read and found to fit together; no device and no link was opened for it.

    reference: a saved neutral, if one is given. gears: most accurate first. caution: what fits together but
    may not be meant; empty if nothing.
    """

    reference: Reference | None
    pack: Pack
    people: People
    gears: tuple[str, ...]
    caution: str = ""


def choose(settings: Settings) -> Chosen:
    """NotFoundError, BadArgumentError for what cannot be used: said early, and cheaply."""
    run, saved = settings.run, settings.calibration.reference
    reference = Reference.load(saved) if saved else None
    pack = open_pack(run.pack)
    engines_for(run.backend, pack)
    caution = ""
    if reference is not None and reference.eyes not in ("", pack.eyes):
        caution = (
            f"reference {saved}: taken with other nets than pack '{pack.name}' has now; "
            "--save-reference takes it anew"
        )
    return Chosen(reference, pack, people_of(pack), gears_of(pack, run.pipeline), caution)


def open_device(settings: Settings, pack: Pack, *, per_step: bool = False) -> Backend:
    """What the pack's nets run on. per_step: a GPU times every step by itself."""
    run = settings.run
    bf16 = run.precision == "bf16"
    return open_backend(run.backend, run.threads or None, bf16=bf16, pack=pack, per_step=per_step)


@dataclass(frozen=True, slots=True)
class Seeing:
    """Vision, the gears that it can be asked for (most accurate first), and the book of its times."""

    vision: Vision
    gears: tuple[str, ...]
    book: LatencyBook


def build_vision(
    settings: Settings,
    chosen: Chosen,
    backend: Backend,
    *,
    stages: tuple[str, ...] = (),
    unrelated: bool = False,
    keep_face: bool = False,
    trace: Trace | None = None,
) -> Seeing:
    """stages: of the caller's own, before vision's. unrelated: frames are pictures of their own. keep_face:
    sights bring the generated face. NotFoundError for nets that do not fit.
    """
    calibration, motion = settings.calibration, settings.motion
    people, gears = chosen.people, chosen.gears
    pipelines = {gear: open_pipeline(gear, chosen.pack, backend, motion, keep_face) for gear in gears}
    top = pipelines[gears[0]]
    follower = FaceFollower(
        LANDMARK_IDS,
        settings.face,
        yunet_passes(settings.face.detector) if settings.face.detector else None,
        crop_size=top.crop_size,
        crop_scale=top.crop_scale,
    )
    names = dict.fromkeys(name for p in pipelines.values() for name in p.plan.names)
    book = LatencyBook((*stages, "locate", *names))
    # Pictures of their own are different people at different moments: nobody's neutral is learnt.
    way: Way = "average" if unrelated and calibration.neutral == "auto" else calibration.neutral
    retargeter = Retargeter(
        motion,
        # The paper's Eq. 6 to the letter has no gain of its own.
        {} if way == "first-frame" else people.gain,
    )
    keeper = keeper_for(way, people, chosen.reference, calibration)
    return Seeing(
        Vision(follower, pipelines, keeper, retargeter, book, trace, unrelated=unrelated), gears, book
    )
