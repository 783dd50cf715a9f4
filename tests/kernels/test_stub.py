"""``_kernels.pyi`` says what the module has: the same names, arguments, order and defaults."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import x2c_edge
from x2c_edge import _kernels

STUB = ast.parse(Path(x2c_edge.__file__).with_name("_kernels.pyi").read_text())
FUNCTIONS = {node.name: node for node in STUB.body if isinstance(node, ast.FunctionDef)}
CLASSES = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}
HERE = _kernels.cuda_built()
ONLY_WITH_CUDA = {
    *CLASSES,
    "cuda_begin_capture",
    "cuda_end_capture",
    "cuda_abandon_capture",
    "cuda_set_highest_priority",
}


def arguments_of(function: ast.FunctionDef) -> list[tuple[str, str, object]]:
    """Name, kind and default (as Python text, None without one) of each argument, ``self`` left out."""
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(positional) - len(given.defaults)) + [ast.unparse(d) for d in given.defaults]
    rows: list[tuple[str, str, object]] = [
        (arg.arg, "positional", default) for arg, default in zip(positional, defaults, strict=True)
    ]
    for arg, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        rows.append((arg.arg, "keyword", None if default is None else ast.unparse(default)))
    return [row for row in rows if row[0] != "self"]


def signature_in(docstring: str) -> ast.FunctionDef:
    """What pybind11 writes as the first line of a docstring."""
    (node,) = ast.parse(f"def {docstring.splitlines()[0]}: ...").body
    assert isinstance(node, ast.FunctionDef)
    return node


def test_the_names_are_the_same():
    declared = {*FUNCTIONS, *CLASSES}
    if not HERE:
        declared -= ONLY_WITH_CUDA
    assert declared == {name for name in vars(_kernels) if not name.startswith("_")}


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - (set() if HERE else ONLY_WITH_CUDA)))
def test_a_function_has_the_arguments_that_the_stub_says(name):
    documented = getattr(_kernels, name).__doc__
    assert arguments_of(FUNCTIONS[name]) == arguments_of(signature_in(documented))
    assert documented.count("\n") > 0  # pybind11's line, then ours


@pytest.mark.skipif(not HERE, reason="built without CUDA")
@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_class_has_the_methods_that_the_stub_says(name):
    methods = {node.name: node for node in CLASSES[name].body if isinstance(node, ast.FunctionDef)}
    known = vars(getattr(_kernels, name))
    assert set(methods) <= set(known)
    assert {public for public in known if not public.startswith("_")} <= set(methods)
    for method in methods.values():
        if not method.decorator_list:  # a property has no arguments
            documented = signature_in(known[method.name].__doc__)
            assert [row[0] for row in arguments_of(method)] == [row[0] for row in arguments_of(documented)]
