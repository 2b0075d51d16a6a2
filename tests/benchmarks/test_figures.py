"""Figures of a section: any number of rows, one axis for all backbones, names that lie apart, colours that are seen."""

import re
from importlib.resources import files
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.report import svg
from benchmarks.report.figures import figures
from benchmarks.report.matrices import DEEPER, FAINTEST
from benchmarks.results.breakdown import RowPredictions

NAMES = ["Adventure", "Comedy", "Drama"]


def rows(count: int, *, backbones: int = 1, **more: Any) -> list[dict[str, Any]]:
    """Rows of a comparison table with long names."""
    return [
        {
            "backbone": f"mobilenet_v{place % backbones}+descriptors of the whole poster",
            "head": f"a_head_with_a_long_name_{place // backbones}",
            "published": False,
            "in_best_set": place < 3,
            "log_loss_in_best_set": False,
            "accuracy": 0.6 - 0.001 * (place // 3),
            "interval": [0.5, 0.7],
            "difference": -0.001 * place,
            "difference_interval": None if place == 1 else [-0.1, 0.02],
            "reference": place == 1,
            "fit_seconds": 1.0 + 0.01 * (place // 3),
            "n_train": 100 + place,
            "size": 1.0,
        }
        | more
        for place in range(count)
    ]


def predictions() -> RowPredictions:
    y = np.arange(60) % len(NAMES)
    proba = np.random.default_rng(0).random((60, len(NAMES)), dtype=np.float32) + np.eye(len(NAMES))[y]
    return RowPredictions(np.arange(60, dtype=np.int32), y, (proba / proba.sum(axis=1, keepdims=True)).astype("f4"))


def drawn(table: list[dict[str, Any]], protocol: str = "cv", **more: Any) -> dict[str, dict[str, Any]]:
    run = {"task": "multiclass", "classes": NAMES}
    predicted = {(row["backbone"], row["head"]): predictions() for row in table}
    found = figures(run, {"protocol": protocol, "rows": table}, predicted, floor=0.44, metric="accuracy", **more)
    return {one["title"]: one for one in found}


@pytest.mark.parametrize("count", [1, 3, 40, 150])
def test_all_figures_of_any_number_of_rows(count: int) -> None:
    found = drawn(rows(count, backbones=min(count, 5)), prefix="0-")
    assert [len(one["panels"]) for one in found.values()] == [1, 1, 1, 1, 3, min(count, 3), min(count, 3)]
    for one in found.values():
        for panel in one["panels"]:
            ElementTree.fromstring(panel)
    assert len(found["Confusion"]["cells"]) == min(count, 3) * len(NAMES) ** 2


def test_all_backbones_are_on_one_axis() -> None:
    found = drawn(rows(12, backbones=4))
    for title, named in (("Accuracy with intervals", "accuracy"), ("Differences from the reference", "accuracy")):
        (panel,) = found[title]["panels"]
        assert len(re.findall(r'y="[\d.]+" style="[^"]*">(?:<title>[^<]*</title>)?mobilenet_v', panel)) == 4, "headings"
        assert panel.count("<circle") == 12
        assert f'aria-label="{named}"' in panel
    assert "a_head_with_a_long_name_0 (R): difference" in found["Differences from the reference"]["panels"][0]
    (cost,) = found["Score against cost"]["panels"]
    assert cost.count("<circle") == 12 + 4, "with the legend"


def test_the_majority_is_a_line_where_there_are_others() -> None:
    table = [*rows(3), *rows(1, head="majority", accuracy=0.44)]
    (panel,) = drawn(table)["Accuracy with intervals"]["panels"]
    assert "majority" not in panel
    assert "<title>0.440</title>" in panel
    (alone,) = drawn(rows(1, head="majority", accuracy=0.44))["Accuracy with intervals"]["panels"]
    assert "<title>majority: " in alone


def test_of_many_rows_those_are_named_that_no_cheaper_one_is_as_good_as() -> None:
    table = rows(30)
    table[17] |= {"head": "cheap", "fit_seconds": 0.01, "accuracy": 0.5}
    table[20] |= {"head": "best", "fit_seconds": 5.0, "accuracy": 0.9}
    figure = drawn(table)["Score against cost"]
    shown = re.findall(r"<text [^>]*>(?:<title>.*?</title>)?(cheap|best|a_head[^<]*)</text>", figure["panels"][0])
    assert {"cheap", "best"} <= set(shown)
    assert len(shown) == 3
    assert "Named are the rows" in figure["caption"]
    assert figure["panels"][0].count(": seconds of one fit on one thread ") == 30, "all on hover"


def test_learning_curves_share_their_axis() -> None:
    table = [
        row | {"size": size, "n_train": int(100 * size), "accuracy": row["accuracy"] * size**0.1 - place / 10}
        for place, row in enumerate(rows(2, backbones=2))
        for size in (0.1, 0.5, 1.0)
    ]
    panels = drawn(table, "learning-curve")["Score by number of training rows"]["panels"]
    ticks = [re.findall(r'text-anchor="end"[^>]*>([\d.]+)<', panel) for panel in panels]
    assert len(panels) == 2
    assert ticks[0] == ticks[1] != []


def schemes() -> dict[str, dict[str, str]]:
    """The colours of the page by name, light and dark."""
    text = files("benchmarks").joinpath("report/templates/report.css").read_text("utf-8")
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]+);", part)) for part in re.findall(r":root {(.*?)}", text, re.DOTALL)
    )
    return {"light": light, "dark": dark}


def luminance(color: np.ndarray[Any, Any]) -> float:
    linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def rgb(color: str) -> np.ndarray[Any, Any]:
    digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
    return np.array([int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4)])


def contrast(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """As WCAG 2.2 defines it."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_letters_and_marks_can_be_seen(scheme: str) -> None:
    """Contrast 4.5 for letters and 3 for marks, as WCAG 2.2 asks in 1.4.3 and 1.4.11."""
    colors = {name: rgb(color) for name, color in schemes()[scheme].items()}
    assert schemes()["light"].keys() == schemes()["dark"].keys()
    for name in ("ink", "faint", "link"):
        for ground in ("paper", "wash"):
            assert contrast(colors[name], colors[ground]) >= 4.5, (name, ground)
    assert contrast(colors["ink"], colors["alarm-wash"]) >= 4.5
    for place in range(1, len(svg.COLORS) + 1):
        assert contrast(colors[f"c{place}"], colors["paper"]) >= 3, place
    for depth in (FAINTEST, FAINTEST + DEEPER):
        cell = depth * colors["heat"] + (1 - depth) * colors["paper"]
        assert contrast(colors["ink"], cell) >= 4.5, depth


def test_a_chart_alone_has_the_colours_of_the_page() -> None:
    light = schemes()["light"]
    for place, color in enumerate(svg.COLORS[:-1], 1):
        assert color.lower() == f"var(--c{place},{light[f'c{place}']})"
    assert svg.HEAT.lower() == f"var(--heat,{light['heat']})"
