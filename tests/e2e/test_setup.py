"""``x2c-edge setup``: cameras made of thin air, robots on pseudo-terminals and UDP, a folder of devices."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

from tests.e2e.live_run import LATE_S, ROOT, Peer, environment
from x2c_edge.runtime.settings import load

EDGE = [sys.executable, "-m", "x2c_edge.cli.main"]
CAMERA = "YUYV 640 480 mono 0"

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="needs Linux and a C compiler"
)


@pytest.fixture(scope="session")
def fake_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("fake") / "fake_v4l2.so"
    source = ROOT / "tests" / "capture" / "fake_v4l2.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    return library


class Desk:
    """A folder in the place of /dev, and what is plugged in."""

    def __init__(self, folder: Path, library: Path) -> None:
        self.folder, self.dev = folder, folder / "dev"
        self.dev.mkdir()
        self._library = library
        self.file = folder / "home" / "x2c-edge" / "config.toml"

    def plug_camera(self, number: int, setup: str = CAMERA) -> Path:
        path = self.dev / f"video{number}"
        path.write_text(setup)
        if "MJPG" in setup:
            shutil.copy(ROOT / "docs" / "images" / "side_by_side.jpg", f"{path}.jpg")
        return path

    def plug_port(self, name: str, terminal: str) -> Path:
        path = self.dev / name
        path.symlink_to(terminal)
        return path

    def edge(self, *words: str, answers: str | None = None) -> subprocess.CompletedProcess[str]:
        """x2c-edge WORDS; answers: typed on a terminal, none at all without."""
        cameras = ":".join(map(str, self.dev.glob("video[0-9]")))
        variables = environment(self.folder) | {
            "XDG_CONFIG_HOME": str(self.folder / "home"),
            "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT": "1",
            "FAKE_V4L2": cameras or str(self.dev / "none"),
            "LD_PRELOAD": str(self._library),
        }
        master, slave = pty.openpty()
        if answers is not None:
            os.write(master, answers.encode())
        done = subprocess.run(
            [*EDGE, *words],
            stdin=subprocess.DEVNULL if answers is None else slave,
            capture_output=True, text=True, env=variables, timeout=LATE_S,
        )  # fmt: skip
        os.close(master)
        os.close(slave)
        return done

    def setup(self, *words: str, answers: str | None = None) -> subprocess.CompletedProcess[str]:
        return self.edge("setup", "--dev", str(self.dev), *words, answers=answers)


@pytest.fixture
def desk(tmp_path: Path, fake_library: Path) -> Desk:
    return Desk(tmp_path, fake_library)


@pytest.fixture
def robot(tmp_path: Path) -> Iterator[Peer]:
    peer = Peer(tmp_path, f"serial://{tmp_path}/robot")
    yield peer
    peer.close()


def test_a_camera_and_a_robot_are_found_tried_and_written(desk: Desk, robot: Peer, tmp_path: Path) -> None:
    camera = desk.plug_camera(0, "YUYV,MJPG 640 480 mono 0")
    port = desk.plug_port("ttyUSB0", os.path.realpath(tmp_path / "robot"))
    done = desk.setup("--yes")
    assert done.returncode == 0, done.stderr
    assert "Thin Air 640" in done.stdout
    assert "YUYV to 640x480 at 100, MJPG to 640x480 at 100" in done.stdout
    assert f"serial://{port}: a robot, WAIT" in done.stdout
    settings = load(desk.file)
    assert settings.capture.camera == str(camera)
    assert (settings.capture.width, settings.capture.height, settings.capture.format) == (640, 480, "MJPG")
    assert settings.run.link == (f"serial://{port}",)
    assert robot.arrived() == []  # nothing was commanded


def test_run_without_arguments_uses_what_was_written(desk: Desk, robot: Peer, tmp_path: Path) -> None:
    desk.plug_camera(0)
    desk.plug_port("ttyUSB0", os.path.realpath(tmp_path / "robot"))
    assert desk.setup("--yes").returncode == 0
    done = desk.edge("run", "--duration", "1")
    assert done.returncode == 0, done.stderr
    assert len(robot.arrived()) > 10


def test_a_file_or_another_config_moves_no_robot_by_itself(desk: Desk, tmp_path: Path) -> None:
    desk.file.parent.mkdir(parents=True)
    device = desk.plug_camera(0)
    desk.file.write_text(f'[run]\nlink = ["serial://{tmp_path}/absent"]\n[capture]\ncamera = "{device}"\n')
    other = tmp_path / "other.toml"
    other.write_text('[run]\nlink = ["null:"]\n')
    camera = ["--camera", str(device)]
    assert "absent" in desk.edge("run", "--duration", "0.2").stderr
    assert desk.edge("run", "--duration", "0.2", "--config", str(other), *camera).returncode == 0
    done = desk.edge("profile", "--frames", "2", *camera)
    assert "absent" not in done.stderr
    done = desk.edge("run", "--input", str(tmp_path / "no.mp4"))
    assert "no.mp4" in done.stderr
    assert "absent" not in done.stderr


def test_nothing_there_is_one_line_and_writes_nothing(desk: Desk) -> None:
    done = desk.setup("--yes")
    assert done.returncode == 3
    assert done.stderr.startswith("x2c-edge: setup: no camera and no robot was found; nothing was written")
    assert len(done.stderr.splitlines()) == 1
    assert not desk.file.exists()


def test_no_camera_but_a_robot_is_said_and_the_robot_kept(desk: Desk, robot: Peer, tmp_path: Path) -> None:
    port = desk.plug_port("ttyACM0", os.path.realpath(tmp_path / "robot"))
    done = desk.setup("--yes")
    assert done.returncode == 3
    assert "no camera was found" in done.stderr
    assert load(desk.file).run.link == (f"serial://{port}",)


def test_of_two_cameras_one_is_asked_for(desk: Desk) -> None:
    desk.plug_camera(0)
    second = desk.plug_camera(2, "MJPG 1280 720 mono 0")
    done = desk.setup(answers="2\n")
    assert done.returncode == 0, done.stderr
    assert load(desk.file).capture.camera == str(second)
    assert load(desk.file).capture.format == "MJPG"


def test_a_camera_that_another_program_uses_is_passed_over(desk: Desk) -> None:
    desk.plug_camera(0, "YUYV 640 480 busy 0")
    second = desk.plug_camera(1)
    done = desk.setup("--yes")
    assert done.returncode == 0, done.stderr
    assert "used by another program" in done.stdout or "sends no picture" in done.stdout
    assert load(desk.file).capture.camera == str(second)


def test_a_busy_port_and_a_silent_one_are_told_and_not_taken(desk: Desk) -> None:
    desk.plug_camera(0)
    with contextlib.ExitStack() as closing:
        names = []
        for _ in range(2):
            master, slave = pty.openpty()
            closing.callback(os.close, master)
            closing.callback(os.close, slave)
            names.append(os.ttyname(slave))
        closing.enter_context(serial.Serial(names[0], exclusive=True))
        busy, silent = desk.plug_port("ttyUSB0", names[0]), desk.plug_port("ttyUSB1", names[1])
        done = desk.setup("--yes")
    assert done.returncode == 0, done.stderr
    assert f"serial port {busy}: in use by another program" in done.stdout
    assert f"serial://{silent}: opens, and says nothing" in done.stdout
    assert load(desk.file).run.link == ()


def test_a_robot_on_the_net_is_found_where_it_is_said_to_be(desk: Desk, tmp_path: Path) -> None:
    desk.plug_camera(0)
    peer = Peer(tmp_path, "udp://127.0.0.2:47800")
    try:
        done = desk.setup("--yes", "--robot", "127.0.0.2")
    finally:
        peer.close()
    assert done.returncode == 0, done.stderr
    assert load(desk.file).run.link == ("udp://127.0.0.2",)
    assert peer.arrived() == []


def test_what_the_file_said_is_kept_and_nothing_is_changed_unasked(desk: Desk) -> None:
    camera = desk.plug_camera(0)
    desk.file.parent.mkdir(parents=True)
    old = '# mine\n[capture]\ninput = "clip.mp4"\n\n[safety.limits."Head Yaw"]\nhigh = 0.2\n'
    desk.file.write_text(old)
    assert desk.setup(answers="n\n").returncode == 0
    assert desk.file.read_text() == old
    assert desk.setup().returncode == 2  # nobody to ask
    assert desk.file.read_text() == old
    done = desk.setup(answers="y\n")
    assert done.returncode == 0, done.stderr
    settings = load(desk.file)
    assert settings.capture.camera == str(camera)
    assert settings.capture.input is None
    assert settings.safety.limits["Head Yaw"].high == 0.2
    assert Path(f"{desk.file}.old").read_text() == old
    assert "says so already" in desk.setup("--yes").stdout


@pytest.mark.parametrize("content", [b"no picture" * 50, b""], ids=["rubbish", "nothing"])
def test_a_camera_without_a_picture_is_not_taken(desk: Desk, content: bytes) -> None:
    (desk.dev / "video0").write_text("MJPG 640 480 mono 0")
    (desk.dev / "video0.jpg").write_bytes(content)
    done = desk.setup("--yes")
    assert done.returncode == 3
    assert "pictures are damaged" in done.stderr
    assert not desk.file.exists()


def test_a_camera_and_a_link_may_be_named(desk: Desk) -> None:
    desk.plug_camera(0)
    second = desk.plug_camera(1)
    done = desk.setup("--yes", "--camera", str(second), "--link", "zmq://*:6666")
    assert done.returncode == 0, done.stderr
    assert load(desk.file).capture.camera == str(second)
    assert load(desk.file).run.link == ("zmq://*:6666",)
    assert desk.setup("--yes", "--link", "udpp://x").returncode == 2
