from __future__ import annotations

import json

import cv2
import numpy as np

from x2c_edge.controls import NAMES, NEUTRAL, SAFE_HIGH
from x2c_edge.monitor import feed
from x2c_edge.monitor.prometheus import exposition


def test_commands_are_rows_of_doubles_after_eight_bytes() -> None:
    rows = [feed.Row(1000.5, 2, 0x28, float("nan"), NEUTRAL), feed.Row(1017.0, 3, 0, 21.5, SAFE_HIGH)]
    slot, data = feed.slot_of(feed.commands(rows))
    assert slot == "commands"
    table = np.frombuffer(data, "<f8", offset=8).reshape(-1, feed.COMMAND_COLUMNS)
    np.testing.assert_array_equal(table[:, :3], [[1000.5, 2, 0x28], [1017.0, 3, 0]])
    assert np.isnan(table[0, 3])
    np.testing.assert_array_equal(table[1, 4:], SAFE_HIGH)


def test_texts_name_their_slot() -> None:
    assert feed.slot_of(feed.log(1.25, "x"))[0] == "log"
    assert feed.slot_of(feed.snapshot({"state": "NEUTRAL"}))[0] == "snapshot"
    slot, text = feed.slot_of(feed.hello({"source": "a"}))
    assert slot == "hello"
    hello = json.loads(text)
    assert [control["name"] for control in hello["controls"]] == list(NAMES)
    assert hello["source"] == "a"
    for control in hello["controls"]:
        low, high = control["safe"]
        assert control["low"] <= low <= control["neutral"] <= high <= control["high"]


def test_a_picture_is_made_smaller_and_carries_its_facts() -> None:
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 255, (18, 32, 3), np.uint8), (1280, 720))
    data = feed.picture("P", image, {"hint": "x"})
    assert data is not None
    assert len(data) < feed.LONGEST_MESSAGE
    length = int.from_bytes(data[8:12], "little")
    assert json.loads(data[12 : 12 + length]) == {"width": 1280, "height": 720, "hint": "x"}
    shown = cv2.imdecode(np.frombuffer(data[12 + length :], np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (270, 480, 3)


def test_a_picture_that_would_not_fit_is_left_out() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (480, 480, 3), np.uint8)
    data = feed.picture("P", noise, {"hint": "x" * feed.LONGEST_MESSAGE})
    assert data is None


def test_metrics_are_prometheus_text() -> None:
    links = [{"uri": 'udp://"a"', "state": "up", "sent": 5, "dropped": 0, "errors": 1}]
    text = exposition(
        {"state": "FOLLOWING", "gear": "two-stage", "misses": 3, "budget_ms": 50.0, "links": links}
    )
    lines = text.splitlines()
    assert "x2c_edge_budget_misses_total 3" in lines
    assert "x2c_edge_budget_seconds 0.05" in lines
    assert 'x2c_edge_state{state="FOLLOWING"} 1' in lines
    assert 'x2c_edge_link_up{link="udp://\\"a\\""} 1' in lines
    named = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert {line.split("{")[0].split()[0] for line in lines if not line.startswith("#")} == named
    assert exposition({}).splitlines()[-1] == "x2c_edge_up 1"
