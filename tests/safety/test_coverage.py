"""Every line and every branch of the safety rules and of the codec is run by the tests beside them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tools.check.judged import JUDGED, ROOT, TESTS

# The long sequences are slow under a tracer and reach nothing more; the rest needs few examples,
# always the same ones.
SCRIPT = f"""
import sys
import pytest
from hypothesis import settings
settings.register_profile("few", max_examples=5, derandomize=True, database=None)
settings.load_profile("few")
sys.exit(pytest.main([
    "-q", "-p", "no:xdist", "-p", "no:cacheprovider", *{TESTS},
    "--ignore=tests/safety/test_wire_bytes.py", "--ignore=tests/safety/{Path(__file__).name}",
    "-k", "not test_no_forbidden_combination_is_sent and not test_a_closing_jaw",
]))
"""


def test_no_line_and_no_branch_is_left_out(tmp_path: Path) -> None:
    script, data, report = tmp_path / "tests.py", tmp_path / "data", tmp_path / "report.json"
    script.write_text(SCRIPT)
    coverage = [sys.executable, "-m", "coverage"]
    include = "--include=" + ",".join(str(ROOT / file) for file in JUDGED)
    run = [*coverage, "run", "--branch", f"--data-file={data}", include, str(script)]
    subprocess.run(run, cwd=ROOT, check=True)
    subprocess.run([*coverage, "json", f"--data-file={data}", "-q", "-o", str(report)], cwd=ROOT, check=True)
    files = json.loads(report.read_text())["files"]
    assert sorted((ROOT / name).relative_to(ROOT).as_posix() for name in files) == JUDGED
    left_out = {
        name: (file["missing_lines"], file["missing_branches"])
        for name, file in files.items()
        if file["missing_lines"] or file["missing_branches"]
    }
    assert left_out == {}
