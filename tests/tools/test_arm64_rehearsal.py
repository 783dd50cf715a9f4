"""What the emulated tests said is read right: a file counts when pytest has come to its end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tools.check import arm64_rehearsal
from x2c_edge.errors import UserError

FILES = ["tests/links/test_a.py", "tests/links/test_b.py", "tests/links/test_c.py"]
LINES = """
tests/links/test_a.py::test_one PASSED                                   [ 33%]
tests/links/test_a.py::test_two[a b] SKIPPED (no camera)                 [ 66%]
tests/links/test_b.py::test_one FAILED                                   [100%]
"""
END = "=================== 1 failed, 1 passed, 1 skipped in 2.03s ===================\n"


def read(monkeypatch: pytest.MonkeyPatch, folder: Path, said: str, code: int) -> dict[str, dict[str, int]]:
    """What is kept of a pytest that says this and exits so."""

    @contextmanager
    def emulated(command: list[str], limit_s: float) -> Iterator[subprocess.Popen[str]]:
        words = ["sh", "-c", 'printf %s "$1"; exit "$2"', "sh", said, str(code)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            yield process

    monkeypatch.setattr(arm64_rehearsal, "emulated", emulated)
    monkeypatch.setattr(arm64_rehearsal, "HERE", folder)
    (folder / "logs").mkdir()
    return {
        file: gave["given"] for file, gave in arm64_rehearsal.test_part("links", 60, 240, FILES, "a commit")
    }


def test_every_file_of_a_run_to_the_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert read(monkeypatch, tmp_path, LINES + END, 1) == {
        FILES[0]: {"PASSED": 1, "SKIPPED": 1}, FILES[1]: {"FAILED": 1}, FILES[2]: {}
    }  # fmt: skip


@pytest.mark.parametrize("code", [0, 1, 137])
def test_the_file_that_was_cut_off_is_not_through(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int
) -> None:
    said = LINES + "tests/links/test_b.py::test_two unshare: sigprocmask unblock failed\n"
    assert read(monkeypatch, tmp_path, said, code) == {FILES[0]: {"PASSED": 1, "SKIPPED": 1}}


def test_files_of_slow_tests_alone_are_through(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said = "collecting ... collected 9 items / 9 deselected / 0 selected\n"
    end = "============================ 9 deselected in 0.31s ============================\n"
    assert read(monkeypatch, tmp_path, said + end, 5) == {file: {} for file in FILES}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--file", "tests/nope/test_x.py"], "no test file tests/nope/test_x.py"),
        (["--part", "nope"], "no part nope; there are kernels, safety"),
        (["--at-once", "0"], "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], says: str
) -> None:
    monkeypatch.setattr(arm64_rehearsal, "require_tools", lambda: None)
    monkeypatch.setattr(arm64_rehearsal, "HERE", tmp_path / "arm64")
    app = typer.Typer()
    app.command()(arm64_rehearsal.main)
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert says in done.stderr
    assert not (tmp_path / "arm64").exists()


def test_a_tool_that_is_missing_is_told_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arm64_rehearsal, "emulator", lambda: "qemu")
    monkeypatch.setattr(arm64_rehearsal, "PYTHON", ".".join(map(str, sys.version_info[:2])))
    monkeypatch.setattr(arm64_rehearsal.os, "geteuid", lambda: 0)
    monkeypatch.setattr(arm64_rehearsal, "TOOLS", {"no-such-tool": "apt install it"})
    with pytest.raises(UserError, match="no-such-tool is not installed: apt install it"):
        arm64_rehearsal.require_tools()
