"""Downloads from a real local server that breaks off, refuses, lies or is not there."""

from __future__ import annotations

import errno
import hashlib
import http.client
import http.server
import re
import threading
from dataclasses import dataclass, field

import numpy as np
import pytest

from x2c_edge.convert import pull as downloads
from x2c_edge.convert.sources import SETS, RemoteFile, RemoteSet
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.locked import alone_in

BIG = np.random.default_rng(1).bytes(700_000)
SMALL = b"weights" * 100


@dataclass
class Behaviour:
    """What the server does; ``drops``: after how many bytes each next answer breaks off."""

    content: dict[str, bytes]
    drops: list[int] = field(default_factory=list)
    ranges: bool = True
    status: int | None = None
    asked: list[tuple[str, str | None]] = field(default_factory=list)


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        behaviour = self.server.behaviour
        wanted = self.headers.get("Range")
        behaviour.asked.append((self.path, wanted))
        body = behaviour.content.get(self.path)
        if behaviour.status or body is None:
            self.send_error(behaviour.status or 404)
            return
        start = 0
        if wanted and behaviour.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(body):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        stop = start + behaviour.drops.pop(0) if behaviour.drops else len(body)
        self.wfile.write(body[start:stop])

    def log_message(self, *_):
        pass


@pytest.fixture
def behaviour():
    return Behaviour({"/set/base/big.pth": BIG, "/set/small.pth": SMALL})


@pytest.fixture
def url(behaviour):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.behaviour = behaviour
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/set"
    server.shutdown()
    thread.join()
    server.server_close()


def remote(big_sha: str | None = hashlib.sha256(BIG).hexdigest()) -> RemoteSet:
    return RemoteSet(
        "http://127.0.0.1:1/nowhere",
        "none",
        (RemoteFile("base/big.pth", len(BIG), big_sha), RemoteFile("small.pth", len(SMALL), None)),
    )


def pull(url, folder, source=None, **options):
    return downloads.pull(source or remote(), folder, url, pause_s=0.001, **options)


def test_files_arrive_as_they_are(url, tmp_path):
    progress = []
    paths = pull(url, tmp_path, on_progress=lambda *call: progress.append(call))
    assert [p.read_bytes() for p in paths] == [BIG, SMALL]
    assert progress[-1] == ("small.pth", len(SMALL), len(SMALL))
    assert [done for name, done, _ in progress if name == "big.pth"] == sorted(
        done for name, done, _ in progress if name == "big.pth"
    )
    assert not list(tmp_path.rglob("*.partial"))


def test_a_broken_connection_goes_on_where_it_stopped(url, tmp_path, behaviour):
    behaviour.drops = [100_000, 250_000, 1]
    assert pull(url, tmp_path)[0].read_bytes() == BIG
    ranges = [wanted for path, wanted in behaviour.asked if path.endswith("big.pth")]
    assert ranges == [None, "bytes=100000-", "bytes=350000-", "bytes=350001-"]


def test_the_next_run_goes_on_where_the_last_one_stopped(url, tmp_path, behaviour):
    behaviour.drops = [100_000] + [0] * 10
    with pytest.raises(NotFoundError, match="run it again to go on"):
        pull(url, tmp_path)
    assert (tmp_path / "base/big.pth.partial").stat().st_size == 100_000
    behaviour.drops, behaviour.asked = [], []
    assert pull(url, tmp_path)[0].read_bytes() == BIG
    assert behaviour.asked[0][1] == "bytes=100000-"


def test_a_folder_is_filled_by_one_at_a_time(url, tmp_path):
    with alone_in(tmp_path), pytest.raises(NotFoundError, match="another x2c-edge command"):
        pull(url, tmp_path)
    assert len(pull(url, tmp_path)) == 2


def test_a_network_that_goes_away_while_reading_is_tried_again(url, tmp_path, monkeypatch):
    """Not every such error is a ConnectionError: "No route to host" is an OSError like a full disk's."""
    read, failures = http.client.HTTPResponse.read, [OSError(errno.EHOSTUNREACH, "No route to host")]

    def once(answer, amount):
        if failures:
            raise failures.pop()
        return read(answer, amount)

    monkeypatch.setattr(http.client.HTTPResponse, "read", once)
    pull(url, tmp_path)
    assert (tmp_path / "base/big.pth").read_bytes() == BIG


def test_what_is_there_already_is_kept(url, tmp_path, behaviour):
    pull(url, tmp_path)
    behaviour.asked = []
    pull(url, tmp_path)
    assert behaviour.asked == []


def test_a_damaged_file_is_fetched_again(url, tmp_path):
    path = pull(url, tmp_path)[0]
    path.write_bytes(BIG[:-1] + b"x")
    assert pull(url, tmp_path)[0].read_bytes() == BIG


def test_a_server_without_ranges_starts_over(url, tmp_path, behaviour):
    behaviour.ranges = False
    behaviour.drops = [100_000]
    assert pull(url, tmp_path)[0].read_bytes() == BIG


def test_a_wrong_hash_leaves_nothing(url, tmp_path):
    with pytest.raises(NotFoundError, match="sha256"):
        pull(url, tmp_path, remote("00" * 32))
    assert not list(tmp_path.rglob("big.pth*"))


def test_a_file_that_is_too_large_is_another_file(url, tmp_path, behaviour):
    behaviour.content["/set/base/big.pth"] = BIG + b"more"
    with pytest.raises(NotFoundError, match="larger than the published"):
        pull(url, tmp_path)


@pytest.mark.parametrize(("status", "word"), [(404, "404"), (401, "401"), (503, "503")])
def test_a_refusal_is_one_line(url, tmp_path, behaviour, status, word):
    behaviour.status = status
    with pytest.raises(NotFoundError, match=word) as caught:
        pull(url, tmp_path)
    assert "\n" not in str(caught.value)
    assert len(behaviour.asked) == (5 if status == 503 else 1)


def test_offline_is_one_line(tmp_path):
    with pytest.raises(NotFoundError, match="online") as caught:
        pull("http://127.0.0.1:1/", tmp_path)
    assert "\n" not in str(caught.value)


def test_no_room_is_said_before_anything_is_asked(url, tmp_path, behaviour, monkeypatch):
    usage = downloads.require_space.__globals__["shutil"].disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=len(BIG)))
    with pytest.raises(NotFoundError, match="make room"):
        pull(url, tmp_path)
    assert behaviour.asked == []


def test_the_mirror_can_come_from_the_environment(url, tmp_path, monkeypatch):
    monkeypatch.setenv("X2C_EDGE_MIRROR", url)
    assert pull(None, tmp_path)[1].read_bytes() == SMALL


def test_only_web_addresses(tmp_path):
    with pytest.raises(BadArgumentError, match="http"):
        pull(f"file://{tmp_path}/", tmp_path)


def test_an_unknown_set_suggests_the_known_one():
    with pytest.raises(BadArgumentError, match="did you mean 'liveportrait'"):
        downloads.remote_set("liveportait")


def test_the_table_is_plausible():
    for remote_set in SETS.values():
        assert remote_set.base_url.startswith("https://")
        for file in remote_set.files:
            assert file.size > 1_000_000
            assert file.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", file.sha256)


def test_the_command_downloads_with_a_bar(url, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from x2c_edge.cli.main import app

    monkeypatch.setitem(SETS, "liveportrait", remote())
    result = CliRunner().invoke(
        app, ["packs", "pull", "liveportrait", "--base-url", url, "--out", str(tmp_path)]
    )
    assert result.exit_code == 0, result.output
    assert (tmp_path / "base/big.pth").read_bytes() == BIG
    assert "not checked" in result.output
