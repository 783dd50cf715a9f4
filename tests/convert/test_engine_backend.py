"""TensorRTBackend's handling of memory, order and types, with stand-ins for pycuda and TensorRT.

Their "device" is the CPU's own memory, addressed by number as a device's is, and an "engine" is an exported
net that ONNX Runtime runs on what lies at the addresses it was given. So what the backend copies, casts and
binds is put to the test; that real engines run is for tools/gpu_check.py to show.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from x2c_edge import packs
from x2c_edge.backends.cuda_device import CudaDevice
from x2c_edge.backends.tensorrt_backend import TensorRTBackend
from x2c_edge.backends.torch_backend import TorchBackend
from x2c_edge.convert import engine_set
from x2c_edge.convert.onnx_export import exported
from x2c_edge.convert.rehearsal import crops_of, pipeline_of, rehearse
from x2c_edge.errors import NotFoundError

BOARD = CudaDevice("board", "8.7", integrated=True, memory_bytes=1 << 33)
CARD = CudaDevice("card", "8.6", integrated=False, memory_bytes=1 << 33)
NAN = 0xFF  # of every byte: float16 and float32 alike


class Context:
    """The primary context, which must be current whenever anything is called."""

    depth = 0

    def push(self) -> None:
        Context.depth += 1

    def pop(self) -> None:
        Context.depth -= 1


def current(function: Callable[..., Any]) -> Callable[..., Any]:
    def checked(*arguments: Any, **options: Any) -> Any:
        assert Context.depth > 0, f"{function.__name__} without a context"
        return function(*arguments, **options)

    return checked


class Locked(np.ndarray):
    """A page-locked array: the only kind that an asynchronous copy takes."""


class Memory:
    def __init__(self, size: int) -> None:
        self.bytes = np.full(size, NAN, np.uint8)

    def __int__(self) -> int:
        return int(self.bytes.__array_interface__["data"][0])


def pycuda_driver(work: list[str]) -> ModuleType:
    driver = ModuleType("pycuda.driver")

    def pagelocked_zeros(shape: tuple[int, ...], dtype: Any, mem_flags: int) -> np.ndarray:
        assert mem_flags == 2
        raw = np.zeros(shape, dtype)
        allocation = SimpleNamespace(get_device_pointer=lambda: raw.__array_interface__["data"][0])
        locked = raw.view(Locked)
        return AllocatedArray.of(locked, allocation)

    def to_device(device: int, host: np.ndarray, stream: Any) -> None:
        assert isinstance(host, Locked)
        work.append("in")
        ctypes.memmove(device, host.ctypes.data, host.nbytes)

    def to_host(host: np.ndarray, device: int, stream: Any) -> None:
        assert isinstance(host, Locked)
        work.append("out")
        ctypes.memmove(host.ctypes.data, device, host.nbytes)

    event = SimpleNamespace(
        record=lambda stream: work.append("record"), synchronize=lambda: work.append("wait")
    )
    driver.init = lambda: None
    driver.Device = lambda i: SimpleNamespace(retain_primary_context=Context)
    driver.Stream = current(lambda flags: SimpleNamespace(handle=7 if flags == 1 else 0))
    driver.Event = current(lambda flags: event)
    driver.event_flags = SimpleNamespace(DISABLE_TIMING=2)
    driver.host_alloc_flags = SimpleNamespace(DEVICEMAP=2)
    driver.pagelocked_zeros = current(pagelocked_zeros)
    driver.mem_alloc = current(Memory)
    driver.memcpy_htod_async, driver.memcpy_dtoh_async = current(to_device), current(to_host)
    return driver


class AllocatedArray(Locked):
    """Its ``base`` is the allocation, as pycuda's is."""

    @staticmethod
    def of(array: np.ndarray, allocation: Any) -> np.ndarray:
        made = array.view(AllocatedArray)
        made.allocation = allocation
        return made

    @property
    def base(self) -> Any:
        return self.allocation

    def __array_finalize__(self, other: Any) -> None:
        self.allocation = getattr(other, "allocation", None)


class Engine:
    """An exported net behind the API of an engine."""

    def __init__(self, plan: bytes, work: list[str]) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 3
        self.session = ort.InferenceSession(plan, options, providers=["CPUExecutionProvider"])
        self.inputs, self.outputs = self.session.get_inputs(), self.session.get_outputs()
        self.ports = {port.name: port for port in (*self.inputs, *self.outputs)}
        self.num_io_tensors = len(self.ports)
        self.work = work

    def get_tensor_name(self, i: int) -> str:
        return list(self.ports)[i]

    def get_tensor_mode(self, name: str) -> int:
        return 1 if name in {port.name for port in self.inputs} else 2

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.ports[name].shape)

    def get_tensor_dtype(self, name: str) -> Any:
        return SimpleNamespace(name="HALF" if "16" in self.ports[name].type else "FLOAT")

    def create_execution_context(self) -> Any:
        return ExecutionContext(self)


class ExecutionContext:
    def __init__(self, engine: Engine) -> None:
        self.engine, self.addresses = engine, {}
        self.enqueue_emits_profile = True

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def at(self, name: str) -> np.ndarray:
        dtype = np.dtype(np.float16 if self.engine.get_tensor_dtype(name).name == "HALF" else np.float32)
        shape = self.engine.get_tensor_shape(name)
        raw = (ctypes.c_uint8 * (int(np.prod(shape)) * dtype.itemsize)).from_address(self.addresses[name])
        return np.frombuffer(raw, dtype).reshape(shape)

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == 7
        assert Context.depth > 0
        assert not self.enqueue_emits_profile
        self.engine.work.append("run")
        names = [port.name for port in self.engine.outputs]
        values = self.engine.session.run(names, {p.name: self.at(p.name) for p in self.engine.inputs})
        for name, value in zip(names, values, strict=True):
            self.at(name)[:] = value
        return True


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done on the "device", in order."""
    done: list[str] = []
    package, driver = ModuleType("pycuda"), pycuda_driver(done)
    package.driver = driver
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)
    yield done
    assert Context.depth == 0


def tensorrt(work: list[str]) -> SimpleNamespace:
    def load(plan: bytes) -> Engine | None:
        return Engine(plan, work) if plan != b"foreign" else None

    logger = SimpleNamespace(ERROR=1)
    return SimpleNamespace(
        __version__="10.3.0",
        Logger=type("Logger", (), {"ERROR": 1, "__init__": lambda self, level: None}),
        Runtime=lambda _: SimpleNamespace(deserialize_cuda_engine=load, logger=logger),
        TensorIOMode=SimpleNamespace(INPUT=1, OUTPUT=2),
    )


def plans(pack: packs.Pack, precision: str) -> dict[str, bytes]:
    return {net.name: exported(net, precision) for net in engine_set.nets_of(pack)}


@pytest.mark.parametrize(
    ("device", "precision", "tolerance"), [(BOARD, "fp16", 0.02), (CARD, "fp32", 1e-4)], ids=["board", "card"]
)
def test_a_whole_pipeline(work, two_stage_pack, face_clip, device, precision: str, tolerance: float):
    reference = pipeline_of(two_stage_pack, TorchBackend(1))
    crops = crops_of(str(face_clip), reference)[:4]
    backend = TensorRTBackend(plans(two_stage_pack, precision), device, tensorrt(work))
    values = rehearse(pipeline_of(two_stage_pack, backend), crops)
    np.testing.assert_allclose(values, rehearse(reference, crops), atol=tolerance, rtol=0)
    assert ("in" in work) == (device is CARD)  # a board shares its memory: nothing is copied


@pytest.mark.parametrize("device", [BOARD, CARD], ids=lambda device: device.name)
def test_one_net(work, small_pack, device):
    pack = packs.open_pack(str(small_pack))
    backend = TensorRTBackend(plans(pack, "fp16"), device, tensorrt(work))
    x, out = backend.buffer((1, 3, 32, 32)), backend.buffer((1, row_of(pack)))
    run = backend.bind(pack.nets["single_stage"], x, out)
    x[:] = np.random.default_rng(0).standard_normal(x.shape)
    out[:] = np.nan
    work.clear()
    run()
    assert np.isfinite(out).all()
    assert work == (["in", "run", "out", "record", "wait"] if device is CARD else ["run", "record", "wait"])


def row_of(pack: packs.Pack) -> int:
    (net,) = engine_set.nets_of(pack)
    return net.outputs[0].shape[1]


def test_arrays_of_the_callers_own(work, small_pack):
    """Not page-locked: they go through staging."""
    pack = packs.open_pack(str(small_pack))
    for device in (BOARD, CARD):
        backend = TensorRTBackend(plans(pack, "fp32"), device, tensorrt(work))
        x = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
        out = np.full((1, row_of(pack)), np.nan, np.float32)
        expected = np.empty_like(out)
        backend.bind(pack.nets["single_stage"], x, out)()
        TorchBackend(1).bind(pack.nets["single_stage"], x, expected)()
        np.testing.assert_allclose(out, expected, atol=1e-4)


def test_a_net_bound_twice_is_loaded_once(work, small_pack):
    pack = packs.open_pack(str(small_pack))
    backend = TensorRTBackend(plans(pack, "fp32"), BOARD, tensorrt(work))
    for _ in range(2):
        x, out = backend.buffer((1, 3, 32, 32)), backend.buffer((1, row_of(pack)))
        backend.bind(pack.nets["single_stage"], x, out)()
        assert out.any()


def refusal(backend: TensorRTBackend, pack: packs.Pack, size: int = 32) -> str:
    x, out = backend.buffer((1, 3, size, size)), backend.buffer((1, row_of(pack)))
    with pytest.raises(NotFoundError) as error:
        backend.bind(pack.nets["single_stage"], x, out)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith("run x2c-edge build-engines again with --force")
    return str(error.value)


def test_refusals(work, small_pack):
    pack, trt = packs.open_pack(str(small_pack)), tensorrt(work)
    assert "no engine 'single_stage' was built" in refusal(TensorRTBackend({}, BOARD, trt), pack)
    foreign = TensorRTBackend({"single_stage": b"foreign"}, BOARD, trt)
    assert "engine 'single_stage': TensorRT 10.3.0 does not take it" in refusal(foreign, pack)
    right = TensorRTBackend(plans(pack, "fp32"), BOARD, trt)
    assert "inputs are [(1, 3, 32, 32)], not [(1, 3, 48, 48)]" in refusal(right, pack, 48)


def test_a_driver_that_pycuda_cannot_start(monkeypatch: pytest.MonkeyPatch):
    class Error(Exception):
        """As pycuda's: no builtin RuntimeError."""

    def init() -> None:
        raise Error("cuInit failed: no CUDA-capable device is detected")

    package, driver = ModuleType("pycuda"), ModuleType("pycuda.driver")
    driver.init, package.driver = init, driver
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)
    with pytest.raises(NotFoundError, match="CUDA cannot be used: cuInit failed: no CUDA-capable device"):
        TensorRTBackend({}, BOARD, tensorrt([]))
