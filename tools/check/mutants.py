"""The mutants of a source file: cosmic-ray's operators, and one that leaves a statement out.

Of cosmic-ray's operators that change a sign, one or two a sign are enough: the opposite, and the neighbour at
the boundary. What changes nothing but annotations is no mutant.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Example, Operator
from cosmic_ray.plugins import get_operator

_BINARY = (
    ("Add", "Sub"),
    ("Sub", "Add"),
    ("Mul", "Div"),
    ("Div", "Mul"),
    ("FloorDiv", "Mul"),
    ("Mod", "FloorDiv"),
    ("RShift", "LShift"),
    ("LShift", "RShift"),
    ("BitOr", "BitAnd"),
    ("BitAnd", "BitOr"),
    ("BitXor", "BitAnd"),
)
_COMPARISON = (
    ("Eq", "NotEq"),
    ("NotEq", "Eq"),
    ("Lt", "LtE"),
    ("Lt", "GtE"),
    ("LtE", "Lt"),
    ("LtE", "Gt"),
    ("Gt", "GtE"),
    ("Gt", "LtE"),
    ("GtE", "Gt"),
    ("GtE", "Lt"),
    ("Is", "IsNot"),
    ("IsNot", "Is"),
)
_OTHER = (
    "AddNot",
    "NumberReplacer",
    "RemoveDecorator",
    "ReplaceAndWithOr",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "ReplaceFalseWithTrue",
    "ReplaceOrWithAnd",
    "ReplaceTrueWithFalse",
    "ReplaceUnaryOperator_Delete_Invert",
    "ReplaceUnaryOperator_Delete_Not",
    "ReplaceUnaryOperator_USub_UAdd",
    "ZeroIterationForLoop",
)


class RemoveStatement(Operator):
    """Leaves out a call, a raise, or an assignment that changes what is there already."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        if node.type == "simple_stmt" and _can_go(node.children[0]):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        first = node.children[0]
        leaf = first.get_first_leaf()
        node.children[0] = parso.python.tree.Name("pass", first.start_pos, leaf.prefix)
        return node

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("f(1)\n", "pass\n"), Example("a.b = 1\n", "pass\n"), Example("a += 1\n", "pass\n"))


def _can_go(statement: Any) -> bool:
    if statement.type == "expr_stmt":
        target, sign = statement.children[:2]
        if sign.type == "annassign":
            return False
        if target.type == "name" and sign.type == "operator" and sign.value == "=":
            return any(n.type == "name" and n.value == target.value for n in ast_nodes(statement.children[2]))
        return target.type != "name" or sign.type != "operator" or sign.value != "="
    return statement.type in ("atom_expr", "power", "raise_stmt")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one file. where: the function or class it is in; was, now: the lines that differ."""

    file: str
    line: int
    where: str
    was: str
    now: str
    source: str

    @property
    def name(self) -> tuple[str, str, str, str]:
        return self.file, self.where, self.was, self.now


def _operators() -> list[Operator]:
    names = [f"ReplaceBinaryOperator_{a}_{b}" for a, b in _BINARY]
    names += [f"ReplaceComparisonOperator_{a}_{b}" for a, b in _COMPARISON]
    return [RemoveStatement(), *(get_operator(f"core/{name}")() for name in (*names, *_OTHER))]


class _WithoutAnnotations(ast.NodeTransformer):
    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        self.generic_visit(node)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AnnAssign:
        node.annotation = ast.Constant(0)
        self.generic_visit(node)
        return node


def _meaning(source: str) -> str:
    return ast.dump(_WithoutAnnotations().visit(ast.parse(source)))


def mutants(root: Path, file: str) -> list[Mutant]:
    """All mutants of ``root``/``file`` in the order of their lines, none twice."""
    source = (root / file).read_text()
    seen = {_meaning(source)}
    found = []
    for operator in _operators():
        nodes = ast_nodes(get_ast(source))
        for k in range(sum(1 for node in nodes for _ in operator.mutation_positions(node))):
            changed = mutate_code(source, operator, k)
            try:
                meaning = _meaning(changed)
            except SyntaxError:
                continue
            if meaning not in seen:
                seen.add(meaning)
                found.append(_named(file, source, changed))
    return sorted(found, key=lambda m: m.line)


def _named(file: str, source: str, changed: str) -> Mutant:
    old, new = source.splitlines(), changed.splitlines()
    _, a1, a2, b1, b2 = next(
        op for op in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes() if op[0] != "equal"
    )
    # cosmic-ray puts a space before a number.
    was, now = (" ".join(" ".join(lines).split()) for lines in (old[a1:a2], new[b1:b2]))
    return Mutant(file, a1 + 1, _enclosing(source, a1 + 1), was, now, changed)


def _enclosing(source: str, line: int) -> str:
    scopes = (
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.ClassDef)
    )
    return ".".join(node.name for node in scopes if node.lineno <= line <= (node.end_lineno or 0))
