"""A timeline of a run in Chrome's trace format (open it in Perfetto or about:tracing)."""

from __future__ import annotations

import json
import threading
from collections import deque
from pathlib import Path

from x2c_edge.whole_file import write_whole

SPANS_KEPT = 200_000  # the newest; about 40 minutes at 30 frames/s


class Trace:
    """Named spans per thread, in memory, the oldest dropped first."""

    def __init__(self) -> None:
        self._spans: deque[tuple[str, int, int, str, int | None]] = deque(maxlen=SPANS_KEPT)

    def span(self, name: str, start_ns: int, end_ns: int, frame_seq: int | None = None) -> None:
        """perf_counter_ns times."""
        self._spans.append((name, start_ns, end_ns, threading.current_thread().name, frame_seq))

    def write(self, path: Path) -> None:
        """NotFoundError when that is impossible."""
        spans = list(self._spans)
        threads = {name: i for i, name in enumerate(sorted({span[3] for span in spans}))}
        events: list[dict[str, object]] = [
            {"ph": "M", "name": "thread_name", "pid": 1, "tid": tid, "args": {"name": name}}
            for name, tid in threads.items()
        ]
        for name, start, end, thread, seq in spans:
            event: dict[str, object] = {
                "ph": "X", "name": name, "pid": 1, "tid": threads[thread],
                "ts": start / 1000, "dur": (end - start) / 1000,
            }  # fmt: skip
            if seq is not None:
                event["args"] = {"frame": seq}
            events.append(event)
        write_whole(path, json.dumps({"traceEvents": events}).encode())
