"""A Tritium gateway in a process of its own: ``gateway_peer.py TOKEN`` (docs/spec/links.md section 7.1).

Prints its port, then takes words on its standard input and repeats each when it is in force: ``good``,
``slow`` (answers after a second), ``errors`` (GraphQL errors), ``error`` (no data), ``rubbish`` (text that
is no JSON before every answer), ``hang up`` (ends the connections), and ``report`` (prints what was posted).
"""

from __future__ import annotations

import json
import sys
import threading
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

mode = "good"
posts: list[dict] = []
metadata: list[str] = []
open_connections: set = set()


def talk(connection) -> None:
    metadata.append(connection.request.headers["x-tritium-session-metadata"])
    open_connections.add(connection)
    try:
        for text in connection:
            request = json.loads(text)
            number = request["request_id"]
            answer = {
                "type": "graphql_response",
                "request_id": number,
                "data": {"data": {"postMessage": None}},
            }
            if mode == "slow":
                time.sleep(1.0)
            elif mode == "errors":
                answer["data"] = {"data": None, "errors": [{"message": "no such channel"}]}
            elif mode == "error":
                answer = {"type": "graphql_response", "request_id": number, "error": "script node is down"}
            elif mode == "rubbish":
                connection.send("hello")
                connection.send(b"\0\1")
                connection.send(json.dumps({"request_id": number + 7, "error": "someone else's"}))
            if mode in ("good", "rubbish"):
                posts.append({"request": request, "at": time.time()})
            connection.send(json.dumps(answer))
    except ConnectionClosed:
        pass
    finally:
        open_connections.discard(connection)


def main(token: str, port: int) -> None:
    global mode

    def gate(connection, request):
        if request.headers.get("x-tritium-token") != token:
            return connection.respond(401, "token\n")
        return None

    with serve(talk, "127.0.0.1", port, process_request=gate, close_timeout=0.1) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.socket.getsockname()[1], flush=True)
        for line in sys.stdin:
            word = line.strip()
            if word == "report":
                print(json.dumps({"posts": posts, "metadata": metadata}), flush=True)
                continue
            if word == "hang up":
                while not open_connections:
                    time.sleep(0.005)
                for connection in list(open_connections):
                    connection.close()
            else:
                mode = word
            print(word, flush=True)
        server.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0)
