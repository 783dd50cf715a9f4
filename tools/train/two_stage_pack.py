"""Trained nets to the default two-stage pack: float16 weights, the robot's picture and features, a clip."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tools.dataset.face_dataset import face_input
from tools.dataset.robot_motion import robot_motion, row_rotation
from tools.evaluate.animate_portrait import animate, astronaut, measure, write_video
from tools.train import motion as train_motion
from tools.train.mapping_training import Trained
from tools.train.pack_place import pack_beside
from tools.train.transfer import SIZE, Transfer, picture_tensor, source_keypoints, source_picture
from x2c_edge import packs
from x2c_edge.backends.open import open_backend
from x2c_edge.convert.checkpoints import saved, saved_net
from x2c_edge.convert.pack_graphs import add_graphs
from x2c_edge.nets import arch, published
from x2c_edge.nets.face_motion import FaceMotion
from x2c_edge.nets.stitching import KeypointMlp
from x2c_edge.pipelines.single_stage import SingleStagePipeline

CLIP_SIZE, CLIP_FPS, CLIP_SECONDS = 256, 8.0, 10.0


@dataclass(frozen=True)
class Nets:
    """Everything that was trained; ``tracker`` is a pack with a single-stage net."""

    tracker: packs.Pack
    motion: FaceMotion
    stitching: KeypointMlp
    transfer: Transfer
    mapping: Trained


def write_pack(out: Path, nets: Nets, trained_by: str, accuracy: Mapping[str, Any]) -> packs.Pack:
    """Write the pack into the folder ``out`` (``pack_place``)."""
    with pack_beside(out) as work:
        _fill(work, out.name, nets, trained_by, accuracy)
    return packs.open_pack(str(out.resolve()))


def _fill(work: Path, name: str, nets: Nets, trained_by: str, accuracy: Mapping[str, Any]) -> None:
    face = face_input(SIZE)
    crop = {"crop_scale": train_motion.CROP_SCALE, "crop_shift": train_motion.CROP_SHIFT}
    specs = {
        "motion": _net(work, "face_motion", nets.motion, face, crop),
        "stitching": _net(work, "stitching", nets.stitching),
        "warping": _net(work, "warping", nets.transfer.warping),
        "generator": _net(work, "generator", nets.transfer.generator),
        "mapping": _net(work, "mapping", nets.mapping.net, nets.mapping.picture, {"angle_unit": "radian"}),
    }
    tracker = nets.tracker.nets["single_stage"]
    file = work / "single_stage.safetensors"
    shutil.copyfile(tracker.file, file)
    specs["single_stage"] = replace(tracker, file=file)
    source = saved(work / "source.safetensors", source_features(nets.transfer))
    picture = work / "neutral.png"
    cv2.imwrite(str(picture), source_picture())
    clip = work / "clip.mp4"
    write_clip(clip, nets.tracker)
    pack = packs.Pack(
        name=name,
        path=work,
        pipeline="two-stage",
        description="X2CNet on the virtual Ameca, and its gears without a picture",
        licence="weights: same as x2c-edge; trained on real faces and our renderings, see docs/training.md",
        trained_by=trained_by,
        nets=specs,
        accuracy=dict(accuracy),
        digest="",
        files={
            "source": packs.PackFile(source, packs.sha256_of(source)),
            "robot_image": packs.PackFile(picture, packs.sha256_of(picture)),
            "clip": packs.PackFile(clip, packs.sha256_of(clip)),
        },
    )
    packs.write_manifest(pack)
    add_graphs(packs.read_manifest(work))
    for path in work.iterdir():
        path.chmod(0o644)


def write_clip(path: Path, tracker: packs.Pack) -> None:
    """What ``build-engines`` compares and calibrates with: the animated astronaut, small."""
    picture = cv2.resize(astronaut(), (CLIP_SIZE, CLIP_SIZE), interpolation=cv2.INTER_AREA)
    rest = measure(picture, SingleStagePipeline(tracker, open_backend("torch", 1)))
    write_video(path, animate(picture, rest.landmarks, CLIP_FPS, CLIP_SECONDS), CLIP_FPS)


def source_features(transfer: Transfer) -> dict[str, NDArray[Any]]:
    """What ``published.source_features`` gives, with the robot's motion known instead of measured."""
    motion = robot_motion()
    with torch.inference_mode():
        feature = arch.folded(transfer.appearance)(picture_tensor(source_picture()[None]))
        compressed = arch.folded(transfer.warping).compress(feature)
    arrays = {
        "feature": feature.contiguous().numpy(),
        "compressed": compressed.contiguous().numpy(),
        "x": source_keypoints().numpy(),
        "kp": motion.kp[None],
        "exp": np.zeros_like(motion.kp)[None],
        "rotation": row_rotation(np.zeros(3))[None],
        "t": motion.t[None],
        "scale": np.ones((1, 1)),
    }
    return {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in arrays.items()}


def _net(
    folder: Path,
    kind: str,
    net: nn.Module,
    picture: packs.NetInput | None = None,
    options: dict[str, Any] | None = None,
) -> packs.NetSpec:
    return saved_net(folder, kind, published.stored(net, half=True), net.config, picture, options)
