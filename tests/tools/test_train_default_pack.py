"""The whole training, with next to no steps: that the stages fit together, and are kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tools.dataset import face_dataset as data
from tools.train import default_pack as training
from tools.train import measure_people
from x2c_edge import packs
from x2c_edge.controls import NEUTRAL
from x2c_edge.nets.look_trunk import LookTwiceConfig


@pytest.mark.slow
def test_from_nothing_to_a_pack_and_on(
    faces: data.FaceSet, real_pack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(data, "load", lambda split, folder=None: faces)
    (tmp_path / "labels.npz").touch()  # what tells one set from another
    # Their labels are random, so nobody would be at rest.
    monkeypatch.setattr(measure_people, "at_rest", lambda faces: np.ones(len(faces.images), bool))
    for name, few in (
        ("PAIRS", 40), ("NECK_PAIRS", 40), ("ANIMATION_PAIRS", 150), ("PEOPLE_PAIRS", 16), ("CHECK_PAIRS", 8),
        ("WIDE_STEPS", 2), ("MOTION_STEPS", 2), ("TRANSFER_STEPS", 2), ("WATCHED_STEPS", 2),
    ):  # fmt: skip
        monkeypatch.setattr(training, name, few)
    for name in ("MAPPING", "MAPPING_FINAL"):
        monkeypatch.setattr(training, name, replace(getattr(training, name), epochs=1, batch=16))

    def run() -> packs.Pack:
        training.main(tmp_path / "mine", tmp_path / "work", real_pack, 2, 1, tmp_path)
        return packs.open_pack(str(tmp_path / "mine"))

    pack = run()
    assert packs.verify(pack) == []
    assert pack.pipeline == "two-stage"
    assert set(pack.accuracy) == {"mapping_mae", "single_stage", "two_stage"}
    # The set of pairs looks its shards over and writes its manifest again; all else is left alone.
    files = [
        file for file in (tmp_path / "work").rglob("*") if file.is_file() and file.name != "manifest.json"
    ]
    stages = {file: file.stat().st_mtime_ns for file in files}
    assert len(stages) > 8
    assert json.loads((tmp_path / "work" / "mapping.json").read_text())["recipe"]["seed"] == 2
    again = run()
    assert {file: file.stat().st_mtime_ns for file in stages} == stages  # nothing was trained again
    for name, net in pack.nets.items():
        assert again.nets[name].sha256 == net.sha256, name


def test_a_stage_that_is_made_again_learns_from_the_new_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Nothing of the first one is gone on from."""
    nowhere = np.zeros((8, 5, 2), np.float32)  # to find out where to look takes processes
    monkeypatch.setattr(training, "many_look_points", lambda controls, shot: nowhere)
    trunk = LookTwiceConfig(64, stem=4, widths=(4,) * 4, patch_widths=(4,) * 4, patch_hidden=4)
    recipe = replace(training.MAPPING, trunk=trunk, size=64, hidden=(8,), epochs=1, batch=8)
    file = tmp_path / "mapping.json"
    pictures = [np.random.default_rng(0).integers(0, 255, (8, 64, 64, 3), np.uint8)]
    first = training.mapping_stage(file, recipe, pictures, [np.tile(NEUTRAL, (8, 1))])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mapping.json", "mapping.safetensors"]
    file.unlink()
    other = [255 - pictures[0]]
    second = training.mapping_stage(file, recipe, other, [np.tile(NEUTRAL, (8, 1))])
    assert first.picture.mean != second.picture.mean
