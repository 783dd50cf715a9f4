"""A backend that is wrong, for gates that must notice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from x2c_edge.packs import NetSpec


def altered(backend: type, change: Callable[[NetSpec, Any], None]) -> type:
    """The class ``backend``, whose nets' outputs ``change(net, out)`` alters in place."""

    class Altered(backend):  # type: ignore[misc]
        def bind(self, net, x, out, part=""):
            run = super().bind(net, x, out, part)

            def run_and_change() -> None:
                run()
                change(net, out)

            return run_and_change

    return Altered
