"""What counts as a mutant, and which of them can be tried in place."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("cosmic_ray", reason="pip install -e '.[mutation]'")

from tools.check.mutant_tests import changed_functions
from tools.check.mutants import mutants

SOURCE = '''"""Doc."""

from __future__ import annotations

MOST = 3


class Counter:
    def __init__(self, start: int | None) -> None:
        self.n = start or 0

    def step(self, by: int) -> int:
        self.n += by
        if self.n < MOST:
            log(self.n)
        return self.n
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "counter.py").write_text(SOURCE)
    return tmp_path / "counter.py"


def test_signs_numbers_and_statements_change_and_annotations_do_not(file: Path) -> None:
    found = [(m.where, m.was, m.now) for m in mutants(file.parent, file.name)]
    assert ("", "MOST = 3", "MOST = 4") in found
    assert ("Counter.step", "if self.n < MOST:", "if self.n <= MOST:") in found
    assert ("Counter.step", "if self.n < MOST:", "if self.n >= MOST:") in found
    assert ("Counter.step", "log(self.n)", "pass") in found
    assert ("Counter.step", "self.n += by", "pass") in found
    assert ("Counter.__init__", "self.n = start or 0", "self.n = start and 0") in found
    assert not any("int | None" in was for _, was, _ in found)
    assert len(set(found)) == len(found)


def test_only_bodies_of_functions_are_tried_in_place(file: Path) -> None:
    for mutant in mutants(file.parent, file.name):
        changed = changed_functions(file, mutant.source)
        if mutant.where:
            assert [name for (_, _, name), _ in changed or []] == [mutant.where.split(".")[-1]]
        else:
            assert changed is None
