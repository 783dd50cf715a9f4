from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from x2c_edge.controls import N_CONTROLS, NEUTRAL
from x2c_edge.nets.landmarks import LANDMARK_IDS, OUTER_LIPS
from x2c_edge.nets.second_look import EYE_SPAN, MOUTH_SPAN, _places, cut, unit_grid
from x2c_edge.nets.single_stage import ANGLE_SCALE, SingleStage, SingleStageConfig, folded

SIZE = 32
POINTS = len(LANDMARK_IDS)
SMALL = SingleStageConfig(
    input_size=SIZE,
    stem=8,
    widths=(8, 8, 16, 16),
    blocks=(1, 0, 1, 0),
    hidden=24,
    patch_widths=(4, 8),
    eye_patch=(8, 4),
    mouth_patch=(8, 6),
    patch_hidden=6,
)
EYES = {33: (-0.42, -0.22), 133: (-0.16, -0.18), 263: (0.42, -0.22), 362: (0.16, -0.18)}  # x, y in half crops


@pytest.fixture
def net() -> SingleStage:
    """Random weights and random batch norm statistics, in eval mode."""
    torch.manual_seed(3)
    net = SingleStage(SMALL).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 2.0)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-0.2, 0.2)
    return net


@pytest.fixture
def symmetrical(net: SingleStage) -> SingleStage:
    """The same net, but it sees the landmarks of a symmetrical face in every picture."""
    points = torch.zeros(POINTS, 2)
    for i, at in EYES.items():
        points[LANDMARK_IDS.index(i)] = torch.tensor(at)
    for i in OUTER_LIPS:
        points[LANDMARK_IDS.index(i)] = torch.tensor((0.0, 0.4))
    net.face.weight.data.zero_()
    net.face.bias.data.zero_()
    net.face.bias.data[1:-3] = points.flatten()
    return net


def pictures(n: int) -> torch.Tensor:
    return torch.randn(n, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(n))


def ramps(n: int = 1, size: int = SIZE) -> torch.Tensor:
    """Channels: x, y (in half crop sides from the crop's centre) and one."""
    axis = (torch.arange(size) - (size - 1) / 2) / (size / 2)
    planes = [axis.expand(size, size), axis[:, None].expand(size, size), torch.ones(size, size)]
    return torch.stack(planes).expand(n, 3, size, size)


def patches_of(net: SingleStage, name: str, x: torch.Tensor) -> torch.Tensor:
    """What the eye's or the mouth's own net is given."""
    caught = []
    handle = getattr(net, name).register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    net(x)
    handle.remove()
    return caught[0]


def test_the_row_holds_presence_landmarks_pose_and_controls(net: SingleStage):
    net.face.weight.data.zero_()
    net.face.bias.data = torch.arange(1 + 2 * POINTS + 3, dtype=torch.float32) / 1000
    net.face.bias.data[-3:] = torch.tensor([1.0, -1.0, 0.5])
    net.controls.weight.data.zero_()
    net.controls.bias.data.zero_()
    row = net(pictures(2))
    assert row.shape == (2, 1 + 2 * POINTS + 3 + N_CONTROLS)
    assert row.dtype == torch.float32
    torch.testing.assert_close(row[0, : 1 + 2 * POINTS], net.face.bias[:-3])
    pose = row[0, 1 + 2 * POINTS : 4 + 2 * POINTS]
    torch.testing.assert_close(pose, torch.tensor([1.0, -1.0, 0.5]) * ANGLE_SCALE)
    np.testing.assert_allclose(row[0, -N_CONTROLS:], NEUTRAL, atol=1e-6)
    assert math.degrees(ANGLE_SCALE) == pytest.approx(15)


def test_folded_batch_norms_change_nothing(net: SingleStage):
    x = pictures(4)
    quick = folded(net)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in quick.modules())
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in net.modules())  # a copy was folded
    assert not quick.training
    torch.testing.assert_close(quick(x), net(x), atol=1e-4, rtol=1e-4)


def test_the_default_sizes_fold_exactly_enough_too():
    torch.manual_seed(0)
    net = SingleStage(SingleStageConfig()).eval()
    x = torch.randn(1, 3, 128, 128)
    torch.testing.assert_close(folded(net)(x), net(x), atol=1e-4, rtol=1e-4)


def test_weights_kept_as_float16_move_the_answer_little(net: SingleStage):
    x = pictures(4)
    before = net(x)
    net.load_state_dict({k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()})
    change = (net(x) - before).abs().max()
    assert 0 < change < 0.005


def test_a_picture_s_answer_does_not_depend_on_its_neighbours(net: SingleStage):
    x = pictures(3)
    together = net(x)
    for i in range(3):
        torch.testing.assert_close(net(x[i : i + 1])[0], together[i], atol=1e-5, rtol=1e-5)


def test_the_mirror_image_swaps_the_eyes(symmetrical: SingleStage):
    x = pictures(2)
    there, back = patches_of(symmetrical, "eye", x), patches_of(symmetrical, "eye", x.flip(3))
    torch.testing.assert_close(back[:2], there[2:], atol=1e-5, rtol=1e-5)  # right of the twin: left
    torch.testing.assert_close(back[2:], there[:2], atol=1e-5, rtol=1e-5)
    seen, mirrored = symmetrical.eye(there), symmetrical.eye(back)
    torch.testing.assert_close(mirrored, torch.cat([seen[2:], seen[:2]]), atol=1e-5, rtol=1e-5)


def test_the_mirror_image_mirrors_the_mouth(symmetrical: SingleStage):
    x = pictures(1)
    there, back = patches_of(symmetrical, "mouth", x), patches_of(symmetrical, "mouth", x.flip(3))
    torch.testing.assert_close(back, there.flip(3), atol=1e-5, rtol=1e-5)


def test_the_eyes_are_cut_where_their_corners_are(symmetrical: SingleStage):
    right, left = patches_of(symmetrical, "eye", ramps())
    for patch, outer, inner in ((right, EYES[33], EYES[133]), (left, EYES[263], EYES[362])):
        middle = (np.array(outer) + inner) / 2
        across = EYE_SPAN * (np.array(inner) - outer)
        np.testing.assert_allclose(patch[:2].mean((1, 2)), middle, atol=1e-5)
        # From the first column's centre to the last one's: 7/8 of the width, outer corner first.
        np.testing.assert_allclose((patch[:2, :, -1] - patch[:2, :, 0]).mean(1), across * 7 / 8, atol=1e-5)
        # Downwards is towards the chin, at the same scale: 3 steps of the 8 in the width.
        down = (patch[:2, -1] - patch[:2, 0]).mean(1).numpy()
        assert down[1] > 0
        assert np.dot(down, across) == pytest.approx(0, abs=1e-5)
        assert np.linalg.norm(down) == pytest.approx(np.linalg.norm(across) * 3 / 8, abs=1e-5)


def test_the_mouth_is_cut_around_the_lips_at_the_eyes_scale(symmetrical: SingleStage):
    (patch,) = patches_of(symmetrical, "mouth", ramps())
    np.testing.assert_allclose(patch[:2].mean((1, 2)), [0.0, 0.4], atol=1e-5)
    eye_distance = 2 * 0.29
    span = float((patch[0, :, -1] - patch[0, :, 0]).mean())
    assert span == pytest.approx(MOUTH_SPAN * eye_distance * 7 / 8, abs=1e-5)


@given(
    x=st.floats(-0.3, 0.3),
    y=st.floats(-0.3, 0.3),
    length=st.floats(0.1, 0.5),
    turn=st.floats(-1.2, 1.2),
    backwards=st.booleans(),
)
def test_a_patch_of_a_ramp_is_the_place_itself(
    x: float, y: float, length: float, turn: float, backwards: bool
):
    """Values equal to their coordinates come out as the coordinates that were asked for."""
    across = np.array([math.cos(turn), math.sin(turn)]) * length * (-1 if backwards else 1)
    down = np.array([-math.sin(turn), math.cos(turn)]) * length / 2  # the y axis always points to the chin
    width, height = 8, 4
    places = _places(
        torch.tensor([[x, y]], dtype=torch.float32),
        torch.tensor(across[None], dtype=torch.float32),
        unit_grid(width, height),
    )
    patches = cut(ramps(), places)
    assert patches.shape == (1, 3, height, width)
    u = (np.arange(width) + 0.5) / width - 0.5
    v = ((np.arange(height) + 0.5) / height - 0.5) * height / width * 2
    at = np.array([x, y]) + u[None, :, None] * across + v[:, None, None] * down
    np.testing.assert_allclose(patches[0, :2].permute(1, 2, 0), at, atol=1e-5)


def test_outside_the_crop_a_patch_is_zero():
    places = _places(torch.tensor([[1.5, 0.0]]), torch.tensor([[0.3, 0.0]]), unit_grid(8, 4))
    patches = cut(ramps(), places)
    assert not patches.any()


def test_sizes_come_from_the_manifest_s_lists():
    config = SingleStageConfig.from_manifest({"widths": [8, 16], "blocks": [0, 1], "eye_patch": [16, 8]})
    assert config.widths == (8, 16)
    assert config.eye_patch == (16, 8)


def test_residual_blocks_can_be_narrower_inside():
    usual = {"widths": [8, 16], "blocks": [1, 1]}
    config = SingleStageConfig.from_manifest({**usual, "block_widths": [4, 2]})
    inside = [layer.conv1[0].out_channels for layer in SingleStage(config).trunk if hasattr(layer, "conv1")]
    assert inside == [4, 2]
    # A pack from before the key, and one that says that nothing is narrower.
    assert SingleStageConfig.from_manifest(usual) == SingleStageConfig.from_manifest(
        {**usual, "block_widths": []}
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": [8]},
        {"blocks": [1]},
        {"widths": []},
        {"stem": "x"},
        {"stem": -1},
        {"stem": 2.5},
        {"stem": [4]},
        {"hidden": 0},
        {"eye_patch": [8]},
        {"block_widths": [8]},
        {"block_widths": [8, 8, 8, 0]},
        {"mouth_patch": [0, 8]},
        {"patch_widths": 4},
    ],
    ids=str,
)
def test_sizes_that_no_net_can_have(wrong: dict):
    (name,) = wrong
    with pytest.raises(TypeError, match=f"{name}|pairs"):
        SingleStageConfig.from_manifest(wrong)
