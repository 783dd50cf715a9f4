from __future__ import annotations

import itertools
import shutil
import struct
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.capture.conftest import level
from x2c_edge.capture import interlaced
from x2c_edge.capture.base import EndOfStream
from x2c_edge.capture.open import SourceSpec, open_source
from x2c_edge.capture.pacing import Paced
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
    assert status.last_error == f"{path}: {40 - len(frames)} of 40 frames are missing: truncated or damaged"


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


INTERLACED = Path(__file__).parent / "interlaced.mp4"  # the virtual Ameca turns its head, as a TV sends it


def test_interlaced_video_is_a_picture_or_one_line(tmp_path: Path):
    """Never black frames: whether this OpenCV can convert it is seen from the pictures."""
    capture = cv2.VideoCapture(str(INTERLACED), cv2.CAP_FFMPEG)
    first, second = capture.read()[1], capture.read()[1]
    source = VideoFile(INTERLACED)
    if np.array_equal(first, second):  # the head moves: nothing was converted
        with pytest.raises(NotFoundError, match=r"is interlaced .* ffmpeg -i FILE -vf yadif") as caught:
            source.open()
        assert "\n" not in str(caught.value)
    else:
        source.open()
        assert all(frame.image.mean() > 20 for frame in read_all(source))


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg here to make and mend the files")
@pytest.mark.parametrize(
    "coding",
    [
        "a.dv -vf scale=720:576,setfield=tff -r 25 -c:v dvvideo -pix_fmt yuv420p",
        "a.mpg -c:v mpeg2video -flags +ilme+ildct",
    ],
)
def test_other_kinds_of_interlaced_video_and_the_command_that_helps(write_video, tmp_path: Path, coding: str):
    name, *options = coding.split()
    made = tmp_path / name
    moving = write_video("moving.avi", "MJPG", frames=25, size=(720, 576))
    subprocess.run(["ffmpeg", "-v", "error", "-i", moving, *options, made], check=True)
    source = VideoFile(made)
    said = ""
    try:
        source.open()
    except NotFoundError as error:
        said = str(error)
    if said:
        assert "ffmpeg -i FILE -vf yadif" in said
        mended = tmp_path / "progressive.mp4"
        subprocess.run(["ffmpeg", "-v", "error", "-i", made, "-vf", "yadif", mended], check=True)
        source = VideoFile(mended)
        source.open()
    assert abs(read_all(source)[20].image.mean() - level(20)) < 12


def test_a_video_that_stands_still_is_no_interlaced_one(tmp_path: Path):
    path = tmp_path / "still.mp4"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 48))
    for _ in range(30):
        writer.write(np.full((48, 64, 3), 90, np.uint8))
    writer.release()
    source = VideoFile(path)
    source.open()
    assert len(read_all(source)) == 30
    assert source.status().last_error is None


def still_video(path: Path) -> VideoFile:
    """Two pictures that differ, and thirty that do not."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 48))
    for grey in (200, 30, *[90] * 30):
        writer.write(np.full((48, 64, 3), grey, np.uint8))
    writer.release()
    return VideoFile(path)


def test_a_video_that_is_played_is_not_kept_waiting_by_a_look(tmp_path: Path, monkeypatch):
    asked = []

    class Endless:
        def __init__(self, path: Path, upto: int) -> None:
            pass

        def finding(self, patience_s: float = 0.0) -> None:
            asked.append(patience_s)

        def close(self) -> None:
            pass

    monkeypatch.setattr(interlaced, "Look", Endless)
    source = still_video(tmp_path / "still.mp4")
    played = Paced(source)
    played.open()
    for _ in range(20):
        assert played.read(1.0) is not None
    assert len(asked) > 5
    assert not any(asked)
    played.close()


def test_without_a_place_for_temporary_files_a_still_video_is_played(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/nonexistent")
    source = still_video(tmp_path / "still.mp4")
    source.open()
    assert len(read_all(source)) == 32


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "mp4v"), ("a.avi", "MJPG")])
def test_damage_in_the_middle_costs_the_damaged_frames_and_says_how_many(tmp_path: Path, name, codec):
    path = tmp_path / name
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 30, (320, 240))
    noise = np.random.default_rng(1).integers(0, 255, (90, 24, 32, 3), np.uint8)
    for picture in noise:
        writer.write(cv2.resize(picture, (320, 240)))
    writer.release()
    content = bytearray(path.read_bytes())
    at, length = int(len(content) * 0.4), int(len(content) * 0.2)
    content[at : at + length] = bytes(length)
    path.write_bytes(content)
    source = VideoFile(path)
    source.open()
    frames = read_all(source)
    assert 60 < len(frames) < 90
    last = cv2.resize(noise[-1], (320, 240)).astype(float)  # also what comes behind the damage
    assert np.abs(frames[-1].image - last).mean() < 20
    status = source.status()
    assert status.last_error == (f"{path}: {90 - len(frames)} of 90 frames are missing: truncated or damaged")


@pytest.mark.parametrize("name", ["rec-12:30:05.mp4", "clip%03d.mp4", "file:a.mp4", "a b#c?.mp4"])
def test_any_name_is_a_file_s_name(write_video, monkeypatch, name: str):
    plain = write_video("plain.mp4", "mp4v")
    plain.rename(plain.with_name(name))
    monkeypatch.chdir(plain.parent)
    source = open_source(SourceSpec(input=name))
    assert source.name == name
    assert len(read_all(source)) == 20


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg here to make the file")
def test_pictures_that_matroska_does_not_count_are_not_missing(write_video, tmp_path: Path):
    path = tmp_path / "a.mkv"
    make = ["ffmpeg", "-v", "error", "-i", write_video("a.mp4", "mp4v", frames=60), "-vf"]
    make += ["select='not(mod(n,2))+gt(n,40)'", "-fps_mode", "vfr", "-c:v", "mjpeg", path]
    subprocess.run(make, check=True)
    source = VideoFile(path)
    source.open()
    assert len(read_all(source)) < 45
    assert source.status().last_error is None
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    source = VideoFile(path)
    source.open()
    read_all(source)
    assert "frames are missing: truncated or damaged" in str(source.status().last_error)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg here to make the file")
def test_video_that_turns_interlaced_in_the_middle_is_said_there(write_video, tmp_path: Path):
    moving = write_video("moving.avi", "MJPG", frames=20, size=(320, 240))
    parts = []
    for name, flags in (("a.mpg", "0"), ("b.mpg", "+ilme+ildct")):
        make = ["ffmpeg", "-v", "error", "-i", moving, "-c:v", "mpeg2video", "-flags", flags, tmp_path / name]
        subprocess.run(make, check=True)
        parts.append((tmp_path / name).read_bytes())
    both = tmp_path / "both.mpg"
    both.write_bytes(b"".join(parts))
    source = VideoFile(both)
    source.open()
    frames, said = [], ""
    try:
        frames = read_all(source)
    except NotFoundError as error:
        said = str(error)
    if said:
        assert "is interlaced" in said
        assert 20 < source.status().frames < 40
    else:  # an OpenCV that converts them: every picture is another than the one before
        assert all(np.ptp(frame.image) < 60 for frame in frames[20:])
