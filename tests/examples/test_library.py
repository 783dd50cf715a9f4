"""The library's front door: the examples as programs, and the same doors with what they must refuse."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import x2c_edge
from tests.command_lines import check_safe
from tests.patience import patient
from x2c_edge import capture
from x2c_edge.controls import INDEX, NEUTRAL
from x2c_edge.errors import BadArgumentError, NotFoundError

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "examples" / "library"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def example(name: str, *arguments: object, folder: Path) -> str:
    words = [sys.executable, str(SCRIPTS / name), *map(str, arguments)]
    done = subprocess.run(
        words, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=patient(60)
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_video_to_values(face_clip: Path, tmp_path: Path) -> None:
    lines = example("video_to_values.py", face_clip, folder=tmp_path).splitlines()
    assert lines[0].split(",") == ["seconds", *x2c_edge.NAMES]
    rows = np.array([[float(cell) for cell in line.split(",")] for line in lines[1:]])
    assert len(rows) > 70
    assert (np.diff(rows[:, 0]) > 0).all()
    assert np.isfinite(rows).all()


def test_values_to_a_robot(tmp_path: Path) -> None:
    example("values_to_robot.py", "jsonl:out.jsonl", folder=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    check_safe(lines)
    pitch = np.array([line["controls"]["Head Pitch"] for line in lines])
    assert np.ptp(pitch) > 0.1  # it nods
    np.testing.assert_allclose(list(lines[-1]["controls"].values()), NEUTRAL, atol=1e-6)
    assert lines[-1]["state"] == "STOPPED"


def test_examples_are_short() -> None:
    for script in SCRIPTS.glob("*.py"):
        code = ast.parse(script.read_text()).body
        assert sum(len(ast.unparse(node).splitlines()) for node in code[1:]) <= 16, script.name


def test_whatever_is_shown_leaves_safe_and_silence_goes_home(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    with x2c_edge.RobotOutput(f"jsonl:{tmp_path / 'out.jsonl'}") as robot:
        for number in range(60):
            pose = rng.uniform(-9, 9, 30)
            if number % 10 == 0:  # all the time would be a fault
                pose[rng.integers(30)] = np.nan
            robot.show(pose)
            time.sleep(1 / 60)
        time.sleep(1.5)  # nothing more is shown
        assert robot.supervisor.state in ("RETURNING", "NEUTRAL")
        with pytest.raises(BadArgumentError, match=r"30 values, not the shape \(3,\)"):
            robot.show([1, 2, 3])
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    check_safe(lines)
    assert {"FOLLOWING", "HOLDING"} <= {line["state"] for line in lines}


def test_a_robot_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nothing-here"):
        x2c_edge.RobotOutput(f"serial://{tmp_path}/nothing-here").__enter__()


def test_pictures(portrait: np.ndarray) -> None:
    reader = x2c_edge.PictureReader()
    values = reader.read(portrait)
    assert values is not None
    assert values.shape == (30,)
    smile = (values - NEUTRAL)[[INDEX["Lip Corner Raise Left"], INDEX["Lip Corner Raise Right"]]]
    assert smile.min() > 0.1  # she smiles
    np.testing.assert_allclose(reader.read(portrait), values, atol=0.02)  # nothing is learnt in between
    assert reader.read(np.zeros((120, 120, 3), np.uint8)) is None
    lying = np.rot90(portrait, 3)
    assert all(reader.read(lying) is not None for _ in range(3))  # not only the first that lies
    one = np.empty_like(portrait)
    for picture in (portrait, lying, portrait[:, ::-1]):
        one = np.resize(one, picture.shape)
        one[...] = picture
        assert reader.read(one) is not None  # every time the same array
    with pytest.raises(BadArgumentError, match=r"\(H, W, 3\) uint8"):
        reader.read(portrait.astype(np.float32))  # type: ignore[arg-type]


def test_a_source_closes_and_ends(face_clip: Path) -> None:
    with x2c_edge.open_source(x2c_edge.SourceSpec(input=str(face_clip))) as video:
        assert sum(1 for _ in video) == 75
        assert isinstance(video, capture.video_file.VideoFile)
    with x2c_edge.open_source(x2c_edge.SourceSpec(input=str(face_clip))) as video:
        assert next(iter(video)).seq == 0


def test_a_run_that_is_left_alone_lets_go(face_clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    settings = x2c_edge.load_settings(
        None, {"run": {"link": [f"jsonl:{out}"]}, "capture": {"input": str(face_clip)}}
    )
    with x2c_edge.open_run(settings, x2c_edge.Outputs(fast=True)):
        pass
    with x2c_edge.open_run(settings, x2c_edge.Outputs(fast=True, duration_s=0.5)) as run:
        run.run()
    check_safe([json.loads(line) for line in out.read_text().splitlines()])


def test_every_name_opens_and_is_on_the_page() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    told = set(re.findall(r"^\| `(\w+)", page, re.MULTILINE))
    names = set(x2c_edge.__all__) - {"__version__"}
    assert told == names
    for name in names:
        assert getattr(x2c_edge, name) is not None
    assert names <= set(dir(x2c_edge))
    with pytest.raises(AttributeError, match="no attribute 'open_robot'"):
        x2c_edge.open_robot  # noqa: B018


def test_the_page_s_programs_are_the_examples() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    for script in SCRIPTS.glob("*.py"):
        body = script.read_text().split('"""\n', 1)[1].strip()
        assert body in page, script.name
