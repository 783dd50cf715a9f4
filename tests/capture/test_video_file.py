from __future__ import annotations

import itertools
import struct
from pathlib import Path

import numpy as np
import pytest

from x2c_edge.capture.base import EndOfStream
from x2c_edge.capture.open import SourceSpec, open_source
from x2c_edge.capture.video_file import VideoFile
from x2c_edge.errors import NotFoundError
from x2c_edge.frames import Frame


def read_all(source: VideoFile) -> list[Frame]:
    frames = []
    while True:
        try:
            frame = source.read(1.0)
        except EndOfStream:
            return frames
        assert frame is not None
        frames.append(frame)


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "MJPG"), ("a.mp4", "mp4v"), ("a.mkv", "FFV1")])
def test_every_frame_in_order_with_the_files_times(write_video, name, codec):
    source = VideoFile(write_video(name, codec, frames=20, fps=25.0))
    source.open()
    assert not source.live
    assert source.nominal_fps == pytest.approx(25.0)
    frames = read_all(source)
    assert [frame.seq for frame in frames] == list(range(20))
    assert [frame.t_capture_ns for frame in frames] == [k * 40_000_000 for k in range(20)]
    for k, frame in enumerate(frames):
        assert frame.format == "BGR"
        assert frame.image.shape == (48, 64, 3)
        assert frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous
        assert abs(frame.image.mean() - (20 + 9 * k)) < 4
    status = source.status()
    assert (status.state, status.frames, status.dropped) == ("ended", 20, 0)
    assert (status.width, status.height) == (64, 48)
    assert status.last_error is None
    with pytest.raises(EndOfStream):
        source.read(0.0)


def test_frames_do_not_share_memory(write_video):
    source = VideoFile(write_video("a.avi", "MJPG"))
    source.open()
    frames = read_all(source)
    assert not np.shares_memory(frames[0].image, frames[1].image)
    assert abs(frames[0].image.mean() - 20) < 4


def test_opened_again_it_starts_again(write_video):
    source = VideoFile(write_video("a.avi", "MJPG"))
    source.open()
    first = read_all(source)
    source.close()
    source.open()
    again = read_all(source)
    assert [f.t_capture_ns for f in first] == [f.t_capture_ns for f in again]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, again, strict=True))


def test_truncated_video_delivers_what_decodes_and_says_so(write_video):
    path = write_video("a.avi", "MJPG", frames=40)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    source = open_source(SourceSpec(input=str(path)))
    frames = read_all(source)
    assert 0 < len(frames) < 36
    status = source.status()
    assert status.state == "ended"
    assert status.last_error == f"{path} ends after {len(frames)} of 40 frames: truncated or damaged"


def test_video_without_its_index_is_refused_in_one_line(write_video):
    path = write_video("a.mp4", "mp4v")
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(NotFoundError, match=r"a\.mp4: truncated, damaged") as caught:
        open_source(SourceSpec(input=str(path)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"hello\n" * 300, bytes(range(256)) * 20, b"\0" * 4096])
def test_other_content_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "not_a_video.mp4"
    path.write_bytes(content)
    with pytest.raises(NotFoundError, match="not_a_video"):
        open_source(SourceSpec(input=str(path)))


def test_rotation_in_the_metadata_is_applied(write_video):
    path = write_video("a.mp4", "mp4v", size=(64, 48))
    content = bytearray(path.read_bytes())
    # The track header's matrix: 90 degrees (ISO 14496-12, tkhd version 0; 16.16 and 2.30 fixed point).
    at = content.index(b"tkhd") + 4 + 40
    one = 1 << 16
    content[at : at + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    source = VideoFile(path)
    source.open()
    frame = source.read(1.0)
    assert frame is not None
    assert (frame.height, frame.width) == (64, 48)
    assert frame.image.flags.c_contiguous


@pytest.mark.parametrize("media_ms", [[0.0, 40.0, 40.0, 30.0, 300.0], [0.0, float("nan"), 0.0, -5.0, 0.0]])
def test_times_always_grow(media_ms):
    source = VideoFile("any")
    source.nominal_fps = 25.0
    times = [source._growing(ms) for ms in media_ms]
    assert all(later > earlier for earlier, later in itertools.pairwise(times))
    assert times[1] == 40_000_000


@pytest.mark.parametrize(("clip", "frames"), [("d18.mp4", 216), ("s13.mp4", 103)])
def test_real_clips(clips: Path, clip: str, frames: int):
    source = open_source(SourceSpec(input=str(clips / clip)))
    times, sizes = [], set()
    for frame in read_all(source):
        times.append(frame.t_capture_ns)
        sizes.add(frame.image.shape)
    assert len(times) == frames
    assert len(sizes) == 1
    steps = np.diff(times)
    assert np.allclose(steps, 1e9 / source.nominal_fps, atol=2e3)
    assert source.status().last_error is None


def test_truncated_real_clip_is_refused(clips: Path, tmp_path: Path):
    content = (clips / "d18.mp4").read_bytes()
    path = tmp_path / "half.mp4"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(NotFoundError, match=r"half\.mp4"):
        open_source(SourceSpec(input=str(path)))
