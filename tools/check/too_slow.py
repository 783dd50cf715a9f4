"""A pytest plugin for an emulated processor: what its time limit ends is TOO_SLOW, not FAILED.

PyTorch's exporter loads sympy when it is first used, which takes a minute there; a limit that strikes in the
middle of that leaves half a module to every later test. So it is loaded before the first one.
"""

from __future__ import annotations

import contextlib

import pytest


def pytest_sessionstart() -> None:
    with contextlib.suppress(ImportError):
        import sympy  # noqa: F401


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Its own outcome for a test that pytest-timeout ended."""
    if report.failed and "Timeout (>" in str(report.longrepr):
        return "too slow", "S", "TOO_SLOW"
    return None
