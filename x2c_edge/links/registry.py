"""Links by URI: ``make_link("serial:///dev/ttyUSB0?baud=921600", rate_hz=60)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import unquote, urlsplit

from x2c_edge.errors import BadArgumentError, nearest
from x2c_edge.links.base import Link
from x2c_edge.links.uri import address_of, number_of, options_of


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

    options = options_of(uri, {"baud", "settle"})
    parts = urlsplit(uri)
    device = unquote(parts.path)
    if parts.netloc or not device.startswith("/"):
        raise BadArgumentError(
            f"link '{uri}': a port is a path with three slashes before it, such as serial:///dev/ttyUSB0"
        )
    baud = int(number_of(uri, options, "baud", DEFAULT_BAUD, 1, 20_000_000, whole=True))
    settle_s = number_of(uri, options, "settle", SETTLE_S, 0, 60)
    return SerialLink(device, rate_hz=rate_hz, baud=baud, settle_s=settle_s, uri=uri)


def _udp(uri: str, rest: str, rate_hz: int, lossless: bool) -> Link:
    from x2c_edge.links.udp_link import DEFAULT_HOST, DEFAULT_PORT, UdpLink, read_key

    options = options_of(uri, {"key", "key_id"})
    host, port = address_of(uri, DEFAULT_HOST, DEFAULT_PORT)
    key_id = int(number_of(uri, options, "key_id", 1, 0, 255, whole=True))
    key = read_key(options.get("key"), key_id)
    return UdpLink(host, port, rate_hz=rate_hz, key=key, uri=uri)


def _zmq(uri: str, rest: str, rate_hz: int, lossless: bool) -> Link:
    from x2c_edge.links.zmq_link import DEFAULT_HOST, DEFAULT_PORT, ZmqLink
    from x2c_edge.zeromq import read_curve

    options = options_of(uri, {"variant", "curve"})
    host, port = address_of(uri, DEFAULT_HOST, DEFAULT_PORT)
    variant = options.get("variant", "30")
    if variant not in ("30", "31"):
        raise BadArgumentError(f"link '{uri}': variant is 30 or 31 (31 puts the send time first)")
    curve = read_curve(options["curve"], "secret") if "curve" in options else None
    return ZmqLink(host, port, with_time=variant == "31", curve=curve, uri=uri)


def _tritium(uri: str, rest: str, rate_hz: int, lossless: bool) -> Link:
    from x2c_edge.links.tritium_link import DEFAULT_PORT, DEFAULT_RATE, TritiumLink, read_token

    options = options_of(uri, {"rate"})
    host, port = address_of(uri, "127.0.0.1", DEFAULT_PORT)
    rate = int(number_of(uri, options, "rate", min(DEFAULT_RATE, rate_hz), 1, rate_hz, whole=True))
    return TritiumLink(host, port, token=read_token(), rate_hz=rate, uri=uri)


_SCHEMES: Final[dict[str, Callable[[str, str, int, bool], Link]]] = {
    "serial": _serial,
    "udp": _udp,
    "zmq": _zmq,
    "tritium": _tritium,
    "jsonl": _jsonl,
    "null": _null,
}
