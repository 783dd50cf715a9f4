"""tools/gpu/gpu_kernels.py: the definitions that a GPU's kernels are judged by, tried on the kernels here.

On a machine with a GPU these are the GPU's kernels.
"""

from __future__ import annotations

import pytest

gpu_kernels = pytest.importorskip("tools.gpu.gpu_kernels")
SMALL = list(gpu_kernels.cases(full=False))


@pytest.mark.parametrize("case", SMALL, ids=lambda case: f"{case.kernel}, {case.what}")
def test_a_kernel_agrees_with_its_definition(case):
    assert case.error() <= case.tolerance


def test_every_kernel_has_a_case():
    assert gpu_kernels.missing() == []
    assert len({case.kernel for case in SMALL}) == 7


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_full_size(seed: int):
    for case in gpu_kernels.cases(full=True, seed=seed):
        assert case.error() <= case.tolerance, case


def test_a_kernel_that_leaves_something_out_is_found():
    case = SMALL[0]
    lazy = type(case)(case.kernel, case.what, lambda stream: None, case.out, case.expected, case.tolerance, 1)
    assert lazy.error() == float("inf")
