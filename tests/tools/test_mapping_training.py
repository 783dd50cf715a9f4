from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from tests.patience import patient
from tools.train import mapping as train_mapping
from tools.train import mapping_training
from tools.train.checkpoint import Part, State
from tools.train.mapping_file import load_trained, save_trained
from tools.train.mapping_pictures import (
    ArrayPairs,
    SomePairs,
    augmented,
    from_bytes,
    normalised,
    resized,
    spread,
    statistics,
)
from tools.train.mapping_recipe import Recipe, trunk_name, trunk_of
from tools.train.mapping_training import Machine, predict, train
from x2c_edge.controls import HIGH, LOW, N_CONTROLS, NEUTRAL, to_robot
from x2c_edge.errors import BadArgumentError, NotFoundError, UserError
from x2c_edge.nets.look_trunk import LookTwiceConfig
from x2c_edge.nets.mapping import PUBLISHED_TRUNKS, MappingConfig, MappingNetwork
from x2c_edge.packs import NetInput

ROOT = Path(__file__).parents[2]
TINY = Recipe(trunk_of("resnet", 32, (4, 4, 8, 8), (1, 1, 1, 1)), 32, (16,), epochs=2, batch=8, seed=3)
FP32 = Machine(precision="fp32")


def quiet(line: str) -> None:
    return


@pytest.fixture(scope="module")
def pairs() -> ArrayPairs:
    """Pictures whose brightness in three bands follows three of the controls."""
    rng = np.random.default_rng(0)
    controls = np.tile(NEUTRAL, (48, 1))
    controls[:, [0, 13, 29]] = rng.uniform(0, 1, (48, 3))
    bands = np.repeat(controls[:, [0, 13, 29]], [10, 11, 11], axis=1)
    images = (40 + 180 * bands)[:, :, None, None] * np.ones((1, 1, 32, 3))
    return ArrayPairs(images.astype(np.uint8), controls.astype(np.float32))


def test_it_learns_what_the_pictures_show(pairs: ArrayPairs):
    said: list[str] = []
    recipe = replace(TINY, epochs=30, augment=False, learning_rate=6e-3)
    trained = train(recipe, pairs, machine=FP32, say=said.append)
    error = np.abs(predict(trained.net, trained.picture, pairs) - pairs.controls)
    guess = np.abs(pairs.controls.mean(0) - pairs.controls)
    assert error.mean() < 0.7 * guess.mean()
    assert "180/180" in said[-1]
    assert not any(p.requires_grad for p in trained.net.parameters())


def test_a_loss_in_units_of_the_spread_still_gives_paper_units(pairs: ArrayPairs):
    trunk = trunk_of("resnet", 32, (4, 4, 8, 8), (1, 1, 1, 1))
    recipe = replace(
        TINY, trunk=replace(trunk, pool=1), epochs=30, augment=False, learning_rate=6e-3, loss="spread"
    )
    trained = train(recipe, pairs, machine=FP32, say=quiet)
    error = np.abs(predict(trained.net, trained.picture, pairs) - pairs.controls)
    guess = np.abs(pairs.controls.mean(0) - pairs.controls)
    assert error.mean() < 0.7 * guess.mean()
    again = train(
        replace(recipe, epochs=1, learning_rate=1e-12), pairs, machine=FP32, start=trained.net.state_dict(),
        say=quiet,
    )  # fmt: skip
    for name, value in trained.net.named_parameters():  # what starts from it is it
        torch.testing.assert_close(again.net.get_parameter(name), value, atol=1e-5, rtol=1e-4)


def test_errors_count_as_loud_as_they_are_said_to(pairs: ArrayPairs):
    """Every picture a second time with other controls: one of the two has no say in control 13."""
    other = pairs.controls.copy()
    other[:, 13] = other[::-1, 13]
    both = ArrayPairs(np.concatenate([pairs.images] * 2), np.concatenate([pairs.controls, other]))
    trunk = trunk_of("resnet", 32, (4, 4, 8, 8), (1, 1, 1, 1))
    recipe = replace(
        TINY, trunk=replace(trunk, pool=1), epochs=30, augment=False, learning_rate=6e-3, loss="spread"
    )
    errors = []
    for silent in (slice(48, None), slice(None, 48)):
        weights = np.ones_like(both.controls)
        weights[silent, 13] = 0.0
        trained = train(recipe, both, machine=FP32, weights=weights, say=quiet)
        found = predict(trained.net, trained.picture, pairs)[:, 13]
        errors.append([np.abs(found - wanted[:, 13]).mean() for wanted in (pairs.controls, other)])
    assert errors[0][0] < 0.85 * errors[0][1]
    assert errors[1][1] < 0.85 * errors[1][0]
    with pytest.raises(BadArgumentError, match=r"weights: expected \(96, 30\)"):
        train(recipe, both, machine=FP32, weights=weights[:48], say=quiet)


def test_a_resnet_may_keep_where_things_are():
    trunk = replace(trunk_of("resnet", 64, (4, 4, 8, 8), (1, 1, 1, 1)), pool=2)
    net = MappingNetwork(MappingConfig(trunk, (16,)))
    assert net.features(torch.rand(2, 3, 64, 64)).shape == (2, trunk.features) == (2, 32)


def test_a_stopped_run_goes_on_to_the_same_end(pairs: ArrayPairs, tmp_path: Path):
    class Breaks(ArrayPairs):
        reads = 0

        def image(self, i: int) -> np.ndarray:
            Breaks.reads += 1
            if (
                Breaks.reads > 48 + 48 + 48 + 20
            ):  # statistics, the checkpoint's data, the first epoch, and some of the second
                raise KeyboardInterrupt
            return super().image(i)

    whole = train(TINY, pairs, machine=FP32, say=quiet)
    checkpoint = tmp_path / "deep" / "c.pt"
    with pytest.raises(KeyboardInterrupt):
        train(TINY, Breaks(pairs.images, pairs.controls), machine=FP32, checkpoint=checkpoint, say=quiet)
    said: list[str] = []
    resumed = train(TINY, pairs, machine=FP32, checkpoint=checkpoint, say=said.append)
    assert "from step 6 of 12" in said[0]
    for name, value in whole.net.state_dict().items():
        torch.testing.assert_close(resumed.net.state_dict()[name], value, msg=name)
    assert [f.name for f in checkpoint.parent.iterdir()] == ["c.pt"]


def test_a_long_epoch_is_not_lost_either(pairs: ArrayPairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With a checkpoint every so often, the middle of an epoch is a place to go on from."""
    monkeypatch.setattr("tools.train.mapping_training.KEEP_EVERY_S", 0.0)
    whole = train(TINY, pairs, machine=FP32, say=quiet)
    checkpoint, stops = tmp_path / "c.pt", [KeyboardInterrupt()]
    keep = State.keep

    def stopped(self: State, parts: Mapping[str, Part], **counts: float) -> None:
        keep(self, parts, **counts)
        if counts["step"] == 8 and stops:
            raise stops.pop()

    monkeypatch.setattr(State, "keep", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(TINY, pairs, machine=FP32, checkpoint=checkpoint, say=quiet)
    said: list[str] = []
    resumed = train(TINY, pairs, machine=FP32, checkpoint=checkpoint, say=said.append)
    assert "from step 8 of 12" in said[0]
    for name, value in whole.net.state_dict().items():
        torch.testing.assert_close(resumed.net.state_dict()[name], value, msg=name)


@pytest.mark.parametrize("loss", ["huber", "spread"])
def test_a_feature_extractor_alone_can_be_started_from(loss: str, pairs: ArrayPairs):
    """The head still starts at the mean pose, in paper units."""
    torch.manual_seed(9)
    state = MappingNetwork(TINY.net).state_dict()
    start = {name: value for name, value in state.items() if name.startswith("feature_extractor.")}
    recipe = replace(TINY, epochs=1, learning_rate=1e-9, loss=loss)
    trained = train(recipe, pairs, machine=FP32, start=start, say=quiet)
    for name, value in start.items():
        if name.endswith("weight"):
            torch.testing.assert_close(trained.net.state_dict()[name], value, atol=1e-5, rtol=0)
    last = trained.net.state_dict()["pos_pred_head.2.bias"]
    np.testing.assert_allclose(last.numpy(), pairs.controls.mean(0), atol=1e-3)


def test_a_checkpoint_that_is_not_this_run(pairs: ArrayPairs, tmp_path: Path):
    checkpoint = tmp_path / "c.pt"
    train(TINY, pairs, machine=FP32, checkpoint=checkpoint, say=quiet)
    with pytest.raises(BadArgumentError, match=r"c\.pt: .*other settings \(batch, seed\).*delete"):
        train(replace(TINY, seed=4, batch=16), pairs, machine=FP32, checkpoint=checkpoint, say=quiet)
    darker = ArrayPairs(pairs.images // 2, pairs.controls)
    fewer = SomePairs(pairs, np.arange(40))
    start = MappingNetwork(TINY.net).state_dict()
    for other, options, what in (
        (darker, {}, "data"),
        (fewer, {}, "data"),
        (pairs, {"weights": np.ones_like(pairs.controls)}, "data"),
        (pairs, {"start": start}, "start"),
        (pairs, {"machine": Machine(precision="bf16")}, "precision"),
    ):
        with pytest.raises(BadArgumentError, match=rf"other settings \({what}\)"):
            train(TINY, other, checkpoint=checkpoint, say=quiet, **{"machine": FP32, **options})
    nearly = ArrayPairs(pairs.images, pairs.controls * np.float32(1 + 1e-7))  # as other threads count
    train(TINY, nearly, machine=FP32, checkpoint=checkpoint, say=quiet)
    checkpoint.write_bytes(checkpoint.read_bytes()[:500])
    with pytest.raises(NotFoundError, match="nothing to go on from") as raised:
        train(TINY, pairs, machine=FP32, checkpoint=checkpoint, say=quiet)
    assert "\n" not in str(raised.value)


def test_twins_draw_their_features_together(pairs: ArrayPairs):
    twins = ArrayPairs(255 - pairs.images, pairs.controls)

    def likeness(weight: float) -> float:
        recipe = replace(TINY, epochs=8, augment=False, feature_weight=weight)
        net = train(recipe, pairs, machine=FP32, twins=twins, say=quiet).net
        picture = NetInput(32, "RGB", (0.5,) * 3, (0.25,) * 3)
        own, other = (
            net.features(normalised(from_bytes(torch.from_numpy(p.images)), picture)) for p in (pairs, twins)
        )
        return float(torch.nn.functional.cosine_similarity(own, other).mean())

    assert likeness(1.0) > likeness(0.0)
    with pytest.raises(BadArgumentError, match="47 twins for 48 pairs"):
        train(TINY, pairs, machine=FP32, twins=SomePairs(twins, np.arange(47)), say=quiet)


def test_what_cannot_be_trained(pairs: ArrayPairs):
    with pytest.raises(BadArgumentError, match="48 pairs are less than one batch of 64"):
        train(replace(TINY, batch=64), pairs, machine=FP32, say=quiet)
    with pytest.raises(BadArgumentError, match="3 processes cannot share"):
        train(TINY, pairs, machine=replace(FP32, world=3), say=quiet)
    with pytest.raises(BadArgumentError, match="another net"):
        train(TINY, pairs, machine=FP32, start={}, say=quiet)
    broken = MappingNetwork(TINY.net).state_dict()
    broken["pos_pred_head.0.bias"] = torch.full((16,), math.nan)
    with pytest.raises(UserError, match=r"step 1: the loss is nan; .*--lr"):
        train(TINY, pairs, machine=FP32, start=broken, say=quiet)


def test_the_schedule_warms_up_and_falls_as_a_cosine():
    recipe = Recipe(learning_rate=2.0, warm_up=0.1)
    assert recipe.rate_at(0.05) == pytest.approx(1.0)
    assert recipe.rate_at(0.1) == pytest.approx(2.0)
    assert recipe.rate_at(0.55) == pytest.approx(1.0)
    assert recipe.rate_at(1.0) == pytest.approx(0.0)
    paper = Recipe()
    assert (paper.batch, paper.weight_decay, paper.huber_delta, paper.warm_up) == (128, 0.05, 0.01, 0.02)


@pytest.mark.parametrize("kind", PUBLISHED_TRUNKS)
def test_trunks_have_their_published_sizes_unless_told(kind: str):
    assert trunk_of(kind, 224) == PUBLISHED_TRUNKS[kind]


SMALL = {
    "resnet": ((4, 4, 8, 8), (1, 1, 1, 1)), "vgg": ((4, 4, 8, 8, 8), (1, 1, 1, 1, 1)),
    "transformer": ((12,), (2,)), "efficient": ((4, 4, 8, 8, 8, 8, 8), (1,) * 7),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), [
    ("resnet", "ResNet"), ("vgg", "VGG"), ("transformer", "ViT"), ("efficient", "EfficientNet"),
])  # fmt: skip
def test_every_trunk_trains_at_small_widths(kind: str, name: str, pairs: ArrayPairs, tmp_path: Path):
    recipe = replace(TINY, trunk=trunk_of(kind, 32, *SMALL[kind]), epochs=1)
    assert trunk_name(recipe.trunk) == name
    trained = train(recipe, pairs, machine=FP32, say=quiet)
    save_trained(tmp_path / "net.json", trained)
    again = load_trained(tmp_path / "net.json")
    np.testing.assert_allclose(
        predict(again.net, again.picture, pairs), predict(trained.net, trained.picture, pairs), atol=1e-6
    )


@pytest.mark.parametrize(("arguments", "message"), [
    (("resnet18", 224), "--trunk resnet18: choose .*did you mean 'resnet'"),
    (("resnet", 100), "--size 100: resnet takes multiples of 32"),
    (("transformer", 40), "--size 40: transformer takes multiples of 16"),
    (("resnet", 128, (8, 8)), "--widths: resnet takes 4 whole numbers"),
    (("vgg", 128, (), (1, 1, 0, 1, 1)), "--blocks: vgg takes 5"),
    (("transformer", 128, (200,)), "--widths 200: .*multiple of 64"),
])  # fmt: skip
def test_sizes_that_a_trunk_does_not_have(arguments: tuple, message: str):
    with pytest.raises(BadArgumentError, match=message):
        trunk_of(*arguments)


def test_pictures_are_prepared_as_the_net_expects(pairs: ArrayPairs):
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (5, 16, 16, 3), np.uint8)
    mean, std = statistics(ArrayPairs(images, np.zeros((5, 30), np.float32)), 16)
    rgb = images[..., ::-1].reshape(-1, 3) / 255
    np.testing.assert_allclose(mean, rgb.mean(0), atol=1e-4)
    np.testing.assert_allclose(std, rgb.std(0), atol=1e-4)
    for order, channels in (("RGB", rgb), ("BGR", rgb[:, ::-1])):
        x = normalised(from_bytes(torch.from_numpy(images)), NetInput(16, order, (0.1, 0.2, 0.3), (1, 2, 4)))
        expected = ((channels - [0.1, 0.2, 0.3]) / [1, 2, 4]).reshape(5, 16, 16, 3).transpose(0, 3, 1, 2)
        np.testing.assert_allclose(x, expected, atol=1e-6)
    for how in ("area", "bilinear", "bilinear-antialias"):
        flat = np.full((40, 40, 3), 77, np.uint8)
        assert (resized(flat, 32, how) == 77).all()
    assert np.array_equal(resized(images[0], 16), images[0])
    assert spread(10, 4).tolist() == [0, 2, 5, 7]
    assert spread(3, None).tolist() == spread(3, 9).tolist() == [0, 1, 2]


def test_augmentation_depends_on_its_seed_and_stays_modest():
    x = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.2
    first, same, other = (augmented(x, torch.Generator().manual_seed(s))[0] for s in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert first.shape == x.shape
    assert first.min() >= 0
    assert first.max() <= 1
    flat = augmented(torch.full((64, 3, 32, 32), 0.5), torch.Generator().manual_seed(0))[0].mean((1, 2, 3))
    assert flat.min() > 0.39
    assert flat.max() < 0.61


def test_where_to_look_moves_with_the_picture(monkeypatch: pytest.MonkeyPatch):
    """A bright dot is where its place and what augmentation says of the shift put it, in the loss, too."""
    side, count = 128, 16
    place = torch.tensor([2 * 41.5 + 1, 2 * 61.5 + 1]) / side - 1
    images = np.zeros((count, side, side, 3), np.uint8)
    images[:, 60:64, 40:44] = 255
    x, moved = augmented(from_bytes(torch.from_numpy(images)), torch.Generator().manual_seed(5))
    bright = x.mean(1).where(x.mean(1) > 0.25, 0.0)
    at = (torch.arange(side) * 2 + 1) / side - 1
    found = torch.stack([bright.sum(rows) @ at for rows in (1, 2)], 1) / bright.sum((1, 2))[:, None]
    torch.testing.assert_close(found, place + moved, atol=4e-3, rtol=0)
    assert moved.abs().max() > 0.01
    asked: list[torch.Tensor] = []
    look_loss = mapping_training._look_loss

    def watched(recipe: Recipe, points: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        asked.append(places)
        return look_loss(recipe, points, places)

    monkeypatch.setattr(mapping_training, "_look_loss", watched)
    pairs = ArrayPairs(images[:8, ::4, ::4].copy(), np.tile(NEUTRAL, (8, 1)).astype(np.float32))
    trunk = LookTwiceConfig(64, stem=4, widths=(4,) * 4, patch_widths=(4,) * 4, patch_hidden=4)
    recipe = replace(TINY, trunk=trunk, size=64, epochs=1)
    looks = np.zeros((8, 5, 2), np.float32)
    train(recipe, pairs, machine=FP32, looks=looks, twins=pairs, say=quiet)
    assert (asked[0] == asked[0][:, :1]).all()  # all of a picture's points alike
    assert len(asked[0][:, 0].unique(dim=0)) == 8


def test_answers_in_degrees_become_paper_units(pairs: ArrayPairs):
    trained = train(replace(TINY, epochs=1), pairs, machine=FP32, say=quiet)
    degrees = predict(trained.net, trained.picture, pairs, degrees=True)
    np.testing.assert_allclose(to_robot(degrees), predict(trained.net, trained.picture, pairs), atol=1e-12)


def test_a_file_that_is_no_trained_network(tmp_path: Path, pairs: ArrayPairs):
    path = tmp_path / "net.json"
    with pytest.raises(NotFoundError, match=r"net\.json: No such file.*tools\.train\.mapping"):
        load_trained(path)
    path.write_text('{"format": "another"}')
    with pytest.raises(NotFoundError, match='its "format" is not'):
        load_trained(path)
    save_trained(path, train(replace(TINY, epochs=1), pairs, machine=FP32, say=quiet))
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "net": {**content["net"], "hidden": [17]}}))
    with pytest.raises(NotFoundError, match="not a trained mapping network") as raised:
        load_trained(path)
    assert "\n" not in str(raised.value)
    weights = path.with_suffix(".safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])
    path.write_text(json.dumps(content))
    with pytest.raises(NotFoundError, match="not the one that it was written with"):
        load_trained(path)


def published_set(folder: Path, pairs: ArrayPairs) -> Path:
    """The published layout: angles in degrees, pictures numbered."""
    (folder / "images").mkdir(parents=True)
    lines = []
    for i, image in enumerate(pairs.images):
        cv2.imwrite(str(folder / "images" / f"p{i}.png"), image)
        values = to_robot(pairs.controls[i]).tolist()
        lines.append(json.dumps({"file_name": f"p{i}.png", "ctrl_value": values}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder


OPTIONS = [
    "--size", "32", "--widths", "4,4,8,8", "--blocks", "1,1,1,1", "--hidden", "16", "--epochs", "2",
    "--batch", "8", "--division", "random", "--precision", "fp32",
]  # fmt: skip


def run(*arguments: object) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(train_mapping.main)
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, result.output


def test_the_command_trains_measures_and_writes(pairs: ArrayPairs, tmp_path: Path):
    data, out = published_set(tmp_path / "set", pairs), tmp_path / "out" / "net.json"
    code, text = run(data, "--out", out, *OPTIONS)
    assert code == 0, text
    trained = load_trained(out)
    assert trained.accuracy is not None
    assert trained.accuracy["pictures"] == 10
    assert trained.accuracy["division"] == "random"
    assert f"MAE {trained.accuracy['mae']:.4f}" in text
    assert trained.net.config == MappingConfig(trunk_of("resnet", 32, (4, 4, 8, 8), (1, 1, 1, 1)), (16,))
    assert sorted(f.name for f in out.parent.iterdir()) == ["net.json", "net.safetensors"]
    code, text = run(data, "--out", tmp_path / "more.json", "--init", out, "--limit", 16, *OPTIONS)
    assert code == 0, text


def test_without_pairs_to_test_on_nothing_is_trained(pairs: ArrayPairs, tmp_path: Path):
    two = ArrayPairs(pairs.images[:2], pairs.controls[:2])
    code, text = run(published_set(tmp_path, two), "--out", tmp_path / "net.json", *OPTIONS, "--batch", 2)
    assert code == 2
    assert "no pair is left for testing" in text
    assert "step" not in text


@pytest.mark.parametrize(("options", "message"), [
    (("--out", "net.pt"), "ends in .json"),
    (("--out", "net.json", "--precision", "fp8"), "--precision fp8: choose"),
    (("--out", "net.json", "--device", "tpu"), "--device tpu: choose"),
    (("--out", "net.json", "--widths", "4,x"), "--widths '4,x': give whole numbers"),
    (("--out", "net.json", "--hidden=-5"), "--hidden '-5': give whole numbers above 0"),
    (("--out", "net.json", "--lr", "nan"), "--lr nan: give a number above 0"),
    (("--out", "net.json", "--lr=-1"), "--lr -1: give a number above 0"),
    (("--out", "net.json", "--init", "none.json"), "none.json: No such file"),
])  # fmt: skip
def test_the_command_says_what_is_wrong_in_one_line(
    options: tuple, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    code, text = run("nowhere", *options)
    assert code in (2, 3)
    assert message in text
    assert len(text.strip().splitlines()) == 1


@pytest.mark.slow
def test_two_processes_learn_together(pairs: ArrayPairs, tmp_path: Path):
    """Really started by torchrun; both see half of each batch and end with one net."""
    data, out = published_set(tmp_path / "set", pairs), tmp_path / "net.json"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    result = subprocess.run(
        [*launcher, "-m", "tools.train.mapping", str(data), "--out", str(out), *OPTIONS],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=patient(240),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.count("MAE") == 1
    trained = load_trained(out)
    assert "(2 processes" in trained.trained_by
    values = predict(trained.net, trained.picture, pairs)
    assert values.shape == (48, N_CONTROLS)
    assert ((values > LOW - 1) & (values < HIGH + 1)).all()
