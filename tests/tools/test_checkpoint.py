"""The file that a stopped training goes on from."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest
import torch

from tools.train.checkpoint import State, digest_of
from x2c_edge.errors import BadArgumentError, NotFoundError


def test_a_state_comes_back_and_only_to_its_own_run(tmp_path: Path):
    net, again = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
    state = State(tmp_path / "deep" / "a.state", {"seed": 1, "start": "x"})
    assert state.restored({"net": again}) == {}
    state.keep({"net": net}, step=3, seconds=0.5)
    assert state.restored({"net": again}) == {"step": 3, "seconds": 0.5}
    assert torch.equal(net.weight, again.weight)
    for other in ({"seed": 2, "start": "x"}, {"seed": 1, "start": "y"}):
        with pytest.raises(
            BadArgumentError, match=r"a\.state: of a run with other settings \((seed|start)\)"
        ):
            State(state.file, other).restored({"net": again})
    with pytest.raises(NotFoundError, match=r"a\.state: nothing to go on from"):
        state.restored({"net": torch.nn.Linear(5, 4)})
    state.file.write_bytes(state.file.read_bytes()[:200])
    with pytest.raises(NotFoundError, match=r"a\.state: nothing to go on from"):
        state.restored({"net": again})
    state.remove()
    state.remove()
    assert not state.file.exists()


def test_a_full_disk_is_said_in_one_line_and_leaves_the_older_state(tmp_path: Path):
    """A limit on the size of files is what a full disk is to the writer."""
    state, net = State(tmp_path / "a.state"), torch.nn.Linear(300, 300)
    state.keep({"net": net}, step=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(NotFoundError, match=r"a\.state: cannot be written \(File too large\)"):
            state.keep({"net": net}, step=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert state.restored({"net": net}) == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.state"]


def test_a_digest_tells_arrays_apart():
    row = np.arange(6, dtype=np.float32)
    digests = [
        digest_of(arrays)
        for arrays in ([row], [row + 1], [row.astype(np.float64)], [row[:3], row[3:]], [row.reshape(2, 3)])
    ]
    assert len(set(digests)) == 5
    assert digest_of([torch.from_numpy(row)]) == digests[0]
