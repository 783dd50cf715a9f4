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

from x2c_edge.errors import BadArgumentError

Maker = TypeVar("Maker")


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
