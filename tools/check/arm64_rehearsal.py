"""A board's CPU side without a board: an aarch64 wheel, and the tests with it, under emulation.

    sudo apt install qemu-user mmdebstrap arch-test g++-aarch64-linux-gnu
    .venv/bin/pip install uv
    sudo nice .venv/bin/python -m tools.check.arm64_rehearsal            # again: goes on where it stopped
    sudo nice .venv/bin/python -m tools.check.arm64_rehearsal --part links --part safety
    sudo nice .venv/bin/python -m tools.check.arm64_rehearsal --test-limit 1800 --file tests/e2e/test_run.py

qemu must be 8 or newer (Debian 12 has 10 in bookworm-backports): 7.2 dies while ONNX Runtime or PyTorch
is loaded.

Makes, below build/arm64: ``root``, a Debian 12 for arm64 with the aarch64 wheels of the dependencies;
``wheels``, the project's wheel, cross-compiled; ``main``, the tracked files with that wheel's kernels;
``logs``, what pytest said, a file for each part. ``state.json`` keeps, from one test file to the next, what
it gave: a file that is green is not run again (but with a higher limit, when something in it was too slow),
so a run that was stopped loses one file; to begin anew, delete it. ``build/arm64/report.md`` is the table for
docs/jetson.md.

The processor that is emulated is a Cortex-A76, which has the instructions of Orin's Cortex-A78AE. Nothing is
measured: an emulated processor is many times slower than the one below it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock, Timer
from typing import TypedDict
from zipfile import ZipFile

import typer

from tools._errors import user_errors
from x2c_edge.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "build" / "arm64"
QUICK_EMULATOR = HERE / "bin" / "qemu-aarch64"  # of tools.check.arm64_qemu
# Debian 12's Python, and so the wheels', is 3.11; JetPack 6's 3.10 has no arm64 root in Debian.
PYTHON = "3.11"
SYSTEM = (
    "base-files,base-passwd,bash,bsdutils,coreutils,dash,debianutils,diffutils,findutils,grep,gzip,hostname,libc-bin,"
    "login,mawk,mount,ncurses-base,perl-base,sed,tar,util-linux,procps,python3,libgl1,libglib2.0-0,libxcb1"
)
SITE = f"usr/local/lib/python{PYTHON}/dist-packages"
EXTRAS = ("zmq", "tritium", "record", "monitor", "foxglove", "train")
TEST_PACKAGES = ("coverage", "hypothesis", "onnx", "pytest", "pytest-timeout", "pytest-xdist")
TOOLS = {
    "qemu-aarch64": "apt install qemu-user (for Debian 12 from bookworm-backports)",
    "mmdebstrap": "apt install mmdebstrap arch-test",
    "aarch64-linux-gnu-g++": "apt install g++-aarch64-linux-gnu",
    "uv": "pip install uv",
}
# An emulated processor multiplies a hundred times more slowly: PyTorch does 0.2 GFLOP a second. What takes
# longer than this is counted by itself (``too_slow``): neither right nor wrong.
TEST_LIMIT_S = 240
PATIENCE = 20  # times as long as elsewhere is what tests wait for
# The last line that pytest prints of a run that came to its end; who kills it may still leave exit code 1.
END = re.compile(r"=+ .* in \d+\.\d+s.* =+$")
RESULT = re.compile(r"(tests/\S+?\.py)::.* (PASSED|SKIPPED|FAILED|ERROR|XFAIL|XPASS|TOO_SLOW)\b")

# In order of what a board could have different: arithmetic, bytes, threads; then what is long. Minutes each.
PARTS = {
    "kernels": 120,
    "safety": 90,
    "links": 60,
    "runtime": 120,
    "robot": 60,
    "record": 60,
    "capture": 60,
    "face": 60,
    "pipelines": 120,
    "backends": 60,
    "monitor": 45,
    "others": 120,
    "nets": 180,
    "cli": 90,
    "convert": 180,
    "e2e": 180,
    "examples": 60,
    "tools": 240,
}


class File(TypedDict):
    """What pytest gave for a test file: how many tests of each outcome."""

    given: dict[str, int]
    minutes: float
    commit: str
    limit_s: int  # what a test was allowed


def run(command: Sequence[str | Path], **options: object) -> None:
    """A command that must succeed; UserError with what to look at if it does not."""
    words = [str(word) for word in command]
    if subprocess.run(words, **options).returncode:  # type: ignore[call-overload]
        raise UserError(f"arm64 rehearsal: {' '.join(words[:3])} failed; its output is above")


def need(program: str) -> str:
    found = shutil.which(program) or shutil.which(program, path=str(Path(sys.executable).parent))
    if not found:
        raise UserError(f"arm64 rehearsal: {program} is not installed: {TOOLS[program]}")
    return found


def require_tools() -> None:
    """All that is used later, before hours of work. UserError for what is missing."""
    if os.geteuid():
        raise UserError("arm64 rehearsal: unpacking a root and entering it needs root: use sudo")
    if sys.version_info[:2] != tuple(map(int, PYTHON.split("."))):
        raise UserError(
            f"arm64 rehearsal: this is Python {sys.version.split()[0]}; use {PYTHON}, as in the root"
        )
    emulator()
    for program in TOOLS:
        if program != "qemu-aarch64":  # which the quick one stands in for
            need(program)


def make_root() -> None:
    """Debian's packages, unpacked and not configured: nothing of them runs while they are."""
    root = HERE / "root"
    if (root / SITE / "pytest").is_dir():
        return
    shutil.rmtree(root, ignore_errors=True)
    run([
        need("mmdebstrap"), "--mode=root", "--variant=extract",
        "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
        "--architectures=arm64", f"--include={SYSTEM}", "bookworm", root,
    ])  # fmt: skip
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    packages = HERE / "requirements.txt"
    packages.write_text("\n".join(TEST_PACKAGES))
    run([
        need("uv"), "pip", "install", "--python-platform", "aarch64-manylinux_2_28",
        "--python-version", PYTHON, "--only-binary", ":all:", "--target", root / SITE,
        "-c", ROOT / "constraints/jetpack6.txt", "-r", ROOT / "pyproject.toml", *extras, "-r", packages,
    ])  # fmt: skip
    # The bytecode is the same on every processor: made here, PyTorch is imported in half the time there. Some
    # packages carry templates that are no Python, so what it says of them is not looked at.
    folders = [str(root / SITE), str(root / f"usr/lib/python{PYTHON}")]
    subprocess.run([sys.executable, "-m", "compileall", "-qq", "-j0", *folders], check=False)


def make_wheel() -> Path:
    """The project's wheel for aarch64; the compiler runs here, not under the emulator."""
    compiler = need("aarch64-linux-gnu-g++")
    toolchain = HERE / "toolchain.cmake"
    settings = {"SYSTEM_NAME": "Linux", "SYSTEM_PROCESSOR": "aarch64", "CXX_COMPILER": compiler}
    toolchain.write_text("".join(f"set(CMAKE_{name} {value})\n" for name, value in settings.items()))
    suffix = f".cpython-{PYTHON.replace('.', '')}-aarch64-linux-gnu.so"
    wheels = HERE / "wheels"
    key, made_from = native_key(), wheels / "native.txt"
    if made_from.exists() and made_from.read_text() == key:
        return next(wheels.glob("*aarch64.whl"))
    shutil.rmtree(wheels, ignore_errors=True)
    environment = os.environ | {
        "_PYTHON_HOST_PLATFORM": "linux-aarch64",
        "SETUPTOOLS_EXT_SUFFIX": suffix,
        "CMAKE_TOOLCHAIN_FILE": str(toolchain),
    }
    run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", wheels,
         "-C", f"build-dir={HERE / 'kernels'}", "-C", "cmake.define.X2C_CUDA=OFF",
         "-C", f"cmake.define.PYTHON_MODULE_EXTENSION={suffix}",
         "-C", "cmake.define.PYTHON_MODULE_DEBUG_POSTFIX=", ROOT],
        env=environment,
    )  # fmt: skip
    (wheel,) = wheels.glob("*aarch64.whl")
    made_from.write_text(key)
    return wheel


def native_key() -> str:
    """Of what the kernels are made from; the rest of the wheel is not used by the tests."""
    files = [ROOT / "CMakeLists.txt", *sorted((ROOT / "csrc").rglob("*.*"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def make_checkout(wheel: Path) -> str:
    """The files that git tracks, as they are on disk, with the wheel's kernels among them; their commit."""
    target = HERE / "main"
    shutil.rmtree(target, ignore_errors=True)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)
    with ZipFile(wheel) as archive:
        (module,) = (name for name in archive.namelist() if name.endswith(".so"))
        archive.extract(module, target)
    described = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(described, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def emulator() -> str:
    """Path of a qemu that is new enough."""
    if QUICK_EMULATOR.exists():
        return str(QUICK_EMULATOR)
    found = need("qemu-aarch64")
    said = subprocess.run([found, "--version"], check=True, capture_output=True, text=True).stdout
    major = re.search(r"version (\d+)", said)
    if major is None or int(major[1]) < 8:
        raise UserError(f"arm64 rehearsal: {said.splitlines()[0]} is too old; it must be 8 or newer")
    return found


@contextmanager
def emulated(command: list[str], limit_s: float) -> Iterator[subprocess.Popen[str]]:
    """A command in the root, its words on stdout; stopped with all that it started when its time is up."""
    words: list[str | Path] = [
        ROOT / "tools/check/arm64_root.sh",
        emulator(),
        HERE / "root",
        HERE / "main",
        ROOT.parent / "shared",
        *command,
    ]
    # The namespace's first process takes all others with it.
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace"
    ) as process:
        alarm = Timer(limit_s, process.kill)
        alarm.start()
        try:
            yield process
        finally:
            alarm.cancel()
            process.kill()


def files_of(part: str) -> list[str]:
    """The test files of a part; "others" are the fuzzers and what lies in tests/ itself."""
    tests = ROOT / "tests"
    if part == "others":
        found = [*tests.glob("test_*.py"), *(tests / "fuzz").rglob("test_*.py")]
    else:
        found = [*(tests / part).rglob("test_*.py")]
    return sorted(str(path.relative_to(ROOT)) for path in found)


def part_of(file: str) -> str:
    """The part that a test file belongs to. UserError for none."""
    for name in PARTS:
        if file in files_of(name):
            return name
    raise UserError(f"arm64 rehearsal: no test file {file}; give it as git does: tests/FOLDER/test_NAME.py")


def test_part(
    name: str, limit_s: float, test_limit_s: int, files: list[str], commit: str
) -> Iterator[tuple[str, File]]:
    """What each of the test files gave, as soon as it is through; ends early when the time is up."""
    # -v: a line for each test, from which this is read. The profile ci is Hypothesis's own and allows an
    # example more than 200 ms.
    command = [
        "/usr/bin/env", "OMP_NUM_THREADS=1", "PYTHONPATH=/work/main", f"X2C_EDGE_TEST_PATIENCE={PATIENCE}",
        "python3", "-m", "pytest",
        "-v", "-rfEs", "-p", "no:cacheprovider", "-p", "tools.check.too_slow",
        "--hypothesis-profile=ci", f"--timeout={test_limit_s}",
        *files,
    ]  # fmt: skip
    start, before, ended = time.monotonic(), "", False
    given: Counter[str] = Counter()
    seen = set()

    def through() -> File:
        nonlocal start
        minutes, start = (time.monotonic() - start) / 60, time.monotonic()
        return {
            "given": dict(given), "minutes": round(minutes, 1), "commit": commit, "limit_s": test_limit_s
        }  # fmt: skip

    with (HERE / "logs" / f"{name}.txt").open("w") as log, emulated(command, limit_s) as process:
        assert process.stdout is not None
        for line in process.stdout:
            log.write(line)
            log.flush()
            ended = bool(END.match(line)) or ended
            result = RESULT.match(line)
            if result is None:
                continue
            file, outcome = result.groups()
            if before and file != before:
                yield before, through()
                given.clear()
            given[outcome] += 1
            seen.add(before := file)
        code = process.wait()
    # 5: slow tests alone. Else out of time, killed, or pytest itself failed: its last file is not through.
    if code not in (0, 1, 5) or not ended:
        return
    if before:
        yield before, through()
    given.clear()
    for file in sorted(set(files) - seen):  # skipped as a whole, or with slow tests only (code 5)
        yield file, through()


def green(file: File, test_limit_s: int) -> bool:
    """Whether there is nothing to run again."""
    outcomes = set(file["given"])
    return not outcomes & {"FAILED", "ERROR"} and (
        "TOO_SLOW" not in outcomes or file.get("limit_s", TEST_LIMIT_S) >= test_limit_s
    )


def write_report(state: dict[str, File]) -> None:
    """A line for each part: what its test files that are through gave, and those that are not."""
    lines = ["| tests | outcome | minutes | commits |", "|---|---|---|---|"]
    for part in PARTS:
        files = files_of(part)
        done = [state[file] for file in files if file in state]
        given = sum((Counter(file["given"]) for file in done), Counter())
        said = [f"{count} {outcome.lower().replace('_', ' ')}" for outcome, count in sorted(given.items())]
        left = [Path(file).name for file in files if file not in state]
        said += [f"**not run**: {', '.join(left) if done else 'all'}"] if left else []
        minutes = sum(file["minutes"] for file in done)
        commits = ", ".join(sorted({file["commit"] for file in done}))
        lines.append(f"| {part} | {'; '.join(said)} | {minutes:.0f} | {commits} |")
    (HERE / "report.md").write_text("\n".join(lines) + "\n")


def main(
    part: list[str] = typer.Option([], help=f"Only this part: {', '.join(PARTS)}."),
    file: list[str] = typer.Option([], help="Only this test file; each has a process of its own."),
    at_once: int = typer.Option(
        1, min=1, help="Parts (files) that run at the same time; each needs a processor."
    ),
    test_limit: int = typer.Option(TEST_LIMIT_S, min=1, help="Seconds after which a test is too slow."),
) -> None:
    """The tests under an emulated 64-bit ARM processor, in a root that is made in build/arm64 (6 GB, of which
    4 are downloaded). All parts take hours; what is green is not run again."""
    with user_errors():
        require_tools()
        if unknown := set(part) - set(PARTS):
            raise UserError(f"arm64 rehearsal: no part {sorted(unknown)[0]}; there are {', '.join(PARTS)}")
        parts = part or ([] if file else PARTS)
        jobs = [(name, PARTS[name] * 60, files_of(name)) for name in parts]
        jobs += [(one.replace("/", "-"), PARTS[part_of(one)] * 60, [one]) for one in file]
        (HERE / "logs").mkdir(parents=True, exist_ok=True)
        make_root()
        commit = make_checkout(make_wheel())
        kept, lock = HERE / "state.json", Lock()
        state: dict[str, File] = json.loads(kept.read_text()) if kept.exists() else {}

        def rehearse(name: str, limit_s: float, asked: list[str]) -> None:
            files = [one for one in asked if one not in state or not green(state[one], test_limit)]
            for one, gave in test_part(name, limit_s, test_limit, files, commit) if files else []:
                with lock:
                    state[one] = gave
                    print(f"{one:60s} {gave['given']} ({gave['minutes']} min)", flush=True)
                    kept.write_text(json.dumps(state, indent=1))
                    write_report(state)

        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(lambda job: rehearse(*job), jobs))
        asked = [one for _, _, files in jobs for one in files]
        raise typer.Exit(int(not all(one in state and green(state[one], test_limit) for one in asked)))


if __name__ == "__main__":
    typer.run(main)
