"""The CUDA device, asked through NVIDIA's driver library alone.

Before TensorRT is touched: ``trt.Runtime`` without a driver ends the process with a segmentation fault.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from x2c_edge.errors import NotFoundError

DRIVER: Final = "libcuda.so.1"
_MAJOR, _MINOR, _INTEGRATED = 75, 76, 18  # CUdevice_attribute


@dataclass(frozen=True, slots=True)
class CudaDevice:
    """name: "Orin". capability: "8.7". integrated: it shares the memory of the CPU."""

    name: str
    capability: str
    integrated: bool
    memory_bytes: int


def cuda_device(library: str = DRIVER) -> CudaDevice:
    """The first device. NotFoundError in one line if there is no driver or no device."""
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        raise NotFoundError(
            f"no NVIDIA driver here ({library} is not found); on a machine with a GPU install the driver"
        ) from None
    _check(driver, driver.cuInit(0), "cuInit")
    count = ctypes.c_int(0)
    _check(driver, driver.cuDeviceGetCount(ctypes.byref(count)), "cuDeviceGetCount")
    if count.value == 0:
        raise NotFoundError("the NVIDIA driver is here, but it finds no GPU; see nvidia-smi")
    device = ctypes.c_int(0)
    _check(driver, driver.cuDeviceGet(ctypes.byref(device), 0), "cuDeviceGet")
    name = ctypes.create_string_buffer(256)
    _check(driver, driver.cuDeviceGetName(name, len(name), device), "cuDeviceGetName")
    memory = ctypes.c_size_t(0)
    _check(driver, driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device), "cuDeviceTotalMem")
    return CudaDevice(
        name=name.value.decode(errors="replace"),
        capability=f"{_attribute(driver, device, _MAJOR)}.{_attribute(driver, device, _MINOR)}",
        integrated=bool(_attribute(driver, device, _INTEGRATED)),
        memory_bytes=memory.value,
    )


def free_memory(device: CudaDevice, library: str = DRIVER) -> int:
    """Bytes that a new allocation on the device can have now."""
    if device.integrated:  # the driver does not count what Linux would give back from its caches
        return _available_ram()
    driver = ctypes.CDLL(library)
    context, first = ctypes.c_void_p(), ctypes.c_int(0)
    free, total = ctypes.c_size_t(0), ctypes.c_size_t(0)
    _check(driver, driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), first), "cuDevicePrimaryCtxRetain")
    try:
        _check(driver, driver.cuCtxPushCurrent_v2(context), "cuCtxPushCurrent")
        try:
            status = driver.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
            _check(driver, status, "cuMemGetInfo")
        finally:
            driver.cuCtxPopCurrent_v2(ctypes.byref(context))
    finally:
        driver.cuDevicePrimaryCtxRelease_v2(first)
    return free.value


def _attribute(driver: ctypes.CDLL, device: ctypes.c_int, number: int) -> int:
    value = ctypes.c_int(0)
    status = driver.cuDeviceGetAttribute(ctypes.byref(value), number, device)
    _check(driver, status, "cuDeviceGetAttribute")
    return value.value


def _check(driver: ctypes.CDLL, status: int, call: str) -> None:
    if status != 0:
        text = ctypes.c_char_p()
        driver.cuGetErrorString(status, ctypes.byref(text))
        reason = text.value.decode() if text.value else f"error {status}"
        raise NotFoundError(f"NVIDIA's driver: {call} failed: {reason}; see nvidia-smi")


def _available_ram() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise NotFoundError("/proc/meminfo gives no MemAvailable")
