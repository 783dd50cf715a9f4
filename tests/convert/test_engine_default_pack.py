"""Every net of the default pack becomes an engine, in every precision (TensorRT-RTX; nothing runs)."""

from __future__ import annotations

import numpy as np
import pytest

from x2c_edge import packs
from x2c_edge.convert import engine_set
from x2c_edge.convert.engine_build import EngineBuilder
from x2c_edge.convert.onnx_export import exported

trt = pytest.importorskip("tensorrt_rtx")


@pytest.mark.filterwarnings("ignore:.*iming cache operations are no-ops:DeprecationWarning")
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_default_pack(real_pack: str, precision: str):
    builder = EngineBuilder(trt, 1 << 30)
    nets = engine_set.nets_of(packs.open_pack(real_pack))
    assert nets
    rng = np.random.default_rng(0)
    for net in nets:
        sample = {port.name: rng.standard_normal(port.shape).astype(np.float32) for port in net.inputs}
        assert builder.build(net, exported(net, precision, [sample]), precision)
