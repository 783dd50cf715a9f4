"""The two-stage frame on a GPU, two ways: plain PyTorch, and our plan of nets and kernels.

Random weights: the time does not depend on them, and both ways have the same. Needs torch and numpy alone.
Without a GPU both run on the CPU, which is how their agreement is tested.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tools.gpu_kernels import DEVICE, MEAN, STD, area_weights, as_argument
from x2c_edge import _kernels
from x2c_edge.nets import arch
from x2c_edge.nets.generator import Generator, GeneratorConfig
from x2c_edge.nets.mapping import MappingConfig, MappingNetwork
from x2c_edge.nets.motion_extractor import MotionConfig, MotionExtractor, RawMotion
from x2c_edge.nets.stitching import KeypointMlp, KeypointMlpConfig
from x2c_edge.nets.warping import WarpingConfig, WarpingNetwork


@dataclass(frozen=True)
class Sizes:
    """The defaults are the published ones. picture: M's input; mapped: the mapping network's."""

    motion: MotionConfig = field(default_factory=MotionConfig)
    warping: WarpingConfig = field(default_factory=WarpingConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    mapping: MappingConfig = field(default_factory=MappingConfig)
    picture: int = 256
    mapped: int = 224


class Nets:
    """The five nets, folded, in ``dtype`` (stitching stays float32), and a source with its keypoints."""

    def __init__(self, sizes: Sizes, dtype: torch.dtype, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.sizes, self.dtype = sizes, dtype
        k = sizes.warping.keypoints
        made = {
            "motion": MotionExtractor(sizes.motion),
            "warping": WarpingNetwork(sizes.warping),
            "generator": Generator(sizes.generator),
            "mapping": MappingNetwork(sizes.mapping),
        }
        for name, net in made.items():
            setattr(self, name, self._ready(net, dtype))
        self.stitching = self._ready(
            KeypointMlp(KeypointMlpConfig(6 * k, (128, 128, 64), 3 * k + 2)), torch.float32
        )
        side = sizes.picture // 4
        self.image_side = side * 2 ** len(sizes.generator.up_widths) * sizes.generator.shuffle
        volume = (1, sizes.warping.channels, sizes.warping.depth, side, side)
        self.feature = torch.randn(volume, device=DEVICE).to(dtype)
        self.face = torch.rand((1, 3, sizes.picture, sizes.picture), device=DEVICE).to(dtype)
        self.reference = self._heads(torch.rand_like(self.face))
        self.source = self._heads(torch.rand_like(self.face))

    motion: MotionExtractor
    warping: WarpingNetwork
    generator: Generator
    mapping: MappingNetwork

    @staticmethod
    def _ready(net: nn.Module, dtype: torch.dtype) -> nn.Module:
        return arch.folded(net).to(DEVICE, dtype).requires_grad_(False)

    def _heads(self, face: Tensor) -> RawMotion:
        with torch.inference_mode():
            return RawMotion(*(head.float() for head in self.motion(face)))


def rotation(heads: RawMotion) -> Tensor:
    """(3, 3) for row vectors, from the bins' logits (specs section 5)."""
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


def transformed(kp: Tensor, exp: Tensor, turn: Tensor, t: Tensor, scale: Tensor) -> Tensor:
    """Paper Eq. 5: (K, 3)."""
    shift = torch.cat([t[:2], t.new_zeros(1)])
    return scale * (kp @ turn + exp) + shift


class Plain(nn.Module):
    """What the specification says, in PyTorch operations, as one module for torch.compile."""

    def __init__(self, nets: Nets) -> None:
        super().__init__()
        self.motion, self.warping, self.generator = nets.motion, nets.warping, nets.generator
        self.mapping, self.stitching = nets.mapping, nets.stitching
        self.dtype = nets.dtype
        source, reference = nets.source, nets.reference
        self.kp = source.kp.reshape(-1, 3)
        self.exp = source.exp.reshape(-1, 3)
        self.turn, self.t, self.scale = rotation(source), source.t[0], source.scale[0]
        self.back = rotation(reference).T @ self.turn
        self.reference = reference
        self.x_source = transformed(self.kp, self.exp, self.turn, self.t, self.scale)
        x_reference = self._moved(reference)
        self.offset = self.x_source - x_reference
        self.feature = nets.feature
        self.rows = area_weights(nets.image_side, nets.sizes.mapped).float().to(nets.dtype)
        self.mean, self.std = (
            torch.tensor(v, device=DEVICE, dtype=nets.dtype)[:, None, None] for v in (MEAN, STD)
        )

    def _moved(self, heads: RawMotion) -> Tensor:
        """Section 6, steps 1 to 5."""
        exp = self.exp + (heads.exp - self.reference.exp).reshape(-1, 3)
        turn = rotation(heads) @ self.back
        t = self.t + heads.t[0] - self.reference.t[0]
        return transformed(self.kp, exp, turn, t, self.scale * heads.scale[0] / self.reference.scale[0])

    def forward(self, face: Tensor) -> Tensor:
        """(1, 3, S, S) to the mapping network's outputs (1, 30)."""
        heads = RawMotion(*(head.float() for head in self.motion(face)))
        driving = self._moved(heads) + self.offset
        pair = torch.stack([self.x_source, driving]).reshape(1, -1)
        delta = self.stitching(pair)[0]
        count = driving.shape[0]
        shift = torch.cat([delta[3 * count :], delta.new_zeros(1)])
        driving = driving + delta[: 3 * count].reshape(count, 3) + shift
        points = (driving[None].to(self.dtype), self.x_source[None].to(self.dtype))
        image = self.generator(self.warping(self.feature, *points).out)[0]
        picture = torch.einsum("ah,chw,bw->cab", self.rows, image, self.rows).flip(0)
        out: Tensor = self.mapping(((picture - self.mean) / self.std)[None])
        return out


class Ours:
    """The plan: nets by PyTorch, everything between them by our kernels, in buffers that never move."""

    def __init__(self, nets: Nets) -> None:
        self.nets = nets
        k, dtype = nets.sizes.warping.keypoints, nets.dtype
        plain = Plain(nets)
        robot = [plain.turn, plain.exp, plain.t, plain.scale]
        self.source_row = torch.cat([p.reshape(-1) for p in (*robot, plain.kp, plain.x_source)])
        other = nets.reference
        person = [rotation(other), other.exp, other.t, other.scale, plain.x_source - plain.offset]
        self.reference_row = torch.cat([*(p.reshape(-1) for p in person), torch.ones(1, device=DEVICE)])
        self.pair = torch.zeros((1, 6 * k), device=DEVICE)
        self.pair[0, : 3 * k] = plain.x_source.reshape(-1)
        self.kp_source, self.kp_moved = self.pair[0, : 3 * k].view(k, 3), self.pair[0, 3 * k :].view(k, 3)
        self.driving = torch.zeros((k, 3), device=DEVICE)
        with torch.inference_mode():
            self.compressed = nets.warping.compress(nets.feature)[0].contiguous()
        volume = nets.feature.shape[2:]
        self.front = torch.zeros((1, nets.sizes.warping.front_channels, *volume), dtype=dtype, device=DEVICE)
        self.feature = nets.feature[0].permute(1, 2, 3, 0).contiguous()
        channels = nets.sizes.warping.channels * nets.sizes.warping.depth
        self.warped = torch.zeros((1, channels, *volume[1:]), dtype=dtype, device=DEVICE)
        self.picture = torch.zeros((1, 3, nets.sizes.mapped, nets.sizes.mapped), dtype=dtype, device=DEVICE)
        self.face = nets.face.clone()
        self.background = True

    def run(self) -> Tensor:
        """``face`` to (1, 30), on the current stream; nothing waits."""
        nets = self.nets
        stream = torch.cuda.current_stream().cuda_stream if DEVICE == "cuda" else 0

        def kernel(name: str, *tensors: Tensor, **options: Any) -> None:
            getattr(_kernels, name)(*(as_argument(t) for t in tensors), stream=stream, **options)

        heads = [head.float().contiguous() for head in nets.motion(self.face)[:6]]
        kernel("relative_keypoints", *heads, self.source_row, self.reference_row, self.kp_moved)
        delta = nets.stitching(self.pair)
        kernel("stitch_keypoints", self.kp_moved, delta[0], self.driving)
        kernel(
            "motion_volume", self.compressed, self.driving, self.kp_source, self.front[0],
            background=self.background,
        )  # fmt: skip
        self.background = False  # it is the source's alone
        hidden = nets.warping.hourglass(self.front)
        logits = nets.warping.mask_logits(hidden).contiguous()
        occlusion = nets.warping.occlusion_map(hidden)
        kernel("warp_volume", logits[0], self.driving, self.kp_source, self.feature, self.warped[0])
        image = nets.generator(nets.warping.tail(self.warped, occlusion)).contiguous()
        kernel("face_to_mapping", image[0], self.picture[0], resize="area", order="BGR", mean=MEAN, std=STD)
        out: Tensor = nets.mapping(self.picture)
        return out


def captured(ours: Ours) -> tuple[torch.cuda.CUDAGraph, Tensor]:
    """The whole frame as one CUDA graph, and where its replay leaves the controls."""
    stream = torch.cuda.Stream()
    with torch.inference_mode(), torch.cuda.stream(stream):
        for _ in range(3):  # what is set up at first use cannot be captured
            ours.run()
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            out = ours.run()
    return graph, out
