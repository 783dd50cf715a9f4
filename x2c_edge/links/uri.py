"""Reading link URIs, and saying in one line what is wrong with one."""

from __future__ import annotations

from urllib.parse import parse_qsl

from x2c_edge.errors import BadArgumentError, nearest
from x2c_edge.schemes import parts_of


def options_of(uri: str, allowed: set[str]) -> dict[str, str]:
    """What follows the question mark. BadArgumentError for an option that the link does not have."""
    options: dict[str, str] = {}
    for name, value in parse_qsl(parts_of(uri, "link").query, keep_blank_values=True):
        if name not in allowed:
            raise BadArgumentError(
                f"link '{uri}': unknown option '{name}'{nearest(name, allowed)}; it takes "
                + ", ".join(sorted(allowed))
            )
        options[name] = value
    return options


def number_of(
    uri: str,
    options: dict[str, str],
    name: str,
    default: float,
    low: float,
    high: float,
    *,
    whole: bool = False,
) -> float:
    """One option as a number from ``low`` to ``high``, ``default`` when it is not given."""
    text = options.get(name)
    if text is None:
        return default
    try:
        value = float(int(text) if whole else float(text))
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise BadArgumentError(f"link '{uri}': {name} is {kind} from {low:g} to {high:g}, not '{text}'")
    return value


def address_of(uri: str, default_host: str, default_port: int) -> tuple[str, int]:
    """Host and port of ``SCHEME://HOST:PORT``, the defaults where they are left out.

    BadArgumentError for anything else, a path or a user name included.
    """
    parts = parts_of(uri, "link")
    try:
        host, port = parts.hostname or default_host, parts.port
    except ValueError:
        raise BadArgumentError(f"link '{uri}': a port is a number from 1 to 65535") from None
    slashes = uri.partition(":")[2].startswith("//")
    if not slashes or parts.path not in ("", "/") or port == 0 or "@" in parts.netloc:
        raise BadArgumentError(f"link '{uri}': write {parts.scheme}://HOST:PORT")
    return host, port or default_port
