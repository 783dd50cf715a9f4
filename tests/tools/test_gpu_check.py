from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.patience import EMULATED
from tools.gpu import cuda_parts, gpu_check, jetson_parts, parts
from tools.gpu.gpu_check import PARTS, performed
from tools.gpu.parts import Skip
from tools.gpu.tegrastats import readings, summary

ROOT = Path(__file__).parents[2]

# As an AGX Orin and an Orin Nano write them (JetPack 6).
AGX = (
    "04-11 10:36:27 RAM 4321/62801MB (lfb 1759x4MB) SWAP 19/31400MB (cached 0MB) CPU [0%@729,4%@1500,off] "
    "EMC_FREQ 0%@2133 GR3D_FREQ 7%@[305,0] VIC_FREQ 729 APE 174 CV0@-256C CPU@44.562C Tboard@32C GPU@-256C "
    "tj@44.343C VDD_GPU_SOC 2340mW/2340mW VDD_CPU_CV 390mW/390mW VIN_SYS_5V0 4025mW/4025mW NC 0mW/0mW"
)
NANO = (
    "05-15-2025 18:30:28 RAM 6982/7620MB (lfb 5x1MB) SWAP 2640/16384MB (cached 202MB) CPU [97%@1984,93%@247] "
    "EMC_FREQ 18%@3199 GR3D_FREQ 84%@[713] NVENC 1%@115 NVDEC 40%@115 NVJPG off cpu@65.562C gpu@63.5C "
    "tj@65.562C VDD_IN 17946mW/15710mW VDD_CPU_GPU_CV 8896mW/7585mW VDD_SOC 3923mW/3515mW"
)


def test_the_lines_of_a_big_board():
    assert readings(AGX) == {
        "RAM MB": 4321, "CPU %": 2, "CPU MHz": 1500, "GPU %": 7, "GPU MHz": 305, "memory %": 0,
        "memory MHz": 2133, "CPU C": 44.562, "Tboard C": 32, "tj C": 44.343, "VDD_GPU_SOC mW": 2340,
        "VDD_CPU_CV mW": 390, "VIN_SYS_5V0 mW": 4025,
    }  # fmt: skip


def test_the_lines_of_a_small_board_and_none():
    rows = {
        row["figure"]: row
        for row in summary([NANO, "", "tegrastats: no permission", NANO.replace("84%", "44%")])
    }
    assert rows["GPU %"] == {"figure": "GPU %", "mean": 64, "least": 44, "most": 84}
    assert rows["VDD_IN mW"]["mean"] == 17946
    assert rows["tj C"]["most"] == 65.562
    assert summary([]) == []


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """The files of a Jetson that the parts read, as sysfs has them."""
    files = {
        "proc/device-tree/model": "NVIDIA Jetson Orin NX Engineering Reference Developer Kit\0",
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1984000\n",
        "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "1984000\n",
        "sys/class/devfreq/17000000.gpu/cur_freq": "306000000\n",
        "sys/class/devfreq/17000000.gpu/max_freq": "918000000\n",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
        "sys/class/thermal/thermal_zone0/temp": "48500\n",
        "sys/class/thermal/thermal_zone0/trip_point_0_type": "critical\n",
        "sys/class/thermal/thermal_zone0/trip_point_0_temp": "104500\n",
        "sys/class/thermal/thermal_zone0/trip_point_1_type": "passive\n",
        "sys/class/thermal/thermal_zone0/trip_point_1_temp": "99000\n",
        "sys/class/thermal/thermal_zone10/type": "tj-thermal\n",
        "sys/class/thermal/thermal_zone10/temp": "50000\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_board_is_known_by_its_device_tree(board: Path, tmp_path_factory: pytest.TempPathFactory):
    assert jetson_parts.model(board) == "NVIDIA Jetson Orin NX Engineering Reference Developer Kit"
    assert jetson_parts.model(tmp_path_factory.mktemp("pc")) == ""


def test_a_clock_below_its_top_is_named(board: Path):
    said, rows = jetson_parts.clocks(board)
    assert said.endswith("below their top: 17000000.gpu; sudo jetson_clocks")
    assert {"clock": "17000000.gpu", "MHz now": 306, "MHz at most": 918} in rows
    assert {"clock": "cpu0", "MHz now": 1984, "MHz at most": 1984} in rows


def test_a_board_that_slows_down_is_wrong(board: Path):
    said, rows = jetson_parts.thermal(board)
    assert said == "2 sensors, none where it slows down"
    assert rows == [
        {"zone": "cpu-thermal", "C now": 48.5, "C slows from": 99.0},
        {"zone": "tj-thermal", "C now": 50.0, "C slows from": "-"},
    ]
    (board / "sys/class/thermal/thermal_zone0/temp").write_text("99500\n")
    with pytest.raises(AssertionError, match="slows down: cpu-thermal"):
        jetson_parts.thermal(board)


def test_a_run_beside_tegrastats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, face_clip: Path, small_pack: Path
):
    """A real run; the program on PATH prints what a board's prints, again and again until it is ended."""
    stand_in = tmp_path / "tegrastats"
    stand_in.write_text(
        f"#!/bin/sh\n[ $1 = --interval ] || exit 1\nwhile :; do echo '{NANO}'; sleep 0.2; done\n"
    )
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    run = ["--input", str(face_clip), "--pack", str(small_pack), "--backend", "torch", "--link", "null:"]
    said, rows = jetson_parts.watched(lambda: jetson_parts.profiled(run, frames=10))
    frames = int(said.split(" frames, ")[0])
    assert frames > 0 if EMULATED else frames == 10  # the clip plays on while a frame is worked on
    assert "capture to wire p50" in said
    assert {row["figure"] for row in rows} >= {"GPU %", "memory MHz", "tj C", "VDD_IN mW"}


def test_what_is_not_here_is_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Skip, match="tegrastats is not on PATH"):
        jetson_parts.live()


@pytest.fixture
def a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """``a_part(body)``: gpu_check, in processes of its own, with a part "clocks" that does this."""

    def make(body: str) -> Path:
        script = tmp_path / "check.py"
        script.write_text(
            f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom dataclasses import replace\n"
            f"from tools.gpu import gpu_check\ndef work():\n    {body}\n"
            "gpu_check.PARTS['clocks'] = replace(gpu_check.PARTS['clocks'], work=work, needs='')\n"
            "gpu_check.__file__ = __file__\nsys.exit(gpu_check.main())\n"
        )
        monkeypatch.setattr(gpu_check, "__file__", str(script))
        return script

    return make


def test_a_part_gives_its_table(a_part):
    a_part("return 'fine', [{'figure': 1.5}]")
    how = performed("clocks", 60)
    assert how | {"seconds": 0} == {"state": "ok", "what": "fine", "rows": [{"figure": 1.5}], "seconds": 0}


def test_a_part_that_dies_is_wrong_and_no_more(a_part):
    a_part("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert performed("clocks", 60)["what"] == "the part's process ended with SIGSEGV"


def test_a_part_whose_process_dies_after_its_answer_is_wrong(a_part):
    a_part("import atexit, os; atexit.register(os._exit, 9); return 'fine', []")
    assert performed("clocks", 60)["what"] == "the part's process ended with exit code 9"


def test_a_part_that_hangs_is_ended_with_what_it_started(a_part, tmp_path: Path):
    file = tmp_path / "pid"
    a_part(f"import subprocess; subprocess.run(['sh', '-c', 'echo $$ > {file}; exec sleep 600'])")
    how = performed("clocks", 20)
    assert how["state"] == "wrong"
    assert how["what"] == "out of time after 20 s"
    wait_for(lambda: _state(int(file.read_text())) == "Z")


def test_what_a_part_started_ends_with_the_command(a_part, tmp_path: Path):
    file = tmp_path / "pid"
    script = a_part(f"import subprocess; subprocess.run(['sh', '-c', 'echo $$ > {file}; exec sleep 600'])")
    command = [sys.executable, str(script), "--only", "clocks", "--out", str(tmp_path / "out")]
    with subprocess.Popen(command, cwd=ROOT) as process:
        wait_for(lambda: file.exists() and file.read_text())
        process.terminate()
    assert process.returncode == 128 + signal.SIGTERM
    wait_for(lambda: _state(int(file.read_text())) == "Z")


def wait_for(what: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not what():
        assert time.monotonic() < until
        time.sleep(0.05)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "Z"


def check(out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "tools/gpu/gpu_check.py", "--out", str(out), *more]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_without_a_device_every_part_says_why_and_the_report_is_whole(tmp_path: Path):
    done = check(tmp_path)
    assert done.returncode == 3
    page = (tmp_path / "gpu_check.md").read_text()
    for name, part in PARTS.items():
        why = "not a Jetson" if part.needs == "jetson" else "no CUDA device"
        assert f"| {name} | skipped | {why} |" in page


def test_what_was_right_is_not_done_again(tmp_path: Path):
    check(tmp_path, "--only", "kernels", "--only", "build")
    kept = tmp_path / "gpu_check.json"
    state = json.loads(kept.read_text())
    for name in ("kernels", "build"):
        state["parts"][name] |= {"state": "ok", "what": "105 cases", "commit": "abc1234"}
    kept.write_text(json.dumps(state))
    said = check(tmp_path).stdout
    assert "kernels    ok       before, at abc1234" in said
    assert "build      skipped" in said  # what it made may be gone
    assert "| kernels | ok | 105 cases |" in (tmp_path / "gpu_check.md").read_text()
    assert "kernels    skipped" in check(tmp_path, "--again").stdout
    kept.write_text(json.dumps(state | {"machine": {"gpu": "another"}}))
    assert "kernels    skipped" in check(tmp_path).stdout
    kept.write_text(json.dumps(state)[:-1])
    assert "kernels    skipped" in check(tmp_path).stdout


def test_a_part_is_right_for_the_sources_that_it_ran_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for place in ("csrc/cuda", "x2c_edge"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "csrc/cuda/kernels.cu").write_text("wrong")
    monkeypatch.setattr(gpu_check, "ROOT", tmp_path)
    monkeypatch.setattr(gpu_check, "CHECKED", ("csrc", "x2c_edge"))
    before = gpu_check.sources()
    part = {"state": "ok", "sources": before}
    (tmp_path / "x2c_edge/_kernels.so").write_text("built from them")
    assert gpu_check.is_done("kernels", part, gpu_check.sources())
    (tmp_path / "csrc/cuda/kernels.cu").write_text("right")
    assert not gpu_check.is_done("kernels", part, gpu_check.sources())


def test_what_ran_beside_a_build_that_failed_is_done_again(a_part, tmp_path: Path):
    for tool in ("cmake", "nvcc"):
        (tmp_path / tool).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / tool).chmod(0o755)
    script, out = a_part("return 'fine', []"), tmp_path / "out"
    command = [
        sys.executable,
        str(script),
        "--only",
        "build",
        "--build",
        "--only",
        "clocks",
        "--out",
        str(out),
    ]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert subprocess.run(command, cwd=ROOT, env=environment).returncode == 1
    parts = json.loads((out / "gpu_check.json").read_text())["parts"]
    assert (parts["build"]["state"], parts["clocks"]["state"]) == ("wrong", "ok")
    assert not gpu_check.is_done("clocks", parts["clocks"], gpu_check.sources())


DRIVER = """
#include <string.h>
int cuInit(unsigned flags) { return 0; }
int cuDeviceGetCount(int *n) { *n = 1; return 0; }
int cuDeviceGet(int *device, int i) { *device = i; return 0; }
int cuDriverGetVersion(int *v) { *v = 12060; return 0; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "Orin", size); return 0; }
int cuDeviceGetAttribute(int *value, int which, int device) { *value = which == 75 ? 8 : 7; return 0; }
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_gpu_that_pytorch_does_not_see_is_one(tmp_path: Path):
    """With a driver library of our own, and the PyTorch for CPUs: what needs no PyTorch is not left out."""
    library = ["cc", "-shared", "-fPIC", "-o", str(tmp_path / "libcuda.so.1"), "-xc", "-"]
    subprocess.run(library, input=DRIVER, text=True, check=True)
    command = [sys.executable, "tools/gpu/gpu_check.py", "--out", str(tmp_path), "--only", "kernels"]
    environment = os.environ | {"LD_LIBRARY_PATH": str(tmp_path), "PATH": str(tmp_path)}
    done = subprocess.run(
        [*command, "--only", "build"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0
    page = (tmp_path / "gpu_check.md").read_text()
    assert "gpu Orin, capability 8.7, driver's CUDA 12.6" in page
    assert re.search(r"kernels +skipped +PyTorch 2\S+ does not see the GPU; docs/jetson.md", done.stdout)
    assert "build      skipped  nvcc is not on PATH" in done.stdout


def test_a_cmake_that_is_too_old_is_told_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    old = tmp_path / "cmake"
    old.write_text("#!/bin/sh\necho 'cmake version 3.22.1'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(AssertionError, match=r"3\.24 is needed: pip install 'cmake>=3\.24' \(.* is older"):
        cuda_parts.new_enough_cmake()
    old.write_text("#!/bin/sh\necho 'cmake version 3.24.0'\n")
    assert cuda_parts.new_enough_cmake() == str(old)


def test_what_was_built_is_what_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As in an editable install, whose finder comes before the path."""
    (tmp_path / "x2c_edge").mkdir()
    package = tmp_path / "x2c_edge/__init__.py"
    package.write_text("__path__ = []")
    installed, built = tmp_path / "installed.so", tmp_path / "_kernels.so"
    installed.write_text("before")
    built.write_text("after")
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u, sys\n"
        f"places = {{'x2c_edge': {str(package)!r}, 'x2c_edge._kernels': {str(installed)!r}}}\n"
        "class Finder:\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        return u.spec_from_file_location(name, places[name]) if name in places else None\n"
        "sys.meta_path.insert(0, Finder)\n"
    )
    for module in (cuda_parts, parts):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    cuda_parts.put_into_package(built)
    assert installed.read_text() == (tmp_path / "x2c_edge/_kernels.so").read_text() == "after"
    elsewhere = tmp_path / "elsewhere/x2c_edge"
    elsewhere.mkdir(parents=True)
    monkeypatch.setattr(cuda_parts, "ROOT", elsewhere.parent)
    with pytest.raises(AssertionError, match="not this checkout: pip install -e"):
        cuda_parts.put_into_package(built)
