"""Publishes shards into the run that collects them: those of its workers, and those that a dead run left."""

import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace

from featurestore.embedding.publish_shards import PublishReport, publish_into
from featurestore.embedding.receipt import Receipt, receipts_in
from featurestore.embedding.staging import SHARDS, Run
from featurestore.errors import InputError, IntegrityError
from featurestore.storage.state import read_state

log = logging.getLogger(__name__)


def publish_shards(
    run: Run, receipts: Sequence[Receipt], *, purpose: str, other_engine: bool, wait_seconds: float
) -> PublishReport:
    """`publish_into` for a ``run`` that goes on to publish other vectors: its extraction records stay its own."""
    mine = run.extractions
    try:
        return publish_into(run, receipts, purpose=purpose, other_engine=other_engine, wait_seconds=wait_seconds)
    finally:
        run.extractions = mine


def publish_left(run: Run, *, purpose: str, other_engine: bool, wait_seconds: float) -> int:
    """Publish the shards that ``run`` has taken over, and remove them; damaged ones are computed again.

    Returns
    -------
    The number of vectors.

    Raises
    ------
    InputError
        When other engines computed them, unless ``other_engine`` is set.
    StoreLocked
        When another process is writing, and did not finish in time.
    """
    receipts, added = list(_receipts(run)), 0
    if receipts:
        try:
            report = publish_shards(
                run, receipts, purpose=purpose, other_engine=other_engine, wait_seconds=wait_seconds
            )
            added = report.added
        except IntegrityError as error:
            log.warning("shards of an interrupted run are computed again: %s", error)
    shutil.rmtree(run.folder / SHARDS, ignore_errors=True)
    return added


def _receipts(run: Run) -> Iterator[Receipt]:
    """The readable receipts of this revision; images that were refused are tried again."""
    store = read_state(run.objects).store
    for folder in sorted((run.folder / SHARDS).glob("*")):
        try:
            found = receipts_in(folder)
        except (InputError, IntegrityError) as error:
            log.warning("a shard of an interrupted run is computed again: %s", error)
            continue
        for receipt in found.values():
            if (receipt.store, receipt.spec.revision) == (store, run.spec.revision) and receipt.parts:
                yield replace(receipt, refused={})
