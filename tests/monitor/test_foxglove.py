"""``--foxglove``: a run that is seen through Foxglove's own protocol, by a client as its app is one."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e.live_run import LATE_S, TerminalRun, free_port
from tests.record.recordings import smooth, write
from tests.runtime.test_mcap_recorder import command, sight
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.record.messages import CAMERA, COMMAND, EXPRESSION, ROBOT_FACE, TOPICS, picture_from, seen_from
from x2c_edge.runtime.foxglove_feed import FoxgloveFeed

pytest.importorskip("foxglove")
client = pytest.importorskip("websockets.sync.client")

LAYOUT = Path(__file__).parents[2] / "docs" / "foxglove_layout.json"
MESSAGE = struct.Struct("<BIQ")  # opcode 1, subscription, log time
FACE = np.full((32, 32, 3), (30, 100, 200), np.uint8)


def until(true: Callable[[], Any]) -> None:
    end = time.monotonic() + LATE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


class Viewer:
    """Foxglove's app, as far as the wire goes. topics: what was advertised, by name."""

    def __init__(self, url: str) -> None:
        self._opened = contextlib.ExitStack()
        end = time.monotonic() + LATE_S
        while True:
            try:
                opening = client.connect(
                    url, subprotocols=["foxglove.sdk.v1"], max_size=1 << 24, open_timeout=LATE_S
                )
                self.socket = self._opened.enter_context(opening)
                break
            except OSError:
                assert time.monotonic() < end, "no server"
                time.sleep(0.05)
        self.info = json.loads(self.socket.recv(LATE_S))
        assert self.info["op"] == "serverInfo"
        self.topics: dict[str, dict[str, Any]] = {}
        while len(self.topics) < len(TOPICS):
            word = json.loads(self.socket.recv(LATE_S))
            self.topics |= {channel["topic"]: channel for channel in word["channels"]}

    def subscribe(self, *topics: str) -> None:
        """A subscription's number is its topic's place among all topics."""
        wanted = [{"id": list(TOPICS).index(t), "channelId": self.topics[t]["id"]} for t in topics]
        self.socket.send(json.dumps({"op": "subscribe", "subscriptions": wanted}))

    def unsubscribe(self, *topics: str) -> None:
        numbers = [list(TOPICS).index(topic) for topic in topics]
        self.socket.send(json.dumps({"op": "unsubscribe", "subscriptionIds": numbers}))

    def next(self) -> tuple[str, int, bytes]:
        """Topic, log time and content of the next message."""
        while isinstance(data := self.socket.recv(LATE_S), str):
            pass
        opcode, number, log_time_ns = MESSAGE.unpack_from(data)
        assert opcode == 1
        return list(TOPICS)[number], log_time_ns, data[MESSAGE.size :]

    def close(self) -> None:
        self._opened.close()


@pytest.fixture
def feed() -> Iterator[FoxgloveFeed]:
    made = FoxgloveFeed("0")
    made.start(generated=True)
    yield made
    made.close()


@pytest.fixture
def viewer(feed: FoxgloveFeed) -> Iterator[Viewer]:
    made = Viewer(feed.link.url)
    yield made
    made.close()


def test_it_has_the_topics_and_schemas_of_a_recording_and_obeys_nobody(viewer: Viewer) -> None:
    assert viewer.info["capabilities"] == []
    assert {
        topic: (channel["schemaName"], json.loads(channel["schema"]), channel["encoding"])
        for topic, channel in viewer.topics.items()
    } == {topic: (name, schema, "json") for topic, (name, schema) in TOPICS.items()}


def test_what_was_subscribed_to_arrives_and_is_only_then_made(feed: FoxgloveFeed, viewer: Viewer) -> None:
    feed.command(command(0))
    feed.offer(sight(0, robot_face=FACE))
    assert not feed._waiting  # nobody wants it
    assert feed._sight is None
    viewer.subscribe(COMMAND)
    until(lambda: feed.link.wanted == {COMMAND})
    before_ns = time.time_ns()
    sent = command(7)
    feed.offer(sight(7, robot_face=FACE))
    assert feed._sight is None  # no pictures are made
    feed.command(sent)
    topic, log_time_ns, data = viewer.next()
    assert (topic, json.loads(data)) == (COMMAND, sent.to_json() | {"flags": sent.flags})
    assert log_time_ns == feed._epoch_ns + sent.t_send_ns
    assert abs(feed._epoch_ns + time.monotonic_ns() - before_ns) < 60e9
    viewer.subscribe(EXPRESSION, CAMERA, ROBOT_FACE)
    until(lambda: len(feed.link.wanted) == 4)
    feed.offer(sight(8, robot_face=FACE))
    arrived = {topic: (log_time_ns, data) for topic, log_time_ns, data in (viewer.next() for _ in range(3))}
    assert {log_time_ns for log_time_ns, _ in arrived.values()} == {feed._epoch_ns + 8 * 33_333_333}
    assert seen_from(arrived[EXPRESSION][1]).seq == 8
    assert picture_from(arrived[CAMERA][1]).shape == (48, 64, 3)
    assert np.abs(picture_from(arrived[ROBOT_FACE][1]).astype(int) - (200, 100, 30)).max() <= 4
    viewer.unsubscribe(CAMERA, ROBOT_FACE)
    until(lambda: feed.link.wanted == {COMMAND, EXPRESSION})
    viewer.close()
    until(lambda: not feed.link.wanted)


def test_a_viewer_that_takes_nothing_keeps_nobody_waiting(feed: FoxgloveFeed, viewer: Viewer) -> None:
    stuck = Viewer(feed.link.url)
    for one in (viewer, stuck):
        one.subscribe(CAMERA, COMMAND)
    until(lambda: len(feed.link.wanted) == 2)
    stuck.socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    process = feed.link._process
    assert process is not None
    resident = []
    for k in range(150):  # pictures as large as they come, 15 a second
        feed.command(command(k))
        feed.offer(sight(k, noise))
        time.sleep(0.01)
        if k % 50 == 49:
            resident.append(int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * 4096)
    feed.command(command(500))
    kinds = set()
    while (message := viewer.next())[0] != COMMAND or json.loads(message[2])["seq"] != 500:
        kinds.add(message[0])
    assert kinds == {COMMAND, CAMERA}
    assert resident[-1] - resident[0] < 64 * 400_000, resident  # what may wait for the stuck one
    stuck.socket.socket.close()


def test_a_server_that_dies_is_started_again(feed: FoxgloveFeed, viewer: Viewer) -> None:
    viewer.subscribe(COMMAND)
    until(lambda: feed.link.wanted)
    process = feed.link._process
    assert process is not None
    process.send_signal(signal.SIGKILL)
    until(lambda: not feed.link.wanted)
    again = Viewer(feed.link.url)
    again.subscribe(COMMAND)
    until(lambda: feed.link.wanted)
    again.close()


def test_a_run_is_seen_live_in_what_its_recording_has(tmp_path: Path) -> None:
    recording, port = write(tmp_path / "a.mcap", smooth(900)), free_port()
    run = TerminalRun(tmp_path, "replay", recording, "--foxglove", port)
    try:
        run.wait_for("FOLLOWING")
        assert f"foxglove: ws://127.0.0.1:{port}".encode() in run.read_screen()
        viewer = Viewer(f"ws://127.0.0.1:{port}")
        viewer.subscribe(COMMAND, EXPRESSION, CAMERA)
        found: dict[str, tuple[int, dict[str, Any]]] = {}
        while len(found) < 3:
            topic, log_time_ns, data = viewer.next()
            found[topic] = log_time_ns, json.loads(data)
        viewer.close()
        assert run.end() == 0
    finally:
        run.close()
    t_send_ns = found[COMMAND][1]["t_send_ns"]
    sent = next(line for line in run.lines() if line["t_send_ns"] == t_send_ns)
    assert {key: found[COMMAND][1][key] for key in sent} == sent
    assert abs(found[COMMAND][0] / 1e9 - time.time()) < LATE_S


def test_bad_addresses_are_one_line() -> None:
    with pytest.raises(BadArgumentError, match=r"--foxglove x: give \[HOST:\]PORT"):
        FoxgloveFeed("x")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(NotFoundError, match=r"--foxglove .*: Address already in use"):
            FoxgloveFeed(str(taken.getsockname()[1]))


def test_without_the_package_it_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['foxglove'] = None\n"
        "from x2c_edge.cli.main import main\n"
        "sys.argv[1:] = ['run', '--input', 'none.mp4', '--foxglove', '0']\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=LATE_S)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "pip install 'x2c-edge[foxglove]'" in done.stderr


# Foxglove's message path, as far as the layout uses it.
PATH = re.compile(r'(/[a-z_]+)((?:\.(?:[A-Za-z0-9_-]+|"[^"]+"))*)')


def paths_in(value: Any) -> list[str]:
    """Every topic and message path of a layout."""
    if isinstance(value, dict):
        return [path for part in value.values() for path in paths_in(part)]
    if isinstance(value, list):
        return [path for part in value for path in paths_in(part)]
    return [value] if isinstance(value, str) and value.startswith("/") else []


def test_the_layout_shows_what_there_is() -> None:
    layout = json.loads(LAYOUT.read_text())
    paths = paths_in(layout["configById"])
    assert {PATH.fullmatch(path).group(1) for path in paths} == set(TOPICS)  # type: ignore[union-attr]
    for path in paths:
        match = PATH.fullmatch(path)
        assert match, path
        schema = TOPICS[match.group(1)][1]
        for quoted, plain in re.findall(r'\.(?:"([^"]+)"|([\w-]+))', match.group(2)):
            assert (quoted or plain) in schema["properties"], path
            schema = schema["properties"][quoted or plain]
    shown = re.findall(r'"(\w+!\w+)"', json.dumps(layout["layout"]))
    assert sorted(shown) == sorted(layout["configById"])
