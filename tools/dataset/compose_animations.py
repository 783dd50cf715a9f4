"""New animations out of the hand-made ones and of random key frames, within the safety limits.

    python -m tools.dataset.compose_animations --seed 1 --count 10 --out /tmp/animations

Five kinds. "library": a hand-made one, stronger or weaker, faster or slower, perhaps mirrored. "blend": the
upper face, the mouth, the gaze and the head of different ones. "keys": random key frames. "sweep": a few
controls alone, one after the other, from end to end. "extreme": from corner to corner of the ranges. In
most of them the controls that do not move rest away from neutral.

Values stay in the safe range (``controls.SAFE_LOW``/``SAFE_HIGH``), not in the wider one of the wire: these
are the poses that the robot may be sent to. Gaze stays within ±0.9 and ±0.7 radians: further out the
eyeballs are at their stops and pictures no longer tell angles apart. ``poses`` also keeps the lip and lid
rules and the speed limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import typer
from numpy.typing import NDArray

from tools._errors import user_errors
from x2c_edge.controls import (
    CONTROLS,
    INDEX,
    N_CONTROLS,
    NEUTRAL,
    SAFE_HIGH,
    SAFE_LOW,
    SLEW,
    Group,
    indices,
    mirrored,
)
from x2c_edge.errors import NotFoundError
from x2c_edge.robot.animation import Animation, Interpolation, KeyFrame
from x2c_edge.robot.animation_text import PAIRS, format_animation, library
from x2c_edge.safety.eyelids import limit_lids
from x2c_edge.safety.lip_limits import limit_lips
from x2c_edge.whole_file import write_whole

Array = NDArray[np.float64]
Rng = np.random.Generator
Tracks = dict[int, tuple[KeyFrame, ...]]

STEP_S: Final = 0.05
SLOWER: Final = 1.2  # how much an animation that is too fast is stretched at a time
MOST_STRETCHES: Final = 30

LOW, HIGH = SAFE_LOW.copy(), SAFE_HIGH.copy()
for _name, _limit in (("Gaze Target Phi", 0.9), ("Gaze Target Theta", 0.7)):
    LOW[INDEX[_name]], HIGH[INDEX[_name]] = -_limit, _limit

REGIONS: Final[tuple[tuple[Group, ...], ...]] = (
    ("brows", "eyelids"), ("nose", "jaw", "lips"), ("gaze",), ("head",),
)  # fmt: skip
KINDS: Final[tuple[tuple[str, float], ...]] = (
    ("library", 0.15), ("blend", 0.30), ("keys", 0.30), ("sweep", 0.10), ("extreme", 0.15),
)  # fmt: skip
# Controls that usually move together: left and right, else alone.
UNITS: Final[tuple[tuple[int, ...], ...]] = (
    *PAIRS.values(),
    *((i,) for i in range(N_CONTROLS) if not any(i in pair for pair in PAIRS.values())),
)
_LIDS: Final = frozenset(indices("eyelids"))


def compose(seed: int, number: int) -> Animation:
    """Animation ``number`` of a seed; each depends on these two alone."""
    rng = np.random.default_rng([seed, number])
    kind = kind_of(rng)
    tracks = MAKERS[kind](rng)
    if rng.random() < 0.7:
        tracks = _posture(rng, rng.uniform(0.1, 0.6)) | tracks
    return Animation(f"{kind} {seed}.{number}", (kind,), tracks)


def kind_of(rng: Rng) -> str:
    """One of ``KINDS``, drawn by its share."""
    return str(rng.choice([name for name, _ in KINDS], p=[share for _, share in KINDS]))


def poses(
    animation: Animation, step_s: float = STEP_S, *, also: Callable[[Array], None] | None = None
) -> tuple[Array, Array]:
    """Times (T,) in seconds and controls (T, 30) of an animation, safe to send at that rate.

    Clamped to the safe range, lips and lids to their conditional ranges, changes to the speed limits. Where
    the lips' rules would still make one move too fast, the whole animation is slowed down. also: a rule more,
    which moves a pose (30,) in place.
    """
    stretch = 1.0
    for _ in range(MOST_STRETCHES):
        times = np.arange(int(animation.duration * stretch / step_s + 1e-9) + 1) * step_s
        values = np.clip(animation.sample(times / stretch), SAFE_LOW, SAFE_HIGH)
        most = SLEW * step_s
        for i, pose in enumerate(values):
            if i:
                pose[:] = values[i - 1] + np.clip(pose - values[i - 1], -most, most)
            limit_lids(pose)
            limit_lips(pose)
            if also is not None:
                also(pose)
        if (np.abs(np.diff(values, axis=0)) <= most + 1e-9).all():
            return times, values
        stretch *= SLOWER
    raise ValueError(f"animation {animation.name!r} cannot be played within the speed limits")


def scaled(animation: Animation, amplitude: float, speed: float = 1.0) -> Animation:
    """Deviations from neutral times ``amplitude``, kept in range; time divided by ``speed``."""
    return _changed(animation, lambda i: (i, amplitude), speed)


def mirror_image(animation: Animation) -> Animation:
    """Left and right deviations from neutral change places (see ``controls.mirrored``), kept in range."""
    turned = mirrored(NEUTRAL + np.eye(N_CONTROLS)) - NEUTRAL

    def twin(index: int) -> tuple[int, float]:
        other = int(np.argmax(np.abs(turned[index])))
        return other, float(np.sign(turned[index, other]))

    return _changed(animation, twin, 1.0)


def _changed(
    animation: Animation, destination: Callable[[int], tuple[int, float]], speed: float
) -> Animation:
    tracks: Tracks = {}
    for index, keys in animation.tracks.items():
        to, factor = destination(index)

        def place(value: float, index: int = index, to: int = to, factor: float = factor) -> float:
            return float(np.clip(NEUTRAL[to] + factor * (value - NEUTRAL[index]), LOW[to], HIGH[to]))

        tracks[to] = tuple(
            replace(
                key,
                time=key.time / speed,
                value=place(key.value),
                handles=key.handles
                and (
                    key.handles[0] / speed,
                    place(key.value + key.handles[1]) - place(key.value),
                    key.handles[2] / speed,
                    place(end.value + key.handles[3]) - place(end.value),
                ),
            )
            for key, end in zip(keys, (*keys[1:], keys[-1]), strict=True)
        )
    return replace(animation, tracks=dict(sorted(tracks.items())))


@lru_cache(maxsize=1)
def _library() -> tuple[Animation, ...]:
    return tuple(library())


def _performed(rng: Rng) -> Tracks:
    """A hand-made animation as it might be played on another day."""
    animation = _library()[rng.integers(len(_library()))]
    if rng.random() < 0.5:
        animation = mirror_image(animation)
    return dict(scaled(animation, rng.uniform(0.4, 1.25), rng.uniform(0.8, 1.6)).tracks)


def _blend(rng: Rng) -> Tracks:
    tracks: Tracks = {}
    for region in REGIONS:
        members = {index for group in region for index in indices(group)}
        while not members & tracks.keys():
            tracks |= {index: keys for index, keys in _performed(rng).items() if index in members}
    return tracks


def _keys(rng: Rng) -> Tracks:
    duration, strength, share = rng.uniform(1.5, 3.0), rng.uniform(0.3, 1.0), rng.uniform(0.3, 1.0)
    tracks: Tracks = {}
    for unit in UNITS:
        if rng.random() < share:
            together = rng.random() < 0.5
            times = _times(rng, duration, 0.2, 0.7)
            columns = [_targets(rng, unit, strength, together) for _ in times]
            for place, index in enumerate(unit):
                tracks[index] = _track(rng, index, times, [column[place] for column in columns])
    return tracks


def _sweep(rng: Rng) -> Tracks:
    tracks: Tracks = {}
    start = 0.0
    for index in rng.choice(N_CONTROLS, rng.integers(2, 5), replace=False).tolist():
        neutral, ends = float(NEUTRAL[index]), [float(LOW[index]), float(HIGH[index])]
        values = [neutral, *rng.permutation(ends).tolist(), neutral]
        times = start + np.cumsum([0, *rng.uniform(0.25, 0.6, 3)])
        tracks[index] = _track(rng, index, times.tolist(), values)
        start = float(times[-1])
    return tracks


def _extreme(rng: Rng) -> Tracks:
    times = _times(rng, rng.uniform(1.5, 2.5), 0.3, 0.6)
    share = rng.uniform(0.2, 0.7)
    tracks: Tracks = {}
    for unit in UNITS:
        if rng.random() < share:
            ends = [[LOW[i], HIGH[i]] for i in unit]
            columns = []
            for _ in times:
                side = (
                    rng.integers(2, size=len(unit)) if rng.random() < 0.4 else [rng.integers(2)] * len(unit)
                )
                columns.append([float(end[k]) for end, k in zip(ends, side, strict=True)])
            for place, index in enumerate(unit):
                tracks[index] = _track(rng, index, times, [column[place] for column in columns])
    return tracks


def _posture(rng: Rng, strength: float) -> Tracks:
    """One key frame for about half of the controls: where they rest."""
    tracks: Tracks = {}
    for unit in UNITS:
        if rng.random() < 0.5:
            values = _targets(rng, unit, strength, rng.random() < 0.6)
            tracks |= {i: (KeyFrame(0.0, value),) for i, value in zip(unit, values, strict=True)}
    return tracks


def drifting(rng: Rng, unit: tuple[int, ...], length: float, strength: float) -> Tracks:
    """Key frames for a unit that does nothing in particular for ``length`` seconds."""
    times = np.array(_times(rng, length, 0.4, 1.2))
    times *= length / times[-1]
    together = rng.random() < 0.7
    columns = [_targets(rng, unit, strength, together) for _ in times]
    return {
        index: tuple(KeyFrame(float(t), column[place]) for t, column in zip(times, columns, strict=True))
        for place, index in enumerate(unit)
    }


MAKERS: Final[dict[str, Callable[[Rng], Tracks]]] = {
    "library": _performed, "blend": _blend, "keys": _keys, "sweep": _sweep, "extreme": _extreme,
}  # fmt: skip


def _times(rng: Rng, duration: float, shortest: float, longest: float) -> list[float]:
    times = [0.0]
    while times[-1] < duration:
        times.append(times[-1] + rng.uniform(shortest, longest))
    return times


def _targets(rng: Rng, unit: tuple[int, ...], strength: float, together: bool) -> list[float]:
    """A value for each control of a unit: a part of the way from neutral to one of the ends."""
    ways = rng.beta(1.2, 1.5, len(unit)) * strength
    ups = rng.random(len(unit)) < 0.5
    shut = rng.random() < 0.15
    if together:
        ways[:], ups[:] = ways[0] * rng.uniform(0.9, 1.1, len(unit)), ups[0]
    return [
        _part_way(i, min(float(way), 1.0), bool(up), shut) for i, way, up in zip(unit, ways, ups, strict=True)
    ]


def _part_way(index: int, way: float, up: bool, shut: bool) -> float:
    neutral = float(NEUTRAL[index])
    low = float(LOW[index])
    if index in _LIDS and not shut:
        low = 0.2  # eyes are open most of the time, or pictures would say nothing about gaze
    up = up if low < neutral < HIGH[index] else neutral < HIGH[index]
    return neutral + way * (float(HIGH[index]) - neutral if up else low - neutral)


def _track(rng: Rng, index: int, times: Iterable[float], values: Iterable[float]) -> tuple[KeyFrame, ...]:
    """Key frames with interpolation drawn at random."""
    points = list(zip(times, values, strict=True))
    keys = []
    for (time, value), (end_time, end_value) in zip(points, [*points[1:], points[-1]], strict=True):
        kinds: list[Interpolation] = ["bezier", "linear", "hold"]
        kind = kinds[int(rng.choice(3, p=[0.75, 0.17, 0.08]))]
        handles = None
        if kind == "bezier" and rng.random() < 0.5:
            span, rise = end_time - time, end_value - value
            out_dt, in_dt = rng.uniform(0.1, 0.9, 2) * span
            out_dv, in_dv = rng.uniform(-0.3, 0.6, 2) * rise
            handles = (
                float(out_dt),
                float(np.clip(value + out_dv, LOW[index], HIGH[index]) - value),
                float(in_dt),
                float(np.clip(end_value - in_dv, LOW[index], HIGH[index]) - end_value),
            )
        keys.append(KeyFrame(float(time), float(value), kind, handles))
    return tuple(keys)


def main(
    out: Path = typer.Option(..., help="folder for the text files"),
    seed: int = typer.Option(1, min=0),
    count: int = typer.Option(10, min=1),
    first: int = typer.Option(0, min=0, help="number of the first one"),
) -> None:
    """Compose animations and write them as text."""
    with user_errors("error: "):
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NotFoundError(f"{out}: {error.strerror}; give a folder that can be written to") from None
        for number in range(first, first + count):
            animation = compose(seed, number)
            times, values = poses(animation)
            moving = int((np.ptp(values, axis=0) > 1e-3).sum())
            path = out / f"{animation.name.replace(' ', '-')}.txt"
            write_whole(path, format_animation(animation).encode())
            typer.echo(f"{path}: {times[-1]:.2f} s, {moving} of {len(CONTROLS)} controls move")


if __name__ == "__main__":
    typer.run(main)
