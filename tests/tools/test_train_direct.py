"""Distilling the direct gear at small sizes: what is learnt is the chain's, and a stopped run goes on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests import published_files as files
from tools.train import direct as training
from tools.train import people_motions, slim_hourglass
from tools.train.checkpoint import State
from tools.train.people_motions import average_rest, mixtures
from x2c_edge import packs
from x2c_edge.backends.torch_backend import TorchBackend
from x2c_edge.nets import engine_nets
from x2c_edge.pipelines.direct import DirectPipeline
from x2c_edge.pipelines.two_stage import TwoStagePipeline


@pytest.fixture(scope="module")
def pack(_packs_folder, tmp_path_factory) -> packs.Pack:
    folder = tmp_path_factory.mktemp("distil")
    return packs.open_pack(str(files.two_stage_pack(folder, files.random_states(), _packs_folder / "small")))


@pytest.fixture(scope="module")
def bank() -> np.ndarray:
    """M's heads of 24 motions, in the published form: 66 bins an angle, 21 keypoints."""
    rng = np.random.default_rng(4)
    rows = np.zeros((24, 3 * 66 + 6 * 21 + 4), np.float32)
    rows[:, : 3 * 66] = rng.normal(0, 2, (24, 3 * 66))
    rows[:, 3 * 66 + 3 : 3 * 66 + 3 + 63] = rng.normal(0, 0.05, (24, 63))
    rows[:, 3 * 66 + 66] = 1.2
    rows[:, -63:] = rng.normal(0, 0.3, 63)
    return rows


@pytest.fixture(scope="module")
def chain(pack, bank) -> TwoStagePipeline:
    made = TwoStagePipeline(pack, TorchBackend(1))
    made.refer_to(average_rest(pack, bank))
    return made


@pytest.fixture(scope="module")
def student(pack, chain, bank, tmp_path_factory) -> packs.Pack:
    with pytest.MonkeyPatch.context() as fewer:
        fewer.setattr(training, "FIT_ON", 24)
        fewer.setattr(slim_hourglass, "FIT_VOXELS", 7200)
        net = training.thinner(pack, chain, bank, np.random.default_rng(1))
    return training.write(tmp_path_factory.mktemp("student") / "pack", pack, net, "a test")


def test_mixtures_stay_motions(bank):
    mixed = mixtures(bank, 200, np.random.default_rng(2), 66)
    turns, exp = slice(0, 198), slice(201, 264)
    assert mixed.shape == (200, bank.shape[1])
    np.testing.assert_array_equal(mixed[:, 264:], np.tile(bank[0, 264:], (200, 1)))  # scale and kp
    known = {row.tobytes() for row in bank[:, turns]}
    assert all(row.tobytes() in known for row in mixed[:, turns])  # a head that somebody held
    new = [row.tobytes() not in {b.tobytes() for b in bank[:, exp]} for row in mixed[:, exp]]
    assert 0.4 < np.mean(new) < 0.8


def test_the_thinner_network_says_nearly_the_same(pack, chain, student, bank):
    """Of three channels in ten; better than no motion at all by far."""
    whole = engine_nets.opened("warping", pack.nets["warping"].config, pack.nets["warping"].file)
    spec = student.nets["direct"]
    thin = engine_nets.opened("direct", spec.config, spec.file)
    assert thin.config.last < whole.dense_motion_network.hourglass.decoder.out_channels / 2
    chain.driven(bank[5])
    front = torch.from_numpy(np.array(chain.front))
    with torch.inference_mode():
        wanted, got = (torch.softmax(n.mask_logits(n.hourglass(front)), 1) for n in (whole, thin))
    flat = torch.full_like(wanted, 1 / wanted.shape[1])
    assert (got - wanted).abs().mean() < 0.7 * (flat - wanted).abs().mean()


def test_lessons_hold_what_the_chain_says_and_are_found_again(chain, student, bank, tmp_path, monkeypatch):
    seeing = DirectPipeline(student, TorchBackend(1))
    seeing.refer_to(average_rest(student, bank))
    monkeypatch.setattr(people_motions, "SHARD", 10)
    made = training.Lessons.made(tmp_path, chain, seeing, bank)
    assert made.warped.shape == (24, 32, 16, 16)
    np.testing.assert_allclose(made.controls[13], chain.driven(bank[13]), atol=1e-6)
    monkeypatch.setattr(training, "_lesson", lambda *_: pytest.fail("a lesson was made again"))
    again = training.Lessons.made(tmp_path, chain, seeing, bank)
    np.testing.assert_array_equal(again.warped, made.warped)


def test_the_keypoints_alone_teach_much_and_the_maps_begin_with_nothing(
    chain, student, bank, tmp_path, monkeypatch
):
    seeing = DirectPipeline(student, TorchBackend(1))
    seeing.refer_to(average_rest(student, bank))
    taught = training.Lessons.made(tmp_path, chain, seeing, bank)
    monkeypatch.setattr(training, "KEYPOINT_STEPS", 300)
    net = training._student(student).eval()
    before = training._apart(net, taught, "cpu")
    training.learn_keypoints(net, taught, 1)
    (warped, *others), _ = taught.rows(np.arange(4))
    with torch.inference_mode():
        torch.testing.assert_close(net.predict(warped.flip(0), *others), net.predict(warped, *others))
    assert training._apart(net, taught, "cpu") < 0.2 * before


def test_the_predictor_learns_and_a_stopped_run_goes_on(chain, student, bank, tmp_path, monkeypatch, capsys):
    seeing = DirectPipeline(student, TorchBackend(1))
    seeing.refer_to(average_rest(student, bank))
    taught = training.Lessons.made(tmp_path / "train", chain, seeing, bank)
    monkeypatch.setattr(training, "BATCH", 8)
    monkeypatch.setattr(training, "KEYPOINT_STEPS", 20)
    before = training._apart(training._student(student), taught, "cpu")
    state = State(tmp_path / "predictor.state")

    class StoppedError(Exception):
        pass

    def stop(text: str) -> None:
        if "step 200/" in text:
            raise StoppedError

    monkeypatch.setattr(training, "say", stop)
    with pytest.raises(StoppedError):
        training.trained(student, taught, taught, 100, 1, state, "cpu")
    said: list[str] = []
    monkeypatch.setattr(training, "say", said.append)
    net = training.trained(student, taught, taught, 100, 1, state, "cpu")
    assert [text.split(" loss")[0] for text in said] == ["step 300/300"]
    assert training._apart(net, taught, "cpu") < 0.5 * before
    made = training.write(tmp_path / "made", student, net, "a test")
    gear = DirectPipeline(made, TorchBackend(1))
    gear.refer_to(average_rest(made, bank))
    figures = training.difference(chain, gear, bank)
    assert figures["mean"] == pytest.approx(training._apart(net, taught, "cpu"), abs=5e-3)
    assert figures["largest"] >= figures["mean"]
