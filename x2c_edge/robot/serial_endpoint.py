"""The robot on a serial port: a pseudo-terminal."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import math
import os
import select
import socket
import sys
import termios
import time
import tty
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.links.codec import Message, SerialParser, encode, to_serial
from x2c_edge.links.uri import options_of
from x2c_edge.robot.endpoint import Arrival, Endpoint, arrival_of
from x2c_edge.robot.faults import Faults
from x2c_edge.schemes import parts_of


class SerialEndpoint(Endpoint):
    """A pseudo-terminal, under a symbolic link when the URI names one."""

    def __init__(self, uri: str, faults: Faults) -> None:
        super().__init__(uri)
        options_of(uri, {"baud", "settle"})  # the link's, so that one URI serves both ends
        self._faults = faults
        path = unquote(parts_of(uri, "link").path)
        self._link = Path(path) if path not in ("", "/") else None
        if self._link is not None and _is_somebody_elses(self._link):
            raise BadArgumentError(f"link '{uri}': {self._link} exists; name a path that the sim may make")
        self._parser = SerialParser()
        self._master = -1
        self._name = ""
        self._place: socket.socket | None = None
        self._rest = b""

    @property
    def bad(self) -> Counter[str]:
        return Counter({str(reason): n for reason, n in self._parser.bad.items()})

    def open(self) -> None:
        self._take_place()
        self._master, slave = os.openpty()
        tty.setraw(slave)
        self._name = os.ttyname(slave)
        # The slave stays closed here: the host's opening and leaving are seen as on a real port.
        os.close(slave)
        os.set_blocking(self._master, False)
        if self._link is None:
            self.where = f"serial://{self._name}?settle=0"
            return
        try:
            with contextlib.suppress(FileNotFoundError):
                self._link.unlink()
            self._link.symlink_to(self._name)
        except OSError as error:
            os.close(self._master)
            self._give_place()
            raise NotFoundError(f"{self._link}: cannot be made: {error.strerror}") from None
        self.where = f"serial://{self._link}?settle=0"

    def _take_place(self) -> None:
        """NotFoundError while another sim has its port there. What a killed one has left says nothing: its
        terminal's name may be somebody else's by now. So the place is a name that the system frees."""
        if self._link is None or not sys.platform.startswith("linux"):
            return
        place = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            digest = hashlib.sha256(os.path.abspath(self._link).encode(errors="surrogateescape")).hexdigest()
            place.bind(f"\0x2c-edge sim {digest}")
        except OSError:
            place.close()
            raise NotFoundError(
                f"{self._link}: another sim has its port there; choose another path"
            ) from None
        self._place = place

    def _give_place(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            place.close()

    def receive(self, timeout_s: float) -> list[Arrival]:
        poll = select.poll()
        poll.register(self._master, select.POLLIN)
        events = poll.poll(math.ceil(timeout_s * 1000))
        if not events:
            return []
        if not events[0][1] & select.POLLIN:  # nobody has the port open
            time.sleep(timeout_s)
            return []
        try:
            data = os.read(self._master, 4096)
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EAGAIN):
                raise
            time.sleep(timeout_s)
            return []
        return [arrival_of(m) for piece in self._faults.damage(data) for m in self._parser.feed(piece)]

    def send(self, message: Message) -> None:
        block = self._rest + to_serial(encode(message))
        try:
            taken = os.write(self._master, block)
        except OSError:
            taken = 0
        # A block that went out in part must be finished, or the next one is lost too.
        self._rest = block[taken:] if 0 < taken < len(block) else b""

    def close(self) -> None:
        with contextlib.suppress(termios.error):
            termios.tcflush(self._master, termios.TCIOFLUSH)
        os.close(self._master)
        self._rest = b""
        if self._link is not None:
            with contextlib.suppress(OSError):
                if os.readlink(self._link) == self._name:  # somebody may have made another
                    self._link.unlink()
        self._give_place()


def _is_somebody_elses(link: Path) -> bool:
    """Whether anything but a link that a sim has left there."""
    try:
        return not os.readlink(link).startswith("/dev/pts/") if link.is_symlink() else link.exists()
    except OSError as error:
        raise NotFoundError(f"{link}: cannot be made: {error.strerror}") from None
