"""The page server's process: ``python -m x2c_edge.runtime.page_server LISTENER RUN HOST PORT``.

LISTENER and RUN are inherited file descriptors; the token comes in the environment, where other users
cannot read it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys

from x2c_edge.monitor.access import TOKEN_VARIABLE, Access
from x2c_edge.monitor.server import PageServer
from x2c_edge.robot.web_head import web_head

NICENESS = 10  # the run comes first


def main(listener: str, run: str, host: str, port: str) -> None:
    """Serves until the run has gone."""
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICENESS)
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    access = Access(host, int(port), os.environ[TOKEN_VARIABLE])
    server = PageServer(access, socket.socket(fileno=int(run)), web_head)
    asyncio.run(server.serve(socket.socket(fileno=int(listener))))


if __name__ == "__main__":
    main(*sys.argv[1:])
