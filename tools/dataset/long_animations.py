"""Animations of up to 15 s, as long as the paper's volunteers made theirs: composed pieces one after another.

Every piece is one of ``compose_animations``' kinds. A control that a piece does not move does not stand
still meanwhile: it drifts between targets near its rest, as people's faces do, and because pictures in which
nothing moves are dropped as duplicates. What the paper leaves out is kept out (``exclusions``).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tools.dataset.compose_animations import MAKERS, UNITS, drifting, kind_of, poses
from tools.dataset.exclusions import keep_out
from x2c_edge.controls import NEUTRAL, indices
from x2c_edge.robot.animation import Animation, KeyFrame

SHORTEST_S: Final = 1.0
LONGEST_S: Final = 15.0
BETWEEN_S: Final = 0.3  # from the end of a piece to the beginning of the next
DRIFT: Final = (0.1, 0.4)  # of the way to a control's ends
# The paper's heads and necks move by few degrees (standard deviations of 0.009 to 0.048 rad in its Table 3).
HEAD_REACH: Final = 0.4  # of what the pieces would do
_HEAD: Final = indices("head")


def lasting(seed: int, number: int) -> Animation:
    """Animation ``number`` of a seed, at least 15 s long; each depends on these two alone."""
    rng = np.random.default_rng([seed, number, 2])
    keys: dict[int, list[KeyFrame]] = {index: [] for unit in UNITS for index in unit}
    start = 0.0
    while start < LONGEST_S + BETWEEN_S:
        piece = MAKERS[kind_of(rng)](rng)
        moving = {index: track for index, track in piece.items() if len(track) > 1}
        length = max((track[-1].time for track in moving.values()), default=1.0)
        strength = rng.uniform(*DRIFT)
        for unit in UNITS:
            resting = drifting(rng, unit, length, strength)
            for index in unit:
                keys[index] += _placed(moving.get(index, resting[index]), start)
        start += length + BETWEEN_S
    tracks = {index: _calmed(index, track) for index, track in keys.items()}
    return Animation(f"lasting {seed}.{number}", ("lasting",), tracks)


def lasting_poses(seed: int, number: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times (T,) and controls (T, 30) of the first 15 s of an animation, sampled and kept as ``poses`` does,
    without what the paper leaves out."""
    times, values = poses(lasting(seed, number), also=keep_out)
    return times[times <= LONGEST_S], values[times <= LONGEST_S]


def shares(rng: np.random.Generator, total: int, count: int, least: int, most: int) -> list[int]:
    """``count`` whole numbers from ``least`` to ``most`` with the sum ``total``, as uneven as that allows."""
    weights = rng.uniform(0.0, 1.0, count)
    low, high = 0.0, float(total) * count
    for _ in range(100):  # halving: the sum rises with the scale
        scale = (low + high) / 2
        if np.clip(scale * weights, least, most).sum() < total:
            low = scale
        else:
            high = scale
    parts = [int(part) for part in np.clip(low * weights, least, most)]
    for place in cycle(range(count)):  # what rounding down has lost, less than one each
        if sum(parts) == total:
            break
        parts[place] += parts[place] < most
    return parts


def _placed(track: tuple[KeyFrame, ...], start: float) -> list[KeyFrame]:
    """A piece's key frames from ``start`` on; the last one eases into what comes next."""
    moved = [replace(key, time=key.time + start) for key in track]
    moved[-1] = KeyFrame(moved[-1].time, moved[-1].value)
    return moved


def _calmed(index: int, keys: list[KeyFrame]) -> tuple[KeyFrame, ...]:
    if index not in _HEAD:
        return tuple(keys)
    rest = float(NEUTRAL[index])
    return tuple(
        replace(
            key,
            value=rest + HEAD_REACH * (key.value - rest),
            handles=key.handles
            and (key.handles[0], HEAD_REACH * key.handles[1], key.handles[2], HEAD_REACH * key.handles[3]),
        )
        for key in keys
    )
