"""URIs: what is understood, and one clear line for everything else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.frames import Command
from x2c_edge.links.registry import make_link

KEY = "ab" * 32


@pytest.mark.parametrize(
    "uri",
    [
        "null:",
        "jsonl:-",
        "jsonl:some folder/out?100%.jsonl",
        "serial:///dev/ttyUSB0",
        "serial:///dev/ttyUSB0?baud=921600&settle=0.5",
        "udp://",
        "udp://127.0.0.1:47800",
        "udp://[::1]:5000",
    ],
)
def test_a_good_uri_makes_a_closed_link(uri: str) -> None:
    link = make_link(uri, rate_hz=60)
    assert link.uri == uri
    assert link.status().state == "closed"
    link.close(0)


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        (
            "serail:///dev/ttyUSB0",
            r"unknown scheme 'serail' \(did you mean 'serial'\?\); use one of serial:,",
        ),
        ("out.jsonl", "unknown scheme 'out.jsonl'"),
        ("", "unknown scheme ''"),
        ("null:x", "nothing after the colon"),
        ("jsonl:", "file name missing; write jsonl:FILE"),
        ("serial://dev/ttyUSB0", "three slashes"),
        ("serial:", "three slashes"),
        ("serial://COM3", "three slashes"),
        ("serial:///dev/ttyUSB0?bauds=9600", r"unknown option 'bauds' \(did you mean 'baud'\?\)"),
        ("serial:///dev/ttyUSB0?baud=fast", "baud is a whole number from 1 to 2e\\+07, not 'fast'"),
        ("serial:///dev/ttyUSB0?baud=-1", "not '-1'"),
        ("serial:///dev/ttyUSB0?baud=9600", "9600 baud is too slow for 60 commands/s; use baud=115200"),
        ("serial:///dev/ttyUSB0?settle=nan", "settle is a number from 0 to 60, not 'nan'"),
        ("udp:localhost", "write udp://HOST:PORT"),
        ("udp://localhost:0", "write udp://HOST:PORT"),
        ("udp://localhost:99999", "a port is a number"),
        ("udp://secret@localhost", "write udp://HOST:PORT"),
        ("udp://localhost/path", "write udp://HOST:PORT"),
        ("udp://localhost?keys=x", "did you mean 'key'"),
        ("udp://[::1", "link 'udp://\\[::1': invalid IPv6 URL"),
        ("serial://[", "invalid IPv6 URL"),
        ("zmq://[", "invalid IPv6 URL"),
        ("jsonl:a\0b", "holds a NUL character"),
        ("udp://localhost?key_id=256", "key_id is a whole number from 0 to 255"),
    ],
)
def test_a_bad_uri_is_one_clear_line(uri: str, text: str) -> None:
    with pytest.raises(BadArgumentError, match=text) as caught:
        make_link(uri, rate_hz=60)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rate_hz", [0, 256])
def test_a_rate_that_does_not_fit_is_refused(rate_hz: int) -> None:
    with pytest.raises(BadArgumentError, match="1 to 255"):
        make_link("null:", rate_hz=rate_hz)


def test_keys_come_from_a_private_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key"
    uri = f"udp://localhost?key={path}"
    with pytest.raises(NotFoundError, match="key: No such file"):
        make_link(uri, rate_hz=60)
    path.write_text("123\n")
    path.chmod(0o600)
    with pytest.raises(BadArgumentError, match="64 hexadecimal digits or 32 bytes"):
        make_link(uri, rate_hz=60)
    for content in (KEY.encode() + b"\n", bytes(range(32))):
        path.write_bytes(content)
        make_link(uri, rate_hz=60)
    path.chmod(0o640)
    with pytest.raises(BadArgumentError, match="others may read it; run 'chmod 600"):
        make_link(uri, rate_hz=60)
    monkeypatch.setenv("X2C_EDGE_UDP_KEY", "nonsense")
    with pytest.raises(BadArgumentError, match=r"\$X2C_EDGE_UDP_KEY: a key is 64 hexadecimal digits"):
        make_link("udp://localhost", rate_hz=60)


def test_null_counts(make_command: object) -> None:
    assert callable(make_command)
    command = make_command(0)
    assert isinstance(command, Command)
    link = make_link("null:", rate_hz=60)
    link.open()
    link.send(command)
    assert (link.status().state, link.status().sent) == ("up", 1)
    link.close(0)
    assert link.status().state == "closed"


def test_pyserial_is_imported_only_when_it_is_used() -> None:
    code = (
        "import sys; from x2c_edge.links.registry import make_link\n"
        "make_link('jsonl:-', rate_hz=60); make_link('null:', rate_hz=60)\n"
        "sys.exit('serial' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)
