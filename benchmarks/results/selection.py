"""Which stored cells stand in one table: those of the same folds of the same data, whichever run computed them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.plan.protocols import ONE_SPLIT, PROTOCOLS
from benchmarks.results.read import run_query, runs, stored_runs
from featurestore import FeatureStore
from featurestore.errors import InputError

Row = tuple[str, str]
Place = tuple[int, int, float]
# A run as `queries.runs` has it; of a table that joins several, `cells`, `runs` and `peers` are those of all.
Run = dict[str, Any]


@dataclass(frozen=True)
class StoredCell:
    """A row of ``bench_cells``, without its result; ``ok``: whether there is one."""

    cell: str
    model: str
    backbone: str
    head: str
    revision: str
    data_hash: str
    repeat: int
    fold: int
    size: float
    seed: int
    split_hash: str
    ok: bool

    @property
    def place(self) -> Place:
        """The split, by its numbers."""
        return self.repeat, self.fold, self.size


@dataclass(frozen=True)
class FoldSet:
    """Runs over the same folds of the same data, newest first; ``splits``: the hash of each split that is known."""

    key: tuple[Any, ...]
    splits: dict[Place, str]
    runs: list[Run]


def selected(
    store: FeatureStore, *, protocols: Sequence[str] = (), run_id: str | None = None, repeats: int | None = None
) -> list[Run]:
    """What each table shows.

    By default one table for each protocol, view and label (and column, of ``across``): its newest run decides the
    folds, and every stored cell of those folds is in the table. With ``run_id`` that run alone, with
    ``repeats`` the first so many of its repeats.

    Raises
    ------
    InputError
        When the store holds no such run.
    """
    if run_id is not None:
        run = find(store, run_id)
        if repeats is not None:
            early = {key for key, cell in stored_cells(store).items() if cell.repeat < repeats}
            run = {**run, "cells": [key for key in run["cells"] if key in early]}
        return [{**run, "runs": [run["run_id"]], "peers": [run["run_id"]]}]
    known = stored_cells(store)
    found: list[Run] = []
    for name in dict.fromkeys(protocols) or [None]:
        listed = runs(store, protocol=name)
        sets = fold_sets(listed, known)
        newest: dict[tuple[str | None, ...], Run] = {}
        for run in listed:
            newest.setdefault((run["protocol"], run["view"], run["label"], run["by_column"]), run)
        found += [joined(next(one for one in sets if run in one.runs), known, run) for run in newest.values()]
    return found


def find(store: FeatureStore, run_id: str) -> Run:
    """The run of that id, or the one whose id begins so.

    Raises
    ------
    InputError
        When there is none, or more than one.
    """
    fitting = [run for run in runs(store, canary=None) if run["run_id"].startswith(run_id)]
    exact = [run for run in fitting if run["run_id"] == run_id]
    if len(exact or fitting) == 1:
        return (exact or fitting)[0]
    if not fitting or not run_id:
        raise InputError(f"the store {store.location!r} has no run {run_id!r}: `benchmarks runs` lists those it has")
    raise InputError(
        f"got {run_id!r} as the run, with which {len(fitting)} ids begin (the newest: {fitting[0]['run_id']}): "
        "name more of the id, as `benchmarks runs` lists it"
    )


def stored_cells(store: FeatureStore) -> dict[str, StoredCell]:
    """Every cell that was tried, by key."""
    if not store.has("bench_cells"):
        return {}
    return {row["cell"]: StoredCell(**row) for row in run_query(store, "cells").to_pylist()}


def fold_sets(listed: Sequence[Run], known: dict[str, StoredCell]) -> list[FoldSet]:
    """The runs, newest first, put together where protocol, settings, data and every split that two have are equal."""
    data = _same_data(listed, known)
    found: list[FoldSet] = []
    for run in listed:
        splits = {known[key].place: known[key].split_hash for key in run["cells"] if key in known}
        folds = None if run["protocol"] in ONE_SPLIT else run["folds"]
        key = (run["protocol"], folds, run["seed"], run["bench_version"], run["canary"], data[run["run_id"]])
        for one in found:
            if one.key == key and all(one.splits.get(place, split) == split for place, split in splits.items()):
                one.splits.update(splits)
                one.runs.append(run)
                break
        else:
            found.append(FoldSet(key, splits, [run]))
    return found


def _same_data(listed: Sequence[Run], known: dict[str, StoredCell]) -> dict[str, int]:
    """A number for each run, equal where ids, labels and classes are.

    Runs have them in common when the hash of their labels is the same, and also when one backbone has the same data in
    both: runs from before that hash was kept have only this.
    """
    signs: list[set[str]] = []
    own: dict[str, set[str]] = {}
    for run in listed:
        mine = {known[key].data_hash for key in run["cells"] if key in known} | {run["labels_hash"]} - {None}
        own[run["run_id"]] = mine = mine or {run["run_id"]}
        apart = [one for one in signs if not one & mine]
        signs = [*apart, mine.union(*(one for one in signs if one & mine))]
    return {name: next(n for n, one in enumerate(signs) if one & mine) for name, mine in own.items()}


def supporting(store: FeatureStore, row: Row, model: str, *, view: str, label: str) -> list[Run]:
    """The best supported results of one row on a view and label: for each protocol the folds with most of its cells.

    Of results of ``model`` (see `cells.model_key`) where there are some, else of the newest head and data of that name.
    Each run holds the cells of the row alone; cross-validation comes before one split.
    """
    listed = [run for run in stored_runs(store) if (run["view"], run["label"]) == (view, label)]
    known = {
        key: cell
        for key, cell in stored_cells(store).items()
        if ((cell.backbone, cell.head), cell.size, cell.ok) == (row, 1.0, True)
    }
    models = [known[key].model for run in listed for key in run["cells"] if key in known]
    wanted = model if model in models else next(iter(models), "")
    known = {key: cell for key, cell in known.items() if cell.model == wanted}
    most: dict[str, FoldSet] = {}
    for one in fold_sets([run for run in listed if known.keys() & set(run["cells"])], known):
        protocol = one.key[0]
        if protocol not in most or len(one.splits) > len(most[protocol].splits):
            most[protocol] = one
    return [joined(most[name], known, most[name].runs[0]) for name in PROTOCOLS if name in most]


def joined(found: FoldSet, known: dict[str, StoredCell], newest: Run) -> Run:
    """The run ``newest`` with the cells of all ``found``, and what is true of them all."""
    cells = set(chosen(found.runs, known))
    parts: list[Run] = []
    shown: set[str] = set()
    for run in found.runs:
        more = cells.intersection(run["cells"]) - shown
        if more or run is newest:
            parts.append(run)
            shown |= more
    longest = max(parts, key=lambda run: run["repeats"])
    # A quick look at one head does not change what all others are tested against, unless it says so.
    largest = max(parts, key=lambda run: len(run["cells"]))
    return {
        **newest,
        "cells": sorted(cells),
        "runs": [run["run_id"] for run in parts],
        "peers": [run["run_id"] for run in found.runs],
        "repeats": longest["repeats"],
        "protocol_text": longest["protocol_text"],
        "seeds": max(run["seeds"] for run in parts),
        "reference": (newest if newest["reference_named"] else largest)["reference"],
        "synthetic": any(run["synthetic"] for run in parts),
        "leaks": max(run["leaks"] for run in parts),
        "warnings": list(dict.fromkeys(warning for run in parts for warning in run["warnings"])),
    }


def chosen(listed: Sequence[Run], known: dict[str, StoredCell]) -> list[str]:
    """The cells of runs over the same folds, newest first, that may stand in one table.

    Of each backbone its newest data, of each head its newest version. Where two results of the same version and split
    differ in how they were made (as a mean of its members, or by a fit of its own), the row is made of those runs that
    agree and have the most.
    """
    data: dict[str, tuple[str, str]] = {}
    models: dict[Row, str] = {}
    made: dict[Row, list[dict[tuple[Place, int], str]]] = {}
    for run in listed:
        for (backbone, head), mine in _by_row(run, known).items():
            first = mine[0]
            if data.setdefault(backbone, (first.revision, first.data_hash)) != (first.revision, first.data_hash):
                continue
            if models.setdefault((backbone, head), first.model) != first.model:
                continue
            cells = {(cell.place, cell.seed): cell.cell for cell in mine}
            ways = made.setdefault((backbone, head), [])
            for way in ways:
                if all(way.get(where, key) == key for where, key in cells.items()):
                    way.update(cells)
                    break
            else:
                ways.append(cells)
    return [key for ways in made.values() for key in max(ways, key=len).values()]


def _by_row(run: Run, known: dict[str, StoredCell]) -> dict[Row, list[StoredCell]]:
    found: dict[Row, list[StoredCell]] = {}
    for key in run["cells"]:
        if key in known:
            found.setdefault((known[key].backbone, known[key].head), []).append(known[key])
    return found
