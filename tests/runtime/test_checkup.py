from __future__ import annotations

from pathlib import Path

import pytest

from x2c_edge.runtime.checkup import checkup


def test_everything_is_looked_at_once():
    findings = checkup()
    names = [f.what for f in findings]
    assert len(names) == len(set(names))
    assert {
        "kernels",
        "default pack",
        "torch",
        "pycuda",
        "TensorRT",
        "video files",
        "cameras",
        "serial ports",
    } <= set(names)
    needed = [f.needed for f in findings]
    assert needed == sorted(needed, reverse=True)  # the needed ones first
    for finding in findings:
        assert finding.found
        assert "\n" not in finding.found + finding.fix
        assert finding.ok or finding.fix  # no complaint without a remedy


def test_a_broken_default_pack_is_found(small_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    broken = tmp_path / "packs" / "default"
    small_pack.rename(broken)
    monkeypatch.setenv("X2C_EDGE_PACKS", str(broken.parent))
    assert {f.what: f.ok for f in checkup()}["default pack"]
    (broken / "single_stage.safetensors").write_bytes(b"damaged")
    (finding,) = (f for f in checkup() if f.what == "default pack")
    assert not finding.ok
    assert finding.needed
    assert "sha256" in finding.found
