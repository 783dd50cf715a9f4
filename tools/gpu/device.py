"""The GPU, by NVIDIA's driver itself: before anything is built, and whatever PyTorch can see."""

from __future__ import annotations

import ctypes

_CAPABILITY = (75, 76)  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR


def cuda_device() -> dict[str, str]:
    """``gpu``, ``capability`` and the newest CUDA that the driver knows; empty without a device."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return {}
    count, device, version = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return {}
    driver.cuDeviceGet(ctypes.byref(device), 0)
    driver.cuDriverGetVersion(ctypes.byref(version))
    name = ctypes.create_string_buffer(256)
    driver.cuDeviceGetName(name, len(name), device)
    parts = [ctypes.c_int() for _ in _CAPABILITY]
    for part, attribute in zip(parts, _CAPABILITY, strict=True):
        driver.cuDeviceGetAttribute(ctypes.byref(part), attribute, device)
    return {
        "gpu": name.value.decode(),
        "capability": ".".join(str(part.value) for part in parts),
        "driver's CUDA": f"{version.value // 1000}.{version.value % 1000 // 10}",
    }
