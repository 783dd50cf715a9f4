"""No run overwrites what it reads, nor one of its outputs with another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.runtime.open_run import open_run
from x2c_edge.runtime.outlets import Outputs
from x2c_edge.runtime.overwriting import files_of, require_apart
from x2c_edge.runtime.replay import open_replay


@pytest.fixture
def clip(face_clip: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "in.mp4"
    copy.write_bytes(face_clip.read_bytes())
    return copy


@pytest.mark.parametrize("output", ["save_video", "save_reference", "trace", "later", "jsonl", "link to it"])
def test_the_input_stays(settings, clip: Path, output: str):
    before = clip.read_bytes()
    link = clip.with_name("link.mp4")
    link.symlink_to(clip)
    outputs = {
        "later": Outputs(fast=True, later=(None, clip)),
        "jsonl": Outputs(fast=True),
        "link to it": Outputs(fast=True, save_video=link),
    }.get(output) or Outputs(fast=True, **{output: clip})  # type: ignore[arg-type]
    run = {"link": (f"jsonl:{clip}",)} if output == "jsonl" else {}
    with pytest.raises(BadArgumentError, match="is read, and would be overwritten; choose another file"):
        open_run(settings(capture={"input": str(clip)}, run=run), outputs)
    assert clip.read_bytes() == before


@pytest.mark.parametrize("named", ["file://", "~"])
def test_however_the_input_is_named(settings, clip: Path, named: str, monkeypatch: pytest.MonkeyPatch):
    odd = clip.rename(clip.with_name("in put.mp4"))
    monkeypatch.setenv("HOME", str(odd.parent))
    text = "~/in put.mp4" if named == "~" else f"file://{odd.parent}/in%20put.mp4"
    with pytest.raises(BadArgumentError, match="would be overwritten"):
        open_run(settings(capture={"input": text}), Outputs(fast=True, save_video=odd))
    with pytest.raises(BadArgumentError, match="NUL"):
        open_run(settings(capture={"input": "a\0b"}), Outputs(fast=True, save_video=odd))


def test_the_settings_and_the_recording_stay(settings, tmp_path: Path):
    for name in ("config.toml", "a.mcap"):
        (tmp_path / name).write_bytes(b"x")
    config, recording = tmp_path / "config.toml", tmp_path / "a.mcap"
    with pytest.raises(BadArgumentError, match="would be overwritten"):
        open_run(settings(), Outputs(reads=(config,), save_reference=config))
    with pytest.raises(BadArgumentError, match="would be overwritten"):
        open_replay(recording, settings(run={"link": (f"jsonl:{recording}",)}), Outputs(fast=True))
    assert recording.read_bytes() == b"x"


def test_two_outputs_have_two_files(settings, tmp_path: Path):
    one = tmp_path / "one.mcap"
    with pytest.raises(BadArgumentError, match="two outputs on one file"):
        open_run(settings(run={"link": (f"jsonl:{one}",)}), Outputs(fast=True, record=one))
    with pytest.raises(BadArgumentError, match="two outputs on one file"):
        open_run(settings(run={"link": (f"jsonl:{one}", f"jsonl:{tmp_path}/./one.mcap")}), Outputs(fast=True))
    assert not one.exists()


def test_a_recording_is_no_pipe(settings, tmp_path: Path):
    os.mkfifo(tmp_path / "a.mcap")
    with pytest.raises(NotFoundError, match="is a pipe"):
        open_run(settings(), Outputs(fast=True, record=tmp_path / "a.mcap"))


def test_a_picture_of_the_folder_that_is_read_stays_and_other_files_may_be_there(tmp_path: Path):
    for name in ("a.JPG", "out.jsonl"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(BadArgumentError, match=r"a\.JPG: is read"):
        require_apart([tmp_path], [tmp_path / "a.JPG"])
    require_apart([tmp_path, None], [tmp_path / "out.jsonl", tmp_path / "new.jpg", None])


def test_a_reference_may_be_taken_again_and_devices_may_be_anything(settings, tmp_path: Path):
    reference = tmp_path / "me.json"
    open_run(settings(), Outputs(fast=True, max_frames=30, save_reference=reference)).run()
    again = settings(calibration={"reference": reference})
    open_run(again, Outputs(fast=True, max_frames=3, save_reference=reference)).run()
    require_apart([Path("/dev/null")], [Path("/dev/null"), Path("/dev/null"), Path("x" * 300)])
    assert files_of(("jsonl:-", "jsonl:a b", "udp://robot", "jsonl:")) == [Path("a b")]
