from __future__ import annotations

import importlib.util

import pytest

from x2c_edge.backends.open import open_backend
from x2c_edge.errors import BadArgumentError, NotFoundError


def test_auto_is_torch_on_a_desktop():
    backend = open_backend("auto", threads=1)
    assert backend.name == "torch"
    assert backend.device == "cpu, 1 thread"


def test_an_unknown_backend_is_named_with_the_known_ones():
    with pytest.raises(
        BadArgumentError, match=r"'torhc' \(did you mean 'torch'\?\): choose auto, tensorrt, cpu, t"
    ):
        open_backend("torhc")


def test_without_pytorch_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find(name))
    with pytest.raises(NotFoundError, match=r"pip install 'x2c-edge\[torch\]'"):
        open_backend("auto")
