from __future__ import annotations

import time

import pytest

from x2c_edge.pipelines.plan import Plan


def test_steps_run_in_order_and_are_timed():
    plan, done = Plan(), []
    plan.add("first", lambda: done.append(1))
    plan.add("second", lambda: (time.sleep(0.005), done.append(2)))
    plan.run()
    plan.run()
    assert done == [1, 2, 1, 2]
    assert plan.names == ["first", "second"]
    assert plan.durations_ns.shape == (2,)
    assert plan.durations_ns[1] >= 5_000_000
    assert (plan.durations_ns >= 0).all()


def test_a_step_that_fails_ends_the_run():
    plan, done = Plan(), []
    plan.add("bad", lambda: 1 // 0)
    plan.add("never", lambda: done.append(1))
    with pytest.raises(ZeroDivisionError):
        plan.run()
    assert done == []


def test_a_plan_of_nothing_runs():
    Plan().run()
