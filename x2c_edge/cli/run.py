"""``x2c-edge run``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from x2c_edge.cli import options as o
from x2c_edge.cli.streams import say

if TYPE_CHECKING:
    from x2c_edge.runtime.run import Run


def run(
    camera: o.Camera = None,
    input: o.Input = None,
    pack: o.Pack = None,
    pipeline: o.Pipeline = None,
    backend: o.Backend = None,
    link: o.Links = None,
    budget_ms: o.BudgetMs = None,
    rate: o.Rate = None,
    fast: o.Fast = False,
    record: Annotated[
        Path | None,
        typer.Option(metavar="FILE.mcap", help="What was seen and sent, for replay and for Foxglove."),
    ] = None,
    save_video: o.SaveVideo = None,
    duration: o.Duration = None,
    config: o.Config = None,
    mirror: o.Mirror = None,
    neutral: o.NeutralWay = None,
    hold_to_run: o.HoldToRun = None,
    monitor: o.Monitor = None,
    foxglove: o.Foxglove = None,
    reference: o.ReferenceFile = None,
    save_reference: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep the driver's neutral for --reference.")
    ] = None,
    width: o.Width = None,
    height: o.Height = None,
    fps: o.Fps = None,
    format: o.Format = None,
    threads: o.Threads = None,
) -> None:
    """Follow a face and drive the robot.

    Space stops it, r goes on, n takes your neutral anew, q or Ctrl-C eases to neutral and ends.
    """
    options = locals()
    from x2c_edge.cli.doors import doors, keys_of, require_a_hand, show_address
    from x2c_edge.cli.live_panel import panel_for
    from x2c_edge.runtime.open_run import open_run
    from x2c_edge.runtime.outlets import Outputs
    from x2c_edge.runtime.service_manager import ServiceManager

    settings = o.settings_from(options, by_itself=input is None)
    require_a_hand(settings, page=monitor is not None, fast=fast)
    outputs = Outputs(
        fast=fast,
        record=record,
        save_video=save_video,
        save_reference=save_reference,
        monitor=monitor,
        foxglove=foxglove,
        reads=(config,),
        duration_s=duration,
        service=ServiceManager(),
    )
    panel = panel_for(sys.stderr)
    opened = open_run(settings, outputs, panel.update)
    panel.keys = keys_of(opened)
    show_address(opened)
    if opened.caution:
        say(opened.caution)
    with panel, doors(opened):
        try:
            opened.run()
        finally:
            panel.finish(opened.snapshot())
            tell_losses(opened)
            recording = opened.outlets.recording
            if recording is not None and recording.failure is None:
                say(recording.summary)


def tell_losses(run: Run) -> None:
    """What the source could not deliver, on standard error; not when that is the error itself."""
    trouble = run.source.status().last_error
    if trouble and trouble not in str(sys.exc_info()[1]):
        say(trouble)
