from __future__ import annotations

import base64
import contextlib
import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.record.recordings import FACTS, PERIOD_NS, seen, smooth, write
from x2c_edge.capture.base import EndOfStream
from x2c_edge.errors import NotFoundError
from x2c_edge.record.mcap_file import McapWriter
from x2c_edge.record.messages import (
    CAMERA,
    EXPRESSION,
    ROBOT_FACE,
    TOPICS,
    expression_message,
    picture_message,
)
from x2c_edge.record.recorded import LONGEST_GAP_NS, Recorded, RecordedFrame

LIVE = FACTS | {"clock": "monotonic"}


def frames(source: Recorded) -> list[RecordedFrame]:
    source.open()
    found: list[RecordedFrame] = []
    with contextlib.suppress(EndOfStream):
        while True:
            found.append(source.read(1.0))
    source.close()
    return found


def times(path: Path) -> list[int]:
    return [frame.t_capture_ns for frame in frames(Recorded(path, pictures=False))]


def test_every_frame_with_its_picture_and_what_was_seen(tmp_path: Path):
    sights = smooth(20)
    source = Recorded(write(tmp_path / "a.mcap", sights), pictures=True)
    found = frames(source)
    assert [f.seq for f in found] == list(range(20))
    for frame, sight in zip(found, sights, strict=True):
        assert frame.t_capture_ns == sight.t_capture_ns
        np.testing.assert_array_equal(frame.seen.expression.values, sight.expression.values)
        assert (frame.width, frame.height) == (64, 48)
        assert np.abs(frame.image.astype(int) - (10 + frame.seq)).max() <= 3
    status = source.status()
    assert (status.frames, status.width, status.height, status.state) == (20, 64, 48, "ended")
    assert not source.cut_short
    assert source.nominal_fps == 30.0
    assert len(frames(source)) == 20  # open starts anew


def test_a_picture_that_was_left_out_is_grey_in_the_right_size(tmp_path: Path):
    path = write(tmp_path / "a.mcap", smooth(3), pictures=False)
    for frame in frames(Recorded(path, pictures=True)):
        assert frame.image.shape == (48, 64, 3)
        assert np.ptp(frame.image) == 0


def test_a_large_picture_comes_back_in_the_frame_s_size(tmp_path: Path):
    path = write(tmp_path / "a.mcap", [replace(s, width=1280, height=721) for s in smooth(2)])
    assert {f.image.shape for f in frames(Recorded(path, pictures=True))} == {(721, 1280, 3)}


def test_the_generated_face_comes_back_in_rgb(tmp_path: Path):
    path = tmp_path / "a.mcap"
    writer = McapWriter(path, TOPICS, FACTS)
    bgr = np.full((32, 32, 3), (200, 100, 30), np.uint8)
    for k, sight in enumerate(smooth(2)):
        if k == 1:
            writer.add(ROBOT_FACE, sight.t_capture_ns, picture_message(bgr, 0, "robot"), k)
        writer.add(EXPRESSION, sight.t_capture_ns, expression_message(sight), k)
    writer.finish({})
    source = Recorded(path, pictures=True)
    source.open()
    assert source.has_robot_face
    first, second = frames(source)
    assert first.robot_face is None
    assert np.abs(second.robot_face.astype(int) - (30, 100, 200)).max() <= 4


@pytest.mark.parametrize(("facts", "start"), [(FACTS, 5), (LIVE, 0)])
def test_a_file_s_clock_is_kept_and_a_live_run_starts_at_zero(tmp_path: Path, facts: dict, start: int):
    path = write(tmp_path / "a.mcap", [seen(k) for k in range(5, 9)], facts)
    assert times(path) == [(start + k) * PERIOD_NS for k in range(4)]


def test_time_always_grows_and_never_by_more_than_a_minute(tmp_path: Path):
    hour = 3600 * 10**9
    odd = [7, 7, 3, 4, 4 + hour, 5 + hour, -(2**62), 2**62, 2**62 + 9]
    path = write(tmp_path / "a.mcap", [seen(k, t_capture_ns=t) for k, t in enumerate(odd)], LIVE)
    step = round(1e9 / 30)
    expected = np.cumsum([0, step, step, 1, LONGEST_GAP_NS, 1, step, LONGEST_GAP_NS, 9])
    assert times(path) == expected.tolist()
    far = write(tmp_path / "far.mcap", [seen(0, t_capture_ns=2**62)])
    assert times(far) == [LONGEST_GAP_NS]


def test_a_cut_file_gives_a_prefix_or_one_clear_error(tmp_path: Path):
    whole = write(tmp_path / "whole.mcap", smooth(40), flush_every=4)
    data = whole.read_bytes()
    expected = [f.seen.expression.values for f in frames(Recorded(whole, pictures=False))]
    cut = tmp_path / "cut.mcap"
    rng = random.Random(1)
    lengths = set()
    for size in rng.sample(range(len(data)), 40):
        cut.write_bytes(data[:size])
        source = Recorded(cut, pictures=False)
        try:
            found = frames(source)
        except NotFoundError:
            lengths.add(0)
            continue
        assert source.cut_short or len(found) == 40
        assert ("cut short" in (source.status().last_error or "")) == source.cut_short
        for frame, values in zip(found, expected, strict=False):
            np.testing.assert_array_equal(frame.seen.expression.values, values)
        lengths.add(len(found))
    assert len(lengths) > 4


@pytest.mark.parametrize("finished", [True, False])
def test_nothing_to_replay_is_said_at_once(tmp_path: Path, finished: bool):
    path = tmp_path / "a.mcap"
    writer = McapWriter(path, {"/other": TOPICS[EXPRESSION]}, FACTS)
    writer.add("/other", 0, {}, 0)
    writer.flush()
    if finished:
        writer.finish({})
    else:
        writer.abandon()
    with pytest.raises(NotFoundError, match=r"a\.mcap: no /expression messages") as error:
        Recorded(path, pictures=False).open()
    assert ("missing" in str(error.value)) == (not finished)


def test_a_message_that_makes_no_sense_ends_it_with_its_number(tmp_path: Path):
    path = tmp_path / "a.mcap"
    writer = McapWriter(path, TOPICS, FACTS)
    for k, sight in enumerate(smooth(3)):
        message = expression_message(sight)
        if k == 2:
            del message["values"]["Jaw Pitch"]
        writer.add(EXPRESSION, sight.t_capture_ns, json.loads(json.dumps(message)), k)
    writer.finish({})
    with pytest.raises(NotFoundError, match=r"message 3 makes no sense .*'Jaw Pitch' is missing"):
        frames(Recorded(path, pictures=False))


@pytest.mark.parametrize("fps", ["", "0", "nan", "-5", "1e9", "fast", "99999999"])
def test_an_odd_frame_rate_is_thirty(tmp_path: Path, fps: str):
    source = Recorded(write(tmp_path / "a.mcap", smooth(2), FACTS | {"fps": fps}), pictures=False)
    source.open()
    assert source.nominal_fps == 30.0


def test_damaged_pictures_are_left_out_and_counted(tmp_path: Path):
    """Also one that OpenCV would throw an error at: the frame stays, grey."""
    path = tmp_path / "a.mcap"
    writer = McapWriter(path, TOPICS, FACTS)
    for k, sight in enumerate(smooth(6)):
        message = picture_message(np.full((48, 64, 3), 90, np.uint8), sight.t_capture_ns, "camera")
        if k % 2:
            whole = base64.b64decode(message["data"])
            hostile = (whole[:2] + b"\xff\x01" * 2000 + whole[2:], b"", whole[:-9] + b"\xff\xd9")[k // 2]
            message["data"] = base64.b64encode(hostile).decode()
        writer.add(CAMERA, sight.t_capture_ns, message, k)
        writer.add(EXPRESSION, sight.t_capture_ns, expression_message(sight), k)
    writer.finish({})
    source = Recorded(path, pictures=True)
    found = frames(source)
    assert [abs(int(f.image[0, 0, 0]) - 90) < 4 for f in found[:5]] == [True, False, True, False, True]
    assert source.status().dropped == 2
    assert source.status().last_error == f"{path}: 2 of its pictures are damaged and left out"
