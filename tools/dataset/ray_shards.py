"""Shards made by the machines of a Ray cluster; the only file that knows Ray.

Every machine needs this repository with its kernels built, at the same version, on its Python path.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

from x2c_edge.errors import NotFoundError

if TYPE_CHECKING:
    from tools.dataset.make_dataset import Made, Settings

AHEAD = 2  # shards in work for each core of the cluster


def on_ray(settings: Settings, todo: list[int], address: str) -> Iterator[Made]:
    """Shards as they get ready. ``NotFoundError`` without Ray or without a cluster at ``address``."""
    try:
        import ray
    except ImportError as error:
        raise NotFoundError("--ray: Ray is not installed; pip install ray, or leave --ray out") from error
    from tools.dataset.make_dataset import made

    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or (str(error) or type(error).__name__).splitlines()[0]
        raise NotFoundError(f"--ray {address}: no cluster ({reason}); start one: ray start --head") from error
    try:
        work = ray.remote(num_cpus=1)(made)
        ahead = max(int(ray.cluster_resources().get("CPU", 1)) * AHEAD, 1)
        waiting = iter(todo)
        running = [work.remote(settings, index) for _, index in zip(range(ahead), waiting, strict=False)]
        while running:
            ready, running = ray.wait(running)
            running += [work.remote(settings, index) for _, index in zip(ready, waiting, strict=False)]
            for reference in ready:
                yield ray.get(reference)
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """OSError at once where nobody listens; Ray itself would try for more than a minute."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
