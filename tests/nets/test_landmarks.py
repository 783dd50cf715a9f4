from __future__ import annotations

from pathlib import Path

import numpy as np

from x2c_edge.nets import landmarks as lm


def ids(positions: list[int]) -> list[int]:
    return [lm.LANDMARK_IDS[i] for i in positions]


def test_every_point_is_named_once():
    assert len(set(lm.LANDMARK_IDS)) == len(lm.LANDMARK_IDS) == 140
    assert all(0 <= i < 478 for i in lm.LANDMARK_IDS)


def test_the_mirror_is_its_own_inverse():
    order = np.array(lm.mirror_order())
    np.testing.assert_array_equal(order[order], np.arange(len(order)))


def test_sides_swap_and_the_middle_stays():
    order = lm.mirror_order()
    twin = {i: lm.LANDMARK_IDS[order[k]] for k, i in enumerate(lm.LANDMARK_IDS)}
    assert {i for i, j in twin.items() if i == j} == {10, 152, 17, 0, 14, 13, 168, 6, 195, 4, 1, 2}
    assert [twin[i] for i in (33, 133, 61, 78, 468, 98, 234, 70)] == [263, 362, 291, 308, 473, 327, 454, 300]
    for right, left in ((lm.RIGHT_EYE, lm.LEFT_EYE), (lm.RIGHT_BROW, lm.LEFT_BROW)):
        assert {twin[i] for i in right} == set(left)


def test_outlines_are_made_of_known_points():
    assert all(set(chain) <= set(lm.LANDMARK_IDS) for chain, _ in lm.OUTLINES)


def test_the_mirror_of_real_faces_is_a_face(shared: Path):
    """The mean frontal face and its mirror image, with the points renamed, are the same shape."""
    labels = np.load(shared / "data" / "faces" / "labels.npz")
    frontal = np.abs(labels["ypr"]).max(1) < 4
    assert frontal.sum() > 50
    mean = labels["landmarks"][frontal][:, list(lm.LANDMARK_IDS), :2].astype(np.float64).mean(0)
    twin = mean[list(lm.mirror_order())] * [-1, 1]
    difference = (mean - mean.mean(0)) - (twin - twin.mean(0))
    assert np.abs(difference).max() < 0.03 * np.ptp(mean[:, 1])
    left = mean[lm.LANDMARK_IDS.index(263)]
    right = mean[lm.LANDMARK_IDS.index(33)]
    assert left[0] > right[0]  # the person's left is on the right of the picture
