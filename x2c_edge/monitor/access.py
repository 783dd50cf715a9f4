"""Where the page listens, and who may do what there."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import ipaddress
import os
import re
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.places import home

Role = Literal["operator", "viewer"]

TOKEN_VARIABLE: Final = "X2C_EDGE_MONITOR_TOKEN"
DEFAULT_HOST: Final = "127.0.0.1"
_SHORTEST_TOKEN: Final = 16


@dataclass(frozen=True, slots=True)
class Access:
    """The rules of one page.

    host: as given or the default. token: the operator's. Where only this machine can reach the page, looking
    and stopping the robot take none; otherwise they take the viewers'. Everything else takes the operator's.
    """

    host: str
    port: int
    token: str

    @property
    def local(self) -> bool:
        """Only this machine can reach it."""
        return _is_loopback(self.host)

    @property
    def viewer_token(self) -> str:
        return hashlib.sha256(b"viewer " + self.token.encode()).hexdigest()[:22]

    def url(self, role: Role = "operator") -> str:
        """What to open. The token is behind a '#': browsers send that to nobody."""
        host = self.host
        if host in ("0.0.0.0", "::"):
            host = socket.gethostname()
        shown = f"[{host}]" if ":" in host else host
        token = self.token if role == "operator" else ("" if self.local else self.viewer_token)
        return f"http://{shown}:{self.port}/" + (f"#{token}" if token else "")

    def role_of(self, token: str) -> Role | None:
        """Who shows this token ("" for none); None for somebody who may not even look."""
        if hmac.compare_digest(token.encode(), self.token.encode()):
            return "operator"
        if self.local or hmac.compare_digest(token.encode(), self.viewer_token.encode()):
            return "viewer"
        return None

    def host_is_ours(self, host_header: str) -> bool:
        """Whether a request meant this server. A page elsewhere may have its own name lead here (DNS
        rebinding), which no browser notices but this header shows."""
        name = re.sub(r":\d*$", "", host_header).strip("[]").lower()
        if self.local:
            return name == "localhost" or _is_loopback(name)
        return bool(name)

    def origin_is_ours(self, origin: str | None, host_header: str) -> bool:
        """Whether a WebSocket was opened by our own page, or by a program (which has no Origin)."""
        return origin is None or origin.lower() in (f"http://{host_header}".lower(),)


def parse(address: str) -> Access:
    """``[HOST:]PORT`` of the page. BadArgumentError for anything else."""
    return Access(*address_of("--monitor", address), operator_token())


def address_of(option: str, address: str) -> tuple[str, int]:
    """Host and port of ``[HOST:]PORT``, this machine's own by default. BadArgumentError names the option."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]") or DEFAULT_HOST
    if not port.isdecimal() or int(port) > 65535 or "/" in host:
        raise BadArgumentError(f"{option} {address}: give [HOST:]PORT, such as 8080 or 0.0.0.0:8080")
    return host, int(port)


def listen(option: str, host: str, port: int) -> socket.socket:
    """The listening socket. NotFoundError, with the option's name, when the address cannot be used."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(64)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise NotFoundError(f"{option} {host}:{port}: {error.strerror}; choose another port") from None
    return listener


def operator_token() -> str:
    """``$X2C_EDGE_MONITOR_TOKEN``, or one kept for this user, so that a page survives the run's restart."""
    given = os.environ.get(TOKEN_VARIABLE, "")
    if given:
        if len(given) < _SHORTEST_TOKEN or not re.fullmatch(r"[\w.~-]+", given):
            raise BadArgumentError(
                f"{TOKEN_VARIABLE}: use at least {_SHORTEST_TOKEN} letters, digits, '-', '_', '.' or '~'"
            )
        return given
    state = os.environ.get("XDG_STATE_HOME") or home() / ".local" / "state"
    kept = Path(state) / "x2c-edge" / "monitor-token"
    with contextlib.suppress(OSError):
        if len(token := kept.read_text().strip()) >= _SHORTEST_TOKEN:
            return token
    token = secrets.token_urlsafe(16)
    with contextlib.suppress(OSError):  # then it is this run's only
        kept.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w") as file:
            file.write(token + "\n")
    return token


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
