"""A run's end of a server in a process of its own: starts it, talks to it, starts it again if it dies.

The two are joined by one SOCK_SEQPACKET socket, of which the run drops what does not fit, so that nothing
that happens to a server can keep the run waiting.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

_RESTART_S: Final = 1.0
_LONGEST_WORD: Final = 8192
_ROOM: Final = 640_000  # bytes on their way to the server; the system may allow less

Word = dict[str, Any]


class ServerLink(ABC):
    """``send`` never waits. on_word: called with what the server says, from a thread of its own."""

    def __init__(self, name: str, on_word: Callable[[Word], None]) -> None:
        """name: of the thread."""
        self._on_word = on_word
        self._hello = b""
        self.dropped = 0
        self._closing = threading.Event()
        self._ours: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)

    @abstractmethod
    def _module(self) -> tuple[str, tuple[object, ...]]:
        """The server's module, and its arguments after the file descriptor of its end of the socket."""

    def _inherits(self) -> tuple[tuple[int, ...], dict[str, str]]:
        """File descriptors and environment variables that the server gets besides."""
        return (), {}

    @abstractmethod
    def _ended(self) -> None:
        """A server has ended; another follows unless the run is over."""

    def start(self, hello: bytes) -> None:
        """Serve from now on. hello: what every server is told first."""
        self._hello = hello
        self._thread.start()

    def send(self, message: bytes) -> bool:
        """Pass a message on, at once or not at all."""
        ours = self._ours
        if ours is not None:
            try:
                ours.send(message, socket.MSG_DONTWAIT)
                return True
            except OSError:  # full, or the server has gone
                self.dropped += 1
        return False

    def close(self) -> None:
        """Let the server say goodbye to its viewers, and end it."""
        self._closing.set()
        if self._ours is not None:
            self._ours.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive():
            self._thread.join(3.0)

    def _serve(self) -> None:
        while not self._closing.is_set():
            self._talk()
            self._ended()
            self._closing.wait(_RESTART_S)

    def _talk(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ROOM)
        module, arguments = self._module()
        descriptors, variables = self._inherits()
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(theirs.fileno()), *map(str, arguments)],
            pass_fds=(theirs.fileno(), *descriptors),
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=None if os.environ.get("X2C_EDGE_DEBUG") else subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is the run's affair
        )
        theirs.close()
        self._process, self._ours = process, ours
        if self._closing.is_set():
            ours.shutdown(socket.SHUT_RDWR)
        self.send(self._hello)
        try:
            while data := ours.recv(_LONGEST_WORD):
                with contextlib.suppress(Exception):  # no word may end the thread that starts servers again
                    self._on_word(json.loads(data))
        except OSError:
            pass
        finally:
            self._ours = None
            ours.close()
            until = time.monotonic() + 2.0
            while process.poll() is None and time.monotonic() < until:
                time.sleep(0.01)
            process.kill()
            process.wait()
