"""Refuses to continue a revision with another engine than the one that computed it; it computes nothing."""

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.embedding.plan import EmbedPlan
from featurestore.embedding.provenance import engine_text
from featurestore.embedding.staging import Run
from featurestore.errors import InputError
from featurestore.storage.layout import Layout
from featurestore.storage.parts import read_part


def check_engine(plan: EmbedPlan, run: Run) -> None:
    """Refuse to compute vectors of ``plan`` if only other engines computed the stored and staged ones of its revision.

    Two engines round differently, so that vectors of one revision would depend on when they were computed. Vectors
    without a record of libraries fit every engine.

    Raises
    ------
    InputError
        When they did.
    """
    mine = run.extraction.engine
    engines = _recorded(plan) | {one.id: one.engine for one in run.extractions.values() if one is not run.extraction}
    if not mine or {*engines.values()} <= {mine, ""}:
        return
    rows = _rows(plan, run)
    counts: Counter[str] = Counter()
    for extraction, engine in engines.items():
        counts[engine] += rows[extraction]
    others = {engine: count for engine, count in counts.items() if engine and engine != mine and count}
    if counts[mine] or not others:
        return
    theirs, count = max(others.items(), key=lambda item: item[1])
    raise InputError(
        f"{count:,} vectors of {plan.spec.name!r}, revision {plan.spec.revision}, were computed by {theirs}, and this "
        f"run would continue with {mine}: use the same engine, or allow another one with --other-engine "
        "(other_engine=True)"
    )


def _recorded(plan: EmbedPlan) -> dict[str, str]:
    """The engine of each extraction of the revision that the store records, by its id."""
    engines = {}
    layout = Layout(plan.objects, plan.state)
    for part in layout.parts("extractions"):
        for row in read_part(layout.path(part)).to_pylist():
            if (row["backbone"], row["revision"]) == (plan.spec.name, plan.spec.revision):
                engines[row["extraction"]] = engine_text(row["libraries"], row["precision"])
    return engines


def _rows(plan: EmbedPlan, run: Run) -> Counter[str]:
    """The number of stored and staged vectors of each extraction."""
    columns = [read_part(plan.root / part.path, ["extraction"])["extraction"] for part in plan.parts]
    columns += [run.read(batch.path)["extraction"] for batch in run.batches]
    found: Counter[str] = Counter()
    for column in columns:
        for pair in pc.value_counts(column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column):
            found[pair["values"].as_py()] += pair["counts"].as_py()
    return found
