import builtins
import copy
import os
import pickle
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from tests import published_files as files
from tests.published_nets import NETS, summary
from x2c_edge import packs
from x2c_edge.convert.checkpoints import MAPPING_INPUTS, import_pack
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.nets import arch, keypoints, published
from x2c_edge.nets.motion_extractor import MotionConfig


@pytest.fixture(scope="module")
def _made(tmp_path_factory):
    folder, states = tmp_path_factory.mktemp("published"), files.random_states()
    with pytest.MonkeyPatch.context() as patch:
        for name, module in files.foreign_library().items():
            patch.setitem(sys.modules, name, module)
        return files.write(folder, states), states


@pytest.fixture
def states(_made):
    return copy.deepcopy(_made[1])


@pytest.fixture
def folder(tmp_path, _made):
    return shutil.copytree(_made[0], tmp_path / "weights")


@pytest.fixture
def image(tmp_path):
    return files.robot_image(tmp_path / "robot.png")


@pytest.fixture
def run(folder, image, small_pack, tmp_path):
    def call(*checkpoints, name="ameca", **options):
        options.setdefault("tracker", str(small_pack))
        options.setdefault("sizes", files.SMALL)
        return import_pack(
            checkpoints or [folder],
            options.pop("robot_image", image),
            name,
            tmp_path / "out",
            picture_size=files.PICTURE,
            **options,
        )

    yield call
    left = [p for p in (tmp_path / "out").glob("*") if not (p / packs.MANIFEST).is_file()]
    assert left == []  # a whole pack or nothing


def refused(run, *checkpoints, **options):
    with pytest.raises(NotFoundError) as caught:
        run(*checkpoints, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.exit_code == 3
    return message


def test_a_folder_becomes_a_pack_that_verifies(run, image):
    pack = run()
    assert packs.open_pack(str(pack.path)) == pack
    assert set(pack.nets) == {"motion", "warping", "generator", "stitching", "mapping", "single_stage"}
    assert pack.pipeline == "two-stage"
    assert pack.nets["mapping"].input == MAPPING_INPUTS["x2c"]
    assert pack.nets["mapping"].options == {"angle_unit": "degree"}
    assert pack.nets["stitching"].input is None
    stored = cv2.imread(str(pack.files["robot_image"].file))
    expected = cv2.resize(cv2.imread(str(image)), (64, 64), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(stored, expected)


def test_every_file_may_be_read_by_whom_the_manifest_may(run):
    """A pack is imported by one user and run by another, a service's."""
    modes = {file.name: file.stat().st_mode for file in run().path.iterdir()}
    assert len(modes) > 5
    assert set(modes.values()) == {modes["manifest.toml"]}


def test_names_and_order_of_files_do_not_matter(run, folder, tmp_path):
    disguised = []
    for i, path in enumerate(sorted(folder.rglob("*.pth"), reverse=True)):
        disguised.append(path.rename(tmp_path / f"{i}.bin"))
    assert set(run(*disguised).nets) == set(run(*disguised[::-1], name="again").nets)


def test_stored_weights_give_the_published_net_s_outputs(run, states):
    pack = run()
    x = torch.randn(1, 16, 16, 16)
    with torch.inference_mode():
        net = arch.ARCHS["generator"].net(files.SMALL.generator).eval()
        net.load_state_dict(states["generator"])
        spec = pack.nets["generator"]
        weights = {k: torch.from_numpy(v) for k, v in load_file(spec.file).items()}
        assert not any("weight_orig" in key or "norm.weight" in key for key in weights)
        torch.testing.assert_close(arch.opened("generator", spec.config, weights)(x), net(x))


def test_the_source_s_features_are_those_of_the_robot_s_picture(run, states):
    pack = run()
    source = load_file(pack.files["source"].file)
    picture = cv2.imread(str(pack.files["robot_image"].file))[..., ::-1]
    image = torch.from_numpy(picture / np.float32(255)).permute(2, 0, 1)[None]
    nets = {}
    for kind in ("appearance", "motion", "warping"):
        nets[kind] = arch.ARCHS[kind].net(getattr(files.SMALL, kind)).eval()
        nets[kind].load_state_dict(states[kind])
    with torch.inference_mode():
        feature = nets["appearance"](image)
        np.testing.assert_allclose(source["feature"], feature, atol=1e-5)
        np.testing.assert_allclose(source["compressed"], nets["warping"].compress(feature), atol=1e-5)
        heads = {k: v.numpy() for k, v in nets["motion"](image)._asdict().items()}
    motion = keypoints.motion_from_heads(**heads)
    np.testing.assert_allclose(source["x"], keypoints.transformed(motion), atol=1e-5)


def test_half_is_half_as_large_and_close(run):
    single, half = run(), run(name="half", half=True)
    for kind in ("generator", "warping", "mapping"):
        a, b = (load_file(p.nets[kind].file) for p in (single, half))
        assert {v.dtype for v in b.values()} == {np.dtype(np.float16)}
        for key, value in a.items():
            np.testing.assert_allclose(b[key], value, rtol=2e-3, atol=1e-4)


def test_facts_of_the_mapping_checkpoint_travel_with_it(run):
    pack = run(mapping_input="vividface", angle_unit="radian")
    again = packs.read_manifest(pack.path)
    assert again.nets["mapping"].input == MAPPING_INPUTS["vividface"]
    assert again.nets["mapping"].options["angle_unit"] == "radian"


def test_a_flat_stitching_file_is_taken_too(run, folder, states):
    torch.save(states["stitching"], folder / files.FILES["stitching"])
    assert "stitching" in run().nets


def test_a_missing_part_is_named(run, folder):
    (folder / files.FILES["generator"]).unlink()
    assert "spade_generator.pth" in refused(run)


def test_a_wrong_file_says_what_it_looks_like(run, folder):
    wrong = folder / files.FILES["generator"]
    wrong.write_bytes((folder / files.FILES["warping"]).read_bytes())
    message = refused(run)
    assert "looks like W, warping_module.pth" in message
    assert "spade_generator.pth" in message or "so does" in message


def test_an_unrelated_checkpoint_is_not_taken(run, folder):
    torch.save({"encoder.weight": torch.ones(3, 3)}, folder / "other.pth")
    message = refused(run, folder / "other.pth")
    assert "not one of the published files" in message
    assert "encoder.weight" in message


def test_the_eye_retargeter_alone_is_recognised(run, folder):
    torch.save(files.KeypointMlp(files.EYE).state_dict(), folder / "eye.pth")
    assert "eye retargeter" in refused(run, folder / "eye.pth")


def test_another_architecture_names_the_key(run, folder, states):
    other = replace(files.SMALL, motion=MotionConfig(depths=(1, 1, 1, 1), widths=(8, 16, 16, 24)))
    message = refused(run, sizes=other)
    assert "'detector." in message
    assert "(32" in message
    assert "(24" in message
    del states["warping"]["fourth.bias"]
    files.save(folder / files.FILES["warping"], "warping", states["warping"])
    assert "'fourth.bias' is missing" in refused(run)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(run, folder, states, value):
    states["warping"]["fourth.bias"][0] = value
    files.save(folder / files.FILES["warping"], "warping", states["warping"])
    message = refused(run)
    assert "fourth.bias" in message
    assert "not finite" in message


def test_variances_below_0_are_refused(run, folder, states):
    key = next(key for key in states["appearance"] if key.endswith("running_var"))
    states["appearance"][key][0] = -1.0
    files.save(folder / files.FILES["appearance"], "appearance", states["appearance"])
    assert f"'{key}' holds variances below 0" in refused(run)


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        (torch.ones(3, device="meta"), "on meta"),
        (torch.eye(3).to_sparse(), "torch.sparse_coo"),
        (torch.ones(3).to(torch.float8_e4m3fn), "float8_e4m3fn"),
        (torch.ones(3, dtype=torch.int64), "int64"),
    ],
)
def test_tensors_that_are_no_plain_numbers_are_refused(run, folder, states, tensor, says):
    states["mapping"]["fc.bias"] = tensor
    torch.save(states["mapping"], folder / files.FILES["mapping"])
    message = refused(run)
    assert "key 'fc.bias'" in message
    assert says in message


def test_odd_dictionaries_are_refused(run, folder, states):
    path = folder / files.FILES["stitching"]
    torch.save({"bn1.num_batches_tracked": torch.tensor(1)}, path)
    assert "holds no weights" in refused(run)
    torch.save({"mlp.0.weight": torch.tensor(1.0)}, path)
    assert str(path) in refused(run)
    flat = states["stitching"]
    key = next(iter(flat))
    torch.save(flat | {f"module.{key}": torch.zeros_like(flat[key])}, path)
    assert f"'{key}' comes twice" in refused(run)


def test_onnx_in_a_name_is_no_onnx(run, folder):
    (folder / files.FILES["motion"]).rename(folder / "motion_for_onnx.pth")
    torch.save(torch.load(folder / "motion_for_onnx.pth"), folder / "motion_for_onnx.pth")
    assert "motion" in run().nets


def test_a_compressed_file_is_not_unpacked(run, folder):
    path = folder / files.FILES["mapping"]
    torch.save({"fc.bias": torch.zeros(1 << 20)}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    assert "is compressed" in refused(run)


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_one_line(run, folder, keep):
    path = folder / files.FILES["generator"]
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    assert str(path) in refused(run)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>404</html>", "web page"),
        (b"\x08\x07\x12\x04onnx....", "ONNX"),
        (b"not a checkpoint at all", "not a readable"),
        (b"", "empty"),
    ],
)
def test_other_kinds_of_file_are_told_apart(run, folder, content, word):
    path = folder / files.FILES["motion"]
    path.write_bytes(content)
    assert word in refused(run)


class _Call:
    """Pickles as a call of ``function(*arguments)``."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def _hostile(flag: Path):
    write = f"open({str(flag)!r}, 'w')"
    return {
        "os.system": _Call(os.system, f"touch {flag}"),
        "exec": _Call(builtins.exec, write),
        "eval": _Call(builtins.eval, write),
        "open": _Call(builtins.open, str(flag), "w"),
        "popen": _Call(subprocess.Popen, ["touch", str(flag)]),
        "touch": _Call(Path.touch, flag),
        "torch": _Call(torch.save, torch.ones(1), str(flag)),
        "pickle": _Call(pickle.loads, pickle.dumps(_Call(os.system, f"touch {flag}"))),
    }


@pytest.mark.parametrize("attack", sorted(_hostile(Path("x"))))
@pytest.mark.parametrize("where", ["opt", "model", "flat", "legacy"])
def test_pickled_code_never_runs(run, folder, states, tmp_path, attack, where):
    flag = tmp_path / "it ran"
    evil = _hostile(flag)[attack]
    path = folder / files.FILES["mapping"]
    content = {"opt": evil if where == "opt" else {}, "model": dict(states["mapping"]), "optimizer": {}}
    if where == "model":
        content["model"]["evil"] = evil
    elif where == "flat":
        content = {**states["mapping"], "evil": evil}
    torch.save(content, path, _use_new_zipfile_serialization=where != "legacy")
    if where == "legacy":
        torch.save({**content, "opt": evil}, path, _use_new_zipfile_serialization=False)
    message = refused(run, path)
    assert not flag.exists()
    assert str(path) in message
    assert "code" in message or "not a readable" in message


def test_an_unknown_class_is_never_found_nor_run(run, folder, states, tmp_path, monkeypatch):
    """Even a class that could be imported, and whose construction would be noticed."""
    flag = tmp_path / "it ran"
    source = tmp_path / "third_party_lib.py"
    source.write_text(
        "import pathlib\n"
        "class Options:\n"
        "    def __setstate__(self, state):\n"
        f"        pathlib.Path({str(flag)!r}).touch()\n"
        "class Table(dict):\n"
        f"    def __setitem__(self, k, v): pathlib.Path({str(flag)!r}).touch()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import third_party_lib

    options = third_party_lib.Options()
    options.values = {"a": 1}
    table = dict.__new__(third_party_lib.Table)
    dict.__setitem__(table, "k", options)
    torch.save({"opt": table, "model": states["mapping"]}, folder / files.FILES["mapping"])
    sys.modules.pop("third_party_lib")
    assert "mapping" in run().nets
    assert not flag.exists()
    assert "third_party_lib" not in sys.modules


@pytest.mark.parametrize(
    ("picture", "word"),
    [
        (np.zeros((1, 1, 3), np.uint8), "1x1"),
        (np.full((200, 200, 3), 90, np.uint8), "plain colour"),
    ],
)
def test_a_useless_robot_image_is_refused(run, tmp_path, picture, word):
    path = tmp_path / "bad.png"
    cv2.imwrite(str(path), picture)
    assert word in refused(run, robot_image=path)


def test_a_robot_image_that_is_none_is_refused(run, tmp_path):
    assert "no such file" in refused(run, robot_image=tmp_path / "nothing.png")
    (tmp_path / "text.png").write_text("hello")
    assert "not a picture" in refused(run, robot_image=tmp_path / "text.png")


def test_an_existing_pack_is_not_overwritten(run):
    run()
    with pytest.raises(BadArgumentError, match="exists already"):
        run()


@pytest.mark.parametrize("name", ["", "a/b", ".hidden", ".."])
def test_a_name_is_one_folder(run, name):
    with pytest.raises(BadArgumentError, match="name"):
        run(name=name)


def test_weights_beyond_half_are_refused_by_key(run, folder, states):
    states["warping"]["fourth.bias"][0] = 1e6
    files.save(folder / files.FILES["warping"], "warping", states["warping"])
    assert "fourth.bias" in refused(run, half=True)


def test_no_room_on_the_disk(run, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=1000))
    assert "make room" in refused(run)


def test_published_sizes_are_the_published_keys():
    names = {"appearance": "F", "motion": "M", "warping": "W", "generator": "G", "stitching": "stitching"}
    sizes = published.Sizes()
    for kind, name in [*names.items(), ("mapping", "mapping_resnet18")]:
        config = sizes.mapping[0] if kind == "mapping" else getattr(sizes, kind)
        state = arch.unloaded(kind, config).state_dict()
        assert summary(state) == NETS[name]


def test_pictures_are_prepared_as_the_specification_says():
    page = (Path(__file__).parents[2] / "docs" / "spec" / "liveportrait.md").read_text()
    for name, wanted in MAPPING_INPUTS.items():
        (row,) = re.findall(rf"^\| {name} \| (\w+) \| ([\d. ]+) \| ([\d. ]+) \|", page, re.MULTILINE)
        numbers = [tuple(map(float, cell.split())) for cell in row[1:]]
        assert (row[0], *numbers) == (wanted.order, wanted.mean, wanted.std)
