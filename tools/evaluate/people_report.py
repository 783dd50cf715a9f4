"""How right every gear of a pack is on people, and on whom it is less so: one report.

    python -m tools.evaluate.people_report --pack default --page docs/people.md
    python -m tools.evaluate.people_report --gear single-stage --skip-clips --split val

Per picture: the crops of a split of the real-face set, each on its own, two-stage gears beside an average
person's neutral as in ``two_stage_report``. Per clip: whole runs as ``x2c-edge run --fast`` makes them
(``clip_report``, neutral auto). Both beside the labels' absolute controls; r, error, offset and gain as in
``agreement``, means over the face controls. Pictures are divided by what their people differ in
(``people_traits``); "against the rest" is a group's error less that of all other pictures, with the 95 %
interval of a bootstrap that draws people, not pictures. Gears are those that the pack has nets for.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.progress import track

from tools._errors import user_errors
from tools.bench import common
from tools.dataset import face_dataset as data
from tools.dataset.labelled_clips import labelled_clips
from tools.evaluate.agreement import Agreement, agreement
from tools.evaluate.clip_report import row_of
from tools.evaluate.people_traits import Traits, traits_of
from tools.evaluate.single_stage_report import EXPRESSIBLE
from tools.evaluate.two_stage_report import absolute, average_neutral, measured
from x2c_edge import packs
from x2c_edge.backends.open import open_backend
from x2c_edge.controls import CONTROLS, NAMES
from x2c_edge.errors import BadArgumentError
from x2c_edge.packs import Pack
from x2c_edge.pipelines.retargeter import MotionSettings
from x2c_edge.runtime.gears import PIPELINE_NETS, open_pipeline

Array = NDArray[np.float64]
DRAWS = 500
FIGURES = ("r", "error", "offset", "gain")


def gears_in(pack: Pack, wanted: list[str]) -> list[str]:
    """The pack's gears, dearest first; only those of ``wanted``, if any. BadArgumentError for one that it has
    not."""
    have = [name for name, net in PIPELINE_NETS if net in pack.nets]
    for name in wanted:
        if name not in have:
            raise BadArgumentError(f"--gear {name}: pack '{pack.name}' has {', '.join(have) or 'none'}")
    return [name for name in have if not wanted or name in wanted]


def read_by(gear: str, pack: Pack, faces: data.FaceSet, backend: str, rows: range | None = None) -> Array:
    """(N, 30): what a gear reads from pictures of a split, absolute controls, each picture on its own."""
    pipeline = open_pipeline(gear, pack, open_backend(backend, 1, pack=pack), MotionSettings(), False)
    pipeline.refer_to(average_neutral())
    rows = rows or range(len(faces.images))
    found = measured(pipeline, faces, track(rows, gear, transient=True))
    # Without a face in the picture a two-stage gear gives what its tracker read.
    return np.stack([m.values if m.relative else absolute([m])[0] for m in found])


def figures(found: Agreement) -> list[str]:
    """r, error, offset and gain of the face controls as cells."""
    r, error, offset, gain = (found.mean(name) for name in FIGURES)
    return [_number(r, 3), f"{error:.3f}", f"{offset:.3f}", _number(gain, 2)]


def frame_table(values: dict[str, Array], labels: Array, traits: Traits) -> list[list[str]]:
    """A row for every gear and group, and one for all pictures of the gear."""
    rows = []
    for gear, found in values.items():
        everyone = [gear, "everyone", "", f"{len(labels)}", f"{len(np.unique(traits.people))}"]
        rows.append([*everyone, *figures(agreement(found, labels)), ""])
        error = np.abs(found - labels)[:, EXPRESSIBLE].mean(1)
        for what, name, chosen in traits.groups():
            counts = [f"{chosen.sum()}", f"{len(np.unique(traits.people[chosen]))}"]
            cells = figures(agreement(found[chosen], labels[chosen]))
            rows.append([gear, what, name, *counts, *cells, against_the_rest(error, chosen, traits.people)])
    return rows


FRAME_HEADER = ["gear", "by", "group", "pictures", "people", *FIGURES, "error against the rest (95 %)"]


def against_the_rest(error: Array, chosen: NDArray[np.bool_], people: NDArray[np.integer]) -> str:
    """A group's mean error less that of all others, and the interval when people are drawn anew.

    error: (N,) of each picture. "-" where the group or the rest has fewer than two people.
    """
    names, place = np.unique(people, return_inverse=True)
    # Sums of each person's errors, and pictures, in the group (row 0) and in the rest (row 1).
    sides = np.stack([chosen, ~chosen]).astype(np.float64)
    sums = np.stack([np.bincount(place, side * error, len(names)) for side in sides])
    counts = np.stack([np.bincount(place, side, len(names)) for side in sides])
    if ((counts > 0).sum(1) < 2).any():
        return "-"
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), DRAWS).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (drawn @ sums.T) / (drawn @ counts.T)
    low, high = np.nanpercentile(means[:, 0] - means[:, 1], [2.5, 97.5])
    mean = sums.sum(1) / counts.sum(1)
    return f"{mean[0] - mean[1]:+.3f} ({low:+.3f} to {high:+.3f})"


def control_table(values: dict[str, Array], labels: Array) -> list[list[str]]:
    """Every control's figures, gear by gear; the control that is hardest for the first gear first."""
    by_gear = [agreement(found, labels) for found in values.values()]
    order = sorted(CONTROLS, key=lambda c: float(np.nan_to_num(by_gear[0].r[c.index], nan=2.0)))
    return [
        [c.name]
        + [
            cell
            for found in by_gear
            for cell in (
                _number(float(found.r[c.index]), 3), f"{found.error[c.index]:.3f}",
                f"{found.offset[c.index]:+.3f}", _number(float(found.gain[c.index]), 2),
            )
        ]
        for c in order
    ]  # fmt: skip


def weakest_table(values: dict[str, Array], labels: Array, traits: Traits) -> list[list[str]]:
    """The three controls with the lowest r of every gear and group."""
    rows = []
    for gear, found in values.items():
        for what, name, chosen in traits.groups():
            r = agreement(found[chosen], labels[chosen]).r
            known = [k for k in EXPRESSIBLE if np.isfinite(r[k])]
            worst = sorted(known, key=lambda k: float(r[k]))[:3]
            rows.append([gear, what, name, ", ".join(f"{NAMES[k]} {r[k]:.2f}" for k in worst)])
    return rows


def clip_table(
    gears: list[str], pack: str, faces: data.FaceSet, traits: Traits, folder: Path
) -> list[list[str]]:
    """A row for every labelled clip of the split and gear: figures, lag, and what the person is like.

    folder: of the real-face set, whose labels the clips have.
    """
    rows = []
    clips = [clip for clip in labelled_clips(faces=folder) if clip.split == faces.split]
    for gear in gears:
        ran = [row_of(clip, "auto", gear, pack) for clip in clips]
        for row in ran:
            mine = faces.source_id == row.clip.source_id
            glasses = "" if traits.glasses is None else "yes" if traits.glasses[mine].any() else "no"
            person = [f"{np.median(t[mine]):.0f}" for t in (traits.ita, traits.angle, traits.brightness)]
            cells = figures(agreement(row.poses, row.clip.controls))
            rows.append(
                [gear, row.clip.name, *cells, _number(1000 * row.lag_s, 0), person[0], glasses, *person[1:]]
            )
        if ran:
            all_of = agreement(*(np.concatenate(part) for part in
                                 ([r.poses for r in ran], [r.clip.controls for r in ran])))  # fmt: skip
            rows.append([gear, "all clips", *figures(all_of), "", "", "", "", ""])
    return rows


CLIP_HEADER = ["gear", "clip", *FIGURES, "lag ms", "ITA °", "glasses", "head angle °", "brightness"]


def _number(value: float, digits: int) -> str:
    return "-" if np.isnan(value) else f"{value:.{digits}f}"


def main(
    pack: str = "default",
    split: str = "test",
    gear: list[str] = typer.Option([], help="only these gears of the pack; repeatable"),
    backend: str = typer.Option("auto", help="auto, tensorrt, cpu or torch, for the pictures"),
    skip_clips: bool = typer.Option(False, help="leave the runs on clips out"),
    page: Path | None = typer.Option(None, help="put the tables into this Markdown page"),
    folder: Path = typer.Option(data.default_folder(), help="the real-face set"),
) -> None:
    """Run every gear on the people of a split, and print the tables."""
    torch.set_num_threads(1)
    with user_errors():
        opened = packs.open_pack(pack)
        gears = gears_in(opened, gear)
        faces = data.load(split, folder)
        traits, labels = traits_of(faces), data.label_controls(faces)
        values = {name: read_by(name, opened, faces, backend) for name in gears}
        by_gear = [f"{name} {figure}" for name in gears for figure in FIGURES]
        tables = {
            "people-pictures": (FRAME_HEADER, frame_table(values, labels, traits)),
            "people-weakest": (["gear", "by", "group", "weakest controls, r"],
                               weakest_table(values, labels, traits)),
            "people-controls": (["control", *by_gear], control_table(values, labels)),
        }  # fmt: skip
        if not skip_clips:
            tables["people-clips"] = (CLIP_HEADER, clip_table(gears, pack, faces, traits, folder))
        command = common.command_given("tools.evaluate.people_report")
        for section, (header, rows) in tables.items():
            table = common.markdown_table(header, rows)
            print(f"{section}\n{table}")
            if page is not None:
                common.replace_section(page, section, f"`{command}`\n\n{table}")


if __name__ == "__main__":
    typer.run(main)
