"""What charts have around and between their marks: frames, headings, legends, names of columns and of points."""

import math
from collections.abc import Iterator, Sequence

from benchmarks.report import svg
from benchmarks.report.svg import COLORS, FAINT, LETTER, LINE, WIDTH, Scale

# How far a name may be from its point.
_FARTHEST = 60
Place = tuple[float, float]
# Left, right, top, bottom.
_Box = tuple[float, float, float, float]


def color(place: int) -> str:
    """The colour of the series or group of that number; after seven they come again."""
    return COLORS[place % len(COLORS)]


def dash(place: int) -> str:
    """The dashes of the series of that number, which tell those of one colour apart."""
    return ("", "5 3", "1.5 2.5", "8 3 2 3")[place // len(COLORS) % 4]


def column(names: Sequence[str]) -> float:
    """How wide a column of names is: as wide as the widest, and less than half of the chart."""
    return min(max(map(svg.text_width, names)), 0.42 * WIDTH)


def by_group(groups: Sequence[str]) -> list[int]:
    """The places of items in the order in which they are shown: those of a group together, nameless ones first."""
    order = {name: place for place, name in enumerate(dict.fromkeys(["", *groups]))}
    return sorted(range(len(groups)), key=lambda place: order[groups[place]])


def headings(groups: Sequence[str]) -> Iterator[str | None]:
    """The name of a group where it begins, None elsewhere and for a group without a name."""
    before: str | None = None
    for group in groups:
        yield group if group and group != before else None
        before = group


def below(scale: Scale, axis: str, y: float) -> str:
    """Grid lines from the top to ``y``, ticks and the name of the axis below."""
    ticks = scale.labelled(wide=True)
    body = "".join(svg.rule(at, 0, at, y, width=0.5) for at in _between(scale, ticks))
    for value, text in ticks:
        at, half = scale.place(value), svg.text_width(text) / 2
        body += svg.rule(at, 0, at, y)
        body += svg.label(min(max(at, half), WIDTH - half), y + 15, text, anchor="middle", color=FAINT)
    return body + svg.label(WIDTH, y + 32, axis, room=WIDTH, anchor="end", color=FAINT)


def _between(scale: Scale, ticks: Sequence[tuple[float, str]]) -> list[float]:
    """The places half way between ticks that are far enough apart, and beyond the outer ones, for thin lines."""
    if scale.log or len(ticks) < 2:
        return []
    places = [scale.place(value) for value, _ in ticks]
    half = (places[1] - places[0]) / 2
    low, high = sorted((scale.start, scale.end))
    found = [places[0] - half, *(place + half for place in places)]
    return [place for place in found if low <= place <= high] if abs(half) >= 10 else []


def left_of(down: Scale) -> float:
    """How wide the ticks of a vertical axis are, with the gap to the frame."""
    return max((svg.text_width(text) for _, text in down.labelled(wide=False)), default=0.0) + 8


def frame(across: Scale, down: Scale, x_axis: str, y_axis: str) -> str:
    """Grid lines, ticks and both names: the vertical one at the top, where it needs no turning."""
    body = svg.label(0, 12, f"{y_axis} ↑", room=WIDTH, color=FAINT)
    rows, columns = down.labelled(wide=False), across.labelled(wide=True)
    body += "".join(svg.rule(across.start, at, across.end, at, width=0.5) for at in _between(down, rows))
    body += "".join(svg.rule(at, down.end, at, down.start, width=0.5) for at in _between(across, columns))
    for value, text in rows:
        at = down.place(value)
        body += svg.rule(across.start, at, across.end, at)
        body += svg.label(across.start - 6, at + 4, text, anchor="end", color=FAINT)
    for value, text in columns:
        at, half = across.place(value), svg.text_width(text) / 2
        body += svg.rule(at, down.end, at, down.start)
        body += svg.label(min(max(at, half), WIDTH - half), down.start + 16, text, anchor="middle", color=FAINT)
    return body + svg.label(WIDTH, down.start + 33, f"{x_axis} →", room=WIDTH, anchor="end", color=FAINT)


def legend(names: Sequence[str], *, y: float, lines: bool = False, colors: Sequence[str] = ()) -> tuple[str, float]:
    """Names with the mark of their series, in lines below each other, and where the last of them ends.

    Parameters
    ----------
    lines
        The marks are lines; else discs, and rings in the second round of colours.
    colors
        Those of the names, where they are not the series'.
    """
    body, x, baseline = "", 0.0, y + LETTER
    for place, name in enumerate(names):
        shown, own = name or "other", colors[place] if colors else color(place)
        wide = 22 + svg.text_width(svg.shortened(shown, WIDTH - 22)) + 12
        if x and x + wide - 12 > WIDTH:
            x, baseline = 0.0, baseline + LINE + 2
        middle = baseline - 4
        if lines:
            body += svg.rule(x, middle, x + 16, middle, color=own, width=2, dash=dash(place))
        else:
            body += svg.dot(x + 8, middle, color=own, filled=bool(colors) or place < len(COLORS))
        body += svg.label(x + 22, baseline, shown, room=WIDTH - 22)
        x += wide
    return body, baseline + 6


def column_names(names: Sequence[str], left: float, wide: float, y: float, *, turned: bool) -> tuple[str, float]:
    """The names below columns ``wide`` units apart, and how deep they reach; ``turned`` where they are wider."""
    if not turned:
        marks = [svg.label(left + wide * (k + 0.5), y + 14, name, anchor="middle") for k, name in enumerate(names)]
        return "".join(marks), 20.0
    # Turned lines are 0.71 of the distance of the columns apart; every second, third, … is named where that is narrow.
    every = math.ceil(1.1 * LETTER / (0.71 * wide))
    marks = [
        svg.label(left + wide * (k + 0.5) + 4, y + 11, name, room=100, anchor="end", turned=-45)
        for k, name in enumerate(names)
        if k % every == 0
    ]
    return "".join(marks), 16 + 0.71 * min(max(map(svg.text_width, names)), 100.0)


def names_beside(points: Sequence[tuple[Place, str]], *, across: Scale, down: Scale, most: int) -> list[str]:
    """A name for each of the first ``most`` points where it covers no point and no earlier name, else an empty string.

    A name that had to be moved up or down has a thin line back to its point.
    """
    taken: list[_Box] = [(x - 5, x + 5, y - 5, y + 5) for (x, y), _ in points]
    found = [""] * len(points)
    moves = sorted(range(-_FARTHEST, _FARTHEST + 1, 3), key=abs)
    for one in range(min(len(points), most)):
        (x, y), name = points[one]
        shown = svg.shortened(name, 0.4 * WIDTH)
        wide = svg.text_width(shown)
        for move, side in ((move, side) for move in moves for side in (1, -1)):
            left = x + 8 if side > 0 else x - 8 - wide
            box = (left, left + wide, y + move - 7, y + move + 7)
            inside = box[0] >= across.start and box[1] <= WIDTH and box[2] >= down.end and box[3] <= down.start
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                back = svg.rule(x, y, x + 7 * side, y + move, color=FAINT, width=0.6) if abs(move) > 6 else ""
                anchor = "start" if side > 0 else "end"
                found[one] = back + svg.label(x + 8 * side, y + move + 4, name, room=0.4 * WIDTH, anchor=anchor)
                break
    return found


def _overlap(a: _Box, b: _Box) -> bool:
    return a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]
