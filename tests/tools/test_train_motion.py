from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import typer

from tools.dataset import face_dataset as data
from tools.dataset.robot_motion import code, head_angles, model_angles, robot_motion, row_rotation
from tools.train import motion as training
from tools.train import single_stage as base
from x2c_edge import packs
from x2c_edge.controls import NEUTRAL, SAFE_HIGH, SAFE_LOW
from x2c_edge.nets import keypoints
from x2c_edge.nets.face_motion import FaceMotionConfig
from x2c_edge.nets.single_stage import SingleStage, SingleStageConfig


@pytest.fixture
def trainee() -> training.Trainee:
    torch.manual_seed(0)
    made = training.Trainee(FaceMotionConfig(), 52).eval()
    with torch.no_grad():
        made.net.angles.weight.normal_(std=0.1)
    return made


def batch_of(faces: data.FaceSet) -> dict[str, torch.Tensor]:
    return base.Batches(faces, training.SIZE, 1, crop=training.motion_crop, negatives=0.0).make()


def test_the_published_heads_say_what_the_plain_ones_said(trainee: training.Trainee):
    x = torch.randn(2, 3, training.SIZE, training.SIZE)
    with torch.inference_mode():
        plain, heads = trainee(x), training.as_published(trainee, 1)(x)
    exp = plain["code"].double().numpy() * training.CODE_UNIT @ robot_motion().expression.reshape(30, -1)
    np.testing.assert_allclose(heads.exp.numpy(), exp, atol=1e-5)
    angles = torch.cat([heads.pitch, heads.yaw, heads.roll], dim=1)
    torch.testing.assert_close(angles, plain["angles"] * training.ANGLE_UNIT, atol=1e-4, rtol=1e-5)
    np.testing.assert_allclose(heads.kp[0].numpy(), robot_motion().kp.reshape(-1), atol=1e-6)
    assert not heads.t.any()
    assert (heads.scale == 1).all()


def test_with_the_tracker_it_says_the_mean_of_both(trainee: training.Trainee):
    """Of its own and of ``robot_motion``'s, in float64, for open and shut lids."""
    x = torch.randn(3, 3, training.SIZE, training.SIZE)
    row = torch.randn(3, 1 + 2 * trainee.net.config.landmarks + 3 + 30)
    controls = np.random.default_rng(0).uniform(SAFE_LOW, SAFE_HIGH, (3, 30))
    row[:, -30:] = torch.tensor(controls)
    net = training.as_published(trainee)
    with torch.inference_mode():
        own, both = training.as_published(trainee, 1)(x), net(x, row)
    wanted = 0.5 * (own.exp.double().numpy() + robot_motion().exp(controls).reshape(3, -1))
    np.testing.assert_allclose(both.exp.numpy(), wanted, atol=1e-6)
    torch.testing.assert_close(both.pitch, own.pitch)


def test_it_starts_as_the_single_stage_net_that_it_is_made_from():
    """The same controls, with lids as they are above their fall, and the same head for small angles."""
    torch.manual_seed(3)
    reader = SingleStage(SingleStageConfig()).eval()
    trainee = training.untrained(reader, 52).eval()
    training.start_from(trainee, reader)
    x = torch.randn(4, 3, training.SIZE, training.SIZE)
    with torch.inference_mode():
        row, said = reader(x), trainee(x)
    controls = row[:, -30:].numpy() - NEUTRAL.astype(np.float32)
    np.testing.assert_allclose(said["code"].numpy() * training.CODE_UNIT, controls, atol=1e-5)
    torch.testing.assert_close(said["mesh"], row[:, 1:-33])
    small = 0.1 * row[:, -33:-30].double().numpy() / np.abs(row[:, -33:-30].numpy()).max()
    degrees = training.ANGLE_UNIT * said["angles"].double().numpy()
    wanted = model_angles(small) * np.abs(row[:, -33:-30].numpy()).max() / 0.1
    np.testing.assert_allclose(degrees, wanted, atol=0.05 * np.abs(wanted).max())


def test_perfect_outputs_cost_nothing_and_others_do(faces: data.FaceSet):
    batch = batch_of(faces)
    assert (batch["present"] == 1).all()
    perfect = {
        "code": torch.tensor(code(batch["controls"].double().numpy()) / training.CODE_UNIT).float(),
        "angles": torch.tensor(model_angles(batch["pose"].double().numpy()) / training.ANGLE_UNIT).float(),
        "blend": batch["blend"],
        "mesh": batch["points"],
    }
    targets = training.Targets(faces)
    assert targets.loss(perfect, batch) < 1e-6
    for name in perfect:
        assert targets.loss(perfect | {name: perfect[name] + 0.1}, batch) > 1e-3


def test_a_turned_crop_turns_the_head_in_it(faces: data.FaceSet):
    """The label's angles belong to the crop's axes, whatever way it was cut."""
    rng = np.random.default_rng(2)
    jitter = data.Jitter(scale=0.1, rotation_deg=8.0, shift=0.03)
    affine, angle = training.motion_crop(faces.points[0], training.SIZE, jitter, rng)
    assert angle != 0
    inside = data.to_crop(faces.points[0], affine)
    before = faces.points[0][data.IDS.index(263)] - faces.points[0][data.IDS.index(33)]
    after = inside[data.IDS.index(263)] - inside[data.IDS.index(33)]
    turned = np.arctan2(after[1], after[0]) - np.arctan2(before[1], before[0])
    assert turned == pytest.approx(-angle, abs=1e-6)  # y down: a crop turned clockwise sees it turn back
    straight, none = training.motion_crop(faces.points[0], training.SIZE, data.Jitter(), rng)
    assert none == 0
    assert straight[0, 1] == 0


def test_angles_survive_the_way_through_the_model_s_convention():
    angles = np.array([[0.3, -0.2, 0.1]])
    pitch, yaw, roll = np.moveaxis(model_angles(angles), -1, 0)
    np.testing.assert_allclose(head_angles(keypoints.rotation(pitch, yaw, roll)), angles, atol=1e-12)
    np.testing.assert_allclose(head_angles(row_rotation(angles)), angles, atol=1e-12)


class _Oracle:
    """Says the labels."""

    def __init__(self, faces: data.FaceSet) -> None:
        angles = model_angles(data.angles_from_rotation(faces.rotation))
        self._code = torch.tensor(code(faces.controls) / training.CODE_UNIT).float()
        self._angles = torch.tensor(angles / training.ANGLE_UNIT).float()

    def eval(self) -> None: ...

    def train(self) -> None: ...

    def __call__(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        assert x.shape[1:] == (3, training.SIZE, training.SIZE)
        return {"code": self._code[: len(x)], "angles": self._angles[: len(x)]}


def test_the_summary_is_perfect_for_one_who_knows_the_labels(faces: data.FaceSet):
    pictures = training.crops(faces)
    assert pictures.shape == (len(faces.images), training.SIZE, training.SIZE, 3)
    text = training.summary(_Oracle(faces), pictures, faces)
    assert text.startswith("mean r 1.000; yaw/pitch/roll [0. 0. 0.] deg")


@pytest.mark.filterwarnings("ignore:invalid value")  # no spread in 12 labels of neck and head
def test_a_finished_training_is_kept_until_its_pack_is_written(
    real_pack: str, face_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    """And the state is of one start and seed."""
    out, work = tmp_path / "out", tmp_path / "work"

    def go(seed: int) -> None:
        training.main(out, real_pack, work, real_pack, 1, seed, 1, face_folder)

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(training, "write_with", stopped)
        with pytest.raises(KeyboardInterrupt):
            go(1)
    assert (work / "motion.state").is_file()
    with pytest.raises(typer.Exit):
        go(2)
    assert "motion.state: of a run with other settings (seed)" in capsys.readouterr().err
    with monkeypatch.context() as context:
        context.setattr(base.Batches, "make", stopped)  # nothing is learnt again
        go(1)
    assert packs.open_pack(str(out)).trained_by.endswith("--steps 1 --seed 1")
    assert not (work / "motion.state").exists()
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").touch()
    out = tmp_path / "precious"
    capsys.readouterr()
    with pytest.raises(typer.Exit):
        go(1)
    said = capsys.readouterr()
    assert "is no pack and would be lost" in said.err
    assert "as it starts" not in said.out  # before hours of training, not after
