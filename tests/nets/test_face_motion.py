"""M in the single-stage net's form gives what M gives."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from x2c_edge.controls import N_CONTROLS
from x2c_edge.nets.arch import config_from_manifest, config_to_manifest, folded, opened
from x2c_edge.nets.cpu_nets import cpu_nets
from x2c_edge.nets.face_motion import FaceMotion, FaceMotionConfig
from x2c_edge.nets.inference import function

SMALL = FaceMotionConfig(64, 8, (8, 16), (1, 0), 32, patch_widths=(8, 8), patch_hidden=16, keypoints=5)


FORMS = {"its own opinion": (1, False), "the tracker's, too": (2, False), "in the mirror": (2, True)}


@pytest.fixture(params=list(FORMS))
def net(request) -> FaceMotion:
    torch.manual_seed(0)
    opinions, mirrored = FORMS[request.param]
    made = FaceMotion(replace(SMALL, opinions=opinions, mirrored=mirrored)).eval()
    with torch.no_grad():
        made.kp.normal_()
        if opinions == 2:
            made.meaning.normal_()
            made.falling.uniform_()
    return made


def seen(net: FaceMotion, count: int) -> tuple[torch.Tensor, ...]:
    """Pictures, and rows of the tracker if it is heard."""
    x = torch.randn(count, 3, 64, 64)
    row = torch.randn(count, 1 + 2 * net.config.landmarks + 3 + N_CONTROLS)
    return (x, row)[: net.config.opinions]


def test_heads_are_the_motion_extractor_s(net: FaceMotion):
    with torch.inference_mode():
        heads = net(*seen(net, 3))
    assert [tuple(h.shape) for h in heads] == [(3, 1), (3, 1), (3, 1), (3, 3), (3, 15), (3, 1), (3, 15)]
    assert not heads.t.any()
    assert (heads.scale == 1).all()
    assert (heads.kp == net.kp).all()
    assert heads.exp.std(0).min() > 0


def test_a_pack_gives_the_same_net_back(net: FaceMotion):
    held, sizes = folded(net).state_dict(), config_to_manifest(net.config)
    again = opened("face_motion", sizes, held)
    assert config_from_manifest("face_motion", sizes) == net.config
    x = seen(net, 2)
    with torch.inference_mode():
        row = function(again, "", torch.float32)(*x)[0]
        torch.testing.assert_close(row, torch.cat(net(*x), dim=1), atol=1e-4, rtol=1e-4)


def test_the_cpu_s_form_is_equal(net: FaceMotion):
    (one,) = cpu_nets(folded(net), 64, ())
    assert one.name == "face_motion"
    x = seen(net, 1)
    assert [port.shape for port in one.inputs] == [tuple(part.shape) for part in x]
    with torch.inference_mode():
        torch.testing.assert_close(one.module(*x), torch.cat(net(*x), dim=1), atol=1e-4, rtol=1e-4)


def test_in_the_mirror_it_looks_at_the_mirror_image():
    net = FaceMotion(SMALL).eval()
    mirrored = FaceMotion(replace(SMALL, mirrored=True)).eval()
    mirrored.load_state_dict(net.state_dict())
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(tuple(mirrored(x.flip(3))), tuple(net(x)))
        assert not torch.allclose(mirrored(x).exp, net(x).exp)


def test_sizes_that_no_net_has_are_refused():
    with pytest.raises(ValueError, match="bins = 66"):
        FaceMotion(FaceMotionConfig(64, bins=66))
    with pytest.raises(ValueError, match="opinions = 3"):
        FaceMotion(FaceMotionConfig(64, opinions=3))
    with pytest.raises(TypeError):
        config_from_manifest("face_motion", {"stem": -1})
    with pytest.raises(TypeError):
        config_from_manifest("face_motion", {"mirrored": "yes"})
