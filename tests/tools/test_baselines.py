from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tools.evaluate import baseline_fit
from tools.evaluate.baselines import BASELINES, COARSE, FINE, PICTURE, Effort, Samples, samples_of
from tools.train.mapping_pictures import ArrayPairs
from x2c_edge.controls import HIGH, INDEX, LOW, NEUTRAL
from x2c_edge.nets.single_stage import SingleStage, SingleStageConfig
from x2c_edge.packs import NetInput

QUICK = Effort(picture_epochs=20, landmark_epochs=80, seed=2)
PLACES = [
    (-0.5, 0.0),
    (0.5, 0.0),
    (-1.0, 1.0),
    (1.0, 1.0),
    (-1.0, -1.0),
    (1.0, -1.0),
]  # two move, four do not
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
    points = rng.normal(0, 0.01, (count, 6, 2)).astype(np.float32) + np.float32(PLACES)
    points[:, :2, 1] += controls[:, MOVED]
    return Samples(pictures, points, controls)


@pytest.fixture(scope="module")
def sides() -> tuple[Samples, Samples]:
    return made(224, 0), made(40, 1)


def error(name: str, sides: tuple[Samples, Samples], effort: Effort = QUICK) -> float:
    answers = BASELINES[name](*sides, effort)
    assert answers.shape == (40, 30)
    return float(np.abs(answers - sides[1].controls)[:, MOVED].mean())


@pytest.mark.parametrize("name", ["SBC", "LMKC", "Smile", "Coexpression"])
def test_what_learns_beats_chance(name: str, sides: tuple[Samples, Samples]):
    # Two nets one after the other, the second with classes: Smile takes longer.
    effort = replace(QUICK, picture_epochs=45) if name == "Smile" else QUICK
    assert error(name, sides, effort) < 0.65 * error("RT", sides)


def test_random_commands_fill_the_ranges(sides: tuple[Samples, Samples]):
    answers = BASELINES["RC"](*sides, QUICK)
    assert ((answers >= LOW) & (answers <= HIGH)).all()
    middle = (answers.mean(0) - LOW) / (HIGH - LOW)
    assert np.abs(middle - 0.5).max() < 0.25
    assert not np.array_equal(answers, BASELINES["RC"](*sides, Effort(seed=3)))


def test_random_samples_are_training_samples(sides: tuple[Samples, Samples]):
    rows = {tuple(row) for row in sides[0].controls.astype(np.float64)}
    assert {tuple(row) for row in BASELINES["RT"](*sides, QUICK)} <= rows


@pytest.mark.parametrize(("name", "classes"), [("SBC", COARSE), ("Smile", FINE)])
def test_classes_answer_with_their_middles(name: str, classes: int, sides: tuple[Samples, Samples]):
    answers = BASELINES[name](*sides, Effort(picture_epochs=1))
    chosen = (answers - LOW) / (HIGH - LOW) * classes - 0.5
    np.testing.assert_allclose(chosen, chosen.round(), atol=1e-6)
    assert chosen.min() > -0.01
    assert chosen.max() < classes


def test_coexpression_does_not_see_where_the_face_is_or_how_large(sides: tuple[Samples, Samples]):
    train, test = sides
    moved = replace(test, points=0.5 * test.points + np.float32([0.3, -0.2]))
    quick = Effort(landmark_epochs=3)
    np.testing.assert_allclose(
        BASELINES["Coexpression"](train, test, quick),
        BASELINES["Coexpression"](train, moved, quick),
        atol=1e-4,
    )
    assert not np.allclose(
        BASELINES["LMKC"](train, test, quick), BASELINES["LMKC"](train, moved, quick), atol=1e-2
    )


class KilledError(Exception):
    """The middle of a run."""


@pytest.mark.parametrize("name", ["SBC", "Smile"])
def test_a_killed_baseline_goes_on_and_ends_as_one_that_was_not(
    name: str, sides: tuple[Samples, Samples], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = BASELINES[name](*sides, Effort(picture_epochs=4))
    kept = Effort(picture_epochs=4, keep=tmp_path)
    written, keep = [], baseline_fit._State.keep

    def killed(self: object, epoch: int) -> None:
        keep(self, epoch)
        written.append(epoch)
        if len(written) == 3:
            raise KilledError

    monkeypatch.setattr(baseline_fit._State, "keep", killed)
    with pytest.raises(KilledError):
        BASELINES[name](*sides, kept)
    np.testing.assert_allclose(BASELINES[name](*sides, kept), whole, atol=1e-4)
    assert written == ([1, 2, 3, 4] if name == "SBC" else [1, 2, 3, 4, 1, 2, 3, 4])
    count = len(written)
    np.testing.assert_array_equal(BASELINES[name](*sides, kept), BASELINES[name](*sides, kept))
    assert len(written) == count  # nothing was learnt again


@pytest.mark.parametrize("name", ["LMKC", "Coexpression"])
def test_what_was_learnt_from_other_landmarks_is_not_taken(
    name: str, sides: tuple[Samples, Samples], tmp_path: Path
):
    """Another pack's tracker sees other landmarks in the same pictures."""
    kept, other = Effort(landmark_epochs=2, keep=tmp_path), [replace(s, points=-s.points) for s in sides]
    BASELINES[name](*sides, kept)
    fresh = BASELINES[name](*other, Effort(landmark_epochs=2))
    np.testing.assert_array_equal(BASELINES[name](*other, kept), fresh)


def test_only_a_run_s_own_states_are_forgotten(sides: tuple[Samples, Samples], tmp_path: Path):
    first, second = (Effort(landmark_epochs=2, seed=seed, keep=tmp_path) for seed in (1, 2))
    for effort in (first, second):
        BASELINES["LMKC"](*sides, effort)
    second.forget()
    assert list(tmp_path.iterdir()) == first.kept


@pytest.mark.parametrize("lost", ["half", "optimiser", "schedule", "epoch"])
def test_a_state_that_cannot_be_read_is_learnt_again(
    lost: str, sides: tuple[Samples, Samples], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    quick = Effort(landmark_epochs=2, keep=tmp_path)
    first = BASELINES["LMKC"](*sides, quick)
    (file,) = tmp_path.iterdir()
    if lost == "half":
        file.write_bytes(file.read_bytes()[:100])
    else:
        content = torch.load(file, weights_only=True)
        del content[lost]
        torch.save(content, file)
    np.testing.assert_array_equal(BASELINES["LMKC"](*sides, quick), first)
    assert "learnt again" in capsys.readouterr().out


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
