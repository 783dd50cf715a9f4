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
from typing import Final

from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.frames import Command
from x2c_edge.links.base import LinkNeeds, LinkStatus
from x2c_edge.links.outbox import Outbox
from x2c_edge.locked import opened_alone

QUEUE: Final = 4096  # commands; more than a minute at 60 Hz
_RETRY_S: Final = 0.5
_POLL_S: Final = 0.1


def jsonl_link(uri: str, needs: LinkNeeds) -> JsonlLink:
    """The link of ``jsonl:FILE``, ``jsonl:-``, not yet open."""
    path = uri.removeprefix("jsonl:")
    if not path:
        raise BadArgumentError(f"link '{uri}': file name missing; write jsonl:FILE, or jsonl:- for stdout")
    return JsonlLink(os.path.expanduser(path), lossless=needs.lossless, uri=uri)


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
        self._outbox = Outbox(self.uri, room=QUEUE)
        self._thread: threading.Thread | None = None
        self._file = threading.Lock()
        self._fd = -1  # of a regular file that is ours

    def open(self) -> None:
        """Create or truncate the file. NotFoundError when that is impossible."""
        try:
            fd = self._open_fd()
        except OSError as error:
            raise NotFoundError(self._explain(error)) from error
        ours = self._path != "-" and stat.S_ISREG(os.fstat(fd).st_mode)
        self._fd = fd if ours else -1
        self._outbox.open()
        self._outbox.enter("up")
        self._thread = threading.Thread(target=self._run, args=(fd,), name=self.uri, daemon=True)
        self._thread.start()

    def send(self, command: Command) -> None:
        """Queue one command."""
        if not self._lossless:
            self._outbox.offer(command)
        elif not self._outbox.offer_patiently(command):
            raise NotFoundError(self._outbox.status().last_error or f"{self._name}: closed")

    def status(self) -> LinkStatus:
        """A snapshot."""
        with self._file:
            if self._deleted():
                self._outbox.enter("down", self._explain(FileNotFoundError(errno.ENOENT, "")))
        return self._outbox.status()

    def close(self, timeout_s: float) -> None:
        """Write what waits, ``timeout_s`` at most; what is left then is counted as dropped."""
        if not self._outbox.close(timeout_s):
            return
        if self._thread is not None:
            self._thread.join(timeout_s + 0.5)
        self._outbox.closed()

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
        return opened_alone(self._path, os.O_NONBLOCK)

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
        outbox, poll = self._outbox, select.poll()
        poll.register(fd, select.POLLOUT)
        while (command := outbox.next()) is not None:
            try:
                line = json.dumps(command.to_json(), allow_nan=False) + "\n"
            except ValueError as error:
                outbox.failed(f"command {command.seq} refused: {error}")
                continue
            if self._write(fd, poll, line.encode("ascii")):
                outbox.wrote(command)
            else:
                outbox.drop()
        try:
            if self._fd >= 0:
                os.fsync(fd)  # some disks say only now that they are full
        except OSError as error:
            outbox.failed(self._explain(error))
        with self._file:
            self._fd = -1
            with contextlib.suppress(OSError):
                os.close(fd)
        outbox.release()

    def _deleted(self) -> bool:
        return self._fd >= 0 and os.fstat(self._fd).st_nlink == 0

    def _write(self, fd: int, poll: select.poll, line: bytes) -> bool:
        """Write the whole line, trying again for as long as it takes; False when closing cuts that short."""
        # A line is shorter than PIPE_BUF: one write takes it whole, and a pipe that polls writable never
        # makes that write wait. Only a full disk leaves a rest, which goes first when there is room again.
        while line:
            if self._outbox.time_left() <= 0:
                return False
            try:
                if self._deleted():
                    raise FileNotFoundError(errno.ENOENT, "")
                if poll.poll(_POLL_S * 1000):
                    line = line[os.write(fd, line) :]
                    self._outbox.enter("up")
            except BlockingIOError:
                continue
            except OSError as error:
                self._outbox.failed(self._explain(error))
                self._outbox.enter("down")
                if self._outbox.pause(_RETRY_S):
                    return False
        return True
