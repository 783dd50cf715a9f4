from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.manifest import edit_manifest
from x2c_edge import packs
from x2c_edge.backends.torch_backend import TorchBackend
from x2c_edge.controls import N_CONTROLS, NEUTRAL
from x2c_edge.errors import NotFoundError
from x2c_edge.nets.landmarks import LANDMARK_IDS

SIZE, COLUMNS = 32, 1 + 2 * len(LANDMARK_IDS) + 3 + N_CONTROLS
Weights = dict[str, torch.Tensor]


@pytest.fixture
def backend() -> TorchBackend:
    return TorchBackend(1)


def bind(backend: TorchBackend, pack: packs.Pack):
    x, out = backend.buffer((1, 3, SIZE, SIZE)), backend.buffer((1, COLUMNS))
    return x, out, backend.bind(pack.nets["single_stage"], x, out)


def rewrite(pack: Path, change: Callable[[Weights], Weights | None]) -> packs.Pack:
    """Change the weights, and the manifest's hash with them."""
    file = pack / "single_stage.safetensors"
    weights = load_file(file)
    save_file(change(weights) or weights, file)
    return sealed(pack, lambda net: None)


def sealed(pack: Path, change: Callable[[dict], None]) -> packs.Pack:
    """Change the net's table in the manifest; the hash is that of the file as it is."""

    def seal(manifest: dict) -> None:
        net = manifest["nets"]["single_stage"]
        net["sha256"] = packs.sha256_of(pack / "single_stage.safetensors")
        change(net)

    edit_manifest(pack, seal)
    return packs.open_pack(str(pack))


def refusal(backend: TorchBackend, pack: packs.Pack) -> str:
    with pytest.raises(NotFoundError) as error:
        bind(backend, pack)
    assert "\n" not in str(error.value)
    assert "single_stage.safetensors" in str(error.value)
    return str(error.value)


def test_buffers_are_zero_float32_and_contiguous(backend: TorchBackend):
    buffer = backend.buffer((2, 3))
    assert buffer.dtype == np.float32
    assert buffer.flags.c_contiguous
    assert not buffer.any()


def test_a_bound_net_reads_and_writes_in_place(backend: TorchBackend, small_pack: Path):
    x, out, run = bind(backend, packs.open_pack(str(small_pack)))
    rng = np.random.default_rng(0)
    where = out.__array_interface__["data"]
    rows = []
    for _ in range(2):
        x[:] = rng.standard_normal(x.shape)
        run()
        rows.append(out.copy())
        run()
        np.testing.assert_array_equal(out, rows[-1])
    assert out.__array_interface__["data"] == where
    assert (rows[0] != rows[1]).any()
    assert np.isfinite(rows).all()
    np.testing.assert_allclose(rows[0][0, -N_CONTROLS:], NEUTRAL, atol=0.5)


def test_it_gives_what_the_net_gives(backend: TorchBackend, small_pack: Path):
    from tools.evaluate.single_stage import load_net

    pack = packs.open_pack(str(small_pack))
    x, out, run = bind(backend, pack)
    x[:] = np.random.default_rng(1).standard_normal(x.shape)
    run()
    with torch.inference_mode():
        np.testing.assert_allclose(out, load_net(pack).eval()(torch.from_numpy(x)), atol=1e-4)


def test_weights_that_are_not_finite(backend: TorchBackend, small_pack: Path):
    def spoil(weights: Weights) -> None:
        weights["face.bias"][3] = float("nan")

    assert "not finite" in refusal(backend, rewrite(small_pack, spoil))


def test_weights_that_lack_one(backend: TorchBackend, small_pack: Path):
    message = refusal(
        backend, rewrite(small_pack, lambda w: {k: v for k, v in w.items() if k != "face.bias"})
    )
    assert "face.bias" in message


def test_weights_of_another_size(backend: TorchBackend, small_pack: Path):
    refusal(backend, sealed(small_pack, lambda net: net["config"].update(hidden=24)))


@pytest.mark.parametrize(
    "sizes", [{"hiden": 24}, {"blocks": [1]}, {"stem": -1}, {"eye_patch": [0, 0]}], ids=str
)
def test_sizes_that_the_net_cannot_have(backend: TorchBackend, small_pack: Path, sizes: dict):
    (name,) = sizes
    message = refusal(backend, sealed(small_pack, lambda net: net["config"].update(sizes)))
    assert name in message


def test_another_net(backend: TorchBackend, small_pack: Path):
    assert "'magic'" in refusal(backend, sealed(small_pack, lambda net: net.update(arch="magic")))


@pytest.mark.parametrize("damage", [b"", b"\x00" * 64, b"\xff" * 64, b"not safetensors"], ids=len)
def test_a_file_that_holds_no_weights(backend: TorchBackend, small_pack: Path, damage: bytes):
    (small_pack / "single_stage.safetensors").write_bytes(damage)
    refusal(backend, sealed(small_pack, lambda net: None))


def test_weights_cut_short(backend: TorchBackend, small_pack: Path):
    file = small_pack / "single_stage.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    refusal(backend, sealed(small_pack, lambda net: None))
