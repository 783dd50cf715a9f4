"""From settings to a run: opens everything, in an order that fails early and cheaply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from x2c_edge.capture.base import Source
from x2c_edge.capture.images import Images
from x2c_edge.capture.open import open_source
from x2c_edge.capture.pacing import Paced
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.runtime.build_vision import build_vision, choose, open_device
from x2c_edge.runtime.outlets import Outputs
from x2c_edge.runtime.run import Kind, Run, beginning
from x2c_edge.runtime.settings import Settings
from x2c_edge.runtime.telemetry import Snapshot
from x2c_edge.runtime.vision import Vision


def open_run(
    settings: Settings,
    outputs: Outputs | None = None,
    on_snapshot: Callable[[Snapshot], None] | None = None,
) -> Run:
    """All of ``x2c-edge run``, open and ready. on_snapshot: told how the run goes, four times a second.

    NotFoundError, BadArgumentError for what is missing or cannot be used; nothing is left open then.
    """
    outputs = outputs or Outputs()
    with beginning(settings, outputs) as begun:
        chosen = choose(settings)  # before anything opens
        if chosen.caution and outputs.save_reference is not None:
            # What is saved shall be what these nets see, not the old values under their name.
            chosen = replace(chosen, reference=None, caution=f"{chosen.caution}, as this run does")
        source = _source(settings, outputs.fast)
        begun.undo.callback(source.close)
        # Before the network is loaded: a robot needs its time to answer, and goes to neutral meanwhile.
        begun.outlets.open_links()
        per_step = outputs.per_step or outputs.trace is not None
        backend = open_device(settings, chosen.pack, per_step=per_step)
        seeing = build_vision(
            settings,
            chosen,
            backend,
            stages=("read",) if outputs.fast else ("queue",),
            unrelated=isinstance(source, Images) and source.unrelated,
            keep_face=begun.outlets.wants_faces,
            trace=begun.outlets.trace,
        )
        vision = seeing.vision
        played = source if source.live or outputs.fast else Paced(source)

        def after() -> NotFoundError | None:
            if outputs.save_reference is not None and vision.reference is not None:
                replace(vision.reference, eyes=chosen.pack.eyes).save(outputs.save_reference)
            return _no_face(played, vision) if settings.capture.input is not None else None

        kind = Kind(
            source=played,
            eyes=vision,
            gears=seeing.gears,
            book=seeing.book,
            generated="two-stage" in seeing.gears,
            facts={
                "pack": chosen.pack.name,
                "pack_digest": chosen.pack.digest,
                "device": f"{backend.name} on {backend.device}",
            },
            recalibrate=vision.recalibrate,
            retune=vision.retune,
            caution=chosen.caution,
            after=after,
        )
        return Run(begun, kind, on_snapshot)


def _source(settings: Settings, fast: bool) -> Source:
    source = open_source(settings.capture)
    if fast and source.live:
        source.close()
        raise BadArgumentError("--fast needs a file: a camera has only one speed; use --input FILE")
    return source


def _no_face(source: Source, vision: Vision) -> NotFoundError | None:
    """The error of a file that never showed a face; None when it did, or held no frame."""
    frames = source.status().frames
    if vision.with_face or not frames:
        return None
    return NotFoundError(
        f"{source.name}: no face was found in {frames} frame{'s' if frames != 1 else ''}; "
        + (vision.advice or "use a picture with one face at least 60 pixels high, looking towards the camera")
    )
