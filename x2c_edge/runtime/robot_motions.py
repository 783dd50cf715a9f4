"""What a person should see when one control grows, and when it shrinks: the questions of ``check-robot``.

Left and right are the robot's own. "*" stands for either side.
"""

from __future__ import annotations

from typing import Final

# control: (grows, shrinks)
_SEEN: Final[dict[str, tuple[str, str]]] = {
    "Brow Inner *": ("the inner end of the * brow rises", "the inner end of the * brow sinks"),
    "Brow Outer *": ("the outer end of the * brow rises", "the outer end of the * brow sinks"),
    "Eyelid Lower *": ("the * lower lid sinks, the eye opens", "the * lower lid rises, the eye narrows"),
    "Eyelid Upper *": ("the * upper lid rises, the eye opens", "the * upper lid sinks, the eye narrows"),
    "Gaze Target Phi": ("the eyes turn to the robot's left", "the eyes turn to the robot's right"),
    "Gaze Target Theta": ("the eyes look up", "the eyes look down"),
    "Head Pitch": ("the head nods up", "the head nods down"),
    "Head Roll": (
        "the head tilts to the robot's right (left ear up)",
        "the head tilts to the robot's left (right ear up)",
    ),
    "Head Yaw": ("the head turns to the robot's left", "the head turns to the robot's right"),
    "Jaw Pitch": ("the jaw closes", "the jaw opens"),
    "Jaw Yaw": ("the jaw moves to the robot's left", "the jaw moves to the robot's right"),
    "Lip Bottom Curl": ("the lower lip curls outwards", "the lower lip rolls inwards"),
    "Lip Bottom Depress *": ("the lower lip sinks on the *", "the lower lip rises on the *"),
    "Lip Bottom Depress Middle": ("the middle of the lower lip sinks", "the middle of the lower lip rises"),
    "Lip Corner Raise *": ("the * corner of the mouth rises", "the * corner of the mouth sinks"),
    "Lip Corner Stretch *": ("the * corner of the mouth moves outwards", "the * corner moves inwards"),
    "Lip Top Curl": ("the upper lip curls outwards", "the upper lip rolls inwards"),
    "Lip Top Raise *": ("the upper lip rises on the *", "the upper lip sinks on the *"),
    "Lip Top Raise Middle": ("the middle of the upper lip rises", "the middle of the upper lip sinks"),
    "Neck Pitch": ("the neck bends backwards, the face looks up", "the neck bends forwards"),
    "Neck Roll": (
        "the neck tilts to the robot's right (left ear up)",
        "the neck tilts to the robot's left (right ear up)",
    ),
    "Nose Wrinkle": ("the nose wrinkles", "the nose smooths"),
}


def seen(name: str, *, grows: bool) -> str:
    """What the robot should be seen to do when ``name`` changes."""
    words = _SEEN.get(name)
    for side in ("Left", "Right"):
        if words is None and name.endswith(f" {side}"):
            general = _SEEN[f"{name.removesuffix(side)}*"]
            words = (general[0].replace("*", side.lower()), general[1].replace("*", side.lower()))
    assert words is not None
    return words[0] if grows else words[1]
