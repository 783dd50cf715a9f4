"""``serial://``: COBS frames over a serial port, telemetry read back (docs/spec/links.md section 4).

POSIX only: the port's file descriptor is polled and written without blocking.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import math
import os
import select
import termios
import time
from typing import Final

import serial  # type: ignore[import-untyped]

from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.frames import Command
from x2c_edge.links.codec import SerialParser, encode, encode_command, to_serial
from x2c_edge.links.conversation import Conversation, window_frames
from x2c_edge.links.worker import WorkerLink

DEFAULT_BAUD: Final = 921600
SETTLE_S: Final = 2.0
WIRE_BYTES: Final = 95  # one CMD_U16
BITS_PER_BYTE: Final = 10
_USUAL_BAUDS: Final = (115200, 230400, 460800, 921600, 1000000)
_POLL_MAX_S: Final = 1.0
_NOTHING_HEARD: Final = "the robot acknowledges nothing: it does not read, or the wire to it is broken"


class SerialLink(WorkerLink[serial.Serial]):
    """One serial port.

    settle_s: opening a port may reset the microcontroller behind it, so the first command waits for
    the robot's first word or for that long.
    """

    def __init__(
        self,
        device: str,
        *,
        rate_hz: int,
        baud: int = DEFAULT_BAUD,
        settle_s: float = SETTLE_S,
        uri: str | None = None,
    ) -> None:
        super().__init__(uri or f"serial://{device}?baud={baud}", rate_hz=rate_hz)
        needed = 2 * rate_hz * WIRE_BYTES * BITS_PER_BYTE
        if baud < needed:
            raise BadArgumentError(
                f"link '{self.uri}': {baud} baud is too slow for {rate_hz} commands/s; "
                f"use baud={next((b for b in _USUAL_BAUDS if b >= needed), needed)} or more"
            )
        self._device = device
        self._baud = baud
        self._settle_s = settle_s

    def _connect(self) -> serial.Serial:
        try:
            return serial.Serial(self._device, self._baud, timeout=0, write_timeout=0, exclusive=True)
        except termios.error as error:
            raise OSError(*error.args) from error
        except ValueError as error:
            raise OSError(errno.EINVAL, str(error)) from error

    def _first_connect(self) -> serial.Serial:
        try:
            return self._connect()
        except OSError as error:
            raise NotFoundError(self._explain(error)) from error

    def _disconnect(self, channel: serial.Serial) -> None:
        # What the device has not taken by now is old, and would make the close wait (up to 30 s).
        with contextlib.suppress(OSError):
            if channel.out_waiting:
                _discard_output(channel)
        with contextlib.suppress(OSError):
            channel.close()

    def _explain(self, error: OSError) -> str:
        what = f"serial port {self._device}"
        if error.errno in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
            present = ", ".join(sorted(p for k in ("USB", "ACM", "THS") for p in glob.glob(f"/dev/tty{k}*")))
            present = present or "none"
            return f"{what}: not found; check the cable and the name (ports here: {present})"
        if error.errno in (errno.EACCES, errno.EPERM):
            return f"{what}: permission denied; run 'sudo usermod -aG dialout $USER' and log in again"
        if error.errno in (errno.EAGAIN, errno.EBUSY):
            return f"{what}: in use by another program; close that one first"
        if error.errno == errno.EIO:
            return f"{what}: hung up; plug it in again"
        if error.errno == errno.EINVAL:
            return f"{what}: {self._baud} baud refused; try baud=115200"
        if error.errno is None or error.errno in (errno.ENOTTY, errno.EISDIR):
            return f"{what}: not a serial port; name a device such as /dev/ttyUSB0"
        return f"{what}: {os.strerror(error.errno)}"

    def _talk(self, channel: serial.Serial) -> None:
        _Session(self, channel, self._settle_s, self._rate_hz).run()


def adapter_names() -> dict[str, str]:
    """What the system calls each serial port, by its real path."""
    from serial.tools import list_ports  # type: ignore[import-untyped]

    return {
        os.path.realpath(port.device): port.description
        for port in list_ports.comports()
        if port.description != "n/a"
    }


def _discard_output(port: serial.Serial) -> None:
    try:
        port.reset_output_buffer()
    except termios.error as error:
        raise OSError(*error.args) from error


class _Session:
    """One life of an open port."""

    def __init__(self, link: SerialLink, port: serial.Serial, settle_s: float, rate_hz: int) -> None:
        self._link = link
        self._port = port
        self._fd: int = port.fileno()
        self._rate_hz = rate_hz
        self._queue_limit = window_frames(rate_hz) * WIRE_BYTES
        self._conversation = Conversation(rate_hz)
        self._parser = SerialParser()
        self._settled_at = time.monotonic() + settle_s
        self._heard = False
        self._rest = b""  # of a frame that the port took only in part
        self._rest_of: Command | None = None
        self._full = False

    def run(self) -> None:
        link, poll = self._link, select.poll()
        poll.register(link._wake_out, select.POLLIN)
        poll.register(self._fd, select.POLLIN)
        while True:
            wait_s = self._wait_s()
            if link._finished() and not self._rest:
                return self._drain()
            if link._time_left() <= 0:
                return None
            poll.modify(self._fd, select.POLLIN | (select.POLLOUT if wait_s == 0 else 0))
            timeout_s = min(_POLL_MAX_S, link._time_left(), wait_s or _POLL_MAX_S)
            for fd, events in poll.poll(math.ceil(timeout_s * 1000)):
                if fd == link._wake_out:
                    os.read(fd, 64)
                    continue
                if events & ~select.POLLOUT:
                    self._read()
                if events & select.POLLOUT:
                    self._write()

    def _wait_s(self) -> float:
        """Seconds until something may be written; 0 when something waits and may go now."""
        link, conversation = self._link, self._conversation
        now_ns, now = time.monotonic_ns(), time.monotonic()
        self._watch_window()
        refusal = conversation.refusal()
        settling = 0.0 if self._heard else max(0.0, self._settled_at - now)
        if refusal:
            link._is("down", refusal)
        elif self._full:
            link._is("down", _NOTHING_HEARD)
        elif settling == 0:
            link._is("up")
        if self._rest:
            return 0.0
        if refusal:
            if link._closing:
                link._abandon()
            return conversation.ping_delay_s(now_ns)
        if not link._peek():
            return settling or math.inf
        if link._closing:
            return 0.0
        return settling or conversation.command_delay_s(now_ns, windowed=True)

    def _watch_window(self) -> None:
        conversation = self._conversation
        if conversation.status is not None:
            full = conversation.window_full()
        else:
            full = self._port.out_waiting > self._queue_limit
        if full and not self._full:
            _discard_output(self._port)
            if self._rest_of is not None:
                self._link._discarded()
            self._rest, self._rest_of = b"", None
        self._full = full

    def _read(self) -> None:
        data = os.read(self._fd, 4096)
        if not data:
            raise OSError(errno.EIO, "hung up")
        for message in self._parser.feed(data):
            self._heard = True
            self._conversation.hear(message)
        self._link._robot = self._conversation.status

    def _write(self) -> None:
        if not self._rest:
            self._next_frame()
        if not self._rest:
            return
        try:
            taken = os.write(self._fd, self._rest)
        except BlockingIOError:
            return
        self._rest = self._rest[taken:]
        if not self._rest and self._rest_of is not None:
            self._link._wrote(self._rest_of)
            self._rest_of = None

    def _next_frame(self) -> None:
        conversation, now_ns = self._conversation, time.monotonic_ns()
        if conversation.refusal():
            self._rest = to_serial(encode(conversation.ping(now_ns)))
            return
        command = self._link._take()
        if command is None:
            return
        try:
            frame = encode_command(
                command,
                run=conversation.run,
                seq=conversation.take_seq(),
                rate_hz=self._rate_hz,
                now_ns=now_ns,
            )
        except ValueError as error:
            self._link._failed(f"command {command.seq} refused: {error}")
            return
        conversation.command_sent(now_ns)
        self._rest, self._rest_of = to_serial(frame), command

    def _drain(self) -> None:
        while self._port.out_waiting and self._link._time_left() > 0:
            time.sleep(0.002)
