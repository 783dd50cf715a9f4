from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tools.dataset import face_dataset as data
from tools.evaluate.single_stage import load_net
from tools.evaluate.single_stage_report import EXPRESSIBLE, Report, evaluate, write_pack
from x2c_edge import packs
from x2c_edge.controls import NAMES
from x2c_edge.errors import BadArgumentError
from x2c_edge.nets.single_stage import SingleStage, SingleStageConfig

SMALL = SingleStageConfig(
    input_size=32, stem=4, widths=(4, 8, 8, 8), blocks=(0, 0, 0, 0), hidden=16, patch_widths=(4, 4),
    eye_patch=(8, 4), mouth_patch=(8, 8), patch_hidden=4,
)  # fmt: skip


@pytest.fixture
def net() -> SingleStage:
    torch.manual_seed(1)
    return SingleStage(SMALL).eval()


@pytest.fixture
def report() -> Report:
    return Report(
        "val",
        np.linspace(0, 0.9, 30),
        np.linspace(0.1, 0.2, 30),
        np.array([1.0, 2.0, 3.0]),
        0.021,
        0.99,
        0.02,
    )


@pytest.mark.filterwarnings("ignore:invalid value")  # a constant has no correlation
def test_a_net_that_says_the_same_of_every_face(net: SingleStage, faces: data.FaceSet):
    """Constant answers make every error one that can be worked out."""
    net.face.weight.data.zero_()
    net.face.bias.data.zero_()
    net.face.bias.data[0] = 3.0
    affine, _ = data.crop_affine(faces.points[0], 32, data.Jitter(), np.random.default_rng(0))
    exact = (data.to_crop(faces.points[0], affine) - 15.5) / 16  # all samples have the same landmarks
    net.face.bias.data[1:-3] = torch.tensor(exact, dtype=torch.float32).flatten()
    report = evaluate(net, faces)
    assert report.split == "test"
    assert report.landmark_error < 1e-5
    truth = np.abs(np.degrees(data.angles_from_rotation(faces.rotation))).mean(0)
    np.testing.assert_allclose(report.angle_error_deg, truth, atol=1e-4)
    assert (report.presence_on_faces, report.presence_on_others) == (1.0, 1.0)
    assert report.pearson.shape == report.mae.shape == (30,)
    assert (report.mae[EXPRESSIBLE] > 0).all()


def test_the_summary_leaves_out_what_labels_cannot_express(report: Report):
    assert "Nose Wrinkle" not in [NAMES[i] for i in EXPRESSIBLE]
    assert report.face_mean == pytest.approx(report.pearson[EXPRESSIBLE].mean())
    assert f"{report.face_mean:.3f}" in report.summary()
    assert "Brow Inner Left 0.000" in report.summary()  # the worst
    assert len(report.table().splitlines()) == 32
    manifest = report.to_manifest()
    assert list(manifest["pearson_r"]) == list(NAMES)
    assert manifest["angle_error_deg"] == {"yaw": 1.0, "pitch": 2.0, "roll": 3.0}


def test_a_written_pack_is_the_net(net: SingleStage, report: Report, tmp_path: Path):
    write_pack(tmp_path / "mine", net, "by hand", report)
    pack = packs.open_pack(str(tmp_path / "mine"))
    assert (pack.name, pack.pipeline, pack.trained_by) == ("mine", "single-stage", "by hand")
    assert pack.accuracy["mean_r_face_controls"] == pytest.approx(report.face_mean, abs=1e-4)
    again = load_net(pack).eval()
    assert again.config == SMALL
    x = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(again(x), net(x), atol=5e-3, rtol=5e-3)
    file = pack.nets["single_stage"].file
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    count = sum(v.numel() for v in net.state_dict().values())
    assert file.stat().st_size < 2 * count + 8 * 1024  # two bytes a weight


def test_writing_again_replaces_the_pack(net: SingleStage, report: Report, tmp_path: Path):
    for text in ("first", "second"):
        write_pack(tmp_path / "mine", net, text, report)
    assert packs.open_pack(str(tmp_path / "mine")).trained_by == "second"


def test_a_pack_with_other_nets_is_not_made_a_single_stage_one(
    net: SingleStage, report: Report, small_pack: Path
):
    pack = packs.open_pack(str(small_pack))
    packs.write_manifest(replace(pack, nets={**pack.nets, "mapping": pack.nets["single_stage"]}))
    before = packs.open_pack(str(small_pack))
    with pytest.raises(BadArgumentError, match=r"other nets \(mapping\) would be lost"):
        write_pack(small_pack, net, "by hand", report)
    assert packs.open_pack(str(small_pack)) == before
    assert not list(small_pack.parent.glob(".*"))
