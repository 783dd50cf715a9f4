"""What systemd is told about a run: that it is up, that it still ticks, that it ends.

The protocol of sd_notify(3): datagrams of ``NAME=VALUE`` lines to the socket that ``NOTIFY_SOCKET`` names.
A name that begins with ``@`` is in Linux's abstract namespace. ``WATCHDOG_USEC`` says after how many
microseconds of silence the process is killed, ``WATCHDOG_PID`` which process is meant.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Final

from x2c_edge.errors import BadArgumentError
from x2c_edge.runtime.event_log import LOGGER

_MESSAGES_PER_PERIOD: Final = 4  # sd_watchdog_enabled(3) asks for two at least


class ServiceManager:
    """Nothing of it waits: it is called from the tick. Without ``NOTIFY_SOCKET`` it does nothing."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """BadArgumentError for a socket or a time that systemd would not have written."""
        self._socket: socket.socket | None = None
        self._pause_ns = self._due_ns = 0
        self._said: set[str] = set()
        address = environment.get("NOTIFY_SOCKET", "")
        if not address:
            return
        if address[0] not in "/@":
            raise BadArgumentError(f"NOTIFY_SOCKET={address}: not a path that begins with / or @")
        self._pause_ns = _pause_ns(environment)
        self._address = "\0" + address[1:] if address[0] == "@" else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)

    def ready(self) -> None:
        """Source, eyes and links are open, and the first tick is done. Said once."""
        self._say_once("READY=1")

    def alive(self, now_ns: int) -> None:
        """To be called at every tick; says so four times in the watchdog's time."""
        if self._pause_ns and now_ns >= self._due_ns:
            self._due_ns = now_ns + self._pause_ns
            self._say("WATCHDOG=1")

    def stopping(self) -> None:
        """The face eases to neutral, and then the run ends. Said once."""
        self._say_once("STOPPING=1")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._say(line)

    def _say(self, line: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(line.encode(), self._address)
        except OSError as error:  # nobody reads, or not now; the watchdog's next line says the same again
            if "" not in self._said:
                self._said.add("")
                LOGGER.warning("the service manager was not told %s: %s", line, error.strerror)


def _pause_ns(environment: Mapping[str, str]) -> int:
    """Between two signs of life; 0 when none are asked for, or from another process."""
    period, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not period or (pid and pid != str(os.getpid())):
        return 0
    if not period.isdecimal() or int(period) == 0:
        raise BadArgumentError(f"WATCHDOG_USEC={period}: not a number of microseconds")
    return int(period) * 1000 // _MESSAGES_PER_PERIOD
