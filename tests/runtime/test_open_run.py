from __future__ import annotations

import json
import socket
from pathlib import Path

import cv2
import numpy as np
import pytest

from x2c_edge.controls import INDEX, NEUTRAL
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.pipelines.reference import Reference
from x2c_edge.runtime.open_run import open_run
from x2c_edge.runtime.outlets import Outputs
from x2c_edge.runtime.settings import load

FAST = Outputs(fast=True, max_frames=40)


@pytest.mark.parametrize(
    "limit",
    [{"low": 0.2}, {"high": 1.2}, {"slew": 1000.0}, {"slew": 0.0}, {"low": 0.9, "high": 0.6}],
    ids=str,
)
def test_limits_can_only_narrow(settings, limit: dict):
    with pytest.raises(BadArgumentError, match="Jaw Pitch") as error:
        open_run(settings(safety={"limits": {"Jaw Pitch": limit}}), FAST)
    assert "\n" not in str(error.value)


def test_a_narrowed_control_stays_inside(settings, tmp_path: Path):
    path = tmp_path / "a.jsonl"
    tree = settings(
        run={"link": (f"jsonl:{path}",)},
        safety={"limits": {"Brow Inner Left": {"low": 0.6, "high": 0.7}}},
    )
    open_run(tree, FAST).run()
    values = [json.loads(line)["controls"]["Brow Inner Left"] for line in path.read_text().splitlines()]
    assert 0.6 <= min(values) <= max(values) <= 0.7


def test_hold_must_come_before_neutral(settings):
    with pytest.raises(BadArgumentError, match="neutral_after"):
        open_run(settings(safety={"hold_after": 3.0, "neutral_after": 1.0}), FAST)


def test_a_missing_pack_is_found_before_anything_is_written(settings, tmp_path: Path):
    path = tmp_path / "a.jsonl"
    with pytest.raises(NotFoundError, match="not installed"):
        open_run(settings(run={"pack": "nosuch", "link": (f"jsonl:{path}",)}), FAST)
    assert not path.exists()


def test_a_missing_source(settings, tmp_path: Path):
    with pytest.raises(NotFoundError, match="no such file"):
        open_run(settings(capture={"input": str(tmp_path / "none.mp4")}), FAST)


def test_a_link_that_cannot_be_understood(settings):
    with pytest.raises(BadArgumentError, match="unknown scheme 'sreial'"):
        open_run(settings(run={"link": ("sreial:///dev/ttyUSB0",)}), FAST)


def test_a_link_that_cannot_be_opened_closes_the_others(settings, tmp_path: Path):
    path = tmp_path / "a.jsonl"
    with pytest.raises(NotFoundError):
        open_run(settings(run={"link": (f"jsonl:{path}", "serial:///dev/ttyNONE")}), FAST)
    assert path.read_text() == ""


def test_two_stage_needs_a_pack_that_has_it(settings):
    with pytest.raises(NotFoundError, match="two-stage"):
        open_run(settings(run={"pipeline": "two-stage"}), FAST)


def test_a_picture_without_a_face_is_an_error(settings, tmp_path: Path):
    path = tmp_path / "wall.png"
    cv2.imwrite(str(path), np.full((240, 320, 3), 90, np.uint8))
    run = open_run(settings(capture={"input": str(path)}), Outputs(fast=True))
    with pytest.raises(NotFoundError, match="no face was found in 60 frames;"):
        run.run()


def test_an_interrupted_run_does_not_complain(settings, tmp_path: Path):
    path = tmp_path / "wall.png"
    cv2.imwrite(str(path), np.full((240, 320, 3), 90, np.uint8))
    run = open_run(settings(capture={"input": str(path)}), Outputs(fast=True))
    run.stop()
    run.run()
    assert run.supervisor.stopped


def test_the_reference_is_saved_and_used_again(settings, tmp_path: Path):
    path = tmp_path / "driver.json"
    first = open_run(settings(), Outputs(fast=True, max_frames=40, save_reference=path))
    first.run()
    saved = Reference.load(path)
    np.testing.assert_array_equal(saved.values, first.eyes.reference.values)
    again = open_run(settings(calibration={"reference": path}), Outputs(fast=True, max_frames=3))
    again.run()
    assert again.supervisor.counters.entries["FOLLOWING"] == 1  # at once
    assert again.caution == ""


@pytest.mark.parametrize(("eyes", "told"), [("0123456789abcdef", True), ("", False)])
def test_a_reference_that_other_nets_took_is_used_and_told(settings, tmp_path: Path, eyes: str, told: bool):
    path = tmp_path / "driver.json"
    Reference(NEUTRAL, np.eye(3), eyes=eyes).save(path)
    with open_run(settings(calibration={"reference": path}), Outputs(fast=True, max_frames=3)) as run:
        assert bool(run.caution) is told
        assert not told or f"reference {path}: taken with other nets than pack" in run.caution
        assert run.eyes.has_reference


def test_a_reference_that_is_taken_again_is_not_the_old_one_under_a_new_name(settings, tmp_path: Path):
    path = tmp_path / "driver.json"
    odd = NEUTRAL + 0.2
    Reference(odd, np.eye(3), eyes="0123456789abcdef").save(path)
    run = open_run(settings(calibration={"reference": path}), Outputs(fast=True, save_reference=path))
    assert run.caution.endswith("as this run does")
    run.run()
    assert Reference.load(path).eyes != "0123456789abcdef"
    assert np.abs(Reference.load(path).values - odd).max() > 0.1


def test_a_snapshot_says_what_the_run_did(settings):
    run = open_run(settings(run={"budget_ms": 70.0}), FAST)
    before = run.snapshot()
    assert (before.frames, before.state) == (0, "STARTING")
    run.run()
    after = run.snapshot()
    assert (after.frames, after.with_face, after.skipped) == (40, 40, 0)
    assert after.state == "STOPPED"
    assert after.budget_ms == 70.0
    assert after.calibration == ""
    assert after.commands > 70
    assert (after.source.width, after.source.height) == (240, 240)
    assert after.links[0].uri == "null:"
    assert after.links[0].sent == after.commands


def test_gains_and_mirror_reach_the_robot(settings, tmp_path: Path):
    """With head gain 0 the head never moves, whatever the network says."""
    path = tmp_path / "a.jsonl"
    open_run(settings(run={"link": (f"jsonl:{path}",)}, motion={"gain": {"head": 0.0}}), FAST).run()
    lines = [json.loads(line)["controls"] for line in path.read_text().splitlines()]
    assert all(line[name] == 0.0 for line in lines for name in INDEX if name.startswith(("Head", "Neck")))


def test_fast_needs_a_file():
    tree = load(None, {"capture": {"camera": 63}})
    with pytest.raises((NotFoundError, BadArgumentError)):
        open_run(tree, FAST)


def test_the_page_s_port_is_free_again_when_there_is_no_run(settings):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NotFoundError, match="not installed") as error:
        open_run(settings(run={"pack": "nosuch"}), Outputs(monitor=str(port)))
    with socket.create_server(("127.0.0.1", port)):
        assert "nosuch" in str(error.value)  # and with it all that its traceback still holds
