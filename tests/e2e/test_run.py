"""``x2c-edge run`` on real clips: what is written, in order, in range, to the end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.command_lines import check_safe
from tests.e2e.edge import EDGE, Run, clip
from tests.e2e.live_run import PATIENT_RUN
from tests.patience import patient
from x2c_edge.controls import NAMES, NEUTRAL
from x2c_edge.links.codec import CmdU16, SerialParser

Lines = list[dict[str, Any]]


def read(path: Path) -> Lines:
    return [json.loads(line) for line in path.read_text().splitlines()]


def neutral(line: dict[str, Any]) -> bool:
    return bool(np.allclose([line["controls"][name] for name in NAMES], NEUTRAL, atol=1e-6))


@pytest.fixture(scope="module")
def fast_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """d18 (a man, jaw wide open), every frame, with a video; shared by the tests that only look."""
    folder = tmp_path_factory.mktemp("fast")
    subprocess.run(
        [*EDGE, "run", "--input", str(clip("d18")), "--fast", "--link", "jsonl:out.jsonl",
         "--save-video", "out.mp4", "--save-reference", "me.json"],
        cwd=folder, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return folder


def test_every_frame_has_a_line_and_every_line_is_safe(fast_run: Path) -> None:
    lines = read(fast_run / "out.jsonl")
    check_safe(lines)
    assert [line["seq"] for line in lines] == list(range(len(lines)))
    followed = {line["frame_seq"] for line in lines if line["frame_seq"] is not None}
    assert followed == set(range(216))  # from the first frame on
    assert lines[0]["state"] == "FOLLOWING"
    assert neutral(lines[-1])
    assert lines[-1]["state"] == "STOPPED"


def test_the_jaw_follows(fast_run: Path) -> None:
    """d18 opens the mouth wide: the jaw's command goes near the end of its range and comes back."""
    jaw = [line["controls"]["Jaw Pitch"] for line in read(fast_run / "out.jsonl")]
    assert min(jaw) < 0.65
    assert max(jaw) == pytest.approx(1.0, abs=1e-6)


def test_the_video_has_every_frame(fast_run: Path) -> None:
    video = cv2.VideoCapture(str(fast_run / "out.mp4"))
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == 216
    ok, picture = video.read()
    assert ok
    assert picture.shape == (720, 720 + 720 + 560, 3)  # camera, virtual Ameca, bars


def test_the_generated_face_is_in_the_video(edge: Run, tmp_path: Path) -> None:
    run = ["run", "--input", clip("d18"), "--fast", "--pipeline", "two-stage", "--duration", "1"]
    assert edge(*run, "--save-video", "out.mp4").returncode == 0
    ok, picture = cv2.VideoCapture(str(tmp_path / "out.mp4")).read()
    assert ok
    assert picture.shape == (720, 720 + 720 + 720 + 560, 3)  # camera, generated face, virtual Ameca, bars
    assert picture[:, 720:1440].std() > 20


def test_the_same_input_gives_the_same_bytes(fast_run: Path, edge: Run, tmp_path: Path) -> None:
    assert edge("run", "--input", clip("d18"), "--fast", "--link", "jsonl:again.jsonl").returncode == 0
    assert (tmp_path / "again.jsonl").read_bytes() == (fast_run / "out.jsonl").read_bytes()


def test_a_saved_reference_follows_from_the_first_frame(fast_run: Path, edge: Run, tmp_path: Path) -> None:
    done = edge(
        "run", "--input", clip("d18"), "--fast", "--reference", fast_run / "me.json",
        "--link", "jsonl:out.jsonl", "--duration", "1",
    )  # fmt: skip
    assert done.returncode == 0
    assert "other nets" not in done.stderr
    assert read(tmp_path / "out.jsonl")[0]["frame_seq"] == 0


def test_a_reference_of_other_nets_is_told(fast_run: Path, edge: Run, tmp_path: Path) -> None:
    saved = json.loads((fast_run / "me.json").read_text())
    (tmp_path / "old.json").write_text(json.dumps(saved | {"eyes": "0123456789abcdef"}))
    done = edge("run", "--input", clip("d18"), "--fast", "--reference", "old.json", "--duration", "0.2")
    assert done.returncode == 0
    (told,) = (line for line in done.stderr.splitlines() if "other nets" in line)
    assert told.startswith("reference old.json: ")


def test_mirror_swaps_the_sides(fast_run: Path, edge: Run, tmp_path: Path) -> None:
    run = ["run", "--input", clip("d18"), "--fast", "--reference", fast_run / "me.json", "--duration", "4"]
    assert edge(*run, "--mirror", "--link", "jsonl:mirrored.jsonl").returncode == 0
    assert edge(*run, "--link", "jsonl:out.jsonl").returncode == 0
    yaw = [
        np.array([line["controls"]["Head Yaw"] for line in read(tmp_path / name)])
        for name in ("out.jsonl", "mirrored.jsonl")
    ]
    assert np.abs(yaw[0]).max() > 0.02
    np.testing.assert_allclose(yaw[0], -yaw[1], atol=1e-9)


def start(folder: Path, *args: str) -> subprocess.Popen[str]:
    """A live run in the background."""
    (folder / "patient.toml").write_text(PATIENT_RUN)
    return subprocess.Popen(
        [*EDGE, "run", "--input", str(clip("d6")), "--config", "patient.toml", *args],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until_following(path: Path, process: subprocess.Popen[str]) -> None:
    for _ in range(600):
        if path.exists() and '"FOLLOWING"' in path.read_text():
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.1)
    pytest.fail("the run never followed the face")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_ease_to_neutral(tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path, "--link", "jsonl:out.jsonl")
    wait_until_following(tmp_path / "out.jsonl", process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=patient(30))
    assert process.returncode == 0, errors
    lines = read(tmp_path / "out.jsonl")
    check_safe(lines)
    assert lines[-1]["state"] == "STOPPED"
    assert neutral(lines[-1])


def test_kill_9_leaves_whole_lines(tmp_path: Path) -> None:
    process = start(tmp_path, "--link", "jsonl:out.jsonl")
    wait_until_following(tmp_path / "out.jsonl", process)
    for _ in range(600):
        if (tmp_path / "out.jsonl").read_text().count("\n") > 40:
            break
        time.sleep(0.05)
    process.kill()
    process.wait()
    text = (tmp_path / "out.jsonl").read_text()
    whole = text[: text.rfind("\n") + 1].splitlines()
    assert len(whole) > 30
    check_safe([json.loads(line) for line in whole])


def test_serial_frames_on_a_real_pty(tmp_path: Path) -> None:
    """Two links at once: what a peer decodes from the pty is what the file says was sent."""
    master, slave = os.openpty()
    received = bytearray()
    stop = threading.Event()

    def drain() -> None:
        with contextlib.suppress(OSError):  # the pty is closed at the end
            while not stop.is_set():
                received.extend(os.read(master, 4096))

    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    process = start(
        tmp_path, "--link", f"serial://{os.ttyname(slave)}?settle=0", "--link", "jsonl:out.jsonl",
        "--duration", "4",
    )  # fmt: skip
    _, errors = process.communicate(timeout=patient(60))
    assert process.returncode == 0, errors
    time.sleep(0.3)
    stop.set()
    os.close(slave)
    parser = SerialParser()
    commands = [m for m in parser.feed(bytes(received)) if isinstance(m, CmdU16)]
    assert parser.n_bad == 0
    values = np.array([m.values for m in commands])
    assert np.isfinite(values).all()
    # A robot's link replaces what it could not send in time by the newest; a file keeps everything.
    lines = read(tmp_path / "out.jsonl")
    assert len(lines) / 2 < len(commands) <= len(lines) + 3
    sent = {tuple(np.round([line["controls"][name] for name in NAMES], 3)) for line in lines}
    near = [min(np.abs(np.array(s) - v).max() for s in sent) for v in values[:: len(values) // 10]]
    assert max(near) < 2e-3
    np.testing.assert_allclose(values[-1], NEUTRAL, atol=1e-4)
