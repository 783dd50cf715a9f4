"""aim_crop against what it stands for: motion_square and motion_affine of the landmarks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from x2c_edge import _kernels
from x2c_edge.nets.landmarks import LANDMARK_IDS
from x2c_edge.pipelines.motion_crop import ROLES, motion_affine, motion_square

COUNT = len(LANDMARK_IDS)


def aimed(points, affine, out=None, *, roles=ROLES, crop_size=128, out_size=256, scale=2.2, shift=0.04):
    out = np.full((2, 3), np.nan) if out is None else out
    _kernels.aim_crop(
        points, affine, out, roles=roles, crop_size=crop_size, out_size=out_size, scale=scale, shift=shift
    )
    return out


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6), turn=st.floats(-3.2, 3.2), zoom=st.floats(0.05, 8.0),
    scale=st.floats(0.5, 3.0), shift=st.floats(-0.2, 0.2),
    sizes=st.tuples(st.integers(8, 300), st.integers(8, 512)),
)  # fmt: skip
def test_it_is_the_pipeline_s_definition(seed, turn, zoom, scale, shift, sizes):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-1.2, 1.2, (COUNT, 2)).astype(np.float32)
    c, s = zoom * np.cos(turn), zoom * np.sin(turn)
    affine = np.array([[c, -s, rng.uniform(-300, 900)], [s, c, rng.uniform(-300, 900)]])
    crop_size, out_size = sizes
    pixels = points.astype(np.float64) * crop_size / 2 + (crop_size - 1) / 2
    landmarks = pixels @ affine[:, :2].T + affine[:, 2]
    expected = motion_affine(motion_square(landmarks, scale, shift), out_size)
    out = aimed(points, affine, crop_size=crop_size, out_size=out_size, scale=scale, shift=shift)
    np.testing.assert_allclose(out, expected, atol=1e-9, rtol=1e-9)


def test_eyes_on_the_mouth_have_no_roll():
    out = aimed(np.zeros((COUNT, 2), np.float32), np.eye(2, 3))
    np.testing.assert_array_equal(out[:, :2], np.zeros((2, 2)))
    np.testing.assert_allclose(out[:, 2], 63.5)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"points": np.zeros((COUNT, 3), np.float32)}, "points: expected shape with"),
        ({"points": np.zeros((COUNT, 2))}, "points: expected dtype float32"),
        ({"affine": np.eye(3)}, r"affine: expected shape \(2, 3\)"),
        ({"affine": np.eye(2, 3, dtype=np.float32)}, "affine: expected dtype float64"),
        ({"roles": np.ones(COUNT, np.uint8)}, "roles: needs landmarks of the box, the eyes and the mouth"),
        ({"roles": np.full(600, 7, np.uint8)}, r"roles: expected shape \(L,\) with L at most 512"),
        ({"scale": float("nan")}, "scale: must be finite"),
        ({"crop_size": 0}, "crop_size: expected 1"),
    ],
    ids=str,
)
def test_refusals(change, says):
    arguments = {"points": np.zeros((COUNT, 2), np.float32), "affine": np.eye(2, 3)} | change
    with pytest.raises(ValueError, match=says):
        aimed(**arguments)


@pytest.mark.parametrize(
    ("zoom", "taps"), [(0.5, 1), (1.5, 1), (1.51, 2), (3.0, 2), (3.01, 3), (4.5, 3), (4.51, 4), (20.0, 4)]
)
def test_taps_of_nought_are_chosen_by_the_zoom(zoom, taps):
    frame = np.random.default_rng(3).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    turned = [[0.6 * zoom, -0.8 * zoom, 40], [0.8 * zoom, 0.6 * zoom, 3.0]]
    for affine in (turned, [[zoom, 0, 1], [0, 0.3, 2]], [[0.3, 0, 1], [0, zoom, 2]]):
        chosen, given_taps = np.zeros((2, 3, 16, 16), np.float32)
        _kernels.crop_normalize(frame, np.array(affine), chosen, taps=0)
        _kernels.crop_normalize(frame, np.array(affine), given_taps, taps=taps)
        np.testing.assert_array_equal(chosen, given_taps)
