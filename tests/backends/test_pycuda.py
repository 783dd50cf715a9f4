"""PycudaLayer on the real pycuda, which links with a driver of our own: tests/native/cuda_driver.c.

So that names, arguments, errors and the rules for contexts and threads are pycuda's own. Where pycuda is not
installed: docs/jetson.md says how to build it without a GPU.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import patient

NATIVE = Path(__file__).parents[1] / "native"
ROOT = NATIVE.parents[1]
CASES = (
    "the_device", "no_device", "memory", "mapped_memory", "frames", "all_is_given_back", "left_at_the_end",
    "full", "errors", "graphs", "times",
)  # fmt: skip

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("pycuda") is None, reason="pycuda is not installed"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler"),
]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("driver") / "libcuda.so.1"
    command = [
        "cc",
        "-std=c11",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-shared",
        "-fPIC",
        f"-Wl,-soname,{library.name}",
    ]
    subprocess.run([*command, str(NATIVE / "cuda_driver.c"), "-o", str(library)], check=True)
    return library


@pytest.mark.parametrize("case", CASES)
def test_pycuda(driver: Path, case: str):
    environment = os.environ | {
        "LD_PRELOAD": str(driver),  # goes before a real driver
        "LD_LIBRARY_PATH": str(driver.parent),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run(
        [sys.executable, str(NATIVE / "use_pycuda.py"), case],
        env=environment,
        capture_output=True,
        text=True,
        timeout=patient(120),
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
