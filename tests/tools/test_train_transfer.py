from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tools.dataset import face_dataset as data
from tools.dataset import robot_pairs
from tools.dataset.robot_motion import robot_motion
from tools.evaluate import two_stage_report
from tools.train import motion as train_motion
from tools.train import transfer as train_transfer
from tools.train import two_stage_pack
from tools.train.default_pack import MAPPING, as_bytes
from tools.train.mapping_training import Trained
from x2c_edge import packs
from x2c_edge.backends.open import open_backend
from x2c_edge.controls import NEUTRAL
from x2c_edge.frames import FaceCrop, Frame
from x2c_edge.nets.face_motion import FaceMotionConfig
from x2c_edge.nets.mapping import MappingNetwork
from x2c_edge.nets.stitching import KeypointMlp
from x2c_edge.pipelines.two_stage import TwoStagePipeline


@pytest.fixture(scope="module")
def pairs() -> robot_pairs.RobotPairs:
    return robot_pairs._chunk((1, 0, 24, train_transfer.SIZE, False))


@pytest.fixture(scope="module")
def stitching() -> KeypointMlp:
    torch.manual_seed(0)
    net = KeypointMlp(train_transfer.STITCHING)
    with torch.no_grad():
        net.mlp[-1].weight.zero_()
        net.mlp[-1].bias.zero_()
    return net.eval()


def test_pairs_do_not_depend_on_how_many_processes_drew_them(tmp_path: Path):
    whole = robot_pairs.render(260, 32, 5, workers=2)
    alone = [robot_pairs._chunk((5, i, n, 32, False)) for i, n in ((0, 250), (1, 10))]
    assert np.array_equal(whole.pictures, np.concatenate([p.pictures for p in alone]))
    assert np.array_equal(whole.values, np.concatenate([p.values for p in alone]))


def test_a_neck_of_its_own_is_not_a_function_of_the_head():
    together = robot_pairs._chunk((1, 0, 60, 16, False)).values
    apart = robot_pairs._chunk((1, 0, 60, 16, True)).values
    pitch, neck = 10, 27
    assert abs(np.corrcoef(together[:, pitch], together[:, neck])[0, 1]) > 0.95
    assert abs(np.corrcoef(apart[:, pitch], apart[:, neck])[0, 1]) < 0.9


def test_people_s_poses_are_near_the_labels_or_their_mirror_images(faces: data.FaceSet):
    made = robot_pairs.people(faces, 40, 16, 3)
    angles = data.angles_from_rotation(faces.rotation)
    kinds = set()
    for values, turn in zip(made.controls, made.angles, strict=True):
        distances = [np.abs(values - labels).mean(1) for labels in (faces.controls, faces.mirrored_controls)]
        mirrored = int(np.argmin([d.min() for d in distances]))
        nearest = int(np.argmin(distances[mirrored]))
        assert distances[mirrored][nearest] < 2 * robot_pairs.MISTAKE
        wanted = angles[nearest] * ([-1, 1, -1] if mirrored else [1, 1, 1])
        assert np.abs(turn - wanted).max() < 5 * robot_pairs.ANGLE_MISTAKE
        kinds.add(mirrored)
    assert kinds == {0, 1}
    twice = made + made.rows(slice(3))
    assert twice.pictures.shape == (43, 16, 16, 3)
    assert np.array_equal(twice.values[40:], made.values[:3])


def test_a_motion_in_range_is_its_own_nearest(pairs: robot_pairs.RobotPairs):
    moved, possible = train_transfer.keypoint_pairs(NEUTRAL[None], np.zeros((1, 3)))
    assert torch.equal(moved, possible)
    moved, possible = train_transfer.keypoint_pairs(pairs.controls, pairs.angles)
    assert (moved - possible).abs().max() > 0.01


def test_the_loss_is_nothing_for_the_picture_itself_and_falls_in_training(
    pairs: robot_pairs.RobotPairs, stitching: KeypointMlp, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(train_transfer, "BATCH", 4)
    pairs = pairs.rows(slice(8))
    pictures = train_transfer.picture_tensor(pairs.pictures)
    weight = train_transfer.picture_weight(pairs.pictures)
    assert weight.mean() == pytest.approx(1)
    assert train_transfer.difference(pictures, pictures, weight) == 0
    transfer = train_transfer.Transfer.untrained(1)

    def loss() -> float:
        made = train_transfer.made_pictures(transfer, stitching, pairs)
        return float(train_transfer.difference(made, pictures, weight))

    before = loss()
    trained = train_transfer.train(transfer, stitching, pairs, 6, 1, peak=0.1)
    transfer = trained
    assert loss() < before


def test_eyes_and_mouth_are_cut_where_the_keypoints_are():
    parts = train_transfer.Parts()
    driving = torch.tensor(robot_motion().driven(NEUTRAL, np.zeros(3))).float()[None]
    picture = train_transfer.picture_tensor(train_transfer.source_picture()[None])
    left, right = parts.eyes(picture, driving)
    (mouth,) = parts.mouth(picture, driving)
    assert (left - right.flip(-1)).abs().mean() < 0.05  # the robot's face is symmetric
    blue = left[2] - left[0]
    assert blue[5:15, 11:21].max() > blue[:, :4].max() + 0.1  # the iris is in the middle
    red = mouth[0] - mouth[2]
    assert red[10:18, 10:26].mean() > red[:3].mean() + 0.02  # the lips are in the middle


def test_a_pack_of_untrained_nets_runs(
    stitching: KeypointMlp,
    pack_folders: Path,
    portrait: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    torch.manual_seed(0)
    trainee = train_motion.Trainee(FaceMotionConfig(), 52)
    mapping = MappingNetwork(MAPPING.net).eval()
    picture = packs.NetInput(train_transfer.SIZE, "RGB", (0.5,) * 3, (0.2,) * 3, "area")
    tracker = packs.open_pack(str(pack_folders / "small"))
    nets = two_stage_pack.Nets(
        tracker, train_motion.as_published(trainee.eval()), stitching,
        train_transfer.Transfer.untrained(1), Trained(mapping, picture, {}),
    )  # fmt: skip
    with monkeypatch.context() as quick:
        quick.setattr(two_stage_pack, "add_graphs", lambda pack: None)
        two_stage_pack.write_pack(tmp_path / "two", nets, "the first", {})
    # The second time in the place of the first.
    pack = two_stage_pack.write_pack(tmp_path / "two", nets, "a test", {"two_stage": {"x": 1}})
    assert packs.verify(pack) == []
    assert pack.accuracy == {"two_stage": {"x": 1}}
    assert not (tmp_path / ".two.partial").exists()
    own = sum(file.stat().st_size for file in pack.path.iterdir())
    assert own < 14.3e6  # the single-stage net is a tiny one here, and the direct gear comes later
    pipeline = TwoStagePipeline(pack, open_backend("torch", 1), keep_face=True)
    pipeline.refer_to(two_stage_report.average_neutral())
    size = pipeline.crop_size
    affine = np.array([[240 / size, 0.0, 0.0], [0.0, 240 / size, 0.0]])
    measurement = pipeline.measure(FaceCrop(Frame(0, 0, portrait), affine, size, 1.0))
    assert measurement.relative
    assert measurement.robot_face is not None
    assert measurement.robot_face.shape == (train_transfer.SIZE, train_transfer.SIZE, 3)
    assert np.isfinite(measurement.values).all()


def test_pictures_as_bytes_and_back():
    picture = train_transfer.source_picture()[None]
    assert np.array_equal(as_bytes(train_transfer.picture_tensor(picture)), picture)
