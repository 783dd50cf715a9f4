"""WebSockets as the Tritium link and its stand-in use them; the one file that imports websockets."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Final

from x2c_edge.errors import NotFoundError

try:
    from websockets.datastructures import Headers
    from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, WebSocketException
    from websockets.http11 import Request, Response
    from websockets.sync.client import ClientConnection, connect
    from websockets.sync.server import ServerConnection, serve
except ImportError:
    raise NotFoundError("websockets is not installed; run: pip install 'x2c-edge[tritium]'") from None

_OPEN_S: Final = 1.0
_CLOSE_S: Final = 0.1
_PING_S: Final = 2.0
_MOST_BYTES: Final = 1 << 20


class UnauthorisedError(ConnectionError):
    """The other side refused the token (HTTP 401 or 403)."""


class Client:
    """One connection of ours. Everything that goes wrong is an OSError."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._stack = contextlib.ExitStack()
        try:
            self._connection: ClientConnection = self._stack.enter_context(
                connect(
                    url,
                    additional_headers=headers,
                    compression=None,
                    proxy=None,
                    open_timeout=_OPEN_S,
                    close_timeout=_CLOSE_S,
                    ping_interval=_PING_S,
                    ping_timeout=_PING_S,
                    max_size=_MOST_BYTES,
                )
            )
        except InvalidStatus as error:
            if error.response.status_code in (401, 403):
                raise UnauthorisedError(f"HTTP {error.response.status_code}") from None
            raise ConnectionError(f"HTTP {error.response.status_code}") from None
        except InvalidHandshake as error:
            raise ConnectionError(str(error)) from None

    def send(self, text: str) -> None:
        """Send one text message."""
        try:
            self._connection.send(text)
        except WebSocketException as error:
            raise ConnectionResetError(str(error)) from None

    def receive(self, timeout_s: float) -> str | None:
        """The next message, None when none comes in time. A binary one counts as an empty text."""
        try:
            message = self._connection.recv(max(timeout_s, 0.0))
        except TimeoutError:
            return None
        except WebSocketException as error:
            raise ConnectionResetError(str(error)) from None
        return message if isinstance(message, str) else ""

    def close(self) -> None:
        """Close; waits a moment at most."""
        self._stack.close()


class Server:
    """Accepts connections and answers text with text.

    admit: says from a request's headers whether it may connect. answer: called in the connection's own
    thread with every text message; its result is sent back, None ends the connection. NotFoundError when
    the address cannot be used.
    """

    def __init__(
        self,
        host: str,
        port: int,
        admit: Callable[[Mapping[str, str]], bool],
        answer: Callable[[str], str | None],
    ) -> None:
        def gate(connection: ServerConnection, request: Request) -> Response | None:
            return None if admit(_plain(request.headers)) else connection.respond(401, "refused\n")

        def talk(connection: ServerConnection) -> None:
            with self._lock:
                self._open.add(connection)
            try:
                for message in connection:
                    reply = answer(message if isinstance(message, str) else "")
                    if reply is None:
                        return
                    connection.send(reply)
            except ConnectionClosed:
                return
            finally:
                with self._lock:
                    self._open.discard(connection)

        self._lock = threading.Lock()
        self._open: set[ServerConnection] = set()
        try:
            self._server = serve(
                talk,
                host,
                port,
                process_request=gate,
                compression=None,
                close_timeout=_CLOSE_S,
                max_size=_MOST_BYTES,
            )
        except OSError as error:
            raise NotFoundError(f"{host}:{port}: {error.strerror}; choose another port") from None
        self._thread = threading.Thread(target=self._server.serve_forever, name=f"ws {port}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End every connection and leave the port."""
        self._server.shutdown()
        self._thread.join()
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            connection.close()


def _plain(headers: Headers) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.raw_items()}
