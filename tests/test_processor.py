from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from x2c_edge import _kernels, processor

ZEN3 = "fpu sse2 fma avx avx2 f16c"
SKYLAKE = ZEN3 + " avx512f avx512bw avx512dq avx512vl"
ZEN4 = SKYLAKE + " avx512_bf16"
LIKE_AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}


def cpuinfo(folder: Path, flags: str, key: str = "flags\t\t") -> Path:
    path = folder / "cpuinfo"
    path.write_text(f"processor\t: 0\nmodel name\t: some\n{key}: {flags}\nbugs\t\t: none\n\nprocessor\t: 1\n")
    return path


@pytest.mark.parametrize(
    ("flags", "bfloat16", "beyond"), [(ZEN3, False, False), (SKYLAKE, False, True), (ZEN4, True, True)]
)
def test_what_the_flags_say(tmp_path: Path, flags: str, bfloat16: bool, beyond: bool):
    path = cpuinfo(tmp_path, flags)
    assert processor.flags(path) == set(flags.split())
    assert processor.computes_bfloat16(path, {}) is bfloat16
    assert processor.beyond_avx2(path, {}) is beyond


def test_an_arm_board(tmp_path: Path):
    assert not processor.computes_bfloat16(cpuinfo(tmp_path, "fp asimd crc32", "Features\t"), {})
    assert processor.computes_bfloat16(cpuinfo(tmp_path, "fp asimd bf16", "Features\t"), {})


def test_a_process_told_to_be_smaller_is(tmp_path: Path):
    path = cpuinfo(tmp_path, ZEN4)
    assert not processor.computes_bfloat16(path, LIKE_AVX2)
    assert not processor.beyond_avx2(path, LIKE_AVX2)
    assert not processor.computes_bfloat16(path, {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"})
    assert processor.computes_bfloat16(path, {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX"})
    assert processor.beyond_avx2(path, {"ONEDNN_MAX_CPU_ISA": "AVX2"})  # PyTorch's own loops would


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 2), ("150000 100000", 2), ("100000 100000", 1), ("20000 100000", 1)]
)
def test_cores_are_those_that_this_process_may_use(tmp_path: Path, quota: str, cores: int, monkeypatch):
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 7}, raising=False)
    assert processor.cores(file) == cores
    assert processor.cores(tmp_path / "none") == 2


def test_no_cpuinfo_is_a_small_processor(tmp_path: Path):
    assert not processor.computes_bfloat16(tmp_path / "none", {})
    assert processor.flags(tmp_path / "none") == frozenset()


def test_the_kernels_take_the_best_code_that_the_processor_runs():
    has = processor.flags()
    best = "avx2" if has >= {"avx2", "fma"} else "neon" if "asimd" in has else "baseline"
    script = "from x2c_edge import _kernels; print(_kernels.cpu_variant(), *_kernels.cpu_variants())"
    said = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, env=dict(os.environ)
    ).stdout.split()
    assert said[0] == best
    assert said[1:] == _kernels.cpu_variants()
    assert "baseline" in said
