"""The driver's answers, with a driver library of our own: C functions of the same names."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from x2c_edge.backends.cuda_device import CudaDevice, cuda_device, free_memory
from x2c_edge.errors import NotFoundError

DRIVER = """
#include <stddef.h>
#include <string.h>
int cuInit(unsigned flags) { return INIT; }
int cuDeviceGetCount(int* n) { *n = COUNT; return 0; }
int cuDeviceGet(int* d, int i) { *d = i; return 0; }
int cuDeviceGetName(char* s, int n, int d) { strncpy(s, "Orin", n); return 0; }
int cuDeviceTotalMem_v2(size_t* b, int d) { *b = 8ull << 30; return 0; }
int cuDeviceGetAttribute(int* v, int a, int d) { *v = a == 75 ? 8 : a == 76 ? 7 : a == 18; return 0; }
int cuGetErrorString(int e, const char** s) { *s = e == 100 ? "no CUDA-capable device" : NULL; return 0; }
int cuDevicePrimaryCtxRetain(void** c, int d) { *c = (void*)1; return 0; }
int cuDevicePrimaryCtxRelease_v2(int d) { return 0; }
int cuCtxPushCurrent_v2(void* c) { return c == (void*)1 ? 0 : 201; }
int cuCtxPopCurrent_v2(void** c) { return 0; }
int cuMemGetInfo_v2(size_t* f, size_t* t) { *f = 5ull << 30; *t = 8ull << 30; return 0; }
"""


def driver(folder: Path, init: int = 0, count: int = 1) -> str:
    library = folder / "libdriver.so"
    command = ["cc", "-shared", "-fPIC", f"-DINIT={init}", f"-DCOUNT={count}", "-xc", "-", "-o", str(library)]
    subprocess.run(command, input=DRIVER.encode(), check=True)
    return str(library)


def test_a_device(tmp_path: Path):
    assert cuda_device(driver(tmp_path)) == CudaDevice("Orin", "8.7", integrated=True, memory_bytes=8 << 30)


def test_no_driver():
    with pytest.raises(NotFoundError, match=r"no NVIDIA driver here \(libnone\.so\.1 is not found\)"):
        cuda_device("libnone.so.1")


def test_a_driver_that_finds_no_gpu(tmp_path: Path):
    with pytest.raises(NotFoundError, match="it finds no GPU; see nvidia-smi"):
        cuda_device(driver(tmp_path, count=0))


@pytest.mark.parametrize(("code", "says"), [(100, "no CUDA-capable device"), (999, "error 999")])
def test_a_driver_that_fails(tmp_path: Path, code: int, says: str):
    with pytest.raises(NotFoundError, match=f"cuInit failed: {says}; see nvidia-smi"):
        cuda_device(driver(tmp_path, init=code))


def test_free_memory(tmp_path: Path):
    card = CudaDevice("card", "8.6", integrated=False, memory_bytes=8 << 30)
    assert free_memory(card, driver(tmp_path)) == 5 << 30
    board = CudaDevice("board", "8.7", integrated=True, memory_bytes=8 << 30)
    assert 0 < free_memory(board) < 1 << 50
