"""A mapping network that looks twice: where it is told to look, and that it learns to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tools.dataset.make_dataset import Settings, make_dataset
from tools.dataset.pair_dataset import PairDataset
from tools.train.look_points import look_points, look_points_of, many_look_points
from tools.train.mapping_pictures import ArrayPairs, from_bytes, normalised
from tools.train.mapping_recipe import Recipe, trunk_name, trunk_of
from tools.train.mapping_training import Machine, train
from x2c_edge.controls import INDEX, NEUTRAL, SAFE_HIGH, SAFE_LOW
from x2c_edge.errors import BadArgumentError
from x2c_edge.nets.look_trunk import LookTwiceConfig, LookTwiceTrunk
from x2c_edge.robot.face import PORTRAIT, AmecaFace, Scene

SMALL = LookTwiceConfig(64, 8, (8, 8, 16, 16), (1, 1, 1, 1), 2, (4, 8), (16, 16), (16, 12), 8)
RECIPE = Recipe(
    SMALL, 64, (16,), epochs=12, batch=16, learning_rate=4e-3, gradient_norm=5.0, augment=False, loss="spread"
)
FP32 = Machine(precision="fp32")


def quiet(line: str) -> None:
    return


def poses(count: int) -> np.ndarray:
    """Neutral faces with the head anywhere."""
    rng = np.random.default_rng(5)
    values = np.tile(NEUTRAL, (count, 1))
    for name in ("Head Yaw", "Head Pitch", "Head Roll"):
        i = INDEX[name]
        values[:, i] = rng.uniform(SAFE_LOW[i], SAFE_HIGH[i], count)
    return values.astype(np.float32)


def test_the_points_lie_on_the_eyes_and_the_mouth():
    """Both irises are darker than what surrounds them; the points follow the head and the camera."""
    for scene in (PORTRAIT, Scene()):
        values = poses(8)
        points = look_points(values, scene)
        assert points.shape == (8, 5, 2)
        face = AmecaFace(256, scene)
        for row, at in zip(values, points, strict=True):
            pixels = ((at + 1) * 256 - 1) / 2
            image = face.render(row).astype(float).mean(2)
            for outer, inner in ((0, 1), (2, 3)):
                x, y = (pixels[outer] + pixels[inner]) / 2
                across = abs(pixels[inner, 0] - pixels[outer, 0]) / 2
                near = image[int(y) - 4 : int(y) + 5, int(x - across / 2) : int(x + across / 2)]
                assert near.min() < 0.5 * np.median(image[int(y + across) :, int(x)])
            assert pixels[4, 1] > pixels[:4, 1].max()  # the mouth is below the eyes
        turned = points[np.argsort(values[:, INDEX["Head Yaw"]])]
        assert turned[-1, 4, 0] > turned[0, 4, 0] + 0.1  # the robot's left is on the right of the picture


def test_every_animation_of_a_set_has_its_own_camera(tmp_path: Path):
    settings = Settings(60, 64, 3, "random", shard_pairs=30)
    make_dataset(settings, tmp_path / "set", processes=1)
    pairs = PairDataset(tmp_path / "set", "train")
    points = look_points_of(tmp_path / "set", pairs)
    plain = look_points(pairs.controls, Scene())
    assert points.shape == (len(pairs), 5, 2)
    assert np.abs(points - plain).max() > 0.05
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "metadata.jsonl").touch()
    with pytest.raises(BadArgumentError, match="rendered pairs only"):
        look_points_of(tmp_path / "published", pairs)


def test_all_cores_find_the_same_points_in_order():
    values = poses(300)  # two chunks
    np.testing.assert_array_equal(many_look_points(values, PORTRAIT), look_points(values, PORTRAIT))


def test_it_learns_where_to_look():
    values = poses(160)
    face = AmecaFace(64, PORTRAIT)
    pairs = ArrayPairs(np.stack([face.render(v) for v in values]), values)
    looks = look_points(values, PORTRAIT)
    trained = train(RECIPE, pairs, machine=FP32, looks=looks, say=quiet)
    trunk = trained.net.feature_extractor
    assert isinstance(trunk, LookTwiceTrunk)
    with torch.inference_mode():
        found = trunk.read(normalised(from_bytes(torch.from_numpy(pairs.images)), trained.picture))[1].numpy()
    error, spread = np.abs(found - looks).mean(), np.abs(looks - looks.mean(0)).mean()
    assert error < 0.5 * spread


def test_it_must_be_told_where_to_look():
    values = poses(16)
    pairs = ArrayPairs(np.zeros((16, 64, 64, 3), np.uint8), values)
    looks = look_points(values, PORTRAIT)
    once = replace(RECIPE, trunk=trunk_of("resnet", 64, (4, 4, 8, 8), (1, 1, 1, 1)))
    for recipe, given, message in (
        (RECIPE, None, "has to be told where"),
        (once, looks, "looks only once"),
        (RECIPE, looks[:3], r"expected \(16, 5, 2\)"),
    ):
        with pytest.raises(BadArgumentError, match=message):
            train(recipe, pairs, machine=FP32, looks=given, say=quiet)


def test_its_name_and_sizes_on_the_command_line():
    assert trunk_of("look", 128) == LookTwiceConfig(128)
    sized = trunk_of("look", 64, (8, 8, 16, 16), (2, 1, 1, 1))
    assert sized == LookTwiceConfig(64, 8, (8, 8, 16, 16), (2, 1, 1, 1))
    assert trunk_name(sized) == "ResNet that looks twice"
