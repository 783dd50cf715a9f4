"""The nets as a GPU runs them: their types, and that a CUDA graph can hold them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from x2c_edge.nets import arch, inference_cuda
from x2c_edge.nets.face_motion import FaceMotion, FaceMotionConfig
from x2c_edge.nets.generator import Generator, GeneratorConfig
from x2c_edge.nets.look_trunk import LookTwiceConfig
from x2c_edge.nets.mapping import MappingConfig, MappingNetwork
from x2c_edge.nets.motion_extractor import MotionConfig, MotionExtractor
from x2c_edge.nets.single_stage import SingleStage, SingleStageConfig, folded
from x2c_edge.nets.stitching import KeypointMlp, KeypointMlpConfig
from x2c_edge.nets.trunks import EfficientNetConfig, ResNetConfig, VggConfig, VitConfig
from x2c_edge.nets.warping import WarpingConfig, WarpingNetwork

HALF, FLOAT = torch.float16, torch.float32
SMALL_WARPING = WarpingConfig(5, 8, 4, 3, 16, 64, 2, 32)
PLANE, FACE = (16, 16), (1, 3, 64, 64)
SMALL_LOOK = LookTwiceConfig(64, 8, (8, 8, 8, 8), (1, 1, 1, 1), 2, (8, 8), (16, 16), (16, 12), 8)
FACE_MOTION = FaceMotionConfig(64, keypoints=5, opinions=2, mirrored=True)
ROW = (1, 1 + 2 * FACE_MOTION.landmarks + 33)

# Net, part, shapes and types of its inputs, shapes and types of its outputs.
CASES: dict[str, tuple[Any, str, list[tuple[Any, torch.dtype]], list[tuple[Any, torch.dtype]]]] = {
    "tracker": (
        lambda: folded(SingleStage(SingleStageConfig(input_size=64))), "", [(FACE, FLOAT)],
        [(ROW, FLOAT)],
    ),
    "motion": (
        lambda: MotionExtractor(MotionConfig((1, 1), (16, 32), 5, 6)), "", [(FACE, HALF)], [((1, 52), FLOAT)],
    ),
    "motion, second look": (
        lambda: FaceMotion(FACE_MOTION), "", [(FACE, FLOAT), (ROW, FLOAT)], [((1, 37), FLOAT)],
    ),
    "dense motion": (
        lambda: WarpingNetwork(SMALL_WARPING), "dense motion", [((1, 24, 4, *PLANE), HALF)],
        [((1, 6, 4, *PLANE), HALF), ((1, 1, *PLANE), HALF)],
    ),
    "tail": (
        lambda: WarpingNetwork(SMALL_WARPING), "tail", [((1, 32, *PLANE), HALF), ((1, 1, *PLANE), HALF)],
        [((1, 32, *PLANE), HALF)],
    ),
    "generator": (
        lambda: Generator(GeneratorConfig(32, 32, 1, (32, 16), 16, 2)), "", [((1, 32, *PLANE), HALF)],
        [((1, 3, 128, 128), HALF)],
    ),
    "stitching": (
        lambda: KeypointMlp(KeypointMlpConfig(30, (24, 24), 17)), "", [((1, 30), FLOAT)], [((1, 17), FLOAT)],
    ),
    "mapping, resnet": (
        lambda: MappingNetwork(MappingConfig(ResNetConfig(16, (16, 32), (1, 1)), (32,))), "", [(FACE, HALF)],
        [((1, 30), FLOAT)],
    ),
    "mapping, second look": (
        lambda: MappingNetwork(MappingConfig(SMALL_LOOK, (32,))), "", [((1, 3, 64, 64), FLOAT)],
        [((1, 30), FLOAT)],
    ),
}  # fmt: skip
PUBLISHED = {"resnet": ResNetConfig(), "vgg": VggConfig(), "transformer": VitConfig(),
             "efficient": EfficientNetConfig()}  # fmt: skip
for name, trunk in PUBLISHED.items():
    CASES[f"mapping, published {name}"] = (
        lambda trunk=trunk: MappingNetwork(MappingConfig(trunk)), "", [((1, 3, 224, 224), HALF)],
        [((1, 30), FLOAT)],
    )  # fmt: skip


class Strangers(TorchDispatchMode):
    """Operations on a tensor that neither is known nor was made by one: on a GPU it was copied from the
    host, which a capture cannot hold."""

    def __init__(self, known: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.known = {id(tensor): tensor for tensor in known}  # kept, so that no other gets its id
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        leaves = tree_leaves((args, kwargs or {}))
        if any(isinstance(leaf, torch.Tensor) and id(leaf) not in self.known for leaf in leaves):
            self.found.append(str(func))
        result = func(*args, **(kwargs or {}))
        self.known |= {id(leaf): leaf for leaf in tree_leaves(result)}
        return result


def run(make: Any, part: str, inputs: list[tuple[Any, torch.dtype]]) -> tuple[Any, list[str]]:
    """On a device that only knows shapes and types."""
    with torch.device("meta"):
        module = make().eval().requires_grad_(False)
        module = arch.folded(module) if not isinstance(module, SingleStage) else module
    function = inference_cuda.function(module, part, half=True)
    given = [torch.empty(s, dtype=t, device="meta") for s, t in inputs]
    known = (*given, *module.parameters(), *module.buffers())
    with torch.inference_mode(), Strangers(known) as strangers:
        return function(*given), strangers.found


@pytest.mark.parametrize("name", CASES)
def test_types_shapes_and_nothing_from_the_host(name: str):
    make, part, inputs, outputs = CASES[name]
    results, from_host = run(make, part, inputs)
    assert [(tuple(r.shape), r.dtype) for r in results] == outputs
    assert from_host == []


def test_what_comes_from_the_host_is_found():
    x = torch.empty((4, 5), device="meta")
    for work in (lambda: x[:, [1, 2]], lambda: x + torch.tensor([1.0], device="meta")):
        with Strangers([x]) as strangers:
            work()
        assert strangers.found
    with Strangers([x]) as strangers:
        _ = (x[1:] + x[0]).relu() * 2
    assert not strangers.found


def test_response_norms_of_large_maps_stay_finite():
    """A sum of squares over a map overflows float16."""
    make = CASES["motion"][0]
    net = make().eval().requires_grad_(False)
    torch.manual_seed(0)
    for name, weight in net.named_parameters():
        if name.endswith((".gamma", ".beta")):
            torch.nn.init.normal_(weight, std=0.2)
    image = torch.rand(FACE)
    with torch.inference_mode():
        expected = torch.cat(tuple(net(image)), dim=1)
        (heads,) = inference_cuda.function(net, "", half=True)(image.half())
    torch.testing.assert_close(heads, expected, atol=5e-3, rtol=0)


@pytest.mark.parametrize(
    ("kind", "part"), [("motion", "tail"), ("tail", ""), ("tail", "head"), ("generator", "tail")]
)
def test_parts_that_a_net_does_not_have(kind: str, part: str):
    with pytest.raises(ValueError, match="has no part"):
        inference_cuda.function(CASES[kind][0](), part, half=True)
