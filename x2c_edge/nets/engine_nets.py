"""The nets as engines run them: one module each, fixed shapes, batch 1, named tensors in and out.

W is split where kernels work: ``motion_volume`` makes ``dense_motion``'s input, ``warp_volume`` stands
between ``dense_motion`` and ``warp_tail``. So no engine holds a 5-D GridSample.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from x2c_edge.controls import N_CONTROLS
from x2c_edge.errors import NotFoundError
from x2c_edge.nets import arch, single_stage
from x2c_edge.nets.direct import DirectNetwork
from x2c_edge.nets.face_motion import FaceMotion
from x2c_edge.nets.generator import Generator
from x2c_edge.nets.mapping import MappingNetwork
from x2c_edge.nets.motion_extractor import MotionExtractor
from x2c_edge.nets.stitching import KeypointMlp
from x2c_edge.nets.two_looks import TwoLooksConfig
from x2c_edge.nets.warping import DenseMotionConfig, DenseMotionNetwork, WarpingNetwork


@dataclass(frozen=True, slots=True)
class Port:
    """A tensor that enters or leaves an engine. narrow: pixels or maps, float16 in a half engine."""

    name: str
    shape: tuple[int, ...]
    narrow: bool


@dataclass(frozen=True, slots=True)
class EngineNet:
    """One engine to be. ``module`` takes the inputs in order and gives the outputs in order.

    wide: arithmetic on coordinates alone, float32 in every precision.
    """

    name: str
    module: nn.Module
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    wide: bool = False


class _Heads(nn.Module):
    """M's heads as one row, in the order of ``RawMotion``."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, *seen: Tensor) -> Tensor:
        return torch.cat(tuple(self.net(*seen)), dim=1)


class _DenseMotion(nn.Module):
    def __init__(self, net: DenseMotionNetwork) -> None:
        super().__init__()
        self.net = net

    def forward(self, front: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.net.hourglass(front)
        return self.net.mask_logits(hidden), self.net.occlusion_map(hidden)


class _WarpTail(nn.Module):
    def __init__(self, net: WarpingNetwork) -> None:
        super().__init__()
        self.net = net

    def forward(self, warped: Tensor, occlusion: Tensor) -> Tensor:
        return self.net.tail(warped, occlusion)


class _Predict(nn.Module):
    def __init__(self, net: DirectNetwork) -> None:
        super().__init__()
        self.net = net

    def forward(self, warped: Tensor, occlusion: Tensor, deformation: Tensor, driving: Tensor) -> Tensor:
        return self.net.predict(warped, occlusion, deformation, driving)


def opened(kind: str, config: Mapping[str, Any], file: Path, *, fold: bool = True) -> nn.Module:
    """A net of a pack, norms folded, float32, in eval mode. NotFoundError if the file does not fit.

    fold: False leaves the norms that the file holds, so that its tensors are the net's.
    """
    try:
        state = load_file(file)
        if kind != "single_stage":
            return arch.opened(kind, config, state)
        net = single_stage.SingleStage(single_stage.SingleStageConfig.from_manifest(dict(config)))
        net.load_state_dict({k: v.float() for k, v in state.items()})
        return (single_stage.folded(net) if fold else net.eval()).requires_grad_(False)
    except KeyError:
        raise NotFoundError(f"{file}: unknown net '{kind}'; update x2c-edge or the pack") from None
    except (SafetensorError, TypeError, ValueError, RuntimeError, OSError) as error:
        text = " ".join(str(error).split())[:200]
        raise NotFoundError(f"{file}: does not fit its manifest: {text}; get the pack again") from None


def volume_shape(source: Path) -> tuple[int, ...]:
    """(1, C, D, H, W) of the feature volume in a pack's source file."""
    with safe_open(source, "pt") as file:
        return tuple(file.get_slice("feature").get_shape())


def engine_nets(net: nn.Module, size: int, volume: tuple[int, ...]) -> list[EngineNet]:
    """What becomes of an opened net: two engines for W, one for every other.

    size: side of the picture that the net sees, in pixels (single_stage, motion and mapping).
    volume: (1, C, D, H, W) of the source's feature volume (W and G).
    """
    face = (1, 3, size, size)
    match net:
        case single_stage.SingleStage():
            # float32 in: the patches are cut from these pixels at float32 positions.
            return [EngineNet("single_stage", net, (Port("face", face, False),), (_row(net.config),))]
        case MotionExtractor() | FaceMotion():
            c = net.config
            heads = Port("heads", (1, 3 * c.bins + 6 * c.keypoints + 4), False)
            if isinstance(net, MotionExtractor):
                return [EngineNet("motion", _Heads(net), (Port("face", face, True),), (heads,))]
            seen = [Port("face", face, False)]  # as above
            if net.config.opinions == 2:
                seen.append(_row(net.config))
            return [EngineNet("face_motion", _Heads(net), tuple(seen), (heads,))]
        case WarpingNetwork():
            return _warping(net, volume)
        case DirectNetwork():
            return _direct(net, volume)
        case Generator():
            side = volume[-1] * 2 ** len(net.config.up_widths) * net.config.shuffle
            feature = Port("feature", (1, net.config.in_channels, *volume[-2:]), True)
            return [EngineNet("generator", net, (feature,), (Port("picture", (1, 3, side, side), True),))]
        case MappingNetwork():
            controls = Port("controls", (1, net.config.outputs), False)
            # As above.
            picture = Port("picture", face, not net.config.looks_twice)
            return [EngineNet("mapping", net, (picture,), (controls,))]
        case KeypointMlp():
            points = Port("keypoints", (1, net.config.inputs), False)
            delta = Port("delta", (1, net.config.outputs), False)
            return [EngineNet("stitching", net, (points,), (delta,), wide=True)]
    raise TypeError(f"no engine is made of {type(net).__name__}")


def _row(c: TwoLooksConfig) -> Port:
    """The tracker's: presence, landmarks, pose, controls."""
    return Port("row", (1, 1 + 2 * c.landmarks + 3 + N_CONTROLS), False)


def _warping(net: WarpingNetwork, volume: tuple[int, ...]) -> list[EngineNet]:
    c = net.config
    moved = _moved(c, volume)
    feature = Port("feature", (1, c.out_channels, *volume[3:]), True)
    return [_dense("dense_motion", net, c, volume), EngineNet("warp_tail", _WarpTail(net), moved, (feature,))]


def _direct(net: DirectNetwork, volume: tuple[int, ...]) -> list[EngineNet]:
    c = net.config
    motion = (("deformation", (1, *volume[2:], 3)), ("driving", (1, c.keypoints, 3)))
    seen = (*_moved(c, volume), *(Port(name, shape, False) for name, shape in motion))
    controls = Port("controls", (1, c.outputs), False)
    return [_dense("direct_motion", net, c, volume), EngineNet("direct", _Predict(net), seen, (controls,))]


def _dense(name: str, net: DenseMotionNetwork, c: DenseMotionConfig, volume: tuple[int, ...]) -> EngineNet:
    front = Port("front", (1, c.front_channels, *volume[2:]), True)
    mask = Port("mask", (1, c.keypoints + 1, *volume[2:]), True)
    return EngineNet(name, _DenseMotion(net), (front,), (mask, _moved(c, volume)[1]))


def _moved(c: DenseMotionConfig, volume: tuple[int, ...]) -> tuple[Port, Port]:
    """The warped features, and what is hidden of them."""
    plane = volume[3:]
    return Port("warped", (1, c.channels * c.depth, *plane), True), Port("occlusion", (1, 1, *plane), True)


def to_onnx(net: EngineNet, opset: int, *, fold: bool = True) -> bytes:
    """The net as a float32 ONNX file with the weights inside and the ports' names.

    fold: False leaves all arithmetic on weights in the file. Through the TorchScript exporter: the graphs are
    the same as the newer one's for these nets, it needs no further package, and a tenth of the time.
    """
    example = tuple(torch.zeros(port.shape) for port in net.inputs)
    file = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        # Shapes are fixed here, so what tracing turns into constants is constant.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.module,
            example,
            cast(Any, file),
            dynamo=False,
            opset_version=opset,
            do_constant_folding=fold,
            training=torch.onnx.TrainingMode.EVAL if fold else torch.onnx.TrainingMode.PRESERVE,
            input_names=[port.name for port in net.inputs],
            output_names=[port.name for port in net.outputs],
        )
    return file.getvalue()
