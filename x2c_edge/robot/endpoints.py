"""Endpoints by link URI: ``make_endpoint("udp://127.0.0.1:47800", faults)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from x2c_edge.errors import BadArgumentError, nearest
from x2c_edge.robot.endpoint import Endpoint
from x2c_edge.robot.faults import Faults
from x2c_edge.schemes import Schemes

MakeEndpoint = Callable[[str, Faults], Endpoint]

ENDPOINTS: Final[Schemes[MakeEndpoint]] = Schemes(
    "x2c_edge.endpoints",
    {
        "serial": "x2c_edge.robot.serial_endpoint:SerialEndpoint",
        "udp": "x2c_edge.robot.udp_endpoint:UdpEndpoint",
        "zmq": "x2c_edge.robot.zmq_endpoint:ZmqEndpoint",
        "tritium": "x2c_edge.robot.tritium_endpoint:TritiumEndpoint",
    },
)


def make_endpoint(uri: str, faults: Faults) -> Endpoint:
    """The endpoint of a link URI. BadArgumentError for one that cannot be understood."""
    scheme = uri.partition(":")[0]
    make = ENDPOINTS.find(scheme)
    if make is None:
        known = ENDPOINTS.known()
        raise BadArgumentError(
            f"link '{uri}': unknown scheme '{scheme}'{nearest(scheme, known)}; the robot listens on "
            + ", ".join(f"{one}:" for one in known)
        )
    return make(uri, faults)
