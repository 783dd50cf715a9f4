from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.monitor.access import Access, address_of, listen, operator_token, parse

TOKEN = "a-token-of-the-tests"


@pytest.fixture(autouse=True)
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("X2C_EDGE_MONITOR_TOKEN", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("address", "host", "port", "local"),
    [
        ("8080", "127.0.0.1", 8080, True),
        (":8080", "127.0.0.1", 8080, True),
        ("localhost:1", "localhost", 1, True),
        ("[::1]:8080", "::1", 8080, True),
        ("0.0.0.0:80", "0.0.0.0", 80, False),
        ("robot.local:80", "robot.local", 80, False),
    ],
)
def test_addresses(address: str, host: str, port: int, local: bool) -> None:
    access = parse(address)
    assert (access.host, access.port, access.local) == (host, port, local)


@pytest.mark.parametrize("address", ["", "x", "8080x", "host:", "1.2.3.4:99999", "http://x:80", "-1"])
def test_nonsense_is_one_line(address: str) -> None:
    with pytest.raises(BadArgumentError, match=r"HOST:\]PORT") as error:
        parse(address)
    assert "\n" not in str(error.value)


def test_who_may_do_what() -> None:
    here, everywhere = Access("127.0.0.1", 1, TOKEN), Access("0.0.0.0", 1, TOKEN)
    assert (here.role_of(TOKEN), here.role_of(""), here.role_of("x")) == ("operator", "viewer", "viewer")
    assert (everywhere.role_of(TOKEN), everywhere.role_of("")) == ("operator", None)
    assert everywhere.role_of(everywhere.viewer_token) == "viewer"
    assert everywhere.viewer_token not in (TOKEN, "")
    assert here.url() == f"http://127.0.0.1:1/#{TOKEN}"
    assert here.url("viewer") == "http://127.0.0.1:1/"
    assert Access("::1", 1, TOKEN).url("viewer") == "http://[::1]:1/"
    assert everywhere.url("viewer").endswith(f":1/#{everywhere.viewer_token}")


def test_another_name_that_leads_here_is_not_ours() -> None:
    here = Access("127.0.0.1", 8080, TOKEN)
    for good in ("127.0.0.1:8080", "localhost:8080", "[::1]:8080", "127.0.0.1"):
        assert here.host_is_ours(good)
    for bad in ("evil.example:8080", "127.0.0.1.evil.example", "", "192.168.1.2:8080"):
        assert not here.host_is_ours(bad)
    assert here.origin_is_ours("http://localhost:8080", "localhost:8080")
    assert here.origin_is_ours(None, "localhost:8080")
    for bad in ("http://evil.example", "null", "https://localhost:8080", "http://localhost:8081"):
        assert not here.origin_is_ours(bad, "localhost:8080")


def test_the_token_is_kept_for_the_next_run_and_for_nobody_else(state_folder: Path) -> None:
    token = operator_token()
    assert len(token) >= 16
    assert operator_token() == token
    (kept,) = state_folder.rglob("monitor-token")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_a_token_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X2C_EDGE_MONITOR_TOKEN", TOKEN)
    assert parse("8080").token == TOKEN
    for bad in ("short", "with spaces and so on", "sixteen#letters#and"):
        monkeypatch.setenv("X2C_EDGE_MONITOR_TOKEN", bad)
        with pytest.raises(BadArgumentError, match="16"):
            operator_token()


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(NotFoundError, match=f"{port}: Address already in use") as error:
            listen("--monitor", *address_of("--monitor", str(port)))
    assert "\n" not in str(error.value)
    with pytest.raises(NotFoundError, match="choose another"):
        listen("--monitor", *address_of("--monitor", "no-such-host.invalid:80"))
