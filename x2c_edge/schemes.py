"""What the scheme of a URI leads to: what we have and what installed packages bring, in a table of one shape.

A package brings one with an entry point that has the scheme for its name:

    [project.entry-points."x2c_edge.links"]
    mqtt = "my_robot.mqtt_link:mqtt_link"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar, cast
from urllib.parse import SplitResult, urlsplit

from x2c_edge.errors import BadArgumentError

Maker = TypeVar("Maker")


def parts_of(text: str, what: str) -> SplitResult:
    """``urlsplit``; BadArgumentError where it cannot read the text. what: it is, for the message."""
    try:
        return urlsplit(text)
    except ValueError as error:
        raise BadArgumentError(f"{what} '{text}': {str(error)[:1].lower()}{str(error)[1:]}") from None


def require_no_nul(text: str, what: str) -> None:
    """BadArgumentError for a character that no name can have."""
    if "\0" in text:
        raise BadArgumentError(f"{what} {text!r}: holds a NUL character; leave it out")


@dataclass(frozen=True)
class Schemes(Generic[Maker]):
    """One table. group: of the entry points. ours: "module:function" by scheme, as entry points are written.

    A function is imported when its scheme is asked for, not before. A package cannot replace one of ours.
    """

    group: str
    ours: Mapping[str, str]

    def known(self) -> list[str]:
        """Every scheme: ours in the table's order, then those of packages."""
        return [*self.ours, *sorted({point.name for point in self._installed()} - set(self.ours))]

    def find(self, scheme: str) -> Maker | None:
        """What makes the things of ``scheme``; None when nobody does.

        BadArgumentError when a package says that it does, and fails to load.
        """
        if scheme in self.ours:
            return cast(Maker, EntryPoint(scheme, self.ours[scheme], self.group).load())
        point = next((point for point in self._installed() if point.name == scheme), None)
        if point is None:
            return None
        try:
            return cast(Maker, point.load())
        except Exception as error:  # whatever a stranger's module does when it is imported
            package = point.dist.name if point.dist else point.value
            raise BadArgumentError(
                f"{scheme}: comes from the package {package}, which cannot be loaded "
                f"({type(error).__name__}: {error}); mend or remove it"
            ) from error

    def _installed(self) -> list[EntryPoint]:
        return list(entry_points(group=self.group))
