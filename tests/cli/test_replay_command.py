"""``run --record`` and ``replay`` as typed: exit codes, lines, and what is written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_commands import Edge, edge, one_line
from tests.record.recordings import FACTS, smooth, write
from x2c_edge.record.mcap_file import McapReader, McapWriter

__all__ = ["edge"]  # the fixture


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_recorded_run_and_its_replay(edge: Edge, face_clip: Path, reference_file: Path, tmp_path: Path):
    recording, first, again = tmp_path / "a.mcap", tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    recording.write_text("an older recording")
    outcome = edge(
        "run", "--input", face_clip, "--fast", "--pack", "small", "--reference", reference_file,
        "--link", f"jsonl:{first}", "--duration", 0.5, "--record", recording,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert f"recorded {recording}: 16 frames, " in outcome.err
    reader = McapReader(recording)
    assert {m.topic for m in reader.messages()} == {"/expression", "/command", "/camera"}
    assert reader.facts["pack"] == "small"
    assert set(reader.facts) == {
        "version", "source", "rate", "budget_ms", "started", "clock", "fps", "pack", "pack_digest", "device",
    }  # fmt: skip
    outcome = edge("replay", recording, "--fast", "--link", f"jsonl:{again}")
    assert outcome.code == 0, outcome.err
    assert outcome.out == ""
    assert again.read_bytes() == first.read_bytes()
    assert "16 frames (100% with a face)" in outcome.err
    assert "cut short" not in outcome.err


def test_a_replay_takes_rate_duration_limits_and_video(edge: Edge, tmp_path: Path):
    recording = write(tmp_path / "a.mcap", smooth(40))
    config, out, video = tmp_path / "robot.toml", tmp_path / "out.jsonl", tmp_path / "v.mp4"
    config.write_text('[safety.limits."Brow Inner Left"]\nlow = 0.6\nhigh = 0.7\n')
    outcome = edge(
        "replay", recording, "--fast", "--link", f"jsonl:{out}", "--rate", 20, "--duration", 0.4,
        "--config", config, "--save-video", video,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert all(0.6 <= line["controls"]["Brow Inner Left"] <= 0.7 for line in lines(out))
    assert max(line["frame_seq"] or 0 for line in lines(out)) == 12
    assert video.stat().st_size > 10_000


def test_a_recording_that_is_cut_short_is_replayed_and_that_is_said(edge: Edge, tmp_path: Path):
    recording = write(tmp_path / "a.mcap", smooth(40))
    data = recording.read_bytes()
    recording.write_bytes(data[: len(data) // 2])
    outcome = edge("replay", recording, "--fast", "--link", "jsonl:-")
    assert outcome.code == 0
    last = outcome.err.splitlines()[-1]
    assert last.startswith(f"{recording}: the recording is cut short; its ")
    frames = int(last.split("its ")[1].split()[0])
    followed = {json.loads(line)["frame_seq"] for line in outcome.out.splitlines()} - {None}
    assert followed == set(range(frames))


def nothing(folder: Path) -> Path:
    writer = McapWriter(folder / "nothing.mcap", {}, FACTS)
    writer.finish({})
    return folder / "nothing.mcap"


def damaged(folder: Path) -> Path:
    path = write(folder / "damaged.mcap", smooth(3))
    data = bytearray(path.read_bytes())
    data[len(data) // 4] ^= 0xFF
    path.write_bytes(data)
    return path


WRONG = {
    "missing": (3, ["replay", "none.mcap"], "none.mcap: no such file"),
    "no recording": (3, ["replay", "text.mcap"], "text.mcap: is not an MCAP file"),
    "a folder": (3, ["replay", "."], "is not a file"),
    "no expressions": (3, ["replay", "nothing.mcap"], "nothing.mcap: no /expression messages"),
    "damaged": (3, ["replay", "damaged.mcap"], "damaged.mcap: damaged at byte"),
    "no such link": (2, ["replay", "good.mcap", "--link", "sreial:x"], "did you mean 'serial'"),
    "no such rate": (2, ["replay", "good.mcap", "--rate", "1000"], "run.rate"),
    "no such video": (2, ["replay", "good.mcap", "--save-video", "v.avi"], "v.avi"),
    "record elsewhere": (3, ["run", "--input", "CLIP", "--record", "none/a.mcap"], "none/a.mcap"),
    "record no mcap": (2, ["run", "--input", "CLIP", "--record", "a.mp4"], "ends in .mcap"),
    "record a folder": (3, ["run", "--input", "CLIP", "--record", "folder.mcap"], "folder.mcap"),
    "record full": (3, ["run", "--input", "CLIP", "--record", "full.mcap"], "full.mcap: cannot be written"),
}


@pytest.mark.parametrize(("code", "arguments", "expected"), WRONG.values(), ids=WRONG)
def test_every_mistake_is_one_line_and_its_code(
    edge: Edge, face_clip: Path, tmp_path: Path, monkeypatch, code: int, arguments: list[str], expected: str
):
    monkeypatch.chdir(tmp_path)
    Path("text.mcap").write_text("hello, hello, hello")
    Path("folder.mcap").mkdir()
    Path("full.mcap").symlink_to("/dev/full")
    nothing(tmp_path), damaged(tmp_path), write(tmp_path / "good.mcap", smooth(3))
    arguments = [str(face_clip) if a == "CLIP" else a for a in arguments]
    if arguments[0] == "run":
        arguments += ["--pack", "small"]
    outcome = edge(*arguments)
    assert outcome.code == code
    assert expected in one_line(outcome)


@pytest.mark.parametrize("arguments", [["replay", "good.mcap"], ["run", "--record", "a.mcap"]], ids=str)
def test_without_the_package_the_line_says_what_to_install(tmp_path: Path, arguments: list[str]):
    snippet = f"""
import sys
sys.modules["mcap"] = None  # as if it were not installed
sys.argv[:] = ["x2c-edge", *{arguments!r}]
from x2c_edge.cli.main import main
main()
"""
    done = subprocess.run([sys.executable, "-c", snippet], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr == "x2c-edge: mcap is not installed; run: pip install 'x2c-edge[record]'\n"
