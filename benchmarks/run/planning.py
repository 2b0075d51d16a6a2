"""What a run is going to do: every cell of one protocol, in order, and the row that the others are compared with."""

from collections.abc import Sequence

from benchmarks.finetune.cells import FineTuning
from benchmarks.heads.base import HeadSpec
from benchmarks.plan.cells import Cell, Plan
from benchmarks.plan.checks import warnings_of
from benchmarks.plan.dataset import EmbeddingDataset
from benchmarks.plan.protocols import Protocol
from featurestore.errors import InputError

REFERENCE = "logistic_regression"
# By the seconds of one fit on 811 rows of 1,024 columns; heads that are not named come after these. The order is fixed,
# not measured: the same command must plan the same run. It decides what is seen first, never a result.
CHEAP_FIRST = (
    "majority",
    "knn",
    "lda",
    "ridge",
    "linear_svm",
    "rbf_svm",
    "mlp",
    "logistic_regression",
    "xgboost",
    "lightgbm",
    "random_forest",
)


def plan_run(
    protocol: Protocol,
    *,
    heads: Sequence[HeadSpec],
    datasets: Sequence[EmbeddingDataset],
    seed: int,
    seeds: int,
    reference: str | None,
    canary: bool,
    tuning: FineTuning | None,
) -> Plan:
    """All cells of ``protocol``; the datasets have the same rows, so that all have the same splits."""
    splits = list(protocol.splits(datasets[0]))
    cells: list[Cell] = []
    for dataset in datasets:
        for split in splits:
            made: dict[tuple[str, int], Cell] = {}
            # Heads that are derived from others come after them.
            for head in sorted(heads, key=lambda one: bool(one.members)):
                for one in range(seed, seed + seeds) if head.random else [seed]:
                    members = [made.get((name, one)) or made.get((name, seed)) for name in head.members]
                    whole = tuple(member for member in members if member is not None)
                    scored = head.rule != "best" or (protocol.tunes and dataset.y.ndim == 1)
                    usable = whole if len(whole) == len(members) and scored else ()
                    cell = Cell(head, dataset, split, one, protocol.tunes, usable)
                    made[head.name, one] = cell
                    cells.append(cell)
    if tuning:
        cells += tuning.cells(splits, range(seed, seed + seeds))
    cells.sort(key=_turn)
    return Plan(
        protocol,
        cells,
        seed=seed,
        seeds=seeds,
        reference=_reference(reference, heads, datasets),
        reference_named=reference is not None,
        canary=canary,
        warnings=warnings_of(datasets, splits),
    )


def _turn(cell: Cell) -> tuple[int, bool, int]:
    """Repeat by repeat, so that all rows soon stand on the same folds; in a repeat cheap heads first, derived last."""
    name = cell.head.name
    place = CHEAP_FIRST.index(name) if name in CHEAP_FIRST else len(CHEAP_FIRST)
    return cell.split.repeat, bool(cell.head.members), place


def _reference(wanted: str | None, heads: Sequence[HeadSpec], datasets: Sequence[EmbeddingDataset]) -> str:
    """``backbone/head`` of the reference row: as named, else logistic regression, else the first but majority."""
    backbones, names = [dataset.backbone for dataset in datasets], [head.name for head in heads]
    backbone, _, head = (wanted or "").rpartition("/")
    if wanted is not None and (head not in names or backbone not in ("", *backbones)):
        raise InputError(
            f"got {wanted!r} as the reference, expected HEAD or BACKBONE/HEAD of this run "
            f"(heads: {', '.join(names)}; backbones: {', '.join(backbones)})"
        )
    if not head:
        head = REFERENCE if REFERENCE in names else next((name for name in names if name != "majority"), names[0])
    return f"{backbone or backbones[0]}/{head}"
