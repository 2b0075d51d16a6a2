"""What a comparison is to do, whatever its data, and how it is carried out with its results in a store."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.api.arguments import text, whole
from benchmarks.api.shown import shown
from benchmarks.heads.base import HeadSpec
from benchmarks.plan.dataset import EmbeddingDataset
from benchmarks.plan.groups import Grouping
from benchmarks.plan.prompts import Prompting
from benchmarks.plan.protocols import Protocol
from benchmarks.results.compared import known_metric
from benchmarks.run.limits import Limits
from benchmarks.run.runner import run_datasets
from featurestore import FeatureStore


@dataclass(frozen=True)
class Asked:
    """The checked arguments of `compare` that say nothing of the data."""

    heads: Sequence[HeadSpec]
    protocol: Protocol
    grouping: Grouping
    seed: int
    seeds: int
    reference: str | None
    rank_by: str | None
    limits: Limits
    prompting: Prompting
    quick: bool
    progress: bool

    def __post_init__(self) -> None:
        """Raise `InputError` for what is no number of seeds, no name of a row or no metric."""
        whole(self.seeds, "seeds", least=1)
        text(self.reference, "reference")
        text(self.rank_by, "rank_by")
        known_metric(self.rank_by)

    def run(self, store: FeatureStore, datasets: Sequence[EmbeddingDataset]) -> str:
        """Run it with its results in ``store``; the id of the run.

        Raises
        ------
        InputError
            When the labels, the metric, the protocol or the reference don't fit each other.
        """
        known_metric(self.rank_by, tasks=[datasets[0].task])
        with shown(self.progress) as (on_progress, on_cost):
            (report,) = run_datasets(
                store,
                datasets,
                heads=self.heads,
                protocols=[self.protocol],
                seed=self.seed,
                seeds=self.seeds,
                reference=self.reference,
                prompting=self.prompting,
                cost=not self.quick,
                limits=self.limits,
                on_progress=on_progress,
                on_cost=on_cost,
            )
        return report.run_id
