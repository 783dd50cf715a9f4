"""The small arithmetic against tests/data/numerics.npz: what a checkout alone can tell of right and wrong.

Float64 references of docs/spec/liveportrait.md sections 5 to 7 and 11. The whole networks are compared in
tests/nets/test_golden.py, where their golden vectors are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.reference import portrait_math
from x2c_edge import _kernels
from x2c_edge.face.crop_geometry import anchor_roll, invert, landmark_square, square_affine, transform
from x2c_edge.nets import keypoints

HEADS = ("pitch", "yaw", "roll", "t", "exp", "scale", "kp")
FRAMES = slice(1, None)
# Float32 against float64, of values around 1; the stitching network adds up 128 products.
SINGLE = {np.float64: 1e-12, np.float32: 4e-6}


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).parent / "data" / "numerics.npz") as file:
        return dict(file)


def motions(stored: dict[str, np.ndarray], dtype: type) -> keypoints.Motion:
    """Of the source and the driving frames."""
    return keypoints.motion_from_heads(**{name: stored[f"head_{name}"].astype(dtype) for name in HEADS})


def picked(motion: keypoints.Motion, rows: object) -> keypoints.Motion:
    fields = ("kp", "exp", "rotation", "t", "scale")
    return keypoints.Motion(*(getattr(motion, name)[rows] for name in fields))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_pose_and_keypoints(stored: dict[str, np.ndarray], dtype: type) -> None:
    atol = SINGLE[dtype]
    angles = [keypoints.angle_from_bins(stored[f"head_{name}"].astype(dtype)) for name in HEADS[:3]]
    np.testing.assert_allclose(np.stack(angles, axis=1), stored["degrees"], atol=60 * atol, rtol=0)
    motion = motions(stored, dtype)
    assert motion.rotation.dtype == dtype
    np.testing.assert_allclose(motion.rotation, stored["rotation"], atol=atol, rtol=0)
    np.testing.assert_allclose(keypoints.transformed(motion), stored["x"], atol=2 * atol, rtol=0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_relative_motion(stored: dict[str, np.ndarray], dtype: type) -> None:
    atol = SINGLE[dtype]
    all_of_them = motions(stored, dtype)
    source, driving, reference = (picked(all_of_them, rows) for rows in ([0], FRAMES, [1]))
    moved = keypoints.relative_motion(source, driving, reference)
    for name in ("rotation", "exp", "scale", "t"):
        np.testing.assert_allclose(getattr(moved, name), stored[f"{name}_new"], atol=2 * atol, rtol=0)
    x_new = keypoints.transformed(moved)
    np.testing.assert_allclose(x_new, stored["x_new"], atol=4 * atol, rtol=0)
    x_source = keypoints.transformed(source)
    x = keypoints.driving_keypoints(x_source, x_new, x_new[:1], float(stored["multiplier"]))
    np.testing.assert_allclose(x, stored["x_driving"], atol=8 * atol, rtol=0)


def test_hulls_and_the_multiplier(stored: dict[str, np.ndarray]) -> None:
    source, frame = stored["x"][0], stored["x"][1]
    volumes = [keypoints.hull_volume(source), keypoints.hull_volume(frame)]
    np.testing.assert_allclose(volumes, stored["hull_volumes"], rtol=1e-6)
    assert keypoints.motion_multiplier(source, frame) == pytest.approx(float(stored["multiplier"]), rel=1e-6)


def test_the_kernel_moves_keypoints_the_same_way(stored: dict[str, np.ndarray]) -> None:
    def row(i: int, *more: np.ndarray) -> np.ndarray:
        parts = (stored["rotation"][i], stored["head_exp"][i], stored["head_t"][i], stored["head_scale"][i])
        return np.concatenate([np.ravel(part) for part in (*parts, *more)]).astype(np.float32)

    source = row(0, stored["head_kp"][0], stored["x"][0])
    reference = row(1, stored["x_new"][0], stored["multiplier"])
    for frame in range(portrait_math.FRAMES):
        heads = [stored[f"head_{name}"][1 + frame].astype(np.float32) for name in HEADS[:-1]]
        out, motion = np.full((21, 3), np.nan, np.float32), np.full(3 * 21 + 13, np.nan, np.float32)
        _kernels.relative_keypoints(*heads, source, reference, out, motion=motion)
        np.testing.assert_allclose(out, stored["x_driving"][frame], atol=4e-6, rtol=0)
        np.testing.assert_allclose(motion, row(1 + frame), atol=2e-6, rtol=0)
        delta = stored["delta"][frame].astype(np.float32)
        _kernels.stitch_keypoints(out, delta, out)
        np.testing.assert_allclose(out, stored["x_stitched"][frame], atol=6e-6, rtol=0)


def test_adding_the_stitching_network_s_output(stored: dict[str, np.ndarray]) -> None:
    x = keypoints.stitched(stored["x_driving"], stored["delta"])
    np.testing.assert_allclose(x, stored["x_stitched"], atol=1e-12, rtol=0)


def test_the_stitching_network(stored: dict[str, np.ndarray]) -> None:
    torch = pytest.importorskip("torch")
    from x2c_edge.nets.stitching import STITCHING, KeypointMlp

    net = KeypointMlp(STITCHING)
    state = {}
    for i, (weight, bias) in enumerate(portrait_math.stitching_weights()):
        state[f"mlp.{2 * i}.weight"], state[f"mlp.{2 * i}.bias"] = weight, bias
    net.load_state_dict({k: torch.from_numpy(v.astype(np.float32)) for k, v in state.items()}, strict=True)
    x_source = stored["x"][:1]
    rows = keypoints.stitching_input(x_source, stored["x_driving"]).astype(np.float32)
    with torch.inference_mode():
        delta = net(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(delta, stored["delta"], atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", portrait_math.CROPS)
def test_crops(stored: dict[str, np.ndarray], name: str) -> None:
    count, scale, shift, turned, size = portrait_math.CROPS[name]
    points = stored[f"landmarks{count}"]
    left, right, mouth = (points[list(ids)].mean(axis=0) for ids in portrait_math.ANCHORS[count])
    box = landmark_square(points, anchor_roll((left + right) / 2, mouth)).enlarged(scale, shift_y=shift)
    box = box if turned else box.turned()
    np.testing.assert_allclose([box.x, box.y, box.side, box.roll], stored[f"{name}_square"], atol=1e-9)
    to_crop = invert(square_affine(box, size, centre_index=size / 2))
    np.testing.assert_allclose(to_crop, stored[f"{name}_to_crop"], atol=1e-9)


def test_the_kernel_aims_the_same_crop(stored: dict[str, np.ndarray]) -> None:
    """With its centre on index size/2 - 1/4: 512 pixels halved at once."""
    count, scale, shift, _, _ = portrait_math.CROPS["live"]
    points = stored[f"landmarks{count}"]
    roles = np.ones(count, np.uint8)
    left, right, mouth = portrait_math.ANCHORS[count]
    roles[[*left, *right]] |= 2
    roles[[*mouth]] |= 4
    # Through a crop of 192 pixels that sees the face somewhere, in half sides from its centre.
    seen = np.array([[2.5, 0.3, 40.0], [-0.3, 2.5, 60.0]])
    inside = ((transform(points, invert(seen)) - 95.5) / 96).astype(np.float32)
    out = np.full((2, 3), np.nan)
    _kernels.aim_crop(inside, seen, out, roles=roles, crop_size=192, out_size=256, scale=scale, shift=shift)
    to_512 = stored["live_to_crop"]
    corners = transform([[0.0, 0.0], [255.0, 0.0], [0.0, 255.0]], out)
    np.testing.assert_allclose(
        transform(corners, to_512) / 2 - 0.25, [[0, 0], [255, 0], [0, 255]], atol=1e-3, rtol=0
    )
