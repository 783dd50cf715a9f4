"""Which points of the MediaPipe face mesh the single-stage network predicts, in output order.

Ids are MediaPipe's (478 points with irises). "Left" is the person's left. The face oval must be
complete: the follower makes its crop from the landmarks' box.
"""

from __future__ import annotations

from typing import Final

OVAL: Final = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
RIGHT_EYE: Final = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_EYE: Final = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
RIGHT_BROW: Final = (70, 63, 105, 66, 107, 46, 53, 52, 65, 55)
LEFT_BROW: Final = (300, 293, 334, 296, 336, 276, 283, 282, 295, 285)
OUTER_LIPS: Final = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
)  # fmt: skip
INNER_LIPS: Final = (
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191,
)  # fmt: skip
NOSE: Final = (168, 6, 195, 4, 1, 2, 98, 327, 129, 358)
IRISES: Final = (468, 473)  # right, left

LANDMARK_IDS: Final = (
    OVAL + RIGHT_EYE + LEFT_EYE + RIGHT_BROW + LEFT_BROW + OUTER_LIPS + INNER_LIPS + NOSE + IRISES
)

# Closed or open chains to draw: (ids, closed).
OUTLINES: Final = (
    (OVAL, True), (RIGHT_EYE, True), (LEFT_EYE, True), (RIGHT_BROW[:5], False), (LEFT_BROW[:5], False),
    (OUTER_LIPS, True), (INNER_LIPS, True), (NOSE[:6], False),
)  # fmt: skip


def mirror_order() -> tuple[int, ...]:
    """For every landmark, the position of its mirror twin in LANDMARK_IDS.

    The oval and the lips are closed chains that start on (oval) or end across (lips) the middle; eyes
    and brows are listed in matching order on both sides.
    """
    twin = {i: i for i in NOSE}
    twin |= {i: OVAL[-k % len(OVAL)] for k, i in enumerate(OVAL)}
    for chain in (OUTER_LIPS, INNER_LIPS):
        twin |= {i: chain[(10 - k) % len(chain)] for k, i in enumerate(chain)}
    for right, left in (
        (RIGHT_EYE, LEFT_EYE),
        (RIGHT_BROW, LEFT_BROW),
        ((98, 129), (327, 358)),
        (IRISES[:1], IRISES[1:]),
    ):
        twin |= dict(zip(right, left, strict=True)) | dict(zip(left, right, strict=True))
    return tuple(LANDMARK_IDS.index(twin[i]) for i in LANDMARK_IDS)
