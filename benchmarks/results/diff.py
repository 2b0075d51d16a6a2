"""What differs between two runs: images, labels, backbones, settings, and the rows of `paired`; nothing is fitted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.plan.protocols import ONE_SPLIT
from benchmarks.results.paired import RowDifference, row_differences
from benchmarks.results.read import primary
from benchmarks.results.selection import Run, StoredCell, find, stored_cells
from featurestore import FeatureStore
from featurestore.files import json_object

SETTINGS = (
    *("protocol", "folds", "repeats", "seed", "seeds", "view", "label", "classes", "task", "canary", "reference"),
    *("bench_version", "machine"),
)


@dataclass(frozen=True)
class Changed:
    """One thing that differs: what it is, its value in A and in B."""

    what: str
    a: Any
    b: Any


@dataclass(frozen=True)
class ImagesChanged:
    """Numbers of images: learned from or tested on in each run; only in B, only in A, in both with other labels.

    Of a protocol of one split the last three count test images. They are None where a run has not tested all of its
    images yet.
    """

    a: int
    b: int
    added: int | None
    removed: int | None
    relabelled: int | None

    @property
    def same(self) -> bool:
        """Whether both runs are known to have the same images with the same labels."""
        return (self.added, self.removed, self.relabelled) == (0, 0, 0)


@dataclass(frozen=True)
class RunDifference:
    """What differs between the runs ``a`` and ``b``, by their ids.

    ``metric`` is what the rows are compared by, ``cells`` are those planned, ``same_cells`` results that both have.
    """

    a: str
    b: str
    metric: str
    images: ImagesChanged
    backbones: list[Changed]
    settings: list[Changed]
    cells: tuple[int, int]
    same_cells: int
    rows: list[RowDifference]


def run_difference(store: FeatureStore, first: str, second: str) -> RunDifference:
    """What differs between two runs, named by their ids or how those begin.

    Raises
    ------
    InputError
        When the store holds no such run.
    """
    a, b = find(store, first), find(store, second)
    known = stored_cells(store)
    images = _images(store, a, b, known)
    done = [[known[key] for key in run["cells"] if key in known] for run in (a, b)]
    return RunDifference(
        a["run_id"],
        b["run_id"],
        primary(b),
        images,
        _backbones(*done),
        _settings(store, a, b) + _heads(store, a, b, *done),
        (len(a["cells"]), len(b["cells"])),
        len(set(a["cells"]) & set(b["cells"]) & {cell.cell for cell in done[0]}),
        row_differences(store, a, b, known, same_labels=images.same),
    )


def _images(store: FeatureStore, a: Run, b: Run, known: dict[str, StoredCell]) -> ImagesChanged:
    counts = a["n_rows"], b["n_rows"]
    if a["labels_hash"] and a["labels_hash"] == b["labels_hash"]:
        return ImagesChanged(*counts, 0, 0, 0)
    before, after = (_labels(store, run, known) for run in (a, b))
    if before is None or after is None:
        return ImagesChanged(*counts, None, None, None)
    both = before.keys() & after.keys()
    changed = sum(before[img_id] != after[img_id] for img_id in both)
    return ImagesChanged(*counts, len(after) - len(both), len(before) - len(both), changed)


def _labels(store: FeatureStore, run: Run, known: dict[str, StoredCell]) -> dict[int, tuple[str, ...]] | None:
    """The labels of each image that a run has tested; None where some are still to be tested."""
    # One cell for each split tells which images it tests.
    cells = {known[key].place: key for key in run["cells"] if key in known and known[key].ok}
    if not cells:
        return None
    rows = store.sql(
        "SELECT DISTINCT ImgId, y, labels FROM bench_predictions WHERE cell IN (SELECT unnest(?)) ORDER BY ImgId",
        [sorted(cells.values())],
    ).to_pylist()
    names = run["classes"]
    found = {
        row["ImgId"]: tuple(names[code] for code in (row["labels"] if row["labels"] is not None else [row["y"]]))
        for row in rows
    }
    return found if run["protocol"] in ONE_SPLIT or len(found) == run["n_rows"] else None


def _backbones(first: Sequence[StoredCell], second: Sequence[StoredCell]) -> list[Changed]:
    """The backbones that only one run has, and those of another revision."""
    a, b = ({cell.backbone: cell.revision for cell in cells} for cells in (first, second))
    names = sorted(a.keys() | b.keys())
    return [Changed(name, a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name)]


def _settings(store: FeatureStore, a: Run, b: Run) -> list[Changed]:
    found = [Changed(name.replace("_", " "), a[name], b[name]) for name in SETTINGS if a[name] != b[name]]
    libraries = [json_object(run["libraries"], "the record of libraries of a run") for run in (a, b)]
    for name in sorted(libraries[0].keys() | libraries[1].keys()):
        numbers = [versions.get(name) for versions in libraries]
        if numbers[0] != numbers[1]:
            found.append(Changed(name, *numbers))
    return found


def _heads(
    store: FeatureStore, a: Run, b: Run, first: Sequence[StoredCell], second: Sequence[StoredCell]
) -> list[Changed]:
    """The heads that only one run has, those with other parameters, and those whose code has changed."""
    parameters = [_parameters(store, run) for run in (a, b)]
    found = []
    for name in sorted(parameters[0].keys() | parameters[1].keys()):
        mine = [one.get(name) for one in parameters]
        if mine[0] != mine[1]:
            found.append(Changed(f"head {name}", *mine))
            continue
        models = [
            {(cell.backbone, cell.revision, cell.data_hash): cell.model for cell in cells if cell.head == name}
            for cells in (first, second)
        ]
        other = sorted(key for key in models[0].keys() & models[1].keys() if models[0][key] != models[1][key])
        if other:
            found.append(Changed(f"version of {name}", models[0][other[0]], models[1][other[0]]))
    return found


def _parameters(store: FeatureStore, run: Run) -> dict[str, str]:
    """The parameters of each head of a run, as JSON."""
    if not store.has("bench_cells"):
        return {}
    rows = store.sql(
        "SELECT head, min(parameters) AS parameters FROM bench_cells WHERE cell IN (SELECT unnest(?)) GROUP BY head",
        [run["cells"]],
    ).to_pylist()
    return {row["head"]: row["parameters"] for row in rows}
