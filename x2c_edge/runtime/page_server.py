"""The page server's process: ``python -m x2c_edge.runtime.page_server RUN LISTENER HOST PORT``.

RUN and LISTENER are inherited file descriptors; the token comes in the environment, where other users
cannot read it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys

from x2c_edge.monitor.access import TOKEN_VARIABLE, Access
from x2c_edge.monitor.low_priority import let_the_run_go_first
from x2c_edge.monitor.server import PageServer
from x2c_edge.robot.web_head import web_head


def main(run: str, listener: str, host: str, port: str) -> None:
    """Serves until the run has gone."""
    let_the_run_go_first()
    access = Access(host, int(port), os.environ[TOKEN_VARIABLE])
    server = PageServer(access, socket.socket(fileno=int(run)), web_head)
    asyncio.run(server.serve(socket.socket(fileno=int(listener))))


if __name__ == "__main__":
    main(*sys.argv[1:])
