from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tools.dataset.labelled_clips import labelled_clips
from tools.evaluate import clip_report


def test_the_labelled_clips_are_of_people_nobody_trained_on(shared: Path):
    clips = labelled_clips()
    assert [clip.name for clip in clips] == ["d18", "d19", "d3", "d6", "s13", "s32"]
    for clip in clips:
        assert clip.split == "test"
        assert len(clip.frames) == len(clip.controls) >= 20
        assert (np.diff(clip.frames) > 0).all()


def test_a_whole_run_is_right_from_the_first_frame(shared: Path, real_pack: str):
    """The bars of the report that hold, on one clip; the report has them all."""
    (clip,) = [clip for clip in labelled_clips() if clip.name == "s13"]
    row = clip_report.row_of(clip, "auto", "single-stage", real_pack)
    still = clip_report.row_of(clip, clip_report.STILL, "single-stage", real_pack)
    assert row.first_s == 0.0
    assert row.followed == 1.0
    found, unmoved = (clip_report.agreement(r.poses, clip.controls) for r in (row, still))
    assert found.mean("error") < 0.8 * unmoved.mean("error")
    assert found.mean("r") > 0.65
    assert 0.7 < found.mean("gain") < 1.3
    assert row.cells()[:2] == ["s13", "auto"]


def test_the_steps_are_told_apart(shared: Path, real_pack: str):
    clips = [clip for clip in labelled_clips() if clip.name == "s13"]
    rows = clip_report.steps_table(clips, "single-stage", real_pack)
    assert [row[0] for row in rows[:3]] == ["expression", "filter", "command"]
    assert all(float(row[1]) > 0.5 for row in rows)


def test_without_a_face_there_is_no_first_command():
    run = clip_report.Watched(times=[0.0, 0.1], faces=[False, False])
    assert np.isnan(run.first_following_s())
    assert np.isnan(run.share_followed())


def test_the_page_says_the_command_that_was_given(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A table of some clips does not stand under the command that makes the whole one."""
    given = ["--only", "s13", "--neutral", clip_report.STILL, "--page", str(tmp_path / "a page.md")]
    monkeypatch.setattr("sys.argv", ["clip_report.py", *given])
    app = typer.Typer()
    app.command()(clip_report.main)
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    command, _, *table = (tmp_path / "a page.md").read_text().splitlines()[1:]
    asked = f"--only s13 --neutral still --page '{tmp_path}/a page.md'"
    assert command == f"`python -m tools.evaluate.clip_report {asked}`"
    assert table[2].startswith("| s13 | still | - | 0.00 | 0.000 |")
