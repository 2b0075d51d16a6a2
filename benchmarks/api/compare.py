"""`compare`: heads over backbones of a store, or over arrays, in one call."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.api.arguments import grouping_of, heads_of, limits_of, prompting_of, protocol_of
from benchmarks.api.asked import Asked
from benchmarks.api.comparison import Comparison
from benchmarks.api.sources import VIEW, source_of
from benchmarks.plan.protocols import Protocol
from benchmarks.run.pool import refuse_worker

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def compare(
    data: Any,
    y: "ArrayLike | Sequence[Any] | None" = None,
    *,
    groups: "ArrayLike | None" = None,
    heads: Any = None,
    backbones: str | Sequence[str] | None = None,
    protocol: str | Protocol = "cv",
    folds: int = 5,
    repeats: int | None = None,
    seed: int = 0,
    seeds: int = 1,
    reference: str | None = None,
    rank_by: str | None = None,
    view: str = VIEW,
    label: str | None = None,
    split: Any = None,
    by: Any = None,
    group: str = "exact",
    hash_distance: int = 4,
    cosine: float = 0.98,
    workers: int | None = None,
    time_limit: float = 600.0,
    memory_limit: int | None = None,
    on: str | None = None,
    templates: "str | Path | Sequence[str] | None" = None,
    models: "Mapping[str, Any] | None" = None,
    quick: bool = False,
    progress: bool = True,
) -> Comparison:
    """Fit every head on every split, and say which differences are significant; as `benchmarks run`, with its names.

    Parameters
    ----------
    data
        A store, which keeps the results; ``X`` ``(n, d)``; or matrices of the same rows by name, ``{"clip": X1}``.
    y, groups
        Of arrays: a label for each row, or a list of labels, or ``(n, n_labels)`` of 0 and 1; and a value for each row,
        equal for duplicates, which stay on one side of each split. When None, equal vectors are duplicates.
    heads
        Names (`benchmarks heads` lists them), functions marked with `benchmarks.head`; those of the protocol when None.
    split, by
        For the protocols ``given`` and ``across``: a column of the view; of arrays a value for each row.
    group, quick, on
        ``near`` also keeps near-duplicates on one side, of arrays by ``cosine``; one repeat, no costs; a Ray cluster.
    templates, models
        For ``zero_shot``: texts with ``{}``, or a file of them; backbones by name, where the store's can't be found.

    >>> X = [[n % 7, n % 5] for n in range(60)]
    >>> compare(X, [n % 7 > 3 for n in range(60)], heads=["ridge", "knn"], quick=True, progress=False).best.backbone
    'X'
    """
    refuse_worker()
    near = grouping_of(group, hash_distance=hash_distance, cosine=cosine)
    source = source_of(data, y, groups, backbones=backbones, view=view, label=label, split=split, by=by, grouping=near)
    drawn = protocol_of(protocol, source.columns, folds=folds, repeats=1 if quick else repeats, seed=seed)
    limits = limits_of(workers=workers, time_limit=time_limit, memory_limit=memory_limit, on=on)
    with tempfile.TemporaryDirectory(prefix="heads-") as folder:
        own, texts = heads_of(heads, None if on else Path(folder)), prompting_of(templates, models)
        return source.compared(Asked(own, drawn, near, seed, seeds, reference, rank_by, limits, texts, quick, progress))
