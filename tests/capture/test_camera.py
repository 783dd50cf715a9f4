"""The camera source over OpenCV's real V4L2 backend and a V4L2 device made of thin air.

``fake_v4l2.c`` is preloaded into a Python of its own and answers the ioctls of one device file; see
its head for the set-up line. What a real driver and a real sensor do beyond that is not shown here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.patience import patient
from x2c_edge.capture.camera import sensor_time_ns

ROOT = Path(__file__).parents[2]
LATENCY_NS = 5_000_000

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="needs Linux and a C compiler"
)

SETUP = """
import json, sys, time
from pathlib import Path
from x2c_edge.capture.open import SourceSpec, open_source
from x2c_edge.errors import UserError

device = Path(sys.argv[1])

def read(source, timeout_s=1.0):
    frame = source.read(timeout_s)
    if frame is None:
        return None
    age_ns = time.monotonic_ns() - frame.t_capture_ns
    value = int(frame.image.flat[0])
    return {"seq": frame.seq, "t": frame.t_capture_ns, "age": age_ns, "shape": frame.image.shape,
            "format": frame.format, "value": value, "contiguous": frame.image.flags.c_contiguous}

def wait(source):
    while True:
        frame = read(source, 0.05)
        if frame is not None:
            return frame
"""


@pytest.fixture(scope="session")
def fake_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("fake") / "fake_v4l2.so"
    source = Path(__file__).parent / "fake_v4l2.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    return library


@pytest.fixture
def with_camera(fake_library: Path, tmp_path: Path):
    """with_camera(set-up line, code): run the code in a Python that sees the camera; its last line's JSON."""
    device = tmp_path / "video0"
    cv2.imwrite(f"{device}.jpg", np.full((720, 1280, 3), 77, np.uint8))

    def run(setup: str, code: str) -> Any:
        device.write_text(setup)
        environment = {
            **os.environ,
            "LD_PRELOAD": str(fake_library),
            "FAKE_V4L2": str(device),
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT": "1",
        }
        done = subprocess.run(
            [sys.executable, "-c", SETUP + code, str(device)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=patient(60),
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.mark.parametrize(
    ("setup", "spec", "format_on_the_wire", "pixel_format", "shape"),
    [
        ("YUYV,MJPG 1280 720 mono 0", "", "MJPG", "BGR", [720, 1280, 3]),
        ("MJPG,YUYV 1280 720 mono 0", "width=640, height=480", "YUYV", "YUYV", [480, 640, 2]),
        ("YUYV 640 480 mono 0", "", "YUYV", "YUYV", [480, 640, 2]),
        ("NV12 640 480 mono 0", "", "NV12", "NV12", [720, 640]),
        ("MJPG,NV12 640 480 mono 0", "format='NV12'", "NV12", "NV12", [720, 640]),
        ("GREY 640 480 mono 0", "", "BGR", "BGR", [480, 640, 3]),
    ],
)
def test_formats_sizes_and_driver_time(with_camera, setup, spec, format_on_the_wire, pixel_format, shape):
    got = with_camera(
        setup,
        f"""
source = open_source(SourceSpec(camera=str(device), {spec}))
frames = [read(source) for _ in range(5)]
status = source.status()
source.close()
print(json.dumps([frames, status.format, status.width, status.height, source.live]))
""",
    )
    frames, wire, width, height, live = got
    assert live
    assert wire == format_on_the_wire
    rows = shape[0] * 2 // 3 if pixel_format == "NV12" else shape[0]
    assert (width, height) == (shape[1], rows)
    for frame in frames:
        assert frame["format"] == pixel_format
        assert frame["shape"] == shape
        assert frame["contiguous"]
        assert frame["age"] >= LATENCY_NS
    assert [f["t"] for f in frames] == sorted({f["t"] for f in frames})
    if pixel_format == "YUYV":
        # Each picture arrives with its own content: bytes hold the picture's number.
        steps = {f["value"] - f["seq"] for f in frames}
        assert len(steps) == 1


def test_a_slow_reader_gets_the_newest_frame(with_camera):
    first, late, dropped = with_camera(
        "YUYV 640 480 mono 0",
        """
source = open_source(SourceSpec(camera=str(device)))
first = read(source)
while source.status().dropped < 10:
    time.sleep(0.01)
late = read(source)
status = source.status()
source.close()
print(json.dumps([first, late, status.dropped]))
""",
    )
    assert dropped >= 10
    assert late["seq"] - first["seq"] >= 10


def test_another_clock_is_not_believed(with_camera):
    frame = with_camera(
        "YUYV 640 480 real 0",
        """
source = open_source(SourceSpec(camera=str(device)))
before = time.monotonic_ns()
frames = [read(source) for _ in range(3)]
source.close()
print(json.dumps(dict(frames[-1], before=before)))
""",
    )
    assert frame["before"] <= frame["t"]
    assert frame["age"] >= 0


def test_unplugged_and_plugged_in_again(with_camera):
    got = with_camera(
        "YUYV 640 480 mono 0",
        """
source = open_source(SourceSpec(camera=str(device)))
before = read(source)
setup = device.read_text()
device.unlink()
while source.status().state == "up" or read(source, 0.3) is not None:
    pass
away = source.status()
device.write_text(setup)
after = wait(source)
status = source.status()
source.close()
print(json.dumps([before, after, away.state, away.last_error, status.state, status.reopened]))
""",
    )
    before, after, away, why, state, reopened = got
    assert away in ("lost", "reopening")
    assert "video0" in why or "stopped delivering" in why
    assert (state, reopened) == ("up", 1)
    assert after["seq"] > before["seq"]
    assert after["t"] > before["t"]


def test_a_camera_that_falls_silent_is_opened_again_and_exit_is_clean(with_camera):
    reopened, silences = with_camera(
        "YUYV 640 480 mono 6",
        """
source = open_source(SourceSpec(camera=str(device)))
silences = 0
while source.status().reopened < 1:
    silences += source.read(0.05) is None
while read(source, 0.1) is not None:
    pass
print(json.dumps([source.status().reopened, silences]))
# No close: the interpreter ends while the device's thread is waiting in the driver.
""",
    )
    assert reopened == 1
    assert silences >= 3  # The driver blocks for a second at a time; the reader does not.


def test_a_format_that_the_camera_lacks_is_refused(with_camera):
    error = with_camera(
        "YUYV 640 480 mono 0",
        """
try:
    open_source(SourceSpec(camera=str(device), format="MJPG"))
except UserError as error:
    print(json.dumps([type(error).__name__, str(error)]))
""",
    )
    assert error[0] == "BadArgumentError"
    assert "gives no MJPG at 1280x720 (it offers YUYV)" in error[1]


def test_a_camera_that_sends_nothing_is_refused(with_camera):
    error = with_camera(
        "YUYV 640 480 mono 1",
        """
try:
    open_source(SourceSpec(camera=str(device)))
except UserError as error:
    print(json.dumps([type(error).__name__, str(error)]))
""",
    )
    assert error[0] == "NotFoundError"
    assert "sends no picture at 640x480 YUYV" in error[1]


@pytest.mark.parametrize(
    ("driver_ms", "expected"),
    [
        (99_000.5, 99_000_500_000),
        (0.0, 100_000_000_000),
        (1.7e12, 100_000_000_000),
        (100_000.001, 100_000_000_000),
        (89_000.0, 100_000_000_000),
    ],
)
def test_driver_time_is_believed_only_when_it_can_be_true(driver_ms: float, expected: int):
    assert sensor_time_ns(driver_ms, 100_000_000_000) == expected
