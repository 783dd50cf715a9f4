"""The generator's course: a short run draws nearer to the renderer, is written, and goes on when stopped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tools.dataset import face_dataset as data
from tools.dataset.robot_pairs import pictures_of
from tools.train import generator_course as course
from tools.train.people_motions import MOST_LOST, lost_of, most
from x2c_edge import packs
from x2c_edge.controls import NEUTRAL
from x2c_edge.robot.face import PORTRAIT, AmecaFace


def test_the_renderer_s_pictures_are_in_the_order_of_the_controls(monkeypatch: pytest.MonkeyPatch):
    values = NEUTRAL + np.random.default_rng(0).normal(0, 0.05, (3, 30))
    monkeypatch.setattr("tools.dataset.robot_pairs.CHUNK", 2)
    made = pictures_of(values, 64, workers=2)
    face = AmecaFace(64, PORTRAIT)
    np.testing.assert_array_equal(made, np.stack([face.render(v) for v in values]))


def test_what_is_lost_more_than_other_controls_is_louder():
    rng = np.random.default_rng(5)
    meant = rng.normal(0, 1, (16, 30))
    read = meant + 0.1
    jaw = course.INDEX["Jaw Yaw"]
    read[:, jaw] += 0.1
    lost = lost_of(read, meant, rng.normal(0, 1, (4000, 30)))
    assert lost[jaw] == pytest.approx(2.0, rel=0.1)
    np.testing.assert_allclose(np.delete(lost, jaw), 1.0, atol=0.1)
    assert most(lost).startswith("Jaw Yaw 2.")
    read[:, jaw] += 9.0
    assert lost_of(read, meant, meant).max() == MOST_LOST


@pytest.mark.slow
def test_a_short_course_draws_nearer_and_changes_g_alone(
    faces: data.FaceSet, real_pack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    monkeypatch.setattr(data, "load", lambda split, folder=None: faces)
    (tmp_path / "labels.npz").touch()  # what tells one set from another
    monkeypatch.setattr(course, "CHECK", 8)
    monkeypatch.setattr(course, "SAY_EVERY", 5)
    out, work = tmp_path / "generator", tmp_path / "work"

    def run(steps: int) -> str:
        course.main(real_pack, out, work, 16, steps, 1e-3, 1, 1, tmp_path)
        return capsys.readouterr().out

    said = run(10)
    lessons = {file: file.stat().st_mtime_ns for file in work.glob("*/train/*")}
    assert {file.name for file in lessons} == {"00000.npz", "pictures.npy"}
    read = [float(line.split("; ")[1].split()[0]) for line in said.splitlines() if "from meant" in line]
    assert read[-1] < read[0]  # of the pictures that it learns from
    before, after = (packs.open_pack(name) for name in (real_pack, str(out)))
    for role, spec in before.nets.items():
        same = after.nets[role].sha256 == spec.sha256
        assert same == (role != "generator"), role
    held = [load_file(pack.nets["generator"].file) for pack in (before, after)]
    assert held[0].keys() == held[1].keys()
    assert "step 12/12" in run(12)  # goes on from step 10
    assert {file: file.stat().st_mtime_ns for file in lessons} == lessons
