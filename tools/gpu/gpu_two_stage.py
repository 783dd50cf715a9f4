"""The two-stage frame on a GPU: plain PyTorch, and our pipeline on each of its backends.

Random weights: the time does not depend on them, and every way has the same. Needs torch and numpy alone;
with TensorRT and onnx, the engines too. Without a GPU all run on the CPU, which is how their agreement is
tested.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tools.gpu.gpu_kernels import DEVICE, area_weights
from tools.gpu.plain_safetensors import provide

provide()
from safetensors.numpy import save_file  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from x2c_edge.backends.base import Backend  # noqa: E402
from x2c_edge.backends.torch_backend import TorchBackend, TorchCudaBackend, cuda_device  # noqa: E402
from x2c_edge.frames import FaceCrop, Frame  # noqa: E402
from x2c_edge.nets import arch, published  # noqa: E402
from x2c_edge.nets.appearance import AppearanceConfig, AppearanceExtractor  # noqa: E402
from x2c_edge.nets.generator import Generator, GeneratorConfig  # noqa: E402
from x2c_edge.nets.landmarks import LANDMARK_IDS  # noqa: E402
from x2c_edge.nets.mapping import MappingConfig, MappingNetwork  # noqa: E402
from x2c_edge.nets.motion_extractor import MotionConfig, MotionExtractor, RawMotion  # noqa: E402
from x2c_edge.nets.single_stage import SingleStage, SingleStageConfig  # noqa: E402
from x2c_edge.nets.stitching import KeypointMlp, KeypointMlpConfig  # noqa: E402
from x2c_edge.nets.warping import WarpingConfig, WarpingNetwork  # noqa: E402
from x2c_edge.packs import NetInput, NetSpec, Pack, PackFile  # noqa: E402
from x2c_edge.pipelines.reference import Reference  # noqa: E402
from x2c_edge.pipelines.two_stage import TwoStagePipeline  # noqa: E402

MEAN, STD = (0.4885, 0.4294, 0.3233), (0.1382, 0.1195, 0.1087)


@dataclass(frozen=True)
class Sizes:
    """The defaults are the published ones. picture: M's input; mapped: the mapping network's."""

    appearance: AppearanceConfig = field(default_factory=AppearanceConfig)
    motion: MotionConfig = field(default_factory=MotionConfig)
    warping: WarpingConfig = field(default_factory=WarpingConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    mapping: MappingConfig = field(default_factory=MappingConfig)
    tracker: SingleStageConfig = field(default_factory=SingleStageConfig)
    picture: int = 256
    mapped: int = 224


def random_pack(folder: Path, sizes: Sizes, seed: int = 0) -> Pack:
    """A whole two-stage pack in ``folder``, but for its manifest; its tracker believes in every face."""
    torch.manual_seed(seed)
    k = sizes.motion.keypoints
    made: dict[str, nn.Module] = {
        "motion": MotionExtractor(sizes.motion),
        "warping": WarpingNetwork(sizes.warping),
        "generator": Generator(sizes.generator),
        "mapping": MappingNetwork(sizes.mapping),
        "stitching": KeypointMlp(KeypointMlpConfig(6 * k, (128, 128, 64), 3 * k + 2)),
    }
    inputs = {
        "motion": NetInput(sizes.picture, "RGB", (0.0,) * 3, (1.0,) * 3),
        "mapping": NetInput(sizes.mapped, "BGR", MEAN, STD, "area"),
        "single_stage": NetInput(sizes.tracker.input_size, "RGB", (0.5,) * 3, (0.25,) * 3),
    }
    appearance = AppearanceExtractor(sizes.appearance)
    for net in (*made.values(), appearance):
        net.eval().requires_grad_(False)
    nets = {}
    for kind, net in made.items():
        file = folder / f"{kind}.safetensors"
        save_file(published.stored(net, half=False), file)
        nets[kind] = NetSpec(kind, file, "", arch.config_to_manifest(net.config), inputs.get(kind), {})
    tracker = _tracker(sizes.tracker)
    file = folder / "single_stage.safetensors"
    save_file({key: value.numpy() for key, value in tracker.state_dict().items()}, file)
    nets["single_stage"] = NetSpec(
        "single_stage", file, "", asdict(sizes.tracker), inputs["single_stage"], {"crop_scale": 1.4}
    )
    picture = np.random.default_rng(seed).integers(0, 256, (sizes.picture, sizes.picture, 3), dtype=np.uint8)
    source = folder / "source.safetensors"
    save_file(published.source_features(appearance, made["motion"], made["warping"], picture), source)
    files = {"source": PackFile(source, "")}
    return Pack("random", folder, "two-stage", "", "", "", nets, {}, "", files)


def _tracker(config: SingleStageConfig) -> SingleStage:
    net = SingleStage(config).eval().requires_grad_(False)
    around = np.linspace(0, 2 * np.pi, len(LANDMARK_IDS), endpoint=False)
    net.face.weight.mul_(0.1)
    net.face.bias.zero_()
    net.face.bias[0] = 8.0
    net.face.bias[1:-3] = torch.from_numpy(0.6 * np.stack([np.cos(around), np.sin(around)], 1)).flatten()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.num_batches_tracked = None
    return net


def crops(count: int, size: int, height: int = 720, width: int = 1280) -> list[FaceCrop]:
    """Noise with some structure, as a camera gives it."""
    rng = np.random.default_rng(0)
    affine = np.array([[3.0, -0.3, 400.0], [0.3, 3.0, 120.0]]) * (height / 720)
    made = []
    for i in range(count):
        coarse = rng.integers(0, 256, (height // 20, width // 20, 3), dtype=np.uint8)
        image = np.ascontiguousarray(coarse.repeat(20, 0).repeat(20, 1))
        made.append(FaceCrop(Frame(i, i * 10**7, image), affine, size, 1.0))
    return made


def opened(backend: Backend, pack: Pack, neutral: FaceCrop) -> TwoStagePipeline:
    """A pipeline with a reference, past everything that happens once."""
    pipeline = TwoStagePipeline(pack, backend)
    m = pipeline.measure(neutral)
    assert m.motion is not None, "the tracker sees no face"
    pipeline.refer_to(Reference(m.values, m.rotation, m.motion))
    for _ in range(3):
        pipeline.measure(neutral)
    return pipeline


def torch_backend(*, half: bool, per_step: bool = False) -> Backend:
    """PyTorch where it can: the GPU, else the CPU in float32."""
    if DEVICE != "cuda":
        return TorchBackend(1)
    return TorchCudaBackend(cuda_device(), half=half, per_step=per_step)


def tensorrt_backend(pack: Pack, sizes: Sizes, *, per_step: bool = False) -> Backend:
    """fp16 engines, built now. ImportError without TensorRT or onnx, NotFoundError without pycuda."""
    name = "tensorrt" if importlib.util.find_spec("tensorrt") else "tensorrt_rtx"
    trt = importlib.import_module(name)
    from x2c_edge.backends import pycuda_layer
    from x2c_edge.backends.tensorrt_backend import TensorRTBackend
    from x2c_edge.convert.engine_build import EngineBuilder
    from x2c_edge.convert.onnx_export import exported
    from x2c_edge.nets import engine_nets

    device = pycuda_layer.cuda_device(pycuda_layer.driver())
    builder = EngineBuilder(trt, device.memory_bytes // 8)
    side = sizes.picture // 4
    volume = (1, sizes.warping.channels, sizes.warping.depth, side, side)
    plans = {}
    for spec in pack.nets.values():
        module = engine_nets.opened(spec.arch, spec.config, spec.file)
        for net in engine_nets.engine_nets(module, spec.input.size if spec.input else 0, volume):
            plans[net.name] = builder.build(net, exported(net, "fp16"), "fp16")
    return TensorRTBackend(plans, device, trt, per_step=per_step)


class Plain(nn.Module):
    """What the specification says, in PyTorch operations, as one module for torch.compile.

    face: M's crop, (1, 3, S, S) on the device. Gives the mapping network's outputs (1, 30).
    """

    def __init__(self, pack: Pack, sizes: Sizes, dtype: torch.dtype) -> None:
        super().__init__()
        for kind in ("motion", "warping", "generator", "mapping", "stitching"):
            spec = pack.nets[kind]
            net = arch.opened(kind, spec.config, load_file(spec.file))
            setattr(self, kind, net.to(DEVICE, torch.float32 if kind == "stitching" else dtype))
        source = {
            key: value.to(DEVICE, torch.float32)
            for key, value in load_file(pack.files["source"].file).items()
        }
        self.dtype, self.source = dtype, source
        self.feature = source["feature"].to(dtype)
        self.kp, self.exp = source["kp"].reshape(-1, 3), source["exp"].reshape(-1, 3)
        self.turn, self.t, self.scale = source["rotation"][0], source["t"][0], source["scale"][0]
        self.x_source = source["x"].reshape(-1, 3)
        side = sizes.picture // 4 * 2 ** len(sizes.generator.up_widths) * sizes.generator.shuffle
        self.rows = area_weights(side, sizes.mapped).float().to(dtype)
        self.mean, self.std = (
            torch.tensor(v, device=DEVICE, dtype=dtype)[:, None, None] for v in (MEAN, STD)
        )

    motion: MotionExtractor
    warping: WarpingNetwork
    generator: Generator
    mapping: MappingNetwork
    stitching: KeypointMlp

    def refer_to(self, face: Tensor) -> None:
        """The person's neutral."""
        self.reference = self._heads(face)
        self.back = rotation(self.reference).T @ self.turn
        self.offset = self.x_source - self._moved(self.reference)

    def forward(self, face: Tensor) -> Tensor:
        driving = self._moved(self._heads(face)) + self.offset
        delta = self.stitching(torch.stack([self.x_source, driving]).reshape(1, -1))[0]
        count = driving.shape[0]
        shift = torch.cat([delta[3 * count :], delta.new_zeros(1)])
        driving = driving + delta[: 3 * count].reshape(count, 3) + shift
        points = (driving[None].to(self.dtype), self.x_source[None].to(self.dtype))
        image = self.generator(self.warping(self.feature, *points).out)[0]
        picture = torch.einsum("ah,chw,bw->cab", self.rows, image, self.rows).flip(0)
        out: Tensor = self.mapping(((picture - self.mean) / self.std)[None])
        return out

    def _heads(self, face: Tensor) -> RawMotion:
        return RawMotion(*(head.float() for head in self.motion(face.to(self.dtype))))

    def _moved(self, heads: RawMotion) -> Tensor:
        """Section 6, steps 1 to 5."""
        exp = self.exp + (heads.exp - self.reference.exp).reshape(-1, 3)
        turn = rotation(heads) @ self.back
        t = self.t + heads.t[0] - self.reference.t[0]
        scale = self.scale * heads.scale[0] / self.reference.scale[0]
        return scale * (self.kp @ turn + exp) + torch.cat([t[:2], t.new_zeros(1)])


def rotation(heads: RawMotion) -> Tensor:
    """(3, 3) for row vectors, from the bins' logits (docs/spec/liveportrait.md section 5)."""
    bins = torch.arange(heads.pitch.shape[1], device=heads.pitch.device, dtype=torch.float32)
    a, b, c = (
        torch.deg2rad((torch.softmax(h[0], 0) * bins).sum() * 3 - 97.5)
        for h in (heads.pitch, heads.yaw, heads.roll)
    )
    ca, sa, cb, sb, cc, sc = a.cos(), a.sin(), b.cos(), b.sin(), c.cos(), c.sin()
    rows = [
        cb * cc, cb * sc, -sb,
        sa * sb * cc - ca * sc, sa * sb * sc + ca * cc, sa * cb,
        ca * sb * cc + sa * sc, ca * sb * sc - sa * cc, ca * cb,
    ]  # fmt: skip
    return torch.stack(rows).reshape(3, 3)


def face_of(pipeline: TwoStagePipeline) -> Tensor:
    """What M saw in the last frame, float32 on the device."""
    return torch.from_numpy(pipeline._backend.read(pipeline._face).astype(np.float32)).to(DEVICE)


def raw_of(pipeline: TwoStagePipeline) -> np.ndarray:
    """The mapping network's outputs in the last frame."""
    return pipeline._raw_out.values.astype(np.float64)


def way_of(pipeline: TwoStagePipeline, faces: list[FaceCrop]) -> Callable[[], Any]:
    """One frame after the other, from the camera's picture to the 30 controls on the host."""
    turn = iter(range(10**9))
    return lambda: pipeline.measure(faces[next(turn) % len(faces)])
