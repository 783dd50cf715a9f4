"""``x2c-edge build-engines``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from x2c_edge.cli import options as o


def build_engines(
    pack: o.Pack = None,
    precision: Annotated[str, typer.Option(help="fp16, fp32 or int8.")] = "fp16",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where engines are kept (default: your data folder).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Build again what is built already.")] = False,
    clip: Annotated[
        str | None,
        typer.Option(metavar="FILE|DIR", help="A face to check on and calibrate with (default: the pack's)."),
    ] = None,
) -> None:
    """Build a pack's TensorRT engines for this GPU and check them against PyTorch."""
    from x2c_edge import packs
    from x2c_edge.backends import engine_files, trt_versions
    from x2c_edge.backends.cuda_device import cuda_device, free_memory
    from x2c_edge.convert.requirements import require_exporter

    chosen = engine_files.precision_named(precision)
    opened = packs.open_pack(pack)
    device = cuda_device()
    trt = trt_versions.tensorrt()
    trt_versions.require_precision(trt, chosen)
    require_exporter(chosen)
    from x2c_edge.convert import engine_set

    key = engine_files.key_for(opened, device, trt.__version__, chosen)
    folder = out or engine_files.engines_folder()
    order = engine_set.Order(opened, chosen, folder, clip)
    engine_set.clip_of(order)
    for built in engine_files.installed_sets(opened, folder):
        if built.key == key and not force:
            typer.echo(f"already built: {engine_set.describe(built)}")
            return

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from x2c_edge.backends.tensorrt_backend import TensorRTBackend
    from x2c_edge.backends.torch_backend import TorchBackend
    from x2c_edge.convert.engine_build import EngineBuilder

    builder = EngineBuilder(trt, free_memory(device) // 2, engine_set.read_timing_cache(folder, key))
    columns = (TextColumn("{task.description:24s}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=1.0)
        built = engine_set.build_set(
            order,
            key,
            builder,
            TorchBackend(),
            lambda plans: TensorRTBackend(plans, device, trt),
            lambda what, share: bar.update(task, description=what, completed=share),
        )
    engine_set.write_timing_cache(folder, key, builder.timing_cache)
    typer.echo(engine_set.describe(built))
    if out is not None:
        typer.echo(f"to use them: export X2C_EDGE_ENGINES={out}")
