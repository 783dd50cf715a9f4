"""``x2c-edge ctl``."""

from __future__ import annotations

import json as js
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path


def ctl(
    request: Annotated[str, typer.Argument(metavar="stop|resume|reset|neutral|status")],
    run: Annotated[int | None, typer.Option(metavar="PID", help="Which run, when there are several.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the status as JSON, one line a run.")] = False,
) -> None:
    """Tell a run to stop, resume, reset a FAULT or take a new neutral, or ask how it is.

    Stop and status go to every run when none is named. The answer comes when the request is on the wire.
    """
    from x2c_edge.errors import BadArgumentError, UserError
    from x2c_edge.runtime.control_socket import ask

    if request not in ("stop", "resume", "reset", "neutral", "status"):
        raise BadArgumentError(f"ctl '{request}': choose stop, resume, reset, neutral or status")
    failures: list[UserError] = []
    for pid, path in _chosen(run, everybody=request in ("stop", "status")).items():
        try:
            answer = ask(path, request)
        except UserError as error:  # the others are stopped first
            failures.append(error)
            continue
        print(js.dumps(answer) if json else _line(pid, answer), flush=True)
    if failures:
        raise failures[0]


def _chosen(pid: int | None, *, everybody: bool) -> dict[int, Path]:
    from x2c_edge.errors import BadArgumentError, NotFoundError
    from x2c_edge.runtime.control_socket import runs

    found = runs()
    if pid is not None:
        if pid not in found:
            raise NotFoundError(f"no run {pid}; there is {', '.join(map(str, found)) or 'none'}")
        return {pid: found[pid]}
    if not found:
        raise NotFoundError("no run of yours is going on; start one with: x2c-edge run")
    if len(found) > 1 and not everybody:
        raise BadArgumentError(f"several runs; choose one with --run {' or '.join(map(str, found))}")
    return found


def _line(pid: int, status: dict[str, Any]) -> str:
    reason = f" ({status['reason']})" if status["reason"] else ""
    links = ", ".join(f"{link['uri']} {link['state']}" for link in status["links"])
    advice = f" | {status['advice']}" if status["advice"] else ""
    return (
        f"run {pid}: {status['state']}{reason} | {status['gear']} | {status['vision_fps']:.1f} fps | "
        f"p99 {status['capture_to_wire_p99_ms']:.1f} of {status['budget_ms']:g} ms | {links}{advice}"
    )
