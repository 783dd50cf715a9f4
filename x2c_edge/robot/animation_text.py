"""The text form of animations, one a file.

    # Comments start with "#".
    name: a smile
    tags: joy, symmetric

    [Lip Corner Raise]                    a control, or a name without its side for both sides
    0.0   n       bezier                  seconds, value, how to go on; bezier is the default
    0.4   n+0.35  bezier 0.1 0 0.2 0      handles: out_dt out_dv in_dt in_dv (see animation.KeyFrame)
    1.2   0.80    linear                  a plain number is in paper units,
    1.5   n                               n is the control's neutral, n+0.35 or n-0.2 an offset from it

"bezier", "linear" and "hold" say how the control goes on to the next key frame.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from x2c_edge.controls import CONTROLS, INDEX, NAMES, NEUTRAL
from x2c_edge.errors import BadArgumentError, NotFoundError, nearest
from x2c_edge.robot.animation import INTERPOLATIONS, Animation, KeyFrame, track_problem

LIBRARY: Final = Path(__file__).parent / "animations"
# "Brow Inner" stands for "Brow Inner Left" and "Brow Inner Right".
PAIRS: Final[dict[str, tuple[int, int]]] = {
    name[:-5]: (INDEX[name], INDEX[name[:-5] + " Right"]) for name in NAMES if name.endswith(" Left")
}


def library() -> list[Animation]:
    """The hand-made animations, by file name."""
    return [load(path) for path in sorted(LIBRARY.glob("*.txt"))]


def load(path: str | Path) -> Animation:
    """Read one file. ``NotFoundError`` when it cannot be read, ``BadArgumentError`` with file:line."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise NotFoundError(f"{path}: {error.strerror}; give an animation's text file") from error
    except UnicodeDecodeError as error:
        raise BadArgumentError(f"{path}: not UTF-8 text; give an animation's text file") from error
    return parse(text, str(path))


def parse(text: str, file: str) -> Animation:
    """The animation in ``text``. ``BadArgumentError`` names ``file``, the line, and what to do."""
    header: dict[str, str] = {}
    tracks: dict[int, list[KeyFrame]] = {}
    lines: dict[int, list[int]] = {}
    current: tuple[int, ...] = ()
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.split("#", 1)[0].strip()
        where = f"{file}:{number}"
        if not line:
            continue
        if line.startswith("["):
            current = _track(line, where)
            for index in current:
                if index in tracks:
                    raise BadArgumentError(f"{where}: {NAMES[index]} has a track already; join the two")
                tracks[index], lines[index] = [], [number]
        elif current:
            for index in current:
                tracks[index].append(_key(line, index, where))
                lines[index].append(number)
        else:
            field, colon, content = line.partition(":")
            if not colon or field not in ("name", "tags") or field in header:
                raise BadArgumentError(
                    f"{where}: {line!r}; expected name:, tags: (each once) or a [control] before key frames"
                )
            header[field] = content.strip()
    if not header.get("name"):
        raise BadArgumentError(f"{file}:1: the animation has no name; begin with 'name: ...'")
    for index, keys in tracks.items():
        problem = track_problem(index, tuple(keys))
        if problem:
            line_numbers = lines[index]
            at = line_numbers[min(problem[0] + 1, len(line_numbers) - 1)]
            raise BadArgumentError(f"{file}:{at}: {CONTROLS[index].name}: {problem[1]}")
    tags = tuple(tag.strip() for tag in header.get("tags", "").split(",") if tag.strip())
    return Animation(header["name"], tags, {index: tuple(keys) for index, keys in tracks.items()})


def format_animation(animation: Animation) -> str:
    """Text that ``parse`` reads back as the same animation, numbers to the last bit.

    ``BadArgumentError`` for a name or tag that the text form cannot hold.
    """
    for word in (animation.name, *animation.tags):
        if not word or word != " ".join(word.split()) or "#" in word:
            raise BadArgumentError(
                f"animation {animation.name!r}: {word!r} cannot be written; use plain words"
            )
    if any("," in tag for tag in animation.tags):
        raise BadArgumentError(f"animation {animation.name!r}: a tag has a comma; make it two tags")
    out = [f"name: {animation.name}"]
    if animation.tags:
        out.append("tags: " + ", ".join(animation.tags))
    for index, keys in animation.tracks.items():
        out += ["", f"[{NAMES[index]}]"]
        for key in keys:
            handles = "".join(f" {number!r}" for number in map(float, key.handles or ()))
            out.append(f"{float(key.time)!r} {float(key.value)!r} {key.interpolation}{handles}")
    return "\n".join(out) + "\n"


def _track(line: str, where: str) -> tuple[int, ...]:
    name = " ".join(line.strip("[]").split())
    if not line.endswith("]"):
        raise BadArgumentError(f"{where}: {line!r} does not end with ]; write [{name or 'Jaw Pitch'}]")
    if name in INDEX:
        return (INDEX[name],)
    if name in PAIRS:
        return PAIRS[name]
    raise BadArgumentError(
        f"{where}: unknown control {name!r}{nearest(name, [*NAMES, *PAIRS])}; controls.py has all 30"
    )


def _key(line: str, index: int, where: str) -> KeyFrame:
    words = line.split()
    if len(words) < 2:
        raise BadArgumentError(f"{where}: {line!r}; expected: time value interpolation [handles]")
    interpolation = words[2] if len(words) > 2 else "bezier"
    if interpolation not in INTERPOLATIONS:
        raise BadArgumentError(
            f"{where}: unknown interpolation {interpolation!r}{nearest(interpolation, INTERPOLATIONS)}; "
            f"give one of {', '.join(INTERPOLATIONS)}"
        )
    handles = [_number(word, where) for word in words[3:]]
    if handles and (interpolation != "bezier" or len(handles) != 4):
        raise BadArgumentError(
            f"{where}: {len(handles)} handle numbers; give bezier four (out_dt out_dv in_dt in_dv) or none"
        )
    time, value = _number(words[0], where), _value(words[1], index, where)
    if not handles:
        return KeyFrame(time, value, interpolation)
    return KeyFrame(time, value, interpolation, (handles[0], handles[1], handles[2], handles[3]))


def _value(word: str, index: int, where: str) -> float:
    if word == "n":
        return float(NEUTRAL[index])
    if word[:2] in ("n+", "n-"):
        return float(NEUTRAL[index]) + _number(word[1:], where)
    return _number(word, where)


def _number(word: str, where: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise BadArgumentError(f"{where}: {word!r} is not a number; write it like 0.25") from None
