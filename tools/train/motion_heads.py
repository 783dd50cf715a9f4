"""M's last layer, set anew without training: in the mirror, and as loud as people's faces ask for.

    python -m tools.train.motion_heads --pack default --out build/motion
    x2c-edge packs replace-net default motion build/motion
    python -m tools.train.measure_people --pack default

M and the tracker say together what a face does (``nets.face_motion``). When M looks at the face's mirror
image they are wrong in more different places, so their mean is better, at no cost. And a net that regresses
says rare things too quietly, so that they drown in what the robot's picture and the mapping network add: the
least-squares slope of the labels on what the two say makes that good, both sides of the face alike; jaw yaw,
which the picture hardly shows, is said twice as loud.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from tools._errors import user_errors
from tools.dataset import face_dataset as data
from tools.dataset.robot_motion import FACE, code, code_of, robot_motion
from tools.evaluate.two_stage_report import measured
from tools.train.one_net import write_with
from tools.train.pack_place import require_place
from x2c_edge import packs
from x2c_edge.backends.open import open_backend
from x2c_edge.controls import N_CONTROLS, NAMES, NEUTRAL, TWIN, mirrored
from x2c_edge.errors import NotFoundError
from x2c_edge.nets import engine_nets
from x2c_edge.nets.face_motion import FaceMotion
from x2c_edge.pipelines.two_stage import TwoStagePipeline

Array = NDArray[np.float64]

LEAST_GAIN: Final = 1.0
MOST_GAIN: Final = 1.5  # times EMPHASIS
# A jaw that goes sideways as people do it is an eighth to a fifth of a pixel in the robot's picture, and
# of people whom M has not learnt from it says a sixth of it. Twice as loud is on the val split heard better
# (two-stage r 0.39 to 0.45, direct 0.37 to 0.45).
EMPHASIS: Final = np.array([2.0 if name == "Jaw Yaw" else 1.0 for name in NAMES])
MIRROR: Final = mirrored(NEUTRAL + np.eye(N_CONTROLS)) - NEUTRAL  # (30, 30): a code of controls @ MIRROR


def read_as(matrix: Array) -> Array:
    """(3K, 3K): changes ``exp`` as ``matrix`` (30, 30) changes the code of the controls that it means."""
    expression = robot_motion().expression
    units = np.eye(expression[0].size).reshape(-1, *expression.shape[1:])
    return np.asarray(code_of(units) @ matrix @ expression.reshape(N_CONTROLS, -1))


def in_the_mirror(net: FaceMotion) -> FaceMotion:
    """The same M for the mirror image of what it has looked at so far."""
    turned = copy.deepcopy(net)
    turned.config = replace(net.config, mirrored=not net.config.mirrored)
    _change_own(turned, read_as(MIRROR))
    with torch.no_grad():
        sign = torch.tensor([1.0, -1.0, -1.0])  # pitch, yaw, roll
        turned.angles.weight.mul_(sign[:, None])
        turned.angles.bias.mul_(sign)
    return turned


def louder(net: FaceMotion, gain: Array) -> FaceMotion:
    """M that says ``gain`` (30,) times as much of each control, the tracker's opinion too."""
    out = copy.deepcopy(net)
    _change_own(out, read_as(np.diag(gain)))
    with torch.no_grad():
        out.meaning.mul_(torch.tensor(gain, dtype=torch.float32)[:, None])
    return out


@torch.no_grad()
def _change_own(net: FaceMotion, matrix: Array) -> None:
    rows = torch.tensor(matrix.T, dtype=torch.float64)
    net.exp.weight.copy_(rows @ net.exp.weight.double())
    net.exp.bias.copy_(rows @ net.exp.bias.double())


def gains(said: Array, labels: Array) -> Array:
    """(30,): least-squares slopes of the labels' code (N, 30) on what is said of it, of both sides together,
    times EMPHASIS.

    Never below LEAST_GAIN: on people that it has learnt from a net is not too loud.
    """
    x, y = said - said.mean(0), labels - labels.mean(0)
    together, own = (x * y).sum(0), (x * x).sum(0)
    slope = EMPHASIS * (together + together[TWIN]) / np.maximum(own + own[TWIN], 1e-9)
    return np.where(
        np.isin(np.arange(N_CONTROLS), FACE), np.clip(slope, LEAST_GAIN, MOST_GAIN * EMPHASIS), 1.0
    )


def said_by(pack: packs.Pack, faces: data.FaceSet, threads: int) -> Array:
    """(N, 30): the code of what M and the tracker say together."""
    pipeline = TwoStagePipeline(pack, open_backend("torch", threads))
    pipeline.refer_to(None)
    exp = []
    for m in measured(pipeline, faces, range(len(faces.images))):
        assert m.motion is not None
        exp.append(m.motion.exp)
    return code_of(exp)


def main(
    pack: str = typer.Option("default", help="the pack whose motion extractor it is"),
    out: Path = typer.Option(Path("build/motion"), help="the pack folder to write; it holds the new net"),
    threads: int = typer.Option(1, help="CPU threads"),
    folder: Path = typer.Option(data.default_folder(), help="the real-face set"),
) -> None:
    """Turn M to the mirror if it is not, measure the gains on the training people, write both."""
    with user_errors():
        require_place(out)
        opened = packs.open_pack(pack)
        spec = opened.nets["motion"]
        if not spec.hears_tracker:
            raise NotFoundError(f"{spec.file}: is no motion extractor that hears the tracker; train it first")
        net = engine_nets.opened(spec.arch, spec.config, spec.file)
        assert isinstance(net, FaceMotion)
        net = net if net.config.mirrored else in_the_mirror(net)
        command = "python -m tools.train.motion_heads"

        def written(made: FaceMotion) -> packs.Pack:
            return write_with(
                out,
                opened,
                "motion",
                "face_motion",
                made,
                command,
                picture=spec.picture,
                options=spec.options,
            )

        train = data.load("train", folder)
        gain = gains(said_by(written(net), train, threads), code(data.label_controls(train)))
        written(louder(net, gain))
        names = {name: round(float(g), 2) for name, g in zip(NAMES, gain, strict=True) if g > 1.02}
        print(f"louder: {names}")


if __name__ == "__main__":
    typer.run(main)
