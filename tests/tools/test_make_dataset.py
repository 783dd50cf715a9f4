"""Making a set of pairs: deterministic, resumed, and never silently broken."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from tests.patience import patient
from tools.dataset import pair_shards
from tools.dataset.compose_animations import compose, poses
from tools.dataset.exclusions import broken_rules
from tools.dataset.long_animations import LONGEST_S, SHORTEST_S
from tools.dataset.make_dataset import (
    SAME_ABOVE,
    SSIM_SIDE,
    Settings,
    _sources,
    make_dataset,
    make_shard,
)
from tools.dataset.pair_dataset import PairDataset
from x2c_edge.controls import HIGH, LOW, indices
from x2c_edge.errors import BadArgumentError, FaultError, NotFoundError
from x2c_edge.robot.face import AmecaFace
from x2c_edge.safety.envelope import Envelope
from x2c_edge.safety.extremes import ExtremesGuard, ExtremesSettings
from x2c_edge.safety.lip_limits import limit_lips

ROOT = Path(__file__).parents[2]
SETTINGS = Settings(pairs=70, size=32, seed=5, scenes="fixed", shard_pairs=50)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def command(out: Path, *options: str, **keywords: object) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "tools.dataset.make_dataset", "--out", str(out), "--size", "32", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        words,
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **keywords,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("set") / "pairs"
    make_dataset(SETTINGS, out, processes=1, quiet=True)
    return out


def test_pictures_are_what_the_controls_look_like(folder):
    face = AmecaFace(32)
    sets = [PairDataset(folder, split, "random") for split in ("train", "test")]
    assert sum(map(len, sets)) == SETTINGS.pairs
    for pairs in sets:
        assert (pairs.size, pairs.controls.dtype, pairs.controls.shape) == (32, np.float32, (len(pairs), 30))
        assert (pairs.controls >= LOW - 1e-6).all()
        assert (pairs.controls <= HIGH + 1e-6).all()
        for i in range(0, len(pairs), 9):
            difference = face.render(pairs.controls[i]).astype(int) - pairs.image(i)
            assert np.abs(difference).max() <= 2  # controls were stored in single precision


def test_frames_that_look_alike_were_dropped(folder):
    shard = make_shard(SETTINGS, 0)
    grey = [
        cv2.resize(
            cv2.cvtColor(cv2.imdecode(np.frombuffer(png, np.uint8), 1), cv2.COLOR_BGR2GRAY),
            (SSIM_SIDE, SSIM_SIDE),
            interpolation=cv2.INTER_AREA,
        )
        for png in shard.png
    ]
    for i in range(1, len(grey)):
        if shard.animation[i] == shard.animation[i - 1]:
            assert structural_similarity(grey[i - 1], grey[i], data_range=255) <= SAME_ABOVE
            assert shard.time[i] > shard.time[i - 1]


def test_both_divisions_give_a_fifth_for_testing(folder):
    train, test = (PairDataset(folder, split) for split in ("train", "test"))
    assert len(train) + len(test) == SETTINGS.pairs
    assert not set(train.animation) & set(test.animation)
    assert len(PairDataset(folder, "test", "random")) == round(0.2 * SETTINGS.pairs)


def test_many_animations_are_divided_evenly():
    frames = {number: 20 + number % 17 for number in range(0, 3000, 10)}
    chosen = pair_shards.test_animations(frames, seed=1)
    assert sum(frames[number] for number in chosen) == pytest.approx(0.2 * sum(frames.values()), rel=0.03)
    assert chosen == pair_shards.test_animations(frames, seed=1) != pair_shards.test_animations(frames, 2)
    assert pair_shards.test_animations({3: 10, 8: 10}, 1) in ([3], [8])


def test_few_animations_leave_most_for_training():
    """Also when one of them is most of the set."""
    for seed in range(20):
        assert pair_shards.test_animations({0: 69, 1: 231}, seed) == [0]
        frames = {0: 230, 1: 20, 2: 25, 3: 25}
        assert sum(frames[number] for number in pair_shards.test_animations(frames, seed)) <= 100
    assert pair_shards.test_animations({0: 70}, 1) == []  # cannot be divided, as a training says


def test_two_processes_make_the_same_bytes(folder, tmp_path):
    make_dataset(SETTINGS, tmp_path / "again", processes=2, quiet=True)
    assert contents(tmp_path / "again") == contents(folder)


def test_other_seeds_and_scenes_make_other_sets(folder):
    first = make_shard(SETTINGS, 1)
    other = make_shard(replace(SETTINGS, seed=6), 1)
    lit = make_shard(replace(SETTINGS, scenes="random"), 1)
    assert len(first.png) == len(other.png) == len(lit.png) == 20
    assert not np.array_equal(first.controls, other.controls)
    assert first.png[0] != lit.png[0]
    np.testing.assert_array_equal(first.controls[0], lit.controls[0])


def test_what_is_missing_or_damaged_is_made_again(folder, tmp_path, capsys):
    whole = contents(folder)
    out = tmp_path / "damaged"
    out.mkdir()
    for name, content in whole.items():
        (out / name).write_bytes(content)
    damaged = out / pair_shards.shard_name(1)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    untouched = (out / pair_shards.shard_name(0)).stat().st_mtime_ns

    with pytest.raises(NotFoundError, match="damaged") as raised:
        PairDataset(out, "train")
    assert str(raised.value).startswith(str(damaged))
    options = "--pairs 70 --size 32 --seed 5 --scenes fixed --shard-pairs 50"
    assert str(raised.value).endswith(f"python -m tools.dataset.make_dataset {options} --out {out}")

    make_dataset(SETTINGS, out, processes=1, quiet=True)
    assert f"{damaged}: missing or damaged" in capsys.readouterr().err
    assert contents(out) == whole
    assert (out / pair_shards.shard_name(0)).stat().st_mtime_ns == untouched


def test_a_folder_with_another_set_is_left_alone(folder):
    before = contents(folder)
    with pytest.raises(BadArgumentError, match=r"seed 5, not 6; give another --out"):
        make_dataset(replace(SETTINGS, seed=6), folder, processes=1, quiet=True)
    assert contents(folder) == before


def test_killed_and_restarted_it_keeps_what_was_finished(tmp_path):
    out = tmp_path / "killed"
    options = ("--pairs", "150", "--shard-pairs", "50", "--processes", "2")
    running = command(out, *options)
    shards: list[Path] = []
    deadline = time.monotonic() + 60
    while not shards and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.01)
        shards = sorted(out.glob("*.npz"))
    time.sleep(0.05)  # let the manifest follow its shard
    running.send_signal(signal.SIGKILL)
    running.communicate()
    kept = {entry["file"] for entry in json.loads((out / "manifest.json").read_text())["shards"]}
    assert len(kept) >= len(shards) - 1
    if len(kept) < 3:
        with pytest.raises(NotFoundError, match="unfinished; finish it: python -m tools"):
            PairDataset(out, "train")
    times = {name: (out / name).stat().st_mtime_ns for name in kept}
    settings = Settings(150, 32, 1, "fixed", 50)
    make_dataset(settings, out, processes=1, quiet=True)
    assert {name: (out / name).stat().st_mtime_ns for name in kept} == times
    make_dataset(settings, tmp_path / "whole", processes=1, quiet=True)
    assert contents(out) == contents(tmp_path / "whole")


def test_a_full_disk_is_one_line_and_loses_nothing(folder, tmp_path):
    """No file may grow beyond 40 kB: the second, small shard may fit, the first does not."""
    resource = pytest.importorskip("resource")
    out = tmp_path / "full"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    running = command(
        out, "--pairs", "70", "--shard-pairs", "50", "--seed", "5", "--processes", "1", preexec_fn=limit
    )
    errors = running.communicate(timeout=patient(60))[1]
    assert running.returncode == FaultError.exit_code
    lines = [line for line in errors.splitlines() if line.strip()]
    assert len(lines) == 1
    assert "File too large" in lines[0]
    assert "run the same command again" in lines[0]
    assert not list(out.glob("*.partial"))
    make_dataset(SETTINGS, out, processes=1, quiet=True)
    assert contents(out) == contents(folder)


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotFoundError, match="give a folder that can be written to"):
        make_dataset(SETTINGS, tmp_path / "file" / "set", processes=1, quiet=True)


def test_ray_is_asked_for_by_name(tmp_path):
    try:
        import ray  # noqa: F401
    except ImportError:
        says = "Ray is not installed; pip install ray"
    else:
        says = "no cluster"
    with pytest.raises(NotFoundError, match=says) as raised:
        make_dataset(SETTINGS, tmp_path / "set", ray="127.0.0.1:1", quiet=True)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "something else"}'])
def test_a_manifest_that_is_none(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(NotFoundError, match=r"manifest\.json") as raised:
        PairDataset(tmp_path, "train")
    assert "\n" not in str(raised.value)


LONG = Settings(pairs=240, size=32, seed=5, scenes="portrait", shard_pairs=120, animations=3)


@pytest.fixture(scope="module")
def long_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("long") / "pairs"
    make_dataset(LONG, out, processes=2, quiet=True)
    return out


def long_pairs(folder: Path) -> list[pair_shards.Shard]:
    manifest = pair_shards.read_manifest(folder)
    return [pair_shards.read_shard(folder / e["file"], e["sha256"], "") for e in manifest["shards"]]


def test_so_many_animations_of_1_to_15_s_are_played(long_set):
    shards = long_pairs(long_set)
    assert sum(len(shard.png) for shard in shards) == LONG.pairs
    numbers = [np.unique(shard.animation) for shard in shards]
    assert [n.tolist() for n in numbers] == [[0], [1, 2]]
    for shard in shards:
        for number in np.unique(shard.animation):
            lasted = shard.time[shard.animation == number].max()
            assert SHORTEST_S - 1e-6 <= lasted <= LONGEST_S + 1e-6


def test_what_the_paper_leaves_out_is_in_no_pair(long_set):
    """Every pair of the set, beside the rules and beside the safety layer's own."""
    for shard in long_pairs(long_set):
        assert not broken_rules(shard.controls).any()
        for pose in shard.controls.astype(np.float64):
            limited = pose.copy()
            limit_lips(limited)
            np.testing.assert_allclose(limited, pose, atol=1e-6)
        for number in np.unique(shard.animation):
            mine = shard.animation == number
            assert_never_pulled_back(shard.controls[mine].astype(np.float64), shard.time[mine])


def assert_never_pulled_back(poses: np.ndarray, times: np.ndarray) -> None:
    """The supervisor's guard against extremes, without any patience, finds no head or neck to pull back."""
    guard = ExtremesGuard(ExtremesSettings(allowed_s=0.0, kept_s=1.0), Envelope())
    for pose, passed in zip(poses, np.diff(times, prepend=times[0] - 0.05), strict=True):
        target = pose.copy()
        guard.apply(target, pose, float(passed))
        np.testing.assert_array_equal(target[indices("head")], pose[indices("head")])


def test_a_set_without_the_rules_would_break_them(folder):
    """The short animations go further, so the test above can fail."""
    composed = np.concatenate([poses(compose(1, number))[1] for number in range(60)])
    assert broken_rules(composed)[:, [0, 2, 3]].any(0).all()


@pytest.mark.parametrize("animations", [1, 50])
def test_animations_that_cannot_give_the_pairs(animations, tmp_path):
    with pytest.raises(BadArgumentError, match=rf"--animations {animations}: 240 pairs") as raised:
        make_dataset(replace(LONG, animations=animations), tmp_path / "set", processes=1, quiet=True)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "set").exists()


def test_the_paper_s_set_has_560_animations_in_100_files():
    settings = Settings(100_000, 512, 1, "fixed", 1000, 560)
    numbers = [number for shard in range(settings.shards) for number in settings.animations_in(shard)]
    assert (settings.shards, numbers) == (100, list(range(560)))


def test_a_cluster_makes_the_same_bytes(long_set, tmp_path):
    """Ray on this machine, with two worker processes."""
    ray = pytest.importorskip("ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = Path(sys.executable).with_name("ray")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_TMPDIR": "/tmp"}
    start = [command, "start", "--head", "--num-cpus=2", f"--port={port}", "--include-dashboard=false"]
    start += ["--disable-usage-stats", "--node-ip-address=127.0.0.1", "--block"]
    head = subprocess.Popen(
        start, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                make_dataset(LONG, tmp_path / "ray", ray=f"127.0.0.1:{port}", quiet=True)
                break
            except NotFoundError:
                assert head.poll() is None, "ray start ended"
                assert time.monotonic() < deadline
                time.sleep(1)
    finally:
        ray.shutdown()
        head.terminate()  # it ends what it has started, which takes a while on a busy machine
        head.wait(120)
    assert contents(tmp_path / "ray") == contents(long_set)


def test_a_set_knows_all_that_decides_what_is_drawn():
    """The rules that poses are brought within, and what the rasteriser includes."""
    sources = _sources()
    for name in ("safety/lip_limits.py", "safety/eyelids.py", "controls.py", "robot/deform.py"):
        assert ROOT / "x2c_edge" / name in sources
    for source in [path for path in sources if path.parent.name == "cpu"]:
        for name in re.findall(r'#include "(.*raster.*)"', source.read_text()):
            assert (source.parent / name).resolve() in sources, name
