"""On how many images the heads of stored runs disagree: what the power of the next run depends on."""

import numpy as np

from benchmarks.results.images import image_results, whole_cells
from benchmarks.results.read import stored_runs
from benchmarks.results.selection import selected
from benchmarks.scores.significance import is_majority
from featurestore import FeatureStore


def disagreement(store: FeatureStore, *, view: str) -> float | None:
    """The share of images that exactly one of two rows has right, the median over all pairs of the largest table.

    Of cross-validation over ``view`` by one label an image; None where no such run with two rows is stored.
    """
    if not any(run["protocol"] == "cv" and run["view"] == view for run in stored_runs(store)):
        return None
    tables = [run for run in selected(store, protocols=["cv"]) if (run["view"], run["task"]) == (view, "multiclass")]
    shares: list[float] = []
    for run in sorted(tables, key=lambda run: -len(run["cells"]))[:1]:
        images = image_results(store, run, whole_cells(store, run))
        rows = [] if images is None else [one for row, one in images.correct.items() if not is_majority(row)]
        for place, first in enumerate(rows):
            # Seeds that disagree among themselves count in parts.
            shares += [float(np.nanmean(np.abs(first - second))) for second in rows[place + 1 :]]
    return float(np.median(shares)) if shares else None
