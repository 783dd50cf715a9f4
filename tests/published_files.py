"""Files with the published layout, at sizes that a test can afford."""

from __future__ import annotations

import sys
import types
from collections import OrderedDict
from dataclasses import fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from tools.train.one_net import write_with
from x2c_edge.convert.checkpoints import import_pack
from x2c_edge.nets import arch, engine_nets
from x2c_edge.nets.appearance import AppearanceConfig
from x2c_edge.nets.direct import DirectConfig, DirectNetwork
from x2c_edge.nets.generator import GeneratorConfig
from x2c_edge.nets.mapping import MappingConfig
from x2c_edge.nets.motion_extractor import MotionConfig
from x2c_edge.nets.published import Sizes
from x2c_edge.nets.stitching import EYE, LIP, KeypointMlp
from x2c_edge.nets.trunks import ResNetConfig
from x2c_edge.nets.warping import DenseMotionConfig, WarpingConfig
from x2c_edge.packs import Pack

PICTURE = 64
SMALL = Sizes(
    appearance=AppearanceConfig(base=8, cap=16, downs=2, channels=8, depth=4, residual_blocks=1),
    motion=MotionConfig(depths=(1, 1, 1, 1), widths=(8, 16, 16, 32)),
    warping=WarpingConfig(
        channels=8, depth=4, compressed=2, base=8, cap=32, levels=2, out_channels=16
    ),
    generator=GeneratorConfig(in_channels=16, width=24, middle_blocks=1, up_widths=(16, 8), hidden=8),
    mapping=(MappingConfig(ResNetConfig(8, (8, 8, 16, 16), (1, 1, 1, 1)), hidden=(16, 16)),),
)  # fmt: skip
FILES = {
    "appearance": "base_models/appearance_feature_extractor.pth",
    "motion": "base_models/motion_extractor.pth",
    "warping": "base_models/warping_module.pth",
    "generator": "base_models/spade_generator.pth",
    "stitching": "retargeting_models/stitching_retargeting_module.pth",
    "mapping": "x2control.pth",
}


class TrainingOptions:
    """Stands for the third-party configuration object in the mapping checkpoint."""

    __module__ = "some_config_library.dictconfig"

    def __init__(self) -> None:
        self._content = {"lr": 1e-3, "betas": [0.9, 0.95], "name": "resnet", "where": None}


def foreign_library(name: str = "some_config_library.dictconfig") -> dict[str, types.ModuleType]:
    """Entries for sys.modules with which ``TrainingOptions`` can be pickled (and not be found later)."""
    module = types.ModuleType(name)
    module.TrainingOptions = TrainingOptions
    return {name.split(".")[0]: types.ModuleType(name.split(".")[0]), name: module}


def random_states(sizes: Sizes = SMALL, seed: int = 1) -> dict[str, dict[str, torch.Tensor]]:
    """Weights of every part, flat, with the published keys; batch norms are not trivial."""
    torch.manual_seed(seed)
    states = {}
    for kind in FILES:
        config = sizes.mapping[0] if kind == "mapping" else getattr(sizes, kind)
        net = arch.ARCHS[kind].net(config)
        for name, value in net.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.8, 1.2)
            elif name.endswith(("running_mean", "gamma", "beta")):
                value.normal_(std=0.1)
            elif name.endswith("fc_scale.bias"):
                value.fill_(1.2)
            elif ".fc_exp." in name:
                value.mul_(0.05)
        states[kind] = net.state_dict()
    return states


def write(folder: Path, states: dict[str, dict[str, torch.Tensor]]) -> Path:
    """Write all files as the publishers nest and prefix them."""
    for kind, state in states.items():
        path = folder / FILES[kind]
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, kind, state)
    return folder


def save(path: Path, kind: str, state: dict[str, torch.Tensor]) -> None:
    content: Any = OrderedDict(state)
    if kind == "stitching":
        others = {"retarget_mouth": KeypointMlp(LIP), "retarget_eye": KeypointMlp(EYE)}
        content = {"retarget_shoulder": state} | {k: net.state_dict() for k, net in others.items()}
        content = {
            name: OrderedDict((f"module.{k}", v) for k, v in part.items()) for name, part in content.items()
        }
    elif kind == "mapping":
        content = {"opt": TrainingOptions(), "model": state, "optimizer": {"state": {}, "param_groups": []}}
    torch.save(content, path)


def robot_image(path: Path, size: int = 96) -> Path:
    """A picture with some structure."""
    y, x = np.mgrid[:size, :size] / size
    picture = np.stack([np.sin(9 * x), np.cos(7 * y), x * y], axis=2) * 100 + 128
    assert cv2.imwrite(str(path), picture.clip(0, 255).astype(np.uint8))
    return path


def two_stage_pack(folder: Path, states: dict[str, dict[str, torch.Tensor]], tracker: Path) -> Path:
    """The folder of a small two-stage pack, imported from files in ``folder``."""
    with pytest.MonkeyPatch.context() as patch:
        for name, module in foreign_library().items():
            patch.setitem(sys.modules, name, module)
        weights = write(folder / "weights", states)
    image = robot_image(folder / "robot.png")
    pack = import_pack(
        [weights], image, "robot", folder, tracker=str(tracker), sizes=SMALL, picture_size=PICTURE
    )
    return pack.path


def with_direct(pack: Pack, seed: int = 2) -> Pack:
    """A copy beside a small two-stage pack, with a random net for the direct gear."""
    torch.manual_seed(seed)
    sizes = {f.name: pack.nets["warping"].config[f.name] for f in fields(DenseMotionConfig)}
    side = engine_nets.volume_shape(pack.files["source"].file)[-1]
    net = DirectNetwork(DirectConfig(**(sizes | {"last": 8}), side=side, widths=(16, 16), hidden=16)).eval()
    out = pack.path.with_name(f"{pack.path.name}-direct")
    return write_with(out, pack, "direct", "direct", net, "a test", options={"angle_unit": "radian"})
