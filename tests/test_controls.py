from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from x2c_edge.controls import (
    CONTROLS,
    GROUPS,
    HIGH,
    INDEX,
    LOW,
    N_CONTROLS,
    NAMES,
    NEUTRAL,
    SAFE_HIGH,
    SAFE_LOW,
    SLEW,
    from_robot,
    indices,
    mirrored,
    to_robot,
)

POSES = arrays(np.float64, (N_CONTROLS,), elements=st.floats(-5, 5))


def test_the_order_is_alphabetical_and_complete():
    assert len(NAMES) == len(set(NAMES)) == 30
    assert list(NAMES) == sorted(NAMES)
    assert [c.index for c in CONTROLS] == list(range(30))
    assert all(INDEX[name] == k for k, name in enumerate(NAMES))


def test_the_table_is_the_link_specification(shared: Path):
    published = json.loads((shared / "specs" / "link_vectors.json").read_text())["controls"]
    assert len(published) == 30
    for control, row in zip(CONTROLS, published, strict=True):
        k = math.pi / 180 if row["unit"] == "degree" else 1.0
        assert control.unit == ("radian" if row["unit"] == "degree" else "unit")
        assert (control.index, control.name) == (row["index"], row["name"])
        assert control.namespace == row["namespace"]
        assert (control.low, control.high) == pytest.approx([v * k for v in row["wire"]])
        assert control.neutral == pytest.approx(row["neutral"] * k)
        assert control.slew == pytest.approx(row["slew_per_s"] * k)
        # The paper's rounded ranges may cut the deployed ones a little further, never widen them.
        low, high = (v * k for v in row["safe"])
        assert low <= control.safe_low + 1e-12
        assert control.safe_high <= high + 1e-12


def test_the_paper_s_columns_are_those_of_its_tables(shared: Path):
    text = (shared / "specs" / "liveportrait.md").read_text().split("## 13.")[1].split("\n## ")[0]
    number = re.compile(r"[-−]?\d+(?:\.\d+)?")

    def pair(cell: str) -> list[float]:
        return [float(n.replace("−", "-")) for n in number.findall(cell)]

    seen = 0
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 7 or not cells[0].isdigit():
            continue
        control = CONTROLS[int(cells[0])]
        assert control.name == cells[1]
        official, paper, neutral = pair(cells[2]), pair(cells[4]), pair(cells[6])[0]
        if control.unit == "radian":
            assert [control.low, control.high] == pytest.approx(np.radians(official))
        else:
            assert [control.low, control.high] == official
        assert [control.paper_low, control.paper_high] == (paper or official)
        assert control.paper_neutral == neutral
        seen += 1
    assert seen == 30


def test_safe_lies_within_the_wire_and_within_table_2():
    for c in CONTROLS:
        assert (
            max(c.low, c.paper_low) - 1e-12 <= c.safe_low < c.safe_high <= min(c.high, c.paper_high) + 1e-12
        )


def test_neutral_is_safe_and_slew_is_positive():
    assert (SAFE_LOW <= NEUTRAL).all()
    assert (NEUTRAL <= SAFE_HIGH).all()
    assert (SLEW > 0).all()


def test_the_columns_cannot_be_changed():
    for column in (LOW, HIGH, SAFE_LOW, SAFE_HIGH, NEUTRAL, SLEW):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 3.0


def test_the_groups_share_out_all_controls():
    together = [k for group in GROUPS for k in indices(group)]
    assert sorted(together) == list(range(30))
    sizes = {group: len(indices(group)) for group in GROUPS}
    assert sizes == {"brows": 4, "eyelids": 4, "gaze": 2, "nose": 1, "jaw": 2, "lips": 12, "head": 5}


def test_abbreviations_are_the_paper_s():
    assert CONTROLS[INDEX["Lip Bottom Depress Middle"]].abbreviation == "LBDM"
    # Nothing in the paper tells Neck Pitch and the like apart by more than initials; all are distinct.
    assert max(Counter(c.abbreviation for c in CONTROLS).values()) == 1


def test_only_gaze_head_and_neck_are_angles():
    assert {c.group for c in CONTROLS if c.unit == "radian"} == {"gaze", "head"}
    robot = to_robot(np.ones(30))
    assert robot[INDEX["Gaze Target Phi"]] == pytest.approx(57.29577951308232)
    assert robot[INDEX["Jaw Yaw"]] == 1.0


@given(POSES)
def test_degrees_and_radians_are_there_and_back(pose: np.ndarray):
    np.testing.assert_allclose(from_robot(to_robot(pose)), pose, rtol=1e-14, atol=0)


def test_conversion_takes_many_poses_at_once():
    poses = np.stack([NEUTRAL, SAFE_LOW])
    np.testing.assert_array_equal(to_robot(poses)[1], to_robot(SAFE_LOW))


@given(POSES)
def test_the_mirror_of_the_mirror_is_the_pose(pose: np.ndarray):
    np.testing.assert_allclose(mirrored(mirrored(pose)), pose, atol=1e-12)


def test_the_mirror_keeps_neutral_and_swaps_sides():
    np.testing.assert_array_equal(mirrored(NEUTRAL), NEUTRAL)
    pose = NEUTRAL.copy()
    pose[INDEX["Lip Corner Raise Left"]] += 0.2
    pose[INDEX["Head Yaw"]] += 0.1
    pose[INDEX["Jaw Pitch"]] -= 0.3
    swapped = mirrored(pose) - NEUTRAL
    expected = np.zeros(30)
    expected[INDEX["Lip Corner Raise Right"]] = 0.2
    expected[INDEX["Head Yaw"]] = -0.1
    expected[INDEX["Jaw Pitch"]] = -0.3
    np.testing.assert_allclose(swapped, expected, atol=1e-12)
    np.testing.assert_array_equal(mirrored(np.stack([pose, NEUTRAL]))[0], mirrored(pose))
