"""Follow one face: the crop of the next frame comes from the landmarks of the last one.

Use, once a frame::

    crop = follower.locate(frame)
    if crop is not None:
        ...run the network on crop...
        seen = follower.update(crop, landmarks, presence)
        if seen and follower.needs_refine:      # the crop came from a detector's rough box
            crop = follower.locate(frame)       # the same frame, cropped by its own landmarks
            ...run the network again, update again, use the second result...

The detector runs only while no face is followed, so another face, however large, cannot take over. After
a loss the same person is waited for, near the last place, for ``remember`` seconds.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from x2c_edge.errors import NotFoundError
from x2c_edge.face.crop_geometry import Square, affine_square, eye_roll, landmark_square, square_affine
from x2c_edge.face.detect import FaceBox, FaceSearch, Pass, haar_passes
from x2c_edge.face.steady import SteadySquare
from x2c_edge.frames import FaceCrop, Frame
from x2c_edge.within import Within

Array = NDArray[np.float64]

# MediaPipe's mesh: outer and inner corner of each eye. Right is the person's.
RIGHT_EYE = (33, 133)
LEFT_EYE = (263, 362)

# What landmarks of a followed face may look like, against the crop that they were seen in.
_MOST_SHIFT = 0.45  # centre, in sides of the landmarks' box
_MOST_ZOOM = 1.8  # side, either way
_MOST_TURN = math.radians(50)
_LEAST_EYE_DISTANCE = 0.1  # in sides; 0.45 in a frontal face, 0.2 at 60 degrees of yaw
_SAME_ROLL = math.radians(20)  # of two findings in one place
_TOO_DARK = 0.3  # of full brightness, in the brightest parts; ordinary rooms have 0.7 and more
_TILTED = math.radians(25)
_ON_ITS_SIDE = math.radians(65)
_LEAST_VISIBLE = 0.35  # of the box, inside the frame


@dataclass(frozen=True, slots=True)
class FollowSettings:
    """Presence and sizes as below; times in seconds.

    enter: presence that a newly found face must have, twice. keep: below it, or with implausible
    landmarks, an update counts as a miss. lost_after: misses in a row that end the following.
    smallest: pixels of the frame that the longer side of the landmarks' box must have.
    remember: after a loss, how long only a face near the last place is taken.
    forgive: how long a place whose face the network denied is left out of the search.
    stale: a gap between frames after which the old crop is not used any more.
    """

    enter: Annotated[float, Within(0, 1)] = 0.6
    keep: Annotated[float, Within(0, 1)] = 0.35
    lost_after: Annotated[int, Within(1, 100)] = 4
    smallest: Annotated[float, Within(1, 4096)] = 24.0
    remember: Annotated[float, Within(0, 60)] = 1.0
    forgive: Annotated[float, Within(0, 60)] = 0.5
    stale: Annotated[float, Within(0, 60)] = 0.5


class FaceFollower:
    """See the module. landmark_ids: the MediaPipe index of each landmark that the network gives, in its
    order; raises NotFoundError if an eye corner is not among them. crop_size (pixels) and crop_scale (side of
    the crop in longer sides of the landmarks' box) are the network's."""

    def __init__(
        self,
        landmark_ids: Sequence[int],
        settings: FollowSettings | None = None,
        passes: Sequence[Pass] | None = None,
        *,
        crop_size: int = 128,
        crop_scale: float = 1.4,
    ) -> None:
        missing = sorted({*RIGHT_EYE, *LEFT_EYE} - set(landmark_ids))
        if missing:
            raise NotFoundError(
                f"the pack's landmark_ids lack {missing}: a face cannot be followed without the corners of "
                "the eyes; use a pack that has them"
            )
        order = list(landmark_ids)
        self._right_eye = [order.index(i) for i in RIGHT_EYE]
        self._left_eye = [order.index(i) for i in LEFT_EYE]
        self._settings = settings or FollowSettings()
        self._crop_size, self._crop_scale = crop_size, crop_scale
        self._search = FaceSearch(haar_passes() if passes is None else passes)
        self._steady: SteadySquare | None = None
        self._frame_shape = (0, 0)
        self._seen = 0  # good updates since the detection
        self._misses = 0
        self._score = 0.0
        self._time_ns = 0
        self._last: tuple[Square, int] | None = None  # of a face that was really followed
        self._denied: deque[tuple[Square, int]] = deque(maxlen=8)

    @property
    def following(self) -> bool:
        """A face is followed: found, confirmed by the network, and not lost since."""
        return self._steady is not None and self._seen > 0

    @property
    def needs_refine(self) -> bool:
        """The last update was the first one since a detection: locate and run the same frame again."""
        return self._seen == 1 and self._misses == 0

    @property
    def advice(self) -> str:
        """What to change so that the face can be seen (better); empty when nothing is known to be wrong."""
        if self._steady is None or not self._seen:
            brightness = self._search.brightness
            if brightness >= _TOO_DARK:
                return ""
            return f"the picture is too dark ({brightness:.0%} of full brightness): put light on the face"
        roll = math.remainder(self._steady.at(self._time_ns).roll, 2 * math.pi)
        if abs(roll) > _ON_ITS_SIDE:
            return f"the face lies at {math.degrees(roll):+.0f} deg: turn the camera upright"
        if abs(roll) > _TILTED:
            return (
                f"the head is tilted by {math.degrees(roll):+.0f} deg: hold it upright, or level the camera"
            )
        return ""

    def reset(self) -> None:
        """Forget everything, also whom to wait for."""
        self._steady, self._last, self._seen, self._misses = None, None, 0, 0
        self._denied.clear()
        self._search.begin()

    def locate(self, frame: Frame) -> FaceCrop | None:
        """The crop to look at in this frame; None if no face is followed and none was found."""
        now = frame.t_capture_ns
        gap = abs(now - self._time_ns) / 1e9
        shape = (frame.height, frame.width)
        if shape != self._frame_shape:
            self.reset()
        elif self._steady is not None and gap > self._settings.stale:
            self._lose()
        self._frame_shape, self._time_ns = shape, now
        if self._steady is None:
            boxes = self._search.search(frame, self._wanted)
            if not boxes:
                return None
            best = max(boxes, key=self._appeal)
            self._steady = SteadySquare(best.square, now)
            self._seen, self._misses, self._score = 0, 0, best.score
        square = self._steady.at(now).enlarged(self._crop_scale)
        size = self._crop_size
        return FaceCrop(frame, square_affine(square, size), size, self._score)

    def update(self, crop: FaceCrop, landmarks: NDArray[np.float64], presence: float) -> bool:
        """What the network saw in a crop from ``locate``: landmarks (L, 2) in frame pixels, presence 0..1.

        True: a face, use the result. False: do not. After a few misses in a row (at once, if the face was
        not confirmed yet) ``following`` ends and the next ``locate`` searches.
        """
        if self._steady is None:
            return False
        settings, new = self._settings, self._seen < 2
        square = (
            self._measure(crop, landmarks) if presence >= (settings.enter if new else settings.keep) else None
        )
        if square is None:
            self._misses += 1
            if new:
                self._denied.append((self._steady.at(self._time_ns), self._time_ns))
            if new or self._misses >= settings.lost_after:
                self._lose()
            return False
        t_ns = crop.frame.t_capture_ns
        if new:
            self._steady.snap(square, t_ns)
        else:
            self._steady.update(square, t_ns)
            self._last = (square, t_ns)
        self._seen, self._misses, self._score = self._seen + 1, 0, presence
        return True

    def _measure(self, crop: FaceCrop, landmarks: NDArray[np.float64]) -> Square | None:
        """The landmarks' square, or None if no face can look like that."""
        if not np.isfinite(landmarks).all():
            return None
        right, left = landmarks[self._right_eye].mean(axis=0), landmarks[self._left_eye].mean(axis=0)
        square = landmark_square(landmarks, eye_roll(right, left))
        crop_square = affine_square(crop.affine, crop.size)
        expected = crop_square.side / self._crop_scale
        plausible = (
            square.side >= self._settings.smallest
            and max(square.side / expected, expected / square.side) <= _MOST_ZOOM
            and math.hypot(square.x - crop_square.x, square.y - crop_square.y) <= _MOST_SHIFT * expected
            and _turn(square, crop_square) <= _MOST_TURN
            and math.dist(right, left) >= _LEAST_EYE_DISTANCE * square.side
            and self._visible(square) >= _LEAST_VISIBLE
        )
        return square if plausible else None

    def _visible(self, square: Square) -> float:
        """Part of the (upright) square inside the frame."""
        height, width = self._frame_shape
        half = square.side / 2
        across = min(square.x + half, width - 0.5) - max(square.x - half, -0.5)
        down = min(square.y + half, height - 0.5) - max(square.y - half, -0.5)
        return max(across, 0.0) * max(down, 0.0) / square.side**2

    def _lose(self) -> None:
        if self._seen >= 2:
            self._search.restart()
        self._steady, self._seen, self._misses = None, 0, 0

    def _wanted(self, box: FaceBox) -> bool:
        """Not one that the network has just denied and, soon after a loss, only one near the last place."""
        square, settings = box.square, self._settings
        if square.side < settings.smallest:
            return False
        for place, t_ns in self._denied:
            same = _distance(square, place) < 0.3 * place.side and _turn(square, place) < _SAME_ROLL
            if self._since(t_ns) < settings.forgive and same:
                return False
        if self._last is None or (since := self._since(self._last[1])) > settings.remember:
            return True
        last = self._last[0]
        reach = last.side * (1 + 2 * since / settings.remember)
        return _distance(square, last) < reach and 0.5 < square.side / last.side < 2

    def _appeal(self, box: FaceBox) -> float:
        """Larger, surer and nearer: to the last place while it is remembered, else to the middle."""
        height, width = self._frame_shape
        square = box.square
        if self._last is not None and self._since(self._last[1]) <= self._settings.remember:
            away = _distance(square, self._last[0]) / self._last[0].side
            return box.score / (1 + 4 * away)
        away = math.hypot(square.x - width / 2, square.y - height / 2) / math.hypot(width, height)
        return square.side * (0.5 + 0.5 * box.score) * (1 - away)

    def _since(self, t_ns: int) -> float:
        return abs(self._time_ns - t_ns) / 1e9


def _turn(a: Square, b: Square) -> float:
    return abs(math.remainder(a.roll - b.roll, 2 * math.pi))


def _distance(a: Square, b: Square) -> float:
    return math.hypot(a.x - b.x, a.y - b.y)
