"""Files and folders as the system may have them: no home, one that is closed to us, names in no encoding."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from x2c_edge.errors import NotFoundError

_NOWHERE: Final = Path("/nonexistent")  # Debian's home of those who have none


def home() -> Path:
    """The user's home; a folder that does not exist for a user without one (a container's, a daemon's)."""
    try:
        return Path.home()
    except RuntimeError:
        return _NOWHERE


def expanded(text: str) -> Path:
    """The path with "~" replaced where it names somebody's home; "~clip.mp4" is a file's name."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def exists(path: Path) -> bool:
    """Whether something is there, as far as we may look; nothing has a name that no name can be."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_readable_file(path: Path) -> bool:
    """Whether it is a file, as far as we may look."""
    try:
        return path.is_file()
    except OSError:
        return False


def found_in(folder: Path, pattern: str) -> list[Path]:
    """What ``folder`` has of this pattern, sorted; nothing where it is closed to us."""
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


def opencv_name(path: Path | str) -> str:
    """The whole path as OpenCV takes it; it crashes on a name that is not UTF-8. NotFoundError for one, and
    where the working folder is gone."""
    try:
        whole = str(Path(path).absolute())
        whole.encode()
    except UnicodeEncodeError:
        raise NotFoundError(f"{path}: its name is not UTF-8; rename it") from None
    except OSError as error:
        raise NotFoundError(f"{path}: the folder where we are is gone ({error.strerror})") from None
    return whole
