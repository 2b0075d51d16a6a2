"""What `compare` returns: a table of heads over backbones to read, to compute with and to show in a notebook."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.api.arguments import store_of
from benchmarks.api.drawing import Drawing, drawn, interval_of
from benchmarks.api.kept import InStore, Kept
from benchmarks.api.notebook import comparison_html
from benchmarks.report.page import html as report_html
from benchmarks.report.tables import tables, tables_as_text
from benchmarks.results.compared import compared
from benchmarks.results.images import groups_of
from benchmarks.results.read import predictions
from benchmarks.results.selection import selected
from benchmarks.scores.metrics import TASKS
from benchmarks.scores.significance import is_majority
from featurestore import FeatureStore
from featurestore.errors import InputError
from featurestore.files import refuse_target, write_atomic

if TYPE_CHECKING:
    import pandas as pd

# What a row says of its difference from the reference, in the order in which a reader wants it.
DIFFERENCES = (
    *("difference", "low", "high", "p_value", "verdict", "rank", "in_best_set"),
    *("log_loss_difference", "log_loss_low", "log_loss_high", "log_loss_p_value", "log_loss_verdict"),
)


@dataclass(frozen=True)
class BestRow:
    """The first row of a table; ``best_set`` names the rows that no other is significantly better than."""

    backbone: str
    head: str
    metric: str
    score: float
    interval: tuple[float, float] | None
    best_set: tuple[str, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Heads over backbones on the same splits, with what is significant; printed, it is the table of `benchmarks run`.

    Parameters
    ----------
    table
        The table as `benchmarks table --format json` has it.
    kept
        Where its results are.
    run_id
        The run that it shows alone; None where it shows all that is stored over the same folds.
    """

    table: dict[str, Any]
    kept: Kept
    run_id: str | None = None

    @classmethod
    def load(cls, store: Any, run: str | None = None, *, rank_by: str | None = None) -> "Comparison":
        """The comparison that a run in ``store`` made: a path, or an open store.

        Parameters
        ----------
        run
            The id of a run, or how it begins (`benchmarks runs` lists them): that run alone. When None, the newest
            table: all results that are stored over the folds of the newest run.
        rank_by
            The metric that rows are ranked and compared by; the first one of the task when None.

        Raises
        ------
        InputError
            When the store holds no such run, or its task has no such metric.
        """
        opened = store_of(store)
        protocols = [] if run is not None else [selected(opened)[0]["protocol"]]
        return cls(tables(opened, protocols=protocols, run_id=run, rank_by=rank_by)[0], InStore(opened), run)

    @property
    def metric(self) -> str:
        """The metric that ranks the rows."""
        return str(self.table["rank_by"])

    @property
    def best(self) -> BestRow:
        """The first row that learned something, and the set of best rows.

        Raises
        ------
        InputError
            When no head has a result.
        """
        rows = [row for row in self._whole if not is_majority((row["backbone"], row["head"]))]
        if not rows:
            reasons = [row["failure"] for row in self.table["rows"] if row["failure"]]
            raise InputError(f"no head has a result{f': {reasons[0]}' if reasons else ''}")
        first = rows[0]
        among = [_name(row) for row in rows if row.get("in_best_set")]
        return BestRow(
            first["backbone"],
            first["head"],
            self.metric,
            first[self.metric],
            interval_of(first, self.metric),
            tuple(among or [_name(first)]),
        )

    def to_pandas(self) -> "pd.DataFrame":
        """The table, best row first; ``low`` and ``high`` are the ends of the 95 % interval of the accuracy."""
        import pandas as pd

        rows = []
        for row in self.table["rows"]:
            ends = row.get("interval") or (None, None)
            own = {name: value for name, value in row.items() if name not in ("backbone", "head", "interval")}
            scores = {name: own.pop(name) for name in TASKS[self.table["task"]] if name in own}
            rows.append(
                {"backbone": row["backbone"], "head": row["head"], **scores, "low": ends[0], "high": ends[1], **own}
            )
        return pd.DataFrame(rows)

    def differences(self, reference: str | None = None) -> "pd.DataFrame":
        """Each row against ``reference``, whose name is ``attrs["reference"]`` of the frame.

        ``low`` and ``high`` are the ends of 95 % intervals that hold for all pairs of rows together: whichever
        reference is named, each difference has the same interval and verdict.

        Parameters
        ----------
        reference
            ``backbone/head``; that of the table when None.

        Raises
        ------
        InputError
            When no row of that name has a result.
        """
        import pandas as pd

        own, rows = self.table["reference"] if reference is None else reference, self._whole
        if reference is not None:
            self._refuse_unknown(reference)
            with self.kept.opened() as store:
                run = {**self._run(store), "reference": reference}
                rows = self._whole_of(compared(store, run, rank_by=self.metric).rows)
        rows = [_with_ends(row) for row in rows if row.get("difference") is not None]
        known = [name for name in DIFFERENCES if any(row.get(name) is not None for row in rows)]
        names = ["backbone", "head", *known]
        frame = pd.DataFrame([{name: row.get(name) for name in names} for row in rows], columns=names)
        frame.attrs["reference"], frame.attrs["metric"] = own, self.metric
        return frame

    def predictions(self) -> "pd.DataFrame":
        """Every out-of-fold probability: backbone, head, repeat, fold, seed, ImgId, y (place in ``classes``), proba.

        Of a comparison over arrays ``ImgId`` is the number of the row in X. Copies of an image have one ``group``.
        """
        with self.kept.opened() as store:
            run = self._run(store)
            frame = predictions(store, run).to_pandas()
            ids, place = np.unique(frame["ImgId"].to_numpy(np.int32), return_inverse=True)
            frame["group"] = groups_of(store, run, ids)[place]
            return frame

    def plot(self) -> Drawing:
        """The scores with their 95 % intervals; filled: in the set of best rows."""
        return drawn(self.table, self._whole, self.metric)

    def to_html(self, path: str | Path | None = None) -> str:
        """The report as one page that needs no network, also written to ``path`` where one is given.

        Raises
        ------
        InputError
            When ``path`` can't be written.
        """
        with self.kept.opened() as store:
            page = report_html(store, [self.table], run_id=self.run_id, galleries=self.kept.has_images)
        if path is not None:
            refuse_target(Path(path))
            try:
                write_atomic(Path(path), page.encode())
            except OSError as error:
                raise InputError(f"the report can't be written to {str(path)!r} ({error.strerror})") from error
        return page

    def __repr__(self) -> str:
        """The table as text, as wide as the terminal."""
        return tables_as_text(
            [self.table], "terminal", width=shutil.get_terminal_size().columns, more=".to_pandas() has all"
        )

    def _repr_html_(self) -> str:
        """The first rows and the notes; the whole report takes seconds and a megabyte, see `to_html`."""
        return comparison_html(self.table)

    def _run(self, store: FeatureStore) -> dict[str, Any]:
        """What the table shows, of the ``store`` that has its results."""
        (run,) = (one for one in selected(store, run_id=self.run_id) if one["run_id"] == self.table["run_id"])
        return run

    @property
    def _whole(self) -> list[dict[str, Any]]:
        """The rows of its own that learned from the whole training part and have a score."""
        return self._whole_of([row for row in self.table["rows"] if not row["published"]])

    def _whole_of(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row for row in rows if row.get("size", 1.0) == 1.0 and row.get(self.metric) is not None]

    def _refuse_unknown(self, reference: Any) -> None:
        names = [_name(row) for row in self._whole]
        if reference not in names:
            raise InputError(f"got {reference!r} as the reference, expected one of {', '.join(names) or 'no row'}")


def _with_ends(row: dict[str, Any]) -> dict[str, Any]:
    """The row with the two ends of its intervals of differences under names of their own."""
    found = dict(row)
    for prefix in ("", "log_loss_"):
        ends = row.get(f"{prefix}difference_interval") or (None, None)
        found |= {f"{prefix}low": ends[0], f"{prefix}high": ends[1]}
    return found


def _name(row: dict[str, Any]) -> str:
    return f"{row['backbone']}/{row['head']}"
