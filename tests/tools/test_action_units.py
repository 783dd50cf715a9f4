from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tools.dataset.action_units import PAPER_PAIRS, UNITS, counts, rows
from x2c_edge.controls import HIGH, INDEX, LOW, NEUTRAL, SAFE_HIGH, SAFE_LOW


def posed(**values: float) -> np.ndarray:
    pose = NEUTRAL.copy()
    for name, value in values.items():
        pose[INDEX[name.replace("_", " ")]] = value
    return pose


def showing(pose: np.ndarray) -> set[int]:
    return {number for number, count in counts(pose[None]).items() if count}


def test_a_face_at_rest_shows_nothing():
    assert showing(NEUTRAL) == set()


@pytest.mark.parametrize(("values", "units"), [
    ({"Brow_Inner_Left": 0.8}, {1}),
    ({"Brow_Inner_Right": 0.2}, {4}),
    ({"Brow_Outer_Right": 0.9}, {2}),
    ({"Eyelid_Upper_Left": 1.5}, {5}),
    ({"Eyelid_Upper_Left": 0.3}, set()),  # half shut is no blink
    ({"Eyelid_Upper_Left": 0.0}, {45}),
    ({"Eyelid_Lower_Left": 0.0}, {7}),
    ({"Nose_Wrinkle": 0.5}, {9}),
    ({"Lip_Top_Raise_Right": 0.9}, {10}),
    ({"Lip_Corner_Raise_Left": 0.9}, {12}),
    ({"Lip_Corner_Raise_Right": 0.2}, {15}),
    ({"Lip_Bottom_Depress_Middle": 0.1}, {17}),
    ({"Lip_Corner_Stretch_Left": 0.9}, {20}),
    ({"Jaw_Pitch": 0.6}, {25, 26}),
    ({"Jaw_Pitch": 0.95}, set()),
    ({"Head_Yaw": 0.3, "Gaze_Target_Phi": 0.8}, set()),
])  # fmt: skip
def test_a_control_makes_its_units(values: dict[str, float], units: set[int]):
    assert showing(posed(**values)) == units


def test_every_unit_with_an_actuator_can_show_within_the_safe_range():
    rng = np.random.default_rng(0)
    found = counts(rng.uniform(np.maximum(LOW, SAFE_LOW), np.minimum(HIGH, SAFE_HIGH), (500, 30)))
    assert {u.number for u in UNITS if u.ways} == {n for n, count in found.items() if count}
    assert {n for n, count in found.items() if count is None} == {6, 14}
    assert all(u.why for u in UNITS if not u.ways)


def test_counts_are_stated_for_as_many_pictures_as_the_paper_has():
    half = np.stack([NEUTRAL, posed(Nose_Wrinkle=1.0)])
    (row,) = [row for row in rows(half) if row[0].startswith("AU09")]
    assert row[2:] == [f"{PAPER_PAIRS // 2}", "8427"]


def test_the_paper_s_counts_are_those_of_its_table(shared: Path):
    text = (shared / "specs" / "paper.md").read_text().replace("\n", " ")
    listed = {int(n): int(c.replace(",", "")) for n, c in re.findall(r"AU(\d\d)\s+([\d,]+\d)", text)}
    assert listed == {u.number: u.paper for u in UNITS}
