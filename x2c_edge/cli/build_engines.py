"""``x2c-edge build-engines``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from x2c_edge.cli import options as o

if TYPE_CHECKING:
    from x2c_edge.backends.engine_files import EngineKey
    from x2c_edge.convert.engine_build import EngineBuilder
    from x2c_edge.convert.engine_set import Opener, Order


def build_engines(
    pack: o.Pack = None,
    target: Annotated[str, typer.Option(help="gpu (TensorRT) or cpu (ONNX Runtime).")] = "gpu",
    precision: Annotated[
        str | None, typer.Option(help="fp16, fp32 or int8 (default: fp16; for a CPU fp32, its only one).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where engines are kept (default: your data folder).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Build again what is built already.")] = False,
    clip: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|DIR",
            help="A moving face to check on and calibrate with (default: the pack's, or ours).",
        ),
    ] = None,
) -> None:
    """Build a pack's engines for this GPU or CPU and check them against PyTorch."""
    from x2c_edge import packs
    from x2c_edge.backends import engine_files
    from x2c_edge.errors import BadArgumentError

    where = engine_files.target_named(target)
    chosen = engine_files.precision_named(precision or ("fp32" if where == "cpu" else "fp16"))
    if where == "cpu" and chosen != "fp32":
        raise BadArgumentError(f"precision '{chosen}': the CPU engine is fp32; leave --precision out")
    opened = packs.open_pack(pack)
    folder = out or engine_files.engines_folder()
    if where == "cpu":
        from x2c_edge.backends.cpu_engine import CpuEngine, onnxruntime
        from x2c_edge.convert.requirements import require_exporter

        key = engine_files.cpu_key_for(opened, onnxruntime().__version__)
        require_exporter(chosen, where)
        from x2c_edge.convert.engine_set import Order

        order = Order(opened, chosen, folder, clip)
        _build(order, key, None, lambda graphs: CpuEngine(graphs), force)
    else:
        from x2c_edge.backends import pycuda_layer, trt_versions
        from x2c_edge.convert.requirements import require_exporter

        drv = pycuda_layer.driver()
        device = pycuda_layer.cuda_device(drv)
        trt = trt_versions.tensorrt()
        trt_versions.require_precision(trt, chosen)
        require_exporter(chosen, where)
        from x2c_edge.backends.tensorrt_backend import TensorRTBackend
        from x2c_edge.convert import engine_set
        from x2c_edge.convert.engine_build import EngineBuilder

        order = engine_set.Order(opened, chosen, folder, clip)
        key = engine_files.key_for(opened, device, trt.__version__, chosen)
        builder = EngineBuilder(
            trt, pycuda_layer.free_memory(device, drv) // 2, engine_set.read_timing_cache(folder, key)
        )
        if _build(order, key, builder, lambda plans: TensorRTBackend(plans, device, trt), force):
            engine_set.write_timing_cache(folder, key, builder.timing_cache)
    if out is not None:
        typer.echo(f"to use them: export X2C_EDGE_ENGINES={out}")


def _build(
    order: Order, key: EngineKey, builder: EngineBuilder | None, open_engines: Opener, force: bool
) -> bool:
    """Build with a bar and say what came of it. False if there was nothing to do."""
    from x2c_edge.backends.engine_files import installed_sets
    from x2c_edge.convert import engine_set

    engine_set.clip_of(order)
    for built in installed_sets(order.pack, order.folder):
        if built.key == key and not force:
            typer.echo(f"already built: {engine_set.describe(built)}")
            return False
    engine_set.require_folder(order.folder)

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from x2c_edge.backends.torch_backend import TorchBackend

    columns = (TextColumn("{task.description:24s}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=1.0)
        built = engine_set.build_set(
            order,
            key,
            builder,
            TorchBackend(),
            open_engines,
            lambda what, share: bar.update(task, description=what, completed=share),
        )
    typer.echo(engine_set.describe(built))
    return True
