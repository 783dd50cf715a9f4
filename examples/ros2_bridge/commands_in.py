"""What x2c-edge sends, in the shape that ROS 2 wants it in. No ROS in here, so it is tested without."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from x2c_edge.controls import CONTROLS, N_CONTROLS
from x2c_edge.robot.endpoints import make_endpoint
from x2c_edge.robot.faults import Faults
from x2c_edge.robot.receiver import Demand, Receiver

# The controls that are joints: angles, in radians as ROS has them. The others are plain numbers.
_ANGLES = [c for c in CONTROLS if c.unit == "radian"]
JOINTS = [c.name.lower().replace(" ", "_") for c in _ANGLES]
_PLACES = [c.index for c in _ANGLES]


class CommandsIn:
    """The commands of one ``--link`` of x2c-edge: ``zmq://HOST:PORT`` or ``udp://HOST:PORT`` without a key.

    It only listens: no telemetry goes back, and nothing is done about silence.
    """

    def __init__(self, uri: str) -> None:
        """BadArgumentError for a URI that makes no sense, NotFoundError when the port is taken."""
        self._endpoint = make_endpoint(uri, Faults(""))
        self._endpoint.open()
        self._judge = Receiver(time.monotonic())

    def newest(self, timeout_s: float = 0.0) -> NDArray[np.float64] | None:
        """The newest command since the last call, (30,) paper units; None when there was none.

        Datagrams that come twice, late, or from another sender than the one that is followed do not count.
        A control that the sender leaves alone is NaN.
        """
        newest = None
        for arrival in self._endpoint.receive(timeout_s):
            if isinstance(arrival, Demand) and self._judge.take(arrival, time.monotonic()) == "applied":
                newest = arrival.values
        self._judge.tick(time.monotonic())  # so that a sender that has gone may be followed by another
        return newest

    def close(self) -> None:
        self._endpoint.close()


def joint_positions(values: NDArray[np.float64]) -> list[float]:
    """Radians, in the order of ``JOINTS``, for sensor_msgs/JointState.position."""
    return [float(values[place]) for place in _PLACES]


def control_array(values: NDArray[np.float64]) -> list[float]:
    """All 30, alphabetical by name, in paper units, for std_msgs/Float32MultiArray.data."""
    assert values.shape == (N_CONTROLS,)
    return [float(value) for value in values]
