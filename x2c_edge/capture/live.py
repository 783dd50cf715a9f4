"""A live source over any device that hands out pictures when it pleases; the newest picture wins.

The device is read in a thread of its own, which does nothing but wait for the driver, stamp the
picture and put it into a one-slot box. So ``read`` always returns in time, whatever the driver does,
and a slow reader gets the newest picture, never a queue of old ones. Pictures are decoded by the
reader, so the ones that nobody reads cost nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from x2c_edge.capture.base import SourceLostError, SourceStatus
from x2c_edge.capture.driver_thread import DriverThread
from x2c_edge.capture.opencv import cv2
from x2c_edge.frames import Frame, PixelFormat

Raw = NDArray[np.uint8]

# A device that has sent nothing for so long is given up and opened again.
STALLED_AFTER_S = 3.0
_SILENCE = f"no picture for {STALLED_AFTER_S:g} s"


class Device(Protocol):
    """An opened device. ``grab`` and ``release`` are called by the device's thread only."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    @property
    def fps(self) -> float: ...

    @property
    def format(self) -> str: ...

    def grab(self) -> tuple[int, Raw] | None:
        """Wait for the next picture: its time on the monotonic clock (ns) and its bytes; None: gone.

        ``TimeoutError`` when there is none yet: a device that can wait long says so now and then, so that
        its thread can be ended.
        """

    def decode(self, raw: Raw) -> tuple[Raw, PixelFormat] | None:
        """Turn grabbed bytes into a frame's image, C-contiguous; None: the picture is damaged."""

    def release(self) -> None:
        """Let the device go."""


class _Grabber:
    """The device's thread and the one-slot box that it fills."""

    def __init__(self, device: Device, name: str, patient: bool) -> None:
        self.device = device
        self._patient = patient
        self.grabbed = 0
        self.ended: str | None = None
        self.fps = 0.0
        self._filled = threading.Condition()
        self._box: tuple[int, int, Raw] | None = None
        self._latest_ns = time.monotonic_ns()
        self._thread = DriverThread(self._run, f"grab {name}")

    def _run(self, stopping: threading.Event) -> None:
        why = "the device stopped delivering"
        try:
            while not stopping.is_set():
                try:
                    picture = self.device.grab()
                except TimeoutError:
                    continue
                if picture is None:
                    break
                self._put(*picture)
        except cv2.error as error:
            why = f"the device failed: {str(error).strip().splitlines()[-1]}"
        finally:
            with self._filled:
                self.ended = why
                self._filled.notify_all()
            self.device.release()

    def _put(self, t_ns: int, raw: Raw) -> None:
        with self._filled:
            arrived_ns = time.monotonic_ns()
            if self.grabbed:
                rate = 1e9 / max(arrived_ns - self._latest_ns, 1)
                self.fps = rate if self.grabbed == 1 else 0.9 * self.fps + 0.1 * rate
            self._latest_ns = arrived_ns
            self._box = (self.grabbed, t_ns, raw)
            self.grabbed += 1
            self._filled.notify_all()

    def take(self, timeout_s: float) -> tuple[int, int, Raw] | None:
        """The picture in the box (sequence number, time, bytes), None when none comes in time."""
        with self._filled:
            self._filled.wait_for(lambda: self._box is not None or self.ended is not None, timeout_s)
            picture, self._box = self._box, None
            if picture is not None:
                return picture
            if self.ended is not None:
                raise SourceLostError(self.ended)
            if self.silent and not self._patient:
                raise SourceLostError(_SILENCE)
            return None

    @property
    def silent(self) -> bool:
        """Whether nothing has come for so long that the device counts as lost."""
        return time.monotonic_ns() - self._latest_ns > STALLED_AFTER_S * 1e9

    @property
    def waiting(self) -> int:
        """Pictures in the box, 0 or 1."""
        return 0 if self._box is None else 1

    def stop(self) -> None:
        """End the thread. A driver that blocks keeps the device until it returns; we do not wait."""
        self._thread.stop(patience_s=0.5)


class Live:
    """A ``Source`` over a ``Device``.

    connect: opens the device, or raises ``NotFoundError`` / ``BadArgumentError``. Sequence numbers
    count the pictures that the device sent, so a gap in them is a picture that was never read.
    patient: silence does not end the source, because opening it again would not help (a listening port).
    """

    live = True

    def __init__(self, name: str, connect: Callable[[], Device], *, patient: bool = False) -> None:
        self.name = name
        self._patient = patient
        self._connect = connect
        self._grabber: _Grabber | None = None
        self._frames = self._damaged = 0
        self._last_ns = 0
        self._last_error: str | None = None

    @property
    def nominal_fps(self) -> float:
        return self._grabber.device.fps if self._grabber else 30.0

    def open(self) -> None:
        if self._grabber is None:
            device = self._connect()
            self._frames = self._damaged = 0
            self._grabber = _Grabber(device, self.name, self._patient)

    def read(self, timeout_s: float) -> Frame | None:
        deadline = time.monotonic() + timeout_s
        grabber = self._grabber
        if grabber is None:
            raise SourceLostError("not open")
        while True:
            picture = grabber.take(max(deadline - time.monotonic(), 0.0))
            if picture is None:
                return None
            seq, t_ns, raw = picture
            decoded = grabber.device.decode(raw)
            if decoded is not None:
                break
            self._damaged += 1
            self._last_error = f"picture {seq} was damaged and skipped"
            if self._damaged > 1:
                self._last_error = f"{self._damaged} pictures were damaged and skipped"
        self._frames += 1
        self._last_ns = max(t_ns, self._last_ns + 1)
        image, pixel_format = decoded
        return Frame(seq=seq, t_capture_ns=self._last_ns, image=image, format=pixel_format)

    def close(self) -> None:
        grabber, self._grabber = self._grabber, None
        if grabber is not None:
            grabber.stop()

    def status(self) -> SourceStatus:
        grabber = self._grabber
        if grabber is None:
            return SourceStatus(state="lost", last_error=self._last_error)
        device = grabber.device
        return SourceStatus(
            state="lost" if grabber.ended or grabber.silent else "up",
            frames=self._frames,
            dropped=max(grabber.grabbed - self._frames - grabber.waiting, 0),
            width=device.width,
            height=device.height,
            format=device.format,
            fps=grabber.fps,
            last_error=grabber.ended or (_SILENCE if grabber.silent else self._last_error),
        )
