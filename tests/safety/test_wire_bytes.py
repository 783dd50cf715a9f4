"""Whatever is done to the supervisor, every byte that leaves is safe (docs/safety.md)."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.safety.rules import gaze_moves_behind_closed_lids, lids_apart, lips_beyond
from x2c_edge.controls import HIGH, INDEX, LOW, N_CONTROLS, NEUTRAL
from x2c_edge.frames import Expression, Flag
from x2c_edge.links import codec
from x2c_edge.safety.correction import Correction
from x2c_edge.safety.envelope import Envelope
from x2c_edge.safety.settings import SupervisorSettings
from x2c_edge.safety.supervisor import Supervisor

MS = 1_000_000
QUANTUM = (HIGH - LOW) / codec.STEPS
LID_QUANTUM = 3.0 / codec.STEPS

numbers = st.one_of(
    st.sampled_from([math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, -0.0, 0.0, 1.0, -1.0, 2.0]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(-3, 3),
)
poses = st.one_of(
    st.lists(numbers, min_size=N_CONTROLS, max_size=N_CONTROLS),
    # plausible poses, with a few values of nonsense
    st.builds(
        lambda base, noise: [noise.get(k, v) for k, v in enumerate(base)],
        st.lists(st.floats(-1, 2), min_size=N_CONTROLS, max_size=N_CONTROLS),
        st.dictionaries(st.integers(0, N_CONTROLS - 1), numbers, max_size=4),
    ),
    st.sampled_from([LOW.tolist(), HIGH.tolist(), NEUTRAL.tolist(), [math.nan] * N_CONTROLS]),
    st.lists(numbers, max_size=31),  # the wrong length
)
# Milliseconds between events: nothing, ticks, bursts, late frames, gaps, and clocks that go back.
waits = st.one_of(
    st.sampled_from([0, 16, 17, 33, 100, 160, 400, 1100, 1600, 10_000, -1, -50, -10_000]),
    st.integers(0, 40),
)
events = st.one_of(
    st.tuples(st.just("offer"), poses, st.sampled_from([0, 0, 30, 200, 2000, -1000, 10**12])),
    st.tuples(st.just("tick"), st.integers(1, 12)),
    st.tuples(st.just("follow"), poses, st.integers(1, 20)),
    st.tuples(
        st.sampled_from(
            [
                "face_lost",
                "link_error",
                "link_lost",
                "link_up",
                "robot_joined",
                "reference_ready",
                "reference_lost",
            ]
        )
    ),
    st.tuples(st.sampled_from(["operator_stop", "operator_resume", "robot_fault", "reset", "reset"])),
)
envelopes = st.sampled_from(
    [
        Envelope(),
        Envelope().narrowed("Jaw Pitch", low=0.8, high=0.9, slew=1.0).narrowed("Head Yaw", low=0.1, slew=0.2),
        Envelope().narrowed("Eyelid Upper Left", high=0.0).narrowed("Eyelid Upper Right", high=-0.6),
        Envelope().narrowed("Lip Bottom Depress Middle", high=0.2).narrowed("Lip Bottom Curl", high=0.1),
        Envelope().narrowed("Lip Top Raise Middle", low=0.9).narrowed("Lip Top Curl", slew=0.1),
        Envelope(correction=Correction(sign=-np.ones(N_CONTROLS))),
        Envelope(
            correction=Correction.of(
                {"Head Yaw": -1, "Eyelid Upper Left": -1, "Lip Bottom Curl": -1},
                {"Head Yaw": 0.1, "Jaw Pitch": -0.5, "Lip Top Raise Middle": -0.3, "Eyelid Lower Left": -1.8},
            )
        ).narrowed("Head Yaw", low=0.05),
    ]
)


class Wire:
    """Checks each command, and what its bytes decode to, against the one before."""

    def __init__(self, envelope):
        self.envelope = envelope
        self.last = None
        self.last_decoded = None

    def check(self, command, now_ns):
        frame = codec.encode_command(command, run=7, rate_hz=60, now_ns=now_ns)
        parser = codec.SerialParser()
        (message,) = parser.feed(codec.to_serial(frame))
        decoded = message.values
        low, high, slew = self.envelope.low, self.envelope.high, self.envelope.slew

        for values, slack in ((command.values, 1e-12), (decoded, QUANTUM / 2 + 1e-12)):
            assert values.shape == (N_CONTROLS,)
            assert np.isfinite(values).all()
            assert (values >= low - slack).all()
            assert (values <= high + slack).all()
        assert ((decoded >= LOW - 1e-12) & (decoded <= HIGH + 1e-12)).all()
        assert message.flags == command.flags
        for values, slack in ((command.values, 1e-12), (decoded, 2 * LID_QUANTUM)):
            assert lids_apart(values) <= slack
            assert lips_beyond(values) <= slack

        if self.last is None:
            assert np.array_equal(command.values, self.envelope.rest)
            assert command.seq == 0
        else:
            dt_ns = command.t_send_ns - self.last.t_send_ns
            assert dt_ns >= 0
            assert command.seq == self.last.seq + 1
            reach = slew * min(dt_ns * 1e-9, 0.1)
            assert (np.abs(command.values - self.last.values) <= reach + 1e-12).all()
            assert (np.abs(decoded - self.last_decoded) <= reach + QUANTUM + 1e-12).all()
            assert not gaze_moves_behind_closed_lids(command, self.last)
            if command.flags & Flag.HOLD:
                assert np.array_equal(command.values, self.last.values)
        followed = command.state in ("FOLLOWING", "HOLDING")
        assert (command.frame_seq is not None) == (command.t_capture_ns is not None) == followed
        self.last, self.last_decoded = command, decoded


class Hostile:
    def __init__(self, envelope, supervisor_settings):
        self.supervisor = Supervisor(supervisor_settings, envelope)
        self.wire = Wire(envelope)
        self.now = 5_000 * MS
        self.frame = 0

    def offer(self, pose, age_ms):
        self.frame += 1
        expression = Expression(
            self.frame,
            self.now - age_ms * MS,
            "hostile",
            np.array(pose, dtype=np.float64),
            1.0,
            np.zeros((0, 2)),
        )
        self.supervisor.offer(expression, self.now)

    def tick(self):
        command = self.supervisor.tick(self.now)
        if command is not None:
            self.wire.check(command, max(self.now, command.t_send_ns))
        return command

    def do(self, event):
        kind, *details = event
        if kind == "offer":
            self.offer(*details)
        elif kind == "tick":
            for _ in range(details[0]):
                self.now += 17 * MS
                self.tick()
        elif kind == "follow":
            for k in range(details[1]):
                self.now += 17 * MS
                if k % 2 == 0:
                    self.offer(details[0], 10)
                self.tick()
        elif kind == "robot_fault":
            self.supervisor.robot_fault(self.now, "overcurrent")
        elif kind == "reference_lost":
            self.supervisor.reference_lost()
        else:
            getattr(self.supervisor, kind)(self.now)
        self.tick()


@given(
    envelopes,
    st.sampled_from([SupervisorSettings(), SupervisorSettings(soft_start=0.0, blend=0.0, ease=0.1)]),
    st.booleans(),
    st.lists(st.tuples(waits, events), max_size=40),
)
@settings(max_examples=150)
@pytest.mark.filterwarnings("error")
def test_every_byte_that_leaves_is_safe(envelope, supervisor_settings, ready, happenings):
    hostile = Hostile(envelope, supervisor_settings)
    if ready:
        hostile.supervisor.link_up(hostile.now)
        hostile.supervisor.reference_ready(hostile.now)
    for wait_ms, event in happenings:
        hostile.now += wait_ms * MS
        hostile.do(event)
    # However it went, a stop ends at rest, says so three times, and then nothing leaves.
    supervisor = hostile.supervisor
    if supervisor.last_command is not None:
        hostile.now = max(hostile.now, supervisor.last_command.t_send_ns)
    supervisor.begin_stop(hostile.now)
    for _ in range(600):
        hostile.now += 40 * MS
        if hostile.tick() is None:
            break
    assert supervisor.stopped
    if supervisor.last_command is not None:
        assert supervisor.last_command.flags & Flag.END
        assert np.abs(supervisor.last_command.values - envelope.rest).max() < 1e-9


def test_long_random_abuse_visits_every_state():
    rng = np.random.default_rng(4)
    hostile = Hostile(Envelope(), SupervisorSettings())
    hostile.tick()
    hostile.supervisor.link_up(hostile.now)
    hostile.supervisor.reference_ready(hostile.now)
    kinds = [
        "face_lost", "link_error", "link_lost", "operator_stop", "robot_fault", "reference_lost",
        "robot_joined",
    ]  # fmt: skip
    for _ in range(400):
        pose = NEUTRAL + rng.normal(0, 10.0 ** rng.uniform(-2, 2), N_CONTROLS)
        pose[rng.random(N_CONTROLS) < rng.choice([0.0, 0.05, 0.5], p=[0.8, 0.1, 0.1])] = rng.choice(
            [math.nan, math.inf, -math.inf]
        )
        hostile.do(("follow", pose.tolist(), int(rng.integers(1, 12))))
        hostile.now += int(rng.choice([0, 5, 300, 2000, -500], p=[0.6, 0.2, 0.1, 0.05, 0.05])) * MS
        if rng.random() < 0.2:
            hostile.do((str(rng.choice(kinds)),))
        elif rng.random() < 0.5:
            for back in ("operator_resume", "link_up", "reference_ready", "reset"):
                hostile.do((back,))
    entries = hostile.supervisor.counters.entries
    assert {"NEUTRAL", "FOLLOWING", "HOLDING", "RETURNING", "FAULT"} <= set(entries)
    assert hostile.supervisor.counters.commands > 2000
    assert hostile.wire.last.values[INDEX["Jaw Pitch"]] >= 0.5
