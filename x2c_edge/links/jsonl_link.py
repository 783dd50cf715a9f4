"""``jsonl:FILE`` and ``jsonl:-``: one JSON object per command and line (docs/spec/program.md section 8).

Numbers are written with every digit they have, so that two runs can be compared bit for bit.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import select
import stat
import sys
import threading
import time
from collections import deque
from typing import Final

from x2c_edge.errors import NotFoundError
from x2c_edge.frames import Command
from x2c_edge.links.base import LinkState, LinkStatus

QUEUE: Final = 4096  # commands; more than a minute at 60 Hz
_RETRY_S: Final = 0.5
_POLL_S: Final = 0.1


class JsonlLink:
    """A file, a named pipe or the standard output (``-``).

    lossless: ``send`` waits for room instead of dropping, and raises NotFoundError when the file
    cannot be written; for runs without a clock (``--fast``). Otherwise the oldest command is dropped
    when ``QUEUE`` wait, and a failing file is tried again for ever.
    """

    def __init__(self, path: str, *, lossless: bool = False, uri: str | None = None) -> None:
        self.uri = uri or f"jsonl:{path}"
        self._path = path
        self._name = "standard output" if path == "-" else path
        self._lossless = lossless
        self._queue: deque[Command] = deque()
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._fd = -1  # of a regular file that is ours
        self._closing = True
        self._close_at = 0.0
        self._state: LinkState = "closed"
        self._sent = self._dropped = self._errors = 0
        self._last_error = ""

    def open(self) -> None:
        """Create or truncate the file. NotFoundError when that is impossible."""
        try:
            fd = self._open_fd()
        except OSError as error:
            raise NotFoundError(self._explain(error)) from error
        self._closing = False
        ours = self._path != "-" and stat.S_ISREG(os.fstat(fd).st_mode)
        self._fd = fd if ours else -1
        self._state = "up"
        self._thread = threading.Thread(target=self._run, args=(fd,), name=self.uri, daemon=True)
        self._thread.start()

    def send(self, command: Command) -> None:
        """Queue one command."""
        with self._change:
            if self._lossless:
                self._change.wait_for(lambda: len(self._queue) < QUEUE or self._state != "up")
                if self._state != "up":
                    raise NotFoundError(self._last_error or f"{self._name}: closed")
            elif self._closing or len(self._queue) >= QUEUE:
                self._dropped += 1
                if self._closing:
                    return
                self._queue.popleft()
            self._queue.append(command)
            self._change.notify_all()

    def status(self) -> LinkStatus:
        """A snapshot."""
        with self._change:
            if self._deleted():
                self._state, self._last_error = "down", self._explain(FileNotFoundError(errno.ENOENT, ""))
            return LinkStatus(
                self.uri, self._state, self._sent, self._dropped, self._errors, last_error=self._last_error
            )

    def close(self, timeout_s: float) -> None:
        """Write what waits, ``timeout_s`` at most; what is left then is counted as dropped."""
        with self._change:
            if self._closing:
                return
            self._closing = True
            self._close_at = time.monotonic() + timeout_s
            self._change.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s + 0.5)
        with self._change:
            self._state = "closed"
            self._dropped += len(self._queue)
            self._queue.clear()
            self._change.notify_all()

    def _open_fd(self) -> int:
        if self._path == "-":
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
            fd = os.dup(1)
            if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
                os.close(fd)
                raise OSError(errno.EBADF, "closed")
            return fd
        # Without O_NONBLOCK a named pipe that nobody reads would hold up the start for ever.
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
        if stat.S_ISREG(os.fstat(fd).st_mode):
            os.ftruncate(fd, 0)
        return fd

    def _explain(self, error: OSError) -> str:
        if error.errno == errno.ENOENT and self._fd >= 0:
            return (
                f"{self._name}: was deleted, and what was in it is lost; leave it alone while it is written"
            )
        if error.errno == errno.ENXIO:
            return f"{self._name}: nobody reads this pipe; start its reader first"
        if error.errno == errno.EBADF:
            return f"{self._name}: is closed; send it to a file or a pipe"
        if error.errno == errno.EPIPE:
            return f"{self._name}: its reader is gone"
        if error.errno == errno.ENOSPC:
            return f"{self._name}: no space left on the disk; free some"
        return f"{self._name}: cannot be written ({os.strerror(error.errno or 0)}); choose another file"

    def _run(self, fd: int) -> None:
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        while (command := self._next()) is not None:
            try:
                line = json.dumps(command.to_json(), allow_nan=False) + "\n"
            except ValueError as error:
                self._count_error(f"command {command.seq} refused: {error}")
                continue
            written = self._write(fd, poll, line.encode("ascii"))
            with self._change:
                self._sent += written
                self._dropped += not written
        try:
            if self._fd >= 0:
                os.fsync(fd)  # some disks say only now that they are full
        except OSError as error:
            self._count_error(self._explain(error))
        with self._change:
            self._fd = -1
            with contextlib.suppress(OSError):
                os.close(fd)

    def _deleted(self) -> bool:
        return self._fd >= 0 and os.fstat(self._fd).st_nlink == 0

    def _next(self) -> Command | None:
        """The oldest command; None when closing and none is left, or no time is."""
        with self._change:
            self._change.wait_for(lambda: self._queue or self._closing)
            if not self._queue or self._out_of_time():
                return None
            command = self._queue.popleft()
            self._change.notify_all()
            return command

    def _write(self, fd: int, poll: select.poll, line: bytes) -> bool:
        """Write the whole line, trying again for as long as it takes; False when closing cuts that short."""
        # A line is shorter than PIPE_BUF: one write takes it whole, and a pipe that polls writable never
        # makes that write wait. Only a full disk leaves a rest, which goes first when there is room again.
        while line:
            if self._out_of_time():
                return False
            try:
                if self._deleted():
                    raise FileNotFoundError(errno.ENOENT, "")
                if poll.poll(_POLL_S * 1000):
                    line = line[os.write(fd, line) :]
                    self._state = "up"
            except BlockingIOError:
                continue
            except OSError as error:
                self._state = "down"
                self._count_error(self._explain(error))
                with self._change:
                    self._change.wait_for(lambda: self._closing, timeout=_RETRY_S)
                    if self._closing:
                        return False
        return True

    def _count_error(self, text: str) -> None:
        with self._change:
            self._errors += 1
            self._last_error = text
            self._change.notify_all()

    def _out_of_time(self) -> bool:
        return self._closing and time.monotonic() >= self._close_at
