"""ZeroMQ sockets as this project uses them; the one file that imports zmq.

Multipart messages out of a :class:`Publisher`, the newest one into a :class:`Subscriber`, CURVE on both
when a key file is given. Socket options and their reasons: docs/spec/links.md section 6.

A key file has one word and one key (40 characters, Z85) a line: ``secret`` our own; in a robot's file
``server`` the host's public key, which the robot pins; in a host's file one ``allow`` for every robot that
may listen. ``python -m x2c_edge.zeromq HOST_FILE ROBOT_FILE`` makes a pair.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from x2c_edge.errors import BadArgumentError, NotFoundError, UserError

try:
    import zmq
    from zmq.auth.thread import ThreadAuthenticator
except ImportError:
    raise NotFoundError("ZeroMQ is not installed; run: pip install 'x2c-edge[zmq]'") from None

_HEARTBEAT_MS: Final = 1000
_DEAD_AFTER_MS: Final = 3000
_RECONNECT_MS: Final = (100, 2000)
_GREETING_MOST_BYTES: Final = 1024  # subscriptions, and CURVE's handshake of some 300
_MOST_AT_ONCE: Final = 1000  # messages read in one go, so that a flood cannot keep a reader for ever
_MOST_PARTS: Final = 64
SILENT_S: Final = 3.0
_QUIET: Final = logging.getLogger("x2c_edge.zeromq")  # else pyzmq writes about every stranger
_QUIET.addHandler(logging.NullHandler())
_DOMAIN: Final = "x2c-edge"
_KEY_WORDS: Final = ("secret", "server", "allow")


@dataclass(frozen=True, slots=True, repr=False)
class Curve:
    """Keys of one end. secret: ours. server: the host's public key. allowed: public keys of clients."""

    secret: bytes
    server: bytes | None
    allowed: frozenset[bytes]


def read_curve(path: str, *needed: str) -> Curve:
    """The keys in a file that must have a line for every word in ``needed``.

    NotFoundError when it cannot be read; BadArgumentError when it is wrong or others may read it.
    """
    try:
        with open(path, encoding="ascii") as file:
            mode = os.fstat(file.fileno()).st_mode
            lines = file.read(65536).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = os.strerror(error.errno or 0) if isinstance(error, OSError) else "not a key file"
        raise NotFoundError(f"CURVE file {path}: {reason}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise BadArgumentError(f"CURVE file {path}: others may read it; run 'chmod 600 {path}'")
    keys: dict[str, list[bytes]] = {word: [] for word in _KEY_WORDS}
    for number, line in enumerate(lines, 1):
        word, _, key = line.strip().partition(" ")
        if not word:
            continue
        if word not in keys or len(key.strip()) != 40:
            raise BadArgumentError(
                f"CURVE file {path}, line {number}: write 'secret', 'server' or 'allow' and a key of 40 "
                "characters; make files with 'python -m x2c_edge.zeromq HOST_FILE ROBOT_FILE'"
            )
        keys[word].append(key.strip().encode())
    for word in ("secret", *needed):
        if not keys[word]:
            raise BadArgumentError(f"CURVE file {path}: no line '{word} KEY'")
    server = keys["server"][0] if keys["server"] else None
    return Curve(keys["secret"][0], server, frozenset(keys["allow"]))


def write_curve_pair(host_file: Path, robot_file: Path) -> None:
    """New keys for a host and one robot that it allows. Existing files are left alone (BadArgumentError)."""
    host_public, host_secret = zmq.curve_keypair()
    robot_public, robot_secret = zmq.curve_keypair()
    contents = {
        host_file: {"secret": host_secret, "allow": robot_public},
        robot_file: {"secret": robot_secret, "server": host_public},
    }
    for path, keys in contents.items():
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise BadArgumentError(f"CURVE file {path}: {os.strerror(error.errno or 0)}") from None
        with open(fd, "wb") as file:
            file.writelines(word.encode() + b" " + key + b"\n" for word, key in keys.items())


def tcp(host: str, port: int) -> str:
    """The endpoint of a host and port; IPv6 addresses in brackets."""
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def _set_common(socket: zmq.Socket[bytes]) -> None:
    socket.linger = 0
    socket.ipv6 = True
    socket.tcp_keepalive = 1
    socket.heartbeat_ivl = _HEARTBEAT_MS
    socket.heartbeat_timeout = _DEAD_AFTER_MS


class Publisher:
    """A bound publisher that never waits and keeps nothing for a slow subscriber.

    It is an XPUB, the same to a subscriber as a PUB, because that knows whether anybody subscribes.
    OSError when the endpoint cannot be bound.
    """

    def __init__(self, endpoint: str, curve: Curve | None = None) -> None:
        self._subscriptions = 0
        self._context = zmq.Context()
        self._gatekeeper: ThreadAuthenticator | None = None
        try:
            if curve is not None:
                self._gatekeeper = ThreadAuthenticator(self._context, log=_QUIET)
                self._gatekeeper.start()
                self._gatekeeper.configure_curve_callback(_DOMAIN, _Allowed(curve.allowed))
            self._socket = self._context.socket(zmq.XPUB)
            _set_common(self._socket)
            self._socket.sndhwm = 1
            self._socket.maxmsgsize = _GREETING_MOST_BYTES
            if curve is not None:
                self._socket.curve_server = True
                self._socket.curve_secretkey = curve.secret
                self._socket.zap_domain = _DOMAIN.encode()
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            if self._gatekeeper is not None:
                self._gatekeeper.stop()
            self._context.destroy(linger=0)
            raise OSError(error.errno, error.strerror) from None

    def subscribed(self) -> bool:
        """Whether anybody listens."""
        for _ in range(_MOST_AT_ONCE):
            try:
                word = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            if word[:1] == b"\1":
                self._subscriptions += 1
            elif word[:1] == b"\0":
                self._subscriptions -= 1
        return self._subscriptions > 0

    def send(self, parts: Sequence[bytes]) -> None:
        """One message to every subscriber that can take it now."""
        self._socket.send_multipart(parts, zmq.NOBLOCK)

    def close(self, linger_s: float) -> None:
        """Let the last message leave, waiting ``linger_s`` at most."""
        self._socket.close(linger=round(linger_s * 1000))
        if self._gatekeeper is not None:
            self._gatekeeper.stop()
        self._context.term()


@dataclass(frozen=True, slots=True)
class _Allowed:
    """Who may connect, for pyzmq's authenticator (ZAP, ZeroMQ RFC 27)."""

    keys: frozenset[bytes]

    def callback(self, domain: str, key: bytes) -> bool:
        """key: the client's, Z85."""
        return key in self.keys


class Subscriber:
    """A subscriber to everything; it reconnects by itself for ever and is read to the newest message.

    queue: messages that may wait unread; with fewer than 16 the reader falls behind (section 6).
    most_bytes: of a message, all parts together; at least 1024, for the handshake. A longer part ends the
    connection, and so does a longer message once its last part is there: libzmq has no limit to that, so keep
    to peers that you trust, or to CURVE. skipped: messages that a newer one replaced. refused: too long.
    BadArgumentError for an endpoint that makes no sense.
    """

    def __init__(self, endpoint: str, *, queue: int, most_bytes: int, curve: Curve | None = None) -> None:
        self._endpoint = endpoint
        self._most_bytes = max(most_bytes, _GREETING_MOST_BYTES)
        self.skipped = self.refused = 0
        self._heard_at = time.monotonic()
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        _set_common(self._socket)
        self._socket.rcvhwm = queue
        self._socket.maxmsgsize = self._most_bytes
        self._socket.reconnect_ivl, self._socket.reconnect_ivl_max = _RECONNECT_MS
        self._socket.subscribe(b"")
        if curve is not None and curve.server is not None:
            self._socket.curve_serverkey = curve.server
            self._socket.curve_secretkey = curve.secret
            self._socket.curve_publickey = zmq.curve_public(curve.secret)
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise BadArgumentError(f"{endpoint}: {error.strerror}; write HOST:PORT") from None

    def newest(self, timeout_s: float) -> list[bytes] | None:
        """The parts of the newest message; None when none comes within ``timeout_s``."""
        if not self._socket.poll(round(timeout_s * 1000)):
            if time.monotonic() - self._heard_at > SILENT_S:
                self._connect_anew()
            return None
        self._heard_at = time.monotonic()
        message: list[bytes] | None = None
        for _ in range(_MOST_AT_ONCE):
            try:
                newer = self._receive()
            except zmq.Again:
                break
            if newer is None:
                self.refused += 1
                self._connect_anew()
                break
            self.skipped += message is not None
            message = newer
        return message

    def _receive(self) -> list[bytes] | None:
        """One message, part by part; None when it is too long. zmq.Again when there is none."""
        parts: list[bytes] = []
        size, number, more = 0, 0, True
        while more:
            part = self._socket.recv(zmq.NOBLOCK)
            more = bool(self._socket.getsockopt(zmq.RCVMORE))
            size, number = size + len(part), number + 1
            if size <= self._most_bytes and number <= _MOST_PARTS:
                parts.append(part)
            else:
                parts.clear()  # read to its end all the same: parts left behind would begin the next one
        return parts if size <= self._most_bytes and number <= _MOST_PARTS else None

    def _connect_anew(self) -> None:
        """libzmq gives a connection up for good when a part was too long; silence is all that is seen.

        What waits of the old connection is forgotten.
        """
        with contextlib.suppress(zmq.ZMQError):
            self._socket.disconnect(self._endpoint)
        self._socket.connect(self._endpoint)
        self._heard_at = time.monotonic()

    def close(self) -> None:
        """Let go of everything."""
        self._socket.close(linger=0)
        self._context.term()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m x2c_edge.zeromq HOST_FILE ROBOT_FILE")
    try:
        write_curve_pair(Path(sys.argv[1]), Path(sys.argv[2]))
    except UserError as error:
        sys.exit(str(error))
