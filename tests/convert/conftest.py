"""Small nets of every kind, packs made of them, and ONNX Runtime as the backend that runs exported nets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from x2c_edge import packs
from x2c_edge.backends.torch_backend import TorchBackend
from x2c_edge.convert.onnx_export import exported
from x2c_edge.convert.trial import Trial, session
from x2c_edge.nets import arch, engine_nets, published, single_stage
from x2c_edge.nets.appearance import AppearanceConfig, AppearanceExtractor
from x2c_edge.nets.engine_nets import EngineNet
from x2c_edge.nets.generator import Generator, GeneratorConfig
from x2c_edge.nets.mapping import MappingConfig, MappingNetwork
from x2c_edge.nets.motion_extractor import MotionConfig, MotionExtractor
from x2c_edge.nets.single_stage import SingleStage, SingleStageConfig
from x2c_edge.nets.stitching import KeypointMlp, KeypointMlpConfig
from x2c_edge.nets.trunks import ResNetConfig
from x2c_edge.nets.warping import WarpingConfig, WarpingNetwork
from x2c_edge.packs import NetInput, NetSpec, Pack, PackFile

PICTURE, POINTS = 64, 5
VOLUME = (1, 8, 4, 16, 16)


def small_nets() -> dict[str, torch.nn.Module]:
    """By arch, norms unfolded, with weights that are not all alike."""
    torch.manual_seed(3)
    nets = {
        "motion": MotionExtractor(MotionConfig((1, 1), (16, 32), POINTS, 6)),
        "warping": WarpingNetwork(WarpingConfig(POINTS, 8, 4, 3, 16, 64, 2, 32)),
        "generator": Generator(GeneratorConfig(32, 32, 1, (32, 16), 16, 2)),
        "stitching": KeypointMlp(KeypointMlpConfig(6 * POINTS, (24, 24), 3 * POINTS + 2)),
        "mapping": MappingNetwork(MappingConfig(ResNetConfig(16, (16, 32), (1, 1)), (32,))),
    }
    for net in nets.values():
        for name, weight in net.named_parameters():
            if name.endswith((".gamma", ".beta")):  # of the response norms, which start at zero
                torch.nn.init.normal_(weight, std=0.2)
    return {kind: net.eval().requires_grad_(False) for kind, net in nets.items()}


def small_single_stage() -> SingleStage:
    torch.manual_seed(4)
    config = SingleStageConfig(
        input_size=64, stem=16, widths=(16, 32), blocks=(0, 1), hidden=32, patch_widths=(16, 16),
        eye_patch=(8, 4), mouth_patch=(8, 8), patch_hidden=8,
    )  # fmt: skip
    return SingleStage(config).eval().requires_grad_(False)


@pytest.fixture(scope="session")
def engines() -> dict[str, EngineNet]:
    """By engine name."""
    nets = [single_stage.folded(small_single_stage()), *map(arch.folded, small_nets().values())]
    return {e.name: e for net in nets for e in engine_nets.engine_nets(net, PICTURE, VOLUME)}


@pytest.fixture(scope="session")
def sample() -> Callable[[EngineNet], dict[str, np.ndarray]]:
    """Inputs of an engine: smooth noise in 0..1, as pictures and maps are."""

    def make(net: EngineNet) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(len(net.name))
        return {port.name: rng.random(port.shape, dtype=np.float32) for port in net.inputs}

    return make


@pytest.fixture(scope="session")
def export(engines, sample) -> Callable[[str, str], bytes]:
    """The file of a small engine, made once; int8 calibrated on the sample."""
    made: dict[tuple[str, str], bytes] = {}

    def of(name: str, precision: str) -> bytes:
        if (name, precision) not in made:
            made[name, precision] = exported(engines[name], precision, [sample(engines[name])])
        return made[name, precision]

    return of


@pytest.fixture(scope="session")
def run_torch() -> Callable[[EngineNet, Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    def run(net: EngineNet, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            out = net.module(*(torch.from_numpy(inputs[port.name]) for port in net.inputs))
        values = out if isinstance(out, tuple) else (out,)
        return {port.name: v.numpy() for port, v in zip(net.outputs, values, strict=True)}

    return run


@pytest.fixture(scope="session")
def run_onnx() -> Callable[[bytes, Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Outputs by name; inputs are given the type that the file asks for."""

    def run(onnx: bytes, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        opened = session(onnx, 1)
        types = {port.name: _dtype(port.type) for port in opened.get_inputs()}
        names = [port.name for port in opened.get_outputs()]
        feed = {name: inputs[name].astype(dtype) for name, dtype in types.items()}
        return dict(zip(names, opened.run(names, feed), strict=True))

    return run


def _dtype(kind: str) -> type[np.generic]:
    return {"tensor(float)": np.float32, "tensor(float16)": np.float16}[kind]


class OnnxBackend(Trial):
    """Runs exported nets where a GPU would run engines. It is ONNX Runtime on the CPU and says so."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__(files, TorchBackend(1))


@pytest.fixture(scope="session")
def onnx_backend() -> type[OnnxBackend]:
    return OnnxBackend


class ExportOnly:
    """In the place of the engine builder: an exported net is its own engine."""

    timing_cache = b""

    def build(self, net: EngineNet, onnx: bytes, precision: str, progress: Callable[[float], None]) -> bytes:
        progress(0.5)
        progress(1.0)
        return onnx


@pytest.fixture
def export_only() -> ExportOnly:
    return ExportOnly()


@pytest.fixture
def two_stage_pack(small_pack: Path, tmp_path: Path, portrait: np.ndarray) -> Pack:
    """A whole two-stage pack of small nets; the small pack's tracker believes in every face."""
    folder = tmp_path / "packs" / "both"
    folder.mkdir()
    tracker = packs.read_manifest(small_pack).nets["single_stage"]
    nets = {"single_stage": replace(tracker, file=folder / tracker.file.name)}
    (folder / tracker.file.name).write_bytes(tracker.file.read_bytes())
    face = NetInput(PICTURE, "RGB", (0.0,) * 3, (1.0,) * 3)
    inputs = {"motion": face, "mapping": NetInput(32, "BGR", (0.5,) * 3, (0.2,) * 3, "area")}
    made = small_nets()
    for kind, net in made.items():
        file = folder / f"{kind}.safetensors"
        save_file(published.stored(net, half=False), file)
        config = arch.config_to_manifest(net.config)
        options = {"angle_unit": "degree"} if kind == "mapping" else {}
        nets[kind] = NetSpec(kind, file, packs.sha256_of(file), config, inputs.get(kind), options)
    torch.manual_seed(5)
    appearance = AppearanceExtractor(AppearanceConfig(8, 16, 2, VOLUME[1], VOLUME[2], 1)).eval()
    picture = np.ascontiguousarray(cv2.resize(portrait, (PICTURE, PICTURE))[..., ::-1])
    source = folder / "source.safetensors"
    save_file(published.source_features(appearance, made["motion"], made["warping"], picture), source)
    image = folder / "neutral.png"
    cv2.imwrite(str(image), portrait)
    files = {
        "source": PackFile(source, packs.sha256_of(source)),
        "robot_image": PackFile(image, packs.sha256_of(image)),
    }
    pack = Pack("both", folder, "two-stage", "test", "none", "tests", nets, {}, "", files)
    packs.write_manifest(pack)
    return packs.open_pack(str(folder))
