"""``setup``: which camera and which robot a run without arguments is to use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from x2c_edge.capture.camera import V4L2Camera
from x2c_edge.capture.modes import CameraFound
from x2c_edge.errors import NotFoundError, UserError
from x2c_edge.links.search import RobotFound

Choose = Callable[[str, Sequence[str]], int]  # a question and the choices; which, or -1 for none
T = TypeVar("T")
_TRIES: Final = 5  # the first pictures of some cameras are damaged


def tried(camera: CameraFound) -> tuple[dict[str, Any] | None, str]:
    """The ``[capture]`` of a camera that has just delivered a picture; else None, and what is wrong."""
    try:
        return _tried(camera), ""
    except UserError as error:
        return None, str(error)


def _tried(camera: CameraFound) -> dict[str, Any]:
    """NotFoundError when it delivers none."""
    if camera.trouble:
        raise NotFoundError(f"camera {camera.path}: {camera.trouble}")
    device = V4L2Camera(camera.path)
    try:
        if not any(_gives_a_picture(device) for _ in range(_TRIES)):
            raise NotFoundError(
                f"camera {camera.path}: its {device.format} pictures are damaged; try another USB port"
            )
        return {
            "camera": camera.path,
            "width": device.width,
            "height": device.height,
            "fps": round(device.fps, 3),
            "format": device.format,
            "input": None,
        }
    finally:
        device.release()


def _gives_a_picture(device: V4L2Camera) -> bool:
    grabbed = device.grab()
    return grabbed is not None and device.decode(grabbed[1]) is not None


def chosen(question: str, found: Sequence[T], words: Callable[[T], str], choose: Choose) -> T | None:
    """The only one, or the one that is chosen."""
    if len(found) <= 1:
        return found[0] if found else None
    number = choose(question, [words(one) for one in found])
    return found[number] if 0 <= number < len(found) else None


def changes(capture: dict[str, Any] | None, link: str | None) -> dict[str, Any]:
    """What the settings must say; what was not found stays as it is."""
    parts: dict[str, Any] = {}
    if capture is not None:
        parts["capture"] = capture
    if link is not None:
        parts["run"] = {"link": [link]}
    return parts


def of_robot(robot: RobotFound) -> str:
    """One line about a place where a robot may be."""
    name = f" ({robot.name})" if robot.name and robot.name not in robot.uri else ""
    return f"{robot.uri}{name}: {robot.heard}"


def of_camera(camera: CameraFound) -> str:
    """One line about a camera."""
    return f"{camera.path} ({camera.name}): {camera.summary}" if camera.name else camera.path
