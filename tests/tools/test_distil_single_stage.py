from __future__ import annotations

from pathlib import Path

import pytest
import torch
import typer

from tools.dataset import face_dataset as data
from tools.train import distil_single_stage as distil
from tools.train.checkpoint import State
from tools.train.single_stage import Batches
from x2c_edge import packs
from x2c_edge.nets.single_stage import SingleStage, SingleStageConfig

CONFIG = SingleStageConfig(
    input_size=32, stem=4, widths=(4, 8), blocks=(0, 1), hidden=16, patch_widths=(4, 4), eye_patch=(8, 4),
    mouth_patch=(8, 8), patch_hidden=4,
)  # fmt: skip


@pytest.fixture
def teacher() -> SingleStage:
    torch.manual_seed(2)
    return SingleStage(CONFIG).eval()


def test_who_does_what_the_teacher_does_differs_from_the_labels_alone(
    teacher: SingleStage, faces: data.FaceSet
):
    batch = Batches(faces, CONFIG.input_size, seed=1).make()
    with torch.no_grad():
        answer = distil.Watched(teacher)(batch["x"])
    assert {name: len(value) // len(batch["x"]) for name, value in answer.items()} == {
        "row": 1,
        "features": 1,
        "eye": 2,
        "mouth": 1,
        "mixed": 1,
    }
    loss = distil.Loss(faces)
    truth = torch.cat([batch["points"], batch["pose"], batch["controls"]], dim=1)
    right = torch.cat([20 * batch["present"][:, None] - 10, truth], dim=1)
    assert loss(answer | {"row": right}, answer | {"row": right}, batch) < 1e-3
    assert loss(answer, answer, batch) > 0.1
    assert loss(answer | {"row": right, "mouth": answer["mouth"] + 1}, answer | {"row": right}, batch) > 0.01


def test_a_run_goes_on_where_it_was_kept(teacher: SingleStage, faces: data.FaceSet, tmp_path: Path):
    batches, loss = Batches(faces, CONFIG.input_size, seed=1), distil.Loss(faces)
    run = distil.Run.of(SingleStage(CONFIG))
    assert list(distil.descend(run, teacher, batches, loss, 2)) == [1, 2]
    state = State(tmp_path / "state.pt")
    run.save(state)
    again = distil.Run.of(SingleStage(CONFIG))
    again.load(state)
    for a, b in ((run.net, again.net), (run.average, again.average)):
        assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert list(distil.descend(again, teacher, batches, loss, 3)) == [3]


def test_some_crops_come_with_what_the_teacher_said_of_them(teacher: SingleStage, faces: data.FaceSet):
    wise = distil.Watched(teacher)
    lessons = distil.lessons(Batches(faces, CONFIG.input_size, seed=1), wise)
    for batch, answer in (next(lessons) for _ in range(distil.SEEN + 1)):
        assert len(batch["x"]) == distil.CROPS
        with torch.no_grad():
            again = wise(batch["x"])
        for name, value in again.items():
            torch.testing.assert_close(answer[name], value, atol=1e-4, rtol=1e-4)


def test_time_can_end_it(teacher: SingleStage, faces: data.FaceSet):
    run = distil.Run.of(SingleStage(CONFIG))
    run.seconds = 59.0
    batches = Batches(faces, CONFIG.input_size, seed=1)
    assert list(distil.descend(run, teacher, batches, distil.Loss(faces), 10, minutes=0.5)) == []


@pytest.mark.filterwarnings("ignore:invalid value")  # no spread in 12 labels of neck and head
def test_a_state_is_of_one_teacher_and_seed_and_goes_when_the_pack_is_there(
    small_pack: Path, face_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    monkeypatch.setattr(distil, "LEAN", {})  # as wide as the teacher, which is small
    pack = packs.open_pack(str(small_pack))
    options = {
        "teacher": pack.nets["single_stage"].sha256,
        "seed": 1,
        "folder": data.digest(face_folder),
    }
    state = State(tmp_path / "state.pt", options)
    run = distil.Run.of(distil.load_net(pack))
    run.step = 1
    run.save(state)

    def go(seed: int) -> None:
        distil.main(str(small_pack), tmp_path / "lean", tmp_path, 1, 9.0, seed, 1, 1, face_folder)

    with pytest.raises(typer.Exit):
        go(7)
    assert "state.pt: of a run with other settings (seed)" in capsys.readouterr().err
    go(1)
    assert not state.file.exists()
    assert packs.open_pack(str(tmp_path / "lean")).pipeline == "single-stage"
