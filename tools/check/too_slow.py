"""A pytest plugin for an emulated processor: what its time limit ends is TOO_SLOW, not FAILED."""

from __future__ import annotations

import pytest


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Its own outcome for a test that pytest-timeout ended."""
    if report.failed and "Timeout (>" in str(report.longrepr):
        return "too slow", "S", "TOO_SLOW"
    return None
