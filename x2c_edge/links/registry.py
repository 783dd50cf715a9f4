"""Links by URI: ``make_link("serial:///dev/ttyUSB0?baud=921600", rate_hz=60)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from x2c_edge.errors import BadArgumentError, nearest
from x2c_edge.links.base import Link


def make_link(uri: str, *, rate_hz: int, lossless: bool = False) -> Link:
    """The link that ``uri`` names, not yet open.

    rate_hz: commands per second, 1..255. lossless: a file waits rather than drops (``--fast``); it
    changes nothing for a robot, which always gets the newest. BadArgumentError for a URI that cannot
    be understood.
    """
    scheme, colon, rest = uri.partition(":")
    if not colon or scheme not in _SCHEMES:
        raise BadArgumentError(
            f"link '{uri}': unknown scheme '{scheme}'{nearest(scheme, _SCHEMES)}; use one of "
            + ", ".join(f"{known}:" for known in _SCHEMES)
        )
    if not 1 <= rate_hz <= 255:
        raise BadArgumentError(f"rate {rate_hz}: a link sends 1 to 255 commands per second")
    return _SCHEMES[scheme](uri, rest, rate_hz, lossless)


def _null(uri: str, rest: str, rate_hz: int, lossless: bool) -> Link:
    from x2c_edge.links.null_link import NullLink

    if rest:
        raise BadArgumentError(f"link '{uri}': null: takes nothing after the colon")
    return NullLink(uri)


def _jsonl(uri: str, rest: str, rate_hz: int, lossless: bool) -> Link:
    from x2c_edge.links.jsonl_link import JsonlLink

    if not rest:
        raise BadArgumentError(f"link '{uri}': file name missing; write jsonl:FILE, or jsonl:- for stdout")
    return JsonlLink(rest, lossless=lossless, uri=uri)


def _serial(uri: str, rest: str, rate_hz: int, lossless: bool) -> Link:
    from x2c_edge.links.serial_link import DEFAULT_BAUD, SETTLE_S, SerialLink

    options = _options(uri, {"baud", "settle"})
    parts = urlsplit(uri)
    device = unquote(parts.path)
    if parts.netloc or not device.startswith("/"):
        raise BadArgumentError(
            f"link '{uri}': a port is a path with three slashes before it, such as serial:///dev/ttyUSB0"
        )
    baud = int(_number(uri, options, "baud", DEFAULT_BAUD, 1, 20_000_000, whole=True))
    settle_s = _number(uri, options, "settle", SETTLE_S, 0, 60)
    return SerialLink(device, rate_hz=rate_hz, baud=baud, settle_s=settle_s, uri=uri)


def _udp(uri: str, rest: str, rate_hz: int, lossless: bool) -> Link:
    from x2c_edge.links.udp_link import DEFAULT_HOST, DEFAULT_PORT, UdpLink, read_key

    options = _options(uri, {"key", "key_id"})
    parts = urlsplit(uri)
    try:
        host, port = parts.hostname or DEFAULT_HOST, parts.port
    except ValueError:
        raise BadArgumentError(f"link '{uri}': a port is a number from 1 to 65535") from None
    if not rest.startswith("//") or parts.path not in ("", "/") or port == 0 or "@" in parts.netloc:
        raise BadArgumentError(f"link '{uri}': write udp://HOST:PORT")
    key_id = int(_number(uri, options, "key_id", 1, 0, 255, whole=True))
    key = read_key(options.get("key"), key_id)
    return UdpLink(host, port or DEFAULT_PORT, rate_hz=rate_hz, key=key, uri=uri)


_SCHEMES: Final[dict[str, Callable[[str, str, int, bool], Link]]] = {
    "serial": _serial,
    "udp": _udp,
    "jsonl": _jsonl,
    "null": _null,
}


def _options(uri: str, allowed: set[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(urlsplit(uri).query, keep_blank_values=True):
        if name not in allowed:
            raise BadArgumentError(
                f"link '{uri}': unknown option '{name}'{nearest(name, allowed)}; it takes "
                + ", ".join(sorted(allowed))
            )
        options[name] = value
    return options


def _number(
    uri: str,
    options: dict[str, str],
    name: str,
    default: float,
    low: float,
    high: float,
    *,
    whole: bool = False,
) -> float:
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
