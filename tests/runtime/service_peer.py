"""systemd's end of sd_notify: binds the address in argv[1] and prints every datagram as a line of JSON."""

from __future__ import annotations

import json
import socket
import sys
import time

address = sys.argv[1]
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
    peer.bind("\0" + address[1:] if address[0] == "@" else address)
    print("bound", flush=True)
    while True:
        print(json.dumps([time.monotonic_ns(), peer.recv(4096).decode()]), flush=True)
