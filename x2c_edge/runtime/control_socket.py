"""The local socket behind ``x2c-edge ctl``: one line asks, one line of JSON answers.

Every run has one of its own, named after its process, in a folder that only its owner may enter.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import socketserver
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from x2c_edge.errors import BadArgumentError, NotFoundError, UserError
from x2c_edge.places import found_in
from x2c_edge.runtime.operator import REQUESTS, Operator

ANSWER_S: Final = 2.0
_LONGEST_LINE: Final = 64
_LONGEST_PATH: Final = 100  # of a UNIX socket's name, bytes; the system allows 107
# Neither depends on the environment, in which a run and ``ctl`` may differ: no $TMPDIR.
RUN: Final = Path("/run")
TEMPORARY: Final = Path("/tmp")

Status = Callable[[], dict[str, Any]]


def folder() -> Path:
    """Where a run's socket is: below ``$XDG_RUNTIME_DIR``, or a folder of this user's in /tmp."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isdir(runtime) and len(os.fsencode(runtime)) < _LONGEST_PATH - 30:
        return Path(runtime) / "x2c-edge"
    return _in_temporary()


def _in_temporary() -> Path:
    return TEMPORARY / f"x2c-edge-{os.geteuid()}"


class ControlSocket:
    """Answers while it is open (a context manager). ``path`` is None where no socket could be made.

    status: what ``status`` answers, JSON-ready. A stop goes to the operator before anything is looked up; the
    answer is sent when its command is on the wire.
    """

    def __init__(self, operator: Operator, status: Status) -> None:
        self._operator, self._status = operator, status
        self._server: socketserver.ThreadingUnixStreamServer | None = None
        self.path: Path | None = None
        self.problem = ""  # why there is none

    def __enter__(self) -> ControlSocket:
        path = folder() / f"{os.getpid()}.sock"
        try:
            _private(path.parent)
            path.unlink(missing_ok=True)
            self._server = _Server(str(path), self.answer)
            path.chmod(0o600)
        except OSError as error:
            self.problem = f"{path}: {error.strerror or error}; x2c-edge ctl cannot reach this run"
            return self
        self.path = path
        threading.Thread(target=self._server.serve_forever, name="ctl", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None and self.path is not None:
            self._server.shutdown()
            self._server.server_close()
            self.path.unlink(missing_ok=True)

    def answer(self, line: str) -> dict[str, Any]:
        """What one line is answered with."""
        request = line.strip()
        if request != "status":
            try:
                if request not in REQUESTS:
                    raise BadArgumentError(f"'{request}': choose {', '.join((*REQUESTS, 'status'))}")
                self._operator.ask(request, "ctl")
            except UserError as error:
                return {"error": str(error)}
            if not self._operator.attended(ANSWER_S / 2):
                return {"error": f"{request}: asked for, but the run does not tick"}
        return self._status()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    # Who cannot wait in line is refused at once, and a stop must not be: more than the default of 5.
    request_queue_size = 128

    def __init__(self, path: str, answer: Callable[[str], dict[str, Any]]) -> None:
        self.answer = answer
        super().__init__(path, _Conversation)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who hangs up early is no news."""


class _Conversation(socketserver.StreamRequestHandler):
    timeout = ANSWER_S  # for a client that says nothing

    def handle(self) -> None:
        line = self.rfile.readline(_LONGEST_LINE).decode(errors="replace")
        server = self.server
        assert isinstance(server, _Server)
        self.wfile.write(json.dumps(server.answer(line)).encode() + b"\n")


def _private(path: Path) -> None:
    """Make the folder, or make sure that an existing one is this user's alone. PermissionError otherwise."""
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(f"{path} is not a folder that only you may enter; remove it")


# --- the other side ---------------------------------------------------------------------------------


def runs() -> dict[int, Path]:
    """The sockets of this user's runs by process id; those of dead runs are cleared away."""
    found = {}
    for path in [path for place in _folders() for path in found_in(place, "*.sock")]:
        if not path.stem.isdecimal():
            continue
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                with contextlib.suppress(OSError):
                    path.unlink()
                continue
            except OSError:
                continue
        found[int(path.stem)] = path
    return found


def _folders() -> list[Path]:
    """Where this user's runs may have their sockets, whatever the environment they were started in."""
    user = os.geteuid()
    places = [folder(), RUN / "user" / str(user) / "x2c-edge", _in_temporary()]
    if user == 0:
        places.append(RUN / "x2c-edge" / "x2c-edge")  # of packaging/x2c-edge.service, which has its own user
    return [place for place in dict.fromkeys(places) if place.parent != TEMPORARY or _is_ours(place)]


def _is_ours(place: Path) -> bool:
    """Whether the folder is this user's or root's: in the temporary one anybody may make it."""
    try:
        found = place.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid in (os.geteuid(), 0)


def ask(path: Path, request: str) -> dict[str, Any]:
    """A run's answer. BadArgumentError for what it refuses, NotFoundError when it does not answer."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(2 * ANSWER_S)
        try:
            channel.connect(str(path))
            channel.sendall(request.encode() + b"\n")
            with channel.makefile("rb") as stream:
                answer = json.loads(stream.readline())
        except (OSError, ValueError):
            raise NotFoundError(f"run {path.stem} does not answer; end it with: kill {path.stem}") from None
    if "error" in answer:
        raise BadArgumentError(f"run {path.stem}: {answer['error']}")
    return dict(answer)
