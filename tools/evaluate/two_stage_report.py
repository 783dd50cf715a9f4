"""Agreement of a two-stage pack with the labels of the real-face set, through the pipeline as it runs.

    python -m tools.evaluate.two_stage_report --pack default --split test

Every picture goes through track, crop, M, stitching, W, G and the mapping network, relative to an average
person's neutral (exp 0, head straight), and the 30 controls that come out are compared with the labels'.
The single-stage net sees the same pictures in the same run. --write puts the figures into the manifest,
--page the table into a Markdown page.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from tools.bench import common
from tools.dataset import face_dataset as data
from tools.dataset.robot_motion import robot_motion
from tools.evaluate.single_stage_report import EXPRESSIBLE
from x2c_edge import packs, retarget
from x2c_edge.backends.open import open_backend
from x2c_edge.controls import CONTROLS, INDEX, NAMES, NEUTRAL
from x2c_edge.frames import FaceCrop, Frame
from x2c_edge.pipelines.base import Measurement, Pipeline
from x2c_edge.pipelines.direct import DirectPipeline
from x2c_edge.pipelines.motion import FaceMotion
from x2c_edge.pipelines.reference import Reference
from x2c_edge.pipelines.rotation import angles
from x2c_edge.pipelines.two_stage import TwoStagePipeline

Array = NDArray[np.float64]
HEAD = [INDEX[n] for n in ("Head Yaw", "Head Pitch", "Head Roll")]


@dataclass(frozen=True)
class TwoStageReport:
    """Pearson r (30,) of the pipelines with the label controls, mean absolute errors (30,) of two-stage, and
    how far direct is from two-stage (30,); direct's are None for a pack without that gear."""

    split: str
    two_stage: Array
    single_stage: Array
    mae: Array
    direct: Array | None = None
    apart: Array | None = None

    @property
    def face_mean(self) -> float:
        return float(self.two_stage[EXPRESSIBLE].mean())

    def summary(self) -> str:
        yaw, pitch, roll = self.two_stage[HEAD]
        return (
            f"two-stage: mean r over {len(EXPRESSIBLE)} face controls {self.face_mean:.3f} (single-stage "
            f"{self.single_stage[EXPRESSIBLE].mean():.3f}), jaw {self.two_stage[INDEX['Jaw Pitch']]:.3f}, "
            f"upper lids {self.two_stage[INDEX['Eyelid Upper Left']]:.3f} and "
            f"{self.two_stage[INDEX['Eyelid Upper Right']]:.3f}, head yaw/pitch/roll "
            f"{yaw:.3f}/{pitch:.3f}/{roll:.3f}{self._of_direct()}"
        )

    def _of_direct(self) -> str:
        if self.direct is None or self.apart is None:
            return ""
        worst = int(self.apart.argmax())
        return (
            f"; direct: mean r {self.direct[EXPRESSIBLE].mean():.3f}, from two-stage on average "
            f"{self.apart.mean():.4f}, most in {NAMES[worst]} {self.apart[worst]:.4f}"
        )

    def rows(self) -> list[list[str]]:
        return [
            [c.name, f"{self.two_stage[c.index]:.3f}",
             "" if self.direct is None else f"{self.direct[c.index]:.3f}",
             f"{self.single_stage[c.index]:.3f}", f"{self.mae[c.index]:.4f}"]
            for c in CONTROLS
        ]  # fmt: skip

    def table(self) -> str:
        lines = [f"{'control':28s} {'r':>6s} {'direct':>7s} {'single':>7s} {'MAE':>7s}"]
        lines += [
            f"{name:28s} {r:>6s} {direct:>7s} {single:>7s} {mae:>7s}"
            for name, r, direct, single, mae in self.rows()
        ]
        return "\n".join([*lines, self.summary()])

    def to_manifest(self) -> dict[str, object]:
        """The figures that travel with the weights, by gear."""
        made: dict[str, object] = {"two_stage": _stated(self.split, self.two_stage)}
        if self.direct is not None and self.apart is not None:
            made["direct"] = _stated(self.split, self.direct) | {
                "mean_difference_from_two_stage": round(float(self.apart.mean()), 4)
            }
        return made


def _stated(split: str, r: Array) -> dict[str, object]:
    return {
        "split": split,
        "mean_r_face_controls": round(float(r[EXPRESSIBLE].mean()), 4),
        "pearson_r": {c.name: round(float(r[c.index]), 4) for c in CONTROLS},
    }


def average_neutral() -> Reference:
    """Nobody's face: exp 0, head straight."""
    count = len(robot_motion().names)
    return Reference(NEUTRAL.copy(), np.eye(3), FaceMotion(np.eye(3), np.zeros((count, 3)), np.zeros(3), 1.0))


def measured(pipeline: Pipeline, faces: data.FaceSet, rows: Iterable[int]) -> list[Measurement]:
    """What the pipeline measures of some pictures, each on its own."""
    rng = np.random.default_rng(0)
    found = []
    for row in rows:
        affine, _ = data.crop_affine(faces.points[row], pipeline.crop_size, data.Jitter(), rng)
        image = np.ascontiguousarray(faces.images[row])
        found.append(pipeline.measure(FaceCrop(Frame(row, 0, image), affine, pipeline.crop_size, 1.0)))
    return found


def absolute(found: list[Measurement]) -> Array:
    """(N, 30): absolute measurements with head and neck from the head's rotation."""
    values = np.stack([m.values for m in found])
    for row, m in zip(values, found, strict=True):
        retarget.head_controls(*angles(m.rotation), row)
    return values


def evaluate(pack: packs.Pack, faces: data.FaceSet, threads: int = 1) -> TwoStageReport:
    """Run the pack's pipeline on every picture of a split."""
    pipeline = TwoStagePipeline(pack, open_backend("torch", threads))
    rows = range(len(faces.images))
    pipeline.refer_to(average_neutral())
    found = np.stack([m.values for m in measured(pipeline, faces, rows)])
    pipeline.refer_to(None)
    tracked = absolute(measured(pipeline, faces, rows))
    labels = data.label_controls(faces)
    r = [data.pearson(values, labels) for values in (found, tracked)]
    report = TwoStageReport(faces.split, r[0], r[1], np.abs(found - labels).mean(0))
    if "direct" not in pack.nets:
        return report
    direct = DirectPipeline(pack, open_backend("torch", threads))
    direct.refer_to(average_neutral())
    short = np.stack([m.values for m in measured(direct, faces, rows)])
    return replace(report, direct=data.pearson(short, labels), apart=np.abs(short - found).mean(0))


def main(
    pack: str = "default",
    split: str = "test",
    write: bool = typer.Option(False, help="put the figures into the manifest"),
    page: Path | None = typer.Option(None, help="put the table into this Markdown page"),
    folder: Path = typer.Option(data.default_folder(), help="the real-face set"),
) -> None:
    """Evaluate and print."""
    torch.set_num_threads(1)
    opened = packs.open_pack(pack)
    report = evaluate(opened, data.load(split, folder))
    print(report.table())
    if page is not None:
        table = common.markdown_table(
            ["control", "two-stage r", "direct r", "single-stage r", "MAE"], report.rows()
        )
        command = common.command_given("tools.evaluate.two_stage_report")
        common.replace_section(page, "two-stage-accuracy", f"`{command}`\n\n{table}\n{report.summary()}")
    if write:
        packs.write_manifest(replace(opened, accuracy=opened.accuracy | report.to_manifest()))
        print(f"written to {opened.path / packs.MANIFEST}")


if __name__ == "__main__":
    typer.run(main)
