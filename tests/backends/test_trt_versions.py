"""The version table against the names that each release really has (tests/data/tensorrt_names.json)."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from x2c_edge.backends import trt_versions
from x2c_edge.errors import BadArgumentError, NotFoundError

RELEASES = ("8.6.1", "10.0.1", "10.3.0", "10.7.0", "10.13.3", "10.15.1", "10.16.1", "11.0.0", "11.2.1",
            "11.4.0", "rtx-1.7.1")  # fmt: skip
SOURCE = Path(__file__).parents[2] / "x2c_edge"
NAMES = Path(__file__).parents[1] / "data" / "tensorrt_names.json"


@pytest.fixture(scope="module")
def api() -> dict[str, Any]:
    return json.loads(NAMES.read_text())


def module(api: dict[str, Any], release: str) -> SimpleNamespace:
    """The enums of one release, as the module holds them; nothing that could be called."""
    enums = {}
    for enum, members in api["enums"].items():
        values = {name: v.get(release, v.get("*")) for name, v in members.items()}
        known = {name: value for name, value in values.items() if value is not None}
        if known:
            enums[enum] = SimpleNamespace(**known)
    return SimpleNamespace(__version__=release.removeprefix("rtx-"), **enums)


@pytest.mark.parametrize("release", RELEASES)
def test_network_flags(api, release: str):
    flags = trt_versions.network_flags(module(api, release))
    explicit_batch, strongly_typed_10 = 1 << 0, 1 << 1
    if release.startswith("8"):
        assert flags == explicit_batch
    elif release.startswith("10"):
        assert flags == explicit_batch | strongly_typed_10
    else:
        assert flags == 1  # STRONGLY_TYPED is 0 now: ignored, every network is


class Config:
    def __init__(self) -> None:
        self.set: list[int] = []
        self.cleared: list[int] = []

    def set_flag(self, flag: int) -> None:
        self.set.append(flag)

    def clear_flag(self, flag: int) -> None:
        self.cleared.append(flag)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_only_a_weakly_typed_builder_is_given_precision_flags(api, release: str, precision: str):
    trt, config = module(api, release), Config()
    trt.LayerType = SimpleNamespace(NORMALIZATION=1, SOFTMAX=2, REDUCE=3, GRID_SAMPLE=4, CONVOLUTION=5)
    trt.float32 = "float32"
    layers = [SimpleNamespace(type=kind, precision=None) for kind in (1, 5, 3)]
    network = SimpleNamespace(num_layers=3, get_layer=lambda i: layers[i])
    if release == "8.6.1" and precision == "int8":
        with pytest.raises(BadArgumentError, match=r"int8 needs TensorRT 10 or newer, this is 8\.6\.1"):
            trt_versions.require_precision(trt, precision)
        return
    trt_versions.require_precision(trt, precision)
    trt_versions.set_precision(trt, config, network, precision)
    assert config.cleared == [trt.BuilderFlag.TF32]
    if release == "8.6.1" and precision == "fp16":
        assert config.set == [trt.BuilderFlag.FP16, trt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS]
        assert [layer.precision for layer in layers] == ["float32", None, "float32"]
    else:
        assert config.set == []


@pytest.mark.parametrize("release", RELEASES)
def test_instance_norm_is_native(api, release: str):
    trt, flags = module(api, release), []
    trt_versions.set_parser_flags(trt, SimpleNamespace(set_flag=flags.append))
    assert flags == ([0] if release == "8.6.1" else [])


def test_a_parser_without_flags(api):
    """8.6.0 has none."""
    trt = module(api, "8.6.1")
    del trt.OnnxParserFlag
    trt_versions.set_parser_flags(trt, SimpleNamespace())


# Variable names of the code, and the class that each stands for.
HOLDERS = {
    "builder": "Builder", "network": "INetworkDefinition", "parser": "OnnxParser", "config": "IBuilderConfig",
    "engine": "ICudaEngine", "context": "IExecutionContext", "_runtime": "Runtime",
}  # fmt: skip
FILES = ("backends/trt_versions.py", "backends/tensorrt_backend.py", "convert/engine_build.py")
# progress_monitor: asked for with reports_progress. The others: test_a_context_in_memory_of_ours.
GUARDED = {
    "progress_monitor", "create_execution_context_without_device_memory", "device_memory_size",
    "device_memory_size_v2", "set_device_memory",
}  # fmt: skip


def members_used() -> set[tuple[str, str]]:
    used = set()
    for file in FILES:
        for node in ast.walk(ast.parse((SOURCE / file).read_text())):
            if not isinstance(node, ast.Attribute):
                continue
            owner = node.value
            name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
            if name in HOLDERS and (name != "context" or file.startswith("backends")):
                used.add((HOLDERS[name], node.attr))
    return used


@pytest.mark.parametrize("release", RELEASES)
def test_every_member_that_the_code_uses_exists(api, release: str):
    used = members_used()
    assert len(used) > 20
    assert {kind for kind, _ in used} == set(HOLDERS.values())
    for kind, member in sorted(used):
        has = api["members"][kind].get(member)
        assert has is not None, f"{kind}.{member}: look up which releases have it, and add it to {NAMES.name}"
        if member not in GUARDED:
            assert has == "*" or release in has, f"{kind}.{member} is not in {release}"


@pytest.mark.parametrize("release", RELEASES)
def test_a_context_in_memory_of_ours(api, release: str):
    """With the members that the release has, and no other."""
    trt, engine, context = module(api, release), SimpleNamespace(), SimpleNamespace()
    has = {
        member
        for kind in ("ICudaEngine", "IExecutionContext")
        for member, releases in api["members"][kind].items()
        if releases == "*" or release in releases
    }
    asked = []
    if "device_memory_size" in has:
        engine.device_memory_size = 512
    if "device_memory_size_v2" in has:
        engine.device_memory_size_v2 = 512
    if "create_execution_context_without_device_memory" in has:
        engine.create_execution_context_without_device_memory = lambda: context
    if "set_device_memory" in has:
        context.set_device_memory = lambda address, size: asked.append((address, size))
    engine.create_execution_context = lambda strategy: (asked.append(strategy), context)[1]
    assert trt_versions.scratch_bytes(engine) == 512
    assert trt_versions.context_in(trt, engine, 4096, 1024) is context
    strategy = [] if release == "8.6.1" else [trt.ExecutionContextAllocationStrategy.USER_MANAGED]
    if release in ("8.6.1", "10.0.1"):
        assert (asked, context.device_memory) == (strategy, 4096)
    else:
        assert asked == [*strategy, (4096, 1024)]


def test_release():
    assert trt_versions.release(SimpleNamespace(__version__="10.3.0.26")) == (10, 3)
    assert trt_versions.release(SimpleNamespace(__version__="8.6.1")) == (8, 6)


def test_types():
    assert trt_versions.numpy_dtype(SimpleNamespace(name="HALF")) == np.float16
    assert trt_versions.numpy_dtype("DataType.FLOAT") == np.float32
    with pytest.raises(NotFoundError, match="type BF16"):
        trt_versions.numpy_dtype(SimpleNamespace(name="BF16"))


def test_the_tensors_of_an_engine(api):
    trt = module(api, "10.3.0")
    rows = {"face": (1, (1, 3, 8, 8), "HALF"), "heads": (2, (1, 7), "FLOAT")}
    engine = SimpleNamespace(
        num_io_tensors=2,
        get_tensor_name=lambda i: list(rows)[i],
        get_tensor_mode=lambda name: rows[name][0],
        get_tensor_shape=lambda name: rows[name][1],
        get_tensor_dtype=lambda name: SimpleNamespace(name=rows[name][2]),
    )
    assert trt_versions.engine_tensors(trt, engine) == {
        "face": (True, (1, 3, 8, 8), np.dtype(np.float16)),
        "heads": (False, (1, 7), np.dtype(np.float32)),
    }


def test_without_tensorrt(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)
    with pytest.raises(NotFoundError, match="TensorRT is not installed for this Python"):
        trt_versions.tensorrt()


def test_an_old_tensorrt(monkeypatch: pytest.MonkeyPatch):
    old = SimpleNamespace(__version__="8.5.2.2")
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", old)
    with pytest.raises(NotFoundError, match=r"TensorRT 8\.5\.2\.2 is older than 8\.6"):
        trt_versions.tensorrt()
