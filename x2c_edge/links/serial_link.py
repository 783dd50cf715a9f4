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
from urllib.parse import unquote

import serial  # type: ignore[import-untyped]

from x2c_edge.errors import BadArgumentError
from x2c_edge.frames import Command
from x2c_edge.links.base import LinkNeeds
from x2c_edge.links.codec import SerialParser, encode, encode_command, to_serial
from x2c_edge.links.conversation import Conversation, window_frames
from x2c_edge.links.outbox import Outbox
from x2c_edge.links.uri import number_of, options_of
from x2c_edge.links.worker import WorkerLink
from x2c_edge.schemes import parts_of

DEFAULT_BAUD: Final = 921600
SETTLE_S: Final = 2.0
WIRE_BYTES: Final = 95  # one CMD_U16
BITS_PER_BYTE: Final = 10
_USUAL_BAUDS: Final = (115200, 230400, 460800, 921600, 1000000)
_POLL_MAX_S: Final = 1.0
_NOTHING_HEARD: Final = "the robot acknowledges nothing: it does not read, or the wire to it is broken"


def serial_link(uri: str, needs: LinkNeeds) -> SerialLink:
    """The link of ``serial:///dev/NAME?baud=N&settle=S``, not yet open."""
    options = options_of(uri, {"baud", "settle"})
    parts = parts_of(uri, "link")
    device = unquote(parts.path)
    if parts.netloc or not device.startswith("/"):
        raise BadArgumentError(
            f"link '{uri}': a port is a path with three slashes before it, such as serial:///dev/ttyUSB0"
        )
    baud = int(number_of(uri, options, "baud", DEFAULT_BAUD, 1, 20_000_000, whole=True))
    settle_s = number_of(uri, options, "settle", SETTLE_S, 0, 60)
    return SerialLink(device, rate_hz=needs.rate_hz, baud=baud, settle_s=settle_s, uri=uri)


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

    def connect(self) -> serial.Serial:
        try:
            return serial.Serial(self._device, self._baud, timeout=0, write_timeout=0, exclusive=True)
        except termios.error as error:
            raise OSError(*error.args) from error
        except ValueError as error:
            raise OSError(errno.EINVAL, str(error)) from error

    def disconnect(self, channel: serial.Serial) -> None:
        # What the device has not taken by now is old, and would make the close wait (up to 30 s).
        with contextlib.suppress(OSError):
            if channel.out_waiting:
                _discard_output(channel)
        with contextlib.suppress(OSError):
            channel.close()

    def explain(self, error: OSError) -> str:
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

    def talk(self, channel: serial.Serial) -> None:
        _PortTalk(self.outbox, channel, self._settle_s, self._rate_hz).run()


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


class _PortTalk:
    """One life of an open port."""

    def __init__(self, outbox: Outbox, port: serial.Serial, settle_s: float, rate_hz: int) -> None:
        self._outbox = outbox
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
        outbox, poll = self._outbox, select.poll()
        poll.register(outbox.wake_fd, select.POLLIN)
        poll.register(self._fd, select.POLLIN)
        while True:
            wait_s = self._wait_s()
            if outbox.finished() and not self._rest:
                return self._drain()
            if outbox.time_left() <= 0:
                return None
            poll.modify(self._fd, select.POLLIN | (select.POLLOUT if wait_s == 0 else 0))
            timeout_s = min(_POLL_MAX_S, outbox.time_left(), wait_s or _POLL_MAX_S)
            for fd, events in poll.poll(math.ceil(timeout_s * 1000)):
                if fd == outbox.wake_fd:
                    outbox.clear_wake()
                    continue
                if events & ~select.POLLOUT:
                    self._read()
                if events & select.POLLOUT:
                    self._write()

    def _wait_s(self) -> float:
        """Seconds until something may be written; 0 when something waits and may go now."""
        outbox, conversation = self._outbox, self._conversation
        now_ns, now = time.monotonic_ns(), time.monotonic()
        self._watch_window()
        refusal = conversation.refusal()
        settling = 0.0 if self._heard else max(0.0, self._settled_at - now)
        if refusal:
            outbox.enter("down", refusal)
        elif self._full:
            outbox.enter("down", _NOTHING_HEARD)
        elif settling == 0:
            outbox.enter("up")
        if self._rest:
            return 0.0
        if refusal:
            if outbox.closing:
                outbox.abandon()
            return conversation.ping_delay_s(now_ns)
        if not outbox.waits():
            return settling or math.inf
        if outbox.closing:
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
                self._outbox.drop()
            self._rest, self._rest_of = b"", None
        self._full = full

    def _read(self) -> None:
        data = os.read(self._fd, 4096)
        if not data:
            raise OSError(errno.EIO, "hung up")
        for message in self._parser.feed(data):
            self._heard = True
            self._conversation.hear(message)
        self._outbox.hear(self._conversation.status)

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
            self._outbox.wrote(self._rest_of)
            self._rest_of = None

    def _next_frame(self) -> None:
        conversation, now_ns = self._conversation, time.monotonic_ns()
        if conversation.refusal():
            self._rest = to_serial(encode(conversation.ping(now_ns)))
            return
        command = self._outbox.take()
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
            self._outbox.failed(f"command {command.seq} refused: {error}")
            return
        conversation.command_sent(now_ns)
        self._rest, self._rest_of = to_serial(frame), command

    def _drain(self) -> None:
        while self._port.out_waiting and self._outbox.time_left() > 0:
            time.sleep(0.002)
