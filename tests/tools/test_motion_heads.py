"""M's heads, set anew: they mean the same face seen in the mirror, and say what was too quiet louder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tools.dataset.robot_motion import FACE, SHUT_EXTRA, code, controls_of, head_angles, robot_motion
from tools.train import motion_heads as heads
from x2c_edge.controls import HIGH, INDEX, LOW, N_CONTROLS, mirrored
from x2c_edge.nets import keypoints
from x2c_edge.nets.face_motion import FaceMotion, FaceMotionConfig

SIZES = FaceMotionConfig(64, 8, (8, 16), (1, 0), 32, patch_widths=(8, 8), patch_hidden=16, opinions=2)


@pytest.fixture
def net() -> FaceMotion:
    """M whose ``exp`` means controls, as a trained one's does."""
    torch.manual_seed(3)
    made = FaceMotion(SIZES).eval()
    expression = torch.tensor(robot_motion().expression.reshape(N_CONTROLS, -1), dtype=torch.float32)
    face = torch.isin(torch.arange(N_CONTROLS), torch.tensor(FACE))
    with torch.no_grad():
        made.exp.weight.copy_((expression * face[:, None]).T @ torch.randn(N_CONTROLS, SIZES.hidden))
        made.exp.bias.zero_()
        made.meaning.copy_(expression * face[:, None])
        made.falling.fill_(SHUT_EXTRA)
    return made


def own(net: FaceMotion, picture: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The controls that M's own opinion means, and the head's yaw, pitch, roll."""
    alone = FaceMotion(replace(net.config, opinions=1)).eval()
    alone.load_state_dict({k: v for k, v in net.state_dict().items() if k not in ("meaning", "falling")})
    with torch.inference_mode():
        said = alone(picture)
    degrees = [part[:, 0].double().numpy() for part in (said.pitch, said.yaw, said.roll)]
    angles = head_angles(keypoints.rotation(*degrees))
    return controls_of(said.exp.double().numpy().reshape(len(picture), -1, 3)), angles


def test_of_the_mirror_image_the_mirrored_net_says_the_mirror_image_s_motion(net):
    """It sees the mirror image of what M saw without one: face and head are the other way round."""
    x = torch.randn(3, 3, 64, 64)
    seen, turn = own(net, x)
    found, found_turn = own(heads.in_the_mirror(net), x.flip(3))
    np.testing.assert_allclose(found, mirrored(seen), atol=2e-4)
    np.testing.assert_allclose(found_turn, turn * [-1, 1, -1], atol=2e-3)
    again, _ = own(heads.in_the_mirror(heads.in_the_mirror(net)), x)
    np.testing.assert_allclose(again, seen, atol=2e-4)


def test_louder_is_louder_in_both_opinions(net):
    gain = np.ones(N_CONTROLS)
    gain[INDEX["Jaw Yaw"]] = 1.5
    row = torch.tensor(np.random.default_rng(0).uniform(LOW, HIGH, (4, N_CONTROLS)), dtype=torch.float32)
    row = torch.cat([torch.zeros(4, 1 + 2 * SIZES.landmarks + 3), row], dim=1)
    x = torch.randn(4, 3, 64, 64)
    with torch.inference_mode():
        before, after = (n(x, row).exp.double().numpy() for n in (net, heads.louder(net, gain)))
    back = np.linalg.pinv(robot_motion().expression[FACE].reshape(len(FACE), -1))
    np.testing.assert_allclose(after @ back, (before @ back) * gain[FACE], atol=1e-4)


def test_gains_make_up_for_what_is_said_too_quietly():
    rng = np.random.default_rng(1)
    labels = code(rng.uniform(LOW, HIGH, (4000, N_CONTROLS)))
    said = labels.copy()
    said[:, INDEX["Jaw Yaw"]] *= 0.75
    said[:, INDEX["Nose Wrinkle"]] *= 0.2  # more than is ever made good
    said[:, INDEX["Jaw Pitch"]] *= 2.0  # never made quieter
    gain = heads.gains(said, labels)
    assert gain[INDEX["Jaw Yaw"]] == pytest.approx(2 / 0.75, rel=1e-6)  # twice as loud as the labels
    assert gain[INDEX["Nose Wrinkle"]] == heads.MOST_GAIN
    others = np.delete(gain, [INDEX["Jaw Yaw"], INDEX["Nose Wrinkle"]])
    np.testing.assert_allclose(others, 1.0)
    np.testing.assert_allclose(heads.gains(said * gain, labels)[INDEX["Jaw Yaw"]], 1.0)  # once is enough
