from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from tools.train.put_single_stage import put
from x2c_edge import packs


def test_the_net_moves_with_its_sizes_hash_and_figures(small_pack: Path):
    other = Path(shutil.copytree(small_pack, small_pack.with_name("other")))
    file = other / "single_stage.safetensors"
    file.write_bytes(file.read_bytes() + b" ")
    source = packs.read_manifest(other)
    net = replace(source.nets["single_stage"], sha256=packs.sha256_of(file))
    packs.write_manifest(replace(source, nets={"single_stage": net}, accuracy={"mean_r_face_controls": 0.5}))
    made = put(packs.open_pack(str(other)), packs.open_pack(str(small_pack)))
    assert made.path == small_pack
    assert packs.verify(made) == []
    assert made.nets["single_stage"].sha256 == net.sha256
    assert made.nets["single_stage"].config == net.config
    assert made.accuracy == {"mean_r_face_controls": 0.5}
