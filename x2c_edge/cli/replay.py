"""``x2c-edge replay``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from x2c_edge.cli import options as o


def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE.mcap", help="Made by run --record.")],
    link: o.Links = None,
    rate: o.Rate = None,
    fast: o.Fast = False,
    save_video: o.SaveVideo = None,
    duration: o.Duration = None,
    config: o.Config = None,
    hold_to_run: o.HoldToRun = None,
    monitor: o.Monitor = None,
    foxglove: o.Foxglove = None,
) -> None:
    """Drive the robot with what an earlier run saw.

    The recorded expressions, not the recorded commands, go through the range, speed and staleness limits of
    this run, at their own pace. Neither PyTorch nor a model pack is needed. Ctrl-C eases to neutral first.
    """
    options = locals()
    from x2c_edge.cli.doors import doors, keys_of, require_a_hand, show_address
    from x2c_edge.cli.live_panel import panel_for
    from x2c_edge.cli.run import tell_losses
    from x2c_edge.runtime.outlets import Outputs
    from x2c_edge.runtime.replay import open_replay

    settings = o.settings_from(options)
    require_a_hand(settings, page=monitor is not None, fast=fast)
    panel = panel_for(sys.stderr)
    outputs = Outputs(
        fast=fast,
        save_video=save_video,
        monitor=monitor,
        foxglove=foxglove,
        reads=(config,),
        duration_s=duration,
    )
    opened = open_replay(file, settings, outputs, panel.update)
    panel.keys = keys_of(opened)
    show_address(opened)
    with panel, doors(opened):
        try:
            opened.run()
        finally:
            panel.finish(opened.snapshot())
            tell_losses(opened)
