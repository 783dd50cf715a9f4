from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from x2c_edge import packs
from x2c_edge.backends import engine_files
from x2c_edge.backends.cuda_device import CudaDevice
from x2c_edge.backends.engine_files import NoEnginesError, find_set, key_for, write_set
from x2c_edge.errors import BadArgumentError, NotFoundError

ORIN = CudaDevice("Orin", "8.7", integrated=True, memory_bytes=8 << 30)


@pytest.fixture
def pack(small_pack: Path, pack_folders: Path) -> packs.Pack:
    return packs.open_pack("small")


def install(pack: packs.Pack, device=ORIN, tensorrt="10.3.0", precision="fp16", folder=None):
    folder = folder or engine_files.engines_folder()
    key = key_for(pack, device, tensorrt, precision)
    return write_set(key, {"single_stage": b"plan"}, pack, {"frames": 1}, folder)


def test_a_set_is_found_where_it_was_put(pack):
    engines = install(pack)
    assert find_set(pack, ORIN, "10.3.0") == engines
    assert engine_files.read_plans(engines) == {"single_stage": b"plan"}
    assert engines.folder.parent == engine_files.engines_folder()
    assert not [p for p in engines.folder.parent.iterdir() if p.name.startswith(".")]


def test_another_folder(pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    engines = install(pack, folder=tmp_path / "mine")
    with pytest.raises(NotFoundError, match="no engines are built"):
        find_set(pack, ORIN, "10.3.0")
    monkeypatch.setenv("X2C_EDGE_ENGINES", str(tmp_path / "mine"))
    assert find_set(pack, ORIN, "10.3.0") == engines


def test_none_at_all_names_the_command(pack):
    with pytest.raises(NoEnginesError) as error:
        find_set(pack, ORIN, "10.3.0")
    assert str(error.value) == (
        "no engines are built for pack 'small'; run: x2c-edge build-engines --pack small --precision fp16"
    )


@pytest.mark.parametrize(
    ("device", "tensorrt", "says"),
    [
        (
            CudaDevice("Orin NX", "8.7", integrated=True, memory_bytes=0), "10.3.0",
            r"built for Orin \(compute capability 8\.7\), here is Orin NX \(8\.7\)",
        ),
        (
            CudaDevice("Orin", "11.0", integrated=True, memory_bytes=0), "10.3.0",
            r"built for Orin \(compute capability 8\.7\), here is Orin \(11\.0\)",
        ),
        (ORIN, "10.7.0", r"built with TensorRT 10\.3\.0, here is TensorRT 10\.7\.0"),
    ],
    ids=["gpu", "capability", "tensorrt"],
)  # fmt: skip
def test_a_mismatch_names_both_sides_and_the_command(pack, device, tensorrt: str, says: str):
    install(pack, precision="int8")
    with pytest.raises(NotFoundError, match=says) as error:
        find_set(pack, device, tensorrt)
    assert not isinstance(error.value, NoEnginesError)
    assert str(error.value).endswith("run: x2c-edge build-engines --pack small --precision int8")
    assert "\n" not in str(error.value)


def test_a_pack_that_changed(pack):
    install(pack)
    changed = replace(pack, digest="f" * 64)
    with pytest.raises(NotFoundError, match=f"pack digest {pack.digest[:12]}, the pack is ffffffffffff"):
        find_set(changed, ORIN, "10.3.0")


def test_a_program_that_exports_otherwise(pack, monkeypatch: pytest.MonkeyPatch):
    """After an upgrade "already built" would be wrong."""
    with monkeypatch.context() as earlier:
        earlier.setattr(engine_files, "EXPORTER", "0")
        before = install(pack)
    assert before.key != key_for(pack, ORIN, "10.3.0", "fp16")
    with pytest.raises(NotFoundError, match=r"built by exporter 0, this program has exporter \d+; run: "):
        find_set(pack, ORIN, "10.3.0")


def test_everything_that_differs_is_named(pack):
    install(pack)
    with pytest.raises(NotFoundError, match=r"built for Orin .*; built with TensorRT 10\.3\.0"):
        find_set(pack, CudaDevice("Thor", "11.0", integrated=True, memory_bytes=0), "11.4.1")


def test_the_nearest_set_is_the_one_that_is_spoken_of(pack):
    install(pack, CudaDevice("Thor", "11.0", integrated=True, memory_bytes=0), "11.4.1")
    install(pack, tensorrt="10.7.0")
    install(pack, CudaDevice("Xavier", "7.2", integrated=True, memory_bytes=0), "8.6.2")
    with pytest.raises(
        NotFoundError, match=r"do not fit: built with TensorRT 10\.7\.0, here is TensorRT 10\.3\.0;"
    ):
        find_set(pack, ORIN, "10.3.0")


def test_the_newest_precision_wins(pack):
    import os

    old, new = install(pack, precision="fp16"), install(pack, precision="int8")
    os.utime(old.folder / "engines.json", ns=(1, 1))
    assert find_set(pack, ORIN, "10.3.0") == new


def test_a_pack_by_path_is_named_by_path(small_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("X2C_EDGE_PACKS", str(tmp_path / "nowhere"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "no-data"))
    pack = packs.open_pack(str(small_pack))
    assert engine_files.build_command(pack) == (
        f"x2c-edge build-engines --pack {small_pack} --precision fp16"
    )


@pytest.mark.parametrize(
    "damage", ["", "{}", "[]", '{"format": 1}', '{"format": 3, "key": {}}', "\x00", None]
)
def test_a_damaged_index_is_no_set(pack, damage: str | None):
    index = install(pack).folder / "engines.json"
    index.write_text(index.read_text().replace(f'"{pack.digest}"', "7") if damage is None else damage)
    with pytest.raises(NotFoundError, match="no engines are built"):
        find_set(pack, ORIN, "10.3.0")


def test_a_missing_engine(pack):
    engines = install(pack)
    engines.files["single_stage"].unlink()
    with pytest.raises(NotFoundError, match="missing or damaged; build the engines again with --force"):
        engine_files.read_plans(engines)


def test_a_set_may_be_replaced_while_it_is_read(pack, monkeypatch: pytest.MonkeyPatch):
    """What was listed a moment ago is gone."""
    old, gone = install(pack, precision="fp16"), install(pack, precision="int8")
    indices = [engines.folder / "engines.json" for engines in (old, gone)]
    shutil.rmtree(gone.folder)
    monkeypatch.setattr(engine_files, "found_in", lambda *_: indices)
    assert list(engine_files.installed_sets(pack)) == [old]


def test_a_folder_that_cannot_be_written(pack, tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(NotFoundError, match=r"file: cannot be written: .*; choose another --out"):
        install(pack, folder=tmp_path / "file")


def test_precisions():
    assert engine_files.precision_named("int8") == "int8"
    with pytest.raises(BadArgumentError, match=r"precision 'fp61' \(did you mean 'fp16'\?\): choose"):
        engine_files.precision_named("fp61")
