"""Charts by hand: well-formed and escaped, equal bytes, nothing outside the frame, no two texts on one place."""

import math
import re
import subprocess
import sys
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.report import charts, matrices, planes, svg
from benchmarks.report.charts import Bar, Interval
from benchmarks.report.planes import Layer, Point, Series

LONG = "a name of more than sixty letters, as a path or a sentence in a table may have one"
EVIL = "</text><script>alert(1)</script>\" onload='x' & \x00\x1b[31m\u202e\ud800"
NAMES = ["mlp", "ridge", EVIL, LONG, "映画のポスター" * 8, "", "i" * 60, "W" * 60]
NAN = math.nan
SPACE = "{http://www.w3.org/2000/svg}"


def several(names: list[str]) -> dict[str, Callable[[], str]]:
    """Each chart with those names everywhere."""
    count = len(names)
    ramp = np.linspace(0.1, 0.9, count)
    square = np.outer(ramp, ramp)
    groups = [names[k // 2] for k in range(count)]
    rows = [
        Interval(n, v, v - 0.05, v + 0.1, k % 2 == 0, groups[k])
        for k, (n, v) in enumerate(zip(names, ramp, strict=True))
    ]
    lines = [
        Series(n, np.arange(9), np.arange(9) * v, np.arange(9) * v - 0.1, np.arange(9) * v + 0.1)
        for n, v in zip(names, ramp, strict=True)
    ]
    near = [Point(n, 1.0 + v / 50, 0.5, group) for n, v, group in zip(names, ramp, groups, strict=True)]
    cells = {(row, column): f"{names[row]}-{column}" for row, column in np.ndindex(count, count)}
    layers = [Layer(n, ramp, ramp * k, svg.COLORS[k % 7]) for k, n in enumerate(names)]
    two = {"row_axis": names[-1], "column_axis": names[-1], "title": names[0], "form": ".2f"}
    ends = {"x_axis": names[0], "y_axis": names[-1], "title": names[0]}
    return {
        "intervals": lambda: charts.intervals(rows, title=names[0], axis=names[-1], line=0.44),
        "bars": lambda: charts.bars(
            [Bar(n, v, n, group) for n, v, group in zip(names, ramp, groups, strict=True)],
            title=names[0],
            axis=names[-1],
        ),
        "curves": lambda: planes.curves(lines, **ends, diagonal=True),
        "points": lambda: planes.points(near, **ends, log_x=True),
        "matrix": lambda: matrices.matrix(square, rows=names, columns=names, keys=cells, **two),
        "dots": lambda: charts.dots(names, dict.fromkeys(names, ramp.tolist()), title=names[0], axis=names[-1]),
        "cloud": lambda: planes.cloud(layers, **ends, key=names[0]),
    }


def texts(chart: str) -> list[tuple[str, float, float, float, float]]:
    """Every level text with its box: left, right, top, bottom in the coordinates of the body or of the title."""
    root = ElementTree.fromstring(chart)
    (body,) = root.findall(f"{SPACE}g")
    down = float(re.findall(r"[\d.]+", body.get("transform", ""))[1])
    found = []
    for part, moved in ((root.findall(f"{SPACE}text"), 0.0), (body.iter(f"{SPACE}text"), down)):
        for text in part:
            shown = "".join(text.itertext()) if len(text) == 0 else text[0].tail or ""
            wide, x, y = svg.text_width(shown), float(text.get("x", "")), float(text.get("y", "")) + moved
            left = x - {"end": wide, "middle": wide / 2}.get(text.get("text-anchor", ""), 0.0)
            if "rotate" not in text.get("transform", "") and shown:
                found.append((shown, left, left + wide, y - 9, y + 2))
    return found


def inside_and_apart(chart: str) -> None:
    height = float(re.search(r'viewBox="0 0 376 ([\d.]+)"', chart)[1])  # type: ignore[index]
    shown = texts(chart)
    for name, left, right, top, bottom in shown:
        assert left >= -0.1, name
        assert right <= svg.WIDTH + 0.1, name
        assert top >= 0, name
        assert bottom <= height, name
    for place, (name, left, right, top, bottom) in enumerate(shown):
        for other, start, end, above, below in shown[place + 1 :]:
            assert left >= end or start >= right or top >= below or above >= bottom, (name, other)


@pytest.mark.parametrize("kind", ["intervals", "bars", "dots", "curves", "points", "cloud", "matrix"])
@pytest.mark.parametrize("names", [NAMES, NAMES[:1], [f"head_{k}" for k in range(30)], [LONG] * 12], ids=len)
def test_any_names(kind: str, names: list[str]) -> None:
    chart = several(names)[kind]()
    assert chart == several(names)[kind]()
    root = ElementTree.fromstring(chart)
    assert {one.tag.removeprefix(SPACE) for one in root.iter()} <= {
        *("svg", "g", "title", "text", "line", "circle", "rect", "polyline", "polygon", "path")
    }
    allowed = {"style", "fill", "transform", "role", "aria-label", "xmlns", "points", "r", "viewBox", "text-anchor"}
    allowed |= {"x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "width", "height", "stroke-width", "stroke-dasharray"}
    assert {name for one in root.iter() for name in one.attrib} <= allowed | {
        *("fill-opacity", "font-weight", "font-size", "font-family", "stroke-opacity", "stroke-linecap", "d"),
        *("data-cell", "data-columns", "data-map"),
    }
    assert "\x00" not in chart
    assert chart.encode()
    assert "nan" not in re.sub(r"<title>.*?</title>|<text.*?</text>", "", chart)
    inside_and_apart(chart)


def test_what_is_shortened_is_told_whole() -> None:
    chart = charts.bars([Bar(f"{LONG} {LONG}", 0.5)], title="F1", axis="F1")
    assert f"<title>{LONG} {LONG}</title>{LONG[:20]}" in chart
    assert "…" in chart
    assert svg.shortened(LONG, 100).endswith("…")
    assert svg.text_width(svg.shortened(LONG, 100)) <= 100
    assert svg.shortened("short", 100) == "short"


def test_figures_stand_in_the_chart() -> None:
    chart = charts.intervals(
        [Interval("mlp", 0.5931, 0.559, 0.626), Interval("knn", -0.0001, NAN, NAN, filled=False)],
        title="A",
        axis="accuracy",
    )
    assert "<title>mlp: accuracy 0.593, 0.559 to 0.626</title>" in chart
    assert "<title>knn: accuracy 0.000</title>" in chart
    assert [chart.count(mark) for mark in ("<circle", 'stroke-width="1.8"')] == [2, 1]


@pytest.mark.parametrize("value", [NAN, math.inf, -math.inf])
def test_what_is_no_number_is_left_out(value: float) -> None:
    ends = {"title": "T", "x_axis": "x", "y_axis": "y"}
    around = {"rows": ["a"], "columns": ["b"], "title": "T", "form": ".2f", "row_axis": "r", "column_axis": "c"}
    empty = [
        charts.intervals([Interval("a", value, 0, 1)], title="T", axis="x"),
        charts.bars([Bar("a", value)], title="T", axis="x"),
        planes.curves([Series("a", [1.0], [value])], **ends),
        planes.points([Point("a", 1.0, value)], **ends),
        planes.points([Point("a", 0.0, 1.0)], log_x=True, **ends),
        matrices.matrix(np.array([[value]]), **around),
        charts.intervals([], title="T", axis="x"),
        charts.bars([], title="T", axis="x"),
        planes.curves([], **ends),
        planes.cloud([], **ends),
        charts.dots(["a"], {"b": [value]}, title="T", axis="x"),
        planes.points([], **ends),
        matrices.matrix(np.empty((0, 0)), **{**around, "rows": [], "columns": []}),
    ]
    for chart in empty:
        ElementTree.fromstring(chart)
        assert svg.NOTHING in chart
    partly = planes.curves([Series("a", [1, 2, 3], [0.1, value, 0.3], [0, 0, value], [1, 1, 1])], **ends)
    assert partly.count("<circle") == 2
    assert "nan" not in partly


def test_a_matrix_that_is_too_large_says_so() -> None:
    names = [f"class {k}" for k in range(200)]
    chart = matrices.matrix(
        np.zeros((200, 200)), rows=names, columns=names, title="T", form=".2f", row_axis="r", column_axis="c"
    )
    said = " ".join(text for text, *_ in texts(chart))
    assert said == "T 200 rows and 200 columns are too many to show: at most 40 of each."


def test_colours_of_a_matrix_follow_what_is_good() -> None:
    around = {"rows": ["a"], "columns": ["b", "c"], "title": "T", "form": ".1f", "row_axis": "r", "column_axis": "c"}
    for good, expected in ((True, ["0.04", "0.7"]), (False, ["0.7", "0.04"])):
        chart = ElementTree.fromstring(matrices.matrix(np.array([[0.0, 1.0]]), high_is_good=good, **around))
        assert [one.get("fill-opacity") for one in chart.iter(f"{SPACE}rect")] == expected


def test_long_curves_are_thinned() -> None:
    x = np.arange(50_000)
    chart = planes.curves([Series("a", x, x / 7, x / 8, x / 6)], title="T", x_axis="x", y_axis="y")
    assert len(chart) < 14_000
    assert "<circle" not in chart


def test_points_on_one_place_have_names_that_lie_apart() -> None:
    crowd = [Point(f"head_{k}", 1.0, 0.5) for k in range(300)]
    chart = planes.points(crowd, title="T", x_axis="seconds", y_axis="accuracy", log_x=True)
    assert chart.count("<circle") == 300
    assert 10 < sum(name.startswith("head_") for name, *_ in texts(chart)) < 60
    assert chart.count("<title>head_299: ") == 1
    inside_and_apart(chart)


@pytest.mark.parametrize(
    ("low", "high", "log", "expected"),
    [
        (0, 1, False, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0.44, 0.66, False, ["0.45", "0.50", "0.55", "0.60", "0.65"]),
        (-0.03, 0.02, False, ["-0.03", "-0.02", "-0.01", "0.00", "0.01", "0.02"]),
        (0, 50_000, False, ["0", "10,000", "20,000", "30,000", "40,000", "50,000"]),
        (0.02, 90, True, ["0.1", "1", "10"]),
        (1.5, 6, True, ["2", "5"]),
        (1e-300, 1e300, True, ["1e-300", "1e-199", "1e-98", "1000", "1e+104", "1e+205"]),
    ],
)
def test_ticks_are_round(low: float, high: float, log: bool, expected: list[str]) -> None:
    scale = svg.Scale(low, high, 0, 300, log=log)
    assert svg.tick_texts(scale.ticks(), log=log) == expected


@pytest.mark.parametrize("values", [[0.0], [1e308, -1e308], [5e-324], [1e-9, 1e-9 + 1e-24], [-3.0], [1e16, 1e16 + 2]])
@pytest.mark.parametrize("log", [False, True])
def test_scales_of_any_numbers(values: list[float], log: bool) -> None:
    if log and min(values) <= 0:
        values = [abs(value) or 1.0 for value in values]
    scale = svg.spread(values, start=10, end=200, log=log)
    assert all(10 <= scale.place(value) <= 200 for value in values)
    assert all(10 <= scale.place(value) <= 200 for value, _ in scale.labelled(wide=True))


def test_equal_bytes_in_another_process() -> None:
    code = "from test_charts import several, NAMES; print(ascii([draw() for draw in several(NAMES[:3]).values()]))"
    mine = ascii([draw() for draw in several(NAMES[:3]).values()])
    path = [*sys.path, __file__.rpartition("/")[0]]
    other = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {path!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == mine
