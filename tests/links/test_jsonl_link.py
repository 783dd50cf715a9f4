"""``jsonl:`` on real files, pipes and a device that is always full."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from x2c_edge.controls import NAMES, NEUTRAL
from x2c_edge.errors import NotFoundError
from x2c_edge.frames import Command
from x2c_edge.links.base import LinkNeeds
from x2c_edge.links.jsonl_link import QUEUE, JsonlLink, jsonl_link
from x2c_edge.runtime.overwriting import files_of

Eventually = Callable[[Callable[[], object]], None]
CommandMaker = Callable[..., Command]
ROOT = Path(__file__).parents[2]


def python(code: str, *arguments: str, **options: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=ROOT, **options)  # type: ignore[call-overload]


def test_every_command_is_a_line_with_every_digit(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("what was there before\n")
    values = NEUTRAL + np.random.default_rng(1).normal(size=(300, 30)) / 3
    link = JsonlLink(str(path), lossless=True)
    link.open()
    for seq, row in enumerate(values):
        link.send(Command(seq, 5 + seq, "FOLLOWING", 0, row, seq, 3 + seq, "single-stage"))
    link.close(5)

    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["seq"] for line in lines] == list(range(300))
    assert list(lines[0]["controls"]) == list(NAMES)
    np.testing.assert_array_equal([list(line["controls"].values()) for line in lines], values)
    assert {
        key: lines[7][key] for key in ("frame_seq", "t_capture_ns", "t_send_ns", "state", "pipeline")
    } == {
        "frame_seq": 7,
        "t_capture_ns": 10,
        "t_send_ns": 12,
        "state": "FOLLOWING",
        "pipeline": "single-stage",
    }
    status = link.status()
    assert (status.state, status.sent, status.dropped, status.errors) == ("closed", 300, 0, 0)


def test_a_home_is_found_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    link = jsonl_link("jsonl:~/out.jsonl", LinkNeeds(rate_hz=60))
    link.open()
    link.close(1.0)
    assert (tmp_path / "out.jsonl").exists()
    assert files_of(["jsonl:~/out.jsonl"]) == [tmp_path / "out.jsonl"]


def test_lossless_waits_for_a_slow_reader(make_command: CommandMaker) -> None:
    read, write = os.pipe()
    reader = python(
        "import sys, time; time.sleep(0.3); print(len(sys.stdin.readlines()))",
        stdin=read,
        stdout=subprocess.PIPE,
    )
    os.close(read)
    link = JsonlLink(f"/dev/fd/{write}", lossless=True)
    link.open()
    os.close(write)
    for seq in range(2 * QUEUE):
        link.send(make_command(seq))
    link.close(20)
    out, _ = reader.communicate()
    assert int(out) == 2 * QUEUE
    assert link.status().sent == 2 * QUEUE


def test_live_drops_the_oldest_when_nobody_reads(make_command: CommandMaker) -> None:
    read, write = os.pipe()
    link = JsonlLink(f"/dev/fd/{write}")
    link.open()
    os.close(write)
    for seq in range(QUEUE + 500):
        link.send(make_command(seq))
    assert link.status().dropped > 0
    link.close(0.1)
    status = link.status()
    assert status.sent + status.dropped == QUEUE + 500
    lines = os.read(read, 1 << 20).split(b"\n")
    os.close(read)
    written = [json.loads(line)["seq"] for line in lines[:-1]]
    assert len(written) == status.sent
    assert written == sorted(set(written))


@pytest.mark.parametrize("path", ["missing/out.jsonl", "."])
def test_a_path_that_cannot_be_written_is_one_clear_line(tmp_path: Path, path: str) -> None:
    with pytest.raises(NotFoundError, match=r"cannot be written \(.*\); choose another file"):
        JsonlLink(str(tmp_path / path)).open()


def test_a_named_pipe_without_a_reader_does_not_hold_up_the_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotFoundError, match="nobody reads this pipe; start its reader first"):
        JsonlLink(str(tmp_path / "pipe")).open()


def test_a_full_disk_is_counted_and_ends_a_lossless_run(
    make_command: CommandMaker, eventually: Eventually
) -> None:
    live = JsonlLink("/dev/full")
    live.open()
    live.send(make_command(0))
    eventually(lambda: live.status().errors >= 1)
    assert live.status().state == "down"
    assert "no space left on the disk" in live.status().last_error
    live.close(1)
    assert live.status().dropped == 1

    lossless = JsonlLink("/dev/full", lossless=True)
    lossless.open()
    lossless.send(make_command(0))
    eventually(lambda: lossless.status().state == "down")
    with pytest.raises(NotFoundError, match="no space left"):
        lossless.send(make_command(1))
    lossless.close(1)


def test_writing_goes_on_with_whole_lines_when_there_is_room_again(tmp_path: Path) -> None:
    # A file size limit stands in for the full disk; it holds for a whole process, hence another one.
    code = """
import resource, signal, sys, time
from x2c_edge.controls import NEUTRAL
from x2c_edge.frames import Command
from x2c_edge.links.jsonl_link import JsonlLink
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (1500, hard))
link = JsonlLink(sys.argv[1])
link.open()
for seq in range(4):
    link.send(Command(seq, 0, "NEUTRAL", 0, NEUTRAL))
while not link.status().errors:
    time.sleep(0.01)
assert link.status().state == "down"
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
while link.status().sent < 4:
    time.sleep(0.01)
assert link.status().state == "up"
link.close(1)
"""
    path = tmp_path / "out.jsonl"
    assert python(code, str(path)).wait() == 0
    assert [json.loads(line)["seq"] for line in path.read_text().splitlines()] == [0, 1, 2, 3]


def test_a_reader_that_leaves_is_counted(make_command: CommandMaker, eventually: Eventually) -> None:
    read, write = os.pipe()
    link = JsonlLink(f"/dev/fd/{write}")
    link.open()
    os.close(write)
    os.close(read)
    link.send(make_command(0))
    eventually(lambda: link.status().state == "down")
    assert "its reader is gone" in link.status().last_error
    link.close(1)


def test_a_command_that_is_not_finite_is_not_written(tmp_path: Path, make_command: CommandMaker) -> None:
    path = tmp_path / "out.jsonl"
    link = JsonlLink(str(path))
    link.open()
    bad = make_command(0)
    bad.values[3] = np.nan
    link.send(bad)
    link.send(make_command(1))
    link.close(5)
    assert [json.loads(line)["seq"] for line in path.read_text().splitlines()] == [1]
    assert (link.status().errors, link.status().sent) == (1, 1)
    link.send(make_command(2))
    link.close(5)
    assert link.status().dropped == 1


STREAM = """
import sys, time
from x2c_edge.controls import NEUTRAL
from x2c_edge.frames import Command
from x2c_edge.links.jsonl_link import JsonlLink
link = JsonlLink(sys.argv[1], lossless=True)
link.open()
for seq in range(int(sys.argv[2])):
    link.send(Command(seq, 0, "NEUTRAL", 0, NEUTRAL))
link.close(5)
"""


def test_standard_output() -> None:
    process = python(STREAM, "-", "50", stdout=subprocess.PIPE)
    out, _ = process.communicate()
    assert [json.loads(line)["seq"] for line in out.splitlines()] == list(range(50))
    assert process.returncode == 0


def test_kill_leaves_a_file_readable_to_its_last_full_line(tmp_path: Path, eventually: Eventually) -> None:
    path = tmp_path / "out.jsonl"
    process = python(STREAM, str(path), "100000000")
    eventually(lambda: path.exists() and path.stat().st_size > 300_000)
    process.send_signal(signal.SIGKILL)
    process.wait()
    lines = path.read_bytes().split(b"\n")
    assert [json.loads(line)["seq"] for line in lines[:-1]] == list(range(len(lines) - 1))


def test_a_file_that_is_deleted_takes_the_link_down(
    tmp_path: Path, make_command: CommandMaker, eventually: Eventually
) -> None:
    path = tmp_path / "out.jsonl"
    link = JsonlLink(str(path))
    link.open()
    link.send(make_command(0))
    eventually(lambda: link.status().sent == 1)
    path.rename(tmp_path / "rotated.jsonl")  # still there: nothing is lost
    link.send(make_command(1))
    eventually(lambda: link.status().sent == 2)
    assert link.status().state == "up"
    (tmp_path / "rotated.jsonl").unlink()
    assert link.status().state == "down"
    link.send(make_command(2))
    eventually(lambda: link.status().errors > 0)
    assert "was deleted, and what was in it is lost" in link.status().last_error
    link.close(1)
    assert (link.status().sent, link.status().dropped) == (2, 1)
