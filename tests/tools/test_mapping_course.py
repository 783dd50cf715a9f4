"""The course on pictures of its own chain: where it starts, what motions mean, and a short run."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tools.dataset import face_dataset as data
from tools.dataset import robot_motion as rm
from tools.evaluate.tables import load_mapping
from tools.train import mapping_course as course
from tools.train import people_motions
from tools.train.mapping_pictures import ArrayPairs, from_bytes, normalised
from tools.train.people_motions import PeopleMotions, average_rest, meant
from x2c_edge import packs
from x2c_edge.backends.torch_backend import TorchBackend
from x2c_edge.controls import SAFE_HIGH, SAFE_LOW


def test_it_starts_as_the_pack_s_net(real_pack: str):
    """The same controls for pictures that the norms were not measured on."""
    loaded = load_mapping(None, real_pack)
    assert loaded is not None
    before = loaded[0]
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (24, 128, 128, 3), dtype=np.uint8)
    pictures[12:] //= 2
    pairs = ArrayPairs(pictures, np.zeros((24, 30), np.float32))
    net = course.start_of(before, pairs, 1).eval()
    x = normalised(
        from_bytes(torch.from_numpy(rng.integers(0, 256, (4, 128, 128, 3), dtype=np.uint8))), before.picture
    )
    with torch.inference_mode():
        torch.testing.assert_close(net(x), before.net(x), atol=1e-4, rtol=1e-4)


def test_a_motion_means_the_controls_that_it_was_made_of(real_pack: str):
    """Heads written from controls and angles, as far as the robot can do them."""
    pack, rng = packs.open_pack(real_pack), np.random.default_rng(1)
    controls = rng.uniform(SAFE_LOW - 0.2, SAFE_HIGH + 0.2, (50, 30))
    angles = rng.normal(0, 0.1, (50, 3))
    motion = rm.robot_motion()
    ones, kp = np.ones((50, 1)), np.tile(motion.kp.reshape(1, -1), (50, 1))
    exp = motion.exp(controls).reshape(50, -1)
    rows = np.concatenate([rm.model_angles(angles), np.zeros((50, 3)), exp, ones, kp], axis=1)
    found = meant(rows.astype(np.float32), pack, average_rest(pack, rows))
    np.testing.assert_allclose(found, rm.posed(controls, angles), atol=1e-4)


def test_motions_are_of_their_own_set_of_faces(
    real_pack: str, face_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Kept motions of another --folder are not taken for this one's."""
    monkeypatch.setattr(
        people_motions, "engine", lambda pack, threads: TorchBackend(threads)
    )  # there at once
    other = Path(shutil.copytree(face_folder, tmp_path / "other"))
    labels = dict(np.load(other / "labels.npz"))
    np.savez(other / "labels.npz", **labels | {"landmarks": labels["landmarks"] + np.float16(8)})
    pack = packs.open_pack(real_pack)
    first, second = (
        PeopleMotions.of(pack, tmp_path / "work", 4, 1, 1, folder, ("train",)).heads["train"]
        for folder in (face_folder, other)
    )
    assert not np.allclose(first, second)


def test_what_people_hardly_do_is_loud():
    rng = np.random.default_rng(2)
    controls, of_people = rng.normal(0, 0.2, (2000, 30)), rng.normal(0, 0.2, (500, 30))
    of_people[:, 3] *= 0.2
    of_people[:, 4] = 0.0
    of_people[:, 5] *= 3.0
    loud = course.loudness(controls.astype(np.float32), of_people)
    np.testing.assert_allclose(loud[3:6], [5.0, course.MOST_LOUD, 1.0], rtol=0.1)
    np.testing.assert_allclose(np.delete(loud, [3, 4, 5]), 1.0, atol=0.15)


@pytest.mark.slow
def test_a_short_course_is_written_and_its_pictures_are_kept(
    faces: data.FaceSet, real_pack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(data, "load", lambda split, folder=None: faces)
    (tmp_path / "labels.npz").touch()  # what tells one set from another
    for name, few in (("ANIMATION_PAIRS", 150), ("NECKS", 8), ("POSES", 8), ("PEOPLE", 8)):
        monkeypatch.setattr(course, name, few)
    monkeypatch.setattr(course, "MAPPING_FINAL", replace(course.MAPPING_FINAL, batch=16))
    out, work = tmp_path / "course.json", tmp_path / "work"

    def run() -> dict[str, object]:
        course.main(real_pack, out, work, 12, 150, 1, 1e-4, 1, 1, tmp_path)
        return dict(json.loads(out.read_text()))

    made = run()
    assert set(made["accuracy"]) == {"held_out_animations", "chain_of_people"}  # type: ignore[call-overload]
    drawn = {file: file.stat().st_mtime_ns for file in work.glob("*/drawn_*.npy")}
    assert {file.name for file in drawn} == {"drawn_train_000.npy", "drawn_val_000.npy"}
    pictures = np.load(next(file for file in drawn if "train" in file.name))
    assert pictures.shape == (12, 128, 128, 3)
    assert 60 < pictures.mean() < 140  # a face, not noise or black
    assert run()["sha256"]
    assert {file: file.stat().st_mtime_ns for file in drawn} == drawn
