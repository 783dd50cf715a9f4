"""What people's faces are like at rest, as a pack's nets see them: where everybody starts, and how much
they differ. A pack's file ``people`` (JSON), measured by ``tools.train.measure_people``
on the training people.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from x2c_edge.controls import INDEX, N_CONTROLS, NAMES, NEUTRAL, indices
from x2c_edge.errors import NotFoundError
from x2c_edge.packs import Pack
from x2c_edge.pipelines.motion import FaceMotion

Array = NDArray[np.float64]

FORMAT: Final = "x2c-edge people 1"
_MOST: Final = 4.0  # of any number in the file: gains, values, deviations


def _typical() -> Array:
    """Deviations between people for a pack that does not say: 0.1, and nothing for where one looks."""
    sd = np.full(N_CONTROLS, 0.1)
    sd[indices("gaze") + indices("head")] = 0.0
    return sd


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """All arrays are (30,) float64, paper units, in the order of ``controls.NAMES``.

    pose: where the average person at rest belongs on the robot, by the table in ``retarget``. rest: what the
    tracker measures of them. between: standard deviation of people's own rests around it; 0 is never learnt.
    within: standard deviation of one person's resting face from one moment to another. gain: by pipeline
    name, what the nets' answers are multiplied by around the rest, since nets that learn from noisy labels
    answer too weakly. motion: the average person at rest for a pack whose motion extractor has such a thing
    (LivePortrait's published one has not). drawn: what its two-stage pipeline then measures of them.
    """

    pose: Array = field(default_factory=lambda: NEUTRAL.copy())
    rest: Array = field(default_factory=lambda: NEUTRAL.copy())
    between: Array = field(default_factory=_typical)
    within: Array = field(default_factory=lambda: np.full(N_CONTROLS, 0.05))
    gain: Mapping[str, Array] = field(default_factory=dict)
    motion: FaceMotion | None = None
    drawn: Array = field(default_factory=lambda: NEUTRAL.copy())

    def to_json(self) -> dict[str, Any]:
        """As the file has it."""
        data: dict[str, Any] = {"format": FORMAT}
        for name in ("pose", "rest", "between", "within", "drawn"):
            data[name] = _named(getattr(self, name))
        data["gain"] = {pipeline: _named(values) for pipeline, values in self.gain.items()}
        if self.motion is not None:
            data["motion"] = self.motion.to_json()
        return data

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> People:
        """KeyError, TypeError or ValueError for what is not such a table."""
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']!r}, this program reads {FORMAT!r}")
        names = ("pose", "rest", "between", "within", "drawn")
        pose, rest, between, within, drawn = (_column(data[name]) for name in names)
        gain = {str(pipeline): _column(values) for pipeline, values in data.get("gain", {}).items()}
        if (between < 0).any() or (within <= 0).any() or any((g < 0).any() for g in gain.values()):
            raise ValueError("a deviation or a gain is negative")
        motion = FaceMotion.from_json(data["motion"]) if "motion" in data else None
        return People(pose, rest, between, within, gain, motion, drawn)


def people_of(pack: Pack) -> People:
    """The pack's table; a neutral one if it has none. NotFoundError if its file cannot be used."""
    entry = pack.files.get("people")
    if entry is None:
        return People()
    try:
        return People.from_json(json.loads(entry.file.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NotFoundError(
            f"{entry.file}: not a table of people at rest ({error}); get the pack again"
        ) from None


def _named(values: Array) -> dict[str, float]:
    return {name: round(float(value), 5) for name, value in zip(NAMES, values, strict=True)}


def _column(data: Mapping[str, Any]) -> Array:
    values = np.zeros(N_CONTROLS)
    for name, k in INDEX.items():
        values[k] = float(data[name])
    if not (np.isfinite(values).all() and np.abs(values).max() <= _MOST):
        raise ValueError(f"a value is not finite or beyond {_MOST:g}")
    return values
