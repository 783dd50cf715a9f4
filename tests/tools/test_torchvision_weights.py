"""torchvision's weights become the mapping network's: beside torchvision itself where it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tools.train.mapping_recipe import trunk_of
from tools.train.torchvision_weights import TRUNK, read_trunk
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.nets.mapping import PUBLISHED_TRUNKS

MODELS = {"resnet": "resnet18", "vgg": "vgg16", "transformer": "vit_b_16", "efficient": "efficientnet_b0"}


def loaded(kind: str, file: Path) -> torch.nn.Module:
    trunk = PUBLISHED_TRUNKS[kind].build().eval()
    state = read_trunk(file, kind, PUBLISHED_TRUNKS[kind])
    trunk.load_state_dict({name.removeprefix(TRUNK): value for name, value in state.items()})
    return trunk


def features(kind: str, theirs: torch.nn.Module, x: Tensor) -> Tensor:
    if kind == "transformer":
        seen: list[Tensor] = []
        theirs.encoder.register_forward_hook(lambda _, __, out: seen.append(out))
        theirs(x)
        return seen[0].flatten(1)
    if kind == "resnet":
        theirs.fc = torch.nn.Identity()
        return theirs(x)
    maps = theirs.features(x)
    return (maps if kind == "vgg" else theirs.avgpool(maps)).flatten(1)


@pytest.mark.parametrize("kind", MODELS)
def test_features_are_torchvision_s(kind: str, tmp_path: Path):
    try:
        import torchvision
    except (ImportError, RuntimeError) as error:  # the latter where it was built for another PyTorch
        pytest.skip(f"no torchvision here: {error}")
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, MODELS[kind])(weights=None).eval()
    for buffer in theirs.buffers():  # running statistics that are not the ones of a new net
        if buffer.is_floating_point():
            buffer.add_(0.1 * torch.rand_like(buffer))
    torch.save(theirs.state_dict(), tmp_path / "net.pth")
    ours = loaded(kind, tmp_path / "net.pth")
    x = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        expected, found = features(kind, theirs, x), ours(x).flatten(1)
    scale = float(expected.std())
    assert scale > 0
    torch.testing.assert_close(found / scale, expected / scale, atol=2e-3, rtol=2e-3)


def resnet_file(folder: Path) -> Path:
    """ResNet18 under torchvision's names, without torchvision."""
    names = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
    state = {}
    for name, value in PUBLISHED_TRUNKS["resnet"].build().state_dict().items():
        first, _, rest = name.partition(".")
        state[f"{names[first]}.{rest}"] = value
    torch.save({**state, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}, folder / "r.pth")
    return folder / "r.pth"


def test_a_file_of_another_net_or_size(tmp_path: Path):
    file = resnet_file(tmp_path)
    assert all(name.startswith(TRUNK) for name in read_trunk(file, "resnet", PUBLISHED_TRUNKS["resnet"]))
    with pytest.raises(
        NotFoundError, match=r"r\.pth: no weights of torchvision's vgg \(0\.weight is missing"
    ):
        read_trunk(file, "vgg", PUBLISHED_TRUNKS["vgg"])
    with pytest.raises(BadArgumentError, match=r"r\.pth: torchvision has .* published sizes"):
        read_trunk(file, "resnet", trunk_of("resnet", 32, (4, 4, 8, 8)))
    with pytest.raises(BadArgumentError, match="published sizes"):
        read_trunk(file, "look", trunk_of("look", 128))


@pytest.mark.parametrize("content", [b"", b"not a file of weights"])
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_what_is_no_file_of_weights(content: bytes, name: str, tmp_path: Path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(NotFoundError, match=rf"{name}: ") as raised:
        read_trunk(tmp_path / name, "resnet", PUBLISHED_TRUNKS["resnet"])
    assert "\n" not in str(raised.value)
    with pytest.raises(NotFoundError, match=r"none\.pth: "):
        read_trunk(tmp_path / "none.pth", "resnet", PUBLISHED_TRUNKS["resnet"])


def test_a_list_is_no_state(tmp_path: Path):
    torch.save([1, 2], tmp_path / "w.pth")
    with pytest.raises(NotFoundError, match="holds no state_dict"):
        read_trunk(tmp_path / "w.pth", "resnet", PUBLISHED_TRUNKS["resnet"])
