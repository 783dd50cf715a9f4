"""The paper's Tables 4 and 5 for a set of pairs: how exact controls are that were read from robot pictures.

    python -m tools.evaluate.tables DATA --mapping build/mapping/resnet.json --write docs/evaluation.md \
        --plot docs/images/mapping_errors.png
    python -m tools.evaluate.tables DATA --pack default --trunk vgg.json --trunk vit.json --baselines RC,RT

Table 4 sets ours (a trained .json, or a pack's mapping network) beside those of ``baselines.py``, which
are trained here on the training side. Table 5 has a row for every trained .json that --trunk names.
MAE: mean over pictures of the mean absolute error over the 30 controls, paper units. SD, SEM and 95 % CI
are over pictures, as in the paper; frames of one animation look alike, so a second interval counts every
animation as one draw. Beside them stands the error per spread, the unit that the paper's RC and RT fit
(``paper_units``), and the paper's own figure. A run that was killed goes on from --keep.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from tools._errors import user_errors
from tools.bench import common
from tools.dataset.pair_dataset import PairDataset
from tools.dataset.pair_shards import written_beside
from tools.evaluate.baselines import BASELINES, Effort, samples_of
from tools.evaluate.mapping_errors import Errors, errors_of
from tools.evaluate.mapping_plot import write_errors_plot
from tools.evaluate.paper_units import TABLE_4, TABLE_5
from tools.evaluate.single_stage import load_net
from tools.train.mapping_file import load_trained
from tools.train.mapping_pictures import Pairs, SomePairs, spread
from tools.train.mapping_recipe import trunk_name
from tools.train.mapping_training import Trained, predict
from x2c_edge import packs
from x2c_edge.controls import CONTROLS
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.nets.arch import opened

HEADER = (
    "method", "MAE", "SD", "SEM", "95 % CI", "95 % CI by animation", "published metric", "per spread",
    "paper's MAE",
)  # fmt: skip


def main(
    data: Annotated[Path, typer.Argument(help="the set of pairs")],
    mapping: Path | None = typer.Option(None, help="ours: a .json of tools.train.mapping"),
    pack: str | None = typer.Option(None, help="ours: the mapping network of this pack"),
    trunk: list[Path] = typer.Option([], help="a row of Table 5: a .json of tools.train.mapping; repeatable"),
    baselines: str = typer.Option("all", help="all, none, or names with commas: " + ",".join(BASELINES)),
    division: str = typer.Option("animation", help="animation or random"),
    limit_train: int | None = typer.Option(None, min=1, help="baselines learn from at most so many pairs"),
    limit_test: int | None = typer.Option(None, min=1, help="test on at most so many pairs, evenly spread"),
    effort: float = typer.Option(1.0, min=0.05, help="of the baselines' training; 0.5 halves their epochs"),
    landmarks: str = typer.Option("default", help="the pack whose single-stage network finds landmarks"),
    device: str = typer.Option("cpu", help="cpu or cuda, for trained networks; baselines use the CPU"),
    threads: int | None = typer.Option(None, min=1, help="CPU threads"),
    plot: Path | None = typer.Option(None, help="draw the errors of every control"),
    write: Path | None = typer.Option(None, help="put the tables into this Markdown page"),
    json_out: Path | None = typer.Option(None, "--json", help="write all figures"),
    keep: Path = typer.Option(Path("build/baselines"), help="what a killed run of baselines goes on from"),
    seed: int = 1,
) -> None:
    """Evaluate and print."""
    if threads:
        torch.set_num_threads(threads)
    with user_errors():
        names = _names(baselines)
        if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
            raise BadArgumentError(f"--device {device}: give cpu; torch finds no such device here")
        if mapping and pack:
            raise BadArgumentError("--mapping and --pack: give one of them, both name ours")
        ours = load_mapping(mapping, pack)
        files = {path: load_trained(path) for path in trunk}
        for path, trained in files.items():
            _check_division(str(path), trained, division)
        if ours is not None:
            _check_division(str(mapping or f"pack '{pack}'"), ours[0], division)
        train, test = (PairDataset(data, side, division) for side in ("train", "test"))  # type: ignore[arg-type]
        rows = spread(len(test), limit_test)
        wanted, animation = test.controls[rows], test.animation[rows]

        def errors(values: NDArray[np.float64]) -> Errors:
            return errors_of(values, wanted, animation)

        results = {}
        some = SomePairs(test, rows)
        if ours is not None:
            results["ours"] = errors(
                predict(ours[0].net, ours[0].picture, some, degrees=ours[1], device=device)
            )
        trunks = {path: errors(predict(t.net, t.picture, some, device=device)) for path, t in files.items()}
        work = Effort.of(effort, seed, keep)
        if names:
            results |= _baselines(names, train, test, rows, limit_train, landmarks, work, errors)
        some_of = min(limit_train, len(train)) if limit_train and names else None
        _report(data, division, results, trunks, files, len(train), some_of, write)
        if plot and results:
            write_errors_plot(plot, results, "Error of each control on test pictures")
        if json_out:
            _write_json(json_out, data, division, results, trunks)
        work.forget()


def load_mapping(file: Path | None, pack: str | None) -> tuple[Trained, bool] | None:
    """Ours, and whether its angles are degrees; None when neither is named."""
    if file is not None:
        return load_trained(file), False
    if pack is None:
        return None
    from safetensors.torch import load_file

    found = packs.open_pack(pack)
    if "mapping" not in found.nets:
        raise NotFoundError(f"pack '{pack}' has no mapping network; give a two-stage pack or --mapping")
    spec = found.nets["mapping"]
    try:
        net = opened(spec.arch, spec.config, load_file(spec.file))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise NotFoundError(f"{spec.file}: {str(error).splitlines()[0]}; get the pack again") from None
    stated = found.accuracy.get("mapping_mae")
    accuracy = stated if isinstance(stated, dict) else None
    trained = Trained(net, spec.picture, {}, found.trained_by, accuracy)  # type: ignore[arg-type]
    return trained, spec.options.get("angle_unit", "degree") == "degree"


def _check_division(where: str, trained: Trained, division: str) -> None:
    learnt = (trained.accuracy or {}).get("division", division)
    if learnt != division:
        raise BadArgumentError(
            f"{where}: trained on the division by {learnt}, it may have learnt from these test pictures; "
            f"give --division {learnt}"
        )


def table_row(name: str, errors: Errors, theirs: float | None = None) -> list[str]:
    """A row under ``HEADER``. theirs: the paper's mean absolute error, where it has one."""
    sample = errors.sample
    low, high = sample.ci95
    by_animation = "–"
    if not np.isnan(errors.group_sem):
        by_animation = f"{errors.group_ci95[0]:.4f} to {errors.group_ci95[1]:.4f}"
    figures = [f"{sample.mean:.4f}", f"{sample.sd:.4f}", f"{sample.sem:.5f}", f"{low:.4f} to {high:.4f}"]
    paper = "–" if theirs is None else f"{theirs:.4f}"
    return [name, *figures, by_animation, f"{errors.published:.4f}", f"{errors.per_spread:.3f}", paper]


def _baselines(
    names: list[str],
    train: Pairs,
    test: Pairs,
    rows: NDArray[np.int64],
    limit: int | None,
    landmarks: str,
    effort: Effort,
    errors: Callable[[NDArray[np.float64]], Errors],
) -> dict[str, Errors]:
    opened_pack = packs.open_pack(landmarks)
    net, picture = load_net(opened_pack), opened_pack.nets["single_stage"].picture
    start = time.monotonic()
    seen = samples_of(train, spread(len(train), limit), net, picture)
    asked = samples_of(test, rows, net, picture)
    print(f"landmarks of {len(seen.points) + len(asked.points)} pictures: {_took(start)}", flush=True)
    results = {}
    for name in names:
        start = time.monotonic()
        results[name] = errors(BASELINES[name](seen, asked, effort))
        print(f"{name}: MAE {results[name].sample.mean:.4f}, {_took(start)}", flush=True)
    return results


def _report(
    data: Path,
    division: str,
    results: dict[str, Errors],
    trunks: dict[Path, Errors],
    files: dict[Path, Trained],
    learnt_from: int,
    some_of: int | None,
    page: Path | None,
) -> None:
    parts = {}
    if results:
        table = [table_row(name, e, TABLE_4.get(name)) for name, e in results.items()]
        parts["mapping"] = (
            f"{origin(data, division, results, learnt_from, some_of)}\n\n"
            + common.markdown_table(HEADER, table)
        )
        learnt = {name: e for name, e in results.items() if name not in ("RC", "RT")}
        if learnt:
            rows = [[c.name, *(f"{e.control[c.index]:.4f}" for e in learnt.values())] for c in CONTROLS]
            parts["mapping"] += "\nPer control:\n\n" + common.markdown_table(("control", *learnt), rows)
    if trunks:
        rows = []
        for path, errors in trunks.items():
            net = files[path].net
            count = sum(p.numel() for p in net.parameters())
            name = trunk_name(net.config.trunk)
            about = f"{name} ({count / 1e6:.2f} M, {files[path].picture.size} pixels)"
            rows.append(table_row(about, errors, TABLE_5.get(name)))
        parts["trunks"] = f"{origin(data, division, trunks, learnt_from)}\n\n" + common.markdown_table(
            ("feature extractor", *HEADER[1:]), rows
        )
    print("\n".join(parts.values()))
    if page is not None:
        command = common.command_given("tools.evaluate.tables")
        for section, text in parts.items():
            common.replace_section(page, section, f"`{command}`\n\n{text}")


def origin(
    data: Path, division: str, results: Mapping[Any, Errors], learnt_from: int, some_of: int | None = None
) -> str:
    """What a table's figures are from. some_of: how many of the training side the baselines have seen."""
    count = next(iter(results.values())).sample.n
    few = "" if some_of is None else f", baselines learnt from {some_of} of them"
    return (
        f"Tested on {count} pictures of {data.name}, divided by {division}; {learnt_from} pictures are "
        f"on the training side{few}. {common.machine()}."
    )


def _write_json(
    path: Path, data: Path, division: str, results: dict[str, Errors], trunks: dict[Path, Errors]
) -> None:
    content = {
        "data": str(data),
        "division": division,
        "table4": {name: e.to_json() for name, e in results.items()},
        "table5": {str(file): e.to_json() for file, e in trunks.items()},
    }
    try:
        with written_beside(path) as out:
            out.write((json.dumps(content, indent=1) + "\n").encode())
    except OSError as error:
        raise NotFoundError(f"{path}: cannot be written ({error.strerror}); choose another place") from None


def _names(text: str) -> list[str]:
    if text in ("all", "none"):
        return list(BASELINES) if text == "all" else []
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in BASELINES:
            raise BadArgumentError(f"--baselines {name}: choose all, none or of {', '.join(BASELINES)}")
    return names


def _took(start: float) -> str:
    return f"{time.monotonic() - start:.0f} s"


if __name__ == "__main__":
    typer.run(main)
