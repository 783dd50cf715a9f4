"""Layers that the LivePortrait networks share, and the exact folding of their norms.

A module whose batch norms can be folded says so in a class attribute ``folds``: pairs of attribute names
(convolution, batch norm that directly follows it). In an ``nn.Sequential`` the pairs are found by position.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import ClassVar, Literal, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

Conv = nn.Conv2d | nn.Conv3d
BatchNorm = nn.BatchNorm2d | nn.BatchNorm3d
ModuleT = TypeVar("ModuleT", bound=nn.Module)


def conv(dims: Literal[2, 3], cin: int, cout: int, kernel: int) -> Conv:
    """Convolution with bias, stride 1 and "same" zero padding, in 2 or 3 dimensions."""
    kind = nn.Conv2d if dims == 2 else nn.Conv3d
    return kind(cin, cout, kernel, padding=kernel // 2)


_ONEDNN = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


def conv3d(x: Tensor, weight: Tensor, bias: Tensor | None, padding: Sequence[int]) -> Tensor:
    """``F.conv3d`` with stride 1; float32 by oneDNN on every CPU that has it.

    For small volumes PyTorch chooses a loop of its own, 3 to 5 times slower for the default pack's.
    """
    if _ONEDNN and x.device.type == "cpu" and x.dtype == torch.float32:
        one = [1, 1, 1]
        return cast(Tensor, torch.ops.aten.mkldnn_convolution(x, weight, bias, list(padding), one, one, 1))
    return F.conv3d(x, weight, bias, padding=list(padding))


def batch_norm(dims: Literal[2, 3], channels: int) -> BatchNorm:
    """Batch norm, eps 1e-5 (docs/spec/liveportrait.md section 1)."""
    return nn.BatchNorm2d(channels) if dims == 2 else nn.BatchNorm3d(channels)


class ConvNorm(nn.Module):
    """Convolution (odd kernel, same size) and batch norm; the activation is the caller's."""

    folds: ClassVar = (("conv", "norm"),)

    def __init__(self, dims: Literal[2, 3], cin: int, cout: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = conv(dims, cin, cout, kernel)
        self.norm = batch_norm(dims, cout)

    def forward(self, x: Tensor) -> Tensor:
        """(N, cin, ...) to (N, cout, ...)."""
        return cast(Tensor, self.norm(self.conv(x)))


class SpectralConv2d(nn.Module):
    """Convolution stored with its spectral norm: ``weight_orig``, ``weight_u``, ``weight_v``.

    The stored vectors are used as they are, without power iteration (section 9). Stride 1, same size.
    """

    weight_u: Tensor
    weight_v: Tensor
    bias: nn.Parameter | None

    def __init__(self, cin: int, cout: int, kernel: int, bias: bool = True) -> None:
        super().__init__()
        plain = nn.Conv2d(cin, cout, kernel)
        self.weight_orig = plain.weight
        self.register_parameter("bias", cast(nn.Parameter, plain.bias) if bias else None)
        u = F.normalize(torch.randn(cout), dim=0)
        self.register_buffer("weight_u", u)
        self.register_buffer("weight_v", F.normalize(u @ plain.weight.detach().flatten(1), dim=0))

    def sigma(self) -> Tensor:
        """u . (W v), a scalar, float64: what the stored weight is divided by."""
        matrix = self.weight_orig.flatten(1).double()
        return self.weight_u.double() @ (matrix @ self.weight_v.double())

    def plain(self) -> nn.Conv2d:
        """The same map as an ordinary convolution with parameters of its own."""
        cout, cin, kernel, _ = self.weight_orig.shape
        with torch.device("meta"):
            out = nn.Conv2d(cin, cout, kernel, padding=kernel // 2, bias=self.bias is not None)
        weight = (self.weight_orig.double() / self.sigma()).detach()
        out.weight = nn.Parameter(weight.to(self.weight_orig.dtype), requires_grad=False)
        if self.bias is not None:
            out.bias = nn.Parameter(self.bias.detach().clone(), requires_grad=False)
        return out

    def forward(self, x: Tensor) -> Tensor:
        """(N, cin, H, W) to (N, cout, H, W)."""
        weight = self.weight_orig / self.sigma().to(self.weight_orig.dtype)
        return F.conv2d(x, weight, self.bias, padding=weight.shape[-1] // 2)


def fold_spectral_norm(module: ModuleT) -> ModuleT:
    """An inference copy of ``module`` in which every ``SpectralConv2d`` is a plain ``nn.Conv2d``.

    Exact up to float rounding. The copy's keys have ``weight`` in the place of ``weight_orig``,
    ``weight_u`` and ``weight_v``; it is in eval mode and needs no gradients.
    """
    folded = _inference_copy(module)
    for parent in list(folded.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, SpectralConv2d):
                setattr(parent, name, child.plain())
    return folded


def fold_batch_norms(module: ModuleT) -> ModuleT:
    """An inference copy of ``module`` with each foldable batch norm merged into the convolution before it.

    Exact up to float rounding (section 16). The norms become ``nn.Identity`` and lose their keys, the
    convolutions gain a bias; batch norms that no convolution precedes (``norm1`` of F's residual blocks)
    stay. The copy is in eval mode and needs no gradients.
    """
    folded = _inference_copy(module)
    for parent in list(folded.modules()):
        for conv_name, norm_name in list(_foldable(parent)):
            convolution = cast(Conv, getattr(parent, conv_name))
            _absorb(convolution, cast(BatchNorm, getattr(parent, norm_name)))
            setattr(parent, norm_name, nn.Identity())
    return folded


def _inference_copy(module: ModuleT) -> ModuleT:
    return copy.deepcopy(module).eval().requires_grad_(False)


def _foldable(parent: nn.Module) -> Iterator[tuple[str, str]]:
    children = dict(parent.named_children())
    if isinstance(parent, nn.Sequential):
        names = list(children)
        pairs = list(pairwise(names))
    else:
        pairs = list(getattr(parent, "folds", ()))
    for conv_name, norm_name in pairs:
        if isinstance(children[conv_name], Conv) and isinstance(children[norm_name], BatchNorm):
            yield conv_name, norm_name


def _absorb(convolution: Conv, norm: BatchNorm) -> None:
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None
    assert var is not None
    gain = norm.weight.double() / torch.sqrt(var.double() + norm.eps)
    weight = convolution.weight.double() * gain.reshape(-1, *[1] * (convolution.weight.dim() - 1))
    bias = mean.new_zeros(mean.shape, dtype=torch.float64)
    if convolution.bias is not None:
        bias = convolution.bias.double()
    bias = (bias - mean.double()) * gain + norm.bias.double()
    dtype = convolution.weight.dtype
    convolution.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
    convolution.bias = nn.Parameter(bias.to(dtype), requires_grad=False)
