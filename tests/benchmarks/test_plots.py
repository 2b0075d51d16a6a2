"""Charts hold any number of rows, classes and letters: a layout that collapses is a warning, and those are errors."""

import re
from typing import Any

import numpy as np
import pytest
from matplotlib.text import Text

from benchmarks.report import plots
from benchmarks.scores.calibration import reliability_curve


def rows(count: int, *, backbones: int = 1) -> list[dict[str, Any]]:
    """Rows of a comparison table with long names, the first of them at the same place in every chart."""
    return [
        {
            "backbone": f"mobilenet_v{place % backbones}+descriptors of the whole poster",
            "head": f"a_head_with_a_long_name_{place}",
            "published": False,
            "in_best_set": place < 3,
            "accuracy": 0.6 - 0.001 * (place // 3),
            "interval": [0.5, 0.7],
            "fit_seconds": 1.0 + 0.01 * (place // 3),
            "n_train": 100 + place,
            "size": 1.0,
        }
        for place in range(count)
    ]


@pytest.mark.parametrize(("count", "classes"), [(1, 2), (3, 4), (2, 18), (40, 1)])
def test_no_chart_collapses(count: int, classes: int) -> None:
    names = [f"Documentary {place}" for place in range(classes)]
    by_row = {f"head {place} · {'backbone ' * 9}": np.full((classes, classes), 3) for place in range(min(count, 3))}
    scores = {name: np.linspace(0, 1, classes) for name in ("precision", "recall", "f1", "support")}
    curve = reliability_curve(np.repeat([0.4, 0.9], 30), np.repeat([False, True], 30))
    backbones = min(count, 4)
    drawn = {
        "intervals": (plots.intervals(rows(count, backbones=backbones), majority=0.44), backbones),
        "cost": (plots.cost(rows(count, backbones=backbones), metric="accuracy"), backbones),
        "classes": (plots.per_class(dict.fromkeys(by_row, scores), names), 3),
        "confusions": (plots.confusions(by_row, names), len(by_row)),
        "calibration": (plots.calibration(dict.fromkeys(by_row, curve)), len(by_row)),
        "curves": (plots.learning_curves(rows(count, backbones=backbones), metric="accuracy"), backbones),
    }
    for name, (panels, expected) in drawn.items():
        assert len(panels) == expected, name
        for panel in panels:
            size = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"|height="([\d.]+)pt"', panel)
            assert panel.startswith("<svg"), name
            assert size, name


def test_names_in_the_cost_chart_lie_apart() -> None:
    figure, axis = plots._panel(3.2)
    axis.set(xlim=(0, 10), ylim=(0, 1))
    figure.draw_without_rendering()
    plots._names(axis, [(5.0, 0.5, "first"), (5.1, 0.5, "second"), (5.2, 0.51, "third"), (5.0, 0.5, "fourth")])
    # Without the line back to the point, which an annotation counts as its own.
    boxes = [Text.get_window_extent(text) for text in axis.texts]
    assert len(boxes) == 4
    assert not any(a.overlaps(b) for place, a in enumerate(boxes) for b in boxes[place + 1 :])
