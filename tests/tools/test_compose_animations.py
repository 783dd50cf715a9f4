"""Composed animations: seeded, safe to send, and all over the space."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tools.dataset.compose_animations import (
    HIGH,
    KINDS,
    LOW,
    REGIONS,
    STEP_S,
    compose,
    main,
    mirror_image,
    poses,
    scaled,
)
from x2c_edge.controls import (
    CONTROLS,
    INDEX,
    NEUTRAL,
    SAFE_HIGH,
    SAFE_LOW,
    SLEW,
    indices,
    mirrored,
)
from x2c_edge.robot.animation import Animation, KeyFrame
from x2c_edge.robot.animation_text import library, load
from x2c_edge.safety.lip_limits import limit_lips

COUNT = 150


@pytest.fixture(scope="module")
def composed() -> list[Animation]:
    return [compose(7, number) for number in range(COUNT)]


@pytest.fixture(scope="module")
def sampled(composed: list[Animation]) -> list[np.ndarray]:
    return [poses(animation)[1] for animation in composed]


def test_one_seed_gives_one_result(composed):
    assert compose(7, 3) == composed[3]
    assert compose(8, 3).tracks != composed[3].tracks
    assert len({str(animation.tracks) for animation in composed}) == COUNT


def test_all_kinds_occur(composed):
    assert {animation.tags[0] for animation in composed} == {name for name, _ in KINDS}
    assert sum(share for _, share in KINDS) == pytest.approx(1)


def test_every_pose_may_be_sent(sampled):
    for values in sampled:
        assert (values >= SAFE_LOW - 1e-12).all()
        assert (values <= SAFE_HIGH + 1e-12).all()
        assert (np.abs(np.diff(values, axis=0)) <= SLEW * STEP_S + 1e-9).all()
        for pose in values:
            limited = pose.copy()
            limit_lips(limited)
            np.testing.assert_allclose(pose, limited, atol=1e-12)


def test_the_library_may_be_sent_too():
    for animation in library():
        times, values = poses(animation)
        assert (np.abs(np.diff(values, axis=0)) <= SLEW * STEP_S + 1e-9).all()
        assert times[-1] <= animation.duration * 1.05, f"{animation.name} is too fast and was slowed down"


def test_what_is_too_fast_is_slowed_down():
    """A jaw that shuts at its own full speed makes the lips' rule lift the upper lip too fast."""
    tracks = {
        INDEX["Jaw Pitch"]: (KeyFrame(0, 0.7, "linear"), KeyFrame(0.05, 1.0), KeyFrame(0.5, 1.0)),
        INDEX["Lip Bottom Depress Middle"]: (KeyFrame(0, 0.4),),
        INDEX["Lip Top Raise Middle"]: (KeyFrame(0, 0.0),),
    }
    times, values = poses(Animation("snap", (), tracks))
    assert times[-1] > 0.5
    assert (np.abs(np.diff(values, axis=0)) <= SLEW * STEP_S + 1e-9).all()


def test_a_jump_becomes_a_ramp_at_the_control_s_own_speed():
    neck = INDEX["Neck Roll"]
    animation = Animation(
        "jump", (), {neck: (KeyFrame(0, 0, "hold"), KeyFrame(0.5, 0.2, "hold"), KeyFrame(2, 0.2))}
    )
    values = poses(animation)[1][:, neck]
    rising = np.diff(values)[np.diff(values) > 1e-9]
    assert rising[:-1] == pytest.approx(SLEW[neck] * STEP_S)
    assert values[-1] == pytest.approx(0.2)


def test_the_whole_space_is_covered(sampled):
    values = np.concatenate(sampled)
    for control in CONTROLS:
        column = values[:, control.index]
        low, high = LOW[control.index], HIGH[control.index]
        room = high - low
        assert column.min() < max(low, control.neutral - 0.4 * room) + 0.1 * room, control.name
        assert column.max() > min(high, control.neutral + 0.4 * room) - 0.1 * room, control.name
        assert column.std() > 0.08 * room, control.name


def test_no_control_follows_from_the_others(sampled):
    """Head and neck, left and right, and everything else vary independently in part."""
    values = np.concatenate(sampled)
    deviation = (values - values.mean(axis=0)) / values.std(axis=0)
    inverse = np.linalg.inv(deviation.T @ deviation / len(deviation))
    unexplained = 1 / np.diag(inverse)  # share of each control's variance that the other 29 do not tell
    assert unexplained.min() > 0.2, CONTROLS[int(unexplained.argmin())].name


def test_a_blend_takes_each_region_from_somewhere(composed):
    blends = [animation for animation in composed if animation.tags == ("blend",)]
    for animation in blends:
        for region in REGIONS:
            moving = [len(animation.tracks.get(i, ())) > 1 for group in region for i in indices(group)]
            assert any(moving)


def test_scaling_and_mirroring():
    animation = Animation(
        "x",
        (),
        {
            INDEX["Lip Corner Raise Left"]: (
                KeyFrame(0, 0.47, "bezier", (0.1, 0.1, 0.2, -0.05)),
                KeyFrame(1, 0.67),
            ),
            INDEX["Head Yaw"]: (KeyFrame(0, 0.1),),
        },
    )
    half = scaled(animation, 0.5, 2.0)
    keys = half.tracks[INDEX["Lip Corner Raise Left"]]
    assert keys[0].handles == pytest.approx((0.05, 0.05, 0.1, -0.025))
    assert (keys[1].time, keys[1].value) == pytest.approx((0.5, 0.57))
    times = np.linspace(0, 1, 11)
    mirror = mirror_image(animation)
    np.testing.assert_allclose(mirror.sample(times), mirrored(animation.sample(times)), atol=1e-9)
    np.testing.assert_allclose(mirror_image(mirror).sample(times), animation.sample(times), atol=1e-9)
    np.testing.assert_allclose(
        scaled(replace(animation, tracks={}), 2.0).sample(times), np.tile(NEUTRAL, (11, 1))
    )


def test_the_command_writes_files_that_read_back(tmp_path: Path):
    main(out=tmp_path / "new", seed=7, count=3, first=2)
    files = sorted((tmp_path / "new").iterdir())
    assert len(files) == 3
    assert {load(file).name for file in files} == {compose(7, number).name for number in (2, 3, 4)}
