"""The robot's camera over ZeroMQ, from a real publisher."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

zmq = pytest.importorskip("zmq")

from x2c_edge.capture.base import Source  # noqa: E402
from x2c_edge.capture.open import SourceSpec, open_source  # noqa: E402
from x2c_edge.errors import BadArgumentError, NotFoundError  # noqa: E402
from x2c_edge.frames import Frame  # noqa: E402


def jpeg(level: int) -> bytes:
    return cv2.imencode(".jpg", np.full((48, 64, 3), level, np.uint8))[1].tobytes()


class Camera:
    """A publisher as on the robot."""

    def __init__(self, port: int | None = None) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.PUB)
        if port is None:
            self.port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        else:
            self.socket.bind(f"tcp://127.0.0.1:{port}")

    def until_seen(self, source: Source, *parts: bytes) -> Frame:
        end = time.monotonic() + 10
        while time.monotonic() < end:
            self.socket.send_multipart(parts)
            frame = source.read(0.05)
            if frame is not None:
                return frame
        raise AssertionError("nothing was seen")

    def close(self) -> None:
        self.context.destroy(linger=0)


@pytest.fixture
def camera() -> Iterator[Camera]:
    one = Camera()
    yield one
    one.close()


@pytest.fixture
def source(camera: Camera) -> Iterator[Source]:
    one = open_source(SourceSpec(input=f"zmq://127.0.0.1:{camera.port}"))
    yield one
    one.close()


def test_one_part_and_two_and_the_newest_wins(camera: Camera, source: Source) -> None:
    frame = camera.until_seen(source, jpeg(40))
    assert frame.image.shape == (48, 64, 3)
    for level in (60, 90, 120):
        camera.socket.send_multipart([b"1733097054.5", jpeg(level)])
    time.sleep(0.3)
    newest = source.read(5)
    assert newest is not None
    assert abs(int(newest.image[0, 0, 0]) - 120) < 5
    status = source.status()
    assert (status.state, status.width, status.format) == ("up", 64, "MJPG")


def test_rubbish_is_skipped(camera: Camera, source: Source) -> None:
    camera.until_seen(source, jpeg(40))
    time.sleep(0.1)
    while source.read(0.1) is not None:
        pass
    for parts in ([b""], [b"rubbish"], [jpeg(1)[:-50]], [b"a"] * 40):
        camera.socket.send_multipart(parts)
        assert source.read(0.1) is None
    assert "damaged" in (source.status().last_error or "")
    camera.until_seen(source, jpeg(40))


def test_a_message_beyond_the_limit_never_arrives(
    camera: Camera, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("x2c_edge.zeromq.SILENT_S", 0.2)
    camera.until_seen(source, jpeg(40))
    camera.socket.send(b"\xff\xd8\xff" + bytes(5 << 20) + b"\xff\xd9")
    camera.until_seen(source, jpeg(90))  # the connection was given up, and made anew


def test_a_silent_camera_is_lost_but_not_an_error(camera: Camera, source: Source, monkeypatch) -> None:
    monkeypatch.setattr("x2c_edge.capture.live.STALLED_AFTER_S", 0.1)
    time.sleep(0.2)
    assert source.read(0.05) is None
    assert source.status().state == "lost"
    camera.until_seen(source, jpeg(40))
    assert source.status().state == "up"


@pytest.mark.parametrize("text", ["zmq:", "zmq://", "zmq://h:99999", "zmq://h:1/x", "zmq://h:1?y=2"])
def test_a_bad_address_is_one_line(text: str) -> None:
    with pytest.raises(BadArgumentError, match="write zmq://HOST:PORT"):
        open_source(SourceSpec(input=text))


def test_an_unknown_host_and_a_missing_key_file_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no such host 'no-such-host\.invalid'"):
        open_source(SourceSpec(input="zmq://no-such-host.invalid:5000"))
    with pytest.raises(NotFoundError, match="none: No such file"):
        open_source(SourceSpec(input=f"zmq://127.0.0.1:5000?curve={tmp_path}/none"))


_HOSTILE = """
import sys, time, zmq
socket = zmq.Context().socket(zmq.PUB)
socket.bind(sys.argv[1])
part = bytes(4 << 20)
while True:
    time.sleep(0.3)
    socket.send_multipart([part] * 40)
"""


def test_the_parts_of_a_message_are_bounded_together() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    source = open_source(SourceSpec(input=f"zmq://127.0.0.1:{port}"))
    peer = subprocess.Popen([sys.executable, "-c", _HOSTILE, f"tcp://127.0.0.1:{port}"])
    try:
        end = time.monotonic() + 30
        while not source.status().dropped and time.monotonic() < end:
            assert source.read(0.1) is None
        assert "damaged" in (source.status().last_error or "")
        peer.kill()
        peer.wait()
        honest = Camera(port)
        assert honest.until_seen(source, b"17.5", jpeg(40)).image.shape == (48, 64, 3)
        honest.close()
    finally:
        peer.kill()
        peer.wait()
        source.close()
