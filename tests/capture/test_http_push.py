"""Pictures posted over HTTP, to a real port."""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import threading
import time
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from x2c_edge.capture import http_push
from x2c_edge.capture.base import Source
from x2c_edge.capture.http_push import AT_ONCE, TOKEN_VARIABLE
from x2c_edge.capture.jpeg import MOST_BYTES, decode_jpeg, jpeg_size
from x2c_edge.capture.open import SourceSpec, open_source
from x2c_edge.errors import BadArgumentError, NotFoundError


def jpeg(level: int, size: tuple[int, int] = (64, 48)) -> bytes:
    ok, data = cv2.imencode(".jpg", np.full((size[1], size[0], 3), level, np.uint8))
    assert ok
    return data.tobytes()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def source(port: int) -> Iterator[Source]:
    one = open_source(SourceSpec(input=f"http-push://127.0.0.1:{port}/stream"))
    yield one
    one.close()


def post(port: int, body: bytes, path: str = "/stream", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", path, body, given)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_a_posted_picture_is_a_frame_and_the_newest_wins(source: Source, port: int) -> None:
    assert post(port, jpeg(40)) == (200, b"OK")
    frame = source.read(5)
    assert frame is not None
    assert frame.image.shape == (48, 64, 3)
    assert abs(int(frame.image[0, 0, 0]) - 40) < 5
    for level in (60, 90, 120):
        time.sleep(0.02)
        assert post(port, jpeg(level))[0] == 200
    time.sleep(0.2)
    newest = source.read(5)
    assert newest is not None
    assert abs(int(newest.image[0, 0, 0]) - 120) < 5
    assert newest.t_capture_ns > frame.t_capture_ns
    assert source.read(0.05) is None
    assert source.status().width == 64


def test_late_pictures_are_dropped_and_a_new_start_is_not(source: Source, port: int) -> None:
    for number, level in ((5000, 40), (4999, 200)):
        time.sleep(0.02)
        assert post(port, jpeg(level), X_Frame_Seq=str(number))[0] == 200
    time.sleep(0.2)
    frame = source.read(5)
    assert frame is not None
    assert abs(int(frame.image[0, 0, 0]) - 40) < 5
    assert source.read(0.1) is None
    assert post(port, jpeg(90), X_Frame_Seq="0")[0] == 200
    assert source.read(5) is not None


def test_a_phone_that_starts_anew_is_heard_again_soon(source: Source, port: int) -> None:
    assert post(port, jpeg(40), X_Frame_Seq="500")[0] == 200
    assert source.read(5) is not None
    time.sleep(1.1)
    for number in (0, 1):
        assert post(port, jpeg(90), X_Frame_Seq=str(number))[0] == 200
        assert source.read(5) is not None
        time.sleep(0.02)


def test_one_number_for_all_pictures_is_none(source: Source, port: int) -> None:
    for _ in range(3):
        time.sleep(0.02)
        assert post(port, jpeg(40), X_Frame_Seq="0")[0] == 200
        assert source.read(5) is not None


def test_the_banner_and_refusals(source: Source, port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/")
    assert b"x2c-edge" in connection.getresponse().read()
    connection.close()
    assert post(port, jpeg(1), "/else")[0] == 404
    assert post(port, b"GIF89a not a jpeg")[0] == 400
    time.sleep(0.02)
    assert post(port, jpeg(1)[:-200])[0] == 400
    assert post(port, jpeg(1), Origin="http://evil.example")[0] == 403
    for length, code in ((str(MOST_BYTES + 1), b"413"), ("9" * 30, b"413"), ("x", b"411"), ("-1", b"411")):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            raw.sendall(
                b"POST /stream HTTP/1.1\r\nHost: a\r\nContent-Length: " + length.encode() + b"\r\n\r\n"
            )
            assert raw.recv(100).split()[1] == code
    assert source.read(0.05) is None


def test_a_flood_is_slowed_and_strangers_wait_outside(source: Source, port: int) -> None:
    codes = [post(port, jpeg(1))[0] for _ in range(60)]
    assert set(codes) <= {200, 429}
    sending = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(AT_ONCE)]
    time.sleep(0.3)  # for the pictures that may come now
    for connection in sending:
        connection.sendall(b"POST /stream HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n")
        time.sleep(0.02)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as one_more:
        assert one_more.recv(100).split()[1] == b"503"
    for connection in sending:
        connection.close()
    end = time.monotonic() + 10
    while True:  # their places come back
        try:
            if post(port, jpeg(1))[0] == 200:
                break
        except (http.client.HTTPException, OSError):
            pass
        assert time.monotonic() < end
        time.sleep(0.05)


def test_half_a_request_leaves_nothing_behind(source: Source, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        raw.sendall(b"POST /stream HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n" + jpeg(1)[:100])
    assert source.read(0.2) is None
    assert post(port, jpeg(1))[0] == 200
    assert source.read(5) is not None


def test_with_a_token(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "s3cret")
    source = open_source(SourceSpec(input=f"http-push://127.0.0.1:{port}"))
    assert post(port, jpeg(1))[0] == 401
    assert post(port, jpeg(1), Authorization="Bearer other")[0] == 401
    assert post(port, jpeg(1), Authorization="Bearer s3cret")[0] == 200
    source.close()


def test_a_port_in_use_and_bad_addresses_are_one_line(source: Source, port: int) -> None:
    with pytest.raises(NotFoundError, match="Address already in use; choose"):
        open_source(SourceSpec(input=f"http-push://127.0.0.1:{port}/stream"))
    for text in ("http-push:", "http-push://h:99999/", "http-push://h:1/?x=1", "http-push://me@h:1/"):
        with pytest.raises(BadArgumentError, match="write http-push://HOST:PORT/stream"):
            open_source(SourceSpec(input=text))


def test_the_port_is_free_after_closing(port: int) -> None:
    for _ in range(2):
        source = open_source(SourceSpec(input=f"http-push://127.0.0.1:{port}/stream"))
        assert post(port, jpeg(1))[0] == 200
        source.close()
        time.sleep(0.2)


def test_a_picture_that_claims_to_be_huge_is_not_decoded() -> None:
    data = bytearray(jpeg(7))
    at = data.index(b"\xff\xc0")
    assert jpeg_size(bytes(data)) == (64, 48)
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    assert jpeg_size(bytes(data)) == (65535, 65535)
    assert decode_jpeg(np.frombuffer(bytes(data), np.uint8)) is None


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8\xff", b"\xff\xd8\xff\xd9", b"\xff\xd8" + b"\xff" * 50 + b"\xff\xd9"]
)
def test_rubbish_has_no_size(data: bytes) -> None:
    assert jpeg_size(data) is None


def test_a_hostile_picture_is_refused_and_the_next_one_is_seen(source: Source, port: int) -> None:
    lone_marker = b"\xff\xd8\xff\x01" + jpeg(9, (6000, 6000))[2:]
    assert post(port, lone_marker)[0] == 400
    time.sleep(0.02)
    damaged = bytearray(jpeg(9, (640, 480)))
    damaged[-400:-2] = b"\xff\xc0" * 199  # past the front door, and the decoder's to refuse or to mend
    assert post(port, bytes(damaged))[0] == 200
    source.read(0.5)
    time.sleep(0.02)
    assert post(port, jpeg(40))[0] == 200
    frame = source.read(5)
    assert frame is not None
    assert frame.image.shape == (48, 64, 3)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /stream HTTP/1.1\r\nX-A: ",
        b"POST /stream HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n",
    ],
    ids=["silent", "in the headers", "in the body"],
)
def test_who_dawdles_locks_nobody_out(source: Source, port: int, sent: bytes) -> None:
    """They come back as often as they are cut off, and send a byte now and then."""
    stopping = threading.Event()

    def dawdle() -> None:
        while not stopping.is_set():
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", port), timeout=5) as one,
            ):
                one.sendall(sent)
                while not stopping.wait(0.3):
                    if sent:
                        one.sendall(b"a")

    crowd = [threading.Thread(target=dawdle) for _ in range(2 * AT_ONCE)]
    for one in crowd:
        one.start()
    try:
        time.sleep(0.5)
        codes = []
        for _ in range(20):
            time.sleep(0.1)
            with contextlib.suppress(OSError, http.client.HTTPException):
                codes.append(post(port, jpeg(40))[0])
        assert codes.count(200) >= (15 if not sent.endswith(b"\r\n\r\n") else 1), codes
    finally:
        stopping.set()
        for one in crowd:
            one.join()


def test_one_deadline_for_the_whole_request(
    source: Source, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that keep coming do not lengthen it, in the headers or in the body."""
    monkeypatch.setattr(http_push, "REQUEST_S", 1.0)
    for head in (b"POST /stream HTTP/1.1\r\nX-A: ", b"POST /stream HTTP/1.1\r\nContent-Length: 5000\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as one:
            one.sendall(head)
            start = time.monotonic()
            with contextlib.suppress(OSError):
                while time.monotonic() - start < 20 and not select.select([one], [], [], 0.2)[0]:
                    one.sendall(b"a")
            assert time.monotonic() - start < 10


def test_without_the_token_nothing_is_told_or_read(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "s3cret")
    source = open_source(SourceSpec(input=f"http-push://127.0.0.1:{port}"))
    try:
        assert post(port, jpeg(1), "/else")[0] == 401
        assert post(port, jpeg(1), Origin="http://evil.example")[0] == 401
        assert post(port, b"")[0] == 401
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert raw.recv(100).split()[1] == b"401"
        assert post(port, jpeg(1), Authorization="Bearer s3cret")[0] == 200
    finally:
        source.close()
