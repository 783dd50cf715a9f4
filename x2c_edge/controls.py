"""The 30 controls of Ameca's face: the one place that knows their names, order, ranges and units.

Order is the wire's: alphabetical by name, everywhere. Values are in **paper units**: radians for
gaze, head and neck, plain numbers for the rest. The robot's own scripts, and every link format,
take degrees instead of radians; ``to_robot`` and ``from_robot`` convert.

The same table with its sources: docs/spec/controls.md. Where these differ:

* ``low``/``high`` are the exact data-set ranges, the ones a u16 on the wire spans. The paper's
  Table 2 (``paper_low``/``paper_high``) prints the angles rounded to one decimal of a radian.
* ``safe_low``/``safe_high`` is what may leave this program: the deployed system's narrower range
  cut with Table 2 as printed, so that both documents hold.
* ``neutral`` is the pose the robot rests in. The paper's neutral face (``paper_neutral``) is in
  direct-motor units for brows and nose; in the namespaces that the controls are sent through, the
  brows rest at 0.5 and the nose at 0, and the top lip's middle rests at 0.47 because the robot's
  own lip limiter lifts the published 0.30 there.

Signs of the angles (from the robot's public scripts: x forward, y left, z up; not yet checked on a
robot): yaw and phi are positive to the robot's left, pitch and theta upwards, roll positive when
the head tilts to the robot's right (left ear up).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Group = Literal["brows", "eyelids", "gaze", "head", "jaw", "lips", "nose"]
Unit = Literal["unit", "radian"]


@dataclass(frozen=True, slots=True)
class Control:
    """One control. Ranges, neutral and slew in paper units (slew per second)."""

    index: int
    name: str
    abbreviation: str
    group: Group
    unit: Unit
    low: float
    high: float
    paper_low: float
    paper_high: float
    paper_neutral: float
    safe_low: float
    safe_high: float
    neutral: float
    slew: float
    namespace: str | None


class _Row(NamedTuple):
    """A line of the specification's table: its angles are degrees (wire, deployed, slew) but for those of the
    paper, which are radians."""

    name: str
    group: Group
    namespace: str | None
    wire: tuple[float, float]
    deployed: tuple[float, float]
    table_2: tuple[float, float]
    paper_neutral: float
    neutral: float
    slew: float


_BROWS, _LIDS, _GAZE = "Mesmer Brows 1", "Mesmer Eyelids 1", "Mesmer Gaze 1"
_NECK, _MOUTH, _NOSE = "Mesmer Neck 1", "Mesmer Mouth 2", "Mesmer Nose 1"
_UNIT: Final = (0.0, 1.0)
_LID: Final = (-1.0, 2.0)
# fmt: off
_ROWS: tuple[_Row, ...] = (
    _Row("Brow Inner Left",           "brows",   _BROWS, _UNIT,       _UNIT,       _UNIT,       0.60, 0.50, 8),
    _Row("Brow Inner Right",          "brows",   _BROWS, _UNIT,       _UNIT,       _UNIT,       0.68, 0.50, 8),
    _Row("Brow Outer Left",           "brows",   _BROWS, _UNIT,       _UNIT,       _UNIT,       0.65, 0.50, 8),
    _Row("Brow Outer Right",          "brows",   _BROWS, _UNIT,       _UNIT,       _UNIT,       0.53, 0.50, 8),
    _Row("Eyelid Lower Left",         "eyelids", _LIDS,  _LID,        _LID,        _LID,        1.00, 1.00, 20),
    _Row("Eyelid Lower Right",        "eyelids", _LIDS,  _LID,        _LID,        _LID,        1.00, 1.00, 20),
    _Row("Eyelid Upper Left",         "eyelids", _LIDS,  _LID,        _LID,        _LID,        1.00, 1.00, 20),
    _Row("Eyelid Upper Right",        "eyelids", _LIDS,  _LID,        _LID,        _LID,        1.00, 1.00, 20),
    _Row("Gaze Target Phi",           "gaze",    _GAZE,  (-130, 130), (-130, 130), (-2.3, 2.3), 0.00, 0.00, 800),
    _Row("Gaze Target Theta",         "gaze",    _GAZE,  (-60, 60),   (-60, 60),   (-1.1, 1.1), 0.00, 0.00, 500),
    _Row("Head Pitch",                "head",    _NECK,  (-30, 20),   (-20, 20),   (-0.5, 0.3), 0.00, 0.00, 60),
    _Row("Head Roll",                 "head",    _NECK,  (-20, 20),   (-10, 10),   (-0.3, 0.3), 0.00, 0.00, 60),
    _Row("Head Yaw",                  "head",    _NECK,  (-30, 30),   (-20, 20),   (-0.5, 0.5), 0.00, 0.00, 90),
    _Row("Jaw Pitch",                 "jaw",     None,   _UNIT,       (0.5, 1),    _UNIT,       1.00, 1.00, 6),
    _Row("Jaw Yaw",                   "jaw",     _MOUTH, _UNIT,       _UNIT,       _UNIT,       0.50, 0.50, 3),
    _Row("Lip Bottom Curl",           "lips",    None,   _UNIT,       _UNIT,       _UNIT,       0.46, 0.46, 8),
    _Row("Lip Bottom Depress Left",   "lips",    None,   _UNIT,       _UNIT,       _UNIT,       0.56, 0.56, 8),
    _Row("Lip Bottom Depress Middle", "lips",    None,   _UNIT,       _UNIT,       _UNIT,       0.43, 0.43, 8),
    _Row("Lip Bottom Depress Right",  "lips",    None,   _UNIT,       _UNIT,       _UNIT,       0.54, 0.54, 8),
    _Row("Lip Corner Raise Left",     "lips",    None,   _UNIT,       _UNIT,       _UNIT,       0.47, 0.47, 8),
    _Row("Lip Corner Raise Right",    "lips",    None,   _UNIT,       _UNIT,       _UNIT,       0.62, 0.62, 8),
    _Row("Lip Corner Stretch Left",   "lips",    None,   _UNIT,       _UNIT,       _UNIT,       0.64, 0.64, 8),
    _Row("Lip Corner Stretch Right",  "lips",    None,   _UNIT,       _UNIT,       _UNIT,       0.31, 0.31, 8),
    _Row("Lip Top Curl",              "lips",    None,   _UNIT,       _UNIT,       _UNIT,       0.41, 0.41, 8),
    _Row("Lip Top Raise Left",        "lips",    None,   _UNIT,       _UNIT,       _UNIT,       0.48, 0.48, 8),
    _Row("Lip Top Raise Middle",      "lips",    None,   _UNIT,       _UNIT,       _UNIT,       0.30, 0.47, 8),
    _Row("Lip Top Raise Right",       "lips",    None,   _UNIT,       _UNIT,       _UNIT,       0.45, 0.45, 8),
    _Row("Neck Pitch",                "head",    _NECK,  (-20, 30),   (-20, 20),   (-0.3, 0.5), 0.00, 0.00, 40),
    _Row("Neck Roll",                 "head",    _NECK,  (-24, 24),   (-12, 12),   (-0.3, 0.3), 0.00, 0.00, 40),
    _Row("Nose Wrinkle",              "nose",    _NOSE,  _UNIT,       _UNIT,       _UNIT,       0.85, 0.00, 8),
)
# fmt: on


def _control(index: int, row: _Row) -> Control:
    angular = row.group in ("gaze", "head")
    k = math.pi / 180 if angular else 1.0
    return Control(
        index=index,
        name=row.name,
        abbreviation="".join(word[0] for word in row.name.split()),
        group=row.group,
        unit="radian" if angular else "unit",
        low=row.wire[0] * k,
        high=row.wire[1] * k,
        paper_low=row.table_2[0],
        paper_high=row.table_2[1],
        paper_neutral=row.paper_neutral,
        safe_low=max(row.deployed[0] * k, row.table_2[0]),
        safe_high=min(row.deployed[1] * k, row.table_2[1]),
        neutral=row.neutral,
        slew=row.slew * k,
        namespace=row.namespace,
    )


CONTROLS: Final[tuple[Control, ...]] = tuple(_control(i, row) for i, row in enumerate(_ROWS))
N_CONTROLS: Final = len(CONTROLS)
NAMES: Final[tuple[str, ...]] = tuple(c.name for c in CONTROLS)
INDEX: Final[dict[str, int]] = {c.name: c.index for c in CONTROLS}
GROUPS: Final[tuple[Group, ...]] = ("brows", "eyelids", "gaze", "nose", "jaw", "lips", "head")


def _column(values: list[float]) -> NDArray[np.float64]:
    array = np.array(values, dtype=np.float64)
    array.flags.writeable = False
    return array


# Columns of the table, each (30,) float64, read-only, paper units.
LOW: Final = _column([c.low for c in CONTROLS])
HIGH: Final = _column([c.high for c in CONTROLS])
SAFE_LOW: Final = _column([c.safe_low for c in CONTROLS])
SAFE_HIGH: Final = _column([c.safe_high for c in CONTROLS])
NEUTRAL: Final = _column([c.neutral for c in CONTROLS])
SLEW: Final = _column([c.slew for c in CONTROLS])
_DEGREES: Final = _column([180 / math.pi if c.unit == "radian" else 1.0 for c in CONTROLS])


def indices(group: Group) -> list[int]:
    """Positions of one group's controls in the 30."""
    return [c.index for c in CONTROLS if c.group == group]


def to_robot(values: ArrayLike) -> NDArray[np.float64]:
    """Paper units (radians) to the robot's units (degrees). Shape (..., 30), float64."""
    return np.asarray(values, dtype=np.float64) * _DEGREES


def from_robot(values: ArrayLike) -> NDArray[np.float64]:
    """The robot's units (degrees) to paper units (radians). Shape (..., 30), float64."""
    return np.asarray(values, dtype=np.float64) / _DEGREES


def mirrored(values: ArrayLike) -> NDArray[np.float64]:
    """The pose of the mirror image: left and right deviations from neutral change places.

    Left/right pairs swap their *deviation from neutral* (the robot's neutral is not symmetric), and
    the sideways controls (gaze phi, yaw, rolls, jaw yaw) change sign around neutral. Shape (..., 30).
    """
    deviation = np.asarray(values, dtype=np.float64) - NEUTRAL
    return np.asarray(NEUTRAL + deviation[..., TWIN] * _MIRROR_SIGN, dtype=np.float64)


def _mirror_source(name: str) -> int:
    if name.endswith("Left"):
        return INDEX[name[:-4] + "Right"]
    if name.endswith("Right"):
        return INDEX[name[:-5] + "Left"]
    return INDEX[name]


_SIDEWAYS: Final = ("Gaze Target Phi", "Head Roll", "Head Yaw", "Jaw Yaw", "Neck Roll")
TWIN: Final = np.array([_mirror_source(name) for name in NAMES])  # the same control of the other side
_MIRROR_SIGN: Final = _column([-1.0 if name in _SIDEWAYS else 1.0 for name in NAMES])
