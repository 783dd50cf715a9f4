"""How fast the virtual Ameca is drawn: placing the vertices, and the whole picture, on one core.

python -m tools.bench.face [--write docs/benchmarks.md]
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path

from tools.bench.common import interleaved, machine, markdown_table, replace_section
from tools.dataset.face_contact_sheet import POSES, controls_of
from x2c_edge.robot.deform import Deformer
from x2c_edge.robot.face import AmecaFace

SIZES = (128, 256, 512)


def cases() -> dict[str, Callable[[], object]]:
    """Every case walks through the contact sheet's poses."""
    poses = [controls_of(pose) for pose in POSES.values()]

    def walk(draw: Callable[..., object]) -> Callable[[], object]:
        pose = itertools.cycle(poses)
        return lambda: draw(next(pose))

    result: dict[str, Callable[[], object]] = {"pose only": walk(Deformer().pose)}
    for size in SIZES:
        face = AmecaFace(size)
        out = face.render(poses[0])
        result[f"{size}×{size}"] = walk(lambda values, face=face, out=out: face.render(values, out))
    return result


def report(rounds: int) -> str:
    """A Markdown table of medians."""
    rows = [
        [name, f"{seconds * 1e3:.2f}", f"{1 / seconds:.0f}"]
        for name, seconds in interleaved(cases(), rounds).items()
    ]
    caption = f"Virtual Ameca, 2×2 samples a pixel, one thread. {machine()}. `python -m tools.bench.face`\n\n"
    return caption + markdown_table(["picture", "ms", "frames/s"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--write", type=Path, help="put the table into this page, section face")
    options = parser.parse_args()
    text = report(options.rounds)
    print(text)
    if options.write:
        replace_section(options.write, "face", text)


if __name__ == "__main__":
    main()
