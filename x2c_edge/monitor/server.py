"""Serves the page and passes messages between a run and its viewers.

This is a process of its own, so that nothing a viewer does can touch the run: the two are joined by one
SOCK_SEQPACKET socket, of which the run drops what does not fit. From the run come messages ready for the
browser (``feed`` says which); a viewer that is slow gets the newest of each kind and misses the others.
To the run go single lines of JSON: {"do": request, "by": who, ...} and {"looking": how many}.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import time
from collections import deque
from collections.abc import Callable
from importlib import resources
from typing import Any, Final

from aiohttp import WSMsgType, web

from x2c_edge.monitor.access import Access, Role
from x2c_edge.monitor.feed import LONGEST_MESSAGE, SLOTS, slot_of
from x2c_edge.monitor.prometheus import exposition

MOST_VIEWERS: Final = 32
LONGEST_WORD: Final = 4096  # bytes a viewer may say at once
WORDS_PER_S: Final = 60
SILENCE_S: Final = 5.0  # a run says something four times a second
STUCK_S: Final = 10.0  # a viewer that takes nothing for so long is let go
LOG_LINES: Final = 100
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src blob: data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_TYPES: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_FOR_VIEWERS: Final = ("stop", "release", "look")
_FOR_OPERATORS: Final = ("resume", "reset", "neutral", "hold", "tune", "play")


class Viewer:
    """One open page: what waits for it, at most one message of each kind and the last lines of the log."""

    def __init__(self, number: int, role: Role, ws: web.WebSocketResponse) -> None:
        self.name = f"page {number}"
        self.role, self.ws = role, ws
        self.looks = True
        self.waiting: dict[str, bytes | str] = {}
        self.log: deque[str] = deque(maxlen=LOG_LINES)
        self.ready = asyncio.Event()
        self.ended = False

    def offer(self, slot: str, message: bytes | str) -> None:
        """Put a message in its slot; an older one there is dropped."""
        if slot == "log":
            self.log.append(str(message))
        elif self.looks or slot in ("you", "hello", "snapshot"):
            self.waiting[slot] = message
        self.ready.set()

    async def write(self) -> None:
        """Send what waits until the viewer has ended. TimeoutError when it takes nothing."""
        while not self.ended:  # a cancellation that comes as ``wait_for`` ends may be lost on the way
            await self.ready.wait()
            self.ready.clear()
            while self.waiting or self.log:
                if self.log:
                    message: bytes | str = self.log.popleft()
                else:
                    slot = next(name for name in SLOTS if name in self.waiting)
                    message = self.waiting.pop(slot)
                send = self.ws.send_str if isinstance(message, str) else self.ws.send_bytes
                await asyncio.wait_for(send(message), STUCK_S)  # type: ignore[arg-type]


class PageServer:
    """One page. head: makes the robot's head for the browser, on first use."""

    def __init__(self, access: Access, run: socket.socket, head: Callable[[], bytes]) -> None:
        self._access, self._run, self._head = access, run, head
        self._viewers: set[Viewer] = set()
        self._count = 0
        self._newest: dict[str, bytes | str] = {}
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._head_file: asyncio.Task[bytes] | None = None
        self._heard_at = time.monotonic()
        self._over = asyncio.Event()

    async def serve(self, listener: socket.socket) -> None:
        """Until the run closes its end."""
        app = web.Application(middlewares=[self._guard], client_max_size=LONGEST_WORD)
        app.router.add_get("/", self._file)
        app.router.add_get("/{name:[a-z_]+\\.(?:js|css)}", self._file)
        app.router.add_get("/head.bin", self._head_bin)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/live", self._live)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.5)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        loop = asyncio.get_running_loop()
        self._run.setblocking(False)
        loop.add_reader(self._run, self._from_run)
        await self._over.wait()
        loop.remove_reader(self._run)
        await asyncio.gather(*(v.ws.close() for v in self._viewers), return_exceptions=True)
        await runner.cleanup()

    # --- the run ---

    def _from_run(self) -> None:
        for _ in range(64):  # then the viewers have their turn
            try:
                data = self._run.recv(LONGEST_MESSAGE)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._over.set()
                return
            self._heard_at = time.monotonic()
            slot, message = slot_of(data)
            if slot == "log":
                self._log.append(str(message))
            else:
                self._newest[slot] = message
            for viewer in self._viewers:
                viewer.offer(slot, message)

    def _to_run(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(BlockingIOError, OSError):  # a run that does not read is at its end
            self._run.send(json.dumps(message).encode())

    def _tell_looking(self) -> None:
        self._to_run({"looking": sum(viewer.looks for viewer in self._viewers)})

    # --- viewers ---

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if not self._access.host_is_ours(request.headers.get("Host", "")):
            raise web.HTTPForbidden(text="this page is not served under that name")
        response: web.StreamResponse = await handler(request)
        if not response.prepared:
            response.headers.update(_HEADERS)
        return response

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info.get("name", "index.html")
        file = resources.files("x2c_edge.monitor") / "page" / name
        if not file.is_file():
            raise web.HTTPNotFound
        return web.Response(
            body=file.read_bytes(), content_type=_TYPES[name.rpartition(".")[2]], charset="utf-8"
        )

    async def _head_bin(self, request: web.Request) -> web.Response:
        if self._head_file is None:
            make = asyncio.to_thread(lambda: gzip.compress(self._head(), 6))
            self._head_file = asyncio.create_task(make)
        body = await asyncio.shield(self._head_file)
        headers = {"Content-Encoding": "gzip"}
        return web.Response(body=body, content_type="application/octet-stream", headers=headers)

    async def _metrics(self, request: web.Request) -> web.Response:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if self._access.role_of(token if scheme == "Bearer" else "") is None:
            raise web.HTTPUnauthorized(text="give the viewers' token: Authorization: Bearer TOKEN\n")
        silence_s = time.monotonic() - self._heard_at
        if silence_s > SILENCE_S:  # better no figures than old ones
            raise web.HTTPServiceUnavailable(text=f"the run has said nothing for {silence_s:.0f} s\n")
        snapshot = json.loads(self._newest.get("snapshot", "{}"))
        return web.Response(
            text=exposition(snapshot), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    async def _live(self, request: web.Request) -> web.StreamResponse:
        host = request.headers.get("Host", "")
        if not self._access.origin_is_ours(request.headers.get("Origin"), host):
            raise web.HTTPForbidden(text="another page may not open this")
        if len(self._viewers) >= MOST_VIEWERS:
            raise web.HTTPServiceUnavailable(text=f"{MOST_VIEWERS} pages are open; close one")
        ws = web.WebSocketResponse(max_msg_size=LONGEST_WORD, compress=False, heartbeat=20.0, timeout=1.0)
        await ws.prepare(request)
        transport = request.transport
        role = await self._introduced(ws)
        if role is None:
            await ws.close(code=4401, message=b"the token is missing or wrong")
            return ws
        self._count += 1
        viewer = Viewer(self._count, role, ws)
        self._viewers.add(viewer)
        viewer.offer("you", json.dumps({"kind": "you", "role": role}))
        for slot, message in self._newest.items():
            viewer.offer(slot, message)
        for line in self._log:
            viewer.offer("log", line)
        self._tell_looking()
        writer = asyncio.create_task(viewer.write())
        reader = asyncio.create_task(self._listen(viewer))
        try:
            await asyncio.wait({writer, reader}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._viewers.discard(viewer)
            # Before anything that could wait: its hold ends now.
            self._to_run({"do": "release", "by": viewer.name})
            self._tell_looking()
            viewer.ended = True
            if transport is not None:
                transport.abort()  # a viewer that takes nothing would not take a goodbye either
            for task in (writer, reader):
                task.cancel()
            await asyncio.wait({writer, reader}, timeout=1.0)
        return ws

    async def _introduced(self, ws: web.WebSocketResponse) -> Role | None:
        with contextlib.suppress(asyncio.TimeoutError, TypeError, ValueError, AttributeError):
            word = json.loads(await ws.receive_str(timeout=STUCK_S))
            token = word.get("token", "")
            return self._access.role_of(token) if isinstance(token, str) else None
        return None

    async def _listen(self, viewer: Viewer) -> None:
        """What a viewer says. Returns, and so ends it, when it closes, talks too much or makes no sense."""
        allowance, last = float(WORDS_PER_S), time.monotonic()
        async for message in viewer.ws:
            now = time.monotonic()
            allowance = min(WORDS_PER_S, allowance + (now - last) * WORDS_PER_S) - 1
            last = now
            if allowance < 0 or message.type != WSMsgType.TEXT:
                return
            try:
                word = json.loads(message.data)
                request = word["do"]
            except (ValueError, TypeError, KeyError, RecursionError):
                return
            if request == "look":
                viewer.looks = bool(word.get("at", True))
                self._tell_looking()
            elif request in _FOR_VIEWERS or (request in _FOR_OPERATORS and viewer.role == "operator"):
                asked = {**word, "by": viewer.name}
                # What was short as it came ("é", for one) may be long as it goes.
                if len(json.dumps(asked)) > LONGEST_WORD:
                    return
                self._to_run(asked)
            else:
                text = f"{str(request)[:20]}: open the operator's address for that"
                viewer.offer("log", json.dumps({"kind": "log", "t": time.time(), "text": text}))
