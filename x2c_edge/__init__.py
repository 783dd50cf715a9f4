"""x2c-edge: a person smiles at a camera; the Ameca humanoid wears the same smile, now.

As a library (docs/api.md): what is named here is loaded when it is first used, so that ``import x2c_edge``
costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from x2c_edge.capture.open import SourceSpec, open_source
    from x2c_edge.controls import NAMES, NEUTRAL
    from x2c_edge.errors import UserError
    from x2c_edge.frames import Command, Expression, Frame
    from x2c_edge.links.base import Link
    from x2c_edge.links.registry import make_link
    from x2c_edge.packs import Pack, open_pack
    from x2c_edge.runtime.face_reader import FaceReader, PictureReader
    from x2c_edge.runtime.open_run import open_run
    from x2c_edge.runtime.outlets import Outputs
    from x2c_edge.runtime.robot_output import RobotOutput
    from x2c_edge.runtime.run import Run
    from x2c_edge.runtime.settings import Settings
    from x2c_edge.runtime.settings import load as load_settings
    from x2c_edge.safety.supervisor import Supervisor

__version__ = "0.1.0"

# Where each name is defined; "module" for the same name there, "module:name" for another.
_DOORS = {
    "Command": "frames",
    "Expression": "frames",
    "FaceReader": "runtime.face_reader",
    "Frame": "frames",
    "Link": "links.base",
    "NAMES": "controls",
    "NEUTRAL": "controls",
    "Outputs": "runtime.outlets",
    "Pack": "packs",
    "PictureReader": "runtime.face_reader",
    "RobotOutput": "runtime.robot_output",
    "Run": "runtime.run",
    "Settings": "runtime.settings",
    "SourceSpec": "capture.open",
    "Supervisor": "safety.supervisor",
    "UserError": "errors",
    "load_settings": "runtime.settings:load",
    "make_link": "links.registry",
    "open_pack": "packs",
    "open_run": "runtime.open_run",
    "open_source": "capture.open",
}

__all__ = [
    "NAMES",
    "NEUTRAL",
    "Command",
    "Expression",
    "FaceReader",
    "Frame",
    "Link",
    "Outputs",
    "Pack",
    "PictureReader",
    "RobotOutput",
    "Run",
    "Settings",
    "SourceSpec",
    "Supervisor",
    "UserError",
    "__version__",
    "load_settings",
    "make_link",
    "open_pack",
    "open_run",
    "open_source",
]


def __getattr__(name: str) -> Any:
    if name not in _DOORS:
        raise AttributeError(f"module 'x2c_edge' has no attribute '{name}'")
    module, _, other = _DOORS[name].partition(":")
    value = getattr(import_module(f"x2c_edge.{module}"), other or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
