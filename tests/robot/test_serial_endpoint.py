"""Where the virtual robot's serial port appears, and that it takes and removes nobody else's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.robot.faults import Faults
from x2c_edge.robot.serial_endpoint import SerialEndpoint


def endpoint(path: Path) -> SerialEndpoint:
    return SerialEndpoint(f"serial://{path}", Faults())


def test_the_port_is_a_link_while_it_is_open(tmp_path: Path):
    robot = endpoint(tmp_path / "robot")
    robot.open()
    assert os.readlink(tmp_path / "robot").startswith("/dev/pts/")
    robot.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["file", "folder", "link to a device", "dangling link"])
def test_what_is_not_a_sim_s_stays(tmp_path: Path, what: str):
    path = tmp_path / "robot"
    if what == "file":
        path.write_text("mine")
    elif what == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/null" if what == "link to a device" else "/dev/ttyUSB97")
    with pytest.raises(BadArgumentError, match="exists; name a path that the sim may make"):
        endpoint(path)
    assert path.exists() or path.is_symlink()


def test_a_second_sim_in_the_same_place_is_refused_and_one_that_died_is_replaced(tmp_path: Path):
    path = tmp_path / "robot"
    first = endpoint(path)
    first.open()
    with pytest.raises(NotFoundError, match="another sim has its port there"):
        endpoint(path).open()
    assert path.exists()
    first.close()
    master, slave = os.openpty()
    path.symlink_to(os.ttyname(slave))  # of one that was killed, and the terminal's name is another's by now
    second = endpoint(path)
    second.open()
    assert path.exists()
    path.unlink()
    path.symlink_to("/dev/pts/987654")  # somebody took the place
    second.close()
    assert path.is_symlink()
    os.close(master)
    os.close(slave)


def test_a_name_that_is_too_long_is_one_line():
    with pytest.raises(NotFoundError, match="File name too long"):
        endpoint(Path("/tmp") / ("x" * 300))
