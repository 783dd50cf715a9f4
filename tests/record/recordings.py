"""Recordings made by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from x2c_edge.controls import NEUTRAL, SAFE_HIGH, SAFE_LOW
from x2c_edge.frames import Expression
from x2c_edge.record.mcap_file import McapWriter
from x2c_edge.record.messages import CAMERA, EXPRESSION, TOPICS, Seen, expression_message, picture_message

PERIOD_NS = 33_333_333
FACTS = {"clock": "file", "fps": "30.000"}


def seen(seq: int, values: np.ndarray | None = None, **changes: object) -> Seen:
    """A face in a 64 x 48 frame at ``seq`` thirtieths of a second; without values: no expression."""
    t_ns = seq * PERIOD_NS
    landmarks = np.array([[20.5, 10.25], [40.0, 30.125]])
    expression = None if values is None else Expression(seq, t_ns, "single-stage", values, 0.97, landmarks)
    affine = np.array([[0.5, 0.0, 8.0], [0.0, 0.5, 4.0]])
    plain = Seen(seq, t_ns, 64, 48, expression, landmarks, affine, 32, 0.9, values is not None, "", False)
    return replace(plain, **changes)


def smooth(count: int, seed: int = 0) -> list[Seen]:
    """A face that moves in every control, within the safe ranges."""
    phase = np.random.default_rng(seed).uniform(0, 2 * np.pi, 30)
    reach = 0.3 * np.minimum(NEUTRAL - SAFE_LOW, SAFE_HIGH - NEUTRAL)
    return [seen(k, NEUTRAL + reach * np.sin(k / 12 + phase)) for k in range(count)]


def write(
    path: Path,
    sights: Iterable[Seen],
    facts: Mapping[str, str] = FACTS,
    *,
    flush_every: int = 8,
    pictures: bool = True,
) -> Path:
    """A finished recording, a chunk every ``flush_every`` frames."""
    writer = McapWriter(path, TOPICS, facts)
    for k, sight in enumerate(sights):
        time_ns = max(sight.t_capture_ns, 0)
        if pictures:
            picture = np.full((sight.height, sight.width, 3), 10 + k % 200, np.uint8)
            writer.add(CAMERA, time_ns, picture_message(picture, time_ns, "camera"), sight.seq)
        writer.add(EXPRESSION, time_ns, expression_message(sight), sight.seq)
        if k % flush_every == flush_every - 1:
            writer.flush()
    writer.finish({})
    return path
