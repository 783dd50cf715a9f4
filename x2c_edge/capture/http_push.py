"""``http-push://HOST:PORT/stream``: a phone posts one JPEG a request (docs/spec/links.md section 8).

The port is the loopback's unless the address says otherwise. What a stranger can do is bounded: the size of a
request, eight of them at once, the time that one may take from first byte to last, and pictures per second.
Whoever dawdles makes room when somebody else knocks. ``$X2C_EDGE_HTTP_TOKEN``, when set, must come as
``Authorization: Bearer``; it is looked at before anything else.
"""

from __future__ import annotations

import contextlib
import hmac
import io
import os
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import numpy as np

from x2c_edge.capture.base import OpenSource, SourceSpec
from x2c_edge.capture.jpeg import MOST_BYTES, MOST_PER_S, decode_jpeg, jpeg_is_sensible
from x2c_edge.capture.live import Live, Raw
from x2c_edge.capture.reopening import Reopening
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.frames import PixelFormat
from x2c_edge.schemes import parts_of

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 5000
TOKEN_VARIABLE: Final = "X2C_EDGE_HTTP_TOKEN"
AT_ONCE: Final = 8
REQUEST_S: Final = 5.0  # from the end of the request before to the last byte of this one
_DAWDLING_S: Final = 1.0  # a body that takes longer may have to make room
_PATIENCE_S: Final = 0.1
_LATE_WITHIN: Final = 1000  # a number this much smaller is a late picture; smaller still, the app's new start
_LATEST_NS: Final = 1_000_000_000  # so is any smaller one when no newer one came for so long
_NO_TOKEN: Final = (401, b"Authorization: Bearer TOKEN needed\n")
_BUSY: Final = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class _Reader(io.RawIOBase):
    """What a connection sends, until ``until`` (monotonic seconds), however it is spread over time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.until = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left_s = self.until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._connection.settimeout(left_s)
        return self._connection.recv_into(buffer)


class _Server(ThreadingHTTPServer):
    """Threads for at most ``AT_ONCE`` connections.

    When one more comes, the one that has been at its headers (or silent) for longest is cut off; if all are
    past them, the slowest body; if none is slow, the new one is told to come back.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], box: HttpPush) -> None:
        self.box = box
        self._free = threading.Semaphore(AT_ONCE)
        self._talking: dict[socket.socket, tuple[bool, float]] = {}  # whether its headers are in; since when
        self._talk = threading.Lock()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Upload)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False) or (
            self._cut_off() and self._free.acquire(timeout=_PATIENCE_S)
        ):
            self.note(request, heard=False)
            super().process_request(request, client_address)
            return
        with contextlib.suppress(OSError):
            request.sendall(_BUSY)
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._talk:
                self._talking.pop(request, None)
            self._free.release()

    def note(self, request: socket.socket, *, heard: bool) -> None:
        """A connection begins to wait for a request, or has shown its headers."""
        with self._talk:
            self._talking[request] = (heard, time.monotonic())

    def _cut_off(self) -> bool:
        """Make one connection give its place up; False when all are in use and none is slow."""
        with self._talk:
            if not self._talking:
                return False
            slowest = min(self._talking, key=lambda request: self._talking[request])
            heard, since = self._talking[slowest]
            if heard and time.monotonic() - since < _DAWDLING_S:
                return False
            del self._talking[slowest]
        with contextlib.suppress(OSError):
            slowest.shutdown(socket.SHUT_RDWR)  # wakes its thread, which closes it
        return True

    def handle_error(self, request: Any, client_address: Any) -> None:
        return  # a client that went away in the middle


class _Upload(BaseHTTPRequestHandler):
    server: _Server
    timeout = REQUEST_S
    protocol_version = "HTTP/1.1"
    server_version = "x2c-edge"
    sys_version = ""

    def setup(self) -> None:
        super().setup()
        self._reader = _Reader(self.connection)
        self.rfile = io.BufferedReader(self._reader)

    def handle_one_request(self) -> None:
        """With one deadline for all of it, from before the first byte."""
        self._reader.until = time.monotonic() + REQUEST_S
        self.server.note(self.connection, heard=False)
        super().handle_one_request()

    def do_GET(self) -> None:
        if not self.server.box.knows(self.headers.get("Authorization", "")):
            self.close_connection = True
            self._reply(*_NO_TOKEN)
            return
        self._reply(200 if self.path == "/" else 404, b"x2c-edge: POST a JPEG to /stream\n")

    def do_POST(self) -> None:
        t_ns = time.monotonic_ns()
        refusal = self._refusal()
        if refusal:
            self.close_connection = True  # its body is left unread
            self._reply(*refusal)
            return
        self.server.note(self.connection, heard=True)
        body = self._body(int(self.headers["Content-Length"]))
        if body is None:
            self.close_connection = True
            self._reply(408, b"too slow\n")
        elif not jpeg_is_sensible(body):
            self._reply(400, b"not a whole JPEG of at most 16 million pixels\n")
        else:
            self.server.box.put(t_ns, body, self._number())
            self._reply(200, b"OK")

    def _refusal(self) -> tuple[int, bytes] | None:
        length = self.headers.get("Content-Length", "")
        if not self.server.box.knows(self.headers.get("Authorization", "")):
            return _NO_TOKEN
        if self.path != self.server.box.path:
            return 404, b"POST to " + self.server.box.path.encode() + b"\n"
        if self.headers.get("Origin") is not None:
            return 403, b"not from web pages\n"
        if not (length.isascii() and length.isdecimal()):
            return 411, b"Content-Length needed\n"
        if len(length) > 9 or int(length) > MOST_BYTES:
            return 413, b"too large\n"
        if not self.server.box.has_time():
            return 429, b"too many pictures\n"
        return None

    def _body(self, length: int) -> bytes | None:
        """The body; None when it does not come in time. A client that trickles does not keep its place."""
        try:
            body = self.rfile.read(length)
        except TimeoutError:
            return None
        finally:
            self.connection.settimeout(REQUEST_S)  # for the answer
        return body if len(body) == length else None

    def _number(self) -> int | None:
        text = self.headers.get("X-Frame-Seq", "")
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None

    def _reply(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        return


class HttpPush:
    """A ``Device``: a listening port and a one-slot box. Its time is the arrival of the request."""

    format = "MJPG"
    fps = 30.0

    def __init__(self, host: str, port: int, path: str) -> None:
        self.path = path
        self.width = self.height = 0
        self._token = os.environ.get(TOKEN_VARIABLE, "").strip()
        self._filled = threading.Condition()
        self._picture: tuple[int, bytes] | None = None
        self._newest: int | None = None
        self._newest_ns = 0
        self._next_at = 0.0
        try:
            self._server = _Server((host, port), self)
        except OSError as error:
            raise NotFoundError(
                f"input http-push://{host}:{port}: {error.strerror}; choose an address of this machine and a "
                "free port"
            ) from None
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name=f"http {port}", daemon=True
        )
        self._thread.start()

    def knows(self, authorization: str) -> bool:
        """Whether a request's Authorization header will do."""
        expected = f"Bearer {self._token}".encode()
        return not self._token or hmac.compare_digest(authorization.encode("utf-8", "replace"), expected)

    def has_time(self) -> bool:
        """Whether another picture may come now."""
        with self._filled:
            now = time.monotonic()
            if now < self._next_at:
                return False
            self._next_at = max(self._next_at, now - 0.1) + 1 / MOST_PER_S
            return True

    def put(self, t_ns: int, data: bytes, number: int | None) -> None:
        """The newest picture; one with a smaller number than the newest is late and dropped, unless none was
        newer for a while: then the sender counts from another start."""
        with self._filled:
            if number is not None:
                late = self._newest is not None and 0 < self._newest - number < _LATE_WITHIN
                if late and t_ns - self._newest_ns < _LATEST_NS:
                    return
                self._newest, self._newest_ns = number, t_ns
            self._picture = (t_ns, data)
            self._filled.notify()

    def grab(self) -> tuple[int, Raw] | None:
        """The picture in the box; TimeoutError when there is none yet."""
        with self._filled:
            self._filled.wait_for(lambda: self._picture is not None, _PATIENCE_S)
            picture, self._picture = self._picture, None
        if picture is None:
            raise TimeoutError
        return picture[0], np.frombuffer(picture[1], np.uint8)

    def decode(self, raw: Raw) -> tuple[Raw, PixelFormat] | None:
        image = decode_jpeg(raw)
        if image is None:
            return None
        self.height, self.width = image.shape[:2]
        return image, "BGR"

    def release(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def http_push_source(text: str, spec: SourceSpec) -> OpenSource:
    """The source of ``http-push://HOST:PORT/stream``, not yet open."""
    parts = parts_of(text, "input")
    try:
        host, port = parts.hostname or DEFAULT_HOST, DEFAULT_PORT if parts.port is None else parts.port
    except ValueError:
        host, port = "", 0
    if not parts.netloc or not port or parts.query or "@" in parts.netloc:
        raise BadArgumentError(f"input '{text}': write http-push://HOST:PORT/stream, such as 127.0.0.1:5000")
    path = parts.path if parts.path not in ("", "/") else "/stream"
    return Reopening(Live(text, lambda: HttpPush(host, port, path), patient=True))
