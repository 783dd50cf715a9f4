"""Links by URI: ``make_link("serial:///dev/ttyUSB0?baud=921600", rate_hz=60)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from x2c_edge.errors import BadArgumentError, nearest
from x2c_edge.links.base import Link, LinkNeeds
from x2c_edge.schemes import Schemes, require_no_nul

MakeLink = Callable[[str, LinkNeeds], Link]

LINKS: Final[Schemes[MakeLink]] = Schemes(
    "x2c_edge.links",
    {
        "serial": "x2c_edge.links.serial_link:serial_link",
        "udp": "x2c_edge.links.udp_link:udp_link",
        "zmq": "x2c_edge.links.zmq_link:zmq_link",
        "tritium": "x2c_edge.links.tritium_link:tritium_link",
        "jsonl": "x2c_edge.links.jsonl_link:jsonl_link",
        "null": "x2c_edge.links.null_link:null_link",
    },
)


_TO_A_FILE: Final = ("jsonl", "null")


def moves_a_robot(uri: str) -> bool:
    """Whether a robot is behind the link, as far as its scheme tells."""
    return uri.partition(":")[0] not in _TO_A_FILE


def make_link(uri: str, *, rate_hz: int, lossless: bool = False) -> Link:
    """The link that ``uri`` names, not yet open.

    rate_hz, lossless: see ``LinkNeeds``. BadArgumentError for a URI that cannot be understood.
    """
    require_no_nul(uri, "link")
    scheme, colon, _ = uri.partition(":")
    make = LINKS.find(scheme) if colon else None
    if make is None:
        known = LINKS.known()
        raise BadArgumentError(
            f"link '{uri}': unknown scheme '{scheme}'{nearest(scheme, known)}; use one of "
            + ", ".join(f"{one}:" for one in known)
        )
    if not 1 <= rate_hz <= 255:
        raise BadArgumentError(f"rate {rate_hz}: a link sends 1 to 255 commands per second")
    return make(uri, LinkNeeds(rate_hz, lossless))
