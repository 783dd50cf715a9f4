from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import typer

from tools.dataset import face_dataset as data
from tools.train import single_stage as training
from x2c_edge import packs

SIZE = 64


@pytest.fixture
def spotted(faces: data.FaceSet) -> data.FaceSet:
    """Black pictures with a white spot on the right eye's outer corner; every head looks 17 degrees aside."""
    image = np.zeros((192, 192, 3), np.uint8)
    cv2.circle(image, (70, 80), 4, (255, 255, 255), -1)
    n = len(faces.images)
    return dataclasses.replace(
        faces,
        images=[image] * n,
        rotation=data.rotation_from_angles(np.tile([0.3, 0.0, 0.0], (n, 1))),
        blendshapes=np.tile(np.arange(len(faces.names)), (n, 1)).astype(float),
    )


def test_a_batch_has_the_shapes_that_the_loss_expects(faces: data.FaceSet):
    batch = training.Batches(faces, SIZE, seed=1).make()
    n = training.BATCH
    assert batch["x"].shape == (n, 3, SIZE, SIZE)
    assert batch["points"].shape == (n, 2 * len(data.IDS))
    assert batch["blend"].shape == (n, len(faces.names))
    assert batch["controls"].shape == (n, 30)
    assert batch["pose"].shape == (n, 3)
    assert set(batch["present"].tolist()) <= {0.0, 1.0}
    assert all(v.dtype == torch.float32 and torch.isfinite(v).all() for v in batch.values())
    low, high = (0 - training.MEAN) / training.STD, (1 - training.MEAN) / training.STD
    assert low - 1e-5 <= batch["x"].min() <= batch["x"].max() <= high + 1e-5


def test_the_seed_decides_the_samples(faces: data.FaceSet):
    first, again, other = (training.Batches(faces, 32, seed).make() for seed in (1, 1, 2))
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["x"], other["x"])


def test_picture_landmarks_pose_and_shapes_are_mirrored_together(spotted: data.FaceSet):
    batch = training.Batches(spotted, SIZE, seed=3).make()
    points = batch["points"].numpy().reshape(training.BATCH, -1, 2) * (SIZE / 2) + (SIZE - 1) / 2
    right, left = points[:, data.IDS.index(33)], points[:, data.IDS.index(263)]
    mirrored = batch["pose"][:, 0].numpy() < 0
    first_shape = batch["blend"][:, 0].numpy()
    right_places, seen = 0, 0
    for i in np.flatnonzero(batch["present"].numpy()):
        plane = cv2.GaussianBlur(batch["x"][i].mean(0).numpy(), (0, 0), 1.5)
        y, x = np.unravel_index(plane.argmax(), plane.shape)
        expected = left[i] if mirrored[i] else right[i]
        seen += 1
        right_places += np.hypot(*(expected - (x, y))) < 3
        assert right[i][0] < left[i][0]  # also in a mirror, a person's right is on the left
        assert first_shape[i] == (1 if mirrored[i] else 0)  # the twin of column 0 is column 1
        assert abs(batch["pose"][i, 0]) == pytest.approx(0.3, abs=0.15)
    assert 10 < mirrored.sum() < training.BATCH - 10
    assert right_places > 0.75 * seen  # the rest has something before the face


def test_controls_follow_the_mirror(faces: data.FaceSet):
    batch = training.Batches(faces, 32, seed=4).make()
    rows = batch["controls"].numpy()
    plain = np.abs(rows[:, None] - faces.controls[None]).max(2).min(1) < 1e-6
    twins = np.abs(rows[:, None] - faces.mirrored_controls[None]).max(2).min(1) < 1e-6
    assert (plain ^ twins).all()
    assert 10 < twins.sum() < training.BATCH - 10


def test_the_loss_of_the_truth_is_nothing_but_presence(faces: data.FaceSet):
    batch = training.Batches(faces, 32, seed=1).make()
    loss = training.Loss(faces)
    sure = (2 * batch["present"] - 1)[:, None] * 20
    truth = torch.cat([sure, batch["points"], batch["pose"], batch["controls"]], 1)
    assert loss(truth, batch["blend"], batch) < 1e-6
    wrong = truth.clone()
    wrong[:, 1:] += 0.1
    assert loss(wrong, batch["blend"], batch) > 0.1
    # Where there is no face, landmarks, pose and controls do not count.
    absent = batch["present"] < 0.5
    assert absent.any()
    ignored = truth.clone()
    ignored[absent, 1:] += 5
    assert loss(ignored, batch["blend"], batch) < 1e-6


def test_the_learning_rate_rises_and_falls():
    rates = [training.learning_rate(p) for p in np.linspace(0, 1, 101)]
    assert rates[0] == 0
    assert max(rates) == training.PEAK_LR == rates[2]
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[-1] == pytest.approx(0)


@pytest.mark.filterwarnings("ignore:invalid value")  # no spread in 12 labels of neck and head
def test_the_whole_tool_writes_a_pack(face_folder: Path, tmp_path: Path):
    training.main(tmp_path / "made", steps=2, seed=1, threads=1, every=1, folder=face_folder)
    pack = packs.open_pack(str(tmp_path / "made"))
    assert pack.accuracy["split"] == "test"
    assert "--steps 2" in pack.trained_by


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_stopped_run_leaves_no_pack_and_goes_on(
    face_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    """Stopped after its last step, on the way to the pack; with another seed it is another run."""
    made, state = tmp_path / "made", tmp_path / "made.state"

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(training, "write_pack", stopped)
        with pytest.raises(KeyboardInterrupt):
            training.main(made, steps=1, seed=1, threads=1, every=1, folder=face_folder)
    assert not made.exists()
    assert state.is_file()
    with pytest.raises(typer.Exit):
        training.main(made, steps=1, seed=2, threads=1, every=1, folder=face_folder)
    assert "made.state: of a run with other settings (seed)" in capsys.readouterr().err
    with monkeypatch.context() as context:
        context.setattr(training.Batches, "make", stopped)  # nothing is learnt again
        training.main(made, steps=1, seed=1, threads=1, every=1, folder=face_folder)
    assert packs.open_pack(str(made)).accuracy["split"] == "test"
    assert not state.exists()
