"""Where published checkpoints can be downloaded: the one table of addresses.

Sizes and hashes are those of the publisher's large-file metadata. A file whose hash is not known has
``sha256=None`` and is said to be unchecked when it is downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """path: below the set's address, with / between folders. size: bytes."""

    path: str
    size: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class RemoteSet:
    """A set of files that belong together."""

    base_url: str
    licence: str
    files: tuple[RemoteFile, ...]


# The X2C mapping checkpoint has no entry: no address of it is known here.
SETS: Final[Mapping[str, RemoteSet]] = {
    "liveportrait": RemoteSet(
        base_url="https://huggingface.co/KlingTeam/LivePortrait/resolve/main/",
        licence="MIT (weights; see the publisher's page)",
        files=(
            RemoteFile(
                "liveportrait/base_models/appearance_feature_extractor.pth",
                3_387_959,
                "5279bb8654293dbdf327030b397f107237dd9212fb11dd75b83dfb635211ceb5",
            ),
            RemoteFile(
                "liveportrait/base_models/motion_extractor.pth",
                112_545_506,
                "251e6a94ad667a1d0c69526d292677165110ef7f0cf0f6d199f0e414e8aa0ca5",
            ),
            RemoteFile(
                "liveportrait/base_models/warping_module.pth",
                182_180_086,
                "2f61a6f265fe344f14132364859a78bdbbc2068577170693da57fb96d636e282",
            ),
            RemoteFile(
                "liveportrait/base_models/spade_generator.pth",
                221_813_590,
                "4780afc7909a9f84e24c01d73b31a555ef651521a1fe3b2429bd04534d992aee",
            ),
            RemoteFile(
                "liveportrait/retargeting_models/stitching_retargeting_module.pth",
                2_393_098,
                "3652d5a3f95099141a56986aaddec92fadf0a73c87a20fac9a2c07c32b28b611",
            ),
        ),
    ),
}
