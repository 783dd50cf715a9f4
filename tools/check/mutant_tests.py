"""Tests against mutants, quickly: collected once, and only those that can notice, the fastest first.

pytest collects the tests once and runs them once unchanged, which tells how long each takes and which
functions it calls. Then, for every mutant, a process is forked. Where the body of a function differs, the
function there gets the changed code in place, and the tests that call it run until one fails. Where
something else differs (a constant, a class, a decorator, a function that runs at import), the modules are
imported anew from the changed source, and so are all tests.
"""

from __future__ import annotations

import gc
import os
import pickle
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, TypeVar

import pytest
import typer
from _pytest.runner import runtestprotocol
from hypothesis import Phase, settings

from tools.check.mutants import Mutant

CPU_S = 60  # for all tests, which take a quarter of it
SLOWER = 4  # a mutant that takes so many times longer than the original will never end
MEMORY = 4 << 30
OPTIONS = [
    *("-x", "-q", "--tb=no", "--disable-warnings", "-o", "timeout=0"),
    *("-p", "no:cacheprovider", "-p", "no:xdist"),
    "--ignore=tests/safety/test_coverage.py",  # runs the others once more
]

_T = TypeVar("_T")
Place = tuple[str, int, str]  # of a function: file, first line, name


def survivors_of(todo: list[Mutant], root: Path, tests: list[str], longest_s: float) -> list[Mutant]:
    """The mutants that all tests pass for, of those that take at most ``longest_s`` unchanged."""
    # The same examples for every mutant, and no time spent on finding the smallest one.
    phases = (Phase.explicit, Phase.generate)
    settings.register_profile("mutants", derandomize=True, database=None, deadline=None, phases=phases)
    settings.load_profile("mutants")
    session = _Session(todo, root, longest_s)
    code = pytest.main([*OPTIONS, *tests], plugins=[session])
    if code or not session.ran:
        raise typer.Exit(f"the tests fail without any change; mend them first: pytest {' '.join(tests)}")
    alive = session.survivors
    for mutant in _progress(session.left, "imported anew"):
        if _ends_well(lambda m=mutant: _import_and_test(m, tests)):
            alive.append(mutant)
    return sorted(alive, key=lambda m: (m.file, m.line))


def _progress(todo: list[_T], what: str) -> Iterator[_T]:
    begun = time.monotonic()
    for k, one in enumerate(todo):
        if k % 50 == 0:
            print(f"{what}: {k} of {len(todo)}, {time.monotonic() - begun:.0f} s", file=sys.stderr)
        yield one


def _ends_well(work: Callable[[], object], cpu_s: int = CPU_S) -> bool:
    """Whether ``work``, in a process of its own, returns 0 within ``cpu_s`` and the limit on memory."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            silence = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(silence, stream)
            code = int(bool(work()))
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0


class _Session:
    """A pytest plugin that runs the collected tests once, and then once more against every mutant.

    survivors: of those mutants that differ in a function's body. left: those that differ elsewhere.
    """

    def __init__(self, todo: list[Mutant], root: Path, longest_s: float) -> None:
        self._todo = todo
        self._root = root
        self._longest_s = longest_s
        self.ran = False
        self.survivors: list[Mutant] = []
        self.left: list[Mutant] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = session.items
        first = self._first_run(items)
        if len(first) != len(items):
            return True
        self.ran = True
        tests: dict[Place, list[int]] = defaultdict(list)
        for k in sorted(range(len(items)), key=lambda k: first[k][0]):
            for place in first[k][1] if first[k][0] <= self._longest_s else ():
                tests[place].append(k)
        functions = self._functions()
        quick = []
        for mutant in self._todo:
            changed = changed_functions((self._root / mutant.file), mutant.source)
            places = [place for place, _ in changed or ()]
            if places and all(place in functions and tests[place] for place in places):
                noticing = tests[places[0]]
                cpu_s = 3 + round(SLOWER * sum(first[k][0] for k in noticing))
                quick.append((mutant, changed, [items[k] for k in noticing], cpu_s))
            else:
                self.left.append(mutant)
        for mutant, changed, noticing, cpu_s in _progress(quick, "changed in place"):
            if _ends_well(lambda c=changed, n=noticing: _swap_and_test(functions, c, n), cpu_s):
                self.survivors.append(mutant)
        return True

    def _first_run(self, items: list[pytest.Item]) -> list[tuple[float, set[Place]]]:
        """Each test's seconds and the functions that it calls; shorter than ``items`` if one failed."""
        reading, writing = os.pipe()

        def run() -> int:
            found = []
            for item in items:
                called: set[Place] = set()
                begun = time.process_time()
                sys.settrace(_noting(called, str(self._root)))
                ok = _passes(item)
                sys.settrace(None)
                if not ok:
                    break
                found.append((time.process_time() - begun, called))
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(found, pipe)
            return 0

        pid = os.fork()
        if pid == 0:
            try:
                run()
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            found: list[tuple[float, set[Place]]] = pickle.load(pipe)
        os.waitpid(pid, 0)
        return found

    def _functions(self) -> dict[Place, list[FunctionType]]:
        """The functions of the mutated files, as they are in memory."""
        files = {str(self._root / m.file) for m in self._todo}
        found = defaultdict(list)
        for thing in gc.get_objects():
            if isinstance(thing, FunctionType) and thing.__code__.co_filename in files:
                found[_place(thing.__code__)].append(thing)
        return found


def _place(code: CodeType) -> Place:
    return code.co_filename, code.co_firstlineno, code.co_name


def _noting(called: set[Place], root: str) -> Callable[[FrameType, str, Any], None]:
    def trace(frame: FrameType, event: str, arg: Any) -> None:
        if frame.f_code.co_filename.startswith(root):
            called.add(_place(frame.f_code))

    return trace


def _passes(item: pytest.Item) -> bool:
    # Everything that the test set up is taken down: the next one may be of another module.
    return all(report.outcome != "failed" for report in runtestprotocol(item, log=False, nextitem=None))


def _swap_and_test(
    functions: dict[Place, list[FunctionType]],
    changed: list[tuple[Place, CodeType]],
    items: list[pytest.Item],
) -> int:
    for place, code in changed:
        for function in functions[place]:
            function.__code__ = code
    return 0 if all(map(_passes, items)) else 1


def changed_functions(file: Path, source: str) -> list[tuple[Place, CodeType]] | None:
    """The functions of ``file`` that are different in ``source``; None if anything else is."""
    before = compile(file.read_text(), str(file), "exec")
    return _changed(before, compile(source, str(file), "exec"))


def _changed(before: CodeType, after: CodeType) -> list[tuple[Place, CodeType]] | None:
    """Of a module or a class body."""
    if before.co_code != after.co_code or before.co_names != after.co_names:
        return None
    if len(before.co_consts) != len(after.co_consts):
        return None
    found: list[tuple[Place, CodeType]] = []
    for a, b in zip(before.co_consts, after.co_consts, strict=True):
        if not (isinstance(a, CodeType) and isinstance(b, CodeType)):
            if type(a) is not type(b) or a != b:
                return None
        elif a.co_flags & 0x1:  # CO_OPTIMIZED: a function's
            if not _same(a, b):
                found.append((_place(a), b))
        else:
            inside = _changed(a, b)
            if inside is None:
                return None
            found += inside
    return found


def _same(a: CodeType, b: CodeType) -> bool:
    """Whether two functions do the same, wherever their lines are."""
    if (a.co_code, a.co_names, a.co_varnames) != (b.co_code, b.co_names, b.co_varnames):
        return False
    return len(a.co_consts) == len(b.co_consts) and all(
        _same(x, y)
        if isinstance(x, CodeType) and isinstance(y, CodeType)
        else type(x) is type(y) and repr(x) == repr(y)
        for x, y in zip(a.co_consts, b.co_consts, strict=True)
    )


class _ChangedModule(MetaPathFinder, Loader):
    """Finds one module as it would be."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        self._name = mutant.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return spec_from_loader(fullname, self) if fullname == self._name else None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._mutant.source, self._mutant.file, "exec"), module.__dict__)


def _import_and_test(mutant: Mutant, tests: list[str]) -> int:
    for name in list(sys.modules):
        if name.startswith(("x2c_edge.", "tests.")) and name != "x2c_edge._kernels":
            del sys.modules[name]
    sys.meta_path.insert(0, _ChangedModule(mutant))
    stem = Path(mutant.file).stem
    # The file's own tests first: if it is killed, then most likely there.
    own = [str(path) for folder in tests for path in Path(folder).glob(f"test_{stem}.py")]
    return int(own and pytest.main([*OPTIONS, *own])) or int(pytest.main([*OPTIONS, *tests]))
