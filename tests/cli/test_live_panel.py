from __future__ import annotations

import contextlib
import io
import os
import re
from dataclasses import replace

import pytest
from rich.console import Console

from x2c_edge.capture.base import SourceStatus
from x2c_edge.cli.doors import HOLD_KEYS, KEYS, REPLAY_KEYS
from x2c_edge.cli.live_panel import LivePanel, panel, panel_for, plain_line, summary_line
from x2c_edge.links.base import LinkStatus
from x2c_edge.runtime.telemetry import Snapshot

SERIAL = LinkStatus("serial:///dev/ttyUSB0?baud=921600", "up", sent=223380)
JSONL = LinkStatus("jsonl:demo/controls.jsonl", "up", sent=223379, dropped=1)
UDP = LinkStatus("udp://192.168.10.20:9000", "down", 100, 3, 17, 2, "network is unreachable")
GOOD = Snapshot(
    elapsed_s=3723.2,
    state="FOLLOWING",
    reason="",
    gear="single-stage",
    calibration="",
    neutral="average person, 40% learnt",
    frames=111696,
    skipped=812,
    with_face=110580,
    vision_fps=29.97,
    commands=223380,
    capture_to_wire_p50_ms=19.04,
    capture_to_wire_p99_ms=29.2,
    misses=12,
    budget_ms=50.0,
    tick_jitter_p99_ms=0.83,
    source=SourceStatus("up", 112508, 14, 0, 1280, 720, "MJPG", 29.97),
    links=(SERIAL, JSONL),
)
BAD = replace(
    GOOD,
    state="FAULT",
    reason="3 link errors in a row on serial:///dev/ttyUSB0?baud=921600; see the cable and start again",
    gear="hold",
    calibration="look straight at the camera with a relaxed face",
    capture_to_wire_p99_ms=61.0,
    source=SourceStatus(
        "reopening", reopened=3, last_error="/dev/video0: no such device; trying again in 2 s"
    ),
    links=(SERIAL, JSONL, UDP),
)
NOTHING_YET = replace(
    GOOD, state="STARTING", frames=0, with_face=0, skipped=0, commands=0, capture_to_wire_p50_ms=0.0,
    capture_to_wire_p99_ms=0.0, source=SourceStatus("up"), links=(),
)  # fmt: skip


def rendered(snapshot, width=80, height=24):
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=height, record=True)
    console.print(panel(snapshot, height=height, keys=KEYS))
    return console.export_text().rstrip("\n")


def styled(snapshot):
    stream = io.StringIO()
    Console(file=stream, force_terminal=True, width=100, color_system="standard").print(panel(snapshot))
    return stream.getvalue()


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("snapshot", [GOOD, BAD, NOTHING_YET], ids=["good", "bad", "nothing"])
def test_panel_fits_the_terminal_without_wrapping(snapshot, width):
    lines = rendered(snapshot, width).splitlines()
    assert {len(line) for line in lines} == {width}
    assert len(lines) <= 24
    assert lines[0].startswith("╭")
    assert lines[-1].startswith("╰")
    assert all(line[0] == line[-1] == "│" for line in lines[1:-1])


@pytest.mark.parametrize("width", [80, 120])
def test_panel_says_everything(width):
    text = rendered(GOOD, width)
    for words in (
        "state    FOLLOWING",
        "gear     single-stage   30.0 frames/s   face in 99%",
        "p50 19.0 ms  p99 29.2 ms  of 50 ms",
        "[=========-----..........]",
        "misses 12  skipped 812 of 112508 frames  tick jitter p99 0.8 ms",
        "up  1280x720 MJPG 30.0/s  112508 frames, 14 dropped",
        "1:02:03",
    ):
        assert words in text
    assert re.search(r"serial:///dev/ttyUSB0\?baud=921600 +up +223380 +0 +0 ", text)
    assert re.search(r"jsonl:demo/controls.jsonl +up +223379 +1 +0 ", text)


def test_the_lowest_line_says_which_keys_there_are():
    for keys in (KEYS, REPLAY_KEYS, HOLD_KEYS):
        stream = io.StringIO()
        with LivePanel(Console(file=stream, force_terminal=True, width=80, height=24)) as shown:
            shown.keys = keys
            shown.update(GOOD)
        assert "  ".join(("1:02:03", *keys)) in stream.getvalue()


def test_a_terminal_that_has_gone_is_no_error():
    class Terminal(io.StringIO):
        gone = False

        def write(self, text):
            if self.gone:
                raise OSError(5, "Input/output error")
            return super().write(text)

    stream = Terminal()
    with LivePanel(Console(file=stream, force_terminal=True, width=80, height=24)) as shown:
        shown.update(GOOD)
        stream.gone = True
        shown.update(GOOD)
        shown.finish(GOOD)


@pytest.mark.parametrize("place", ["a full disk", "a reader that has gone"])
def test_lines_that_nobody_takes_are_no_error(place):
    if place == "a full disk":
        stream = open("/dev/full", "w")  # noqa: SIM115
    else:
        reader, writer = os.pipe()
        os.close(reader)
        stream = open(writer, "w")  # noqa: SIM115
    shown = panel_for(stream)
    for _ in range(2):
        shown.update(replace(GOOD, elapsed_s=0.0))
        shown.finish(GOOD)
    assert not shown._console._buffer  # else every line would be kept for ever
    with contextlib.suppress(OSError):  # what it could not write is still in its buffer
        stream.close()


def test_panel_shows_trouble():
    text = rendered(BAD, 120)
    for words in (
        "FAULT  3 link errors in a row on serial",
        "look straight at the camera with a relaxed face",
        "reopening  0 frames, 0 dropped, reopened 3",
        "/dev/video0: no such device",
    ):
        assert words in text
    assert re.search(r"udp://192.168.10.20:9000 +down +100 +3 +17 +network is unreachable", text)


def test_panel_before_the_first_frame():
    text = rendered(NOTHING_YET)
    assert "no frame yet" in text
    assert "p50 - ms  p99 - ms" in text
    assert "no link: nothing is sent" in text


def test_states_and_lateness_are_coloured():
    assert "\x1b[1;32mFOLLOWING" in styled(GOOD)
    assert "\x1b[1;37;41mFAULT" in styled(BAD)
    assert "\x1b[1;32m29.2 ms" in styled(GOOD)
    assert "\x1b[1;31m61.0 ms" in styled(BAD)
    assert "\x1b[1;33m45.0 ms" in styled(replace(GOOD, capture_to_wire_p99_ms=45.0))


@pytest.mark.parametrize("height", [24, 40])
def test_many_links_are_cut_and_the_broken_one_stays(height):
    links = (*(LinkStatus(f"udp://10.0.0.{i}:9000", "up") for i in range(60)), UDP)
    text = rendered(replace(BAD, links=links), 80, height)
    assert len(text.splitlines()) <= height
    assert "192.168.10.20" in text
    hidden = int(re.search(r"and (\d+) more", text)[1])
    assert hidden + text.count("udp://") == 61


def test_markup_in_names_is_shown_as_it_is():
    odd = replace(
        GOOD, reason="[bold]x[/nope]", gear="[red]gear", links=(LinkStatus("jsonl:[a].jsonl", "up"),)
    )
    text = rendered(odd)
    for words in ("[bold]x[/nope]", "[red]gear", "jsonl:[a].jsonl"):
        assert words in text


def test_outside_a_terminal_a_line_every_five_seconds_and_a_summary():
    stream = io.StringIO()
    with panel_for(stream) as shown:
        for tenth in range(121):
            shown.update(replace(GOOD, elapsed_s=tenth / 10))
        shown.finish(replace(GOOD, elapsed_s=12.0))
    lines = stream.getvalue().splitlines()
    assert [line.split("|")[0].strip() for line in lines[:-1]] == ["0.0 s", "5.0 s", "10.0 s"]
    assert lines[-1] == summary_line(replace(GOOD, elapsed_s=12.0))
    assert "\x1b" not in stream.getvalue()


def test_plain_lines_stay_one_line_and_say_what_matters():
    line = plain_line(BAD)
    assert "\n" not in line
    for words in (
        "FAULT (3 link errors",
        "hold",
        "p99 61.0 ms of 50 ms",
        "misses 12",
        "skipped 812",
        "source reopening",
        "udp://192.168.10.20:9000 down",
        "look straight at the camera",
    ):
        assert words in line
    assert "no frames" in summary_line(NOTHING_YET)
    summary = summary_line(BAD)
    assert "111696 frames (99% with a face), 812 skipped, 223380 commands" in summary
    assert "udp://192.168.10.20:9000 sent 100 dropped 3 errors 17" in summary


def test_in_a_terminal_the_panel_is_redrawn_in_place_and_stays():
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, height=24)
    with LivePanel(console) as shown:
        shown.update(GOOD)
        shown.update(replace(GOOD, state="HOLDING"))
        shown.finish(replace(GOOD, state="STOPPED"))
    text = stream.getvalue()
    assert text.index("FOLLOWING") < text.index("HOLDING") < text.index("STOPPED")
    assert "\x1b[1A" in text  # goes back up instead of scrolling
    assert "done after" not in text
