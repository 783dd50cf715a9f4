from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from x2c_edge.capture.pictures_in import pictures_in
from x2c_edge.controls import INDEX, NEUTRAL
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.frames import FaceCrop, Frame
from x2c_edge.nets.landmarks import LANDMARK_IDS, OVAL
from x2c_edge.record import side_by_side
from x2c_edge.record.side_by_side import SideBySideWriter, to_bgr

HEIGHT = 480  # the smallest panel, for speed
BARS = 374
CLIPS = Path(__file__).parents[2].parent / "shared" / "data" / "clips"
GREY = (90, 90, 90)
CODEC = 9  # flat colours come back this close: the encoder stores a block's mean in coarse steps


def plain(width=320, height=240, colour=GREY):
    return np.full((height, width, 3), colour, dtype=np.uint8)


def frame(image, seq=0, t_s=0.0, fmt="BGR"):
    return Frame(seq, round(t_s * 1e9), image, fmt)


def pictures(path):
    video = cv2.VideoCapture(str(path))
    found = []
    while True:
        ok, picture = video.read()
        if not ok:
            return found
        found.append(picture)


def written(tmp_path, *arguments, **named):
    """The one picture of a video that was written with these arguments."""
    path = tmp_path / "one.mp4"
    with SideBySideWriter(path, 30, HEIGHT) as writer:
        writer.write(*arguments, **named)
    (picture,) = pictures(path)
    return picture


def difference(a, b):
    return np.abs(a.astype(int) - b.astype(int)).max(axis=2)


def test_video_reopens_with_every_frame_its_size_and_rate(tmp_path):
    path = tmp_path / "run.mp4"
    with SideBySideWriter(path, 25, HEIGHT) as writer:
        for i in range(40):
            writer.write(frame(plain(colour=(i * 5, 50, 50)), i, i / 25), None, None, NEUTRAL, "FOLLOWING")
        assert writer.frames == 40
        assert not path.exists()  # the finished name is for the finished video
    video = cv2.VideoCapture(str(path))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 40
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(25, abs=0.01)
    found = pictures(path)
    assert len(found) == 40
    assert found[0].shape == (HEIGHT, 640 + BARS, 3)
    for i in (0, 20, 39):
        assert np.abs(found[i][:, :640].mean(axis=(0, 1)) - (i * 5, 50, 50)).max() < CODEC
    assert [p.name for p in tmp_path.iterdir()] == ["run.mp4"]


@pytest.mark.parametrize("fmt", ["BGR", "RGB", "YUYV", "NV12"])
def test_every_frame_format_shows_the_same_colours(tmp_path, fmt):
    left, right = (40, 60, 200), (180, 120, 30)
    bgr = plain(colour=left)
    bgr[:, 160:] = right
    if fmt == "BGR":
        image = bgr
    elif fmt == "RGB":
        image = np.ascontiguousarray(bgr[:, :, ::-1])
    else:
        i420 = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420)
        y, u, v = i420[:240], i420[240:300].reshape(120, 160), i420[300:].reshape(120, 160)
        if fmt == "NV12":
            image = np.vstack([y, np.stack([u, v], axis=-1).reshape(120, 320)])
        else:
            chroma = np.stack([u, v], axis=-1).reshape(120, 320).repeat(2, axis=0)
            image = np.ascontiguousarray(np.stack([y, chroma], axis=-1))
    source = frame(image, fmt=fmt)
    assert (source.width, source.height) == (320, 240)
    converted = to_bgr(source)
    assert converted.shape == (240, 320, 3)
    assert np.abs(converted[:, 4:156].astype(int) - left).max() < 4
    assert np.abs(converted[:, 164:].astype(int) - right).max() < 4
    picture = written(tmp_path, source, None, None, NEUTRAL, "FOLLOWING")
    assert np.abs(picture[200:300, 100:250].mean(axis=(0, 1)) - left).max() < CODEC
    assert np.abs(picture[200:300, 400:600].mean(axis=(0, 1)) - right).max() < CODEC


def test_crop_outline_is_where_the_affine_puts_it(tmp_path):
    # A crop turned by 90 degrees: its corners in the frame are (100, 60), (100, 160), (200, 160), (200, 60).
    affine = np.array([[0.0, -1.0, 199.5], [1.0, 0.0, 60.5]])
    source = frame(plain())
    crop = FaceCrop(source, affine, 100, 0.9)
    bare = written(tmp_path, source, None, None, NEUTRAL, "FOLLOWING")
    outlined = written(tmp_path, source, crop, None, NEUTRAL, "FOLLOWING")
    changed = difference(bare, outlined) > 40
    ys, xs = np.nonzero(changed)
    # Twice the size in the panel.
    assert abs(xs.min() - 200) <= 2
    assert abs(xs.max() - 400) <= 2
    assert abs(ys.min() - 120) <= 2
    assert abs(ys.max() - 320) <= 2
    assert not changed[150:290, 230:370].any()
    # The crop's top is the frame's right side here, and is drawn double.
    assert changed[200:240, 390:405].sum() > 1.5 * changed[200:240, 195:210].sum()


def test_landmark_outlines_are_where_the_landmarks_are(tmp_path):
    source = frame(plain())
    landmarks = np.full((len(LANDMARK_IDS), 2), 1000.0)  # outside
    turn = np.linspace(0, 2 * np.pi, len(OVAL), endpoint=False)
    landmarks[: len(OVAL)] = np.stack([160 + 60 * np.sin(turn), 120 - 60 * np.cos(turn)], axis=1)
    bare = written(tmp_path, source, None, None, NEUTRAL, "FOLLOWING")
    drawn = written(tmp_path, source, None, landmarks, NEUTRAL, "FOLLOWING")
    ys, xs = np.nonzero(difference(bare, drawn)[:, :640] > 40)
    radius = np.hypot(xs + 0.5 - 321, ys + 0.5 - 241)
    assert len(radius) > 300
    assert abs(radius - 120).max() < 4
    angles = np.arctan2(ys - 241, xs - 321)
    assert np.histogram(angles, bins=12, range=(-np.pi, np.pi))[0].min() > 10  # closed all around


def test_other_landmark_sets_are_drawn_as_points_and_broken_ones_not_at_all(tmp_path):
    source = frame(plain())
    bare = written(tmp_path, source, None, None, NEUTRAL, "FOLLOWING")
    points = np.array([[50.0, 40.0], [250.0, 200.0]])
    drawn = difference(bare, written(tmp_path, source, None, points, NEUTRAL, "FOLLOWING"))
    for x, y in points:
        assert drawn[round(2 * y) - 2 : round(2 * y) + 4, round(2 * x) - 2 : round(2 * x) + 4].max() > 60
    assert (drawn > 40).sum() < 120
    broken = np.array([[50.0, np.nan], [250.0, 200.0]])
    assert difference(bare, written(tmp_path, source, None, broken, NEUTRAL, "FOLLOWING")).max() == 0


def test_landmarks_far_outside_do_no_harm(tmp_path):
    far = np.full((len(LANDMARK_IDS), 2), 1e12)
    far[::2] = -1e12
    picture = written(tmp_path, frame(plain()), None, far, NEUTRAL, "FOLLOWING")
    assert picture.shape == (HEIGHT, 640 + BARS, 3)


def test_bars_show_the_values_and_the_state(tmp_path):
    values = NEUTRAL.copy()
    values[INDEX["Jaw Pitch"]] = 0.0
    a = written(tmp_path, plain(), None, None, NEUTRAL, "FOLLOWING")
    b = written(tmp_path, plain(), None, None, values, "FAULT", note="why")
    changed = difference(a, b) > 40
    assert not changed[:, :638].any()
    assert changed[:20, 640:].any()
    assert changed[200:300, 640:].any()


def test_frames_of_another_size_are_fitted_into_the_first_panel(tmp_path):
    path = tmp_path / "sizes.mp4"
    with SideBySideWriter(path, 30, HEIGHT) as writer:
        for i, size in enumerate([(320, 240), (240, 320), (640, 120), (33, 17), (320, 240)]):
            writer.write(
                frame(plain(*size, colour=(200, 200, 200)), i, i / 30), None, None, NEUTRAL, "FOLLOWING"
            )
    found = pictures(path)
    assert [p.shape for p in found] == [(HEIGHT, 640 + BARS, 3)] * 5
    upright, wide = found[1][:, :640].mean(axis=2), found[2][:, :640].mean(axis=2)
    assert upright[240, 320] > 190
    assert upright[:, :130].max() < 40
    assert upright[:, 510:].max() < 40
    assert wide[240, 320] > 190
    assert wide[:170].max() < 40
    assert wide[310:].max() < 40


def test_landmarks_follow_the_letterbox(tmp_path):
    path = tmp_path / "box.mp4"
    point = np.array([[120.0, 160.0]])
    with SideBySideWriter(path, 30, HEIGHT) as writer:
        writer.write(plain(320, 240), None, None, NEUTRAL, "FOLLOWING")
        writer.write(plain(240, 320), None, None, NEUTRAL, "FOLLOWING")
        writer.write(plain(240, 320), None, point, NEUTRAL, "FOLLOWING")
    _, bare, drawn = pictures(path)
    ys, xs = np.nonzero(difference(bare, drawn)[:, :640] > 40)
    # 240x320 becomes 360x480 in the middle of 640x480: x = 140 + 1.5 * 120, y = 1.5 * 160.
    assert abs(xs.mean() - 320.25) < 1
    assert abs(ys.mean() - 240.25) < 1


def test_missing_frames_repeat_the_picture_before(tmp_path):
    path = tmp_path / "gap.mp4"
    with SideBySideWriter(path, 10, HEIGHT) as writer:
        for i, (t, level) in enumerate([(0.0, 50), (0.1, 100), (0.5, 200), (0.6, 250)]):
            writer.write(frame(plain(colour=(level,) * 3), i, 7 + t), None, None, NEUTRAL, "FOLLOWING")
    levels = [p[:, :630].mean() for p in pictures(path)]
    assert levels == pytest.approx([50, 100, 100, 100, 100, 200, 250], abs=CODEC)


def test_frames_faster_than_the_video_are_left_out_and_long_gaps_cut(tmp_path):
    with SideBySideWriter(tmp_path / "fast.mp4", 10, HEIGHT) as writer:
        for i in range(60):
            writer.write(frame(plain(), i, i / 60), None, None, NEUTRAL, "FOLLOWING")
        assert 10 <= writer.frames <= 12
        before = writer.frames
        writer.write(frame(plain(), 60, 3600.0), None, None, NEUTRAL, "FOLLOWING")
        assert writer.frames == before + 1
        writer.write(frame(plain(), 61, 3600.1), None, None, NEUTRAL, "FOLLOWING")
        assert writer.frames == before + 2


def test_odd_sizes_become_even(tmp_path):
    picture = written(tmp_path, plain(333, 251), None, None, NEUTRAL, "FOLLOWING")
    assert picture.shape[0] % 2 == 0
    assert picture.shape[1] % 2 == 0


def test_killed_process_leaves_a_partial_file_that_plays(tmp_path):
    script = (
        "import os, sys\nimport numpy as np\n"
        "from x2c_edge.controls import NEUTRAL\n"
        "from x2c_edge.record.side_by_side import SideBySideWriter\n"
        "writer = SideBySideWriter(sys.argv[1], 30, 480)\n"
        "noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)\n"
        "for i in range(150):\n"
        "    writer.write(np.roll(noise, 7 * i, 1), None, None, NEUTRAL, 'FOLLOWING')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    path = tmp_path / "killed.mp4"
    subprocess.run([sys.executable, "-c", script, str(path)], check=False, cwd=Path(__file__).parents[2])
    assert not path.exists()
    partial = tmp_path / "killed.partial.ismv"
    assert len(pictures(partial)) > 30


def test_nothing_written_leaves_nothing(tmp_path):
    writer = SideBySideWriter(tmp_path / "empty.mp4", 30)
    writer.close()
    writer.close()
    assert list(tmp_path.iterdir()) == []


def test_close_replaces_an_older_video(tmp_path):
    (tmp_path / "one.mp4").write_bytes(b"old")
    assert written(tmp_path, plain(), None, None, NEUTRAL, "FOLLOWING").shape[0] == HEIGHT


def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    (tmp_path / "large disk").mkdir()
    target, link = tmp_path / "large disk" / "run 1.mp4", tmp_path / "latest.mp4"
    target.write_bytes(b"old")
    link.symlink_to(target)
    with SideBySideWriter(link, 30) as writer:
        for _ in range(3):
            writer.write(plain(), None, None, NEUTRAL, "FOLLOWING")
    assert link.is_symlink()
    assert pictures_in(target) == 3


def test_places_that_cannot_be_written_are_refused_at_once(tmp_path):
    folder = tmp_path / "folder.mp4"
    folder.mkdir()
    for path in (tmp_path / "missing" / "a.mp4", folder):
        with pytest.raises(NotFoundError) as caught:
            SideBySideWriter(path, 30)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(BadArgumentError, match=r"\.mp4"):
        SideBySideWriter(tmp_path / "a.avi", 30)
    with pytest.raises(ValueError, match="panel_height"):
        SideBySideWriter(tmp_path / "a.mp4", 30, 481)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_write_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(NotFoundError, match="Permission denied"):
        SideBySideWriter(tmp_path / "a.mp4", 30)


@pytest.mark.skipif(not CLIPS.is_dir(), reason="no shared clips")
def test_real_clip_keeps_its_picture(tmp_path):
    clip = cv2.VideoCapture(str(CLIPS / "d18.mp4"))
    originals = [clip.read()[1] for _ in range(6)]
    path = tmp_path / "clip.mp4"
    with SideBySideWriter(path, 30, HEIGHT) as writer:
        for i, original in enumerate(originals):
            writer.write(frame(original, i, i / 30), None, None, NEUTRAL, "FOLLOWING")
    found = pictures(path)
    assert len(found) == 6
    for original, picture in zip(originals, found, strict=True):
        assert np.abs(picture[:, :480].astype(int) - original.astype(int)).mean() < 5


def test_a_video_that_did_not_reach_the_disk_gets_no_final_name(small_disk, monkeypatch):
    """The encoder meets a disk that is really full and keeps it to itself; the pictures are counted."""
    monkeypatch.setattr(side_by_side, "_ROOM", 0)
    (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free - 600_000))
    path = small_disk / "a.mp4"
    writer = SideBySideWriter(path, 30, HEIGHT)
    rng = np.random.default_rng(1)
    for _ in range(60):
        noise = rng.integers(0, 255, (HEIGHT, 640, 3), np.uint8)
        writer.write(noise, None, None, NEUTRAL, "FOLLOWING")
    with pytest.raises(NotFoundError, match=r"only \d+ of 60 pictures reached the disk; .*a\.partial\.ismv"):
        writer.close()
    assert not path.exists()
    assert 0 < pictures_in(small_disk / "a.partial.ismv") < 60


def test_a_disk_without_room_leaves_the_older_video(small_disk):
    path = small_disk / "keep.mp4"
    path.write_bytes(b"older")
    (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free - 600_000))
    with pytest.raises(NotFoundError, match="left on the disk"), SideBySideWriter(path, 30, HEIGHT) as writer:
        writer.write(plain(), None, None, NEUTRAL, "FOLLOWING")
    assert path.read_bytes() == b"older"
    assert sorted(p.name for p in small_disk.iterdir()) == ["filler", "keep.mp4"]


def test_a_video_is_written_by_one_at_a_time(tmp_path):
    path = tmp_path / "same.mp4"
    with SideBySideWriter(path, 30, HEIGHT) as writer:
        writer.write(plain(), None, None, NEUTRAL, "FOLLOWING")
        with pytest.raises(NotFoundError, match="is being written by another run"):
            SideBySideWriter(path, 30, HEIGHT)
        writer.write(plain(), None, None, NEUTRAL, "FOLLOWING")
    assert len(pictures(path)) == 2
    SideBySideWriter(path, 30, HEIGHT).close()
    assert [p.name for p in tmp_path.iterdir()] == ["same.mp4"]


def test_a_video_is_its_writer_s_until_it_has_its_name(tmp_path, monkeypatch):
    path, count = tmp_path / "same.mp4", side_by_side.pictures_in

    def while_counting(partial):
        with pytest.raises(NotFoundError, match="is being written by another run"):
            SideBySideWriter(path, 30, HEIGHT)
        return count(partial)

    monkeypatch.setattr(side_by_side, "pictures_in", while_counting)
    with SideBySideWriter(path, 30, HEIGHT) as writer:
        writer.write(plain(), None, None, NEUTRAL, "FOLLOWING")
    assert len(pictures(path)) == 1


def test_names_that_cannot_be_are_one_line(tmp_path, monkeypatch):
    with pytest.raises(NotFoundError, match="File name too long"):
        SideBySideWriter(tmp_path / ("x" * 300 + ".mp4"), 30, HEIGHT)
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(NotFoundError, match="the folder where we are is gone"):
        SideBySideWriter("o.mp4", 30, HEIGHT)


def test_a_name_with_colons_is_a_file_s_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with SideBySideWriter("rec-12:30:05.mp4", 30, HEIGHT) as writer:
        writer.write(frame(np.full((48, 64, 3), 90, np.uint8), 0, 0.0), None, None, NEUTRAL, "FOLLOWING")
    assert pictures_in(tmp_path / "rec-12:30:05.mp4") == 1
