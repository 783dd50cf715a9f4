"""From TOML to a tree of frozen dataclasses, checked; and back, for people to read.

A room's settings are its own frozen dataclass, which is all there is to say about them: names, types,
defaults, and with ``Within`` what a file may say. A tree is a dataclass of those (``runtime/settings.py``).
It is filled from its defaults, a TOML file, then the command line. Every error names the key and what is
allowed there.
"""

from __future__ import annotations

import os
import re
import types
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from x2c_edge.errors import BadArgumentError, nearest
from x2c_edge.places import expanded, home
from x2c_edge.toml_text import from_toml, toml_key, toml_value
from x2c_edge.within import Within

Tree = TypeVar("Tree")
Tables = dict[str, Any]


def default_path() -> Path:
    """The file that ``setup`` and ``check-robot`` write, and that is read when no other is named."""
    named = os.environ.get("XDG_CONFIG_HOME", "")
    folder = Path(named) if named.startswith("/") else home() / ".config"
    return folder / "x2c-edge" / "config.toml"


def load(tree: type[Tree], path: Path | None, overrides: dict[str, Tables] | None = None) -> Tree:
    """Defaults, then the TOML file, then ``overrides`` (section -> key -> value; None is "not given").

    BadArgumentError in one line for a file that cannot be read and for every wrong key and value.
    """
    data: Tables = {}
    typed: set[tuple[str, str]] = set()  # keys that the command line gave
    if path is not None:
        try:
            data = from_toml(path.read_bytes())
        except OSError as error:
            raise BadArgumentError(f"config {path}: {error.strerror}") from None
        except ValueError as error:
            raise BadArgumentError(f"config {path}: not TOML: {error}") from None
    for section, values in (overrides or {}).items():
        given = {key: value for key, value in values.items() if value is not None}
        if given:
            current = data.setdefault(section, {})
            if isinstance(current, dict):
                _forget_another_source(current, given)
                current.update(given)
                typed.update((section, key) for key in given)
    file = "command line" if path is None else f"config {path}"
    try:
        return filled(tree, data)
    except _WrongKeyError as complaint:
        where = "command line" if complaint.at in typed else file
        raise BadArgumentError(f"{where}: {complaint}") from None
    except BadArgumentError as error:
        raise BadArgumentError(f"{file}: {error}") from None


def _forget_another_source(capture: Tables, given: Tables) -> None:
    """One source, whichever kind the file names; and a file's size, rate and format belong to its source."""
    kinds = ("camera", "input")
    if not any(kind in given for kind in kinds):
        return
    named = {kind: capture.pop(kind) for kind in kinds if kind in capture}
    if named and named != {kind: given[kind] for kind in kinds if kind in given}:
        for key in ("width", "height", "fps", "format"):
            capture.pop(key, None)


def filled(tree: type[Tree], tables: Tables) -> Tree:
    """The tree with what ``tables`` say. BadArgumentError names the first key that is wrong."""
    model: type[BaseModel] = _model_of(tree)  # type: ignore[arg-type]
    try:
        read = model.model_validate(tables)
    except ValidationError as error:
        raise _described(model, error) from None
    except RecursionError:
        raise BadArgumentError("is nested too deeply; a section has keys with plain values") from None
    whole: Tree = _plain(read)
    return whole


class _WrongKeyError(BadArgumentError):
    """What is wrong with the value ``at`` a section and key."""

    def __init__(self, at: tuple[str, str], message: str) -> None:
        super().__init__(message)
        self.at = at


# --- pydantic models of dataclasses ----------------------------------------------------------------


class _Section(BaseModel):
    # strict: "60" and true are not numbers.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


_KINDS: Final[dict[type[BaseModel], type]] = {}


@cache
def _model_of(kind: type) -> type[BaseModel]:
    """The model that reads what ``kind`` is made of."""
    hints = get_type_hints(kind, include_extras=True)
    given: dict[str, Any] = {}
    for item in fields(kind):
        default = item.default
        if item.default_factory is not MISSING:
            default = item.default_factory()
        given[item.name] = (_annotation(hints[item.name]), ... if default is MISSING else default)
    model = create_model(kind.__name__, __base__=_Section, **given)
    _KINDS[model] = kind
    return model


def _annotation(hint: Any) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return _model_of(hint)  # type: ignore[arg-type]
    if origin is Annotated:
        bounds = next(note for note in inner if isinstance(note, Within))
        low = {"gt" if bounds.above else "ge": bounds.low}
        return Annotated[_annotation(inner[0]), Field(le=bounds.high, **low)]  # type: ignore[call-overload]
    if origin in (Union, types.UnionType):
        return Union[tuple(map(_annotation, inner))]  # noqa: UP007
    if origin is dict:
        return types.GenericAlias(dict, (inner[0], _annotation(inner[1])))
    if hint is float:
        return Annotated[float, Field(allow_inf_nan=False)]
    if hint is Path or origin is tuple:  # TOML and the command line have text and lists
        return Annotated[hint, Field(strict=False)]
    return hint


def _plain(value: Any) -> Any:
    """What a model has read, as the dataclass that the model was made of."""
    if isinstance(value, BaseModel):
        return _KINDS[type(value)](**{name: _plain(part) for name, part in value})
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return expanded(str(value)) if isinstance(value, Path) else value


def _described(model: type[BaseModel], error: ValidationError) -> _WrongKeyError:
    """The first complaint in one line with what is allowed.

    An unknown key comes before a missing one: it is often the same key, misspelt.
    """
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    location = [str(part) for part in first["loc"]]
    # pydantic adds the member of a union, and "[key]" for a table's own keys; a key may have such a name too.
    if first["type"] != "extra_forbidden" and location[-1] in ("int", "str", "[key]"):
        location.pop()
    key, given = ".".join(location), first["input"]
    at = (location[0], location[1] if len(location) > 1 else "")
    choices: list[str] = re.findall(r"'([^']*)'", first.get("ctx", {}).get("expected", ""))
    if first["type"] == "extra_forbidden":
        choices = _keys_of(model, location[:-1])
    if first["type"] == "extra_forbidden" or "[key]" in first["loc"]:
        hint = nearest(location[-1], choices)
        return _WrongKeyError(at, f"unknown key {key!r}{hint}; allowed here: {', '.join(choices)}")
    if first["type"] == "missing":
        return _WrongKeyError(at, f"{key} is missing; give it a value")
    if first["type"] in ("model_type", "dict_type"):
        return _WrongKeyError(at, f"{key} = {given!r}: is a table; write its keys below [{key}]")
    if choices:
        hint = nearest(given, choices) if isinstance(given, str) else ""
        return _WrongKeyError(at, f"{key} = {given!r}{hint}: choose {', '.join(choices)}")
    message = first["msg"].replace("tuple", "list").removesuffix(" for <class 'pathlib.Path'>")
    return _WrongKeyError(at, f"{key} = {given!r}: {message[0].lower()}{message[1:]}")


def _keys_of(model: type[BaseModel], location: list[str]) -> list[str]:
    parts = iter(location)
    for part in parts:
        inner: Any = model.model_fields[part].annotation
        if get_origin(inner) is dict:  # a table with free keys: the next part is one of them
            inner = get_args(inner)[1]
            next(parts)
        model = inner
    return list(model.model_fields)


# --- for people to read ----------------------------------------------------------------------------


def shown(settings: object) -> str:
    """The whole tree as TOML; behind what differs from its default stands the default."""
    return "\n".join(_lines((), settings, type(settings)())).lstrip("\n")


def _lines(path: tuple[str, ...], settings: object, default: object) -> Iterator[str]:
    values, usual = _parts(settings), _parts(default)
    plain = {key: value for key, value in values.items() if not _is_table(value)}
    if path and plain:
        yield ""
        yield f"[{'.'.join(map(toml_key, path))}]"
    for key, value in plain.items():
        line = f"# {toml_key(key)}: not set" if value is None else f"{toml_key(key)} = {toml_value(value)}"
        before = usual.get(key)
        if value != before:
            line += f"  # default: {'not set' if before is None else toml_value(before)}"
        yield line
    for key, value in values.items():
        if _is_table(value):
            yield from _lines((*path, key), value, usual.get(key))


def _is_table(value: object) -> bool:
    return is_dataclass(value) or isinstance(value, dict)


def _parts(table: object) -> Tables:
    if is_dataclass(table):
        return {item.name: getattr(table, item.name) for item in fields(table)}
    return table if isinstance(table, dict) else {}
