"""Refuses to continue a revision with another engine than the one that computed it; it computes nothing."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.arrow import one_chunk
from featurestore.embedding.plan import EmbedPlan
from featurestore.embedding.provenance import Extraction, engine_text
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
    others = {one.id: one.engine for one in run.extractions.values() if one is not run.extraction}
    staged = [run.read(batch.path)["extraction"] for batch in run.batches]
    _check(plan, run.extraction.engine, others, staged)


def check_engines(plan: EmbedPlan, received: Iterable[Extraction]) -> None:
    """Refuse vectors that were ``received`` for ``plan`` if two engines computed them, or only others the stored ones.

    Raises
    ------
    InputError
        When they did.
    """
    engines = sorted({extraction.engine for extraction in received} - {""})
    if len(engines) > 1:
        raise InputError(
            f"the shards of {plan.spec.name!r}, revision {plan.spec.revision}, were computed by {engines[0]} and by "
            f"{engines[1]}: use one engine for all, or allow another one with --other-engine (other_engine=True)"
        )
    _check(plan, engines[0] if engines else "", {}, [])


def recorded_engines(plan: EmbedPlan) -> dict[str, str]:
    """The engine of each extraction of the revision that the store records, by its id."""
    engines = {}
    layout = Layout(plan.objects, plan.state)
    for part in layout.parts("extractions"):
        for row in read_part(layout.path(part)).to_pylist():
            if (row["backbone"], row["revision"]) == (plan.spec.name, plan.spec.revision):
                engines[row["extraction"]] = engine_text(row["libraries"], row["precision"])
    return engines


def _check(plan: EmbedPlan, mine: str, staged: Mapping[str, str], columns: Sequence[pa.ChunkedArray]) -> None:
    """Compare the engine ``mine`` with the stored ones and with ``staged``, by extraction, of the rows ``columns``."""
    engines = recorded_engines(plan) | dict(staged)
    if not mine or {*engines.values()} <= {mine, ""}:
        return
    layout = Layout(plan.objects, plan.state)
    parts = layout.revision_parts(plan.spec.name, plan.spec.revision)  # also those that are not near a share
    layout.fetch(parts)
    rows = _rows([*(read_part(layout.root / part.path, ["extraction"])["extraction"] for part in parts), *columns])
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


def _rows(columns: Iterable[pa.ChunkedArray]) -> Counter[str]:
    """The number of vectors of each extraction."""
    found: Counter[str] = Counter()
    for column in columns:
        for pair in pc.value_counts(one_chunk(column)):
            found[pair["values"].as_py()] += pair["counts"].as_py()
    return found
