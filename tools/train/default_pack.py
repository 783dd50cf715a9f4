"""Train the default pack from nothing: single-stage net, M, stitching, F, W, G and the mapping network.

    python -m tools.train.default_pack --out engines/default

What comes after them has commands of its own: motion_heads, mapping_course, generator_course, direct
(docs/training.md).
About four hours on two cores, 50 minutes more without --tracker; the CPU only.
Each part is a stage with a file of its own in --work; a stage whose file is there is not trained again, so a
run that was stopped goes on with the next one. The parts and their reasons: single_stage (the tracker
and lower gear), motion (M), transfer (stitching, F, W, G), mapping_training (the mapping
network, on rendered pictures and then on the generator's own).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import typer
from safetensors.torch import load_file, save
from torch import nn

from tools._errors import user_errors
from tools.dataset import face_dataset as data
from tools.dataset.make_dataset import Settings, make_dataset
from tools.dataset.pair_dataset import PairDataset, Split
from tools.dataset.pair_shards import written_beside
from tools.dataset.robot_pairs import RobotPairs, cached, people, render
from tools.evaluate import two_stage_report
from tools.evaluate.single_stage import load_net
from tools.train import distil_single_stage, measure_people
from tools.train import motion as train_motion
from tools.train import single_stage as train_single_stage
from tools.train import transfer as train_transfer
from tools.train.checkpoint import kept_array, say
from tools.train.look_points import many_look_points
from tools.train.mapping_file import load_trained, save_trained
from tools.train.mapping_pictures import ArrayPairs, in_memory, normalised
from tools.train.mapping_recipe import Recipe
from tools.train.mapping_training import Machine, Trained, predict, train
from tools.train.pack_place import require_place
from tools.train.transfer import made_pictures
from tools.train.two_stage_pack import Nets, write_pack
from x2c_edge import packs
from x2c_edge.nets.look_trunk import LookTwiceConfig
from x2c_edge.nets.stitching import KeypointMlp
from x2c_edge.robot.face import PORTRAIT

SIDES: tuple[Split, Split] = ("train", "test")
PAIRS, NECK_PAIRS, ANIMATION_PAIRS, CHECK_PAIRS = 16000, 14000, 24000, 400
PEOPLE_PAIRS = 6000  # and as many others, in what learns what people's faces do
MOTION_STEPS, TRANSFER_STEPS, WATCHED_STEPS = train_motion.STEPS, 2600, 1500
WIDE_STEPS, DISTIL_STEPS = 12000, 4000
WATCHED_LR = 1.5e-3
MAPPING = Recipe(  # not augmented: at run time it sees the generator's pictures and nothing else
    LookTwiceConfig(train_transfer.SIZE), train_transfer.SIZE, hidden=(128,), epochs=24, batch=64,
    learning_rate=2e-3, gradient_norm=5.0, augment=False, loss="spread",
)  # fmt: skip
MAPPING_FINAL = replace(MAPPING, epochs=9, learning_rate=1e-3)  # goes on from the first one's weights


def kept(file: Path, net: nn.Module, make: Callable[[], nn.Module]) -> nn.Module:
    """``make()``'s weights in ``net``, from ``file`` if it is there."""
    if not file.is_file():
        say(f"training {file.stem}")
        state = {k: v.contiguous() for k, v in make().state_dict().items()}
        with written_beside(file) as out:
            out.write(save(state))
    net.load_state_dict(load_file(file))
    return net.eval()


def watcher(trained: Trained) -> Callable[[torch.Tensor], torch.Tensor]:
    """The mapping network as the transfer's loss sees it: RGB in 0..1 (N, 3, S, S) to paper units."""
    return lambda picture: trained.net(normalised(picture.flip(1), trained.picture))


def kept_pictures(file: Path, make: Callable[[], torch.Tensor]) -> np.ndarray:
    """``make()``'s pictures as (N, S, S, 3) uint8 BGR, from ``file`` if it is there."""
    return np.asarray(kept_array(file, lambda: as_bytes(make())))


def as_bytes(pictures: torch.Tensor) -> np.ndarray:
    """RGB in 0..1 (N, 3, S, S) to (N, S, S, 3) uint8 BGR."""
    rows = (pictures.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return np.ascontiguousarray(rows[..., ::-1])


def split(pairs: RobotPairs) -> tuple[RobotPairs, RobotPairs]:
    """All but the last, and the last CHECK_PAIRS."""
    return pairs.rows(slice(-CHECK_PAIRS)), pairs.rows(slice(-CHECK_PAIRS, None))


def mapping_stage(
    file: Path,
    recipe: Recipe,
    pictures: list[np.ndarray],
    values: list[np.ndarray],
    start: Trained | None = None,
) -> Trained:
    """A mapping network, from its file if it is there; trained from the weights of ``start`` if given."""
    if not file.is_file():
        say(f"training {file.stem}")
        checkpoint = file.with_suffix(".checkpoint")
        pairs = ArrayPairs(np.concatenate(pictures), np.concatenate(values).astype(np.float32))
        trained = train(
            recipe,
            pairs,
            machine=Machine(workers=1),
            looks=many_look_points(pairs.controls, PORTRAIT),
            checkpoint=checkpoint,
            start=start.net.state_dict() if start else None,
            say=say,
        )
        save_trained(file, trained)
        checkpoint.unlink(missing_ok=True)
    return load_trained(file)


def read_error(trained: Trained, pictures: np.ndarray, values: np.ndarray) -> float:
    """Mean absolute error, paper units."""
    found = predict(trained.net, trained.picture, ArrayPairs(pictures, values.astype(np.float32)))
    return float(np.abs(found - values).mean())


def main(
    out: Path = typer.Option(Path("engines/default"), help="the pack folder to write"),
    work: Path = typer.Option(Path("build/default_pack"), help="folder for the stages' files"),
    tracker: str = typer.Option("", help="pack whose single-stage net is kept; '' distils one (50 minutes)"),
    seed: int = typer.Option(1, min=0),
    threads: int = typer.Option(2, help="CPU threads"),
    folder: Path = typer.Option(data.default_folder(), help="the real-face set"),
) -> None:
    """Train what is missing and write the pack."""
    with user_errors():
        make(out, work, tracker, seed, threads, folder)


def make(out: Path, work: Path, tracker: str, seed: int, threads: int, folder: Path) -> None:
    """All stages; options as ``main``'s."""
    torch.set_num_threads(threads)
    require_place(out)
    work.mkdir(parents=True, exist_ok=True)
    wide = work / "single_stage"  # M starts from it, and it teaches the one in the pack
    if not wide.is_dir() or train_single_stage.state_of(wide).is_file():
        say("training single_stage")
        train_single_stage.main(wide, WIDE_STEPS, seed, threads, 1000, folder)
    if not tracker:
        tracker = str((work / "lean").resolve())
        if not Path(tracker).is_dir():
            say("distilling single_stage")
            distil_single_stage.main(
                str(wide.resolve()), Path(tracker), work / "lean_work", DISTIL_STEPS, math.inf, seed, threads,
                500, folder,
            )  # fmt: skip
    seen_by = load_net(packs.open_pack(str(wide.resolve())))
    trainee = kept(
        work / "motion.safetensors",
        train_motion.untrained(seen_by, 52),
        lambda: train_motion.train(MOTION_STEPS, seed, folder, start=seen_by, state=work / "motion.state"),
    )
    (work / "motion.state").unlink(missing_ok=True)
    assert isinstance(trainee, train_motion.Trainee)
    motion = train_motion.as_published(trainee)
    stitching = kept(
        work / "stitching.safetensors",
        KeypointMlp(train_transfer.STITCHING),
        lambda: train_transfer.train_stitching(seed, say),
    )
    assert isinstance(stitching, KeypointMlp)
    size = train_transfer.SIZE
    pairs, check = split(cached(work / "transfer.npz", lambda: render(PAIRS, size, 10 + seed)))
    neck, neck_check = split(
        cached(work / "mapping.npz", lambda: render(NECK_PAIRS, size, 11 + seed, neck=True))
    )
    make_dataset(Settings(ANIMATION_PAIRS, size, seed, "portrait"), work / "pairs")
    sides = (in_memory(PairDataset(work / "pairs", side), size) for side in SIDES)
    played, held_out = ((side.images, side.controls) for side in sides)
    pictures = [neck.pictures, played[0], pairs.pictures]
    values = [neck.values, played[1], pairs.values]
    reader = mapping_stage(work / "mapping_rendered.json", replace(MAPPING, seed=seed), pictures, values)
    posed = read_error(reader, neck_check.pictures, neck_check.values)
    say(f"mapping, MAE: poses {posed:.4f}, held-out animations {read_error(reader, *held_out):.4f}")
    humans = cached(work / "people.npz", lambda: people(data.load("train", folder), PEOPLE_PAIRS, size, seed))
    likely = pairs.rows(slice(PEOPLE_PAIRS)) + humans
    transfer = train_transfer.Transfer.untrained(seed)
    kept(
        work / "transfer.safetensors",
        transfer.parts,
        lambda: (
            train_transfer.train(transfer, stitching, pairs, TRANSFER_STEPS, seed, check=check, log=say).parts
        ),
    )
    kept(
        work / "watched.safetensors",
        transfer.parts,
        lambda: train_transfer.train(
            transfer, stitching, likely, WATCHED_STEPS, seed + 1, peak=WATCHED_LR, watcher=watcher(reader),
            check=check, log=say,
        ).parts,
    )  # fmt: skip
    strangers = cached(
        work / "strangers.npz", lambda: people(data.load("val", folder), CHECK_PAIRS, size, seed + 1)
    )
    made, made_check, made_strangers = (
        kept_pictures(work / f"made_{name}.npy", lambda part=part: made_pictures(transfer, stitching, part))
        for name, part in (("train", likely), ("check", check), ("strangers", strangers))
    )
    say(f"mapping on made pictures, before: MAE {read_error(reader, made_strangers, strangers.values):.4f}")
    final = mapping_stage(
        work / "mapping.json",
        replace(MAPPING_FINAL, seed=seed),
        [*pictures, humans.pictures, made],
        [*values, humans.values, likely.values],
        reader,
    )
    errors = {
        "made_random_poses": read_error(final, made_check, check.values),
        "made_people_s_poses": read_error(final, made_strangers, strangers.values),
        "held_out_animations": read_error(final, *held_out),
    }
    say(f"mapping, MAE: {errors}")
    nets = Nets(packs.open_pack(tracker), motion, stitching, transfer, final)
    command = f"python -m tools.train.default_pack --seed {seed}"
    own = nets.tracker.accuracy
    accuracy = {
        "mapping_mae": {name: round(error, 5) for name, error in errors.items()},
        "single_stage": own.get("single_stage", own),
    }
    pack = write_pack(out, nets, command, accuracy)
    at_rest = measure_people.measure(pack, data.load("train", folder), data.load("val", folder), threads)
    pack = measure_people.write(pack, at_rest)
    report = two_stage_report.evaluate(pack, data.load("test", folder))
    print(report.table())
    packs.write_manifest(replace(pack, accuracy=accuracy | report.to_manifest()))


if __name__ == "__main__":
    typer.run(main)
