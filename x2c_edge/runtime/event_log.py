"""What happens in a run, as lines of the standard ``logging`` (logger ``x2c_edge.run``).

Seen by comparing one snapshot with the next, four times a second, on the telemetry's thread: a log that
blocks delays no tick. What lasts less is in a recording.
"""

from __future__ import annotations

import logging
from typing import Final

from x2c_edge.capture.base import SourceStatus
from x2c_edge.links.base import LinkStatus
from x2c_edge.runtime.governor import HOLD
from x2c_edge.runtime.telemetry import Snapshot

LOGGER: Final = logging.getLogger("x2c_edge.run")
LOGGER.addHandler(logging.NullHandler())  # without it Python writes warnings across the panel
_WORSE_STATES: Final = {"HOLDING": logging.WARNING, "FAULT": logging.ERROR}


class EventLog:
    """Says what changed: state, gear, links, source. Not thread-safe."""

    def __init__(self) -> None:
        self._before: Snapshot | None = None

    def notice(self, now: Snapshot) -> None:
        """The run now."""
        before, self._before = self._before, now
        if before is None:
            LOGGER.info("%s, gear %s", _state(now), now.gear)
            for link in now.links:
                _say_link(None, link)
            return
        if (before.state, before.reason) != (now.state, now.reason):
            LOGGER.log(_WORSE_STATES.get(now.state, logging.INFO), "%s, was %s", _state(now), before.state)
        if before.gear != now.gear:
            level = logging.WARNING if now.gear == HOLD else logging.INFO
            LOGGER.log(level, "gear %s, was %s", now.gear, before.gear)
        for was, link in zip(before.links, now.links, strict=True):
            _say_link(was, link)
        _say_source(before.source, now.source)


def _state(now: Snapshot) -> str:
    return f"{now.state} ({now.reason})" if now.reason else now.state


def _say_link(before: LinkStatus | None, now: LinkStatus) -> None:
    if before is None or before.state != now.state:
        if now.state == "down":
            LOGGER.warning("link %s down: %s", now.uri, now.last_error or "no reason known")
        else:
            LOGGER.info("link %s %s", now.uri, now.state)
    if now.robot_fault and (before is None or before.robot_fault != now.robot_fault):
        LOGGER.error("link %s: the robot reports %s", now.uri, now.robot_fault)


def _say_source(before: SourceStatus, now: SourceStatus) -> None:
    if before.state != now.state:
        level = logging.INFO if now.state == "up" else logging.WARNING
        LOGGER.log(level, "source %s%s", now.state, f": {now.last_error}" if now.last_error else "")
    elif now.last_error and before.last_error != now.last_error:
        LOGGER.warning("source: %s", now.last_error)
