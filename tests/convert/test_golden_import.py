"""Recipe weights at the published sizes, in the published layout, become a pack with golden controls."""

from __future__ import annotations

import importlib.util
import json
import sys

import cv2
import numpy as np
import pytest
import torch

from tests import published_files as files
from x2c_edge import _kernels, packs
from x2c_edge.backends.open import open_backend
from x2c_edge.convert.checkpoints import import_pack
from x2c_edge.nets import published
from x2c_edge.pipelines.motion import FaceMotion
from x2c_edge.pipelines.reference import Reference
from x2c_edge.pipelines.two_stage import TwoStagePipeline

NAMES = {
    "appearance": "F", "motion": "M", "warping": "W", "generator": "G", "stitching": "stitching",
    "mapping": "mapping_resnet18",
}  # fmt: skip


@pytest.fixture(scope="module")
def recipe(shared):
    spec = importlib.util.spec_from_file_location("golden_weights", shared / "golden/weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def weights(shared, recipe, tmp_path_factory):
    """The six files, and the source picture."""
    folder = tmp_path_factory.mktemp("published")
    keys = json.loads((shared / "specs/state_dict_keys.json").read_text())
    with pytest.MonkeyPatch.context() as patch:
        for name, module in files.foreign_library().items():
            patch.setitem(sys.modules, name, module)
        for kind, name in NAMES.items():
            state = {k: torch.from_numpy(v) for k, v in recipe.state_dict(name, keys[name]).items()}
            files.write(folder, {kind: state})
    with np.load(shared / "golden/inputs.npz") as data:
        cv2.imwrite(str(folder / "robot.png"), np.ascontiguousarray(data["source"][..., ::-1]))
        return folder, data["driving"]


@pytest.mark.slow
@pytest.mark.parametrize("mapping_input", ["x2c", "vividface"])
def test_the_golden_controls(shared, weights, small_pack, tmp_path, mapping_input):
    folder, driving = weights
    tolerances = json.loads((shared / "golden/tolerances.json").read_text())
    pack = import_pack(
        [folder], folder / "robot.png", "golden", tmp_path,
        tracker=str(small_pack), mapping_input=mapping_input,
    )  # fmt: skip
    assert packs.verify(pack) == []
    with np.load(shared / "golden/end_to_end.npz") as data:
        golden = dict(data)
    pipeline = TwoStagePipeline(pack, open_backend("torch", 1))
    route = "controls_float_area" if mapping_input == "x2c" else "controls_float_rgb_bilinear"
    for i, face in enumerate(driving if mapping_input == "x2c" else driving[:2]):
        # The golden faces are 256x256 already: they take the place of the crop step.
        _kernels.crop_normalize(face, np.eye(2, 3), pipeline._face[0], format="RGB", order="RGB")
        start, stop = pipeline.plan.names.index("motion"), pipeline._after_motion
        pipeline.plan.run(start, stop)
        if i == 0:
            motion = FaceMotion.from_row(pipeline._motion_row)
            pipeline.refer_to(Reference(np.zeros(30), np.eye(3), motion))
            pipeline.plan.run(start, stop)
        pipeline.plan.run(stop)
        difference = np.abs(pipeline._raw[0] - golden[route][i]).max()
        assert difference <= tolerances[f"end_to_end/{route}"]["atol"]
        points = np.abs(pipeline.kp_driving - golden["x_driving"][i]).max()
        assert points <= tolerances["end_to_end/x_driving"]["atol"]


def test_each_published_file_is_recognised(weights):
    """What is cheap at the published sizes: telling apart, strict loading, folding the small nets."""
    folder, _ = weights
    for kind in NAMES:
        part = published.read_part(folder / files.FILES[kind], published.Sizes())
        assert part.kind == kind
        if kind in ("stitching", "mapping"):
            assert all(v.dtype == np.float16 for v in published.stored(part.net, half=True).values())
