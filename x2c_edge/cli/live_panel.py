"""What ``run`` and ``replay`` show while they run: a panel in a terminal, a line now and then elsewhere.

Give it standard error: standard output may be carrying the commands (``jsonl:-``).
"""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import IO, Final, TextIO, cast

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from x2c_edge.cli.screen import Screen
from x2c_edge.links.base import LinkStatus
from x2c_edge.runtime.telemetry import Snapshot

_LINE_EVERY_S: Final = 5.0
_GAUGE_WIDTH: Final = 24
_FEWEST_LINKS: Final = 3
_LINES_WITHOUT_LINKS: Final = 14

_STATE_STYLES: Final = {
    "STARTING": "bold white",
    "NEUTRAL": "bold cyan",
    "FOLLOWING": "bold green",
    "HOLDING": "bold yellow",
    "RETURNING": "bold magenta",
    "FAULT": "bold white on red",
    "STOPPED": "bold white",
}
_PART_STYLES: Final = {
    "up": "green",
    "down": "red",
    "lost": "red",
    "opening": "yellow",
    "reopening": "yellow",
}


class LivePanel:
    """Shows snapshots. A context manager; ``update`` and ``finish`` may be called from any thread.

    In a terminal the panel is redrawn in place and its last picture stays. Elsewhere one plain line is
    printed every 5 s of the run's time, and a summary at the end.
    """

    def __init__(self, console: Console, keys: tuple[str, ...] = ()) -> None:
        """keys: what they do, for the lowest line; may be set later."""
        self._console, self.keys = console, keys
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._next_line_s = 0.0

    def __enter__(self) -> LivePanel:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            with contextlib.suppress(OSError):  # as below
                self._live.stop()
                if isinstance(self._console.file, Screen):
                    self._console.file.finish()

    def update(self, snapshot: Snapshot) -> None:
        """Show this snapshot; outside a terminal, when it is time for a line."""
        if self._live is not None:
            self._draw(self._live, snapshot)
        elif snapshot.elapsed_s >= self._next_line_s:
            self._next_line_s = snapshot.elapsed_s + _LINE_EVERY_S
            self._print(plain_line(snapshot))

    def finish(self, snapshot: Snapshot) -> None:
        """Show how the run ended."""
        if self._live is not None:
            self._draw(self._live, snapshot)
        else:
            self._print(summary_line(snapshot))

    def _draw(self, live: Live, snapshot: Snapshot) -> None:
        with contextlib.suppress(OSError):
            live.update(panel(snapshot, height=self._console.height, keys=self.keys), refresh=True)

    def _print(self, line: str) -> None:
        with contextlib.suppress(OSError):  # rich would keep what cannot be written, and try it all again
            self._console.file.write(line + "\n")
            self._console.file.flush()


class _Quiet(Console):
    """A console whose end is nobody's business: a terminal, a reader or a disk that has gone must neither end
    a run nor its way home in an error."""

    def on_broken_pipe(self) -> None:
        """rich's own ends the program."""
        self.quiet = True


def panel_for(stream: TextIO, keys: tuple[str, ...] = ()) -> LivePanel:
    """The panel for a stream: redrawn when it is a terminal, lines otherwise."""
    screen: TextIO | Screen = stream
    if stream.isatty():
        with contextlib.suppress(OSError):
            screen = Screen(stream)
    return LivePanel(_Quiet(file=cast("IO[str]", screen), highlight=False), keys)


def plain_line(snapshot: Snapshot) -> str:
    """The run at this moment, in one line."""
    links = ", ".join(f"{link.uri} {link.state}" for link in snapshot.links) or "none"
    parts = [
        f"{snapshot.elapsed_s:7.1f} s",
        snapshot.state + (f" ({snapshot.reason})" if snapshot.reason else ""),
        snapshot.gear,
        f"{snapshot.vision_fps:.1f} fps",
        f"capture to wire p50 {_ms(snapshot.capture_to_wire_p50_ms)} "
        f"p99 {_ms(snapshot.capture_to_wire_p99_ms)} of {snapshot.budget_ms:g} ms",
        f"misses {snapshot.misses}",
        f"skipped {snapshot.skipped}",
        f"source {snapshot.source.state}",
        f"links {links}",
    ]
    if snapshot.calibration:
        parts.append(snapshot.calibration)
    return " | ".join(parts)


def summary_line(snapshot: Snapshot) -> str:
    """What the whole run came to, in one line."""
    face = f"{snapshot.with_face / snapshot.frames:.0%} with a face" if snapshot.frames else "no frames"
    sent = ", ".join(
        f"{link.uri} sent {link.sent} dropped {link.dropped} errors {link.errors}" for link in snapshot.links
    )
    return (
        f"done after {snapshot.elapsed_s:.1f} s: {snapshot.frames} frames ({face}), "
        f"{snapshot.skipped} skipped, {snapshot.commands} commands, "
        f"capture to wire p50 {_ms(snapshot.capture_to_wire_p50_ms)} "
        f"p99 {_ms(snapshot.capture_to_wire_p99_ms)}, "
        f"{snapshot.misses} misses of {snapshot.budget_ms:g} ms" + (f"; {sent}" if sent else "")
    )


def panel(snapshot: Snapshot, *, height: int = 24, keys: tuple[str, ...] = ()) -> RenderableType:
    """The panel for a terminal of ``height`` lines; it takes the width that there is."""
    facts = Table.grid(padding=(0, 2, 0, 0), expand=True)
    facts.add_column(style="dim", no_wrap=True, width=7)
    facts.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    facts.add_row("state", _state(snapshot))
    if snapshot.calibration:
        facts.add_row("", Text(snapshot.calibration, style="bold yellow"))
    gear = f"{snapshot.gear}   {snapshot.vision_fps:.1f} frames/s   {_with_face(snapshot)}"
    facts.add_row("gear", Text(gear))
    if snapshot.neutral:
        facts.add_row("neutral", Text(snapshot.neutral))
    facts.add_row("latency", _latency(snapshot))
    facts.add_row("", _gauge(snapshot))
    facts.add_row("late", _late(snapshot))
    facts.add_row("source", _source(snapshot))
    if snapshot.source.last_error:
        facts.add_row("", Text(snapshot.source.last_error, style="red"))
    shown = max(height - _LINES_WITHOUT_LINKS, _FEWEST_LINKS)
    return Panel(
        Group(facts, Text(), _links(snapshot.links, shown)),
        title="x2c-edge",
        subtitle="  ".join((_clock(snapshot.elapsed_s), *keys)),
        border_style="red" if snapshot.state == "FAULT" else "dim",
    )


def _state(snapshot: Snapshot) -> Text:
    text = Text().append(snapshot.state, style=_STATE_STYLES[snapshot.state])
    return text.append(f"  {snapshot.reason}")


def _with_face(snapshot: Snapshot) -> str:
    return f"face in {snapshot.with_face / snapshot.frames:.0%}" if snapshot.frames else "no frame yet"


def _latency(snapshot: Snapshot) -> Text:
    text = Text("capture to wire p50 ")
    text.append(_ms(snapshot.capture_to_wire_p50_ms), style="bold")
    text.append("  p99 ")
    text.append(_ms(snapshot.capture_to_wire_p99_ms), style="bold " + _against_budget(snapshot))
    return text.append(f"  of {snapshot.budget_ms:g} ms")


def _against_budget(snapshot: Snapshot) -> str:
    share = snapshot.capture_to_wire_p99_ms / snapshot.budget_ms
    return "red" if share > 1 else "yellow" if share > 0.8 else "green"


def _gauge(snapshot: Snapshot) -> Text:
    """The budget as a row of characters: '=' up to the p50, '-' up to the p99, '.' what is left."""
    p50, p99 = (
        min(round(_GAUGE_WIDTH * ms / snapshot.budget_ms), _GAUGE_WIDTH)
        for ms in (snapshot.capture_to_wire_p50_ms, snapshot.capture_to_wire_p99_ms)
    )
    style = _against_budget(snapshot)
    text = Text("[").append("=" * p50, style=style).append("-" * (p99 - p50), style=style)
    return text.append("." * (_GAUGE_WIDTH - p99), style="dim").append("]")


def _late(snapshot: Snapshot) -> Text:
    text = Text("misses ").append(str(snapshot.misses), style="bold red" if snapshot.misses else "bold")
    text.append(f"  skipped {snapshot.skipped} of {snapshot.frames + snapshot.skipped} frames")
    return text.append(f"  tick jitter p99 {_ms(snapshot.tick_jitter_p99_ms)}")


def _source(snapshot: Snapshot) -> Text:
    source = snapshot.source
    text = Text().append(source.state, style=_PART_STYLES.get(source.state, "bold"))
    if source.width:
        text.append(f"  {source.width}x{source.height} {source.format} {source.fps:.1f}/s")
    text.append(f"  {source.frames} frames, {source.dropped} dropped")
    if source.reopened:
        text.append(f", reopened {source.reopened}", style="yellow")
    return text


def _links(links: tuple[LinkStatus, ...], shown: int) -> RenderableType:
    if not links:
        return Text("no link: nothing is sent", style="dim")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", expand=True)
    table.add_column("link", no_wrap=True, overflow="ellipsis", ratio=3)
    table.add_column("state", no_wrap=True)
    for name in ("sent", "dropped", "errors"):
        table.add_column(name, justify="right", no_wrap=True)
    any_error = any(link.last_error for link in links)
    if any_error:
        table.add_column("last error", no_wrap=True, overflow="ellipsis", ratio=2)
    # Room is short when there are many: those in trouble come first.
    ordered = sorted(links, key=lambda link: link.state == "up") if len(links) > shown else links
    kept = ordered if len(links) <= shown else ordered[: shown - 1]
    for link in kept:
        state = Text(link.state, style=_PART_STYLES.get(link.state, "dim"))
        errors = Text(str(link.errors), style="red" if link.errors else "default")
        last_error = [Text(link.last_error, style="red")] if any_error else []
        table.add_row(Text(link.uri), state, str(link.sent), str(link.dropped), errors, *last_error)
    if len(kept) < len(links):
        table.add_row(Text(f"and {len(links) - len(kept)} more", style="dim"))
    return table


def _ms(value: float) -> str:
    return f"{value:.1f} ms" if value > 0 else "- ms"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
