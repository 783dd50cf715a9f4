"""On a real GPU: pycuda's and PyTorch's memory, streams, events and graphs, and the pipelines on them.

tests/fake_cuda.py stands for these calls elsewhere; here they are themselves.
"""

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import pytest

from x2c_edge import _kernels

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(_kernels.cuda_device_count() == 0, reason="no CUDA device"),
]

torch = pytest.importorskip("torch")

from tests.kernels.test_gpu_two_stage import SMALL  # noqa: E402
from tools.gpu import gpu_two_stage as two  # noqa: E402
from x2c_edge.backends import pycuda_layer, torch_backend  # noqa: E402
from x2c_edge.backends.device_layer import DeviceLayer  # noqa: E402
from x2c_edge.backends.device_memory import DeviceMemory  # noqa: E402
from x2c_edge.backends.device_runner import DeviceRunner  # noqa: E402
from x2c_edge.backends.torch_backend import TorchBackend, TorchCuda  # noqa: E402
from x2c_edge.packs import Pack  # noqa: E402


@pytest.fixture(params=["pycuda", "torch"])
def layer(request: pytest.FixtureRequest) -> DeviceLayer:
    if request.param == "torch":
        return TorchCuda()
    pytest.importorskip("pycuda")
    return pycuda_layer.opened()


@pytest.fixture
def memory(layer: DeviceLayer) -> DeviceMemory:
    return DeviceMemory(layer, half=True, integrated=False)


def locked(layer: DeviceLayer, shape: tuple[int, ...], dtype: object) -> tuple:
    with layer.current():
        return layer.page_locked(shape, dtype)


def test_both_name_the_same_device():
    pytest.importorskip("pycuda")
    assert pycuda_layer.cuda_device(pycuda_layer.driver()) == torch_backend.cuda_device()


def test_a_stream_of_pycuda_goes_first():
    pytest.importorskip("pycuda")
    layer = pycuda_layer.opened()
    lowest, highest = torch.cuda.Stream.priority_range()
    with layer.current():
        assert _kernels.cuda_set_highest_priority(layer.stream) <= min(lowest, highest)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return two.random_pack(tmp_path_factory.mktemp("random"), SMALL)


def test_buffers_are_zero_and_keep_what_is_written(memory):
    array = memory.buffer((1 << 20,), narrow=True)
    assert not memory.read(array).any()
    values = np.random.default_rng(0).standard_normal(1 << 20).astype(np.float16)
    memory.write(array, values)
    np.testing.assert_array_equal(memory.read(array), values)


def test_pytorch_sees_the_same_memory(memory):
    array = memory.buffer((3, 5))
    tensor = torch.as_tensor(array, device="cuda")
    assert tensor.data_ptr() == array.address
    tensor.fill_(2.5)
    torch.cuda.synchronize()
    assert (memory.read(array) == 2.5).all()


def test_a_kernel_reads_mapped_host_memory(layer, memory):
    host, mapped = locked(layer, (64, 64, 3), np.uint8)
    host[:] = np.random.default_rng(1).integers(0, 256, host.shape)
    out = memory.buffer((3, 16, 16))
    expected = np.zeros((3, 16, 16), np.float32)
    affine = np.array([[2.5, 0.4, 3.0], [-0.4, 2.5, 9.0]])
    _kernels.crop_normalize(mapped, affine, out, taps=0, stream=memory.stream)
    _kernels.crop_normalize(host, affine, expected, taps=0)
    np.testing.assert_allclose(memory.read(out), expected, atol=1e-5)


def test_taps_follow_an_affine_on_the_device(memory):
    frame = np.random.default_rng(2).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    image, where, out = (
        memory.buffer(frame.shape, dtype=np.uint8),
        memory.buffer((2, 3), dtype=np.float64),
        None,
    )
    memory.write(image, frame)
    out = memory.buffer((3, 24, 24))
    for zoom in (0.7, 1.8, 2.7, 6.0):
        affine = np.array([[zoom, 0.1, 20.0], [-0.1, zoom, 20.0]])
        expected = np.zeros((3, 24, 24), np.float32)
        memory.write(where, affine)
        _kernels.crop_normalize(image, where, out, taps=0, stream=memory.stream)
        _kernels.crop_normalize(frame, affine, expected, taps=0)
        np.testing.assert_allclose(memory.read(out), expected, atol=1e-5)


def test_a_graph_reads_what_is_there_when_it_is_launched(layer, memory):
    driving, delta, out = memory.buffer((7, 3)), memory.buffer((23,)), memory.buffer((7, 3))
    arriving, _ = locked(layer, (7, 3), np.float32)
    result = memory.outlet(out)
    steps = [
        lambda: layer.copy_in(driving, arriving),
        lambda: _kernels.stitch_keypoints(driving, delta, out, stream=memory.stream),
        result.fetch,
    ]
    memory.write(delta, np.ones(23))
    durations = np.zeros(4, np.int64)
    runner = DeviceRunner(layer, per_step=False)
    for i in range(5):
        arriving[:] = i
        runner.run(steps, durations)
        assert runner._launch is not None
        np.testing.assert_array_equal(result.values, np.array([[i + 2, i + 2, i + 1]] * 7))
    assert durations[-1] > 0


def test_steps_are_timed_by_events(layer, memory):
    a, b = memory.buffer((1 << 24,)), locked(layer, (1 << 24,), np.float32)[0]
    steps = [lambda: layer.copy_in(a, b), lambda: None]
    durations = np.zeros(3, np.int64)
    runner = DeviceRunner(layer, per_step=True)
    for _ in range(3):
        runner.run(steps, durations)
    assert durations[0] > durations[1] >= 0
    assert durations[2] == 0


def test_a_capture_that_fails_leaves_a_stream_that_works(layer, memory):
    out = memory.buffer((7, 3))
    with pytest.raises(RuntimeError):
        layer.capture([layer.wait])
    memory.write(out, np.ones((7, 3)))
    np.testing.assert_array_equal(memory.read(out), np.ones((7, 3)))


@pytest.mark.parametrize(("half", "tolerance"), [(False, 1e-4), (True, 0.05)], ids=["fp32", "fp16"])
@pytest.mark.parametrize("per_step", [False, True], ids=["graph", "eager"])
def test_a_pipeline_is_the_cpu_s(pack, half: bool, tolerance: float, per_step: bool):
    faces = two.crops(3, SMALL.tracker.input_size, 360, 640)
    here = two.opened(TorchBackend(1), pack, faces[0])
    there = two.opened(two.torch_backend(half=half, per_step=per_step), pack, faces[0])
    for face in faces:
        expected, seen = here.measure(face), there.measure(face)
        np.testing.assert_allclose(seen.landmarks, expected.landmarks, atol=0.05)
        np.testing.assert_allclose(seen.values, expected.values, atol=tolerance)


def test_the_graph_is_used_and_another_camera_is_captured_anew(pack):
    faces = two.crops(2, SMALL.tracker.input_size, 360, 640)
    pipeline = two.opened(two.torch_backend(half=True), pack, faces[0])
    assert pipeline.plan._runner._launch is not None
    wanted = pipeline.measure(faces[1]).values
    wide = np.ascontiguousarray(np.pad(faces[1].frame.image, ((0, 0), (0, 64), (0, 0))))
    for _ in range(3):
        crop = replace(faces[1], frame=replace(faces[1].frame, image=wide))
        np.testing.assert_allclose(pipeline.measure(crop).values, wanted, atol=1e-3)


def test_no_memory_is_taken_per_frame(pack):
    faces = two.crops(2, SMALL.tracker.input_size, 360, 640)
    pipeline = two.opened(two.torch_backend(half=True), pack, faces[0])
    gc.collect()
    free, _ = torch.cuda.mem_get_info()
    for i in range(50):
        pipeline.measure(faces[i % 2])
    assert torch.cuda.mem_get_info()[0] == free
