"""Robots that can be found: on serial ports, and where a UDP or Tritium receiver answers.

Nothing is commanded. A ZeroMQ robot subscribes to us and says nothing, so it cannot be found; name its link.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from x2c_edge.errors import UserError
from x2c_edge.links.base import Link
from x2c_edge.links.registry import make_link
from x2c_edge.links.serial_link import adapter_names
from x2c_edge.links.tritium_link import TOKEN_VARIABLE

LISTEN_S: Final = 2.5  # a microcontroller that the opening resets needs about two
ANSWER_S: Final = 0.6
_PORTS: Final = ("ttyUSB*", "ttyACM*", "ttyTHS*")
_RATE_HZ: Final = 60
_COMPLETE: Final = 0x2  # a flag of /proc/net/arp
_MOST_NEIGHBOURS: Final = 64


@dataclass(frozen=True, slots=True)
class RobotFound:
    """A place where a robot is, or may be.

    name: of the adapter or the host. speaks: a robot was heard there. heard: what it said, in words; or what
    is wrong.
    """

    uri: str
    name: str
    speaks: bool
    heard: str


def find_on_ports(folder: Path = Path("/dev"), listen_s: float = LISTEN_S) -> list[RobotFound]:
    """Every serial port, each listened to. One that is in use, or may not be opened, is told as such."""
    names = adapter_names()
    found = []
    for path in sorted(path for pattern in _PORTS for path in folder.glob(pattern)):
        uri = f"serial://{quote(str(_lasting_name(path, folder / 'serial' / 'by-id')))}"
        found += _listened([(uri, names.get(os.path.realpath(path), ""))], listen_s)
    return found


def find_on_net(hosts: Sequence[str] = (), listen_s: float = ANSWER_S) -> list[RobotFound]:
    """Robots that answer a UDP greeting: ``hosts``, this machine, and whom it has talked to lately. Tritium
    gateways at ``hosts`` only, because they are shown the token.

    ``hosts`` are all told of, whether or not a robot is there; the others only when one is.
    """
    others = [host for host in ("127.0.0.1", *neighbours()) if host not in hosts]
    found = _listened([(f"udp://{_bracketed(host)}", host) for host in (*hosts, *others)], listen_s)
    found = [one for one in found if one.speaks or one.name in hosts]
    if os.environ.get(TOKEN_VARIABLE):
        found += _listened([(f"tritium://{_bracketed(host)}", host) for host in hosts], listen_s)
    return found


def neighbours(table: Path = Path("/proc/net/arp")) -> list[str]:
    """The addresses of the machines that this one has talked to lately (IPv4)."""
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return []
    rows = [line.split() for line in lines]
    known = [row[0] for row in rows if len(row) >= 4 and int(row[2], 16) & _COMPLETE]
    return known[:_MOST_NEIGHBOURS]


def _listened(places: Iterable[tuple[str, str]], listen_s: float) -> list[RobotFound]:
    """All at once: what each says within ``listen_s``, in the order of ``places``."""
    opened: list[tuple[str, str, Link | None, str]] = []
    for uri, name in places:
        link, trouble = _opened(uri)
        opened.append((uri, name, link, trouble))
    up = [one for _, _, one, _ in opened if one is not None]
    until = time.monotonic() + listen_s
    while time.monotonic() < until and not all(map(_speaks, up)):
        time.sleep(0.02)
    found = []
    for uri, name, link, trouble in opened:
        if link is None:
            found.append(RobotFound(uri, name, False, trouble))
            continue
        speaks, heard = _speaks(link), _heard(link)
        link.close(0.0)
        found.append(RobotFound(uri, name, speaks, heard))
    return found


def _opened(uri: str) -> tuple[Link | None, str]:
    try:
        link = make_link(uri, rate_hz=_RATE_HZ)
        link.open()
    except UserError as error:
        return None, str(error)
    return link, ""


def _speaks(link: Link) -> bool:
    status = link.status()
    connected = link.uri.startswith("tritium:") and status.state == "up"  # the gateway took the token
    return status.robot is not None or connected


def _heard(link: Link) -> str:
    status = link.status()
    if status.robot is not None:
        return f"a robot, {status.robot.state_name}" + (
            f" ({status.robot_fault})" if status.robot_fault else ""
        )
    return "a Tritium gateway" if _speaks(link) else status.last_error or "opens, and says nothing"


def _lasting_name(path: Path, by_id: Path) -> Path:
    """The link in ``by_id`` that leads to ``path``: numbers change when things are plugged in again."""
    try:
        return next((link for link in sorted(by_id.iterdir()) if link.resolve() == path.resolve()), path)
    except OSError:
        return path


def _bracketed(host: str) -> str:
    return f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host
