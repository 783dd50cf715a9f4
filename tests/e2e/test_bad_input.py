"""Bad input: one clear line on stderr that names what and where, and the contract's exit code."""

from __future__ import annotations

import socket
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.e2e.edge import Run, clip


def one_line(text: str) -> str:
    """The single line that an error must be."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    assert len(lines) == 1, text
    assert "Traceback" not in text
    return lines[0]


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["--camera", "77"], 3, "/dev/video77"),
        (["--input", "missing.mp4"], 3, "missing.mp4"),
        (["--input", "x.mp4", "--camera", "0"], 2, "--camera"),
        (["--input", "empty.mp4"], 3, "empty.mp4"),
        (["--input", "garbage.mp4"], 3, "garbage.mp4"),
        (["--input", "empty_folder"], 3, "empty_folder"),
        (["--input", "ok.png", "--link", "seriel:///dev/x"], 2, "serial"),
        (["--input", "ok.png", "--link", "serial:///dev/ttyNONE7"], 3, "/dev/ttyNONE7"),
        (["--input", "ok.png", "--link", "jsonl:no/such/folder/out.jsonl"], 3, "no/such/folder"),
        (["--input", "ok.png", "--save-video", "no/such/folder/out.mp4"], 3, "no/such/folder"),
        (["--input", "ok.png", "--pack", "nobody"], 3, "nobody"),
        (["--input", "ok.png", "--pipeline", "tripple"], 2, "single-stage"),
        (["--input", "ok.png", "--backend", "tensorrt"], 3, "tensorrt"),
        (["--input", "ok.png", "--budget-ms", "0"], 2, "budget_ms"),
        (["--input", "ok.png", "--config", "wrong_key.toml"], 2, "hold_after"),
        (["--input", "ok.png", "--config", "wide.toml"], 2, "Head Yaw"),
        (["--input", "ok.png", "--config", "pinned.toml"], 2, "forbidden combination"),
        (["--input", "ok.png", "--config", "not.toml"], 2, "not.toml"),
        (["--input", "ok.png", "--reference", "missing.json"], 3, "missing.json"),
        (["--input", "ok.png", "--reference", "empty.mp4"], 2, "empty.mp4"),
        (["--camera", "gst:videotestsrc", "--fast"], 3, "GStreamer"),
    ],
)
def test_one_line_and_the_right_exit_code(
    edge: Run, tmp_path: Path, args: list[str], code: int, says: str
) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "garbage.mp4").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "empty_folder").mkdir()
    (tmp_path / "wrong_key.toml").write_text("[safety]\nhold_aftr = 0.1\n")
    (tmp_path / "wide.toml").write_text('[safety.limits."Head Yaw"]\nhigh = 2.0\n')
    (tmp_path / "pinned.toml").write_text(
        '[safety.limits]\n"Jaw Pitch" = { low = 0.9 }\n"Lip Bottom Depress Middle" = { high = 0.2 }\n'
    )
    (tmp_path / "not.toml").write_text("[[[")
    cv2.imwrite(str(tmp_path / "ok.png"), np.zeros((64, 64, 3), np.uint8))
    if says == "GStreamer" and "GStreamer:                   YES" in cv2.getBuildInformation():
        pytest.skip("this OpenCV has GStreamer")
    done = edge("run", *args)
    assert says in one_line(done.stderr)
    assert done.returncode == code
    assert done.stdout == ""


def picture(kind: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    return {
        "16x16": rng.integers(0, 255, (16, 16, 3), np.uint8),
        "gray": rng.integers(0, 255, (120, 160), np.uint8),
        "four_channels": rng.integers(0, 255, (120, 160, 4), np.uint8),
        "sixteen_bit": rng.integers(0, 65535, (120, 160, 3), np.uint16),
    }[kind]


@pytest.mark.parametrize("kind", ["16x16", "gray", "four_channels", "sixteen_bit"])
def test_odd_pictures_are_read_and_have_no_face(edge: Run, tmp_path: Path, kind: str) -> None:
    clip("d18")  # the shipped pack is needed
    cv2.imwrite(str(tmp_path / f"{kind}.png"), picture(kind))
    done = edge("run", "--input", f"{kind}.png", "--fast", "--link", "jsonl:out.jsonl")
    assert done.returncode == 3
    assert "no face" in done.stderr.strip().splitlines()[-1]
    assert f"{kind}.png" in done.stderr.strip().splitlines()[-1]


def test_odd_pictures_of_a_face_work(edge: Run, tmp_path: Path) -> None:
    source = cv2.VideoCapture(str(clip("d18")))
    _, face = source.read()
    gray = cv2.cvtColor(face, cv2.COLOR_BGR2GRAY)
    (tmp_path / "faces").mkdir()
    for i, image in enumerate(
        [face, gray, cv2.cvtColor(face, cv2.COLOR_BGR2BGRA), face.astype(np.uint16) * 257]
    ):
        cv2.imwrite(str(tmp_path / "faces" / f"{i}.png"), image)
    done = edge("run", "--input", "faces", "--fast", "--link", "jsonl:out.jsonl")
    assert done.returncode == 0, done.stderr
    assert "4 frames (100% with a face)" in done.stderr


def test_a_truncated_clip_is_played_as_far_as_it_goes_or_refused(edge: Run, tmp_path: Path) -> None:
    data = clip("d18").read_bytes()
    (tmp_path / "half.mp4").write_bytes(data[: len(data) // 2])
    done = edge("run", "--input", "half.mp4", "--fast")
    assert done.returncode == 3
    assert "half.mp4" in one_line(done.stderr)


def test_a_damaged_pack_is_refused(edge: Run, tmp_path: Path) -> None:
    clip("d18")
    from x2c_edge import packs

    original, copy = packs.find("default"), tmp_path / "mine"
    copy.mkdir()
    for file in original.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    weights = copy / "single_stage.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    weights.write_bytes(bytes(damaged))
    (tmp_path / "ok.png").write_bytes(cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes())
    for command in (["run", "--input", "ok.png", "--pack", str(copy)], ["packs", "verify", str(copy)]):
        done = edge(*command)
        assert done.returncode == 3
        assert "sha256" in one_line(done.stderr)


def test_a_udp_port_out_of_range_and_a_free_one(edge: Run, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        done = edge("run", "--input", "x.png", "--link", "udp://127.0.0.1:99999")
    assert done.returncode == 2
    assert "99999" in one_line(done.stderr)
