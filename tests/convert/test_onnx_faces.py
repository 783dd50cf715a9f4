"""The shipped single-stage net on real faces: exported against PyTorch, in control units."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from x2c_edge import packs
from x2c_edge.controls import N_CONTROLS
from x2c_edge.convert.onnx_export import exported
from x2c_edge.nets import engine_nets
from x2c_edge.packs import NetSpec

FACE = 96  # pixels of a stored crop's landmark box, which lies in its middle (shared/data/faces/README.md)
FACES, CALIBRATION = 24, 10

# Seen with the default pack (while in training) on 80 faces: 1.1e-6, 4.0e-4, 0.053 (mean 0.005).
LIMITS = {"fp32": 1e-4, "fp16": 2e-3, "int8": 0.1}


def faces(shared: Path, net: NetSpec, count: int) -> list[dict[str, np.ndarray]]:
    """Real faces of the test split as the net sees them."""
    data = np.load(shared / "data" / "faces" / "crops_test.npz")
    offset, jpeg = data["offset"], data["jpeg"]
    size, picture = net.picture.size, net.picture
    zoom = FACE * net.options["crop_scale"] / size
    corner = FACE - FACE * net.options["crop_scale"] / 2 + (zoom - 1) / 2
    affine = np.array([[zoom, 0.0, corner], [0.0, zoom, corner]])
    samples = []
    for i in np.linspace(0, len(offset) - 2, count).astype(int):
        crop = cv2.imdecode(jpeg[offset[i] : offset[i + 1]], cv2.IMREAD_COLOR)
        crop = cv2.warpAffine(crop, affine, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        pixels = crop[..., ::-1] if picture.order == "RGB" else crop
        planes = ((pixels / 255 - picture.mean) / picture.std).transpose(2, 0, 1)
        samples.append({"face": np.ascontiguousarray(planes[None], np.float32)})
    return samples


@pytest.fixture(scope="module")
def net(real_pack: str) -> NetSpec:
    return packs.open_pack(real_pack).nets["single_stage"]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_controls_on_real_faces(shared, net, run_torch, run_onnx, record_property, precision: str):
    module = engine_nets.opened(net.arch, net.config, net.file)
    (engine,) = engine_nets.engine_nets(module, net.picture.size, ())
    clip = faces(shared, net, FACES + CALIBRATION)
    data = exported(engine, precision, clip[FACES:])
    errors = np.stack(
        [
            np.abs(run_onnx(data, face)["row"] - run_torch(engine, face)["row"])[0, -N_CONTROLS:]
            for face in clip[:FACES]
        ]
    )
    record_property("largest control error", float(errors.max()))
    record_property("mean control error", float(errors.mean()))
    assert errors.max() <= LIMITS[precision]
