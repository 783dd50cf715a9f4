"""Access to the golden vectors of ``../shared`` (docs/spec/README.md)."""

import importlib.util
import json
import re
from functools import cached_property
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

SHARED = Path(__file__).parents[2].parent / "shared"
STORED_FORM = re.compile(r"\.sub(\d+)$")


OBSERVED: dict[str, float] = {}  # largest difference seen, by rule of tolerances.json


def pytest_terminal_summary(terminalreporter, config):
    if OBSERVED and config.get_verbosity() > 0:
        terminalreporter.section("largest differences from the golden vectors")
        for rule, difference in sorted(OBSERVED.items()):
            terminalreporter.line(f"{rule:45s} {difference:.2g}")


class Golden:
    """Golden arrays, tolerances and weights; the checks compare and note the largest difference."""

    def __init__(self) -> None:
        self.folder = SHARED / "golden"
        self.keys = json.loads((SHARED / "specs/state_dict_keys.json").read_text())
        self.tolerances = json.loads((self.folder / "tolerances.json").read_text())

    @cached_property
    def weights(self) -> ModuleType:
        spec = importlib.util.spec_from_file_location("golden_weights", self.folder / "weights.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def arrays(self, file: str) -> dict[str, np.ndarray]:
        with np.load(self.folder / f"{file}.npz") as data:
            return dict(data)

    def fill(self, net: torch.nn.Module, name: str) -> torch.nn.Module:
        """Load the recipe's weights for module ``name``, strictly; the net may live on "meta"."""
        state = self.weights.state_dict(name, self.keys[name])
        state = {key: torch.from_numpy(value) for key, value in state.items()}
        net.load_state_dict(state, strict=True, assign=True)
        return net.eval().requires_grad_(False)

    def input(self, name: str, shape: tuple[int, ...], head: np.ndarray) -> torch.Tensor:
        values = self.weights.tensor(name, shape, std=0.5)
        np.testing.assert_array_equal(values.reshape(-1)[:64], head)
        return torch.from_numpy(values)

    def check(self, file: str, name: str, value: torch.Tensor | np.ndarray | float) -> None:
        """Compare one output with every stored form of it."""
        value = np.asarray(value)
        rule = f"{file}/{re.sub(r'frame[0-9]', 'frame*', name)}"
        found = False
        for key, stored in self.arrays(file).items():
            sub = STORED_FORM.search(key)
            if key == name:
                assert value.shape == stored.shape
                difference = np.abs(value - stored).max()
            elif sub and key[: sub.start()] == name:
                difference = np.abs(value.reshape(-1)[:: int(sub[1])] - stored).max()
            elif key == f"{name}.stats":
                wide = value.astype(np.float64)
                difference = np.abs([wide.mean(), wide.std(), wide.min(), wide.max()] - stored).max()
            elif key == f"{name}.shape":
                assert value.shape == tuple(stored)
                continue
            else:
                continue
            found = True
            self.within(rule, difference)
        assert found, f"no golden array {name} in {file}.npz"

    def within(self, rule: str, difference: float) -> None:
        limit = self.tolerances[rule]["atol"]
        OBSERVED[rule] = max(OBSERVED.get(rule, 0.0), float(difference))
        assert difference <= limit, f"{rule}: {difference:.2g} > {limit:.2g}"

    def check_bytes(self, file: str, name: str, value: np.ndarray, stored: np.ndarray) -> None:
        """Compare 8-bit pictures: largest difference in levels, and the share of values that differ."""
        rule = self.tolerances[f"{file}/{name}"]
        difference = np.abs(value.astype(int) - stored.astype(int))
        assert difference.max() <= rule["max"]
        assert np.mean(difference > 0) <= rule["fraction"]
        OBSERVED[f"{file}/{name} (share that differs)"] = float(np.mean(difference > 0))


@pytest.fixture(scope="session")
def golden() -> Golden:
    if not (SHARED / "golden").is_dir():
        pytest.skip("../shared is not here")
    return Golden()


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.inference_mode():
        yield
