"""``udp://``: a frame per datagram, with a shared secret when a key is given (docs/spec/links.md section 5).

With a key, challenge mode: Hello, then every frame carries a tag made with the robot's challenge, and
nothing unauthenticated is believed. Without one, commands leave at once and answers are taken as they
come from the address that commands go to; meant for the loopback.
"""

from __future__ import annotations

import errno
import ipaddress
import math
import os
import re
import secrets
import select
import socket
import stat
import time
from collections.abc import Callable
from typing import Final

from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.links.base import LinkNeeds
from x2c_edge.links.codec import (
    FrameError,
    Hello,
    HelloAck,
    Key,
    Message,
    Status,
    decode,
    decode_authenticated,
    encode,
    encode_authenticated,
    message_of_command,
)
from x2c_edge.links.conversation import Conversation
from x2c_edge.links.outbox import Outbox
from x2c_edge.links.uri import address_of, number_of, options_of
from x2c_edge.links.worker import WorkerLink

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 47800
KEY_VARIABLE: Final = "X2C_EDGE_UDP_KEY"
_SILENCE_S: Final = 0.4
_REFUSED_S: Final = 1.0
_POLL_MAX_S: Final = 0.2
_DATAGRAM_MAX: Final = 256  # longer ones are cut off by the kernel, and then refused by their length
_BATCH: Final = 64
_EXPEDITED: Final = 0xB8  # DSCP EF


def read_key(path: str | None, key_id: int) -> Key | None:
    """The key in ``path`` (64 hexadecimal digits or 32 raw bytes), else in $X2C_EDGE_UDP_KEY, else None.

    NotFoundError when the file cannot be read; BadArgumentError when it holds no key or others may read it.
    """
    if path is None:
        text = os.environ.get(KEY_VARIABLE, "").strip()
        return Key(_key_bytes(text.encode(), f"${KEY_VARIABLE}"), key_id) if text else None
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(256)
    except OSError as error:
        raise NotFoundError(f"key file {path}: {os.strerror(error.errno or 0)}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise BadArgumentError(f"key file {path}: others may read it; run 'chmod 600 {path}'")
    return Key(_key_bytes(data, f"key file {path}"), key_id)


def _key_bytes(data: bytes, where: str) -> bytes:
    if len(data) == 32:
        return data
    text = data.strip()
    if not re.fullmatch(rb"[0-9a-fA-F]{64}", text):
        raise BadArgumentError(
            f"{where}: a key is 64 hexadecimal digits or 32 bytes; make one with 'openssl rand -hex 32'"
        )
    return bytes.fromhex(text.decode())


def udp_link(uri: str, needs: LinkNeeds) -> UdpLink:
    """The link of ``udp://HOST:PORT?key=FILE&key_id=N``, not yet open."""
    options = options_of(uri, {"key", "key_id"})
    host, port = address_of(uri, DEFAULT_HOST, DEFAULT_PORT)
    key_id = int(number_of(uri, options, "key_id", 1, 0, 255, whole=True))
    key = read_key(options.get("key"), key_id)
    return UdpLink(host, port, rate_hz=needs.rate_hz, key=key, uri=uri)


class UdpLink(WorkerLink[socket.socket]):
    """One robot at one address."""

    def __init__(
        self,
        host: str = DEFAULT_HOST,
        port: int = DEFAULT_PORT,
        *,
        rate_hz: int,
        key: Key | None = None,
        uri: str | None = None,
    ) -> None:
        super().__init__(uri or f"udp://{host}:{port}", rate_hz=rate_hz)
        self._address = (host, port)
        self._key = key

    def connect(self) -> socket.socket:
        family, kind, proto, _, address = socket.getaddrinfo(*self._address, type=socket.SOCK_DGRAM)[0]
        if ipaddress.ip_address(str(address[0]).split("%")[0]).is_multicast:
            raise OSError(errno.EACCES, "multicast")
        channel = socket.socket(family, kind, proto)
        try:
            channel.setblocking(False)
            if family == socket.AF_INET:
                channel.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _EXPEDITED)
            # A connected socket takes datagrams from this address only, and learns of a closed port.
            channel.connect(address)
        except OSError:
            channel.close()
            raise
        return channel

    def disconnect(self, channel: socket.socket) -> None:
        channel.close()

    def explain(self, error: OSError) -> str:
        where = f"udp {self._address[0]}:{self._address[1]}"
        if isinstance(error, socket.gaierror):
            return f"{where}: no such host; check the name"
        if error.errno == errno.ECONNREFUSED:
            return f"{where}: nothing listens there; start the robot's receiver"
        if error.errno == errno.EACCES:
            return f"{where}: broadcast and multicast are not used; name one robot"
        return f"{where}: {os.strerror(error.errno or 0)}; check the network"

    def talk(self, channel: socket.socket) -> None:
        _SocketTalk(self.outbox, channel, self._key, self._rate_hz, self.explain).run()


class _SocketTalk:
    """One life of a socket: one run after another, each begun by a greeting."""

    def __init__(
        self,
        outbox: Outbox,
        channel: socket.socket,
        key: Key | None,
        rate_hz: int,
        explain: Callable[[OSError], str],
    ) -> None:
        self._outbox = outbox
        self._explain = explain
        self._socket = channel
        self._key = key
        self._rate_hz = rate_hz
        self._refused_until = 0.0
        self._begin()

    def _begin(self) -> None:
        self._conversation = Conversation(self._rate_hz)
        self._challenge: int | None = None
        self._nonce = secrets.randbits(64)
        self._greet_at = time.monotonic()

    def run(self) -> None:
        outbox, poll = self._outbox, select.poll()
        poll.register(outbox.wake_fd, select.POLLIN)
        poll.register(self._socket, select.POLLIN)
        while not outbox.finished():
            delay_s = min(self._step(), outbox.time_left(), _POLL_MAX_S)
            for fd, _ in poll.poll(math.ceil(max(0.0, delay_s) * 1000)):
                if fd == outbox.wake_fd:
                    outbox.clear_wake()
                else:
                    self._read()

    def _step(self) -> float:
        """Send what is due; seconds until the next thing is."""
        outbox, now, now_ns = self._outbox, time.monotonic(), time.monotonic_ns()
        if now >= self._greet_at:
            if self._key and self._challenge is not None:
                outbox.enter("down", f"{outbox.uri}: no authentic answer; greeting again")
                self._begin()
            self._greet(now_ns)
            self._greet_at = now + _SILENCE_S
        conversation = self._conversation
        refusal = conversation.refusal()
        ready = self._key is None or self._challenge is not None
        if refusal:
            outbox.enter("down", refusal)
            if outbox.closing:
                outbox.abandon()
            if conversation.ping_delay_s(now_ns) == 0:
                self._send(conversation.ping(now_ns))
            return min(conversation.ping_delay_s(now_ns), self._greet_at - now)
        if ready:
            outbox.enter("down" if now < self._refused_until else "up")
            while outbox.waits() and self._send_command(now_ns):
                pass
        return self._greet_at - now

    def _send_command(self, now_ns: int) -> bool:
        """Send the command that waits; False when that failed."""
        command = self._outbox.take()
        if command is None:
            return False
        conversation = self._conversation
        try:
            message = message_of_command(
                command,
                run=conversation.run,
                seq=conversation.take_seq(),
                rate_hz=self._rate_hz,
                now_ns=now_ns,
            )
            frame = self._encode(message)
        except ValueError as error:
            self._outbox.failed(f"command {command.seq} refused: {error}")
            return False
        if not self._transmit(frame):
            self._outbox.drop()
            return False
        self._outbox.wrote(command)
        return True

    def _greet(self, now_ns: int) -> None:
        conversation = self._conversation
        self._send(
            Hello(
                run=conversation.run,
                seq=conversation.take_seq(),
                t_us=now_ns // 1000,
                nonce=self._nonce,
                rate_hz=self._rate_hz,
            )
        )

    def _send(self, message: Message) -> None:
        self._transmit(self._encode(message))

    def _encode(self, message: Message) -> bytes:
        if self._key:
            return encode_authenticated(message, self._key, self._challenge or 0)
        return encode(message)

    def _transmit(self, frame: bytes) -> bool:
        try:
            self._socket.send(frame)
        except BlockingIOError:
            return False
        except ConnectionRefusedError as error:
            self._nobody_there(error)
            return False
        return True

    def _nobody_there(self, error: OSError) -> None:
        self._refused_until = time.monotonic() + _REFUSED_S
        self._outbox.failed(self._explain(error))

    def _read(self) -> None:
        # A flood is read in batches, so that commands keep leaving between them.
        for _ in range(_BATCH):
            try:
                frame = self._socket.recv(_DATAGRAM_MAX)
            except BlockingIOError:
                return
            except ConnectionRefusedError as error:
                self._nobody_there(error)
                return
            try:
                self._hear(self._decode(frame))
            except FrameError as error:
                self._outbox.failed(f"{self._outbox.uri}: datagram refused: {error.reason}")

    def _decode(self, frame: bytes) -> Message:
        if self._key:
            return decode_authenticated(frame, self._key, self._challenge or 0)
        return decode(frame)

    def _hear(self, message: Message) -> None:
        greeted = isinstance(message, HelloAck) and message.nonce == self._nonce
        if greeted and self._challenge is None and isinstance(message, HelloAck):
            self._challenge = message.challenge
        if greeted or (isinstance(message, Status) and (self._key is None or self._challenge is not None)):
            self._greet_at = time.monotonic() + _SILENCE_S
            self._refused_until = 0.0
            self._conversation.hear(message)
            self._outbox.hear(self._conversation.status)
