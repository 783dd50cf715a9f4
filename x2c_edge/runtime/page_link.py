"""The run's end of its page."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace

from x2c_edge.errors import NotFoundError
from x2c_edge.monitor.access import TOKEN_VARIABLE, Access, listen, parse
from x2c_edge.runtime.server_link import ServerLink, Word


class PageLink(ServerLink):
    """on_word: called with what viewers ask. looking: how many pages are open and in view."""

    def __init__(self, address: str, on_word: Callable[[Word], None]) -> None:
        """NotFoundError when the address is taken or aiohttp is missing; BadArgumentError for nonsense."""
        if importlib.util.find_spec("aiohttp") is None:
            raise NotFoundError("--monitor needs aiohttp; run: pip install 'x2c-edge[monitor]'")
        access = parse(address)
        self._listener = listen("--monitor", access.host, access.port)
        self.access: Access = replace(access, port=self._listener.getsockname()[1])
        self.looking = 0
        self._ask = on_word
        super().__init__("page-in", self._heard)

    def close(self) -> None:
        super().close()
        self._listener.close()

    def _module(self) -> tuple[str, tuple[object, ...]]:
        arguments = self._listener.fileno(), self.access.host, self.access.port
        return "x2c_edge.runtime.page_server", arguments

    def _inherits(self) -> tuple[tuple[int, ...], dict[str, str]]:
        return (self._listener.fileno(),), {TOKEN_VARIABLE: self.access.token}

    def _heard(self, word: Word) -> None:
        if "looking" in word:
            self.looking = int(word["looking"])
        else:
            self._ask(word)

    def _ended(self) -> None:
        self.looking = 0
        self._ask({"do": "release", "by": ""})  # every page's hold ended with its server
