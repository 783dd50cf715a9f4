"""Nets that look twice: float32 pixels in, whatever the precision, as the single-stage net."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from x2c_edge.convert.onnx_export import exported, port_dtypes
from x2c_edge.nets import arch
from x2c_edge.nets.engine_nets import EngineNet, engine_nets
from x2c_edge.nets.face_motion import FaceMotion, FaceMotionConfig
from x2c_edge.nets.look_trunk import LookTwiceConfig
from x2c_edge.nets.mapping import MappingConfig, MappingNetwork

FACE_MOTION = FaceMotionConfig(
    64, 16, (16, 32), (0, 1), 32, patch_widths=(16, 16), patch_hidden=16, keypoints=5, opinions=2,
    mirrored=True,
)  # fmt: skip
NETS = {
    "motion": lambda: FaceMotion(FACE_MOTION),
    "mapping": lambda: MappingNetwork(
        MappingConfig(
            LookTwiceConfig(64, 16, (16, 16, 32, 32), (1, 1, 1, 1), 2, (16, 16), (16, 16), (16, 12), 8), (32,)
        )
    ),
}


@pytest.fixture(scope="module", params=NETS)
def net(request: pytest.FixtureRequest) -> EngineNet:
    torch.manual_seed(2)
    made = NETS[request.param]().eval().requires_grad_(False)
    for name, weight in made.named_parameters():
        if name.endswith((".gamma", ".beta")):
            torch.nn.init.normal_(weight, std=0.2)
    (found,) = engine_nets(arch.folded(made), 64, ())
    return found


@pytest.mark.parametrize(("precision", "allowed"), [("fp32", 1e-5), ("fp16", 5e-3), ("int8", 0.1)])
def test_it_agrees_with_pytorch(net, run_torch, run_onnx, precision: str, allowed: float):
    (out,) = net.outputs
    rng = np.random.default_rng(0)
    given = {port.name: rng.random(port.shape, dtype=np.float32) for port in net.inputs}
    file = exported(net, precision, [given])
    assert set(port_dtypes(net, precision).values()) == {np.dtype(np.float32)}
    model = onnx.load_from_string(file)
    assert {v.type.tensor_type.elem_type for v in model.graph.input} == {onnx.TensorProto.FLOAT}
    expected = run_torch(net, given)[out.name]
    np.testing.assert_allclose(run_onnx(file, given)[out.name], expected, atol=allowed)
    if precision != "fp32":
        convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
        assert len(convolutions) > 5
        assert any(node.op_type == "GridSample" for node in model.graph.node)
