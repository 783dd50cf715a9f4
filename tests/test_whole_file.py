from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from x2c_edge.errors import NotFoundError
from x2c_edge.whole_file import write_whole


def test_a_file_is_written_or_left_as_it_was(tmp_path: Path, small_disk: Path):
    path = small_disk / "a.json"
    write_whole(path, b"first")
    assert path.read_bytes() == b"first"
    (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free - 50_000))
    with pytest.raises(NotFoundError, match=r"a\.json: cannot be written \(No space left on device\)"):
        write_whole(path, bytes(200_000))
    assert path.read_bytes() == b"first"
    assert sorted(p.name for p in small_disk.iterdir()) == ["a.json", "filler"]


def test_what_is_no_file_is_written_directly(tmp_path: Path):
    write_whole(Path("/dev/null"), b"x")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(NotFoundError, match=r"cannot be written \(No space left"):
        write_whole(Path("/dev/full"), b"x")


def test_standard_output_is_a_link_to_no_file(tmp_path: Path):
    write = "from pathlib import Path; from x2c_edge.whole_file import write_whole as w; "
    write += "w(Path('/dev/stdout'), b'x')"
    done = subprocess.run([sys.executable, "-c", write], stdout=subprocess.PIPE, check=True)
    assert done.stdout == b"x"
    with pytest.raises(NotFoundError, match="File name too long"):
        write_whole(tmp_path / ("a" * 300), b"x")


def test_a_link_leads_to_the_same_file_and_its_permissions_stay(tmp_path: Path):
    real, link = tmp_path / "dotfiles.toml", tmp_path / "config.toml"
    real.write_bytes(b"before")
    real.chmod(0o600)
    link.symlink_to(real)
    write_whole(link, b"after")
    assert link.is_symlink()
    assert real.read_bytes() == b"after"
    assert real.stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.toml", "dotfiles.toml"]


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path):
    with pytest.raises(NotFoundError, match="No such file or directory"):
        write_whole(tmp_path / "no" / "a.json", b"x")
