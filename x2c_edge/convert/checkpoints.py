"""Published checkpoints and one picture of the robot to a two-stage pack.

All checks come before the first byte is written, and the pack is made in a folder beside its place and
renamed into it: there is a whole pack or none.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from x2c_edge import packs
from x2c_edge.convert.space import require_space
from x2c_edge.errors import BadArgumentError, NotFoundError
from x2c_edge.nets import arch, published
from x2c_edge.packs import NetInput, NetSpec, Pack, PackFile
from x2c_edge.places import opencv_name
from x2c_edge.whole_file import write_whole

AngleUnit = Literal["degree", "radian"]

# How the mapping network's training prepared its pictures (docs/spec/liveportrait.md section 12).
MAPPING_INPUTS: Final[Mapping[str, NetInput]] = {
    "x2c": NetInput(224, "BGR", (0.4885, 0.4294, 0.3233), (0.1382, 0.1195, 0.1087), "area"),
    "x2c-animated": NetInput(224, "BGR", (0.4708, 0.4167, 0.3200), (0.1411, 0.1233, 0.1123), "area"),
    "vividface": NetInput(224, "RGB", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear-antialias"),
}
PICTURE_SIZE: Final = 256  # F's and M's input
_SMALLEST_PICTURE: Final = 64
_SUFFIXES: Final = (".pth", ".pt", ".ckpt", ".tar")
_FACE_INPUT: Final = NetInput(PICTURE_SIZE, "RGB", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bilinear")


def import_pack(
    checkpoints: Sequence[Path],
    robot_image: Path,
    name: str,
    folder: Path | None = None,
    *,
    half: bool = False,
    mapping_input: str = "x2c",
    angle_unit: AngleUnit = "degree",
    tracker: str | None = None,
    sizes: published.Sizes | None = None,
    picture_size: int = PICTURE_SIZE,
) -> Pack:
    """Make the pack ``folder/name`` (default folder: the user's own packs).

    checkpoints: files, or folders that are searched for them. half: store weights as float16.
    mapping_input: a key of MAPPING_INPUTS. angle_unit: of the mapping network's outputs. tracker: the pack
    whose single-stage net follows the face (default: the default pack). sizes, picture_size: of smaller
    models than the published one. BadArgumentError for arguments, NotFoundError for everything else.
    """
    try:
        packs.plain_name(name)
    except ValueError as error:
        raise BadArgumentError(f"--{error}") from None
    if mapping_input not in MAPPING_INPUTS:
        raise BadArgumentError(f"mapping input '{mapping_input}': choose {', '.join(MAPPING_INPUTS)}")
    parent = folder or packs.user_folder()
    target = parent / name
    if target.exists():
        raise BadArgumentError(f"{target}: exists already; remove it or choose another --name")
    picture = _robot_picture(robot_image, picture_size)
    follower = packs.open_pack(tracker)
    if "single_stage" not in follower.nets:
        raise NotFoundError(f"pack '{follower.name}' has no single-stage net to follow the face with")
    parts = _parts(checkpoints, sizes or published.Sizes())
    try:
        parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=".partial", dir=parent))
    except OSError as error:
        raise NotFoundError(f"{parent}: cannot be written: {error.strerror}; choose another --out") from None
    try:
        work.chmod(0o755)
        _write(work, name, parts, picture, follower, half, mapping_input, angle_unit, picture_size)
        work.rename(target)
    except OSError as error:
        raise NotFoundError(f"{target}: cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return packs.read_manifest(target)


def _robot_picture(path: Path, size: int) -> NDArray[np.uint8]:
    """(size, size, 3) RGB: the whole picture, resized as the published live system does (section 6)."""
    if not path.is_file():
        raise NotFoundError(f"robot image {path}: no such file")
    picture = cv2.imread(opencv_name(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise NotFoundError(f"robot image {path}: not a picture that OpenCV can read; use PNG or JPEG")
    height, width = picture.shape[:2]
    if min(height, width) < _SMALLEST_PICTURE:
        raise NotFoundError(
            f"robot image {path}: {width}x{height} pixels; each side needs at least {_SMALLEST_PICTURE}"
        )
    if float(picture.std()) < 1.0:
        raise NotFoundError(f"robot image {path}: one plain colour, no face; use a picture of the robot")
    picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(picture[..., ::-1], dtype=np.uint8)


def _parts(checkpoints: Sequence[Path], sizes: published.Sizes) -> dict[str, published.Part]:
    """Every part once; NotFoundError if one is missing or comes twice."""
    parts: dict[str, published.Part] = {}
    for path in _files(checkpoints):
        part = published.read_part(path, sizes)
        if part.kind in parts:
            raise NotFoundError(
                f"{path}: looks like {published.FILES[part.kind]}, and so does {parts[part.kind].file}; "
                "give one of them"
            )
        parts[part.kind] = part
    missing = [what for kind, what in published.FILES.items() if kind not in parts]
    if missing:
        given = "; ".join(f"{part.file.name} is {published.FILES[kind]}" for kind, part in parts.items())
        raise NotFoundError(f"no checkpoint holds {missing[0]}; given: {given or 'none'}")
    return parts


def _files(checkpoints: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in checkpoints:
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix in _SUFFIXES and p.is_file())
            if not found:
                raise NotFoundError(f"{path}: no checkpoint in this folder (*{', *'.join(_SUFFIXES)})")
            files += found
        else:
            files.append(path)
    return files


def _write(
    folder: Path,
    name: str,
    parts: Mapping[str, published.Part],
    picture: NDArray[np.uint8],
    follower: Pack,
    half: bool,
    mapping_input: str,
    angle_unit: AngleUnit,
    picture_size: int,
) -> None:
    """Fill ``folder`` with the whole pack."""
    source = published.source_features(
        parts["appearance"].net, parts["motion"].net, parts["warping"].net, picture
    )
    if not all(np.isfinite(array).all() for array in source.values()):
        raise NotFoundError(
            f"{parts['appearance'].file} and {parts['motion'].file}: what they make of the robot image is "
            "not finite (NaN or Inf): damaged; download them again"
        )
    inputs = {"motion": replace(_FACE_INPUT, size=picture_size), "mapping": MAPPING_INPUTS[mapping_input]}
    options: dict[str, dict[str, Any]] = {"mapping": {"angle_unit": angle_unit}}
    nets: dict[str, NetSpec] = {}
    for kind, part in parts.items():
        if kind == "appearance":
            continue  # the source is fixed: F is never needed again
        try:
            weights = published.stored(part.net, half=half)
        except NotFoundError as error:
            raise NotFoundError(f"{part.file}: {error}") from None
        nets[kind] = saved_net(folder, kind, weights, part.config, inputs.get(kind), options.get(kind))
    tracker = follower.nets["single_stage"]
    copied = folder / "single_stage.safetensors"
    shutil.copyfile(tracker.file, copied)
    nets["single_stage"] = replace(tracker, file=copied)
    features = saved(folder / "source.safetensors", source)
    image = folder / "neutral.png"
    if not cv2.imwrite(opencv_name(image), picture[..., ::-1]):
        raise NotFoundError(f"{image}: cannot be written")
    pack = Pack(
        name=name,
        path=folder,
        pipeline="two-stage",
        description="LivePortrait motion transfer to the robot's picture, and the X2C mapping network",
        licence="as the imported checkpoints: see their publishers' licences",
        trained_by="imported by x2c-edge packs import: "
        + ", ".join(f"{kind} from {part.file.name}" for kind, part in parts.items()),
        nets=nets,
        accuracy={},
        digest="",
        files={
            "source": PackFile(features, packs.sha256_of(features)),
            "robot_image": PackFile(image, packs.sha256_of(image)),
        },
    )
    packs.write_manifest(pack)


def saved_net(
    folder: Path,
    kind: str,
    weights: Mapping[str, NDArray[Any]],
    config: Any,
    picture: NetInput | None = None,
    options: dict[str, Any] | None = None,
) -> NetSpec:
    """Write a net's stored weights into a pack's folder, and what the manifest says of it."""
    file = saved(folder / f"{kind}.safetensors", weights)
    return NetSpec(
        arch=kind,
        file=file,
        sha256=packs.sha256_of(file),
        config=arch.config_to_manifest(config),
        input=picture,
        options=options or {},
    )


def saved(file: Path, arrays: Mapping[str, NDArray[Any]]) -> Path:
    """Write arrays as safetensors where there is room for them. NotFoundError where there is not."""
    require_space(file.parent, sum(array.nbytes for array in arrays.values()))
    write_whole(file, save(dict(arrays)))  # ``save_file``'s is for its owner's eyes only
    return file
