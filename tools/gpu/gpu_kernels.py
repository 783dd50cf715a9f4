"""The CUDA kernels beside their definition in float64 on the same GPU. Needs torch and numpy alone.

Without a GPU the same cases run the CPU kernels, which is how the definitions here are tested.

Each case makes random inputs of an odd size, runs the kernel into a poisoned output, and says how far it is
from the definition. Full cases have the published model's sizes; they are what is timed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from x2c_edge import _kernels
from x2c_edge.face.crop_geometry import anchor_roll, landmark_square, square_affine
from x2c_edge.nets import keypoints
from x2c_edge.nets.warping import WarpingConfig, WarpingNetwork

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
HALF_STEP = 2.0**-11  # relative rounding of float16
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Case:
    """run: enqueue the kernel on a stream. out: what it overwrites. expected: float64. tolerance: absolute.
    moved: bytes that must be read and written at least."""

    kernel: str
    what: str
    run: Callable[[int], None]
    out: Tensor
    expected: Callable[[], Tensor]
    tolerance: float
    moved: int

    def error(self) -> float:
        """Largest difference after a run into poison; infinite if anything is left of it or not a number."""
        self.out.fill_(float("nan"))
        self.run(torch.cuda.current_stream().cuda_stream if DEVICE == "cuda" else 0)
        difference = (self.out.double() - self.expected()).abs().max().item()
        return difference if np.isfinite(difference) else float("inf")


def cases(*, full: bool, seed: int = 0) -> Iterator[Case]:
    """Every kernel that this build has, in odd sizes or in full ones."""
    makers = {
        "crop_normalize": _crop_cases,
        "motion_volume": _motion_volume_cases,
        "warp_volume": _warp_volume_cases,
        "face_to_mapping": _face_cases,
        "relative_keypoints": _keypoint_cases,
        "stitch_keypoints": _stitch_cases,
        "aim_crop": _aim_cases,
    }
    for kernel, maker in makers.items():
        if hasattr(_kernels, kernel):
            yield from maker(np.random.default_rng(seed), full)


def missing() -> list[str]:
    names = (
        "crop_normalize", "motion_volume", "warp_volume", "face_to_mapping", "relative_keypoints",
        "stitch_keypoints", "aim_crop",
    )  # fmt: skip
    return [name for name in names if not hasattr(_kernels, name)]


def as_argument(tensor: Tensor) -> Any:
    """As a kernel takes it."""
    return tensor if DEVICE == "cuda" else tensor.numpy()


def _gpu(array: np.ndarray, dtype: torch.dtype | None = None) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(DEVICE, dtype)


def _bytes(*tensors: Tensor) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def _crop_cases(rng: np.random.Generator, full: bool) -> Iterator[Case]:
    for pixels, dtype in itertools.product(("BGR", "RGB", "YUYV", "NV12"), (torch.float32, torch.float16)):
        if full:
            yield _crop_case(rng, pixels, dtype, 720, 1280, (256, 256), 1)
        else:
            yield _crop_case(rng, pixels, dtype, 122, 86, (37, 51), 2)


def _crop_case(
    rng: np.random.Generator, pixels: Any, dtype: torch.dtype, height: int, width: int,
    size: tuple[int, int], taps: int,
) -> Case:  # fmt: skip
    shape = {"YUYV": (height, width, 2), "NV12": (height * 3 // 2, width)}.get(pixels, (height, width, 3))
    frame = _gpu(rng.integers(0, 256, shape, dtype=np.uint8))
    scale, turn = min(height, width) / max(size) * 0.8, 0.2
    c, s = scale * np.cos(turn), scale * np.sin(turn)
    linear = np.array([[c, -s], [s, c]])
    centre = np.array([width, height]) / 2 - linear @ np.array([size[1], size[0]]) / 2
    affine = np.column_stack([linear, centre])
    out = torch.empty((3, *size), dtype=dtype, device=DEVICE)

    def run(stream: int) -> None:
        _kernels.crop_normalize(
            as_argument(frame),
            affine,
            as_argument(out),
            format=pixels,
            mean=MEAN,
            std=STD,
            taps=taps,
            stream=stream,
        )

    touched = int(min(frame.numel(), size[0] * size[1] * scale**2 * frame.numel() / (height * width)))
    half = dtype == torch.float16
    return Case(
        "crop_normalize", f"{pixels} {height}x{width} to {size[0]}x{size[1]}, {str(dtype)[6:]}", run, out,
        lambda: _crop_reference(frame, affine, size, pixels, taps),
        1e-3 / min(STD) + (3 * HALF_STEP if half else 0.0), touched + _bytes(out),
    )  # fmt: skip


def _crop_reference(
    frame: Tensor, affine: np.ndarray, size: tuple[int, int], pixels: str, taps: int
) -> Tensor:
    """The definition in the kernel's docstring: samples, mean of the taps, colour, clamp, normalise."""
    planes, black = _planes(frame, pixels)
    rows, columns = size
    matrix = torch.tensor(affine, dtype=torch.float64, device=DEVICE)
    total = torch.zeros((3, rows, columns), dtype=torch.float64, device=DEVICE)
    offsets = [(k + 0.5) / taps - 0.5 for k in range(taps)]
    for dy, dx in itertools.product(offsets, offsets):
        gy, gx = torch.meshgrid(
            torch.arange(rows, dtype=torch.float64, device=DEVICE) + dy,
            torch.arange(columns, dtype=torch.float64, device=DEVICE) + dx,
            indexing="ij",
        )
        u, v = torch.einsum("ij,jhw->ihw", matrix, torch.stack([gx, gy, torch.ones_like(gx)]))
        total += _bilinear(planes, black, u, v)
    colour = total / taps**2
    if pixels in ("YUYV", "NV12"):
        y, cb, cr = (colour[0] - 16) * 255 / 219, colour[1] - 128, colour[2] - 128
        red, blue = y + 1.402 * cr * 255 / 224, y + 1.772 * cb * 255 / 224
        green = (y - 0.299 * red - 0.114 * blue) / 0.587
        colour = torch.stack([red, green, blue]).clamp(0, 255)
    mean, std = (torch.tensor(v, dtype=torch.float64, device=DEVICE)[:, None, None] for v in (MEAN, STD))
    return (colour / 255 - mean) / std


def _planes(frame: Tensor, pixels: str) -> tuple[Tensor, tuple[float, float, float]]:
    """(3, H, W) float64, R G B or Y U V, and what a corner outside counts as."""
    image = frame.double()
    if pixels in ("BGR", "RGB"):
        planes = image.permute(2, 0, 1)
        return (planes.flip(0) if pixels == "BGR" else planes), (0.0, 0.0, 0.0)
    if pixels == "YUYV":
        y = image[..., 0]
        u, v = (image[:, k::2, 1].repeat_interleave(2, 1) for k in (0, 1))
    else:
        height = frame.shape[0] * 2 // 3
        y = image[:height]
        u, v = (image[height:, k::2].repeat_interleave(2, 0).repeat_interleave(2, 1) for k in (0, 1))
    return torch.stack([y, u, v]), (16.0, 128.0, 128.0)


def _bilinear(planes: Tensor, black: tuple[float, ...], u: Tensor, v: Tensor) -> Tensor:
    height, width = planes.shape[1:]
    outside = torch.tensor(black, dtype=torch.float64, device=DEVICE)[:, None, None]
    x0, y0 = u.floor(), v.floor()
    total = torch.zeros((3, *u.shape), dtype=torch.float64, device=DEVICE)
    for cy, cx in itertools.product((0, 1), (0, 1)):
        x, y = x0 + cx, y0 + cy
        inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        corner = planes[:, y.clamp(0, height - 1).long(), x.clamp(0, width - 1).long()]
        weight = (1 - (u - x).abs()) * (1 - (v - y).abs())
        total += weight * torch.where(inside, corner, outside)
    return total


def _volumes(full: bool) -> Iterator[tuple[int, int, tuple[int, int, int], torch.dtype]]:
    """Keypoints, channels, size, type."""
    for dtype in (torch.float32, torch.float16):
        yield (21, 32, (16, 64, 64), dtype) if full else (5, 3, (5, 9, 13), dtype)


def _points(rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
    driving = rng.uniform(-0.8, 0.8, (count, 3))
    source = driving + rng.normal(scale=0.05, size=driving.shape)
    return _gpu(driving, torch.float32), _gpu(source, torch.float32)


def _definition(count: int) -> WarpingNetwork:
    """For its steps without weights, which are the specification in PyTorch."""
    return WarpingNetwork(WarpingConfig(keypoints=count, base=1, cap=1, levels=1))


def _motion_volume_cases(rng: np.random.Generator, full: bool) -> Iterator[Case]:
    for count, _, size, dtype in _volumes(full):
        channels = 4 if full else 3
        driving, source = _points(rng, count)
        compressed = _gpu(rng.normal(size=(channels, *size)), dtype)
        out = torch.empty(((count + 1) * (1 + channels), *size), dtype=dtype, device=DEVICE)

        def run(
            stream: int, c: Tensor = compressed, d: Tensor = driving, s: Tensor = source, o: Tensor = out
        ) -> None:
            _kernels.motion_volume(*map(as_argument, (c, d, s, o)), stream=stream)

        def expected(
            n: int = count, c: Tensor = compressed, d: Tensor = driving, s: Tensor = source
        ) -> Tensor:
            return _definition(n).front_end(c.double()[None], d.double()[None], s.double()[None])[0]

        yield Case(
            "motion_volume", f"{count} keypoints, {channels}x{'x'.join(map(str, size))}, {str(dtype)[6:]}",
            run, out, expected, 1e-4 + (5 * HALF_STEP if dtype == torch.float16 else 0.0),
            _bytes(compressed, out),
        )  # fmt: skip


def _warp_volume_cases(rng: np.random.Generator, full: bool) -> Iterator[Case]:
    for count, channels, size, dtype in _volumes(full):
        driving, source = _points(rng, count)
        logits = _gpu(rng.normal(scale=2.0, size=(count + 1, *size)), dtype)
        feature = _gpu(rng.normal(size=(*size, channels)), dtype)
        out = torch.empty((channels, *size), dtype=dtype, device=DEVICE)

        def run(
            stream: int, x: Tensor = logits, d: Tensor = driving, s: Tensor = source, f: Tensor = feature,
            o: Tensor = out,
        ) -> None:  # fmt: skip
            _kernels.warp_volume(*map(as_argument, (x, d, s, f, o)), stream=stream)

        def expected(
            n: int = count, x: Tensor = logits, d: Tensor = driving, s: Tensor = source, f: Tensor = feature
        ) -> Tensor:
            net = _definition(n)
            at = net.deformation(x.double()[None], d.double()[None], s.double()[None])
            volume = f.double().permute(3, 0, 1, 2)[None]
            return net.warp(volume, at)[0].unflatten(0, (volume.shape[1], -1))

        yield Case(
            "warp_volume", f"{count} keypoints, {channels}x{'x'.join(map(str, size))}, {str(dtype)[6:]}",
            run, out, expected, 2e-4 + (5 * HALF_STEP if dtype == torch.float16 else 0.0),
            _bytes(logits, feature, out),
        )  # fmt: skip


def _face_cases(rng: np.random.Generator, full: bool) -> Iterator[Case]:
    side, small = (512, 224) if full else (63, 28)
    for dtype in (torch.float32, torch.float16):
        image = _gpu(rng.uniform(size=(3, side, side)), dtype)
        out = torch.empty((3, small, small), dtype=dtype, device=DEVICE)

        def run(stream: int, i: Tensor = image, o: Tensor = out) -> None:
            _kernels.face_to_mapping(
                as_argument(i), as_argument(o), resize="area", order="BGR", mean=MEAN, std=STD, stream=stream
            )

        def expected(i: Tensor = image, n: int = small) -> Tensor:
            rows = area_weights(i.shape[1], n)
            picture = torch.einsum("ah,chw,bw->cab", rows, i.double(), rows).flip(0)
            mean, std = (
                torch.tensor(v, dtype=torch.float64, device=DEVICE)[:, None, None] for v in (MEAN, STD)
            )
            return (picture - mean) / std

        yield Case(
            "face_to_mapping", f"{side} to {small}, {str(dtype)[6:]}", run, out, expected,
            1e-4 + (3 * HALF_STEP if dtype == torch.float16 else 0.0), _bytes(image, out),
        )  # fmt: skip


def area_weights(length: int, count: int) -> Tensor:
    """(count, length) weights: the mean over what each output pixel covers."""
    step = length / count
    edges = np.arange(count + 1) * step
    left, right = edges[:-1, None], edges[1:, None]
    pixel = np.arange(length)[None]
    overlap = np.clip(np.minimum(right, pixel + 1) - np.maximum(left, pixel), 0, None)
    return _gpu(overlap / step, torch.float64)


def _keypoint_cases(rng: np.random.Generator, full: bool) -> Iterator[Case]:
    for count, bins in ((21, 66),) if full else ((5, 7), (3, 1)):
        heads = {
            **{name: rng.normal(scale=2.0, size=(1, bins)) for name in ("pitch", "yaw", "roll")},
            "t": rng.normal(scale=0.1, size=(1, 3)),
            "exp": rng.normal(scale=0.05, size=(1, 3 * count)),
            "scale": rng.uniform(0.8, 1.6, (1, 1)),
            "kp": rng.normal(scale=0.4, size=(1, 3 * count)),
        }
        heads = {name: value.astype(np.float32).astype(np.float64) for name, value in heads.items()}
        m = keypoints.motion_from_heads(**heads)
        robot = keypoints.Motion(m.kp[0], m.exp[0], m.rotation[0], m.t[0], m.scale[0])
        row = np.concatenate([p.ravel() for p in (robot.rotation, robot.exp, robot.t, robot.scale)])
        x = keypoints.transformed(robot)
        source = _gpu(np.concatenate([row, robot.kp.ravel(), x.ravel()]), torch.float32)
        reference = _gpu(np.concatenate([row, x.ravel(), [1.0]]), torch.float32)
        arrays = [_gpu(heads[n], torch.float32) for n in ("pitch", "yaw", "roll", "t", "exp", "scale")]
        out = torch.empty((count, 3), device=DEVICE)

        def run(
            stream: int, a: list[Tensor] = arrays, s: Tensor = source, r: Tensor = reference, o: Tensor = out
        ) -> None:
            _kernels.relative_keypoints(*map(as_argument, (*a, s, r, o)), stream=stream)

        yield Case(  # the person moves as the reference: the robot's own keypoints
            "relative_keypoints", f"{count} keypoints, {bins} bins", run, out, lambda x=x: _gpu(x), 1e-5,
            _bytes(*arrays, source, reference, out),
        )  # fmt: skip


def _stitch_cases(rng: np.random.Generator, full: bool) -> Iterator[Case]:
    count = 21 if full else 7
    driving = _gpu(rng.normal(size=(count, 3)), torch.float32)
    delta = _gpu(rng.normal(size=3 * count + 2), torch.float32)
    out = torch.empty((count, 3), device=DEVICE)

    def run(stream: int) -> None:
        _kernels.stitch_keypoints(*map(as_argument, (driving, delta, out)), stream=stream)

    def expected() -> Tensor:
        shift = torch.cat([delta[-2:], delta.new_zeros(1)]).double()
        return driving.double() + delta[:-2].double().view(count, 3) + shift

    yield Case(
        "stitch_keypoints", f"{count} keypoints", run, out, expected, 1e-6, _bytes(driving, delta, out)
    )


def _aim_cases(rng: np.random.Generator, full: bool) -> Iterator[Case]:
    count, crop_size, out_size = (150, 128, 256) if full else (37, 33, 71)
    points = _gpu(rng.uniform(-1, 1, (count, 2)), torch.float32)
    roles = rng.integers(0, 8, count, dtype=np.uint8)
    roles[:3] = 7  # some of each
    affine = _gpu(np.array([[1.3, -0.4, 210.0], [0.4, 1.3, 90.0]]))
    out = torch.empty((2, 3), dtype=torch.float64, device=DEVICE)

    def run(stream: int) -> None:
        _kernels.aim_crop(
            *map(as_argument, (points, affine, out)), roles=roles, crop_size=crop_size, out_size=out_size,
            scale=2.2, shift=0.04, stream=stream,
        )  # fmt: skip

    def expected() -> Tensor:
        matrix = affine.cpu().numpy()
        at = (points.cpu().double().numpy() * crop_size / 2 + (crop_size - 1) / 2) @ matrix[:, :2].T
        at += matrix[:, 2]
        roll = anchor_roll(at[(roles & 2) > 0].mean(0), at[(roles & 4) > 0].mean(0))
        square = landmark_square(at[(roles & 1) > 0], roll).enlarged(2.2, shift_y=0.04).turned()
        return _gpu(square_affine(square, out_size, centre_index=out_size / 2 - 0.25))

    yield Case("aim_crop", f"{count} landmarks", run, out, expected, 1e-9, _bytes(points, affine, out))
