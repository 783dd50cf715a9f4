from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from x2c_edge.controls import NAMES, NEUTRAL
from x2c_edge.errors import BadArgumentError, FaultError, NotFoundError, UserError, nearest
from x2c_edge.frames import Command, Frame


@pytest.mark.parametrize(
    ("shape", "pixel_format"),
    [((48, 64, 3), "BGR"), ((48, 64, 3), "RGB"), ((48, 64, 2), "YUYV"), ((72, 64), "NV12")],
)
def test_a_frame_knows_its_size_in_every_format(shape, pixel_format):
    frame = Frame(0, 0, np.zeros(shape, np.uint8), pixel_format)
    assert (frame.height, frame.width) == (48, 64)


def test_frames_cannot_be_changed():
    frame = Frame(0, 0, np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(dataclasses.FrozenInstanceError):
        frame.seq = 1


def test_a_command_s_line_has_the_contract_s_keys_and_names():
    command = Command(3, 17, "NEUTRAL", 0, NEUTRAL)
    line = json.loads(json.dumps(command.to_json()))
    assert list(line) == ["seq", "frame_seq", "t_capture_ns", "t_send_ns", "state", "pipeline", "controls"]
    assert list(line["controls"]) == list(NAMES)
    assert (line["seq"], line["t_send_ns"], line["frame_seq"], line["pipeline"]) == (3, 17, None, None)
    assert list(line["controls"].values()) == NEUTRAL.tolist()


def test_exit_codes_are_the_contract_s():
    assert (BadArgumentError.exit_code, NotFoundError.exit_code, FaultError.exit_code) == (2, 3, 4)
    assert all(issubclass(e, UserError) for e in (BadArgumentError, NotFoundError, FaultError))


def test_nearest_names_the_closest_or_nothing():
    assert nearest("torhc", ("auto", "torch")) == " (did you mean 'torch'?)"
    assert nearest("zzz", ("auto", "torch")) == ""
    assert nearest("x", ()) == ""
