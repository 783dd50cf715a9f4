"""Robot side, Tritium: paste this into a script on the robot and start it.

The robot's script host provides ``system``, ``Precedence`` and ``BidType``. Written from what public scripts
of the robot show, tested against a stand-in for those three; NOT yet run on a robot. First stop the scripts
that move the face by themselves (idle look-around, blinking, lip-sync, proximity recoil): see docs/links.md.
"""

# ruff: noqa: B905, F821 (the robot's Python may be older than zip's strict; its host provides names)

import math
from time import monotonic

CHANNEL = "x2c_edge.controls"
HOLD, END = 0x0001, 0x0040
HOLD_AFTER_S, NEUTRAL_AFTER_S, RELEASE_AFTER_S = 0.1, 0.5, 5.0
EASE_S, SOFT_START_S = 1.0, 0.6

BROWS, LIDS, GAZE, NECK = "Mesmer Brows 1", "Mesmer Eyelids 1", "Mesmer Gaze 1", "Mesmer Neck 1"
MOUTH, NOSE = "Mesmer Mouth 2", "Mesmer Nose 1"
# name, namespace, lowest, highest, neutral, most per second
CONTROLS = [
    ("Brow Inner Left", BROWS, 0, 1, 0.5, 8), ("Brow Inner Right", BROWS, 0, 1, 0.5, 8),
    ("Brow Outer Left", BROWS, 0, 1, 0.5, 8), ("Brow Outer Right", BROWS, 0, 1, 0.5, 8),
    ("Eyelid Lower Left", LIDS, -1, 2, 1, 20), ("Eyelid Lower Right", LIDS, -1, 2, 1, 20),
    ("Eyelid Upper Left", LIDS, -1, 2, 1, 20), ("Eyelid Upper Right", LIDS, -1, 2, 1, 20),
    ("Gaze Target Phi", GAZE, -130, 130, 0, 800), ("Gaze Target Theta", GAZE, -60, 60, 0, 500),
    ("Head Pitch", NECK, -20, 20, 0, 60), ("Head Roll", NECK, -10, 10, 0, 60),
    ("Head Yaw", NECK, -20, 20, 0, 90), ("Jaw Pitch", None, 0.5, 1, 1, 6), ("Jaw Yaw", MOUTH, 0, 1, 0.5, 3),
    ("Lip Bottom Curl", None, 0, 1, 0.46, 8), ("Lip Bottom Depress Left", None, 0, 1, 0.56, 8),
    ("Lip Bottom Depress Middle", None, 0, 1, 0.43, 8), ("Lip Bottom Depress Right", None, 0, 1, 0.54, 8),
    ("Lip Corner Raise Left", None, 0, 1, 0.47, 8), ("Lip Corner Raise Right", None, 0, 1, 0.62, 8),
    ("Lip Corner Stretch Left", None, 0, 1, 0.64, 8), ("Lip Corner Stretch Right", None, 0, 1, 0.31, 8),
    ("Lip Top Curl", None, 0, 1, 0.41, 8), ("Lip Top Raise Left", None, 0, 1, 0.48, 8),
    ("Lip Top Raise Middle", None, 0, 1, 0.47, 8), ("Lip Top Raise Right", None, 0, 1, 0.45, 8),
    ("Neck Pitch", NECK, -20, 20, 0, 40), ("Neck Roll", NECK, -12, 12, 0, 40),
    ("Nose Wrinkle", NOSE, 0, 1, 0, 8),
]  # fmt: skip
controls = [system.control(name, space, acquire=["demand", "position"]) for name, space, *_ in CONTROLS]


class Activity:
    def on_start(self):
        self.bid = system.arbitration.make_bid(
            specifiers=["Control/Direct Motors/Lip Motors", "Control/Direct Motors/Mouth Motors"]
            + [f"Control/{space}" for space in (MOUTH, LIDS, NECK, BROWS, GAZE, NOSE)],
            precedence=Precedence.VERY_HIGH,
            bid_type=BidType.ON_DEMAND,
        )
        self.run = self.seq = self.heard_at = None
        self.wish = self.pose = None
        self.regained_at = 0.0
        self.ticked_at = monotonic()

    def on_message(self, channel, message):
        """Only keeps what came; the tick writes."""
        if channel != CHANNEL or not isinstance(message, dict) or message.get("v") != 1:
            return
        values, run, seq = message.get("c"), message.get("run"), message.get("seq")
        flags = message.get("flags", 0)
        if not isinstance(values, list) or len(values) != len(CONTROLS) or not isinstance(seq, int):
            return
        if not all(isinstance(v, (int, float)) and abs(v) < 1e6 for v in values):  # NaN is not, either
            return
        silent = self.heard_at is None or monotonic() - self.heard_at > NEUTRAL_AFTER_S
        if (seq <= self.seq) if run == self.run else not silent:
            return
        if silent:
            self.regained_at = monotonic()
        self.run, self.seq, self.heard_at = run, seq, monotonic()
        if not flags & HOLD:
            self.wish = values
        if flags & END:
            self.heard_at = None

    @system.tick(fps=60)
    def on_tick(self):
        now = monotonic()
        passed, self.ticked_at = min(now - self.ticked_at, 0.1), now
        silence = math.inf if self.heard_at is None else now - self.heard_at
        if self.wish is None:
            return
        if self.heard_at is None and self.pose == self.clamped(self.wish):
            self.wish = self.pose = None  # ended
            return
        if silence > NEUTRAL_AFTER_S + EASE_S + RELEASE_AFTER_S and self.heard_at is not None:
            self.wish = self.pose = self.heard_at = None  # released: the bid is on demand
            return
        if HOLD_AFTER_S < silence <= NEUTRAL_AFTER_S:
            return
        if self.pose is None:
            self.pose = [float(control.position) for control in controls]
        neutral = silence > NEUTRAL_AFTER_S and self.heard_at is not None
        soft = min(1.0, (now - self.regained_at) / SOFT_START_S)
        goals = [row[4] for row in CONTROLS] if neutral else self.clamped(self.wish)
        for k, (goal, (_, _, low, high, _, most)) in enumerate(zip(goals, CONTROLS)):
            # Towards neutral no faster than the whole range in EASE_S.
            reach = passed * (min(most, (high - low) / EASE_S) if neutral else most * soft)
            self.pose[k] = min(max(goal, self.pose[k] - reach), self.pose[k] + reach)
        self.write()

    def clamped(self, values):
        return [min(max(value, row[2]), row[3]) for value, row in zip(values, CONTROLS)]

    def write(self):
        with self.bid.use():
            for control, value in zip(controls, self.pose):
                control.demand = float(value)

    def on_stop(self):
        self.pose = [row[4] for row in CONTROLS]
        self.write()
