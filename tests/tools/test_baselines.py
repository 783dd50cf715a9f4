from __future__ import annotations

import numpy as np
import pytest
import torch

from tools.evaluate.baselines import BASELINES, BINS, PICTURE, Effort, Samples, samples_of
from tools.train.mapping_pictures import ArrayPairs
from x2c_edge.controls import HIGH, INDEX, LOW, NEUTRAL
from x2c_edge.nets.single_stage import SingleStage, SingleStageConfig
from x2c_edge.packs import NetInput

QUICK = Effort(picture_epochs=20, landmark_epochs=80, seed=2)
MOVED = [INDEX["Jaw Pitch"], INDEX["Brow Inner Left"]]


def made(count: int, seed: int) -> Samples:
    """Two controls move; pictures show them as the brightness of two halves, landmarks as places."""
    rng = np.random.default_rng(seed)
    controls = np.tile(NEUTRAL, (count, 1)).astype(np.float32)
    controls[:, MOVED] = rng.uniform(0, 1, (count, 2))
    pictures = np.zeros((count, PICTURE, PICTURE, 3), np.uint8)
    halves = (30 + 190 * controls[:, MOVED]).astype(np.uint8)
    pictures[:, : PICTURE // 2] = halves[:, :1, None, None]
    pictures[:, PICTURE // 2 :] = halves[:, 1:, None, None]
    points = rng.normal(0, 0.01, (count, 6, 2)).astype(np.float32)
    points[:, :2, 1] += controls[:, MOVED]
    return Samples(pictures, points, controls)


@pytest.fixture(scope="module")
def sides() -> tuple[Samples, Samples]:
    return made(224, 0), made(40, 1)


def error(name: str, sides: tuple[Samples, Samples]) -> float:
    answers = BASELINES[name](*sides, QUICK)
    assert answers.shape == (40, 30)
    return float(np.abs(answers - sides[1].controls)[:, MOVED].mean())


@pytest.mark.parametrize("name", ["SBC", "LMKC", "Smile", "Coexpression"])
def test_what_learns_beats_chance(name: str, sides: tuple[Samples, Samples]):
    assert error(name, sides) < 0.65 * error("RT", sides)


def test_random_commands_fill_the_ranges(sides: tuple[Samples, Samples]):
    answers = BASELINES["RC"](*sides, QUICK)
    assert ((answers >= LOW) & (answers <= HIGH)).all()
    middle = (answers.mean(0) - LOW) / (HIGH - LOW)
    assert np.abs(middle - 0.5).max() < 0.25
    assert not np.array_equal(answers, BASELINES["RC"](*sides, Effort(seed=3)))


def test_random_samples_are_training_samples(sides: tuple[Samples, Samples]):
    rows = {tuple(row) for row in sides[0].controls.astype(np.float64)}
    assert {tuple(row) for row in BASELINES["RT"](*sides, QUICK)} <= rows


def test_branches_answer_with_the_middle_of_a_bin(sides: tuple[Samples, Samples]):
    answers = BASELINES["SBC"](*sides, Effort(picture_epochs=1))
    bins = (answers - LOW) / (HIGH - LOW) * BINS - 0.5
    np.testing.assert_allclose(bins, bins.round(), atol=1e-6)
    assert bins.min() > -0.01
    assert bins.max() < BINS


def test_samples_are_what_the_single_stage_net_sees():
    torch.manual_seed(0)
    net = SingleStage(SingleStageConfig(
        input_size=32, stem=4, widths=(4, 8, 8, 8), blocks=(0, 0, 0, 0), hidden=16, patch_widths=(4, 4),
        eye_patch=(8, 4), mouth_patch=(8, 8), patch_hidden=4,
    )).eval()  # fmt: skip
    rng = np.random.default_rng(0)
    pairs = ArrayPairs(rng.integers(0, 256, (70, 32, 32, 3), np.uint8), np.zeros((70, 30), np.float32))
    picture = NetInput(32, "RGB", (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    samples = samples_of(pairs, np.array([69, 3]), net, picture)
    rgb = pairs.images[[69, 3]][..., ::-1] / 255.0
    x = torch.tensor((rgb - picture.mean) / picture.std, dtype=torch.float32).permute(0, 3, 1, 2)
    with torch.inference_mode():
        row = net(x.contiguous(memory_format=torch.channels_last))
    expected = row[:, 1:281].reshape(2, 140, 2)
    np.testing.assert_allclose(samples.points, expected, atol=1e-4)
    assert samples.pictures.shape == (2, PICTURE, PICTURE, 3)
    assert len(samples_of(pairs, np.arange(70), net, picture).points) == 70
