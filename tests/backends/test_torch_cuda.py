"""TorchCudaBackend without a GPU: PyTorch's CPU on the stand-in's memory, in the same types."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests import published_files as files
from tests.fake_cuda import FakeCuda, at
from x2c_edge import packs
from x2c_edge.backends import open as opening
from x2c_edge.backends import torch_backend
from x2c_edge.backends.base import Step
from x2c_edge.backends.cuda_device import CudaDevice
from x2c_edge.backends.device_layer import DeviceArray, Launch
from x2c_edge.backends.torch_backend import TorchBackend, TorchCuda, TorchCudaBackend
from x2c_edge.errors import NotFoundError
from x2c_edge.face.crop_geometry import affine_from_box
from x2c_edge.face.follow import FaceFollower
from x2c_edge.frames import FaceCrop, Frame
from x2c_edge.nets.landmarks import LANDMARK_IDS
from x2c_edge.pipelines import motion_pipeline, tracker, two_stage
from x2c_edge.pipelines.direct import DirectPipeline
from x2c_edge.pipelines.reference import Reference
from x2c_edge.pipelines.two_stage import TwoStagePipeline

CARD = CudaDevice("card", "8.6", integrated=False, memory_bytes=1 << 33)


class OnCpu(TorchCuda):
    """PyTorch's memory and copies on the CPU, which makes nobody wait; a graph does its steps again."""

    def __init__(self) -> None:
        self.device, self.stream = torch.device("cpu"), 7
        self.captures = 0

    def tensor(self, buffer: DeviceArray) -> torch.Tensor:
        return torch.from_numpy(at(buffer))

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        with torch.inference_mode():
            yield

    def wait(self) -> None:
        pass

    def capture(self, steps: Sequence[Step]) -> Launch:
        self.captures += 1
        return lambda: [step() for step in steps]


@pytest.fixture(scope="module")
def pack(_packs_folder, tmp_path_factory) -> packs.Pack:
    folder = tmp_path_factory.mktemp("two-stage")
    return packs.open_pack(str(files.two_stage_pack(folder, files.random_states(), _packs_folder / "small")))


@pytest.fixture
def crops(portrait) -> list[FaceCrop]:
    affine = affine_from_box(70, 40, 100, 120, 32, 1.4)
    images = (portrait, np.ascontiguousarray(portrait[:, ::-1]))
    return [FaceCrop(Frame(i, i * 10**7, image), affine, 32, 1.0) for i, image in enumerate(images)]


def controls(pipeline: TwoStagePipeline, crops: list[FaceCrop]) -> np.ndarray:
    pipeline.refer_to(None)
    m = pipeline.measure(crops[0])
    pipeline.refer_to(Reference(m.values, m.rotation, m.motion))
    return np.stack([pipeline.measure(crop).values for crop in crops])


@pytest.fixture(autouse=True)
def _pooling(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch pools volumes of float16 on a GPU alone."""
    pool = functional.avg_pool3d
    monkeypatch.setattr(functional, "avg_pool3d", lambda x, size: pool(x.float(), size).to(x.dtype))


@pytest.mark.parametrize(("half", "tolerance"), [(True, 0.03), (False, 2e-4)], ids=["fp16", "fp32"])
def test_controls_are_the_cpu_s(pack, crops, monkeypatch, half: bool, tolerance: float):
    expected = controls(TwoStagePipeline(pack, TorchBackend(1)), crops)
    cuda, torch_cuda = FakeCuda(immediate=True), OnCpu()
    for module in (tracker, motion_pipeline, two_stage):
        monkeypatch.setattr(module, "_kernels", cuda)
    backend = TorchCudaBackend(CARD, half=half, torch_cuda=torch_cuda)
    pipeline = TwoStagePipeline(pack, backend)
    assert (pipeline.front.dtype == np.float16) == half
    assert pipeline.heads.dtype == pipeline._raw.dtype == pipeline._pair.dtype == np.float32
    np.testing.assert_allclose(controls(pipeline, crops), expected, atol=tolerance, rtol=0)
    assert torch_cuda.captures == 1
    assert backend.device == f"card, PyTorch {'fp16' if half else 'fp32'}"


@pytest.mark.parametrize(("half", "tolerance"), [(True, 0.03), (False, 2e-4)], ids=["fp16", "fp32"])
def test_the_direct_gear_s_controls_are_the_cpu_s(pack, crops, monkeypatch, half: bool, tolerance: float):
    made = files.with_direct(pack)
    expected = controls(DirectPipeline(made, TorchBackend(1)), crops)
    cuda, torch_cuda = FakeCuda(immediate=True), OnCpu()
    for module in (tracker, motion_pipeline, two_stage):
        monkeypatch.setattr(module, "_kernels", cuda)
    pipeline = DirectPipeline(made, TorchCudaBackend(CARD, half=half, torch_cuda=torch_cuda))
    assert (pipeline.warped.dtype == np.float16) == half
    assert pipeline.deformation.dtype == np.float32
    np.testing.assert_allclose(controls(pipeline, crops), expected, atol=tolerance, rtol=0)
    assert torch_cuda.captures == 1


@pytest.mark.slow  # half precision on a CPU: 25 s
def test_the_default_pack_in_fp16(real_pack: str, portrait: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    """Two of its nets look twice and take float32 pixels between nets that do not."""
    found = packs.open_pack(real_pack)
    on_cpu = TwoStagePipeline(found, TorchBackend(1))
    follower = FaceFollower(LANDMARK_IDS, crop_size=on_cpu.crop_size, crop_scale=on_cpu.crop_scale)
    crop = follower.locate(Frame(0, 0, portrait))
    assert crop is not None
    assert on_cpu.measure(crop).presence > 0.9
    expected = controls(on_cpu, [crop])
    cuda = FakeCuda(immediate=True)
    for module in (tracker, motion_pipeline, two_stage):
        monkeypatch.setattr(module, "_kernels", cuda)
    pipeline = TwoStagePipeline(found, TorchCudaBackend(CARD, half=True, torch_cuda=OnCpu()))
    assert pipeline._face.dtype == pipeline.picture.dtype == np.float32
    assert pipeline._image.dtype == np.float16
    np.testing.assert_allclose(controls(pipeline, [crop]), expected, atol=0.03, rtol=0)


def test_a_net_that_does_not_take_the_shape(pack):
    backend = TorchCudaBackend(CARD, torch_cuda=OnCpu())
    x, out = backend.buffer((1, 5)), backend.buffer((1, 65))
    with pytest.raises(
        NotFoundError, match=r"'stitching' does not take \[\(1, 5\)\]: .*; get the pack again"
    ):
        backend.bind(pack.nets["stitching"], x, out)


@pytest.mark.parametrize("usable", [True, False])
def test_pytorch_takes_the_gpu_where_it_can(monkeypatch, usable: bool):
    monkeypatch.setattr(torch_backend, "cuda_usable", lambda: usable)
    made = []
    monkeypatch.setattr(
        torch_backend, "TorchCudaBackend", lambda device, **options: made.append((device, options))
    )
    monkeypatch.setattr(torch_backend, "cuda_device", lambda: CARD)
    backend = opening.open_backend("torch", 1, per_step=True)
    if usable:
        assert made == [(CARD, {"per_step": True})]
    else:
        assert backend.device == "cpu, 1 thread"
