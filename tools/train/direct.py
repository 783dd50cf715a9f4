"""Distil the generator-free gear ("direct") from a two-stage pack, its own or an imported one.

    python -m tools.train.direct --pack default --out build/direct
    x2c-edge packs replace-net default direct build/direct
    python -m tools.evaluate.two_stage_report --pack default --write    # auto goes by what it states

X2CNet-S as the paper's Figure A1 draws it reads the controls off the dense motion and the moved appearance
features; no picture is made. What it learns is what the whole chain says (M, W, G, mapping) to the motions of
human crops, and to mixtures of them. Stages, each with its files in --work, in a folder for this pack and
these options, so that a stopped run goes on:

1. the motions: M's heads on the crops of the real-face set;
2. a dense motion network: W's, thinner (``slim_hourglass``);
3. lessons: for each motion what the predictor will see, and the controls that the whole chain gives;
4. the predictor, trained on them.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from tools._errors import user_errors
from tools.dataset import face_dataset as data
from tools.train.checkpoint import Part, State, say
from tools.train.one_net import write_with
from tools.train.pack_place import require_place
from tools.train.people_motions import PeopleMotions, Row, engine, kept_shards
from tools.train.single_stage import average_into
from tools.train.slim_hourglass import slim_hourglass
from tools.train.training_step import laid_out, mixed_precision
from x2c_edge import packs
from x2c_edge.controls import NAMES, NEUTRAL
from x2c_edge.convert.replace_net import STATED
from x2c_edge.nets import arch, engine_nets
from x2c_edge.nets.direct import CONTROL_UNIT, DirectConfig, DirectNetwork
from x2c_edge.nets.layers import fold_batch_norms
from x2c_edge.nets.warping import DenseMotionConfig, WarpingNetwork
from x2c_edge.pipelines.direct import DirectPipeline
from x2c_edge.pipelines.two_stage import TwoStagePipeline

THIN = 0.5  # of the widths of W's hourglass
LAST = 0.15  # of its last map's channels
FIT_ON, FIT_BYTES = 120, 400e6  # motions that the thinner network is fitted on; fewer where they are large
BATCH, PEAK_LR, WEIGHT_DECAY, EMA = 64, 2e-3, 0.02, 0.998
KEYPOINT_STEPS, KEYPOINT_BATCH = 12000, 256
UNIT = 0.02  # paper units; differences below count by their square
WIDTHS, HIDDEN = (64, 96, 128, 128, 128), 96
LAST_SIDE = 4  # of the predictor's last map


def main(
    pack: str = typer.Option("default", help="the two-stage pack to distil"),
    out: Path = typer.Option(Path("build/direct"), help="the pack folder to write; it holds the new net"),
    work: Path = typer.Option(Path("build/direct_work"), help="folder for the stages"),
    lessons: int = typer.Option(12000, help="motions to learn from"),
    epochs: int = typer.Option(20, help="times that each of them is seen"),
    seed: int = typer.Option(1, min=0),
    threads: int = typer.Option(1, help="CPU threads"),
    device: str = typer.Option("cpu", help="where the predictor is trained: cpu, cuda"),
    folder: Path = typer.Option(data.default_folder(), help="the real-face set"),
) -> None:
    """All stages; prints the difference from the whole chain on people whom it has not seen."""
    with user_errors():
        torch.set_num_threads(threads)
        torch.manual_seed(seed)
        require_place(out)
        opened = packs.open_pack(pack)
        people = PeopleMotions.of(opened, work, lessons, seed, threads, folder, SPLITS)
        chain, motions, work = people.chain, people.heads, people.work
        student = work / "student"
        if not (student / packs.MANIFEST).is_file():
            say("fitting the thinner dense motion network")
            net = thinner(opened, chain, motions["train"], np.random.default_rng(seed))
            write(student, opened, net, "untrained")
        pupil = packs.open_pack(str(student.resolve()))
        seeing = DirectPipeline(pupil, engine(pupil, threads))
        seeing.refer_to(people.rest)
        taught = Lessons.made(work / "train", chain, seeing, people.learnt)
        check = Lessons.made(work / "val", chain, seeing, motions["val"])
        net = trained(pupil, taught, check, epochs, seed, State(work / f"predictor-{epochs}.state"), device)
        command = f"python -m tools.train.direct --lessons {lessons} --epochs {epochs} --seed {seed}"
        made = write(out, opened, net, command)
        gear = DirectPipeline(made, engine(made, threads))
        gear.refer_to(people.rest)
        figures = difference(chain, gear, motions["test"])
        packs.write_manifest(replace(made, accuracy={**made.accuracy, STATED["direct"]: figures}))
        say(f"from two-stage on {len(motions['test'])} crops of other people: {figures}")


SPLITS = ("train", "val", "test")


def thin_sizes(whole: DenseMotionConfig, side: int) -> DirectConfig:
    """Sizes of the direct gear's net for those of W's dense motion network. side: of the volume's planes."""
    kept = {f.name: getattr(whole, f.name) for f in fields(DenseMotionConfig)}
    last = LAST * (whole.last or whole.base + whole.front_channels)
    thin = {
        "base": max(1, round(THIN * whole.base)),
        "cap": max(8, round(THIN * whole.cap)),
        "last": max(8, round(last / 8) * 8),  # a CPU works on eight channels at once
    }
    count = max(1, round(math.log2(side / LAST_SIDE)))
    return DirectConfig(**(kept | thin), side=side, widths=WIDTHS[:count], hidden=HIDDEN)


def thinner(pack: packs.Pack, chain: TwoStagePipeline, bank: Row, rng: np.random.Generator) -> DirectNetwork:
    """An untrained predictor behind W's dense motion network made thinner: an hourglass of THIN of its
    widths, LAST of its last map."""
    spec = pack.nets["warping"]
    big = engine_nets.opened(spec.arch, spec.config, spec.file)
    assert isinstance(big, WarpingNetwork)
    fronts: list[Tensor] = []
    for row in bank[rng.integers(0, len(bank), FIT_ON)]:
        chain.driven(row)
        fronts.append(torch.from_numpy(np.array(chain.front))[0])
        if len(fronts) * fronts[0].nbytes > FIT_BYTES:
            break
    net = _unfolded(thin_sizes(big.config, int(fronts[0].shape[-1])))
    net.still.copy_(torch.from_numpy(np.array(chain.kp_source)))
    slim_hourglass(big, net, fronts, rng)
    return net


@dataclass(frozen=True)
class Lessons:
    """What the predictor sees (its maps as float16), and what it shall say, (N, 30) in paper units."""

    warped: NDArray[np.float16]
    occlusion: NDArray[np.float16]
    deformation: NDArray[np.float16]
    driving: NDArray[np.float32]
    controls: NDArray[np.float32]

    @staticmethod
    def made(folder: Path, chain: TwoStagePipeline, seeing: DirectPipeline, bank: Row) -> Lessons:
        """One for each motion; a run that was stopped finds them again."""
        return Lessons(**kept_shards(folder, bank, partial(_lesson, chain, seeing)))

    def rows(self, some: NDArray[np.int64]) -> tuple[list[Tensor], Tensor]:
        """The predictor's inputs and the controls."""
        seen = (self.warped, self.occlusion, self.deformation, self.driving)
        return [torch.from_numpy(a[some]).float() for a in seen], torch.from_numpy(self.controls[some])


def _lesson(chain: TwoStagePipeline, seeing: DirectPipeline, heads: Row) -> dict[str, NDArray[np.floating]]:
    controls = chain.driven(heads)
    seeing.driven(heads)
    assert seeing.deformation is not None
    return {
        "warped": np.array(seeing.warped[0], np.float16),
        "occlusion": np.array(seeing.occlusion[0], np.float16),
        "deformation": np.array(seeing.deformation, np.float16),
        "driving": np.array(seeing.kp_driving),
        "controls": controls.astype(np.float32),
    }


def trained(
    pupil: packs.Pack, taught: Lessons, check: Lessons, epochs: int, seed: int, state: State, device: str
) -> DirectNetwork:
    """The pupil's net with the moving average of the predictor's weights; its dense motion stays as it is."""
    net, average = _student(pupil).to(device), _student(pupil).to(device)
    learning = predictor(net)
    optimiser = torch.optim.AdamW(learning.parameters(), lr=PEAK_LR, weight_decay=WEIGHT_DECAY)
    parts: dict[str, Part] = {"net": net, "average": average, "optimiser": optimiser}
    first = int(state.restored(parts).get("step", 0))
    if first == 0:
        say(f"{learn_keypoints(net, taught, seed):.4f} on its lessons with the keypoints alone")
        average.load_state_dict(net.state_dict())
    rng, steps = np.random.default_rng([seed, first]), epochs * len(taught.controls) // BATCH
    begun, running = time.monotonic(), 0.0
    for step in range(first + 1, steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = PEAK_LR * min(1.0, step / 100) * 0.5 * (1 + math.cos(math.pi * step / steps))
        seen, wanted = taught.rows(rng.integers(0, len(taught.controls), BATCH))
        learning.train()
        with mixed_precision(device):
            found = net.predict(*(x.to(device) for x in seen))
        loss = F.smooth_l1_loss(found, wanted.to(device), beta=UNIT)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        average_into(predictor(average), learning, min(EMA, step / (step + 20)))
        running += (loss.item() - running) / min(step - first, 50)
        if step % 200 == 0 or step == steps:
            left = (time.monotonic() - begun) / (step - first) * (steps - step) / 60
            state.keep(parts, step=step)
            apart = _apart(average, check, device)
            say(f"step {step}/{steps} loss {running:.4f}, {apart:.4f} on other people, {left:.0f} min left")
    return average.cpu().eval()


def learn_keypoints(net: DirectNetwork, taught: Lessons, seed: int) -> float:
    """What the keypoints alone can say, learnt first: a step costs nothing beside one with the maps, which
    then add what is missing (their part of the hidden layer begins at 0). Mean absolute error at the end."""
    device = net.still.device
    driving, wanted = (torch.from_numpy(a).to(device) for a in (taught.driving, taught.controls))
    learning = nn.ModuleList([net.sparse, net.controls])
    optimiser = torch.optim.AdamW(learning.parameters(), lr=PEAK_LR, weight_decay=WEIGHT_DECAY)
    draw, error = torch.Generator().manual_seed(seed), 0.0
    for step in range(KEYPOINT_STEPS):
        for group in optimiser.param_groups:
            group["lr"] = PEAK_LR * 0.5 * (1 + math.cos(math.pi * step / KEYPOINT_STEPS))
        some = torch.randint(len(wanted), (KEYPOINT_BATCH,), generator=draw).to(device)
        found = net.said(net.moved(driving[some]))
        loss = F.smooth_l1_loss(found, wanted[some], beta=UNIT)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        error += (float((found.detach() - wanted[some]).abs().mean()) - error) / min(step + 1, 200)
    with torch.no_grad():
        last = net.hidden[-1]
        assert isinstance(last, nn.Linear)
        last.weight.zero_()
        last.bias.zero_()
    return error


def predictor(net: DirectNetwork) -> nn.Module:
    """What is trained, as one module."""
    parts = ("first", "rest", "hidden", "sparse", "controls")
    held = nn.ModuleDict({name: getattr(net, name) for name in parts})
    held.register_parameter("appearance", net.appearance)
    return held


def _apart(net: DirectNetwork, check: Lessons, device: str) -> float:
    """Mean absolute difference from the whole chain, paper units."""
    net.eval()
    total = 0.0
    with torch.inference_mode():
        for start in range(0, len(check.controls), BATCH):
            seen, wanted = check.rows(np.arange(start, min(start + BATCH, len(check.controls))))
            found = net.predict(*(x.to(device) for x in seen)).cpu()
            total += float((found - wanted).abs().mean(1).sum())
    return total / len(check.controls)


def _student(pack: packs.Pack) -> DirectNetwork:
    """A pack's net as it learns: with the predictor's batch norms, without the dense motion's."""
    from safetensors.torch import load_file

    spec = pack.nets["direct"]
    net = _unfolded(arch.config_from_manifest("direct", spec.config))
    own = net.state_dict()
    held = {k: v.float() for k, v in load_file(spec.file).items()}
    net.load_state_dict(own | {k: v for k, v in held.items() if k in own and own[k].shape == v.shape})
    laid_out(predictor(net))
    return net


def _unfolded(config: DirectConfig) -> DirectNetwork:
    net = DirectNetwork(config)
    net.dense_motion_network = fold_batch_norms(net.dense_motion_network)
    with torch.no_grad():
        net.controls.bias.copy_(torch.tensor(NEUTRAL, dtype=torch.float32) / CONTROL_UNIT)
        net.controls.weight.mul_(0.1)
    return net


def write(out: Path, pack: packs.Pack, net: DirectNetwork, command: str) -> packs.Pack:
    """The pack with the new net."""
    return write_with(out, pack, "direct", "direct", net, command, options={"angle_unit": "radian"})


def difference(chain: TwoStagePipeline, gear: DirectPipeline, bank: Row) -> dict[str, object]:
    """Mean absolute difference of the two gears, of all controls and of the worst, paper units."""
    apart = np.mean([np.abs(chain.driven(row) - gear.driven(row)) for row in bank], axis=0)
    worst = int(apart.argmax())
    return {
        "mean": round(float(apart.mean()), 4),
        "largest": round(float(apart[worst]), 4),
        "largest_of": NAMES[worst],
    }


if __name__ == "__main__":
    typer.run(main)
