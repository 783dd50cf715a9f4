"""The second lane of ``make test``: nets, kernels, training and pipelines without AVX-512 and bfloat16.

    python -m tools.check.avx2_lane [PYTEST OPTIONS]

On a processor that has no more than AVX2 the plain run is this lane already, and nothing is done twice.
"""

from __future__ import annotations

import os
import subprocess
import sys

from x2c_edge import processor

LIMITS = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
ROOMS = (
    "tests/backends",
    "tests/kernels",
    "tests/nets",
    "tests/pipelines",
    "tests/tools",
    "tests/test_processor.py",
)


def main() -> int:
    """Run the tests; pytest's exit code."""
    if not processor.beyond_avx2():
        print("AVX2 lane: this processor has no AVX-512, so the run before was it")
        return 0
    command = [sys.executable, "-m", "pytest", *sys.argv[1:], *ROOMS]
    return subprocess.run(command, env=os.environ | LIMITS).returncode


if __name__ == "__main__":
    sys.exit(main())
