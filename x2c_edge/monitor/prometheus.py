"""A snapshot as Prometheus text."""

from __future__ import annotations

from typing import Any, Final

# Key of the snapshot, metric, type, help, factor.
_METRICS: Final = (
    ("elapsed_s", "uptime_seconds", "counter", "How long the run has been going on.", 1),
    ("frames", "frames_total", "counter", "Frames that vision processed.", 1),
    ("skipped", "frames_skipped_total", "counter", "Frames too old or replaced before vision took them.", 1),
    ("with_face", "frames_with_face_total", "counter", "Frames with a face.", 1),
    ("commands", "commands_total", "counter", "Commands sent.", 1),
    ("misses", "budget_misses_total", "counter", "Frames whose command left later than the budget.", 1),
    ("budget_ms", "budget_seconds", "gauge", "Capture to wire, as configured.", 1e-3),
    ("capture_to_wire_p50_ms", "capture_to_wire_p50_seconds", "gauge", "Median over the run.", 1e-3),
    ("capture_to_wire_p99_ms", "capture_to_wire_p99_seconds", "gauge", "99th percentile over the run.", 1e-3),
    (
        "tick_jitter_p99_ms",
        "tick_jitter_p99_seconds",
        "gauge",
        "How late the tick was, 99th percentile.",
        1e-3,
    ),
    ("vision_fps", "vision_frames_per_second", "gauge", "Over the last second.", 1),
)
_LINK_METRICS: Final = (
    ("sent", "link_sent_total", "Commands written whole."),
    ("dropped", "link_dropped_total", "Commands replaced or not kept."),
    ("errors", "link_errors_total", "Failures of any kind."),
)


def exposition(snapshot: dict[str, Any]) -> str:
    """The text of ``/metrics``; ``x2c_edge_up`` alone before the first snapshot."""
    lines = ["# HELP x2c_edge_up The page server answers.", "# TYPE x2c_edge_up gauge", "x2c_edge_up 1"]
    for key, name, kind, text, factor in _METRICS:
        if key in snapshot:
            lines += [*_head(name, kind, text), f"x2c_edge_{name} {snapshot[key] * factor:.9g}"]
    if "state" in snapshot:
        lines += _head("state", "gauge", "1 for the state that the robot is in.")
        lines.append(f'x2c_edge_state{{state="{_label(snapshot["state"])}"}} 1')
        lines += _head("gear", "gauge", "1 for the gear in use.")
        lines.append(f'x2c_edge_gear{{gear="{_label(snapshot["gear"])}"}} 1')
    links = snapshot.get("links", [])
    if links:
        lines += _head("link_up", "gauge", "1 while commands leave.")
        lines += [f'x2c_edge_link_up{{link="{_label(x["uri"])}"}} {int(x["state"] == "up")}' for x in links]
    for key, name, text in _LINK_METRICS:
        if links:
            lines += _head(name, "counter", text)
            lines += [f'x2c_edge_{name}{{link="{_label(x["uri"])}"}} {x[key]}' for x in links]
    return "\n".join(lines) + "\n"


def _head(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP x2c_edge_{name} {text}", f"# TYPE x2c_edge_{name} {kind}"]


def _label(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
