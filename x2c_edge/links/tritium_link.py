"""``tritium://``: messages to a script on the robot, through its gateway (docs/spec/links.md section 7).

GraphQL over a WebSocket, one request in flight; newer commands replace the one that waits. There is no
way back: an answered request means "delivered", nothing more.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from typing import Any, Final

import numpy as np

from x2c_edge.controls import to_robot
from x2c_edge.errors import BadArgumentError
from x2c_edge.frames import Command
from x2c_edge.links.base import LinkNeeds, unix_time_of
from x2c_edge.links.uri import address_of, number_of, options_of
from x2c_edge.links.websocket import Client, UnauthorisedError
from x2c_edge.links.worker import WorkerLink

DEFAULT_PORT: Final = 1234
DEFAULT_RATE: Final = 30
TOKEN_VARIABLE: Final = "X2C_EDGE_TRITIUM_TOKEN"
CHANNEL: Final = "x2c_edge.controls"
POST_MESSAGE: Final = "mutation PostMessage($input: PostMessageInput!) { postMessage(input: $input) }"
ANSWER_S: Final = 0.5
TOKEN_PAUSE_S: Final = 30.0
_IDLE_S: Final = 1.0
_SESSION: Final = json.dumps({"session_type": "graphql", "description": "x2c-edge"})


def read_token() -> str:
    """The gateway's token from the environment. BadArgumentError when there is none, or it is no token."""
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not token or not token.isascii() or not token.isprintable():
        raise BadArgumentError(
            f"${TOKEN_VARIABLE} holds no token; make one on the robot's web page (Scripts, API keys) and "
            f"export {TOKEN_VARIABLE}=..."
        )
    return token


def message_of(command: Command, *, run: int, seq: int, time_s: float) -> dict[str, Any]:
    """The channel message of section 7.3. ValueError for a value that is not finite."""
    values = to_robot(command.values)
    if not np.isfinite(values).all():
        raise ValueError("a non-finite value is never encoded")
    return {
        "v": 1,
        "run": f"{run:08x}",
        "seq": seq,
        "t": round(time_s, 6),
        "flags": command.flags,
        "c": [round(value, 5) + 0.0 for value in values.tolist()],
    }


def tritium_link(uri: str, needs: LinkNeeds) -> TritiumLink:
    """The link of ``tritium://HOST:PORT?rate=N``, not yet open."""
    options = options_of(uri, {"rate"})
    host, port = address_of(uri, "127.0.0.1", DEFAULT_PORT)
    rate = int(
        number_of(uri, options, "rate", min(DEFAULT_RATE, needs.rate_hz), 1, needs.rate_hz, whole=True)
    )
    return TritiumLink(host, port, token=read_token(), rate_hz=rate, uri=uri)


class TritiumLink(WorkerLink[Client]):
    """One robot's gateway. rate_hz: posts per second at most; the ticks between them are not sent."""

    def __init__(
        self, host: str, port: int, *, token: str, rate_hz: int = DEFAULT_RATE, uri: str | None = None
    ) -> None:
        super().__init__(uri or f"tritium://{host}:{port}", rate_hz=rate_hz)
        self._where = f"tritium {host}:{port}"
        self._url = f"ws://[{host}]:{port}/" if ":" in host else f"ws://{host}:{port}/"
        self._token = token
        self._request_id = 0

    def connect(self) -> Client:
        headers = {"x-tritium-token": self._token, "x-tritium-session-metadata": _SESSION}
        return Client(self._url, headers)

    def disconnect(self, channel: Client) -> None:
        channel.close()

    def pause_after(self, error: OSError, pause_s: float) -> float:
        return TOKEN_PAUSE_S if isinstance(error, UnauthorisedError) else super().pause_after(error, pause_s)

    def explain(self, error: OSError) -> str:
        if isinstance(error, UnauthorisedError):
            return (
                f"{self._where}: the gateway refuses the token ({error}); make a new one and put it into "
                f"${TOKEN_VARIABLE}"
            )
        if isinstance(error, socket.gaierror):
            return f"{self._where}: no such host; check the name"
        if isinstance(error, ConnectionRefusedError):
            return f"{self._where}: nothing listens there; switch the robot on, check the address"
        if isinstance(error, TimeoutError):
            return f"{self._where}: {error.strerror or error}; check the network and the robot's load"
        return f"{self._where}: {error.strerror or error}"

    def talk(self, channel: Client) -> None:
        outbox = self.outbox
        run, seq = secrets.randbelow((1 << 32) - 1) + 1, 0
        self._request_id = 0
        period_s = 1 / self._rate_hz
        due = time.monotonic()
        outbox.enter("up")
        while not outbox.finished():
            wait_s = due - time.monotonic() if outbox.waits() else _IDLE_S
            if wait_s > 0:
                woken = outbox.wait(max(0.0, min(wait_s, outbox.time_left())))
                if not woken and not outbox.waits():
                    channel.receive(0)  # notices a connection that has ended
                continue
            command = outbox.take()
            if command is None:
                continue
            due = max(due, time.monotonic() - period_s) + period_s
            try:
                message = message_of(command, run=run, seq=seq, time_s=unix_time_of(command))
            except ValueError as error:
                outbox.failed(f"command {command.seq} refused: {error}")
                continue
            seq = (seq + 1) % (1 << 32)
            if self._post(channel, message):
                outbox.wrote(command)
                outbox.enter("up")
            else:
                outbox.drop()
                outbox.enter("down")

    def _post(self, channel: Client, message: dict[str, Any]) -> bool:
        """Whether the gateway took the message. TimeoutError when it does not answer."""
        request_id, self._request_id = self._request_id, self._request_id + 1
        request = {
            "type": "graphql",
            "request_id": request_id,
            "document": POST_MESSAGE,
            "variable_values": {"input": {"channel": CHANNEL, "message": message}},
        }
        channel.send(json.dumps(request, allow_nan=False, separators=(",", ":")))
        until = time.monotonic() + ANSWER_S
        while (left_s := min(until - time.monotonic(), self.outbox.time_left())) > 0:
            text = channel.receive(left_s)
            answer = None if text is None else _answer_to(request_id, text)
            if answer is not None:
                if answer:
                    self.outbox.failed(f"{self._where}: the gateway says: {answer}")
                return not answer
        raise TimeoutError(f"no answer within {ANSWER_S * 1000:.0f} ms")


def _answer_to(request_id: int, text: str) -> str | None:
    """What the gateway complains about, empty when it does not; None when this is no answer to us."""
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(answer, dict) or answer.get("request_id") != request_id:
        return None
    data = answer.get("data")
    errors = data.get("errors") if isinstance(data, dict) else None
    complaint = answer.get("error") or errors
    return " ".join(str(complaint).split())[:200] if complaint else ""
