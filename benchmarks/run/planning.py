"""What a run is going to do: every cell of one protocol, in order, and the row that the others are compared with."""

from collections.abc import Mapping, Sequence

from benchmarks.finetune.cells import FineTuning
from benchmarks.heads.base import HeadSpec
from benchmarks.plan.cells import Cell, Plan
from benchmarks.plan.checks import warnings_of
from benchmarks.plan.dataset import EmbeddingDataset
from benchmarks.plan.prompts import Prompted
from benchmarks.plan.protocols import Protocol
from featurestore.errors import InputError

REFERENCE = "logistic_regression"
# They learn nothing: never the reference, unless somebody names one.
FLOORS = ("majority", "zero_shot")
# By the seconds of one fit on 811 rows of 1,024 columns; heads that are not named come after these. The order is fixed,
# not measured: the same command must plan the same run. It decides what is seen first, never a result.
CHEAP_FIRST = (
    "majority",
    "zero_shot",
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
    prompted: Mapping[str, Prompted] = {},
) -> Plan:
    """All cells of ``protocol``; the datasets have the same rows, so that all have the same splits.

    A head with ``needs_text`` runs over the backbones of ``prompted``.
    """
    splits = list(protocol.splits(datasets[0]))
    cells: list[Cell] = []
    for dataset in datasets:
        text = prompted.get(dataset.backbone)
        mine = [head for head in heads if not head.needs_text]
        if text:
            mine = [text.head(head) if head.needs_text else head for head in heads]
        for split in splits:
            made: dict[tuple[str, int], Cell] = {}
            # Heads that are derived from others come after them.
            for head in sorted(mine, key=lambda one: bool(one.members)):
                for one in range(seed, seed + seeds) if head.random else [seed]:
                    members = [made.get((name, one)) or made.get((name, seed)) for name in head.members]
                    whole = tuple(member for member in members if member is not None)
                    scored = head.rule != "best" or (protocol.tunes and dataset.y.ndim == 1)
                    usable = whole if len(whole) == len(members) and scored else ()
                    failure = text.failure if text and head.needs_text else ""
                    cell = Cell(head, dataset, split, one, protocol.tunes, usable, failure)
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
    """``backbone/head`` of the reference row: as named, else logistic regression, else the first that learns."""
    backbones, names = [dataset.backbone for dataset in datasets], [head.name for head in heads]
    backbone, _, head = (wanted or "").rpartition("/")
    if wanted is not None and (head not in names or backbone not in ("", *backbones)):
        raise InputError(
            f"got {wanted!r} as the reference, expected HEAD or BACKBONE/HEAD of this run "
            f"(heads: {', '.join(names)}; backbones: {', '.join(backbones)})"
        )
    if not head:
        head = REFERENCE if REFERENCE in names else next((name for name in names if name not in FLOORS), names[0])
    return f"{backbone or backbones[0]}/{head}"
