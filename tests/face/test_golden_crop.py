"""LivePortrait's crops (docs/spec/liveportrait.md section 11) against ``../shared/golden/crop.npz``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from x2c_edge.face.crop_geometry import Square, anchor_roll, invert, landmark_square, square_affine, transform

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden"

# Left eye, right eye, mouth corners, as means of these landmarks.
ANCHORS = {
    106: ((33, 35, 39, 40), (87, 89, 93, 94), (52, 61)),
    203: ((0, 6, 12, 18), (24, 30, 36, 42), (48, 66)),
}


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    if not GOLDEN.exists():
        pytest.skip(f"{GOLDEN} is absent")
    return dict(np.load(GOLDEN / "crop.npz"))


@pytest.fixture(scope="module")
def tolerance() -> dict[str, dict[str, float]]:
    return json.loads((GOLDEN / "tolerances.json").read_text())


def square(points: np.ndarray, scale: float, shift_y: float) -> Square:
    points = points.astype(np.float64)
    left, right, mouth = (points[list(ids)].mean(0) for ids in ANCHORS[len(points)])
    roll = anchor_roll((left + right) / 2, mouth)
    return landmark_square(points, roll).enlarged(scale, 0.0, shift_y)


def check_affine(ours: np.ndarray, theirs: np.ndarray, allowed: dict[str, float]) -> None:
    np.testing.assert_allclose(ours[:2, 2], theirs[:2, 2], atol=allowed["atol"], rtol=0)
    np.testing.assert_allclose(ours[:2, :2], theirs[:2, :2], atol=allowed["atol_linear"], rtol=0)


def test_source(golden, tolerance):
    box = square(golden["landmarks106"], 2.3, -0.125)
    affine = square_affine(box, 512, centre_index=256)
    np.testing.assert_allclose([box.x, box.y], golden["source_center"], atol=1e-3, rtol=0)
    np.testing.assert_allclose(box.side, golden["source_size"], atol=1e-3, rtol=0)
    assert box.roll == pytest.approx(float(golden["source_angle"]), abs=1e-6)
    check_affine(invert(affine), golden["source_M_o2c"], tolerance["crop/source_M_o2c"])
    check_affine(affine, golden["source_M_c2o"], tolerance["crop/source_M_c2o"])


def test_driving(golden, tolerance):
    box = square(golden["landmarks203"], 2.2, -0.1).turned(0.0)
    to_crop = invert(square_affine(box, 512, centre_index=256))
    np.testing.assert_allclose([box.x, box.y], golden["driving_center"], atol=1e-3, rtol=0)
    np.testing.assert_allclose(box.side, golden["driving_size"], atol=1e-3, rtol=0)
    check_affine(to_crop, golden["driving_M_o2c"], tolerance["crop/driving_M_o2c"])
    crop = transform(golden["landmarks203"].astype(np.float64), to_crop)
    np.testing.assert_allclose(crop, golden["driving_lmk_crop"], atol=1e-3, rtol=0)


def test_landmark_net_input(golden, tolerance):
    box = square(golden["landmarks203"], 1.5, -0.1)
    to_crop = invert(square_affine(box, 224, centre_index=112))
    check_affine(to_crop, golden["landmark_M_o2c"], tolerance["crop/landmark_M_o2c"])
