"""The canary: heads on shuffled labels, and whether any of them still knows better than chance."""

from dataclasses import dataclass

from benchmarks.difference import ALPHA, holm
from benchmarks.queries import comparison
from featurestore import FeatureStore


@dataclass(frozen=True)
class Song:
    """What a head scored on shuffled labels; ``p_holm``: that it does so by luck, after Holm's correction."""

    backbone: str
    head: str
    accuracy: float | None
    chance: float
    p_holm: float

    @property
    def leaks(self) -> bool:
        """Whether it is better than chance."""
        return self.p_holm < ALPHA


def watch(store: FeatureStore, run_id: str) -> list[Song]:
    """Each row of a canary run against the rate of the most frequent class (one-sided binomial test).

    Without anything to learn no head can beat that rate, and the test rows of all folds are each predicted once.
    """
    from scipy.stats import binomtest

    run = store.sql("SELECT * FROM bench_runs WHERE run_id = ?", [run_id]).to_pylist()[0]
    chance = max(run["class_counts"]) / run["n_rows"]
    rows = comparison(store, run)
    good = [row for row in rows if row["accuracy"] is not None]
    p_values = [
        float(binomtest(round(row["accuracy_pooled"] * row["n_test"]), row["n_test"], chance, "greater").pvalue)
        for row in good
    ]
    adjusted = {id(row): p for row, p in zip(good, holm(p_values), strict=True)}
    return [
        Song(row["backbone"], row["head"], row["accuracy"], chance, adjusted.get(id(row), float("nan"))) for row in rows
    ]
