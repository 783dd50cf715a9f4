from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from x2c_edge.capture.base import EndOfStream
from x2c_edge.capture.gstreamer import complete_pipeline
from x2c_edge.capture.images import Images
from x2c_edge.capture.open import SourceSpec, open_source
from x2c_edge.capture.reopening import Reopening
from x2c_edge.capture.video_file import VideoFile
from x2c_edge.errors import BadArgumentError, NotFoundError

has_gstreamer = cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER)


def test_chosen_by_content_not_by_name(write_video, tmp_path: Path):
    video = write_video("a.avi", "MJPG").rename(tmp_path / "really_a_video.png")
    image = tmp_path / "a.png"
    cv2.imwrite(str(image), np.zeros((4, 4, 3), np.uint8))
    image = image.rename(tmp_path / "really_an_image.avi")
    assert isinstance(open_source(SourceSpec(input=str(video))), VideoFile)
    assert isinstance(open_source(SourceSpec(input=str(image))), Images)


def test_file_uri_and_odd_names(write_video, tmp_path: Path):
    path = write_video("a.avi", "MJPG").rename(tmp_path / "gst: my clip%1.avi")
    assert open_source(SourceSpec(input=str(path))).read(1.0) is not None
    assert open_source(SourceSpec(input=path.as_uri())).read(1.0) is not None


def test_a_numbered_image_is_not_taken_for_a_sequence(tmp_path: Path):
    for k in range(3):
        cv2.imwrite(str(tmp_path / f"img{k:02}.png"), np.full((4, 4, 3), k, np.uint8))
    source = open_source(SourceSpec(input=str(tmp_path / "img01.png")))
    assert {int(source.read(1.0).image.max()) for _ in range(60)} == {1}
    with pytest.raises(EndOfStream):
        source.read(1.0)


def test_a_gif_is_a_video(tmp_path: Path):
    # The smallest GIF with two 2x1 pictures, by hand from the GIF89a specification.
    head = b"GIF89a" + bytes([2, 0, 1, 0, 0x80, 0, 0]) + bytes([0, 0, 0, 255, 255, 255])
    picture = bytes([0x21, 0xF9, 4, 0, 10, 0, 0, 0, 0x2C, 0, 0, 0, 0, 2, 0, 1, 0, 0, 2, 2, 0x44, 0x0A, 0])
    path = tmp_path / "a.gif"
    path.write_bytes(head + picture * 2 + b";")
    assert isinstance(open_source(SourceSpec(input=str(path))), VideoFile)


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        (SourceSpec(input="no/such/clip.mp4"), NotFoundError, "no such file or folder: no/such/clip.mp4"),
        (SourceSpec(input=""), BadArgumentError, "empty input"),
        (SourceSpec(input="gts:videotestsrc"), BadArgumentError, "did you mean 'gst'"),
        (SourceSpec(input="flie:///a.mp4"), BadArgumentError, "did you mean 'file'"),
        (SourceSpec(input="smb://host/a.mp4"), BadArgumentError, "unknown scheme 'smb:'"),
        (SourceSpec(input="file:///no/such.mp4"), NotFoundError, "no such file or folder: /no/such.mp4"),
        (SourceSpec(input="~nobody-of-this-name.mp4"), NotFoundError, "no such file or folder: ~nobody"),
        (SourceSpec(input="gst:" + "a" * 300), (BadArgumentError, NotFoundError), "GStreamer"),
        (SourceSpec(input="file://["), BadArgumentError, "invalid IPv6 URL"),
        (SourceSpec(input="zmq://["), BadArgumentError, "invalid IPv6 URL"),
        (SourceSpec(input="http-push://["), BadArgumentError, "invalid IPv6 URL"),
        (SourceSpec(input="a\0b.mp4"), BadArgumentError, "NUL character"),
        (SourceSpec(input="x" * 300), NotFoundError, "File name too long"),
        (SourceSpec(camera=0, input="a.mp4"), BadArgumentError, "one of the two"),
        (SourceSpec(camera="front"), BadArgumentError, "unknown camera 'front'"),
        (SourceSpec(camera=""), BadArgumentError, "unknown camera ''"),
        (SourceSpec(camera=-1), BadArgumentError, "unknown camera '-1'"),
        (SourceSpec(camera=97), NotFoundError, "no camera /dev/video97; this machine has "),
        (SourceSpec(camera="/dev/video97"), NotFoundError, "no camera /dev/video97"),
        (SourceSpec(camera=0, format="YUVY"), BadArgumentError, "did you mean 'YUYV'"),
        (SourceSpec(camera=0, width=640), BadArgumentError, "width and height go together"),
        (SourceSpec(camera=0, width=-1, height=5), BadArgumentError, "width -1"),
        (SourceSpec(camera=0, fps=float("nan")), BadArgumentError, "fps nan"),
        (SourceSpec(camera="gst:"), (BadArgumentError, NotFoundError), "GStreamer"),
    ],
)
def test_mistakes_get_one_clear_line(spec: SourceSpec, error: type[Exception], words: str):
    with pytest.raises(error) as caught:
        open_source(spec)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_not_utf8_is_one_line(write_video, tmp_path: Path):
    """OpenCV's own answer is a crash."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.zeros((8, 8, 3), np.uint8))
    odd = Path(os.fsdecode(b"caf\xe9.png"))
    (folder / "a.png").rename(folder / odd)
    video = write_video("a.mp4", "mp4v")
    video = video.rename(video.with_name(os.fsdecode(b"\xff.mp4")))
    for path in (folder, folder / odd, video):
        with pytest.raises(NotFoundError, match="its name is not UTF-8; rename it"):
            open_source(SourceSpec(input=str(path)))


def test_a_mistyped_file_name_gets_its_neighbour(tmp_path: Path):
    (tmp_path / "smile.mp4").write_bytes(b"x")
    with pytest.raises(NotFoundError, match=r"did you mean 'smile\.mp4'"):
        open_source(SourceSpec(input=str(tmp_path / "smlie.mp4")))


def test_zero_bytes_and_strange_files(tmp_path: Path):
    empty = tmp_path / "empty.mp4"
    empty.touch()
    with pytest.raises(NotFoundError, match=r"empty\.mp4 is empty \(zero bytes\)"):
        open_source(SourceSpec(input=str(empty)))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotFoundError, match="neither a file"):
        open_source(SourceSpec(input=str(tmp_path / "pipe")))


def test_a_file_that_is_no_camera(write_video):
    with pytest.raises(NotFoundError, match="cannot be opened"):
        open_source(SourceSpec(camera=str(write_video("a.avi", "MJPG"))))


@pytest.mark.parametrize(
    ("given", "completed"),
    [
        ("a ! b", "a ! b ! appsink drop=1 max-buffers=1"),
        ("a ! b ! ", "a ! b ! appsink drop=1 max-buffers=1"),
        ("a ! appsink", "a ! appsink drop=1 max-buffers=1"),
        ("a ! appsink name=x drop=true", "a ! appsink name=x drop=true max-buffers=1"),
        ("a ! appsink max-buffers=3 drop=0", "a ! appsink max-buffers=3 drop=0"),
    ],
)
def test_a_pipeline_is_completed(given: str, completed: str):
    assert complete_pipeline(given) == completed


def test_a_pipeline_into_another_sink_is_refused():
    with pytest.raises(BadArgumentError, match="ends in autovideosink"):
        complete_pipeline("videotestsrc ! autovideosink")


@pytest.mark.skipif(has_gstreamer, reason="this OpenCV has GStreamer")
def test_without_gstreamer_the_error_says_what_to_install():
    with pytest.raises(NotFoundError, match="apt install python3-opencv"):
        open_source(SourceSpec(camera="gst:videotestsrc"))


@pytest.mark.skipif(not has_gstreamer, reason="this OpenCV is built without GStreamer")
@pytest.mark.parametrize(
    ("caps", "pixel_format", "shape"),
    [
        ("video/x-raw,format=NV12,width=320,height=240", "NV12", (360, 320)),
        ("video/x-raw,format=YUY2,width=320,height=240", "YUYV", (240, 320, 2)),
        ("video/x-raw,format=BGR,width=320,height=240", "BGR", (240, 320, 3)),
        ("video/x-raw,format=GRAY8,width=320,height=240", "BGR", (240, 320, 3)),
        ("video/x-raw,width=320,height=240 ! jpegenc ! image/jpeg", "BGR", (240, 320, 3)),
    ],
)
def test_pipelines_run_and_come_back(caps: str, pixel_format: str, shape: tuple[int, ...]):
    source = open_source(SourceSpec(input=f"gst:videotestsrc is-live=true num-buffers=5 ! {caps}"))
    assert isinstance(source, Reopening)
    frames = []
    while source.status().reopened < 1 or len(frames) < 3:
        frame = source.read(1.0)
        if frame is not None:
            frames.append(frame)
    source.close()
    assert {(frame.format, frame.image.shape) for frame in frames} == {(pixel_format, shape)}
    times = [frame.t_capture_ns for frame in frames]
    assert times == sorted(set(times))
