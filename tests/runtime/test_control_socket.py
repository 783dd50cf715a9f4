from __future__ import annotations

import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.runtime import control_socket
from x2c_edge.runtime.control_socket import ControlSocket, ask, folder, runs
from x2c_edge.runtime.operator import Operator
from x2c_edge.safety.supervisor import Supervisor


@pytest.fixture(autouse=True)
def runtime_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A short one: a socket's name has little room. The system's own folders are in it too."""
    path = Path("/tmp") / f"x2c-{os.getpid()}-{time.monotonic_ns() % 10**6}"
    for name in ("run/x2c-edge", f"run/user/{os.geteuid()}", "tmp"):
        (path / name).mkdir(mode=0o700, parents=True)
    monkeypatch.setattr(control_socket, "RUN", path / "run")
    monkeypatch.setattr(control_socket, "TEMPORARY", path / "tmp")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path))
    return path


@pytest.fixture
def ticking() -> Iterator[Operator]:
    """An operator whose requests a supervisor really takes, 60 times a second."""
    operator, supervisor, end = Operator(), Supervisor(), threading.Event()

    def tick() -> None:
        while not end.wait(1 / 60):
            operator.attend(supervisor, time.monotonic_ns())
            supervisor.tick(time.monotonic_ns())

    thread = threading.Thread(target=tick)
    thread.start()
    yield operator
    end.set()
    thread.join()


def test_requests_reach_the_operator_and_are_answered(ticking: Operator) -> None:
    with ControlSocket(ticking, lambda: {"halted": ticking.halted}) as opened:
        assert opened.path == folder() / f"{os.getpid()}.sock"
        assert list(runs()) == [os.getpid()]
        assert ask(opened.path, "stop") == {"halted": "stopped (ctl)"}
        assert ask(opened.path, "status") == {"halted": "stopped (ctl)"}
        assert ask(opened.path, "resume") == {"halted": ""}
        with pytest.raises(BadArgumentError, match="choose stop"):
            ask(opened.path, "jump")
        with pytest.raises(BadArgumentError, match="replay"):
            ask(opened.path, "neutral")
    assert runs() == {}


def test_only_the_owner_may_use_it(ticking: Operator) -> None:
    with ControlSocket(ticking, dict) as opened:
        assert opened.path is not None
        assert stat.S_IMODE(opened.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(opened.path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("kind", ["open to others", "a link", "a file"])
def test_a_folder_that_others_could_have_made_is_not_used(kind: str, tmp_path: Path) -> None:
    if kind == "open to others":
        folder().mkdir()
        folder().chmod(0o770)
    elif kind == "a link":
        folder().symlink_to(tmp_path)
    else:
        folder().touch()
    with ControlSocket(Operator(), dict) as opened:
        assert opened.path is None
        assert "\n" not in opened.problem
        assert "ctl cannot reach" in opened.problem


def test_a_client_that_says_nothing_does_not_keep_others_waiting(ticking: Operator) -> None:
    with ControlSocket(ticking, dict) as opened:
        silent = [socket.socket(socket.AF_UNIX) for _ in range(8)]
        for one in silent:
            one.connect(str(opened.path))
        silent[0].sendall(b"\xff" * 4096)
        assert opened.path is not None
        ask(opened.path, "stop")
        assert ticking.halted
        for one in silent:
            one.close()


def test_a_run_that_does_not_tick_says_so() -> None:
    with ControlSocket(Operator(), dict) as opened:
        assert opened.path is not None
        with pytest.raises(BadArgumentError, match="does not tick"):
            ask(opened.path, "stop")


def test_the_socket_of_a_dead_run_is_cleared_away() -> None:
    folder().mkdir(mode=0o700)
    dead = folder() / "999999.sock"
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(dead))
    assert runs() == {}
    assert not dead.exists()
    with pytest.raises(NotFoundError, match="kill 999999"):
        ask(dead, "stop")


@pytest.mark.parametrize("started_in", ["run/user/UID", "", "run/x2c-edge"])
def test_a_run_is_found_whatever_its_environment_was(
    started_in: str, runtime_folder: Path, ticking: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started in a login, without one, by the service; and ``ctl`` with another runtime folder."""
    if started_in == "run/x2c-edge" and os.geteuid() != 0:
        pytest.skip("only root looks for the service's run")
    named = started_in and str(runtime_folder / started_in.replace("UID", str(os.geteuid())))
    monkeypatch.setenv("XDG_RUNTIME_DIR", named)
    with ControlSocket(ticking, dict) as opened:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime_folder))
        monkeypatch.setenv("TMPDIR", str(runtime_folder))
        assert runs() == {os.getpid(): opened.path}


def test_a_folder_that_a_stranger_made_is_not_searched(
    runtime_folder: Path, ticking: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    with ControlSocket(ticking, dict):
        assert runs()
        moved = folder().rename(runtime_folder / "elsewhere")
        folder().symlink_to(moved)
        assert runs() == {}
        folder().unlink()
        moved.rename(folder())


def test_a_long_runtime_folder_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    assert folder().name == f"x2c-edge-{os.geteuid()}"
