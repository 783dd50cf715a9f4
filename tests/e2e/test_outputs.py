"""Outputs that fail while a run goes on, and standard streams that are closed: said, and an exit code."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.edge import EDGE, clip
from tests.patience import patient
from x2c_edge.capture.pictures_in import pictures_in

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def run(folder: Path, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [*EDGE, "run", "--input", str(clip("d18")), *map(str, arguments)]
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False, **options
    )


def fill(disk: Path, leave: int) -> None:
    free = shutil.disk_usage(disk).free
    with (disk / "filler").open("wb") as file:
        file.write(bytes(free - leave))


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_a_video_on_a_disk_that_fills_up_is_whole_up_to_there(small_disk: Path, tmp_path: Path) -> None:
    fill(small_disk, 17 << 20)
    video = small_disk / "v.mp4"
    done = run(
        tmp_path,
        "--fast",
        "--pipeline",
        "single-stage",
        "--save-video",
        video,
        "--duration",
        "3",
        "--link",
        "jsonl:out.jsonl",
    )
    assert done.returncode == 3
    assert f"{video}: " in last_line(done)
    assert "MiB left on the disk; the video ends early" in last_line(done)
    assert pictures_in(video) > 0
    states = [json.loads(line)["state"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert states[-1] == "STOPPED"  # the run itself goes on, and home


def test_what_follows_on_the_same_full_disk(small_disk: Path, tmp_path: Path) -> None:
    kept = small_disk / "me.json"
    kept.write_text("before")
    fill(small_disk, 20_000)
    done = run(
        tmp_path, "--pipeline", "single-stage", "--duration", "2", "--link", f"jsonl:{small_disk}/out.jsonl"
    )
    assert done.returncode == 3
    assert "was down when the run ended" in last_line(done)
    assert "no space left on the disk" in last_line(done)
    profiled = subprocess.run(
        [*EDGE, "profile", "--input", str(clip("d18")), "--fast", "--frames", "20", "--pipeline",
         "single-stage", "--trace", kept],
        env=ENVIRONMENT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert profiled.returncode == 3
    assert "cannot be written (No space left on device)" in last_line(profiled)
    assert kept.read_text() == "before"


def test_a_link_s_file_that_is_deleted_is_said(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*EDGE, "run", "--input", str(clip("d18")), "--pipeline", "single-stage", "--duration", "4",
         "--link", "jsonl:out.jsonl", "--link", "jsonl:kept.jsonl"],
        cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    file = tmp_path / "out.jsonl"
    # Deleted before it is locked it would only be made again.
    while process.poll() is None and not (file.exists() and file.stat().st_size):
        time.sleep(0.01)
    file.unlink()
    _, said = process.communicate(timeout=patient(60))
    assert process.returncode == 3
    assert "link jsonl:out.jsonl was down when the run ended (out.jsonl: was deleted" in said
    assert "link jsonl:kept.jsonl" not in said.splitlines()[-1]


def test_a_link_that_nobody_listens_to_is_said(tmp_path: Path) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        link = f"zmq://127.0.0.1:{one.getsockname()[1]}"
    done = run(tmp_path, "--duration", "1.5", "--pipeline", "single-stage", "--link", link)
    assert done.returncode == 3
    assert f"link {link} never took a command" in last_line(done)


@pytest.mark.parametrize("closed", [[0], [0, 1, 2]], ids=str)
def test_any_standard_stream_may_be_closed(tmp_path: Path, closed: list[int]) -> None:
    redirections = " ".join(f"{number}>&-" for number in closed)
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirections}', "sh", *EDGE, "run", "--input", str(clip("d18")), "--fast",
         "--pipeline", "single-stage", "--duration", "1", "--link", "jsonl:out.jsonl"],
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert all(json.loads(line)["controls"] for line in lines)
    assert json.loads(lines[-1])["state"] == "STOPPED"


def test_commands_for_a_closed_standard_output_are_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *EDGE, "run", "--input", str(clip("d18")), "--fast",
         "--pipeline", "single-stage", "--link", "jsonl:-"],
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert last_line(done) == "x2c-edge: standard output: is closed; send it to a file or a pipe"


def test_a_full_standard_output_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*EDGE, "packs", "list"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 3
    assert last_line(done).startswith("x2c-edge: standard output cannot be written")


def test_a_full_standard_error_changes_nothing(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*EDGE, "run", "--input", clip("d18"), "--fast", "--duration", "0.3",
             "--link", "jsonl:out.jsonl"],
            cwd=tmp_path, stderr=full, check=False,
        )  # fmt: skip
    assert done.returncode == 0
    assert json.loads((tmp_path / "out.jsonl").read_text().splitlines()[-1])["state"] == "STOPPED"
