from __future__ import annotations

import threading

from x2c_edge.runtime.mailbox import Mailbox


def test_the_newest_item_replaces_the_older_one():
    box: Mailbox[int] = Mailbox()
    box.post(1)
    box.post(2)
    assert box.take(0.0) == 2
    assert box.take(0.0) is None
    assert box.replaced == 1


def test_taking_waits_for_an_item():
    box: Mailbox[str] = Mailbox()
    poster = threading.Timer(0.05, box.post, ["here"])
    poster.start()
    assert box.take(10.0) == "here"
    poster.join()


def test_two_threads_lose_nothing_but_what_was_replaced():
    box: Mailbox[int] = Mailbox()
    count = 20_000
    poster = threading.Thread(target=lambda: [box.post(k) for k in range(count)])
    poster.start()
    taken: list[int] = []
    while not taken or taken[-1] != count - 1:
        item = box.take(5.0)
        assert item is not None
        taken.append(item)
    poster.join()
    assert taken == sorted(set(taken))
    assert len(taken) + box.replaced == count
    assert box.take(0.0) is None
