"""What a run did not deliver: links that ended it down or lost everything, and files that are not whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from x2c_edge.errors import UserError
from x2c_edge.links.base import Link, LinkStatus


def close_links(links: Iterable[Link], timeout_s: float) -> list[str]:
    """Close every link, each within ``timeout_s``; a line for each one that lost something."""
    lines = []
    for link in links:
        before = link.status()
        link.close(timeout_s)
        lines.append(loss(before, link.status()))
    return [line for line in lines if line]


def loss(before: LinkStatus, after: LinkStatus) -> str:
    """What a link has to answer for, in one line; empty when all is well.

    before, after: closing it. A command that a newer one replaced is no loss.
    """
    if before.state == "down":
        what = "was down when the run ended"
    elif before.state != "up" and after.sent == 0:
        what = "never took a command"
    elif after.dropped > before.dropped or after.errors > before.errors:
        what = "lost what was sent last"
    elif after.sent == 0 and after.dropped:
        what = "lost everything"
    else:
        return ""
    why = f" ({after.last_error})" if after.last_error else ""
    return f"link {after.uri} {what}{why}: {after.sent} commands sent, {after.dropped} not"


def the_worst(failures: Sequence[UserError]) -> UserError | None:
    """One error that says them all, of the first one's kind; None when there is none."""
    if not failures:
        return None
    return type(failures[0])("; ".join(str(failure) for failure in failures))
