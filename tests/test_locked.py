from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from x2c_edge.errors import NotFoundError
from x2c_edge.links.registry import make_link
from x2c_edge.locked import opened_alone

HOLD = """
import sys
from x2c_edge.locked import opened_alone
opened_alone(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def test_another_program_s_file_is_left_alone(tmp_path: Path):
    path = tmp_path / "same.jsonl"
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    path.write_text("theirs")
    with pytest.raises(NotFoundError, match=r"same\.jsonl: is being written by another run"):
        make_link(f"jsonl:{path}", rate_hz=60).open()
    assert path.read_text() == "theirs"
    other.kill()  # and with it the lock
    other.communicate()
    link = make_link(f"jsonl:{path}", rate_hz=60)
    link.open()
    assert path.read_text() == ""
    link.close(1.0)


@pytest.mark.parametrize("kind", ["/dev/null", "pipe"])
def test_devices_and_pipes_are_for_everybody(tmp_path: Path, kind: str):
    path = Path(kind)
    if kind == "pipe":
        path = tmp_path / "pipe"
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    links = [make_link(f"jsonl:{path}", rate_hz=60) for _ in range(2)]
    for link in links:
        link.open()
    for link in links:
        link.close(1.0)
    if kind == "pipe":
        os.close(reader)


def test_a_file_that_gets_another_name_just_then_is_not_the_one(tmp_path: Path, monkeypatch):
    path = tmp_path / "partial"
    path.write_text("theirs")
    lock, renamed = fcntl.flock, []

    def rename_first(descriptor: int, how: int) -> None:
        if not renamed:
            path.rename(tmp_path / "final")
            renamed.append(descriptor)
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", rename_first)
    descriptor = opened_alone(path)
    assert os.path.samestat(os.fstat(descriptor), path.stat())
    assert (tmp_path / "final").read_text() == "theirs"
    os.close(descriptor)


def test_a_new_file_is_made_with_the_usual_permissions(tmp_path: Path):
    os.close(opened_alone(tmp_path / "new"))
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode
