"""``x2c-edge profile``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from x2c_edge.cli import options as o
from x2c_edge.errors import BadArgumentError

_OF_A_RUN: Final = ("camera", "input", "pipeline", "link", "trace", "plot")


def profile(
    camera: o.Camera = None,
    input: o.Input = None,
    pack: o.Pack = None,
    pipeline: o.Pipeline = None,
    backend: o.Backend = None,
    link: o.Links = None,
    budget_ms: o.BudgetMs = None,
    rate: o.Rate = None,
    fast: o.Fast = False,
    frames: Annotated[int, typer.Option(min=1, help="Stop after this many frames.")] = 600,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="All figures.")] = None,
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Timeline for Perfetto or about:tracing.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="The figures as a picture.")] = None,
    predict: Annotated[
        str | None,
        typer.Option(
            metavar="BOARD",
            help="Run nothing: print what a frame should take there. orin-nano, orin-nano-super, orin-nx, "
            "agx-orin, thor; or here: how far the model is off on this processor.",
        ),
    ] = None,
    duration: o.Duration = None,
    config: o.Config = None,
    reference: o.ReferenceFile = None,
    width: o.Width = None,
    height: o.Height = None,
    fps: o.Fps = None,
    format: o.Format = None,
    threads: o.Threads = None,
) -> None:
    """Run as ``run`` does, then print where the time went.

    A file plays at its own rate, like a camera, unless --fast is given: then the figure of interest is
    frames per second, and there is no wire to be late on.
    """
    options = locals()
    if predict is not None:
        without = {"json_file": "--json"} | {name: f"--{name}" for name in _OF_A_RUN}
        if given := [option for name, option in without.items() if options[name] is not None]:
            raise BadArgumentError(
                f"--predict runs nothing and prints every gear: leave out {', '.join(given)}"
            )
        from x2c_edge.runtime.prediction import prediction

        typer.echo("\n".join(prediction(o.settings_from(options).run.pack, predict)))
        return
    from x2c_edge.cli.doors import listen_to_signals
    from x2c_edge.cli.run import tell_losses
    from x2c_edge.runtime.open_run import open_run
    from x2c_edge.runtime.outlets import Outputs
    from x2c_edge.whole_file import write_whole

    settings = o.settings_from(options)
    run = open_run(
        settings,
        Outputs(
            fast=fast,
            trace=trace,
            per_step=True,
            reads=(config,),
            duration_s=duration,
            max_frames=frames,
            later=(json_file, plot),
        ),
    )
    listen_to_signals(run.operator, run.stop)
    try:
        run.run()
    finally:
        tell_losses(run)
    snapshot = run.snapshot()
    pack_name, device = run.facts["pack"], run.facts["device"]
    budget_ms_used = settings.run.budget_ms
    book = run.book
    rate_of_frames = snapshot.frames / snapshot.elapsed_s if snapshot.elapsed_s > 0 else 0.0
    source = snapshot.source
    typer.echo(
        f"{pack_name} pack, {device}, {source.width}x{source.height} {source.format}, "
        f"{snapshot.frames} frames, {snapshot.with_face} with a face"
    )
    typer.echo(f"{'':22s}{'p50':>9s}{'p95':>9s}{'p99':>9s}{'max':>9s}   ms")
    for row in book.rows():
        if row.count:
            typer.echo(f"{row.name:22s}{row.p50:9.3f}{row.p95:9.3f}{row.p99:9.3f}{row.max:9.3f}")
    if fast:
        typer.echo(f"{rate_of_frames:.1f} frames/s, file to controls")
    else:
        share = 100 * book.misses / book.capture_to_wire.count if book.capture_to_wire.count else 0.0
        typer.echo(
            f"budget {budget_ms_used:g} ms: {book.misses} misses ({share:.2f} %), "
            f"{snapshot.skipped} frames skipped"
        )
    dominant = book.dominant()
    if dominant is not None:
        typer.echo(f"{dominant[0]} dominates: {100 * dominant[1]:.0f} % of the time in stages")
    data: dict[str, Any] = {
        "pack": pack_name,
        "device": device,
        "frames": snapshot.frames,
        "with_face": snapshot.with_face,
        "frames_per_s": rate_of_frames,
        "budget_ms": budget_ms_used,
        "shifts": [[s.t_ns, s.before, s.after, s.why] for s in run.governor.shifts],
        **book.to_dict(),
    }
    if json_file is not None:
        write_whole(json_file, (json.dumps(data, indent=1) + "\n").encode())
    if plot is not None:
        from x2c_edge.runtime.latency_plot import write_latency_plot

        write_latency_plot(plot, book, budget_ms=budget_ms_used, title=f"{pack_name} pack, {device}")
