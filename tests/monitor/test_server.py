"""The page server as a process, and viewers that are good, slow, stuck or hostile."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from x2c_edge.controls import NEUTRAL
from x2c_edge.monitor import feed
from x2c_edge.runtime.page_link import PageLink

pytest.importorskip("aiohttp")
client = pytest.importorskip("websockets.sync.client")
exceptions = pytest.importorskip("websockets.exceptions")
SILENCE_S = pytest.importorskip("x2c_edge.monitor.server").SILENCE_S

LATE_S = 60.0
TOKEN = "a-token-of-the-tests"


class Page:
    """A page link with a server, and what was asked of it."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.words: list[dict[str, Any]] = []
        self.link = PageLink(f"{host}:0", self.words.append)
        self.port = self.link.access.port
        self.link.start(feed.hello({"source": "test"}))
        self.viewers = contextlib.ExitStack()
        self.url = f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        request = urllib.request.Request(self.url + path, headers=headers)
        for _ in range(int(LATE_S * 10)):
            try:
                with urllib.request.urlopen(request, timeout=LATE_S) as answer:
                    return answer.status, answer.read()
            except urllib.error.HTTPError as error:  # noqa: PERF203
                return error.code, error.read()
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        raise AssertionError("no server")

    def view(self, token: str = "", **more: Any) -> Any:
        """A viewer that has introduced itself and been told who it is; None if it was not let in."""
        viewer = self.connect(token, **more)
        first = json.loads(viewer.recv(LATE_S))
        assert first["kind"] == "you"
        viewer.role = first["role"]
        return viewer

    def connect(self, token: Any, **more: Any) -> Any:
        """A viewer that has introduced itself."""
        opening = client.connect(f"ws://127.0.0.1:{self.port}/live", open_timeout=LATE_S, **more)
        viewer = self.viewers.enter_context(opening)
        viewer.send(json.dumps({"token": token}))
        return viewer

    def close(self) -> None:
        self.link.close()
        self.viewers.close()

    def until(self, true: Callable[[], Any]) -> None:
        end = time.monotonic() + LATE_S
        while not true():
            assert time.monotonic() < end, self.words
            time.sleep(0.01)


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X2C_EDGE_MONITOR_TOKEN", TOKEN)


@pytest.fixture
def page() -> Iterator[Page]:
    made = Page()
    yield made
    made.close()


def row(k: int) -> bytes:
    return feed.commands([feed.Row(k, 2, 0, 20.0, NEUTRAL)])


def until_the_end(viewer: Any) -> None:
    """Read until the server ends it."""
    with contextlib.suppress(exceptions.ConnectionClosed):
        while True:
            viewer.recv(LATE_S)


def kinds(viewer: Any, until: str) -> list[str]:
    """The kinds of what comes, up to the first of kind ``until``."""
    seen: list[str] = []
    while not seen or seen[-1] != until:
        message = viewer.recv(LATE_S)
        seen.append(json.loads(message)["kind"] if isinstance(message, str) else chr(message[0]))
    return seen


def test_the_page_and_its_files_are_served_with_strict_headers(page: Page) -> None:
    for path, word in (
        ("/", b"<title>"),
        ("/page.js", b"WebSocket"),
        ("/head.js", b"webgl2"),
        ("/page.css", b"#stop"),
    ):
        status, body = page.get(path)
        assert (status, word in body) == (200, True), path
    request = urllib.request.urlopen(page.url, timeout=LATE_S)
    assert "frame-ancestors 'none'" in request.headers["Content-Security-Policy"]
    assert page.get("/head.bin")[0] == 200
    assert gzip.decompress(page.get("/head.bin")[1])[4:5] == b"{"
    for path in ("/server.py", "/../access.py", "/page/page.js", "/%2e%2e/access.py", "/x.js"):
        assert page.get(path)[0] == 404, path


def test_a_name_that_only_leads_here_is_refused(page: Page) -> None:
    page.get("/")
    for path in ("/", "/metrics", "/head.bin"):
        assert page.get(path, Host=f"evil.example:{page.port}")[0] == 403
    for origin in ("http://evil.example", "null", f"https://127.0.0.1:{page.port}"):
        with pytest.raises(exceptions.InvalidStatus, match="403"):
            page.view(origin=origin)
    assert page.view(origin=page.url).role == "viewer"


def test_messages_reach_a_viewer_and_requests_the_run(page: Page) -> None:
    page.get("/")
    operator = page.view(TOKEN)
    assert operator.role == "operator"
    assert kinds(operator, "hello") == ["hello"]
    page.until(lambda: page.link.looking == 1)
    page.link.send(row(1))
    assert kinds(operator, "C") == ["C"]
    page.link.send(feed.snapshot({"state": "FOLLOWING"}))
    assert kinds(operator, "snapshot") == ["snapshot"]
    page.link.send(feed.log(1.0, "x"))
    assert kinds(operator, "log") == ["log"]
    for request in ("stop", "resume", "reset", "neutral", "hold", "tune", "play"):
        operator.send(json.dumps({"do": request}))
    page.until(lambda: len(page.words) == 7)
    assert page.words[0]["do"] == "stop"
    assert {word["by"] for word in page.words} == {"page 1"}
    operator.send(json.dumps({"do": "look", "at": False}))
    page.until(lambda: page.link.looking == 0)


def test_without_the_token_one_may_look_and_stop(page: Page) -> None:
    page.get("/")
    viewer = page.view("wrong")
    assert viewer.role == "viewer"
    for request in ("resume", "reset", "neutral", "hold", "tune", "play", "stop"):
        viewer.send(json.dumps({"do": request, "by": "somebody else"}))
    page.until(lambda: page.words)
    assert [(word["do"], word["by"]) for word in page.words] == [("stop", "page 1")]


def test_elsewhere_nobody_sees_anything_without_a_token() -> None:
    page = Page("0.0.0.0")
    try:
        assert page.get("/")[0] == 200  # the page itself is no secret
        assert page.get("/metrics")[0] == 401
        for token in ("", "wrong", None, 7, ["x"]):
            stranger = page.connect(token)
            with pytest.raises(exceptions.ConnectionClosed, match="4401"):
                stranger.recv(LATE_S)
        viewer_token = page.link.access.viewer_token
        assert page.view(viewer_token).role == "viewer"
        page.link.send(feed.snapshot({}))
        assert page.get("/metrics", Authorization=f"Bearer {viewer_token}")[0] == 200
        assert page.link.looking <= 1
    finally:
        page.close()


def test_a_run_that_says_nothing_has_no_figures(page: Page) -> None:
    page.get("/")
    own = {"Authorization": f"Bearer {TOKEN}"}
    page.link.send(feed.snapshot({"frames": 7}))
    page.until(lambda: b"7" in page.get("/metrics", **own)[1])
    time.sleep(SILENCE_S + 0.5)
    status, said = page.get("/metrics", **own)
    assert (status, said[:29]) == (503, b"the run has said nothing for ")
    page.link.send(feed.snapshot({"frames": 8}))
    page.until(lambda: page.get("/metrics", **own)[0] == 200)


def test_whoever_goes_lets_go(page: Page) -> None:
    page.get("/")
    operator = page.view(TOKEN)
    operator.send(json.dumps({"do": "hold"}))
    page.until(lambda: page.words)
    operator.socket.shutdown(socket.SHUT_RDWR)  # no goodbye, as when a browser is killed
    page.until(lambda: page.words[-1] == {"do": "release", "by": "page 1"})
    page.until(lambda: page.link.looking == 0)


@pytest.mark.parametrize(
    "rubbish",
    [
        "",
        "{",
        "[]",
        "7",
        '"stop"',
        '{"do": {"x": 1}, "x": ["',
        "[" * 4000,
        b"\x00\xff",
        "x" * 5000,
        '{"undo": 1}',
        '{"do": "stop", "x": "' + "é" * 2000 + '"}',
        '{"do": "play", "x": [' + "1e15," * 800 + "0]}",
    ],
    ids=lambda r: repr(r[:12]),
)
def test_rubbish_ends_the_viewer_that_sent_it_and_nothing_else(page: Page, rubbish: str | bytes) -> None:
    page.get("/")
    good, bad = page.view(TOKEN), page.view(TOKEN)
    bad.send(rubbish)
    until_the_end(bad)
    good.send(json.dumps({"do": "stop"}))
    page.until(lambda: any(word["do"] == "stop" for word in page.words))


def test_a_word_that_is_not_understood_does_not_end_the_page(page: Page) -> None:
    page.get("/")
    heard, asked = page.link._ask, []

    def fail_once(word: dict[str, Any]) -> None:
        asked.append(word)
        if len(asked) == 1:
            raise OverflowError("cannot convert float infinity to integer")
        heard(word)

    page.link._ask = fail_once
    operator = page.view(TOKEN)
    operator.send(json.dumps({"do": "play", "step": 1}))
    operator.send(json.dumps({"do": "stop"}))
    page.until(lambda: any(word["do"] == "stop" for word in page.words))


def test_a_flood_ends_the_viewer(page: Page) -> None:
    page.get("/")
    flood = page.view(TOKEN)
    with contextlib.suppress(exceptions.ConnectionClosed):
        for _ in range(100_000):
            flood.send('{"do": "stop"}')
        pytest.fail("it may go on for ever")
    page.until(lambda: page.words and page.words[-1]["do"] == "release")
    assert len(page.words) < 1000


def test_a_stuck_viewer_keeps_nobody_waiting_and_takes_no_room(page: Page) -> None:
    page.get("/")
    good = page.view(TOKEN)
    stuck = socket.create_connection(("127.0.0.1", page.port))
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.sendall(
        b"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    words = json.dumps({"token": TOKEN}).encode()
    stuck.sendall(bytes([0x81, 0x80 | len(words), 0, 0, 0, 0]) + words)
    page.until(lambda: page.link.looking == 2)
    process = page.link._process
    assert process is not None
    resident = []
    picture = b"P".ljust(8, b"\0") + os.urandom(60_000)
    for k in range(400):
        page.link.send(row(k))
        while not page.link.send(picture):
            time.sleep(0.001)
        if k % 100 == 99:
            while not page.link.send(feed.snapshot({"k": k})):  # what does not fit is dropped
                time.sleep(0.001)
            assert "snapshot" in kinds(good, "snapshot")
            with open(f"/proc/{process.pid}/statm") as file:
                resident.append(int(file.read().split()[1]) * 4096)
    assert resident[-1] - resident[0] < 20e6, resident  # 24 MB were sent since
    stuck.close()


def test_a_server_that_dies_is_started_again(page: Page) -> None:
    page.get("/")
    process = page.link._process
    assert process is not None
    process.send_signal(signal.SIGKILL)
    page.until(lambda: page.words == [{"do": "release", "by": ""}])
    page.until(lambda: page.link._process is not process)
    assert page.get("/")[0] == 200
    assert page.view(TOKEN).role == "operator"


def test_a_server_ends_with_its_run() -> None:
    page = Page()
    page.get("/")
    viewer = page.view()
    process = page.link._process
    assert process is not None
    page.link.close()
    assert process.poll() is not None
    until_the_end(viewer)
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", page.port))
