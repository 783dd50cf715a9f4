"""The user study's folder (the paper's Table 6): what every method makes the robot do for people's pictures.

    python -m tools.evaluate.study_pictures HUMANS --out /tmp/study
    python -m tools.evaluate.study_pictures HUMANS --out /tmp/study --pairs /tmp/pairs
    python -m tools.evaluate.user_study sheet /tmp/study

HUMANS is a folder of pictures (.png, .jpg) with one face each. Methods are the pack's gears, and with --pairs
also Smile and Coexpression (``baselines``), trained on that set's robot pictures and shown the people's
landmarks, as in the paper. Every picture is read by itself, beside an average person's neutral; values are
moved to where the robot may be sent, and the virtual Ameca is drawn. Pictures without a face are left out.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.progress import track

from tools._errors import user_errors
from tools.dataset.pair_dataset import PairDataset
from tools.evaluate.baselines import BASELINES, PICTURE, Effort, Samples, samples_of
from tools.evaluate.clip_report import reachable
from tools.evaluate.people_report import gears_in
from tools.evaluate.single_stage import load_net
from tools.evaluate.user_study import HUMAN
from tools.train.mapping_pictures import spread
from x2c_edge import packs
from x2c_edge.controls import N_CONTROLS
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.frames import Frame
from x2c_edge.robot.face import PORTRAIT, AmecaFace
from x2c_edge.runtime.build_vision import build_vision, choose, open_device
from x2c_edge.runtime.settings import load

Array = NDArray[np.float64]
TAKEN = (".png", ".jpg", ".jpeg")
FROM_LANDMARKS = ("Smile", "Coexpression")


def people(folder: Path) -> dict[str, NDArray[np.uint8]]:
    """The folder's pictures by name, BGR. NotFoundError where there is none, or one that is no picture;
    BadArgumentError where two differ in their ending alone."""
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in TAKEN) if folder.is_dir() else []
    if not files:
        raise NotFoundError(f"{folder}: no pictures; give a folder of {', '.join(TAKEN)} with one face each")
    found: dict[str, NDArray[np.uint8]] = {}
    for file in files:
        if file.stem in found:
            raise BadArgumentError(f"{file}: another picture has this name already; give it its own")
        image = cv2.imread(str(file))
        if image is None:
            raise NotFoundError(f"{file}: cannot be decoded; give a picture")
        found[file.stem] = image
    return found


def seen_by(gear: str, pack: str, pictures: dict[str, NDArray[np.uint8]]) -> dict[str, tuple[Array, Array]]:
    """Controls (30,) and landmarks (L, 2), pixels, of each picture with a face."""
    settings = load(None, {"run": {"pack": pack, "pipeline": gear, "threads": 1}})
    chosen = choose(settings)
    seeing = build_vision(settings, chosen, open_device(settings, chosen.pack), unrelated=True)
    found = {}
    for number, (name, image) in enumerate(track(pictures.items(), gear, transient=True), 1):
        sight = seeing.vision.process(Frame(number, number, image.copy(order="C")), gear)
        if sight.expression is not None and sight.landmarks is not None:
            found[name] = sight.expression.values.copy(), sight.landmarks.copy()
    return found


def from_landmarks(
    points: Array, pairs: Path, pack: str, limit: int | None, effort: Effort
) -> dict[str, Array]:
    """(N, 30) by method: what the baselines that see landmarks make of ``points`` (N, L, 2)."""
    train = PairDataset(pairs, "train")
    opened = packs.open_pack(pack)
    rows = spread(len(train), limit)
    seen = samples_of(train, rows, load_net(opened), opened.nets["single_stage"].picture)
    asked = Samples(
        np.zeros((len(points), PICTURE, PICTURE, 3), np.uint8),
        points.astype(np.float32),
        np.zeros((len(points), N_CONTROLS), np.float32),
    )
    return {name: BASELINES[name](seen, asked, effort) for name in FROM_LANDMARKS}


def write(out: Path, method: str, names: list[str], images: list[NDArray[np.uint8]]) -> None:
    """One folder of pictures. NotFoundError when it cannot be written."""
    try:
        (out / method).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotFoundError(f"{out / method}: {error.strerror}; give another --out") from None
    for name, image in zip(names, images, strict=True):
        if not cv2.imwrite(str(out / method / f"{name}.png"), image):
            raise NotFoundError(f"{out / method / name}.png: cannot be written; give another --out")


def main(
    humans: Path = typer.Argument(help="a folder of pictures with one face each"),
    out: Path = typer.Option(..., help="the study's folder: human/ and one for each method"),
    pack: str = "default",
    gear: list[str] = typer.Option([], help="only these gears of the pack; repeatable"),
    pairs: Path | None = typer.Option(None, help="also Smile and Coexpression, trained on this set"),
    limit_train: int | None = typer.Option(None, min=1, help="they learn from at most so many pairs"),
    effort: float = typer.Option(1.0, min=0.05, help="of their training; 0.5 halves the epochs"),
    keep: Path = typer.Option(Path("build/baselines"), help="what a killed training goes on from"),
    size: int = typer.Option(512, min=32, help="side of the robot's pictures"),
    seed: int = 1,
) -> None:
    """Read the pictures by every method and draw the robot."""
    torch.set_num_threads(1)
    with user_errors():
        if out.is_dir() and any(out.iterdir()):
            raise BadArgumentError(f"{out}: not empty, two studies' pictures would mix; give another --out")
        pictures = people(humans)
        gears = gears_in(packs.open_pack(pack), gear)
        seen = {name: seen_by(name, pack, pictures) for name in gears}
        names = [name for name in pictures if all(name in found for found in seen.values())]
        for name in sorted(set(pictures) - set(names)):
            typer.echo(f"{name}: no face is found in it; left out", err=True)
        if not names:
            raise NotFoundError(f"{humans}: no face in any picture; give pictures with one face each")
        values = {method: np.stack([found[name][0] for name in names]) for method, found in seen.items()}
        work = Effort.of(effort, seed, keep)
        if pairs is not None:
            points = np.stack([seen[gears[-1]][name][1] for name in names])
            values |= from_landmarks(points, pairs, pack, limit_train, work)
        face = AmecaFace(size, PORTRAIT)
        write(out, HUMAN, names, [pictures[name] for name in names])
        for method, found in values.items():
            write(out, method, names, [face.render(pose).copy() for pose in reachable(found)])
        work.forget()
        typer.echo(f"{out}: {len(names)} people by {', '.join(values)}; next: user_study sheet {out}")


if __name__ == "__main__":
    typer.run(main)
