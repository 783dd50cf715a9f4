"""What this computer's processor can do: the one place that knows. Training and inference ask here.

Both limits that PyTorch and oneDNN take from the environment count, ``ONEDNN_MAX_CPU_ISA`` and
``ATEN_CPU_CAPABILITY``: a process that is told to behave like a smaller processor does so in everything.
"""

from __future__ import annotations

import math
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

MOST_THREADS: Final = 64  # that the kernels take
_CPUINFO: Final = Path("/proc/cpuinfo")
_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")  # of a container, whose own group is the root here
# Flags of /proc/cpuinfo that stand for arithmetic in bfloat16; without one of them it is emulated, which
# takes many times what float32 takes.
_BFLOAT16: Final = frozenset(("avx512_bf16", "amx_bf16", "bf16"))
_AVX512: Final = frozenset(("avx512f", "avx512bw", "avx512dq", "avx512vl"))


def cores(quota: Path = _QUOTA) -> int:
    """Processors that this process may use: its affinity (taskset, a container's cpuset), and what its
    control group has of their time (``docker --cpus``).
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
    try:
        allowed, period = quota.read_text().split()[:2]
        usable = min(usable, math.ceil(int(allowed) / int(period)))
    except (OSError, ValueError):  # no such file, or "max"
        pass
    return max(usable, 1)


def flags(cpuinfo: Path = _CPUINFO) -> frozenset[str]:
    """The first processor's flags as Linux names them; empty on other systems."""
    try:
        text = cpuinfo.read_text()
    except OSError:
        return frozenset()
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return frozenset(found.group(1).split()) if found else frozenset()


def computes_bfloat16(cpuinfo: Path = _CPUINFO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the processor multiplies in bfloat16 itself, and the environment lets it."""
    limit = environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    # Every oneDNN level from AVX512_CORE_BF16 on has one of these in its name.
    allowed = limit in ("", "DEFAULT", "ALL") or any(
        name in limit for name in ("BF16", "FP16", "AMX", "AVX10")
    )
    return allowed and not _capped(environ) and bool(flags(cpuinfo) & _BFLOAT16)


def beyond_avx2(cpuinfo: Path = _CPUINFO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether PyTorch would use AVX-512 here."""
    limited = environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in ("SSE41", "AVX", "AVX2")
    return not (limited and _capped(environ)) and flags(cpuinfo) >= _AVX512


def describe() -> str:
    """In a few words, for ``doctor``."""
    have = flags()
    levels = [
        name
        for name, there in (
            ("AVX2", "avx2" in have),
            ("AVX-512", have >= _AVX512),
            ("NEON", "asimd" in have),
            ("bfloat16", computes_bfloat16()),
        )
        if there
    ]
    return ", ".join((platform.machine(), *levels))


def _capped(environ: Mapping[str, str]) -> bool:
    return environ.get("ATEN_CPU_CAPABILITY", "").lower() in ("default", "avx2")
