"""The robot behind its gateway: the gateway, and the script that gets the messages."""

from __future__ import annotations

import contextlib
import json
import queue
import secrets
import time
from collections.abc import Mapping
from typing import Final

import numpy as np

from x2c_edge.controls import N_CONTROLS, from_robot
from x2c_edge.links.codec import FrameError
from x2c_edge.links.tritium_link import CHANNEL, DEFAULT_PORT, DEFAULT_RATE, read_token
from x2c_edge.links.uri import address_of, number_of, options_of
from x2c_edge.links.websocket import Server
from x2c_edge.robot.endpoint import Arrival, Endpoint
from x2c_edge.robot.faults import Faults
from x2c_edge.robot.receiver import Demand

_MESSAGES_MOST: Final = 64
_MOST: Final = 1e12  # of any number; NaN is not below it, and an integer may be too large for a float


class TritiumEndpoint(Endpoint):
    """The robot's gateway and the script behind it."""

    def __init__(self, uri: str, faults: Faults) -> None:
        super().__init__(uri)
        faults.refuse_damaged_bits(uri)
        options = options_of(uri, {"rate"})
        self._address = address_of(uri, "127.0.0.1", DEFAULT_PORT)
        self._rate_hz = int(number_of(uri, options, "rate", DEFAULT_RATE, 1, 255, whole=True))
        self._token = read_token()
        self._faults = faults
        self._messages: queue.Queue[tuple[object, object]] = queue.Queue(_MESSAGES_MOST)
        self._silent_until = 0.0

    def open(self) -> None:
        self._silent_until = 0.0
        self._server = Server(*self._address, admit=self._admit, answer=self._answer)

    def _admit(self, headers: Mapping[str, str]) -> bool:
        given = headers.get("x-tritium-token", "")
        if secrets.compare_digest(given.encode(), self._token.encode()):
            return True
        self._bad["auth"] += 1
        return False

    def be_silent(self, seconds: float) -> None:
        """Answer nothing for so long."""
        self._silent_until = time.monotonic() + seconds

    def _answer(self, text: str) -> str | None:
        """In the connection's thread: hand the message on, answer the request."""
        while (left_s := self._silent_until - time.monotonic()) > 0:
            time.sleep(min(left_s, 0.05))
        try:
            request = json.loads(text)
            request_id = request["request_id"]
            document, given = request["document"], request["variable_values"]["input"]
            if request["type"] != "graphql" or "postMessage" not in document:
                raise ValueError("only postMessage is known here")
            channel, message = given["channel"], given["message"]
        except (ValueError, KeyError, TypeError, RecursionError):
            self._bad["type"] += 1
            return None
        with contextlib.suppress(queue.Full):
            self._messages.put_nowait((channel, message))
        return json.dumps(
            {"type": "graphql_response", "request_id": request_id, "data": {"data": {"postMessage": None}}}
        )

    def receive(self, timeout_s: float) -> list[Arrival]:
        arrivals: list[Arrival] = []
        for _ in range(_MESSAGES_MOST):
            try:
                channel, message = self._messages.get(timeout=0.0 if arrivals else max(timeout_s, 0.001))
            except queue.Empty:
                break
            if channel != CHANNEL:
                continue
            try:
                demand = _script_demand(message, self._rate_hz)
            except FrameError as error:
                self._bad[error.reason] += 1
                continue
            arrivals += [demand] * self._faults.passes()
        return arrivals

    def close(self) -> None:
        self._server.close()


def _script_demand(message: object, rate_hz: int) -> Demand:
    """The channel message of docs/spec/links.md section 7.3. FrameError for any other."""
    if not isinstance(message, dict) or message.get("v") != 1:
        raise FrameError("version")
    try:
        run, seq, flags = int(message["run"], 16), message["seq"], message["flags"]
        t_s, numbers = message["t"], message["c"]
    except (KeyError, ValueError, TypeError):
        raise FrameError("layout") from None
    integers = all(type(n) is int and 0 <= n < 1 << 32 for n in (run, seq, flags))
    if not isinstance(numbers, list) or len(numbers) != N_CONTROLS:
        raise FrameError("length")
    if not integers or not all(type(n) in (int, float) and abs(n) < _MOST for n in (*numbers, t_s)):
        raise FrameError("nonfinite")
    values = from_robot(np.array(numbers, dtype=np.float64))
    return Demand(run, seq, values, flags=flags & 0xFF, rate_hz=rate_hz, t_s=float(t_s), sent_s=float(t_s))
