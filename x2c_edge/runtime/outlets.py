"""What a run writes to: its links, its files, its live page and Foxglove."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from x2c_edge.capture.paths import local_path
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.links.base import Link
from x2c_edge.links.registry import make_link
from x2c_edge.runtime.overwriting import files_of, require_apart
from x2c_edge.runtime.recorder import Recorder, RunRecorder
from x2c_edge.runtime.service_manager import ServiceManager
from x2c_edge.runtime.settings import Settings
from x2c_edge.runtime.trace import Trace

if TYPE_CHECKING:
    from x2c_edge.runtime.foxglove_feed import FoxgloveFeed
    from x2c_edge.runtime.mcap_recorder import McapRecorder
    from x2c_edge.runtime.page import RunPage


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a run writes besides its links, and when it ends by itself."""

    fast: bool = False
    record: Path | None = None
    save_video: Path | None = None
    monitor: str | None = None  # [HOST:]PORT of the live page
    foxglove: str | None = None  # [HOST:]PORT for Foxglove
    save_reference: Path | None = None
    trace: Path | None = None
    per_step: bool = False  # a GPU times every step by itself, as it does for a trace
    duration_s: float | None = None
    max_frames: int | None = None
    later: tuple[Path | None, ...] = ()  # what the caller writes afterwards; checked before anything starts
    reads: tuple[Path | None, ...] = ()  # besides what the settings name: a recording, their own file
    watchers: tuple[RunRecorder, ...] = ()  # what else is told about every frame and command
    service: ServiceManager | None = None  # systemd, for a run that is a process of its own

    def require_writable(self) -> None:
        """NotFoundError, BadArgumentError for a file that could not be written; before the run, not after."""
        for path in (self.trace, self.save_reference, self.record, *self.later):
            if path is not None and not _is_writable(path):
                raise NotFoundError(
                    f"{path}: cannot be written; choose a file in a folder that exists and is yours"
                )
        if self.record is not None:
            if self.record.is_fifo():  # opening it would wait for a reader
                raise NotFoundError(f"{self.record}: is a pipe; give a file's name that ends in .mcap")
            if self.record.suffix.lower() != ".mcap":
                raise BadArgumentError(
                    f"--record {self.record}: a recording is an MCAP file; give a name that ends in .mcap"
                )
            from x2c_edge.record import mcap_file  # noqa: F401 (that the package is there)

    def require_apart(self, settings: Settings) -> None:
        """BadArgumentError for an output that would overwrite what is read, or another output."""
        capture, reference = settings.capture.input, settings.calibration.reference
        read = [None if capture is None else local_path(capture), *self.reads]
        written = [
            self.record, self.save_video, self.trace, *self.later, *files_of(settings.run.link or ()),
        ]  # fmt: skip
        require_apart([*read, reference], written)
        require_apart(read, [*written, self.save_reference])  # a reference may be taken again


class Outlets:
    """links: the open ones. recorders: whatever is told about every frame and command.

    Made, a port is taken and a URI understood, and nothing is open yet. Then come, each when what it needs is
    known, the links, the recorders and, as the run begins, the page. ``close`` ends the recorders (the run's
    loop closes the links); ``abandon`` ends a run that never began.
    """

    def __init__(self, settings: Settings, outputs: Outputs) -> None:
        """NotFoundError, BadArgumentError for an address or a link that cannot be used."""
        if outputs.fast and (outputs.monitor or outputs.foxglove):
            option = "--monitor" if outputs.monitor else "--foxglove"
            raise BadArgumentError(f"{option} shows a run as it happens; leave out --fast")
        self._outputs = outputs
        self.page: RunPage | None = None
        self.foxglove: FoxgloveFeed | None = None
        self.recording: McapRecorder | None = None
        self.trace = Trace() if outputs.trace is not None else None
        self.recorders: list[RunRecorder] = list(outputs.watchers)
        self.links: list[Link] = []
        if outputs.monitor is not None:
            from x2c_edge.runtime.page import RunPage

            self.page = RunPage(outputs.monitor)
        if outputs.foxglove is not None:
            from x2c_edge.runtime.foxglove_feed import FoxgloveFeed

            self.foxglove = FoxgloveFeed(outputs.foxglove)
        uris, rate = settings.run.link or ("null:",), settings.run.rate
        self._to_open = [make_link(uri, rate_hz=rate, lossless=outputs.fast) for uri in uris]

    @property
    def wants_faces(self) -> bool:
        """Whether anything shows the face that the two-stage pipeline makes."""
        outputs = self._outputs
        return any((outputs.save_video, outputs.record, outputs.monitor, outputs.foxglove))

    def open_links(self) -> None:
        """From here on the robots go to neutral. NotFoundError for a link that cannot be opened."""
        for link in self._to_open:
            link.open()
            self.links.append(link)

    def open_recorders(self, facts: dict[str, str], fps: float, *, generated: bool) -> None:
        """facts: for the recording. fps: of the video. generated: the two-stage pipeline will make faces."""
        outputs = self._outputs
        if outputs.save_video is not None:
            self.recorders.append(
                Recorder(outputs.save_video, fps, lossless=outputs.fast, generated=generated)
            )
        if outputs.record is not None:
            from x2c_edge.runtime.mcap_recorder import McapRecorder

            self.recording = McapRecorder(outputs.record, facts, lossless=outputs.fast, generated=generated)
            self.recorders.append(self.recording)
        if self.page is not None:
            self.recorders.append(self.page)
        if self.foxglove is not None:
            self.foxglove.start(generated=generated)
            self.recorders.append(self.foxglove)

    def close(self) -> None:
        """The run is over: every file is finished."""
        with ExitStack() as closing:
            if self.trace is not None and self._outputs.trace is not None:
                closing.callback(self.trace.write, self._outputs.trace)
            for recorder in self.recorders:
                closing.callback(recorder.close)

    def abandon(self) -> None:
        """There will be no run: everything is let go of at once."""
        for server in (self.page, self.foxglove):
            if server is not None and server not in self.recorders:
                server.close()
        for link in self.links:
            link.close(0.0)
        for recorder in self.recorders:
            recorder.close()


def _is_writable(path: Path) -> bool:
    try:
        return path.parent.is_dir() and os.access(path.parent, os.W_OK) and not path.is_dir()
    except OSError:  # a name that is too long
        return False
