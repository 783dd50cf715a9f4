"""Which pipelines a pack can run, and which of them a run uses."""

from __future__ import annotations

import math
from typing import Final

from x2c_edge.backends.base import Backend
from x2c_edge.errors import NotFoundError
from x2c_edge.packs import Pack
from x2c_edge.pipelines.base import Pipeline
from x2c_edge.pipelines.retargeter import MotionSettings

# Dearest first: what a pack must hold for a pipeline to be one of its gears.
PIPELINE_NETS: Final = (("two-stage", "generator"), ("direct", "direct"), ("single-stage", "single_stage"))

# Of a dearer gear's accuracy over a cheaper one's: less is within what people and seeds make of it, and no
# reason to be three times as slow.
WORTH_IT: Final = 0.002


def gears_of(pack: Pack, pipeline: str) -> tuple[str, ...]:
    """Names of the pipelines to use, most accurate first.

    Under ``auto`` a gear that is not better than a cheaper one by WORTH_IT, by the accuracy that the manifest
    states, is left out: a run would only wait longer for it. So is one that states nothing beside one
    that does. A pack that states nothing at all has all its gears, dearest first.
    NotFoundError for a pipeline that the pack does not have.
    """
    available = _available(pack)
    if pipeline == "auto":
        stated = {name: _stated_accuracy(pack, name) for name in available}
        return tuple(
            name
            for i, name in enumerate(available)
            if not any(stated[name] - WORTH_IT < stated[cheaper] for cheaper in available[i + 1 :])
        )
    if pipeline not in available:
        raise NotFoundError(
            f"pack '{pack.name}' has no {pipeline} pipeline; it has {', '.join(available) or 'none'}"
        )
    return (pipeline,)


def gears_in_words(pack: Pack) -> str:
    """What ``auto`` runs, and what has to be asked for: "direct, single-stage; on request two-stage"."""
    automatic = gears_of(pack, "auto")
    others = [name for name in _available(pack) if name not in automatic]
    return (", ".join(automatic) or "none") + (f"; on request {', '.join(others)}" if others else "")


def _available(pack: Pack) -> list[str]:
    return [name for name, net in PIPELINE_NETS if net in pack.nets]


def _stated_accuracy(pack: Pack, gear: str) -> float:
    """The gear's agreement with people's labels, as the manifest states it; -inf if it does not."""
    figures = pack.accuracy.get(gear.replace("-", "_"))
    stated = figures.get("mean_r_face_controls") if isinstance(figures, dict) else None
    return float(stated) if isinstance(stated, int | float) else -math.inf


def open_pipeline(
    gear: str, pack: Pack, backend: Backend, motion: MotionSettings, keep_face: bool
) -> Pipeline:
    """The gear with its nets and buffers. keep_face: measurements bring the generated face, if any."""
    if gear == "two-stage":
        from x2c_edge.pipelines.two_stage import TwoStagePipeline

        return TwoStagePipeline(pack, backend, multiplier=motion.multiplier, keep_face=keep_face)
    if gear == "direct":
        from x2c_edge.pipelines.direct import DirectPipeline

        return DirectPipeline(pack, backend, multiplier=motion.multiplier)
    from x2c_edge.pipelines.single_stage import SingleStagePipeline

    return SingleStagePipeline(pack, backend)
