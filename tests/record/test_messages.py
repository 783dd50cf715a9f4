from __future__ import annotations

import json
import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.record.recordings import seen
from x2c_edge.controls import NAMES, NEUTRAL
from x2c_edge.frames import Command, Expression
from x2c_edge.record.messages import (
    LONGEST_SIDE,
    TOPICS,
    Seen,
    command_message,
    expression_message,
    picture_from,
    picture_message,
    seen_from,
)

doubles = st.floats(allow_infinity=False, width=64)
finite = st.floats(allow_nan=False, allow_infinity=False)


def arrays(shape) -> st.SearchStrategy:
    return hnp.arrays(np.float64, shape, elements=doubles)


@st.composite
def sights(draw) -> Seen:
    seq, t_ns = draw(st.integers(0, 2**40)), draw(st.integers(-(2**62), 2**62))
    landmarks = draw(st.none() | st.integers(0, 6).flatmap(lambda n: arrays((n, 2))))
    expression = None
    if landmarks is not None and draw(st.booleans()):
        values, presence = draw(arrays(30)), draw(doubles)
        expression = Expression(
            seq, t_ns, draw(st.sampled_from(["two-stage", "x"])), values, presence, landmarks
        )
    affine = draw(st.none() | arrays((2, 3)))
    size, score = (1, 0.0) if affine is None else (draw(st.integers(1, 512)), draw(finite))
    flags = draw(st.booleans()), draw(st.sampled_from(["", "relax your face"])), draw(st.booleans())
    width, height = draw(st.integers(1, 4000)), draw(st.integers(1, 4000))
    return Seen(seq, t_ns, width, height, expression, landmarks, affine, size, score, *flags)


def same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.shape == b.shape and np.array_equal(a, b, equal_nan=True)
    return a == b or (a != a and b != b)


@given(sights())
def test_what_was_seen_comes_back_to_the_bit(sight: Seen):
    text = json.dumps(expression_message(sight), allow_nan=False)
    back = seen_from(text.encode())
    for name in Seen.__slots__:
        if name != "expression":
            assert same(getattr(back, name), getattr(sight, name)), name
    if sight.expression is None:
        assert back.expression is None
    else:
        for name in Expression.__slots__:
            assert same(getattr(back.expression, name), getattr(sight.expression, name)), name


def test_infinity_comes_back_as_something_that_is_not_finite():
    values = NEUTRAL.copy()
    values[3] = math.inf
    back = seen_from(json.dumps(expression_message(seen(0, values))).encode())
    assert math.isnan(back.expression.values[3])


GOOD = expression_message(seen(3, NEUTRAL.copy()))


@pytest.mark.parametrize(
    "change",
    [
        {"seq": -1}, {"seq": "3"}, {"seq": None}, {"t_capture_ns": 1e9}, {"t_capture_ns": 2**70},
        {"width": 0}, {"width": 10**9}, {"width": 16000, "height": 16000}, {"values": {}},
        {"values": [0.5] * 30},
        {"values": dict.fromkeys(NAMES, "x")}, {"values": {name: [1.0] for name in NAMES}},
        {"values": dict.fromkeys(NAMES, 10**400)}, {"presence": "high"}, {"presence": []}, {"pipeline": None},
        {"landmarks": [1.0, 2.0, 3.0]}, {"landmarks": None}, {"landmarks": {"x": 1}}, {"landmarks": 5},
        {"crop": {"affine": [1.0], "size": 3, "score": 1}}, {"crop": {"size": 3}}, {"crop": "all"},
        {"crop": {"affine": [1.0] * 6, "size": 0, "score": 1}}, {"hint": 3}, {"hint": None},
    ],
    ids=str,
)  # fmt: skip
def test_a_message_that_makes_no_sense_is_a_value_error(change: dict):
    with pytest.raises(ValueError, match=r".+"):
        seen_from(json.dumps(GOOD | change).encode())


@pytest.mark.parametrize("missing", GOOD)
def test_every_key_is_needed(missing: str):
    data = {key: value for key, value in GOOD.items() if key != missing}
    with pytest.raises(ValueError, match=missing):
        seen_from(json.dumps(data).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"3", b"\xff\xfe", b'"x"', b"[" * 100_000])
def test_what_is_no_message_is_a_value_error(data: bytes):
    with pytest.raises(ValueError, match=r".+"):
        seen_from(data)


def test_a_hint_cannot_give_orders_to_the_terminal():
    back = seen_from(json.dumps(GOOD | {"hint": "\x1b[2J\nlook" + "x" * 900}).encode())
    assert back.hint.startswith("[2Jlook")
    assert len(back.hint) <= 120


@pytest.mark.parametrize(
    ("size", "kept"), [((48, 64), (48, 64)), ((720, 1280), (360, 640)), ((3000, 2), (640, 1))]
)
def test_pictures_are_made_smaller_and_come_back(size: tuple[int, int], kept: tuple[int, int]):
    picture = np.full((*size, 3), (200, 120, 40), np.uint8)
    message = picture_message(picture, 1_500_000_000, "camera")
    assert message["timestamp"] == {"sec": 1, "nsec": 500_000_000}
    back = picture_from(json.dumps(message).encode())
    assert back.shape == (*kept, 3)
    assert max(back.shape) <= LONGEST_SIDE
    assert np.abs(back.astype(int) - (200, 120, 40)).max() <= 4


@pytest.mark.parametrize("data", ["", "AAAA", "not base64 !", 3, None, [1]], ids=str)
def test_a_damaged_picture_is_no_picture(data):
    assert picture_from(json.dumps({"data": data}).encode()) is None
    assert picture_from(b"{}") is None
    whole = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1]
    assert picture_from(json.dumps({"data": whole.tobytes().hex()}).encode()) is None


def test_a_command_is_the_jsonl_line_and_its_flags():
    command = Command(7, 123, "FOLLOWING", 0x30, NEUTRAL, 5, 100, "two-stage")
    assert command_message(command) == command.to_json() | {"flags": 0x30}


def kinds(schema: dict) -> set[str]:
    """The kinds of array items and unions that a schema uses, as far down as it goes."""
    found = set()
    if isinstance(schema.get("type"), list) or "oneOf" in schema or "anyOf" in schema:
        found.add("union")
    if schema["type"] == "array":
        found.add(schema["items"]["type"])
    for inner in schema.get("properties", {}).values():
        found |= kinds(inner)
    return found


@pytest.mark.parametrize("topic", TOPICS)
def test_schemas_hold_what_foxglove_reads_and_name_every_key(topic: str):
    _, schema = TOPICS[topic]
    assert schema["type"] == "object"
    assert kinds(schema) <= {"number"}
    message = {
        "/expression": GOOD,
        "/command": command_message(Command(0, 0, "NEUTRAL", 0, NEUTRAL)),
        "/camera": picture_message(np.zeros((4, 4, 3), np.uint8), 0, "camera"),
        "/robot_face": picture_message(np.zeros((4, 4, 3), np.uint8), 0, "robot"),
    }[topic]
    assert set(schema["properties"]) == set(message)
