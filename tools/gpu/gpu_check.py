"""Everything that can only be proved on a CUDA machine or on a Jetson, in one command and one report.

    python3 tools/gpu/gpu_check.py [--out DIR] [--build] [--again]

Needs Python 3.10, numpy, nvcc and cmake, and downloads nothing. What else it would use and does not find
(a PyTorch that sees the GPU, pytest, compute-sanitizer, TensorRT, ...) it names as skipped. The parts come in
the order of what is worth knowing first, each in a process of its own that is ended when its time is up.
DIR/gpu_check.json keeps how each part ended: started again, the command builds what has changed and goes on
with the parts that are not right yet; where a source has changed, with all of them. DIR/gpu_check.md is the
same as a page, and whole after every part. Exit code: 0 all that ran is right, 1 something is wrong, 3 there
is no CUDA device.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools.gpu import cuda_parts as cuda
from tools.gpu import jetson_parts as jetson
from tools.gpu.device import cuda_device
from tools.gpu.parts import ROOT, Part, Skip, cell
from x2c_edge.whole_file import write_whole

CHECKED = ("CMakeLists.txt", "csrc", "engines", "tests", "tools/gpu", "x2c_edge")  # what a result depends on
MADE = (".so", ".pyc")  # of those files

PARTS = {
    "clocks": Part(jetson.clocks, 30, "jetson"),
    "build": Part(cuda.build_extension, 1800),
    "kernels": Part(cuda.check_kernels, 600, "torch"),
    "engines": Part(cuda.build_engines, 1800),
    "camera": Part(jetson.camera, 120, "jetson"),
    "live": Part(jetson.live, jetson.LIVE_S + 120, "jetson"),
    "thermal": Part(jetson.thermal, 30, "jetson"),  # right after ten minutes of work
    "two-stage": Part(cuda.two_stage, 1800, "torch"),
    "times": Part(cuda.time_kernels, 600, "torch"),
    "pytest": Part(cuda.run_pytest, 1800),
    "sanitizer": Part(cuda.sanitize, 2400, "torch"),
}


def machine() -> dict[str, str]:
    """What the figures belong to."""
    facts = {"python": platform.python_version(), "processor": platform.processor() or platform.machine()}
    if board := jetson.model():
        facts["board"] = board
    facts |= cuda_device()
    if importlib.util.find_spec("torch") is None:
        return facts
    import torch

    facts["torch"] = torch.__version__
    if torch.cuda.is_available():
        facts["torch's CUDA"] = str(torch.version.cuda)
    return facts


def perform(name: str) -> dict[str, Any]:
    """How a part ended, in this process."""
    try:
        what, rows = PARTS[name].work()
        return {"state": "ok", "what": what, "rows": rows}
    except Skip as why:
        return {"state": "skipped", "what": str(why), "rows": []}
    except Exception as error:  # whatever it is, the report must say so and the other parts go on
        return {"state": "wrong", "what": f"{type(error).__name__}: {error}", "rows": []}


def performed(name: str, limit_s: float) -> dict[str, Any]:
    """How a part ended in a process of its own; what that process started ends with it."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, __file__, "--perform", name, "--answer", str(answer)]
        child = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
        try:
            how = answered(answer, child.wait(limit_s))
        except subprocess.TimeoutExpired:
            how = {"state": "wrong", "what": f"out of time after {limit_s:g} s", "rows": []}
        finally:
            end_group(child)
    return how | {"seconds": time.perf_counter() - start}


def answered(answer: Path, code: int) -> dict[str, Any]:
    """What the part said; it is not right if its process did not end well afterwards."""
    try:
        how: dict[str, Any] = json.loads(answer.read_text())
    except (OSError, ValueError):
        return died(code)
    return died(code) if code and how["state"] != "wrong" else how


def died(code: int) -> dict[str, Any]:
    why = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return {"state": "wrong", "what": f"the part's process ended with {why}", "rows": []}


def end_group(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def missing(part: Part, facts: dict[str, str]) -> str:
    """Why a part cannot be done on this machine, or nothing."""
    if part.needs in ("gpu", "torch") and "gpu" not in facts:
        return "no CUDA device"
    if part.needs == "torch" and "torch's CUDA" not in facts:
        found = f"PyTorch {facts['torch']} does not see the GPU" if "torch" in facts else "no PyTorch"
        return f"{found}; docs/jetson.md section 3 says which does"
    if part.needs == "jetson" and "board" not in facts:
        return "not a Jetson"
    return ""


def commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def sources() -> str:
    """Stands for the code that is checked, where there is no git, too, or more than is committed."""
    digest = hashlib.sha256()
    for place in CHECKED:
        top = ROOT / place
        for file in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if file.is_file() and file.suffix not in MADE:
                digest.update(f"{file.relative_to(ROOT)} {file.stat().st_size}\n".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()


def begun(file: Path, facts: dict[str, str], again: bool) -> dict[str, dict[str, Any]]:
    """The parts that an earlier call on this machine did; none with --again."""
    if again or not file.exists():
        return {}
    try:
        before = json.loads(file.read_text())
        return before["parts"] if before["machine"] == facts else {}
    except (ValueError, KeyError, TypeError):  # cut or not ours: nothing in it can be relied on
        return {}


def is_done(name: str, part: dict[str, Any], code: str) -> bool:
    """Whether an earlier call has shown this part right for these sources. Building is quick where nothing
    has changed, and what was built may be gone."""
    return name != "build" and part.get("state") == "ok" and part.get("sources") == code


def markdown(facts: dict[str, str], parts: dict[str, dict[str, Any]]) -> str:
    lines = ["# GPU check", "", ", ".join(f"{key} {value}" for key, value in facts.items()), ""]
    lines += ["| part | state | what | seconds | commit |", "| --- | --- | --- | ---: | --- |"]
    done = {name: parts[name] for name in PARTS if name in parts}
    lines += [
        f"| {name} | {p['state']} | {cell(p['what'])} | {p['seconds']:.1f} | {p['commit']} |"
        for name, p in done.items()
    ]
    for name, part in done.items():
        if part["rows"]:
            columns = list(part["rows"][0])
            lines += ["", f"## {name}", "", "| " + " | ".join(columns) + " |"]
            lines += ["| " + " | ".join("---" for _ in columns) + " |"]
            lines += ["| " + " | ".join(cell(row[c]) for c in columns) + " |" for row in part["rows"]]
    return "\n".join(lines) + "\n"


def check(options: argparse.Namespace) -> int:
    """Every part that is to be done; the exit code."""
    facts, now, code = machine(), commit(), sources()
    options.out.mkdir(parents=True, exist_ok=True)
    kept = options.out / "gpu_check.json"
    parts = begun(kept, facts, options.again)
    for name in options.only or PARTS:
        if not options.only and is_done(name, parts.get(name, {}), code):
            print(f"{name:10s} {'ok':8s} before, at {parts[name]['commit']}", flush=True)
            continue
        part = PARTS[name]
        why = "" if name == "build" and options.build else missing(part, facts)
        if why:
            how = {"state": "skipped", "what": why, "rows": [], "seconds": 0.0}
        else:
            how = performed(name, part.limit_s)
        parts[name] = how | {"commit": now, "sources": code}
        if parts.get("build", {}).get("state") == "wrong":
            parts[name]["sources"] = ""  # it ran with an older build
        print(f"{name:10s} {how['state']:8s} {cell(how['what'])}", flush=True)
        write_whole(kept, json.dumps({"machine": facts, "parts": parts}, indent=1).encode())
        write_whole(options.out / "gpu_check.md", markdown(facts, parts).encode())
    print(f"report: {options.out / 'gpu_check.md'}")
    if any(part["state"] == "wrong" for part in parts.values()):
        return 1
    if "gpu" not in facts:
        print("gpu_check: no CUDA device here: nothing was checked on a GPU", file=sys.stderr)
        return 3
    return 0


def end(number: int, frame: FrameType | None) -> None:
    """So that the part's process is ended, too."""
    sys.exit(128 + number)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu_check", help="folder of the report")
    parser.add_argument("--only", choices=list(PARTS), action="append", help="this part (may be repeated)")
    parser.add_argument("--build", action="store_true", help="build the extension even without a device")
    parser.add_argument("--again", action="store_true", help="forget what an earlier call did")
    parser.add_argument("--perform", choices=list(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.perform is None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves it
                signal.signal(number, end)
        return check(options)
    how = perform(options.perform)
    if options.answer is not None:
        options.answer.write_text(json.dumps(how, default=str))
    else:
        print(f"{how['state']}: {cell(how['what'])}")
    return int(how["state"] == "wrong")


if __name__ == "__main__":
    sys.exit(main())
