"""``zmq://``: the paper authors' format, read by their robot-side subscriber (docs/spec/links.md section 6).

Every command is one message of 30 text parts in the robot's units, or 31 with the send time first. The
host binds. Nothing ever waits here: a subscriber that cannot take a command at once does not get it.
"""

from __future__ import annotations

import errno
import math
import os
import re
import threading
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from x2c_edge.controls import N_CONTROLS, to_robot
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.frames import Command
from x2c_edge.links.base import LinkNeeds, LinkStatus, unix_time_of
from x2c_edge.links.codec import FrameError
from x2c_edge.links.outbox import Outbox
from x2c_edge.links.uri import address_of, options_of
from x2c_edge.zeromq import Curve, Publisher, read_curve, tcp

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 6666
MOST_PART_BYTES: Final = 64
_LINGER_S: Final = 0.2
_NUMBER: Final = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def encode_parts(robot_values: ArrayLike, time_s: float | None = None) -> list[bytes]:
    """(30,) values in the robot's units -> 30 parts with 5 decimals; 31 with ``time_s`` (Unix) in front.

    ValueError for a value that is not finite.
    """
    values = np.asarray(robot_values, dtype=np.float64)
    if values.shape != (N_CONTROLS,) or not np.isfinite(values).all():
        raise ValueError("a non-finite value is never encoded")
    # Adding zero turns the -0.0 that rounding may leave into 0.0.
    parts = [b"%.5f" % (round(value, 5) + 0.0) for value in values.tolist()]
    return parts if time_s is None else [b"%.6f" % time_s, *parts]


def decode_parts(parts: Sequence[bytes]) -> tuple[float | None, NDArray[np.float64]]:
    """The inverse: send time (None in a message of 30) and (30,) values in the robot's units.

    FrameError: ``length`` for another number of parts, ``type`` for one that is no decimal number,
    ``nonfinite`` for one too large to be finite.
    """
    if len(parts) not in (N_CONTROLS, N_CONTROLS + 1):
        raise FrameError("length")
    if not all(len(part) <= MOST_PART_BYTES and _NUMBER.fullmatch(part) for part in parts):
        raise FrameError("type")
    numbers = [float(part) for part in parts]
    if not all(map(math.isfinite, numbers)):
        raise FrameError("nonfinite")
    time_s = numbers.pop(0) if len(parts) > N_CONTROLS else None
    return time_s, np.array(numbers)


def zmq_link(uri: str, needs: LinkNeeds) -> ZmqLink:
    """The link of ``zmq://HOST:PORT?variant=31&curve=FILE``, not yet open."""
    options = options_of(uri, {"variant", "curve"})
    host, port = address_of(uri, DEFAULT_HOST, DEFAULT_PORT)
    variant = options.get("variant", "30")
    if variant not in ("30", "31"):
        raise BadArgumentError(f"link '{uri}': variant is 30 or 31 (31 puts the send time first)")
    curve = read_curve(options["curve"], "secret") if "curve" in options else None
    return ZmqLink(host, port, with_time=variant == "31", curve=curve, uri=uri)


class ZmqLink:
    """One bound publisher.

    host: an address of this machine, or ``*`` for all of them. with_time: variant 31. The state is
    ``up`` while somebody subscribes.
    """

    def __init__(
        self,
        host: str = DEFAULT_HOST,
        port: int = DEFAULT_PORT,
        *,
        with_time: bool = False,
        curve: Curve | None = None,
        uri: str | None = None,
    ) -> None:
        self.uri = uri or f"zmq://{host}:{port}"
        self._endpoint = tcp(host, port)
        self._with_time = with_time
        self._curve = curve
        self._lock = threading.Lock()  # the socket belongs to one thread at a time
        self._publisher: Publisher | None = None
        self._outbox = Outbox(self.uri)

    def open(self) -> None:
        """Bind. NotFoundError when the address is in use or not this machine's."""
        try:
            self._publisher = Publisher(self._endpoint, self._curve)
        except OSError as error:
            raise NotFoundError(f"{self.uri}: {_explain(error)}") from None
        self._outbox.enter("opening")

    def send(self, command: Command) -> None:
        """Hand the command to ZeroMQ's own thread; dropped when nobody subscribes."""
        with self._lock:
            if self._publisher is None or not self._subscribed(self._publisher):
                self._outbox.drop()
                return
            try:
                time_s = unix_time_of(command) if self._with_time else None
                parts = encode_parts(to_robot(command.values), time_s)
            except ValueError as error:
                self._outbox.failed(f"command {command.seq} refused: {error}")
                return
            self._publisher.send(parts)
            self._outbox.wrote(command)

    def status(self) -> LinkStatus:
        """A snapshot."""
        with self._lock:
            if self._publisher is not None:
                self._subscribed(self._publisher)
            return self._outbox.status()

    def close(self, timeout_s: float) -> None:
        """Let the last command leave."""
        with self._lock:
            publisher, self._publisher = self._publisher, None
            self._outbox.closed()
        if publisher is not None:
            publisher.close(min(timeout_s, _LINGER_S))

    def _subscribed(self, publisher: Publisher) -> bool:
        """Whether anybody is there to send to; the state says so too."""
        outbox, subscribed = self._outbox, publisher.subscribed()
        if subscribed and outbox.state != "up":
            if outbox.state == "down":
                outbox.reconnected()
            outbox.enter("up")
        elif not subscribed and outbox.state == "up":
            outbox.enter("down", "nobody subscribes any more")
        return subscribed


def _explain(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is in use by another program; close that one or choose another port"
    if error.errno in (errno.ENODEV, errno.EADDRNOTAVAIL, errno.EINVAL):
        return "this machine has no such address; use one of its own, or * for all of them"
    if error.errno == errno.EACCES:
        return "permission denied; ports below 1024 belong to root"
    return f"{os.strerror(error.errno or 0)}"
