"""The command line in this process: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest

from x2c_edge import __version__
from x2c_edge.cli.main import main
from x2c_edge.errors import NotFoundError

SIGNALS = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGUSR1, signal.SIGUSR2,
    signal.SIGRTMIN, signal.SIGRTMIN + 1,
)  # fmt: skip


@dataclass
class Outcome:
    code: int
    out: str
    err: str


Edge = Callable[..., Outcome]


@pytest.fixture
def edge(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], pack_folders: Path
) -> Iterator[Edge]:
    """``edge("run", ...)``: the command with these arguments; the pack "small" is installed."""
    monkeypatch.setenv("X2C_EDGE_DEBUG", "")
    monkeypatch.setenv("COLUMNS", "160")
    handlers = {number: signal.getsignal(number) for number in SIGNALS}

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["x2c-edge", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capfd.readouterr()
        return Outcome(end.value.code or 0, out, err)

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)


def one_line(outcome: Outcome) -> str:
    """The only thing that was printed: one line on stderr."""
    assert outcome.out == ""
    assert outcome.err.startswith("x2c-edge: ")
    assert outcome.err.count("\n") == 1
    assert "Traceback" not in outcome.err
    return outcome.err


def test_help_and_version(edge: Edge):
    outcome = edge("--help")
    assert outcome.code == 0
    for command in ("run", "profile", "replay", "packs", "doctor"):
        assert command in outcome.out
    outcome = edge("--version")
    assert (outcome.code, outcome.out) == (0, f"x2c-edge {__version__}\n")


def test_every_option_of_the_contract_is_known(edge: Edge):
    text = edge("run", "--help").out
    for option in (
        "--camera", "--input", "--pack", "--pipeline", "--backend", "--link", "--budget-ms", "--rate",
        "--fast", "--record", "--save-video", "--duration", "--config",
    ):  # fmt: skip
        assert option in text
    text = edge("profile", "--help").out
    for option in ("--frames", "--json", "--trace", "--plot"):
        assert option in text


@pytest.mark.parametrize(
    "arguments",
    [
        ("fly",),
        ("run", "--budgt-ms", "3"),
        ("run", "--rate", "fast"),
        ("run", "--duration", "-1"),
        ("packs", "x"),
    ],
    ids=str,
)
def test_what_cannot_be_parsed_is_code_2(edge: Edge, arguments: tuple[str, ...]):
    outcome = edge(*arguments)
    assert outcome.code == 2
    assert "Traceback" not in outcome.err


def test_a_fast_run_writes_a_line_for_every_command(edge: Edge, face_clip: Path, tmp_path: Path):
    path = tmp_path / "out.jsonl"
    outcome = edge("run", "--input", face_clip, "--fast", "--pack", "small", "--link", f"jsonl:{path}")
    assert outcome.code == 0
    assert outcome.out == ""  # stdout belongs to jsonl:-
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["seq"] for line in lines] == list(range(len(lines)))
    assert lines[-1]["state"] == "STOPPED"
    assert {line["pipeline"] for line in lines} == {None, "single-stage"}


def test_jsonl_to_stdout(edge: Edge, face_clip: Path, reference_file: Path):
    outcome = edge(
        "run", "--input", face_clip, "--fast", "--pack", "small", "--link", "jsonl:-", "--duration", 0.3,
        "--reference", reference_file,
    )  # fmt: skip
    assert outcome.code == 0
    states = [json.loads(line)["state"] for line in outcome.out.splitlines()]
    assert states[0] == "FOLLOWING"
    assert states[-1] == "STOPPED"


def test_settings_come_from_the_file_and_the_command_line(edge: Edge, face_clip: Path, tmp_path: Path):
    config = tmp_path / "robot.toml"
    path = tmp_path / "out.jsonl"
    config.write_text(
        f'[run]\npack = "small"\nrate = 20\nlink = ["jsonl:{path}"]\n'
        "[capture]\ncamera = 5\n[safety]\nease = 0.1\n"
    )
    outcome = edge("run", "--config", config, "--input", face_clip, "--fast", "--duration", 0.5)
    assert outcome.code == 0
    by_frames = len(path.read_text().splitlines())
    outcome = edge(
        "run", "--config", config, "--input", face_clip, "--fast", "--duration", 0.5, "--rate", 120
    )
    assert outcome.code == 0
    assert len(path.read_text().splitlines()) > 1.5 * by_frames


WRONG = {
    "both sources": (2, ["run", "--camera", "0", "--input", "x.mp4"], ["--camera and --input"]),
    "no such file": (3, ["run", "--input", "none.mp4"], ["none.mp4"]),
    "no such camera": (3, ["run", "--camera", "63"], ["/dev/video63"]),
    "no number of a camera": (3, ["run", "--camera", "9" * 5000], ["999"]),
    "no such pack": (3, ["run", "--input", "CLIP", "--pack", "smal"], ["smal", "did you mean 'small'"]),
    "no such pipeline": (2, ["run", "--pipeline", "singel-stage"], ["did you mean 'single-stage'"]),
    "no such backend": (2, ["run", "--backend", "torhc"], ["auto, tensorrt, cpu, torch"]),
    "no such scheme": (2, ["run", "--link", "sreial:///dev/x", "--input", "CLIP"], ["did you mean 'serial'"]),
    "no such port": (3, ["run", "--link", "serial:///dev/ttyNONE", "--input", "CLIP"], ["/dev/ttyNONE"]),
    "no such config": (2, ["run", "--config", "none.toml"], ["none.toml"]),
    "budget out of range": (2, ["run", "--budget-ms", "1"], ["run.budget_ms = 1.0"]),
    "rate out of range": (2, ["run", "--rate", "1000"], ["run.rate = 1000", "120"]),
    "no such reference": (3, ["run", "--input", "CLIP", "--reference", "none.json"], ["none.json"]),
    "unwritable jsonl": (3, ["run", "--input", "CLIP", "--link", "jsonl:/none/a.jsonl"], ["/none/a.jsonl"]),
    "unwritable video": (3, ["run", "--input", "CLIP", "--save-video", "/none/a.mp4"], ["/none/a.mp4"]),
    "no such pack to show": (3, ["packs", "show", "nosuch"], ["nosuch"]),
    "no such pack to verify": (3, ["packs", "verify", "nosuch"], ["nosuch"]),
}  # fmt: skip


@pytest.mark.parametrize(("code", "arguments", "expected"), WRONG.values(), ids=WRONG)
def test_every_mistake_is_one_line_and_its_code(
    edge: Edge,
    face_clip: Path,
    tmp_path: Path,
    monkeypatch,
    code: int,
    arguments: list[str],
    expected: list[str],
):
    monkeypatch.chdir(tmp_path)
    arguments = [str(face_clip) if a == "CLIP" else a for a in arguments]
    if arguments[0] == "run" and "--pack" not in arguments:
        arguments += ["--pack", "small"]
    outcome = edge(*arguments)
    assert outcome.code == code
    line = one_line(outcome)
    for part in expected:
        assert part in line


def test_a_clip_without_a_face_is_code_3(edge: Edge, tmp_path: Path, portrait):
    path = tmp_path / "wall.png"
    cv2.imwrite(str(path), portrait[160:] // 4 + 60)
    outcome = edge("run", "--input", path, "--fast", "--pack", "small")
    assert outcome.code == 3
    assert "no face was found" in outcome.err


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("X2C_EDGE_DEBUG", "")
    monkeypatch.setattr(sys, "argv", ["x2c-edge", "--debug", "packs", "show", str(tmp_path)])
    with pytest.raises(NotFoundError):
        main()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_a_signal_eases_to_neutral(
    edge: Edge, face_clip: Path, reference_file: Path, tmp_path: Path, number: signal.Signals
):
    path, config = tmp_path / "out.jsonl", tmp_path / "quick.toml"
    config.write_text("[safety]\nease = 0.1\n")
    handlers = {signal.SIGINT, signal.SIGTERM}
    before = {n: signal.getsignal(n) for n in handlers}

    def interrupt() -> None:
        # Not before the run has its own handler: the default one would end the tests.
        while signal.getsignal(number) == before[number]:
            if done.wait(0.05):
                return
        done.wait(0.6)
        if not done.is_set():
            os.kill(os.getpid(), number)

    done = threading.Event()
    thread = threading.Thread(target=interrupt)
    thread.start()
    outcome = edge(
        "run", "--input", face_clip, "--pack", "small", "--link", f"jsonl:{path}", "--budget-ms", 1000,
        "--reference", reference_file, "--config", config,
    )  # fmt: skip
    done.set()
    thread.join()
    assert outcome.code == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert max(line["frame_seq"] or 0 for line in lines) < 70  # it did not get to the end
    assert lines[-1]["state"] == "STOPPED"
    assert lines[-1]["controls"] == lines[-2]["controls"]


def test_profile_prints_and_writes_where_the_time_went(edge: Edge, face_clip: Path, tmp_path: Path):
    report, trace, plot = tmp_path / "p.json", tmp_path / "t.json", tmp_path / "p.png"
    outcome = edge(
        "profile", "--input", face_clip, "--fast", "--pack", "small", "--frames", 20, "--json", report,
        "--trace", trace, "--plot", plot,
    )  # fmt: skip
    assert outcome.code == 0
    for stage in ("read", "locate", "crop", "net", "decode", "overhead"):
        assert re.search(rf"^{stage} +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+$", outcome.out, re.MULTILINE)
    assert "dominates" in outcome.out
    assert "20 frames, 20 with a face" in outcome.out
    data = json.loads(report.read_text())
    assert data["frames"] == 20
    assert data["stages"]["net"]["count"] == 21
    assert {"crop", "net", "decode", "frame"} <= {
        e["name"] for e in json.loads(trace.read_text())["traceEvents"] if e["ph"] == "X"
    }
    assert cv2.imread(str(plot)) is not None


def test_a_live_profile_speaks_of_the_budget(edge: Edge, face_clip: Path):
    outcome = edge(
        "profile",
        "--input",
        face_clip,
        "--pack",
        "small",
        "--frames",
        6,
        "--budget-ms",
        900,
        "--link",
        "null:",
    )
    assert outcome.code == 0
    assert "budget 900 ms" in outcome.out
    assert "skipped" in outcome.out


def test_profile_into_a_place_that_cannot_be_written(edge: Edge, face_clip: Path):
    outcome = edge(
        "profile", "--input", face_clip, "--fast", "--pack", "small", "--frames", 3, "--json", "/none/p.json"
    )
    assert outcome.code == 3
    assert "/none/p.json" in outcome.err.splitlines()[-1]


def test_packs_are_listed_and_shown(edge: Edge, small_pack: Path):
    outcome = edge("packs", "list")
    assert outcome.code == 0
    assert re.search(rf"^small +single-stage +{small_pack}$", outcome.out, re.MULTILINE)
    outcome = edge("packs", "show", "small")
    assert outcome.code == 0
    for part in ("small: ", "single-stage", "licence", "32x32 RGB", "mean_r_face_controls", str(small_pack)):
        assert part in outcome.out


def test_a_pack_is_verified(edge: Edge, small_pack: Path):
    outcome = edge("packs", "verify", "small")
    assert outcome.code == 0
    assert "small" in outcome.out
    (small_pack / "single_stage.safetensors").write_bytes(b"changed")
    outcome = edge("packs", "verify", small_pack)
    assert outcome.code == 3
    assert "sha256" in one_line(outcome)


def test_a_broken_pack_does_not_run(edge: Edge, small_pack: Path, face_clip: Path):
    (small_pack / "manifest.toml").write_text("format = 1\n")
    outcome = edge("run", "--input", face_clip, "--fast", "--pack", small_pack)
    assert outcome.code == 3
    assert "manifest.toml" in one_line(outcome)


def test_the_doctor_is_content_with_a_default_pack(edge: Edge, small_pack: Path):
    small_pack.rename(small_pack.with_name("default"))
    outcome = edge("doctor")
    assert outcome.code == 0
    assert "FAIL" not in outcome.out
    assert re.search(r"^ok   default pack", outcome.out, re.MULTILINE)
    assert re.search(r"^ok   torch", outcome.out, re.MULTILINE)


def test_the_doctor_names_the_fix_of_what_is_needed(edge: Edge, small_pack: Path):
    broken = small_pack.with_name("default")
    small_pack.rename(broken)
    (broken / "single_stage.safetensors").unlink()
    outcome = edge("doctor")
    assert outcome.code == 3
    lines = outcome.out.splitlines()
    (at,) = (i for i, line in enumerate(lines) if line.startswith("FAIL default pack"))
    assert lines[at + 1].strip().startswith("fix: ")


def test_frames_that_a_damaged_video_lost_are_counted_on_standard_error(
    edge: Edge, face_clip: Path, reference_file: Path, tmp_path: Path
):
    content = bytearray(face_clip.read_bytes())
    at, length = int(len(content) * 0.4), int(len(content) * 0.2)
    content[at : at + length] = bytes(length)
    damaged = tmp_path / "damaged-12:30.mp4"
    damaged.write_bytes(content)
    outcome = edge(
        "run",
        "--input",
        damaged,
        "--fast",
        "--pack",
        "small",
        "--link",
        "null:",
        "--reference",
        reference_file,
    )
    assert outcome.code == 0
    last = outcome.err.splitlines()[-1]
    assert re.fullmatch(
        rf"{re.escape(str(damaged))}: [1-9]\d* of \d+ frames are missing: truncated or damaged", last
    )


def test_a_run_s_help_tells_the_exit_codes(edge: Edge):
    assert "Exit codes: 0 done" in " ".join(edge("run", "--help").out.split())
