"""Eight shards as processes: some are killed, some run twice, some are missing; then published in any order."""

import errno
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torture import bed as beds
from torture import content as contents
from torture import shim
from torture.bed import BATCH, CHECKED, Bed
from torture.content import Content
from torture.context import Context
from torture.table import Row

COUNT = 8
# A shard of this size changes files at least so often after it has its lock; `publish` at least so often in the store.
CALLS, PUBLISH_CALLS = (8, 35), (1, 60)


@dataclass(frozen=True)
class Round:
    """One store whose shards are computed into ``outs``, with the numbers that decide what happens to them."""

    bed: Bed
    root: Path
    outs: tuple[Path, Path]
    passes: Path
    library: Path | None
    numbers: random.Random

    def shard(self, number: int, out: Path, *, kill: bool) -> bool:
        """Run a shard; whether it was killed.

        Raises
        ------
        RuntimeError
            When it fails though it was not killed.
        """
        mark = beds.unique(self.bed.folder / "logs", "started")
        environment = {"TORTURE_STARTED": str(mark)}
        if kill and self.library is not None:
            log = beds.unique(self.bed.folder / "logs", "calls")
            out.mkdir(exist_ok=True)
            environment |= shim.environment(self.library, out, log=log, at=self.numbers.randint(*CALLS))
        words = ["featurestore", "embed", "--store", self.root, "--backbone", "counting", "--batch-size", "1"]
        words += ["--shard", f"{number}/{COUNT}", "--out", out]
        with self.bed.start(words, passes=self.passes, environment=environment) as process:
            if kill and self.library is None:
                while not mark.exists() and process.poll() is None:
                    time.sleep(0.002)
                time.sleep(self.numbers.uniform(0, 0.5))
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
            _, err = process.communicate(timeout=beds.TIMEOUT)
        killed = process.returncode == -signal.SIGKILL
        if process.returncode and not killed:
            raise RuntimeError(f"shard {number}: {err}")
        return killed

    def publish(self, outs: list[Path], *, kill: bool = False) -> tuple[dict[str, Any], list[str]]:
        """Publish folders: the report, empty if it was killed or there is no receipt, and what is wrong."""
        if not any(path for out in outs for path in out.glob("*/receipt-*.json")):
            return {}, []
        words = ["featurestore", "publish", "--store", self.root, *outs, "--json"]
        environment = {}
        if kill and self.library is not None:
            log = beds.unique(self.bed.folder / "logs", "calls")
            environment = dict(
                shim.environment(self.library, self.root, log=log, at=self.numbers.randint(*PUBLISH_CALLS))
            )
        done = self.bed.run(words, environment=environment)
        if done.code == -signal.SIGKILL:
            return {}, []
        faults = [f"publish: {fault}" for fault in done.faults(failed=False)]
        return ({} if faults else json.loads(done.out)[0]), faults


def run(context: Context) -> Iterator[Row]:
    """A row of kills; in the long form also one of failed writes."""
    started, bed, library = time.monotonic(), context.bed("shards"), context.library()
    local = bed.store("ingested", bed.ingested)
    done = bed.run(["featurestore", "embed", "--store", local, "--backbone", "counting"])
    usual, rounds = contents.whole(local), context.size(max(1, context.moments // COUNT), 1)
    found = [_round(context, bed, usual, library, number) for number in range(rounds)]
    faults = [f"the local embed: {fault}" for fault in done.faults(failed=False)]
    faults += [f"round {number}: {fault}" for number, (_, some) in enumerate(found) for fault in some]
    what = f"{COUNT} shards in two folders: kill -9, twice, missing, any order"
    note = f"content hash {contents.digest(usual)}"
    yield Row("shards", what, sum(killed for killed, _ in found), faults, time.monotonic() - started, note)
    if not context.quick and library is not None:
        yield _failing(context, bed, library)


def _failing(context: Context, bed: Bed, library: Path) -> Row:
    """Let one call that changes the folder of a shard fail: a sentence, and the same command again ends it."""
    started, root = time.monotonic(), bed.store("ingested", bed.ingested)

    def fail(call: int) -> list[str]:
        out, log = (beds.unique(bed.folder / "outs", name) for name in ("full", "log"))
        out.mkdir()
        words = ["featurestore", "embed", "--store", root, "--backbone", "counting", "--batch-size", "1"]
        words += ["--shard", f"1/{COUNT}", "--out", out]
        variables = shim.environment(library, out, log=log, at=call, action=errno.ENOSPC)
        done, again = bed.run(words, environment=variables), bed.run(words)
        told = done.faults(failed=bool(done.code)) + again.faults(failed=False)
        if done.code and f"{str(out)!r} can't be written" not in done.err:
            told.append(f"it does not say what is full: {done.err.strip()}")
        return [f"call {call}: {fault}" for fault in told]

    calls = range(1, CALLS[1] + 1)
    faults = [fault for some in context.each(fail, calls) for fault in some]
    return Row(
        "shards", "no space at one of the calls that change a file", len(calls), faults, time.monotonic() - started
    )


def _round(context: Context, bed: Bed, usual: Content, library: Path | None, number: int) -> tuple[int, list[str]]:
    """Compute, kill, publish what there is, compute the rest, publish all; how many were killed, and what is wrong."""
    numbers = context.random(f"shards {number}")
    root = bed.store("ingested", bed.ingested)
    folder = beds.unique(bed.folder / "outs", "out")
    folder.mkdir()
    round_ = Round(bed, root, (folder / "a", folder / "b"), folder / "passes", library, numbers)
    shards = list(range(1, COUNT + 1))
    numbers.shuffle(shards)
    missing, twice = shards[-1], shards[0]
    kill = [True, *(numbers.random() < 0.5 for _ in shards[1:])]
    places = {shard: round_.outs[numbers.randrange(2)] for shard in shards}
    jobs = list(zip(shards[:-1], kill, strict=False))
    were = context.each(lambda job: round_.shard(job[0], places[job[0]], kill=job[1]), jobs)
    killed = sum(were)
    faults = [] if killed else ["no shard was killed"]
    report, some = round_.publish([out for out in reversed(round_.outs) if out.is_dir()])
    lost = contents.lost(contents.content(root), usual)
    faults += some + beds.faults_of(root) + ([f"rows of no local embed: {lost}"] if lost else [])
    if report and f"{missing}/{COUNT}" not in report["missing_shards"]:
        faults.append(f"shard {missing} is missing, and it says {report['missing_shards']}")
    # The killed ones again where they were, the one that was missing, and one of them in the other folder too.
    left = [*((shard, places[shard]) for (shard, _), was in zip(jobs, were, strict=True) if was)]
    left += [(missing, places[missing]), (twice, next(out for out in round_.outs if out != places[twice]))]
    context.each(lambda job: round_.shard(*job, kill=False), left)
    outs = [*round_.outs, *round_.outs]
    numbers.shuffle(outs)
    round_.publish(outs, kill=True)
    report, some = round_.publish(outs)
    faults += some + beds.faults_of(root)
    if report and report["missing"]:
        faults.append(f"in the end {report['missing']} images are missing")
    # Every process checks its backbone, and loses at most two batches; one shard was computed twice.
    most = len(bed.ids) + COUNT + (len(jobs) + len(left)) * CHECKED + 2 * killed * BATCH
    if beds.passes(round_.passes) > most:
        faults.append(f"{beds.passes(round_.passes)} images computed, at most {most} may be")
    difference = beds.compared(usual, contents.whole(root))
    return killed, faults + ([f"in the end {difference}"] if difference else []) + beds.tidy_faults(root)
