"""A qemu on which the emulated arm64 tests take an hour and not days, made from qemu's source.

    sudo apt install libglib2.0-dev libattr1-dev pkg-config g++-aarch64-linux-gnu
    .venv/bin/pip install meson ninja pycotap
    apt source qemu                                           # 10.0; needs a deb-src line
    .venv/bin/python -m tools.check.arm64_qemu qemu-10.0.2    # the folder of the source

Two things of qemu's are changed: NEON's float instructions use the host's vector unit (arm64_vectors.c.inc
says where that is certain not to differ), and the table in which translated code is found again holds what
PyTorch jumps to. The new emulator must give what the one in PATH gives, bit by bit (arm64_vectors_check.cpp);
then it becomes build/arm64/bin/qemu-aarch64, which ``arm64_rehearsal`` takes before any other. Needs a
processor with AVX2, FMA and F16C.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import typer

from tools._errors import user_errors
from tools.check.arm64_rehearsal import HERE, QUICK_EMULATOR, need, run
from x2c_edge.errors import UserError

FOLDER = Path(__file__).parent
VECTORS = FOLDER / "arm64_vectors.c.inc"
CHECK = FOLDER / "arm64_vectors_check.cpp"
# What arm64_vectors.c.inc defines anew: gvec_NAME, in qemu made by one of its macros, each on a line.
NAMES = (
    "fadd_s", "fsub_s", "fmul_s", "fmax_s", "fmin_s", "fmaxnum_s", "fminnum_s", "fceq_s", "fcge_s", "fcgt_s",
    "vfma_s", "vfms_s", "fmul_idx_s", "fmla_idx_s", "fmls_idx_s",
    "fadd_h", "fsub_h", "fmul_h", "vfma_h", "vfms_h", "fmul_idx_h", "fmla_idx_h", "fmls_idx_h",
)  # fmt: skip


def edited(file: Path, changes: dict[str, str]) -> str:
    """A file's text with patterns replaced, each found once. UserError if not: another release of qemu."""
    text = file.read_text()
    for pattern, replacement in changes.items():
        text, count = re.subn(pattern, replacement, text)
        if count != 1:
            raise UserError(
                f"arm64 qemu: {file} is not as in qemu 10.0 ({count} times {pattern}): give the source of "
                "10.0, as it was unpacked"
            )
    return text


def change(source: Path) -> None:
    """Puts our functions into qemu's source, or our newer ones. UserError for another one, left as it is."""
    helpers, table = source / "target/arm/tcg/vec_helper.c", source / "accel/tcg/tb-jmp-cache.h"
    for file in (helpers, table):
        if not file.is_file():
            raise UserError(f"arm64 qemu: {file} is missing; give the folder of qemu's source")
    if VECTORS.name not in helpers.read_text():
        renamed = edited(helpers, {rf"\((gvec_{name}), ": r"(\1_each, " for name in NAMES})
        larger = edited(table, {r"(TB_JMP_CACHE_BITS) 12\b": r"\1 16"})
        table.write_text(larger)
        helpers.write_text(f'{renamed}\n#include "{VECTORS.name}"\n')
    shutil.copy(VECTORS, helpers.parent)


def build(source: Path) -> Path:
    """The emulator of the changed source, its libraries in it, as it must be to run in another root."""
    folder = source / "build-x2c"
    folder.mkdir(exist_ok=True)
    programs = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    if not (folder / "build.ninja").exists():
        run(
            ["../configure", "--target-list=aarch64-linux-user", "--static", "--disable-pie",
             "--disable-docs", "--disable-tools", "--disable-install-blobs", "--without-default-features",
             "--enable-attr",  # without it copying a file fails: listxattr is "not implemented"
             "--extra-cflags=-O3 -mavx2 -mfma -mf16c", f"--python={sys.executable}"],
            cwd=folder, env=os.environ | programs,
        )  # fmt: skip
    run(["ninja", "qemu-aarch64"], cwd=folder, env=os.environ | programs)
    return folder / "qemu-aarch64"


def compare(usual: str, quick: Path) -> None:
    """UserError where the two emulators differ in a bit."""
    program = HERE / "vectors_check"
    compiler = need("aarch64-linux-gnu-g++")
    run([compiler, "-std=c++17", "-O2", "-march=armv8.2-a+fp16", "-static", "-o", program, CHECK])
    said = []
    for emulator in (usual, str(quick)):
        command = [emulator, "-cpu", "cortex-a76", str(program)]
        said.append(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines())
    for a, b in zip(*said, strict=True):
        if a != b:
            raise UserError(f"arm64 qemu: the new emulator differs from {usual}: {b}, and not {a}")
    typer.echo(f"the same bits as {usual} in {len(said[0])} comparisons of 20,000")


def main(source: Path = typer.Argument(help="Folder of qemu's source, 10.0.")) -> None:
    """A qemu that does four floats or eight halves of a vector at once: changed, built, compared bit by bit,
    and put where arm64_rehearsal takes it. Five minutes."""
    with user_errors():
        usual = need("qemu-aarch64")
        HERE.mkdir(parents=True, exist_ok=True)
        change(source.resolve())
        quick = build(source.resolve())
        compare(usual, quick)
        QUICK_EMULATOR.parent.mkdir(exist_ok=True)
        new = QUICK_EMULATOR.with_suffix(".new")  # the one that is there may be running
        shutil.copy(quick, new)
        new.replace(QUICK_EMULATOR)
        typer.echo(f"{QUICK_EMULATOR}: arm64_rehearsal takes it now")


if __name__ == "__main__":
    typer.run(main)
