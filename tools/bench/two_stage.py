"""Two-stage, published arithmetic (tools/bench/plain_two_stage.py) against ours: same weights, same faces.

    python -m tools.bench.two_stage --rounds 3 --threads 1 --write docs/benchmarks.md

Weights are those of shared/golden (any others give the same times). Rounds are interleaved: plain, float32,
bfloat16, so that a change of the machine's speed meets all of them. A frame at the published sizes is about
650 GMAC.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
import typer

from tools.bench.common import machine, markdown_table, replace_section
from tools.bench.plain_two_stage import STEPS, PlainTwoStage
from x2c_edge import _kernels, packs
from x2c_edge.backends.torch_backend import TorchBackend
from x2c_edge.convert.checkpoints import MAPPING_INPUTS, PICTURE_SIZE, import_pack
from x2c_edge.errors import BadArgumentError
from x2c_edge.nets import published
from x2c_edge.pipelines.motion import FaceMotion
from x2c_edge.pipelines.reference import Reference
from x2c_edge.pipelines.two_stage import TwoStagePipeline

SHARED = Path(__file__).resolve().parents[3] / "shared"
# Published file and the recipe's name of each part.
PARTS = {
    "appearance": "F", "motion": "M", "warping": "W", "generator": "G", "stitching": "stitching",
    "mapping": "mapping_resnet18",
}  # fmt: skip


def checkpoints(folder: Path) -> list[Path]:
    """The recipe's weights as published files."""
    spec = importlib.util.spec_from_file_location("golden_weights", SHARED / "golden/weights.py")
    assert spec is not None
    assert spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    keys = json.loads((SHARED / "specs/state_dict_keys.json").read_text())
    paths = []
    for kind, name in PARTS.items():
        path = folder / f"{kind}.pth"
        torch.save({k: torch.from_numpy(v) for k, v in recipe.state_dict(name, keys[name]).items()}, path)
        paths.append(path)
    return paths


class Ours:
    """The pipeline behind its crop step, so that both sides get the same faces."""

    def __init__(self, pack: packs.Pack, threads: int, *, bf16: bool) -> None:
        self.pipeline = TwoStagePipeline(pack, TorchBackend(threads, bf16=bf16))
        self._first = self.pipeline.plan.names.index("motion")

    def refer_to(self, face: np.ndarray) -> None:
        self._see(face)
        self.pipeline.plan.run(self._first, self.pipeline._after_motion)
        motion = FaceMotion.from_row(self.pipeline._motion_row)
        self.pipeline.refer_to(Reference(np.zeros(30), np.eye(3), motion))

    def measure(self, face: np.ndarray) -> np.ndarray:
        self._see(face)
        self.pipeline.plan.run(self._first)
        return self.pipeline._values

    def seconds(self) -> dict[str, float]:
        plan = self.pipeline.plan
        return {
            name: ns / 1e9 for name, ns in zip(plan.names, plan.durations_ns, strict=True) if name in STEPS
        }

    def _see(self, face: np.ndarray) -> None:
        _kernels.crop_normalize(face, np.eye(2, 3), self.pipeline._face[0], format="RGB", order="RGB")


class Plain:
    """The yardstick, timed step by step."""

    def __init__(self, paths: list[Path], picture: np.ndarray) -> None:
        nets = {kind: published.read_part(path, published.Sizes()).net
                for kind, path in zip(PARTS, paths, strict=True)}  # fmt: skip
        self._net = PlainTwoStage(nets, picture, MAPPING_INPUTS["x2c"])
        self._times: dict[str, float] = {}

    def refer_to(self, face: np.ndarray) -> None:
        self._net.refer_to(_tensor(face))

    def measure(self, face: np.ndarray) -> np.ndarray:
        self._net.face = _tensor(face)
        for name, step in self._net.steps.items():
            start = time.perf_counter()
            step()
            self._times[name] = time.perf_counter() - start
        return self._net.controls

    def seconds(self) -> dict[str, float]:
        return self._times


def _tensor(face: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(face.copy()).permute(2, 0, 1)[None].float() / 255


def extra_memory(run: object, face: np.ndarray) -> float:
    """MB that one frame adds to the process's resident memory at its highest; NaN where not measurable."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
        before = _status("VmRSS")
        run.measure(face)  # type: ignore[attr-defined]
        return (_status("VmHWM") - before) / 1e3
    except OSError:
        return float("nan")


def _status(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return float(line.split()[1])
    raise OSError(key)


def main(
    rounds: int = typer.Option(3, help="interleaved rounds of one frame each"),
    threads: int = typer.Option(2, help="CPU threads of every side"),
    write: Path | None = typer.Option(None, help="a page to write the section into"),
) -> None:
    """Measure and print; optionally write."""
    torch.set_num_threads(threads)
    with np.load(SHARED / "golden/inputs.npz") as data:
        source, driving = data["source"], data["driving"]
    assert source.shape[0] == PICTURE_SIZE
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = checkpoints(folder)
        cv2.imwrite(str(folder / "robot.png"), np.ascontiguousarray(source[..., ::-1]))
        pack = import_pack(paths, folder / "robot.png", "bench", folder / "packs")
        sides: dict[str, Plain | Ours] = {
            "plain": Plain(paths, source),
            "ours fp32": Ours(pack, threads, bf16=False),
        }
        try:
            sides["ours bf16"] = Ours(pack, threads, bf16=True)
        except BadArgumentError as error:
            print(error)
    for side in sides.values():
        side.refer_to(driving[0])
        side.measure(driving[1])
    samples: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    apart: dict[str, list[np.ndarray]] = {side: [] for side in sides}
    for i in range(rounds):
        face = driving[1 + i % 2]
        values = {}
        for name_, side in sides.items():
            values[name_] = side.measure(face).copy()
            samples[name_].append(side.seconds().copy())
            apart[name_].append(np.abs(values[name_] - values["plain"]))
        print(f"round {i + 1}:", {k: f"{sum(v[-1].values()):.2f} s" for k, v in samples.items()}, flush=True)
    memory = {name_: extra_memory(side, driving[1]) for name_, side in sides.items()}
    text = report(samples, apart, memory, threads, rounds)
    print(text)
    if write is not None:
        replace_section(write, "two-stage", text)


def report(
    samples: dict[str, list[dict[str, float]]],
    apart: dict[str, list[np.ndarray]],
    memory: dict[str, float],
    threads: int,
    rounds: int,
) -> str:
    """The section's Markdown."""
    median = {
        side: {step: statistics.median(s[step] for s in rows) for step in STEPS}
        for side, rows in samples.items()
    }
    whole = {side: statistics.median(sum(s.values()) for s in rows) for side, rows in samples.items()}
    others = [side for side in samples if side != "plain"]
    rows = []
    for step, seconds in [
        *((s, {k: v[s] for k, v in median.items()}) for s in STEPS),
        ("whole frame", whole),
    ]:
        ratios = [f"{seconds['plain'] / seconds[side]:.1f}" for side in others]
        rows.append([step, *(f"{1e3 * seconds[side]:.1f}" for side in samples), *ratios])
    header = ["step", *(f"{side}, ms" for side in samples), *(f"plain / {side}" for side in others)]
    differences = []
    for side in others:
        d = np.stack(apart[side])
        differences.append(
            f"{side}: largest {d.max():.1e}, mean {d.mean():.1e} from the published arithmetic (paper units, "
            "float route)"
        )
    peak = ", ".join(f"{side} {mb:.0f} MB" for side, mb in memory.items())
    return (
        "## Two-stage, a frame\n\n"
        f"{machine()}, {threads} thread(s); medians of {rounds} interleaved rounds of "
        f"`python -m tools.bench.two_stage --rounds {rounds} --threads {threads}`. "
        "The published arithmetic is written plainly in torch ops (`tools/bench/plain_two_stage.py`).\n\n"
        + markdown_table(header, rows)
        + "\nControls: "
        + "; ".join(differences)
        + f".\nMemory that a frame adds while it runs: {peak}.\n"
    )


if __name__ == "__main__":
    typer.run(main)
