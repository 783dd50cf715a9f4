import importlib.util
from pathlib import Path

import pytest

from x2c_edge import _kernels


@pytest.fixture(params=_kernels.cpu_variants())
def every_variant(request):
    """Runs the test once for each instruction set this machine has."""
    before = _kernels.cpu_variant()
    _kernels.set_cpu_variant(request.param)
    yield request.param
    _kernels.set_cpu_variant(before)


@pytest.fixture(scope="session")
def golden():
    """The golden vectors, through the helper of the nets' tests."""
    pytest.importorskip("torch")
    path = Path(__file__).parents[1] / "nets/conftest.py"
    spec = importlib.util.spec_from_file_location("nets_conftest", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not (module.SHARED / "golden").is_dir():
        pytest.skip("../shared is not here")
    return module.Golden()


class DeviceArray:
    """An array that says it is on a GPU; nothing may read it."""

    def __init__(self, array):
        self.__cuda_array_interface__ = dict(array.__array_interface__, version=3)


@pytest.fixture(scope="session")
def on_device():
    return DeviceArray


@pytest.fixture(scope="session")
def without_device():
    """The error of a kernel call on GPU arrays where there is no GPU."""
    if _kernels.cuda_device_count() > 0:
        pytest.skip("there is a device")
    return RuntimeError if _kernels.cuda_built() else ValueError
