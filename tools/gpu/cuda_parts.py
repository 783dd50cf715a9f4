"""The parts of gpu_check that need a CUDA device. Each returns one line and a table, or raises."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.gpu.parts import ROOT, Found, Skip, cell, last_line, run
from x2c_edge.errors import NotFoundError
from x2c_edge.whole_file import write_whole

COPY_BYTES = 1 << 28
ROUNDS = 50
# Of the largest control. Rounding to float16 after every layer gives 2.4e-4 on a CPU; a pipeline that always
# sees the same face would be off by 5e-3.
FLOAT_ERROR, HALF_ERROR = 1e-3, 3e-3

# torch brings pybind11's headers, but nothing that tells CMake of them.
PYBIND11_CONFIG = """
function(pybind11_add_module target)
  cmake_parse_arguments(ARG "MODULE;NO_EXTRAS" "" "" ${ARGN})
  find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)
  Python_add_library(${target} MODULE WITH_SOABI ${ARG_UNPARSED_ARGUMENTS})
  target_include_directories(${target} SYSTEM PRIVATE "%s")
  set_target_properties(${target} PROPERTIES CXX_VISIBILITY_PRESET hidden CUDA_VISIBILITY_PRESET hidden)
endfunction()
set(pybind11_FOUND TRUE)
"""
PYBIND11_VERSION = "set(PACKAGE_VERSION 3.0)\nset(PACKAGE_VERSION_COMPATIBLE TRUE)\n"


def build_extension() -> Found:
    """CMake and nvcc into build/gpu_check, the module into the package."""
    if shutil.which("nvcc") is None:
        raise Skip("nvcc is not on PATH")
    folder = ROOT / "build" / "gpu_check"
    folder.mkdir(parents=True, exist_ok=True)
    cmake = new_enough_cmake()
    command = [
        cmake, "-S", str(ROOT), "-B", str(folder), "-DX2C_CUDA=ON", f"-DPython_EXECUTABLE={sys.executable}",
        f"-Dpybind11_DIR={pybind11_folder(folder)}", "-DCMAKE_BUILD_TYPE=Release",
    ]  # fmt: skip
    run(command)
    run([cmake, "--build", str(folder), "-j", str(len(os.sched_getaffinity(0))), "--target", "_kernels"])
    (module,) = folder.glob("_kernels*.so")
    put_into_package(module)
    return f"{module.name}, {module.stat().st_size / 1e6:.1f} MB, warnings are errors", []


def new_enough_cmake() -> str:
    """PATH's, or this Python's own. Skip without one; AssertionError if it is older than CMakeLists.txt asks
    for (Ubuntu 22.04, and so JetPack 6, has 3.22)."""
    (needed,) = re.findall(
        r"cmake_minimum_required\(VERSION ([\d.]+)\)", (ROOT / "CMakeLists.txt").read_text()
    )
    said = []
    for places in (None, str(Path(sys.executable).parent)):
        found = shutil.which("cmake", path=places)
        if found is None:
            continue
        version = re.search(r"version (\d+)\.(\d+)", run([found, "--version"]))
        if version and tuple(map(int, version.groups())) >= tuple(map(int, needed.split("."))):
            return found
        said.append(f"{found} is older")
    remedy = f"cmake {needed} is needed: pip install 'cmake>={needed}'"
    if not said:
        raise Skip(f"cmake is not on PATH; {remedy}")
    raise AssertionError(f"{remedy} ({', '.join(said)})")


def put_into_package(module: Path) -> None:
    """Where the next process imports it from: in an editable install that is not the checkout. AssertionError
    if another package would be tested."""
    place = ROOT / "x2c_edge" / module.name
    write_whole(place, module.read_bytes())
    names = "'x2c_edge', 'x2c_edge._kernels'"
    ask = f"import importlib.util as u; print(*(u.find_spec(n).origin for n in ({names})), sep='\\n')"
    package, imported = map(Path, run([sys.executable, "-c", ask]).splitlines()[-2:])
    if package.parent.resolve() != place.parent.resolve():
        raise AssertionError(f"Python imports {package.parent}, not this checkout: pip install -e . here")
    if imported.resolve() != place.resolve():
        try:
            write_whole(imported, module.read_bytes())
        except NotFoundError as error:
            raise AssertionError(
                f"Python imports the module from elsewhere: {error}: pip install -e ."
            ) from None


def pybind11_folder(build: Path) -> Path:
    """Where CMake finds pybind11: its own package, or torch's copy of the headers."""
    if importlib.util.find_spec("pybind11") is not None:
        import pybind11

        return Path(pybind11.get_cmake_dir())
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise Skip("neither pybind11 nor torch, which brings its headers, is installed")
    folder = build / "pybind11"
    folder.mkdir(exist_ok=True)
    include = (Path(spec.origin).parent / "include").as_posix()
    (folder / "pybind11Config.cmake").write_text(PYBIND11_CONFIG % include)
    (folder / "pybind11ConfigVersion.cmake").write_text(PYBIND11_VERSION)
    return folder


def check_kernels() -> Found:
    """Every kernel against its float64 definition, into poisoned outputs."""
    from tools.gpu import gpu_kernels

    rows = []
    for full in (False, True):
        for seed in range(1 if full else 5):
            for case in gpu_kernels.cases(full=full, seed=seed):
                error = case.error()
                rows.append(
                    {"kernel": case.kernel, "case": case.what, "seed": seed, "error": error,
                     "allowed": case.tolerance, "right": error <= case.tolerance}
                )  # fmt: skip
    wrong = [row for row in rows if not row["right"]]
    if wrong:
        raise AssertionError(f"{len(wrong)} of {len(rows)} cases are wrong, first: {wrong[0]}")
    missing = gpu_kernels.missing()
    return f"{len(rows)} cases" + (f"; not in this build: {', '.join(missing)}" if missing else ""), rows


def time_kernels() -> Found:
    """Published sizes against the bandwidth of a copy, both by events on one stream."""
    import torch

    from tools.gpu import gpu_kernels

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        source = torch.empty(COPY_BYTES, dtype=torch.uint8, device="cuda")
        target = torch.empty_like(source)
        seconds = median_seconds(lambda: target.copy_(source), stream)
        bandwidth = 2 * COPY_BYTES / seconds
        rows: list[dict[str, Any]] = [
            {"kernel": "copy", "case": f"{COPY_BYTES >> 20} MiB", "microseconds": seconds * 1e6,
             "GB/s": bandwidth / 1e9, "share of copy": 1.0}
        ]  # fmt: skip
        for case in gpu_kernels.cases(full=True):
            seconds = median_seconds(lambda c=case: c.run(stream.cuda_stream), stream)
            rate = case.moved / seconds
            rows.append(
                {"kernel": case.kernel, "case": case.what, "microseconds": seconds * 1e6, "GB/s": rate / 1e9,
                 "share of copy": rate / bandwidth}
            )  # fmt: skip
    return f"copy {bandwidth / 1e9:.0f} GB/s; bytes are the least that must move", rows


def median_seconds(work: Callable[[], object], stream: Any) -> float:
    """Of one run, by events; the cache keeps what fits between runs, as it would between frames' steps."""
    import torch

    for _ in range(5):
        work()
    times = []
    for _ in range(ROUNDS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record(stream)
        work()
        end.record(stream)
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return sorted(times)[len(times) // 2]


def run_pytest() -> Found:
    if importlib.util.find_spec("pytest") is None:
        raise Skip("pytest is not installed")
    return last_line(run([sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests"], allowed=(0, 5))), []


def sanitize() -> Found:
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        raise Skip("compute-sanitizer is not on PATH")
    said = []
    for check in ("memcheck", "racecheck"):
        kernels = [sys.executable, str(Path(__file__).with_name("gpu_check.py")), "--perform", "kernels"]
        said.append(f"{check}: {last_line(run([tool, '--tool', check, '--error-exitcode', '1', *kernels]))}")
    return "; ".join(said), []


def build_engines() -> Found:
    """The default pack's engines, built, run and compared with PyTorch by the program's own command."""
    needed = ("tensorrt", "pycuda", "onnx", "safetensors", "typer", "rich", "pydantic", "cv2")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise Skip(f"not installed: {', '.join(missing)}")
    command = [sys.executable, "-m", "x2c_edge.cli.main", "build-engines", "--force"]
    with tempfile.TemporaryDirectory() as folder:
        return last_line(run([*command, "--out", folder])), []


def two_stage() -> Found:
    """The published-size frame, from the camera's picture to 30 controls on the host: our pipeline on its
    backends; and plain PyTorch, from a crop that is on the GPU already, to its controls on the host."""
    import torch

    from tools.gpu import gpu_two_stage as two

    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False  # float32 is float32
    sizes, skipped = two.Sizes(), []
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        pack = two.random_pack(Path(folder), sizes)
        faces = two.crops(4, sizes.tracker.input_size)
        pipeline = two.opened(two.torch_backend(half=False), pack, faces[0])
        plain = two.Plain(pack, sizes, torch.float32)
        neutral = two.face_of(pipeline)
        plain.refer_to(neutral)
        expected, crops = [], []
        for face in faces:
            pipeline.measure(face)
            crops.append(two.face_of(pipeline))
            expected.append(plain(crops[-1])[0].cpu().numpy())
            error_within(FLOAT_ERROR, "ours, float32", two.raw_of(pipeline), expected[-1])
        del pipeline, plain

        half = two.Plain(pack, sizes, torch.float16)
        half.refer_to(neutral)
        ways: dict[str, Callable[[], object]] = {"plain, eager": plain_way(half, crops)}
        ours = {
            "ours, eager": two.opened(two.torch_backend(half=True, per_step=True), pack, faces[0]),
            "ours, graph": two.opened(two.torch_backend(half=True), pack, faces[0]),
        }
        try:
            ours["ours, TensorRT"] = two.opened(two.tensorrt_backend(pack, sizes), pack, faces[0])
        except (ImportError, NotFoundError) as why:  # not installed, or it does not take this GPU
            skipped.append(f"TensorRT: {cell(why)[:160]}")
        try:
            compiled = torch.compile(half, mode="max-autotune")
            compiled(crops[0])
            ways["plain, torch.compile"] = plain_way(compiled, crops)
        except Exception as why:  # it needs a C compiler, triton, ...
            skipped.append(f"torch.compile: {cell(why)[:160]}")
        ways |= {name: two.way_of(pipeline, faces) for name, pipeline in ours.items()}
        times = interleaved(ways)
        base = times.get("plain, torch.compile", times["plain, eager"])
        rows: list[dict[str, Any]] = []
        for name, seconds in times.items():
            row = {"way": name, "milliseconds": seconds * 1e3, "plain / this": base / seconds, "error": ""}
            if name in ours:
                ours[name].measure(faces[1])
                row["error"] = error_within(HALF_ERROR, name, two.raw_of(ours[name]), expected[1])
            rows.append(row)
        plan = ours["ours, eager"].plan
        for name, ns in zip(plan.names, plan.durations_ns.tolist(), strict=True):
            if ns:
                rows.append({"way": f"- {name}", "milliseconds": ns / 1e6, "plain / this": "", "error": ""})
    return "; ".join(["errors are of the largest control, fp16 against float32", *skipped]), rows


def error_within(limit: float, name: str, controls: Any, expected: Any) -> float:
    """The largest error as a part of the largest control. AssertionError if it is more than allowed."""
    error = float(abs(controls - expected).max() / abs(expected).max())
    if not error <= limit:
        raise AssertionError(f"{name} differs from plain float32 by {error:.2g} of the largest control")
    return error


def plain_way(net: Callable[[Any], Any], crops: list[Any]) -> Callable[[], object]:
    turn = iter(range(10**9))
    return lambda: net(crops[next(turn) % len(crops)]).cpu()


def interleaved(ways: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of each, by the clock on the wall; each waits for its own result."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for i in range(ROUNDS + 5):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if i >= 5:
                times[name].append(time.perf_counter() - start)
    return {name: sorted(values)[len(values) // 2] for name, values in times.items()}
