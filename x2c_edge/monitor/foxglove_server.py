"""Serves a run live to Foxglove: ``python -m x2c_edge.monitor.foxglove_server RUN HOST PORT``.

A process of its own, as the page's server is; RUN is an inherited file descriptor. From the run come the
messages of ``foxglove_messages``; to it goes {"wanted": [topics that somebody has subscribed to]} whenever
that changes. Viewers can ask for nothing else: the server offers no capability.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
from typing import Final

import foxglove

from x2c_edge.monitor.foxglove_messages import LONGEST_MESSAGE, Topic, message_of, topics_of
from x2c_edge.monitor.low_priority import let_the_run_go_first

_LOOK_S: Final = 0.1  # how often is looked who has subscribed
_BACKLOG: Final = 64  # messages that wait for a slow viewer; the oldest go first


def main(run: str, host: str, port: str) -> None:
    """Serves until the run has gone."""
    let_the_run_go_first()
    logging.disable()
    serve(socket.socket(fileno=int(run)), host, int(port))


def serve(run: socket.socket, host: str, port: int) -> None:
    """Until the run closes its end."""
    context = foxglove.Context()
    channels = [_channel(context, topic) for topic in topics_of(run.recv(LONGEST_MESSAGE))]
    server = foxglove.start_server(
        name="x2c-edge", host=host, port=port, context=context, message_backlog_size=_BACKLOG
    )
    run.settimeout(_LOOK_S)
    wanted: list[str] = []
    while True:
        now_wanted = [channel.topic() for channel in channels if channel.has_sinks()]
        if now_wanted != wanted:
            wanted = now_wanted
            run.send(json.dumps({"wanted": wanted}).encode())
        try:
            data = run.recv(LONGEST_MESSAGE)
        except TimeoutError:
            continue
        if not data:
            break
        place, log_time_ns, content = message_of(data)
        channels[place].log(content, log_time=log_time_ns)
    server.stop()


def _channel(context: foxglove.Context, topic: Topic) -> foxglove.Channel:
    name, schema_name, schema = topic
    described = foxglove.Schema(name=schema_name, encoding="jsonschema", data=json.dumps(schema).encode())
    return foxglove.Channel(name, schema=described, message_encoding="json", context=context)


if __name__ == "__main__":
    main(*sys.argv[1:])
