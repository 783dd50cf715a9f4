from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from x2c_edge.errors import NotFoundError
from x2c_edge.runtime.open_run import open_run
from x2c_edge.runtime.outlets import Outputs
from x2c_edge.runtime.trace import Trace


def events(path: Path) -> list[dict]:
    return json.loads(path.read_text())["traceEvents"]


def test_spans_keep_their_thread_and_times(tmp_path: Path):
    trace = Trace()
    trace.span("net", 2_000, 5_500)
    other = threading.Thread(target=trace.span, args=("tick", 1_000, 1_500, 7), name="actuation")
    other.start()
    other.join()
    trace.write(tmp_path / "t.json")
    found = events(tmp_path / "t.json")
    names = {e["tid"]: e["args"]["name"] for e in found if e["ph"] == "M"}
    spans = {e["name"]: e for e in found if e["ph"] == "X"}
    assert (spans["net"]["ts"], spans["net"]["dur"]) == (2.0, 3.5)  # microseconds
    assert names[spans["tick"]["tid"]] == "actuation"
    assert names[spans["net"]["tid"]] == threading.current_thread().name
    assert spans["tick"]["args"] == {"frame": 7}
    assert "args" not in spans["net"]


def test_an_empty_trace_is_a_trace(tmp_path: Path):
    Trace().write(tmp_path / "t.json")
    assert events(tmp_path / "t.json") == []


def test_a_place_that_cannot_be_written(tmp_path: Path):
    with pytest.raises(NotFoundError, match="cannot be written"):
        Trace().write(tmp_path / "none" / "t.json")


def test_a_run_s_steps_lie_inside_its_frames(settings, tmp_path: Path):
    run = open_run(settings(), Outputs(fast=True, trace=tmp_path / "t.json", max_frames=12))
    run.run()
    found = [e for e in events(tmp_path / "t.json") if e["ph"] == "X"]
    frames = [e for e in found if e["name"] == "frame"]
    assert [e["args"]["frame"] for e in frames] == list(range(12))
    steps = [e for e in found if e["name"] != "frame"]
    assert {e["name"] for e in steps} == {"crop", "net", "decode"}
    for step in steps:
        assert step["dur"] >= 0
        assert any(
            f["tid"] == step["tid"]
            and f["ts"] <= step["ts"]
            and step["ts"] + step["dur"] <= f["ts"] + f["dur"]
            for f in frames
        )
    # The second look at the frame in which the face was found is a second set of steps.
    assert len(steps) == 3 * 13
