"""The run's end of its page: starts the page server's process, talks to it, starts it again if it dies."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from x2c_edge.errors import NotFoundError
from x2c_edge.monitor.access import TOKEN_VARIABLE, Access, listen, parse
from x2c_edge.monitor.feed import LONGEST_MESSAGE

_RESTART_S: Final = 1.0
_LONGEST_WORD: Final = 8192
_ROOM: Final = 4 * LONGEST_MESSAGE


class PageLink:
    """``send`` never waits. on_word: called with what viewers ask, from a thread of its own.

    looking: how many pages are open and in view.
    """

    def __init__(self, address: str, on_word: Callable[[dict[str, Any]], None]) -> None:
        """NotFoundError when the address is taken or aiohttp is missing; BadArgumentError for nonsense."""
        if importlib.util.find_spec("aiohttp") is None:
            raise NotFoundError("--monitor needs aiohttp; run: pip install 'x2c-edge[monitor]'")
        access = parse(address)
        self._listener = listen(access)
        self.access: Access = replace(access, port=self._listener.getsockname()[1])
        self._on_word = on_word
        self._hello = b""
        self.looking = 0
        self.dropped = 0
        self._closing = threading.Event()
        self._ours: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._serve, name="page-in", daemon=True)

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
        self._listener.close()

    def _serve(self) -> None:
        while not self._closing.is_set():
            self._talk()
            self.looking = 0
            self._on_word({"do": "release", "by": ""})  # every page's hold ended with its server
            self._closing.wait(_RESTART_S)

    def _talk(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ROOM)
        process = subprocess.Popen(
            [sys.executable, "-m", "x2c_edge.runtime.page_server", str(self._listener.fileno()),
             str(theirs.fileno()), self.access.host, str(self.access.port)],
            pass_fds=(self._listener.fileno(), theirs.fileno()),
            env={**os.environ, TOKEN_VARIABLE: self.access.token},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=None if os.environ.get("X2C_EDGE_DEBUG") else subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is the run's affair
        )  # fmt: skip
        theirs.close()
        self._process, self._ours = process, ours
        if self._closing.is_set():
            ours.shutdown(socket.SHUT_RDWR)
        self.send(self._hello)
        try:
            while data := ours.recv(_LONGEST_WORD):
                word = json.loads(data)
                if "looking" in word:
                    self.looking = int(word["looking"])
                else:
                    self._on_word(word)
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
