"""The numbers in tests/data are those of tests/reference, and the pages in docs/spec those of the code."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.reference import link_frames, portrait_math
from x2c_edge.controls import CONTROLS, to_robot
from x2c_edge.frames import Flag
from x2c_edge.links import codec

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "data"
SPEC = ROOT / "docs" / "spec"


def test_the_link_vectors_are_the_reference_s() -> None:
    stored = json.loads((DATA / "link_vectors.json").read_text(encoding="utf-8"))
    assert stored == json.loads(json.dumps(link_frames.vectors()))


def test_the_numerics_are_the_reference_s() -> None:
    made = portrait_math.numbers()
    with np.load(DATA / "numerics.npz") as stored:
        assert set(stored) == set(made)
        for name, values in made.items():
            np.testing.assert_allclose(stored[name], values, atol=1e-12, rtol=1e-12, err_msg=name)


def test_the_hull_of_the_reference_is_scipy_s() -> None:
    spatial = pytest.importorskip("scipy.spatial")
    points = portrait_math.uniform("a hull", 21, 3)
    assert portrait_math.hull_volume(points) == pytest.approx(spatial.ConvexHull(points).volume, rel=1e-12)


# --- docs/spec against the code ---


def _number(text: str) -> float:
    return float(text.replace("−", "-"))


def _range(cell: str) -> list[float]:
    return [_number(part) for part in cell.split("…")]


def test_the_page_of_controls_is_the_code_s_table() -> None:
    seen = []
    for line in (SPEC / "controls.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 9 or not cells[0].isdigit():
            continue
        index, name, namespace, wire, table_2, safe, neutral, paper_neutral, slew = cells
        control = CONTROLS[int(index)]
        seen.append(control.index)

        def robot(value: float, at: int = control.index) -> float:
            values = np.zeros(len(CONTROLS))
            values[at] = value
            return float(to_robot(values)[at])

        assert control.name == name
        assert (control.namespace or "direct") == namespace
        assert _range(wire) == pytest.approx([robot(control.low), robot(control.high)])
        assert _range(table_2) == [control.paper_low, control.paper_high]
        assert _range(safe) == pytest.approx([control.safe_low, control.safe_high], abs=5.1e-4)
        assert (_number(neutral), _number(paper_neutral)) == (control.neutral, control.paper_neutral)
        assert _number(slew) == pytest.approx(robot(control.slew))
    assert seen == list(range(30))


def test_the_page_of_links_has_the_code_s_numbers() -> None:
    text = (SPEC / "links.md").read_text(encoding="utf-8")
    assert f"**0x{codec.LAYOUT_CRC:08X}**" in text
    assert f"**0x{codec.LAYOUT_ID:04X}**" in text
    flags = dict(re.findall(r"^\| ([A-Z_]+) \| (0x[0-9A-F]{4}) \|", text, re.MULTILINE))
    ours = {name: f"0x{value:04X}" for name, value in vars(Flag).items() if name.isupper()}
    assert flags == {**ours, "AUTH": f"0x{codec.AUTH_FLAG:04X}"}
    words = " ".join(text.split())
    assert "States: " + ", ".join(f"{i} {state}" for i, state in enumerate(codec.STATES)) in words
    assert "Faults: " + ", ".join(f"{i} {fault}" for i, fault in enumerate(codec.FAULTS)) in words
    lengths = {
        int(kind, 16): (int(raw), int(line), int(auth))
        for kind, raw, line, auth in re.findall(
            r"^\| 0x([0-9A-F]{2}) .*\| (\d+) \| (\d+) \| (\d+) \|$", text, re.MULTILINE
        )
    }
    for row in link_frames.vectors()["frames"]:
        raw = row["raw_len"]
        assert lengths.pop(row["fields"]["type"], (raw, raw + 3, raw + 20)) == (raw, raw + 3, raw + 20)
    assert not lengths


def test_the_page_s_ping_is_the_codec_s() -> None:
    frame, line = (
        bytes.fromhex(found)
        for found in re.findall(
            r"^(?:frame|line)  ([0-9a-f ]+)$", (SPEC / "links.md").read_text(encoding="utf-8"), re.MULTILINE
        )
    )
    ping = codec.Ping(run=0x58324345, seq=5, t_us=1234567890123, nonce=0xDEADBEEF)
    assert codec.encode(ping) == frame
    assert codec.to_serial(frame) == line
