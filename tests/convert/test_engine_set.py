"""The whole of build-engines with ONNX Runtime in the engines' place: no engine runs here."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.altered_backend import altered
from x2c_edge import packs
from x2c_edge.backends import engine_files
from x2c_edge.backends.cuda_device import CudaDevice
from x2c_edge.backends.engine_files import key_for
from x2c_edge.backends.torch_backend import TorchBackend
from x2c_edge.controls import NAMES
from x2c_edge.convert import engine_set
from x2c_edge.convert.engine_set import Order, build_set
from x2c_edge.convert.rehearsal import Parity
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.packs import PackFile

ORIN = CudaDevice("Orin", "8.7", integrated=True, memory_bytes=8 << 30)
SINGLE, TWO = ("single_stage",), ("single_stage", "motion", "dense_motion", "warp_tail", "generator",
                                  "mapping", "stitching")  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "engines"


@pytest.fixture
def one_pack(small_pack: Path) -> packs.Pack:
    return packs.open_pack(str(small_pack))


def built(pack, precision, folder, clip, builder, opener, report=lambda what, share: None):
    order = Order(pack, precision, folder, str(clip))
    key = key_for(pack, ORIN, "10.3.0", precision)
    return build_set(order, key, builder, TorchBackend(1), opener, report)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_single_stage_pack(one_pack, folder, face_clip, export_only, onnx_backend, precision: str):
    said: list[tuple[str, float]] = []
    engines = built(
        one_pack, precision, folder, face_clip, export_only, onnx_backend,
        lambda what, share: said.append((what, share)),
    )  # fmt: skip
    assert tuple(engines.files) == SINGLE
    assert engines.parity["frames"] == 12
    assert engines.parity["controls"].keys() == set(NAMES)
    assert (engines.folder / packs.MANIFEST).read_bytes() == (one_pack.path / packs.MANIFEST).read_bytes()
    assert engine_files.find_set(one_pack, ORIN, "10.3.0", folder) == engines
    assert engine_files.read_plans(engines).keys() == engines.files.keys()
    tried = ["try int8"] if precision == "int8" else []
    steps = ["follow the clip", "export single_stage", *tried, "build single_stage"]
    assert [what for what, _ in said][: len(steps)] == steps
    assert said[-1] == ("compare with PyTorch", 1.0)
    assert precision in engine_set.describe(engines)


def test_a_two_stage_pack(two_stage_pack, folder, face_clip, export_only, onnx_backend):
    engines = built(two_stage_pack, "fp32", folder, face_clip, export_only, onnx_backend)
    assert sorted(engines.files) == sorted(TWO)
    assert max(c["largest"] for c in engines.parity["controls"].values()) < 1e-4


def test_a_two_stage_pack_in_half(two_stage_pack, folder, face_clip, export_only, onnx_backend):
    engines = built(two_stage_pack, "fp16", folder, face_clip, export_only, onnx_backend)
    errors = [c["largest"] for c in engines.parity["controls"].values()]
    assert 0 < max(errors) < 0.02


def test_engines_that_are_wrong_are_not_installed(one_pack, folder, face_clip, export_only, onnx_backend):
    def shift(net, out) -> None:
        out[0, -30 + NAMES.index("Jaw Pitch")] += 0.08

    with pytest.raises(
        NotFoundError,
        match=r"fp16 engines differ from PyTorch by 0\.08 in 'Jaw Pitch', 0\.05 is allowed; nothing was inst",
    ):
        built(one_pack, "fp16", folder, face_clip, export_only, altered(onnx_backend, shift))
    assert not folder.exists()


def test_engines_that_give_no_numbers_are_not_installed():
    values = np.zeros((3, 30))
    broken = values.copy()
    broken[1, 4] = np.nan
    parity = Parity.of(broken, values)
    assert parity.worst[0] == NAMES[4]
    with pytest.raises(NotFoundError, match=f"nan in '{NAMES[4]}'"):
        parity.require("int8")


def test_building_again_replaces(one_pack, folder, face_clip, export_only, onnx_backend):
    first = built(one_pack, "fp16", folder, face_clip, export_only, onnx_backend)
    (first.folder / "left over").touch()
    again = built(one_pack, "fp16", folder, face_clip, export_only, onnx_backend)
    assert again == first
    assert sorted(p.name for p in folder.iterdir()) == [first.folder.name]
    assert not (first.folder / "left over").exists()


def test_a_damaged_engine_is_found(one_pack, folder, face_clip, export_only, onnx_backend):
    engines = built(one_pack, "fp16", folder, face_clip, export_only, onnx_backend)
    engines.files["single_stage"].write_bytes(b"short")
    with pytest.raises(NotFoundError, match=r"single_stage\.engine: missing or damaged"):
        engine_files.read_plans(engines)


def test_a_pack_with_a_clip_of_its_own_needs_no_other(
    small_pack, folder, face_clip, export_only, onnx_backend
):
    """``files.clip`` of the manifest: an ordinary video."""
    shutil.copy(face_clip, small_pack / "clip.mp4")
    pack = packs.read_manifest(small_pack)
    clip = PackFile(small_pack / "clip.mp4", packs.sha256_of(face_clip))
    packs.write_manifest(replace(pack, files={"clip": clip}))
    pack = packs.open_pack(str(small_pack))
    order, key = Order(pack, "fp16", folder), key_for(pack, ORIN, "10.3.0", "fp16")
    engines = build_set(order, key, export_only, TorchBackend(1), onnx_backend, lambda what, share: None)
    assert engines.parity["frames"] > 5


def test_a_clip_without_a_face(one_pack, folder, tmp_path, export_only, onnx_backend):
    import cv2

    picture = tmp_path / "wall.png"
    cv2.imwrite(str(picture), np.full((120, 160, 3), 90, np.uint8))
    with pytest.raises(NotFoundError, match=r"wall\.png: no face is found in it"):
        built(one_pack, "fp16", folder, picture, export_only, onnx_backend)


def test_a_still_is_no_clip(one_pack, portrait, folder, tmp_path, export_only, onnx_backend):
    import cv2

    picture = tmp_path / "me.png"
    cv2.imwrite(str(picture), portrait)
    with pytest.raises(BadArgumentError, match=r"me\.png: one picture; give a few seconds"):
        built(one_pack, "fp16", folder, picture, export_only, onnx_backend)
    assert not folder.exists()


def test_the_clip(one_pack, two_stage_pack, folder, monkeypatch: pytest.MonkeyPatch):
    """The user's, the pack's, the program's; never the pack's still, that a net of constants agrees on."""
    assert engine_set.clip_of(Order(one_pack, "fp16", folder, "mine.mp4")) == "mine.mp4"
    for pack in (one_pack, two_stage_pack):
        assert engine_set.clip_of(Order(pack, "fp16", folder)) == str(engine_set.SHIPPED_CLIP)
    own = PackFile(folder / "clip.mp4", "")
    clipped = replace(two_stage_pack, files=two_stage_pack.files | {"clip": own})
    assert engine_set.clip_of(Order(clipped, "fp16", folder)) == str(own.file)
    monkeypatch.setattr(engine_set, "SHIPPED_CLIP", folder / "none")
    with pytest.raises(BadArgumentError, match="--clip VIDEO"):
        engine_set.clip_of(Order(one_pack, "fp16", folder))


def test_no_net_of_a_kind_is_left_out(two_stage_pack):
    assert sorted(net.name for net in engine_set.nets_of(two_stage_pack)) == sorted(TWO)


def test_weights_that_do_not_fit(two_stage_pack):
    nets = two_stage_pack.nets
    wrong = replace(nets["motion"], file=nets["mapping"].file)
    with pytest.raises(NotFoundError, match=r"mapping\.safetensors: does not fit its manifest") as error:
        engine_set.nets_of(replace(two_stage_pack, nets={"motion": wrong}))
    assert "\n" not in str(error.value)


def test_the_timing_cache_belongs_to_a_device_and_a_release(one_pack, folder):
    here = key_for(one_pack, ORIN, "10.3.0", "fp16")
    engine_set.write_timing_cache(folder, here, b"cache")
    assert engine_set.read_timing_cache(folder, replace(here, precision="int8")) == b"cache"
    assert engine_set.read_timing_cache(folder, replace(here, runtime="TensorRT 10.7.0")) == b""
    assert engine_set.read_timing_cache(folder, replace(here, device="Orin NX")) == b""


def test_the_index_can_be_read_by_others(one_pack, folder, face_clip, export_only, onnx_backend):
    engines = built(one_pack, "fp16", folder, face_clip, export_only, onnx_backend)
    index = json.loads((engines.folder / "engines.json").read_text())
    assert index["key"] == {
        "pack": "small", "pack_digest": one_pack.digest, "device": "Orin", "capability": "8.7",
        "runtime": "TensorRT 10.3.0", "precision": "fp16", "exporter": engine_files.EXPORTER,
    }  # fmt: skip
