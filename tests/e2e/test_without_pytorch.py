"""The default pack runs without PyTorch: here it is made impossible to import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import patient
from x2c_edge import packs

BEGINNING = """
import sys
sys.modules["torch"] = None
from x2c_edge.cli.main import main
sys.argv[0] = "x2c-edge"
main()
"""


def edge(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BEGINNING, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=patient(250), check=False)


@pytest.mark.parametrize("pipeline", ["two-stage", "direct", "single-stage"])
def test_run(real_pack: str, pipeline: str, tmp_path: Path):
    clip = packs.open_pack(real_pack).files["clip"].file
    out = tmp_path / "out.jsonl"
    done = edge("run", "--pipeline", pipeline, "--input", str(clip), "--fast", "--link", f"jsonl:{out}")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert {line["pipeline"] for line in lines} >= {pipeline}
    assert lines[-1]["state"] == "STOPPED"


def test_profile_says_what_ran(real_pack: str, face_clip: Path):
    done = edge("profile", "--input", str(face_clip), "--fast", "--frames", "5")
    assert done.returncode == 0, done.stderr
    assert "default pack, cpu on cpu, ONNX Runtime" in done.stdout


def test_doctor_is_content():
    done = edge("doctor")
    assert done.returncode == 0
    assert "ok   CPU engine" in done.stdout
    assert "--   torch" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        (("packs", "import", "x.pth", "--robot-image", "x.png", "--name", "x"), "'x2c-edge[torch]'"),
        (("packs", "replace-net", "default", "mapping", "x.json"), "'x2c-edge[torch,onnx]'"),
        (("build-engines", "--target", "cpu"), "'x2c-edge[torch,onnx]'"),
        (("run", "--backend", "torch", "--input", "x.mp4"), "'x2c-edge[torch]'"),
    ],
)
def test_what_needs_it_says_so(real_pack: str, arguments: tuple[str, ...], fix: str):
    done = edge(*arguments)
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith(f"run: pip install {fix}\n")
