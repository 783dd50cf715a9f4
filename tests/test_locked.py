from __future__ import annotations

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
    path.write_text("theirs")
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with pytest.raises(NotFoundError, match=r"same\.jsonl: is being written by another run"):
        make_link(f"jsonl:{path}", rate_hz=60).open()
    assert path.read_text() == "theirs"
    other.kill()  # and with it the lock
    other.communicate()
    link = make_link(f"jsonl:{path}", rate_hz=60)
    link.open()
    assert path.read_text() == ""
    link.close(1.0)


def test_a_new_file_is_made_with_the_usual_permissions(tmp_path: Path):
    os.close(opened_alone(tmp_path / "new"))
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode
