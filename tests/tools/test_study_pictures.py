from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tools.dataset.make_dataset import Settings, make_dataset
from tools.evaluate import study_pictures
from tools.evaluate.user_study import questions


def run(*arguments: object) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(study_pictures.main)
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, result.output


@pytest.fixture
def humans(portrait: np.ndarray, tmp_path: Path) -> Path:
    """The photograph, its mirror image, and a wall."""
    folder = tmp_path / "humans"
    folder.mkdir()
    cv2.imwrite(str(folder / "one.png"), portrait)
    cv2.imwrite(str(folder / "two.jpg"), portrait[:, ::-1])
    cv2.imwrite(str(folder / "wall.png"), np.full_like(portrait, 90))
    return folder


def test_every_method_answers_every_face(humans: Path, real_pack: str, tmp_path: Path):
    """The gears differ between pictures, and the folder is one that the sheet takes."""
    make_dataset(Settings(60, 32, 3, "portrait", shard_pairs=30), tmp_path / "pairs", processes=1, quiet=True)
    out = tmp_path / "study"
    code, text = run(
        humans, "--out", out, "--pack", real_pack, "--gear", "single-stage", "--size", 64,
        "--pairs", tmp_path / "pairs", "--effort", 0.05, "--keep", tmp_path / "keep",
    )  # fmt: skip
    assert code == 0, text
    assert "wall: no face is found in it; left out" in text
    assert "2 people by single-stage, Smile, Coexpression" in text
    assert not list((tmp_path / "keep").iterdir())  # the next study has nothing to do with it
    asked, pictures = questions(out, 1)
    assert len(pictures) == 4 * 2
    assert [q["kind"] for q in asked] == ["rating"] * 6 + ["pick"] * 2
    assert {len(str(q["left"]).split("|")) for q in asked[6:]} == {3}
    one, two = (cv2.imread(str(out / "single-stage" / f"{name}.png")).astype(int) for name in ("one", "two"))
    assert one.shape == (64, 64, 3)
    assert np.abs(one - two).mean() > 0.5
    # A mirrored person makes a mirrored robot, nearly: the robot's rest is not symmetric.
    assert np.abs(one - two[:, ::-1]).mean() < np.abs(one - two).mean()


@pytest.mark.parametrize(("options", "message"), [
    (("--out", "study", "--gear", "jet"), "--gear jet: pack 'default' has"),
    (("--out", "humans/one.png/study", "--gear", "single-stage"), "give another --out"),
    (("--out", "humans"), "humans: not empty, two studies' pictures would mix; give another --out"),
])  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(
    options: tuple, message: str, humans: Path, real_pack: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(humans.parent)
    (humans / "wall.png").unlink()
    code, text = run(humans, "--pack", real_pack, *options)
    assert code in (2, 3)
    assert message in text
    assert len(text.strip().splitlines()) == 1


def test_two_pictures_of_one_name(humans: Path, real_pack: str):
    (humans / "one.jpg").write_bytes((humans / "two.jpg").read_bytes())
    code, text = run(humans, "--out", humans / "study", "--pack", real_pack)
    assert (code, len(text.strip().splitlines())) == (2, 1)
    assert "one.png: another picture has this name" in text


def test_a_folder_without_people(tmp_path: Path, real_pack: str):
    for content, message in ((None, "no pictures"), (b"text", "cannot be decoded")):
        if content is not None:
            (tmp_path / "a.png").write_bytes(content)
        code, text = run(tmp_path, "--out", tmp_path / "study", "--pack", real_pack)
        assert (code, len(text.strip().splitlines())) == (3, 1)
        assert message in text
