"""The robot as a subscriber."""

from __future__ import annotations

from functools import partial

from x2c_edge.controls import from_robot
from x2c_edge.links.codec import FrameError
from x2c_edge.links.uri import address_of, options_of
from x2c_edge.links.zmq_link import DEFAULT_HOST, DEFAULT_PORT, MOST_PART_BYTES, decode_parts
from x2c_edge.robot.endpoint import Arrival, Endpoint
from x2c_edge.robot.faults import Faults
from x2c_edge.robot.receiver import Demand
from x2c_edge.zeromq import Subscriber, read_curve, tcp


class ZmqEndpoint(Endpoint):
    """A subscriber as the authors' robot script should be: read to the newest, accepts 30 and 31 parts."""

    def __init__(self, uri: str, faults: Faults) -> None:
        super().__init__(uri)
        faults.refuse_damaged_bits(uri)
        options = options_of(uri, {"variant", "curve"})
        host, port = address_of(uri, DEFAULT_HOST, DEFAULT_PORT)
        curve = read_curve(options["curve"], "server") if "curve" in options else None
        self._address = tcp("127.0.0.1" if host == "*" else host, port)
        self._connect = partial(Subscriber, queue=1000, most_bytes=MOST_PART_BYTES, curve=curve)
        self._faults = faults
        self._seq = 0

    def open(self) -> None:
        self._subscriber = self._connect(self._address)

    def receive(self, timeout_s: float) -> list[Arrival]:
        parts = self._subscriber.newest(timeout_s)
        if parts is None:
            return []
        try:
            time_s, robot_values = decode_parts(parts)
        except FrameError as error:
            self._bad[error.reason] += 1
            return []
        values = from_robot(robot_values)
        arrivals: list[Arrival] = []
        for _ in range(self._faults.passes()):
            self._seq += 1
            arrivals.append(Demand(0, self._seq, values, rate_hz=60, t_s=time_s, sent_s=time_s))
        return arrivals

    def close(self) -> None:
        self.skipped += self._subscriber.skipped
        self._subscriber.close()
