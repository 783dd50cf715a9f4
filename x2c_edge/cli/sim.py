"""``x2c-edge sim``."""

from __future__ import annotations

import json as js
import signal
from pathlib import Path
from typing import Annotated

import typer

from x2c_edge.cli.options import Monitor


def sim(
    link: Annotated[
        str,
        typer.Option(
            "--link", metavar="URI", help="Where to listen: serial:///tmp/robot, udp://, zmq://, ..."
        ),
    ],
    fault: Annotated[
        str, typer.Option(metavar="LIST", help="drop=0.05,flip=1e-4,stall=2s@10s,unplug=3s@20s,...")
    ] = "",
    duration: Annotated[
        float | None, typer.Option(min=0.0, metavar="S", help="Stop after this many seconds.")
    ] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report there.")] = None,
    film: Annotated[
        Path | None, typer.Option(metavar="FILE.mp4", help="Film its face, as the actuators stand.")
    ] = None,
    monitor: Monitor = None,
    hold_ms: Annotated[float, typer.Option(help="Silence after which the pose is held.")] = 100.0,
    neutral_ms: Annotated[float, typer.Option(help="Silence after which the face eases to neutral.")] = 500.0,
) -> None:
    """The virtual Ameca: listens, obeys, reports. Exit code 4 when a command broke range or speed."""
    from x2c_edge.robot.faults import Faults
    from x2c_edge.robot.film import Film
    from x2c_edge.robot.receiver import ReceiverSettings
    from x2c_edge.robot.simulator import Simulator, summary
    from x2c_edge.runtime.overwriting import require_apart
    from x2c_edge.whole_file import write_whole

    require_apart((), (film, json))
    simulator = Simulator(
        link,
        Faults(fault),
        ReceiverSettings(hold=hold_ms / 1000, neutral=neutral_ms / 1000),
        duration_s=duration,
        on_listening=lambda where: print(f"listening on {where}", flush=True),
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: simulator.stop())
    camera = (
        None
        if film is None
        else Film(film, lambda: simulator.receiver.actuators.positions, lambda: simulator.state)
    )
    page = None
    if monitor is not None:
        from x2c_edge.runtime.sim_page import SimPage

        page = SimPage(monitor, simulator, link)
        page.start()
        print(f"page: {page.link.access.url('viewer')}", flush=True)
    try:
        simulator.run()
    finally:
        if page is not None:
            page.close()
        if camera is not None:
            camera.close()
    report = simulator.report()
    if json is not None:
        write_whole(json, (js.dumps({"link": link, "fault": fault, **report}, indent=1) + "\n").encode())
    print(summary(report))
    if simulator.violations:
        raise typer.Exit(4)
