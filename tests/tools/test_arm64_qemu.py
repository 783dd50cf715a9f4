"""The changes to qemu's source, on a source of a few lines: all or nothing, and once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.check import arm64_qemu
from x2c_edge.errors import UserError

TABLE = "#define TB_JMP_CACHE_BITS 12\n#define TB_JMP_CACHE_SIZE (1 << TB_JMP_CACHE_BITS)\n"
HELPERS = "".join(f"DO_3OP(gvec_{name}, some_function, float32)\n" for name in arm64_qemu.NAMES)


def make_source(folder: Path, helpers: str) -> Path:
    for name, text in (
        ("target/arm/tcg/vec_helper.c", helpers), ("accel/tcg/tb-jmp-cache.h", TABLE)
    ):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_every_function_that_is_ours_is_renamed_in_qemu(tmp_path: Path) -> None:
    source = make_source(tmp_path, HELPERS)
    arm64_qemu.change(source)
    changed = (source / "target/arm/tcg/vec_helper.c").read_text()
    ours = arm64_qemu.VECTORS.read_text()
    for name in arm64_qemu.NAMES:
        assert f"(gvec_{name}_each, some_function, float32)" in changed
        assert f"gvec_{name}, " not in changed
    assert changed.endswith('#include "arm64_vectors.c.inc"\n')
    assert ours.count("HELPER(gvec_") == 2 * 6  # five macros and one function, each with its way out
    assert "TB_JMP_CACHE_BITS 16\n" in (source / "accel/tcg/tb-jmp-cache.h").read_text()


def test_a_second_time_changes_nothing(tmp_path: Path) -> None:
    source = make_source(tmp_path, HELPERS)
    arm64_qemu.change(source)
    first = contents(source)
    arm64_qemu.change(source)
    assert contents(source) == first


def test_another_release_is_one_line_and_stays_as_it_was(tmp_path: Path) -> None:
    source = make_source(tmp_path, HELPERS.replace("DO_3OP(gvec_fmul_idx_s, ", "DO_4OP(gvec_fmul_idx, "))
    before = contents(source)
    with pytest.raises(UserError, match=r"vec_helper\.c is not as in qemu 10\.0 \(0 times .*fmul_idx_s"):
        arm64_qemu.change(source)
    assert contents(source) == before


def test_a_folder_that_is_no_source_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give the folder of qemu's source"):
        arm64_qemu.change(tmp_path)
