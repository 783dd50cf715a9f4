"""What ``x2c-edge doctor`` looks at of a GPU: the device, the driver, pycuda, TensorRT, and whether their
versions fit together.

One CUDA release runs under every driver of the same major number or a later one (docs/spec/tensorrt.md
section 5), so the major numbers are compared.
"""

from __future__ import annotations

import importlib.util
import re
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from x2c_edge import _kernels
from x2c_edge.backends import pycuda_layer, trt_versions
from x2c_edge.errors import NotFoundError
from x2c_edge.runtime.finding import Finding

NO_DEVICE: Final = "install NVIDIA's driver, if there is a GPU"
REINSTALL: Final = "in the checkout: pip install --force-reinstall --no-deps ."  # it is in no registry
BUILD: Final = f"put nvcc on PATH, then {REINSTALL}"
# The driver's own version, on a PC and on a Jetson.
PC: Final = Path("/proc/driver/nvidia/version")
TEGRA: Final = Path("/etc/nv_tegra_release")


def gpu_checkup() -> list[Finding]:
    """Device, driver, pycuda, TensorRT. Starts nothing, but for loading the two packages."""
    drv, refusal = _pycuda()
    known = _driver_cuda(drv)
    return [_device(drv, refusal, known), _driver(known), _layer(drv, refusal, known), _tensorrt(known)]


def cuda_text(version: int) -> str:
    """ "12.6" for 12060."""
    return f"{version // 1000}.{version % 1000 // 10}"


def _pycuda() -> tuple[Any, NotFoundError | None]:
    """``pycuda.driver`` where it can be used, else the reason."""
    try:
        return pycuda_layer.driver(), None
    except NotFoundError as error:
        return None, error


def _driver_cuda(drv: Any) -> int:
    """The newest CUDA that the driver knows, as 1000 * major + 10 * minor; 0 if nobody here can tell."""
    known = int(drv.get_driver_version()) if drv is not None else 0
    return known or _kernels.cuda_versions()[1]


def _device(drv: Any, refusal: NotFoundError | None, known: int) -> Finding:
    what = "CUDA device"
    built, _ = _kernels.cuda_versions()
    usable = _kernels.cuda_device_count()
    if drv is not None:
        device = pycuda_layer.cuda_device(drv)
        name = f"{device.name} (compute capability {device.capability}, {device.memory_bytes / 1e9:.0f} GB)"
    elif usable:
        name = f"{usable}, not named without pycuda"
    elif _release() and not _kernels.cuda_built():
        name = "there is a driver"
    else:
        return Finding(what, False, "none: the CPU does the work", NO_DEVICE)
    if not _kernels.cuda_built():
        return Finding(
            what, False, f"{name}, but the kernels were built without CUDA: the CPU does the work", BUILD
        )
    if _misfit(built, known):
        return Finding(
            what, False,
            f"{name}, but the kernels were built with CUDA {cuda_text(built)} and the driver knows "
            f"{cuda_text(known)} at most: the CPU does the work",
            f"a newer driver; or, with the nvcc of CUDA {cuda_text(known)}: {BUILD}",
        )  # fmt: skip
    if not usable:
        return Finding(what, False, f"{name}, but the kernels cannot use it", "see nvidia-smi")
    return Finding(what, True, f"{name}; kernels of CUDA {cuda_text(built)}")


def _driver(known: int) -> Finding:
    release = _release()
    if not release and not known:
        return Finding("NVIDIA driver", False, "none", NO_DEVICE)
    cuda = f"CUDA {cuda_text(known)} at most" if known else "which CUDA it knows was not to be learned"
    return Finding("NVIDIA driver", True, f"{release or 'version unknown'}, {cuda}")


def _layer(drv: Any, refusal: NotFoundError | None, known: int) -> Finding:
    if isinstance(refusal, pycuda_layer.NoPycudaError):
        return Finding(
            "pycuda", False, "not installed: no TensorRT engines",
            "put nvcc on PATH, then: pip install 'x2c-edge[tensorrt]'",
        )  # fmt: skip
    version = _version_of("pycuda")
    if refusal is not None:
        return Finding("pycuda", False, f"{version}, but {refusal}", NO_DEVICE)
    major, minor = drv.get_version()[:2]
    built = 1000 * major + 10 * minor
    if _misfit(built, known):
        return Finding(
            "pycuda", False,
            f"{version} of CUDA {cuda_text(built)}, but the driver knows {cuda_text(known)} at most",
            f"with the nvcc of CUDA {cuda_text(known)} on PATH: {pycuda_layer.AGAIN}",
        )  # fmt: skip
    return Finding("pycuda", True, f"{version} of CUDA {cuda_text(built)}")


def _tensorrt(known: int) -> Finding:
    fix = "on a Jetson it comes with JetPack: sudo apt install nvidia-jetpack"
    if importlib.util.find_spec("tensorrt") is None:
        return Finding("TensorRT", False, "not installed", fix)
    try:
        trt = trt_versions.tensorrt()
    except NotFoundError as error:
        return Finding("TensorRT", False, str(error), fix)
    for major in (11, 12, 13):
        if known and major > known // 1000 and _version_of(f"tensorrt-cu{major}"):
            return Finding(
                "TensorRT", False,
                f"{trt.__version__} for CUDA {major}, but the driver knows {cuda_text(known)} at most",
                f"pip install --force-reinstall tensorrt-cu{known // 1000}",
            )  # fmt: skip
    return Finding("TensorRT", True, str(trt.__version__))


def _misfit(built: int, known: int) -> bool:
    return known > 0 and built // 1000 > known // 1000


def _version_of(package: str) -> str:
    """Empty if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _release() -> str:
    """ "550.54.15", "Jetson Linux 36.4.0"; empty without a driver."""
    if TEGRA.is_file():
        found = re.search(r"R(\d+) .*REVISION: ([\d.]+)", TEGRA.read_text())
        return f"Jetson Linux {found[1]}.{found[2]}" if found else "Jetson Linux"
    if PC.is_file():
        found = re.search(r"\b(\d+\.\d+[.\d]*)\b", PC.read_text())
        return found[1] if found else "unknown"
    return ""
